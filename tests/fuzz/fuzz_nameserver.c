/* A name server among clients and storage servers that say anything: it goes on, what it commits is
 * sound, and after a restart it goes on with it. */
#include <stdio.h>
#include <stdlib.h>

#include "error.h"
#include "journal_set.h"
#include "message_drawn.h"
#include "ns_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	CLIENTS = 2,
	STORAGES = 3,
	PEERS = CLIENTS + STORAGES,
	STEPS_MAX = 150,
	CLOCK_MAX_MS = 30 * 1000,
	CHUNK = 1000,
	KNOWN_CHUNKS = 6, /* that a put may have given out */
};

struct play {
	struct ns_driver d;
	struct ns_peer *peers[PEERS];
	struct draw draw;
	struct arena arena;
	struct buffer frame;
};

static void check(bool condition)
{
	if (!condition)
		abort();
}

static struct ns_peer *come(struct play *p, unsigned int number)
{
	if (number < CLIENTS)
		return driver_client(&p->d, number + 1);
	return driver_storage(&p->d, number - CLIENTS + 1);
}

/* One who comes later may have to wait for his answers. */
static struct ns_peer *come_again(struct play *p, unsigned int number)
{
	const struct ns_peer *before = p->peers[number];
	const struct ns_storage storage = { .number = number - CLIENTS + 1 };
	struct ns_peer *peer = driver_connect(&p->d, "10.2.0.9", "10.0.0.1");
	struct register_reply reply;

	peer->id = before->id;
	peer->machine = before->machine;
	peer->follows = before->follows;
	(void)POST(peer, hello, .versions = 1 << 16 | PROTOCOL_VERSION,
		   .role = number < CLIENTS ? ROLE_CLIENT : ROLE_STORAGE, .self = peer->id,
		   .machine = peer->machine);
	if (number >= CLIENTS && !peer->closed)
		(void)driver_register(peer, &storage, &reply);
	return peer;
}

static void goes_and_comes(struct play *p)
{
	uint8_t kind = draw_byte(&p->draw);
	unsigned int number = kind % PEERS;

	if (p->d.peer_count > DRIVER_PEERS_MAX / 2)
		return;
	driver_close(p->peers[number]);
	if (kind < UINT8_MAX / 2)
		p->peers[number] = come_again(p, number);
}

static void frame_comes(struct play *p)
{
	uint8_t kind = draw_byte(&p->draw);
	struct ns_peer *peer = p->peers[kind % PEERS];
	const struct message_info *info = draw_info(&p->draw);
	struct message message = draw_message(&p->draw, info, kind > 200);
	struct frame_header header;

	if (peer->closed || info->code == MSG_data || !draw_frame(&message, &p->frame, &header))
		return;
	driver_bytes(peer, p->frame.data, p->frame.size);
}

/* So that what comes after it is about something. */
static void put_comes(struct play *p)
{
	static const char *const paths[] = { "/a", "/d/b", "/d/c", "/e" };
	struct ns_peer *client = p->peers[draw_byte(&p->draw) % CLIENTS];
	struct put_commit_reply reply;

	if (!client->closed)
		(void)driver_put(client, paths[draw_byte(&p->draw) % ARRAY_SIZE(paths)],
				 1 + draw_byte(&p->draw), &reply);
}

static void set_changes(struct play *p)
{
	p->d.follow = !p->d.follow;
	for (unsigned int i = CLIENTS; i < PEERS; i++)
		p->peers[i]->follows = p->d.follow;
}

static void happen(struct play *p)
{
	switch (draw_byte(&p->draw) % 16) {
	case 0: goes_and_comes(p); break;
	case 1: put_comes(p); break;
	case 2: driver_clock(&p->d, draw_number(&p->draw, CLOCK_MAX_MS)); break;
	case 3: set_changes(p); break;
	case 4: driver_say(&p->d, NS_SPACE, draw_byte(&p->draw) != 1); break;
	case 5:
		driver_dialled(&p->d, draw_byte(&p->draw) % 2 ? -ERR_CONNECTION : -ERR_TIMEOUT);
		break;
	case 6: p->d.mute = draw_byte(&p->draw) == 1; break;
	case 7: driver_beat(&p->d, 2000); break;
	default: frame_comes(p);
	}
	arena_reset(&p->arena);
}

static void play(struct play *p)
{
	static const struct slice words[] = { { (const uint8_t *)"/", 1 },
					      { (const uint8_t *)"/a", 2 },
					      { (const uint8_t *)"/d", 2 },
					      { (const uint8_t *)"/d/b", 4 },
					      { (const uint8_t *)"/d/c", 4 },
					      { (const uint8_t *)"/e", 2 },
					      { NULL, 0 },
					      { (const uint8_t *)"/lost+found", 11 } };
	uint64_t numbers[KNOWN_CHUNKS + 4] = { CHUNK, 1, 2, UINT64_MAX };
	struct id ids[PEERS + 2] = { { { 0 } } };

	for (unsigned int i = 0; i < PEERS; i++)
		ids[1 + i] = p->peers[i]->id;
	ids[PEERS + 1] = id_of(0xfffe);
	for (unsigned int i = 0; i < KNOWN_CHUNKS; i++)
		numbers[4 + i] = nameserver_info(p->d.ns).start << 32 | i;
	p->draw = (struct draw){ p->draw.rest, &p->arena,
				 ids,          ARRAY_SIZE(ids),
				 words,        ARRAY_SIZE(words),
				 numbers,      ARRAY_SIZE(numbers),
				 &p->d.hash,   1 };
	for (int i = 0; i < STEPS_MAX && !draw_is_over(&p->draw) && !p->d.failed; i++)
		happen(p);
	/* Nobody can make it fail; another name server can depose it. */
	check(!p->d.failed || p->d.deposed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct play *p = calloc(1, sizeof(*p));
	struct nameserver_config config = { .copies = 2, .trash_ms = 60 * 1000 };

	check(p != NULL);
	p->draw.rest = (struct slice){ data, size };
	config.rebuilt = draw_byte(&p->draw) % 4 == 1;
	driver_start(&p->d, &config);
	p->d.follow = draw_byte(&p->draw) % 2;
	for (unsigned int i = PEERS; i-- > 0;)
		p->peers[i] = come(p, i);
	play(p);
	driver_restart(&p->d);
	driver_clock(&p->d, CLOCK_MAX_MS);
	check(!p->d.failed);
	driver_stop(&p->d);
	buffer_done(&p->frame);
	arena_done(&p->arena);
	free(p);
	return 0;
}

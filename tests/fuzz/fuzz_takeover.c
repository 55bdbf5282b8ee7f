/* A name server that begins among storage servers that say anything at all: it goes on, and what it
 * opens with is a catalogue that somebody has. */
#include <stdlib.h>

#include "error.h"
#include "message_drawn.h"
#include "takeover_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SERVERS = 3, RUN_MAX_MS = 5000, STEPS_MAX = 200, NUMBERS = 6 };

struct begin {
	struct world world;
	struct line_of_batches line;
	struct draw draw;
	struct arena arena;
	struct buffer frame;
	bool client;
};

static void say(struct begin *b, uint64_t conn, const struct message *message)
{
	struct frame_header header;

	if (!draw_frame(message, &b->frame, &header))
		return;
	buffer_append(&b->world.inbox, &conn, sizeof(conn));
	buffer_append(&b->world.inbox, b->frame.data, b->frame.size);
}

/* Answers to what it asks bear the ids of its requests, which are small. */
static void say_anything(struct begin *b)
{
	static const uint16_t asked[] = { MSG_promise, MSG_pull, MSG_page, MSG_hello };
	uint8_t kind = draw_byte(&b->draw);
	unsigned int from = kind % (SERVERS + 1);
	uint64_t conn = from ? b->world.fakes[from].conn : CLIENT_CONN;
	struct message message;

	if (conn == 0 || (conn == CLIENT_CONN && (!b->client || b->world.client_closed)))
		return;
	if (kind < UINT8_MAX / 2)
		message = draw_message(&b->draw, message_info(asked[kind / 4 % 4]), true);
	else
		message = draw_message(&b->draw, draw_info(&b->draw), draw_byte(&b->draw) % 2);
	say(b, conn, &message);
}

static void hear_anything(struct begin *b)
{
	struct beacon beacon = world_nameserver(draw_number(&b->draw, UINT64_MAX));

	beacon.kind = 1 + draw_byte(&b->draw) % 4;
	beacon.server = draw_id(&b->draw);
	beacon.cluster = draw_id(&b->draw);
	beacon.waits = draw_byte(&b->draw) % 2;
	beacon.fetches = draw_byte(&b->draw) % 2;
	world_hear(&b->world, &beacon);
}

static void server_changes(struct begin *b)
{
	unsigned int number = 1 + draw_byte(&b->draw) % SERVERS;
	struct fake *fake = &b->world.fakes[number];

	if (fake->conn) {
		world_disconnect(&b->world, number);
		return;
	}
	world_fake(&b->world, number, &b->line, draw_byte(&b->draw) % (b->line.count + 1));
	fake->promised = draw_number(&b->draw, UINT64_MAX);
	fake->opening = draw_byte(&b->draw) % 4 == 0;
	fake->busy = draw_byte(&b->draw) % 4;
	fake->dies_in = draw_byte(&b->draw) % 8;
	fake->oldest = draw_byte(&b->draw) % 8;
	world_connect(&b->world, number);
}

static void client_comes(struct begin *b)
{
	if (!b->client)
		world_client(&b->world, draw_byte(&b->draw) % 2);
	b->client = true;
}

static void start_again(struct begin *b)
{
	if (draw_byte(&b->draw) % 4 != 0)
		return;
	b->client = false;
	world_restart(&b->world);
}

static void live(struct begin *b)
{
	struct world *world = &b->world;

	for (int i = 0;
	     i < STEPS_MAX && !draw_is_over(&b->draw) && !world->opened && !world->refused; i++) {
		switch (draw_byte(&b->draw) % 8) {
		case 0: server_changes(b); break;
		case 1: hear_anything(b); break;
		case 2: client_comes(b); break;
		case 3: world_run(world, 1 + draw_number(&b->draw, RUN_MAX_MS)); break;
		case 4: world->keep_error = draw_byte(&b->draw) % 8 ? 0 : -ERR_IO; break;
		case 5: start_again(b); break;
		default: say_anything(b); world_run(world, 0);
		}
	}
}

static void begin(struct begin *b)
{
	const uint64_t numbers[NUMBERS] = { b->line.heads[1].sequence,
					    b->line.count,
					    b->line.heads[b->line.count].epoch,
					    5,
					    6,
					    UINT64_MAX };
	const struct id ids[] = { the_cluster,          fake_id(1),   fake_id(2), fake_id(3),
				  b->world.config.self, { { 0xbb } }, { { 0 } } };
	struct digest digests[LINE_MAX_ + 1];
	struct slice words[LINE_MAX_ + 2] = { slice_of(THE_NAME) };
	struct slice raw = b->draw.rest;

	for (unsigned int i = 0; i <= b->line.count; i++)
		digests[i] = b->line.heads[i].hash;
	for (unsigned int i = 0; i < b->line.count; i++)
		words[1 + i] = (struct slice){ b->line.batches[i].data, b->line.batches[i].size };
	b->draw = (struct draw){ raw,     &b->arena,         ids,     ARRAY_SIZE(ids),
				 words,   b->line.count + 1, numbers, NUMBERS,
				 digests, b->line.count + 1 };
	b->world.config.standby = draw_byte(&b->draw) % 4 == 0;
	b->world.config.accept_rebuild = draw_byte(&b->draw) % 4 == 0;
	b->world.config.rebuilding = draw_byte(&b->draw) % 4 == 0;
	b->world.config.asked_epoch = draw_number(&b->draw, UINT64_MAX);
	world_begin(&b->world);
	live(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct begin b = { .frame = { 0 } };

	b.draw = (struct draw){ .rest = { data, size } };
	line_make(&b.line, 1 + draw_byte(&b.draw) % SERVERS);
	world_init(&b.world, &b.line, draw_byte(&b.draw) % (b.line.count + 1));
	begin(&b);
	world_done(&b.world);
	batches_done(&b.line);
	buffer_done(&b.frame);
	arena_done(&b.arena);
	return 0;
}

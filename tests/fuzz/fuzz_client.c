/* A client among name servers and storage servers that answer anything, with and without a name
 * server that is heard: it goes on, and nothing that was asked ends twice. */
#include <stdlib.h>

#include "client_stand_in.h"
#include "message_drawn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CONNECTIONS_MAX = 8, OPS_MAX = 8, STEPS_MAX = 150, WAIT_MAX_MS = 3000, ACCEPTED = 1001 };

struct talk {
	struct fake fake;
	struct draw draw;
	struct arena arena;
	struct buffer frame;
	uint64_t connections[CONNECTIONS_MAX]; /* 0: free */
	uint64_t accepted;
	struct client_op *ops[OPS_MAX];
};

static void check(bool condition)
{
	if (!condition)
		abort();
}

/* ---- what the core wants done ---- */

static void forget(struct talk *t, uint64_t connection)
{
	for (unsigned int i = 0; i < CONNECTIONS_MAX; i++) {
		if (t->connections[i] == connection)
			t->connections[i] = 0;
	}
}

static void remember(struct talk *t, uint64_t connection)
{
	for (unsigned int i = 0; i < CONNECTIONS_MAX; i++) {
		if (t->connections[i] == 0) {
			t->connections[i] = connection;
			return;
		}
	}
}

static void ended(struct talk *t, const struct client_op *op)
{
	bool known = false;

	for (unsigned int i = 0; i < OPS_MAX; i++) {
		if (t->ops[i] != op)
			continue;
		known = true;
		t->ops[i] = NULL;
	}
	check(known);
}

/* Dials succeed or fail later; bytes of files never move. */
static void carry_out(struct talk *t)
{
	for (size_t i = 0; i < t->fake.outbox.count; i++) {
		const struct client_action *action = &t->fake.outbox.actions[i];

		switch (action->kind) {
		case CLIENT_DIAL: remember(t, action->connection); break;
		case CLIENT_CLOSE: forget(t, action->connection); break;
		case CLIENT_DONE: ended(t, action->op); break;
		default: break;
		}
	}
	client_outbox_clear(&t->fake.outbox);
	arena_reset(&t->fake.arena);
	arena_reset(&t->arena);
}

static void step(struct talk *t, struct client_event event)
{
	fake_step(&t->fake, event);
	carry_out(t);
}

/* ---- what is asked of it ---- */

static struct client_op *request(struct talk *t, const struct client_start *start, int *ret_error)
{
	static const uint16_t codes[] = { MSG_stat, MSG_list, MSG_mkdir, MSG_status, MSG_nodes };
	unsigned int code = codes[draw_byte(&t->draw) % ARRAY_SIZE(codes)];
	struct message message = draw_message(&t->draw, message_info(code), false);

	return client_request(t->fake.client, start, code, (void *)message.body, ret_error);
}

static struct client_op *begin(struct talk *t, const struct client_start *start, int *ret_error)
{
	struct client *client = t->fake.client;
	const struct client_put put = { .path = slice_of("/p"),
					.size = draw_number(&t->draw, UINT64_MAX),
					.rewindable = draw_byte(&t->draw) % 2,
					.copies = 2,
					.append = draw_byte(&t->draw) % 4 == 1 };
	const struct client_get get = { .path = slice_of("/g"),
					.offset = draw_byte(&t->draw),
					.most = UINT64_MAX };

	switch (draw_byte(&t->draw) % 4) {
	case 0: return client_put(client, start, &put, ret_error);
	case 1: return client_get(client, start, &get, ret_error);
	case 2: return client_reach(client, start, &t->fake.servers[0], ret_error);
	default: return request(t, start, ret_error);
	}
}

static void ask(struct talk *t)
{
	unsigned int i = draw_byte(&t->draw) % OPS_MAX;
	struct client_start start = fake_start(&t->fake);
	int error = 0;

	if (t->ops[i]) {
		client_cancel(t->fake.client, t->ops[i], start.now_ms, start.outbox);
		t->ops[i] = NULL;
	} else {
		t->ops[i] = begin(t, &start, &error);
		check(t->ops[i] || error < 0);
	}
	carry_out(t);
}

/* ---- what comes ---- */

static uint64_t somebody(struct talk *t)
{
	return t->connections[draw_byte(&t->draw) % CONNECTIONS_MAX];
}

static void frame_comes(struct talk *t)
{
	static const uint16_t answered[] = { MSG_hello, MSG_port,       MSG_stat,   MSG_list,
					     MSG_open,  MSG_put_begin,  MSG_write,  MSG_read,
					     MSG_have,  MSG_put_commit, MSG_status, MSG_stored };
	uint8_t kind = draw_byte(&t->draw);
	uint64_t connection = somebody(t);
	const struct message_info *info =
		kind % 4 ? message_info(answered[kind / 4 % ARRAY_SIZE(answered)])
			 : draw_info(&t->draw);
	struct message message = draw_message(&t->draw, info, draw_byte(&t->draw) % 8);
	struct frame_header header;

	if (!connection || info->code == MSG_data || !draw_frame(&message, &t->frame, &header))
		return;
	step(t, (struct client_event){ .kind = CLIENT_FRAME,
				       .connection = connection,
				       .header = &header,
				       .body = t->frame.data + FRAME_HEADER_SIZE });
}

/* As those answer that are what they say. */
static void opens(struct talk *t, uint8_t role)
{
	uint64_t connection = somebody(t);
	struct message asked;
	struct id self = t->fake.servers[draw_byte(&t->draw) % FAKE_SERVERS];

	if (!connection || connection % 2)
		return;
	fake_step(&t->fake,
		  (struct client_event){ .kind = CLIENT_OPENED, .connection = connection });
	if (fake_was_sent(&t->fake, MSG_hello)) {
		asked = fake_sent(&t->fake, MSG_hello, NULL);
		carry_out(t);
		hello_say(&t->fake, connection, &asked, role, self);
	}
	carry_out(t);
}

static void closes(struct talk *t)
{
	uint64_t connection = somebody(t);

	if (!connection)
		return;
	forget(t, connection);
	step(t, (struct client_event){ .kind = CLIENT_CLOSED,
				       .connection = connection,
				       .error = -ERR_CONNECTION });
}

static void accepts(struct talk *t)
{
	struct endpoint peer = endpoint_ipv4(0x0a000101, 3503);
	uint64_t connection = ACCEPTED + 2 * t->accepted++;

	remember(t, connection);
	step(t, (struct client_event){ .kind = CLIENT_ACCEPTED,
				       .connection = connection,
				       .endpoints = &peer,
				       .count = 1 });
}

static void waits(struct talk *t)
{
	uint64_t end = t->fake.now_ms + draw_number(&t->draw, WAIT_MAX_MS);

	while (t->fake.now_ms < end) {
		t->fake.now_ms += CLIENT_TICK_MS;
		step(t, (struct client_event){ .kind = CLIENT_TICK });
	}
}

static void happen(struct talk *t)
{
	switch (draw_byte(&t->draw) % 16) {
	case 0:
	case 1: ask(t); break;
	case 2: waits(t); break;
	case 3: opens(t, ROLE_NAMESERVER); break;
	case 4: opens(t, ROLE_STORAGE); break;
	case 5: closes(t); break;
	case 6: accepts(t); break;
	case 7: step(t, (struct client_event){ .kind = CLIENT_LISTENED }); break;
	case 8: fake_beacon(&t->fake, 1, draw_byte(&t->draw) % 4); break;
	case 9: storage_beacon(&t->fake, 1, draw_byte(&t->draw) % FAKE_SERVERS); break;
	default: frame_comes(t);
	}
	carry_out(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct slice words[] = { { (const uint8_t *)"/g", 2 },
					      { (const uint8_t *)"test", 4 },
					      { NULL, 0 } };
	struct talk *t = calloc(1, sizeof(*t));
	struct id ids[FAKE_SERVERS + 2];

	check(t != NULL);
	fake_open(&t->fake, CLIENT_AUTO);
	memcpy(ids, t->fake.servers, sizeof(t->fake.servers));
	ids[FAKE_SERVERS] = stand_in_cluster;
	ids[FAKE_SERVERS + 1] = (struct id){ { 'c', 1 } };
	t->draw = (struct draw){ .rest = { data, size },
				 .arena = &t->arena,
				 .ids = ids,
				 .id_count = ARRAY_SIZE(ids),
				 .words = words,
				 .word_count = ARRAY_SIZE(words) };
	session_want(&t->fake);
	carry_out(t);
	for (int i = 0; i < STEPS_MAX && !draw_is_over(&t->draw); i++)
		happen(t);
	fake_close(&t->fake);
	buffer_done(&t->frame);
	arena_done(&t->arena);
	free(t);
	return 0;
}

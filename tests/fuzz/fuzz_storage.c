/* A storage server among name servers, other storage servers and clients that say anything: it
 * goes on, follows nobody whom it has not promised to, and its promise never goes back. */
#include <stdlib.h>

#include "endpoint.h"
#include "error.h"
#include "message_drawn.h"
#include "storage_desk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	CONNECTIONS_MAX = 8,
	STEPS_MAX = 200,
	JOBS_LEFT = 8, /* of the desk's; writes of the fixture's: */
	WRITES_LEFT = 2,
	TICK_MAX_MS = 30 * 1000,
	EPOCH = 5,
	NAMESERVER = 0xee,
	PAYLOAD_MAX = 3 * 64 * 1024,
};

struct stage {
	struct storage_desk desk;
	struct draw draw;
	struct arena arena;
	struct buffer frame;
	uint64_t connections[CONNECTIONS_MAX]; /* 0: free; the first: of the name server */
	uint64_t accepted;
	uint64_t promised;
};

static void check(bool condition)
{
	if (!condition)
		abort();
}

/* ---- what the core wants done ---- */

static void forget(struct stage *s, uint64_t connection)
{
	for (unsigned int i = 0; i < CONNECTIONS_MAX; i++) {
		if (s->connections[i] == connection)
			s->connections[i] = 0;
	}
}

static void remember(struct stage *s, uint64_t connection)
{
	for (unsigned int i = 1; i < CONNECTIONS_MAX; i++) {
		if (s->connections[i] == 0) {
			s->connections[i] = connection;
			return;
		}
	}
}

static void finish(struct stage *s)
{
	const struct fixture *f = &s->desk.f;

	for (unsigned int i = 0; i < f->outbox.count; i++) {
		if (f->outbox.actions[i].kind == ACT_CLOSE)
			forget(s, f->outbox.actions[i].connection);
	}
	check(f->promised_epoch >= s->promised);
	s->promised = f->promised_epoch;
	arena_reset(&s->arena);
}

static void copy_runs(struct stage *s)
{
	struct storage_desk *desk = &s->desk;

	while (desk->done < desk->count) {
		struct replica_job job = desk->jobs[desk->done];
		struct replica_result result;

		job.bytes = (struct slice){ desk->bytes[desk->done].data,
					    desk->bytes[desk->done].size };
		desk->done++;
		if (desk->count > DESK_JOBS_MAX - JOBS_LEFT)
			return;
		replica_run(desk->replica, &job, &result);
		fixture_step(&desk->f,
			     (struct storage_event){ .kind = STORAGE_REPLICA, .replica = &result });
		finish(s);
	}
}

static void step(struct stage *s, struct storage_event event)
{
	fixture_step(&s->desk.f, event);
	finish(s);
}

/* ---- what comes ---- */

static uint64_t somebody(struct stage *s)
{
	return s->connections[draw_byte(&s->draw) % CONNECTIONS_MAX];
}

static void frame_comes(struct stage *s)
{
	static const uint16_t of_nameservers[] = {
		MSG_register, MSG_heartbeat, MSG_batch,  MSG_promise,   MSG_inspect, MSG_fetch,
		MSG_delete,   MSG_pull,      MSG_page,   MSG_inventory, MSG_buckets, MSG_have,
		MSG_write,    MSG_read,      MSG_stored, MSG_hello
	};
	uint8_t kind = draw_byte(&s->draw);
	uint64_t connection = somebody(s);
	const struct message_info *info =
		kind % 4 ? message_info(of_nameservers[kind / 4 % ARRAY_SIZE(of_nameservers)])
			 : draw_info(&s->draw);
	struct message message = draw_message(&s->draw, info, draw_byte(&s->draw) % 2);
	struct frame_header header;

	if (!connection || info->code == MSG_data || !draw_frame(&message, &s->frame, &header))
		return;
	step(s, (struct storage_event){ .kind = STORAGE_FRAME,
					.connection = connection,
					.header = &header,
					.body = s->frame.data + FRAME_HEADER_SIZE });
}

static void data_comes(struct stage *s)
{
	static const uint8_t payload[PAYLOAD_MAX];
	struct data_head head = { .id = (uint32_t)draw_number(&s->draw, UINT32_MAX),
				  .flags = draw_byte(&s->draw) % 4,
				  .offset = draw_byte(&s->draw) % 4 * (uint64_t)65536,
				  .length = 1 + (uint32_t)draw_number(&s->draw, PAYLOAD_MAX - 1) };
	uint64_t connection = somebody(s);

	if (!connection)
		return;
	fixture_data(&s->desk.f, connection, &head, payload);
	finish(s);
}

static void somebody_comes(struct stage *s)
{
	static const uint8_t roles[] = { ROLE_NAMESERVER, ROLE_STORAGE, ROLE_CLIENT, ROLE_CLIENT };
	struct endpoint peer = endpoint_ipv4(0x0a000000u + draw_byte(&s->draw), 1000);
	uint64_t connection = STORAGE_ACCEPTED | ++s->accepted;
	struct hello_request hello = {
		.versions = PROTOCOL_VERSION << 16 | PROTOCOL_VERSION,
		.role = roles[draw_byte(&s->draw) % ARRAY_SIZE(roles)],
		.cluster = s->desk.f.cluster,
		.cluster_name = slice_of("c"),
		.self = draw_id(&s->draw),
		.epoch = draw_number(&s->draw, UINT64_MAX),
	};

	remember(s, connection);
	step(s, (struct storage_event){ .kind = STORAGE_OPENED,
					.connection = connection,
					.endpoints = &peer,
					.endpoint_count = 1 });
	if (draw_byte(&s->draw) % 8 == 0)
		return;
	fixture_request(&s->desk.f, connection, MSG_hello, 1, &hello);
	finish(s);
}

static void somebody_goes(struct stage *s)
{
	uint64_t connection = somebody(s);

	if (!connection)
		return;
	forget(s, connection);
	step(s, (struct storage_event){ .kind = STORAGE_CLOSED,
					.connection = connection,
					.error = -ERR_CONNECTION });
}

/* What was asked of the glue in the last step is done, well or not. */
static void glue_answers(struct stage *s)
{
	const struct fixture *f = &s->desk.f;
	struct endpoint endpoint = endpoint_ipv4(0x0a000000u + draw_byte(&s->draw) % 4, 6235);
	int error = draw_byte(&s->draw) % 4 ? 0 : -ERR_CONNECTION;
	const struct storage_action *found;
	struct storage_event event = { .error = error,
				       .endpoints = &endpoint,
				       .endpoint_count = 1 };

	if ((found = fixture_find(f, ACT_DIAL))) {
		event.kind = STORAGE_DIALLED;
		event.connection = found->connection;
		if (error == 0)
			remember(s, found->connection);
	} else if (fixture_find(f, ACT_RESOLVE)) {
		event.kind = STORAGE_RESOLVED;
	} else if ((found = fixture_find(f, ACT_INSPECT))) {
		event.kind = STORAGE_INSPECTED;
		event.chunk = found->chunk;
		event.length = found->length;
		event.error = error ? -ERR_CORRUPT : 0;
		event.digest = &(const struct digest){ { 0 } };
	} else {
		return;
	}
	step(s, event);
}

static void write_ends(struct stage *s)
{
	struct fixture *f = &s->desk.f;

	for (unsigned int i = 0; i < f->write_count; i++) {
		if (f->writes[i].transfer && !f->writes[i].aborted && f->chunk_count < 32) {
			fixture_stored(f, f->writes[i].transfer,
				       draw_byte(&s->draw) % 8 ? 0 : -ERR_IO);
			finish(s);
			return;
		}
	}
}

static void beacon_comes(struct stage *s)
{
	struct beacon beacon = { .kind = 1 + draw_byte(&s->draw) % 4,
				 .port = 6235,
				 .cluster = draw_id(&s->draw),
				 .server = draw_id(&s->draw),
				 .epoch = draw_number(&s->draw, UINT64_MAX),
				 .start = 1,
				 .counter = draw_byte(&s->draw),
				 .interval_ms = 5000,
				 .cluster_name = "c" };
	struct endpoint from = endpoint_ipv4(0x0a000000u + draw_byte(&s->draw), 3503);
	uint8_t datagram[BEACON_SIZE];

	beacon_encode(&beacon, NULL, datagram);
	step(s, (struct storage_event){ .kind = STORAGE_BEACON,
					.data = { datagram, sizeof(datagram) },
					.endpoints = &from,
					.endpoint_count = 1 });
}

static void happen(struct stage *s)
{
	switch (draw_byte(&s->draw) % 16) {
	case 0: somebody_comes(s); break;
	case 1: somebody_goes(s); break;
	case 2: data_comes(s); break;
	case 3: write_ends(s); break;
	case 4: beacon_comes(s); break;
	case 5:
	case 6: glue_answers(s); break;
	case 7:
		s->desk.f.now_ms += draw_number(&s->draw, TICK_MAX_MS);
		step(s, (struct storage_event){ .kind = STORAGE_TICK });
		break;
	case 8: s->desk.f.failed = draw_byte(&s->draw) == 1; break;
	default: frame_comes(s);
	}
	if (draw_byte(&s->draw) % 4)
		copy_runs(s);
}

static void play(struct stage *s)
{
	const struct id ids[] = { fixture_id(1), fixture_id(2),     fixture_id(NAMESERVER),
				  fixture_id(3), s->desk.f.cluster, s->desk.f.client,
				  { { 0 } } };
	const struct slice words[] = { slice_of("c"),
				       slice_of("/d"),
				       slice_of("/d/a"),
				       slice_of(""),
				       { s->desk.batch.data, s->desk.batch.size } };
	const uint64_t numbers[] = { DESK_CHUNK, EPOCH, EPOCH + 1, 65536, 1024 * 1024, 200, 1000 };

	s->draw = (struct draw){ s->draw.rest,
				 &s->arena,
				 ids,
				 ARRAY_SIZE(ids),
				 words,
				 ARRAY_SIZE(words),
				 numbers,
				 ARRAY_SIZE(numbers),
				 &s->desk.head.hash,
				 1 };
	for (int i = 0; i < STEPS_MAX && !draw_is_over(&s->draw); i++) {
		if (s->desk.count > DESK_JOBS_MAX - JOBS_LEFT ||
		    s->desk.f.write_count > FAKE_CHUNKS_MAX - WRITES_LEFT)
			return;
		happen(s);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stage *s = calloc(1, sizeof(*s));

	check(s != NULL);
	s->draw.rest = (struct slice){ data, size };
	desk_begin(&s->desk);
	s->desk.f.scrub_s = draw_byte(&s->draw);
	desk_start(&s->desk);
	s->connections[0] = desk_dial(&s->desk, NAMESERVER);
	copy_runs(s);
	if (draw_byte(&s->draw) % 8) {
		desk_register(&s->desk, s->connections[0], EPOCH);
		if (draw_byte(&s->draw) % 8)
			desk_fill(&s->desk, s->connections[0], EPOCH);
		copy_runs(s);
	}
	s->promised = s->desk.f.promised_epoch;
	play(s);
	desk_end(&s->desk);
	buffer_done(&s->frame);
	arena_done(&s->arena);
	free(s);
	return 0;
}

#include "takeover_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "catalogue.h"
#include "error.h"
#include "kv_memory.h"
#include "pages.h"

const struct id the_cluster = { { 0xc1, 1 } };
static const struct id self = { { 0xaa, 1 } };

struct id fake_id(unsigned int number)
{
	return (struct id){ { 0x5e, (uint8_t)number } };
}

/* ---- histories ---- */

static void seal(struct line_of_batches *line, uint64_t epoch)
{
	const struct journal_head *last = &line->heads[line->count];
	struct batch_head head = { .epoch = epoch,
				   .sequence = last->sequence + 1,
				   .previous = last->hash };
	struct digest hash;

	assert_true(line->count < LINE_MAX_);
	assert_true(batch_seal(line->kv, &head, &line->batches[line->count++], &hash) > 0);
	line->heads[line->count] = (struct journal_head){ epoch, head.sequence, hash };
}

void line_init(struct line_of_batches *line, unsigned int members)
{
	*line = (struct line_of_batches){ .set.now.count = members };
	assert_int_equal(kv_memory_new(&line->kv), 0);
	assert_int_equal(catalogue_format(line->kv, &the_cluster, THE_NAME), 0);
	for (unsigned int i = 0; i < members; i++)
		line->set.now.nodes[i] = fake_id(i + 1);
	assert_int_equal(journal_set_put(line->kv, &line->set), 0);
	seal(line, 1);
}

void line_add(struct line_of_batches *line, uint64_t epoch, size_t size)
{
	uint8_t *value = test_calloc(1, size + 1);
	char key[16];

	snprintf(key, sizeof(key), "zrow%02u", line->count);
	value[0] = (uint8_t)epoch;
	assert_int_equal(kv_put(line->kv, slice_of(key), (struct slice){ value, size + 1 }), 0);
	test_free(value);
	seal(line, epoch);
}

enum { BIG = 2000 };

void line_make(struct line_of_batches *line, unsigned int members)
{
	line_init(line, members);
	for (unsigned int i = 0; i < 9; i++)
		line_add(line, 1 + i / 3, i == 5 ? BIG : 50);
}

static struct kv *rows_after(const struct line_of_batches *line, unsigned int count)
{
	struct kv *kv;

	assert_int_equal(kv_memory_new(&kv), 0);
	for (unsigned int i = 0; i < count; i++) {
		struct slice batch = { line->batches[i].data, line->batches[i].size }, changes;
		struct batch_head head;
		struct digest hash;
		size_t size;

		assert_int_equal(batch_read(batch, &head, &changes, &size, &hash), 1);
		assert_int_equal(kv_memory_apply(kv, changes), 0);
	}
	return kv;
}

void line_fork(struct line_of_batches *line, const struct line_of_batches *other, unsigned int from)
{
	*line = (struct line_of_batches){ .set = other->set, .count = from };
	line->kv = rows_after(other, from);
	for (unsigned int i = 0; i < from; i++)
		buffer_append(&line->batches[i], other->batches[i].data, other->batches[i].size);
	memcpy(line->heads, other->heads, (from + 1) * sizeof(line->heads[0]));
}

void batches_done(struct line_of_batches *line)
{
	for (unsigned int i = 0; i < line->count; i++)
		buffer_done(&line->batches[i]);
	kv_memory_free(line->kv);
}

/* ---- the world ---- */

void world_init(struct world *world, const struct line_of_batches *line, unsigned int has)
{
	struct replica_result result;

	*world = (struct world){ .now_ms = 1000 };
	assert_int_equal(replica_memory_init(&world->rows, NULL), 0);
	assert_int_equal(replica_new(NULL, &world->rows.rows, &replica_limits_own, &world->own), 0);
	replica_run(world->own, &(struct replica_job){ .kind = REPLICA_OPEN }, &result);
	for (unsigned int i = 0; i < has; i++) {
		struct slice batch = { line->batches[i].data, line->batches[i].size };

		replica_run(world->own,
			    &(struct replica_job){ .kind = REPLICA_APPEND, .bytes = batch },
			    &result);
		assert_int_equal(result.error, 0);
	}
	replica_run(world->own, &(struct replica_job){ .kind = REPLICA_LOOK }, &result);
	assert_int_equal(result.error, 0);
	world->config = (struct takeover_config){ .self = self,
						  .seed = 7,
						  .port = 6235,
						  .version = "0",
						  .head = result.head,
						  .facts = result.facts,
						  .cluster_name = THE_NAME };
}

void world_begin(struct world *world)
{
	assert_int_equal(takeover_new(&world->config, world->now_ms, &world->takeover), 0);
}

void world_done(struct world *world)
{
	takeover_free(world->takeover);
	takeover_outbox_done(&world->outbox);
	replica_free(world->own);
	replica_memory_done(&world->rows);
	buffer_done(&world->inbox);
	buffer_done(&world->job_bytes);
	buffer_done(&world->notes);
	arena_done(&world->arena);
}

void world_restart(struct world *world)
{
	struct replica_result result;

	takeover_free(world->takeover);
	replica_free(world->own);
	buffer_clear(&world->inbox);
	buffer_clear(&world->notes);
	world->config.unfinished = world->rows.mark.building;
	world->config.asked_epoch = world->kept;
	world->config.rebuilding = world->marked;
	assert_int_equal(replica_new(NULL, &world->rows.rows, &replica_limits_own, &world->own), 0);
	replica_run(world->own, &(struct replica_job){ .kind = REPLICA_OPEN }, &result);
	assert_int_equal(result.error, 0);
	replica_run(world->own, &(struct replica_job){ .kind = REPLICA_LOOK }, &result);
	assert_int_equal(result.error, 0);
	world->config.head = result.head;
	world->config.facts = result.facts;
	world->opened = false;
	for (unsigned int i = 1; i <= FAKES_MAX; i++)
		world->fakes[i].conn = 0;
	world_begin(world);
}

static void to_core(struct world *world, uint64_t conn, const struct buffer *frame)
{
	buffer_append(&world->inbox, &conn, sizeof(conn));
	buffer_append(&world->inbox, frame->data, frame->size);
}

static void fake_asks(struct world *world, const struct fake *fake, unsigned int code,
		      const void *request)
{
	struct buffer frame = { 0 };

	assert_int_equal(request_encode(&frame, code, 1, request), 0);
	to_core(world, fake->conn, &frame);
	buffer_done(&frame);
}

static void fake_answers(struct world *world, const struct fake *fake,
			 const struct message *request, const void *reply)
{
	struct buffer frame = { 0 };
	unsigned int code = request->info->code;

	assert_int_equal(reply ? reply_encode(&frame, code, request->id, reply)
			       : refusal_encode(&frame, code, request->id, -ERR_BUSY),
			 0);
	to_core(world, fake->conn, &frame);
	buffer_done(&frame);
}

static void fake_delays(struct world *world, const struct fake *fake, const struct message *request)
{
	struct buffer frame = { 0 };

	assert_int_equal(refusal_encode(&frame, request->info->code, request->id, -ERR_IN_PROGRESS),
			 0);
	to_core(world, fake->conn, &frame);
	buffer_done(&frame);
}

static unsigned int number_of(const struct world *world, const struct fake *fake)
{
	return (unsigned int)(fake - world->fakes);
}

static const struct journal_head *head_of(const struct fake *fake)
{
	static const struct journal_head none;

	return fake->has ? &fake->line->heads[fake->has] : &none;
}

/* ---- what a storage server does ---- */

static void fake_registers(struct world *world, const struct fake *fake)
{
	static const struct journal_head none;
	const struct journal_head *head = fake->opening || fake->incomplete ? &none : head_of(fake);
	struct register_request request = { .start = 1,
					    .promised_epoch = fake->promised,
					    .name = slice_of("fake"),
					    .version = slice_of("0"),
					    .catalogue_epoch = head->epoch,
					    .catalogue_sequence = head->sequence,
					    .catalogue_hash = head->hash };

	fake_asks(world, fake, MSG_register, &request);
}

static unsigned int ids_of(const struct journal_members *members, struct node_id *ret)
{
	for (unsigned int i = 0; i < members->count; i++)
		ret[i].node = members->nodes[i];
	return members->count;
}

static void fake_promises(struct world *world, struct fake *fake, const struct message *message)
{
	const struct promise_request *request = message->body;
	struct promise_reply reply = { .changing = 0 };
	struct node_id now[JOURNAL_SET_MAX], before[JOURNAL_SET_MAX];

	fake->promises++;
	if (fake->busy > 0) {
		fake->busy--;
		fake_answers(world, fake, message, NULL);
		return;
	}
	if (request->epoch > fake->promised) {
		fake->previous = fake->promised;
		fake->previous_to = fake->promised_to;
		fake->promised = request->epoch;
		fake->promised_to = request->server;
		fake->process = request->process;
	}
	reply.previous = fake->previous;
	reply.previous_server = fake->previous_to;
	reply.epoch = fake->promised;
	reply.server = fake->promised_to;
	reply.process = fake->process;
	reply.catalogue_epoch = head_of(fake)->epoch;
	reply.catalogue_sequence = head_of(fake)->sequence;
	reply.catalogue_hash = head_of(fake)->hash;
	reply.incomplete = fake->incomplete;
	if (fake->has && !fake->incomplete) {
		reply.changing = fake->line->set.changing;
		reply.journal_set = now;
		reply.journal_set_count = (uint16_t)ids_of(&fake->line->set.now, now);
		reply.journal_before = before;
		reply.journal_before_count = (uint16_t)ids_of(&fake->line->set.before, before);
	}
	fake_answers(world, fake, message, &reply);
}

enum { PART = 300, PAGE_SIZE = 200 };

static void fake_gives_batch(const struct fake *fake, const struct pull_request *request,
			     struct pull_reply *reply)
{
	const struct buffer *batch = &fake->line->batches[request->sequence];
	size_t rest = batch->size - request->offset;

	reply->state = PULL_BATCHES;
	reply->size = batch->size > PART ? (uint32_t)batch->size : 0;
	reply->batches = (struct slice){ batch->data + request->offset, rest < PART ? rest : PART };
}

static void fake_pulled(struct world *world, struct fake *fake, const struct message *message)
{
	const struct pull_request *request = message->body;
	struct pull_reply reply = { .sequence = head_of(fake)->sequence,
				    .epoch = head_of(fake)->epoch,
				    .state = PULL_LEVEL };

	fake->pulls++;
	if (request->sequence < fake->has && !fake->incomplete) {
		if (request->sequence + 1 < fake->oldest ||
		    !digest_equal(&request->hash, &fake->line->heads[request->sequence].hash))
			reply.state = PULL_UNKNOWN;
		else
			fake_gives_batch(fake, request, &reply);
	}
	fake_answers(world, fake, message, &reply);
}

static void fake_paged(struct world *world, struct fake *fake, const struct message *message)
{
	const struct page_request *request = message->body;
	struct kv *kv = rows_after(fake->line, fake->has);
	struct buffer rows = { 0 };
	struct page_reply reply = { .sequence = head_of(fake)->sequence,
				    .epoch = head_of(fake)->epoch,
				    .hash = head_of(fake)->hash };
	int rc = page_read(kv, request->after, PAGE_SIZE, &rows);

	assert_true(rc >= 0);
	fake->pages++;
	reply.more = rc == 1;
	reply.rows = (struct slice){ rows.data, rows.size };
	fake_answers(world, fake, message, &reply);
	buffer_done(&rows);
	kv_memory_free(kv);
}

static void fake_gets(struct world *world, struct fake *fake, const struct message *message)
{
	const bool data = message->info->code == MSG_pull || message->info->code == MSG_page;

	if (message->reply && message->info->code != MSG_hello)
		return;
	if (data && fake->dies_in > 0 && --fake->dies_in == 0) {
		world_disconnect(world, number_of(world, fake));
		fake->up = false;
		return;
	}
	if (data && fake->delays > 0) {
		fake->delays--;
		fake_delays(world, fake, message);
		return;
	}
	if (data && fake->refuses > 0) {
		fake->refuses--;
		fake_answers(world, fake, message, NULL);
		return;
	}
	switch (message->info->code) {
	case MSG_hello:
		if (!message->status)
			fake_registers(world, fake);
		break;
	case MSG_promise: fake_promises(world, fake, message); break;
	case MSG_pull: fake_pulled(world, fake, message); break;
	case MSG_page: fake_paged(world, fake, message); break;
	default: break;
	}
}

/* ---- actions ---- */

static void client_gets(struct world *world, const struct message *message)
{
	world->client_status[world->client_answers++ % ASIDE_MAX_] = message->status;
	if (message->info->code == MSG_hello && !message->status)
		world->client_epoch = ((const struct hello_reply *)message->body)->epoch;
	if (message->info->code == MSG_status && !message->status) {
		const struct status_reply *reply = message->body;

		world->client_state = reply->state;
		snprintf(world->client_waiting, sizeof(world->client_waiting), "%.*s",
			 (int)reply->waiting.size, (const char *)reply->waiting.data);
	}
}

static void act_send(struct world *world, uint64_t conn, struct slice bytes)
{
	struct frame_header header;
	struct message message;
	size_t size;

	while (frame_next(bytes.data, bytes.size, &header, &size) == 1) {
		assert_int_equal(message_decode(&header, bytes.data + FRAME_HEADER_SIZE,
						&world->arena, &message),
				 0);
		bytes = (struct slice){ bytes.data + size, bytes.size - size };
		if (conn == CLIENT_CONN)
			client_gets(world, &message);
		for (unsigned int i = 1; i <= FAKES_MAX; i++) {
			if (world->fakes[i].conn == conn)
				fake_gets(world, &world->fakes[i], &message);
		}
	}
	assert_int_equal(bytes.size, 0);
}

static void act_close(struct world *world, uint64_t conn)
{
	world->client_closed = world->client_closed || conn == CLIENT_CONN;
	for (unsigned int i = 1; i <= FAKES_MAX; i++) {
		if (world->fakes[i].conn == conn)
			world->fakes[i].conn = 0;
	}
}

static void act_beacon(struct world *world, struct slice bytes)
{
	struct beacon beacon;

	assert_int_equal(beacon_decode(bytes.data, bytes.size, NULL, &beacon), 0);
	world->probes += beacon.kind == BEACON_PROBE;
	if (beacon.kind != BEACON_BEGINNER)
		return;
	world->beacons++;
	world->beacon_epoch = beacon.epoch;
	world->beacon_waits = beacon.waits;
	for (unsigned int i = 1; i <= FAKES_MAX; i++) {
		if (world->fakes[i].up && !world->fakes[i].conn)
			world_connect(world, i);
	}
}

static void step(struct world *world, struct takeover_event *event);

static void job_run(struct world *world, const struct replica_job *job, int error)
{
	struct replica_result result;

	replica_run(world->own, job, &result);
	if (error)
		result.error = error;
	step(world, &(struct takeover_event){ .kind = TAKEOVER_REPLICA, .replica = &result });
}

static void act_job(struct world *world, const struct takeover_action *action, struct slice bytes)
{
	struct replica_job job = action->job;

	world->unmarked += !world->marked;
	job.bytes = bytes;
	if (!world->holds) {
		job_run(world, &job, 0);
		return;
	}
	assert_int_equal(world->job.kind, 0); /* one at a time */
	buffer_clear(&world->job_bytes);
	buffer_append(&world->job_bytes, bytes.data, bytes.size);
	world->job = job;
}

void world_job(struct world *world)
{
	struct replica_job job = world->job;
	struct buffer bytes = world->job_bytes;
	int error = world->job_error;

	assert_int_not_equal(job.kind, 0);
	world->job = (struct replica_job){ 0 };
	world->job_bytes = (struct buffer){ 0 };
	world->job_error = 0;
	job.bytes = (struct slice){ bytes.data, bytes.size };
	job_run(world, &job, error);
	buffer_done(&bytes);
}

static void world_keeps(struct world *world, const struct takeover_action *action)
{
	world->kept = action->epoch;
	world->marked = action->rebuilding;
}

static void act(struct world *world, const struct takeover_action *action, struct slice bytes)
{
	switch (action->kind) {
	case TAKEOVER_SEND: act_send(world, action->conn, bytes); break;
	case TAKEOVER_CLOSE: act_close(world, action->conn); break;
	case TAKEOVER_BEACON: act_beacon(world, bytes); break;
	case TAKEOVER_JOB: act_job(world, action, bytes); break;
	case TAKEOVER_KEEP:
		if (!world->keep_error)
			world_keeps(world, action);
		step(world,
		     &(struct takeover_event){ .kind = TAKEOVER_KEPT, .error = world->keep_error });
		break;
	case TAKEOVER_NOTE:
		buffer_printf(&world->notes, "%s %.*s\n", action->event, (int)bytes.size,
			      (const char *)bytes.data);
		break;
	case TAKEOVER_OPEN: world->opened = true; break;
	case TAKEOVER_REFUSE:
		world->refused = action->error;
		snprintf(world->why, sizeof(world->why), "%.*s", (int)bytes.size,
			 (const char *)bytes.data);
		break;
	}
}

static void step(struct world *world, struct takeover_event *event)
{
	struct takeover_outbox outbox;

	event->now_ms = world->now_ms;
	event->wall_ms = 1700000000000 + world->now_ms;
	takeover_step(world->takeover, event, &world->outbox);
	outbox = world->outbox;
	world->outbox = (struct takeover_outbox){ 0 };
	assert_int_equal(outbox.error, 0);
	for (unsigned int i = 0; i < outbox.count; i++)
		act(world, &outbox.actions[i], takeover_action_bytes(&outbox, &outbox.actions[i]));
	takeover_outbox_done(&outbox);
}

/* ---- driving ---- */

static void deliver_all(struct world *world)
{
	while (world->inbox.size > 0) {
		struct buffer inbox = world->inbox;
		size_t at = 0;

		world->inbox = (struct buffer){ 0 };
		while (at < inbox.size) {
			struct takeover_event event = { .kind = TAKEOVER_FRAME };
			struct frame_header header;
			size_t size;

			memcpy(&event.conn, inbox.data + at, sizeof(event.conn));
			at += sizeof(event.conn);
			assert_int_equal(
				frame_next(inbox.data + at, inbox.size - at, &header, &size), 1);
			event.header = &header;
			event.body = inbox.data + at + FRAME_HEADER_SIZE;
			at += size;
			step(world, &event);
		}
		buffer_done(&inbox);
	}
}

void world_run(struct world *world, uint64_t ms)
{
	uint64_t end_ms = world->now_ms + ms;

	while (!world->opened && !world->refused) {
		uint64_t due = takeover_deadline(world->takeover);

		deliver_all(world);
		if (world->opened || world->refused || world->now_ms >= end_ms)
			return;
		if (due > world->now_ms)
			world->now_ms = due < end_ms ? due : end_ms;
		step(world, &(struct takeover_event){ .kind = TAKEOVER_TICK });
	}
}

struct fake *world_fake(struct world *world, unsigned int number,
			const struct line_of_batches *line, unsigned int has)
{
	struct fake *fake = &world->fakes[number];

	*fake = (struct fake){ .up = true, .line = line, .has = has };
	if (has) {
		fake->promised = line->heads[has].epoch;
		fake->promised_to = self;
	}
	return fake;
}

void world_connect(struct world *world, unsigned int number)
{
	struct fake *fake = &world->fakes[number];
	struct hello_request hello = { .versions = PROTOCOL_VERSION << 16 | PROTOCOL_VERSION,
				       .epoch = fake->promised,
				       .role = ROLE_STORAGE,
				       .cluster = the_cluster,
				       .cluster_name = slice_of(THE_NAME),
				       .self = fake_id(number) };

	if (fake->no_cluster)
		hello.cluster = (struct id){ 0 };
	fake->conn = ++world->last_conn;
	step(world, &(struct takeover_event){ .kind = TAKEOVER_OPENED, .conn = fake->conn });
	fake_asks(world, fake, MSG_hello, &hello);
}

void world_disconnect(struct world *world, unsigned int number)
{
	uint64_t conn = world->fakes[number].conn;

	world->fakes[number].conn = 0;
	if (conn)
		step(world, &(struct takeover_event){ .kind = TAKEOVER_CLOSED, .conn = conn });
}

struct beacon world_nameserver(uint64_t epoch)
{
	struct beacon beacon = { .kind = BEACON_NAMESERVER,
				 .port = 1,
				 .cluster = the_cluster,
				 .server = { { 0xbb } },
				 .epoch = epoch,
				 .start = 3,
				 .counter = 1,
				 .interval_ms = 5000,
				 .cluster_name = THE_NAME };

	return beacon;
}

void world_hear(struct world *world, const struct beacon *beacon)
{
	step(world, &(struct takeover_event){ .kind = TAKEOVER_HEARD, .beacon = beacon });
}

void world_client_asks(struct world *world, unsigned int code, const void *request)
{
	struct buffer frame = { 0 };

	assert_int_equal(request_encode(&frame, code, 9, request), 0);
	to_core(world, CLIENT_CONN, &frame);
	buffer_done(&frame);
	deliver_all(world);
}

void world_client(struct world *world, bool hello)
{
	const struct hello_request request = { .versions =
						       PROTOCOL_VERSION << 16 | PROTOCOL_VERSION,
					       .role = ROLE_CLIENT,
					       .self = { { 0xcc } } };

	step(world, &(struct takeover_event){ .kind = TAKEOVER_OPENED, .conn = CLIENT_CONN });
	if (hello)
		world_client_asks(world, MSG_hello, &request);
}

bool world_noted(const struct world *world, const char *event)
{
	size_t length = strlen(event);

	for (size_t at = 0; at + length <= world->notes.size; at++) {
		if (memcmp(world->notes.data + at, event, length) == 0)
			return true;
	}
	return false;
}

bool world_has(struct world *world, const struct line_of_batches *line, unsigned int count)
{
	struct kv *kv = rows_after(line, count);
	struct digest expected, found;
	struct replica_result result;

	replica_run(world->own, &(struct replica_job){ .kind = REPLICA_LOOK }, &result);
	assert_int_equal(rows_digest(kv, &expected), 0);
	assert_int_equal(rows_digest(world->rows.kv, &found), 0);
	kv_memory_free(kv);
	return result.head.last.sequence == line->heads[count].sequence &&
	       digest_equal(&result.head.last.hash, &line->heads[count].hash) &&
	       digest_equal(&expected, &found);
}

#include "storage_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "endpoint.h"
#include "error.h"
#include "hash.h"
#include "inventory.h"

/* ---- the store ---- */

static struct fake_chunk *chunk_of(struct fixture *f, uint64_t chunk)
{
	for (unsigned int i = 0; i < f->chunk_count; i++) {
		if (f->chunks[i].chunk == chunk)
			return &f->chunks[i];
	}
	return NULL;
}

static void fake_usage(void *context, struct storage_usage *ret)
{
	struct fixture *f = context;

	*ret = (struct storage_usage){ .capacity = 1 << 30,
				       .free = f->free_bytes,
				       .used = f->used_bytes,
				       .chunks = f->chunk_count,
				       .failed = f->failed };
}

static int fake_find(void *context, uint64_t chunk, uint32_t *ret_length, struct digest *digest)
{
	struct fake_chunk *found = chunk_of(context, chunk);

	if (!found)
		return -ERR_NOT_FOUND;
	if (digest && found->damaged)
		return -ERR_CORRUPT;
	if (digest) {
		*ret_length = found->length;
		*digest = found->digest;
	}
	return 0;
}

static int fake_remove(void *context, uint64_t chunk)
{
	struct fixture *f = context;
	struct fake_chunk *found = chunk_of(f, chunk);

	if (!found)
		return -ERR_NOT_FOUND;
	*found = f->chunks[--f->chunk_count];
	return 0;
}

static size_t fake_list(void *context, uint64_t after, struct chunk_ref *ret, size_t most)
{
	struct fixture *f = context;
	size_t count = 0;

	for (unsigned int i = 0; i < f->chunk_count && count < most; i++) {
		if (f->chunks[i].chunk > after)
			ret[count++] =
				(struct chunk_ref){ f->chunks[i].chunk, f->chunks[i].length };
	}
	return count;
}

static size_t fake_list_buckets(void *context, const uint8_t *buckets, uint64_t after,
				struct chunk_ref *ret, size_t most)
{
	size_t count = 0;

	while (count < most && fake_list(context, after, &ret[count], 1) == 1) {
		after = ret[count].chunk;
		count += inventory_bit(buckets, inventory_bucket(after));
	}
	return count;
}

static struct digest fake_inventory(void *context)
{
	(void)context;
	return (struct digest){ { 7 } };
}

static void fake_buckets(void *context, uint64_t *ret)
{
	const struct fixture *f = context;
	struct inventory_sum sum = { 0 };

	for (unsigned int i = 0; i < f->chunk_count; i++)
		inventory_turn(&sum, f->chunks[i].chunk);
	memcpy(ret, sum.buckets, sizeof(sum.buckets));
}

static int fake_adopt(void *context, const struct id *cluster, const char *name)
{
	struct fixture *f = context;

	(void)name;
	f->adopted++;
	f->adopted_id = *cluster;
	return 0;
}

static int fake_promise(void *context, uint64_t epoch, const struct id *server)
{
	struct fixture *f = context;

	if (epoch < f->promised_epoch)
		return -ERR_STALE;
	if (f->promise_error)
		return f->promise_error;
	f->promised_epoch = epoch;
	f->promised_server = *server;
	return 0;
}

static int fake_write_new(void *context, const struct storage_meta *meta, struct store_write **ret)
{
	struct fixture *f = context;

	for (unsigned int i = 0; i < f->write_count; i++) {
		if (f->writes[i].meta.chunk == meta->chunk && !f->writes[i].aborted)
			return -ERR_EXISTS;
	}
	if (meta->length > f->free_bytes)
		return -ERR_NO_SPACE;
	assert_true(f->write_count < FAKE_CHUNKS_MAX);
	f->writes[f->write_count] = (struct fake_write){ .meta = *meta, .wanted = meta->digest };
	*ret = (void *)&f->writes[f->write_count++];
	return 0;
}

static int fake_write_add(void *context, struct store_write *write, struct slice data,
			  const uint8_t *crcs)
{
	struct fake_write *fake = (void *)write;

	(void)context;
	assert_true(crc32c_blocks_match(data.data, data.size, crcs));
	fake->meta.digest = digest_of(data.data, data.size);
	fake->filled += (uint32_t)data.size;
	assert_true(fake->filled <= fake->meta.length);
	return 0;
}

static void fake_write_abort(void *context, struct store_write *write)
{
	struct fixture *f = context;
	struct fake_write *fake = (void *)write;

	assert_false(fake->aborted);
	assert_int_equal(fake->transfer, 0);
	fake->aborted = true;
	f->aborted++;
}

static int fake_write_commit(void *context, struct store_write *write, uint32_t transfer)
{
	static const struct digest any;
	struct fake_write *fake = (void *)write;

	(void)context;
	if (!digest_equal(&fake->wanted, &any) && !digest_equal(&fake->wanted, &fake->meta.digest))
		return -ERR_CORRUPT;
	fake->transfer = transfer;
	return 0;
}

static const struct storage_chunks fake_chunks = {
	.usage = fake_usage,
	.find = fake_find,
	.remove = fake_remove,
	.quarantine = fake_remove,
	.list = fake_list,
	.list_buckets = fake_list_buckets,
	.inventory = fake_inventory,
	.buckets = fake_buckets,
	.adopt = fake_adopt,
	.promise = fake_promise,
	.write_new = fake_write_new,
	.write_add = fake_write_add,
	.write_abort = fake_write_abort,
	.write_commit = fake_write_commit,
};

/* The commit of a transfer has run. */
void fixture_stored(struct fixture *f, uint32_t transfer, int error)
{
	struct fake_write *write = NULL;

	for (unsigned int i = 0; i < f->write_count; i++) {
		if (f->writes[i].transfer == transfer)
			write = &f->writes[i];
	}
	assert_non_null(write);
	write->aborted = true;
	if (error == 0)
		f->chunks[f->chunk_count++] =
			(struct fake_chunk){ write->meta.chunk, write->meta.length,
					     write->meta.digest, false };
	fixture_step(f, (struct storage_event){ .kind = STORAGE_STORED,
						.transfer = transfer,
						.error = error,
						.digest = &write->meta.digest });
}

/* ---- life ---- */

struct id fixture_id(uint8_t fill)
{
	struct id id;

	memset(&id, fill, sizeof(id));
	return id;
}

void fixture_init(struct fixture *f)
{
	*f = (struct fixture){ .now_ms = 1000000, .free_bytes = 1 << 30 };
	f->cluster = fixture_id(0xcc);
	f->client = fixture_id(0xc1);
	memset(&f->key, 0x55, sizeof(f->key));
	f->signer = hmac_new(&f->key);
	assert_non_null(f->signer);
	f->config = (struct storage_config){ .seed = 1,
					     .self = fixture_id(1),
					     .disk = fixture_id(0xd1),
					     .start = 3,
					     .host = "host",
					     .zone = "",
					     .version = "test",
					     .endpoint_count = 1,
					     .nameservers = { "ns" },
					     .nameserver_count = 1,
					     .large_size = 1024 * 1024,
					     .chunks = &fake_chunks,
					     .chunks_context = f };
	f->config.endpoints[0] = endpoint_ipv4(0x0a000001, 3503);
}

void fixture_start(struct fixture *f)
{
	assert_int_equal(storage_new(&f->config, &f->core), 0);
	fixture_tick(f, 0);
}

void fixture_done(struct fixture *f)
{
	storage_free(f->core);
	storage_outbox_done(&f->outbox);
	hmac_free(f->signer);
	arena_done(&f->arena);
	buffer_done(&f->scratch);
}

/* ---- events ---- */

void fixture_step(struct fixture *f, struct storage_event event)
{
	storage_outbox_clear(&f->outbox);
	arena_reset(&f->arena);
	event.now_ms = f->now_ms;
	assert_int_equal(storage_step(f->core, &event, &f->outbox), 0);
}

void fixture_tick(struct fixture *f, uint64_t after_ms)
{
	f->now_ms += after_ms;
	fixture_step(f, (struct storage_event){ .kind = STORAGE_TICK });
}

static void deliver(struct fixture *f, uint64_t connection)
{
	struct frame_header header;
	size_t size;

	assert_int_equal(frame_next(f->scratch.data, f->scratch.size, &header, &size), 1);
	fixture_step(f, (struct storage_event){ .kind = STORAGE_FRAME,
						.connection = connection,
						.header = &header,
						.body = f->scratch.data + FRAME_HEADER_SIZE });
}

void fixture_frame(struct fixture *f, uint64_t connection, const struct message *message)
{
	buffer_clear(&f->scratch);
	assert_int_equal(message_encode(message, &f->scratch), 0);
	deliver(f, connection);
}

void fixture_request(struct fixture *f, uint64_t connection, unsigned int code, uint32_t id,
		     const void *body)
{
	fixture_frame(f, connection,
		      &(struct message){ .info = message_info(code), .id = id, .body = body });
}

void fixture_reply(struct fixture *f, uint64_t connection, unsigned int code, uint32_t id,
		   const void *body)
{
	fixture_frame(f, connection,
		      &(struct message){
			      .info = message_info(code), .reply = true, .id = id, .body = body });
}

void fixture_data(struct fixture *f, uint64_t connection, const struct data_head *head,
		  const uint8_t *payload)
{
	uint8_t bytes[FRAME_HEADER_SIZE + DATA_CRCS_SIZE_MAX], crcs[DATA_CRCS_SIZE_MAX];
	size_t size;

	crc32c_blocks(payload, head->length, crcs);
	size = data_head_encode(head, crcs, bytes);
	buffer_clear(&f->scratch);
	buffer_append(&f->scratch, bytes, size);
	buffer_append(&f->scratch, payload, head->length);
	deliver(f, connection);
}

void fixture_payload(struct fixture *f, uint64_t connection, uint32_t id, uint32_t length,
		     uint8_t fill)
{
	struct data_head head = { .id = id, .flags = FRAME_LAST, .length = length };
	uint8_t *payload = test_malloc(length);

	memset(payload, fill, length);
	fixture_data(f, connection, &head, payload);
	test_free(payload);
}

/* ---- what the core said ---- */

const struct storage_action *fixture_find(const struct fixture *f, enum storage_action_kind kind)
{
	for (unsigned int i = 0; i < f->outbox.count; i++) {
		if (f->outbox.actions[i].kind == kind)
			return &f->outbox.actions[i];
	}
	return NULL;
}

const struct storage_action *fixture_note(const struct fixture *f, enum storage_note what)
{
	for (unsigned int i = 0; i < f->outbox.count; i++) {
		if (f->outbox.actions[i].kind == ACT_NOTE && f->outbox.actions[i].note == what)
			return &f->outbox.actions[i];
	}
	return NULL;
}

static const struct message *decoded(struct fixture *f, const struct frame_header *header,
				     const uint8_t *body)
{
	struct message *message = arena_alloc(&f->arena, sizeof(*message));

	assert_non_null(message);
	if (header->type == MSG_data)
		*message = (struct message){ .info = message_info(MSG_data),
					     .reply = header->reply,
					     .flags = header->flags,
					     .id = header->id };
	else
		assert_int_equal(message_decode(header, body, &f->arena, message), 0);
	return message;
}

const struct message *fixture_sent(struct fixture *f, uint64_t connection, unsigned int n)
{
	for (unsigned int i = 0; i < f->outbox.count; i++) {
		const struct storage_action *action = &f->outbox.actions[i];
		const uint8_t *at = f->outbox.bytes.data + action->at;
		struct frame_header header;
		size_t size = 0;

		if (action->kind != ACT_SEND || action->connection != connection)
			continue;
		for (size_t done = 0; done < action->size; done += size) {
			assert_int_equal(frame_next(at + done, action->size - done, &header, &size),
					 1);
			if (n-- == 0)
				return decoded(f, &header, at + done + FRAME_HEADER_SIZE);
		}
	}
	return NULL;
}

/* ---- whole conversations ---- */

uint64_t fixture_accept(struct fixture *f, enum role role, const struct id *self)
{
	const struct storage_action *dial = fixture_find(f, ACT_DIAL);
	struct hello_reply reply = { .version = PROTOCOL_VERSION,
				     .epoch = f->epoch ? f->epoch : 5,
				     .role = (uint8_t)role,
				     .cluster = f->cluster,
				     .cluster_name = slice_of("c"),
				     .self = *self };
	const struct message *hello;
	struct endpoint peer;
	uint64_t connection;

	assert_non_null(dial);
	connection = dial->connection;
	peer = dial->endpoints[0];
	fixture_step(f, (struct storage_event){ .kind = STORAGE_DIALLED,
						.connection = connection,
						.endpoints = &peer,
						.endpoint_count = 1 });
	hello = fixture_sent(f, connection, 0);
	assert_non_null(hello);
	assert_int_equal(hello->info->code, MSG_hello);
	fixture_reply(f, connection, MSG_hello, hello->id, &reply);
	return connection;
}

void fixture_register(struct fixture *f)
{
	struct id self = fixture_id(0xee);
	struct endpoint endpoint = endpoint_ipv4(0x0a000002, 6235);
	struct register_reply reply = {
		.epoch = 5, .heartbeat_ms = 2000, .key = f->key, .scrub_s = f->scrub_s
	};
	const struct message *request;

	assert_non_null(fixture_find(f, ACT_RESOLVE));
	fixture_step(f, (struct storage_event){ .kind = STORAGE_RESOLVED,
						.endpoints = &endpoint,
						.endpoint_count = 1 });
	f->nameserver = fixture_accept(f, ROLE_NAMESERVER, &self);
	request = fixture_sent(f, f->nameserver, 0);
	assert_non_null(request);
	assert_int_equal(request->info->code, MSG_register);
	fixture_reply(f, f->nameserver, MSG_register, request->id, &reply);
	assert_non_null(fixture_note(f, NOTE_REGISTERED));
}

uint64_t fixture_client(struct fixture *f, enum role role, const struct id *self)
{
	static const uint32_t id = 1;
	uint64_t connection = STORAGE_ACCEPTED | ++f->config.start;
	struct endpoint peer = endpoint_ipv4(0x0a000009, 40000);
	struct hello_request hello = { .versions = 1 << 16 | 1,
				       .role = (uint8_t)role,
				       .self = *self };

	fixture_step(f, (struct storage_event){ .kind = STORAGE_OPENED,
						.connection = connection,
						.endpoints = &peer,
						.endpoint_count = 1 });
	fixture_request(f, connection, MSG_hello, id, &hello);
	assert_non_null(fixture_sent(f, connection, 0));
	assert_int_equal(fixture_sent(f, connection, 0)->status, 0);
	return connection;
}

struct ticket fixture_ticket(struct fixture *f, uint64_t chunk, enum ticket_operation operation,
			     uint64_t length)
{
	struct ticket ticket = { .operation = (uint8_t)operation,
				 .chunk = chunk,
				 .length = length,
				 .epoch = 5,
				 .expiry = 60,
				 .holder = fixture_id(1),
				 .client = f->client };

	ticket_sign(f->signer, &ticket);
	return ticket;
}

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "hash.h"
#include "kv_memory.h"
#include "ns_driver.h"
#include "ns_state.h"

enum { TICKS_MAX = 200000 };

struct id id_of(unsigned int number)
{
	struct id id = { .bytes = { (uint8_t)number, (uint8_t)(number >> 8) } };

	id.bytes[ID_SIZE - 1] = 1;
	return id;
}

static struct id client_id(unsigned int number)
{
	struct id id = id_of(number);

	id.bytes[ID_SIZE - 1] = 0xc1;
	return id;
}

static struct id machine_id_of(unsigned int number)
{
	struct id id = id_of(number);

	id.bytes[ID_SIZE - 1] = 0xaa;
	return id;
}

/* ---- actions ---- */

static struct ns_peer *peer_of(struct ns_driver *d, uint64_t conn)
{
	for (unsigned int i = 0; i < d->peer_count; i++) {
		if (d->peers[i]->conn == conn)
			return d->peers[i];
	}
	return NULL;
}

static void receive(struct ns_peer *peer, struct slice bytes)
{
	struct ns_driver *d = peer->driver;

	while (bytes.size > 0) {
		struct frame_header header;
		struct ns_received *received;
		size_t size;
		uint8_t *copy;
		int rc = frame_next(bytes.data, bytes.size, &header, &size);

		assert(rc == 1);
		copy = arena_alloc(&d->arena, size);
		memcpy(copy, bytes.data, size);
		if (peer->count == peer->capacity) {
			peer->capacity = peer->capacity ? peer->capacity * 2 : 16;
			peer->received =
				realloc(peer->received, peer->capacity * sizeof(*peer->received));
		}
		received = &peer->received[peer->count++];
		received->taken = false;
		rc = message_decode(&header, copy + FRAME_HEADER_SIZE, &d->arena,
				    &received->message);
		assert(rc == 0 || (rc == -ERR_UNSUPPORTED && header.status));
		bytes.data += size;
		bytes.size -= size;
	}
}

static void take_commit(struct ns_driver *d, const struct ns_action *action)
{
	struct slice bytes = ns_action_bytes(&d->outbox, action);
	struct batch_head head;
	struct slice changes;
	size_t size;
	struct digest hash;

	assert(batch_read(bytes, &head, &changes, &size, &hash) == 1);
	assert(size == bytes.size && head.sequence == action->sequence);
	assert(head.sequence == d->sealed + 1 && digest_equal(&head.previous, &d->hash));
	d->sealed = head.sequence;
	d->hash = hash;
	buffer_append(&d->journal, bytes.data, bytes.size);
}

static void act(struct ns_driver *d)
{
	assert(d->outbox.error == 0);
	for (unsigned int i = 0; i < d->outbox.count; i++) {
		const struct ns_action *action = &d->outbox.actions[i];
		struct slice bytes = ns_action_bytes(&d->outbox, action);
		struct ns_peer *peer = peer_of(d, action->conn);

		switch (action->kind) {
		case NS_SEND: receive(peer, bytes); break;
		case NS_CLOSE: peer->closed = true; break;
		case NS_COMMIT: take_commit(d, action); break;
		case NS_JOURNAL_READ:
			assert(!d->read_wanted);
			d->read_wanted = true;
			d->read_after = action->sequence;
			break;
		case NS_BEACON: d->beacons_ms[d->beacons++ % DRIVER_EVENTS_MAX] = d->now_ms; break;
		case NS_EVENT:
			buffer_printf(&d->events, "%s %.*s\n", action->event, (int)bytes.size,
				      (const char *)bytes.data);
			break;
		case NS_DEPOSED:
			assert(!d->deposed);
			d->failed = d->deposed = true;
			break;
		case NS_FAILED: d->failed = true; break;
		case NS_DIAL:
			d->dials++;
			d->dial = action->sequence;
			d->dialled = action->endpoint;
			break;
		}
	}
	ns_outbox_clear(&d->outbox);
}

static void end_turn(struct ns_driver *d)
{
	nameserver_end_turn(d->ns, &d->outbox);
	act(d);
}

static void step(struct ns_driver *d, struct ns_event *event)
{
	event->now_ms = d->now_ms;
	event->wall_ms = d->wall_ms;
	nameserver_step(d->ns, event, &d->outbox);
	act(d);
}

void driver_durable(struct ns_driver *d)
{
	struct ns_event event = { .kind = NS_DURABLE, .sequence = d->sealed };

	step(d, &event);
	end_turn(d);
}

void driver_journal(struct ns_driver *d)
{
	struct ns_event event = { .kind = NS_JOURNAL, .sequence = d->read_after };
	struct slice journal = { d->journal.data, d->journal.size };
	struct buffer batches = { 0 };

	if (!d->read_wanted)
		return;
	d->read_wanted = false;
	d->reads++;
	event.error = d->journal_error;
	if (event.error == 0 && d->read_after < d->trimmed)
		event.error = -ERR_STALE;
	if (event.error == 0)
		event.error = batches_share(journal, d->read_after, JOURNAL_READ_SIZE, &batches);
	event.batches = (struct slice){ batches.data, batches.size };
	step(d, &event);
	end_turn(d);
	buffer_done(&batches);
}

static void answer_orders(struct ns_driver *d);

static void finish(struct ns_driver *d)
{
	end_turn(d);
	if (!d->hold_durable)
		driver_durable(d);
	while (!d->hold_journal && d->read_wanted)
		driver_journal(d);
}

static void turn(struct ns_driver *d, struct ns_event *event)
{
	step(d, event);
	if (d->hold_turn)
		return;
	finish(d);
	if (event->kind != NS_FRAME || !event->header->reply)
		answer_orders(d);
}

void driver_end(struct ns_driver *d)
{
	d->hold_turn = false;
	finish(d);
	answer_orders(d);
}

/* ---- life ---- */

static void driver_new_core(struct ns_driver *d)
{
	int rc;

	d->read_wanted = false;
	d->config.sequence = d->sealed;
	d->config.hash = d->hash;
	d->config.wall_ms = d->wall_ms;
	rc = nameserver_new(&d->config, d->kv, d->now_ms, &d->ns);
	assert(rc == 0);
	end_turn(d);
	if (!d->hold_durable)
		driver_durable(d);
}

void driver_start(struct ns_driver *d, const struct nameserver_config *config)
{
	const struct id cluster = { .bytes = "the test cluster" };
	int rc;

	memset(d, 0, sizeof(*d));
	d->now_ms = 1000;
	d->wall_ms = 1700000000000;
	if (config)
		d->config = *config;
	d->config.no_trash = d->config.trash_ms == 0;
	d->config.self = id_of(0xfffe);
	d->config.machine = machine_id_of(0xfffe);
	memset(d->config.secret.bytes, 7, KEY_SIZE);
	d->config.port = CONTROL_PORT;
	d->config.version = "1.2.3";
	rc = kv_memory_new(&d->kv);
	assert(rc == 0);
	rc = catalogue_format(d->kv, &cluster, "test");
	assert(rc == 0);
	driver_new_core(d);
}

static void peers_free(struct ns_driver *d)
{
	for (unsigned int i = 0; i < d->peer_count; i++) {
		free(d->peers[i]->received);
		buffer_done(&d->peers[i]->part);
		free(d->peers[i]);
	}
	d->peer_count = 0;
}

void driver_restart(struct ns_driver *d)
{
	nameserver_free(d->ns);
	peers_free(d);
	d->failed = d->deposed = false;
	driver_new_core(d);
}

void driver_stop(struct ns_driver *d)
{
	nameserver_free(d->ns);
	peers_free(d);
	kv_memory_free(d->kv);
	ns_outbox_done(&d->outbox);
	arena_done(&d->arena);
	buffer_done(&d->journal);
	buffer_done(&d->events);
}

void driver_clock(struct ns_driver *d, uint64_t ms)
{
	uint64_t target = d->now_ms + ms;

	for (int i = 0; i < TICKS_MAX; i++) {
		struct ns_event event = { .kind = NS_TICK };
		uint64_t at = nameserver_deadline(d->ns);

		if (d->failed)
			return;
		if (at > target) {
			d->wall_ms += target - d->now_ms;
			d->now_ms = target;
			return;
		}
		if (at > d->now_ms) {
			d->wall_ms += at - d->now_ms;
			d->now_ms = at;
		}
		turn(d, &event);
		d->ticks++;
	}
	assert(d->now_ms > target); /* the core asks for ticks without end */
}

void driver_say(struct ns_driver *d, enum ns_event_kind kind, bool good)
{
	turn(d, &(struct ns_event){ .kind = kind, .good = good });
}

void driver_dialled(struct ns_driver *d, int error)
{
	turn(d, &(struct ns_event){ .kind = NS_DIALLED, .sequence = d->dial, .error = error });
}

/* ---- connections ---- */

static struct ns_peer *peer_new(struct ns_driver *d, struct ns_event *event, const char *address,
				const char *local)
{
	struct ns_peer *peer = calloc(1, sizeof(*peer));
	int rc;

	assert(d->peer_count < DRIVER_PEERS_MAX);
	peer->driver = d;
	peer->conn = ++d->next_conn;
	d->peers[d->peer_count++] = peer;
	event->conn = peer->conn;
	rc = endpoint_parse(address, 40000, &event->peer);
	assert(rc == 0);
	rc = endpoint_parse(local, CONTROL_PORT, &event->local);
	assert(rc == 0);
	turn(d, event);
	return peer;
}

struct ns_peer *driver_connect(struct ns_driver *d, const char *address, const char *local)
{
	return peer_new(d, &(struct ns_event){ .kind = NS_OPENED }, address, local);
}

struct ns_peer *driver_greeted(struct ns_driver *d, const struct hello_request *hello)
{
	struct frame_header header;
	struct ns_event event = { .kind = NS_GREETED, .header = &header };
	struct buffer frame = { 0 };
	struct ns_peer *peer;
	int rc = request_encode(&frame, MSG_hello, 1, hello);

	assert(rc == 0);
	rc = frame_header_decode(frame.data, &header);
	assert(rc == 0);
	event.body = frame.data + FRAME_HEADER_SIZE;
	peer = peer_new(d, &event, "10.3.0.1", "10.0.0.1");
	peer->id = hello->self;
	buffer_done(&frame);
	return peer;
}

void driver_close(struct ns_peer *peer)
{
	struct ns_event event = { .kind = NS_CLOSED, .conn = peer->conn };

	if (!peer->closed)
		turn(peer->driver, &event);
	peer->closed = true;
}

static void driver_hello(struct ns_peer *peer, uint8_t role)
{
	struct hello_reply reply;
	int rc = ASK(peer, hello, &reply, .versions = 1 << 16 | PROTOCOL_VERSION, .role = role,
		     .self = peer->id, .machine = peer->machine);

	assert(rc == 0);
}

struct ns_peer *driver_client(struct ns_driver *d, unsigned int number)
{
	char address[32];
	struct ns_peer *peer;

	snprintf(address, sizeof(address), "10.1.%u.%u", number / 256, number % 256);
	peer = driver_connect(d, address, "10.0.0.1");
	peer->id = client_id(number);
	peer->machine = machine_id_of(0x4000 + number);
	driver_hello(peer, ROLE_CLIENT);
	return peer;
}

struct ns_peer *driver_peer(struct ns_driver *d, const struct id *id)
{
	for (unsigned int i = d->peer_count; i > 0; i--) {
		if (id_equal(&d->peers[i - 1]->id, id))
			return d->peers[i - 1];
	}
	return NULL;
}

/* ---- storage servers ---- */

static struct digest inventory_digest(const struct ns_storage *storage)
{
	struct inventory_sum sum = { 0 };

	for (unsigned int i = 0; i < storage->chunk_count; i++)
		inventory_turn(&sum, storage->chunks[i].chunk);
	return sum.whole;
}

int driver_register(struct ns_peer *peer, const struct ns_storage *storage,
		    struct register_reply *ret)
{
	uint64_t capacity = storage->capacity ? storage->capacity : (uint64_t)1 << 40;
	struct endpoint endpoint;
	char name[32], address[32];
	int rc;

	snprintf(name, sizeof(name), "host%u", storage->number);
	snprintf(address, sizeof(address), "10.2.%u.%u:3503", storage->number / 256,
		 storage->number % 256);
	endpoint_parse(storage->address ? storage->address : address, DATA_PORT, &endpoint);
	rc = ASK(peer, register, ret, .capacity = capacity,
		 .free = storage->disk_failed ? 0 : capacity, .disk_failed = storage->disk_failed,
		 .chunks = storage->chunk_count, .start = storage->start ? storage->start : 1,
		 .disk = id_of(0x8000 + (storage->disk ? storage->disk : storage->number)),
		 .name = slice_of(name), .zone = slice_of(storage->zone ? storage->zone : ""),
		 .version = slice_of("1"), .endpoints = &endpoint, .endpoints_count = 1,
		 .inventory = inventory_digest(storage), .catalogue_epoch = peer->sequence ? 1 : 0,
		 .catalogue_sequence = peer->sequence, .catalogue_hash = peer->hash);
	if (rc < 0)
		return rc;
	peer->key = ret->key;
	peer->epoch = ret->epoch;
	peer->echo = ret->now_ms;
	peer->registered_ms = peer->driver->now_ms;
	peer->wanted = ret->want_inventory;
	return 0;
}

struct ns_peer *driver_storage_with(struct ns_driver *d, const struct ns_storage *storage)
{
	const struct id id = id_of(storage->number);
	struct ns_peer *peer = driver_peer(d, &id);
	struct digest hash = { { 0 } };
	uint64_t sequence = 0;
	struct register_reply reply;
	char address[32];
	int rc;

	if (peer) {
		sequence = peer->sequence;
		hash = peer->hash;
		driver_close(peer);
	}
	snprintf(address, sizeof(address), "10.2.%u.%u", storage->number / 256,
		 storage->number % 256);
	peer = driver_connect(d, storage->address ? storage->address : address, "10.0.0.1");
	peer->id = id;
	peer->follows = d->follow;
	peer->sequence = sequence;
	peer->hash = hash;
	peer->machine =
		machine_id_of(storage->machine ? storage->machine : 0x2000 + storage->number);
	driver_hello(peer, ROLE_STORAGE);
	rc = driver_register(peer, storage, &reply);
	assert(rc == 0);
	if (peer->wanted && !storage->no_inventory) {
		struct inventory_reply inventory;

		rc = ASK(peer, inventory, &inventory, .last = 1, .chunks = storage->chunks,
			 .chunks_count = (uint16_t)storage->chunk_count);
		assert(rc == 0);
	}
	return peer;
}

struct ns_peer *driver_storage(struct ns_driver *d, unsigned int number)
{
	return driver_storage_with(d, &(struct ns_storage){ .number = number });
}

int driver_heartbeat(struct ns_peer *peer)
{
	struct ns_driver *d = peer->driver;
	const struct member *member = member_find(d->ns, &peer->id);
	struct heartbeat_reply reply;
	int rc = ASK(peer, heartbeat, &reply, .inventory = member->sum->whole,
		     .free = d->free ? d->free : (uint64_t)1 << 40, .flags = peer->flags,
		     .echo = peer->echo);

	if (rc == 0)
		peer->echo = reply.now_ms;
	return rc;
}

void driver_beat(struct ns_driver *d, uint64_t ms)
{
	for (uint64_t done = 0; done < ms; done += HEARTBEAT_MS) {
		driver_clock(d, ms - done < HEARTBEAT_MS ? ms - done : HEARTBEAT_MS);
		for (unsigned int i = 0; i < d->peer_count; i++) {
			if (!d->peers[i]->closed && d->peers[i]->epoch)
				driver_heartbeat(d->peers[i]);
		}
	}
}

/* ---- messages ---- */

void driver_bytes(struct ns_peer *peer, const void *frame, size_t size)
{
	const uint8_t *bytes = frame;
	struct frame_header header;
	struct ns_event event = {
		.kind = NS_FRAME,
		.conn = peer->conn,
		.header = &header,
		.body = bytes + FRAME_HEADER_SIZE,
	};

	if (peer->closed)
		return;
	if (frame_header_decode(frame, &header) < 0)
		event.kind = NS_MALFORMED;
	else
		assert(FRAME_HEADER_SIZE + header.body_size == size);
	turn(peer->driver, &event);
}

uint32_t driver_post(struct ns_peer *peer, unsigned int code, const void *request)
{
	struct buffer frame = { 0 };
	int rc = request_encode(&frame, code, ++peer->next_id, request);

	assert(rc == 0);
	driver_bytes(peer, frame.data, frame.size);
	buffer_done(&frame);
	return peer->next_id;
}

int driver_answer(struct ns_peer *peer, uint32_t id, void *ret, size_t ret_size)
{
	for (size_t i = 0; i < peer->count; i++) {
		struct ns_received *received = &peer->received[i];

		if (received->taken || !received->message.reply || received->message.id != id)
			continue;
		received->taken = true;
		if (received->message.status)
			return -received->message.status;
		if (ret)
			memcpy(ret, received->message.body, ret_size);
		return 0;
	}
	return -ERR_TIMEOUT;
}

int driver_ask(struct ns_peer *peer, unsigned int code, const void *request, void *ret,
	       size_t ret_size)
{
	return driver_answer(peer, driver_post(peer, code, request), ret, ret_size);
}

void driver_reply(struct ns_peer *peer, const struct message *order, const void *reply)
{
	struct buffer frame = { 0 };
	int rc = reply_encode(&frame, order->info->code, order->id, reply);

	assert(rc == 0);
	driver_bytes(peer, frame.data, frame.size);
	buffer_done(&frame);
}

void driver_refuse(struct ns_peer *peer, const struct message *order, int error)
{
	struct buffer frame = { 0 };
	int rc = refusal_encode(&frame, order->info->code, order->id, error);

	assert(rc == 0);
	driver_bytes(peer, frame.data, frame.size);
	buffer_done(&frame);
}

static void fetch_obey(struct ns_peer *peer, const struct message *order)
{
	const struct fetch_request *request = order->body;
	const struct chunk_sum *chunk = &request->chunk;
	struct fetch_reply reply = {
		.receipt = driver_receipt(peer, chunk->chunk, chunk->length, chunk->digest),
	};

	driver_reply(peer, order, &reply);
}

static void inspect_obey(struct ns_peer *peer, const struct message *order)
{
	const struct inspect_request *request = order->body;
	struct chunk_finding findings[INSPECT_MAX] = { 0 };
	struct inspect_reply reply = { .findings = findings,
				       .findings_count = request->chunks_count };

	for (unsigned int i = 0; i < request->chunks_count; i++) {
		findings[i].chunk = request->chunks[i].chunk;
		findings[i].digest = request->chunks[i].digest;
	}
	driver_reply(peer, order, &reply);
}

static void batch_obey(struct ns_peer *peer, const struct message *order)
{
	const struct batch_request *request = order->body;
	struct batch_reply reply;
	struct batch_head head;
	struct slice changes;
	size_t size;

	if (request->offset == 0)
		buffer_clear(&peer->part);
	buffer_append(&peer->part, request->part.data, request->part.size);
	if (peer->part.size == request->size && request->sequence > peer->sequence) {
		int rc = batch_read((struct slice){ peer->part.data, peer->part.size }, &head,
				    &changes, &size, &peer->hash);

		assert(rc == 1 && head.sequence == request->sequence);
		peer->sequence = head.sequence;
	}
	reply = (struct batch_reply){ .sequence = peer->sequence,
				      .epoch = peer->epoch,
				      .hash = peer->hash };
	driver_reply(peer, order, &reply);
}

/* What is left is as long on the average as it was before. */
static void delete_obey(struct ns_peer *peer, const struct message *order)
{
	const struct delete_request *request = order->body;
	const struct ns_driver *d = peer->driver;
	const struct member *member = member_find(d->ns, &peer->id);
	struct delete_reply reply = {
		.deleted = request->chunks_count,
		.free = d->free ? d->free : (uint64_t)1 << 40,
	};

	if (d->left)
		reply.used = d->left;
	else if (member && member->chunks > reply.deleted)
		reply.used = member->used / member->chunks * (member->chunks - reply.deleted);
	driver_reply(peer, order, &reply);
}

void driver_obey(struct ns_peer *peer, const struct message *order)
{
	struct connect_reply connected = { 0 };

	switch (order->info->code) {
	case MSG_delete: delete_obey(peer, order); break;
	case MSG_connect: driver_reply(peer, order, &connected); break;
	case MSG_fetch: fetch_obey(peer, order); break;
	case MSG_inspect: inspect_obey(peer, order); break;
	case MSG_batch:
		if (peer->follows)
			batch_obey(peer, order);
		break;
	default: break;
	}
}

static bool is_work(const struct ns_driver *d, const struct message *order)
{
	return order->info->code == MSG_fetch || order->info->code == MSG_inspect ||
	       (order->info->code == MSG_delete && d->mute);
}

/* Those that came since the last time stand at the end. */
static bool answer_some(struct ns_driver *d)
{
	bool some = false;

	for (unsigned int i = 0; i < d->peer_count; i++) {
		struct ns_peer *peer = d->peers[i];

		for (; peer->answered < peer->count; peer->answered++) {
			const struct message order = peer->received[peer->answered].message;

			if (!order.reply && !(is_work(d, &order) && (peer->idle || d->idle)))
				driver_obey(peer, &order);
			some = true;
		}
	}
	return some;
}

static void answer_orders(struct ns_driver *d)
{
	while (answer_some(d) && d->follow)
		;
}

const struct message *driver_next(struct ns_peer *peer, unsigned int code)
{
	struct message *copy = arena_alloc(&peer->driver->arena, sizeof(*copy));

	for (size_t i = 0; i < peer->count; i++) {
		struct ns_received *received = &peer->received[i];

		if (received->taken || received->message.reply ||
		    received->message.info->code != code)
			continue;
		received->taken = true;
		*copy = received->message;
		return copy;
	}
	return NULL;
}

const void *driver_order(struct ns_peer *peer, unsigned int code)
{
	const struct message *order = driver_next(peer, code);

	return order ? order->body : NULL;
}

unsigned int driver_orders(struct ns_peer *peer, unsigned int code)
{
	unsigned int count = 0;

	while (driver_order(peer, code))
		count++;
	return count;
}

/* ---- puts ---- */

struct receipt driver_receipt(struct ns_peer *storage, uint64_t chunk, uint64_t length,
			      struct digest digest)
{
	struct receipt receipt = {
		.chunk = chunk,
		.length = length,
		.digest = digest,
		.epoch = storage->epoch,
		.holder = storage->id,
	};
	struct hmac *hmac = hmac_new(&storage->key);

	receipt_sign(hmac, &receipt);
	hmac_free(hmac);
	return receipt;
}

int driver_put(struct ns_peer *client, const char *path, uint32_t size,
	       struct put_commit_reply *ret)
{
	struct digest digest = digest_of(path, strlen(path));
	struct receipt receipts[COPIES_MAX];
	struct put_begin_reply begun;
	uint16_t count = 0;
	int rc = ASK(client, put_begin, &begun, .size = size, .flags = PUT_REPLACE, .places = 1,
		     .path = slice_of(path));

	if (rc < 0)
		return rc;
	for (; begun.places_count && count < begun.places[0].holders_count; count++) {
		const struct ticket *ticket = &begun.places[0].holders[count].ticket;

		receipts[count] = driver_receipt(driver_peer(client->driver, &ticket->holder),
						 ticket->chunk, size, digest);
	}
	client->operation++;
	return ASK(client, put_commit, ret, .operation = client->operation,
		   .outstanding = client->operation, .put = begun.put, .size = size,
		   .digest = digest, .flags = PUT_REPLACE, .path = slice_of(path),
		   .receipts = receipts, .receipts_count = count);
}

bool driver_logged(const struct ns_driver *d, const char *text)
{
	return d->events.size && memmem(d->events.data, d->events.size, text, strlen(text));
}

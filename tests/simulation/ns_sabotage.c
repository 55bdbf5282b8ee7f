/* Rows that change behind a name server's back, and frames that are not what was sent: rules that
 * are removed so. */
#include <stdlib.h>

#include "codec.h"
#include "ns_host.h"

enum { STARTS_AHEAD = 1000 }; /* more than there are in a run */

/* `value` empty: removes the row. */
static void row_forge(struct kv *kv, struct slice key, struct slice value)
{
	uint8_t head[CHANGE_PUT_SIZE] = { value.size ? CHANGE_PUT : CHANGE_REMOVE };
	struct buffer changes = { 0 };

	put_u16(head + 1, (uint16_t)key.size);
	put_u32(head + 3, (uint32_t)value.size);
	buffer_append(&changes, head, value.size ? CHANGE_PUT_SIZE : CHANGE_REMOVE_SIZE);
	buffer_append(&changes, key.data, key.size);
	buffer_append(&changes, value.data, value.size);
	kv_memory_apply(kv, (struct slice){ changes.data, changes.size });
	buffer_done(&changes);
}

/* Nothing is known of what was answered before. */
static void answers_forget(struct kv *kv)
{
	struct slice key, value;

	while (kv_seek(kv, slice_of("o"), &key, &value) == 0 && key.data[0] == 'o')
		row_forge(kv, key, (struct slice){ 0 });
}

/* A chunk belongs to nobody but the first who had it. */
static void shared_forget(struct kv *kv)
{
	uint8_t space[KV_KEY_SIZE_MAX + 1];
	uint64_t before = 0;
	struct slice key = slice_of("k"), value;

	while (kv_seek(kv, key, &key, &value) == 0 && key.data[0] == 'k') {
		uint64_t chunk = get_be64(key.data + 1);
		struct slice next = kv_after(key, space);

		if (chunk == before)
			row_forge(kv, key, (struct slice){ 0 });
		before = chunk;
		key = next;
	}
}

/* Up to where the trash was emptied. */
static void purged_forget(struct kv *kv)
{
	struct slice key = slice_of("strash"), value;
	uint8_t row[128];

	if (kv_get(kv, key, &value) < 0 || value.size > sizeof(row))
		return;
	memcpy(row, value.data, value.size);
	memset(row + value.size - 8, 0, 8);
	row_forge(kv, key, (struct slice){ row, value.size });
}

void ns_sabotage_step(struct world *w, struct kv *kv)
{
	switch (w->config.sabotage) {
	case SABOTAGE_FORGOTTEN: answers_forget(kv); break;
	case SABOTAGE_FORGET_SHARED: shared_forget(kv); break;
	case SABOTAGE_FORGET_PURGED: purged_forget(kv); break;
	default: break;
	}
}

void ns_sabotage_start(struct world *w, struct kv *kv)
{
	uint64_t start = setting_get_u64(kv, "start", 0);

	if (w->config.sabotage == SABOTAGE_OLD_START && start)
		setting_put_u64(kv, "start", start - 1);
	if (w->config.sabotage == SABOTAGE_NO_ALARM && w->old_serves)
		setting_put_u64(kv, "start", start + STARTS_AHEAD);
}

/* ---- batches count although nobody has them ---- */

static void frame_hear(struct world *w, const struct due *due)
{
	struct buffer *frame = due->context;
	struct frame_header header;

	(void)w;
	if (ns_of(due->host)->core && frame_header_decode(frame->data, &header) == 0)
		ns_step(due->host, &(struct ns_event){ .kind = NS_FRAME,
						       .conn = due->a,
						       .header = &header,
						       .body = frame->data + FRAME_HEADER_SIZE });
	buffer_done(frame);
}

static void ack(struct host *host, uint64_t conn, const struct frame_header *header,
		const struct batch_request *request)
{
	struct batch_reply reply = { .sequence = request->sequence };
	struct buffer *frame = calloc(1, sizeof(*frame));
	struct batch_head head;
	struct slice changes;
	size_t size;

	if (!frame)
		abort();
	if (batch_read(request->part, &head, &changes, &size, &reply.hash) == 1)
		reply.epoch = head.epoch;
	if (reply_encode(frame, MSG_batch, header->id, &reply) < 0)
		abort();
	world_after(host->world, 1,
		    (struct due){ .run = frame_hear,
				  .host = host,
				  .context = frame,
				  .a = conn,
				  .owned = true });
}

void ns_sabotage_ack(struct host *host, uint64_t conn, struct slice frames)
{
	struct ns_host *ns = ns_of(host);
	struct frame_header header;
	struct message message;
	size_t size;

	while (frame_next(frames.data, frames.size, &header, &size) == 1) {
		const uint8_t *body = frames.data + FRAME_HEADER_SIZE;

		if (header.type == MSG_batch && !header.reply &&
		    message_decode(&header, body, &ns->arena, &message) == 0)
			ack(host, conn, &header, message.body);
		arena_reset(&ns->arena);
		frames = (struct slice){ frames.data + size, frames.size - size };
	}
}

bool ns_sabotage_hears(const struct host *host, const struct frame_header *header)
{
	return host->world->config.sabotage != SABOTAGE_OWN_DISK || header->type != MSG_batch;
}

/* ---- promises that say something else ---- */

/* One of a set stands for another one as well. */
static void member_double(struct id *nodes[], unsigned int count, const struct id *node)
{
	unsigned int i = 0;

	while (i < count && id_equal(nodes[i], node))
		i++;
	if (i < count)
		*nodes[i] = *node;
}

static void promise_double(struct promise_reply *reply, const struct id *node)
{
	struct id *nodes[JOURNAL_SET_MAX];

	for (unsigned int i = 0; i < reply->journal_set_count; i++)
		nodes[i] = (struct id *)&reply->journal_set[i].node;
	member_double(nodes, reply->journal_set_count, node);
}

void ns_sabotage_looked(struct host *host, struct replica_result *result)
{
	struct journal_members *set = &result->facts.set.now;
	struct id *nodes[JOURNAL_SET_MAX];

	if (host->world->config.sabotage != SABOTAGE_ONE_PROMISE)
		return;
	for (unsigned int i = 0; i < set->count; i++)
		nodes[i] = &set->nodes[i];
	member_double(nodes, set->count, &ns_of(host)->promised_by);
}

/* Of those that are there. */
static struct journal_head oldest_copy(struct world *w)
{
	struct journal_head oldest = { 0 };

	for (unsigned int i = 0; i < w->storage_count; i++) {
		struct replica_head copy = storage_host_catalogue(world_storage(w, i));

		if (copy.last.sequence > 0 &&
		    (oldest.sequence == 0 || copy.last.sequence < oldest.sequence))
			oldest = copy.last;
	}
	return oldest;
}

static void head_forge(struct promise_reply *reply, const struct journal_head *head)
{
	if (head->sequence == 0)
		return;
	reply->catalogue_epoch = head->epoch;
	reply->catalogue_sequence = head->sequence;
	reply->catalogue_hash = head->hash;
}

static const struct host *peer_of(const struct host *host, uint64_t conn)
{
	const struct world *w = host->world;
	uint64_t socket = net_socket(host, conn);
	uint64_t peer = socket ? w->sockets[socket - 1]->peer : 0;

	return peer ? w->sockets[peer - 1]->host : NULL;
}

static void promise_forge(struct host *host, uint64_t conn, struct promise_reply *reply)
{
	const struct host *from = peer_of(host, conn);
	struct journal_head head = host->rows->mark.head;

	switch (host->world->config.sabotage) {
	case SABOTAGE_FEW_PROMISES:
		reply->changing = 0;
		reply->journal_set_count = reply->journal_before_count = 0;
		break;
	case SABOTAGE_ONE_PROMISE:
		if (from)
			promise_double(reply, &from->id);
		if (from)
			ns_of(host)->promised_by = from->id;
		break;
	case SABOTAGE_OLDEST_COPY:
		head = oldest_copy(host->world);
		head_forge(reply, &head);
		break;
	case SABOTAGE_OLD_COPY: head_forge(reply, &head); break;
	default: break;
	}
}

static bool is_forged(const struct host *host, const struct frame_header *header)
{
	return host->world->config.sabotage != SABOTAGE_NONE && header->type == MSG_promise &&
	       header->reply && header->status == 0;
}

void ns_sabotage_taking(struct host *host, uint64_t conn, const struct frame_header *header,
			const uint8_t *body)
{
	struct takeover_event event = {
		.kind = TAKEOVER_FRAME, .conn = conn, .header = header, .body = body
	};
	struct arena arena = { 0 };
	struct buffer frame = { 0 };
	struct frame_header forged;
	struct message message;

	if (is_forged(host, header) && message_decode(header, body, &arena, &message) == 0) {
		promise_forge(host, conn, (struct promise_reply *)message.body);
		if (message_encode(&message, &frame) < 0 ||
		    frame_header_decode(frame.data, &forged) < 0)
			abort();
		event.header = &forged;
		event.body = frame.data + FRAME_HEADER_SIZE;
	}
	ns_taking_step(host, &event);
	buffer_done(&frame);
	arena_done(&arena);
}

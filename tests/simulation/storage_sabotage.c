/* Rules of a storage server that are removed: calls that do not happen, frames that are changed on
 * their way, connections that go on. */
#include <stdlib.h>

#include "batch.h"
#include "codec.h"
#include "storage_host.h"

static bool is_sabotaged(const struct host *host, enum sabotage sabotage)
{
	return host->world->config.sabotage == sabotage;
}

/* ---- the store ---- */

static int promise_lose(void *context, uint64_t epoch, const struct id *server)
{
	(void)context;
	(void)epoch;
	(void)server;
	return 0;
}

void storage_sabotage_init(struct storage_host *storage)
{
	if (is_sabotaged(storage->host, SABOTAGE_PROMISE_LOST))
		storage->chunks.calls.promise = promise_lose;
}

/* What one server is told to delete goes everywhere. */
void storage_sabotage_remove(const struct host *host, uint64_t chunk)
{
	struct world *w = host->world;

	if (!is_sabotaged(host, SABOTAGE_GREEDY))
		return;
	for (unsigned int i = 0; i < w->storage_count; i++) {
		struct host *other = world_storage(w, i);

		if (other != host && other->process)
			store_chunks_calls.remove(&storage_of(other)->chunks, chunk);
	}
}

struct early {
	uint32_t transfer;
	struct digest digest;
};

static void stored_early(struct world *w, const struct due *due)
{
	const struct early *early = due->context;

	(void)w;
	storage_host_step(due->host, &(struct storage_event){ .kind = STORAGE_STORED,
							      .transfer = early->transfer,
							      .digest = &early->digest });
}

void storage_sabotage_commit(struct storage_host *storage, const struct store_write *write,
			     uint32_t transfer)
{
	struct early *early;

	if (!is_sabotaged(storage->host, SABOTAGE_EARLY_STORED))
		return;
	early = malloc(sizeof(*early));
	if (!early)
		abort();
	*early = (struct early){ transfer, store_write_digest(write) };
	world_after(storage->host->world, 1,
		    (struct due){ .run = stored_early,
				  .host = storage->host,
				  .context = early,
				  .owned = true });
}

/* ---- what leaves ---- */

/* It says that it has promised nothing, and promises whatever is asked. */
static bool promises_forge(const struct storage_host *storage, struct message *message)
{
	if (message->status)
		return false;
	if (message->info->code == MSG_hello && !message->reply) {
		((struct hello_request *)message->body)->epoch = 0;
	} else if (message->info->code == MSG_register && !message->reply) {
		struct register_request *request = (struct register_request *)message->body;

		request->promised_epoch = request->catalogue_epoch = request->catalogue_sequence =
			0;
	} else if (message->info->code == MSG_promise && message->reply) {
		struct promise_reply *reply = (struct promise_reply *)message->body;

		reply->epoch = storage->asked_epoch;
		reply->server = storage->asked_server;
	} else {
		return false;
	}
	return true;
}

static void frame_forge(const struct storage_host *storage, struct buffer *frame)
{
	struct arena arena = { 0 };
	struct frame_header header;
	struct message message;

	if (frame_header_decode(frame->data, &header) == 0 &&
	    message_decode(&header, frame->data + FRAME_HEADER_SIZE, &arena, &message) == 0 &&
	    promises_forge(storage, &message)) {
		struct buffer forged = { 0 };

		if (message_encode(&message, &forged) < 0)
			abort();
		buffer_clear(frame);
		buffer_append(frame, forged.data, forged.size);
		buffer_done(&forged);
	}
	arena_done(&arena);
}

static void answer_deny(struct buffer *frame)
{
	struct frame_header header;

	if (frame_header_decode(frame->data, &header) < 0 || !header.reply || header.status ||
	    !(header.flags & FRAME_DEGRADED) ||
	    (header.type != MSG_stat && header.type != MSG_open))
		return;
	buffer_clear(frame);
	if (refusal_encode(frame, header.type, header.id, -ERR_NOT_FOUND) < 0 ||
	    frame_header_decode(frame->data, &header) < 0)
		abort();
	header.flags |= FRAME_DEGRADED;
	frame_header_encode(&header, frame->data);
}

static bool is_pull(const struct buffer *frame)
{
	struct frame_header header;

	return frame_header_decode(frame->data, &header) == 0 && header.type == MSG_pull &&
	       !header.reply;
}

bool storage_sabotage_sends(struct host *host, struct buffer *frame)
{
	if (is_sabotaged(host, SABOTAGE_LOW_PROMISE))
		frame_forge(storage_of(host), frame);
	if (is_sabotaged(host, SABOTAGE_OLD_ANSWERS))
		answer_deny(frame);
	return !is_sabotaged(host, SABOTAGE_MUTE_COPIES) || !is_pull(frame);
}

/* ---- connections to whom it followed once ---- */

static bool is_to_nameserver(const struct host *host, uint64_t conn)
{
	const struct world *w = host->world;
	uint64_t socket = net_socket(host, conn);
	uint64_t peer = socket ? w->sockets[socket - 1]->peer : 0;

	return peer && w->sockets[peer - 1]->host->kind == HOST_NAMESERVER;
}

bool storage_sabotage_closes(struct host *host, uint64_t conn)
{
	struct storage_host *storage = storage_of(host);

	if (!is_sabotaged(host, SABOTAGE_OLD_BATCH) || !is_to_nameserver(host, conn))
		return false;
	for (unsigned int i = 0; i < GHOSTS_MAX; i++) {
		if (storage->ghosts[i] == 0) {
			storage->ghosts[i] = conn;
			return true;
		}
	}
	return false;
}

static uint64_t *ghost_find(struct storage_host *storage, uint64_t conn)
{
	for (unsigned int i = 0; i < GHOSTS_MAX; i++) {
		if (storage->ghosts[i] == conn)
			return &storage->ghosts[i];
	}
	return NULL;
}

static void ack(struct host *host, uint64_t conn, uint32_t id, const struct batch_request *request)
{
	struct batch_reply reply = { .sequence = request->sequence };
	struct buffer frame = { 0 };
	struct batch_head head;
	struct slice changes;
	size_t size;

	if (batch_read(request->part, &head, &changes, &size, &reply.hash) == 1)
		reply.epoch = head.epoch;
	if (reply_encode(&frame, MSG_batch, id, &reply) < 0)
		abort();
	net_send(host, conn, frame.data, frame.size);
	buffer_done(&frame);
}

bool storage_sabotage_hears(struct host *host, uint64_t conn, const struct frame_header *header,
			    const uint8_t *body)
{
	struct arena arena = { 0 };
	struct message message;

	if (!ghost_find(storage_of(host), conn))
		return false;
	if (header->type == MSG_batch && !header->reply &&
	    message_decode(header, body, &arena, &message) == 0)
		ack(host, conn, header->id, message.body);
	arena_done(&arena);
	return true;
}

bool storage_sabotage_lost(struct host *host, uint64_t conn)
{
	uint64_t *ghost = ghost_find(storage_of(host), conn);

	if (ghost)
		*ghost = 0;
	return ghost != NULL;
}

/* WRITE and its DATA: what comes in is checked, kept, passed on. */
#include "storage_inside.h"

static const struct storage_chunks *chunks(const struct storage *s)
{
	return s->config.chunks;
}

/* ---- WRITE ---- */

static int write_check(struct storage *s, const struct conn *conn, const struct write_request *req)
{
	int rc = storage_ticket_check(s, conn, &req->ticket, TICKET_WRITE);

	if (rc < 0)
		return rc;
	if (req->length == 0 || req->length > CHUNK_SIZE_MAX || req->hops_count >= COPIES_MAX)
		return -ERR_BAD_REQUEST;
	return req->length > req->ticket.length ? -ERR_DENIED : 0;
}

int storage_chunk_look(struct storage *s, struct storage_meta *meta)
{
	uint32_t length = 0;
	int rc = chunks(s)->find(s->config.chunks_context, meta->chunk, NULL, NULL);

	if (rc == 0)
		rc = chunks(s)->find(s->config.chunks_context, meta->chunk, &length, &meta->digest);
	if (rc == 0)
		return length == meta->length ? 1 : -ERR_EXISTS;
	if (rc == -ERR_CORRUPT) {
		chunks(s)->quarantine(s->config.chunks_context, meta->chunk);
		storage_corrupt_send(s, meta->chunk, rc);
		return 0;
	}
	return rc == -ERR_NOT_FOUND ? 0 : rc;
}

/* Looked at between two transfers only: the one that has begun must be able to end. */
static void pause_if_full(struct storage *s, struct conn *conn)
{
	struct storage_action *action;

	if (!conn || conn->paused ||
	    (conn->outstanding < OUTSTANDING_MAX && conn->outstanding_bytes < REQUEST_BYTES_MAX))
		return;
	conn->paused = true;
	action = storage_act(s, ACT_PAUSE);
	action->connection = conn->handle;
	action->on = true;
}

void storage_receive(struct storage *s, struct conn *conn, struct transfer *transfer)
{
	struct storage_action *action;

	transfer->receiving = true;
	conn->incoming = transfer;
	transfer->by_glue = transfer->large && transfer->write;
	if (!transfer->by_glue)
		return;
	action = storage_act(s, ACT_RECEIVE);
	action->transfer = transfer->number;
	action->connection = conn->handle;
	action->id = transfer->request;
	action->write = transfer->write;
	action->length = transfer->meta.length;
	action->timeout_ms = transfer->fetch ? FETCH_SILENCE_MS : 0;
}

static struct transfer *begin(struct storage *s, struct conn *conn, const struct incoming *in)
{
	const struct write_request *req = in->message.body;
	struct transfer *transfer = storage_transfer_new(s);

	if (!transfer)
		return NULL;
	transfer->request = in->header->id;
	transfer->meta = (struct storage_meta){ .chunk = req->ticket.chunk,
						.file = req->file,
						.epoch = s->epoch,
						.length = (uint32_t)req->length };
	transfer->large = req->length >= s->config.large_size;
	/* A long one is not held in memory, but a disk may fall behind. */
	storage_load_write(s, conn);
	storage_transfer_enter_asked(transfer, conn,
				     transfer->large ? LARGE_CHARGE : transfer->meta.length);
	return transfer;
}

/* Whoever sends a chunk again has given the older sender up: a server that stopped in the middle
 * would hold the chunk for as long as its connection lives. But a client that sends it by itself
 * has given up the servers in front of us, and one of those may go on where it stopped. */
static void drop_older_sender(struct storage *s, const struct conn *conn, uint64_t chunk)
{
	struct transfer *older = storage_transfer_of_chunk(s, chunk);

	if (!older || !older->receiving || !older->from || older->from == conn)
		return;
	if (older->fetch) {
		storage_fetch_end(s, older, -ERR_BUSY);
		return;
	}
	if (conn->role != ROLE_STORAGE || older->from->role == ROLE_STORAGE)
		storage_conn_drop(s, older->from, -ERR_CONNECTION, true);
}

static int write_new(struct storage *s, const struct conn *conn, const struct storage_meta *meta,
		     struct store_write **ret)
{
	int rc = chunks(s)->write_new(s->config.chunks_context, meta, ret);

	if (rc == -ERR_EXISTS) {
		drop_older_sender(s, conn, meta->chunk);
		rc = chunks(s)->write_new(s->config.chunks_context, meta, ret);
	}
	/* Still being synced, or in the hands of a worker that has yet to let go. */
	return rc == -ERR_EXISTS ? -ERR_BUSY : rc;
}

int storage_on_write(struct storage *s, struct conn *conn, const struct incoming *in)
{
	const struct write_request *req = in->message.body;
	struct storage_meta meta = { .chunk = req->ticket.chunk,
				     .file = req->file,
				     .epoch = s->epoch,
				     .length = (uint32_t)req->length };
	struct store_write *write = NULL;
	struct transfer *transfer;
	int rc = write_check(s, conn, req);
	bool here;

	if (rc == 0)
		rc = storage_chunk_look(s, &meta);
	here = rc == 1;
	if (rc == 0)
		rc = write_new(s, conn, &meta, &write);
	if (rc < 0)
		return rc;
	transfer = begin(s, conn, in);
	if (!transfer) {
		if (write)
			chunks(s)->write_abort(s->config.chunks_context, write);
		return -ERR_NO_MEMORY;
	}
	transfer->meta.digest = meta.digest;
	transfer->write = write;
	if (write)
		storage_transfer_enter_chunk(s, transfer);
	storage_receive(s, conn, transfer);
	storage_chain_start(s, transfer, req);
	if (here) {
		/* Long or short, the bytes are not needed, unless a hop still wants them. */
		transfer->receiving = transfer->hop_pending && !transfer->large;
		if (!transfer->receiving)
			conn->incoming = NULL;
		storage_transfer_own_done(s, transfer, 0);
	}
	return 0;
}

/* ---- DATA ---- */

void storage_receive_failed(struct storage *s, struct transfer *transfer, int error)
{
	transfer->receiving = transfer->by_glue = false;
	if (transfer->write)
		chunks(s)->write_abort(s->config.chunks_context, transfer->write);
	transfer->write = NULL;
	storage_transfer_leave_chunk(s, transfer);
	storage_chain_abort(s, transfer);
	if (transfer->own_done)
		storage_transfer_settle(s, transfer, NULL, 0);
	else
		storage_transfer_own_done(s, transfer, error);
}

static void commit(struct storage *s, struct transfer *transfer)
{
	struct store_write *write = transfer->write;
	int rc;

	transfer->receiving = transfer->by_glue = false;
	transfer->moved_ms = s->now_ms;
	if (transfer->fetch)
		storage_fetch_received(s, transfer);
	if (transfer->own_done) {
		storage_transfer_settle(s, transfer, NULL, 0);
		return;
	}
	rc = chunks(s)->write_commit(s->config.chunks_context, write, transfer->number);
	if (rc == 0) {
		transfer->write = NULL;
		if (transfer->fetch)
			storage_fetch_proved(s, transfer);
		pause_if_full(s, transfer->from);
		return;
	}
	chunks(s)->write_abort(s->config.chunks_context, write);
	transfer->write = NULL;
	storage_transfer_leave_chunk(s, transfer);
	storage_transfer_own_done(s, transfer, rc);
}

/* 0: the frame is the next one of the transfer and its bytes are what was sent. */
static int data_check(const struct transfer *transfer, const struct data_head *head,
		      const uint8_t *body, size_t crcs_size)
{
	uint32_t end = transfer->received + head->length;
	bool last = head->flags & FRAME_LAST;

	/* Short ones of several askers share the connection to a hop: none may stand between. */
	if (transfer->meta.length <= SMALL_CHUNK_MAX && !last)
		return -ERR_BAD_REQUEST;
	if (head->id != transfer->request || head->offset != transfer->received ||
	    end > transfer->meta.length || last != (end == transfer->meta.length) ||
	    (!last && head->length % BLOCK_SIZE))
		return -ERR_BAD_REQUEST;
	if (!crc32c_blocks_match(body + crcs_size, head->length, body))
		return -ERR_CORRUPT;
	return 0;
}

static int keep(struct storage *s, struct transfer *transfer, const struct data_head *head,
		const uint8_t *body)
{
	size_t crcs_size = block_count(head->length) * 4;
	struct slice data = { body + crcs_size, head->length };

	if (!transfer->write)
		return 0;
	return chunks(s)->write_add(s->config.chunks_context, transfer->write, data, body);
}

static void take_data(struct storage *s, struct conn *conn, const struct incoming *in,
		      const struct data_head *head)
{
	struct transfer *transfer = conn->incoming;
	size_t crcs_size = block_count(head->length) * 4;
	int rc = data_check(transfer, head, in->body, crcs_size);

	if (rc == 0)
		rc = keep(s, transfer, head, in->body);
	if (rc == 0)
		storage_chain_data(s, transfer, in->header, in->body);
	/* What else a source sends for a fetch that failed would be taken for the next one's. */
	if (rc == -ERR_BAD_REQUEST || (rc < 0 && transfer->fetch && !(head->flags & FRAME_LAST)))
		conn->closing = true;
	if (rc == 0)
		transfer->received += head->length;
	transfer->moved_ms = s->now_ms;
	/* What is left of a failed transfer is swallowed like that of a refused one. */
	if (rc < 0 || head->flags & FRAME_LAST)
		conn->incoming = NULL;
	if (rc < 0)
		storage_receive_failed(s, transfer, rc);
	else if (head->flags & FRAME_LAST)
		commit(s, transfer);
}

int storage_on_data(struct storage *s, struct conn *conn, const struct incoming *in)
{
	struct transfer *transfer = conn->incoming;
	struct data_head head;
	size_t crcs_size;

	if (conn->state != CONN_READY || data_head_decode(in->header, &head, &crcs_size) < 0) {
		conn->closing = true;
		return 0;
	}
	/* Of a WRITE that was refused; servers that we dialled send none. */
	if (!transfer) {
		conn->closing = conn->use == USE_HOP;
		return 0;
	}
	if (head.flags & FRAME_ABORT) {
		conn->incoming = NULL;
		storage_receive_failed(s, transfer, -ERR_UNAVAILABLE);
		return 0;
	}
	take_data(s, conn, in, &head);
	return 0;
}

/* ---- what the glue and the store say ---- */

void storage_on_received(struct storage *s, const struct storage_event *event)
{
	struct transfer *transfer = storage_transfer_find(s, event->transfer);

	if (!transfer)
		return;
	if (transfer->from)
		transfer->from->incoming = NULL;
	transfer->received = transfer->meta.length;
	if (transfer->fetch && event->status)
		storage_fetch_refused(transfer->fetch, event->status);
	if (event->error < 0)
		storage_receive_failed(s, transfer, event->error);
	else
		commit(s, transfer);
}

static void say_stored(struct storage *s, const struct transfer *transfer, int error)
{
	struct storage_action *action = storage_note(s, error ? NOTE_NOT_STORED : NOTE_STORED);

	action->chunk = transfer->meta.chunk;
	action->number = transfer->meta.length;
	action->took_ms = s->now_ms - transfer->since_ms;
	action->error = error;
}

void storage_on_stored(struct storage *s, const struct storage_event *event)
{
	struct transfer *transfer = storage_transfer_find(s, event->transfer);

	if (!transfer)
		return;
	if (event->error == 0 && event->digest)
		transfer->meta.digest = *event->digest;
	say_stored(s, transfer, event->error);
	if (event->error == 0)
		storage_inspect_stored(s, transfer->meta.chunk);
	storage_transfer_leave_chunk(s, transfer);
	if (transfer->doomed && event->error == 0) {
		chunks(s)->remove(s->config.chunks_context, transfer->meta.chunk);
		storage_transfer_own_done(s, transfer, -ERR_EXPIRED);
		return;
	}
	storage_transfer_own_done(s, transfer, event->error);
}

/* What has been received whole is kept and reported; what has not can never be completed. */
void storage_write_asker_gone(struct storage *s, struct transfer *transfer)
{
	struct conn *conn = transfer->from;

	LIST_REMOVE(transfer, in_asked);
	transfer->from = NULL;
	if (conn->incoming == transfer)
		conn->incoming = NULL;
	if (transfer->receiving && !transfer->by_glue)
		storage_receive_failed(s, transfer, -ERR_CONNECTION);
}

/* FETCH: a copy of a chunk from another server. To the source we are a reader like any other; what
 * comes is a transfer like that of a WRITE, only that it is the name server that waits for it. */
#include "storage_inside.h"

/* ---- the answer ---- */

/* Which of the two sides is to blame must be seen: NOT_FOUND and CORRUPT speak of the source's
 * copy, UNAVAILABLE of the source, all others of ourselves. */
static int answer_of(const struct fetch *fetch, int error)
{
	if (fetch->error)
		return fetch->error;
	switch (-error) {
	case ERR_BAD_REQUEST: /* DATA that is none */
	case ERR_NOT_FOUND: return -ERR_UNAVAILABLE;
	default: return error;
	}
}

void storage_fetch_refused(struct fetch *fetch, uint8_t status)
{
	switch (status) {
	case ERR_NOT_FOUND: fetch->error = -ERR_NOT_FOUND; break;
	case ERR_CORRUPT:
	case ERR_IO:
	case ERR_RANGE: fetch->error = -ERR_CORRUPT; break;
	default: fetch->error = -ERR_UNAVAILABLE;
	}
}

static void say(struct storage *s, const struct fetch *fetch, int error)
{
	struct storage_action *action = storage_note(s, error ? NOTE_NOT_FETCHED : NOTE_FETCHED);

	action->chunk = fetch->ticket.chunk;
	action->who = fetch->ticket.holder;
	action->number = fetch->ticket.length;
	action->error = error;
	action->took_ms = s->now_ms - fetch->since_ms;
}

static void answer(struct storage *s, struct conn *conn, uint32_t request,
		   const struct receipt *receipt)
{
	struct fetch_reply reply = { .receipt = *receipt };
	struct message message = {
		.info = message_info(MSG_fetch), .reply = true, .id = request, .body = &reply
	};

	storage_send_message(s, conn, &message);
}

/* The connection to the source is free for other things. */
static void release(struct storage *s, struct transfer *transfer)
{
	if (transfer->from)
		transfer->from->busy = false;
	storage_transfer_leave_asked(s, transfer);
}

void storage_fetch_received(struct storage *s, struct transfer *transfer)
{
	release(s, transfer);
}

void storage_fetch_proved(struct storage *s, const struct transfer *transfer)
{
	s->config.chunks->quarantine(s->config.chunks_context, transfer->meta.chunk);
}

void storage_fetch_done(struct storage *s, struct transfer *transfer, const struct receipt *receipt,
			int error)
{
	struct fetch *fetch = transfer->fetch;
	struct conn *asker = storage_conn_find(s, fetch->asker);
	struct frame_header to = { .type = MSG_fetch, .id = fetch->request };

	release(s, transfer);
	if (!receipt)
		error = answer_of(fetch, error);
	say(s, fetch, receipt ? 0 : error);
	if (asker && receipt)
		answer(s, asker, fetch->request, receipt);
	else if (asker)
		storage_send_refusal(s, asker, &to, error);
	else if (receipt)
		storage_late_add(s, receipt, 1);
	fetch->transfer = NULL;
	transfer->fetch = NULL;
}

/* ---- FETCH ---- */

static int fetch_check(const struct storage *s, const struct conn *conn,
		       const struct fetch_request *req)
{
	const struct ticket *ticket = &req->ticket;

	if (conn != s->seeker.conn || !storage_is_followed(s, req->epoch))
		return -ERR_STALE;
	if (req->chunk.chunk == 0 || req->chunk.length == 0 || req->endpoints_count == 0)
		return -ERR_BAD_REQUEST;
	if (ticket->operation != TICKET_READ || ticket->chunk != req->chunk.chunk ||
	    ticket->length != req->chunk.length || !id_equal(&ticket->client, &s->config.self) ||
	    id_equal(&ticket->holder, &s->config.self))
		return -ERR_BAD_REQUEST;
	return 0;
}

/* As storage_chunk_look, but a copy that is not what the catalogue says is none. It stays until
 * bytes that are have come: should the order be wrong, nothing is lost by it. */
static int look(struct storage *s, const struct chunk_sum *wanted, struct storage_meta *meta)
{
	int rc = storage_chunk_look(s, meta);

	if (rc == -ERR_EXISTS || (rc == 1 && !digest_equal(&meta->digest, &wanted->digest)))
		rc = 0;
	meta->digest = wanted->digest;
	return rc;
}

static void answer_at_once(struct storage *s, struct conn *conn, const struct incoming *in,
			   const struct storage_meta *meta)
{
	struct receipt receipt = { .chunk = meta->chunk,
				   .length = meta->length,
				   .digest = meta->digest,
				   .epoch = s->epoch,
				   .holder = s->config.self };

	receipt_sign(s->key, &receipt);
	answer(s, conn, in->header->id, &receipt);
}

static struct fetch *free_place(struct storage *s)
{
	for (unsigned int i = 0; i < FETCHES_MAX; i++) {
		if (!s->fetches[i].transfer)
			return &s->fetches[i];
	}
	return NULL;
}

static void ask_source(struct storage *s, struct conn *conn, struct transfer *transfer)
{
	struct read_request read = { .length = transfer->meta.length,
				     .ticket = transfer->fetch->ticket };

	transfer->moved_ms = s->now_ms;
	storage_send_request(s, conn, MSG_read, transfer->request, &read);
	storage_receive(s, conn, transfer);
}

void storage_fetch_conn_ready(struct storage *s, struct conn *conn)
{
	ask_source(s, conn, LIST_FIRST(&conn->asked));
}

static int start(struct storage *s, struct fetch *fetch, struct store_write *write,
		 const struct storage_meta *meta, struct conn *source)
{
	struct transfer *transfer = storage_transfer_new(s);

	if (!transfer)
		return -ERR_NO_MEMORY;
	fetch->transfer = transfer;
	fetch->since_ms = s->now_ms;
	fetch->error = 0;
	transfer->fetch = fetch;
	transfer->request = transfer->number;
	transfer->meta = *meta;
	transfer->large = meta->length >= s->config.large_size;
	transfer->write = write;
	transfer->receiving = true;
	storage_transfer_enter_chunk(s, transfer);
	storage_transfer_enter_asked(transfer, source, 0);
	source->busy = true;
	if (source->state == CONN_READY)
		ask_source(s, source, transfer);
	return 0;
}

int storage_on_fetch(struct storage *s, struct conn *conn, const struct incoming *in)
{
	const struct fetch_request *req = in->message.body;
	const struct storage_chunks *chunks = s->config.chunks;
	struct storage_meta meta = { .chunk = req->chunk.chunk,
				     .file = req->file,
				     .epoch = s->epoch,
				     .length = req->chunk.length };
	struct fetch *fetch = free_place(s);
	struct store_write *write;
	struct conn *source;
	int rc = fetch_check(s, conn, req);

	if (rc == 0)
		rc = look(s, &req->chunk, &meta);
	if (rc == 1) {
		answer_at_once(s, conn, in, &meta);
		return 0;
	}
	if (rc == 0 && !fetch)
		rc = -ERR_BUSY;
	if (rc == 0)
		rc = chunks->write_new(s->config.chunks_context, &meta, &write);
	if (rc < 0)
		return rc == -ERR_EXISTS ? -ERR_BUSY : rc; /* somebody else brings it */
	fetch->asker = conn->handle;
	fetch->request = in->header->id;
	fetch->ticket = req->ticket;
	source = storage_peer_connection(s, &req->ticket.holder, req->endpoints,
					 req->endpoints_count);
	rc = source ? start(s, fetch, write, &meta, source) : -ERR_UNAVAILABLE;
	if (rc < 0)
		chunks->write_abort(s->config.chunks_context, write);
	return rc;
}

void storage_fetch_reply(struct storage *s, struct conn *conn, const struct incoming *in)
{
	struct transfer *transfer = conn->incoming;

	if (!transfer || in->header->id != transfer->request || in->header->status == 0) {
		conn->closing = true;
		return;
	}
	conn->incoming = NULL;
	storage_fetch_refused(transfer->fetch, in->header->status);
	storage_receive_failed(s, transfer, -ERR_UNAVAILABLE);
}

/* ---- the end of patience ---- */

static void end(struct storage *s, struct transfer *transfer, int error, int why_dropped)
{
	if (!transfer->from)
		return;
	transfer->fetch->error = error;
	storage_conn_drop(s, transfer->from, why_dropped, true);
}

void storage_fetch_end(struct storage *s, struct transfer *transfer, int error)
{
	end(s, transfer, error, -ERR_CANCELLED);
}

/* A worker of the glue that has the connection looks at the clock itself. */
void storage_fetch_tick(struct storage *s)
{
	for (unsigned int i = 0; i < FETCHES_MAX; i++) {
		struct transfer *transfer = s->fetches[i].transfer;

		if (transfer && !transfer->by_glue &&
		    s->now_ms - transfer->moved_ms >= FETCH_SILENCE_MS)
			end(s, transfer, -ERR_UNAVAILABLE, -ERR_TIMEOUT);
	}
}

void storage_fetches_orphaned(struct storage *s)
{
	for (unsigned int i = 0; i < FETCHES_MAX; i++) {
		if (s->fetches[i].transfer)
			storage_fetch_end(s, s->fetches[i].transfer, -ERR_CANCELLED);
	}
}

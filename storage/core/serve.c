/* Tickets and reads. */
#include "storage_inside.h"

int storage_ticket_check(struct storage *s, const struct conn *conn, const struct ticket *ticket,
			 uint8_t operation)
{
	struct ticket_use use = { .holder = s->config.self,
				  .client = conn->peer,
				  .epoch = s->epoch,
				  .now_s = (uint32_t)((s->now_ms - s->registered_ms) / 1000),
				  .operation = operation };
	struct storage_action *action;
	int rc;

	/* A storage server that passes a chunk on speaks for the client that the ticket names. */
	if (conn->role == ROLE_STORAGE && operation == TICKET_WRITE)
		use.client = ticket->client;
	if (ticket->epoch == 0 && operation == TICKET_READ)
		rc = storage_degraded_ticket(s, conn, ticket);
	else
		rc = s->key ? ticket_verify(s->key, ticket, &use) : -ERR_UNAVAILABLE;
	if (rc == 0)
		return 0;
	action = storage_note(s, NOTE_DENIED);
	action->chunk = ticket->chunk;
	action->error = rc;
	return rc;
}

static int read_check(struct storage *s, const struct read_request *req)
{
	const struct ticket *ticket = &req->ticket;
	uint64_t end = req->offset + req->length;
	int rc;

	if (req->length == 0 || req->offset % BLOCK_SIZE)
		return -ERR_BAD_REQUEST;
	/* The ticket of a reader says how long the chunk is. */
	if (req->length > ticket->length || req->offset > ticket->length || end > ticket->length)
		return -ERR_RANGE;
	if (req->length % BLOCK_SIZE && end != ticket->length)
		return -ERR_BAD_REQUEST;
	rc = s->config.chunks->find(s->config.chunks_context, ticket->chunk, NULL, NULL);
	return rc == -ERR_NOT_FOUND ? rc : 0;
}

int storage_on_read(struct storage *s, struct conn *conn, const struct incoming *in)
{
	const struct read_request *req = in->message.body;
	struct storage_action *action;
	int rc = storage_ticket_check(s, conn, &req->ticket, TICKET_READ);

	if (rc == 0)
		rc = read_check(s, req);
	if (rc < 0) {
		/* The name server believes that it is here. */
		if (rc == -ERR_NOT_FOUND && req->ticket.epoch)
			storage_corrupt_send(s, req->ticket.chunk, rc);
		return rc;
	}
	storage_load_read(s, conn);
	action = storage_act(s, ACT_SEND_CHUNK);
	action->connection = conn->handle;
	action->id = in->header->id;
	action->chunk = req->ticket.chunk;
	action->offset = (uint32_t)req->offset;
	action->length = (uint32_t)req->length;
	action = storage_note(s, NOTE_SERVED);
	action->chunk = req->ticket.chunk;
	action->number = req->length;
	return 0;
}

/* The glue could not read it. */
void storage_on_sent(struct storage *s, const struct storage_event *event)
{
	struct conn *conn = storage_conn_find(s, event->connection);
	struct frame_header to = { .type = MSG_read, .id = event->id };

	if (event->error == -ERR_CORRUPT || event->error == -ERR_IO) {
		s->config.chunks->quarantine(s->config.chunks_context, event->chunk);
		storage_corrupt_send(s, event->chunk, event->error);
	}
	if (conn)
		storage_send_refusal(s, conn, &to, event->error);
}

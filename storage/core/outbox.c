/* How the core says what shall be done. */
#include "storage_inside.h"

static bool outbox_grow(struct storage_outbox *outbox)
{
	unsigned int capacity = outbox->capacity ? outbox->capacity * 2 : 16;
	struct storage_action *actions;

	actions = realloc(outbox->actions, capacity * sizeof(*actions));
	if (!actions)
		return false;
	outbox->actions = actions;
	outbox->capacity = capacity;
	return true;
}

struct storage_action *storage_act(struct storage *s, enum storage_action_kind kind)
{
	struct storage_outbox *outbox = s->out;
	struct storage_action *action = &s->spare;

	if (outbox->count < outbox->capacity || outbox_grow(outbox))
		action = &outbox->actions[outbox->count++];
	else
		s->error = -ERR_NO_MEMORY;
	/* The endpoints come last and are the greater part; the count says that there are none. */
	memset(action, 0, offsetof(struct storage_action, endpoints));
	action->kind = kind;
	action->at = outbox->bytes.size;
	return action;
}

struct storage_action *storage_note(struct storage *s, enum storage_note what)
{
	struct storage_action *action = storage_act(s, ACT_NOTE);

	action->note = what;
	return action;
}

/* What has been appended to the outbox's bytes since `at` goes to the connection, together with
 * what goes there already if that was the last action. */
static void send_since(struct storage *s, const struct conn *conn, size_t at)
{
	struct storage_outbox *outbox = s->out;
	size_t size = outbox->bytes.size - at;
	struct storage_action *last = outbox->count ? &outbox->actions[outbox->count - 1] : NULL;

	if (outbox->bytes.error)
		s->error = outbox->bytes.error;
	if (size == 0)
		return;
	if (last && last->kind == ACT_SEND && last->connection == conn->handle &&
	    last->at + last->size == at) {
		last->size += size;
		return;
	}
	last = storage_act(s, ACT_SEND);
	last->connection = conn->handle;
	last->at = at;
	last->size = size;
}

void storage_send_bytes(struct storage *s, struct conn *conn, const void *data, size_t size)
{
	size_t at = s->out->bytes.size;

	buffer_append(&s->out->bytes, data, size);
	send_since(s, conn, at);
}

void storage_send_message(struct storage *s, struct conn *conn, const struct message *message)
{
	size_t at = s->out->bytes.size;
	int rc = message_encode(message, &s->out->bytes);

	assert(rc != -ERR_TOO_LARGE);
	send_since(s, conn, at);
}

void storage_send_request(struct storage *s, struct conn *conn, unsigned int code, uint32_t id,
			  const void *body)
{
	struct message message = { .info = message_info(code), .id = id, .body = body };

	storage_send_message(s, conn, &message);
}

void storage_send_reply(struct storage *s, struct conn *conn, const struct incoming *to,
			const void *body)
{
	struct message message = {
		.info = to->message.info, .reply = true, .id = to->header->id, .body = body
	};

	storage_send_message(s, conn, &message);
}

void storage_send_refusal(struct storage *s, struct conn *conn, const struct frame_header *to,
			  int error)
{
	size_t at = s->out->bytes.size;

	refusal_encode(&s->out->bytes, to->type, to->id, error);
	send_since(s, conn, at);
}

void storage_outbox_clear(struct storage_outbox *outbox)
{
	outbox->count = 0;
	buffer_clear(&outbox->bytes);
}

void storage_outbox_done(struct storage_outbox *outbox)
{
	free(outbox->actions);
	buffer_done(&outbox->bytes);
	*outbox = (struct storage_outbox){ 0 };
}

/* What leaves: the outbox, and the queue of what may not leave yet. */
#include "ns_state.h"

struct ns_action *outbox_add(struct ns_outbox *outbox, enum ns_action_kind kind)
{
	struct ns_action *action;

	if (outbox->count == outbox->capacity) {
		unsigned int capacity = outbox->capacity ? outbox->capacity * 2 : 64;
		struct ns_action *actions = realloc(outbox->actions, capacity * sizeof(*actions));

		if (!actions) {
			outbox->error = -ERR_NO_MEMORY;
			return NULL;
		}
		outbox->actions = actions;
		outbox->capacity = capacity;
	}
	action = &outbox->actions[outbox->count++];
	*action = (struct ns_action){ .kind = kind, .offset = outbox->bytes.size };
	return action;
}

void ns_outbox_clear(struct ns_outbox *outbox)
{
	outbox->count = 0;
	buffer_clear(&outbox->bytes);
	outbox->error = 0;
}

void ns_outbox_done(struct ns_outbox *outbox)
{
	free(outbox->actions);
	buffer_done(&outbox->bytes);
	*outbox = (struct ns_outbox){ 0 };
}

/* ---- held back ---- */

static int held_grow(struct held_queue *queue)
{
	size_t capacity = queue->capacity ? queue->capacity * 2 : 256;
	struct held *items;

	if (queue->first > queue->capacity / 2) {
		queue->count -= queue->first;
		memmove(queue->items, queue->items + queue->first,
			queue->count * sizeof(*queue->items));
		queue->first = 0;
		return 0;
	}
	items = realloc(queue->items, capacity * sizeof(*items));
	if (!items)
		return -ERR_NO_MEMORY;
	queue->items = items;
	queue->capacity = capacity;
	return 0;
}

/* The last `size` bytes of the queue's buffer are for that connection. */
int held_add(struct nameserver *ns, uint64_t conn, size_t size)
{
	struct held_queue *queue = &ns->held;

	if (queue->count == queue->capacity && held_grow(queue) < 0) {
		ns->failed = true;
		return -ERR_NO_MEMORY;
	}
	queue->items[queue->count++] =
		(struct held){ .conn = conn, .sequence = UINT64_MAX, .size = size };
	return 0;
}

/* The turn is over: what it said may leave when its batch is durable. */
void held_seal(struct nameserver *ns)
{
	struct held_queue *queue = &ns->held;

	for (size_t i = queue->count; i > queue->first; i--) {
		if (queue->items[i - 1].sequence != UINT64_MAX)
			break;
		queue->items[i - 1].sequence = ns->sequence;
	}
}

static void held_emit(struct nameserver *ns, const struct held *item)
{
	struct session *session = session_find(ns, item->conn);
	struct ns_action *action;

	if (!session)
		return;
	action = outbox_add(ns->outbox, item->size ? NS_SEND : NS_CLOSE);
	if (!action)
		return;
	action->conn = item->conn;
	action->size = item->size;
	if (item->size == 0)
		session_gone(ns, session);
	else if (buffer_append(&ns->outbox->bytes, ns->held.bytes.data + ns->held.consumed,
			       item->size) < 0)
		ns->outbox->error = -ERR_NO_MEMORY;
}

enum { COMPACT_AT = 1024 * 1024 };

/* Gives to the outbox what rests on nothing but durable batches. */
void held_release(struct nameserver *ns)
{
	struct held_queue *queue = &ns->held;

	while (queue->first < queue->count && queue->items[queue->first].sequence <= ns->durable) {
		held_emit(ns, &queue->items[queue->first]);
		queue->consumed += queue->items[queue->first].size;
		queue->first++;
	}
	if (queue->first == queue->count) {
		queue->first = queue->count = 0;
		queue->consumed = 0;
		buffer_clear(&queue->bytes);
	} else if (queue->consumed > COMPACT_AT && queue->consumed > queue->bytes.size / 2) {
		buffer_consume(&queue->bytes, queue->consumed);
		queue->consumed = 0;
	}
}

void held_done(struct held_queue *queue)
{
	free(queue->items);
	buffer_done(&queue->bytes);
}

uint32_t request_number(struct nameserver *ns)
{
	ns->next_request = ns->next_request % UINT32_MAX + 1;
	return ns->next_request;
}

uint32_t order_send(struct nameserver *ns, uint64_t conn, unsigned int code, const void *request)
{
	struct buffer *bytes = &ns->held.bytes;
	size_t before = bytes->size;

	if (request_encode(bytes, code, request_number(ns), request) < 0 ||
	    held_add(ns, conn, bytes->size - before) < 0) {
		ns->failed = true;
		return 0;
	}
	return ns->next_request;
}

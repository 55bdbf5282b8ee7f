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

/* What storage servers ask has to do with getting batches to them, and with being in touch: all
 * others wait for just that. It tells them nothing that the batches do not. */
struct held_queue *held_for(struct nameserver *ns, const struct session *to)
{
	return to->role == ROLE_STORAGE ? &ns->early : &ns->held;
}

static void passed_follow(struct held_queue *queue)
{
	if (queue->passed > queue->first)
		return;
	queue->passed = queue->first;
	queue->passed_bytes = queue->consumed;
}

static void held_move_up(struct held_queue *queue)
{
	passed_follow(queue);
	queue->count -= queue->first;
	queue->passed -= queue->first;
	memmove(queue->items, queue->items + queue->first, queue->count * sizeof(*queue->items));
	queue->first = 0;
}

static int held_grow(struct held_queue *queue)
{
	size_t capacity = queue->capacity ? queue->capacity * 2 : 256;
	struct held *items;

	if (queue->first > queue->capacity / 2) {
		held_move_up(queue);
		return 0;
	}
	items = realloc(queue->items, capacity * sizeof(*items));
	if (!items)
		return -ERR_NO_MEMORY;
	queue->items = items;
	queue->capacity = capacity;
	return 0;
}

int held_add(struct nameserver *ns, struct held_queue *queue, const struct held *item)
{
	struct held *added;

	if (queue->count == queue->capacity && held_grow(queue) < 0) {
		ns->failed = true;
		return -ERR_NO_MEMORY;
	}
	added = &queue->items[queue->count++];
	*added = *item;
	added->sequence = UINT64_MAX;
	return 0;
}

static void queue_seal(struct held_queue *queue, uint64_t sequence)
{
	for (size_t i = queue->count; i > queue->first; i--) {
		if (queue->items[i - 1].sequence != UINT64_MAX)
			break;
		queue->items[i - 1].sequence = sequence;
	}
}

/* The turn is over: what it said may leave when its batch may. */
void held_seal(struct nameserver *ns)
{
	queue_seal(&ns->early, ns->sequence);
	queue_seal(&ns->held, ns->sequence);
}

/* The first bytes of a frame: it may be old news by now. */
static void degraded_mark(uint8_t *frame)
{
	unsigned int type = get_u16(frame);
	const struct message_info *info = message_info(type & 0x7fff);

	if (type & 0x8000 && info && info->to == TO_CATALOGUE)
		frame[2] |= FRAME_DEGRADED;
}

static void held_emit(struct nameserver *ns, const struct held *item, const uint8_t *bytes,
		      bool degraded)
{
	struct session *session = item->conn ? session_find(ns, item->conn) : NULL;
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
	else if (buffer_append(&ns->outbox->bytes, bytes, item->size) < 0)
		ns->outbox->error = -ERR_NO_MEMORY;
	else if (degraded)
		degraded_mark(ns->outbox->bytes.data + action->offset);
}

enum { COMPACT_AT = 1024 * 1024 };

static void queue_compact(struct held_queue *queue)
{
	if (queue->first == queue->count) {
		queue->first = queue->count = queue->passed = 0;
		queue->consumed = queue->passed_bytes = 0;
		buffer_clear(&queue->bytes);
	} else if (queue->consumed > COMPACT_AT && queue->consumed > queue->bytes.size / 2) {
		passed_follow(queue);
		buffer_consume(&queue->bytes, queue->consumed);
		queue->passed_bytes -= queue->consumed;
		queue->consumed = 0;
	}
}

static void queue_release(struct nameserver *ns, struct held_queue *queue, uint64_t sequence)
{
	while (queue->first < queue->count && queue->items[queue->first].sequence <= sequence) {
		const struct held *item = &queue->items[queue->first++];

		held_emit(ns, item, queue->bytes.data + queue->consumed, false);
		queue->consumed += item->size;
	}
	queue_compact(queue);
}

/* Without the others' consent: what the own disk has, but for what is firm. */
static void queue_release_degraded(struct nameserver *ns, struct held_queue *queue)
{
	passed_follow(queue);
	while (queue->passed < queue->count &&
	       queue->items[queue->passed].sequence <= ns->durable) {
		struct held *item = &queue->items[queue->passed++];

		if (!(item->flags & HELD_FIRM)) {
			held_emit(ns, item, queue->bytes.data + queue->passed_bytes, true);
			item->conn = 0;
		}
		queue->passed_bytes += item->size;
	}
}

/* Gives to the outbox what may leave. */
void held_release(struct nameserver *ns)
{
	queue_release(ns, &ns->early, ns->durable);
	if (ns->quorum.lost)
		queue_release_degraded(ns, &ns->held);
	else if (quorum_in_touch(ns))
		queue_release(ns, &ns->held, ns->committed);
}

bool held_delete_drop(struct nameserver *ns, uint64_t conn)
{
	const unsigned int wanted = HELD_ORDER | HELD_FIRM;
	struct held_queue *queue = &ns->held;
	bool dropped = false;

	for (size_t i = queue->first; i < queue->count; i++) {
		struct held *item = &queue->items[i];

		if (item->conn != conn || (item->flags & wanted) != wanted)
			continue;
		item->conn = 0;
		dropped = true;
	}
	return dropped;
}

void held_orders_drop(struct nameserver *ns, uint64_t conn)
{
	struct held_queue *queue = &ns->held;

	for (size_t i = queue->first; i < queue->count; i++) {
		if (queue->items[i].conn == conn && queue->items[i].flags & HELD_ORDER)
			queue->items[i].conn = 0;
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

/* What is deleted does not come back. */
uint32_t order_send(struct nameserver *ns, uint64_t conn, unsigned int code, const void *request)
{
	struct buffer *bytes = &ns->held.bytes;
	struct held item = { .conn = conn,
			     .size = bytes->size,
			     .flags = HELD_ORDER | (code == MSG_delete ? HELD_FIRM : 0) };

	if (request_encode(bytes, code, request_number(ns), request) < 0) {
		ns->failed = true;
		return 0;
	}
	item.size = bytes->size - item.size;
	return held_add(ns, &ns->held, &item) < 0 ? 0 : ns->next_request;
}

/* What comes over connections: requests to their handlers, answers to their orders. */
#include "repair.h"
#include "shipping.h"

/* ---- handlers: one typed thunk per message, all from the table ---- */

union any_reply {
#define HANDLES_REPLY_NAMESERVER(name) struct name##_reply name##_;
#define HANDLES_REPLY_ANY(name)        HANDLES_REPLY_NAMESERVER(name)
#define HANDLES_REPLY_CATALOGUE(name)  HANDLES_REPLY_NAMESERVER(name)
#define HANDLES_REPLY_STORAGE(name)
#define HANDLES_REPLY_CLIENT(name)
#define MESSAGE(code, name, to, flags, text) HANDLES_REPLY_##to(name)
#include "messages.def"
};

typedef int thunk_fn(struct nameserver *ns, struct session *from, const void *request,
		     union any_reply *reply);

#define THUNK_NAMESERVER(name)                                                                    \
	static int thunk_##name(struct nameserver *ns, struct session *from, const void *request, \
				union any_reply *reply)                                           \
	{                                                                                         \
		return on_##name(ns, from, (const struct name##_request *)request,                \
				 &reply->name##_);                                                \
	}
#define THUNK_ANY(name)       THUNK_NAMESERVER(name)
#define THUNK_CATALOGUE(name) THUNK_NAMESERVER(name)
#define THUNK_STORAGE(name)
#define THUNK_CLIENT(name)
#define MESSAGE(code, name, to, flags, text) THUNK_##to(name)
#include "messages.def"

struct handler {
	unsigned int code;
	thunk_fn *call;
};

#define ROW_NAMESERVER(number, name) { number, thunk_##name },
#define ROW_ANY(number, name)        ROW_NAMESERVER(number, name)
#define ROW_CATALOGUE(number, name)  ROW_NAMESERVER(number, name)
#define ROW_STORAGE(number, name)
#define ROW_CLIENT(number, name)
static const struct handler handlers[] = {
#define MESSAGE(code, name, to, flags, text) ROW_##to(code, name)
#include "messages.def"
};

static thunk_fn *handler_of(unsigned int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++) {
		if (handlers[i].code == code)
			return handlers[i].call;
	}
	return NULL;
}

/* DATA belongs to data connections. */
int on_data(struct nameserver *ns, struct session *from, const struct data_request *request,
	    struct data_reply *reply)
{
	(void)ns;
	(void)from;
	(void)request;
	(void)reply;
	return -ERR_UNSUPPORTED;
}

int on_ping(struct nameserver *ns, struct session *from, const struct ping_request *request,
	    struct ping_reply *reply)
{
	(void)ns;
	(void)from;
	reply->cookie = request->cookie;
	return 0;
}

/* ---- requests ---- */

/* Codes 0x10 to 0x2f are a client's business, 0x40 to 0x43, PULL and PAGE a storage server's. */
static bool role_may(const struct session *from, unsigned int code)
{
	if (code >= MSG_stat && code < MSG_nodes)
		return from->client != NULL;
	if ((code >= MSG_register && code < MSG_corrupt) || code == MSG_pull || code == MSG_page)
		return from->role == ROLE_STORAGE;
	return true;
}

/* The frame at the end of the queue's buffer, from `before` on. What was said of a change must be
 * true for ever; while there are changes at all. */
static int answer_hold(struct nameserver *ns, const struct session *from, unsigned int code,
		       size_t before)
{
	const struct message_info *info = message_info(code);
	struct held_queue *queue = held_for(ns, from);
	bool changes = info && info->flags & MESSAGE_CHANGES;

	return held_add(ns, queue,
			&(struct held){ .conn = from->conn,
					.size = queue->bytes.size - before,
					.flags = changes ? HELD_FIRM : 0 });
}

static void refuse(struct nameserver *ns, const struct session *from,
		   const struct frame_header *header, int error)
{
	struct held_queue *queue = held_for(ns, from);
	struct held item = { .conn = from->conn, .size = queue->bytes.size };
	const struct message_info *info = message_info(header->type);

	if (!ns->quorum.lost && info && info->flags & MESSAGE_CHANGES)
		item.flags = HELD_FIRM;
	if (refusal_encode(&queue->bytes, header->type, header->id, error) < 0) {
		ns->failed = true;
		return;
	}
	item.size = queue->bytes.size - item.size;
	held_add(ns, queue, &item);
}

/* Repeats the recorded answer, if there is one: 1. */
static int repeat(struct nameserver *ns, const struct session *from,
		  const struct frame_header *header)
{
	struct buffer *bytes = &held_for(ns, from)->bytes;
	size_t before = bytes->size;
	struct slice answer;
	uint8_t *copy;
	int rc = result_get(ns->kv, &from->self, header->arg1, &answer);

	if (rc < 0)
		return rc == -ERR_NOT_FOUND ? 0 : rc;
	if (answer.size < FRAME_HEADER_SIZE || (get_u16(answer.data) & 0x7fff) != header->type)
		return -ERR_BAD_REQUEST;
	copy = buffer_extend(bytes, answer.size);
	if (!copy)
		return -ERR_NO_MEMORY;
	memcpy(copy, answer.data, answer.size);
	put_u32(copy + 4, header->id);
	rc = answer_hold(ns, from, header->type, before);
	return rc < 0 ? rc : 1;
}

enum { TRIM_STEP = 64 };

/* Encodes the answer and, if the request changed something, records it. */
static int answer(struct nameserver *ns, const struct session *from, const struct message *request,
		  const union any_reply *reply, const struct frame_header *header)
{
	struct buffer *bytes = &held_for(ns, from)->bytes;
	size_t before = bytes->size;
	int rc = reply_encode(bytes, header->type, header->id, reply);

	if (rc < 0)
		return rc;
	if (request->info->flags & MESSAGE_CHANGES) {
		struct slice frame = { bytes->data + before, bytes->size - before };

		rc = result_put(ns->kv, &from->self, header->arg1, frame);
		if (rc == 0)
			rc = result_trim(ns->kv, &from->self, header->arg2, TRIM_STEP);
		if (rc < 0)
			return rc;
	}
	return answer_hold(ns, from, header->type, before);
}

/* What makes the catalogue grow, or is of no use unless it can. */
static bool needs_room(const struct message_info *info)
{
	switch (info->code) {
	case MSG_put_begin:
	case MSG_put_chunks:
	case MSG_put_replace: return true;
	default: return info->flags & MESSAGE_CHANGES;
	}
}

/* 1: parked. */
static int handle(struct nameserver *ns, struct session *from, const struct message *request,
		  const struct frame_header *header)
{
	bool changes = request->info->flags & MESSAGE_CHANGES;
	union any_reply reply;
	uint32_t before = ns->kv->batch_count;
	int rc;

	if (changes &&
	    (header->arg1 == 0 || header->arg1 == UINT64_MAX || header->arg2 > header->arg1))
		return -ERR_BAD_REQUEST;
	if (changes && header->arg1 - header->arg2 >= OPERATIONS_MAX)
		return -ERR_BUSY;
	rc = changes ? repeat(ns, from, header) : 0;
	if (rc != 0)
		return rc < 0 ? rc : 0;
	if (ns->full && needs_room(request->info))
		return -ERR_CATALOGUE_FULL;
	rc = needs_room(request->info) ? quorum_admits(ns, header->type, request->body) : 0;
	if (rc != 0)
		return rc;
	memset(&reply, 0, sizeof(reply));
	ns->park.wanted = false;
	rc = handler_of(header->type)(ns, from, request->body, &reply);
	if (rc >= 0 && ns->park.wanted)
		return 1;
	if (rc >= 0 && !(request->info->flags & MESSAGE_ONE_WAY))
		rc = answer(ns, from, request, &reply, header);
	if (rc < 0 && ns->kv->batch_count != before)
		ns->failed = true;
	return rc;
}

void request_handle(struct nameserver *ns, struct session *from, const struct frame_header *header,
		    const uint8_t *body)
{
	const struct message_info *info = message_info(header->type);
	struct message request;
	int rc;

	if (!from->role && !(info && info->flags & MESSAGE_EARLY)) {
		session_close(ns, from);
		return;
	}
	if (!info || !handler_of(header->type) || (from->role && !role_may(from, header->type))) {
		if (!info || !(info->flags & MESSAGE_ONE_WAY))
			refuse(ns, from, header, -ERR_UNSUPPORTED);
		return;
	}
	rc = message_decode(header, body, &ns->arena, &request);
	if (rc < 0) {
		refuse(ns, from, header, rc);
		session_close(ns, from);
		return;
	}
	rc = handle(ns, from, &request, header);
	if (rc > 0)
		rc = parked_keep(ns, from, header, body);
	if (rc < 0 && !(info->flags & MESSAGE_ONE_WAY))
		refuse(ns, from, header, rc);
	if (!from->role && header->type == MSG_hello)
		session_close(ns, from);
}

void frame_came(struct nameserver *ns, const struct ns_event *event)
{
	struct session *from = session_find(ns, event->conn);

	if (!from || from->closing)
		return;
	if (from->member)
		member_heard(ns, from->member);
	ns->park.since_ms = ns->now_ms;
	ns->park.last = false;
	if (!event->header->reply)
		request_handle(ns, from, event->header, event->body);
	else if (from->member && event->header->type == MSG_batch)
		shipping_answered(ns, from->member, event->header, event->body);
	else if (from->member)
		order_answered(ns, from, event->header, event->body);
}

void frame_malformed(struct nameserver *ns, const struct ns_event *event)
{
	struct session *from = session_find(ns, event->conn);
	const struct frame_header *header = event->header;

	if (!from || from->closing)
		return;
	if (header && !header->reply)
		refuse(ns, from, header,
		       header->body_size > BODY_SIZE_MAX ? -ERR_TOO_LARGE : -ERR_BAD_REQUEST);
	session_close(ns, from);
}

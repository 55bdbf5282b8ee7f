/* What the takeover says: frames, datagrams, notes; and at the end, everything it was told. */
#include <stdarg.h>
#include <stdio.h>

#include "takeover_inside.h"

struct takeover_action *takeover_act(struct takeover *t, enum takeover_action_kind kind)
{
	struct takeover_outbox *outbox = t->outbox;
	struct takeover_action *action;

	if (outbox->count == outbox->capacity) {
		unsigned int capacity = outbox->capacity ? outbox->capacity * 2 : 16;
		void *actions = realloc(outbox->actions, capacity * sizeof(*outbox->actions));

		if (!actions) {
			outbox->error = -ERR_NO_MEMORY;
			return &t->nowhere;
		}
		outbox->actions = actions;
		outbox->capacity = capacity;
	}
	action = &outbox->actions[outbox->count++];
	*action = (struct takeover_action){ .kind = kind, .offset = outbox->bytes.size };
	return action;
}

void takeover_bytes(struct takeover *t, struct takeover_action *action, struct slice bytes)
{
	action->size = bytes.size;
	if (buffer_append(&t->outbox->bytes, bytes.data, bytes.size) < 0)
		t->outbox->error = -ERR_NO_MEMORY;
}

void takeover_outbox_clear(struct takeover_outbox *outbox)
{
	outbox->count = 0;
	outbox->error = 0;
	buffer_clear(&outbox->bytes);
}

void takeover_outbox_done(struct takeover_outbox *outbox)
{
	free(outbox->actions);
	buffer_done(&outbox->bytes);
	*outbox = (struct takeover_outbox){ 0 };
}

/* ---- frames ---- */

/* The frame that was appended to the outbox's bytes is the action's. */
static void send_appended(struct takeover *t, uint64_t conn, size_t before, int rc)
{
	size_t size = t->outbox->bytes.size - before;
	struct takeover_action *action;

	if (rc < 0) {
		t->outbox->error = rc;
		return;
	}
	action = takeover_act(t, TAKEOVER_SEND);
	action->conn = conn;
	action->offset = before;
	action->size = size;
}

void takeover_send(struct takeover *t, uint64_t conn, const struct message *message)
{
	size_t before = t->outbox->bytes.size;

	send_appended(t, conn, before, message_encode(message, &t->outbox->bytes));
}

void takeover_refuse_request(struct takeover *t, uint64_t conn, const struct frame_header *header,
			     int error)
{
	size_t before = t->outbox->bytes.size;

	send_appended(t, conn, before,
		      refusal_encode(&t->outbox->bytes, header->type, header->id, error));
}

uint32_t takeover_ask(struct takeover *t, uint64_t conn, unsigned int code, const void *body)
{
	size_t before = t->outbox->bytes.size;

	t->request = t->request % UINT32_MAX + 1;
	send_appended(t, conn, before, request_encode(&t->outbox->bytes, code, t->request, body));
	return t->request;
}

/* Who knew an earlier start of this server must take it for news: the epoch is a new one, and
 * counters do not begin anew with the process. */
void takeover_datagram(struct takeover *t, enum beacon_kind kind)
{
	struct beacon beacon = {
		.kind = (uint8_t)kind,
		.port = t->config.port,
		.cluster = t->cluster,
		.server = t->config.self,
		.epoch = t->epoch,
		.counter = t->wall_ms + ++t->beacons,
		.interval_ms = (uint32_t)t->config.beacon_interval_ms,
		.process = t->config.process,
		.waits = kind == BEACON_BEGINNER && takeover_is_deputy(t),
		.fetches = kind == BEACON_BEGINNER && t->phase == PHASE_PULL,
	};
	uint8_t bytes[BEACON_SIZE];

	memcpy(beacon.cluster_name, t->cluster_name, sizeof(beacon.cluster_name));
	beacon_encode(&beacon, NULL, bytes);
	takeover_bytes(t, takeover_act(t, TAKEOVER_BEACON), (struct slice){ bytes, sizeof(bytes) });
}

/* ---- notes ---- */

__attribute__((format(printf, 3, 0))) static void say(struct takeover *t,
						      struct takeover_action *action,
						      const char *format, va_list args)
{
	char text[EVENT_TEXT_MAX];
	int size = vsnprintf(text, sizeof(text), format, args);

	if (size >= (int)sizeof(text))
		size = (int)sizeof(text) - 1;
	takeover_bytes(t, action,
		       (struct slice){ (const uint8_t *)text, size > 0 ? (size_t)size : 0 });
}

void takeover_note(struct takeover *t, enum log_level level, const char *event, const char *format,
		   ...)
{
	struct takeover_action *action = takeover_act(t, TAKEOVER_NOTE);
	va_list args;

	action->level = level;
	action->event = event;
	va_start(args, format);
	say(t, action, format, args);
	va_end(args);
}

void takeover_give_up(struct takeover *t, int error, const char *format, ...)
{
	struct takeover_action *action = takeover_act(t, TAKEOVER_REFUSE);
	va_list args;

	action->error = error;
	va_start(args, format);
	say(t, action, format, args);
	va_end(args);
	takeover_phase_set(t, PHASE_OVER);
}

/* ---- handing over ---- */

static void hand_greeted(struct takeover_conn *c, takeover_hand_fn *hand, void *context)
{
	struct ns_event event = {
		.kind = NS_OPENED, .conn = c->conn, .peer = c->peer, .local = c->local
	};
	struct frame_header header;
	size_t size;

	if (c->role && frame_next(c->hello.data, c->hello.size, &header, &size) == 1) {
		event.kind = NS_GREETED;
		event.header = &header;
		event.body = c->hello.data + FRAME_HEADER_SIZE;
	}
	hand(context, &event);
}

static int by_conn(struct takeover_conn *a, struct takeover_conn *b)
{
	return a->conn < b->conn ? -1 : a->conn > b->conn;
}

void takeover_hand_over(struct takeover *t, takeover_hand_fn *hand, void *context)
{
	struct takeover_conn *c, *next;
	const struct takeover_waiting *w;

	HASH_SORT(t->conns, by_conn);
	HASH_ITER(hh, t->conns, c, next)
		hand_greeted(c, hand, context);
	TAILQ_FOREACH(w, &t->waiting, entries) {
		struct ns_event event = {
			.kind = NS_FRAME, .conn = w->conn, .header = &w->header, .body = w->body
		};

		hand(context, &event);
	}
}

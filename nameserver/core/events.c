/* Events: into the log, into memory, and to those who ask with EVENTS. */
#include <stdarg.h>
#include <stdio.h>

#include "ns_state.h"

/* ---- events ---- */

struct event_row {
	const char *name;
	enum event_class class;
};

/* In alphabetical order, as in the table. */
static const struct event_row rows[] = {
#define EVENT(name, level, class, pairs, text) { #name, EVENT_##class },
#include "events.def"
};

static int row_compare(const void *name, const void *row)
{
	return strcmp(name, ((const struct event_row *)row)->name);
}

static enum event_class class_of(enum log_level level, const char *name)
{
	const struct event_row *row;

	if (level == LOG_DEBUG)
		return EVENT_DEBUG;
	row = bsearch(name, rows, ARRAY_SIZE(rows), sizeof(*rows), row_compare);
	return row ? row->class : EVENT_STATE;
}

enum {
	USUAL_MAX = 512,        /* nearly all are shorter */
	FORMAT_MAX = 20 * 1024, /* two names with every byte escaped are cut after quoted() */
	QUOTED_MAX = 8 * 1024,
	WAKE_MS = 50, /* those who wait are woken no more often */
};

const char *quoted(struct nameserver *ns, struct slice text)
{
	size_t most = 6 * text.size + 3;
	char *space;

	most = most < QUOTED_MAX ? most : QUOTED_MAX;
	space = arena_alloc(&ns->arena, most);
	return space ? log_quote((const char *)text.data, text.size, space, most) : "\"\"";
}

static void event_keep(struct nameserver *ns, const struct ring_event *event)
{
	enum event_class class = class_of(event->level, event->name);

	/* What memory has no room for is in the log at least, and counts as missed. */
	(void)event_ring_add(&ns->events.rings[class], event);
	if ((unsigned int)event->level < ns->events.wanted && !ns->events.news) {
		ns->events.news = true;
		ns->events.wake_ms = ns->now_ms + WAKE_MS;
	}
}

static void event_log(struct nameserver *ns, const struct ring_event *event)
{
	struct ns_action *action = outbox_add(ns->outbox, NS_EVENT);
	struct buffer *bytes = &ns->outbox->bytes;

	if (!action)
		return;
	action->level = event->level;
	action->event = event->name;
	if (event->node.size) {
		buffer_append(bytes, "node=", 5);
		buffer_append(bytes, event->node.data, event->node.size);
		if (event->text.size)
			buffer_append(bytes, " ", 1);
	}
	buffer_append(bytes, event->text.data, event->text.size);
	action->size = bytes->size - action->offset;
	if (bytes->error)
		ns->outbox->error = -ERR_NO_MEMORY;
}

static void event_happened(struct nameserver *ns, struct ring_event *event)
{
	event->number = ++ns->events.last;
	event->time_ms = ns->wall_ms;
	event_keep(ns, event);
	event_log(ns, event);
}

/* Apart, since so large a frame costs something. */
__attribute__((noinline, format(printf, 3, 0))) static void event_format_long(
	struct nameserver *ns, struct ring_event *event, const char *format, va_list arguments)
{
	char text[FORMAT_MAX + LOG_CUT_ROOM];
	int size = vsnprintf(text, FORMAT_MAX, format, arguments);

	if (size < 0)
		return;
	size = size < FORMAT_MAX ? size : FORMAT_MAX - 1;
	event->text.data = (const uint8_t *)text;
	event->text.size = log_pairs_fit(text, (size_t)size, EVENT_TEXT_MAX);
	event_happened(ns, event);
}

__attribute__((format(printf, 3, 0))) static void event_format(struct nameserver *ns,
							       struct ring_event *event,
							       const char *format,
							       va_list arguments)
{
	char text[USUAL_MAX];
	va_list again;
	int size;

	if (event->level == LOG_DEBUG && !ns->config.debug)
		return;
	va_copy(again, arguments);
	size = log_format(text, USUAL_MAX, format, arguments);
	event->text = (struct slice){ (const uint8_t *)text, (size_t)size };
	if (size >= USUAL_MAX)
		event_format_long(ns, event, format, again);
	else if (size >= 0)
		event_happened(ns, event);
	va_end(again);
}

void ns_event(struct nameserver *ns, enum log_level level, const char *event, const char *format,
	      ...)
{
	struct ring_event about = { .level = level, .name = event };
	va_list arguments;

	va_start(arguments, format);
	event_format(ns, &about, format, arguments);
	va_end(arguments);
}

void ns_event_about(struct nameserver *ns, const struct member *member, enum log_level level,
		    const char *event, const char *format, ...)
{
	struct ring_event about = { .level = level, .name = event };
	va_list arguments;

	if (member)
		about.node = slice_of(member->row.name);
	va_start(arguments, format);
	event_format(ns, &about, format, arguments);
	va_end(arguments);
}

void nameserver_event(struct nameserver *ns, const struct ns_action *event, struct slice pairs,
		      uint64_t wall_ms, struct ns_outbox *outbox)
{
	struct ring_event about = { .level = event->level, .name = event->event, .text = pairs };

	ns->outbox = outbox;
	ns->wall_ms = wall_ms;
	if (pairs.size <= EVENT_TEXT_MAX)
		event_happened(ns, &about);
	ns->outbox = NULL;
}

/* ---- EVENTS ---- */

_Static_assert(EVENTS_PAGE_MAX *(EVENT_TEXT_MAX + EVENT_NAME_MAX + HOST_NAME_MAX_ + 32) <
		       BODY_SIZE_MAX,
	       "a page is one frame, however long its events");

/* The rings, read as one. */
struct reader {
	const struct nameserver *ns;
	const struct events_request *request;
	size_t at[EVENT_CLASSES];
	bool open[EVENT_CLASSES]; /* something in it may be what is asked for */
	uint64_t after;           /* number of the last one read */
};

static bool class_is_asked_for(const struct events_request *request, enum event_class class)
{
	switch (class) {
	case EVENT_STATE: return true;
	case EVENT_OPERATION: return request->level >= LOG_INFO && !request->node.size;
	case EVENT_DEBUG: return request->level >= LOG_DEBUG;
	case EVENT_CLASSES: break;
	}
	return false;
}

/* Numbers begin anew when the server starts: who knows one that we have not given out has not seen
 * any of ours. */
static struct reader reader_at(const struct nameserver *ns, const struct events_request *request)
{
	struct reader reader = { .ns = ns, .request = request, .after = request->after };

	if (reader.after > ns->events.last)
		reader.after = 0;
	for (unsigned int i = 0; i < EVENT_CLASSES; i++) {
		reader.open[i] = class_is_asked_for(request, i);
		reader.at[i] = event_ring_after(&ns->events.rings[i], reader.after);
	}
	return reader;
}

/* Numbers up to that of the last one that fell out of a ring that matters, less those we have. */
static uint64_t reader_missed(const struct reader *reader)
{
	const struct event_ring *rings = reader->ns->events.rings;
	uint64_t upto = 0, kept = 0;

	for (unsigned int i = 0; i < EVENT_CLASSES; i++) {
		if (reader->open[i] && rings[i].dropped > upto)
			upto = rings[i].dropped;
	}
	if (upto <= reader->after)
		return 0;
	for (unsigned int i = 0; i < EVENT_CLASSES; i++)
		kept += event_ring_after(&rings[i], upto) - reader->at[i];
	return upto - reader->after - kept;
}

static bool reader_fits(const struct reader *reader, const struct ring_event *event)
{
	const struct events_request *request = reader->request;

	if ((unsigned int)event->level > request->level)
		return false;
	return !request->node.size || slice_equal(event->node, request->node);
}

/* The next one that is asked for; false: there is no more. */
static bool reader_next(struct reader *reader, struct ring_event *ret)
{
	const struct event_ring *rings = reader->ns->events.rings;

	for (;;) {
		unsigned int from = EVENT_CLASSES;

		for (unsigned int i = 0; i < EVENT_CLASSES; i++) {
			struct ring_event event;

			if (!reader->open[i] || reader->at[i] == rings[i].count)
				continue;
			event = event_ring_at(&rings[i], reader->at[i]);
			if (from == EVENT_CLASSES || event.number < ret->number) {
				*ret = event;
				from = i;
			}
		}
		if (from == EVENT_CLASSES) {
			reader->after = reader->ns->events.last;
			return false;
		}
		reader->at[from]++;
		reader->after = ret->number;
		if (reader_fits(reader, ret))
			return true;
	}
}

static struct event_line line_of(const struct ring_event *event)
{
	return (struct event_line){
		.number = event->number,
		.time_ms = event->time_ms,
		.level = (uint8_t)event->level,
		.node = event->node,
		.event = slice_of(event->name),
		.text = event->text,
	};
}

static int page_fill(struct nameserver *ns, struct reader *reader, const struct ring_event *first,
		     struct events_reply *reply)
{
	struct event_line *lines = arena_alloc(&ns->arena, EVENTS_PAGE_MAX * sizeof(*lines));
	struct ring_event event = *first;

	if (!lines)
		return -ERR_NO_MEMORY;
	reply->events = lines;
	do
		lines[reply->events_count++] = line_of(&event);
	while (reply->events_count < EVENTS_PAGE_MAX && reader_next(reader, &event));
	return 0;
}

int on_events(struct nameserver *ns, struct session *from, const struct events_request *request,
	      struct events_reply *reply)
{
	uint64_t wait_ms = request->wait_ms < EVENTS_WAIT_MS ? request->wait_ms : EVENTS_WAIT_MS;
	struct reader reader = reader_at(ns, request);
	struct ring_event first;
	int rc = 0;

	(void)from;
	reply->missed = reader_missed(&reader);
	if (reader_next(&reader, &first)) {
		rc = page_fill(ns, &reader, &first, reply);
	} else if (!reply->missed && !ns->park.last && park_age_ms(ns) < wait_ms) {
		if (ns->events.wanted <= request->level)
			ns->events.wanted = request->level + 1U;
		return park(ns, PARK_EVENTS, wait_ms);
	}
	reply->after = reader.after;
	return rc;
}

/* ---- waking ---- */

void events_tick(struct nameserver *ns)
{
	if (ns->now_ms < events_deadline(ns))
		return;
	ns->events.news = false;
	ns->events.wanted = 0;
	parked_wake(ns, PARK_EVENTS);
}

uint64_t events_deadline(const struct nameserver *ns)
{
	return ns->events.news ? ns->events.wake_ms : UINT64_MAX;
}

/* ---- life ---- */

enum { EVENTS_KEPT = 16384, EVENT_BYTES_KEPT = 4 * 1024 * 1024 };

void events_init(struct nameserver *ns)
{
	for (unsigned int i = 0; i < EVENT_CLASSES; i++)
		event_ring_init(&ns->events.rings[i], EVENTS_KEPT, EVENT_BYTES_KEPT);
}

void events_done(struct nameserver *ns)
{
	for (unsigned int i = 0; i < EVENT_CLASSES; i++)
		event_ring_done(&ns->events.rings[i]);
}

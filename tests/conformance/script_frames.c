/* Frames of a script: sent, waited for, compared with what is expected. */
#include <stdio.h>
#include <stdlib.h>

#include "script_inside.h"

/* ---- out ---- */

int frame_send(struct script *script, struct participant *participant, const struct buffer *frame)
{
	struct frame_header header;
	int rc;

	if (frame->size >= FRAME_HEADER_SIZE && frame_header_decode(frame->data, &header) == 0)
		coverage_add(script->how->coverage, &header, false);
	if (participant->holds)
		return buffer_append(&participant->held, frame->data, frame->size);
	rc = script->how->peer->send(participant->connection, frame->data, frame->size);
	return rc < 0 ? script_fail(script, rc, "cannot send: %s", error_name(rc)) : 0;
}

int message_send(struct script *script, struct participant *participant, const char *text,
		 bool reply)
{
	struct buffer frame = { 0 };
	struct message message;
	int rc = message_parse(text, reply, &script->arena, &message);

	if (rc < 0)
		return script_fail(script, rc, "%s in: %s", error_name(rc), text);
	message.id = reply ? participant->order.id : ++participant->next_id;
	if (!reply && !(message.info->flags & MESSAGE_ONE_WAY) &&
	    participant->asked_count < PENDING_MAX)
		participant->asked[participant->asked_count++] = message.id;
	rc = message_encode(&message, &frame);
	rc = rc < 0 ? script_fail(script, rc, "does not encode: %s", error_name(rc))
		    : frame_send(script, participant, &frame);
	buffer_done(&frame);
	return rc;
}

/* ---- in ---- */

/* What comes all the time, and is of no interest to most scripts. */
static int answer_by_itself(struct script *script, struct participant *participant,
			    const struct frame_header *header, const char *text)
{
	struct frame_header order = participant->order;
	int rc;

	participant->order = *header;
	rc = message_send(script, participant, text, true);
	participant->order = order;
	return rc < 0 ? rc : 1;
}

static struct frame *frame_room(struct participant *participant)
{
	if (participant->frame_count < PENDING_MAX)
		return &participant->frames[participant->frame_count++];
	for (unsigned int i = 0; i < PENDING_MAX; i++) {
		struct frame *frames = participant->frames;

		if (!frames[i].taken)
			continue;
		memmove(&frames[i], &frames[i + 1], (PENDING_MAX - i - 1) * sizeof(*frames));
		return &frames[PENDING_MAX - 1];
	}
	return NULL;
}

static int frame_keep(struct script *script, struct participant *participant,
		      const struct buffer *bytes)
{
	struct frame frame = { .taken = false };
	struct frame *room;
	size_t size;

	if (frame_next(bytes->data, bytes->size, &frame.header, &size) != 1 || size != bytes->size)
		return script_fail(script, -ERR_BAD_REQUEST,
				   "the other side sent what is no frame");
	if (participant->kind == IS_NAMESERVER && frame.header.type == MSG_heartbeat &&
	    !frame.header.reply && !participant->wants_heartbeat)
		return answer_by_itself(script, participant, &frame.header, "heartbeat");
	if (participant->kind == IS_NAMESERVER && frame.header.type == MSG_pull &&
	    !frame.header.reply && !participant->wants_pull)
		return answer_by_itself(script, participant, &frame.header, "pull state=2");
	if (participant->kind == DIALS_AS_STORAGE && frame.header.type == MSG_batch &&
	    !frame.header.reply && !participant->takes_batches)
		return 1;
	frame.body = arena_alloc(&script->arena, bytes->size);
	room = frame_room(participant);
	if (!frame.body || !room)
		return script_fail(script, -ERR_TOO_LARGE, "too many frames that nobody expects");
	memcpy(frame.body, bytes->data + FRAME_HEADER_SIZE, bytes->size - FRAME_HEADER_SIZE);
	*room = frame;
	return 1;
}

int frame_receive(struct script *script, struct participant *participant, bool patient)
{
	struct buffer bytes = { 0 };
	int rc = script->how->peer->receive(participant->connection, patient, &bytes);

	if (rc == 1)
		rc = frame_keep(script, participant, &bytes);
	buffer_done(&bytes);
	return rc;
}

struct wanted {
	bool reply, data;
	uint32_t id; /* of replies and DATA */
};

static bool is_wanted(const struct wanted *wanted, const struct frame_header *header)
{
	bool data = header->type == MSG_data;

	if (wanted->data || data)
		return wanted->data && data && header->id == wanted->id;
	return header->reply == wanted->reply && (!wanted->reply || header->id == wanted->id);
}

static struct frame *frame_waiting(struct participant *participant, const struct wanted *wanted)
{
	for (unsigned int i = 0; i < participant->frame_count; i++) {
		struct frame *frame = &participant->frames[i];

		if (!frame->taken && is_wanted(wanted, &frame->header))
			return frame;
	}
	return NULL;
}

/* Heartbeats go on for ever: after so many of them, nothing else will come. */
enum { HEARTBEATS_MAX = 30, RECEIVED_MAX = PENDING_MAX + HEARTBEATS_MAX };

static int frame_wait(struct script *script, struct participant *participant,
		      const struct wanted *wanted, struct frame *ret)
{
	struct frame *frame;
	unsigned int received = 0;
	int rc = 1;

	while (!(frame = frame_waiting(participant, wanted)) && rc > 0 && received++ < RECEIVED_MAX)
		rc = frame_receive(script, participant, true);
	if (!frame)
		return rc < 0 ? script_fail(script, rc, "the connection was closed")
			      : script_fail(script, -ERR_TIMEOUT, "nothing came");
	frame->taken = true;
	*ret = *frame;
	coverage_add(script->how->coverage, &frame->header, true);
	return 0;
}

/* ---- compared ---- */

struct came {
	struct message message;
	struct buffer text;
	struct node *fields;
};

static int came_read(struct script *script, const struct frame *frame, struct came *ret)
{
	struct slice fields;
	int rc = message_decode(&frame->header, frame->body, &script->arena, &ret->message);

	if (rc == -ERR_UNSUPPORTED && frame->header.reply) {
		static const struct message_info unknown = { .name = "unknown" };

		ret->message = (struct message){ .info = &unknown,
						 .reply = true,
						 .status = frame->header.status };
		rc = ret->message.status ? 0 : rc;
	}
	if (rc < 0)
		return script_fail(script, rc, "message 0x%04x does not decode: %s",
				   frame->header.type, error_name(rc));
	message_print(&ret->message, &ret->text);
	buffer_append(&ret->text, "", 1);
	fields = slice_of((char *)ret->text.data + strcspn((char *)ret->text.data, " "));
	ret->fields = node_parse(fields, &script->arena);
	return ret->fields ? 0
			   : script_fail(script, -ERR_BAD_REQUEST, "cannot be parsed: %.1000s",
					 (char *)ret->text.data);
}

static int came_compare(struct script *script, const struct came *came, const char *expected)
{
	const char *text = (const char *)came->text.data;
	const struct message *message = &came->message;
	size_t word = strcspn(expected, " ");
	struct node *want = node_parse(slice_of(expected + word), &script->arena);
	struct slice field = { 0 };

	if (!want)
		return script_fail(script, -ERR_USAGE, "not in the form name field=value …");
	if (strlen(message->info->name) != word ||
	    strncmp(message->info->name, expected, word) != 0)
		return script_fail(script, -ERR_BAD_REQUEST, "came: %.1000s", text);
	if (!node_field(want, "status") && message->status)
		return script_fail(script, -ERR_BAD_REQUEST, "came: %.1000s", text);
	if (!node_match(want, came->fields, &script->variables, &field))
		return script_fail(script, -ERR_BAD_REQUEST, "%.*s differs; came: %.1000s",
				   (int)field.size, (const char *)field.data, text);
	return 0;
}

void asked_pop(struct participant *participant)
{
	if (participant->asked_count)
		memmove(participant->asked, participant->asked + 1,
			--participant->asked_count * sizeof(participant->asked[0]));
}

/* Puts the receipts of replies that came with +MORE in front of those of the last one. */
static void receipts_join(struct script *script, struct node **receipts, struct came *came)
{
	struct node *list = (struct node *)node_field(came->fields, "receipts"), **end = receipts;

	while (*end)
		end = &(*end)->next;
	if (came->message.flags & FRAME_MORE) {
		*end = list ? list->first : NULL;
		return;
	}
	if (!*receipts)
		return;
	if (!list) {
		list = arena_alloc(&script->arena, sizeof(*list));
		if (!list)
			abort();
		*list = (struct node){ .kind = NODE_LIST,
				       .name = slice_of("receipts"),
				       .text = slice_of("[…]"),
				       .next = came->fields->first };
		came->fields->first = list;
	}
	*end = list->first;
	list->first = *receipts;
}

int reply_expect(struct script *script, struct participant *participant, const char *expected)
{
	struct wanted wanted = { .reply = true, .id = participant->asked[0] };
	struct node *receipts = NULL;
	struct came came[16] = { 0 };
	unsigned int count = 0;
	struct frame frame;
	int rc;

	if (participant->asked_count == 0)
		return script_fail(script, -ERR_USAGE, "no request is waiting for a reply");
	do {
		rc = frame_wait(script, participant, &wanted, &frame);
		if (rc == 0)
			rc = came_read(script, &frame, &came[count++]);
		if (rc == 0)
			receipts_join(script, &receipts, &came[count - 1]);
	} while (rc == 0 && frame.header.flags & FRAME_MORE && count < ARRAY_SIZE(came));
	if (rc == 0)
		rc = came_compare(script, &came[count - 1], expected);
	for (unsigned int i = 0; i < count; i++)
		buffer_done(&came[i].text);
	asked_pop(participant);
	return rc;
}

int order_expect(struct script *script, struct participant *participant, const char *expected)
{
	struct wanted wanted = { .reply = false };
	struct came came = { 0 };
	struct frame frame;
	int rc;

	participant->wants_heartbeat = strncmp(expected, "heartbeat", 9) == 0;
	participant->wants_pull = strncmp(expected, "pull", 4) == 0;
	rc = frame_wait(script, participant, &wanted, &frame);
	participant->wants_heartbeat = participant->wants_pull = false;
	if (rc < 0)
		return rc;
	participant->order = frame.header;
	rc = came_read(script, &frame, &came);
	if (rc == 0)
		rc = came_compare(script, &came, expected);
	buffer_done(&came.text);
	return rc;
}

/* A refusal of the request ends the wait, too. */
int data_wait(struct script *script, struct participant *participant, uint32_t id,
	      const struct frame **ret)
{
	struct wanted wanted = { .data = true, .id = id }, refusal = { .reply = true, .id = id };
	struct frame *frame = arena_alloc(&script->arena, sizeof(*frame));
	const struct frame *other;
	int rc = 1;

	if (!frame)
		return -ERR_NO_MEMORY;
	while (rc > 0 && !frame_waiting(participant, &wanted)) {
		other = frame_waiting(participant, &refusal);
		if (other)
			return script_fail(script, -ERR_BAD_REQUEST, "refused: %s",
					   error_name(other->header.status));
		rc = frame_receive(script, participant, true);
	}
	*ret = frame;
	return frame_wait(script, participant, &wanted, frame);
}

#include "script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec.h"
#include "error.h"
#include "hash.h"
#include "script_text.h"
#include "text.h"
#include "ticket.h"

enum { PARTICIPANTS_MAX = 32, PENDING_MAX = 256 };

/* A frame that has come and that no line has asked for yet. */
struct frame {
	struct frame_header header;
	uint8_t *body;
	bool taken;
};

struct participant {
	char name[32];
	bool storage;
	void *connection; /* NULL: none */
	uint32_t next_id;
	uint32_t asked[PENDING_MAX]; /* ids of requests whose reply no line has expected yet */
	unsigned int asked_count;
	struct frame frames[PENDING_MAX];
	unsigned int frame_count;
	struct frame_header order; /* the last one taken */
};

struct script {
	const struct script_how *how;
	struct script_result *result;
	struct variables variables;
	struct arena arena;
	struct participant participants[PARTICIPANTS_MAX];
	unsigned int participant_count;
};

static int fail(struct script *script, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
static int fail(struct script *script, int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(script->result->text, sizeof(script->result->text), format, arguments);
	va_end(arguments);
	return error;
}

/* ---- participants ---- */

static void id_variable(struct script *script, const char *name)
{
	char label[64];
	char text[ID_TEXT_MAX];
	struct digest digest;
	struct id id;

	snprintf(label, sizeof(label), "%s %llu", name, (unsigned long long)script->how->seed);
	digest = digest_of(label, strlen(label));
	memcpy(id.bytes, digest.bytes, ID_SIZE);
	variable_set(&script->variables, slice_of(name), slice_of(id_format(&id, text)));
}

static struct participant *participant_get(struct script *script, const char *name, bool storage)
{
	struct participant *participant;

	for (unsigned int i = 0; i < script->participant_count; i++) {
		if (strcmp(script->participants[i].name, name) == 0)
			return &script->participants[i];
	}
	if (script->participant_count == PARTICIPANTS_MAX)
		return NULL;
	participant = &script->participants[script->participant_count++];
	snprintf(participant->name, sizeof(participant->name), "%s", name);
	participant->storage = storage;
	id_variable(script, participant->name);
	return participant;
}

static void participant_close(struct script *script, struct participant *participant)
{
	if (participant->connection)
		script->how->peer->close(participant->connection);
	participant->connection = NULL;
	participant->asked_count = 0;
	participant->frame_count = 0;
}

static int participant_open(struct script *script, struct participant *participant)
{
	const struct script_peer *peer = script->how->peer;

	if (!participant->connection)
		participant->connection =
			peer->open(peer->context, participant->storage,
				   (unsigned int)(participant - script->participants) + 1);
	return participant->connection ? 0 : fail(script, -ERR_CONNECTION, "cannot connect");
}

/* ---- frames that come ---- */

static int frame_keep(struct script *script, struct participant *participant,
		      const struct buffer *bytes)
{
	struct frame *frame = &participant->frames[participant->frame_count];
	size_t size;

	if (participant->frame_count == PENDING_MAX)
		return fail(script, -ERR_TOO_LARGE, "too many frames that nobody expects");
	if (frame_next(bytes->data, bytes->size, &frame->header, &size) != 1 || size != bytes->size)
		return fail(script, -ERR_BAD_REQUEST, "the other side sent what is no frame");
	frame->body = arena_alloc(&script->arena, bytes->size);
	if (!frame->body)
		return -ERR_NO_MEMORY;
	memcpy(frame->body, bytes->data + FRAME_HEADER_SIZE, bytes->size - FRAME_HEADER_SIZE);
	frame->taken = false;
	participant->frame_count++;
	return 1;
}

static int frame_receive(struct script *script, struct participant *participant, bool patient)
{
	struct buffer bytes = { 0 };
	int rc = script->how->peer->receive(participant->connection, patient, &bytes);

	if (rc == 1)
		rc = frame_keep(script, participant, &bytes);
	buffer_done(&bytes);
	return rc;
}

static struct frame *frame_waiting(struct participant *participant, bool reply, uint32_t id)
{
	for (unsigned int i = 0; i < participant->frame_count; i++) {
		struct frame *frame = &participant->frames[i];

		if (!frame->taken && frame->header.reply == reply &&
		    (!reply || frame->header.id == id))
			return frame;
	}
	return NULL;
}

static int frame_wait(struct script *script, struct participant *participant, bool reply,
		      struct frame **ret)
{
	uint32_t id = reply && participant->asked_count ? participant->asked[0] : 0;
	int rc = 1;

	if (reply && participant->asked_count == 0)
		return fail(script, -ERR_USAGE, "no request is waiting for a reply");
	while (!(*ret = frame_waiting(participant, reply, id)) && rc > 0)
		rc = frame_receive(script, participant, true);
	if (!*ret)
		return rc < 0 ? fail(script, rc, "the connection was closed")
			      : fail(script, -ERR_TIMEOUT, "nothing came");
	(*ret)->taken = true;
	if (reply)
		memmove(participant->asked, participant->asked + 1,
			--participant->asked_count * sizeof(participant->asked[0]));
	return 0;
}

static void cover(struct script *script, const struct frame_header *header)
{
	struct script_coverage *coverage = script->how->coverage;

	if (header->type >= COVERAGE_CODES || header->status >= COVERAGE_STATUSES)
		return;
	if (header->reply)
		coverage->replies[header->type] = true;
	else
		coverage->requests[header->type] = true;
	coverage->statuses[header->status] = true;
}

/* `name fields…` against the frame. */
static int frame_compare(struct script *script, const struct frame *frame, const char *expected)
{
	struct buffer text = { 0 };
	struct message message;
	struct node *want, *have;
	struct slice field = { 0 };
	size_t word = strcspn(expected, " ");
	int rc = message_decode(&frame->header, frame->body, &script->arena, &message);

	if (rc < 0)
		return fail(script, rc, "message 0x%04x does not decode: %s", frame->header.type,
			    error_name(rc));
	cover(script, &frame->header);
	message_print(&message, &text);
	buffer_append(&text, "", 1);
	want = node_parse(slice_of(expected + word), &script->arena);
	have = node_parse(slice_of((char *)text.data + strcspn((char *)text.data, " ")),
			  &script->arena);
	if (!want || !have)
		rc = fail(script, -ERR_USAGE, "not in the form name field=value …");
	else if (strlen(message.info->name) != word ||
		 strncmp(message.info->name, expected, word) != 0)
		rc = fail(script, -ERR_BAD_REQUEST, "came: %s", (char *)text.data);
	else if (!node_field(want, "status") && message.status)
		rc = fail(script, -ERR_BAD_REQUEST, "came: %s", (char *)text.data);
	else if (!node_match(want, have, &script->variables, &field))
		rc = fail(script, -ERR_BAD_REQUEST, "%.*s differs; came: %s", (int)field.size,
			  (const char *)field.data, (char *)text.data);
	buffer_done(&text);
	return rc;
}

/* ---- lines of a participant ---- */

static int frame_send(struct script *script, struct participant *participant,
		      const struct buffer *frame)
{
	struct frame_header header;
	int rc = script->how->peer->send(participant->connection, frame->data, frame->size);

	if (rc < 0)
		return fail(script, rc, "cannot send: %s", error_name(rc));
	if (frame->size >= FRAME_HEADER_SIZE && frame_header_decode(frame->data, &header) == 0)
		cover(script, &header);
	return 0;
}

static int message_send(struct script *script, struct participant *participant, const char *text,
			bool reply)
{
	struct buffer frame = { 0 };
	struct message message;
	int rc = message_parse(text, reply, &script->arena, &message);

	if (rc < 0)
		return fail(script, rc, "%s in: %s", error_name(rc), text);
	message.id = reply ? participant->order.id : ++participant->next_id;
	if (!reply && !(message.info->flags & MESSAGE_ONE_WAY) &&
	    participant->asked_count < PENDING_MAX)
		participant->asked[participant->asked_count++] = message.id;
	rc = message_encode(&message, &frame);
	rc = rc < 0 ? fail(script, rc, "does not encode: %s", error_name(rc))
		    : frame_send(script, participant, &frame);
	buffer_done(&frame);
	return rc;
}

static int do_send(struct script *script, struct participant *participant, const char *text)
{
	return message_send(script, participant, text, false);
}

static int do_reply(struct script *script, struct participant *participant, const char *text)
{
	return message_send(script, participant, text, true);
}

static int do_expect(struct script *script, struct participant *participant, const char *text)
{
	struct frame *frame;
	int rc = frame_wait(script, participant, true, &frame);

	return rc < 0 ? rc : frame_compare(script, frame, text);
}

static int do_order(struct script *script, struct participant *participant, const char *text)
{
	struct frame *frame;
	int rc = frame_wait(script, participant, false, &frame);

	if (rc < 0)
		return rc;
	participant->order = frame->header;
	return frame_compare(script, frame, text);
}

static int do_nothing(struct script *script, struct participant *participant, const char *text)
{
	(void)text;
	while (frame_receive(script, participant, false) == 1)
		;
	for (unsigned int i = 0; i < participant->frame_count; i++) {
		if (!participant->frames[i].taken)
			return fail(script, -ERR_BAD_REQUEST, "message 0x%04x came",
				    participant->frames[i].header.type);
	}
	return 0;
}

static int do_closed(struct script *script, struct participant *participant, const char *text)
{
	int rc = 1;

	(void)text;
	while (rc == 1)
		rc = frame_receive(script, participant, true);
	if (rc == 0)
		return fail(script, -ERR_TIMEOUT, "the connection is still open");
	participant_close(script, participant);
	return 0;
}

static int do_close(struct script *script, struct participant *participant, const char *text)
{
	(void)text;
	participant_close(script, participant);
	return 0;
}

static int do_raw(struct script *script, struct participant *participant, const char *text)
{
	struct buffer bytes = { 0 };
	struct frame_header header;
	unsigned int byte;
	int used, rc;

	for (; sscanf(text, " %2x%n", &byte, &used) == 1; text += used)
		buffer_append(&bytes, &(uint8_t){ (uint8_t)byte }, 1);
	if (bytes.size >= FRAME_HEADER_SIZE) {
		(void)frame_header_decode(bytes.data, &header);
		if (participant->asked_count < PENDING_MAX)
			participant->asked[participant->asked_count++] = header.id;
	}
	rc = *text ? fail(script, -ERR_USAGE, "not hexadecimal: %s", text)
		   : frame_send(script, participant, &bytes);
	buffer_done(&bytes);
	return rc;
}

static const struct verb {
	const char *name;
	int (*call)(struct script *script, struct participant *participant, const char *text);
} verbs[] = {
	{ "send", do_send },     { "expect", do_expect }, { "order", do_order },
	{ "reply", do_reply },   { "raw", do_raw },       { "nothing", do_nothing },
	{ "closed", do_closed }, { "close", do_close },
};

/* `client a: verb rest` */
static int participant_line(struct script *script, const char *line)
{
	bool storage = strncmp(line, "storage ", 8) == 0;
	struct participant *participant;
	char name[32], verb[16];
	struct buffer text = { 0 };
	int used = 0, rc = -ERR_USAGE;

	if (sscanf(line, "%*s %31[a-z0-9_]: %15[a-z]%n", name, verb, &used) != 2)
		return fail(script, -ERR_USAGE, "neither a participant nor a command: %s", line);
	participant = participant_get(script, name, storage);
	if (!participant)
		return fail(script, -ERR_TOO_LARGE, "too many participants");
	text_expand(&script->variables, line + used, &text);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(verbs[i].name, verb) != 0)
			continue;
		rc = participant_open(script, participant);
		if (rc == 0)
			rc = verbs[i].call(script, participant,
					   (char *)text.data + strspn((char *)text.data, " "));
		buffer_done(&text);
		return rc;
	}
	buffer_done(&text);
	return fail(script, -ERR_USAGE, "no such verb: %s", verb);
}

/* ---- commands ---- */

static int do_clock(struct script *script, const char *text)
{
	const struct script_peer *peer = script->how->peer;
	uint64_t ms;

	if (*text != '+' || duration_parse(text + 1, &ms) < 0)
		return fail(script, -ERR_USAGE, "clock +20s");
	if (!peer->clock)
		return fail(script, -ERR_USAGE, "the script has to say: needs clock");
	peer->clock(peer->context, ms);
	return 0;
}

/* `$name value`: the slice of the name, and what follows it. */
static struct slice target_of(const char *text, const char **ret_rest)
{
	size_t size = strcspn(text, " ");

	*ret_rest = text + size + strspn(text + size, " ");
	if (*text != '$' || size < 2)
		return (struct slice){ 0 };
	return (struct slice){ (const uint8_t *)text + 1, size - 1 };
}

static int do_set(struct script *script, const char *text)
{
	const char *rest;
	struct slice name = target_of(text, &rest);

	return name.size ? variable_set(&script->variables, name, slice_of(rest))
			 : fail(script, -ERR_USAGE, "set $name value");
}

static int do_digest(struct script *script, const char *text)
{
	const char *rest;
	struct slice name = target_of(text, &rest);
	struct digest digest = digest_of(rest, strlen(rest));
	char hex[ID_TEXT_MAX];
	struct id id;

	memcpy(id.bytes, digest.bytes, ID_SIZE);
	return name.size ? variable_set(&script->variables, name, slice_of(id_format(&id, hex)))
			 : fail(script, -ERR_USAGE, "digest $name text");
}

/* Cuts `key=HEX` off the front of the text. */
static struct hmac *take_key(const char **text)
{
	struct key key = { { 0 } };
	unsigned int byte;

	if (strncmp(*text, "key=", 4) != 0)
		return NULL;
	*text += 4;
	for (size_t i = 0; i < KEY_SIZE && sscanf(*text, "%2x", &byte) == 1; i++, *text += 2)
		key.bytes[i] = (uint8_t)byte;
	*text += strspn(*text, " ");
	return hmac_new(&key);
}

/* The record by itself, out of a message that has just one of it. */
static int message_of(struct script *script, const char *format, const char *record,
		      struct message *ret)
{
	struct buffer text = { 0 };
	int rc;

	buffer_printf(&text, format, record);
	buffer_append(&text, "", 1);
	rc = message_parse((char *)text.data, false, &script->arena, ret);
	buffer_done(&text);
	return rc < 0 ? fail(script, rc, "%s in: %s", error_name(rc), record) : 0;
}

static int receipt_variable(struct script *script, struct slice name, const struct message *stored)
{
	struct buffer text = { 0 };
	const char *begin, *end;
	int rc;

	message_print(stored, &text);
	buffer_append(&text, "", 1);
	begin = strchr((char *)text.data, '{');
	end = strrchr((char *)text.data, '}');
	rc = begin && end ? variable_set(&script->variables, name,
					 (struct slice){ (const uint8_t *)begin,
							 (size_t)(end - begin) + 1 })
			  : -ERR_BAD_REQUEST;
	buffer_done(&text);
	return rc;
}

static int do_receipt(struct script *script, const char *text)
{
	struct slice name = target_of(text, &text);
	struct hmac *hmac = take_key(&text);
	struct stored_request request;
	struct receipt receipt;
	struct message message;
	int rc = hmac && name.size ? message_of(script, "stored receipts=[{%s}]", text, &message)
				   : fail(script, -ERR_USAGE, "receipt $name key=… fields");

	if (rc == 0) {
		request = *(const struct stored_request *)message.body;
		receipt = request.receipts[0];
		receipt_sign(hmac, &receipt);
		request.receipts = &receipt;
		message.body = &request;
		rc = receipt_variable(script, name, &message);
	}
	hmac_free(hmac);
	return rc;
}

static int do_ticket(struct script *script, const char *text)
{
	struct hmac *hmac = take_key(&text);
	struct message message;
	int rc = hmac ? message_of(script, "read ticket=%s", text, &message)
		      : fail(script, -ERR_USAGE, "ticket key=… {…}");

	if (rc == 0) {
		const struct ticket *ticket = &((const struct read_request *)message.body)->ticket;
		const struct ticket_use use = { .holder = ticket->holder,
						.client = ticket->client,
						.epoch = ticket->epoch,
						.operation = ticket->operation };

		rc = ticket_verify(hmac, ticket, &use);
		if (rc < 0)
			fail(script, rc, "the ticket does not verify: %s", error_name(rc));
	}
	hmac_free(hmac);
	return rc;
}

/* 1: the script cannot run here. */
static int do_needs(struct script *script, const char *text)
{
	const struct script_peer *peer = script->how->peer;
	bool memory = strcmp(text, "memory") == 0;

	if (!memory && strcmp(text, "clock") != 0)
		return fail(script, -ERR_USAGE, "needs memory, needs clock");
	if (memory ? peer->memory : peer->clock != NULL)
		return 0;
	fail(script, 0, "needs %s", text);
	script->result->skipped = true;
	return 1;
}

static const struct command {
	const char *name;
	int (*call)(struct script *script, const char *text);
} commands[] = {
	{ "clock", do_clock },     { "set", do_set },       { "digest", do_digest },
	{ "receipt", do_receipt }, { "ticket", do_ticket }, { "needs", do_needs },
};

/* The target of a command keeps its name; what comes after it is expanded. */
static int command_line(struct script *script, const struct command *command, const char *rest)
{
	size_t target = *rest == '$' ? strcspn(rest, " ") : 0;
	struct buffer text = { 0 };
	int rc;

	buffer_append(&text, rest, target);
	text_expand(&script->variables, rest + target, &text);
	rc = command->call(script, (char *)text.data);
	buffer_done(&text);
	return rc;
}

static int script_line(struct script *script, const char *line)
{
	size_t word = strcspn(line, " ");

	if (*line == '\0' || *line == '#')
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strlen(commands[i].name) == word && strncmp(commands[i].name, line, word) == 0)
			return command_line(script, &commands[i],
					    line + word + strspn(line + word, " "));
	}
	return participant_line(script, line);
}

int script_run(const char *text, const struct script_how *how, struct script_result *ret)
{
	struct script *script = calloc(1, sizeof(*script));
	char run[32];
	int rc = 0;

	*ret = (struct script_result){ 0 };
	if (!script)
		return -ERR_NO_MEMORY;
	script->how = how;
	script->result = ret;
	snprintf(run, sizeof(run), "run%llu", (unsigned long long)how->seed);
	variable_set(&script->variables, slice_of("run"), slice_of(run));
	for (ret->line = 1; rc == 0 && *text; text += strcspn(text, "\n"), text += *text == '\n') {
		char *line = strndup(text, strcspn(text, "\n"));

		rc = line ? script_line(script, line + strspn(line, " \t")) : -ERR_NO_MEMORY;
		free(line);
		ret->line += rc == 0;
	}
	if (rc >= 0)
		ret->line = 0;
	for (unsigned int i = 0; i < script->participant_count; i++)
		participant_close(script, &script->participants[i]);
	variables_done(&script->variables);
	arena_done(&script->arena);
	free(script);
	return rc < 0 ? rc : 0;
}

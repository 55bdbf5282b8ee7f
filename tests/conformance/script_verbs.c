/* What a participant does: `client a: VERB …`. */
#include <stdio.h>
#include <stdlib.h>

#include "hash.h"
#include "script_inside.h"
#include "text.h"

static int do_send(struct script *script, struct participant *participant, const char *text)
{
	return message_send(script, participant, text, false);
}

static int do_reply(struct script *script, struct participant *participant, const char *text)
{
	return message_send(script, participant, text, true);
}

static int do_listen(struct script *script, struct participant *participant, const char *text)
{
	(void)text;
	return participant_listen(script, participant);
}

static int do_nothing(struct script *script, struct participant *participant, const char *text)
{
	(void)text;
	while (frame_receive(script, participant, false) == 1)
		;
	for (unsigned int i = 0; i < participant->frame_count; i++) {
		if (!participant->frames[i].taken)
			return script_fail(script, -ERR_BAD_REQUEST, "message 0x%04x came",
					   participant->frames[i].header.type);
	}
	return 0;
}

static int do_batches(struct script *script, struct participant *participant, const char *text)
{
	(void)script;
	(void)text;
	participant->takes_batches = true;
	return 0;
}

static int do_closed(struct script *script, struct participant *participant, const char *text)
{
	int rc = 1;

	(void)text;
	while (rc == 1)
		rc = frame_receive(script, participant, true);
	if (rc == 0)
		return script_fail(script, -ERR_TIMEOUT, "the connection is still open");
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
	rc = *text ? script_fail(script, -ERR_USAGE, "not hexadecimal: %.100s", text)
		   : frame_send(script, participant, &bytes);
	buffer_done(&bytes);
	return rc;
}

/* ---- in pieces, and often ---- */

static int do_hold(struct script *script, struct participant *participant, const char *text)
{
	(void)script;
	(void)text;
	participant->holds = true;
	return 0;
}

static int do_flush(struct script *script, struct participant *participant, const char *text)
{
	struct buffer *held = &participant->held;
	uint64_t piece = held->size;
	int rc = 0;

	if (*text && number_parse(text, 1, UINT32_MAX, &piece) < 0)
		return script_fail(script, -ERR_USAGE, "flush NUMBER");
	participant->holds = false;
	for (size_t at = 0; rc == 0 && at < held->size; at += piece) {
		size_t left = held->size - at;

		rc = script->how->peer->send(participant->connection, held->data + at,
					     left < piece ? left : piece);
	}
	buffer_clear(held);
	return rc < 0 ? script_fail(script, rc, "cannot send: %s", error_name(rc)) : 0;
}

static int do_times(struct script *script, struct participant *participant, const char *text)
{
	unsigned int count;
	char verb[16];
	int used = 0, rc = 0;

	if (sscanf(text, "%u %15[a-z]%n", &count, verb, &used) != 2 || strcmp(verb, "times") == 0)
		return script_fail(script, -ERR_USAGE, "times 3 verb …");
	text += used;
	text += strspn(text, " ");
	for (unsigned int i = 0; rc == 0 && i < count; i++)
		rc = verb_run(script, participant, verb, text);
	return rc;
}

/* ---- DATA ---- */

void pattern_fill(uint8_t *ret, uint64_t offset, size_t size)
{
	for (size_t i = 0; i < size; i++, offset++)
		ret[i] = (uint8_t)(offset + (offset >> 8) + (offset >> 16));
}

struct data_line {
	uint64_t offset, length, id;
	bool last, abort, aborted, broken, ordered;
};

static bool data_word(struct data_line *line, const char *word)
{
	if (strncmp(word, "offset=", 7) == 0)
		return number_parse(word + 7, 0, UINT64_MAX, &line->offset) == 0;
	if (strncmp(word, "length=", 7) == 0)
		return number_parse(word + 7, 0, UINT32_MAX, &line->length) == 0;
	if (strncmp(word, "id=", 3) == 0)
		return number_parse(word + 3, 0, UINT32_MAX, &line->id) == 0;
	line->last |= strcmp(word, "last") == 0;
	line->abort |= strcmp(word, "abort") == 0;
	line->aborted |= strcmp(word, "aborted") == 0;
	line->broken |= strcmp(word, "broken") == 0;
	line->ordered |= strcmp(word, "ordered") == 0;
	return line->last || line->abort || line->aborted || line->broken || line->ordered;
}

static int data_parse(struct script *script, const char *text, struct data_line *ret)
{
	char word[64];
	int used;

	for (; sscanf(text, " %63s%n", word, &used) == 1; text += used) {
		if (!data_word(ret, word))
			return script_fail(script, -ERR_USAGE, "what is %s?", word);
	}
	return 0;
}

/* Frames over every limit can be made, too: that is what they are for. */
static int do_data(struct script *script, struct participant *participant, const char *text)
{
	struct data_line line = { .id = participant->next_id };
	struct frame_header header = { .type = MSG_data };
	struct buffer frame = { 0 };
	size_t crcs_size;
	uint8_t *bytes;
	int rc = data_parse(script, text, &line);

	if (rc < 0)
		return rc;
	if (line.ordered)
		line.id = participant->order.id;
	crcs_size = block_count(line.length) * 4;
	bytes = buffer_extend(&frame, FRAME_HEADER_SIZE + crcs_size + line.length);
	if (!bytes)
		return -ERR_NO_MEMORY;
	header.id = (uint32_t)line.id;
	header.flags = (uint8_t)((line.last ? FRAME_LAST : 0) | (line.abort ? FRAME_ABORT : 0));
	header.arg1 = line.offset;
	header.arg2 = line.length;
	header.body_size = (uint32_t)(crcs_size + line.length);
	frame_header_encode(&header, bytes);
	bytes += FRAME_HEADER_SIZE;
	pattern_fill(bytes + crcs_size, line.offset, line.length);
	crc32c_blocks(bytes + crcs_size, line.length, bytes);
	if (line.broken)
		bytes[crcs_size] ^= 1;
	rc = frame_send(script, participant, &frame);
	buffer_done(&frame);
	return rc;
}

/* One DATA frame: right in itself, and the bytes that come at `at`. */
static int data_check(struct script *script, const struct frame *frame, uint64_t at,
		      struct data_head *ret)
{
	uint8_t *wanted;
	size_t crcs_size;

	if (frame->header.reply)
		return script_fail(script, -ERR_BAD_REQUEST, "a DATA frame with the reply bit");
	if (data_head_decode(&frame->header, ret, &crcs_size) < 0)
		return script_fail(script, -ERR_BAD_REQUEST, "a malformed DATA frame came");
	if (ret->flags & FRAME_ABORT)
		return 0;
	wanted = arena_alloc(&script->arena, ret->length);
	if (!wanted)
		return -ERR_NO_MEMORY;
	pattern_fill(wanted, ret->offset, ret->length);
	if (ret->offset != at)
		return script_fail(script, -ERR_BAD_REQUEST, "DATA for offset %llu, not %llu",
				   (unsigned long long)ret->offset, (unsigned long long)at);
	if (!crc32c_blocks_match(frame->body + crcs_size, ret->length, frame->body))
		return script_fail(script, -ERR_CORRUPT, "a CRC does not match");
	if (memcmp(frame->body + crcs_size, wanted, ret->length) != 0)
		return script_fail(script, -ERR_CORRUPT, "other bytes than the pattern came");
	return 0;
}

static int do_bytes(struct script *script, struct participant *participant, const char *text)
{
	uint32_t id = participant->asked_count ? participant->asked[0] : participant->order.id;
	struct data_line line = { .id = 0 };
	struct data_head head = { .flags = 0 };
	const struct frame *frame;
	int rc = data_parse(script, text, &line);

	for (uint64_t at = line.offset; rc == 0 && !(head.flags & (FRAME_LAST | FRAME_ABORT));) {
		rc = data_wait(script, participant, id, &frame);
		if (rc == 0)
			rc = data_check(script, frame, at, &head);
		at += head.length;
		if (rc == 0 && !line.aborted &&
		    !(head.flags & FRAME_LAST) != (at < line.offset + line.length))
			rc = script_fail(script, -ERR_BAD_REQUEST, "DATA ends at %llu",
					 (unsigned long long)at);
	}
	if (rc == 0 && line.aborted != !!(head.flags & FRAME_ABORT))
		rc = script_fail(script, -ERR_BAD_REQUEST, "DATA %s",
				 line.aborted ? "was not aborted" : "was aborted");
	asked_pop(participant);
	return rc;
}

/* ---- */

static const struct verb {
	const char *name;
	int (*call)(struct script *script, struct participant *participant, const char *text);
	bool unconnected;
} verbs[] = {
	{ "send", do_send, false },       { "expect", reply_expect, false },
	{ "order", order_expect, false }, { "reply", do_reply, false },
	{ "raw", do_raw, false },         { "nothing", do_nothing, false },
	{ "closed", do_closed, false },   { "close", do_close, true },
	{ "data", do_data, false },       { "bytes", do_bytes, false },
	{ "hold", do_hold, true },        { "flush", do_flush, false },
	{ "times", do_times, true },      { "listen", do_listen, true },
	{ "batches", do_batches, true },
};

int verb_run(struct script *script, struct participant *participant, const char *name,
	     const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		int rc;

		if (strcmp(verbs[i].name, name) != 0)
			continue;
		rc = verbs[i].unconnected ? 0 : participant_open(script, participant);
		return rc < 0 ? rc : verbs[i].call(script, participant, text);
	}
	return script_fail(script, -ERR_USAGE, "no such verb: %s", name);
}

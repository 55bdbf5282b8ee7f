/* The one encoder and the one decoder: loops over the field tables of message.h. Pure. */
#ifndef MUSTER_PROTOCOL_CODEC_H
#define MUSTER_PROTOCOL_CODEC_H

#include <stdbool.h>

#include "arena.h"
#include "buffer.h"
#include "frame.h"
#include "message.h"

struct message {
	const struct message_info *info;
	bool reply;
	uint8_t flags;
	uint8_t status; /* of a reply; when not 0, body is NULL */
	uint32_t id;
	const void *body; /* struct NAME_request or struct NAME_reply */
};

/* Of its body. */
const struct layout *message_layout(const struct message *message);

/* Appends the whole frame to `out`, or nothing. -ERR_TOO_LARGE: a string, list, number or the body
 * is over its maximum: our own mistake, or a caller's input that should have been checked. */
int message_encode(const struct message *message, struct buffer *out);

/* Decodes a frame's body. Strings borrow from `body`; lists and the struct live in `arena`.
 * -ERR_UNSUPPORTED: unknown type. -ERR_BAD_REQUEST: too short, a byte left over, a number over its
 * maximum. -ERR_NO_MEMORY: the arena's limit. An error reply must have no body. */
int message_decode(const struct frame_header *header, const uint8_t *body, struct arena *arena,
		   struct message *ret);

/* One record by itself: tickets and receipts are signed in this form. */
int record_encode(const struct layout *layout, const void *record, struct buffer *out);
int record_decode(const struct layout *layout, struct slice bytes, struct arena *arena, void *ret);
/* Without memory of its own, for records of a fixed size. Returns the bytes written; -ERR_TOO_LARGE
 * also where `size` is too small or the record has no fixed size. */
int record_encode_fixed(const struct layout *layout, const void *record, uint8_t *ret, size_t size);

/* Shorthands. `request_encode` sends body (a struct NAME_request) with that id. */
int request_encode(struct buffer *out, unsigned int code, uint32_t id, const void *body);
int reply_encode(struct buffer *out, unsigned int code, uint32_t id, const void *body);
/* Any error, as the negative code handlers return; a LOCAL error travels as IO or UNAVAILABLE. */
int refusal_encode(struct buffer *out, unsigned int code, uint32_t id, int error);

/* The text form, one line: `stat flags=1 path="/a b"`. For scripts, traces and documentation.
 * Lists are [ {…} {…} ], ids and digests hex, strings and bytes quoted with \n \" \\ \xNN, numbers
 * decimal.
 * Zero fields are left out. Frame flags stand after the name, as in `write +MORE failed=1`; a
 * refusal reads `stat status=NOT_FOUND`. The request id is not part of it. */
int message_print(const struct message *message, struct buffer *out);
/* Fields that the text leaves out are zero, numbers may be 0x…. The message's body lives in the
 * arena. -ERR_UNSUPPORTED: no such message; -ERR_BAD_REQUEST: not in this form, a field unknown or
 * given twice; -ERR_TOO_LARGE: over a maximum; -ERR_NO_MEMORY. */
int message_parse(const char *text, bool reply, struct arena *arena, struct message *ret);

#endif

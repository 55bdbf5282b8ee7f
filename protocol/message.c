/* The tables of message.h, from messages.def. A field is written once, there: each layout gets a
 * function of its own, in which `self` names its struct. */
#include "message.h"

/* The words of the table's columns `to` and `flags`. */
enum {
	NAMESERVER = TO_NAMESERVER,
	STORAGE = TO_STORAGE,
	CATALOGUE = TO_CATALOGUE,
	ANY = TO_ANY,
	CHANGES = MESSAGE_CHANGES,
	EARLY = MESSAGE_EARLY,
	ADMIN = MESSAGE_ADMIN,
	ONE_WAY = MESSAGE_ONE_WAY,
	BULK = MESSAGE_BULK,
	SLOW = MESSAGE_SLOW,
};

/* clang-format off */

/* Smallest and largest size on the wire. */
#define RECORD(name) enum { name##_wire_min = 0
#define END_RECORD(name) }; _Static_assert(name##_wire_min > 0, "a list of nothing has no bound");
#define REQUEST(name) enum { name##_request_wire_min = 0
#define REPLY(name) }; enum { name##_reply_wire_min = 0
#define END(name) };
#define U8(name, max, text) + 1
#define U16(name, max, text) + 2
#define U32(name, max, text) + 4
#define U64(name, max, text) + 8
#define ID(name, text) + ID_SIZE
#define DIGEST(name, text) + DIGEST_SIZE
#define KEY(name, text) + KEY_SIZE
#define STR(name, max, text) + 2
#define BYTES(name, max, text) + 4
#define ONE(record, name, text) + record##_wire_min
#define LIST(record, name, max, text) + 2
#include "messages.def"

#define FITS(name) _Static_assert((int)(name) <= (int)BODY_SIZE_MAX, "a full message must fit");
#define RECORD(name) enum { name##_wire_max = 0
#define END_RECORD(name) };
#define REQUEST(name) enum { name##_request_wire_max = 0
#define REPLY(name) }; FITS(name##_request_wire_max) enum { name##_reply_wire_max = 0
#define END(name) }; FITS(name##_reply_wire_max)
#define U8(name, max, text) + 1
#define U16(name, max, text) + 2
#define U32(name, max, text) + 4
#define U64(name, max, text) + 8
#define ID(name, text) + ID_SIZE
#define DIGEST(name, text) + DIGEST_SIZE
#define KEY(name, text) + KEY_SIZE
#define STR(name, max, text) + 2 + (max)
#define BYTES(name, max, text) + 4 + (max)
#define ONE(record, name, text) + record##_wire_max
#define LIST(record, name, max, text) + 2 + (max) * record##_wire_max
#include "messages.def"

/* The layouts. The empty row ends the array of a message that has no fields. */
#define LAYOUT(tag)                                                                                \
	static const struct layout *tag##_layout(void)                                             \
	{                                                                                          \
		typedef struct tag self;                                                           \
		static const struct field fields[] = {
#define END_LAYOUT(tag)                                                                            \
			{ .name = NULL },                                                          \
		};                                                                                 \
		static const struct layout layout = {                                              \
			.name = #tag,                                                              \
			.fields = fields,                                                          \
			.count = ARRAY_SIZE(fields) - 1,                                           \
			.size = sizeof(self),                                                      \
			.wire_min = tag##_wire_min,                                                \
			.wire_max = tag##_wire_max,                                                \
		};                                                                                 \
		return &layout;                                                                    \
	}
#define FIELD(name_, kind_, max_, text_)                                                           \
	.name = #name_, .kind = FIELD_##kind_, .offset = offsetof(self, name_), .max = (max_),     \
	.text = (text_)

#define RECORD(name) LAYOUT(name)
#define END_RECORD(name) END_LAYOUT(name)
#define REQUEST(name) LAYOUT(name##_request)
#define REPLY(name) END_LAYOUT(name##_request) LAYOUT(name##_reply)
#define END(name) END_LAYOUT(name##_reply)
#define ARG1(name, text) { FIELD(name, ARG1, 0, text) },
#define ARG2(name, text) { FIELD(name, ARG2, 0, text) },
#define U8(name, max, text) { FIELD(name, U8, max, text) },
#define U16(name, max, text) { FIELD(name, U16, max, text) },
#define U32(name, max, text) { FIELD(name, U32, max, text) },
#define U64(name, max, text) { FIELD(name, U64, max, text) },
#define ID(name, text) { FIELD(name, ID, 0, text) },
#define DIGEST(name, text) { FIELD(name, DIGEST, 0, text) },
#define KEY(name, text) { FIELD(name, KEY, 0, text) },
#define STR(name, max, text) { FIELD(name, STR, max, text) },
#define BYTES(name, max, text) { FIELD(name, BYTES, max, text) },
#define ONE(record_, name, text) { FIELD(name, ONE, 0, text), .record = record_##_layout },
#define LIST(record_, name, max, text)                                                             \
	{ FIELD(name, LIST, max, text), .record = record_##_layout,                                \
	  .count_offset = offsetof(self, name##_count) },
#include "messages.def"

static const struct message_info messages[] = {
#define MESSAGE(code_, name_, to_, flags_, text_)                                                  \
	{ .code = (code_), .name = #name_, .to = (to_), .flags = (flags_),                         \
	  .request = name_##_request_layout, .reply = name_##_reply_layout, .text = (text_) },
#include "messages.def"
};

enum message_position {
#define MESSAGE(code, name, to, flags, text) POSITION_##name,
#include "messages.def"
	POSITION_COUNT
};
_Static_assert(POSITION_COUNT < UINT8_MAX, "positions are kept in bytes");

/* Position + 1 of each code; 0: unknown. */
static const uint8_t positions[] = {
#define MESSAGE(code, name, to, flags, text) [code] = POSITION_##name + 1,
#include "messages.def"
};

static const struct layout *(*const records[])(void) = {
#define RECORD(name) name##_layout,
#include "messages.def"
};

/* clang-format on */

const struct message_info *message_info(unsigned int code)
{
	if (code >= ARRAY_SIZE(positions) || positions[code] == 0)
		return NULL;
	return &messages[positions[code] - 1];
}

const struct message_info *message_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		if (strcmp(messages[i].name, name) == 0)
			return &messages[i];
	}
	return NULL;
}

const struct message_info *message_at(unsigned int position)
{
	return position < ARRAY_SIZE(messages) ? &messages[position] : NULL;
}

const struct layout *record_at(unsigned int position)
{
	return position < ARRAY_SIZE(records) ? records[position]() : NULL;
}

const struct layout *record_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(records); i++) {
		if (strcmp(records[i]()->name, name) == 0)
			return records[i]();
	}
	return NULL;
}

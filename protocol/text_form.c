/* Messages as one line of text, walked over the same field tables as the codec. */
#include "codec.h"
#include "error.h"

static const struct {
	uint8_t flag;
	const char *name;
} frame_flags[] = {
	{ FRAME_LAST, "LAST" },
	{ FRAME_ABORT, "ABORT" },
	{ FRAME_MORE, "MORE" },
	{ FRAME_DEGRADED, "DEGRADED" },
};

static const char hex_digits[] = "0123456789abcdef";

/* Bytes of the member that numbers, ids, digests and keys occupy in the struct and in hex. */
static size_t member_size(enum field_kind kind)
{
	switch (kind) {
	case FIELD_U8: return sizeof(uint8_t);
	case FIELD_U16: return sizeof(uint16_t);
	case FIELD_U32: return sizeof(uint32_t);
	case FIELD_ARG1:
	case FIELD_ARG2:
	case FIELD_U64: return sizeof(uint64_t);
	case FIELD_ID: return ID_SIZE;
	case FIELD_DIGEST: return DIGEST_SIZE;
	case FIELD_KEY: return KEY_SIZE;
	default: return 0;
	}
}

static uint64_t load_number(const struct field *field, const uint8_t *member)
{
	uint64_t value = 0;
	uint32_t u32;
	uint16_t u16;

	switch (member_size(field->kind)) {
	case 1: return *member;
	case 2: memcpy(&u16, member, sizeof(u16)); return u16;
	case 4: memcpy(&u32, member, sizeof(u32)); return u32;
	default: memcpy(&value, member, sizeof(value)); return value;
	}
}

static void store_number(const struct field *field, uint8_t *member, uint64_t value)
{
	uint32_t u32 = (uint32_t)value;
	uint16_t u16 = (uint16_t)value;

	switch (member_size(field->kind)) {
	case 1: *member = (uint8_t)value; break;
	case 2: memcpy(member, &u16, sizeof(u16)); break;
	case 4: memcpy(member, &u32, sizeof(u32)); break;
	default: memcpy(member, &value, sizeof(value)); break;
	}
}

static bool is_number(enum field_kind kind)
{
	return kind <= FIELD_U64;
}

/* ---- printing ---- */

static void print_str(struct slice str, struct buffer *out)
{
	buffer_append(out, "\"", 1);
	for (size_t i = 0; i < str.size; i++) {
		uint8_t byte = str.data[i];

		if (byte == '\n')
			buffer_append(out, "\\n", 2);
		else if (byte == '"' || byte == '\\')
			buffer_append(out, (uint8_t[]){ '\\', byte }, 2);
		else if (byte < ' ' || byte > '~')
			buffer_printf(out, "\\x%02x", byte);
		else
			buffer_append(out, &byte, 1);
	}
	buffer_append(out, "\"", 1);
}

static void print_hex(const uint8_t *bytes, size_t size, struct buffer *out)
{
	for (size_t i = 0; i < size; i++) {
		buffer_append(out, &hex_digits[bytes[i] >> 4], 1);
		buffer_append(out, &hex_digits[bytes[i] & 15], 1);
	}
}

static void print_fields(const struct layout *layout, const uint8_t *record, const char *gap,
			 struct buffer *out);

static void print_record(const struct layout *layout, const uint8_t *record, struct buffer *out)
{
	buffer_append(out, "{", 1);
	print_fields(layout, record, "", out);
	buffer_append(out, "}", 1);
}

static void print_list(const struct field *field, const uint8_t *record, struct buffer *out)
{
	const struct layout *item = field->record();
	const uint8_t *items;
	uint16_t count;

	memcpy(&items, record + field->offset, sizeof(items));
	memcpy(&count, record + field->count_offset, sizeof(count));
	buffer_append(out, "[", 1);
	for (size_t i = 0; i < count; i++) {
		buffer_append(out, " ", 1);
		print_record(item, items + i * item->size, out);
	}
	buffer_append(out, " ]", 2);
}

static bool is_all_zero(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (bytes[i] != 0)
			return false;
	}
	return true;
}

static bool record_is_zero(const struct layout *layout, const uint8_t *record);

static bool field_is_zero(const struct field *field, const uint8_t *record)
{
	const uint8_t *member = record + field->offset;
	struct slice str;
	uint16_t count;

	switch (field->kind) {
	case FIELD_STR:
	case FIELD_BYTES: memcpy(&str, member, sizeof(str)); return str.size == 0;
	case FIELD_ONE: return record_is_zero(field->record(), member);
	case FIELD_LIST:
		memcpy(&count, record + field->count_offset, sizeof(count));
		return count == 0;
	default: return is_all_zero(member, member_size(field->kind));
	}
}

static bool record_is_zero(const struct layout *layout, const uint8_t *record)
{
	for (unsigned int i = 0; i < layout->count; i++) {
		if (!field_is_zero(&layout->fields[i], record))
			return false;
	}
	return true;
}

static void print_field(const struct field *field, const uint8_t *record, struct buffer *out)
{
	const uint8_t *member = record + field->offset;
	struct slice str;

	buffer_printf(out, "%s=", field->name);
	switch (field->kind) {
	case FIELD_STR:
	case FIELD_BYTES:
		memcpy(&str, member, sizeof(str));
		print_str(str, out);
		break;
	case FIELD_ID:
	case FIELD_DIGEST:
	case FIELD_KEY: print_hex(member, member_size(field->kind), out); break;
	case FIELD_ONE: print_record(field->record(), member, out); break;
	case FIELD_LIST: print_list(field, record, out); break;
	default: buffer_printf(out, "%llu", (unsigned long long)load_number(field, member)); break;
	}
}

static void print_fields(const struct layout *layout, const uint8_t *record, const char *gap,
			 struct buffer *out)
{
	for (unsigned int i = 0; i < layout->count; i++) {
		if (field_is_zero(&layout->fields[i], record))
			continue;
		buffer_printf(out, "%s", gap);
		print_field(&layout->fields[i], record, out);
		gap = " ";
	}
}

int message_print(const struct message *message, struct buffer *out)
{
	buffer_printf(out, "%s", message->info->name);
	for (size_t i = 0; i < ARRAY_SIZE(frame_flags); i++) {
		if (message->flags & frame_flags[i].flag)
			buffer_printf(out, " +%s", frame_flags[i].name);
	}
	if (message->status == 0)
		print_fields(message_layout(message), message->body, " ", out);
	else if (error_info(message->status))
		buffer_printf(out, " status=%s", error_name(message->status));
	else
		buffer_printf(out, " status=%u", message->status);
	return out->error;
}

/* ---- parsing ---- */

struct parser {
	const char *at;
	struct arena *arena;
};

static void skip_space(struct parser *parser)
{
	while (*parser->at == ' ' || *parser->at == '\t')
		parser->at++;
}

/* Takes `c` if it stands here. */
static bool take(struct parser *parser, char c)
{
	if (*parser->at != c)
		return false;
	parser->at++;
	return true;
}

static bool is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_';
}

static struct slice take_word(struct parser *parser)
{
	const char *start = parser->at;

	while (is_word(*parser->at))
		parser->at++;
	return (struct slice){ (const uint8_t *)start, (size_t)(parser->at - start) };
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 16;
}

static int parse_number(struct parser *parser, uint64_t max, uint64_t *ret)
{
	uint64_t base = 10;
	const char *start;

	if (parser->at[0] == '0' && parser->at[1] == 'x') {
		base = 16;
		parser->at += 2;
	}
	*ret = 0;
	for (start = parser->at; (uint64_t)digit_value(*parser->at) < base; parser->at++) {
		uint64_t digit = (uint64_t)digit_value(*parser->at);

		if (*ret > (max - digit) / base || digit > max)
			return -ERR_TOO_LARGE;
		*ret = *ret * base + digit;
	}
	return parser->at > start && !is_word(*parser->at) ? 0 : -ERR_BAD_REQUEST;
}

static int parse_hex(struct parser *parser, uint8_t *ret, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		int high = digit_value(parser->at[0]);
		int low = high < 16 ? digit_value(parser->at[1]) : 16;

		if (low == 16)
			return -ERR_BAD_REQUEST;
		ret[i] = (uint8_t)(high << 4 | low);
		parser->at += 2;
	}
	return is_word(*parser->at) ? -ERR_BAD_REQUEST : 0;
}

/* What follows a backslash. */
static int parse_escape(struct parser *parser, uint8_t *ret)
{
	char c = *parser->at;

	if (c == 'x') {
		int high = digit_value(parser->at[1]);
		int low = high < 16 ? digit_value(parser->at[2]) : 16;

		if (low == 16)
			return -ERR_BAD_REQUEST;
		*ret = (uint8_t)(high << 4 | low);
		parser->at += 3;
		return 0;
	}
	if (c != 'n' && c != '"' && c != '\\')
		return -ERR_BAD_REQUEST;
	*ret = c == 'n' ? '\n' : (uint8_t)c;
	parser->at++;
	return 0;
}

/* The closing quote; escapes make the text longer than what it stands for, never shorter. */
static const char *find_quote(const char *at)
{
	for (; *at && *at != '"'; at++) {
		if (at[0] == '\\' && at[1])
			at++;
	}
	return *at ? at : NULL;
}

static int parse_str(struct parser *parser, const struct field *field, uint8_t *member)
{
	struct slice str = { .size = 0 };
	const char *end;
	uint8_t *bytes;

	if (!take(parser, '"'))
		return -ERR_BAD_REQUEST;
	end = find_quote(parser->at);
	if (!end)
		return -ERR_BAD_REQUEST;
	str.data = bytes = arena_alloc(parser->arena, (size_t)(end - parser->at));
	if (!bytes)
		return -ERR_NO_MEMORY;
	while (parser->at < end) {
		int rc = 0;

		if (take(parser, '\\'))
			rc = parse_escape(parser, &bytes[str.size++]);
		else
			bytes[str.size++] = (uint8_t)*parser->at++;
		if (rc < 0)
			return rc;
	}
	parser->at = end + 1;
	if (str.size > field->max)
		return -ERR_TOO_LARGE;
	memcpy(member, &str, sizeof(str));
	return 0;
}

/* A list that grows: the arena keeps what was outgrown until it is reset. */
struct growing {
	uint8_t *items;
	size_t count;
	size_t capacity;
};

static uint8_t *growing_add(struct growing *list, size_t item_size, struct arena *arena)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? list->capacity * 2 : 4;
		uint8_t *items = arena_alloc(arena, capacity * item_size);

		if (!items)
			return NULL;
		if (list->count > 0)
			memcpy(items, list->items, list->count * item_size);
		list->items = items;
		list->capacity = capacity;
	}
	return list->items + list->count++ * item_size;
}

static int parse_record(struct parser *parser, const struct layout *layout, uint8_t *record);

static int parse_list(struct parser *parser, const struct field *field, uint8_t *record)
{
	const struct layout *item = field->record();
	struct growing list = { .items = NULL };
	uint16_t count;

	if (!take(parser, '['))
		return -ERR_BAD_REQUEST;
	for (skip_space(parser); *parser->at != ']'; skip_space(parser)) {
		uint8_t *added;
		int rc;

		if (list.count == field->max)
			return -ERR_TOO_LARGE;
		added = growing_add(&list, item->size, parser->arena);
		if (!added)
			return -ERR_NO_MEMORY;
		rc = parse_record(parser, item, added);
		if (rc < 0)
			return rc;
	}
	parser->at++;
	count = (uint16_t)list.count;
	memcpy(record + field->offset, &list.items, sizeof(list.items));
	memcpy(record + field->count_offset, &count, sizeof(count));
	return 0;
}

static int parse_value(struct parser *parser, const struct field *field, uint8_t *record)
{
	static const uint64_t maxima[] = {
		[1] = UINT8_MAX, [2] = UINT16_MAX, [4] = UINT32_MAX, [8] = UINT64_MAX
	};
	uint8_t *member = record + field->offset;
	size_t size = member_size(field->kind);
	uint64_t value;
	int rc;

	switch (field->kind) {
	case FIELD_STR:
	case FIELD_BYTES: return parse_str(parser, field, member);
	case FIELD_LIST: return parse_list(parser, field, record);
	case FIELD_ONE: return parse_record(parser, field->record(), member);
	default: break;
	}
	if (!is_number(field->kind))
		return parse_hex(parser, member, size);
	rc = parse_number(parser, field->max ? field->max : maxima[size], &value);
	if (rc == 0)
		store_number(field, member, value);
	return rc;
}

static const struct field *find_field(const struct layout *layout, struct slice name)
{
	for (unsigned int i = 0; i < layout->count; i++) {
		if (slice_equal(name, slice_of(layout->fields[i].name)))
			return &layout->fields[i];
	}
	return NULL;
}

/* One `name=value`; `seen` has a bit for each field that came before. */
static int parse_field(struct parser *parser, const struct layout *layout, uint8_t *record,
		       uint64_t *seen)
{
	const struct field *field = find_field(layout, take_word(parser));
	uint64_t bit;
	int rc;

	if (!field || !take(parser, '='))
		return -ERR_BAD_REQUEST;
	bit = (uint64_t)1 << (field - layout->fields);
	if (*seen & bit)
		return -ERR_BAD_REQUEST;
	*seen |= bit;
	rc = parse_value(parser, field, record);
	if (rc == 0 && is_word(*parser->at))
		rc = -ERR_BAD_REQUEST;
	return rc;
}

/* Fields up to `end`, which is not taken. */
static int parse_fields(struct parser *parser, const struct layout *layout, char end,
			uint8_t *record)
{
	uint64_t seen = 0;

	for (skip_space(parser); *parser->at != end; skip_space(parser)) {
		int rc = parse_field(parser, layout, record, &seen);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int parse_record(struct parser *parser, const struct layout *layout, uint8_t *record)
{
	int rc = take(parser, '{') ? parse_fields(parser, layout, '}', record) : -ERR_BAD_REQUEST;

	if (rc == 0)
		parser->at++;
	return rc;
}

static int parse_flags(struct parser *parser, struct message *message)
{
	for (skip_space(parser); take(parser, '+'); skip_space(parser)) {
		struct slice word = take_word(parser);
		size_t i = 0;

		while (i < ARRAY_SIZE(frame_flags) &&
		       !slice_equal(word, slice_of(frame_flags[i].name)))
			i++;
		if (i == ARRAY_SIZE(frame_flags))
			return -ERR_BAD_REQUEST;
		message->flags |= frame_flags[i].flag;
	}
	return 0;
}

/* Longest word that names an error or a message. */
enum { WORD_MAX = 64 };

static bool word_copy(struct slice word, char ret[WORD_MAX])
{
	if (word.size >= WORD_MAX)
		return false;
	memcpy(ret, word.data, word.size);
	ret[word.size] = '\0';
	return true;
}

/* `status=NAME` or, of an error we do not know, `status=NUMBER`: all that a refusal has. */
static int parse_status(struct parser *parser, struct message *message)
{
	const struct error_info *info;
	char name[WORD_MAX];
	uint64_t number;
	int rc = 0;

	if (digit_value(*parser->at) < 10) {
		rc = parse_number(parser, UINT8_MAX, &number);
		message->status = rc == 0 ? (uint8_t)number : 0;
	} else {
		info = word_copy(take_word(parser), name) ? error_find(name) : NULL;
		message->status = info ? (uint8_t)info->code : 0;
	}
	skip_space(parser);
	return rc < 0 || (message->status != 0 && *parser->at == '\0') ? rc : -ERR_BAD_REQUEST;
}

static int parse_body(struct parser *parser, struct message *message)
{
	static const char status[] = "status=";
	const struct layout *layout = message_layout(message);
	uint8_t *record;

	if (message->reply && strncmp(parser->at, status, sizeof(status) - 1) == 0) {
		parser->at += sizeof(status) - 1;
		return parse_status(parser, message);
	}
	message->body = record = arena_alloc(parser->arena, layout->size);
	if (!record)
		return -ERR_NO_MEMORY;
	return parse_fields(parser, layout, '\0', record);
}

int message_parse(const char *text, bool reply, struct arena *arena, struct message *ret)
{
	struct parser parser = { .at = text, .arena = arena };
	char name[WORD_MAX];
	int rc;

	*ret = (struct message){ .reply = reply };
	skip_space(&parser);
	if (word_copy(take_word(&parser), name))
		ret->info = message_find(name);
	if (!ret->info)
		return -ERR_UNSUPPORTED;
	rc = parse_flags(&parser, ret);
	return rc < 0 ? rc : parse_body(&parser, ret);
}

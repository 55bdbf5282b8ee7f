#include "codec.h"

#include <assert.h>

#include "error.h"

/* Of the kinds that have a fixed size; strings and lists: of their length. */
static const uint8_t kind_sizes[] = {
	[FIELD_U8] = 1,         [FIELD_U16] = 2,      [FIELD_U32] = 4,
	[FIELD_U64] = 8,        [FIELD_ID] = ID_SIZE, [FIELD_DIGEST] = DIGEST_SIZE,
	[FIELD_KEY] = KEY_SIZE, [FIELD_STR] = 2,      [FIELD_BYTES] = 4,
	[FIELD_LIST] = 2,
};

_Static_assert((int)ID_SIZE == (int)DIGEST_SIZE, "ids and digests are copied alike");

/* A list's array and count, wherever the struct has them. */
struct list {
	const uint8_t *items;
	uint16_t count;
};

static struct list list_of(const struct field *field, const uint8_t *record)
{
	struct list list;

	memcpy(&list.items, record + field->offset, sizeof(list.items));
	memcpy(&list.count, record + field->count_offset, sizeof(list.count));
	return list;
}

static bool is_over(const struct field *field, uint64_t value)
{
	return field->max != 0 && value > field->max;
}

/* ---- encoding: measure, get room once, write ---- */

/* Adds what the strings and lists of the record take beyond the layout's smallest size. */
static int measure_extra(const struct layout *layout, const uint8_t *record, size_t *size)
{
	if (layout->wire_min == layout->wire_max)
		return 0;
	for (const struct field *field = layout->fields; field->name; field++) {
		if (field->kind == FIELD_STR || field->kind == FIELD_BYTES) {
			struct slice str;

			memcpy(&str, record + field->offset, sizeof(str));
			if (str.size > field->max)
				return -ERR_TOO_LARGE;
			*size += str.size;
		} else if (field->kind == FIELD_ONE) {
			int rc = measure_extra(field->record(), record + field->offset, size);

			if (rc < 0)
				return rc;
		} else if (field->kind == FIELD_LIST) {
			const struct layout *item = field->record();
			struct list list = list_of(field, record);

			if (list.count > field->max)
				return -ERR_TOO_LARGE;
			*size += list.count * item->wire_min;
			for (size_t i = 0; item->wire_min < item->wire_max && i < list.count; i++) {
				int rc = measure_extra(item, list.items + i * item->size, size);

				if (rc < 0)
					return rc;
			}
		}
	}
	return 0;
}

struct writer {
	uint8_t *at;
	uint64_t arg1;
	uint64_t arg2;
	int error;
};

static void write_number(struct writer *writer, const struct field *field, const uint8_t *member)
{
	uint64_t value = 0;

	switch (field->kind) {
	case FIELD_U8:
		value = *member;
		*writer->at = *member;
		break;
	case FIELD_U16: {
		uint16_t u16;

		memcpy(&u16, member, sizeof(u16));
		put_u16(writer->at, u16);
		value = u16;
		break;
	}
	case FIELD_U32: {
		uint32_t u32;

		memcpy(&u32, member, sizeof(u32));
		put_u32(writer->at, u32);
		value = u32;
		break;
	}
	default:
		memcpy(&value, member, sizeof(value));
		put_u64(writer->at, value);
		break;
	}
	writer->at += kind_sizes[field->kind];
	if (is_over(field, value))
		writer->error = -ERR_TOO_LARGE;
}

static inline void write_bytes(struct writer *writer, const void *data, size_t size)
{
	if (size > 0)
		memcpy(writer->at, data, size);
	writer->at += size;
}

static void write_record(struct writer *writer, const struct layout *layout, const uint8_t *record);

static void write_list(struct writer *writer, const struct field *field, const uint8_t *record)
{
	const struct layout *item = field->record();
	struct list list = list_of(field, record);

	put_u16(writer->at, list.count);
	writer->at += 2;
	for (size_t i = 0; i < list.count; i++)
		write_record(writer, item, list.items + i * item->size);
}

static void write_record(struct writer *writer, const struct layout *layout, const uint8_t *record)
{
	for (const struct field *field = layout->fields; field->name; field++) {
		const uint8_t *member = record + field->offset;
		struct slice str;

		switch (field->kind) {
		case FIELD_ARG1: memcpy(&writer->arg1, member, sizeof(writer->arg1)); break;
		case FIELD_ARG2: memcpy(&writer->arg2, member, sizeof(writer->arg2)); break;
		case FIELD_U8:
		case FIELD_U16:
		case FIELD_U32:
		case FIELD_U64: write_number(writer, field, member); break;
		case FIELD_ID:
		case FIELD_DIGEST: write_bytes(writer, member, ID_SIZE); break;
		case FIELD_KEY: write_bytes(writer, member, KEY_SIZE); break;
		case FIELD_STR:
			memcpy(&str, member, sizeof(str));
			put_u16(writer->at, (uint16_t)str.size);
			writer->at += 2;
			write_bytes(writer, str.data, str.size);
			break;
		case FIELD_BYTES:
			memcpy(&str, member, sizeof(str));
			put_u32(writer->at, (uint32_t)str.size);
			writer->at += 4;
			write_bytes(writer, str.data, str.size);
			break;
		case FIELD_ONE: write_record(writer, field->record(), member); break;
		case FIELD_LIST: write_list(writer, field, record); break;
		}
	}
}

const struct layout *message_layout(const struct message *message)
{
	return message->reply ? message->info->reply() : message->info->request();
}

static int frame_encode(struct frame_header *header, const struct layout *layout, const void *body,
			struct buffer *out)
{
	size_t start = out->size;
	size_t size = layout ? layout->wire_min : 0;
	struct writer writer = { .error = layout ? measure_extra(layout, body, &size) : 0 };
	uint8_t *frame;

	if (writer.error < 0)
		return writer.error;
	frame = buffer_extend(out, FRAME_HEADER_SIZE + size);
	if (!frame)
		return out->error;
	writer.at = frame + FRAME_HEADER_SIZE;
	if (layout)
		write_record(&writer, layout, body);
	assert(writer.at == frame + FRAME_HEADER_SIZE + size);
	if (writer.error < 0) {
		out->size = start;
		return writer.error;
	}
	header->arg1 = writer.arg1;
	header->arg2 = writer.arg2;
	header->body_size = (uint32_t)size;
	frame_header_encode(header, frame);
	return 0;
}

int message_encode(const struct message *message, struct buffer *out)
{
	struct frame_header header = {
		.type = message->info->code,
		.reply = message->reply,
		.flags = message->flags,
		.status = message->status,
		.id = message->id,
	};

	assert(message->reply || message->status == 0);
	return frame_encode(&header, message->status ? NULL : message_layout(message),
			    message->body, out);
}

int record_encode(const struct layout *layout, const void *record, struct buffer *out)
{
	size_t start = out->size;
	size_t size = layout->wire_min;
	struct writer writer = { .error = measure_extra(layout, record, &size) };

	if (writer.error < 0)
		return writer.error;
	writer.at = buffer_extend(out, size);
	if (!writer.at)
		return out->error;
	write_record(&writer, layout, record);
	if (writer.error < 0)
		out->size = start;
	return writer.error;
}

int record_encode_fixed(const struct layout *layout, const void *record, uint8_t *ret, size_t size)
{
	struct writer writer = { .at = ret };

	if (layout->wire_min != layout->wire_max || size < layout->wire_max)
		return -ERR_TOO_LARGE;
	write_record(&writer, layout, record);
	return writer.error < 0 ? writer.error : (int)layout->wire_max;
}

/* ---- decoding ---- */

struct reader {
	const uint8_t *at;
	const uint8_t *end;
	uint64_t arg1; /* cleared when a field takes it */
	uint64_t arg2;
	struct arena *arena;
};

static size_t bytes_left(const struct reader *reader)
{
	return (size_t)(reader->end - reader->at);
}

/* The caller has checked that the bytes are there. */
static int read_number(struct reader *reader, const struct field *field, uint8_t *member)
{
	uint64_t value = 0;

	switch (field->kind) {
	case FIELD_U8: value = *member = *reader->at; break;
	case FIELD_U16: {
		uint16_t u16 = get_u16(reader->at);

		memcpy(member, &u16, sizeof(u16));
		value = u16;
		break;
	}
	case FIELD_U32: {
		uint32_t u32 = get_u32(reader->at);

		memcpy(member, &u32, sizeof(u32));
		value = u32;
		break;
	}
	default:
		value = get_u64(reader->at);
		memcpy(member, &value, sizeof(value));
		break;
	}
	reader->at += kind_sizes[field->kind];
	return is_over(field, value) ? -ERR_BAD_REQUEST : 0;
}

/* A string, or bytes: they differ in how wide their length is. */
static int read_str(struct reader *reader, const struct field *field, uint8_t *member)
{
	bool wide = field->kind == FIELD_BYTES;
	struct slice str = { .size = wide ? get_u32(reader->at) : get_u16(reader->at) };

	reader->at += kind_sizes[field->kind];
	if (str.size > field->max || str.size > bytes_left(reader))
		return -ERR_BAD_REQUEST;
	str.data = reader->at;
	reader->at += str.size;
	memcpy(member, &str, sizeof(str));
	return 0;
}

static int read_record(struct reader *reader, const struct layout *layout, uint8_t *record);

static int read_list(struct reader *reader, const struct field *field, uint8_t *record)
{
	const struct layout *item = field->record();
	uint16_t count = get_u16(reader->at);
	uint8_t *items = NULL;

	reader->at += 2;
	if (count > field->max || count * item->wire_min > bytes_left(reader))
		return -ERR_BAD_REQUEST;
	if (count > 0) {
		items = arena_alloc(reader->arena, count * item->size);
		if (!items)
			return -ERR_NO_MEMORY;
	}
	for (size_t i = 0; i < count; i++) {
		int rc = read_record(reader, item, items + i * item->size);

		if (rc < 0)
			return rc;
	}
	memcpy(record + field->offset, &items, sizeof(items));
	memcpy(record + field->count_offset, &count, sizeof(count));
	return 0;
}

static int read_field(struct reader *reader, const struct field *field, uint8_t *record)
{
	uint8_t *member = record + field->offset;

	switch (field->kind) {
	case FIELD_ARG1:
		memcpy(member, &reader->arg1, sizeof(reader->arg1));
		reader->arg1 = 0;
		return 0;
	case FIELD_ARG2:
		memcpy(member, &reader->arg2, sizeof(reader->arg2));
		reader->arg2 = 0;
		return 0;
	case FIELD_ID:
	case FIELD_DIGEST:
		memcpy(member, reader->at, ID_SIZE);
		reader->at += ID_SIZE;
		return 0;
	case FIELD_KEY:
		memcpy(member, reader->at, KEY_SIZE);
		reader->at += KEY_SIZE;
		return 0;
	case FIELD_STR:
	case FIELD_BYTES: return read_str(reader, field, member);
	case FIELD_ONE: return read_record(reader, field->record(), member);
	case FIELD_LIST: return read_list(reader, field, record);
	default: return read_number(reader, field, member);
	}
}

static int read_record(struct reader *reader, const struct layout *layout, uint8_t *record)
{
	for (const struct field *field = layout->fields; field->name; field++) {
		int rc;

		if (bytes_left(reader) < kind_sizes[field->kind])
			return -ERR_BAD_REQUEST;
		rc = read_field(reader, field, record);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Nothing may be left: no byte, and no argument that the message has no field for. */
static int read_all(struct reader *reader, const struct layout *layout, void *record)
{
	int rc = read_record(reader, layout, record);

	if (rc < 0)
		return rc;
	if (reader->at != reader->end || reader->arg1 != 0 || reader->arg2 != 0)
		return -ERR_BAD_REQUEST;
	return 0;
}

static int refusal_check(const struct frame_header *header)
{
	if (header->body_size != 0 || header->arg1 != 0 || header->arg2 != 0)
		return -ERR_BAD_REQUEST;
	return 0;
}

int message_decode(const struct frame_header *header, const uint8_t *body, struct arena *arena,
		   struct message *ret)
{
	struct reader reader = {
		.at = body,
		.end = header->body_size ? body + header->body_size : body,
		.arg1 = header->arg1,
		.arg2 = header->arg2,
		.arena = arena,
	};
	void *record;

	*ret = (struct message){
		.info = message_info(header->type),
		.reply = header->reply,
		.flags = header->flags,
		.status = header->status,
		.id = header->id,
	};
	if (!ret->info)
		return -ERR_UNSUPPORTED;
	if (ret->status != 0)
		return refusal_check(header);
	ret->body = record = arena_alloc(arena, message_layout(ret)->size);
	if (!record)
		return -ERR_NO_MEMORY;
	return read_all(&reader, message_layout(ret), record);
}

int record_decode(const struct layout *layout, struct slice bytes, struct arena *arena, void *ret)
{
	struct reader reader = {
		.at = bytes.data,
		.end = bytes.size ? bytes.data + bytes.size : bytes.data,
		.arena = arena,
	};

	return read_all(&reader, layout, ret);
}

/* ---- shorthands ---- */

static int body_encode(struct buffer *out, const struct message *message)
{
	return message->info ? message_encode(message, out) : -ERR_UNSUPPORTED;
}

int request_encode(struct buffer *out, unsigned int code, uint32_t id, const void *body)
{
	return body_encode(out,
			   &(struct message){ .info = message_info(code), .id = id, .body = body });
}

int reply_encode(struct buffer *out, unsigned int code, uint32_t id, const void *body)
{
	return body_encode(
		out, &(struct message){
			     .info = message_info(code), .reply = true, .id = id, .body = body });
}

/* What the peer learns of an error that it has no word for. */
static uint8_t status_of(int error)
{
	const struct error_info *info = error_info(error);

	if (info && info->wire)
		return (uint8_t)info->code;
	switch (-error) {
	case ERR_NOT_PERMITTED:
	case ERR_LOCAL_FULL:
	case ERR_BAD_FORMAT: return ERR_IO;
	default: return ERR_UNAVAILABLE;
	}
}

int refusal_encode(struct buffer *out, unsigned int code, uint32_t id, int error)
{
	struct frame_header header = {
		.type = (uint16_t)code,
		.reply = true,
		.status = status_of(error),
		.id = id,
	};

	assert(error < 0);
	return frame_encode(&header, NULL, NULL, out);
}

#include "message_drawn.h"

#include <stdlib.h>

#include "error.h"

enum { WORD_MAX = 40, LIST_MAX = 7, LIST_FULL = 254, REFUSALS = 8, SMALL = 112, NEAR_MAX = 16 };

bool draw_is_over(const struct draw *draw)
{
	return draw->rest.size == 0;
}

uint8_t draw_byte(struct draw *draw)
{
	uint8_t byte;

	if (draw->rest.size == 0)
		return 0;
	byte = draw->rest.data[0];
	draw->rest = (struct slice){ draw->rest.data + 1, draw->rest.size - 1 };
	return byte;
}

static void draw_bytes(struct draw *draw, void *ret, size_t size)
{
	uint8_t *bytes = ret;

	for (size_t i = 0; i < size; i++)
		bytes[i] = draw_byte(draw);
}

static void *room(struct draw *draw, size_t size)
{
	void *ret = arena_alloc(draw->arena, size);

	if (!ret)
		abort();
	return ret;
}

uint64_t draw_number(struct draw *draw, uint64_t max)
{
	unsigned int kind = draw_byte(draw);
	uint64_t value = kind;

	if (kind >= SMALL + NEAR_MAX + draw->number_count)
		draw_bytes(draw, &value, sizeof(value));
	else if (kind >= SMALL + NEAR_MAX)
		value = draw->numbers[kind - SMALL - NEAR_MAX];
	else if (kind >= SMALL)
		value = max - (kind - SMALL);
	return max == UINT64_MAX ? value : value % (max + 1);
}

struct id draw_id(struct draw *draw)
{
	uint8_t kind = draw_byte(draw);
	struct id id = { { kind } };

	return kind < draw->id_count ? draw->ids[kind] : id;
}

static struct digest draw_digest(struct draw *draw)
{
	uint8_t kind = draw_byte(draw);
	struct digest digest = { { kind } };

	return kind < draw->digest_count ? draw->digests[kind] : digest;
}

struct slice draw_word(struct draw *draw, size_t max)
{
	unsigned int kind = draw_byte(draw);
	struct slice word = { .size = kind % WORD_MAX };
	uint8_t *bytes;

	if (kind < draw->word_count) {
		word = draw->words[kind];
		word.size = word.size < max ? word.size : max;
		return word;
	}
	word.size = word.size < max ? word.size : max;
	bytes = room(draw, word.size);
	draw_bytes(draw, bytes, word.size);
	word.data = bytes;
	return word;
}

static void fill_number(struct draw *draw, const struct field *field, uint8_t *member, size_t size)
{
	uint64_t range = size == 8 ? UINT64_MAX : ((uint64_t)1 << 8 * size) - 1;
	uint64_t value = draw_number(draw, field->max ? field->max : range);
	uint8_t u8 = (uint8_t)value;
	uint16_t u16 = (uint16_t)value;
	uint32_t u32 = (uint32_t)value;

	switch (size) {
	case 1: memcpy(member, &u8, size); break;
	case 2: memcpy(member, &u16, size); break;
	case 4: memcpy(member, &u32, size); break;
	default: memcpy(member, &value, size); break;
	}
}

static void fill(struct draw *draw, const struct layout *layout, uint8_t *record);

static void fill_list(struct draw *draw, const struct field *field, uint8_t *record)
{
	const struct layout *item = field->record();
	unsigned int kind = draw_byte(draw);
	size_t count = kind >= LIST_FULL ? field->max : kind % (LIST_MAX + 1);
	uint16_t number;
	uint8_t *items;

	number = (uint16_t)(count < field->max ? count : field->max);
	items = room(draw, number * item->size);
	for (size_t i = 0; i < number && !draw_is_over(draw); i++)
		fill(draw, item, items + i * item->size);
	memcpy(record + field->offset, &items, sizeof(items));
	memcpy(record + field->count_offset, &number, sizeof(number));
}

static void fill(struct draw *draw, const struct layout *layout, uint8_t *record)
{
	for (unsigned int i = 0; i < layout->count; i++) {
		const struct field *field = &layout->fields[i];
		uint8_t *member = record + field->offset;
		struct digest digest;
		struct slice word;
		struct id id;

		switch (field->kind) {
		case FIELD_U8: fill_number(draw, field, member, 1); break;
		case FIELD_U16: fill_number(draw, field, member, 2); break;
		case FIELD_U32: fill_number(draw, field, member, 4); break;
		case FIELD_ARG1:
		case FIELD_ARG2:
		case FIELD_U64: fill_number(draw, field, member, 8); break;
		case FIELD_ID:
			id = draw_id(draw);
			memcpy(member, &id, sizeof(id));
			break;
		case FIELD_DIGEST:
			digest = draw_digest(draw);
			memcpy(member, &digest, sizeof(digest));
			break;
		case FIELD_KEY: draw_bytes(draw, member, 1); break;
		case FIELD_STR:
		case FIELD_BYTES:
			word = draw_word(draw, (size_t)field->max);
			memcpy(member, &word, sizeof(word));
			break;
		case FIELD_ONE: fill(draw, field->record(), member); break;
		case FIELD_LIST: fill_list(draw, field, record); break;
		}
	}
}

struct message draw_message(struct draw *draw, const struct message_info *info, bool reply)
{
	struct message message = { .info = info, .reply = reply };
	uint8_t kind = draw_byte(draw);
	uint8_t *body;

	message.flags = kind & FRAME_FLAGS_ALL;
	message.id = (uint32_t)draw_number(draw, UINT32_MAX);
	if (reply && kind < UINT8_MAX / REFUSALS) {
		message.status = draw_byte(draw);
		if (message.status)
			return message;
	}
	body = room(draw, message_layout(&message)->size);
	fill(draw, message_layout(&message), body);
	message.body = body;
	return message;
}

const struct message_info *draw_info(struct draw *draw)
{
	unsigned int count = 0;

	while (message_at(count))
		count++;
	return message_at(draw_byte(draw) % count);
}

bool draw_frame(const struct message *message, struct buffer *ret, struct frame_header *ret_header)
{
	size_t size;

	buffer_clear(ret);
	return message_encode(message, ret) == 0 &&
	       frame_next(ret->data, ret->size, ret_header, &size) == 1;
}

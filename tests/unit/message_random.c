#include "message_random.h"

#include <stdlib.h>

static void *room(struct message_random *from, size_t size)
{
	void *ret = arena_alloc(from->arena, size);

	if (!ret)
		abort();
	return ret;
}

static void fill(struct message_random *from, uint8_t *ret, size_t size)
{
	for (size_t i = 0; i < size; i++)
		ret[i] = (uint8_t)prng_next(&from->prng);
}

/* The edges come up often: that is where mistakes are. */
static uint64_t number(struct message_random *from, uint64_t max)
{
	uint64_t value = prng_next(&from->prng);

	switch (prng_below(&from->prng, 4)) {
	case 0: return 0;
	case 1: return max;
	default: return max == UINT64_MAX ? value : value % (max + 1);
	}
}

static void store(uint8_t *member, uint64_t value, size_t size)
{
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

static void fill_number(struct message_random *from, const struct field *field, uint8_t *member,
			size_t size)
{
	uint64_t range = size == 8 ? UINT64_MAX : ((uint64_t)1 << 8 * size) - 1;

	store(member, number(from, field->max ? field->max : range), size);
}

static void fill_str(struct message_random *from, const struct field *field, uint8_t *member)
{
	size_t max = field->max < from->str_max ? field->max : from->str_max;
	struct slice str = { .size = (size_t)number(from, max) };
	uint8_t *bytes = room(from, str.size);

	fill(from, bytes, str.size);
	str.data = bytes;
	memcpy(member, &str, sizeof(str));
}

static void fill_record(struct message_random *from, const struct layout *layout, uint8_t *record);

static void fill_list(struct message_random *from, const struct field *field, uint8_t *record)
{
	const struct layout *item = field->record();
	size_t max = field->max < from->list_max ? field->max : from->list_max;
	uint16_t count = (uint16_t)number(from, max);
	uint8_t *items = room(from, count * item->size);

	for (size_t i = 0; i < count; i++)
		fill_record(from, item, items + i * item->size);
	memcpy(record + field->offset, &items, sizeof(items));
	memcpy(record + field->count_offset, &count, sizeof(count));
}

static void fill_record(struct message_random *from, const struct layout *layout, uint8_t *record)
{
	for (unsigned int i = 0; i < layout->count; i++) {
		const struct field *field = &layout->fields[i];
		uint8_t *member = record + field->offset;

		switch (field->kind) {
		case FIELD_U8: fill_number(from, field, member, 1); break;
		case FIELD_U16: fill_number(from, field, member, 2); break;
		case FIELD_U32: fill_number(from, field, member, 4); break;
		case FIELD_ARG1:
		case FIELD_ARG2:
		case FIELD_U64: fill_number(from, field, member, 8); break;
		case FIELD_ID: fill(from, member, ID_SIZE); break;
		case FIELD_DIGEST: fill(from, member, DIGEST_SIZE); break;
		case FIELD_KEY: fill(from, member, KEY_SIZE); break;
		case FIELD_STR:
		case FIELD_BYTES: fill_str(from, field, member); break;
		case FIELD_ONE: fill_record(from, field->record(), member); break;
		case FIELD_LIST: fill_list(from, field, record); break;
		}
	}
}

struct message message_random(struct message_random *from, const struct message_info *info,
			      bool reply)
{
	struct message message = {
		.info = info,
		.reply = reply,
		.flags = (uint8_t)number(from, FRAME_FLAGS_ALL),
		.id = (uint32_t)prng_next(&from->prng),
	};
	uint8_t *body = room(from, message_layout(&message)->size);

	fill_record(from, message_layout(&message), body);
	message.body = body;
	return message;
}

const struct message_info *message_each(unsigned int *position, bool *ret_reply)
{
	*ret_reply = *position % 2;
	return message_at((*position)++ / 2);
}

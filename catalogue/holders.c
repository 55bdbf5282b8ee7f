#include "rows.h"

#define HOLDERS_KIND "~p"

static int holders_decode(struct slice value, struct holders *ret)
{
	size_t count = value.size / 2;

	if (value.size % 2 != 1 || value.data[0] != ROW_VERSION || count > HOLDERS_MAX)
		return -ERR_BAD_FORMAT;
	for (size_t i = 0; i < count; i++)
		ret->numbers[i] = get_u16(value.data + 1 + 2 * i);
	ret->count = (unsigned int)count;
	return 0;
}

int holders_get(struct kv *kv, uint64_t chunk, struct holders *ret)
{
	uint8_t space[ROW_KEY_MAX];
	struct slice value;
	int rc = kv_get(kv, key_number(space, HOLDERS_KIND, chunk), &value);

	ret->count = 0;
	if (rc == -ERR_NOT_FOUND)
		return 0;
	return rc < 0 ? rc : holders_decode(value, ret);
}

int holders_set(struct kv *kv, uint64_t chunk, const struct holders *holders)
{
	uint8_t space[ROW_KEY_MAX];
	uint8_t row[1 + 2 * HOLDERS_MAX] = { ROW_VERSION };
	struct slice key = key_number(space, HOLDERS_KIND, chunk);

	if (holders->count == 0)
		return kv_remove(kv, key);
	for (unsigned int i = 0; i < holders->count; i++)
		put_u16(row + 1 + 2 * i, holders->numbers[i]);
	return kv_put(kv, key, (struct slice){ row, 1 + 2 * (size_t)holders->count });
}

/* Where the number is, or would be. */
static unsigned int position_of(const struct holders *holders, uint16_t number)
{
	unsigned int i = 0;

	while (i < holders->count && holders->numbers[i] < number)
		i++;
	return i;
}

static bool is_at(const struct holders *holders, unsigned int i, uint16_t number)
{
	return i < holders->count && holders->numbers[i] == number;
}

int holders_add(struct kv *kv, uint64_t chunk, uint16_t number)
{
	struct holders holders;
	unsigned int i;
	int rc = holders_get(kv, chunk, &holders);

	if (rc < 0)
		return rc;
	i = position_of(&holders, number);
	if (is_at(&holders, i, number))
		return 0;
	if (holders.count == HOLDERS_MAX)
		return -ERR_TOO_LARGE;
	memmove(holders.numbers + i + 1, holders.numbers + i,
		(holders.count - i) * sizeof(holders.numbers[0]));
	holders.numbers[i] = number;
	holders.count++;
	rc = holders_set(kv, chunk, &holders);
	return rc < 0 ? rc : 1;
}

int holders_remove(struct kv *kv, uint64_t chunk, uint16_t number)
{
	struct holders holders;
	unsigned int i;
	int rc = holders_get(kv, chunk, &holders);

	if (rc < 0)
		return rc;
	i = position_of(&holders, number);
	if (!is_at(&holders, i, number))
		return 0;
	holders.count--;
	memmove(holders.numbers + i, holders.numbers + i + 1,
		(holders.count - i) * sizeof(holders.numbers[0]));
	rc = holders_set(kv, chunk, &holders);
	return rc < 0 ? rc : 1;
}

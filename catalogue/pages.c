#include "pages.h"

#include "bounds.h"
#include "error.h"
#include "hash.h"
#include "ordered_map.h"

/* The next shared row from `key` on. */
static int row_next(struct kv *kv, struct slice key, struct slice *ret_key, struct slice *ret_value)
{
	int rc = kv_seek(kv, key, ret_key, ret_value);

	while (rc == 0 && ret_key->data[0] == KEY_LOCAL)
		rc = kv_seek(kv, (struct slice){ (const uint8_t[]){ KEY_LOCAL + 1 }, 1 }, ret_key,
			     ret_value);
	return rc;
}

static void row_put(struct slice key, struct slice value, struct buffer *ret)
{
	uint8_t *to = buffer_extend(ret, CHANGE_PUT_SIZE + key.size + value.size);

	if (!to)
		return;
	to[0] = CHANGE_PUT;
	put_u16(to + 1, (uint16_t)key.size);
	put_u32(to + 3, (uint32_t)value.size);
	memcpy(to + CHANGE_PUT_SIZE, key.data, key.size);
	if (value.size)
		memcpy(to + CHANGE_PUT_SIZE + key.size, value.data, value.size);
}

int page_read(struct kv *kv, struct slice after, size_t most, struct buffer *ret)
{
	uint8_t space[KV_KEY_SIZE_MAX + 1];
	size_t before = ret->size;
	struct slice from = after, key, value;
	int rc;

	if (after.size > 0)
		from = kv_after(after, space);
	while ((rc = row_next(kv, from, &key, &value)) == 0) {
		size_t size = ret->size - before + CHANGE_PUT_SIZE + key.size + value.size;

		if (size > most && ret->size > before)
			return 1;
		if (size > CATALOGUE_PART_MAX)
			return -ERR_TOO_LARGE;
		row_put(key, value, ret);
		if (ret->error)
			return ret->error;
		from = kv_after(key, space);
	}
	return rc == -ERR_NOT_FOUND ? 0 : rc;
}

int page_check(struct slice rows, struct slice after, struct slice *ret_last)
{
	struct change change;
	int rc;

	*ret_last = after;
	while ((rc = change_next(&rows, &change)) > 0) {
		if (change.removed || change.key.data[0] == KEY_LOCAL ||
		    (ret_last->size > 0 && slice_compare(change.key, *ret_last) <= 0))
			return -ERR_CORRUPT;
		*ret_last = change.key;
	}
	return rc;
}

int rows_walk(struct kv *kv, row_fn *each, void *context)
{
	uint8_t space[KV_KEY_SIZE_MAX + 1];
	struct slice from = { 0 }, key, value;
	int rc;

	while ((rc = row_next(kv, from, &key, &value)) == 0) {
		from = kv_after(key, space);
		rc = each(context, key, value);
		if (rc < 0)
			return rc;
	}
	return rc == -ERR_NOT_FOUND ? 0 : rc;
}

static int row_digest(void *context, struct slice key, struct slice value)
{
	uint8_t sizes[6];

	put_u16(sizes, (uint16_t)key.size);
	put_u32(sizes + 2, (uint32_t)value.size);
	digest_stream_add(context, sizes, sizeof(sizes));
	digest_stream_add(context, key.data, key.size);
	digest_stream_add(context, value.data, value.size);
	return 0;
}

int rows_digest(struct kv *kv, struct digest *ret)
{
	struct digest_stream *stream = digest_stream_new();
	int rc;

	if (!stream)
		return -ERR_NO_MEMORY;
	rc = rows_walk(kv, row_digest, stream);
	*ret = digest_stream_value(stream);
	digest_stream_free(stream);
	return rc;
}

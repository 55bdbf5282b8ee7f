#include <assert.h>

#include "batch.h"
#include "error.h"

int kv_get(struct kv *kv, struct slice key, struct slice *ret)
{
	return kv->ops->get(kv, key, ret);
}

int kv_seek(struct kv *kv, struct slice key, struct slice *ret_key, struct slice *ret_value)
{
	return kv->ops->seek(kv, key, ret_key, ret_value);
}

static int key_check(struct slice key)
{
	return key.size == 0 || key.size > KV_KEY_SIZE_MAX ? -ERR_TOO_LARGE : 0;
}

/* Room for an encoded change. A full batch stays usable: what is in it is whole. */
static uint8_t *note(struct kv *kv, size_t size)
{
	kv->batch.max = BATCH_SIZE_MAX - BATCH_HEADER_SIZE;
	return buffer_extend(&kv->batch, size);
}

static int unnote(struct kv *kv, size_t before, int rc)
{
	kv->batch.size = before;
	kv->batch.error = 0;
	return rc;
}

int kv_put(struct kv *kv, struct slice key, struct slice value)
{
	size_t before = kv->batch.size;
	uint8_t *at;
	int rc;

	if (key_check(key) < 0 || value.size > KV_VALUE_SIZE_MAX)
		return -ERR_TOO_LARGE;
	at = note(kv, CHANGE_PUT_SIZE + key.size + value.size);
	if (!at)
		return unnote(kv, before, kv->batch.error);
	at[0] = CHANGE_PUT;
	put_u16(at + 1, (uint16_t)key.size);
	put_u32(at + 3, (uint32_t)value.size);
	memcpy(at + CHANGE_PUT_SIZE, key.data, key.size);
	if (value.size)
		memcpy(at + CHANGE_PUT_SIZE + key.size, value.data, value.size);
	rc = kv->ops->put(kv, key, value);
	if (rc < 0)
		return unnote(kv, before, rc);
	kv->batch_count++;
	return 0;
}

int kv_remove(struct kv *kv, struct slice key)
{
	size_t before = kv->batch.size;
	uint8_t *at;
	int rc;

	if (key_check(key) < 0)
		return -ERR_TOO_LARGE;
	at = note(kv, CHANGE_REMOVE_SIZE + key.size);
	if (!at)
		return unnote(kv, before, kv->batch.error);
	at[0] = CHANGE_REMOVE;
	put_u16(at + 1, (uint16_t)key.size);
	memcpy(at + CHANGE_REMOVE_SIZE, key.data, key.size);
	rc = kv->ops->remove(kv, key);
	if (rc < 0)
		return unnote(kv, before, rc);
	kv->batch_count++;
	return 0;
}

struct slice kv_after(struct slice key, uint8_t *space)
{
	assert(key.size <= KV_KEY_SIZE_MAX);
	memcpy(space, key.data, key.size);
	space[key.size] = 0;
	return (struct slice){ space, key.size + 1 };
}

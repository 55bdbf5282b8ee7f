#include "batch.h"
#include "error.h"
#include "hash.h"

enum { MAGIC_SIZE = 4, COVERED = 8 }; /* the checksum and the hash begin there */

static const char magic[MAGIC_SIZE] = { 'M', 'J', 'B', '1' };

int batch_seal(struct kv *kv, const struct batch_head *head, struct buffer *ret,
	       struct digest *ret_hash)
{
	size_t size = BATCH_HEADER_SIZE + kv->batch.size;
	int count = (int)kv->batch_count;
	uint8_t *at;

	if (count == 0)
		return 0;
	at = buffer_extend(ret, size);
	if (!at)
		return ret->error;
	memcpy(at, magic, MAGIC_SIZE);
	put_u64(at + 8, head->epoch);
	put_u64(at + 16, head->sequence);
	memcpy(at + 24, head->previous.bytes, DIGEST_SIZE);
	put_u32(at + 40, kv->batch_count);
	put_u32(at + 44, (uint32_t)kv->batch.size);
	memcpy(at + BATCH_HEADER_SIZE, kv->batch.data, kv->batch.size);
	put_u32(at + 4, crc32c(at + COVERED, size - COVERED));
	*ret_hash = digest_of(at + COVERED, size - COVERED);
	buffer_clear(&kv->batch);
	kv->batch_count = 0;
	return count;
}

static void head_read(const uint8_t *at, struct batch_head *ret)
{
	ret->epoch = get_u64(at + 8);
	ret->sequence = get_u64(at + 16);
	memcpy(ret->previous.bytes, at + 24, DIGEST_SIZE);
	ret->count = get_u32(at + 40);
	ret->size = get_u32(at + 44);
}

int batch_read(struct slice data, struct batch_head *ret, struct slice *ret_changes,
	       size_t *ret_size, struct digest *ret_hash)
{
	size_t known = data.size < MAGIC_SIZE ? data.size : MAGIC_SIZE;
	size_t size;

	if (known && memcmp(data.data, magic, known) != 0)
		return -ERR_CORRUPT;
	if (data.size < BATCH_HEADER_SIZE)
		return 0;
	head_read(data.data, ret);
	if (ret->size > BATCH_SIZE_MAX - BATCH_HEADER_SIZE)
		return -ERR_CORRUPT;
	size = BATCH_HEADER_SIZE + ret->size;
	if (data.size < size)
		return 0;
	if (get_u32(data.data + MAGIC_SIZE) != crc32c(data.data + COVERED, size - COVERED))
		return -ERR_CORRUPT;
	*ret_hash = digest_of(data.data + COVERED, size - COVERED);
	*ret_changes = (struct slice){ data.data + BATCH_HEADER_SIZE, ret->size };
	*ret_size = size;
	return 1;
}

static bool take(struct slice *rest, size_t size, struct slice *ret)
{
	if (size > rest->size)
		return false;
	*ret = (struct slice){ rest->data, size };
	rest->data += size;
	rest->size -= size;
	return true;
}

int change_next(struct slice *rest, struct change *ret)
{
	uint32_t value_size = 0;
	struct slice head;
	uint16_t key_size;

	if (rest->size == 0)
		return 0;
	ret->removed = rest->data[0] == CHANGE_REMOVE;
	if (!ret->removed && rest->data[0] != CHANGE_PUT)
		return -ERR_CORRUPT;
	if (!take(rest, ret->removed ? CHANGE_REMOVE_SIZE : CHANGE_PUT_SIZE, &head))
		return -ERR_CORRUPT;
	key_size = get_u16(head.data + 1);
	if (!ret->removed)
		value_size = get_u32(head.data + 3);
	if (key_size == 0 || key_size > KV_KEY_SIZE_MAX || value_size > KV_VALUE_SIZE_MAX)
		return -ERR_CORRUPT;
	if (!take(rest, key_size, &ret->key) || !take(rest, value_size, &ret->value))
		return -ERR_CORRUPT;
	return 1;
}

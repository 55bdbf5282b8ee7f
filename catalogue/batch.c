#include "batch.h"
#include "error.h"
#include "hash.h"

enum { MAGIC_SIZE = 4, CHECKED_FROM = 8, HASHED_FROM = 16 };

static const char magic[MAGIC_SIZE] = { 'M', 'J', 'B', '2' };

static struct digest hash_of(const uint8_t *batch, const struct batch_head *head)
{
	return digest_of(batch + HASHED_FROM, BATCH_HEADER_SIZE - HASHED_FROM + head->shared.size);
}

/* ---- sealing ---- */

/* Takes the first change off `rest`, in its encoded form; false at the end. */
static bool encoded_next(struct slice *rest, struct slice *ret, bool *ret_local)
{
	const uint8_t *start = rest->data;
	struct change change;

	if (change_next(rest, &change) != 1)
		return false;
	*ret = (struct slice){ start, (size_t)(rest->data - start) };
	*ret_local = change.key.data[0] == KEY_LOCAL;
	return true;
}

static void sections_measure(struct slice changes, struct batch_head *ret)
{
	struct slice change;
	bool local;

	ret->shared = ret->local = (struct batch_section){ 0 };
	while (encoded_next(&changes, &change, &local)) {
		struct batch_section *section = local ? &ret->local : &ret->shared;

		section->count++;
		section->size += (uint32_t)change.size;
	}
}

static void sections_write(struct slice changes, const struct batch_head *head, uint8_t *ret)
{
	uint8_t *ends[] = { ret, ret + head->shared.size };
	struct slice change;
	bool local;

	while (encoded_next(&changes, &change, &local)) {
		memcpy(ends[local], change.data, change.size);
		ends[local] += change.size;
	}
}

static void head_write(const struct batch_head *head, uint8_t *ret)
{
	memcpy(ret, magic, MAGIC_SIZE);
	put_u32(ret + 8, head->local.count);
	put_u32(ret + 12, head->local.size);
	put_u64(ret + 16, head->epoch);
	put_u64(ret + 24, head->sequence);
	memcpy(ret + 32, head->previous.bytes, DIGEST_SIZE);
	put_u32(ret + 48, head->shared.count);
	put_u32(ret + 52, head->shared.size);
}

int batch_seal(struct kv *kv, const struct batch_head *head, struct buffer *ret,
	       struct digest *ret_hash)
{
	const struct slice changes = { kv->batch.data, kv->batch.size };
	size_t size = BATCH_HEADER_SIZE + changes.size;
	struct batch_head sealed = *head;
	int count = (int)kv->batch_count;
	uint8_t *at;

	if (count == 0)
		return 0;
	at = buffer_extend(ret, size);
	if (!at)
		return ret->error;
	sections_measure(changes, &sealed);
	head_write(&sealed, at);
	sections_write(changes, &sealed, at + BATCH_HEADER_SIZE);
	put_u32(at + MAGIC_SIZE, crc32c(at + CHECKED_FROM, size - CHECKED_FROM));
	*ret_hash = hash_of(at, &sealed);
	buffer_clear(&kv->batch);
	kv->batch_count = 0;
	return count;
}

/* ---- reading ---- */

static void head_read(const uint8_t *at, struct batch_head *ret)
{
	ret->local.count = get_u32(at + 8);
	ret->local.size = get_u32(at + 12);
	ret->epoch = get_u64(at + 16);
	ret->sequence = get_u64(at + 24);
	memcpy(ret->previous.bytes, at + 32, DIGEST_SIZE);
	ret->shared.count = get_u32(at + 48);
	ret->shared.size = get_u32(at + 52);
}

int batch_peek(struct slice data, struct batch_head *ret, size_t *ret_size)
{
	size_t known = data.size < MAGIC_SIZE ? data.size : MAGIC_SIZE;

	if (known && memcmp(data.data, magic, known) != 0)
		return -ERR_CORRUPT;
	if (data.size < BATCH_HEADER_SIZE)
		return 0;
	head_read(data.data, ret);
	*ret_size = (size_t)BATCH_HEADER_SIZE + ret->shared.size + ret->local.size;
	return *ret_size > BATCH_SIZE_MAX ? -ERR_CORRUPT : 1;
}

int batch_read(struct slice data, struct batch_head *ret, struct slice *ret_changes,
	       size_t *ret_size, struct digest *ret_hash)
{
	size_t size;
	int rc = batch_peek(data, ret, &size);

	if (rc != 1)
		return rc;
	if (data.size < size)
		return 0;
	if (get_u32(data.data + MAGIC_SIZE) !=
	    crc32c(data.data + CHECKED_FROM, size - CHECKED_FROM))
		return -ERR_CORRUPT;
	*ret_hash = hash_of(data.data, ret);
	*ret_changes = (struct slice){ data.data + BATCH_HEADER_SIZE, size - BATCH_HEADER_SIZE };
	*ret_size = size;
	return 1;
}

int batch_encode(const struct batch_head *head, struct slice changes, struct buffer *ret,
		 struct digest *ret_hash)
{
	size_t size = BATCH_HEADER_SIZE + changes.size;
	uint8_t *at = buffer_extend(ret, size);

	if (!at)
		return ret->error;
	head_write(head, at);
	if (changes.size)
		memcpy(at + BATCH_HEADER_SIZE, changes.data, changes.size);
	put_u32(at + MAGIC_SIZE, crc32c(at + CHECKED_FROM, size - CHECKED_FROM));
	*ret_hash = hash_of(at, head);
	return 0;
}

/* ---- for other servers ---- */

int batch_share(struct slice batch, struct buffer *ret)
{
	struct batch_head head;
	size_t size;
	uint8_t *at;

	head_read(batch.data, &head);
	size = BATCH_HEADER_SIZE + head.shared.size;
	at = buffer_extend(ret, size);
	if (!at)
		return ret->error;
	memcpy(at, batch.data, size);
	put_u32(at + 8, 0);
	put_u32(at + 12, 0);
	put_u32(at + MAGIC_SIZE, crc32c(at + CHECKED_FROM, size - CHECKED_FROM));
	return 0;
}

int batches_share(struct slice batches, uint64_t after, size_t most, struct buffer *ret)
{
	size_t before = ret->size, size;
	struct batch_head head;

	while (ret->size - before < most && batch_peek(batches, &head, &size) == 1 &&
	       size <= batches.size) {
		int rc = 0;

		if (head.sequence > after + 1)
			return -ERR_STALE;
		if (head.sequence == after + 1) {
			rc = batch_share(batches, ret);
			after++;
		}
		if (rc < 0)
			return rc;
		batches = (struct slice){ batches.data + size, batches.size - size };
	}
	return 0;
}

/* ---- changes ---- */

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

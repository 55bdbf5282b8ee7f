#include "chunks_memory.h"

#include <stdlib.h>

#include "error.h"
#include "inventory.h"

static struct store_write **link_to(struct store_write **link, uint64_t chunk)
{
	while (*link && (*link)->meta.chunk != chunk)
		link = &(*link)->next;
	return link;
}

static void write_free(struct chunks_memory *chunks, struct store_write *write)
{
	chunks->used -= write->meta.length;
	buffer_done(&write->bytes);
	free(write);
}

const struct store_write *chunks_memory_find(const struct chunks_memory *chunks, uint64_t chunk)
{
	const struct store_write *write = chunks->first;

	while (write && write->meta.chunk != chunk)
		write = write->next;
	return write;
}

static void chunks_usage(void *context, struct storage_usage *ret)
{
	const struct chunks_memory *chunks = context;

	*ret = (struct storage_usage){ .capacity = CHUNKS_MEMORY_CAPACITY,
				       .used = chunks->used,
				       .free = CHUNKS_MEMORY_CAPACITY - chunks->used };
	for (const struct store_write *at = chunks->first; at; at = at->next)
		ret->chunks++;
}

static int chunks_find(void *context, uint64_t chunk, uint32_t *ret_length, struct digest *digest)
{
	const struct store_write *found = chunks_memory_find(context, chunk);

	if (!found)
		return -ERR_NOT_FOUND;
	if (digest) {
		*ret_length = found->meta.length;
		*digest = found->meta.digest;
	}
	return 0;
}

static int chunks_remove(void *context, uint64_t chunk)
{
	struct chunks_memory *chunks = context;
	struct store_write **link = link_to(&chunks->first, chunk), *write = *link;

	if (!write)
		return -ERR_NOT_FOUND;
	*link = write->next;
	write_free(chunks, write);
	return 0;
}

static size_t chunks_list(void *context, uint64_t after, struct chunk_ref *ret, size_t most)
{
	const struct chunks_memory *chunks = context;
	size_t count = 0;

	for (const struct store_write *at = chunks->first; at && count < most; at = at->next) {
		if (at->meta.chunk > after)
			ret[count++] = (struct chunk_ref){ at->meta.chunk, at->meta.length };
	}
	return count;
}

static size_t chunks_list_buckets(void *context, const uint8_t *buckets, uint64_t after,
				  struct chunk_ref *ret, size_t most)
{
	size_t count = 0;

	while (count < most && chunks_list(context, after, &ret[count], 1) == 1) {
		after = ret[count].chunk;
		count += inventory_bit(buckets, inventory_bucket(after));
	}
	return count;
}

static void sum_get(const struct chunks_memory *chunks, struct inventory_sum *ret)
{
	memset(ret, 0, sizeof(*ret));
	for (const struct store_write *at = chunks->first; at; at = at->next)
		inventory_turn(ret, at->meta.chunk);
}

static struct digest chunks_inventory(void *context)
{
	struct inventory_sum sum;

	sum_get(context, &sum);
	return sum.whole;
}

static void chunks_buckets(void *context, uint64_t *ret)
{
	struct inventory_sum sum;

	sum_get(context, &sum);
	memcpy(ret, sum.buckets, sizeof(sum.buckets));
}

static int chunks_adopt(void *context, const struct id *cluster, const char *name)
{
	(void)context;
	(void)cluster;
	(void)name;
	return 0;
}

/* ---- writing ---- */

static int chunks_write_new(void *context, const struct storage_meta *meta,
			    struct store_write **ret)
{
	struct chunks_memory *chunks = context;
	struct store_write *write;

	if (*link_to(&chunks->begun, meta->chunk))
		return -ERR_EXISTS;
	if (meta->length > CHUNKS_MEMORY_CAPACITY - chunks->used)
		return -ERR_NO_SPACE;
	write = calloc(1, sizeof(*write));
	if (!write)
		return -ERR_NO_MEMORY;
	write->meta = *meta;
	write->next = chunks->begun;
	chunks->begun = write;
	chunks->used += meta->length;
	*ret = write;
	return 0;
}

static int chunks_write_add(void *context, struct store_write *write, struct slice data,
			    const uint8_t *crcs)
{
	(void)context;
	(void)crcs;
	return buffer_append(&write->bytes, data.data, data.size);
}

static void chunks_write_abort(void *context, struct store_write *write)
{
	struct chunks_memory *chunks = context;

	*link_to(&chunks->begun, write->meta.chunk) = write->next;
	write_free(chunks, write);
}

static int chunks_write_commit(void *context, struct store_write *write, uint32_t transfer)
{
	static const struct digest any;
	struct chunks_memory *chunks = context;
	struct digest digest = digest_of(write->bytes.data, write->bytes.size);

	if (!digest_equal(&write->meta.digest, &any) && !digest_equal(&write->meta.digest, &digest))
		return -ERR_CORRUPT;
	*link_to(&chunks->begun, write->meta.chunk) = write->next;
	chunks->committed = write;
	chunks->transfer = transfer;
	return 0;
}

int chunks_memory_store(struct chunks_memory *chunks, struct digest *ret_digest)
{
	struct store_write *write = chunks->committed, **link = &chunks->first;
	int error = chunks->error;

	chunks->committed = NULL;
	chunks->error = 0;
	if (error) {
		write_free(chunks, write);
		return error;
	}
	while (*link && (*link)->meta.chunk < write->meta.chunk)
		link = &(*link)->next;
	write->next = *link;
	*link = write;
	write->meta.digest = digest_of(write->bytes.data, write->bytes.size);
	*ret_digest = write->meta.digest;
	return 0;
}

static int chunks_promise(void *context, uint64_t epoch, const struct id *server)
{
	struct chunks_memory *chunks = context;

	if (epoch < chunks->promised_epoch)
		return -ERR_STALE;
	chunks->promised_epoch = epoch;
	chunks->promised_server = *server;
	return 0;
}

const struct storage_chunks chunks_memory = {
	.usage = chunks_usage,
	.find = chunks_find,
	.remove = chunks_remove,
	.quarantine = chunks_remove,
	.list = chunks_list,
	.list_buckets = chunks_list_buckets,
	.inventory = chunks_inventory,
	.buckets = chunks_buckets,
	.adopt = chunks_adopt,
	.promise = chunks_promise,
	.write_new = chunks_write_new,
	.write_add = chunks_write_add,
	.write_abort = chunks_write_abort,
	.write_commit = chunks_write_commit,
};

static void list_free(struct chunks_memory *chunks, struct store_write *list)
{
	while (list) {
		struct store_write *write = list;

		list = write->next;
		write_free(chunks, write);
	}
}

void chunks_memory_done(struct chunks_memory *chunks)
{
	list_free(chunks, chunks->first);
	list_free(chunks, chunks->begun);
	chunks->first = chunks->begun = NULL;
	if (chunks->committed)
		write_free(chunks, chunks->committed);
	chunks->committed = NULL;
}

#include "store_chunks.h"

#include <string.h>

#include "error.h"
#include "inventory.h"

static void call_usage(void *context, struct storage_usage *ret)
{
	struct store_chunks *chunks = context;
	struct store_usage usage;

	store_usage(chunks->store, &usage);
	*ret = (struct storage_usage){ .capacity = usage.capacity,
				       .used = usage.used,
				       .free = usage.free,
				       .chunks = usage.chunks,
				       .failed = usage.failed };
}

static int call_find(void *context, uint64_t chunk, uint32_t *ret_length, struct digest *digest)
{
	struct store_chunks *chunks = context;
	struct store_reader *reader;
	struct chunk_meta meta;
	int rc;

	if (!digest)
		return store_has(chunks->store, chunk) ? 0 : -ERR_NOT_FOUND;
	rc = store_reader_open(chunks->store, chunk, &reader);
	if (rc < 0)
		return rc;
	rc = store_reader_check(reader, &meta);
	store_reader_close(chunks->store, reader);
	if (rc < 0)
		return rc;
	*ret_length = meta.length;
	*digest = meta.digest;
	return 0;
}

static int call_remove(void *context, uint64_t chunk)
{
	struct store_chunks *chunks = context;

	return store_remove(chunks->store, chunk);
}

static int call_quarantine(void *context, uint64_t chunk)
{
	struct store_chunks *chunks = context;

	return store_quarantine(chunks->store, chunk);
}

static size_t call_list_buckets(void *context, const uint8_t *buckets, uint64_t after,
				struct chunk_ref *ret, size_t most)
{
	struct store_chunks *chunks = context;
	struct store_listed listed[256];
	size_t count = 0, got;

	do {
		size_t wanted =
			most - count < ARRAY_SIZE(listed) ? most - count : ARRAY_SIZE(listed);

		got = store_list_buckets(chunks->store, buckets, after, listed, wanted);
		for (size_t i = 0; i < got; i++)
			ret[count++] = (struct chunk_ref){ listed[i].chunk, listed[i].length };
		if (got)
			after = listed[got - 1].chunk;
	} while (got == ARRAY_SIZE(listed) && count < most);
	return count;
}

static size_t call_list(void *context, uint64_t after, struct chunk_ref *ret, size_t most)
{
	return call_list_buckets(context, NULL, after, ret, most);
}

static struct digest call_inventory(void *context)
{
	struct store_chunks *chunks = context;

	return store_inventory_digest(chunks->store);
}

static void call_buckets(void *context, uint64_t *ret)
{
	struct store_chunks *chunks = context;

	memcpy(ret, store_inventory(chunks->store)->buckets, INVENTORY_BUCKETS * sizeof(*ret));
}

static int call_adopt(void *context, const struct id *cluster, const char *name)
{
	struct store_chunks *chunks = context;

	return store_adopt(chunks->store, cluster, name);
}

static int call_write_new(void *context, const struct storage_meta *meta, struct store_write **ret)
{
	struct store_chunks *chunks = context;
	struct chunk_meta chunk = { .chunk = meta->chunk,
				    .file = meta->file,
				    .epoch = meta->epoch,
				    .length = meta->length,
				    .digest = meta->digest };

	return store_write_new(chunks->store, &chunk, ret);
}

static int call_write_add(void *context, struct store_write *write, struct slice data,
			  const uint8_t *crcs)
{
	(void)context;
	return store_write_add(write, data.data, data.size, crcs);
}

static void call_write_abort(void *context, struct store_write *write)
{
	struct store_chunks *chunks = context;

	store_write_abort(chunks->store, write);
}

static int call_write_commit(void *context, struct store_write *write, uint32_t transfer)
{
	struct store_chunks *chunks = context;
	int rc = chunks->gathering ? 0 : store_commit_new(chunks->store, &chunks->gathering);

	if (rc == 0)
		rc = store_commit_add(chunks->gathering, write, (void *)(uintptr_t)transfer);
	return rc;
}

static int call_promise(void *context, uint64_t epoch, const struct id *server)
{
	struct store_chunks *chunks = context;

	return store_promise(chunks->store, epoch, server);
}

const struct storage_chunks store_chunks_calls = {
	.usage = call_usage,
	.find = call_find,
	.remove = call_remove,
	.quarantine = call_quarantine,
	.list = call_list,
	.list_buckets = call_list_buckets,
	.inventory = call_inventory,
	.buckets = call_buckets,
	.adopt = call_adopt,
	.promise = call_promise,
	.write_new = call_write_new,
	.write_add = call_write_add,
	.write_abort = call_write_abort,
	.write_commit = call_write_commit,
};

#include <stdlib.h>

#include "error.h"
#include "hash.h"
#include "random.h"
#include "store_driver.h"

void driven_content(uint64_t chunk, uint32_t length, uint8_t *ret)
{
	struct prng prng = { chunk * 31 + length };

	for (uint32_t i = 0; i < length; i += 8) {
		uint8_t word[8];

		put_u64(word, prng_next(&prng));
		memcpy(ret + i, word, length - i < 8 ? length - i : 8);
	}
}

int driven_write(struct store *store, uint64_t chunk, uint32_t length, struct store_write **ret)
{
	struct chunk_meta meta = {
		.chunk = chunk, .file = chunk + 1, .epoch = 7, .length = length
	};
	int rc = store_write_new(store, &meta, ret);
	uint8_t *data;

	if (rc < 0)
		return rc;
	data = malloc(length);
	if (!data)
		rc = -ERR_NO_MEMORY;
	else
		driven_content(chunk, length, data);
	for (uint32_t at = 0; at < length && rc == 0; at += BLOCK_SIZE) {
		uint32_t part = length - at < BLOCK_SIZE ? length - at : BLOCK_SIZE;
		uint8_t crc[4];

		crc32c_blocks(data + at, part, crc);
		rc = store_write_add(*ret, data + at, part, crc);
	}
	free(data);
	if (rc < 0)
		store_write_abort(store, *ret);
	return rc;
}

static void note_result(void *context, void *tag, const struct chunk_meta *meta, int result)
{
	(void)context;
	(void)meta;
	((struct driven *)tag)->result = result;
}

int driven_put(struct store *store, struct driven *list, size_t count)
{
	struct store_commit *commit;
	int rc = store_commit_new(store, &commit);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < count; i++) {
		struct store_write *write;

		list[i].result = driven_write(store, list[i].chunk, list[i].length, &write);
		if (list[i].result == 0)
			list[i].result = store_commit_add(commit, write, &list[i]);
	}
	rc = store_commit_seal(store, commit);
	if (rc == 0)
		rc = store_commit_run(commit);
	store_commit_finish(store, commit, rc, note_result, NULL);
	return rc;
}

static int compare(struct store_reader *reader, const struct chunk_meta *meta, uint8_t *got)
{
	uint8_t *expected = got + meta->length;
	uint8_t *crcs = expected + meta->length;
	struct digest digest;
	int rc = store_reader_crcs(reader, 0, (uint32_t)block_count(meta->length), crcs);
	int64_t size = rc < 0 ? rc : store_reader_read(reader, got, meta->length, 0);

	if (size < 0)
		return (int)size;
	if (size != meta->length || !crc32c_blocks_match(got, meta->length, crcs))
		return -ERR_CORRUPT;
	digest = digest_of(got, meta->length);
	if (!digest_equal(&digest, &meta->digest))
		return -ERR_CORRUPT;
	driven_content(meta->chunk, meta->length, expected);
	return memcmp(got, expected, meta->length) == 0 ? 0 : -ERR_STALE;
}

int driven_read(struct store *store, uint64_t chunk, uint32_t length)
{
	struct store_reader *reader;
	struct chunk_meta meta;
	uint8_t *buffer;
	int rc = store_reader_open(store, chunk, &reader);

	if (rc < 0)
		return rc;
	rc = store_reader_check(reader, &meta);
	if (rc == 0 && (meta.chunk != chunk || meta.length != length || meta.file != chunk + 1))
		rc = -ERR_STALE;
	if (rc == 0) {
		buffer = malloc(2 * (size_t)length + 4 * block_count(length));
		rc = buffer ? compare(reader, &meta, buffer) : -ERR_NO_MEMORY;
		free(buffer);
	}
	store_reader_close(store, reader);
	return rc;
}

int driven_chores(struct store *store, uint64_t now_ms, int most)
{
	int count = 0;

	while (count < most) {
		struct store_chore *chore = store_chore_next(store, now_ms);

		if (!chore)
			break;
		store_chore_finish(store, chore, store_chore_run(chore));
		count++;
	}
	return count;
}

struct store_options driven_options(void)
{
	return (struct store_options){
		.node = { { 1, 2, 3 } },
		.disk = { { 4, 5, 6 } },
		.index_seed = 42,
		.segment_size = 64 * 1024,
		.large_from = 20000,
	};
}

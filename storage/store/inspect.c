/* Is a stored chunk what it was? */
#include <stdlib.h>

#include "error.h"
#include "store_impl.h"

enum { PIECE_SIZE = 4 * BLOCK_SIZE };

/* A damaged piece does not end it: the digest is of all that is there. */
static int payload_read(struct store_reader *reader, uint32_t length, uint8_t *piece,
			struct digest_stream *stream)
{
	uint8_t crcs[PIECE_SIZE / BLOCK_SIZE * 4];
	int result = 0;

	for (uint32_t at = 0, size; at < length; at += size) {
		int64_t got;
		int rc;

		size = length - at < PIECE_SIZE ? length - at : PIECE_SIZE;
		rc = store_reader_crcs(reader, at / BLOCK_SIZE, (uint32_t)block_count(size), crcs);
		if (rc < 0)
			return rc;
		got = store_reader_read(reader, piece, size, at);
		if (got < 0)
			return (int)got;
		if (!crc32c_blocks_match(piece, size, crcs))
			result = -ERR_CORRUPT;
		digest_stream_add(stream, piece, size);
	}
	return result;
}

int store_reader_inspect(struct store_reader *reader, struct chunk_meta *ret)
{
	struct digest_stream *stream = digest_stream_new();
	uint8_t *piece = malloc(PIECE_SIZE);
	struct chunk_meta meta;
	struct digest digest;
	int rc = stream && piece ? store_reader_check(reader, &meta) : -ERR_NO_MEMORY;

	*ret = (struct chunk_meta){ 0 };
	if (rc < 0)
		goto out;
	rc = payload_read(reader, meta.length, piece, stream);
	if (rc < 0 && rc != -ERR_CORRUPT)
		goto out;
	digest = digest_stream_value(stream);
	if (!digest_equal(&digest, &meta.digest))
		rc = -ERR_CORRUPT;
	*ret = meta;
	ret->digest = digest;
out:
	free(piece);
	digest_stream_free(stream);
	return rc;
}

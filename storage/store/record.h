/* What a chunk looks like on disk: a header of 192 bytes, one CRC32C per 64 KiB, the payload. And
 * the footer of a sealed segment. docs/storage-format.md has the tables. All pure functions. */
#ifndef MUSTER_STORAGE_RECORD_H
#define MUSTER_STORAGE_RECORD_H

#include "bounds.h"
#include "bytes.h"
#include "hash.h"

enum {
	STORE_BLOCK = 4096, /* groups of records are padded to it, large payloads start behind it */
	RECORD_HEADER_SIZE = 192,
	RECORD_ALIGN = 8,
	FOOTER_ENTRY_SIZE = 16,
	FOOTER_TRAILER_SIZE = 64,
};

enum record_type {
	RECORD_SMALL = 1, /* in a segment */
	RECORD_LARGE = 2, /* the first block of a file of its own */
	RECORD_VOID = 3,  /* fills a place in a segment; to be skipped */
};

struct record {
	uint8_t type;
	uint64_t chunk, file, epoch;
	uint32_t length;
	struct id disk;
	uint32_t segment; /* 0 for a large one */
	uint64_t offset;
	uint64_t mark; /* everything of the segment before it was durable */
	uint64_t generation;
	struct digest digest;
	uint32_t table_crc; /* CRC32C of the block CRCs */
};

static inline uint64_t align_up(uint64_t value, uint64_t to)
{
	return (value + to - 1) / to * to;
}

/* Header and CRCs. */
static inline size_t record_head_size(uint32_t length)
{
	return RECORD_HEADER_SIZE + 4 * block_count(length);
}

/* All of it, as it lies in a segment. */
static inline size_t record_size(uint32_t length)
{
	return (size_t)align_up(record_head_size(length) + length, RECORD_ALIGN);
}

static inline uint32_t record_magic(void)
{
	return 0x6352754d; /* "MuRc" */
}

void record_header_encode(const struct record *record, uint8_t ret[RECORD_HEADER_SIZE]);
/* False: no header, a damaged one or one of a version we do not know. */
bool record_header_decode(const uint8_t from[RECORD_HEADER_SIZE], struct record *ret);

struct footer_entry {
	uint64_t chunk;
	uint32_t offset8; /* of the header, in units of 8 bytes */
	uint32_t length;  /* of the payload */
};

struct footer {
	struct id disk;
	uint32_t segment;
	uint32_t count;
	uint64_t start; /* where the entries begin: the end of the records */
	uint64_t generation;
	uint32_t entries_crc;
};

static inline size_t footer_size(size_t count)
{
	return (size_t)align_up(count * FOOTER_ENTRY_SIZE + FOOTER_TRAILER_SIZE, STORE_BLOCK);
}

/* `ret` has footer_size(footer->count) bytes; sets entries_crc. */
void footer_encode(struct footer *footer, const struct footer_entry *entries, uint8_t *ret);
bool footer_decode(const uint8_t trailer[FOOTER_TRAILER_SIZE], struct footer *ret);
struct footer_entry footer_entry_decode(const uint8_t *from);

#endif

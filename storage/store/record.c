#include "record.h"

enum {
	VERSION = 1,
	AT_VERSION = 4,
	AT_TYPE = 6,
	AT_CHUNK = 8,
	AT_FILE = 16,
	AT_EPOCH = 24,
	AT_LENGTH = 32,
	AT_SEGMENT = 36,
	AT_OFFSET = 40,
	AT_MARK = 48,
	AT_GENERATION = 56,
	AT_DISK = 64,
	AT_DIGEST = 80,
	AT_TABLE_CRC = 96,
	AT_CRC = RECORD_HEADER_SIZE - 4,

	FOOTER_MAGIC = 0x7446754d, /* "MuFt" */
	FOOTER_AT_SEGMENT = 8,
	FOOTER_AT_COUNT = 12,
	FOOTER_AT_START = 16,
	FOOTER_AT_GENERATION = 24,
	FOOTER_AT_DISK = 32,
	FOOTER_AT_ENTRIES_CRC = 48,
	FOOTER_AT_CRC = FOOTER_TRAILER_SIZE - 4,
};

void record_header_encode(const struct record *record, uint8_t ret[RECORD_HEADER_SIZE])
{
	memset(ret, 0, RECORD_HEADER_SIZE);
	put_u32(ret, record_magic());
	put_u16(ret + AT_VERSION, VERSION);
	ret[AT_TYPE] = record->type;
	put_u64(ret + AT_CHUNK, record->chunk);
	put_u64(ret + AT_FILE, record->file);
	put_u64(ret + AT_EPOCH, record->epoch);
	put_u32(ret + AT_LENGTH, record->length);
	put_u32(ret + AT_SEGMENT, record->segment);
	put_u64(ret + AT_OFFSET, record->offset);
	put_u64(ret + AT_MARK, record->mark);
	put_u64(ret + AT_GENERATION, record->generation);
	memcpy(ret + AT_DISK, record->disk.bytes, ID_SIZE);
	memcpy(ret + AT_DIGEST, record->digest.bytes, DIGEST_SIZE);
	put_u32(ret + AT_TABLE_CRC, record->table_crc);
	put_u32(ret + AT_CRC, crc32c(ret, AT_CRC));
}

bool record_header_decode(const uint8_t from[RECORD_HEADER_SIZE], struct record *ret)
{
	if (get_u32(from) != record_magic() || get_u16(from + AT_VERSION) != VERSION ||
	    get_u32(from + AT_CRC) != crc32c(from, AT_CRC))
		return false;
	ret->type = from[AT_TYPE];
	ret->chunk = get_u64(from + AT_CHUNK);
	ret->file = get_u64(from + AT_FILE);
	ret->epoch = get_u64(from + AT_EPOCH);
	ret->length = get_u32(from + AT_LENGTH);
	ret->segment = get_u32(from + AT_SEGMENT);
	ret->offset = get_u64(from + AT_OFFSET);
	ret->mark = get_u64(from + AT_MARK);
	ret->generation = get_u64(from + AT_GENERATION);
	memcpy(ret->disk.bytes, from + AT_DISK, ID_SIZE);
	memcpy(ret->digest.bytes, from + AT_DIGEST, DIGEST_SIZE);
	ret->table_crc = get_u32(from + AT_TABLE_CRC);
	return ret->type >= RECORD_SMALL && ret->type <= RECORD_VOID && ret->length >= 1 &&
	       ret->length <= CHUNK_SIZE_MAX;
}

void footer_encode(struct footer *footer, const struct footer_entry *entries, uint8_t *ret)
{
	size_t size = footer_size(footer->count);
	uint8_t *trailer = ret + size - FOOTER_TRAILER_SIZE;
	uint8_t *at = ret;

	memset(ret, 0, size);
	for (uint32_t i = 0; i < footer->count; i++, at += FOOTER_ENTRY_SIZE) {
		put_u64(at, entries[i].chunk);
		put_u32(at + 8, entries[i].offset8);
		put_u32(at + 12, entries[i].length);
	}
	footer->entries_crc = crc32c(ret, (size_t)(at - ret));
	put_u32(trailer, FOOTER_MAGIC);
	put_u16(trailer + AT_VERSION, VERSION);
	put_u32(trailer + FOOTER_AT_SEGMENT, footer->segment);
	put_u32(trailer + FOOTER_AT_COUNT, footer->count);
	put_u64(trailer + FOOTER_AT_START, footer->start);
	put_u64(trailer + FOOTER_AT_GENERATION, footer->generation);
	memcpy(trailer + FOOTER_AT_DISK, footer->disk.bytes, ID_SIZE);
	put_u32(trailer + FOOTER_AT_ENTRIES_CRC, footer->entries_crc);
	put_u32(trailer + FOOTER_AT_CRC, crc32c(trailer, FOOTER_AT_CRC));
}

bool footer_decode(const uint8_t trailer[FOOTER_TRAILER_SIZE], struct footer *ret)
{
	if (get_u32(trailer) != FOOTER_MAGIC || get_u16(trailer + AT_VERSION) != VERSION ||
	    get_u32(trailer + FOOTER_AT_CRC) != crc32c(trailer, FOOTER_AT_CRC))
		return false;
	ret->segment = get_u32(trailer + FOOTER_AT_SEGMENT);
	ret->count = get_u32(trailer + FOOTER_AT_COUNT);
	ret->start = get_u64(trailer + FOOTER_AT_START);
	ret->generation = get_u64(trailer + FOOTER_AT_GENERATION);
	memcpy(ret->disk.bytes, trailer + FOOTER_AT_DISK, ID_SIZE);
	ret->entries_crc = get_u32(trailer + FOOTER_AT_ENTRIES_CRC);
	return true;
}

struct footer_entry footer_entry_decode(const uint8_t *from)
{
	return (struct footer_entry){ get_u64(from), get_u32(from + 8), get_u32(from + 12) };
}

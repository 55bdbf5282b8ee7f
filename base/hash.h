/* Checksums and message authentication. All pure functions.
 *
 * CRC32C (Castagnoli, RFC 3720 B.4: initial value and final xor 0xffffffff) guards every 64 KiB
 * block on the wire and on disk; ISA-L computes it. XXH3-128 (xxhash.com) names the content of a
 * chunk, a file and a journal batch. HMAC-SHA-256 (RFC 2104) signs tickets and receipts. */
#ifndef MUSTER_BASE_HASH_H
#define MUSTER_BASE_HASH_H

#include "bytes.h"

enum { BLOCK_SIZE = 64 * 1024 };

uint32_t crc32c(const void *data, size_t size);

/* Blocks that `size` bytes make up. */
static inline size_t block_count(size_t size)
{
	return (size + BLOCK_SIZE - 1) / BLOCK_SIZE;
}

/* One CRC per 64 KiB block of `data`, the last one shorter; little-endian into `ret`. */
void crc32c_blocks(const void *data, size_t size, uint8_t *ret);
/* True if every block of `data` matches. */
bool crc32c_blocks_match(const void *data, size_t size, const uint8_t *crcs);

struct digest digest_of(const void *data, size_t size);

/* XXH3-128 of a stream. Heap, because its state is large and over-aligned. */
struct digest_stream;
struct digest_stream *digest_stream_new(void); /* NULL: no memory */
void digest_stream_free(struct digest_stream *stream);
void digest_stream_reset(struct digest_stream *stream);
void digest_stream_add(struct digest_stream *stream, const void *data, size_t size);
struct digest digest_stream_value(const struct digest_stream *stream);

uint64_t hash64(const void *data, size_t size, uint64_t seed);

/* HMAC-SHA-256, cut to its first 16 bytes. One thread at a time per struct. Once keyed nothing can
 * fail; should OpenSSL run out of memory, the process aborts rather than send a wrong tag. */
struct hmac;
struct hmac *hmac_new(const struct key *key); /* keyed once, used often; NULL: no memory */
void hmac_free(struct hmac *hmac);
void hmac_sign(struct hmac *hmac, const void *data, size_t size, uint8_t tag[16]);
bool hmac_verify(struct hmac *hmac, const void *data, size_t size, const uint8_t tag[16]);

/* 32 bytes that nobody without `secret` can foretell: HMAC-SHA-256(secret, label). */
void key_derive(const struct key *secret, const void *label, size_t size, struct key *ret);

#endif

#include <isa-l.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "hash.h"

enum { TAG_SIZE = 16 };

#if defined(__x86_64__)
/* ISA-L's routine for AVX-512 leaves the upper halves of the vector registers in use. Until they
 * are cleared each SSE instruction of the thread waits for the one before: all that it does takes
 * up to three times as long. */
__attribute__((target("avx"))) static void upper_halves_clear(void)
{
	__builtin_ia32_vzeroupper();
}

static void registers_clear(void)
{
	if (__builtin_cpu_supports("avx"))
		upper_halves_clear();
}
#else
static void registers_clear(void)
{
}
#endif

uint32_t crc32c(const void *data, size_t size)
{
	const uint8_t *at = data;
	uint32_t crc = 0xffffffff;

	/* ISA-L counts in int and forgets the const; it only reads. */
	while (size) {
		size_t part = size < (1u << 30) ? size : 1u << 30;

		crc = crc32_iscsi((unsigned char *)(uintptr_t)at, (int)part, crc);
		at += part;
		size -= part;
	}
	registers_clear();
	return ~crc;
}

void crc32c_blocks(const void *data, size_t size, uint8_t *ret)
{
	const uint8_t *at = data;

	while (size) {
		size_t part = size < BLOCK_SIZE ? size : BLOCK_SIZE;

		put_u32(ret, crc32c(at, part));
		at += part;
		size -= part;
		ret += 4;
	}
}

bool crc32c_blocks_match(const void *data, size_t size, const uint8_t *crcs)
{
	const uint8_t *at = data;

	while (size) {
		size_t part = size < BLOCK_SIZE ? size : BLOCK_SIZE;

		if (get_u32(crcs) != crc32c(at, part))
			return false;
		at += part;
		size -= part;
		crcs += 4;
	}
	return true;
}

static struct digest digest_from(XXH128_hash_t hash)
{
	struct digest ret;
	XXH128_canonical_t canonical;

	XXH128_canonicalFromHash(&canonical, hash);
	memcpy(ret.bytes, canonical.digest, sizeof(ret.bytes));
	return ret;
}

struct digest digest_of(const void *data, size_t size)
{
	return digest_from(XXH3_128bits(data, size));
}

struct digest_stream {
	XXH3_state_t state;
};

struct digest_stream *digest_stream_new(void)
{
	struct digest_stream *stream =
		aligned_alloc(_Alignof(struct digest_stream), sizeof(*stream));

	if (stream) {
		XXH3_INITSTATE(&stream->state);
		digest_stream_reset(stream);
	}
	return stream;
}

void digest_stream_free(struct digest_stream *stream)
{
	free(stream);
}

void digest_stream_reset(struct digest_stream *stream)
{
	XXH3_128bits_reset(&stream->state);
}

void digest_stream_add(struct digest_stream *stream, const void *data, size_t size)
{
	if (size)
		XXH3_128bits_update(&stream->state, data, size);
}

struct digest digest_stream_value(const struct digest_stream *stream)
{
	return digest_from(XXH3_128bits_digest(&stream->state));
}

uint64_t hash64(const void *data, size_t size, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, size, seed);
}

struct hmac {
	EVP_MAC_CTX *keyed;
};

static EVP_MAC_CTX *keyed_context(const void *key, size_t size)
{
	EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
	EVP_MAC_CTX *context = mac ? EVP_MAC_CTX_new(mac) : NULL;
	char name[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
		OSSL_PARAM_construct_end(),
	};

	EVP_MAC_free(mac);
	if (context && EVP_MAC_init(context, key, size, params) != 1) {
		EVP_MAC_CTX_free(context);
		return NULL;
	}
	return context;
}

struct hmac *hmac_new(const struct key *key)
{
	struct hmac *hmac = malloc(sizeof(*hmac));

	if (!hmac)
		return NULL;
	hmac->keyed = keyed_context(key->bytes, sizeof(key->bytes));
	if (!hmac->keyed) {
		free(hmac);
		return NULL;
	}
	return hmac;
}

void hmac_free(struct hmac *hmac)
{
	if (!hmac)
		return;
	EVP_MAC_CTX_free(hmac->keyed);
	free(hmac);
}

/* No input makes a keyed context fail, only memory that OpenSSL cannot get in the middle of it; a
 * tag that was never computed must not be sent or believed. */
static void mac_compute(EVP_MAC_CTX *context, const void *data, size_t size, uint8_t ret[KEY_SIZE])
{
	size_t length = 0;

	if (EVP_MAC_init(context, NULL, 0, NULL) != 1 || EVP_MAC_update(context, data, size) != 1 ||
	    EVP_MAC_final(context, ret, &length, KEY_SIZE) != 1 || length != KEY_SIZE)
		abort();
}

void hmac_sign(struct hmac *hmac, const void *data, size_t size, uint8_t tag[TAG_SIZE])
{
	uint8_t whole[KEY_SIZE];

	mac_compute(hmac->keyed, data, size, whole);
	memcpy(tag, whole, TAG_SIZE);
}

bool hmac_verify(struct hmac *hmac, const void *data, size_t size, const uint8_t tag[TAG_SIZE])
{
	uint8_t whole[KEY_SIZE];

	mac_compute(hmac->keyed, data, size, whole);
	return CRYPTO_memcmp(whole, tag, TAG_SIZE) == 0;
}

void key_derive(const struct key *secret, const void *label, size_t size, struct key *ret)
{
	struct hmac *hmac = hmac_new(secret);

	if (!hmac)
		abort();
	mac_compute(hmac->keyed, label, size, ret->bytes);
	hmac_free(hmac);
}

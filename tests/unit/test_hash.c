#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hash.h"
#include "text.h"

static const char *hex(const uint8_t bytes[16], char ret[ID_TEXT_MAX])
{
	struct id id;

	memcpy(id.bytes, bytes, sizeof(id.bytes));
	return id_format(&id, ret);
}

static void test_crc32c_known_values(void **state)
{
	uint8_t zeros[32] = { 0 };

	(void)state;
	assert_int_equal(crc32c("123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(zeros, sizeof(zeros)), 0x8a9136aa); /* RFC 3720 B.4 */
	assert_int_equal(crc32c(NULL, 0), 0);
}

static void test_one_crc_per_block(void **state)
{
	const size_t size = 2 * BLOCK_SIZE + 100;
	uint8_t *data = calloc(1, size);
	uint8_t crcs[12];

	(void)state;
	assert_non_null(data);
	assert_int_equal(block_count(size), 3);
	assert_int_equal(block_count(0), 0);
	data[0] = 1;
	data[size - 1] = 2;
	crc32c_blocks(data, size, crcs);
	assert_int_equal(get_u32(crcs), crc32c(data, BLOCK_SIZE));
	assert_int_equal(get_u32(crcs + 8), crc32c(data + 2 * (size_t)BLOCK_SIZE, 100));
	assert_true(crc32c_blocks_match(data, size, crcs));
	data[BLOCK_SIZE] ^= 0x80;
	assert_false(crc32c_blocks_match(data, size, crcs));
	assert_true(crc32c_blocks_match(data, 0, crcs));
	free(data);
}

#if defined(__x86_64__)
enum { HALF = 16, REGISTERS = 16 };

/* What the upper halves of the vector registers hold. */
__attribute__((target("avx"), noinline)) static void halves_read(uint8_t ret[REGISTERS * HALF])
{
#define READ(n) "vextractf128 $1, %%ymm" #n ", 16*" #n "(%0)\n\t"
	__asm__ volatile(READ(0) READ(1) READ(2) READ(3) READ(4) READ(5) READ(6) READ(7) READ(8)
				 READ(9) READ(10) READ(11) READ(12) READ(13) READ(14) READ(15)
			 :
			 : "r"(ret)
			 : "memory");
#undef READ
}

/* Else whoever computes one is slow from then on. */
static void test_crc32c_leaves_no_registers_in_use(void **state)
{
	static const uint8_t clear[REGISTERS * HALF];
	uint8_t halves[REGISTERS * HALF], *data = test_malloc(BLOCK_SIZE);

	(void)state;
	if (!__builtin_cpu_supports("avx")) {
		test_free(data);
		skip();
	}
	for (unsigned int i = 0; i < BLOCK_SIZE; i++)
		data[i] = (uint8_t)(i * 7);
	for (size_t size = 1; size <= BLOCK_SIZE; size *= 2) {
		crc32c(data, size);
		halves_read(halves);
		assert_memory_equal(halves, clear, sizeof(clear));
	}
	test_free(data);
}
#endif

/* As xxh128sum prints them. */
static void test_digest_known_values(void **state)
{
	struct digest digest;
	char text[ID_TEXT_MAX];

	(void)state;
	digest = digest_of("", 0);
	assert_string_equal(hex(digest.bytes, text), "99aa06d3014798d86001c324468d497f");
	digest = digest_of("hello world", 11);
	assert_string_equal(hex(digest.bytes, text), "df8d09e93f874900a99b8775cc15b6c7");
}

static void test_stream_agrees_with_the_whole(void **state)
{
	struct digest_stream *stream = digest_stream_new();
	uint8_t data[5000];
	struct digest whole;
	struct digest parts;

	(void)state;
	assert_non_null(stream);
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	whole = digest_of(data, sizeof(data));
	for (int round = 0; round < 2; round++) {
		digest_stream_reset(stream);
		digest_stream_add(stream, NULL, 0);
		for (size_t at = 0, step = 1; at < sizeof(data);
		     at += step, step = step * 2 % 997) {
			if (step > sizeof(data) - at)
				step = sizeof(data) - at;
			digest_stream_add(stream, data + at, step);
		}
		parts = digest_stream_value(stream);
		assert_true(digest_equal(&whole, &parts));
	}
	digest_stream_free(stream);
	digest_stream_free(NULL);
}

static void test_hash64_depends_on_the_seed(void **state)
{
	(void)state;
	assert_true(hash64("a", 1, 1) == hash64("a", 1, 1));
	assert_true(hash64("a", 1, 1) != hash64("a", 1, 2));
}

/* openssl dgst -sha256 -mac HMAC -macopt hexkey:0001…1f */
static void test_hmac_known_value(void **state)
{
	struct key key;
	struct key derived;
	struct hmac *hmac;
	uint8_t tag[16];
	char text[ID_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(key.bytes); i++)
		key.bytes[i] = (uint8_t)i;
	hmac = hmac_new(&key);
	assert_non_null(hmac);
	for (int i = 0; i < 3; i++) {
		hmac_sign(hmac, "hello", 5, tag);
		assert_string_equal(hex(tag, text), "53c40272a70c15ca4ee0af4df1f155fd");
		assert_true(hmac_verify(hmac, "hello", 5, tag));
		assert_false(hmac_verify(hmac, "hellp", 5, tag));
	}
	tag[15] ^= 1;
	assert_false(hmac_verify(hmac, "hello", 5, tag));
	key_derive(&key, "hello", 5, &derived);
	tag[15] ^= 1;
	assert_memory_equal(derived.bytes, tag, 16);
	hmac_sign(hmac, NULL, 0, tag);
	hmac_free(hmac);
	hmac_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc32c_known_values),
		cmocka_unit_test(test_one_crc_per_block),
#if defined(__x86_64__)
		cmocka_unit_test(test_crc32c_leaves_no_registers_in_use),
#endif
		cmocka_unit_test(test_digest_known_values),
		cmocka_unit_test(test_stream_agrees_with_the_whole),
		cmocka_unit_test(test_hash64_depends_on_the_seed),
		cmocka_unit_test(test_hmac_known_value),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

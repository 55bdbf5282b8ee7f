#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "beacon.h"
#include "error.h"

static const struct key secret = { .bytes = "the key of a cluster" };
static const struct beacon sample = {
	.kind = BEACON_NAMESERVER,
	.port = 0x1234,
	.cluster = { .bytes = "CCCCCCCCCCCCCCC" },
	.server = { .bytes = "SSSSSSSSSSSSSSS" },
	.epoch = 7,
	.start = 8,
	.counter = 0x0102030405060708,
	.interval_ms = 5000,
	.process = 0x0a0b0c0d,
	.waits = true,
	.cluster_name = "home",
};

static int setup(void **state)
{
	*state = hmac_new(&secret);
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	hmac_free(*state);
	return 0;
}

static void assert_round_trip(const struct beacon *beacon, struct hmac *key)
{
	uint8_t bytes[BEACON_SIZE];
	uint8_t again[BEACON_SIZE];
	struct beacon decoded;

	beacon_encode(beacon, key, bytes);
	assert_int_equal(beacon_decode(bytes, sizeof(bytes), key, &decoded), 0);
	beacon_encode(&decoded, key, again);
	assert_memory_equal(again, bytes, sizeof(bytes));
	assert_int_equal(decoded.kind, beacon->kind);
	assert_int_equal(decoded.port, beacon->port);
	assert_true(id_equal(&decoded.cluster, &beacon->cluster));
	assert_true(id_equal(&decoded.server, &beacon->server));
	assert_true(decoded.epoch == beacon->epoch && decoded.start == beacon->start);
	assert_true(decoded.counter == beacon->counter);
	assert_int_equal(decoded.interval_ms, beacon->interval_ms);
	assert_int_equal(decoded.process, beacon->process);
	assert_int_equal(decoded.waits, beacon->waits);
	assert_int_equal(decoded.fetches, beacon->fetches);
	assert_string_equal(decoded.cluster_name, beacon->cluster_name);
}

static void test_round_trips(void **state)
{
	struct beacon beacon = sample;

	assert_round_trip(&beacon, NULL);
	assert_round_trip(&beacon, *state);
	beacon.kind = BEACON_BEGINNER;
	beacon.start = 0;
	assert_round_trip(&beacon, *state);
	beacon.fetches = true;
	assert_round_trip(&beacon, *state);
	beacon.waits = false;
	assert_round_trip(&beacon, *state);
	beacon.fetches = false;
	beacon.kind = BEACON_STORAGE;
	assert_round_trip(&beacon, *state);
	beacon.kind = BEACON_PROBE;
	beacon.port = 0;
	beacon.server = (struct id){ .bytes = "" };
	assert_round_trip(&beacon, NULL);
	memset(beacon.cluster_name, 'n', CLUSTER_NAME_MAX);
	assert_round_trip(&beacon, *state);
}

static void test_layout(void **state)
{
	static const uint8_t head[] = { 'M',  'S',  'T', 'R', 1,  BEACON_NAMESERVER,
					128,  0,    0,   0,   0,  0,
					0x34, 0x12, 1,   0,   'C' };
	static const uint8_t counter[] = { 8,    7,    6, 5, 4,   3,   2,   1,
					   0x88, 0x13, 0, 0, 0xd, 0xc, 0xb, 0xa };
	uint8_t bytes[BEACON_SIZE];

	(void)state;
	beacon_encode(&sample, NULL, bytes);
	assert_memory_equal(bytes, head, sizeof(head));
	assert_int_equal(bytes[32], 'S');
	assert_int_equal(bytes[48], 7);
	assert_int_equal(bytes[56], 8);
	assert_memory_equal(bytes + 64, counter, sizeof(counter));
	assert_string_equal((const char *)bytes + 80, "home");
	for (size_t i = 84; i < BEACON_SIZE; i++)
		assert_int_equal(bytes[i], 0);
}

static void test_other_sizes(void **state)
{
	uint8_t bytes[BEACON_SIZE + 1] = { 0 };
	struct beacon beacon;

	beacon_encode(&sample, *state, bytes);
	for (size_t size = 0; size <= sizeof(bytes); size++) {
		uint8_t *part = malloc(size + (size == 0));

		memcpy(part, bytes, size);
		assert_int_equal(beacon_decode(part, size, *state, &beacon),
				 size == BEACON_SIZE ? 0 : -ERR_BAD_REQUEST);
		free(part);
	}
}

static void test_each_flipped_bit_is_refused(void **state)
{
	uint8_t bytes[BEACON_SIZE];
	struct beacon beacon;

	beacon_encode(&sample, *state, bytes);
	for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_true(beacon_decode(bytes, sizeof(bytes), *state, &beacon) < 0);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(beacon_decode(bytes, sizeof(bytes), *state, &beacon), 0);
}

static void test_keys(void **state)
{
	struct key other = secret;
	struct hmac *hmac;
	uint8_t bytes[BEACON_SIZE];
	struct beacon beacon;

	other.bytes[31] ^= 1;
	hmac = hmac_new(&other);
	beacon_encode(&sample, *state, bytes);
	assert_int_equal(beacon_decode(bytes, sizeof(bytes), hmac, &beacon), -ERR_DENIED);
	assert_int_equal(beacon_decode(bytes, sizeof(bytes), NULL, &beacon), -ERR_DENIED);
	beacon_encode(&sample, NULL, bytes);
	assert_int_equal(beacon_decode(bytes, sizeof(bytes), hmac, &beacon), -ERR_DENIED);
	bytes[127] = 1;
	assert_int_equal(beacon_decode(bytes, sizeof(bytes), NULL, &beacon), -ERR_DENIED);
	hmac_free(hmac);
}

/* One byte of an open beacon set to a value. */
static int decode_with(size_t at, uint8_t value)
{
	uint8_t bytes[BEACON_SIZE];
	struct beacon beacon;

	beacon_encode(&sample, NULL, bytes);
	bytes[at] = value;
	return beacon_decode(bytes, sizeof(bytes), NULL, &beacon);
}

static void test_malformed(void **state)
{
	uint8_t bytes[BEACON_SIZE];
	struct beacon beacon = sample;

	(void)state;
	assert_int_equal(decode_with(0, 'm'), -ERR_BAD_REQUEST);
	assert_int_equal(decode_with(4, 2), -ERR_BAD_REQUEST);
	assert_int_equal(decode_with(5, 0), -ERR_BAD_REQUEST);
	assert_int_equal(decode_with(5, 5), -ERR_BAD_REQUEST);
	assert_int_equal(decode_with(6, 127), -ERR_BAD_REQUEST);
	assert_int_equal(decode_with(14, 4), -ERR_BAD_REQUEST);
	assert_int_equal(decode_with(111, 'x'), -ERR_BAD_REQUEST);
	assert_int_equal(decode_with(85, 'x'), -ERR_BAD_REQUEST);
	beacon_encode(&beacon, NULL, bytes);
	memset(bytes + 80, 'x', 32);
	assert_int_equal(beacon_decode(bytes, sizeof(bytes), NULL, &beacon), -ERR_BAD_REQUEST);
	beacon.port = 0;
	beacon_encode(&beacon, NULL, bytes);
	assert_int_equal(beacon_decode(bytes, sizeof(bytes), NULL, &beacon), -ERR_BAD_REQUEST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trips),
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_other_sizes),
		cmocka_unit_test(test_each_flipped_bit_is_refused),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_malformed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

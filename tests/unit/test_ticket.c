#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "codec.h"
#include "error.h"
#include "ticket.h"

static const struct key secret = { .bytes = "a key that the name server drew" };
static const struct ticket good = {
	.operation = TICKET_READ,
	.chunk = 77,
	.length = 1000,
	.epoch = 3,
	.expiry = 900,
	.holder = { .bytes = "holder" },
	.client = { .bytes = "client" },
};
static const struct ticket_use use = {
	.holder = { .bytes = "holder" },
	.client = { .bytes = "client" },
	.epoch = 3,
	.now_s = 100,
	.operation = TICKET_READ,
	.chunk = 77,
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

static int verify_use(struct hmac *key, struct ticket_use changed)
{
	struct ticket ticket = good;

	ticket_sign(key, &ticket);
	return ticket_verify(key, &ticket, &changed);
}

static void test_a_good_ticket(void **state)
{
	struct ticket_use any_chunk = use;

	any_chunk.chunk = 0;
	assert_int_equal(verify_use(*state, use), 0);
	assert_int_equal(verify_use(*state, any_chunk), 0);
}

static void test_other_uses_are_refused(void **state)
{
	struct ticket_use changed = use;

	changed.holder.bytes[15] = 1;
	assert_int_equal(verify_use(*state, changed), -ERR_WRONG_NODE);
	changed = use;
	changed.client.bytes[15] = 1;
	assert_int_equal(verify_use(*state, changed), -ERR_DENIED);
	changed = use;
	changed.operation = TICKET_WRITE;
	assert_int_equal(verify_use(*state, changed), -ERR_DENIED);
	changed = use;
	changed.chunk++;
	assert_int_equal(verify_use(*state, changed), -ERR_DENIED);
	changed = use;
	changed.epoch++;
	assert_int_equal(verify_use(*state, changed), -ERR_EXPIRED);
}

static void test_expiry(void **state)
{
	struct ticket_use later = use;

	later.now_s = good.expiry - 1;
	assert_int_equal(verify_use(*state, later), 0);
	later.now_s = good.expiry;
	assert_int_equal(verify_use(*state, later), -ERR_EXPIRED);
	later.now_s = good.expiry + 1;
	assert_int_equal(verify_use(*state, later), -ERR_EXPIRED);
	later.now_s = UINT32_MAX;
	assert_int_equal(verify_use(*state, later), -ERR_EXPIRED);
}

static void test_another_key_signs_nothing(void **state)
{
	struct key other = secret;
	struct receipt receipt = { .chunk = 1 };
	struct ticket ticket = good;
	struct hmac *hmac;

	other.bytes[31] ^= 1;
	hmac = hmac_new(&other);
	ticket_sign(hmac, &ticket);
	assert_int_equal(ticket_verify(*state, &ticket, &use), -ERR_DENIED);
	receipt_sign(hmac, &receipt);
	assert_false(receipt_verify(*state, &receipt));
	hmac_free(hmac);
}

/* All bits of what travels, the tag's too: flipped on the wire, then decoded as a server would. */
static void test_each_flipped_bit_is_refused(void **state)
{
	const struct layout *layout = record_at(RECORD_ticket);
	struct ticket ticket = good;
	struct buffer wire = { 0 };

	ticket_sign(*state, &ticket);
	assert_int_equal(record_encode(layout, &ticket, &wire), 0);
	for (size_t bit = 0; bit < wire.size * 8; bit++) {
		struct ticket flipped;
		struct slice bytes = { wire.data, wire.size };

		wire.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (record_decode(layout, bytes, NULL, &flipped) == 0)
			assert_true(ticket_verify(*state, &flipped, &use) < 0);
		wire.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(ticket_verify(*state, &ticket, &use), 0);
	buffer_done(&wire);
}

static void test_each_flipped_bit_of_a_receipt_is_refused(void **state)
{
	const struct layout *layout = record_at(RECORD_receipt);
	struct receipt receipt = { .chunk = 5, .length = 9, .epoch = 2 };
	struct buffer wire = { 0 };

	receipt_sign(*state, &receipt);
	assert_true(receipt_verify(*state, &receipt));
	assert_int_equal(record_encode(layout, &receipt, &wire), 0);
	for (size_t bit = 0; bit < wire.size * 8; bit++) {
		struct receipt flipped;
		struct slice bytes = { wire.data, wire.size };

		wire.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (record_decode(layout, bytes, NULL, &flipped) == 0)
			assert_false(receipt_verify(*state, &flipped));
		wire.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	buffer_done(&wire);
}

/* Numbers that cannot travel are not honoured either. */
static void test_absurd_numbers_are_refused(void **state)
{
	struct ticket ticket = good;
	struct receipt receipt = { .length = CHUNK_SIZE_MAX };

	ticket_sign(*state, &ticket);
	ticket.length = UINT64_MAX;
	assert_int_equal(ticket_verify(*state, &ticket, &use), -ERR_DENIED);
	receipt_sign(*state, &receipt);
	assert_true(receipt_verify(*state, &receipt));
	receipt.length++;
	assert_false(receipt_verify(*state, &receipt));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_good_ticket),
		cmocka_unit_test(test_other_uses_are_refused),
		cmocka_unit_test(test_expiry),
		cmocka_unit_test(test_another_key_signs_nothing),
		cmocka_unit_test(test_each_flipped_bit_is_refused),
		cmocka_unit_test(test_each_flipped_bit_of_a_receipt_is_refused),
		cmocka_unit_test(test_absurd_numbers_are_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

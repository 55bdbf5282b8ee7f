/* The ring of events: bounded by number and by bytes, in order whatever falls out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "error.h"
#include "event_ring.h"
#include "random.h"

static int add(struct event_ring *ring, uint64_t number, const char *node, const char *text)
{
	const struct ring_event event = { .number = number,
					  .time_ms = number * 10,
					  .level = LOG_WARN,
					  .name = "tested",
					  .node = slice_of(node),
					  .text = slice_of(text) };

	return event_ring_add(ring, &event);
}

static void test_nothing(void **state)
{
	struct event_ring ring;

	(void)state;
	event_ring_init(&ring, 4, 100);
	assert_int_equal(event_ring_after(&ring, 0), 0);
	assert_int_equal(ring.count, 0);
	assert_null(ring.bytes);
	event_ring_done(&ring);
}

static void test_number_is_bounded(void **state)
{
	struct event_ring ring;
	struct ring_event event;

	(void)state;
	event_ring_init(&ring, 3, 1000);
	for (uint64_t number = 1; number <= 5; number++)
		assert_int_equal(add(&ring, number * 2, number % 2 ? "n1" : "", "a=1"), 0);
	assert_int_equal(ring.count, 3);
	assert_int_equal(ring.dropped, 4);
	event = event_ring_at(&ring, 0);
	assert_int_equal(event.number, 6);
	assert_int_equal(event.time_ms, 60);
	assert_int_equal(event.level, LOG_WARN);
	assert_string_equal(event.name, "tested");
	assert_true(slice_equal(event.node, slice_of("n1")));
	assert_true(slice_equal(event.text, slice_of("a=1")));
	assert_int_equal(event_ring_at(&ring, 1).node.size, 0);
	assert_int_equal(event_ring_after(&ring, 0), 0);
	assert_int_equal(event_ring_after(&ring, 6), 1);
	assert_int_equal(event_ring_after(&ring, 7), 1);
	assert_int_equal(event_ring_after(&ring, 10), 3);
	event_ring_done(&ring);
}

static void test_too_large(void **state)
{
	struct event_ring ring;

	(void)state;
	event_ring_init(&ring, 4, 8);
	assert_int_equal(add(&ring, 1, "", "12345678"), 0);
	assert_int_equal(add(&ring, 2, "1", "12345678"), -ERR_TOO_LARGE);
	assert_int_equal(add(&ring, 3, "", ""), 0);
	assert_int_equal(add(&ring, 4, "", "abcd"), 0);
	assert_true(slice_equal(event_ring_at(&ring, ring.count - 1).text, slice_of("abcd")));
	event_ring_done(&ring);
}

enum { ROUNDS = 20000, BYTES = 997, EVENTS = 61, TEXT_MAX = 120 };

/* What event `number` says: of a length that its number decides. */
static const char *text_of(uint64_t number, char ret[TEXT_MAX + 1])
{
	struct prng prng = { .state = number };
	size_t size = prng_next(&prng) % TEXT_MAX;

	if (number % 7 == 0)
		size = 0;
	for (size_t i = 0; i < size; i++)
		ret[i] = (char)('a' + (number + i) % 26);
	ret[size] = '\0';
	return ret;
}

/* Whatever is kept is whole, the numbers have no gap, and no more falls out than must. */
static void test_random_sizes(void **state)
{
	struct event_ring ring;
	char text[TEXT_MAX + 1];

	(void)state;
	event_ring_init(&ring, EVENTS, BYTES);
	for (uint64_t number = 1; number <= ROUNDS; number++) {
		size_t bytes = 0;

		assert_int_equal(add(&ring, number, "", text_of(number, text)), 0);
		assert_int_equal(ring.dropped + ring.count, number);
		for (size_t i = 0; i < ring.count; i++) {
			struct ring_event event = event_ring_at(&ring, i);

			assert_int_equal(event.number, ring.dropped + 1 + i);
			assert_true(slice_equal(event.text, slice_of(text_of(event.number, text))));
			bytes += event.text.size;
		}
		assert_true(bytes <= BYTES && ring.count <= EVENTS);
		if (ring.dropped)
			assert_true(ring.count == EVENTS || bytes >= BYTES - 3 * TEXT_MAX);
	}
	event_ring_done(&ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_number_is_bounded),
		cmocka_unit_test(test_too_large),
		cmocka_unit_test(test_random_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

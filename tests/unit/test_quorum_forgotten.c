/* Servers of the journal set of which the operator says that they never return. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "error.h"
#include "quorum_rig.h"

/* The operator says that it never returns: then the own disk decides. */
static void test_the_only_one_is_forgotten(void **state)
{
	(void)state;
	start(1);
	driver_close(servers[1]);
	driver_beat(&d, PATIENCE_MS);
	assert_read_only();
	assert_int_equal(forget(9), -ERR_NO_QUORUM);
	assert_int_equal(forget(1), 0);
	assert_int_equal(set_row().now.count, 0);
	assert_serves();
	driver_stop(&d);
}

/* What was under way with them is not waited for any more either. */
static void test_most_are_forgotten(void **state)
{
	(void)state;
	start(3);
	driver_close(servers[1]);
	driver_close(servers[2]);
	driver_beat(&d, PATIENCE_MS);
	assert_read_only();
	assert_int_equal(forget(1), 0);
	assert_int_equal(set_row().now.count, 2);
	assert_false(set_row().changing);
	assert_serves();
	driver_stop(&d);
}

/* One of three is forgotten. As long as one of the others does not know, the forgotten one and that
 * one, of an older catalogue, would make two of three: so nothing counts by the new set alone. */
static void test_the_forgotten_leaves_by_agreement(void **state)
{
	uint32_t id;

	(void)state;
	start(3);
	driver_close(servers[1]);
	driver_beat(&d, PATIENCE_MS);
	silence(servers[2]);
	client->operation++;
	id = POST(client, forget, .operation = client->operation, .outstanding = client->operation,
		  .node = id_of(1));
	assert_int_equal(set_row().now.count, 2);
	assert_true(set_row().changing);
	assert_int_equal(set_row().before.count, 3);
	assert_int_equal(driver_answer(client, id, NULL, 0), -ERR_TIMEOUT);
	acknowledge(servers[2]);
	assert_int_equal(driver_answer(client, id, NULL, 0), 0);
	driver_beat(&d, SOON_MS);
	assert_false(set_row().changing);
	assert_int_equal(set_row().now.count, 2);
	assert_serves();
	driver_stop(&d);
}

/* The last that it takes besides goes as well: then the old set is not asked any more. */
static void test_the_forgotten_leaves_without_it(void **state)
{
	(void)state;
	start(3);
	driver_close(servers[1]);
	driver_beat(&d, PATIENCE_MS);
	silence(servers[2]);
	client->operation++;
	POST(client, forget, .operation = client->operation, .outstanding = client->operation,
	     .node = id_of(1));
	assert_true(set_row().changing);
	driver_close(servers[2]);
	driver_beat(&d, SOON_MS);
	assert_true(set_row().changing);
	assert_read_only();
	driver_beat(&d, PATIENCE_MS);
	assert_false(set_row().changing);
	assert_int_equal(set_row().now.count, 2);
	assert_serves();
	driver_stop(&d);
}

/* Nobody is forgotten: then a change waits for the old set for as long as it takes. */
static void test_a_change_waits_for_the_old_set(void **state)
{
	(void)state;
	start(1);
	silence(servers[1]);
	server_comes(2);
	driver_heartbeat(servers[2]);
	assert_true(set_row().changing);
	driver_close(servers[1]);
	driver_beat(&d, 2 * PATIENCE_MS);
	assert_true(set_row().changing);
	assert_read_only();
	server_comes(1);
	driver_beat(&d, SOON_MS);
	assert_false(set_row().changing);
	assert_serves();
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_only_one_is_forgotten),
		cmocka_unit_test(test_most_are_forgotten),
		cmocka_unit_test(test_the_forgotten_leaves_by_agreement),
		cmocka_unit_test(test_the_forgotten_leaves_without_it),
		cmocka_unit_test(test_a_change_waits_for_the_old_set),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

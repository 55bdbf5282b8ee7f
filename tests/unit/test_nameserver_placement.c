/* Which servers get the copies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "ns_driver.h"
#include "ns_state.h"

static struct ns_driver d;
static struct ns_peer *client;

static struct ns_peer *server(unsigned int number, unsigned int machine, const char *zone)
{
	return driver_storage_with(
		&d, &(struct ns_storage){ .number = number, .machine = machine, .zone = zone });
}

/* Leases one place of `copies`; the numbers of its servers. */
static unsigned int place(unsigned int copies, unsigned int ret[COPIES_MAX])
{
	struct put_begin_reply begun;
	int rc = ASK(client, put_begin, &begun, .size = 1000, .copies = copies, .places = 1,
		     .path = slice_of("/a"));

	assert_int_equal(rc, 0);
	for (unsigned int i = 0; i < begun.places[0].holders_count; i++)
		ret[i] = begun.places[0].holders[i].ticket.holder.bytes[0];
	POST(client, put_abort, .put = begun.put);
	return begun.places[0].holders_count;
}

static void test_equal_servers_fill_evenly(void **state)
{
	unsigned int copies[6] = { 0 }, heads[6] = { 0 }, chosen[COPIES_MAX];

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	for (unsigned int i = 1; i <= 5; i++)
		server(i, 1, ""); /* all on one machine: that is no obstacle */
	for (int i = 0; i < 30; i++) {
		assert_int_equal(place(3, chosen), 3);
		for (int j = 0; j < 3; j++)
			copies[chosen[j]]++;
		heads[chosen[0]]++;
	}
	for (unsigned int i = 1; i <= 5; i++) {
		assert_in_range(copies[i], 16, 20);
		assert_in_range(heads[i], 4, 8);
	}
	driver_stop(&d);
}

/* Two servers on each of three machines, three copies: one on each machine. */
static void test_machines_come_before_servers(void **state)
{
	unsigned int copies[7] = { 0 }, chosen[COPIES_MAX];

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	for (unsigned int i = 1; i <= 6; i++)
		server(i, (i + 1) / 2, "");
	for (int i = 0; i < 60; i++) {
		bool machine[4] = { false };

		assert_int_equal(place(3, chosen), 3);
		for (int j = 0; j < 3; j++) {
			assert_false(machine[(chosen[j] + 1) / 2]);
			machine[(chosen[j] + 1) / 2] = true;
			copies[chosen[j]]++;
		}
	}
	for (unsigned int i = 1; i <= 6; i++)
		assert_in_range(copies[i], 28, 32);
	/* Four copies: the machines repeat, the servers do not. */
	assert_int_equal(place(4, chosen), 4);
	assert_int_equal(place(9, chosen), 6);
	driver_stop(&d);
}

static void test_zones_come_before_machines(void **state)
{
	unsigned int chosen[COPIES_MAX];

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	for (unsigned int i = 1; i <= 4; i++)
		server(i, 0, "cellar");
	server(5, 0, "attic");
	server(6, 5, "attic");
	for (int i = 0; i < 20; i++) {
		unsigned int attic = 0;

		assert_int_equal(place(2, chosen), 2);
		attic = chosen[0] > 4 ? 1 : 0;
		attic += chosen[1] > 4;
		assert_int_equal(attic, 1);
	}
	driver_stop(&d);
}

static void test_room_weighs(void **state)
{
	unsigned int copies[4] = { 0 }, chosen[COPIES_MAX];

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	server(1, 0, "");
	server(2, 0, "");
	driver_storage_with(&d, &(struct ns_storage){ .number = 3, .capacity = (uint64_t)4 << 40 });
	for (int i = 0; i < 60; i++) {
		place(1, chosen);
		copies[chosen[0]]++;
	}
	assert_in_range(copies[3], 36, 44);
	assert_in_range(copies[1], 8, 12);
	driver_stop(&d);
}

static void test_only_servers_that_can_take_it(void **state)
{
	unsigned int chosen[COPIES_MAX];
	struct ns_peer *failed, *gone;
	struct heartbeat_reply beat;

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	server(1, 0, "");
	failed = server(2, 0, "");
	gone = server(3, 0, "");
	driver_storage_with(&d, &(struct ns_storage){ .number = 4, .capacity = 999 });
	assert_int_equal(place(4, chosen), 3);
	assert_int_equal(ASK(failed, heartbeat, &beat, .free = (uint64_t)1 << 40,
			     .flags = HEARTBEAT_DISK_FAILED),
			 0);
	assert_int_equal(place(4, chosen), 2);
	driver_close(gone);
	assert_int_equal(place(4, chosen), 1);
	assert_int_equal(chosen[0], 1);
	driver_stop(&d);
}

static void test_a_newcomer_is_not_flooded(void **state)
{
	unsigned int chosen[COPIES_MAX], newcomer = 0;

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	server(1, 0, "");
	server(2, 0, "");
	for (int i = 0; i < 500; i++)
		place(1, chosen);
	server(3, 0, "");
	for (int i = 0; i < 30; i++) {
		place(1, chosen);
		newcomer += chosen[0] == 3;
	}
	assert_in_range(newcomer, 9, 12);
	driver_stop(&d);
}

static void test_a_busy_server_is_passed_over(void **state)
{
	unsigned int chosen[COPIES_MAX], busy = 0;
	struct heartbeat_reply beat;
	struct ns_peer *first;

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	first = server(1, 0, "");
	server(2, 0, "");
	ASK(first, heartbeat, &beat, .free = (uint64_t)1 << 40, .load = 8);
	for (int i = 0; i < 20; i++) {
		place(1, chosen);
		busy += chosen[0] == 1;
	}
	assert_int_equal(busy, 0);
	driver_stop(&d);
}

static uint64_t put_many(unsigned int files, uint32_t length)
{
	struct put_commit_reply committed;
	char path[16];

	for (unsigned int i = 0; i < files; i++) {
		snprintf(path, sizeof(path), "/%u", i);
		assert_int_equal(driver_put(client, path, length, &committed), 0);
	}
	return (uint64_t)files * length;
}

static unsigned int percent_used(unsigned int number, uint64_t capacity)
{
	const struct id id = id_of(number);
	const struct member *member = member_find(d.ns, &id);

	return (unsigned int)((capacity - member->free) * 100 / capacity);
}

static void test_odd_sizes_fill_evenly(void **state)
{
	const uint64_t mib = 1024 * 1024, sizes[] = { 100 * mib, 200 * mib, 1000 * mib };

	(void)state;
	driver_start(&d, &(struct nameserver_config){ .copies = 1 });
	client = driver_client(&d, 1);
	for (unsigned int i = 0; i < 3; i++)
		driver_storage_with(&d,
				    &(struct ns_storage){ .number = i + 1, .capacity = sizes[i] });
	put_many(650, (uint32_t)mib); /* half of it all */
	for (unsigned int i = 0; i < 3; i++)
		assert_in_range(percent_used(i + 1, sizes[i]), 45, 55);
	driver_stop(&d);
}

/* The last of its room a server keeps while others have some. */
static void test_nearly_full_servers_are_placed_around(void **state)
{
	const uint64_t mib = 1024 * 1024;
	unsigned int chosen[COPIES_MAX];

	(void)state;
	driver_start(&d, &(struct nameserver_config){ .copies = 1 });
	client = driver_client(&d, 1);
	driver_storage_with(&d, &(struct ns_storage){ .number = 1, .capacity = 100 * mib });
	put_many(96, (uint32_t)mib);
	assert_int_equal(place(1, chosen), 1); /* nobody else */
	driver_storage_with(&d, &(struct ns_storage){ .number = 2, .capacity = 50 * mib });
	driver_storage_with(&d, &(struct ns_storage){ .number = 3, .capacity = 50 * mib });
	for (int i = 0; i < 40; i++) {
		assert_int_equal(place(2, chosen), 2);
		assert_int_not_equal(chosen[0], 1);
		assert_int_not_equal(chosen[1], 1);
	}
	assert_int_equal(place(3, chosen), 3); /* the third copy finds no better place */
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal_servers_fill_evenly),
		cmocka_unit_test(test_machines_come_before_servers),
		cmocka_unit_test(test_zones_come_before_machines),
		cmocka_unit_test(test_room_weighs),
		cmocka_unit_test(test_only_servers_that_can_take_it),
		cmocka_unit_test(test_a_newcomer_is_not_flooded),
		cmocka_unit_test(test_a_busy_server_is_passed_over),
		cmocka_unit_test(test_odd_sizes_fill_evenly),
		cmocka_unit_test(test_nearly_full_servers_are_placed_around),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

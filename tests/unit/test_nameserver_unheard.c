/* After a start from copies of the catalogue, which say nothing of places: what lacks copies may
 * have them on servers that have not told yet what they hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "catalogue.h"
#include "ns_driver.h"

enum { LENGTH = 100, DELAY_MS = 30000, SERVERS = 4, COPIES = 3 };

static struct ns_driver d;
static struct ns_peer *client, *storages[SERVERS + 1];
static struct chunk_ref chunk = { .length = LENGTH };
static unsigned int holders[COPIES]; /* servers, by number; the last one is `other` */
static unsigned int other;

static struct open_reply opened(void)
{
	struct open_reply reply;

	assert_int_equal(ASK(client, open, &reply, .path = slice_of("/a")), 0);
	POST(client, close, .inode = reply.entry.inode);
	return reply;
}

static void holders_look(void)
{
	struct open_reply reply = opened();

	other = SERVERS * (SERVERS + 1) / 2;
	chunk.chunk = reply.chunks[0].chunk;
	assert_int_equal(reply.chunks[0].holders_count, COPIES);
	for (unsigned int i = 0; i < COPIES; i++) {
		const struct id *holder = &reply.chunks[0].holders[i].ticket.holder;

		for (unsigned int server = 1; server <= SERVERS; server++) {
			if (id_equal(holder, &storages[server]->id))
				holders[i] = server;
		}
		other -= holders[i];
	}
}

/* A file in three copies; then another core with the catalogue as copies have it. */
static void start(void)
{
	struct put_commit_reply committed;

	driver_start(&d, NULL);
	for (unsigned int i = 1; i <= SERVERS; i++)
		storages[i] = driver_storage(&d, i);
	client = driver_client(&d, 1);
	driver_beat(&d, 4000);
	assert_int_equal(driver_put(client, "/a", LENGTH, &committed), 0);
	holders_look();
	driver_restart(&d);
	memset(storages, 0, sizeof(storages));
	for (uint16_t number = 1; number <= SERVERS; number++)
		holders_remove(d.kv, chunk.chunk, number);
	client = driver_client(&d, 2);
}

static void back(unsigned int server, bool holds, bool mute)
{
	storages[server] = driver_storage_with(&d, &(struct ns_storage){ .number = server,
									 .start = 2,
									 .chunks = &chunk,
									 .chunk_count = holds,
									 .no_inventory = mute });
}

static unsigned int copied(void)
{
	unsigned int count = 0;

	for (unsigned int i = 1; i <= SERVERS; i++)
		count += storages[i] ? driver_orders(storages[i], MSG_fetch) : 0;
	return count;
}

static void test_who_is_on_his_way_is_awaited(void **state)
{
	(void)state;
	start();
	back(other, false, false);
	back(holders[0], true, false);
	back(holders[1], true, false);
	driver_beat(&d, 10000);
	assert_int_equal(opened().chunks[0].holders_count, 2);
	assert_int_equal(copied(), 0);
	back(holders[2], true, false);
	driver_beat(&d, 2 * DELAY_MS);
	assert_int_equal(opened().chunks[0].holders_count, 3);
	assert_int_equal(copied(), 0);
	driver_stop(&d);
}

static void test_nor_is_the_last_copy_urgent(void **state)
{
	(void)state;
	start();
	back(other, false, false);
	back(holders[0], true, false);
	driver_beat(&d, 10000);
	assert_int_equal(copied(), 0);
	driver_stop(&d);
}

/* It registers, but does not come to tell what it holds. */
static void test_a_list_on_its_way_is_awaited(void **state)
{
	(void)state;
	start();
	back(other, false, false);
	back(holders[0], true, false);
	back(holders[1], true, false);
	back(holders[2], true, true);
	driver_beat(&d, 10000);
	assert_int_equal(copied(), 0);
	driver_stop(&d);
}

static void test_not_for_ever(void **state)
{
	(void)state;
	start();
	back(other, false, false);
	back(holders[0], true, false);
	back(holders[1], true, false);
	driver_beat(&d, DELAY_MS + 5000);
	assert_int_equal(copied(), 1);
	driver_stop(&d);
}

static void test_when_all_have_told_it_is_missed_at_once(void **state)
{
	(void)state;
	start();
	back(other, false, false);
	back(holders[0], true, false);
	back(holders[1], true, false);
	back(holders[2], false, false);
	driver_beat(&d, 5000);
	assert_int_equal(opened().chunks[0].holders_count, 3);
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_is_on_his_way_is_awaited),
		cmocka_unit_test(test_nor_is_the_last_copy_urgent),
		cmocka_unit_test(test_a_list_on_its_way_is_awaited),
		cmocka_unit_test(test_not_for_ever),
		cmocka_unit_test(test_when_all_have_told_it_is_missed_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

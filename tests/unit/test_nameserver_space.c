/* When the name server itself cannot go on as usual: its disk is full, it does not read, its
 * catalogue cannot be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "catalogue.h"
#include "kv_memory.h"
#include "ns_driver.h"

static struct ns_driver d;
static struct ns_peer *client, *storages[4];

static void start(void)
{
	driver_start(&d, NULL);
	for (unsigned int i = 1; i <= 3; i++)
		storages[i] = driver_storage(&d, i);
	client = driver_client(&d, 1);
	driver_clock(&d, 2000);
}

static int create(const char *path)
{
	struct create_reply reply;

	client->operation++;
	return ASK(client, create, &reply, .operation = client->operation,
		   .outstanding = client->operation, .path = slice_of(path));
}

static int remove_path(const char *path)
{
	struct remove_reply reply;

	client->operation++;
	return ASK(client, remove, &reply, .operation = client->operation,
		   .outstanding = client->operation, .path = slice_of(path));
}

static unsigned int writable(void)
{
	struct status_reply status;

	assert_int_equal(ASK(client, status, &status, .nothing = 0), 0);
	return status.writable;
}

static void test_full_disk_refuses_changes_and_answers_questions(void **state)
{
	struct put_commit_reply committed;
	struct put_chunks_reply places;
	struct put_begin_reply begun;
	struct open_reply opened;
	struct list_reply listed;

	(void)state;
	start();
	assert_int_equal(driver_put(client, "/a", 10, &committed), 0);
	assert_int_equal(
		ASK(client, put_begin, &begun, .size = 10, .places = 1, .path = slice_of("/b")), 0);
	driver_say(&d, NS_SPACE, false);
	assert_int_equal(writable(), 0);
	assert_int_equal(create("/c"), -ERR_CATALOGUE_FULL);
	assert_int_equal(remove_path("/a"), -ERR_CATALOGUE_FULL);
	assert_int_equal(driver_put(client, "/d", 10, &committed), -ERR_CATALOGUE_FULL);
	assert_int_equal(ASK(client, put_chunks, &places, .put = begun.put, .places = 1),
			 -ERR_CATALOGUE_FULL);
	assert_int_equal(ASK(client, put_chunks, &places, .places = 1), -ERR_CATALOGUE_FULL);
	assert_int_equal(ASK(client, open, &opened, .path = slice_of("/a")), 0);
	assert_int_equal(opened.chunks[0].holders_count, 3);
	assert_int_equal(ASK(client, list, &listed, .path = slice_of("/")), 0);
	assert_int_equal(listed.entries_count, 1);
	driver_say(&d, NS_SPACE, true);
	assert_int_equal(writable(), 1);
	assert_int_equal(create("/c"), 0);
	assert_true(driver_logged(&d, "disk_full") && driver_logged(&d, "disk_has_room"));
	driver_stop(&d);
}

static void test_full_disk_repeats_what_it_had_answered(void **state)
{
	struct create_reply reply;

	(void)state;
	start();
	assert_int_equal(create("/a"), 0);
	driver_say(&d, NS_SPACE, false);
	assert_int_equal(ASK(client, create, &reply, .operation = client->operation,
			     .outstanding = client->operation, .path = slice_of("/a")),
			 0);
	driver_stop(&d);
}

/* Nothing that can wait is written: not what the collector does, nor what has grown old. */
static void test_full_disk_writes_nothing_by_itself(void **state)
{
	struct put_commit_reply committed;
	uint64_t sealed;

	(void)state;
	start();
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(driver_put(client, "/a", 10 + i, &committed), 0);
	assert_int_equal(remove_path("/a"), 0);
	driver_say(&d, NS_SPACE, false);
	sealed = d.sealed;
	driver_beat(&d, 30 * 60 * 1000);
	assert_int_equal(d.sealed, sealed);
	assert_int_equal(driver_orders(storages[1], MSG_delete), 0);
	driver_say(&d, NS_SPACE, true);
	driver_beat(&d, 60 * 1000);
	assert_true(d.sealed > sealed);
	assert_true(driver_orders(storages[1], MSG_delete) > 0);
	driver_stop(&d);
}

/* A server that comes back without its chunks is believed once there is room to note it. */
static void test_full_disk_keeps_inventories_for_later(void **state)
{
	struct put_commit_reply committed;
	struct stat_reply stat;
	uint64_t sealed;

	(void)state;
	start();
	assert_int_equal(driver_put(client, "/a", 10, &committed), 0);
	driver_say(&d, NS_SPACE, false);
	driver_close(storages[1]);
	sealed = d.sealed;
	storages[1] = driver_storage_with(&d, &(struct ns_storage){ .number = 1 });
	storages[1]->idle = true;
	driver_beat(&d, 10000);
	assert_int_equal(d.sealed, sealed);
	driver_say(&d, NS_SPACE, true);
	driver_beat(&d, 10000);
	assert_int_equal(driver_orders(storages[1], MSG_fetch), 1);
	assert_int_equal(ASK(client, stat, &stat, .path = slice_of("/a")), 0);
	assert_int_equal(stat.entry.copies, 2);
	driver_stop(&d);
}

static uint8_t state_of(unsigned int number)
{
	struct nodes_reply nodes;

	assert_int_equal(ASK(client, nodes, &nodes, .after = { { 0 } }), 0);
	for (unsigned int i = 0; i < nodes.nodes_count; i++) {
		if (id_equal(&nodes.nodes[i].node, &storages[number]->id))
			return nodes.nodes[i].state;
	}
	fail();
	return 0;
}

static void test_silence_while_nobody_is_read_is_excused(void **state)
{
	struct ns_peer *stranger;

	(void)state;
	start();
	driver_beat(&d, 10000);
	driver_clock(&d, 1000);
	stranger = driver_connect(&d, "10.3.0.1", "10.0.0.1");
	driver_say(&d, NS_READING, false);
	driver_clock(&d, 10 * 60 * 1000);
	assert_int_equal(state_of(1), NODE_ONLINE);
	driver_say(&d, NS_READING, true);
	assert_int_equal(state_of(1), NODE_ONLINE);
	assert_false(stranger->closed || storages[1]->closed);
	/* What had passed before counts on. */
	driver_clock(&d, 4900);
	assert_int_equal(state_of(1), NODE_ONLINE);
	driver_clock(&d, 200);
	assert_true(stranger->closed);
	driver_clock(&d, 1000);
	assert_int_equal(state_of(1), NODE_SUSPECT);
	driver_clock(&d, 9000);
	assert_int_equal(state_of(1), NODE_OFFLINE);
	driver_stop(&d);
}

static void test_who_was_heard_meanwhile_is_not_of_the_future(void **state)
{
	(void)state;
	start();
	driver_say(&d, NS_READING, false);
	driver_clock(&d, 20000);
	driver_connect(&d, "10.3.0.1", "10.0.0.1");
	driver_beat(&d, 2000);
	driver_clock(&d, 1000);
	driver_say(&d, NS_READING, true);
	driver_clock(&d, 5000);
	assert_int_equal(state_of(1), NODE_ONLINE);
	driver_clock(&d, 1500);
	assert_int_equal(state_of(1), NODE_SUSPECT);
	driver_stop(&d);
}

/* ---- a catalogue that cannot be read */

struct sick_kv {
	struct kv kv;
	struct kv *sound;
	const char *sick; /* this setting cannot be read */
};

static int sick_get(struct kv *kv, struct slice key, struct slice *ret)
{
	struct sick_kv *sick = (struct sick_kv *)kv;

	if (key.data[0] == 's' &&
	    slice_equal((struct slice){ key.data + 1, key.size - 1 }, slice_of(sick->sick)))
		return -ERR_IO;
	return kv_get(sick->sound, key, ret);
}

static int sick_seek(struct kv *kv, struct slice key, struct slice *ret_key,
		     struct slice *ret_value)
{
	return kv_seek(((struct sick_kv *)kv)->sound, key, ret_key, ret_value);
}

static int sick_put(struct kv *kv, struct slice key, struct slice value)
{
	return kv_put(((struct sick_kv *)kv)->sound, key, value);
}

static int sick_remove(struct kv *kv, struct slice key)
{
	return kv_remove(((struct sick_kv *)kv)->sound, key);
}

static void test_counts_that_cannot_be_read_do_not_begin_again(void **state)
{
	static const struct kv_ops ops = { sick_get, sick_seek, sick_put, sick_remove };
	static const char *const names[] = { "epoch", "start", "uptime" };
	struct nameserver *ns;

	(void)state;
	start();
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct sick_kv sick = { .kv.ops = &ops, .sound = d.kv, .sick = names[i] };

		assert_int_equal(nameserver_new(&d.config, &sick.kv, d.now_ms, &ns), -ERR_IO);
		buffer_done(&sick.kv.batch);
		assert_int_equal(setting_put(d.kv, names[i], slice_of("three")), 0);
		assert_int_equal(nameserver_new(&d.config, d.kv, d.now_ms, &ns), -ERR_BAD_FORMAT);
		assert_int_equal(setting_put_u64(d.kv, names[i], 7), 0);
	}
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full_disk_refuses_changes_and_answers_questions),
		cmocka_unit_test(test_full_disk_repeats_what_it_had_answered),
		cmocka_unit_test(test_full_disk_writes_nothing_by_itself),
		cmocka_unit_test(test_full_disk_keeps_inventories_for_later),
		cmocka_unit_test(test_silence_while_nobody_is_read_is_excused),
		cmocka_unit_test(test_who_was_heard_meanwhile_is_not_of_the_future),
		cmocka_unit_test(test_counts_that_cannot_be_read_do_not_begin_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

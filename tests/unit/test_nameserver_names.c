/* Changes to names, and that each acts once however often it is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "kv_memory.h"
#include "ns_driver.h"

static struct ns_driver d;
static struct ns_peer *client;

static int setup(void **state)
{
	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	return 0;
}

#define DO(name, reply, ...)                                                           \
	(client->operation++, ASK(client, name, reply, .operation = client->operation, \
				  .outstanding = client->operation, __VA_ARGS__))

static void test_mkdir(void **state)
{
	struct mkdir_reply made, again;

	setup(state);
	assert_int_equal(DO(mkdir, &made, .path = slice_of("/a")), 0);
	assert_int_equal(made.inode >> 40, 1);
	assert_int_equal(DO(mkdir, &again, .path = slice_of("/a")), -ERR_EXISTS);
	assert_int_equal(DO(mkdir, &again, .flags = MKDIR_PARENTS, .path = slice_of("/a")), 0);
	assert_int_equal(again.inode, made.inode);
	assert_int_equal(DO(mkdir, &made, .path = slice_of("/x/y")), -ERR_NOT_FOUND);
	assert_int_equal(DO(mkdir, &made, .flags = MKDIR_PARENTS, .path = slice_of("/x/y/z")), 0);
	assert_int_equal(DO(mkdir, &made, .path = slice_of("x")), -ERR_BAD_NAME);
	assert_int_equal(DO(mkdir, &made, .path = slice_of("/a/../b")), -ERR_BAD_NAME);
	driver_stop(&d);
}

static void test_create_stat_list_remove(void **state)
{
	struct create_reply created;
	struct remove_reply removed;
	struct stat_reply stat;
	struct list_reply list;
	struct mkdir_reply made;
	char name[16];

	setup(state);
	DO(mkdir, &made, .path = slice_of("/d"));
	for (int i = 0; i < 25; i++) {
		snprintf(name, sizeof(name), "/d/f%02d", i);
		assert_int_equal(DO(create, &created, .path = slice_of(name)), 0);
	}
	assert_int_equal(DO(create, &created, .path = slice_of("/d/f03")), -ERR_EXISTS);
	assert_int_equal(DO(create, &created, .path = slice_of("/d")), -ERR_IS_DIR);
	assert_int_equal(DO(create, &created, .path = slice_of("/d/f03/x")), -ERR_NOT_DIR);
	assert_int_equal(ASK(client, stat, &stat, .path = slice_of("/d/f24")), 0);
	assert_int_equal(stat.entry.type, ENTRY_FILE);
	assert_int_equal(stat.entry.copies_wanted, 3);
	assert_int_equal(stat.entry.copies, 3);
	assert_int_equal(stat.entry.created_ms, d.wall_ms);
	assert_int_equal(ASK(client, stat, &stat, .flags = 2, .path = slice_of("/")),
			 -ERR_BAD_REQUEST);
	assert_int_equal(ASK(client, list, &list, .count = 10, .path = slice_of("/d")), 0);
	assert_int_equal(list.entries_count, 10);
	assert_int_equal(list.more, 1);
	assert_int_equal(ASK(client, list, &list, .count = 20, .path = slice_of("/d"),
			     .after = list.entries[9].name),
			 0);
	assert_int_equal(list.entries_count, 15);
	assert_int_equal(list.more, 0);
	assert_true(slice_equal(list.entries[14].name, slice_of("f24")));
	assert_int_equal(ASK(client, list, &list, .path = slice_of("/d/f07")), 0);
	assert_int_equal(list.entries_count, 1);
	assert_int_equal(ASK(client, list, &list, .path = slice_of("/no")), -ERR_NOT_FOUND);
	assert_int_equal(DO(remove, &removed, .path = slice_of("/d")), -ERR_NOT_EMPTY);
	assert_int_equal(DO(remove, &removed, .flags = REMOVE_DIRECTORY,
			    .path = slice_of("/d/f00")),
			 -ERR_NOT_DIR);
	assert_int_equal(DO(remove, &removed, .path = slice_of("/d/f00")), 0);
	assert_int_equal(DO(remove, &removed, .flags = REMOVE_TREE, .path = slice_of("/d")), 0);
	assert_int_equal(removed.removed, 25);
	assert_int_equal(DO(remove, &removed, .path = slice_of("/d")), -ERR_NOT_FOUND);
	assert_int_equal(DO(remove, &removed, .flags = REMOVE_TREE, .path = slice_of("/")),
			 -ERR_BAD_NAME);
	driver_clock(&d, 5000);
	driver_stop(&d);
}

/* Where nobody has set another number the option counts, whenever it changes. */
static void test_copies_of_the_option(void **state)
{
	const struct nameserver_config config = { .copies = 2 };
	struct put_commit_reply committed;
	struct stat_reply stat;
	struct mkdir_reply made;
	struct ns_peer *peer;

	(void)state;
	driver_start(&d, &config);
	for (unsigned int i = 1; i <= 4; i++)
		driver_storage(&d, i);
	peer = driver_client(&d, 1);
	assert_int_equal(ASK(peer, mkdir, &made, .operation = 1, .outstanding = 1,
			     .path = slice_of("/d")),
			 0);
	peer->operation = 1;
	assert_int_equal(driver_put(peer, "/d/f", 9, &committed), 0);
	assert_int_equal(committed.copies_wanted, 2);
	assert_int_equal(committed.copies, 2);
	d.config.copies = 4;
	driver_restart(&d);
	peer = driver_client(&d, 1);
	assert_int_equal(ASK(peer, stat, &stat, .path = slice_of("/d")), 0);
	assert_int_equal(stat.entry.copies_wanted, 4);
	assert_int_equal(ASK(peer, stat, &stat, .path = slice_of("/d/f")), 0);
	assert_int_equal(stat.entry.copies_wanted, 2);
	driver_stop(&d);
}

static void test_set_copies(void **state)
{
	struct set_copies_reply reply;
	struct create_reply created;
	struct stat_reply stat;

	setup(state);
	assert_int_equal(DO(set_copies, &reply, .copies = 5, .path = slice_of("/")), 0);
	assert_int_equal(DO(create, &created, .path = slice_of("/f")), 0);
	ASK(client, stat, &stat, .path = slice_of("/f"));
	assert_int_equal(stat.entry.copies_wanted, 5);
	assert_int_equal(DO(set_copies, &reply, .copies = 2, .path = slice_of("/f")), 0);
	ASK(client, stat, &stat, .path = slice_of("/f"));
	assert_int_equal(stat.entry.copies_wanted, 2);
	assert_int_equal(DO(set_copies, &reply, .copies = 0, .path = slice_of("/f")),
			 -ERR_BAD_REQUEST);
	assert_int_equal(DO(set_copies, &reply, .copies = 1, .path = slice_of("/g")),
			 -ERR_NOT_FOUND);
	driver_stop(&d);
}

static void test_repeated_operations_act_once(void **state)
{
	struct create_reply first, again;
	struct remove_reply removed;
	struct mkdir_reply made;

	setup(state);
	assert_int_equal(ASK(client, create, &first, .operation = 7, .outstanding = 7,
			     .path = slice_of("/a")),
			 0);
	assert_int_equal(ASK(client, create, &again, .operation = 7, .outstanding = 7,
			     .path = slice_of("/a")),
			 0);
	assert_int_equal(first.inode, again.inode);
	/* The answer stays what it was even if the world has changed, also after a restart. */
	assert_int_equal(ASK(client, remove, &removed, .operation = 8, .outstanding = 7,
			     .path = slice_of("/a")),
			 0);
	driver_restart(&d);
	client = driver_client(&d, 1);
	assert_int_equal(ASK(client, create, &again, .operation = 7, .outstanding = 7,
			     .path = slice_of("/a")),
			 0);
	assert_int_equal(first.inode, again.inode);
	assert_int_equal(ASK(client, remove, &removed, .operation = 8, .outstanding = 7,
			     .path = slice_of("/a")),
			 0);
	assert_int_equal(removed.removed, 1);
	/* Another message under that number, an operation without number, one below the lowest. */
	assert_int_equal(ASK(client, mkdir, &made, .operation = 8, .outstanding = 7,
			     .path = slice_of("/a")),
			 -ERR_BAD_REQUEST);
	assert_int_equal(ASK(client, mkdir, &made, .path = slice_of("/m")), -ERR_BAD_REQUEST);
	assert_int_equal(ASK(client, mkdir, &made, .operation = 3, .outstanding = 4,
			     .path = slice_of("/m")),
			 -ERR_BAD_REQUEST);
	/* Another client's number 7 is another operation. */
	client = driver_client(&d, 2);
	assert_int_equal(ASK(client, create, &again, .operation = 7, .outstanding = 7,
			     .path = slice_of("/a")),
			 0);
	assert_int_not_equal(first.inode, again.inode);
	driver_stop(&d);
}

static void test_refusals_are_not_recorded(void **state)
{
	struct create_reply reply;
	struct mkdir_reply made;

	setup(state);
	assert_int_equal(ASK(client, create, &reply, .operation = 1, .outstanding = 1,
			     .path = slice_of("/d/a")),
			 -ERR_NOT_FOUND);
	assert_int_equal(ASK(client, mkdir, &made, .operation = 2, .outstanding = 1,
			     .path = slice_of("/d")),
			 0);
	assert_int_equal(ASK(client, create, &reply, .operation = 1, .outstanding = 1,
			     .path = slice_of("/d/a")),
			 0);
	driver_stop(&d);
}

static void test_answers_are_forgotten(void **state)
{
	struct create_reply reply;
	struct slice answer;

	setup(state);
	DO(create, &reply, .path = slice_of("/a"));
	DO(create, &reply, .path = slice_of("/b"));
	assert_int_equal(result_get(d.kv, &client->id, 1, &answer), -ERR_EXPIRED);
	assert_int_equal(result_get(d.kv, &client->id, 2, &answer), 0);
	driver_close(client);
	driver_clock(&d, CLIENT_FORGET_MS - 1000);
	assert_int_equal(result_get(d.kv, &client->id, 2, &answer), 0);
	driver_clock(&d, 3 * 60 * 1000);
	assert_int_equal(result_get(d.kv, &client->id, 2, &answer), -ERR_NOT_FOUND);
	assert_int_equal(nameserver_info(d.ns).clients, 0);
	/* Those of clients from before a restart go as well, those of one that is there stay. */
	client = driver_client(&d, 1);
	DO(create, &reply, .path = slice_of("/c"));
	driver_restart(&d);
	client = driver_client(&d, 2);
	DO(create, &reply, .path = slice_of("/e"));
	driver_clock(&d, 15 * 60 * 1000);
	assert_int_equal(result_get(d.kv, &client->id, 1, &answer), 0);
	for (uint64_t i = 0; i < 5; i++) {
		struct id gone = client->id;

		gone.bytes[0] = 1;
		assert_int_equal(result_get(d.kv, &gone, i, &answer), -ERR_NOT_FOUND);
	}
	driver_stop(&d);
}

static void test_restart_keeps_everything(void **state)
{
	struct create_reply before, after;
	struct stat_reply stat;

	setup(state);
	DO(create, &before, .path = slice_of("/a"));
	driver_clock(&d, 20000);
	driver_restart(&d);
	client = driver_client(&d, 1);
	assert_int_equal(ASK(client, stat, &stat, .path = slice_of("/a")), 0);
	assert_int_equal(stat.entry.inode, before.inode);
	client->operation = 50;
	DO(create, &after, .path = slice_of("/b"));
	assert_int_equal(after.inode >> 40, 2);
	assert_false(d.failed);
	driver_stop(&d);
}

/* The batches are all there is to know: another catalogue made of them is the same. */
static void test_batches_rebuild_the_catalogue(void **state)
{
	struct create_reply created;
	struct slice rest;
	struct stat_reply stat;
	struct kv *old, *kv;

	setup(state);
	for (int i = 0; i < 50; i++) {
		char path[16];

		snprintf(path, sizeof(path), "/f%d", i);
		assert_int_equal(DO(create, &created, .path = slice_of(path)), 0);
	}
	assert_int_equal(kv_memory_new(&kv), 0);
	rest = (struct slice){ d.journal.data, d.journal.size };
	while (rest.size) {
		struct batch_head head;
		struct slice changes;
		struct digest hash;
		size_t size;

		assert_int_equal(batch_read(rest, &head, &changes, &size, &hash), 1);
		assert_int_equal(kv_memory_apply(kv, changes), 0);
		rest.data += size;
		rest.size -= size;
	}
	old = d.kv;
	d.kv = kv;
	driver_restart(&d);
	kv_memory_free(old);
	client = driver_client(&d, 1);
	assert_int_equal(ASK(client, stat, &stat, .path = slice_of("/f49")), 0);
	assert_int_equal(stat.entry.inode, created.inode);
	assert_int_equal(nameserver_info(d.ns).epoch, 2);
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mkdir),
		cmocka_unit_test(test_create_stat_list_remove),
		cmocka_unit_test(test_copies_of_the_option),
		cmocka_unit_test(test_set_copies),
		cmocka_unit_test(test_repeated_operations_act_once),
		cmocka_unit_test(test_refusals_are_not_recorded),
		cmocka_unit_test(test_answers_are_forgotten),
		cmocka_unit_test(test_restart_keeps_everything),
		cmocka_unit_test(test_batches_rebuild_the_catalogue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

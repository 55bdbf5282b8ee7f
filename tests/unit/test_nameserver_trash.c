/* The trash, what it lets go of, and FORMAT as clients see them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "kv_memory.h"
#include "ns_driver.h"

enum { DAY_MS = 24 * 60 * 60 * 1000, MIB = 1024 * 1024 };

static struct ns_driver d;
static struct ns_peer *client;

static void start(uint64_t trash_ms)
{
	driver_start(&d, &(struct nameserver_config){ .trash_ms = trash_ms });
	client = driver_client(&d, 1);
}

#define DO(name, reply, ...)                                                           \
	(client->operation++, ASK(client, name, reply, .operation = client->operation, \
				  .outstanding = client->operation, __VA_ARGS__))

static int stat_of(const char *path, struct stat_reply *ret)
{
	return ASK(client, stat, ret, .path = slice_of(path));
}

static struct status_reply status(void)
{
	struct status_reply reply;

	assert_int_equal(ASK(client, status, &reply, 0), 0);
	return reply;
}

static int put(const char *path, uint32_t size)
{
	struct put_commit_reply reply;

	return driver_put(client, path, size, &reply);
}

/* ---- the trash ---- */

static unsigned int trash_count(const char *path)
{
	struct trash_list_reply reply = { 0 };
	unsigned int count = 0;

	do {
		assert_int_equal(ASK(client, trash_list, &reply, .since_ms = reply.since_ms,
				     .id = reply.id, .path = slice_of(path)),
				 0);
		count += reply.entries_count;
	} while (reply.more);
	return count;
}

static void test_the_trash_is_listed_and_gives_back(void **state)
{
	struct trash_restore_reply back;
	struct trash_list_reply list;
	struct remove_reply removed;
	struct mkdir_reply made;
	struct stat_reply stat;

	(void)state;
	start(DAY_MS);
	driver_storage(&d, 1);
	DO(mkdir, &made, .path = slice_of("/d"));
	assert_int_equal(put("/d/f", 1000), 0);
	assert_int_equal(put("/g", 500), 0);
	driver_clock(&d, 1000);
	DO(remove, &removed, .path = slice_of("/g"));
	driver_clock(&d, 1);
	DO(remove, &removed, .flags = REMOVE_TREE, .path = slice_of("/d"));
	assert_int_equal(removed.removed, 2);
	assert_int_equal(status().trash_entries, 3);
	assert_int_equal(status().trash_bytes, 1500);
	assert_int_equal(status().files, 0);
	driver_beat(&d, 60000);
	assert_int_equal(status().freeing, 0);
	assert_int_equal(ASK(client, trash_list, &list, 0), 0);
	assert_int_equal(list.entries_count, 2);
	assert_int_equal(list.more, 0);
	assert_true(slice_equal(list.entries[1].path, slice_of("/d")));
	assert_int_equal(list.entries[1].type, ENTRY_DIRECTORY);
	assert_int_equal(list.entries[1].entries, 2);
	assert_int_equal(list.entries[1].bytes, 1000);
	assert_int_equal(list.entries[1].removed_ms, d.wall_ms - 60000);
	assert_int_equal(list.entries[1].purge_in_ms, DAY_MS - 60000);
	assert_int_equal(trash_count("/g"), 1);
	assert_int_equal(trash_count("/d/f"), 0);
	assert_int_equal(trash_count("/"), 2);
	assert_int_equal(DO(trash_restore, &back, .path = slice_of("/d/f"), .to = slice_of("")), 0);
	assert_int_equal(back.entries, 1);
	assert_int_equal(back.bytes, 1000);
	assert_int_equal(stat_of("/d/f", &stat), 0);
	assert_int_equal(stat.entry.copies, 1);
	assert_int_equal(DO(trash_restore, &back, .path = slice_of("/g"), .to = slice_of("/d")),
			 -ERR_EXISTS);
	assert_int_equal(DO(trash_restore, &back, .path = slice_of("/no"), .to = slice_of("")),
			 -ERR_NOT_FOUND);
	assert_int_equal(DO(trash_restore, &back, .path = slice_of(""), .to = slice_of("")),
			 -ERR_BAD_NAME);
	driver_stop(&d);
}

static void test_the_trash_is_paged(void **state)
{
	struct remove_reply removed;
	struct create_reply created;
	char path[32];

	(void)state;
	start(DAY_MS);
	for (int i = 0; i < 450; i++) {
		snprintf(path, sizeof(path), i % 100 ? "/f%d" : "/g%d", i);
		DO(create, &created, .path = slice_of(path));
		assert_int_equal(DO(remove, &removed, .path = slice_of(path)), 0);
	}
	assert_int_equal(trash_count(""), 450);
	assert_int_equal(trash_count("/g300"), 1);
	driver_stop(&d);
}

static void test_what_is_old_goes(void **state)
{
	struct trash_restore_reply back;
	struct remove_reply removed;

	(void)state;
	start(DAY_MS);
	driver_storage(&d, 1);
	put("/f", 1000);
	put("/g", 1000);
	DO(remove, &removed, .path = slice_of("/f"));
	driver_beat(&d, DAY_MS / 2);
	DO(remove, &removed, .path = slice_of("/g"));
	driver_beat(&d, DAY_MS / 2 - 10000);
	assert_int_equal(trash_count(""), 2);
	driver_beat(&d, 20000);
	assert_int_equal(trash_count(""), 1);
	assert_int_equal(status().trash_bytes, 1000);
	assert_int_equal(DO(trash_restore, &back, .path = slice_of("/f"), .to = slice_of("")),
			 -ERR_NOT_FOUND);
	assert_int_equal(driver_orders(driver_peer(&d, &d.peers[1]->id), MSG_delete), 1);
	assert_int_equal(status().freeing, 0);
	driver_stop(&d);
}

static void test_without_a_trash_all_goes_at_once(void **state)
{
	struct remove_reply removed;

	(void)state;
	start(0);
	driver_storage(&d, 1);
	put("/f", 1000);
	DO(remove, &removed, .path = slice_of("/f"));
	assert_int_equal(trash_count(""), 0);
	driver_beat(&d, 1000);
	assert_int_equal(status().trash_entries, 0);
	assert_int_equal(driver_orders(driver_peer(&d, &d.peers[1]->id), MSG_delete), 1);
	driver_stop(&d);
}

static void test_purging(void **state)
{
	struct trash_purge_reply gone;
	struct remove_reply removed;
	struct open_reply opened;
	struct close_reply closed;

	(void)state;
	start(DAY_MS);
	driver_storage(&d, 1);
	put("/f", 1000);
	put("/g", 500);
	assert_int_equal(ASK(client, open, &opened, .path = slice_of("/f")), 0);
	DO(remove, &removed, .path = slice_of("/f"));
	DO(remove, &removed, .path = slice_of("/g"));
	assert_int_equal(DO(trash_purge, &gone, .path = slice_of("/no")), -ERR_NOT_FOUND);
	assert_int_equal(DO(trash_purge, &gone, .path = slice_of("/f")), 0);
	assert_int_equal(gone.bytes, 1000);
	driver_beat(&d, 10000);
	/* Somebody reads it. */
	assert_int_equal(status().freeing, 1);
	assert_int_equal(driver_orders(driver_peer(&d, &d.peers[1]->id), MSG_delete), 0);
	ASK(client, close, &closed, .inode = opened.entry.inode);
	driver_beat(&d, 10000);
	assert_int_equal(status().freeing, 0);
	assert_int_equal(driver_orders(driver_peer(&d, &d.peers[1]->id), MSG_delete), 1);
	assert_int_equal(DO(trash_purge, &gone, .path = slice_of("")), 0);
	assert_int_equal(gone.entries, 1);
	assert_int_equal(status().trash_entries, 0);
	assert_int_equal(status().freeing, 1);
	driver_beat(&d, 10000);
	assert_int_equal(status().freeing, 0);
	driver_stop(&d);
}

/* ---- room ---- */

static uint32_t put_post(uint64_t size)
{
	return POST(client, put_begin, .size = size, .places = 1, .path = slice_of("/new"));
}

/* A server of 64 MiB, of which files that were removed have 40 and others most of the rest. */
static void fill_and_remove(void)
{
	struct remove_reply removed;
	char path[16];

	driver_storage_with(&d, &(struct ns_storage){ .number = 1, .capacity = 64 * MIB });
	for (int i = 0; i < 4; i++) {
		snprintf(path, sizeof(path), "/f%d", i);
		assert_int_equal(put(path, 10 * MIB), 0);
		DO(remove, &removed, .path = slice_of(path));
	}
	d.free = 5 * MIB;
	driver_beat(&d, 4000);
	assert_int_equal(trash_count(""), 4);
}

/* As often as a file was written over, so often it is in the trash. It goes in turns. */
static void test_purging_what_is_there_many_times(void **state)
{
	enum { TIMES = 5000 };
	struct trash_purge_reply gone;
	struct create_reply created;
	struct remove_reply removed;
	uint64_t before;
	uint32_t id;

	(void)state;
	start(DAY_MS);
	for (int i = 0; i < TIMES; i++) {
		assert_int_equal(DO(create, &created, .path = slice_of("/f")), 0);
		assert_int_equal(DO(remove, &removed, .path = slice_of("/f")), 0);
	}
	before = d.sealed;
	client->operation++;
	id = POST(client, trash_purge, .operation = client->operation,
		  .outstanding = client->operation, .path = slice_of("/f"));
	driver_clock(&d, 100);
	assert_int_equal(driver_answer(client, id, &gone, sizeof(gone)), 0);
	assert_int_equal(gone.entries, TIMES);
	assert_true(d.sealed - before > 2);
	assert_int_equal(status().trash_entries, 0);
	assert_int_equal(DO(trash_purge, &gone, .path = slice_of("/f")), -ERR_NOT_FOUND);
	driver_stop(&d);
}

static void test_the_oldest_makes_room(void **state)
{
	struct put_begin_reply begun;
	uint32_t id;

	(void)state;
	start(DAY_MS);
	fill_and_remove();
	id = put_post(10 * MIB);
	assert_int_equal(driver_answer(client, id, &begun, sizeof(begun)), -ERR_TIMEOUT);
	d.free = 20 * MIB; /* once it has deleted something */
	driver_clock(&d, 1000);
	assert_int_equal(driver_answer(client, id, &begun, sizeof(begun)), 0);
	assert_int_equal(trash_count(""), 3);
	assert_int_equal(trash_count("/f0"), 0);
	assert_true(driver_logged(&d, "let_go entries=1 "));
	driver_stop(&d);
}

static void test_only_so_much_can_be_let_go(void **state)
{
	struct put_begin_reply begun;
	uint32_t id = 0;
	int rc = -ERR_IN_PROGRESS;

	(void)state;
	start(DAY_MS);
	fill_and_remove();
	/* Too much anyway: nothing goes for it. */
	id = put_post((uint64_t)1024 * MIB);
	assert_int_equal(driver_answer(client, id, &begun, sizeof(begun)), -ERR_NO_SPACE);
	assert_int_equal(trash_count(""), 4);
	/* The server deletes all, but has no room for some other reason. */
	for (int i = 0; i < 10 && rc == -ERR_IN_PROGRESS; i++) {
		id = put_post(15 * MIB);
		driver_beat(&d, 2 * IN_PROGRESS_AFTER_MS);
		rc = driver_answer(client, id, &begun, sizeof(begun));
	}
	assert_int_equal(rc, -ERR_NO_SPACE);
	assert_int_equal(trash_count(""), 0);
	driver_stop(&d);
}

/* A server whose disk has failed says that it has no room; deleting would not give it any. It says
 * so when it registers: not even until its first heartbeat anything goes for it. */
static void test_a_failed_disk_is_not_a_full_one(void **state)
{
	const struct ns_storage failed = { .number = 1,
					   .capacity = 64 * MIB,
					   .start = 2,
					   .no_inventory = true,
					   .disk_failed = true };
	struct put_begin_reply begun;
	uint32_t id;

	(void)state;
	start(DAY_MS);
	fill_and_remove();
	driver_storage_with(&d, &failed);
	id = put_post(MIB);
	driver_clock(&d, 1000);
	assert_int_equal(driver_answer(client, id, &begun, sizeof(begun)), -ERR_NO_SPACE);
	assert_int_equal(trash_count(""), 4);
	driver_stop(&d);
}

/* Below a twentieth of all room the oldest goes without anybody asking. */
static void test_room_is_kept(void **state)
{
	(void)state;
	start(DAY_MS);
	fill_and_remove();
	d.free = 3 * MIB;
	driver_beat(&d, 2000);
	d.free = 20 * MIB;
	driver_beat(&d, 10000);
	assert_int_equal(trash_count(""), 3);
	driver_stop(&d);
}

/* ---- FORMAT ---- */

static void test_format(void **state)
{
	struct create_reply created;
	struct format_reply gone;
	struct remove_reply removed;
	struct mkdir_reply made;
	char path[32];
	struct stat_reply stat;
	struct trash_restore_reply back;

	(void)state;
	start(DAY_MS);
	driver_storage(&d, 1);
	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/t/d%d", i);
		DO(mkdir, &made, .flags = MKDIR_PARENTS, .path = slice_of(path));
		for (int j = 0; j < 3; j++) {
			snprintf(path, sizeof(path), "/t/d%d/f%d", i, j);
			DO(create, &created, .path = slice_of(path));
		}
	}
	put("/t/d0/x", 1000);
	DO(remove, &removed, .flags = REMOVE_TREE, .path = slice_of("/t/d1"));
	assert_int_equal(DO(format, &gone, .cluster_name = slice_of("")), -ERR_BAD_REQUEST);
	assert_int_equal(DO(format, &gone, .cluster_name = slice_of("tess")), -ERR_BAD_REQUEST);
	assert_int_equal(stat_of("/t", &stat), 0);
	assert_int_equal(DO(format, &gone, .cluster_name = slice_of("test")), 0);
	assert_int_equal(gone.entries, 10);
	assert_int_equal(gone.bytes, 1000);
	assert_int_equal(stat_of("/t", &stat), -ERR_NOT_FOUND);
	assert_int_equal(status().files + status().directories + status().trash_entries, 0);
	assert_int_equal(status().freeing, 1);
	assert_int_equal(DO(trash_restore, &back, .path = slice_of("/t/d1"), .to = slice_of("")),
			 -ERR_NOT_FOUND);
	assert_int_equal(put("/kept", 10), 0);
	driver_beat(&d, 10000);
	assert_int_equal(status().freeing, 0);
	driver_restart(&d);
	client = driver_client(&d, 1);
	assert_int_equal(stat_of("/kept", &stat), 0);
	assert_int_equal(stat_of("/t", &stat), -ERR_NOT_FOUND);
	assert_true(driver_logged(&d, "formatted entries=10 bytes=1000"));
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_trash_is_listed_and_gives_back),
		cmocka_unit_test(test_the_trash_is_paged),
		cmocka_unit_test(test_what_is_old_goes),
		cmocka_unit_test(test_without_a_trash_all_goes_at_once),
		cmocka_unit_test(test_purging),
		cmocka_unit_test(test_purging_what_is_there_many_times),
		cmocka_unit_test(test_the_oldest_makes_room),
		cmocka_unit_test(test_only_so_much_can_be_let_go),
		cmocka_unit_test(test_a_failed_disk_is_not_a_full_one),
		cmocka_unit_test(test_room_is_kept),
		cmocka_unit_test(test_format),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* RENAME and COPY as clients see them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "kv_memory.h"
#include "ns_driver.h"

enum { MIB = 1024 * 1024 };

static struct ns_driver d;
static struct ns_peer *client;

static void start(void)
{
	driver_start(&d, NULL);
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

static void create_many(unsigned int directories, unsigned int files)
{
	struct create_reply created;
	struct mkdir_reply made;
	char path[64];

	for (unsigned int i = 0; i < directories; i++) {
		snprintf(path, sizeof(path), "/t/d%u", i);
		assert_int_equal(DO(mkdir, &made, .flags = MKDIR_PARENTS, .path = slice_of(path)),
				 0);
		for (unsigned int j = 0; j < files; j++) {
			snprintf(path, sizeof(path), "/t/d%u/f%u", i, j);
			assert_int_equal(DO(create, &created, .path = slice_of(path)), 0);
		}
	}
}

/* ---- moving ---- */

static void test_rename(void **state)
{
	struct rename_reply moved, again;
	struct create_reply created;
	struct stat_reply stat;
	struct mkdir_reply made;

	(void)state;
	start();
	DO(create, &created, .path = slice_of("/f"));
	DO(mkdir, &made, .path = slice_of("/d"));
	assert_int_equal(DO(rename, &moved, .flags = RENAME_INTO, .path = slice_of("/f"),
			    .to = slice_of("/d")),
			 0);
	assert_int_equal(moved.inode, created.inode);
	assert_true(slice_equal(moved.path, slice_of("/d/f")));
	assert_true(driver_logged(&d, "renamed path=\"/f\" to=\"/d/f\""));
	/* Asked again it is the same answer, and nothing moves. */
	assert_int_equal(ASK(client, rename, &again, .operation = client->operation,
			     .outstanding = client->operation, .flags = RENAME_INTO,
			     .path = slice_of("/f"), .to = slice_of("/d")),
			 0);
	assert_true(slice_equal(again.path, slice_of("/d/f")));
	assert_int_equal(stat_of("/d/f", &stat), 0);
	assert_int_equal(stat.entry.inode, created.inode);
	assert_int_equal(DO(rename, &moved, .path = slice_of("/d"), .to = slice_of("/d/x")),
			 -ERR_INTO_ITSELF);
	assert_int_equal(DO(rename, &moved, .path = slice_of("d"), .to = slice_of("/x")),
			 -ERR_BAD_NAME);
	assert_int_equal(DO(rename, &moved, .path = slice_of("/d"), .to = slice_of("/x/")),
			 -ERR_BAD_NAME);
	assert_false(d.failed);
	driver_stop(&d);
}

/* An answer with the longest path there is must fit in where answers are kept. */
static void test_the_longest_path_is_answered(void **state)
{
	static char path[PATH_SIZE_MAX + 1];
	struct rename_reply moved;
	struct copy_reply copied;
	struct mkdir_reply made;

	(void)state;
	start();
	memset(path, 'x', sizeof(path) - 1);
	for (size_t i = 0; i < PATH_SIZE_MAX; i += 256)
		path[i] = '/';
	path[15 * 256] = '\0';
	assert_int_equal(DO(mkdir, &made, .flags = MKDIR_PARENTS, .path = slice_of(path)), 0);
	path[15 * 256] = '/';
	DO(mkdir, &made, .path = slice_of("/m"));
	assert_int_equal(DO(copy, &copied, .flags = COPY_TREE, .path = slice_of("/m"),
			    .to = slice_of(path)),
			 0);
	assert_int_equal(copied.path.size, PATH_SIZE_MAX);
	assert_int_equal(DO(rename, &moved, .path = slice_of(path), .to = slice_of("/n")), 0);
	assert_int_equal(DO(rename, &moved, .path = slice_of("/n"), .to = slice_of(path)), 0);
	assert_int_equal(moved.path.size, PATH_SIZE_MAX);
	assert_int_equal(ASK(client, rename, &moved, .operation = client->operation,
			     .outstanding = client->operation, .path = slice_of("/n"),
			     .to = slice_of(path)),
			 0);
	assert_int_equal(moved.path.size, PATH_SIZE_MAX);
	driver_stop(&d);
}

static void test_a_copy_outlives_the_original(void **state)
{
	struct remove_reply removed;
	struct close_reply closed;
	struct copy_reply copied;
	struct open_reply opened;

	(void)state;
	start();
	driver_storage(&d, 1);
	driver_storage(&d, 2);
	assert_int_equal(put("/f", 3 * MIB), 0);
	assert_int_equal(DO(copy, &copied, .path = slice_of("/f"), .to = slice_of("/g")), 0);
	assert_int_equal(copied.entries, 1);
	assert_int_equal(copied.bytes, 3 * MIB);
	assert_true(driver_logged(&d, "copied path=\"/f\" to=\"/g\" entries=1"));
	assert_int_equal(status().bytes, 6 * MIB);
	assert_int_equal(DO(remove, &removed, .path = slice_of("/f")), 0);
	driver_beat(&d, 10000);
	assert_int_equal(status().freeing, 0);
	assert_int_equal(ASK(client, open, &opened, .path = slice_of("/g")), 0);
	assert_int_equal(opened.chunks_count, 1);
	assert_int_equal(opened.chunks[0].holders_count, 2);
	assert_int_equal(driver_orders(driver_peer(&d, &opened.nodes[0].node), MSG_delete), 0);
	assert_int_equal(DO(remove, &removed, .path = slice_of("/g")), 0);
	ASK(client, close, &closed, .inode = opened.entry.inode);
	driver_beat(&d, 10000);
	assert_int_equal(driver_orders(driver_peer(&d, &opened.nodes[0].node), MSG_delete), 1);
	assert_int_equal(status().chunks, 0);
	driver_stop(&d);
}

/* ---- copying in steps ---- */

enum { DIRECTORIES = 30, FILES = 100 };

static uint32_t copy_post(const char *to)
{
	client->operation++;
	return POST(client, copy, .operation = client->operation, .outstanding = client->operation,
		    .flags = COPY_TREE, .path = slice_of("/t"), .to = slice_of(to));
}

static void test_a_large_tree_appears_in_one_step(void **state)
{
	struct stat_reply stat;
	struct copy_reply reply;
	uint32_t id;

	(void)state;
	start();
	create_many(DIRECTORIES, FILES);
	id = copy_post("/u");
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), -ERR_TIMEOUT);
	assert_int_equal(stat_of("/u", &stat), -ERR_NOT_FOUND);
	assert_int_equal(status().files, DIRECTORIES * FILES);
	driver_clock(&d, 100);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), 0);
	assert_int_equal(reply.entries, DIRECTORIES * (FILES + 1) + 1);
	assert_int_equal(status().files, 2 * DIRECTORIES * FILES);
	assert_int_equal(stat_of("/u/d29/f99", &stat), 0);
	/* Asked again the recorded answer comes. */
	assert_int_equal(ASK(client, copy, &reply, .operation = client->operation,
			     .outstanding = client->operation, .flags = COPY_TREE,
			     .path = slice_of("/t"), .to = slice_of("/u")),
			 0);
	assert_true(slice_equal(reply.path, slice_of("/u")));
	assert_int_equal(status().files, 2 * DIRECTORIES * FILES);
	driver_stop(&d);
}

/* The client goes and comes back; so does the disk that makes batches durable, in its own time. */
static void test_a_copy_goes_on_while_nobody_waits(void **state)
{
	struct copy_reply reply;
	struct stat_reply stat;
	uint32_t id;

	(void)state;
	start();
	create_many(DIRECTORIES, FILES);
	d.hold_durable = true;
	copy_post("/u");
	driver_clock(&d, 100);
	assert_true(d.sealed - nameserver_info(d.ns).durable <= 8);
	id = POST(client, copy, .operation = client->operation, .outstanding = client->operation,
		  .flags = COPY_TREE, .path = slice_of("/t"), .to = slice_of("/u"));
	driver_clock(&d, IN_PROGRESS_AFTER_MS);
	d.hold_durable = false;
	driver_close(client);
	driver_durable(&d);
	driver_clock(&d, 500);
	client = driver_client(&d, 1);
	(void)id;
	client->operation = DIRECTORIES * (FILES + 1) + 1;
	assert_int_equal(stat_of("/u/d29/f99", &stat), 0);
	assert_int_equal(ASK(client, copy, &reply, .operation = client->operation,
			     .outstanding = client->operation, .flags = COPY_TREE,
			     .path = slice_of("/t"), .to = slice_of("/u")),
			 0);
	assert_int_equal(status().files, 2 * DIRECTORIES * FILES);
	driver_stop(&d);
}

static void test_a_long_copy_is_in_progress(void **state)
{
	struct copy_reply reply;
	uint32_t id;

	(void)state;
	start();
	create_many(DIRECTORIES, FILES);
	driver_say(&d, NS_READING, false); /* so the job stands still */
	driver_say(&d, NS_READING, true);
	id = copy_post("/u");
	driver_say(&d, NS_READING, false);
	driver_clock(&d, IN_PROGRESS_AFTER_MS + 1);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), -ERR_IN_PROGRESS);
	driver_say(&d, NS_READING, true);
	id = POST(client, copy, .operation = client->operation, .outstanding = client->operation,
		  .flags = COPY_TREE, .path = slice_of("/t"), .to = slice_of("/u"));
	driver_clock(&d, 100);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), 0);
	assert_int_equal(status().files, 2 * DIRECTORIES * FILES);
	driver_stop(&d);
}

static void test_a_copy_whose_source_goes_fails(void **state)
{
	struct remove_reply removed;
	struct copy_reply reply;
	struct stat_reply stat;
	struct ns_peer *other;
	uint32_t id;

	(void)state;
	start();
	create_many(DIRECTORIES, FILES);
	other = driver_client(&d, 2);
	id = copy_post("/u");
	assert_int_equal(ASK(other, remove, &removed, .operation = 1, .outstanding = 1,
			     .flags = REMOVE_TREE, .path = slice_of("/t")),
			 0);
	driver_clock(&d, 10000);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), -ERR_STALE);
	assert_int_equal(stat_of("/u", &stat), -ERR_NOT_FOUND);
	assert_int_equal(status().files, 0);
	assert_false(d.failed);
	driver_stop(&d);
}

static void test_a_restart_ends_a_copy_without_a_trace(void **state)
{
	struct copy_reply reply;
	struct stat_reply stat;
	struct slice key, value;
	uint64_t operation;
	uint32_t id;

	(void)state;
	start();
	create_many(DIRECTORIES, FILES);
	copy_post("/u");
	operation = client->operation;
	driver_restart(&d);
	client = driver_client(&d, 1);
	assert_int_equal(stat_of("/u", &stat), -ERR_NOT_FOUND);
	assert_int_equal(kv_seek(d.kv, slice_of("b"), &key, &value), 0);
	assert_int_not_equal(key.data[0], 'b');
	id = POST(client, copy, .operation = operation, .outstanding = operation,
		  .flags = COPY_TREE, .path = slice_of("/t"), .to = slice_of("/u"));
	driver_clock(&d, 60000);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), 0);
	assert_int_equal(status().files, 2 * DIRECTORIES * FILES);
	assert_false(catalogue_has_garbage(d.kv));
	driver_stop(&d);
}

static void test_a_full_disk_ends_a_copy(void **state)
{
	struct copy_reply reply;
	uint32_t id;

	(void)state;
	start();
	create_many(DIRECTORIES, FILES);
	id = copy_post("/u");
	driver_say(&d, NS_SPACE, false);
	driver_clock(&d, 100);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), -ERR_CATALOGUE_FULL);
	assert_false(d.failed);
	driver_stop(&d);
}

static void test_a_copy_waits_while_the_disk_is_behind(void **state)
{
	uint32_t id;

	(void)state;
	start();
	create_many(DIRECTORIES, FILES);
	id = copy_post("/u");
	driver_say(&d, NS_KEEPING_UP, false);
	driver_clock(&d, 500);
	assert_int_equal(driver_answer(client, id, NULL, 0), -ERR_TIMEOUT);
	driver_say(&d, NS_KEEPING_UP, true);
	driver_clock(&d, 100);
	assert_int_equal(driver_answer(client, id, NULL, 0), 0);
	driver_stop(&d);
}

/* ---- large trees go ---- */

/* Others need not wait until it is counted, and what they change in it meanwhile counts. */
static void test_a_large_tree_is_counted_in_turns(void **state)
{
	enum { COPIES = 8 };
	static const char *const more[] = { "/all/0/new", "/new" };
	struct ns_peer *other;
	struct remove_reply removed;
	struct create_reply created;
	struct mkdir_reply made;
	uint64_t files;
	char path[32];
	uint32_t id;

	(void)state;
	start();
	create_many(DIRECTORIES, FILES);
	for (unsigned int i = 0; i < COPIES; i++) {
		snprintf(path, sizeof(path), "/all/%u", i);
		DO(mkdir, &made, .flags = MKDIR_PARENTS, .path = slice_of("/all"));
		copy_post(path);
		driver_clock(&d, 1000);
	}
	files = status().files;
	other = driver_client(&d, 2);
	client->operation++;
	id = POST(client, remove, .operation = client->operation, .outstanding = client->operation,
		  .flags = REMOVE_TREE, .path = slice_of("/all"));
	assert_int_equal(driver_answer(client, id, &removed, sizeof(removed)), -ERR_TIMEOUT);
	for (unsigned int i = 0; i < ARRAY_SIZE(more); i++)
		assert_int_equal(ASK(other, create, &created, .operation = i + 1,
				     .outstanding = i + 1, .path = slice_of(more[i])),
				 0);
	driver_clock(&d, 100);
	assert_int_equal(driver_answer(client, id, &removed, sizeof(removed)), 0);
	assert_int_equal(removed.removed, COPIES * (DIRECTORIES * (FILES + 1) + 1) + 2);
	assert_int_equal(status().files, files + 1 - COPIES * DIRECTORIES * FILES);
	driver_stop(&d);
}

/* ---- memory or the kv fails in the middle ---- */

static const struct kv_ops *sound;
static int changes_left;

static int failing_put(struct kv *kv, struct slice key, struct slice value)
{
	return changes_left-- > 0 ? sound->put(kv, key, value) : -ERR_NO_MEMORY;
}

static int failing_remove(struct kv *kv, struct slice key)
{
	return changes_left-- > 0 ? sound->remove(kv, key) : -ERR_NO_MEMORY;
}

#define FIRST .operation = ++client->operation, .outstanding = client->operation

static uint32_t post_nth(unsigned int which)
{
	struct slice t = slice_of("/t"), u = slice_of("/u"), f = slice_of("/f");

	switch (which) {
	case 0:
		return POST(client, rename, FIRST, .flags = RENAME_REPLACE, .path = f,
			    .to = slice_of("/g"));
	case 1: return POST(client, copy, FIRST, .flags = COPY_TREE, .path = t, .to = u);
	case 2: return POST(client, remove, FIRST, .flags = REMOVE_TREE, .path = t);
	case 3: return POST(client, trash_restore, FIRST, .path = slice_of("/old/a"));
	case 4: return POST(client, trash_purge, FIRST, .path = slice_of("/old"));
	case 5: return POST(client, trash_purge, FIRST, .path = slice_of(""));
	case 6: return POST(client, format, FIRST, .cluster_name = slice_of("test"));
	default: return 0;
	}
}

/* Nothing is answered, and the name server stops. */
static void test_a_change_that_fails_halfway_stops_the_server(void **state)
{
	static const char *const made[] = { "/f", "/g", "/t/a", "/t/b/c", "/old/a", "/old/b" };
	struct kv_ops failing;
	struct mkdir_reply directory;
	struct create_reply created;
	struct remove_reply removed;
	int n = 0;

	(void)state;
	for (unsigned int which = 0; which < 7; n++) {
		uint32_t id;
		int rc;

		driver_start(&d, &(struct nameserver_config){ .trash_ms = 1000 * 1000,
							      .copy_step = 2 });
		client = driver_client(&d, 1);
		DO(mkdir, &directory, .flags = MKDIR_PARENTS, .path = slice_of("/t/b"));
		DO(mkdir, &directory, .path = slice_of("/old"));
		for (size_t i = 0; i < ARRAY_SIZE(made); i++)
			assert_int_equal(DO(create, &created, .path = slice_of(made[i])), 0);
		DO(remove, &removed, .flags = REMOVE_TREE, .path = slice_of("/old"));
		sound = d.kv->ops;
		failing = *sound;
		failing.put = failing_put;
		failing.remove = failing_remove;
		d.kv->ops = &failing;
		changes_left = n;
		id = post_nth(which);
		driver_clock(&d, 15);
		changes_left = 1000 * 1000;
		rc = driver_answer(client, id, NULL, 0);
		if (rc == 0) {
			which++;
			n = -1;
		} else if (d.failed) {
			assert_int_equal(rc, -ERR_TIMEOUT);
		} else {
			/* The first change of all: nothing has happened. */
			assert_true(rc < 0);
			assert_int_equal(n, 0);
		}
		d.kv->ops = sound;
		driver_stop(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rename),
		cmocka_unit_test(test_the_longest_path_is_answered),
		cmocka_unit_test(test_a_copy_outlives_the_original),
		cmocka_unit_test(test_a_large_tree_appears_in_one_step),
		cmocka_unit_test(test_a_copy_goes_on_while_nobody_waits),
		cmocka_unit_test(test_a_long_copy_is_in_progress),
		cmocka_unit_test(test_a_copy_whose_source_goes_fails),
		cmocka_unit_test(test_a_restart_ends_a_copy_without_a_trace),
		cmocka_unit_test(test_a_full_disk_ends_a_copy),
		cmocka_unit_test(test_a_copy_waits_while_the_disk_is_behind),
		cmocka_unit_test(test_a_large_tree_is_counted_in_turns),
		cmocka_unit_test(test_a_change_that_fails_halfway_stops_the_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

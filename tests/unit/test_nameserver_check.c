/* CHECK: every kind of problem is named, with the file and why; and nothing where all is well. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "hash.h"
#include "ns_driver.h"

enum { LENGTH = 100 };

static struct ns_driver d;
static struct ns_peer *client, *storages[8];
static struct check_reply reply;

static void start(unsigned int servers)
{
	driver_start(&d, NULL);
	for (unsigned int i = 1; i <= servers; i++)
		storages[i] = driver_storage(&d, i);
	client = driver_client(&d, 1);
	driver_beat(&d, 4000);
	d.idle = true;
}

static uint64_t put(const char *path)
{
	struct put_commit_reply committed;
	struct open_reply opened;

	assert_int_equal(driver_put(client, path, LENGTH, &committed), 0);
	assert_int_equal(ASK(client, open, &opened, .path = slice_of(path)), 0);
	return opened.chunks[0].chunk;
}

static void check(void)
{
	assert_int_equal(ASK(client, check, &reply, .after = 0), 0);
}

static const struct problem *problem(uint8_t kind)
{
	for (unsigned int i = 0; i < reply.problems_count; i++) {
		if (reply.problems[i].kind == kind)
			return &reply.problems[i];
	}
	return NULL;
}

static bool says(const struct problem *problem, const char *text)
{
	return memmem(problem->detail.data, problem->detail.size, text, strlen(text)) != NULL;
}

static bool is_about(const struct problem *problem, const char *path)
{
	return slice_equal(problem->path, slice_of(path));
}

static void test_nothing_to_complain_about(void **state)
{
	(void)state;
	start(3);
	put("/a");
	check();
	assert_int_equal(reply.problems_count, 0);
	assert_int_equal(reply.seen, 1);
	assert_int_equal(reply.more, 0);
	driver_stop(&d);
}

static void test_servers(void **state)
{
	struct heartbeat_reply beaten;
	struct drain_reply drained;

	(void)state;
	start(4);
	assert_int_equal(
		ASK(storages[1], heartbeat, &beaten, .free = 1, .flags = HEARTBEAT_DISK_FAILED), 0);
	assert_int_equal(ASK(client, drain, &drained, .operation = 1, .outstanding = 1, .on = 1,
			     .node = storages[2]->id),
			 0);
	driver_close(storages[3]);
	check();
	assert_int_equal(reply.problems_count, 4);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(reply.problems[i].kind, PROBLEM_NODE);
	assert_true(says(&reply.problems[0], "disk has failed"));
	assert_true(id_equal(&reply.problems[0].node, &storages[1]->id));
	assert_true(says(&reply.problems[1], "nearly full"));
	assert_true(says(&reply.problems[2], "can be switched off"));
	assert_true(says(&reply.problems[3], "does not answer"));
	driver_beat(&d, 20000);
	check();
	assert_true(says(&reply.problems[reply.problems_count - 1], "offline"));
	driver_stop(&d);
}

static void test_too_few_and_none(void **state)
{
	(void)state;
	start(3);
	put("/a");
	driver_close(storages[1]);
	driver_beat(&d, 20000);
	check();
	assert_non_null(problem(PROBLEM_UNDER_COPIED));
	assert_true(is_about(problem(PROBLEM_UNDER_COPIED), "/a"));
	assert_int_equal(problem(PROBLEM_UNDER_COPIED)->copies, 2);
	assert_int_equal(problem(PROBLEM_UNDER_COPIED)->copies_wanted, 3);
	assert_true(says(problem(PROBLEM_UNDER_COPIED), "no server is left"));
	driver_close(storages[2]);
	driver_close(storages[3]);
	driver_beat(&d, 20000);
	check();
	assert_null(problem(PROBLEM_UNDER_COPIED));
	assert_non_null(problem(PROBLEM_LOST));
	assert_true(says(problem(PROBLEM_LOST), "offline"));
	driver_stop(&d);
}

static void put_two_copies(const char *path)
{
	struct digest digest = { { 1 } };
	struct put_commit_reply committed;
	struct receipt receipts[2];
	struct put_begin_reply begun;

	assert_int_equal(ASK(client, put_begin, &begun, .size = LENGTH, .flags = PUT_REPLACE,
			     .places = 1, .path = slice_of(path)),
			 0);
	for (int i = 0; i < 2; i++) {
		const struct ticket *ticket = &begun.places[0].holders[i].ticket;

		receipts[i] = driver_receipt(driver_peer(&d, &ticket->holder), ticket->chunk,
					     LENGTH, digest);
	}
	client->operation++;
	assert_int_equal(ASK(client, put_commit, &committed, .operation = client->operation,
			     .outstanding = client->operation, .put = begun.put, .size = LENGTH,
			     .digest = digest, .flags = PUT_REPLACE, .path = slice_of(path),
			     .receipts = receipts, .receipts_count = 2),
			 0);
}

/* Nobody is away: the third could not take it. */
static void test_put_with_too_few(void **state)
{
	struct heartbeat_reply beaten;

	(void)state;
	start(3);
	put_two_copies("/a");
	check();
	assert_non_null(problem(PROBLEM_UNDER_COPIED));
	assert_int_equal(problem(PROBLEM_UNDER_COPIED)->copies, 2);
	assert_true(says(problem(PROBLEM_UNDER_COPIED), "2 of 3 copies; put just now"));
	for (int i = 1; i <= 3; i++)
		assert_int_equal(ASK(storages[i], heartbeat, &beaten, .free = 1), 0);
	check();
	assert_true(says(problem(PROBLEM_UNDER_COPIED), "no other server has room for it"));
	driver_stop(&d);
}

static void test_bad_and_too_many(void **state)
{
	struct set_copies_reply set;
	struct corrupt_reply reported;
	struct chunk_id chunk;

	(void)state;
	start(3);
	chunk.chunk = put("/a");
	put("/b");
	assert_int_equal(ASK(storages[2], corrupt, &reported, .node = storages[2]->id,
			     .chunks = &chunk, .chunks_count = 1),
			 0);
	assert_int_equal(ASK(client, set_copies, &set, .operation = 900, .outstanding = 900,
			     .copies = 2, .path = slice_of("/b")),
			 0);
	check();
	assert_non_null(problem(PROBLEM_CORRUPT));
	assert_true(is_about(problem(PROBLEM_CORRUPT), "/a"));
	assert_true(id_equal(&problem(PROBLEM_CORRUPT)->node, &storages[2]->id));
	assert_non_null(problem(PROBLEM_SURPLUS));
	assert_true(is_about(problem(PROBLEM_SURPLUS), "/b"));
	driver_stop(&d);
}

static void test_copies_on_one_machine(void **state)
{
	(void)state;
	driver_start(&d, NULL);
	for (unsigned int i = 1; i <= 2; i++)
		storages[i] =
			driver_storage_with(&d, &(struct ns_storage){ .number = i, .machine = 7 });
	client = driver_client(&d, 1);
	driver_beat(&d, 4000);
	d.idle = true;
	put("/a");
	check();
	assert_null(problem(PROBLEM_SAME_MACHINE)); /* there is no other */
	storages[3] = driver_storage(&d, 3);
	storages[4] = driver_storage(&d, 4);
	check();
	assert_non_null(problem(PROBLEM_SAME_MACHINE));
	assert_true(says(problem(PROBLEM_SAME_MACHINE), "2 copies on 1 machine"));
	driver_stop(&d);
}

/* STATUS counts them, so they are told. */
static void test_removed_files(void **state)
{
	struct put_commit_reply committed;
	struct remove_reply removed;
	struct status_reply status;
	struct mkdir_reply made;
	const struct problem *found;

	(void)state;
	driver_start(&d, &(struct nameserver_config){ .trash_ms = 3600 * 1000 });
	for (unsigned int i = 1; i <= 3; i++)
		storages[i] = driver_storage(&d, i);
	client = driver_client(&d, 1);
	assert_int_equal(ASK(client, mkdir, &made, .operation = 1, .outstanding = 1,
			     .path = slice_of("/d")),
			 0);
	client->operation = 1;
	assert_int_equal(driver_put(client, "/d/f", LENGTH, &committed), 0);
	assert_int_equal(driver_put(client, "/g", LENGTH, &committed), 0);
	assert_int_equal(ASK(client, remove, &removed, .operation = 5000, .outstanding = 5000,
			     .path = slice_of("/d"), .flags = REMOVE_TREE),
			 0);
	driver_close(storages[1]);
	driver_beat(&d, 20000);
	check();
	found = &reply.problems[0];
	while (found < reply.problems + reply.problems_count && !says(found, "trash"))
		found++;
	assert_true(found < reply.problems + reply.problems_count);
	assert_int_equal(found->kind, PROBLEM_UNDER_COPIED);
	assert_int_equal(found->path.size, 0);
	assert_int_equal(found->copies, 2);
	assert_true(says(found, "in the trash: was /d/f; 2 of 3 copies"));
	assert_int_equal(ASK(client, status, &status, .nothing = 0), 0);
	assert_int_equal(status.under_copied, 2);
	driver_stop(&d);
}

/* Many chunks: in parts, each once; also of what is removed but held open. */
static void test_parts(void **state)
{
	enum { FILES = 700 };
	struct remove_reply removed;
	unsigned int seen = 0, found = 0;
	uint64_t after = 0;
	char path[16];

	(void)state;
	start(3);
	for (int i = 0; i < FILES; i++) {
		snprintf(path, sizeof(path), "/f%d", i);
		put(path);
	}
	assert_int_equal(ASK(client, remove, &removed, .operation = 5000, .outstanding = 5000,
			     .path = slice_of("/f0")),
			 0);
	driver_close(storages[1]);
	driver_beat(&d, 20000);
	do {
		assert_int_equal(ASK(client, check, &reply, .after = after), 0);
		assert_true(reply.more == 0 || reply.after > after);
		after = reply.after;
		seen += (unsigned int)reply.seen;
		for (unsigned int i = 0; i < reply.problems_count; i++)
			found += reply.problems[i].kind == PROBLEM_UNDER_COPIED;
	} while (reply.more);
	assert_int_equal(seen, FILES);
	assert_int_equal(found, FILES);
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_to_complain_about),
		cmocka_unit_test(test_servers),
		cmocka_unit_test(test_too_few_and_none),
		cmocka_unit_test(test_put_with_too_few),
		cmocka_unit_test(test_bad_and_too_many),
		cmocka_unit_test(test_copies_on_one_machine),
		cmocka_unit_test(test_removed_files),
		cmocka_unit_test(test_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

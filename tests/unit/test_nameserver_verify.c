/* VERIFY: what the servers find, and what becomes of it. */
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

static void start(unsigned int servers)
{
	driver_start(&d, NULL);
	for (unsigned int i = 1; i <= servers; i++)
		storages[i] = driver_storage(&d, i);
	client = driver_client(&d, 1);
	driver_beat(&d, 4000);
}

static uint64_t put(const char *path)
{
	struct put_commit_reply committed;
	struct open_reply opened;

	assert_int_equal(driver_put(client, path, LENGTH, &committed), 0);
	assert_int_equal(ASK(client, open, &opened, .path = slice_of(path)), 0);
	return opened.chunks[0].chunk;
}

static uint8_t state_of(const struct verify_reply *reply, const struct ns_peer *storage)
{
	for (unsigned int i = 0; i < reply->copies_count; i++) {
		if (id_equal(&reply->copies[i].node, &storage->id))
			return reply->copies[i].state;
	}
	return 0;
}

static uint64_t corrupt_copies(void)
{
	struct status_reply status;

	assert_int_equal(ASK(client, status, &status, .nothing = 0), 0);
	return status.corrupt;
}

/* The server's answer to its INSPECT, about one chunk. */
static void find(struct ns_peer *storage, uint64_t chunk, uint8_t status)
{
	const struct message *order = driver_next(storage, MSG_inspect);
	struct chunk_finding finding = { .chunk = chunk, .status = status };
	struct inspect_reply reply = { .findings = &finding, .findings_count = 1 };

	assert_non_null(order);
	driver_reply(storage, order, &reply);
}

static void test_all_is_well(void **state)
{
	const struct inspect_request *order;
	struct verify_reply reply;
	uint64_t chunk;

	(void)state;
	start(3);
	chunk = put("/a");
	assert_int_equal(ASK(client, verify, &reply, .path = slice_of("/a")), 0);
	assert_int_equal(reply.next, LENGTH);
	assert_int_equal(reply.entry.size, LENGTH);
	assert_int_equal(reply.copies_count, 3);
	for (unsigned int i = 1; i <= 3; i++) {
		assert_int_equal(state_of(&reply, storages[i]), COPY_OK);
		order = driver_order(storages[i], MSG_inspect);
		assert_non_null(order);
		assert_int_equal(order->chunks_count, 1);
		assert_int_equal(order->chunks[0].chunk, chunk);
		assert_int_equal(order->chunks[0].length, LENGTH);
	}
	assert_int_equal(corrupt_copies(), 0);
	driver_stop(&d);
}

static void test_what_is_found_is_told_and_repaired(void **state)
{
	struct verify_reply reply;
	uint64_t chunk;
	uint32_t id;

	(void)state;
	start(5);
	d.idle = true;
	chunk = put("/a");
	struct ns_peer *holders[3], *offline;
	unsigned int count = 0;

	for (unsigned int i = 1; i <= 5 && count < 3; i++) {
		struct stat_reply stat;

		assert_int_equal(
			ASK(client, stat, &stat, .flags = STAT_HOLDERS, .path = slice_of("/a")), 0);
		for (unsigned int j = 0; j < stat.holders_count; j++) {
			if (id_equal(&stat.holders[j].node, &storages[i]->id))
				holders[count++] = storages[i];
		}
	}
	assert_int_equal(count, 3);
	id = POST(client, verify, .path = slice_of("/a"));
	find(holders[0], chunk, ERR_CORRUPT);
	find(holders[1], chunk, ERR_BUSY);
	find(holders[2], chunk, ERR_NOT_FOUND);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), -ERR_TIMEOUT);
	driver_clock(&d, 300);
	find(holders[1], chunk, 0); /* asked again */
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), 0);
	assert_int_equal(reply.copies_count, 3);
	assert_int_equal(state_of(&reply, holders[0]), COPY_MISMATCH);
	assert_int_equal(state_of(&reply, holders[1]), COPY_OK);
	assert_int_equal(state_of(&reply, holders[2]), COPY_MISSING);
	assert_int_equal(corrupt_copies(), 2);
	/* Asked once more before it is repaired: what is known to be bad is not read again. */
	id = POST(client, verify, .path = slice_of("/a"));
	assert_null(driver_next(holders[0], MSG_inspect));
	offline = holders[1];
	find(offline, chunk, 0);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), 0);
	assert_int_equal(state_of(&reply, holders[0]), COPY_MISMATCH);
	assert_int_equal(state_of(&reply, offline), COPY_OK);
	d.idle = false;
	for (unsigned int i = 1; i <= 5; i++) {
		const struct message *order = driver_next(storages[i], MSG_fetch);

		if (order)
			driver_obey(storages[i], order);
	}
	driver_beat(&d, 10000);
	assert_int_equal(corrupt_copies(), 0);
	id = POST(client, verify, .path = slice_of("/a"));
	driver_clock(&d, 10);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), 0);
	assert_int_equal(reply.copies_count, 3);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(reply.copies[i].state, COPY_OK);
	driver_stop(&d);
}

/* The name server says IN_PROGRESS in time; the same question again gets the answer. */
static void test_a_server_that_is_silent(void **state)
{
	struct verify_reply reply;
	uint32_t id;

	(void)state;
	start(3);
	put("/a");
	storages[2]->idle = true;
	id = POST(client, verify, .path = slice_of("/a"));
	driver_clock(&d, IN_PROGRESS_AFTER_MS);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), -ERR_IN_PROGRESS);
	id = POST(client, verify, .path = slice_of("/a"));
	driver_clock(&d, 1500);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), 0);
	assert_int_equal(state_of(&reply, storages[1]), COPY_OK);
	assert_int_equal(state_of(&reply, storages[2]), COPY_SILENT);
	assert_int_equal(corrupt_copies(), 0);
	/* One that goes while it is asked need not be waited for. */
	id = POST(client, verify, .path = slice_of("/a"));
	driver_close(storages[2]);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), 0);
	assert_int_equal(state_of(&reply, storages[2]), COPY_SILENT);
	/* One that is gone is not asked. */
	id = POST(client, verify, .path = slice_of("/a"));
	driver_clock(&d, 10);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), 0);
	assert_int_equal(state_of(&reply, storages[2]), COPY_SILENT);
	driver_stop(&d);
}

/* Nor is one that has been silent for longer than a heartbeat takes. */
static void test_a_server_that_was_silent_before(void **state)
{
	struct verify_reply reply;
	uint32_t id;

	(void)state;
	start(3);
	put("/a");
	put("/b");
	storages[2]->idle = true;
	driver_clock(&d, 3000);
	assert_int_equal(driver_ask(storages[1], MSG_heartbeat, &(struct heartbeat_request){ 0 },
				    &(struct heartbeat_reply){ 0 }, sizeof(struct heartbeat_reply)),
			 0);
	id = POST(client, verify, .path = slice_of("/a"));
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), 0);
	assert_int_equal(state_of(&reply, storages[1]), COPY_OK);
	assert_int_equal(state_of(&reply, storages[2]), COPY_SILENT);
	driver_stop(&d);
}

/* One that lives but does not answer is not asked again part after part. */
static void test_a_server_that_is_stuck(void **state)
{
	struct verify_reply reply;
	uint32_t id;

	(void)state;
	start(3);
	put("/a");
	put("/b");
	storages[2]->idle = true;
	POST(client, verify, .path = slice_of("/a"));
	driver_beat(&d, 32000);
	id = POST(client, verify, .path = slice_of("/b"));
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), 0);
	assert_int_equal(state_of(&reply, storages[2]), COPY_SILENT);
	driver_beat(&d, 32000);
	storages[2]->idle = false;
	id = POST(client, verify, .path = slice_of("/b"));
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), 0);
	assert_int_equal(state_of(&reply, storages[2]), COPY_OK);
	driver_stop(&d);
}

/* Nobody has the third copy that is wanted, and somebody could. */
static void test_a_copy_that_nobody_has(void **state)
{
	struct verify_reply reply;
	unsigned int missing = 0;
	uint32_t id;

	(void)state;
	start(2);
	put("/a");
	id = POST(client, verify, .path = slice_of("/a"));
	driver_clock(&d, 10);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), 0);
	assert_int_equal(reply.copies_count, 2);
	d.idle = true;
	storages[3] = driver_storage(&d, 3);
	d.idle = false;
	storages[3]->idle = true;
	id = POST(client, verify, .path = slice_of("/a"));
	driver_clock(&d, 10);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), 0);
	assert_int_equal(reply.copies_count, 3);
	for (unsigned int i = 0; i < 3; i++)
		missing +=
			reply.copies[i].state == COPY_MISSING && id_is_none(&reply.copies[i].node);
	assert_int_equal(missing, 1);
	driver_stop(&d);
}

static void test_refusals(void **state)
{
	struct create_reply created;
	struct verify_reply reply;
	struct mkdir_reply made;

	(void)state;
	start(3);
	put("/a");
	assert_int_equal(ASK(client, verify, &reply, .path = slice_of("/none")), -ERR_NOT_FOUND);
	assert_int_equal(ASK(client, mkdir, &made, .operation = 900, .outstanding = 900,
			     .path = slice_of("/d")),
			 0);
	assert_int_equal(ASK(client, verify, &reply, .path = slice_of("/d")), -ERR_IS_DIR);
	assert_int_equal(ASK(client, verify, &reply, .inode = 5, .path = slice_of("/a")),
			 -ERR_STALE);
	assert_int_equal(ASK(client, verify, &reply, .offset = LENGTH + 1, .path = slice_of("/a")),
			 -ERR_RANGE);
	assert_int_equal(ASK(client, verify, &reply, .offset = LENGTH, .path = slice_of("/a")), 0);
	assert_int_equal(reply.copies_count, 0);
	assert_int_equal(ASK(client, create, &created, .operation = 901, .outstanding = 901,
			     .path = slice_of("/empty")),
			 0);
	assert_int_equal(ASK(client, verify, &reply, .path = slice_of("/empty")), 0);
	assert_int_equal(reply.next, 0);
	assert_int_equal(reply.copies_count, 0);
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_is_well),
		cmocka_unit_test(test_what_is_found_is_told_and_repaired),
		cmocka_unit_test(test_a_server_that_is_silent),
		cmocka_unit_test(test_a_server_that_was_silent_before),
		cmocka_unit_test(test_a_server_that_is_stuck),
		cmocka_unit_test(test_a_copy_that_nobody_has),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

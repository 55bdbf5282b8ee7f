/* When nothing is deleted, or only slowly: a stale catalogue, a rebuilt one, a mass of unknown
 * chunks; and what comes to /lost+found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hash.h"
#include "ns_driver.h"

enum { GRACE_MS = 60 * 1000, HOUR_MS = 60 * 60 * 1000, DAY_MS = 24 * HOUR_MS };

static struct ns_driver d;
static struct ns_peer *client, *storages[8];

static void start(bool rebuilt, unsigned int servers)
{
	const struct nameserver_config config = {
		.unknown_grace_ms = GRACE_MS,
		.rebuilt = rebuilt,
		.repair_delay_ms = 1000,
	};

	driver_start(&d, &config);
	d.config.rebuilt = false;
	for (unsigned int i = 1; i <= servers; i++)
		storages[i] = driver_storage(&d, i);
	client = driver_client(&d, 1);
	driver_clock(&d, 2000);
}

static uint64_t put(const char *path)
{
	struct put_commit_reply committed;
	struct open_reply opened;

	assert_int_equal(driver_put(client, path, 100, &committed), 0);
	assert_int_equal(ASK(client, open, &opened, .path = slice_of(path)), 0);
	POST(client, close, .inode = opened.entry.inode);
	return opened.chunks[0].chunk;
}

static struct status_reply status_of(void)
{
	struct status_reply status;

	assert_int_equal(ASK(client, status, &status, .nothing = 0), 0);
	return status;
}

static unsigned int deleted_at(struct ns_peer *storage)
{
	const struct delete_request *order;
	unsigned int count = 0;

	while ((order = driver_order(storage, MSG_delete)))
		count += order->chunks_count;
	return count;
}

static void remove_path(const char *path)
{
	struct remove_reply removed;

	client->operation++;
	assert_int_equal(ASK(client, remove, &removed, .operation = client->operation,
			     .outstanding = client->operation, .flags = REMOVE_TREE,
			     .path = slice_of(path)),
			 0);
}

static bool check_says(const char *text)
{
	struct check_reply check;

	assert_int_equal(ASK(client, check, &check, .after = 0), 0);
	for (unsigned int i = 0; i < check.problems_count; i++) {
		const struct slice detail = check.problems[i].detail;

		if (memmem(detail.data, detail.size, text, strlen(text)))
			return true;
	}
	return false;
}

/* A server back with these chunks, on its `start`th start. */
static struct ns_peer *server_with(unsigned int number, uint64_t start,
				   const struct chunk_ref *chunks, unsigned int count)
{
	return driver_storage_with(&d, &(struct ns_storage){ .number = number,
							     .start = start,
							     .chunks = chunks,
							     .chunk_count = count });
}

static void again(void)
{
	driver_restart(&d);
	client = driver_client(&d, 2);
}

/* ---- a stale catalogue ---- */

static void test_an_unknown_start_number_stops_all_deleting(void **state)
{
	const struct chunk_ref held[] = { { 5, 100 }, { (uint64_t)9 << 40 | 1, 100 } };

	(void)state;
	start(false, 2);
	put("/a");
	assert_int_equal(status_of().hold, HOLD_NONE);
	assert_false(check_says("nothing is deleted"));
	server_with(3, 1, held, 2);
	storages[3] = driver_peer(&d, &(struct id[]){ id_of(3) }[0]);
	driver_clock(&d, 100);
	assert_int_equal(status_of().hold, HOLD_STALE);
	assert_int_equal(status_of().hold_left_ms, 0);
	assert_true(check_says("newer catalogue"));
	assert_true(driver_logged(&d, "catalogue_is_old"));
	assert_true(driver_logged(&d, "deletes_held reason=stale"));
	remove_path("/a");
	driver_beat(&d, 2 * GRACE_MS);
	for (unsigned int i = 1; i <= 3; i++)
		assert_int_equal(deleted_at(storages[i]), 0);
	assert_int_equal(status_of().hold, HOLD_STALE);
	/* The next start may be one with the right catalogue. */
	again();
	assert_int_equal(status_of().hold, HOLD_NONE);
	driver_stop(&d);
}

static int register_with_head(struct ns_peer *peer, uint64_t epoch, uint64_t sequence)
{
	struct register_reply reply;

	return ASK(peer, register, &reply, .capacity = 1 << 30, .free = 1 << 30, .start = 2,
		   .disk = id_of(0x8001), .catalogue_epoch = epoch, .catalogue_sequence = sequence);
}

static void test_a_newer_copy_of_the_catalogue_stops_all_deleting(void **state)
{
	struct ns_peer *peer;

	(void)state;
	start(false, 1);
	peer = storages[1];
	assert_int_equal(register_with_head(peer, peer->epoch, 1), 0);
	assert_int_equal(status_of().hold, HOLD_NONE);
	assert_int_equal(register_with_head(peer, peer->epoch, d.sealed + 1000), 0);
	assert_int_equal(status_of().hold, HOLD_STALE);
	driver_stop(&d);
}

/* ---- a rebuilt one ---- */

static void test_nothing_is_deleted_for_a_week_after_a_rebuild(void **state)
{
	const struct chunk_ref unknown[] = { { 5, 100 } };
	struct trash_purge_reply purged;

	(void)state;
	start(true, 2);
	put("/a");
	storages[3] = server_with(3, 1, unknown, 1);
	assert_int_equal(status_of().hold, HOLD_REBUILT);
	assert_in_range(status_of().hold_left_ms, 7 * (uint64_t)DAY_MS - 10000,
			7 * (uint64_t)DAY_MS);
	assert_true(check_says("since the catalogue was rebuilt"));
	assert_true(driver_logged(&d, "deletes_held reason=rebuilt"));
	remove_path("/a");
	client->operation++;
	ASK(client, trash_purge, &purged, .operation = client->operation,
	    .outstanding = client->operation);
	driver_beat(&d, 2 * HOUR_MS);
	assert_int_equal(status_of().files, 0);
	assert_int_equal(status_of().freeing, 1);
	for (unsigned int i = 1; i <= 3; i++)
		assert_int_equal(deleted_at(storages[i]), 0);
	driver_stop(&d);
}

static void test_the_week_is_running_time(void **state)
{
	uint64_t left_ms;

	(void)state;
	start(true, 0);
	driver_clock(&d, 3 * DAY_MS);
	left_ms = status_of().hold_left_ms;
	assert_in_range(left_ms, 4 * (uint64_t)DAY_MS - 10000, 4 * (uint64_t)DAY_MS);
	/* The machine was off for a month. What a crash loses of running time only makes it
	 * longer. */
	d.now_ms += (uint64_t)30 * DAY_MS;
	again();
	assert_int_equal(status_of().hold, HOLD_REBUILT);
	assert_in_range(status_of().hold_left_ms, left_ms, left_ms + 10 * 60 * 1000);
	storages[1] = driver_storage(&d, 1);
	client->operation = 100;
	put("/a");
	remove_path("/a");
	driver_beat(&d, 60 * 1000);
	assert_int_equal(deleted_at(storages[1]), 0);
	driver_close(storages[1]);
	driver_clock(&d, left_ms + 11 * 60 * 1000);
	storages[1] = server_with(1, 2, NULL, 0);
	driver_beat(&d, 60 * 1000);
	client = driver_client(&d, 3);
	assert_int_equal(status_of().hold, HOLD_NONE);
	assert_int_equal(status_of().freeing, 0);
	assert_true(driver_logged(&d, "deletes_go_on reason=rebuilt"));
	driver_stop(&d);
}

/* Nobody has heard anything while the name server's machine was suspended. */
static void test_sleep_does_not_count(void **state)
{
	const struct chunk_ref unknown[] = { { 5, 100 } };

	(void)state;
	start(false, 1);
	storages[2] = server_with(2, 1, unknown, 1);
	driver_clock(&d, GRACE_MS / 10);
	d.now_ms += 10 * (uint64_t)GRACE_MS;
	driver_beat(&d, GRACE_MS / 3);
	assert_int_equal(deleted_at(storages[2]), 0);
	driver_beat(&d, GRACE_MS);
	assert_int_equal(deleted_at(storages[2]), 1);
	driver_stop(&d);
}

/* Ids that a catalogue some batches behind does not know of are not given out again. */
static void test_a_rebuild_leaps_over_start_numbers(void **state)
{
	const struct chunk_ref held[] = { { (uint64_t)7 << 40 | 1, 100 } };

	(void)state;
	start(true, 0);
	assert_true(nameserver_info(d.ns).start > 1000);
	server_with(1, 1, held, 1);
	assert_int_equal(status_of().hold, HOLD_REBUILT);
	driver_stop(&d);
}

/* ---- unknown chunks ---- */

static void test_unknown_chunks_wait_for_servers_that_are_missing(void **state)
{
	const struct chunk_ref unknown[] = { { 5, 100 } };

	(void)state;
	start(false, 2);
	again();
	storages[1] = server_with(1, 2, unknown, 1);
	driver_beat(&d, 3 * GRACE_MS);
	assert_int_equal(deleted_at(storages[1]), 0);
	storages[2] = server_with(2, 2, NULL, 0);
	driver_beat(&d, 4000);
	assert_int_equal(deleted_at(storages[1]), 1);
	/* But not for ever. */
	again();
	storages[1] = server_with(1, 3, unknown, 1);
	driver_beat(&d, 5 * GRACE_MS);
	assert_int_equal(deleted_at(storages[1]), 0);
	driver_beat(&d, 2 * GRACE_MS);
	assert_int_equal(deleted_at(storages[1]), 1);
	driver_stop(&d);
}

static void test_the_grace_counts_from_the_inventory_on(void **state)
{
	const struct chunk_ref unknown[] = { { 5, 100 } };

	(void)state;
	start(false, 1);
	driver_beat(&d, 10 * GRACE_MS);
	storages[2] = server_with(2, 1, unknown, 1);
	driver_beat(&d, GRACE_MS - 4000);
	assert_int_equal(deleted_at(storages[2]), 0);
	driver_beat(&d, 8000);
	assert_int_equal(deleted_at(storages[2]), 1);
	driver_stop(&d);
}

/* A late receipt of an older run is quarantined like what an inventory names. */
static void test_a_late_copy_of_an_older_run_waits(void **state)
{
	struct stored_reply stored;
	struct receipt late;

	(void)state;
	start(false, 1);
	again();
	storages[1] = server_with(1, 2, NULL, 0);
	driver_beat(&d, 2 * GRACE_MS);
	late = driver_receipt(storages[1], (uint64_t)1 << 40 | 77, 9, digest_of("y", 1));
	ASK(storages[1], stored, &stored, .receipts = &late, .receipts_count = 1);
	driver_beat(&d, GRACE_MS / 2);
	assert_int_equal(deleted_at(storages[1]), 0);
	driver_beat(&d, GRACE_MS);
	assert_int_equal(deleted_at(storages[1]), 1);
	driver_stop(&d);
}

/* What was removed while a server was away is no unknown chunk. */
static void test_a_server_that_was_away_is_told_at_once(void **state)
{
	struct chunk_ref held[1] = { { 0, 100 } };

	(void)state;
	start(false, 2);
	held[0].chunk = put("/a");
	driver_close(storages[2]);
	remove_path("/a");
	driver_clock(&d, 1000);
	assert_int_equal(deleted_at(storages[1]), 1);
	assert_int_equal(status_of().freeing, 0);
	storages[2] = server_with(2, 2, held, 1);
	driver_clock(&d, 5000);
	assert_int_equal(deleted_at(storages[2]), 1);
	driver_stop(&d);
}

/* ---- the brake ---- */

enum { MANY = 2500 };

static struct chunk_ref many[MANY];

static void test_the_brake(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < MANY; i++)
		many[i] = (struct chunk_ref){ i + 1, 100 };
	start(false, 0);
	storages[1] = server_with(1, 1, many, MANY);
	driver_beat(&d, GRACE_MS + 4000);
	assert_int_equal(deleted_at(storages[1]), 0);
	assert_true(driver_logged(&d, "delete_brake node=host1 waiting=2500 most=1000"));
	assert_int_equal(status_of().hold, HOLD_BRAKE);
	assert_in_range(status_of().hold_left_ms, HOUR_MS - 10000, HOUR_MS);
	assert_true(check_says("2500 chunks that no file explains"));
	driver_beat(&d, HOUR_MS - 10000);
	assert_int_equal(deleted_at(storages[1]), 0);
	driver_beat(&d, 20000);
	assert_int_equal(deleted_at(storages[1]), 1000);
	assert_int_equal(status_of().hold, HOLD_BRAKE);
	driver_beat(&d, HOUR_MS - 20000);
	assert_int_equal(deleted_at(storages[1]), 0);
	driver_beat(&d, 20000);
	assert_int_equal(deleted_at(storages[1]), 1000);
	driver_beat(&d, HOUR_MS);
	assert_int_equal(deleted_at(storages[1]), 500);
	assert_int_equal(status_of().hold, HOLD_NONE);
	driver_stop(&d);
}

/* Many servers at once: a turn of the name server stays short, and each server has its own. */
static void test_deletes_of_all_servers_take_turns(void **state)
{
	unsigned int first[4], sum = 0;

	(void)state;
	for (unsigned int i = 0; i < 1000; i++)
		many[i] = (struct chunk_ref){ i + 1, 100 };
	start(false, 0);
	for (unsigned int i = 1; i <= 3; i++)
		storages[i] = server_with(i, 1, many, 1000);
	driver_beat(&d, GRACE_MS - 4000);
	for (unsigned int i = 0; i < 10000 && !sum; i++) {
		driver_clock(&d, 1);
		if (i % 2000 == 0)
			driver_beat(&d, 1);
		for (unsigned int j = 1; j <= 3; j++)
			sum += first[j] = deleted_at(storages[j]);
	}
	assert_in_range(sum, 1, 256);
	driver_clock(&d, 45);
	for (unsigned int i = 1; i <= 3; i++) {
		first[i] += deleted_at(storages[i]);
		assert_int_not_equal(first[i], 0);
	}
	driver_beat(&d, 4000);
	for (unsigned int i = 1; i <= 3; i++)
		assert_int_equal(first[i] + deleted_at(storages[i]), 1000);
	driver_stop(&d);
}

static void test_what_users_remove_is_not_braked(void **state)
{
	char path[32];

	(void)state;
	start(false, 1);
	for (unsigned int i = 0; i < MANY; i++) {
		snprintf(path, sizeof(path), "/f%u", i);
		put(path);
	}
	for (unsigned int i = 0; i < MANY; i++) {
		snprintf(path, sizeof(path), "/f%u", i);
		remove_path(path);
	}
	driver_beat(&d, 10000);
	assert_int_equal(deleted_at(storages[1]), MANY);
	assert_int_equal(status_of().hold, HOLD_NONE);
	driver_stop(&d);
}

/* Copies too many that nothing explains: places that came with inventories. */
static void test_copies_too_many_are_braked(void **state)
{
	unsigned int most = 0;
	char path[32];

	(void)state;
	start(false, 3);
	for (unsigned int i = 0; i < MANY; i++) {
		snprintf(path, sizeof(path), "/f%u", i);
		many[i] = (struct chunk_ref){ put(path), 100 };
	}
	storages[4] = server_with(4, 1, many, MANY);
	driver_beat(&d, 10 * 60 * 1000);
	for (unsigned int i = 1; i <= 4; i++)
		most += deleted_at(storages[i]);
	assert_true(most >= 1000); /* of each server */
	assert_true(most <= MANY);
	for (unsigned int i = 1; i <= 4; i++)
		driver_close(storages[i]);
	driver_stop(&d);
}

/* ---- /lost+found ---- */

/* Answers INSPECT as a server does whose chunks have the digest of their number. */
static unsigned int inspected(struct ns_peer *storage, uint64_t damaged)
{
	const struct message *order = driver_next(storage, MSG_inspect);
	const struct inspect_request *request = order ? order->body : NULL;
	struct chunk_finding findings[INSPECT_MAX] = { 0 };
	struct inspect_reply reply = { .findings = findings };

	for (unsigned int i = 0; request && i < request->chunks_count; i++) {
		const struct chunk_sum *sum = &request->chunks[i];
		struct chunk_finding *finding = &findings[reply.findings_count++];

		finding->chunk = sum->chunk;
		finding->digest = digest_of(&sum->chunk, sizeof(sum->chunk));
		if (sum->chunk == damaged || !digest_equal(&finding->digest, &sum->digest))
			finding->status = ERR_CORRUPT;
	}
	if (order)
		driver_reply(storage, order, &reply);
	return reply.findings_count;
}

static void serve(unsigned int seconds, uint64_t damaged)
{
	for (unsigned int i = 0; i < seconds * 10; i++) {
		driver_clock(&d, 100);
		for (unsigned int j = 1; j <= 3; j++)
			inspected(storages[j], damaged);
		if (i % 20 == 0)
			driver_beat(&d, 1);
	}
}

static void test_what_nobody_explains_comes_to_lost_and_found(void **state)
{
	static struct chunk_ref held[100];
	struct stat_reply stat;
	struct open_reply opened;

	(void)state;
	for (unsigned int i = 0; i < 100; i++)
		held[i] = (struct chunk_ref){ 0x100 + i, 50 + i };
	start(true, 0);
	d.idle = true;
	storages[1] = server_with(1, 1, held, 100);
	storages[2] = server_with(2, 1, held, 40);
	storages[3] = server_with(3, 1, held + 99, 1);
	serve(20, 0x105);
	assert_int_equal(status_of().files, 99);
	assert_int_equal(status_of().directories, 1);
	assert_int_equal(ASK(client, stat, &stat, .path = slice_of("/lost+found/0000000000000105")),
			 -ERR_NOT_FOUND);
	assert_int_equal(ASK(client, stat, &stat, .path = slice_of("/lost+found/0000000000000101")),
			 0);
	assert_int_equal(stat.entry.size, 51);
	assert_int_equal(stat.entry.copies, 2);
	assert_int_equal(
		ASK(client, open, &opened, .path = slice_of("/lost+found/0000000000000150")), 0);
	assert_int_equal(opened.chunks_count, 1);
	assert_int_equal(opened.chunks[0].chunk, 0x150);
	assert_int_equal(opened.chunks[0].holders_count, 1);
	assert_true(driver_logged(&d, "lost_found chunks=99 path=\"/lost+found\""));
	assert_int_equal(status_of().lost, 0);
	assert_int_equal(status_of().under_copied, 0);
	/* They are ordinary files; what was removed is not found again. */
	client->operation++;
	remove_path("/lost+found/0000000000000101");
	storages[1] = server_with(1, 2, held, 100);
	serve(20, 0x105);
	assert_int_equal(status_of().files, 98);
	driver_stop(&d);
}

static void test_lost_and_found_beside_a_file_of_that_name(void **state)
{
	static struct chunk_ref held[1] = { { 0x100, 50 } };
	struct stat_reply stat;

	(void)state;
	start(true, 3);
	put("/lost+found");
	d.idle = true;
	storages[3] = server_with(3, 2, held, 1);
	serve(20, 0);
	assert_int_equal(
		ASK(client, stat, &stat, .path = slice_of("/lost+found-1/0000000000000100")), 0);
	assert_int_equal(stat.entry.size, 50);
	driver_stop(&d);
}

/* Chunks of this time are explained by puts, and without a rebuild unknown chunks are no files. */
static void test_lost_and_found_shows_nothing_else(void **state)
{
	struct chunk_ref held[1] = { { 0x100, 50 } };

	(void)state;
	start(false, 1);
	d.idle = true;
	storages[1] = storages[2] = storages[3] = server_with(2, 1, held, 1);
	serve(20, 0);
	assert_int_equal(status_of().files, 0);
	driver_stop(&d);
	start(true, 1);
	d.idle = true;
	held[0].chunk = nameserver_info(d.ns).start << 40;
	storages[1] = storages[2] = storages[3] = server_with(2, 1, held, 1);
	serve(20, 0);
	assert_int_equal(status_of().files, 0);
	driver_stop(&d);
}

/* What an inventory names may be nonsense: no file has an empty chunk. */
static void test_an_empty_stray_is_no_file(void **state)
{
	struct chunk_ref held[1] = { { 0x100, 0 } };

	(void)state;
	start(true, 1);
	d.idle = true;
	storages[1] = storages[2] = storages[3] = server_with(2, 1, held, 1);
	serve(20, 0);
	assert_int_equal(status_of().files, 0);
	assert_false(d.failed);
	driver_stop(&d);
}

/* One that is still telling what it has may have a copy, too: so many are wanted. */
static void test_lost_and_found_waits_for_those_who_tell(void **state)
{
	static const struct chunk_ref held = { 0x100, 50 };
	const struct ns_storage slow = {
		.number = 3, .start = 2, .chunks = &held, .chunk_count = 1, .no_inventory = true
	};
	struct inventory_reply inventory;
	struct stat_reply stat;

	(void)state;
	start(true, 0);
	for (unsigned int i = 1; i <= 3; i++)
		storages[i] = server_with(i, 1, NULL, 0);
	again();
	d.idle = true;
	storages[1] = server_with(1, 2, &held, 1);
	storages[2] = server_with(2, 2, &held, 1);
	storages[3] = driver_storage_with(&d, &slow);
	assert_true(storages[3]->wanted);
	serve(20, 0);
	assert_int_equal(status_of().files, 0);
	assert_int_equal(ASK(storages[3], inventory, &inventory, .last = 1, .chunks = &held,
			     .chunks_count = 1),
			 0);
	serve(20, 0);
	assert_int_equal(ASK(client, stat, &stat, .path = slice_of("/lost+found/0000000000000100")),
			 0);
	assert_int_equal(stat.entry.copies_wanted, 3);
	driver_stop(&d);
}

/* The catalogue that was put together has all of a run that ended before its last one began: what
 * it does not explain of that run was removed, or never became a file. */
static void test_what_was_removed_long_ago_is_not_found(void **state)
{
	struct chunk_ref held[] = { { (uint64_t)1 << 40 | 0x100, 50 },
				    { (uint64_t)2 << 40 | 0x100, 50 },
				    { (uint64_t)3 << 40 | 0x100, 50 } };
	struct stat_reply stat;

	(void)state;
	start(false, 0);
	again();
	d.config.rebuilt = true;
	again();
	d.config.rebuilt = false;
	d.idle = true;
	storages[1] = storages[2] = storages[3] = server_with(1, 1, held, 3);
	serve(20, 0);
	/* The second run was the last that it knows of; of the third one it knows nothing. */
	assert_int_equal(status_of().files, 2);
	assert_int_equal(ASK(client, stat, &stat, .path = slice_of("/lost+found/0000010000000100")),
			 -ERR_NOT_FOUND);
	assert_int_equal(ASK(client, stat, &stat, .path = slice_of("/lost+found/0000020000000100")),
			 0);
	/* Nothing is deleted all the same; nor is it after a restart. */
	assert_int_equal(deleted_at(storages[1]), 0);
	again();
	storages[1] = storages[2] = storages[3] = server_with(1, 2, held, 3);
	serve(20, 0);
	assert_int_equal(status_of().files, 2);
	assert_int_equal(deleted_at(storages[1]), 0);
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_unknown_start_number_stops_all_deleting),
		cmocka_unit_test(test_a_newer_copy_of_the_catalogue_stops_all_deleting),
		cmocka_unit_test(test_nothing_is_deleted_for_a_week_after_a_rebuild),
		cmocka_unit_test(test_the_week_is_running_time),
		cmocka_unit_test(test_sleep_does_not_count),
		cmocka_unit_test(test_a_rebuild_leaps_over_start_numbers),
		cmocka_unit_test(test_unknown_chunks_wait_for_servers_that_are_missing),
		cmocka_unit_test(test_the_grace_counts_from_the_inventory_on),
		cmocka_unit_test(test_a_late_copy_of_an_older_run_waits),
		cmocka_unit_test(test_a_server_that_was_away_is_told_at_once),
		cmocka_unit_test(test_the_brake),
		cmocka_unit_test(test_deletes_of_all_servers_take_turns),
		cmocka_unit_test(test_what_users_remove_is_not_braked),
		cmocka_unit_test(test_copies_too_many_are_braked),
		cmocka_unit_test(test_what_nobody_explains_comes_to_lost_and_found),
		cmocka_unit_test(test_lost_and_found_beside_a_file_of_that_name),
		cmocka_unit_test(test_lost_and_found_shows_nothing_else),
		cmocka_unit_test(test_an_empty_stray_is_no_file),
		cmocka_unit_test(test_lost_and_found_waits_for_those_who_tell),
		cmocka_unit_test(test_what_was_removed_long_ago_is_not_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

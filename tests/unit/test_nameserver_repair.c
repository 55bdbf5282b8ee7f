/* Copies that are missing are made, copies too many go, and never one too many of these. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "hash.h"
#include "ns_driver.h"
#include "ns_state.h"

enum { LENGTH = 100, DELAY_MS = 30000 };

static struct ns_driver d;
static struct ns_peer *client, *storages[12];

static void start(unsigned int servers)
{
	driver_start(&d, NULL);
	for (unsigned int i = 1; i <= servers; i++)
		storages[i] = driver_storage(&d, i);
	client = driver_client(&d, 1);
	driver_beat(&d, 4000);
}

static struct open_reply opened(const char *path)
{
	struct open_reply reply;

	assert_int_equal(ASK(client, open, &reply, .path = slice_of(path)), 0);
	POST(client, close, .inode = reply.entry.inode);
	return reply;
}

static uint64_t put(const char *path)
{
	struct put_commit_reply committed;

	assert_int_equal(driver_put(client, path, LENGTH, &committed), 0);
	return opened(path).chunks[0].chunk;
}

static unsigned int copies_of(const char *path)
{
	return opened(path).chunks[0].holders_count;
}

static bool holds(const struct ns_peer *storage, const char *path)
{
	struct open_reply reply = opened(path);

	for (unsigned int i = 0; i < reply.chunks[0].holders_count; i++) {
		if (id_equal(&reply.chunks[0].holders[i].ticket.holder, &storage->id))
			return true;
	}
	return false;
}

/* The n-th server, from 1, of those that hold the file, or do not. */
static unsigned int server(unsigned int servers, const char *path, bool holder, unsigned int nth)
{
	for (unsigned int i = 1; i <= servers; i++) {
		if (holds(storages[i], path) == holder && --nth == 0)
			return i;
	}
	return 0;
}

static struct status_reply status_of(void)
{
	struct status_reply status;

	assert_int_equal(ASK(client, status, &status, .nothing = 0), 0);
	return status;
}

static void set_copies(const char *path, uint8_t copies)
{
	struct set_copies_reply reply;

	client->operation++;
	assert_int_equal(ASK(client, set_copies, &reply, .operation = client->operation,
			     .outstanding = client->operation, .copies = copies,
			     .path = slice_of(path)),
			 0);
}

static void report_bad(struct ns_peer *who, const struct ns_peer *holder, uint64_t chunk)
{
	struct corrupt_reply reply;
	const struct chunk_id id = { chunk };

	assert_int_equal(
		ASK(who, corrupt, &reply, .node = holder->id, .chunks = &id, .chunks_count = 1), 0);
}

static unsigned int deleted_at(struct ns_peer *storage)
{
	const struct delete_request *order;
	unsigned int count = 0;

	while ((order = driver_order(storage, MSG_delete)))
		count += order->chunks_count;
	return count;
}

static unsigned int times_logged(const char *text)
{
	const char *at = (const char *)d.events.data, *end = at + d.events.size;
	unsigned int count = 0;

	while (at && (at = memmem(at, (size_t)(end - at), text, strlen(text)))) {
		count++;
		at += strlen(text);
	}
	return count;
}

static void test_a_bad_copy_is_replaced_at_once(void **state)
{
	const struct fetch_request *fetch;
	const struct message *order;
	unsigned int bad, spare;
	uint64_t chunk;

	(void)state;
	start(4);
	chunk = put("/a");
	bad = server(4, "/a", true, 1);
	spare = server(4, "/a", false, 1);
	storages[spare]->idle = true;
	report_bad(storages[bad], storages[bad], chunk);
	assert_int_equal(copies_of("/a"), 2);
	assert_int_equal(status_of().corrupt, 1);
	assert_int_equal(status_of().repairing, 1);
	driver_clock(&d, 100);
	order = driver_next(storages[spare], MSG_fetch);
	assert_non_null(order);
	fetch = order->body;
	assert_int_equal(fetch->chunk.chunk, chunk);
	assert_int_equal(fetch->chunk.length, LENGTH);
	assert_int_equal(fetch->ticket.operation, TICKET_READ);
	assert_true(id_equal(&fetch->ticket.client, &storages[spare]->id));
	assert_false(id_equal(&fetch->ticket.holder, &storages[bad]->id));
	assert_true(fetch->endpoints_count > 0);
	assert_int_equal(deleted_at(storages[bad]), 0);
	driver_obey(storages[spare], order);
	assert_int_equal(copies_of("/a"), 3);
	driver_clock(&d, 1000);
	assert_int_equal(deleted_at(storages[bad]), 1);
	assert_int_equal(status_of().corrupt, 0);
	assert_int_equal(status_of().repairing, 0);
	assert_int_equal(status_of().under_copied, 0);
	assert_true(driver_logged(&d, "repaired"));
	driver_stop(&d);
}

static void test_without_another_server_the_same_one_fetches(void **state)
{
	uint64_t chunk;

	(void)state;
	start(3);
	chunk = put("/a");
	report_bad(storages[2], storages[2], chunk);
	driver_clock(&d, 1000);
	assert_int_equal(copies_of("/a"), 3);
	assert_int_equal(driver_orders(storages[2], MSG_fetch), 1);
	assert_int_equal(deleted_at(storages[2]), 0);
	assert_int_equal(status_of().corrupt, 0);
	driver_stop(&d);
}

static void test_the_last_copy_stays(void **state)
{
	uint64_t chunk;

	(void)state;
	start(3);
	chunk = put("/a");
	for (unsigned int i = 1; i <= 3; i++)
		storages[i]->idle = true;
	report_bad(storages[1], storages[1], chunk);
	report_bad(storages[2], storages[2], chunk);
	report_bad(storages[3], storages[3], chunk);
	driver_clock(&d, 100);
	assert_int_equal(copies_of("/a"), 1); /* it is a place still, but no sound copy */
	assert_int_equal(status_of().corrupt, 3);
	for (unsigned int i = 1; i <= 3; i++)
		assert_int_equal(deleted_at(storages[i]), 0);
	driver_stop(&d);
}

static void test_a_client_is_not_believed_before_the_server_has_looked(void **state)
{
	const struct message *order;
	struct chunk_finding finding = { .status = ERR_CORRUPT };
	struct inspect_reply reply = { .findings = &finding, .findings_count = 1 };
	uint64_t chunk;

	(void)state;
	start(3);
	chunk = put("/a");
	report_bad(client, storages[1], chunk); /* it looks, and all is well */
	driver_clock(&d, 100);
	assert_int_equal(driver_orders(storages[1], MSG_inspect), 1);
	assert_int_equal(status_of().corrupt, 0);
	storages[2]->idle = true;
	report_bad(client, storages[2], chunk);
	assert_int_equal(status_of().corrupt, 1);
	driver_clock(&d, 10);
	order = driver_next(storages[2], MSG_inspect);
	assert_non_null(order);
	finding.chunk = chunk;
	driver_reply(storages[2], order, &reply);
	assert_int_equal(status_of().corrupt, 1);
	assert_false(holds(storages[2], "/a"));
	driver_clock(&d, 1000);
	order = driver_next(storages[2], MSG_fetch);
	assert_non_null(order);
	driver_obey(storages[2], order);
	assert_int_equal(status_of().corrupt, 0);
	assert_int_equal(copies_of("/a"), 3);
	driver_stop(&d);
}

static void test_a_dead_server_is_missed_after_the_delay(void **state)
{
	struct chunk_ref held[2] = { { .length = LENGTH }, { .length = LENGTH } };
	unsigned int dead, spare;

	(void)state;
	start(4);
	held[0].chunk = put("/a");
	dead = server(4, "/a", true, 1);
	spare = server(4, "/a", false, 1);
	driver_close(storages[dead]);
	driver_beat(&d, DEAD_AFTER_MS + DELAY_MS - 4000);
	assert_int_equal(copies_of("/a"), 2);
	assert_int_equal(driver_orders(storages[spare], MSG_fetch), 0);
	driver_beat(&d, 8000);
	assert_int_equal(copies_of("/a"), 3);
	assert_true(holds(storages[spare], "/a"));
	/* It returns: one copy too many, and one goes. */
	storages[dead] = driver_storage_with(
		&d, &(struct ns_storage){
			    .number = dead, .start = 2, .chunks = held, .chunk_count = 1 });
	assert_int_equal(copies_of("/a"), 4);
	driver_beat(&d, 8000);
	assert_int_equal(copies_of("/a"), 3);
	assert_int_equal(deleted_at(storages[1]) + deleted_at(storages[2]) +
				 deleted_at(storages[3]) + deleted_at(storages[4]),
			 1);
	assert_int_equal(status_of().under_copied, 0);
	driver_stop(&d);
}

static void test_a_server_that_returns_in_time_is_not_replaced(void **state)
{
	struct chunk_ref held = { .length = LENGTH };
	unsigned int dead;

	(void)state;
	start(4);
	held.chunk = put("/a");
	dead = server(4, "/a", true, 1);
	driver_close(storages[dead]);
	driver_beat(&d, DEAD_AFTER_MS + DELAY_MS / 2);
	storages[dead] = driver_storage_with(
		&d, &(struct ns_storage){
			    .number = dead, .start = 2, .chunks = &held, .chunk_count = 1 });
	driver_beat(&d, 2 * DELAY_MS);
	for (unsigned int i = 1; i <= 4; i++) {
		assert_int_equal(driver_orders(storages[i], MSG_fetch), 0);
		assert_int_equal(deleted_at(storages[i]), 0);
	}
	driver_stop(&d);
}

static void test_one_copy_left_is_urgent(void **state)
{
	unsigned int first, second;

	(void)state;
	start(4);
	put("/a");
	first = server(4, "/a", true, 1);
	second = server(4, "/a", true, 2);
	driver_close(storages[first]);
	driver_close(storages[second]);
	driver_beat(&d, DEAD_AFTER_MS + 4000);
	assert_int_equal(copies_of("/a"), 2);
	driver_stop(&d);
}

/* After its own start the name server waits for those who are still to come. */
static void test_after_a_restart_nothing_is_urgent(void **state)
{
	struct chunk_ref held = { .length = LENGTH };

	(void)state;
	start(4);
	held.chunk = put("/a");
	unsigned int holder = server(4, "/a", true, 1), spare = server(4, "/a", false, 1);
	driver_restart(&d);
	storages[holder] = driver_storage_with(
		&d, &(struct ns_storage){ .number = holder, .chunks = &held, .chunk_count = 1 });
	storages[spare] = driver_storage(&d, spare);
	client = driver_client(&d, 1);
	driver_beat(&d, DELAY_MS - 4000);
	assert_int_equal(driver_orders(storages[spare], MSG_fetch), 0);
	driver_beat(&d, 8000);
	assert_int_equal(driver_orders(storages[spare], MSG_fetch), 1);
	assert_int_equal(copies_of("/a"), 2);
	driver_stop(&d);
}

static void test_wanted_copies_are_followed(void **state)
{
	(void)state;
	start(5);
	put("/a");
	driver_beat(&d, 2 * DELAY_MS); /* it is new no longer */
	set_copies("/a", 5);
	driver_beat(&d, 4000);
	assert_int_equal(copies_of("/a"), 5);
	set_copies("/a", 2);
	driver_beat(&d, 4000);
	assert_int_equal(copies_of("/a"), 2);
	assert_int_equal(status_of().under_copied, 0);
	driver_stop(&d);
}

static void test_a_failed_disk_is_missed_at_once(void **state)
{
	struct heartbeat_reply reply;
	unsigned int failed;

	(void)state;
	start(4);
	put("/a");
	driver_beat(&d, 2 * DELAY_MS);
	failed = server(4, "/a", true, 1);
	assert_int_equal(ASK(storages[failed], heartbeat, &reply, .free = 1 << 20,
			     .flags = HEARTBEAT_DISK_FAILED),
			 0);
	driver_clock(&d, 2000);
	assert_int_equal(copies_of("/a"), 4);
	assert_int_equal(status_of().under_copied, 0);
	assert_int_equal(deleted_at(storages[failed]), 0);
	driver_stop(&d);
}

static void test_a_failed_fetch_takes_another_way(void **state)
{
	const struct message *order;
	struct ns_peer *first = NULL, *second = NULL;
	uint64_t chunk;
	unsigned int bad;

	(void)state;
	start(5);
	chunk = put("/a");
	bad = server(5, "/a", true, 1);
	d.idle = true;
	report_bad(storages[bad], storages[bad], chunk);
	driver_clock(&d, 100);
	for (unsigned int i = 1; i <= 5; i++) {
		if (driver_next(storages[i], MSG_fetch)) {
			first = storages[i];
			first->count--; /* taken back */
			first->received[first->count++].taken = false;
		}
	}
	assert_non_null(first);
	order = driver_next(first, MSG_fetch);
	driver_refuse(first, order, -ERR_UNAVAILABLE);
	driver_clock(&d, 800);
	for (unsigned int i = 1; i <= 5; i++)
		assert_int_equal(driver_orders(storages[i], MSG_fetch), 0);
	driver_clock(&d, 6000);
	for (unsigned int i = 1; i <= 5; i++) {
		order = driver_next(storages[i], MSG_fetch);
		if (!order)
			continue;
		second = storages[i];
		driver_obey(second, order);
	}
	assert_non_null(second);
	assert_ptr_not_equal(first, second);
	assert_int_equal(copies_of("/a"), 3);
	driver_stop(&d);
}

/* The order may be forgotten, its receipt counts all the same. */
static void test_a_late_answer_counts(void **state)
{
	const struct message *order;
	unsigned int bad, spare;
	uint64_t chunk;

	(void)state;
	start(4);
	chunk = put("/a");
	bad = server(4, "/a", true, 1);
	spare = server(4, "/a", false, 1);
	storages[spare]->idle = true;
	report_bad(storages[bad], storages[bad], chunk);
	driver_clock(&d, 100);
	order = driver_next(storages[spare], MSG_fetch);
	assert_non_null(order);
	driver_beat(&d, 32000);
	assert_int_equal(copies_of("/a"), 2);
	driver_obey(storages[spare], order);
	assert_int_equal(copies_of("/a"), 3);
	driver_stop(&d);
}

/* At most four at a time from and to one server; and all get their copies in the end. */
static void test_the_work_is_bounded(void **state)
{
	struct ns_received *received;
	unsigned int running = 0;
	char path[16];

	(void)state;
	start(2);
	for (int i = 0; i < 100; i++) {
		snprintf(path, sizeof(path), "/f%d", i);
		put(path);
	}
	driver_beat(&d, 2 * DELAY_MS + 2000);
	d.idle = true;
	storages[3] = driver_storage(&d, 3);
	driver_beat(&d, 10000);
	running = driver_orders(storages[3], MSG_fetch);
	assert_int_equal(running, 4);
	assert_int_equal(status_of().repairing, 100);
	d.idle = false;
	for (size_t i = 0; i < storages[3]->count; i++) {
		received = &storages[3]->received[i];
		if (!received->message.reply && received->message.info->code == MSG_fetch) {
			const struct message order = received->message;

			driver_obey(storages[3], &order);
		}
	}
	driver_beat(&d, 20000);
	assert_int_equal(status_of().repairing, 0);
	assert_int_equal(status_of().under_copied, 0);
	driver_stop(&d);
}

static void test_nothing_is_trimmed_while_it_is_not_sure(void **state)
{
	struct chunk_ref held = { .length = LENGTH };
	unsigned int dead, other;

	(void)state;
	start(4);
	held.chunk = put("/a");
	dead = server(4, "/a", true, 1);
	other = server(4, "/a", true, 2);
	driver_close(storages[dead]);
	driver_beat(&d, DEAD_AFTER_MS + DELAY_MS + 4000);
	assert_int_equal(copies_of("/a"), 3);
	driver_close(storages[other]); /* suspect, but one that counts as up */
	storages[dead] = driver_storage_with(
		&d, &(struct ns_storage){
			    .number = dead, .start = 2, .chunks = &held, .chunk_count = 1 });
	driver_clock(&d, 1000);
	for (unsigned int i = 1; i <= 4; i++)
		assert_int_equal(deleted_at(storages[i]), 0);
	assert_int_equal(copies_of("/a"), 4);
	driver_stop(&d);
}

/* What another server hands in late of a copy that has gone since. */
static void hand_in_late(struct ns_peer *by, struct ns_peer *holder, uint64_t chunk)
{
	struct receipt receipt =
		driver_receipt(holder, chunk, LENGTH, digest_of("/a", strlen("/a")));
	struct stored_reply reply;

	assert_int_equal(ASK(by, stored, &reply, .receipts = &receipt, .receipts_count = 1), 0);
	assert_int_equal(reply.accepted, 0);
}

static void test_an_old_receipt_brings_no_copy_back(void **state)
{
	unsigned int gone;
	uint64_t chunk;

	(void)state;
	start(3);
	chunk = put("/a");
	set_copies("/a", 2);
	driver_beat(&d, 4000);
	assert_int_equal(copies_of("/a"), 2);
	gone = server(3, "/a", false, 1);
	assert_int_equal(deleted_at(storages[gone]), 1);
	hand_in_late(storages[gone % 3 + 1], storages[gone], chunk);
	assert_int_equal(copies_of("/a"), 2);
	/* What it fetches by our order counts. */
	set_copies("/a", 3);
	driver_beat(&d, 2 * DELAY_MS + 4000);
	assert_int_equal(copies_of("/a"), 3);
	driver_stop(&d);
}

/* No walk comes by, and no server registers. */
static void test_a_late_copy_too_many_goes(void **state)
{
	unsigned int late, deleted = 0;
	struct stored_reply reply;
	struct receipt receipt;
	uint64_t chunk;

	(void)state;
	start(4);
	chunk = put("/a");
	driver_beat(&d, 20000);
	late = server(4, "/a", false, 1);
	receipt = driver_receipt(storages[late], chunk, LENGTH, digest_of("/a", strlen("/a")));
	assert_int_equal(
		ASK(storages[late], stored, &reply, .receipts = &receipt, .receipts_count = 1), 0);
	assert_int_equal(reply.accepted, 1);
	driver_beat(&d, 4000);
	assert_int_equal(copies_of("/a"), 3);
	for (unsigned int i = 1; i <= 4; i++)
		deleted += deleted_at(storages[i]);
	assert_int_equal(deleted, 1);
	driver_stop(&d);
}

/* Another took the place of one that was slow, which then is done as well before the commit. */
static void test_a_copy_too_many_of_a_put_goes(void **state)
{
	const struct digest digest = digest_of("x", 1);
	struct put_begin_reply begun;
	struct put_commit_reply committed;
	struct receipt receipts[4];
	unsigned int deleted = 0;
	struct put_replace_reply replaced;
	struct stored_reply stored;

	(void)state;
	start(4);
	assert_int_equal(ASK(client, put_begin, &begun, .size = LENGTH, .places = 1, .flags = 1,
			     .path = slice_of("/a")),
			 0);
	for (unsigned int i = 0; i < 4; i++)
		receipts[i] =
			driver_receipt(storages[i + 1], begun.places[0].chunk, LENGTH, digest);
	assert_int_equal(ASK(client, put_replace, &replaced, .put = begun.put,
			     .chunk = begun.places[0].chunk,
			     .dead = begun.places[0].holders[0].ticket.holder),
			 0);
	for (unsigned int i = 0; i < 4; i++)
		assert_int_equal(ASK(storages[i + 1], stored, &stored, .receipts = &receipts[i],
				     .receipts_count = 1),
				 0);
	client->operation++;
	assert_int_equal(ASK(client, put_commit, &committed, .operation = client->operation,
			     .outstanding = client->operation, .put = begun.put, .size = LENGTH,
			     .digest = digest, .flags = PUT_REPLACE, .path = slice_of("/a"),
			     .receipts = receipts, .receipts_count = 1),
			 0);
	driver_beat(&d, 4000);
	assert_int_equal(copies_of("/a"), 3);
	for (unsigned int i = 1; i <= 4; i++)
		deleted += deleted_at(storages[i]);
	assert_int_equal(deleted, 1);
	driver_stop(&d);
}

static void test_an_old_receipt_makes_no_bad_copy_good(void **state)
{
	unsigned int bad;
	uint64_t chunk;

	(void)state;
	start(3);
	chunk = put("/a");
	d.idle = true;
	bad = server(3, "/a", true, 1);
	report_bad(storages[bad], storages[bad], chunk);
	hand_in_late(storages[bad % 3 + 1], storages[bad], chunk);
	assert_int_equal(copies_of("/a"), 2);
	assert_int_equal(status_of().corrupt, 1);
	driver_stop(&d);
}

/* The chunk is to go there: a copy that is fetched meanwhile would go with it. */
static void test_nothing_is_fetched_to_where_it_is_being_deleted(void **state)
{
	unsigned int gone, bad;
	uint64_t chunk;

	(void)state;
	start(3);
	chunk = put("/a");
	d.idle = true;
	d.mute = true;
	set_copies("/a", 2);
	driver_beat(&d, 4000);
	gone = server(3, "/a", false, 1);
	assert_int_equal(deleted_at(storages[gone]), 1);
	bad = server(3, "/a", true, 1);
	report_bad(storages[bad], storages[bad], chunk);
	driver_clock(&d, 2000);
	assert_int_equal(driver_orders(storages[gone], MSG_fetch), 0);
	driver_stop(&d);
}

/* However many chunks: what is told of each is bounded, what is told of all comes. */
static void test_what_is_told_is_bounded(void **state)
{
	char path[16];

	(void)state;
	start(3);
	for (int i = 0; i < 150; i++) {
		snprintf(path, sizeof(path), "/f%d", i);
		put(path);
	}
	storages[4] = driver_storage(&d, 4);
	driver_close(storages[1]);
	buffer_clear(&d.events);
	driver_beat(&d, DEAD_AFTER_MS + DELAY_MS + 20000);
	assert_int_equal(status_of().under_copied, 0);
	assert_int_equal(times_logged("repaired "), 100);
	assert_int_equal(times_logged("repair_done "), 1);
	assert_true(driver_logged(&d, "repair_done copied=150 bytes=15000 trimmed=0 left=0"));
	driver_stop(&d);
}

/* Nobody can take the copies: it is tried less and less often, and soon when there is room. */
static void test_a_full_cluster_is_left_in_peace(void **state)
{
	char path[16];

	(void)state;
	start(3);
	for (int i = 0; i < 200; i++) {
		snprintf(path, sizeof(path), "/f%d", i);
		put(path);
	}
	storages[4] = driver_storage(&d, 4);
	d.free = 1;
	driver_close(storages[1]);
	driver_beat(&d, DEAD_AFTER_MS + DELAY_MS + 60000);
	assert_int_equal(status_of().repairing, 200);
	d.ticks = 0;
	driver_beat(&d, 30000);
	assert_in_range(d.ticks, 1, 30); /* beacons included */
	d.free = (uint64_t)1 << 30;
	driver_beat(&d, 10000);
	assert_int_equal(status_of().repairing, 0);
	assert_int_equal(status_of().under_copied, 0);
	driver_stop(&d);
}

/* Somebody still reads what was removed: it is not collected yet, and not copied any more. */
static void test_garbage_is_not_copied(void **state)
{
	struct mkdir_reply made;
	struct remove_reply removed;
	struct open_reply held;
	uint64_t kept;
	unsigned int dead;

	(void)state;
	start(4);
	client->operation++;
	assert_int_equal(ASK(client, mkdir, &made, .operation = client->operation,
			     .outstanding = client->operation, .path = slice_of("/d")),
			 0);
	put("/d/f");
	kept = put("/kept");
	assert_int_equal(ASK(client, open, &held, .path = slice_of("/d/f")), 0);
	client->operation++;
	assert_int_equal(ASK(client, remove, &removed, .operation = client->operation,
			     .outstanding = client->operation, .flags = REMOVE_TREE,
			     .path = slice_of("/d")),
			 0);
	for (unsigned int i = 1; i <= 4; i++)
		(void)driver_orders(storages[i], MSG_fetch);
	dead = server(4, "/kept", true, 1);
	report_bad(storages[dead], storages[dead], kept);
	for (unsigned int i = 0; i < held.chunks[0].holders_count; i++) {
		struct ns_peer *holder = driver_peer(&d, &held.chunks[0].holders[i].ticket.holder);

		if (i < 2)
			report_bad(holder, holder, held.chunks[0].chunk);
	}
	driver_beat(&d, 10000);
	for (unsigned int i = 1; i <= 4; i++) {
		const struct fetch_request *fetch;

		while ((fetch = driver_order(storages[i], MSG_fetch)))
			assert_int_equal(fetch->chunk.chunk, kept);
	}
	assert_int_equal(copies_of("/kept"), 3);
	assert_int_equal(status_of().repairing, 0);
	driver_stop(&d);
}

static void test_how_fast_and_how_long(void **state)
{
	struct status_reply status;
	char path[16];

	(void)state;
	start(4);
	for (int i = 0; i < 40; i++) {
		snprintf(path, sizeof(path), "/%d", i);
		put(path);
	}
	assert_int_equal(status_of().repair_rate, 0);
	assert_int_equal(status_of().repair_left_ms, 0);
	for (unsigned int i = 1; i <= 4; i++)
		storages[i]->idle = true;
	driver_close(storages[1]);
	driver_beat(&d, DELAY_MS + 20000);
	for (unsigned int i = 2; i <= 4; i++) {
		const struct message *order = driver_next(storages[i], MSG_fetch);

		if (order)
			driver_obey(storages[i], order);
	}
	driver_clock(&d, 1000);
	status = status_of();
	assert_in_range(status.repairing, 10, 40);
	assert_in_range(status.repair_rate, LENGTH / 10, 3 * LENGTH);
	assert_true(status.repair_left_ms > 0);
	driver_clock(&d, 11000);
	assert_int_equal(status_of().repair_rate, 0);
	driver_stop(&d);
}

/* What took two seconds was not spread over ten. */
static void test_how_fast_at_first(void **state)
{
	const struct message *orders[5] = { NULL };
	unsigned int count = 0;

	(void)state;
	start(4);
	for (int i = 0; i < 40; i++)
		put((const char[]){ '/', (char)('A' + i), 0 });
	for (unsigned int i = 1; i <= 4; i++)
		storages[i]->idle = true;
	driver_close(storages[1]);
	for (int i = 0; i < 2000 && !count; i++) {
		driver_beat(&d, 100);
		for (unsigned int to = 2; to <= 4; to++)
			count += (orders[to] = driver_next(storages[to], MSG_fetch)) != NULL;
	}
	assert_true(count > 0);
	driver_clock(&d, 2000);
	for (unsigned int to = 2; to <= 4; to++)
		if (orders[to])
			driver_obey(storages[to], orders[to]);
	assert_in_range(status_of().repair_rate, count * LENGTH / 3, count * LENGTH / 2);
	driver_clock(&d, 6000);
	assert_in_range(status_of().repair_rate, count * LENGTH / 10, count * LENGTH / 8);
	driver_stop(&d);
}

static void load_say(uint32_t load)
{
	struct heartbeat_reply beat;

	for (unsigned int i = 1; i <= 3; i++)
		assert_int_equal(ASK(storages[i], heartbeat, &beat, .free = (uint64_t)1 << 40,
				     .load = load, .echo = storages[i]->echo,
				     .inventory = member_find(d.ns, &storages[i]->id)->sum->whole),
				 0);
}

/* Clients have most of a server that they use. */
static void test_busy_servers_copy_less(void **state)
{
	unsigned int few = 0, more = 0;
	char path[16];

	(void)state;
	driver_start(&d, &(struct nameserver_config){ .copies = 1 });
	for (unsigned int i = 1; i <= 3; i++)
		storages[i] = driver_storage(&d, i);
	client = driver_client(&d, 1);
	for (int i = 0; i < 60; i++) {
		snprintf(path, sizeof(path), "/%d", i);
		put(path);
	}
	driver_beat(&d, 2 * DELAY_MS);
	d.idle = true;
	load_say(3);
	for (int i = 0; i < 60; i++) {
		snprintf(path, sizeof(path), "/%d", i);
		set_copies(path, 2);
	}
	driver_clock(&d, 1000);
	for (unsigned int i = 1; i <= 3; i++)
		few += driver_orders(storages[i], MSG_fetch);
	assert_in_range(few, 2, 3); /* each takes part in one as source, and in one as target */
	load_say(0);
	driver_clock(&d, 1000);
	for (unsigned int i = 1; i <= 3; i++)
		more += driver_orders(storages[i], MSG_fetch);
	assert_in_range(more, 6, 10);
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_bad_copy_is_replaced_at_once),
		cmocka_unit_test(test_without_another_server_the_same_one_fetches),
		cmocka_unit_test(test_the_last_copy_stays),
		cmocka_unit_test(test_a_client_is_not_believed_before_the_server_has_looked),
		cmocka_unit_test(test_a_dead_server_is_missed_after_the_delay),
		cmocka_unit_test(test_a_server_that_returns_in_time_is_not_replaced),
		cmocka_unit_test(test_one_copy_left_is_urgent),
		cmocka_unit_test(test_after_a_restart_nothing_is_urgent),
		cmocka_unit_test(test_wanted_copies_are_followed),
		cmocka_unit_test(test_a_failed_disk_is_missed_at_once),
		cmocka_unit_test(test_a_failed_fetch_takes_another_way),
		cmocka_unit_test(test_a_late_answer_counts),
		cmocka_unit_test(test_the_work_is_bounded),
		cmocka_unit_test(test_an_old_receipt_brings_no_copy_back),
		cmocka_unit_test(test_a_late_copy_too_many_goes),
		cmocka_unit_test(test_a_copy_too_many_of_a_put_goes),
		cmocka_unit_test(test_an_old_receipt_makes_no_bad_copy_good),
		cmocka_unit_test(test_nothing_is_fetched_to_where_it_is_being_deleted),
		cmocka_unit_test(test_what_is_told_is_bounded),
		cmocka_unit_test(test_a_full_cluster_is_left_in_peace),
		cmocka_unit_test(test_nothing_is_trimmed_while_it_is_not_sure),
		cmocka_unit_test(test_garbage_is_not_copied),
		cmocka_unit_test(test_how_fast_and_how_long),
		cmocka_unit_test(test_how_fast_at_first),
		cmocka_unit_test(test_busy_servers_copy_less),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

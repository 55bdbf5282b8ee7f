/* Copies of the catalogue: what leaves for storage servers, and what they ask for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "journal.h"
#include "kv_memory.h"
#include "ns_driver.h"
#include "pages.h"
#include "random.h"

enum { MANY = 200, ROUNDS = 25, HISTORY_MAX = 64 };

static struct ns_driver d;
static struct ns_peer *client;

/* ---- a copy ---- */

struct copy {
	struct ns_peer *peer;
	struct kv *kv;
	struct journal_head head;
	uint64_t whole; /* it is a catalogue from this batch on */
	struct buffer part;
	bool deaf;              /* it answers nothing */
	bool idle;              /* the test pulls for it */
	struct digest *history; /* of the name server's rows, from the batch `first` on */
	uint64_t first;
	unsigned int batches, gaps, pulled;
};

/* Its rows are those that the name server had after that batch. */
static void copy_check(const struct copy *copy)
{
	struct digest rows;

	if (!copy->history || copy->head.sequence < copy->whole)
		return;
	assert_int_equal(rows_digest(copy->kv, &rows), 0);
	assert_true(digest_equal(&rows, &copy->history[copy->head.sequence - copy->first]));
}

static void copy_take(struct copy *copy, struct slice batches)
{
	while (batches.size > 0) {
		struct batch_head head;
		struct slice changes;
		struct digest hash;
		size_t size;

		assert_int_equal(batch_read(batches, &head, &changes, &size, &hash), 1);
		assert_int_equal(head.local.size, 0);
		assert_int_equal(head.sequence, copy->head.sequence + 1);
		assert_true(digest_equal(&head.previous, &copy->head.hash));
		assert_int_equal(kv_memory_apply(copy->kv, changes), 0);
		copy->head = (struct journal_head){ head.epoch, head.sequence, hash };
		copy_check(copy);
		batches = (struct slice){ batches.data + size, batches.size - size };
	}
}

/* One PULL; the state that was answered. */
static uint8_t copy_pull(struct copy *copy)
{
	struct pull_reply reply;

	assert_int_equal(ASK(copy->peer, pull, &reply, .sequence = copy->head.sequence,
			     .offset = copy->part.size, .hash = copy->head.hash),
			 0);
	copy->pulled++;
	if (reply.state != 1)
		return reply.state;
	if (reply.size == 0) {
		copy_take(copy, reply.batches);
		return 1;
	}
	buffer_append(&copy->part, reply.batches.data, reply.batches.size);
	assert_true(copy->part.size <= reply.size);
	if (copy->part.size == reply.size) {
		copy_take(copy, (struct slice){ copy->part.data, copy->part.size });
		buffer_clear(&copy->part);
	}
	return 1;
}

static void copy_level(struct copy *copy)
{
	while (copy_pull(copy) == 1)
		;
}

/* 1: there are more. */
static int page_take(struct copy *copy, uint32_t id, struct buffer *after)
{
	struct page_reply reply;
	struct slice last;

	assert_int_equal(driver_answer(copy->peer, id, &reply, sizeof(reply)), 0);
	assert_int_equal(page_check(reply.rows, (struct slice){ after->data, after->size }, &last),
			 0);
	if (after->size == 0)
		copy->head = (struct journal_head){ reply.epoch, reply.sequence, reply.hash };
	copy->whole = reply.sequence;
	assert_int_equal(kv_memory_apply(copy->kv, reply.rows), 0);
	last.data = memcpy(arena_alloc(&d.arena, last.size), last.data, last.size);
	buffer_clear(after);
	buffer_append(after, last.data, last.size);
	return reply.more;
}

static int copy_page(struct copy *copy, struct buffer *after)
{
	uint32_t id = POST(copy->peer, page, .after = { after->data, after->size });

	return page_take(copy, id, after);
}

/* The next BATCH, as a storage server takes it. */
static bool copy_obey(struct copy *copy)
{
	const struct message *order = copy->deaf ? NULL : driver_next(copy->peer, MSG_batch);
	const struct batch_request *request = order ? order->body : NULL;
	struct batch_reply reply;

	if (!order)
		return false;
	copy->batches++;
	copy->gaps += request->sequence > copy->head.sequence + 1;
	if (request->sequence == copy->head.sequence + 1 && request->offset == copy->part.size)
		buffer_append(&copy->part, request->part.data, request->part.size);
	if (copy->part.size > 0 && copy->part.size == request->size) {
		copy_take(copy, (struct slice){ copy->part.data, copy->part.size });
		buffer_clear(&copy->part);
	}
	reply = (struct batch_reply){ .sequence = copy->head.sequence,
				      .epoch = copy->head.epoch,
				      .hash = copy->head.hash };
	driver_reply(copy->peer, order, &reply);
	if (request->sequence > copy->head.sequence + 1 && !copy->idle)
		copy_level(copy);
	return true;
}

static void copy_follow(struct copy *copy)
{
	while (copy_obey(copy))
		;
}

static void copy_register(struct copy *copy, unsigned int number)
{
	struct endpoint endpoint = endpoint_ipv4(0x0a020000 + number, DATA_PORT);
	struct register_reply reply;
	struct hello_reply hello;
	char address[32];

	snprintf(address, sizeof(address), "10.2.0.%u", number);
	copy->peer = driver_connect(&d, address, "10.0.0.1");
	copy->peer->id = id_of(number);
	assert_int_equal(ASK(copy->peer, hello, &hello, .versions = 1 << 16 | PROTOCOL_VERSION,
			     .role = ROLE_STORAGE, .self = copy->peer->id),
			 0);
	assert_int_equal(ASK(copy->peer, register, &reply, .capacity = 1 << 30, .free = 1 << 30,
			     .start = 1, .disk = id_of(0x8000 + number), .endpoints = &endpoint,
			     .endpoints_count = 1, .catalogue_epoch = copy->head.epoch,
			     .catalogue_sequence = copy->head.sequence,
			     .catalogue_hash = copy->head.hash),
			 0);
	copy->peer->epoch = reply.epoch;
	/* So it is not of the journal set, and nothing waits for it. */
	copy->peer->flags = HEARTBEAT_DISK_FAILED;
	assert_int_equal(driver_heartbeat(copy->peer), 0);
	buffer_clear(&copy->part);
}

static void copy_start(struct copy *copy, unsigned int number)
{
	*copy = (struct copy){ .kv = NULL };
	assert_int_equal(kv_memory_new(&copy->kv), 0);
	copy_register(copy, number);
}

static void copy_end(struct copy *copy)
{
	kv_memory_free(copy->kv);
	buffer_done(&copy->part);
}

static void assert_same(const struct copy *copy)
{
	struct digest here, there;

	assert_int_equal(rows_digest(d.kv, &here), 0);
	assert_int_equal(rows_digest(copy->kv, &there), 0);
	assert_int_equal(copy->head.sequence, d.sealed);
	assert_true(digest_equal(&copy->head.hash, &d.hash));
	assert_true(digest_equal(&here, &there));
}

/* ---- a catalogue ---- */

static void start(void)
{
	driver_start(&d, &(struct nameserver_config){ .trash_ms = 1000 });
	client = driver_client(&d, 1);
}

static void mkdir_(const char *path)
{
	struct mkdir_reply reply;

	client->operation++;
	assert_int_equal(ASK(client, mkdir, &reply, .operation = client->operation,
			     .outstanding = client->operation, .path = slice_of(path)),
			 0);
}

static void mkdirs(const char *prefix, unsigned int count)
{
	char path[300];

	for (unsigned int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "/%s%u", prefix, i);
		mkdir_(path);
	}
}

static struct status_reply status(void)
{
	struct status_reply reply;

	assert_int_equal(ASK(client, status, &reply, .nothing = 0), 0);
	return reply;
}

static uint64_t lag_of(const struct ns_peer *storage)
{
	struct nodes_reply nodes;

	assert_int_equal(ASK(client, nodes, &nodes, .after = { { 0 } }), 0);
	for (unsigned int i = 0; i < nodes.nodes_count; i++) {
		if (id_equal(&nodes.nodes[i].node, &storage->id))
			return nodes.nodes[i].catalogue_lag;
	}
	return UINT64_MAX;
}

/* ---- tests ---- */

static void test_every_batch_reaches_every_copy(void **state)
{
	struct copy copies[3];

	(void)state;
	start();
	mkdirs("before", 5);
	for (unsigned int i = 0; i < 3; i++)
		copy_start(&copies[i], i + 1);
	for (unsigned int i = 0; i < 3; i++) {
		copy_follow(&copies[i]);
		copy_level(&copies[i]);
	}
	for (unsigned int round = 0; round < 20; round++) {
		char prefix[16];

		snprintf(prefix, sizeof(prefix), "r%u-", round);
		mkdirs(prefix, 3);
		for (unsigned int i = 0; i < 3; i++)
			copy_follow(&copies[i]);
	}
	for (unsigned int i = 0; i < 3; i++) {
		assert_same(&copies[i]);
		assert_true(copies[i].gaps <= 1);
		assert_int_equal(lag_of(copies[i].peer), 0);
	}
	driver_beat(&d, 6000);
	assert_int_equal(status().catalogue_copies, 4);
	for (unsigned int i = 0; i < 3; i++)
		copy_end(&copies[i]);
	driver_stop(&d);
}

/* The disks write at the same time. */
static void test_batches_leave_before_they_are_durable(void **state)
{
	struct copy copy;
	uint32_t id;

	(void)state;
	start();
	copy_start(&copy, 1);
	copy_level(&copy);
	copy_follow(&copy);
	d.hold_durable = true;
	id = POST(client, mkdir, .operation = 1, .outstanding = 1, .path = slice_of("/a"));
	assert_int_equal(driver_answer(client, id, &(struct mkdir_reply){ 0 },
				       sizeof(struct mkdir_reply)),
			 -ERR_TIMEOUT);
	copy_follow(&copy);
	assert_same(&copy);
	assert_int_equal(driver_answer(client, id, NULL, 0), -ERR_TIMEOUT);
	driver_durable(&d);
	assert_int_equal(driver_answer(client, id, NULL, 0), 0);
	d.hold_durable = false;
	copy_end(&copy);
	driver_stop(&d);
}

/* A server that is told of batches before it knows that it is registered refuses them. */
static void test_no_batch_overtakes_the_answer(void **state)
{
	struct hello_reply hello;
	struct copy copy;
	uint32_t id;

	(void)state;
	start();
	copy_start(&copy, 1);
	copy_level(&copy);
	driver_close(copy.peer);
	mkdirs("a", 3);
	copy.peer = driver_connect(&d, "10.2.0.1", "10.0.0.1");
	copy.peer->id = id_of(1);
	assert_int_equal(ASK(copy.peer, hello, &hello, .versions = 1 << 16 | PROTOCOL_VERSION,
			     .role = ROLE_STORAGE, .self = copy.peer->id),
			 0);
	d.hold_durable = true;
	POST(client, mkdir, .operation = 10, .outstanding = 10, .path = slice_of("/b"));
	id = POST(copy.peer, register, .capacity = 1 << 30, .free = 1 << 30, .start = 1,
		  .disk = id_of(0x8001), .catalogue_epoch = copy.head.epoch,
		  .catalogue_sequence = copy.head.sequence, .catalogue_hash = copy.head.hash);
	driver_clock(&d, 1000);
	assert_null(driver_next(copy.peer, MSG_batch));
	assert_int_equal(driver_answer(copy.peer, id, NULL, 0), -ERR_TIMEOUT);
	d.hold_durable = false;
	driver_durable(&d);
	for (size_t i = 0; i < copy.peer->count && copy.peer->received[i].message.id != id; i++)
		assert_true(copy.peer->received[i].message.info->code != MSG_batch);
	copy_follow(&copy);
	assert_same(&copy);
	copy_end(&copy);
	driver_stop(&d);
}

/* One that is slow holds up nobody, has no more than so much on its way, and is level again soon
 * after it wakes up. */
static void test_a_slow_copy_is_skipped(void **state)
{
	struct copy slow, quick;
	unsigned int count = 0;

	(void)state;
	start();
	copy_start(&slow, 1);
	copy_start(&quick, 2);
	copy_level(&slow);
	copy_level(&quick);
	slow.deaf = true;
	for (unsigned int i = 0; i < MANY; i++) {
		char path[32];

		snprintf(path, sizeof(path), "/d%u", i);
		mkdir_(path);
		copy_follow(&quick);
	}
	assert_same(&quick);
	for (size_t i = 0; i < slow.peer->count; i++)
		count += !slow.peer->received[i].message.reply &&
			 slow.peer->received[i].message.info->code == MSG_batch;
	assert_true(count > 0 && count <= 33);
	driver_beat(&d, 8000);
	copy_follow(&quick);
	assert_int_equal(status().catalogue_copies, 2);
	assert_true(lag_of(slow.peer) > MANY - 40);
	slow.deaf = false;
	copy_follow(&slow);
	driver_beat(&d, 6000);
	copy_follow(&slow);
	copy_follow(&quick);
	assert_same(&slow);
	assert_int_equal(slow.gaps, 0); /* all of it was in the ring */
	driver_beat(&d, 6000);
	assert_int_equal(status().catalogue_copies, 3);
	copy_end(&slow);
	copy_end(&quick);
	driver_stop(&d);
}

/* It comes back with what it had, and goes on from there; so after a restart of the name server. */
static void test_a_copy_that_comes_back(void **state)
{
	struct copy copy;

	(void)state;
	start();
	copy_start(&copy, 1);
	copy_level(&copy);
	mkdirs("a", 5);
	copy_follow(&copy);
	driver_close(copy.peer);
	mkdirs("b", 5);
	copy_register(&copy, 1);
	copy.pulled = copy.gaps = 0;
	copy_follow(&copy);
	assert_same(&copy);
	assert_int_equal(copy.gaps + copy.pulled, 0);

	mkdirs("c", 3);
	driver_restart(&d);
	client = driver_client(&d, 1);
	client->operation = 100;
	/* It lacks c, which only the journal has now. */
	copy_register(&copy, 1);
	copy_follow(&copy);
	assert_true(copy.pulled > 0);
	assert_int_equal(d.reads, 1);
	copy_follow(&copy);
	mkdirs("e", 2);
	copy_follow(&copy);
	assert_same(&copy);
	copy_end(&copy);
	driver_stop(&d);
}

static void test_a_history_that_is_another(void **state)
{
	struct copy copy;
	struct pull_reply reply;
	struct buffer after = { 0 };

	(void)state;
	start();
	mkdirs("a", 5);
	copy_start(&copy, 1);
	copy_level(&copy);
	copy.head.hash.bytes[0] ^= 1;
	driver_close(copy.peer);
	copy_register(&copy, 1);
	driver_beat(&d, 6000);
	assert_int_equal(status().catalogue_copies, 1);
	assert_int_equal(copy_pull(&copy), 3);
	mkdirs("b", 2);
	assert_int_equal(copy_pull(&copy), 3);
	copy.head.sequence += 1000;
	assert_int_equal(copy_pull(&copy), 3);
	driver_close(copy.peer);
	copy_register(&copy, 1);
	driver_beat(&d, 6000);
	assert_int_equal(status().catalogue_copies, 1);
	/* What has been trimmed is not known either. */
	driver_restart(&d);
	client = driver_client(&d, 1);
	client->operation = 100;
	d.trimmed = 4;
	copy_register(&copy, 1);
	assert_int_equal(ASK(copy.peer, pull, &reply, .sequence = 2), 0);
	assert_int_equal(reply.state, 3);
	/* All anew. */
	kv_memory_free(copy.kv);
	assert_int_equal(kv_memory_new(&copy.kv), 0);
	while (copy_page(&copy, &after))
		;
	copy_level(&copy);
	assert_same(&copy);
	copy_follow(&copy);
	mkdirs("c", 3);
	copy_follow(&copy);
	assert_same(&copy);
	buffer_done(&after);
	copy_end(&copy);
	driver_stop(&d);
}

static void test_a_disk_that_cannot_read_the_journal(void **state)
{
	struct copy copy;
	struct pull_reply reply;
	uint32_t id;

	(void)state;
	start();
	mkdirs("a", 5);
	copy_start(&copy, 1);
	copy_level(&copy);
	copy_follow(&copy);
	mkdirs("b", 5);
	driver_restart(&d);
	copy.idle = true;
	copy_register(&copy, 1);
	d.journal_error = -ERR_IO;
	assert_int_equal(ASK(copy.peer, pull, &reply, .sequence = copy.head.sequence,
			     .hash = copy.head.hash),
			 -ERR_IO);
	d.journal_error = 0;
	d.hold_journal = true;
	id = POST(copy.peer, pull, .sequence = copy.head.sequence, .hash = copy.head.hash);
	assert_int_equal(driver_answer(copy.peer, id, &reply, sizeof(reply)), -ERR_TIMEOUT);
	assert_true(d.read_wanted);
	driver_journal(&d);
	driver_durable(&d);
	assert_int_equal(driver_answer(copy.peer, id, &reply, sizeof(reply)), 0);
	assert_int_equal(reply.state, 1);
	copy_take(&copy, reply.batches);
	/* It does not wait for ever. */
	id = POST(copy.peer, pull, .sequence = 1, .hash = copy.head.hash);
	driver_clock(&d, 3000);
	assert_int_equal(driver_answer(copy.peer, id, &reply, sizeof(reply)), -ERR_IN_PROGRESS);
	driver_journal(&d);
	copy_end(&copy);
	driver_stop(&d);
}

/* Directories with long names, in one turn: their batch leaves in parts, and is pulled in parts. */
static void huge_turn(const char *prefix, unsigned int count)
{
	uint64_t sealed = d.sealed;
	char name[241];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	d.hold_turn = true;
	for (unsigned int i = 0; i < count; i++) {
		char path[1024];

		snprintf(path, sizeof(path), "/%s%u/%s/%s", prefix, i, name, name);
		client->operation++;
		POST(client, mkdir, .operation = client->operation, .outstanding = 1,
		     .flags = MKDIR_PARENTS, .path = slice_of(path));
	}
	driver_end(&d);
	assert_int_equal(d.sealed, sealed + 1);
}

static void test_a_huge_batch_leaves_in_parts(void **state)
{
	struct copy copy, puller;

	(void)state;
	start();
	copy_start(&copy, 1);
	copy_start(&puller, 2);
	copy_level(&copy);
	copy_level(&puller);
	copy_follow(&copy);
	copy_follow(&puller);
	puller.deaf = true;
	copy.batches = copy.gaps = puller.pulled = 0;
	huge_turn("a", 3000);
	copy_follow(&copy);
	assert_true(copy.batches > 3);
	assert_int_equal(copy.gaps, 0);
	assert_same(&copy);
	copy_level(&puller);
	assert_true(puller.pulled > 3);
	assert_same(&puller);
	/* Cut short among the parts. */
	huge_turn("b", 2000);
	assert_true(copy_obey(&copy) && copy.part.size > 0);
	driver_close(copy.peer);
	copy_register(&copy, 1);
	copy_follow(&copy);
	assert_same(&copy);
	copy_end(&copy);
	copy_end(&puller);
	driver_stop(&d);
}

/* ---- pages ---- */

enum { NAMES = 60, HUGE_NAMES = 400 };

static void name_choose(struct prng *prng, char ret[32])
{
	const char *prefix = prng_below(prng, 2) ? "a" : "z";

	/* Of those that are there from the start, or of few others. */
	snprintf(ret, 32, prng_below(prng, 3) ? "/%s%u" : "/m%s%u", prefix,
		 (unsigned int)prng_below(prng, prng_below(prng, 2) ? HUGE_NAMES : NAMES));
}

/* Makes, moves or removes something; it may not work. */
static void change_something(struct prng *prng)
{
	char path[32], to[32];

	name_choose(prng, path);
	name_choose(prng, to);
	client->operation++;
	switch (prng_below(prng, 4)) {
	case 0:
		POST(client, mkdir, .operation = client->operation, .outstanding = 1,
		     .path = slice_of(path));
		break;
	case 1:
		POST(client, remove, .operation = client->operation, .outstanding = 1,
		     .flags = REMOVE_TREE | REMOVE_DIRECTORY, .path = slice_of(path));
		break;
	default:
		POST(client, rename, .operation = client->operation, .outstanding = 1,
		     .path = slice_of(path), .to = slice_of(to));
		break;
	}
}

static void history_note(struct copy *copy)
{
	assert_true(d.sealed - copy->first < HISTORY_MAX);
	assert_int_equal(rows_digest(d.kv, &copy->history[d.sealed - copy->first]), 0);
}

/* Turns with a few changes each; the last one goes on. */
static void turns(struct copy *copy, struct prng *prng)
{
	for (uint64_t turn = prng_below(prng, 3) + 1; turn > 0; turn--) {
		d.hold_turn = true;
		for (uint64_t i = prng_below(prng, 4); i > 0; i--)
			change_something(prng);
		if (turn > 1) {
			driver_end(&d);
			history_note(copy);
		}
	}
}

/* Whatever changes between the pages, and before and after one in the same turn: with the batches
 * from the first page's on, a copy has the rows of every batch from the last page's on. */
static void test_pages_converge(void **state)
{
	(void)state;
	for (unsigned int round = 0; round < ROUNDS; round++) {
		struct digest history[HISTORY_MAX] = { { { 0 } } };
		struct prng prng = { round };
		struct buffer after = { 0 };
		struct copy copy;
		unsigned int pages = 0;
		int more = 1;

		start();
		huge_turn("a", HUGE_NAMES);
		huge_turn("z", HUGE_NAMES);
		copy_start(&copy, 1);
		copy.idle = true;
		copy.history = history;
		copy.first = d.sealed;
		for (; more; pages++) {
			uint32_t id;

			turns(&copy, &prng);
			id = POST(copy.peer, page, .after = { after.data, after.size });
			for (uint64_t i = prng_below(&prng, 3); i > 0; i--)
				change_something(&prng);
			driver_end(&d);
			history_note(&copy);
			more = page_take(&copy, id, &after);
		}
		assert_true(pages > 1 && copy.head.sequence <= copy.whole);
		turns(&copy, &prng);
		driver_end(&d);
		history_note(&copy);
		copy_check(&copy);
		copy_level(&copy);
		assert_same(&copy);
		buffer_done(&after);
		copy_end(&copy);
		driver_stop(&d);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_batch_reaches_every_copy),
		cmocka_unit_test(test_batches_leave_before_they_are_durable),
		cmocka_unit_test(test_no_batch_overtakes_the_answer),
		cmocka_unit_test(test_a_slow_copy_is_skipped),
		cmocka_unit_test(test_a_copy_that_comes_back),
		cmocka_unit_test(test_a_history_that_is_another),
		cmocka_unit_test(test_a_disk_that_cannot_read_the_journal),
		cmocka_unit_test(test_a_huge_batch_leaves_in_parts),
		cmocka_unit_test(test_pages_converge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "error.h"
#include "takeover_world.h"

enum { SOON_MS = 400, LONG_MS = 60 * 1000, BIG = 2000 };

/* A line of ten batches, in epochs 1 to 3, with that journal set. */
static void make_line(struct line_of_batches *line, unsigned int members)
{
	line_init(line, members);
	for (unsigned int i = 0; i < 9; i++)
		line_add(line, 1 + i / 3, i == 5 ? BIG : 50);
}

static struct takeover_outcome run_for(struct world *world, uint64_t ms)
{
	world_run(world, ms);
	return takeover_outcome(world->takeover);
}

static void test_nobody_there_founds(void **state)
{
	struct takeover_outcome outcome;
	struct world world;

	(void)state;
	world_init(&world, NULL, 0);
	world_begin(&world);
	outcome = run_for(&world, LONG_MS);
	assert_true(world.opened && outcome.founded && !outcome.rebuilt);
	assert_int_equal(outcome.epoch, 1);
	assert_in_range(outcome.took_ms, FOUND_AFTER_MS, FOUND_AFTER_MS + 100);
	assert_true(world.probes > 0);
	world_done(&world);
}

/* Servers that have never belonged to a cluster are no cluster; they wait and are handed over. */
static void test_new_servers_found_with_it(void **state)
{
	struct takeover_outcome outcome;
	struct world world;

	(void)state;
	world_init(&world, NULL, 0);
	world_fake(&world, 1, NULL, 0)->no_cluster = true;
	world_begin(&world);
	outcome = run_for(&world, LONG_MS);
	assert_true(world.opened && outcome.founded);
	world_done(&world);
}

static void test_restart_with_all_is_quick(void **state)
{
	(void)state;
	for (unsigned int members = 0; members <= 3; members++) {
		struct line_of_batches line;
		struct takeover_outcome outcome;
		struct world world;

		make_line(&line, members);
		world_init(&world, &line, line.count);
		for (unsigned int i = 1; i <= members; i++)
			world_fake(&world, i, &line, line.count);
		world_begin(&world);
		outcome = run_for(&world, SOON_MS);
		assert_true(world.opened && !outcome.rebuilt && !outcome.copied);
		assert_int_equal(outcome.epoch, 4);
		assert_int_equal(outcome.head.sequence, line.count);
		world_done(&world);
		line_done(&line);
	}
}

/* Of two, one that has followed nobody else proves that nobody else has begun. */
static void test_returns_with_one_of_two(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	make_line(&line, 2);
	world_init(&world, &line, line.count);
	world_fake(&world, 2, &line, line.count - 1);
	world_begin(&world);
	world_run(&world, SOON_MS);
	assert_true(world.opened);
	world_done(&world);

	world_init(&world, &line, line.count);
	world_fake(&world, 2, &line, line.count)->promised_to = fake_id(9);
	world_begin(&world);
	world_run(&world, LONG_MS);
	assert_false(world.opened);
	assert_true(world_noted(&world, "takeover_waiting"));
	world_fake(&world, 1, &line, line.count);
	world_run(&world, LONG_MS);
	assert_true(world.opened);
	world_done(&world);
	line_done(&line);
}

static void test_needs_two_of_three(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	make_line(&line, 3);
	world_init(&world, &line, line.count);
	world_fake(&world, 3, &line, line.count);
	world_fake(&world, 4, &line, line.count); /* is none of them */
	world_begin(&world);
	world_run(&world, LONG_MS);
	assert_false(world.opened);
	world_fake(&world, 1, &line, line.count);
	world_run(&world, LONG_MS);
	assert_true(world.opened);
	assert_false(takeover_outcome(world.takeover).rebuilt);
	world_done(&world);
	line_done(&line);
}

/* Old disk: what followed comes batch by batch, a large one in parts. */
static void test_older_disk_is_completed(void **state)
{
	struct takeover_outcome outcome;
	struct line_of_batches line;
	struct world world;

	(void)state;
	make_line(&line, 3);
	world_init(&world, &line, 4);
	world_fake(&world, 1, &line, line.count);
	world_fake(&world, 2, &line, line.count);
	world_begin(&world);
	outcome = run_for(&world, SOON_MS);
	assert_true(world.opened && outcome.copied && !outcome.rebuilt);
	assert_true(world_has(&world, &line, line.count));
	assert_int_equal(world.fakes[1].pages + world.fakes[2].pages, 0);
	world_done(&world);
	line_done(&line);
}

static void test_newer_disk_stays(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	make_line(&line, 3);
	world_init(&world, &line, line.count);
	world_fake(&world, 1, &line, line.count - 2);
	world_fake(&world, 2, &line, line.count - 3);
	world_begin(&world);
	world_run(&world, SOON_MS);
	assert_true(world.opened);
	assert_true(world_has(&world, &line, line.count));
	world_done(&world);
	line_done(&line);
}

/* Another name server has gone on from batch 6; our tail was never committed. However long it is,
 * the later epoch counts. */
static void test_other_history_is_copied(void **state)
{
	struct line_of_batches line, other;
	struct takeover_outcome outcome;
	struct world world;

	(void)state;
	make_line(&line, 3);
	line_fork(&other, &line, 6);
	line_add(&other, 9, 10);
	world_init(&world, &line, line.count);
	world_fake(&world, 1, &other, other.count);
	world_fake(&world, 2, &other, 6);
	world_begin(&world);
	outcome = run_for(&world, SOON_MS);
	assert_true(world.opened && outcome.rebuilt);
	assert_int_equal(outcome.epoch, 10);
	assert_true(world_has(&world, &other, other.count));
	assert_true(world.fakes[1].pages > 1);
	world_done(&world);
	line_done(&other);
	line_done(&line);
}

static void rebuild(unsigned int oldest, unsigned int members)
{
	struct takeover_outcome outcome;
	struct line_of_batches line;
	struct world world;

	make_line(&line, members);
	world_init(&world, NULL, 0);
	for (unsigned int i = 1; i <= members; i++)
		world_fake(&world, i, &line, line.count)->oldest = oldest;
	world_begin(&world);
	outcome = run_for(&world, LONG_MS);
	assert_true(world.opened && outcome.rebuilt && !outcome.founded);
	assert_true(world_has(&world, &line, line.count));
	assert_int_equal(outcome.epoch, 4);
	assert_true(world_noted(&world, "cluster_found"));
	world_done(&world);
	line_done(&line);
}

static void test_empty_disk_by_batches(void **state)
{
	(void)state;
	for (unsigned int members = 1; members <= 3; members++)
		rebuild(0, members);
}

static void test_empty_disk_by_pages(void **state)
{
	(void)state;
	for (unsigned int members = 1; members <= 3; members++)
		rebuild(8, members);
}

/* Half of two may lack what the other half has. */
static void test_empty_disk_waits_for_both(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	make_line(&line, 2);
	world_init(&world, NULL, 0);
	world_fake(&world, 1, &line, line.count);
	world_begin(&world);
	world_run(&world, LONG_MS);
	assert_false(world.opened);
	assert_true(world_noted(&world, "--accept-rebuild"));
	world_done(&world);

	world_init(&world, NULL, 0);
	world.config.accept_rebuild = true;
	world_fake(&world, 1, &line, line.count);
	world_begin(&world);
	world_run(&world, ACCEPT_AFTER_MS - 1000);
	assert_false(world.opened);
	world_run(&world, LONG_MS);
	assert_true(world.opened && takeover_outcome(world.takeover).rebuilt);
	assert_true(world_has(&world, &line, line.count));
	world_done(&world);
	line_done(&line);
}

/* Who accepts what there is, has said that there is something. */
static void test_accepting_founds_nothing(void **state)
{
	struct world world;

	(void)state;
	world_init(&world, NULL, 0);
	world.config.accept_rebuild = true;
	world_begin(&world);
	world_run(&world, LONG_MS);
	assert_false(world.opened);
	world_done(&world);
}

static void test_unfinished_founds_nothing(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	make_line(&line, 1);
	world_init(&world, NULL, 0);
	world.config.unfinished = true;
	world_begin(&world);
	world_run(&world, LONG_MS);
	assert_false(world.opened);
	world_fake(&world, 1, &line, line.count);
	world_run(&world, LONG_MS);
	assert_true(world.opened);
	assert_true(world_has(&world, &line, line.count));
	world_done(&world);
	line_done(&line);
}

/* A later epoch is more than a longer tail; and what is not of the set does not count. */
static void test_the_right_one_of_two(void **state)
{
	struct line_of_batches line, later;
	struct world world;

	(void)state;
	make_line(&line, 3);
	line_fork(&later, &line, 5);
	line_add(&later, 7, 10);
	world_init(&world, NULL, 0);
	world_fake(&world, 1, &line, line.count);
	world_fake(&world, 2, &later, later.count);
	world_begin(&world);
	world_run(&world, LONG_MS);
	assert_true(world.opened);
	assert_true(world_has(&world, &later, later.count));
	world_done(&world);

	world_init(&world, NULL, 0);
	world_fake(&world, 1, &line, line.count);
	world_fake(&world, 3, &line, line.count - 1);
	world_fake(&world, 4, &later, later.count);
	world_begin(&world);
	world_run(&world, LONG_MS);
	assert_true(world.opened);
	assert_true(world_has(&world, &line, line.count));
	world_done(&world);
	line_done(&later);
	line_done(&line);
}

/* While the set changes both must agree. */
static void test_changing_set_needs_both(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	make_line(&line, 1);
	line.set.changing = true;
	line.set.before = line.set.now;
	line.set.now.count = 2;
	line.set.now.nodes[1] = fake_id(2);
	world_init(&world, NULL, 0);
	world_fake(&world, 1, &line, line.count);
	world_begin(&world);
	world_run(&world, LONG_MS);
	assert_false(world.opened);
	world_fake(&world, 2, &line, line.count);
	world_run(&world, LONG_MS);
	assert_true(world.opened);
	world_done(&world);
	line_done(&line);
}

static void test_higher_promise_is_outbid(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	make_line(&line, 3);
	world_init(&world, &line, line.count);
	world_fake(&world, 1, &line, line.count);
	world_fake(&world, 2, &line, line.count)->busy = 1;
	world_begin(&world);
	world_run(&world, 150);
	assert_int_equal(world.fakes[1].promised, 4);
	world.fakes[2].promised = 20;
	world.fakes[2].promised_to = fake_id(9);
	world_run(&world, LONG_MS);
	assert_true(world.opened);
	assert_int_equal(takeover_outcome(world.takeover).epoch, 21);
	assert_int_equal(world.fakes[1].promised, 21);
	assert_int_equal(world.fakes[2].promised, 21);
	world_done(&world);
	line_done(&line);
}

/* It still follows somebody: it is asked again. */
static void test_busy_is_asked_again(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	make_line(&line, 1);
	world_init(&world, &line, line.count);
	world_fake(&world, 1, &line, line.count)->busy = 3;
	world_begin(&world);
	world_run(&world, SOON_MS);
	assert_false(world.opened);
	world_run(&world, 2000);
	assert_true(world.opened);
	assert_int_equal(world.fakes[1].promises, 4);
	world_done(&world);
	line_done(&line);
}

static void test_source_dies(void **state)
{
	static const unsigned int oldest[] = { 0, 8 };

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct line_of_batches line;
		struct world world;

		make_line(&line, 3);
		world_init(&world, NULL, 0);
		for (unsigned int n = 1; n <= 3; n++)
			world_fake(&world, n, &line, n == 1 ? line.count : line.count - 1)->oldest =
				oldest[i];
		world.fakes[1].dies_in = 3;
		world_begin(&world);
		world_run(&world, LONG_MS);
		assert_true(world.opened);
		assert_true(world_noted(&world, "catalogue_source_lost"));
		assert_true(world_has(&world, &line, line.count - 1));
		world_done(&world);
		line_done(&line);
	}
}

/* Without a set there is nobody to ask; but who is there and knows more is heard. */
static void test_old_disk_without_a_set(void **state)
{
	struct line_of_batches line, later;
	struct world world;

	(void)state;
	make_line(&line, 0);
	line_fork(&later, &line, line.count);
	later.set.now.count = 1;
	later.set.now.nodes[0] = fake_id(1);
	assert_int_equal(journal_set_put(later.kv, &later.set), 0);
	line_add(&later, 4, 10);
	world_init(&world, &line, line.count);
	world_fake(&world, 1, &later, later.count);
	world_begin(&world);
	world_connect(&world, 1);
	world_run(&world, SOON_MS);
	assert_true(world.opened);
	assert_true(world_has(&world, &later, later.count));
	world_done(&world);
	line_done(&later);
	line_done(&line);
}

/* ---- other name servers ---- */

static void test_empty_second_one_is_refused(void **state)
{
	struct beacon beacon = world_nameserver(3);
	struct world world;

	(void)state;
	world_init(&world, NULL, 0);
	world_begin(&world);
	world_run(&world, 50);
	world_hear(&world, &beacon);
	assert_int_equal(world.refused, -ERR_EXISTS);
	assert_non_null(strstr(world.why, "--standby"));
	world_done(&world);
}

static void test_another_cluster_is_none_of_ours(void **state)
{
	struct beacon beacon = world_nameserver(3);
	struct world world;

	(void)state;
	snprintf(beacon.cluster_name, sizeof(beacon.cluster_name), "elsewhere");
	world_init(&world, NULL, 0);
	world_begin(&world);
	world_run(&world, 50);
	world_hear(&world, &beacon);
	world_run(&world, LONG_MS);
	assert_true(world.opened && takeover_outcome(world.takeover).founded);
	world_done(&world);
}

static void hear_for(struct world *world, uint64_t ms)
{
	struct beacon beacon = world_nameserver(3);

	for (uint64_t past = 0; past < ms; past += 5000) {
		beacon.counter++;
		world_hear(world, &beacon);
		world_run(world, 5000);
	}
}

static void test_standby_takes_over_from_three(void **state)
{
	(void)state;
	for (unsigned int own = 0; own <= 4; own += 4) {
		struct takeover_outcome outcome;
		struct line_of_batches line;
		struct world world;

		make_line(&line, 3);
		world_init(&world, &line, own);
		world.config.standby = true;
		for (unsigned int i = 1; i <= 3; i++)
			world_fake(&world, i, &line, line.count)->promised_to = fake_id(9);
		world_begin(&world);
		hear_for(&world, LONG_MS);
		assert_false(world.opened);
		assert_true(world_noted(&world, "standby_waiting"));
		assert_int_equal(world.beacons, 0);
		world_run(&world, DEAD_AFTER_MS - 6000);
		assert_false(world.opened);
		outcome = run_for(&world, LONG_MS);
		assert_true(world.opened && !outcome.rebuilt);
		assert_true(world_has(&world, &line, line.count));
		world_done(&world);
		line_done(&line);
	}
}

static void test_standby_leaves_two_alone(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	make_line(&line, 2);
	world_init(&world, &line, 4);
	world.config.standby = true;
	world_fake(&world, 1, &line, line.count);
	world_fake(&world, 2, &line, line.count);
	world_begin(&world);
	world_run(&world, LONG_MS);
	assert_false(world.opened);
	world_done(&world);
	line_done(&line);
}

/* The one that was stopped for a while finds another in its place. */
static void test_old_one_waits_quietly(void **state)
{
	struct line_of_batches line;
	struct world world;
	unsigned int beacons;

	(void)state;
	make_line(&line, 3);
	world_init(&world, &line, line.count);
	world_begin(&world);
	world_connect(&world, 1);
	world_run(&world, 50);
	hear_for(&world, 20000);
	beacons = world.beacons;
	assert_int_equal(world.fakes[1].conn, 0);
	hear_for(&world, LONG_MS);
	assert_false(world.opened);
	assert_int_equal(world.beacons, beacons);
	world_done(&world);
	line_done(&line);
}

/* Two that begin at once must not wait for each other. */
static void test_of_two_that_begin_one_goes_on(void **state)
{
	struct beacon beacon = world_nameserver(4);
	struct line_of_batches line;
	struct world world;

	(void)state;
	make_line(&line, 3);
	beacon.start = 0;
	for (unsigned int above = 0; above < 2; above++) {
		beacon.server.bytes[0] = above ? 0xff : 0x01;
		world_init(&world, &line, line.count);
		world_begin(&world);
		world_run(&world, 200);
		world_hear(&world, &beacon);
		assert_int_equal(world_noted(&world, "standby_waiting"), above);
		world_done(&world);
	}
	line_done(&line);
}

static void test_two_clusters_of_one_name(void **state)
{
	struct line_of_batches line;
	struct world world;
	const struct hello_request hello = { .versions = PROTOCOL_VERSION << 16 | PROTOCOL_VERSION,
					     .role = ROLE_STORAGE,
					     .cluster = { { 0xdd } },
					     .cluster_name = slice_of(THE_NAME),
					     .self = { { 0xcc } } };

	(void)state;
	make_line(&line, 2);
	world_init(&world, NULL, 0);
	world_fake(&world, 1, &line, line.count);
	world_begin(&world);
	world_run(&world, 1000);
	world_client(&world, false);
	world_client_asks(&world, MSG_hello, &hello);
	assert_int_equal(world.client_status[0], ERR_WRONG_CLUSTER);
	assert_true(world.client_closed);
	assert_true(world_noted(&world, "two_clusters"));
	world_done(&world);
	line_done(&line);
}

/* ---- clients ---- */

static void test_clients_wait_a_while(void **state)
{
	const struct stat_request stat = { .path = slice_of("/") };
	const struct status_request status = { 0 };
	struct line_of_batches line;
	struct world world;

	(void)state;
	make_line(&line, 3);
	world_init(&world, &line, line.count);
	world_begin(&world);
	world_run(&world, 1000);
	world_client(&world, true);
	assert_int_equal(world.client_answers, 1);
	assert_int_equal(world.client_status[0], 0);
	world_client_asks(&world, MSG_status, &status);
	assert_int_equal(world.client_state, SERVICE_TAKEOVER);
	world_client_asks(&world, MSG_stat, &stat);
	world_run(&world, TAKEOVER_WAIT_MS - 200);
	assert_int_equal(world.client_answers, 2);
	world_run(&world, 500);
	assert_int_equal(world.client_answers, 3);
	assert_int_equal(world.client_status[2], ERR_UNAVAILABLE);
	world_done(&world);
	line_done(&line);
}

struct handed {
	enum ns_event_kind kind;
	unsigned int type;
	uint64_t conn;
};
struct handed_list {
	struct handed list[16];
	unsigned int count;
};

static void hand(void *context, struct ns_event *event)
{
	struct handed_list *handed = context;

	handed->list[handed->count++] =
		(struct handed){ event->kind, event->header ? event->header->type : 0,
				 event->conn };
}

static void test_everything_is_handed_over(void **state)
{
	const struct stat_request stat = { .path = slice_of("/") };
	struct handed_list handed = { .count = 0 };
	struct line_of_batches line;
	struct world world;

	(void)state;
	make_line(&line, 1);
	world_init(&world, &line, line.count);
	world_begin(&world);
	world_run(&world, 1000);
	world_client(&world, true);
	world_client_asks(&world, MSG_stat, &stat);
	world_fake(&world, 1, &line, line.count);
	world_run(&world, 1500);
	assert_true(world.opened);
	takeover_hand_over(world.takeover, hand, &handed);
	assert_int_equal(handed.count, 4);
	assert_int_equal(handed.list[0].kind, NS_GREETED);
	assert_int_equal(handed.list[0].type, MSG_hello);
	assert_int_equal(handed.list[1].kind, NS_GREETED);
	assert_int_equal(handed.list[2].kind, NS_FRAME);
	assert_int_equal(handed.list[2].type, MSG_stat);
	assert_int_equal(handed.list[2].conn, CLIENT_CONN);
	assert_int_equal(handed.list[3].type, MSG_register);
	world_done(&world);
	line_done(&line);
}

/* Nobody can be told a cluster that does not exist yet. */
static void test_greeting_waits_for_the_founding(void **state)
{
	struct handed_list handed = { .count = 0 };
	struct world world;

	(void)state;
	world_init(&world, NULL, 0);
	world_begin(&world);
	world_run(&world, 500);
	world_client(&world, true);
	assert_int_equal(world.client_answers, 0);
	world_run(&world, LONG_MS);
	assert_true(world.opened);
	assert_int_equal(world.client_answers, 0);
	takeover_hand_over(world.takeover, hand, &handed);
	assert_int_equal(handed.count, 2);
	assert_int_equal(handed.list[0].kind, NS_OPENED);
	assert_int_equal(handed.list[1].type, MSG_hello);
	world_done(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody_there_founds),
		cmocka_unit_test(test_new_servers_found_with_it),
		cmocka_unit_test(test_restart_with_all_is_quick),
		cmocka_unit_test(test_returns_with_one_of_two),
		cmocka_unit_test(test_needs_two_of_three),
		cmocka_unit_test(test_older_disk_is_completed),
		cmocka_unit_test(test_newer_disk_stays),
		cmocka_unit_test(test_other_history_is_copied),
		cmocka_unit_test(test_empty_disk_by_batches),
		cmocka_unit_test(test_empty_disk_by_pages),
		cmocka_unit_test(test_empty_disk_waits_for_both),
		cmocka_unit_test(test_accepting_founds_nothing),
		cmocka_unit_test(test_unfinished_founds_nothing),
		cmocka_unit_test(test_the_right_one_of_two),
		cmocka_unit_test(test_changing_set_needs_both),
		cmocka_unit_test(test_higher_promise_is_outbid),
		cmocka_unit_test(test_busy_is_asked_again),
		cmocka_unit_test(test_source_dies),
		cmocka_unit_test(test_old_disk_without_a_set),
		cmocka_unit_test(test_empty_second_one_is_refused),
		cmocka_unit_test(test_another_cluster_is_none_of_ours),
		cmocka_unit_test(test_standby_takes_over_from_three),
		cmocka_unit_test(test_standby_leaves_two_alone),
		cmocka_unit_test(test_old_one_waits_quietly),
		cmocka_unit_test(test_of_two_that_begin_one_goes_on),
		cmocka_unit_test(test_two_clusters_of_one_name),
		cmocka_unit_test(test_clients_wait_a_while),
		cmocka_unit_test(test_everything_is_handed_over),
		cmocka_unit_test(test_greeting_waits_for_the_founding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

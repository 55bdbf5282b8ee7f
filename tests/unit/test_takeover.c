#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "error.h"
#include "takeover_world.h"

enum { SOON_MS = 400, LONG_MS = 60 * 1000 };

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
	for (unsigned int members = 1; members <= 3; members++) {
		struct line_of_batches line;
		struct takeover_outcome outcome;
		struct world world;

		line_make(&line, members);
		world_init(&world, &line, line.count);
		for (unsigned int i = 1; i <= members; i++)
			world_fake(&world, i, &line, line.count);
		world_begin(&world);
		outcome = run_for(&world, SOON_MS);
		assert_true(world.opened && !outcome.rebuilt && !outcome.copied);
		assert_int_equal(outcome.epoch, 4);
		assert_int_equal(outcome.head.sequence, line.count);
		world_done(&world);
		batches_done(&line);
	}
}

/* Of two, one that has followed nobody else proves that nobody else has begun. */
static void test_returns_with_one_of_two(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 2);
	world_init(&world, &line, line.count);
	world_fake(&world, 2, &line, line.count - 1);
	world_begin(&world);
	world_run(&world, SOON_MS);
	assert_false(world.opened);
	world_run(&world, FOUND_AFTER_MS);
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
	batches_done(&line);
}

static void test_needs_two_of_three(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 3);
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
	batches_done(&line);
}

/* Old disk: what followed comes batch by batch, a large one in parts. */
static void test_older_disk_is_completed(void **state)
{
	struct takeover_outcome outcome;
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 3);
	world_init(&world, &line, 4);
	world_fake(&world, 1, &line, line.count);
	world_fake(&world, 2, &line, line.count);
	world_begin(&world);
	outcome = run_for(&world, SOON_MS);
	assert_true(world.opened && outcome.copied && !outcome.rebuilt);
	assert_true(world_has(&world, &line, line.count));
	assert_int_equal(world.fakes[1].pages + world.fakes[2].pages, 0);
	world_done(&world);
	batches_done(&line);
}

static void test_newer_disk_stays(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 3);
	world_init(&world, &line, line.count);
	world_fake(&world, 1, &line, line.count - 2);
	world_fake(&world, 2, &line, line.count - 3);
	world_begin(&world);
	world_run(&world, SOON_MS);
	assert_true(world.opened);
	assert_true(world_has(&world, &line, line.count));
	world_done(&world);
	batches_done(&line);
}

/* Another name server has gone on from batch 6; our tail was never committed. However long it is,
 * the later epoch counts. */
static void test_other_history_is_copied(void **state)
{
	struct line_of_batches line, other;
	struct takeover_outcome outcome;
	struct world world;

	(void)state;
	line_make(&line, 3);
	line_fork(&other, &line, 6);
	line_add(&other, 9, 10);
	world_init(&world, &line, line.count);
	world_fake(&world, 1, &other, other.count);
	world_fake(&world, 2, &other, 6);
	world_begin(&world);
	outcome = run_for(&world, SOON_MS);
	assert_true(world.opened && outcome.copied);
	/* Enough have agreed: nothing that anybody was told is missing. */
	assert_false(outcome.rebuilt);
	assert_int_equal(outcome.epoch, 10);
	assert_true(world_has(&world, &other, other.count));
	assert_true(world.fakes[1].pages > 1);
	world_done(&world);
	batches_done(&other);
	batches_done(&line);
}

/* The same, but whoever knows the rest has said good-bye for ever. */
static void test_other_history_of_too_few(void **state)
{
	struct line_of_batches line, other;
	struct takeover_outcome outcome;
	struct world world;

	(void)state;
	line_make(&line, 3);
	line_fork(&other, &line, 6);
	line_add(&other, 9, 10);
	world_init(&world, &line, line.count);
	world.config.accept_rebuild = true;
	world_fake(&world, 1, &other, other.count);
	world_begin(&world);
	outcome = run_for(&world, LONG_MS);
	assert_true(world.opened && outcome.copied && outcome.rebuilt);
	assert_true(world_has(&world, &other, other.count));
	world_done(&world);
	batches_done(&other);
	batches_done(&line);
}

/* The first source dies amid the pages: what is here is empty then, but was not. */
static void test_other_history_from_two_sources(void **state)
{
	struct line_of_batches line, other;
	struct takeover_outcome outcome;
	struct world world;

	(void)state;
	line_make(&line, 3);
	line_fork(&other, &line, 6);
	line_add(&other, 9, 10);
	world_init(&world, &line, line.count);
	for (unsigned int i = 1; i <= 3; i++)
		world_fake(&world, i, &other, other.count);
	world.fakes[1].dies_in = 3;
	world_begin(&world);
	outcome = run_for(&world, LONG_MS);
	assert_true(world.opened && outcome.copied);
	assert_true(world_noted(&world, "catalogue_source_lost"));
	assert_false(outcome.rebuilt);
	world_done(&world);
	batches_done(&other);
	batches_done(&line);
}

static void rebuild(unsigned int oldest, unsigned int members)
{
	struct takeover_outcome outcome;
	struct line_of_batches line;
	struct world world;

	line_make(&line, members);
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
	batches_done(&line);
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
	line_make(&line, 2);
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
	batches_done(&line);
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
	line_make(&line, 1);
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
	batches_done(&line);
}

/* A later epoch is more than a longer tail; and what is not of the set does not count. */
static void test_the_right_one_of_two(void **state)
{
	struct line_of_batches line, later;
	struct world world;

	(void)state;
	line_make(&line, 3);
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
	batches_done(&later);
	batches_done(&line);
}

/* While the set changes both must agree. */
static void test_changing_set_needs_both(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 1);
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
	batches_done(&line);
}

static void test_higher_promise_is_outbid(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 3);
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
	batches_done(&line);
}

/* It still follows somebody: it is asked again. */
static void test_busy_is_asked_again(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 1);
	world_init(&world, &line, line.count);
	world_fake(&world, 1, &line, line.count)->busy = 3;
	world_begin(&world);
	world_run(&world, SOON_MS);
	assert_false(world.opened);
	world_run(&world, 2000);
	assert_true(world.opened);
	assert_int_equal(world.fakes[1].promises, 4);
	world_done(&world);
	batches_done(&line);
}

static void test_source_dies(void **state)
{
	static const unsigned int oldest[] = { 0, 8 };

	(void)state;
	for (unsigned int i = 0; i < 2; i++) {
		struct line_of_batches line;
		struct world world;

		line_make(&line, 3);
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
		batches_done(&line);
	}
}

/* Without a set there is nobody to ask; but who is there and knows more is heard. */
static void test_old_disk_without_a_set(void **state)
{
	struct line_of_batches line, later;
	struct world world;

	(void)state;
	line_make(&line, 0);
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
	batches_done(&later);
	batches_done(&line);
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
		cmocka_unit_test(test_other_history_of_too_few),
		cmocka_unit_test(test_other_history_from_two_sources),
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

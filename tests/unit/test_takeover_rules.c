/* Whose catalogue may be opened: the cases in which somebody knows better, or might. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "error.h"
#include "takeover_world.h"
#include "text.h"

enum { LONG_MS = 60 * 1000, SHORT_MS = 4000 };

static void set_seal(struct line_of_batches *line, const struct journal_set *set, uint64_t epoch)
{
	line->set = *set;
	assert_int_equal(journal_set_put(line->kv, set), 0);
	line_add(line, epoch, 10);
}

/* {1, 2, 3} becomes {1, 2, 4}: first both, then the new one alone. */
static void set_change_begin(struct line_of_batches *line, uint64_t epoch)
{
	struct journal_set set = { .now = line->set.now,
				   .before = line->set.now,
				   .changing = true };

	set.now.nodes[2] = fake_id(4);
	set_seal(line, &set, epoch);
}

static void set_change_end(struct line_of_batches *line, uint64_t epoch)
{
	const struct journal_set set = { .now = line->set.now };

	set_seal(line, &set, epoch);
}

/* ---- who has more ---- */

/* Server 1 alone has the last batch, which counts. It promises, but is too busy to give it: the
 * other one must not stand in for it. */
static void test_a_busy_source_is_waited_for(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 2);
	world_init(&world, NULL, 0);
	world_fake(&world, 1, &line, line.count)->refuses = 3;
	world_fake(&world, 2, &line, line.count - 1);
	world_begin(&world);
	world_run(&world, LONG_MS);
	assert_true(world.opened);
	assert_true(world_noted(&world, "catalogue_source_lost"));
	assert_true(world_has(&world, &line, line.count));
	world_done(&world);
	batches_done(&line);
}

/* The same, and a connection on which it had less has not been noticed to be dead. */
static void test_a_dead_connection_does_not_speak(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 2);
	world_init(&world, &line, line.count - 1);
	world_fake(&world, 1, &line, line.count - 1)->promised_to = fake_id(9);
	world_begin(&world);
	world_run(&world, SHORT_MS);
	assert_int_equal(world.fakes[1].promises, 1);
	world.fakes[1].has = line.count;
	world.fakes[1].refuses = 3;
	world_connect(&world, 1);
	world_fake(&world, 2, &line, line.count - 1)->promised_to = fake_id(9);
	world_run(&world, LONG_MS);
	assert_true(world.opened);
	assert_true(world_has(&world, &line, line.count));
	world_done(&world);
	batches_done(&line);
}

/* Server 3 was replaced by 4, and knows; 1 was not in reach meanwhile and does not. */
static void test_a_replaced_one_does_not_speak_for_the_old_set(void **state)
{
	struct line_of_batches line, later;
	struct world world;

	(void)state;
	line_make(&line, 3);
	line_fork(&later, &line, 10);
	set_change_begin(&later, 3);
	set_change_end(&later, 3);
	line_add(&later, 3, 10);
	for (unsigned int own = 0; own <= 10; own += 10) {
		world_init(&world, &line, own);
		world_fake(&world, 1, &line, 10);
		world_fake(&world, 3, &later, later.count);
		world_begin(&world);
		world_run(&world, LONG_MS);
		assert_false(world.opened);
		world_fake(&world, 2, &later, later.count);
		world_run(&world, LONG_MS);
		assert_true(world.opened);
		assert_true(world_has(&world, &later, later.count));
		world_done(&world);
	}
	batches_done(&later);
	batches_done(&line);
}

/* The own catalogue is from the time before there was a set. */
static void test_somebody_knows_of_a_set(void **state)
{
	struct line_of_batches line, later;
	struct journal_set set = { .now.count = 2, .now.nodes = { fake_id(1), fake_id(2) } };
	struct world world;

	(void)state;
	line_make(&line, 0);
	line_fork(&later, &line, line.count);
	set_seal(&later, &set, 3);
	world_init(&world, &line, line.count);
	world_fake(&world, 3, &later, later.count);
	world_begin(&world);
	world_connect(&world, 3);
	world_run(&world, LONG_MS);
	assert_false(world.opened);
	world_fake(&world, 1, &later, later.count);
	world_fake(&world, 2, &later, later.count);
	world_run(&world, LONG_MS);
	assert_true(world.opened);
	assert_true(world_has(&world, &later, later.count));
	world_done(&world);
	batches_done(&later);
	batches_done(&line);
}

/* What another server has besides, when there is no set yet, is what the own disk did not get. */
static void test_a_tail_that_never_counted(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 0);
	world_init(&world, &line, line.count - 1);
	world_fake(&world, 3, &line, line.count);
	world_begin(&world);
	world_connect(&world, 3);
	world_run(&world, LONG_MS);
	assert_true(world.opened);
	world_done(&world);
	batches_done(&line);
}

/* ---- copies that are made anew ---- */

/* Of two, 1 is half-way through copying 2, which has more than it ever had. The own disk is from an
 * earlier epoch, or empty. */
static void test_half_a_copy_speaks_for_what_it_had(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 2);
	for (unsigned int own = 0; own <= 2; own += 2) {
		for (unsigned int had = 4; had <= line.count; had += line.count - 4) {
			world_init(&world, &line, own);
			world_fake(&world, 1, &line, had)->incomplete = true;
			world_begin(&world);
			world_run(&world, LONG_MS);
			assert_false(world.opened);
			world_fake(&world, 2, &line, line.count);
			world_run(&world, LONG_MS);
			assert_true(world.opened);
			assert_true(world_has(&world, &line, line.count));
			assert_int_equal(world.fakes[1].pulls, 0);
			world_done(&world);
		}
	}
	batches_done(&line);
}

/* It had one more than everybody who is there: that one may have been committed, on the disk that
 * is an old copy of itself now. So neither the own catalogue nor that of 2 will do, until the copy
 * is complete. */
static void test_half_a_copy_does_not_speak_for_less(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 2);
	for (unsigned int own = 0; own < line.count; own += line.count - 1) {
		world_init(&world, &line, own);
		world_fake(&world, 1, &line, line.count)->incomplete = true;
		world_begin(&world);
		world_run(&world, LONG_MS);
		assert_false(world.opened);
		world_fake(&world, 2, &line, line.count - 1)->promised_to = fake_id(9);
		world_run(&world, LONG_MS);
		assert_false(world.opened);
		world_client(&world, true);
		world_client_asks(&world, MSG_status, &(struct status_request){ 0 });
		assert_non_null(strstr(world.client_waiting, "(empty)"));
		world.fakes[1].incomplete = false;
		world_run(&world, LONG_MS);
		assert_true(world.opened);
		assert_true(world_has(&world, &line, line.count));
		world_done(&world);
	}
	batches_done(&line);
}

/* ---- returning ---- */

/* Of two, one in touch proves that nobody else has begun; but only for a disk that was there all
 * the time. Half of what was copied from 2 is no such disk, though it ends in an epoch of ours. */
static void test_half_a_copy_does_not_return(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 2);
	for (unsigned int own = 0; own <= 4; own += 4) {
		world_init(&world, &line, own);
		world_fake(&world, 1, &line, 8);
		world_fake(&world, 2, &line, line.count)->dies_in = own ? 12 : 17;
		world_begin(&world);
		world_run(&world, SHORT_MS);
		assert_true(world_noted(&world, "catalogue_source_lost"));
		assert_true(world_has(&world, &line, 8) || world_has(&world, &line, 9));
		world_disconnect(&world, 1);
		world_run(&world, LONG_MS);
		assert_false(world.opened);
		world_fake(&world, 2, &line, line.count);
		world_run(&world, LONG_MS);
		assert_true(world.opened);
		assert_true(world_has(&world, &line, line.count));
		world_done(&world);
	}
	batches_done(&line);
}

/* It was killed before its own disk had the last batch, but 1 has it. */
static void test_returns_to_its_own_tail(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 2);
	world_init(&world, &line, line.count - 1);
	world_fake(&world, 1, &line, line.count);
	world_begin(&world);
	world_run(&world, LONG_MS);
	assert_true(world.opened);
	assert_true(world_has(&world, &line, line.count));
	assert_false(takeover_outcome(world.takeover).rebuilt);
	world_done(&world);
	batches_done(&line);
}

/* An old copy of the directory knows a set of 1 and 2. By now it is 2 and 3, and 1 knows no more
 * than the directory. Who is not in the set may know more as well. */
static void test_an_old_disk_hears_of_its_own_tail(void **state)
{
	const struct journal_set newer = { .now.count = 2,
					   .now.nodes = { fake_id(2), fake_id(3) } };
	struct line_of_batches line, later;
	struct world world;

	(void)state;
	line_make(&line, 2);
	line_fork(&later, &line, line.count);
	set_seal(&later, &newer, 3);
	world_init(&world, &line, line.count);
	world_fake(&world, 1, &line, line.count);
	world_begin(&world);
	world_run(&world, FOUND_AFTER_MS - 500);
	assert_false(world.opened);
	world_fake(&world, 4, &later, later.count);
	world_run(&world, LONG_MS);
	assert_false(world.opened);
	world_fake(&world, 2, &later, later.count);
	world_fake(&world, 3, &later, later.count);
	world_run(&world, LONG_MS);
	assert_true(world.opened);
	assert_true(world_has(&world, &later, later.count));
	world_done(&world);
	batches_done(&later);
	batches_done(&line);
}

/* It is from the time before there was a set, and nobody can be asked; so it looks who is there. */
static void test_an_old_disk_without_a_set_looks_around(void **state)
{
	const struct journal_set set = { .now.count = 1, .now.nodes = { fake_id(1) } };
	struct line_of_batches line, later;

	(void)state;
	line_make(&line, 0);
	line_fork(&later, &line, line.count);
	set_seal(&later, &set, 4);
	for (unsigned int comes = 0; comes < 2; comes++) {
		struct world world;

		world_init(&world, &line, line.count);
		world_begin(&world);
		world_run(&world, FOUND_AFTER_MS - 500);
		assert_false(world.opened);
		assert_true(world.beacons > 1 && world.probes > 1);
		if (comes)
			world_fake(&world, 1, &later, later.count);
		world_run(&world, 500);
		assert_true(world.opened);
		assert_true(world_has(&world, comes ? &later : &line,
				      comes ? later.count : line.count));
		world_done(&world);
	}
	batches_done(&later);
	batches_done(&line);
}

/* ---- whom nobody draws away ---- */

/* One of three does not decide: another name server may serve with the others, and with it. */
static void test_too_few_are_left_in_peace(void **state)
{
	struct line_of_batches line;
	struct fake *third, *fourth;
	struct world world;

	(void)state;
	line_make(&line, 3);
	world_init(&world, &line, line.count);
	third = world_fake(&world, 3, &line, line.count);
	fourth = world_fake(&world, 4, &line, 0); /* is none of them */
	third->promised = 7;
	third->promised_to = fake_id(9);
	world_begin(&world);
	world_run(&world, LONG_MS);
	assert_false(world.opened);
	assert_int_equal(third->promises + fourth->promises, 0);
	assert_int_equal(third->promised, 7);
	assert_true(world_noted(&world, "set=3 needed=2 promised=0 heard=2"));
	assert_true(world_noted(&world, "--accept-rebuild begins with those in reach"));
	world_fake(&world, 1, &line, line.count);
	world_run(&world, LONG_MS);
	assert_true(world.opened);
	assert_true(third->promised > 7);
	world_done(&world);
	batches_done(&line);
}

/* The third is there, and is not named among those that are missing. */
static void test_who_is_there_is_not_missing(void **state)
{
	const struct status_request status = { 0 };
	struct line_of_batches line;
	struct id third = fake_id(3);
	char id[ID_TEXT_MAX];
	struct world world;

	(void)state;
	line_make(&line, 3);
	world_init(&world, &line, line.count);
	world_fake(&world, 3, &line, line.count);
	world_begin(&world);
	world_run(&world, SHORT_MS);
	assert_true(world_noted(&world, "takeover_waiting"));
	assert_false(world_noted(&world, id_format(&third, id)));
	world_client(&world, true);
	world_client_asks(&world, MSG_status, &status);
	assert_non_null(strchr(world.client_waiting, ','));
	assert_null(strstr(world.client_waiting, id));
	world_done(&world);
	batches_done(&line);
}

/* Of {1, 2, 3} nobody is left, and nobody here knows: but 4 has more, or may have. */
static void test_a_later_one_is_asked(void **state)
{
	struct line_of_batches line, later;
	const struct journal_set set = { .now.count = 1, .now.nodes = { fake_id(4) } };

	(void)state;
	line_make(&line, 3);
	line_fork(&later, &line, line.count);
	set_seal(&later, &set, 5);
	for (int opening = 0; opening <= 1; opening++) {
		struct world world;

		world_init(&world, &line, line.count);
		world_fake(&world, 4, &later, later.count)->opening = opening;
		world_begin(&world);
		world_run(&world, LONG_MS);
		assert_true(world.opened);
		assert_true(world_has(&world, &later, later.count));
		world_done(&world);
	}
	batches_done(&later);
	batches_done(&line);
}

/* Its promise is on its disk; what came before it knows no more when it starts anew. */
static void test_returns_though_the_server_started_anew(void **state)
{
	struct line_of_batches line;

	(void)state;
	line_make(&line, 2);
	for (unsigned int another = 0; another < 2; another++) {
		struct world world;

		world_init(&world, &line, line.count);
		if (another) /* has the promise of server 3, a later one */
			world_fake(&world, 3, &line, line.count)->promised_to = fake_id(9);
		world_fake(&world, 1, &line, line.count);
		world_begin(&world);
		world_run(&world, 1000);
		assert_int_equal(world.fakes[1].promised, 4);
		world_disconnect(&world, 1);
		world.fakes[1].previous = world.fakes[1].promised;
		world.fakes[1].previous_to = world.fakes[1].promised_to;
		world_run(&world, LONG_MS);
		assert_int_equal(world.opened, !another);
		world_done(&world);
	}
	batches_done(&line);
}

/* ---- epochs ---- */

/* A copy learns from others, too: it may know a later epoch than it was ever promised. */
static void test_no_epoch_twice(void **state)
{
	(void)state;
	for (uint64_t epoch = 4; epoch <= 9; epoch++) {
		struct line_of_batches line;
		struct fake *fake;
		struct world world;

		line_make(&line, 1);
		line_add(&line, epoch, 10);
		world_init(&world, &line, line.count - 1);
		fake = world_fake(&world, 1, &line, line.count);
		fake->promised = 3;
		fake->opening = true;
		world_begin(&world);
		world_run(&world, SHORT_MS);
		assert_true(world.opened);
		assert_true(takeover_outcome(world.takeover).epoch > epoch);
		assert_int_equal(fake->promised, takeover_outcome(world.takeover).epoch);
		world_done(&world);
		batches_done(&line);
	}
}

/* ---- a change of the set ---- */

/* Batches 1 and 2; 3 begins the change, 4 ends it, 5 comes after. Which of them were committed,
 * when the name server died and its servers had so many? The own disk had them all. */
enum { BEGINS = 3, ENDS = 4, LAST = 5, SERVERS = 4 };

static unsigned int how_many_have(const unsigned int has[SERVERS], unsigned int batch,
				  unsigned int third)
{
	const unsigned int have[] = { has[0], has[1], has[third - 1] };
	unsigned int count = 0;

	for (unsigned int i = 0; i < 3; i++)
		count += have[i] >= batch;
	return count;
}

static bool is_committed(const unsigned int has[SERVERS], unsigned int batch)
{
	const bool old = how_many_have(has, batch, 3) >= 2, new = how_many_have(has, batch, 4) >= 2;

	if (batch < BEGINS)
		return old;
	return batch == BEGINS ? old && new : new;
}

/* The change ends only when its beginning is committed. */
static bool is_possible(const unsigned int has[SERVERS])
{
	unsigned int most = 0;

	for (unsigned int i = 0; i < SERVERS; i++)
		most = has[i] > most ? has[i] : most;
	return most < ENDS || is_committed(has, BEGINS);
}

static unsigned int committed(const unsigned int has[SERVERS])
{
	unsigned int batch = LAST;

	while (batch > 0 && !is_committed(has, batch))
		batch--;
	return batch;
}

static bool opens(const struct line_of_batches lines[LAST + 1], unsigned int own,
		  const unsigned int has[SERVERS], unsigned int there)
{
	struct world world;
	bool opened;

	world_init(&world, &lines[own], own);
	for (unsigned int i = 0; i < SERVERS; i++) {
		if (there & 1u << i)
			world_fake(&world, i + 1, &lines[has[i]], has[i]);
	}
	world_begin(&world);
	world_run(&world, SHORT_MS);
	opened = world.opened;
	if (opened)
		assert_true(takeover_outcome(world.takeover).head.sequence >= committed(has));
	world_done(&world);
	return opened;
}

/* By those who are there, of whom too few may be left by the rule, and with all of them. */
static void takeovers(const struct line_of_batches lines[LAST + 1], const unsigned int has[SERVERS])
{
	for (unsigned int there = 0; there < 1u << SERVERS; there++) {
		if (there) /* else it founds a cluster */
			opens(lines, 0, has, there);
		for (unsigned int own = committed(has); own <= LAST; own++) {
			if (own < ENDS || is_committed(has, BEGINS))
				opens(lines, own, has, there);
		}
	}
	assert_true(opens(lines, 0, has, (1u << SERVERS) - 1));
}

static void test_every_moment_of_a_change(void **state)
{
	struct line_of_batches lines[LAST + 1];
	unsigned int has[SERVERS];

	(void)state;
	line_init(&lines[1], 3);
	for (unsigned int i = 2; i <= LAST; i++) {
		line_fork(&lines[i], &lines[i - 1], i - 1);
		if (i == BEGINS)
			set_change_begin(&lines[i], 1);
		else if (i == ENDS)
			set_change_end(&lines[i], 1);
		else
			line_add(&lines[i], 1, 10);
	}
	lines[0] = lines[1];
	for (unsigned int state_ = 0; state_ < LAST * LAST * LAST * LAST; state_++) {
		unsigned int rest = state_;

		for (unsigned int i = 0; i < SERVERS; i++, rest /= LAST)
			has[i] = rest % LAST + 1;
		if (is_possible(has))
			takeovers(lines, has);
	}
	for (unsigned int i = 1; i <= LAST; i++)
		batches_done(&lines[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_busy_source_is_waited_for),
		cmocka_unit_test(test_a_dead_connection_does_not_speak),
		cmocka_unit_test(test_a_replaced_one_does_not_speak_for_the_old_set),
		cmocka_unit_test(test_somebody_knows_of_a_set),
		cmocka_unit_test(test_a_tail_that_never_counted),
		cmocka_unit_test(test_half_a_copy_speaks_for_what_it_had),
		cmocka_unit_test(test_half_a_copy_does_not_speak_for_less),
		cmocka_unit_test(test_half_a_copy_does_not_return),
		cmocka_unit_test(test_returns_to_its_own_tail),
		cmocka_unit_test(test_returns_though_the_server_started_anew),
		cmocka_unit_test(test_an_old_disk_hears_of_its_own_tail),
		cmocka_unit_test(test_an_old_disk_without_a_set_looks_around),
		cmocka_unit_test(test_too_few_are_left_in_peace),
		cmocka_unit_test(test_who_is_there_is_not_missing),
		cmocka_unit_test(test_a_later_one_is_asked),
		cmocka_unit_test(test_no_epoch_twice),
		cmocka_unit_test(test_every_moment_of_a_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

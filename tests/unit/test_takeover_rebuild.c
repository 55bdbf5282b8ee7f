/* A rebuild that is cut short is one all the same when the name server starts again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "error.h"
#include "takeover_world.h"

enum { SOON_MS = 400, LONG_MS = 60 * 1000 };

/* All of it is here, and the first batch that would have said so is not. */
static void test_dies_after_the_last_batch(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	for (unsigned int starts = 0; starts < 3; starts++) {
		line_make(&line, 2);
		world_init(&world, NULL, 0);
		world_fake(&world, 1, &line, line.count);
		world_fake(&world, 2, &line, line.count);
		world_begin(&world);
		world_run(&world, LONG_MS);
		assert_true(world.opened && world.marked);
		assert_int_equal(world.unmarked, 0);
		for (unsigned int i = 0; i < starts; i++) {
			world_restart(&world);
			world_run(&world, LONG_MS);
		}
		assert_true(world.opened && takeover_outcome(world.takeover).rebuilt);
		assert_int_equal(takeover_outcome(world.takeover).copied, starts == 0);
		assert_true(world.marked);
		assert_true(world_has(&world, &line, line.count));
		/* The glue takes it back once the catalogue says it. */
		world.marked = false;
		world_restart(&world);
		world_run(&world, LONG_MS);
		assert_true(world.opened && !takeover_outcome(world.takeover).rebuilt);
		assert_false(world.marked);
		world_done(&world);
		batches_done(&line);
	}
}

/* What was fetched from one of two is not what this directory has committed: the other may know
 * more, as before. */
static void test_what_was_fetched_does_not_return(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 2);
	for (unsigned int marked = 0; marked < 2; marked++) {
		world_init(&world, &line, line.count);
		world.config.rebuilding = world.marked = marked == 1;
		world_fake(&world, 1, &line, line.count);
		world_begin(&world);
		world_run(&world, LONG_MS);
		assert_int_equal(world.opened, !marked);
		world_fake(&world, 2, &line, line.count);
		world_run(&world, LONG_MS);
		assert_true(world.opened);
		assert_int_equal(takeover_outcome(world.takeover).rebuilt, marked);
		world_done(&world);
	}
	batches_done(&line);
}

static void test_marked_and_empty_founds_nothing(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 1);
	world_init(&world, NULL, 0);
	world.config.rebuilding = true;
	world_begin(&world);
	world_run(&world, LONG_MS);
	assert_false(world.opened);
	world_fake(&world, 1, &line, line.count);
	world_run(&world, LONG_MS);
	assert_true(world.opened && takeover_outcome(world.takeover).rebuilt);
	assert_false(takeover_outcome(world.takeover).founded);
	world_done(&world);
	batches_done(&line);
}

/* Half of the pages are here: they count for nothing. */
static void test_dies_amid_the_pages(void **state)
{
	struct line_of_batches line;
	struct world world;
	unsigned int pages;

	(void)state;
	line_make(&line, 1);
	world_init(&world, NULL, 0);
	world_fake(&world, 1, &line, line.count)->oldest = 8;
	world.fakes[1].dies_in = 4;
	world_begin(&world);
	world_run(&world, SOON_MS * 10);
	assert_false(world.opened);
	pages = world.fakes[1].pages;
	assert_true(pages >= 2 && world.marked);
	assert_int_equal(world.unmarked, 0);
	assert_false(world_has(&world, &line, line.count));

	world_restart(&world);
	assert_true(world.config.unfinished);
	assert_int_equal(world.config.head.last.sequence, 0);
	world_run(&world, LONG_MS); /* founds nothing */
	assert_false(world.opened);
	world.fakes[1].up = true;
	world_run(&world, LONG_MS);
	assert_true(world.opened && takeover_outcome(world.takeover).rebuilt);
	assert_true(world.fakes[1].pages > 2 * pages); /* from the first one on */
	assert_true(world_has(&world, &line, line.count));
	world_done(&world);
	batches_done(&line);
}

/* Nothing is fetched where it could not be said. */
static void test_full_disk_is_not_rebuilt(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 1);
	world_init(&world, NULL, 0);
	world.keep_error = -ERR_LOCAL_FULL;
	world_fake(&world, 1, &line, line.count);
	world_begin(&world);
	world_run(&world, LONG_MS);
	assert_false(world.opened);
	assert_int_equal(world.refused, -ERR_LOCAL_FULL);
	assert_int_equal(world.unmarked, 0);
	world_done(&world);
	batches_done(&line);
}

/* A stand-by's is empty because it never had one. */
static void test_standby_is_not_marked(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 3);
	world_init(&world, NULL, 0);
	world.config.standby = true;
	for (unsigned int i = 1; i <= 3; i++)
		world_fake(&world, i, &line, line.count);
	world_begin(&world);
	world_run(&world, LONG_MS);
	assert_true(world.opened && !takeover_outcome(world.takeover).rebuilt);
	assert_true(world.unmarked > 0 && !world.marked);
	world_done(&world);
	batches_done(&line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dies_after_the_last_batch),
		cmocka_unit_test(test_what_was_fetched_does_not_return),
		cmocka_unit_test(test_marked_and_empty_founds_nothing),
		cmocka_unit_test(test_dies_amid_the_pages),
		cmocka_unit_test(test_full_disk_is_not_rebuilt),
		cmocka_unit_test(test_standby_is_not_marked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

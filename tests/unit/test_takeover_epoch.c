/* What the directory keeps of the epochs that were asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "error.h"
#include "takeover_world.h"

enum { SOON_MS = 400, LONG_MS = 60 * 1000 };

/* The survivor of two promised epoch 4 to us, and we died before our first batch in it: the
 * directory knows. */
static void test_returns_after_a_promise(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 2);
	world_init(&world, &line, line.count);
	world_fake(&world, 2, &line, line.count);
	world_begin(&world);
	world_run(&world, LONG_MS);
	assert_true(world.opened);
	assert_int_equal(world.kept, 4);
	world_done(&world);

	for (unsigned int knows = 0; knows < 2; knows++) {
		world_init(&world, &line, line.count);
		world.config.asked_epoch = knows ? 4 : 0;
		world_fake(&world, 2, &line, line.count)->promised = 4;
		world_begin(&world);
		world_run(&world, LONG_MS);
		assert_int_equal(world.opened, knows);
		assert_int_equal(world.kept, knows ? 5 : 0);
		world_done(&world);
	}
	batches_done(&line);
}

/* An old copy of the directory must not take its own question for an answer when it starts again;
 * whether the server has said before what it had promised, or only then. */
static void test_old_disk_never_returns(void **state)
{
	struct line_of_batches line;
	struct world world;
	uint64_t kept = 0;

	(void)state;
	line_make(&line, 2);
	for (unsigned int start = 0; start < 3; start++) {
		world_init(&world, &line, line.count - 4);
		world.config.asked_epoch = kept;
		world_fake(&world, 2, &line, line.count - 4)->promised = 6 + start;
		world_begin(&world);
		world_run(&world, LONG_MS);
		assert_false(world.opened);
		if (world.kept)
			kept = world.kept;
		assert_true(kept < 6);
		world_done(&world);
	}
	batches_done(&line);
}

/* Found out when it is too late: somebody else was promised an epoch in between. */
static void test_kept_epoch_is_taken_back(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 2);
	world_init(&world, &line, line.count);
	world.config.asked_epoch = 3;
	world_fake(&world, 2, &line, line.count)->busy = 1;
	world_begin(&world);
	world_run(&world, 250);
	assert_int_equal(world.kept, 4);
	world.fakes[2].promised = 4;
	world.fakes[2].promised_to = fake_id(9);
	world_run(&world, LONG_MS);
	assert_false(world.opened);
	assert_int_equal(world.fakes[2].promised, 5);
	assert_int_equal(world.kept, 3);
	world_done(&world);
	batches_done(&line);
}

/* A clone of our directory was promised the epoch that we ask for: it has that one, we the next.
 * But what it does there we do not know. */
static void test_another_process_has_the_epoch(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 2);
	for (uint32_t process = 6; process <= 7; process++) {
		world_init(&world, &line, line.count);
		world.config.process = 7;
		world_fake(&world, 1, &line, line.count)->busy = 1;
		world_begin(&world);
		world_run(&world, 250);
		assert_int_equal(world.fakes[1].promises, 1);
		world.fakes[1].promised = 4;
		world.fakes[1].process = process;
		world_run(&world, LONG_MS);
		assert_int_equal(world.opened, process == 7);
		assert_int_equal(world.fakes[1].promised, process == 7 ? 4 : 5);
		assert_int_equal(world.fakes[1].process, 7);
		world_done(&world);
	}
	batches_done(&line);
}

/* Nothing of it is needed for starting now. */
static void test_full_disk_starts(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 3);
	world_init(&world, &line, line.count);
	world.keep_error = -ERR_LOCAL_FULL;
	world_fake(&world, 1, &line, line.count);
	world_fake(&world, 3, &line, line.count);
	world_begin(&world);
	world_run(&world, SOON_MS);
	assert_true(world.opened);
	assert_true(world_noted(&world, "epoch_not_kept"));
	world_done(&world);
	batches_done(&line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_returns_after_a_promise),
		cmocka_unit_test(test_old_disk_never_returns),
		cmocka_unit_test(test_kept_epoch_is_taken_back),
		cmocka_unit_test(test_another_process_has_the_epoch),
		cmocka_unit_test(test_full_disk_starts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A whole catalogue is fetched: pages come while those before them are being stored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "error.h"
#include "takeover_world.h"

enum { A_WHILE_MS = 200, LONG_MS = 60 * 1000, ROWS = 12, ROW_SIZE = 150 };

/* One server has it all, in pages only; the first job has begun and waits. */
static void begin(struct world *world, struct line_of_batches *line)
{
	line_init(line, 1);
	for (unsigned int i = 0; i < ROWS; i++)
		line_add(line, 1, ROW_SIZE);
	world_init(world, NULL, 0);
	world_fake(world, 1, line, line->count)->oldest = line->count;
	world->holds = true;
	world_begin(world);
	for (unsigned int i = 0; i < 100 && !world->fakes[1].pages; i++)
		world_run(world, A_WHILE_MS);
	assert_int_equal(world->job.kind, REPLICA_BEGIN);
}

static void end(struct world *world, struct line_of_batches *line)
{
	world_done(world);
	batches_done(line);
}

/* It comes to a good end all the same. */
static void finish(struct world *world, const struct line_of_batches *line)
{
	for (unsigned int i = 0; i < 1000 && !world->opened; i++) {
		if (world->job.kind)
			world_job(world);
		world_run(world, A_WHILE_MS);
	}
	assert_true(world->opened);
	assert_true(world_has(world, line, line->count));
}

static void test_pages_come_ahead(void **state)
{
	struct line_of_batches line;
	struct world world;
	unsigned int ahead;

	(void)state;
	begin(&world, &line);
	world_run(&world, A_WHILE_MS);
	ahead = world.fakes[1].pages;
	assert_true(ahead > 4);
	/* Not all of them; and a disk that takes its time is no silence of the source. */
	world_run(&world, LONG_MS);
	assert_int_equal(world.fakes[1].pages, ahead);
	world_job(&world);
	assert_int_equal(world.job.kind, REPLICA_LOAD);
	world_run(&world, LONG_MS);
	assert_int_equal(world.fakes[1].pages, ahead + 1);
	assert_false(world_noted(&world, "catalogue_source_lost"));
	finish(&world, &line);
	/* Each of them once. */
	assert_true(world.fakes[1].pages > ROWS && world.fakes[1].pages < 2 * ROWS);
	end(&world, &line);
}

/* What came from it is of no use to who begins anew with another. */
static void test_source_is_lost_amid_the_pages(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	for (unsigned int jobs = 0; jobs < 3; jobs++) {
		begin(&world, &line);
		world_run(&world, A_WHILE_MS);
		for (unsigned int i = 0; i < jobs; i++) {
			world_job(&world);
			world_run(&world, A_WHILE_MS);
		}
		world_disconnect(&world, 1);
		assert_true(world_noted(&world, "catalogue_source_lost"));
		assert_int_equal(world.job.kind, jobs ? REPLICA_LOAD : REPLICA_BEGIN);
		world_job(&world);
		assert_int_equal(world.job.kind, REPLICA_LOOK);
		finish(&world, &line);
		end(&world, &line);
	}
}

static void test_a_page_is_refused(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	begin(&world, &line);
	world_run(&world, A_WHILE_MS);
	world.fakes[1].refuses = 1;
	world_job(&world);
	world_run(&world, A_WHILE_MS);
	assert_true(world_noted(&world, "catalogue_source_lost"));
	assert_int_equal(world.job.kind, REPLICA_LOAD);
	world_job(&world);
	assert_int_equal(world.job.kind, REPLICA_LOOK);
	finish(&world, &line);
	end(&world, &line);
}

/* The source's page was on its way already. */
static void test_answer_after_a_failed_job(void **state)
{
	struct line_of_batches line;
	struct world world;
	unsigned int pages;

	(void)state;
	begin(&world, &line);
	world_run(&world, A_WHILE_MS);
	world_job(&world);
	assert_true(world.inbox.size > 0);
	world.job_error = -ERR_STALE;
	world_job(&world);
	assert_int_equal(world.job.kind, REPLICA_LOOK);
	pages = world.fakes[1].pages;
	world_run(&world, A_WHILE_MS);
	assert_int_equal(world.inbox.size, 0);
	assert_int_equal(world.fakes[1].pages, pages);
	assert_int_equal(world.job.kind, REPLICA_LOOK);
	finish(&world, &line);
	end(&world, &line);
}

static void test_disk_fails_amid_the_pages(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	begin(&world, &line);
	world_run(&world, A_WHILE_MS);
	world_job(&world);
	world.job_error = -ERR_IO;
	world_job(&world);
	world_run(&world, LONG_MS);
	assert_int_equal(world.refused, -ERR_IO);
	assert_int_equal(world.job.kind, 0);
	end(&world, &line);
}

static void test_a_page_takes_longer(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	for (unsigned int jobs = 0; jobs < 3; jobs++) {
		begin(&world, &line);
		world_run(&world, A_WHILE_MS);
		for (unsigned int i = 0; i < jobs; i++) {
			world.fakes[1].delays = 3;
			world_job(&world);
			world_run(&world, A_WHILE_MS);
			assert_int_equal(world.fakes[1].delays, 0);
		}
		world.fakes[1].delays = 3;
		finish(&world, &line);
		assert_int_equal(world.fakes[1].delays, 0);
		assert_false(world_noted(&world, "catalogue_source_lost"));
		end(&world, &line);
	}
}

/* Begun, and pages are ahead; then the process dies. */
static void test_half_of_them_are_nothing(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	begin(&world, &line);
	world_run(&world, A_WHILE_MS);
	world_job(&world);
	world_run(&world, A_WHILE_MS);
	world_job(&world);
	world.holds = false;
	world.job = (struct replica_job){ 0 };
	world_restart(&world);
	assert_true(world.config.unfinished);
	assert_int_equal(world.config.head.last.sequence, 0);
	finish(&world, &line);
	assert_true(takeover_outcome(world.takeover).rebuilt);
	end(&world, &line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages_come_ahead),
		cmocka_unit_test(test_source_is_lost_amid_the_pages),
		cmocka_unit_test(test_a_page_is_refused),
		cmocka_unit_test(test_answer_after_a_failed_job),
		cmocka_unit_test(test_disk_fails_amid_the_pages),
		cmocka_unit_test(test_a_page_takes_longer),
		cmocka_unit_test(test_half_of_them_are_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

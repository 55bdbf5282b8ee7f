/* A copy of the catalogue: what it takes, what it gives, and what power cuts leave of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "bounds.h"
#include "error.h"
#include "pages.h"
#include "replica_rig.h"
#include "replica_view.h"
#include "temporary.h"

enum { DISK_SIZE = 64 * 1024 * 1024 };

static struct replica_result run(struct replica *replica, struct replica_job job)
{
	struct replica_result result;

	job.number = 7;
	replica_run(replica, &job, &result);
	assert_int_equal(result.number, 7);
	return result;
}

static int append(struct replica *replica, struct slice batches)
{
	return run(replica, (struct replica_job){ .kind = REPLICA_APPEND, .bytes = batches }).error;
}

static struct replica_result reopen(struct replica *replica)
{
	return run(replica, (struct replica_job){ .kind = REPLICA_OPEN });
}

static int load(struct replica *replica, const struct replica_rig *rig, unsigned int rows,
		unsigned int point, bool more)
{
	struct buffer page = { 0 };
	struct replica_job job = { .kind = REPLICA_LOAD, .point = rig->heads[point], .more = more };
	int rc;

	rig_page(rig, rows, &page);
	job.bytes = (struct slice){ page.data, page.size };
	rc = run(replica, job).error;
	buffer_done(&page);
	return rc;
}

static struct replica_result pull(struct replica *replica, const struct replica_rig *rig,
				  unsigned int from)
{
	return run(replica,
		   (struct replica_job){ .kind = REPLICA_PULL, .point = rig->heads[from] });
}

/* One on a simulated disk. */
struct sim {
	struct disk_sim *disk;
	struct replica_memory rows;
	struct replica *replica;
	struct replica_rig rig;
};

static void sim_init(struct sim *sim, unsigned int batches)
{
	rig_init(&sim->rig, batches);
	sim->disk = disk_sim_new(DISK_SIZE);
	assert_non_null(sim->disk);
	assert_int_equal(replica_memory_init(&sim->rows, disk_sim_disk(sim->disk)), 0);
	assert_int_equal(replica_new(disk_sim_disk(sim->disk), &sim->rows.rows, &replica_limits,
				     &sim->replica),
			 0);
	assert_int_equal(reopen(sim->replica).error, 0);
}

static void sim_done(struct sim *sim)
{
	replica_free(sim->replica);
	replica_memory_done(&sim->rows);
	disk_free(disk_sim_disk(sim->disk));
	rig_done(&sim->rig);
}

static void assert_rows(struct sim *sim, unsigned int number)
{
	struct digest wanted = rig_digest(&sim->rig, number), digest;

	assert_int_equal(replica_settle(sim->replica), 0);
	assert_int_equal(rows_digest(sim->rows.kv, &digest), 0);
	assert_memory_equal(digest.bytes, wanted.bytes, DIGEST_SIZE);
}

static void test_follows(void **state)
{
	struct sim sim;
	struct replica_result result;

	(void)state;
	sim_init(&sim, 10);
	assert_int_equal(append(sim.replica, rig_batch(&sim.rig, 2)), -ERR_STALE);
	for (unsigned int i = 1; i <= 10; i++)
		assert_int_equal(append(sim.replica, rig_batch(&sim.rig, i)), 0);
	assert_int_equal(append(sim.replica, rig_batch(&sim.rig, 10)), -ERR_STALE);
	assert_int_equal(append(sim.replica, slice_of("nonsense")), -ERR_CORRUPT);
	result = reopen(sim.replica);
	assert_int_equal(result.error, 0);
	assert_int_equal(result.dropped, 0);
	assert_true(result.head.whole);
	assert_memory_equal(&result.head.last, &sim.rig.heads[10], sizeof(result.head.last));
	assert_rows(&sim, 10);
	sim_done(&sim);
}

static void test_an_older_epoch_does_not_follow(void **state)
{
	struct sim sim;

	(void)state;
	sim_init(&sim, 10);
	for (unsigned int i = 1; i <= 10; i++)
		assert_int_equal(append(sim.replica, rig_batch(&sim.rig, i)), 0);
	rig_add(&sim.rig, 1, 10);
	assert_int_equal(append(sim.replica, rig_batch(&sim.rig, 11)), -ERR_STALE);
	sim_done(&sim);
}

static void test_pull(void **state)
{
	struct sim sim;
	struct replica_result result;
	struct replica_job job = { .kind = REPLICA_PULL };

	(void)state;
	sim_init(&sim, 6);
	rig_add(&sim.rig, 9, CATALOGUE_PART_MAX + 1000);
	for (unsigned int i = 1; i <= 7; i++)
		assert_int_equal(append(sim.replica, rig_batch(&sim.rig, i)), 0);
	result = pull(sim.replica, &sim.rig, 4);
	assert_int_equal(result.state, PULL_BATCHES);
	assert_int_equal(result.size, 0);
	assert_int_equal(result.bytes.size,
			 rig_batch(&sim.rig, 5).size + rig_batch(&sim.rig, 6).size);
	result = pull(sim.replica, &sim.rig, 6);
	assert_int_equal(result.size, rig_batch(&sim.rig, 7).size);
	assert_int_equal(result.bytes.size, CATALOGUE_PART_MAX);
	job.point = sim.rig.heads[6];
	job.offset = CATALOGUE_PART_MAX;
	result = run(sim.replica, job);
	assert_int_equal(result.size, rig_batch(&sim.rig, 7).size);
	assert_int_equal(result.bytes.size, rig_batch(&sim.rig, 7).size - CATALOGUE_PART_MAX);
	assert_int_equal(pull(sim.replica, &sim.rig, 7).state, PULL_LEVEL);
	job = (struct replica_job){ .kind = REPLICA_PULL, .point = { .sequence = 3 } };
	assert_int_equal(run(sim.replica, job).state, PULL_UNKNOWN);
	sim_done(&sim);
}

/* Pages see what happens while they are read: only the last one's batch makes a copy of them. */
static void test_pages(void **state)
{
	struct sim sim;

	(void)state;
	sim_init(&sim, 12);
	assert_int_equal(load(sim.replica, &sim.rig, 5, 5, false), -ERR_BAD_REQUEST);
	assert_int_equal(run(sim.replica, (struct replica_job){ .kind = REPLICA_BEGIN }).error, 0);
	assert_int_equal(load(sim.replica, &sim.rig, 5, 5, true), 0);
	assert_int_equal(load(sim.replica, &sim.rig, 4, 4, true), -ERR_STALE);
	assert_int_equal(pull(sim.replica, &sim.rig, 0).state, PULL_LEVEL);
	assert_int_equal(load(sim.replica, &sim.rig, 9, 9, false), 0);
	for (unsigned int i = 6; i <= 9; i++) {
		struct replica_result result = reopen(sim.replica);

		assert_false(result.head.whole);
		assert_int_equal(result.head.last.sequence, i - 1);
		assert_int_equal(
			run(sim.replica, (struct replica_job){ .kind = REPLICA_PAGE }).error,
			-ERR_UNAVAILABLE);
		assert_int_equal(append(sim.replica, rig_batch(&sim.rig, i)), 0);
	}
	assert_true(reopen(sim.replica).head.whole);
	assert_rows(&sim, 9);
	assert_int_equal(append(sim.replica, rig_batch(&sim.rig, 10)), 0);
	assert_rows(&sim, 10);
	sim_done(&sim);
}

static void test_stopped_among_pages(void **state)
{
	struct sim sim;
	struct replica_result result;

	(void)state;
	sim_init(&sim, 6);
	assert_int_equal(run(sim.replica, (struct replica_job){ .kind = REPLICA_BEGIN }).error, 0);
	assert_int_equal(load(sim.replica, &sim.rig, 5, 5, true), 0);
	result = reopen(sim.replica);
	assert_int_equal(result.head.last.sequence, 0);
	assert_rows(&sim, 0);
	for (unsigned int i = 1; i <= 6; i++)
		assert_int_equal(append(sim.replica, rig_batch(&sim.rig, i)), 0);
	assert_rows(&sim, 6);
	sim_done(&sim);
}

static void assert_had(const struct replica_result *result, const struct replica_rig *rig,
		       unsigned int number)
{
	const struct journal_head wanted = number ? rig->heads[number] : (struct journal_head){ 0 };

	assert_int_equal(result->head.had.sequence, wanted.sequence);
	assert_int_equal(result->head.had.epoch, wanted.epoch);
	assert_memory_equal(result->head.had.hash.bytes, wanted.hash.bytes, DIGEST_SIZE);
}

/* What was given up for pages is remembered, over stops and whatever comes meanwhile, until there
 * is as much again. What was lost in another way is not. */
static void remember(struct replica *replica, const struct replica_rig *rig)
{
	const struct replica_job begin = { .kind = REPLICA_BEGIN };
	struct replica_result result;

	for (unsigned int i = 1; i <= 4; i++)
		assert_int_equal(append(replica, rig_batch(rig, i)), 0);
	result = reopen(replica);
	assert_had(&result, rig, 0);
	result = run(replica, begin);
	assert_had(&result, rig, 4);
	assert_int_equal(load(replica, rig, 5, 5, true), 0);
	for (unsigned int i = 0; i < 2; i++) {
		result = reopen(replica);
		assert_int_equal(result.head.last.sequence, 0);
		assert_had(&result, rig, 4);
	}
	result = run(replica, begin);
	assert_had(&result, rig, 4);
	assert_int_equal(load(replica, rig, 2, 2, false), 0);
	result = reopen(replica);
	assert_true(result.head.whole);
	assert_had(&result, rig, 4);
	assert_int_equal(append(replica, rig_batch(rig, 3)), 0);
	result = reopen(replica);
	assert_had(&result, rig, 4);
	assert_int_equal(append(replica, rig_batch(rig, 4)), 0);
	result = reopen(replica);
	assert_had(&result, rig, 0);
	assert_int_equal(append(replica, rig_batch(rig, 5)), 0);
	result = run(replica, begin);
	assert_had(&result, rig, 5);
}

static void test_remembers_what_it_had(void **state)
{
	struct replica_result result;
	struct sim sim;

	(void)state;
	sim_init(&sim, 8);
	remember(sim.replica, &sim.rig);
	assert_int_equal(load(sim.replica, &sim.rig, 6, 6, false), 0);
	assert_int_equal(append(sim.replica, rig_batch(&sim.rig, 7)), 0);
	/* Damaged: the rows know more than the journal. */
	assert_int_equal(replica_settle(sim.replica), 0);
	sim.rows.mark.head.sequence = 9;
	result = reopen(sim.replica);
	assert_int_equal(result.dropped, -ERR_CORRUPT);
	assert_had(&result, &sim.rig, 0);
	sim_done(&sim);
}

/* The last page's batch is not the one that came with its number. */
static void test_broken_promise(void **state)
{
	struct sim sim;
	struct replica_result result;
	struct journal_head right;

	(void)state;
	sim_init(&sim, 8);
	assert_int_equal(run(sim.replica, (struct replica_job){ .kind = REPLICA_BEGIN }).error, 0);
	assert_int_equal(load(sim.replica, &sim.rig, 5, 5, true), 0);
	right = sim.rig.heads[7];
	sim.rig.heads[7].hash.bytes[0] ^= 1;
	assert_int_equal(load(sim.replica, &sim.rig, 7, 7, false), 0);
	sim.rig.heads[7] = right;
	assert_int_equal(append(sim.replica, rig_batch(&sim.rig, 6)), 0);
	assert_int_equal(append(sim.replica, rig_batch(&sim.rig, 7)), -ERR_STALE);
	result = pull(sim.replica, &sim.rig, 0);
	assert_int_equal(result.head.last.sequence, 0);
	assert_rows(&sim, 0);
	sim_done(&sim);
}

/* The power fails at each step of a life in turn, and leaves each kind of ruin. What was said to be
 * durable is there afterwards, and it is that catalogue. */
static unsigned int live(struct sim *sim)
{
	unsigned int durable = 0;

	if (reopen(sim->replica).error)
		return 0;
	for (unsigned int i = 1; i <= 3; i++, durable++) {
		if (append(sim->replica, rig_batch(&sim->rig, i)) < 0)
			return durable;
	}
	(void)replica_settle(sim->replica);
	if (run(sim->replica, (struct replica_job){ .kind = REPLICA_BEGIN }).error)
		return 0;
	if (load(sim->replica, &sim->rig, 6, 6, true) < 0 ||
	    load(sim->replica, &sim->rig, 8, 8, false) < 0)
		return 0;
	for (unsigned int i = 7; i <= 10; i++) {
		if (append(sim->replica, rig_batch(&sim->rig, i)) < 0)
			return i - 1 >= 8 ? i - 1 : 0;
	}
	return 10;
}

static bool crash_at(uint64_t step, enum disk_sim_crash_mode mode)
{
	struct replica_result result;
	struct sim sim;
	unsigned int durable;
	bool finished;

	sim_init(&sim, 10);
	disk_sim_power_off_at(sim.disk, step);
	durable = live(&sim);
	finished = !disk_sim_power_is_off(sim.disk);
	replica_free(sim.replica);
	disk_sim_crash(sim.disk, mode, step);
	assert_int_equal(replica_new(disk_sim_disk(sim.disk), &sim.rows.rows, &replica_limits,
				     &sim.replica),
			 0);
	result = reopen(sim.replica);
	assert_int_equal(result.error, 0);
	assert_int_equal(result.dropped, 0);
	if (result.head.whole) {
		assert_true(result.head.last.sequence >= durable);
		assert_rows(&sim, (unsigned int)result.head.last.sequence);
	} else {
		assert_int_equal(durable, 0);
	}
	sim_done(&sim);
	return finished;
}

static void test_power_cuts(void **state)
{
	(void)state;
	for (unsigned int mode = 0; mode < DISK_SIM_CRASH_MODES; mode++) {
		uint64_t step = 1;

		while (!crash_at(step, (enum disk_sim_crash_mode)mode))
			step++;
		assert_true(step > 20);
	}
}

/* One call to the disk fails, or all from then on. Whoever was told that batches are durable was
 * told the truth, and a copy that is opened again is one. */
static bool call_fails(uint64_t nth, int error, bool sticky)
{
	struct replica_result result;
	unsigned int durable;
	struct sim sim;
	bool hit;

	sim_init(&sim, 10);
	disk_sim_fail(sim.disk, &(struct disk_sim_fault){ .kinds = DISK_SIM_EVERY,
							  .nth = nth,
							  .error = error,
							  .sticky = sticky });
	durable = live(&sim);
	hit = disk_sim_failed(sim.disk) > 0;
	/* It refuses until it is opened again, and then it goes on. */
	disk_sim_fail(sim.disk, &(struct disk_sim_fault){ 0 });
	result = reopen(sim.replica);
	assert_int_equal(result.error, 0);
	assert_int_equal(result.dropped, 0);
	if (result.head.whole) {
		assert_true(result.head.last.sequence >= durable);
		assert_rows(&sim, (unsigned int)result.head.last.sequence);
	} else {
		assert_int_equal(durable, 0);
	}
	sim_done(&sim);
	return hit;
}

static void test_calls_fail(void **state)
{
	static const int errors[] = { -ERR_IO, -ERR_LOCAL_FULL, -ERR_NO_MEMORY, -ERR_UNAVAILABLE };

	(void)state;
	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(errors); i++) {
		uint64_t nth = 1;

		while (call_fails(nth, errors[i / 2], i % 2))
			nth++;
		assert_true(nth > 40);
	}
}

static void test_full_disk(void **state)
{
	struct replica_result result;
	struct sim sim;

	(void)state;
	sim_init(&sim, 5);
	assert_int_equal(append(sim.replica, rig_batch(&sim.rig, 1)), 0);
	disk_sim_fail(sim.disk, &(struct disk_sim_fault){ .kinds = DISK_SIM_WRITE,
							  .nth = 1,
							  .error = -ERR_LOCAL_FULL,
							  .sticky = true });
	assert_int_equal(append(sim.replica, rig_batch(&sim.rig, 2)), -ERR_LOCAL_FULL);
	disk_sim_fail(sim.disk, &(struct disk_sim_fault){ 0 });
	assert_int_equal(append(sim.replica, rig_batch(&sim.rig, 2)), -ERR_LOCAL_FULL);
	/* It may have been written, though nobody was told. */
	result = reopen(sim.replica);
	assert_int_equal(result.error, 0);
	if (result.head.last.sequence == 1)
		assert_int_equal(append(sim.replica, rig_batch(&sim.rig, 2)), 0);
	assert_rows(&sim, 2);
	sim_done(&sim);
}

/* The same with LMDB. */
static void test_view(void **state)
{
	char directory[TEMPORARY_PATH_MAX], path[TEMPORARY_PATH_MAX + 8];
	struct replica_result result;
	struct replica_rig rig;
	struct replica_rows *rows;
	struct replica *replica;
	struct digest wanted, digest;
	struct disk *disk;

	(void)state;
	assert_non_null(temporary_make(directory));
	snprintf(path, sizeof(path), "%s/view", directory);
	rig_init(&rig, 12);
	assert_int_equal(disk_posix_new(directory, &disk), 0);
	assert_int_equal(replica_view_new(path, disk, &rows), 0);
	assert_int_equal(replica_new(disk, rows, &replica_limits, &replica), 0);
	assert_int_equal(reopen(replica).error, 0);
	for (unsigned int i = 1; i <= 3; i++)
		assert_int_equal(append(replica, rig_batch(&rig, i)), 0);
	assert_int_equal(run(replica, (struct replica_job){ .kind = REPLICA_BEGIN }).error, 0);
	assert_int_equal(load(replica, &rig, 6, 6, true), 0);
	assert_int_equal(load(replica, &rig, 8, 8, false), 0);
	for (unsigned int i = 7; i <= 12; i++)
		assert_int_equal(append(replica, rig_batch(&rig, i)), 0);
	assert_true(reopen(replica).head.whole);
	wanted = rig_digest(&rig, 12);
	assert_int_equal(rows_digest(rows->ops->kv(rows), &digest), 0);
	assert_memory_equal(digest.bytes, wanted.bytes, DIGEST_SIZE);
	assert_int_equal(run(replica, (struct replica_job){ .kind = REPLICA_BEGIN }).error, 0);
	result = reopen(replica);
	assert_had(&result, &rig, 12);
	replica_free(replica);
	replica_view_free(rows);
	disk_free(disk);
	rig_done(&rig);
	temporary_remove(directory);
}

/* Half of the rows as they are after that many batches, split by name. */
static int load_half(struct replica *replica, const struct replica_rig *rig, unsigned int number,
		     bool second)
{
	struct buffer page = { 0 };
	struct replica_job job = { .kind = REPLICA_LOAD, .point = rig->heads[number] };
	struct slice rest, last;
	struct change change;
	int rc;

	rig_page(rig, number, &page);
	rest = last = (struct slice){ page.data, page.size };
	for (int i = 0; i < 2; i++)
		assert_int_equal(change_next(&rest, &change), 1);
	last.size -= rest.size;
	job.bytes = second ? rest : last;
	job.more = !second;
	rc = run(replica, job).error;
	buffer_done(&page);
	return rc;
}

/* Batches that were made while pages came are taken between them, in order and nothing else. */
static void test_batches_between_pages(void **state)
{
	struct replica_result result;
	struct sim sim;

	(void)state;
	sim_init(&sim, 10);
	assert_int_equal(run(sim.replica, (struct replica_job){ .kind = REPLICA_BEGIN }).error, 0);
	assert_int_equal(load_half(sim.replica, &sim.rig, 4, false), 0);
	assert_int_equal(append(sim.replica, rig_batch(&sim.rig, 5)), 0);
	assert_int_equal(append(sim.replica, rig_batch(&sim.rig, 6)), 0);
	/* A page from before them would undo what they say. */
	assert_int_equal(load_half(sim.replica, &sim.rig, 5, true), -ERR_STALE);
	assert_int_equal(load_half(sim.replica, &sim.rig, 8, true), 0);
	result = pull(sim.replica, &sim.rig, 4);
	assert_false(result.head.whole);
	assert_int_equal(append(sim.replica, rig_batch(&sim.rig, 7)), 0);
	result = reopen(sim.replica);
	assert_false(result.head.whole);
	assert_int_equal(append(sim.replica, rig_batch(&sim.rig, 8)), 0);
	result = reopen(sim.replica);
	assert_true(result.head.whole);
	assert_memory_equal(&result.head.last, &sim.rig.heads[8], sizeof(result.head.last));
	assert_rows(&sim, 8);
	/* Those of another history are the beginning of that one. */
	assert_int_equal(run(sim.replica, (struct replica_job){ .kind = REPLICA_BEGIN }).error, 0);
	assert_int_equal(load_half(sim.replica, &sim.rig, 4, false), 0);
	assert_int_equal(append(sim.replica, rig_batch(&sim.rig, 1)), 0);
	assert_rows(&sim, 1);
	sim_done(&sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_batches_between_pages),
		cmocka_unit_test(test_follows),
		cmocka_unit_test(test_an_older_epoch_does_not_follow),
		cmocka_unit_test(test_pull),
		cmocka_unit_test(test_pages),
		cmocka_unit_test(test_stopped_among_pages),
		cmocka_unit_test(test_remembers_what_it_had),
		cmocka_unit_test(test_broken_promise),
		cmocka_unit_test(test_power_cuts),
		cmocka_unit_test(test_calls_fail),
		cmocka_unit_test(test_full_disk),
		cmocka_unit_test(test_view),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

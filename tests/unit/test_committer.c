#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <uv.h>

#include "committer.h"
#include "disk_sim.h"
#include "error.h"
#include "temporary.h"

enum { DISK_SIZE = 256 * 1024 * 1024, BATCHES = 300 };

/* The loop's side, and the two places where what it queues ends up. */
struct rig {
	struct disk_sim *sim;
	char path[TEMPORARY_PATH_MAX];
	struct view *view;
	struct journal *journal;
	struct committer *committer;
	struct batch_head head;
	uv_sem_t told;
};

static int ignore(void *context, const struct batch_head *head, struct slice changes)
{
	(void)context;
	(void)head;
	(void)changes;
	return 0;
}

static void on_told(void *context)
{
	uv_sem_post(context);
}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct committer_how how = { .notify = on_told, .context = &rig->told };

	uv_sem_init(&rig->told, 0);
	rig->sim = disk_sim_new(DISK_SIZE);
	assert_non_null(temporary_make(rig->path));
	assert_int_equal(view_open(rig->path, &rig->view, &how.sequence), 0);
	how.applied = how.sequence;
	assert_int_equal(journal_open(disk_sim_disk(rig->sim), 0, ignore, NULL, &rig->journal), 0);
	how.view = rig->view;
	how.journal = rig->journal;
	assert_int_equal(committer_new(&how, &rig->committer), 0);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	committer_free(rig->committer);
	journal_close(rig->journal);
	view_close(rig->view);
	temporary_remove(rig->path);
	disk_free(disk_sim_disk(rig->sim));
	uv_sem_destroy(&rig->told);
	free(rig);
	return 0;
}

/* One turn of the loop that writes its own number. */
static void turn(struct rig *rig)
{
	struct buffer batch = { 0 };
	uint8_t number[8];

	view_refresh(rig->view);
	rig->head.sequence++;
	put_u64(number, rig->head.sequence);
	assert_int_equal(kv_put(view_kv(rig->view), slice_of("key"), (struct slice){ number, 8 }),
			 0);
	assert_int_equal(batch_seal(view_kv(rig->view), &rig->head, &batch, &rig->head.previous),
			 1);
	view_sealed(rig->view, rig->head.sequence);
	assert_int_equal(committer_queue(rig->committer, (struct slice){ batch.data, batch.size },
					 rig->head.sequence),
			 0);
	buffer_done(&batch);
}

static uint64_t value_of(struct rig *rig)
{
	struct slice value;

	assert_int_equal(kv_get(view_kv(rig->view), slice_of("key"), &value), 0);
	return get_u64(value.data);
}

static void test_all_that_is_queued_becomes_durable_and_applied(void **state)
{
	struct rig *rig = *state;
	struct committer_state now;
	uint64_t durable = 0;

	for (uint64_t i = 1; i <= BATCHES; i++) {
		turn(rig);
		assert_int_equal(value_of(rig), i);
		now = committer_state(rig->committer);
		assert_true(now.durable >= durable && now.applied <= now.durable);
		durable = now.durable;
		if (i % 50 == 0)
			uv_sem_wait(&rig->told);
	}
	committer_stop(rig->committer);
	now = committer_state(rig->committer);
	assert_int_equal(now.error, 0);
	assert_int_equal(now.durable, BATCHES);
	assert_int_equal(now.applied, BATCHES);
	assert_int_equal(journal_head(rig->journal).sequence, BATCHES);
	view_refresh(rig->view);
	assert_int_equal(view_overlay_size(rig->view), 0);
	assert_int_equal(value_of(rig), BATCHES);
}

static void test_nothing_to_do(void **state)
{
	struct rig *rig = *state;

	committer_stop(rig->committer);
	committer_stop(rig->committer);
	assert_int_equal(committer_state(rig->committer).error, 0);
}

static void test_a_failed_sync_is_told_and_nothing_follows(void **state)
{
	struct rig *rig = *state;
	struct committer_state now;

	turn(rig);
	while (committer_state(rig->committer).durable < 1)
		uv_sem_wait(&rig->told);
	disk_sim_fail(rig->sim, &(struct disk_sim_fault){ DISK_SIM_SYNC_FILE, 1, -ERR_IO, false });
	turn(rig);
	while (!committer_state(rig->committer).error)
		uv_sem_wait(&rig->told);
	turn(rig);
	committer_stop(rig->committer);
	now = committer_state(rig->committer);
	assert_int_equal(now.error, -ERR_IO);
	assert_string_equal(now.what, "journal");
	assert_int_equal(now.durable, 1);
	assert_int_equal(now.applied, 1);
}

/* A journal may begin anywhere, a view may not leave anything out. */
static void test_a_failed_view_is_told(void **state)
{
	struct rig *rig = *state;
	struct committer_state now;

	rig->head.sequence = 4;
	turn(rig);
	while (!committer_state(rig->committer).error)
		uv_sem_wait(&rig->told);
	committer_stop(rig->committer);
	now = committer_state(rig->committer);
	assert_int_equal(now.error, -ERR_STALE);
	assert_string_equal(now.what, "view");
	assert_int_equal(now.durable, 5);
	assert_int_equal(now.applied, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_all_that_is_queued_becomes_durable_and_applied),
		TEST(test_nothing_to_do),
		TEST(test_a_failed_sync_is_told_and_nothing_follows),
		TEST(test_a_failed_view_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

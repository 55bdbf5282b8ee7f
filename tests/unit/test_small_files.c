/* The small files that are replaced as a whole: the name server's `identity`, and how far a storage
 * server has read its copies. Power cuts, calls that fail, flipped bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "disk_sim.h"
#include "error.h"
#include "identity.h"
#include "storage_daemon.h"

enum { DISK_SIZE = 1024 * 1024, CALLS_MAX = 64, FILE_MAX = 256 };

static const int errors[] = { -ERR_IO, -ERR_LOCAL_FULL, -ERR_NO_MEMORY, -ERR_UNAVAILABLE };

/* ---- identity ---- */

static const struct identity before = { { { 1, 2, 3 } }, 5, false };
static const struct identity after = { { { 1, 2, 3 } }, 7, true };

static bool is(const struct identity *a, const struct identity *b)
{
	return id_equal(&a->server, &b->server) && a->asked_epoch == b->asked_epoch &&
	       a->rebuilding == b->rebuilding;
}

static struct disk_sim *identity_disk(const struct identity *identity)
{
	struct disk_sim *sim = disk_sim_new(DISK_SIZE);

	assert_non_null(sim);
	if (identity)
		assert_int_equal(identity_write(disk_sim_disk(sim), identity), 0);
	return sim;
}

/* The old one or the new one, and no other; the new one if it was said to be durable. And it can be
 * replaced again, whatever was left beside it. */
static void assert_old_or_new(struct disk_sim *sim, const struct identity *old, int written)
{
	struct identity found;
	int rc = identity_read(disk_sim_disk(sim), &found);

	if (rc == -ERR_NOT_FOUND)
		assert_true(!old && written < 0);
	else
		assert_true(rc == 0 &&
			    (is(&found, &after) || (old && written < 0 && is(&found, old))));
	assert_int_equal(identity_write(disk_sim_disk(sim), &before), 0);
	assert_int_equal(identity_read(disk_sim_disk(sim), &found), 0);
	assert_true(is(&found, &before));
}

static bool identity_cut(const struct identity *old, uint64_t step, enum disk_sim_crash_mode mode)
{
	struct disk_sim *sim = identity_disk(old);
	bool finished;
	int rc;

	disk_sim_power_off_at(sim, step);
	rc = identity_write(disk_sim_disk(sim), &after);
	finished = !disk_sim_power_is_off(sim);
	assert_true(finished == (rc == 0));
	disk_sim_crash(sim, mode, step);
	assert_old_or_new(sim, old, rc);
	disk_free(disk_sim_disk(sim));
	return finished;
}

static void test_identity_power_cuts(void **state)
{
	(void)state;
	for (unsigned int mode = 0; mode < DISK_SIM_CRASH_MODES; mode++) {
		uint64_t step = 1;

		while (!identity_cut(NULL, step, (enum disk_sim_crash_mode)mode) ||
		       !identity_cut(&before, step, (enum disk_sim_crash_mode)mode))
			step++;
		assert_true(step > 4);
	}
}

/* Whoever cannot write it down is told so: the name server then asks nobody. */
static bool identity_call_fails(uint64_t nth, int error, bool sticky)
{
	struct disk_sim *sim = identity_disk(&before);
	bool hit;
	int rc;

	disk_sim_fail(sim, &(struct disk_sim_fault){ .kinds = DISK_SIM_EVERY,
						     .nth = nth,
						     .error = error,
						     .sticky = sticky });
	rc = identity_write(disk_sim_disk(sim), &after);
	hit = disk_sim_failed(sim) > 0;
	assert_int_equal(rc, hit ? error : 0);
	disk_sim_crash(sim, DISK_SIM_DROP_ALL, nth);
	assert_old_or_new(sim, &before, rc);
	disk_free(disk_sim_disk(sim));
	return hit;
}

static void test_identity_calls_fail(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < 2 * ARRAY_SIZE(errors); i++) {
		uint64_t nth = 1;

		while (identity_call_fails(nth, errors[i / 2], i % 2))
			nth++;
		assert_true(nth > 4 && nth < CALLS_MAX);
	}
}

/* Who cannot read it must not become somebody else. */
static void test_identity_unreadable_is_not_new(void **state)
{
	struct disk_sim *sim = identity_disk(&after);
	struct identity found;
	bool is_new;

	(void)state;
	for (uint64_t nth = 1; nth <= 2; nth++) {
		disk_sim_fail(sim, &(struct disk_sim_fault){ .kinds = DISK_SIM_OPEN | DISK_SIM_READ,
							     .nth = nth,
							     .error = -ERR_IO });
		assert_int_equal(identity_load(disk_sim_disk(sim), &found, &is_new), -ERR_IO);
		assert_false(is_new);
	}
	disk_sim_fail(sim, &(struct disk_sim_fault){ 0 });
	assert_int_equal(identity_load(disk_sim_disk(sim), &found, &is_new), 0);
	assert_false(is_new);
	assert_true(is(&found, &after));
	disk_free(disk_sim_disk(sim));
}

static void size_note(void *context, const char *path, uint64_t size)
{
	(void)path;
	*(uint64_t *)context = size;
}

static void test_identity_every_bit_is_looked_at(void **state)
{
	struct disk_sim *sim = identity_disk(&after);
	struct identity found;
	uint64_t size = 0;

	(void)state;
	disk_sim_each_file(sim, size_note, &size);
	assert_true(size > 0 && size < FILE_MAX);
	for (uint64_t bit = 0; bit < 8 * size; bit++) {
		const uint8_t mask = (uint8_t)(1 << bit % 8);

		assert_int_equal(disk_sim_flip(sim, "identity", bit / 8, mask), 0);
		assert_int_equal(identity_read(disk_sim_disk(sim), &found), -ERR_CORRUPT);
		assert_int_equal(disk_sim_flip(sim, "identity", bit / 8, mask), 0);
	}
	assert_int_equal(identity_read(disk_sim_disk(sim), &found), 0);
	disk_free(disk_sim_disk(sim));
}

/* ---- scrub ---- */

static const struct scrub_state early = { .cursor = 9, .elapsed_ms = 10, .chunks = 2, .bytes = 99 };
static const struct scrub_state late = {
	.cursor = UINT64_MAX, .elapsed_ms = 20, .chunks = 4, .bytes = 199, .bad = 1, .ended = true
};

static struct disk_sim *scrub_disk(const struct scrub_state *state)
{
	struct disk_sim *sim = disk_sim_new(DISK_SIZE);

	assert_non_null(sim);
	if (state)
		scrub_write(disk_sim_disk(sim), state);
	return sim;
}

static struct scrub_state scrub_found(struct disk_sim *sim)
{
	struct daemon *daemon = test_calloc(1, sizeof(*daemon));
	struct scrub_state found;

	daemon->disk = disk_sim_disk(sim);
	scrub_load(daemon, &found);
	test_free(daemon);
	return found;
}

static bool is_state(const struct scrub_state *a, const struct scrub_state *b)
{
	return a->cursor == b->cursor && a->elapsed_ms == b->elapsed_ms && a->chunks == b->chunks &&
	       a->bytes == b->bytes && a->bad == b->bad && a->ended == b->ended;
}

static const struct scrub_state anew;

/* One of the two, or a pass begins anew; never a mixture. */
static void assert_one_of_them(struct disk_sim *sim)
{
	struct scrub_state found = scrub_found(sim);

	assert_true(is_state(&found, &early) || is_state(&found, &late) || is_state(&found, &anew));
	scrub_write(disk_sim_disk(sim), &late);
	found = scrub_found(sim);
	assert_true(is_state(&found, &late));
}

static void test_scrub_power_cuts(void **state)
{
	(void)state;
	for (unsigned int mode = 0; mode < DISK_SIM_CRASH_MODES; mode++) {
		bool finished = false;

		for (uint64_t step = 1; !finished; step++) {
			struct disk_sim *sim = scrub_disk(&early);

			disk_sim_power_off_at(sim, step);
			scrub_write(disk_sim_disk(sim), &late);
			finished = !disk_sim_power_is_off(sim);
			disk_sim_crash(sim, (enum disk_sim_crash_mode)mode, step);
			assert_one_of_them(sim);
			disk_free(disk_sim_disk(sim));
		}
	}
}

static void test_scrub_calls_fail(void **state)
{
	bool hit = true;

	(void)state;
	for (uint64_t nth = 1; hit; nth++) {
		struct disk_sim *sim = scrub_disk(&early);

		disk_sim_fail(
			sim, &(struct disk_sim_fault){ .kinds = DISK_SIM_EVERY,
						       .nth = nth,
						       .error = errors[nth % ARRAY_SIZE(errors)] });
		scrub_write(disk_sim_disk(sim), &late);
		(void)scrub_found(sim);
		hit = disk_sim_failed(sim) > 0;
		disk_sim_fail(sim, &(struct disk_sim_fault){ 0 });
		assert_one_of_them(sim);
		disk_free(disk_sim_disk(sim));
	}
}

static void test_scrub_damage_begins_anew(void **state)
{
	struct disk_sim *sim = scrub_disk(&late);
	struct scrub_state found;
	uint64_t size = 0;

	(void)state;
	disk_sim_each_file(sim, size_note, &size);
	assert_true(size > 0 && size < FILE_MAX);
	for (uint64_t bit = 0; bit < 8 * size; bit++) {
		const uint8_t mask = (uint8_t)(1 << bit % 8);

		assert_int_equal(disk_sim_flip(sim, "scrub", bit / 8, mask), 0);
		found = scrub_found(sim);
		assert_true(is_state(&found, &anew));
		assert_int_equal(disk_sim_flip(sim, "scrub", bit / 8, mask), 0);
	}
	found = scrub_found(sim);
	assert_true(is_state(&found, &late));
	disk_free(disk_sim_disk(sim));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identity_power_cuts),
		cmocka_unit_test(test_identity_calls_fail),
		cmocka_unit_test(test_identity_unreadable_is_not_new),
		cmocka_unit_test(test_identity_every_bit_is_looked_at),
		cmocka_unit_test(test_scrub_power_cuts),
		cmocka_unit_test(test_scrub_calls_fail),
		cmocka_unit_test(test_scrub_damage_begins_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "batch.h"
#include "error.h"
#include "kv_memory.h"
#include "random.h"
#include "temporary.h"
#include "view.h"

enum { KEYS = 300, STEPS = 20000, UNSET = 0 };

/* What the kv must say: for each key the number that was put last, or UNSET. Keys sort by index. */
struct model {
	uint32_t values[KEYS];
};

struct rig {
	struct kv *kv;
	struct view *view; /* NULL: kv is in memory */
	char path[TEMPORARY_PATH_MAX];
	struct prng prng;
	struct model model;
	struct batch_head head;
	struct buffer durable; /* sealed batches that the view has not taken in */
};

static int rig_make(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	rig->prng.state = 1;
	*state = rig;
	return 0;
}

static int setup_memory(void **state)
{
	rig_make(state);
	return kv_memory_new(&((struct rig *)*state)->kv);
}

static void view_start(struct rig *rig)
{
	uint64_t applied;

	assert_int_equal(view_open(rig->path, &rig->view, &applied), 0);
	rig->kv = view_kv(rig->view);
}

static int setup_view(void **state)
{
	struct rig *rig;

	rig_make(state);
	rig = *state;
	assert_non_null(temporary_make(rig->path));
	view_start(rig);
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	if (rig->view) {
		view_close(rig->view);
		temporary_remove(rig->path);
	} else {
		kv_memory_free(rig->kv);
	}
	buffer_done(&rig->durable);
	free(rig);
	return 0;
}

/* Keys of different lengths, some the beginning of others: "k0", "k00", "k000", "k001", … */
static struct slice key_at(unsigned int index, char space[16])
{
	int digits = index % 3 == 0 ? 4 : index % 3 == 1 ? 5 : 6;

	snprintf(space, 16, "k%03u%s", index / 3, digits == 4 ? "" : digits == 5 ? "0" : "00");
	return slice_of(space);
}

static uint32_t number_of(struct slice value)
{
	assert_true(value.size >= 4);
	return get_u32(value.data);
}

static void check_get(struct rig *rig, unsigned int index)
{
	char space[16];
	struct slice value;
	int rc = kv_get(rig->kv, key_at(index, space), &value);

	if (rig->model.values[index] == UNSET)
		assert_int_equal(rc, -ERR_NOT_FOUND);
	else
		assert_int_equal(rc ? 0 : number_of(value), rig->model.values[index]);
}

static void check_found(struct rig *rig, unsigned int from, struct slice sought)
{
	struct slice key, value;
	char space[16];
	int rc = kv_seek(rig->kv, sought, &key, &value);

	while (from < KEYS && rig->model.values[from] == UNSET)
		from++;
	if (from == KEYS) {
		assert_int_equal(rc, -ERR_NOT_FOUND);
		return;
	}
	assert_int_equal(rc, 0);
	assert_true(slice_equal(key, key_at(from, space)));
	assert_int_equal(number_of(value), rig->model.values[from]);
}

static void check_seek(struct rig *rig, unsigned int index)
{
	uint8_t after[KV_KEY_SIZE_MAX + 1];
	char space[16];
	struct slice key = key_at(index, space);

	check_found(rig, index, key);
	check_found(rig, index + 1, kv_after(key, after));
}

static void check_all(struct rig *rig)
{
	for (unsigned int i = 0; i < KEYS; i++) {
		check_get(rig, i);
		check_seek(rig, i);
	}
	check_found(rig, 0, (struct slice){ 0 });
}

static void change(struct rig *rig, unsigned int index)
{
	uint8_t value[64] = { 0 };
	char space[16];
	struct slice key = key_at(index, space);

	if (prng_below(&rig->prng, 3) == 0) {
		rig->model.values[index] = UNSET;
		assert_int_equal(kv_remove(rig->kv, key), 0);
		return;
	}
	rig->model.values[index] = (uint32_t)prng_next(&rig->prng) | 1;
	put_u32(value, rig->model.values[index]);
	assert_int_equal(
		kv_put(rig->kv, key, (struct slice){ value, 4 + prng_below(&rig->prng, 60) }), 0);
}

static void seal(struct rig *rig)
{
	rig->head.sequence++;
	if (batch_seal(rig->kv, &rig->head, &rig->durable, &rig->head.previous) == 0)
		rig->head.sequence--;
	else if (rig->view)
		view_sealed(rig->view, rig->head.sequence);
}

/* Takes in what is durable, from the start again now and then, which must not matter. */
static void apply(struct rig *rig)
{
	struct slice batches = { rig->durable.data, rig->durable.size };

	if (rig->view)
		assert_int_equal(view_apply(rig->view, batches), 0);
	if (prng_below(&rig->prng, 4) == 0 && batches.size > 0)
		assert_int_equal(rig->view ? view_apply(rig->view, batches) : 0, 0);
	buffer_clear(&rig->durable);
}

static void replay(struct rig *rig)
{
	struct slice rest = { rig->durable.data, rig->durable.size };

	while (rest.size > 0) {
		struct batch_head head;
		struct slice changes;
		struct digest hash;
		size_t size;

		assert_int_equal(batch_read(rest, &head, &changes, &size, &hash), 1);
		assert_int_equal(view_replay(rig->view, &head, changes), 0);
		rest = (struct slice){ rest.data + size, rest.size - size };
	}
	assert_int_equal(view_replay_end(rig->view), 0);
	buffer_clear(&rig->durable);
}

/* As after a crash: the overlay is lost, the journal tells what was in it. */
static void restart(struct rig *rig)
{
	seal(rig);
	if (!rig->view)
		return;
	view_close(rig->view);
	view_start(rig);
	replay(rig);
	assert_int_equal(view_overlay_size(rig->view), 0);
}

static void step(struct rig *rig)
{
	unsigned int index = (unsigned int)prng_below(&rig->prng, KEYS);

	switch (prng_below(&rig->prng, 64)) {
	case 0: seal(rig); break;
	case 1: apply(rig); break;
	case 2:
		if (rig->view)
			view_refresh(rig->view);
		break;
	case 3:
		if (prng_below(&rig->prng, 20) == 0)
			restart(rig);
		break;
	default:
		if (index % 2)
			check_get(rig, index);
		else
			check_seek(rig, index);
		change(rig, index);
	}
}

static void test_it_says_what_the_model_says(void **state)
{
	struct rig *rig = *state;

	for (unsigned int i = 0; i < STEPS; i++) {
		step(rig);
		if (i % 1000 == 0)
			check_all(rig);
	}
	check_all(rig);
	restart(rig);
	check_all(rig);
}

static void test_arguments_may_come_from_the_kv(void **state)
{
	struct rig *rig = *state;
	struct slice key, value;

	assert_int_equal(kv_put(rig->kv, slice_of("a"), slice_of("value")), 0);
	assert_int_equal(kv_seek(rig->kv, slice_of("a"), &key, &value), 0);
	value.size = 3;
	assert_int_equal(kv_put(rig->kv, key, value), 0);
	assert_int_equal(kv_get(rig->kv, slice_of("a"), &value), 0);
	assert_true(slice_equal(value, slice_of("val")));
	assert_int_equal(kv_seek(rig->kv, slice_of("a"), &key, &value), 0);
	assert_int_equal(kv_remove(rig->kv, key), 0);
	assert_int_equal(kv_get(rig->kv, slice_of("a"), &value), -ERR_NOT_FOUND);
}

static void test_keys_and_values_have_their_maximum(void **state)
{
	struct rig *rig = *state;
	uint8_t *bytes = calloc(1, KV_VALUE_SIZE_MAX + 1);
	struct slice got;

	assert_int_equal(kv_put(rig->kv, (struct slice){ bytes, KV_KEY_SIZE_MAX },
				(struct slice){ bytes, KV_VALUE_SIZE_MAX }),
			 0);
	assert_int_equal(kv_get(rig->kv, (struct slice){ bytes, KV_KEY_SIZE_MAX }, &got), 0);
	assert_int_equal(got.size, KV_VALUE_SIZE_MAX);
	assert_int_equal(kv_put(rig->kv, (struct slice){ bytes, KV_KEY_SIZE_MAX + 1 }, got),
			 -ERR_TOO_LARGE);
	assert_int_equal(kv_put(rig->kv, slice_of("k"),
				(struct slice){ bytes, KV_VALUE_SIZE_MAX + 1 }),
			 -ERR_TOO_LARGE);
	assert_int_equal(kv_put(rig->kv, slice_of(""), got), -ERR_TOO_LARGE);
	assert_int_equal(kv_remove(rig->kv, slice_of("")), -ERR_TOO_LARGE);
	seal(rig);
	apply(rig);
	free(bytes);
}

static void test_applied_batches_leave_the_overlay(void **state)
{
	struct rig *rig = *state;

	kv_put(rig->kv, slice_of("a"), slice_of("1"));
	kv_put(rig->kv, slice_of("b"), slice_of("1"));
	seal(rig);
	kv_put(rig->kv, slice_of("b"), slice_of("2"));
	kv_remove(rig->kv, slice_of("a"));
	apply(rig);
	assert_true(view_overlay_size(rig->view) > 0);
	view_refresh(rig->view);
	assert_true(view_overlay_size(rig->view) > 0);
	seal(rig);
	apply(rig);
	view_refresh(rig->view);
	assert_int_equal(view_overlay_size(rig->view), 0);
}

/* What is in LMDB and removed in the overlay is hidden, one by one and all. */
static void test_tombstones_hide_what_lmdb_has(void **state)
{
	struct rig *rig = *state;
	uint8_t value[4];
	char space[16];

	for (unsigned int i = 0; i < KEYS; i++) {
		rig->model.values[i] = i + 1;
		put_u32(value, i + 1);
		assert_int_equal(kv_put(rig->kv, key_at(i, space), (struct slice){ value, 4 }), 0);
	}
	seal(rig);
	apply(rig);
	view_refresh(rig->view);
	assert_int_equal(view_overlay_size(rig->view), 0);
	for (unsigned int i = 0; i < KEYS; i++) {
		unsigned int index = i * 7 % KEYS;

		assert_int_equal(kv_remove(rig->kv, key_at(index, space)), 0);
		rig->model.values[index] = UNSET;
		check_seek(rig, i);
		check_found(rig, 0, (struct slice){ 0 });
	}
	check_all(rig);
}

struct view_thread {
	struct view *view;
	pthread_mutex_t lock;
	pthread_cond_t more;
	struct buffer batches; /* under the lock, as is: */
	bool stop;
};

static void *view_thread_run(void *context)
{
	struct view_thread *thread = context;
	struct buffer batches = { 0 };
	bool stop = false;
	intptr_t rc = 0;

	while (!stop && rc == 0) {
		struct buffer empty = batches;

		pthread_mutex_lock(&thread->lock);
		while (thread->batches.size == 0 && !thread->stop)
			pthread_cond_wait(&thread->more, &thread->lock);
		stop = thread->stop;
		batches = thread->batches;
		thread->batches = empty;
		pthread_mutex_unlock(&thread->lock);
		rc = view_apply(thread->view, (struct slice){ batches.data, batches.size });
		buffer_clear(&batches);
	}
	buffer_done(&batches);
	return (void *)rc;
}

static void hand_over(struct rig *rig, struct view_thread *thread, bool stop)
{
	pthread_mutex_lock(&thread->lock);
	buffer_append(&thread->batches, rig->durable.data, rig->durable.size);
	thread->stop = stop;
	pthread_cond_signal(&thread->more);
	pthread_mutex_unlock(&thread->lock);
	buffer_clear(&rig->durable);
}

static void test_a_thread_may_apply_meanwhile(void **state)
{
	struct rig *rig = *state;
	struct view_thread thread = { .view = rig->view,
				      .lock = PTHREAD_MUTEX_INITIALIZER,
				      .more = PTHREAD_COND_INITIALIZER };
	pthread_t id;
	void *rc;

	assert_int_equal(pthread_create(&id, NULL, view_thread_run, &thread), 0);
	for (unsigned int turn = 0; turn < 500; turn++) {
		view_refresh(rig->view);
		for (unsigned int i = 0; i < 20; i++) {
			unsigned int index = (unsigned int)prng_below(&rig->prng, KEYS);

			check_get(rig, index);
			check_seek(rig, index);
			change(rig, (unsigned int)prng_below(&rig->prng, KEYS));
		}
		seal(rig);
		hand_over(rig, &thread, false);
	}
	hand_over(rig, &thread, true);
	pthread_join(id, &rc);
	assert_null(rc);
	view_refresh(rig->view);
	assert_int_equal(view_overlay_size(rig->view), 0);
	check_all(rig);
	buffer_done(&thread.batches);
}

static void test_a_gap_between_batches_is_refused(void **state)
{
	struct rig *rig = *state;
	struct batch_head late = { .sequence = 9 };
	struct slice value;

	kv_put(rig->kv, slice_of("a"), slice_of("1"));
	rig->head.sequence = 2;
	seal(rig);
	assert_int_equal(view_apply(rig->view,
				    (struct slice){ rig->durable.data, rig->durable.size }),
			 -ERR_STALE);
	assert_int_equal(view_replay(rig->view, &late, (struct slice){ 0 }), -ERR_STALE);
	assert_int_equal(view_replay_end(rig->view), 0);
	view_close(rig->view);
	view_start(rig);
	assert_int_equal(kv_get(rig->kv, slice_of("a"), &value), -ERR_NOT_FOUND);
}

static void test_a_long_replay_commits_on_the_way(void **state)
{
	struct rig *rig = *state;
	struct batch_head head = { .shared.count = 30000, .local.count = 10000 };
	uint64_t applied;

	assert_int_equal(kv_put(rig->kv, slice_of("a"), slice_of("1")), 0);
	for (head.sequence = 1; head.sequence <= 3; head.sequence++)
		assert_int_equal(
			view_replay(rig->view, &head,
				    (struct slice){ rig->kv->batch.data, rig->kv->batch.size }),
			0);
	view_close(rig->view);
	assert_int_equal(view_open(rig->path, &rig->view, &applied), 0);
	assert_int_equal(applied, 2);
}

static void test_replay_into_memory(void **state)
{
	struct rig *rig = *state;
	struct kv *other;

	assert_int_equal(kv_memory_new(&other), 0);
	for (unsigned int i = 0; i < 1000; i++)
		change(rig, i % KEYS);
	assert_int_equal(
		kv_memory_apply(other, (struct slice){ rig->kv->batch.data, rig->kv->batch.size }),
		0);
	assert_int_equal(other->batch_count, 0);
	kv_memory_free(rig->kv);
	rig->kv = other;
	check_all(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_it_says_what_the_model_says, setup_memory,
						teardown),
		cmocka_unit_test_setup_teardown(test_arguments_may_come_from_the_kv, setup_memory,
						teardown),
		cmocka_unit_test_setup_teardown(test_keys_and_values_have_their_maximum,
						setup_memory, teardown),
		cmocka_unit_test_setup_teardown(test_replay_into_memory, setup_memory, teardown),
		cmocka_unit_test_setup_teardown(test_it_says_what_the_model_says, setup_view,
						teardown),
		cmocka_unit_test_setup_teardown(test_arguments_may_come_from_the_kv, setup_view,
						teardown),
		cmocka_unit_test_setup_teardown(test_keys_and_values_have_their_maximum, setup_view,
						teardown),
		cmocka_unit_test_setup_teardown(test_applied_batches_leave_the_overlay, setup_view,
						teardown),
		cmocka_unit_test_setup_teardown(test_tombstones_hide_what_lmdb_has, setup_view,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_thread_may_apply_meanwhile, setup_view,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_long_replay_commits_on_the_way, setup_view,
						teardown),
		cmocka_unit_test_setup_teardown(test_a_gap_between_batches_is_refused, setup_view,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

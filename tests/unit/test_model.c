/* The simulation's judge of histories: right ones pass, wrong ones do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "model.h"

static struct model model;
static char message[2048];

static int clean(void **state)
{
	(void)state;
	model_done(&model);
	model = (struct model){ 0 };
	return 0;
}

/* From `asked` to `told`; told 0: no answer ever came. */
static struct model_op *op(enum model_kind kind, enum model_outcome outcome, uint64_t asked,
			   uint64_t told)
{
	struct model_op new = { .path = model_path(&model, "/a"),
				.kind = kind,
				.asked_us = asked,
				.content_known = true };
	size_t at = model_ask(&model, &new);

	if (told) {
		model.ops[at].told_us = told;
		model.ops[at].outcome = outcome;
	}
	return &model.ops[at];
}

static void put(uint64_t content, uint64_t asked, uint64_t told)
{
	op(MODEL_PUT, MODEL_OK, asked, told)->content = content;
}

static void get(uint64_t content, uint64_t asked, uint64_t told)
{
	op(MODEL_READ, MODEL_OK, asked, told)->content = content;
}

static bool holds(void)
{
	return model_check(&model, message, sizeof(message));
}

static void test_one_after_the_other(void **state)
{
	(void)state;
	op(MODEL_READ, MODEL_ABSENT, 1, 2);
	put(1, 3, 4);
	get(1, 5, 6);
	op(MODEL_PUT_NEW, MODEL_EXISTS, 7, 8);
	op(MODEL_REMOVE, MODEL_OK, 9, 10);
	op(MODEL_REMOVE, MODEL_ABSENT, 11, 12);
	op(MODEL_MKDIR, MODEL_OK, 13, 14);
	op(MODEL_READ, MODEL_DIRECTORY, 15, 16);
	op(MODEL_PUT, MODEL_DIRECTORY, 17, 18);
	assert_true(holds());
}

static void test_acknowledged_and_lost(void **state)
{
	(void)state;
	put(1, 1, 2);
	op(MODEL_READ, MODEL_ABSENT, 3, 4);
	assert_false(holds());
}

static void test_old_content_comes_back(void **state)
{
	(void)state;
	put(1, 1, 2);
	put(2, 3, 4);
	get(1, 5, 6);
	assert_false(holds());
}

static void test_removed_comes_back(void **state)
{
	(void)state;
	put(1, 1, 2);
	op(MODEL_REMOVE, MODEL_OK, 3, 4);
	get(1, 5, 6);
	assert_false(holds());
}

static void test_doubtful_happens_late(void **state)
{
	(void)state;
	put(1, 1, 0);
	op(MODEL_READ, MODEL_ABSENT, 3, 4);
	get(1, 5, 6);
	assert_true(holds());
}

static void test_doubtful_happens_once(void **state)
{
	(void)state;
	put(1, 1, 0);
	get(1, 2, 3);
	op(MODEL_REMOVE, MODEL_OK, 4, 5);
	get(1, 6, 7);
	assert_false(holds());
}

static void test_at_the_same_time(void **state)
{
	(void)state;
	put(1, 1, 10);
	put(2, 2, 9);
	get(2, 3, 4);
	get(1, 5, 6);
	assert_true(holds());
	get(2, 7, 8);
	assert_false(holds());
}

static void test_reads_do_not_go_back(void **state)
{
	(void)state;
	put(1, 1, 2);
	put(2, 3, 10);
	get(2, 4, 5);
	get(1, 6, 7);
	assert_false(holds());
}

static void test_versions_count_effects(void **state)
{
	(void)state;
	put(1, 1, 2);
	put(2, 3, 4);
	op(MODEL_READ, MODEL_OK, 5, 6)->version = 2;
	model.ops[2].content = 2;
	assert_true(holds());
	/* Had one of them acted twice: */
	model.ops[2].version = 3;
	assert_false(holds());
}

/* Contents are sums here. */
static uint64_t add(void *context, uint64_t before, uint64_t piece)
{
	(void)context;
	return before + piece;
}

static void append(uint64_t content, uint64_t asked, uint64_t told)
{
	op(MODEL_APPEND, MODEL_OK, asked, told)->content = content;
}

static void test_appends_all_count_once(void **state)
{
	(void)state;
	model.join = add;
	put(1, 1, 2);
	append(10, 3, 10);
	append(100, 4, 9);
	get(101, 5, 6);
	append(1000, 7, 0);
	get(111, 11, 12);
	get(1111, 13, 14);
	assert_true(holds());
	get(111, 15, 16);
	assert_false(holds());
}

static void test_nothing_is_appended_to_nothing(void **state)
{
	(void)state;
	model.join = add;
	append(1, 1, 2);
	assert_false(holds());
}

static void test_own_work_mistaken_for_others(void **state)
{
	(void)state;
	op(MODEL_MKDIR, MODEL_EXISTS, 1, 2);
	assert_false(holds());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_one_after_the_other, clean),
		cmocka_unit_test_teardown(test_acknowledged_and_lost, clean),
		cmocka_unit_test_teardown(test_old_content_comes_back, clean),
		cmocka_unit_test_teardown(test_removed_comes_back, clean),
		cmocka_unit_test_teardown(test_doubtful_happens_late, clean),
		cmocka_unit_test_teardown(test_doubtful_happens_once, clean),
		cmocka_unit_test_teardown(test_at_the_same_time, clean),
		cmocka_unit_test_teardown(test_reads_do_not_go_back, clean),
		cmocka_unit_test_teardown(test_versions_count_effects, clean),
		cmocka_unit_test_teardown(test_appends_all_count_once, clean),
		cmocka_unit_test_teardown(test_nothing_is_appended_to_nothing, clean),
		cmocka_unit_test_teardown(test_own_work_mistaken_for_others, clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

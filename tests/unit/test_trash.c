/* The trash: what was removed comes back as it was, or goes for good. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue_rig.h"
#include "random.h"

static int restore_id(struct rig *rig, const char *path, uint64_t id, uint64_t from_ms)
{
	struct restore how = {
		.path = slice_of(path), .to = slice_of(""), .id = id, .from_ms = from_ms
	};
	struct removed back;

	return catalogue_restore(rig->kv, &how, rig_next_id, rig, &back);
}

static int purge(struct rig *rig, const char *path, uint64_t id)
{
	struct purge how = { .path = slice_of(path), .id = id, .when = rig_now(rig), .most = 1000 };
	struct removed gone;

	return catalogue_purge(rig->kv, &how, &gone);
}

static void let_go(struct rig *rig, uint64_t before_ms)
{
	const struct trash_limit limit = { before_ms, 1000, UINT64_MAX };
	struct removed gone;

	assert_true(trash_collect(rig->kv, &limit, rig_now(rig), &gone) >= 0);
	rig_check(rig);
}

static uint64_t size_of(struct rig *rig, const char *path)
{
	struct inode inode;

	return catalogue_find(rig->kv, slice_of(path), &inode) == 0 ? inode.size : UINT64_MAX;
}

static void test_what_was_removed_comes_back_as_it_was(void **state)
{
	struct rig *rig = *state;
	uint64_t file, directory;
	struct totals before;

	rig_mkdir(rig, "/a/b/c");
	rig_put(rig, "/a/b/f", 3, false);
	file = rig_inode(rig, "/a/b/f");
	directory = rig_inode(rig, "/a/b");
	before = rig_totals(rig);
	assert_int_equal(rig_remove(rig, "/a/b"), 0);
	assert_int_equal(rig_trash(rig).files, 1);
	assert_int_equal(rig_trash(rig).directories, 2);
	assert_int_equal(rig_trash(rig).bytes, 30);
	rig_check(rig);
	assert_int_equal(rig_restore(rig, "/a/b", ""), 0);
	assert_int_equal(rig_inode(rig, "/a/b/f"), file);
	assert_int_equal(rig_inode(rig, "/a/b"), directory);
	assert_int_equal(rig_totals(rig).bytes, before.bytes);
	assert_int_equal(rig_totals(rig).directories, before.directories);
	assert_int_equal(rig_rows(rig, "t"), 0);
	rig_check(rig);
	assert_int_equal(rig_restore(rig, "/a/b", ""), -ERR_NOT_FOUND);
	assert_int_equal(rig_restore(rig, "/", ""), -ERR_NOT_FOUND);
}

static void test_parents_that_are_gone_are_made_again(void **state)
{
	struct rig *rig = *state;
	struct inode inode;

	rig_mkdir(rig, "/a/b/c");
	rig_put(rig, "/a/b/c/f", 1, false);
	assert_int_equal(catalogue_set_copies(rig->kv, slice_of("/a"), 5, &inode), 0);
	rig_remove(rig, "/a/b/c/f");
	rig_remove(rig, "/a/b");
	assert_int_equal(rig_restore(rig, "/a/b/c/f", ""), 0);
	assert_int_equal(size_of(rig, "/a/b/c/f"), 10);
	assert_int_equal(catalogue_find(rig->kv, slice_of("/a/b/c"), &inode), 0);
	assert_int_equal(inode.copies, 5);
	rig_check(rig);
	/* The directory that was removed cannot come back to where there is one now. */
	assert_int_equal(rig_restore(rig, "/a/b", ""), -ERR_EXISTS);
	assert_int_equal(rig_restore(rig, "/a/b", "/x/y/old"), 0);
	assert_int_not_equal(rig_inode(rig, "/x/y/old/c"), 0);
	/* A file is in the way. */
	rig_remove(rig, "/x/y/old/c");
	rig_remove(rig, "/x");
	rig_put(rig, "/x", 1, false);
	assert_int_equal(rig_restore(rig, "/x/y/old/c", ""), -ERR_NOT_DIR);
	assert_int_equal(rig_restore(rig, "/x/y/old/c", "/x/c"), -ERR_NOT_DIR);
	assert_int_equal(rig_restore(rig, "/x/y/old/c", "/c"), 0);
	rig_check(rig);
}

static void test_a_part_of_what_was_removed_comes_back(void **state)
{
	struct rig *rig = *state;

	rig_mkdir(rig, "/a/b");
	rig_put(rig, "/a/b/f", 1, false);
	rig_put(rig, "/a/b/g", 2, false);
	rig_put(rig, "/a/h", 3, false);
	rig_remove(rig, "/a");
	rig->uptime_ms++;
	assert_int_equal(rig_restore(rig, "/a/b/no", ""), -ERR_NOT_FOUND);
	assert_int_equal(rig_restore(rig, "/a/h/no", ""), -ERR_NOT_FOUND);
	assert_int_equal(rig_restore(rig, "/a/b/g", ""), 0);
	assert_int_equal(size_of(rig, "/a/b/g"), 20);
	assert_int_equal(rig_inode(rig, "/a/b/f"), 0);
	assert_int_equal(rig_trash(rig).files, 2);
	assert_int_equal(rig_trash(rig).directories, 2);
	rig_check(rig);
	assert_int_equal(rig_restore(rig, "/a/b", "/b"), 0);
	assert_int_equal(size_of(rig, "/b/f"), 10);
	assert_int_equal(rig_restore(rig, "/a/h", ""), 0);
	assert_int_equal(rig_trash(rig).directories, 1);
	rig_check(rig);
}

static void test_the_newest_that_explains_the_path_comes_back(void **state)
{
	struct rig *rig = *state;
	struct trash_row row = { 0 };
	uint64_t oldest;

	for (uint32_t chunks = 1; chunks <= 4; chunks++) {
		rig->uptime_ms++;
		rig_put(rig, "/f", chunks, true);
	}
	assert_int_equal(rig_trash(rig).files, 3);
	assert_int_equal(trash_next(rig->kv, 0, 0, &row), 0);
	oldest = row.inode;
	assert_int_equal(rig_restore(rig, "/f", ""), -ERR_EXISTS);
	assert_int_equal(rig_restore(rig, "/f", "/g"), 0);
	assert_int_equal(size_of(rig, "/g"), 30);
	assert_int_equal(restore_id(rig, "/f", 12345, 0), -ERR_NOT_FOUND);
	rig_remove(rig, "/f");
	assert_int_equal(restore_id(rig, "/f", oldest, row.since_ms + 1), -ERR_NOT_FOUND);
	assert_int_equal(restore_id(rig, "/f", oldest, row.since_ms), 0);
	assert_int_equal(size_of(rig, "/f"), 10);
	rig_check(rig);
	/* Removed by itself, then made anew and removed with its directory. */
	rig_mkdir(rig, "/d");
	rig_put(rig, "/d/f", 5, false);
	rig->uptime_ms++;
	rig_remove(rig, "/d/f");
	rig_put(rig, "/d/f", 6, false);
	rig->uptime_ms++;
	rig_remove(rig, "/d");
	assert_int_equal(rig_restore(rig, "/d/f", "/six"), 0);
	assert_int_equal(size_of(rig, "/six"), 60);
	assert_int_equal(rig_restore(rig, "/d/f", "/five"), 0);
	assert_int_equal(size_of(rig, "/five"), 50);
	assert_int_equal(rig_restore(rig, "/d/f", "/none"), -ERR_NOT_FOUND);
	rig_check(rig);
}

static void test_the_order_of_removal_is_kept_even_if_time_is_not(void **state)
{
	struct rig *rig = *state;
	struct trash_row row = { 0 };

	rig_put(rig, "/f", 1, false);
	rig->uptime_ms = 500;
	rig_remove(rig, "/f");
	rig_put(rig, "/f", 2, false);
	rig->uptime_ms = 300; /* running time that was not saved before the power went */
	rig_remove(rig, "/f");
	assert_int_equal(trash_next(rig->kv, 0, 0, &row), 0);
	assert_int_equal(row.since_ms, 500);
	assert_int_equal(row.totals.bytes, 10);
	assert_int_equal(trash_next(rig->kv, row.since_ms, row.inode, &row), 0);
	assert_int_equal(row.since_ms, 501);
	assert_int_equal(rig_restore(rig, "/f", ""), 0);
	assert_int_equal(size_of(rig, "/f"), 20);
	rig_check(rig);
}

/* Both in one millisecond, and what was removed last is older than what it had replaced. */
static void test_what_took_a_name_is_newer_than_what_had_it(void **state)
{
	struct rig *rig = *state;

	rig_put(rig, "/old", 1, false);
	rig_put(rig, "/f", 2, false);
	assert_int_equal(rig_rename(rig, "/old", "/f", RENAME_REPLACE), 0);
	assert_int_equal(rig_remove(rig, "/f"), 0);
	assert_int_equal(rig_restore(rig, "/f", ""), 0);
	assert_int_equal(size_of(rig, "/f"), 10);
	rig_check(rig);
}

static void test_purging(void **state)
{
	struct rig *rig = *state;
	struct trash_row row = { 0 };

	for (uint32_t chunks = 1; chunks <= 5; chunks++)
		rig_put(rig, "/f", chunks, true);
	rig_put(rig, "/g", 7, false);
	rig_remove(rig, "/g");
	assert_int_equal(trash_next(rig->kv, 0, 0, &row), 0);
	assert_int_equal(purge(rig, "/f", row.inode), 0);
	assert_int_equal(purge(rig, "/f", row.inode), -ERR_NOT_FOUND);
	assert_int_equal(rig_trash(rig).chunks, 2 + 3 + 4 + 7);
	rig_check(rig);
	assert_int_equal(purge(rig, "/f", 0), 0);
	assert_int_equal(purge(rig, "/f", 0), -ERR_NOT_FOUND);
	assert_int_equal(rig_trash(rig).chunks, 7);
	rig_check(rig);
	assert_int_equal(rig_collect(rig), 1 + 2 + 3 + 4);
	assert_int_equal(catalogue_purge_all(rig->kv, &(struct removed){ 0 }), 0);
	assert_int_equal(rig_trash(rig).files, 0);
	rig_check(rig);
	assert_int_equal(purge(rig, "/g", 0), -ERR_NOT_FOUND);
	assert_int_equal(rig_restore(rig, "/g", ""), -ERR_NOT_FOUND);
	/* What is removed afterwards, at the same time, is another matter. */
	rig_remove(rig, "/f");
	assert_int_equal(rig_trash(rig).files, 1);
	let_go(rig, 0);
	assert_int_equal(rig_collect(rig), 7);
	assert_int_equal(rig_restore(rig, "/f", ""), 0);
	assert_int_equal(size_of(rig, "/f"), 50);
	rig_check(rig);
}

static void test_the_oldest_go_first_and_no_more_than_asked(void **state)
{
	struct trash_limit limit = { UINT64_MAX, 100, 45 };
	struct rig *rig = *state;
	struct removed gone;
	char path[16];

	for (int i = 0; i < 10; i++) {
		snprintf(path, sizeof(path), "/f%d", i);
		rig_put(rig, path, 2, false);
		rig->uptime_ms += 10;
		rig_remove(rig, path);
	}
	assert_int_equal(trash_collect(rig->kv, &limit, rig_now(rig), &gone), 3);
	assert_int_equal(gone.bytes, 60);
	assert_int_equal(rig_restore(rig, "/f2", ""), -ERR_NOT_FOUND);
	let_go(rig, 100 + 10 * 6);
	assert_int_equal(rig_trash(rig).files, 5);
	assert_int_equal(rig_restore(rig, "/f5", ""), 0);
	limit.most = 2;
	assert_int_equal(trash_collect(rig->kv, &limit, rig_now(rig), &gone), 2);
	rig_check(rig);
}

static void test_what_is_being_read_stays_readable(void **state)
{
	struct rig *rig = *state;
	struct chunk_row chunk;

	rig_mkdir(rig, "/d");
	rig_put(rig, "/d/f", 3, false);
	rig->held = rig_inode(rig, "/d/f");
	rig_remove(rig, "/d");
	assert_int_equal(purge(rig, "/d", 0), 0);
	assert_int_equal(rig_collect(rig), 0);
	assert_int_equal(catalogue_chunk_at(rig->kv, rig->held, 29, &chunk), 0);
	rig_check(rig);
	rig->held = 0;
	assert_int_equal(rig_collect(rig), 3);
	rig_check(rig);
	assert_int_equal(rig_rows(rig, "i"), 1);
}

/* ---- whatever happens ---- */

enum { NAMES = 4, DEPTH = 3, STEPS = 6000 };

static void random_path(struct prng *prng, char *ret)
{
	unsigned int depth = 1 + (unsigned int)prng_below(prng, DEPTH);

	for (unsigned int i = 0; i < depth; i++) {
		*ret++ = '/';
		*ret++ = (char)('a' + prng_below(prng, NAMES));
	}
	*ret = '\0';
}

static void expected(int rc)
{
	static const int may_be[] = { 0,           -ERR_NOT_FOUND,  -ERR_EXISTS, -ERR_NOT_DIR,
				      -ERR_IS_DIR, -ERR_INTO_ITSELF };

	for (size_t i = 0; i < ARRAY_SIZE(may_be); i++) {
		if (rc == may_be[i])
			return;
	}
	assert_int_equal(rc, 0);
}

/* Of some of its last chunks, which copies may share, and some more. */
static int append_some(struct rig *rig, struct prng *prng, const char *path)
{
	struct chunk_row rows[16] = { 0 };
	struct inode file;
	struct new_tail tail = { .chunks = rows, .chunk_size = 10, .chunks_max = 1000 };
	uint32_t replaced;
	int rc = catalogue_find(rig->kv, slice_of(path), &file);

	if (rc < 0 || file.type != ENTRY_FILE)
		return rc < 0 ? rc : -ERR_IS_DIR;
	replaced = (uint32_t)prng_below(prng, file.chunks < 5 ? file.chunks + 1 : 5);
	tail.inode = rig->next_id++;
	tail.base_size = file.size - 10 * (uint64_t)replaced;
	tail.chunk_count = replaced + (uint32_t)prng_below(prng, 4);
	tail.size = 10 * (uint64_t)tail.chunk_count;
	for (uint32_t i = 0; i < tail.chunk_count; i++)
		rows[i] = (struct chunk_row){ .chunk = ++rig->next_chunk, .length = 10 };
	return catalogue_append(rig->kv, &file, &tail, rig->uptime_ms);
}

static void random_step(struct rig *rig, struct prng *prng)
{
	char a[32] = "", b[32] = "";
	unsigned int flags = (unsigned int)prng_below(prng, 4);

	random_path(prng, a);
	random_path(prng, b);
	rig->uptime_ms += prng_below(prng, 2);
	switch (prng_below(prng, 17)) {
	case 0:
	case 1: expected(rig_mkdir(rig, a)); break;
	case 2:
	case 3:
	case 4: expected(rig_put(rig, a, (uint32_t)prng_below(prng, 5), flags & 1)); break;
	case 5:
	case 6: expected(rig_remove(rig, a)); break;
	case 7:
	case 8: expected(rig_rename(rig, a, b, flags)); break;
	case 9:
	case 10:
		expected(COPY(rig, a, b, flags | COPY_TREE | (flags & 2 ? COPY_KEEP_BOTH : 0)));
		break;
	case 11: expected(rig_restore(rig, a, "")); break;
	case 12: expected(rig_restore(rig, a, b)); break;
	case 13: expected(purge(rig, a, 0)); break;
	case 14: let_go(rig, rig->uptime_ms > 20 ? rig->uptime_ms - 20 : 0); break;
	case 15: expected(append_some(rig, prng, a)); break;
	default:
		if (prng_below(prng, 60) == 0)
			catalogue_purge_all(rig->kv, &(struct removed){ 0 });
		else if (prng_below(prng, 60) == 0)
			catalogue_empty(rig->kv, rig->next_id++, rig_now(rig),
					&(struct removed){ 0 });
		else
			rig_collect(rig);
	}
}

/* Some tree is counted all the time, while things change in it or elsewhere, and removed when the
 * count has come to its end: rig_check() then finds out whether it was right. */
static void count_on(struct rig *rig, struct prng *prng, struct tree_count **count, char path[32])
{
	if (*count && prng_below(prng, 30)) {
		if (tree_count_step(rig->kv, *count, 3) && prng_below(prng, 2))
			expected(rig_remove(rig, path));
		return;
	}
	tree_count_free(rig->kv, *count);
	*count = NULL;
	path[0] = '\0';
	random_path(prng, path);
	expected(tree_count_new(rig->kv, slice_of(path), count));
}

static void test_a_count_begins_anew_when_the_tree_changes(void **state)
{
	struct rig *rig = *state;
	struct tree_count *count;

	rig_mkdir(rig, "/a/b");
	rig_put(rig, "/a/b/f", 1, false);
	rig_put(rig, "/a/c", 1, false);
	assert_int_equal(tree_count_new(rig->kv, slice_of("/a/c"), &count), -ERR_NOT_DIR);
	assert_int_equal(tree_count_new(rig->kv, slice_of("/a"), &count), 0);
	assert_int_equal(tree_count_step(rig->kv, count, 2), 0);
	rig_put(rig, "/a/b/a", 1, false); /* behind the walk */
	assert_int_equal(tree_count_step(rig->kv, count, 2), 0);
	assert_int_equal(tree_count_step(rig->kv, count, 9), 1);
	rig_put(rig, "/a/b/f", 3, true); /* after its end */
	rig_put(rig, "/f", 3, false);
	assert_int_equal(rig_remove(rig, "/a"), 0);
	rig_check(rig);
	tree_count_free(rig->kv, count);
	/* Who never lets it come to an end is not waited for. */
	rig_mkdir(rig, "/x/y/z");
	assert_int_equal(tree_count_new(rig->kv, slice_of("/x"), &count), 0);
	for (int i = 0; tree_count_step(rig->kv, count, 1) == 0; i++) {
		assert_true(i < 10);
		rig_put(rig, "/x/f", 1, true);
	}
	tree_count_free(rig->kv, count);
}

static void test_rows_agree_whatever_happens(void **state)
{
	struct rig *rig = *state;
	struct prng prng = { .state = 4 };
	struct tree_count *count = NULL;
	char counted[32];

	for (int i = 0; i < STEPS; i++) {
		uint64_t inodes = rig_totals(rig).directories + rig_totals(rig).files;

		random_step(rig, &prng);
		count_on(rig, &prng, &count, counted);
		rig_check(rig);
		if (inodes > 2000) /* copies of copies */
			catalogue_empty(rig->kv, rig->next_id++, rig_now(rig),
					&(struct removed){ 0 });
	}
	tree_count_free(rig->kv, count);
	assert_int_equal(
		catalogue_empty(rig->kv, rig->next_id++, rig_now(rig), &(struct removed){ 0 }), 0);
	while (rig_rows(rig, "t"))
		let_go(rig, UINT64_MAX);
	rig_collect(rig);
	rig_check(rig);
	assert_int_equal(rig_rows(rig, "i"), 1);
	assert_int_equal(rig_rows(rig, "d"), 0);
	assert_int_equal(rig_rows(rig, "k"), 0);
	assert_int_equal(rig->freed, rig->next_chunk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
		TEST(test_what_was_removed_comes_back_as_it_was),
		TEST(test_parents_that_are_gone_are_made_again),
		TEST(test_a_part_of_what_was_removed_comes_back),
		TEST(test_the_newest_that_explains_the_path_comes_back),
		TEST(test_the_order_of_removal_is_kept_even_if_time_is_not),
		TEST(test_what_took_a_name_is_newer_than_what_had_it),
		TEST(test_purging),
		TEST(test_the_oldest_go_first_and_no_more_than_asked),
		TEST(test_what_is_being_read_stays_readable),
		TEST(test_a_count_begins_anew_when_the_tree_changes),
		TEST(test_rows_agree_whatever_happens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

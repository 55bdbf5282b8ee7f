/* Renaming, copying, the way up, and emptying the store. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue_rig.h"

static void assert_path(struct rig *rig, uint64_t inode, const char *expected)
{
	char path[PATH_SIZE_MAX + 1];

	assert_int_equal(catalogue_path(rig->kv, inode, path, sizeof(path)), strlen(expected));
	assert_string_equal(path, expected);
}

/* ---- the way up ---- */

static void test_inodes_know_their_paths(void **state)
{
	struct rig *rig = *state;
	char path[8];
	uint64_t deep;

	rig_mkdir(rig, "/a/b/c");
	rig_put(rig, "/a/b/f", 2, false);
	deep = rig_inode(rig, "/a/b/c");
	assert_path(rig, INODE_ROOT, "/");
	assert_path(rig, deep, "/a/b/c");
	assert_int_equal(catalogue_path(rig->kv, deep, path, 6), -ERR_NAME_TOO_LONG);
	assert_int_equal(catalogue_path(rig->kv, deep, path, 7), 6);
	assert_int_equal(catalogue_path(rig->kv, 77, path, sizeof(path)), -ERR_NOT_FOUND);
	assert_int_equal(rig_rename(rig, "/a/b", "/z", 0), 0);
	assert_path(rig, deep, "/z/c");
	assert_int_equal(rig_remove(rig, "/z"), 0);
	assert_int_equal(catalogue_path(rig->kv, deep, path, sizeof(path)), -ERR_NOT_FOUND);
	assert_int_equal(rig_restore(rig, "/z", ""), 0);
	assert_path(rig, deep, "/z/c");
	rig_check(rig);
}

/* ---- renaming ---- */

static void test_rename(void **state)
{
	struct rig *rig = *state;
	uint64_t f, d;

	rig_mkdir(rig, "/d/e");
	rig_put(rig, "/f", 3, false);
	rig_put(rig, "/g", 2, false);
	f = rig_inode(rig, "/f");
	d = rig_inode(rig, "/d");
	assert_int_equal(rig_rename(rig, "/f", "/h", 0), 0);
	assert_int_equal(rig_inode(rig, "/h"), f);
	assert_int_equal(rig_inode(rig, "/f"), 0);
	assert_int_equal(rig_rename(rig, "/h", "/g", 0), -ERR_EXISTS);
	assert_int_equal(rig_rename(rig, "/h", "/g", RENAME_REPLACE), 0);
	assert_int_equal(rig_inode(rig, "/g"), f);
	assert_int_equal(rig_trash(rig).files, 1);
	assert_int_equal(rig_rename(rig, "/g", "/g", 0), 0);
	assert_int_equal(rig_rename(rig, "/g", "/d", 0), -ERR_IS_DIR);
	assert_int_equal(rig_rename(rig, "/g", "/d", RENAME_INTO), 0);
	assert_int_equal(rig_inode(rig, "/d/g"), f);
	assert_int_equal(rig_rename(rig, "/d/g", "/d", RENAME_INTO), 0);
	assert_int_equal(rig_rename(rig, "/d/g", "/", RENAME_INTO), 0);
	assert_int_equal(rig_inode(rig, "/g"), f);
	rig_mkdir(rig, "/x");
	assert_int_equal(rig_rename(rig, "/d", "/x", 0), -ERR_EXISTS);
	assert_int_equal(rig_rename(rig, "/d", "/x", RENAME_REPLACE), -ERR_EXISTS);
	assert_int_equal(rig_rename(rig, "/d", "/g", RENAME_REPLACE), -ERR_EXISTS);
	assert_int_equal(rig_rename(rig, "/d", "/x", RENAME_INTO), 0);
	assert_int_equal(rig_inode(rig, "/x/d"), d);
	assert_int_equal(rig_rename(rig, "/x/d", "/", 0), -ERR_EXISTS);
	assert_int_equal(rig_rename(rig, "/", "/x/r", 0), -ERR_BAD_NAME);
	assert_int_equal(rig_rename(rig, "/no", "/x/r", 0), -ERR_NOT_FOUND);
	assert_int_equal(rig_rename(rig, "/g", "/no/r", 0), -ERR_NOT_FOUND);
	assert_int_equal(rig_rename(rig, "/x", "/g/r", 0), -ERR_NOT_DIR);
	rig_check(rig);
}

static void test_a_directory_cannot_go_into_itself(void **state)
{
	struct rig *rig = *state;
	uint32_t before;

	rig_mkdir(rig, "/a/b/c");
	before = rig->kv->batch_count;
	assert_int_equal(rig_rename(rig, "/a", "/a/x", 0), -ERR_INTO_ITSELF);
	assert_int_equal(rig_rename(rig, "/a", "/a/b/c/x", 0), -ERR_INTO_ITSELF);
	assert_int_equal(rig_rename(rig, "/a", "/a", RENAME_INTO), -ERR_INTO_ITSELF);
	assert_int_equal(rig_rename(rig, "/a", "/a/b", RENAME_INTO), -ERR_INTO_ITSELF);
	assert_int_equal(COPY(rig, "/a", "/a/b/x", COPY_TREE), -ERR_INTO_ITSELF);
	assert_int_equal(COPY(rig, "/", "/a/b/x", COPY_TREE), -ERR_INTO_ITSELF);
	assert_int_equal(rig->kv->batch_count, before);
	assert_int_equal(rig_rename(rig, "/a/b/c", "/a", RENAME_INTO), 0);
	assert_int_not_equal(rig_inode(rig, "/a/c"), 0);
}

/* "/x/x/…" with so many components of `size` bytes. */
static char *long_path(unsigned int count, size_t size)
{
	char *path = malloc(count * (size + 1) + 1);

	memset(path, 'x', count * (size + 1));
	for (unsigned int i = 0; i < count; i++)
		path[i * (size + 1)] = '/';
	path[count * (size + 1)] = '\0';
	return path;
}

static void test_nothing_gets_too_deep_or_too_long_a_path(void **state)
{
	struct rig *rig = *state;
	char *deep = long_path(100, 1), *wide = long_path(10, 255), *most = long_path(128, 1);
	char name[300] = "/";

	memset(name + 1, 'n', 255);
	assert_int_equal(rig_mkdir(rig, deep), 0);
	assert_int_equal(rig_rename(rig, "/x", "/t", 0), 0);
	assert_int_equal(rig_mkdir(rig, most), 0);
	/* /t is 100 deep: below 28 others there is room for it, below 29 there is none. */
	most[28 * 2] = '\0';
	assert_int_equal(COPY(rig, "/t", most, COPY_TREE | COPY_INTO), 0);
	assert_int_equal(rig_rename(rig, "/t", most, RENAME_INTO), -ERR_EXISTS);
	most[28 * 2] = '/';
	most[29 * 2] = '\0';
	assert_int_equal(rig_rename(rig, "/t", most, RENAME_INTO), -ERR_NAME_TOO_LONG);
	assert_int_equal(COPY(rig, "/t", most, COPY_TREE | COPY_INTO), -ERR_NAME_TOO_LONG);
	/* 10 names of 255 bytes below 6 of them are 4096 bytes. */
	assert_int_equal(rig_mkdir(rig, wide), 0);
	wide[256] = '\0';
	assert_int_equal(rig_rename(rig, wide, name, 0), 0);
	wide[256] = '/';
	wide[6 * 256] = '\0';
	assert_int_equal(rig_mkdir(rig, wide), 0);
	assert_int_equal(COPY(rig, name, wide, COPY_TREE | COPY_INTO), 0);
	wide[6 * 256] = '/';
	wide[6 * 256 + 2] = '\0';
	assert_int_equal(rig_mkdir(rig, wide), 0);
	assert_int_equal(COPY(rig, name, wide, COPY_TREE | COPY_INTO), -ERR_NAME_TOO_LONG);
	assert_int_equal(rig_rename(rig, name, wide, RENAME_INTO), -ERR_NAME_TOO_LONG);
	rig_check(rig);
	free(deep);
	free(wide);
	free(most);
}

/* What was too large to be looked at all through may come to lie deeper than a path can say. */
static void test_trees_deeper_than_paths_can_be_handled(void **state)
{
	struct rig *rig = *state;
	char *deep = long_path(120, 1);
	char path[64];
	uint64_t count;

	assert_int_equal(rig_mkdir(rig, deep), 0);
	assert_int_equal(rig_rename(rig, "/x", "/z", 0), 0);
	rig_mkdir(rig, "/z/a");
	for (int i = 0; i < 4200; i++) {
		snprintf(path, sizeof(path), "/z/a/%d", i);
		assert_int_equal(rig_put(rig, path, 0, false), 0);
	}
	assert_int_equal(rig_mkdir(rig, deep), 0);
	assert_int_equal(rig_rename(rig, "/z", deep, RENAME_INTO), 0);
	count = rig_totals(rig).directories;
	assert_int_equal(count, 241);
	rig_check(rig);
	assert_int_equal(COPY(rig, "/x", "/c", COPY_TREE), -ERR_NAME_TOO_LONG);
	assert_int_equal(rig_remove(rig, "/x"), 0);
	assert_int_equal(rig_trash(rig).directories, count);
	assert_int_equal(rig_restore(rig, "/x", ""), 0);
	rig_check(rig);
	assert_int_equal(rig_remove(rig, "/x"), 0);
	assert_int_equal(catalogue_purge_all(rig->kv, &(struct removed){ 0 }), 0);
	assert_int_equal(trash_collect(rig->kv, &(struct trash_limit){ 0, 10, UINT64_MAX },
				       rig_now(rig), &(struct removed){ 0 }),
			 1);
	while (rig_rows(rig, "g"))
		rig_collect(rig);
	assert_int_equal(rig_rows(rig, "i"), 1);
	free(deep);
}

/* ---- copying ---- */

static void test_copies_share_chunks(void **state)
{
	struct rig *rig = *state;
	struct chunk_row a, b;
	struct inode copied;

	rig_put(rig, "/f", 3, false);
	assert_int_equal(COPY(rig, "/f", "/g", 0), 0);
	assert_int_equal(COPY(rig, "/g", "/h", 0), 0);
	assert_int_equal(catalogue_chunk_at(rig->kv, rig_inode(rig, "/f"), 20, &a), 0);
	assert_int_equal(catalogue_chunk_at(rig->kv, rig_inode(rig, "/h"), 20, &b), 0);
	assert_int_equal(a.chunk, b.chunk);
	assert_int_equal(rig_totals(rig).chunks, 9);
	assert_int_equal(catalogue_find(rig->kv, slice_of("/h"), &copied), 0);
	assert_int_equal(copied.size, 30);
	assert_int_equal(copied.version, 1);
	/* The chunks go with the last of the files. */
	rig_remove(rig, "/f");
	rig_remove(rig, "/g");
	catalogue_purge_all(rig->kv, &(struct removed){ 0 });
	trash_collect(rig->kv, &(struct trash_limit){ 0, 10, UINT64_MAX }, rig_now(rig),
		      &(struct removed){ 0 });
	rig_check(rig);
	assert_int_equal(rig_collect(rig), 0);
	assert_int_equal(catalogue_chunk_at(rig->kv, rig_inode(rig, "/h"), 20, &b), 0);
	rig_remove(rig, "/h");
	assert_int_equal(trash_collect(rig->kv, &(struct trash_limit){ UINT64_MAX, 10, UINT64_MAX },
				       rig_now(rig), &(struct removed){ 0 }),
			 1);
	assert_int_equal(rig_collect(rig), 3);
	rig_check(rig);
}

static void test_where_a_copy_goes(void **state)
{
	struct rig *rig = *state;
	struct inode inode;

	rig_put(rig, "/f", 1, false);
	rig_put(rig, "/g", 2, false);
	rig_mkdir(rig, "/d/e");
	assert_int_equal(COPY(rig, "/f", "/f", COPY_REPLACE), -ERR_EXISTS);
	assert_int_equal(COPY(rig, "/f", "/g", 0), -ERR_EXISTS);
	assert_int_equal(COPY(rig, "/f", "/g", COPY_REPLACE), 0);
	assert_int_equal(catalogue_find(rig->kv, slice_of("/g"), &inode), 0);
	assert_int_equal(inode.size, 10);
	assert_int_equal(inode.version, 2);
	assert_int_equal(rig_trash(rig).bytes, 20);
	assert_int_equal(COPY(rig, "/f", "/d", 0), -ERR_IS_DIR);
	assert_int_equal(COPY(rig, "/f", "/d", COPY_INTO), 0);
	assert_int_not_equal(rig_inode(rig, "/d/f"), 0);
	assert_int_equal(COPY(rig, "/f", "/no/f", 0), -ERR_NOT_FOUND);
	assert_int_equal(COPY(rig, "/f", "/f/f", 0), -ERR_NOT_DIR);
	assert_int_equal(COPY(rig, "/d", "/x", 0), -ERR_IS_DIR);
	assert_int_equal(COPY(rig, "/d", "/x", COPY_TREE), 0);
	assert_int_not_equal(rig_inode(rig, "/x/e"), 0);
	assert_int_equal(COPY(rig, "/d", "/x", COPY_TREE), -ERR_EXISTS);
	assert_int_equal(COPY(rig, "/d", "/x", COPY_TREE | COPY_INTO), 0);
	assert_int_not_equal(rig_inode(rig, "/x/d/f"), 0);
	rig_check(rig);
}

static void assert_beside(struct rig *rig, const char *path, const char *expected)
{
	const struct move how = { .path = slice_of(path),
				  .to = slice_of(path),
				  .flags = COPY_TREE | COPY_KEEP_BOTH };
	char where[PATH_SIZE_MAX + 1];

	assert_int_equal(rig_copy(rig, &how, 1000, where), 0);
	assert_string_equal(where, expected);
}

static void test_a_copy_may_go_beside(void **state)
{
	struct rig *rig = *state;
	char longest[300] = "/", expected[300];

	rig_put(rig, "/a.txt", 1, false);
	rig_put(rig, "/.rc", 1, false);
	rig_put(rig, "/plain", 1, false);
	rig_mkdir(rig, "/d.d");
	assert_beside(rig, "/a.txt", "/a(1).txt");
	assert_beside(rig, "/a.txt", "/a(2).txt");
	assert_beside(rig, "/a(1).txt", "/a(1)(1).txt");
	assert_beside(rig, "/.rc", "/.rc(1)");
	assert_beside(rig, "/plain", "/plain(1)");
	assert_beside(rig, "/d.d", "/d.d(1)");
	/* Cut before a character, not inside of one: 249 bytes, U+00E4, ".txt". */
	memset(longest + 1, 'n', 249);
	memcpy(longest + 250, "\xc3\xa4.txt", 7);
	assert_int_equal(rig_put(rig, longest, 1, false), 0);
	memcpy(expected, longest, 249);
	memcpy(expected + 249, "(1).txt", 8);
	assert_beside(rig, longest, expected);
	rig_check(rig);
}

static void tree_make(struct rig *rig)
{
	char path[64];

	for (int i = 0; i < 6; i++) {
		snprintf(path, sizeof(path), "/t/%d/deeper/still", i);
		rig_mkdir(rig, path);
		for (uint32_t j = 0; j < 5; j++) {
			snprintf(path, sizeof(path), "/t/%d/deeper/f%u", i, j);
			rig_put(rig, path, j * 3, false);
		}
	}
}

static void test_a_tree_is_copied_in_steps_of_any_size(void **state)
{
	struct rig *rig = *state;
	char to[32];

	tree_make(rig);
	for (unsigned int most = 1; most < 300; most = most * 2 + 1) {
		struct totals before = rig_totals(rig);
		struct move how = { .path = slice_of("/t"), .flags = COPY_TREE };

		snprintf(to, sizeof(to), "/c%u", most);
		how.to = slice_of(to);
		assert_int_equal(rig_copy(rig, &how, most, NULL), 0);
		assert_int_equal(rig_totals(rig).files, before.files + 30);
		assert_int_equal(rig_totals(rig).directories, before.directories + 19);
		assert_int_equal(rig_totals(rig).chunks, before.chunks + 6 * 30);
		assert_int_equal(rig_rows(rig, "b"), 0);
		rig_check(rig);
	}
}

/* What happens to the source while it is copied, after so many steps of one. */
static int copy_disturbed(struct rig *rig, unsigned int steps, void disturb(struct rig *rig))
{
	const struct move how = { .path = slice_of("/t"),
				  .to = slice_of("/copy"),
				  .flags = COPY_TREE };
	struct tree_copy *copy;
	struct moved moved;
	int rc = copy_begin(rig->kv, &how, rig_next_id, rig, &copy);

	assert_int_equal(rc, 0);
	for (unsigned int i = 0; rc == 0 && i < steps; i++)
		rc = copy_step(rig->kv, copy, 1);
	disturb(rig);
	rig_check(rig);
	while (rc == 0)
		rc = copy_step(rig->kv, copy, 1);
	if (rc > 0)
		rc = copy_link(rig->kv, copy, rig_now(rig), &moved);
	if (rc < 0)
		assert_int_equal(copy_drop(rig->kv, copy, 200), 0);
	copy_free(copy);
	rig_check(rig);
	assert_int_equal(rig_rows(rig, "b"), 0);
	return rc;
}

static void disturb_remove(struct rig *rig)
{
	assert_int_equal(rig_remove(rig, "/t"), 0);
}

static void disturb_remove_last(struct rig *rig)
{
	assert_int_equal(rig_remove(rig, "/t/0"), 0);
}

static void disturb_format(struct rig *rig)
{
	assert_int_equal(
		catalogue_empty(rig->kv, rig->next_id++, rig_now(rig), &(struct removed){ 0 }), 0);
}

static void disturb_occupy(struct rig *rig)
{
	assert_int_equal(rig_put(rig, "/copy", 0, false), 0);
}

static void disturb_grow(struct rig *rig)
{
	assert_int_equal(rig_mkdir(rig, "/t/new"), 0);
}

static void test_the_source_changes_meanwhile(void **state)
{
	struct rig *rig = *state;

	for (unsigned int steps = 1; steps < 60; steps += 7) {
		tree_make(rig);
		assert_int_equal(copy_disturbed(rig, steps, disturb_remove), -ERR_STALE);
		assert_int_equal(rig_inode(rig, "/copy"), 0);
		rig_collect(rig);
	}
	tree_make(rig);
	assert_int_equal(copy_disturbed(rig, 10, disturb_remove_last), -ERR_STALE);
	assert_int_equal(copy_disturbed(rig, 10, disturb_occupy), -ERR_EXISTS);
	assert_int_equal(rig_remove(rig, "/copy"), 0);
	assert_int_equal(copy_disturbed(rig, 3, disturb_grow), 0);
	assert_int_not_equal(rig_inode(rig, "/copy/new"), 0);
	assert_int_equal(rig_remove(rig, "/copy"), 0);
	assert_int_equal(copy_disturbed(rig, 10, disturb_format), -ERR_STALE);
}

static void test_what_was_being_copied_is_garbage_after_a_restart(void **state)
{
	const struct move how = { .path = slice_of("/t"),
				  .to = slice_of("/copy"),
				  .flags = COPY_TREE };
	struct rig *rig = *state;
	struct tree_copy *copy;

	tree_make(rig);
	assert_int_equal(copy_begin(rig->kv, &how, rig_next_id, rig, &copy), 0);
	for (int i = 0; i < 25; i++)
		assert_int_equal(copy_step(rig->kv, copy, 3), 0);
	copy_free(copy);
	rig_check(rig);
	assert_int_equal(copies_drop(rig->kv, 100), 1);
	rig_check(rig);
	assert_int_equal(rig_collect(rig), 0);
	assert_int_equal(rig_rows(rig, "g"), 0);
	assert_int_equal(rig_rows(rig, "c"), rig_totals(rig).chunks);
}

/* ---- emptying ---- */

static void test_the_store_is_emptied_at_once(void **state)
{
	struct rig *rig = *state;
	struct removed removed;
	uint32_t before;
	uint64_t root;

	tree_make(rig);
	COPY(rig, "/t", "/u", COPY_TREE);
	rig_remove(rig, "/t");
	before = rig->kv->batch_count;
	assert_int_equal(catalogue_empty(rig->kv, 777, rig_now(rig), &removed), 0);
	assert_true(rig->kv->batch_count - before < 10);
	assert_int_equal(removed.entries, 2 * 49);
	rig_check(rig);
	assert_int_equal(rig_totals(rig).files, 0);
	assert_int_equal(rig_trash(rig).files, 0);
	assert_true(directory_is_empty(rig->kv, rig_inode(rig, "/")));
	rig->kv->root = 0; /* as if the rows had come from elsewhere */
	assert_int_equal(catalogue_root(rig->kv, &root), 0);
	assert_int_equal(root, 777);
	assert_int_equal(rig_restore(rig, "/t", ""), -ERR_NOT_FOUND);
	rig_put(rig, "/new", 2, false);
	trash_collect(rig->kv, &(struct trash_limit){ 0, 100, UINT64_MAX }, rig_now(rig),
		      &(struct removed){ 0 });
	assert_int_equal(rig_collect(rig), 6 * 30);
	rig_check(rig);
	assert_int_equal(rig_rows(rig, "i"), 2);
	assert_int_equal(rig_rows(rig, "c"), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
		TEST(test_inodes_know_their_paths),
		TEST(test_rename),
		TEST(test_a_directory_cannot_go_into_itself),
		TEST(test_nothing_gets_too_deep_or_too_long_a_path),
		TEST(test_trees_deeper_than_paths_can_be_handled),
		TEST(test_copies_share_chunks),
		TEST(test_where_a_copy_goes),
		TEST(test_a_copy_may_go_beside),
		TEST(test_a_tree_is_copied_in_steps_of_any_size),
		TEST(test_the_source_changes_meanwhile),
		TEST(test_what_was_being_copied_is_garbage_after_a_restart),
		TEST(test_the_store_is_emptied_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

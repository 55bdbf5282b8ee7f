#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "catalogue.h"
#include "kv_memory.h"
#include "random.h"

static const struct id cluster = { "cluster" };

struct rig {
	struct kv *kv;
	uint64_t next_id;
	uint64_t freed; /* chunks that the collector reported */
	uint64_t freed_sum;
	uint64_t held; /* inode that is being read, or 0 */
};

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));

	rig->next_id = 1000;
	assert_int_equal(kv_memory_new(&rig->kv), 0);
	assert_int_equal(catalogue_format(rig->kv, &cluster, "home"), 0);
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	kv_memory_free(rig->kv);
	free(rig);
	return 0;
}

static uint64_t next_id(void *context)
{
	return ((struct rig *)context)->next_id++;
}

static int make_directory(struct rig *rig, const char *path, bool parents)
{
	struct new_entry how = { .inode = rig->next_id++, .now_ms = 5, .parents = parents };

	return catalogue_mkdir(rig->kv, slice_of(path), &how, next_id, rig);
}

/* A file with `chunks` chunks of 10 bytes, whose ids are inode * 1000 + index. */
static int put_file(struct rig *rig, const char *path, uint32_t chunks, bool replace)
{
	struct chunk_row rows[64] = { 0 };
	struct new_file file = {
		.entry = { .inode = rig->next_id++, .now_ms = 7, .replace = replace },
		.size = chunks * 10,
		.chunk_size = 10,
		.chunks = rows,
		.chunk_count = chunks,
	};
	struct inode inode;

	for (uint32_t i = 0; i < chunks; i++)
		rows[i] = (struct chunk_row){ .chunk = file.entry.inode * 1000 + i, .length = 10 };
	return catalogue_put_file(rig->kv, slice_of(path), &file, 100, &inode);
}

static int find(struct rig *rig, const char *path, struct inode *ret)
{
	return catalogue_find(rig->kv, slice_of(path), ret);
}

static uint64_t inode_of(struct rig *rig, const char *path)
{
	struct inode inode;

	assert_int_equal(find(rig, path, &inode), 0);
	return inode.id;
}

static int remove_entry(struct rig *rig, const char *path, unsigned int flags, struct removed *ret)
{
	return catalogue_remove(rig->kv, slice_of(path), flags, (struct moment){ 100, 1 }, ret);
}

static bool is_held(void *context, uint64_t inode)
{
	return ((struct rig *)context)->held == inode;
}

static void on_freed(void *context, uint64_t chunk)
{
	struct rig *rig = context;

	rig->freed++;
	rig->freed_sum += chunk;
}

/* The trash lets go of everything first. */
static int collect(struct rig *rig, unsigned int most, uint64_t before_ms)
{
	const struct trash_limit all = { UINT64_MAX, UINT_MAX, UINT64_MAX };
	struct removed removed;
	struct garbage_how how = { before_ms, most, is_held, on_freed, rig };

	assert_true(trash_collect(rig->kv, &all, (struct moment){ 100, 0 }, &removed) >= 0);
	return catalogue_collect(rig->kv, &how);
}

static uint64_t rows_of(struct rig *rig, const char *kind)
{
	uint8_t space[KV_KEY_SIZE_MAX + 1];
	struct slice key = slice_of(kind), value;
	uint64_t count = 0;

	while (kv_seek(rig->kv, key, &key, &value) == 0 && key.data[0] == (uint8_t)kind[0]) {
		count++;
		key = kv_after(key, space);
	}
	return count;
}

static void assert_totals(struct rig *rig, struct totals expected)
{
	struct totals totals;

	assert_int_equal(totals_get(rig->kv, &totals), 0);
	assert_int_equal(totals.files, expected.files);
	assert_int_equal(totals.directories, expected.directories);
	assert_int_equal(totals.bytes, expected.bytes);
	assert_int_equal(totals.chunks, expected.chunks);
}

/* ---- names ---- */

static void test_a_new_catalogue_has_a_root(void **state)
{
	struct rig *rig = *state;
	struct inode inode;
	struct slice value;

	assert_int_equal(find(rig, "/", &inode), 0);
	assert_int_equal(inode.id, INODE_ROOT);
	assert_int_equal(inode.type, ENTRY_DIRECTORY);
	assert_int_equal(inode.copies, 0);
	assert_true(directory_is_empty(rig->kv, INODE_ROOT));
	assert_int_equal(setting_get(rig->kv, SETTING_CLUSTER, &value), 0);
	assert_memory_equal(value.data, cluster.bytes, ID_SIZE);
	assert_int_equal(setting_get(rig->kv, SETTING_CLUSTER_NAME, &value), 0);
	assert_true(slice_equal(value, slice_of("home")));
	assert_totals(rig, (struct totals){ 0 });
}

static void test_mkdir_checks_what_is_there(void **state)
{
	struct rig *rig = *state;

	assert_int_equal(make_directory(rig, "/a", false), 0);
	assert_int_equal(put_file(rig, "/f", 0, false), 0);
	assert_int_equal(make_directory(rig, "/a", false), -ERR_EXISTS);
	assert_int_equal(make_directory(rig, "/f", false), -ERR_EXISTS);
	assert_int_equal(make_directory(rig, "/", false), -ERR_EXISTS);
	assert_int_equal(make_directory(rig, "/x/y", false), -ERR_NOT_FOUND);
	assert_int_equal(make_directory(rig, "/f/y", false), -ERR_NOT_DIR);
	assert_int_equal(make_directory(rig, "/f/y/z", true), -ERR_NOT_DIR);
	assert_int_equal(make_directory(rig, "/f", true), -ERR_EXISTS);
	assert_totals(rig, (struct totals){ .files = 1, .directories = 1 });
}

static void test_mkdir_with_parents(void **state)
{
	struct rig *rig = *state;
	struct inode inode, end;

	assert_int_equal(make_directory(rig, "/a/b/c", true), 0);
	assert_int_equal(make_directory(rig, "/a/b/c", true), 0);
	assert_int_equal(make_directory(rig, "/", true), 0);
	assert_int_equal(make_directory(rig, "/a/b/d/e", true), 0);
	assert_int_equal(find(rig, "/a/b", &inode), 0);
	assert_int_equal(find(rig, "/a/b/c", &end), 0);
	assert_int_equal(end.type, ENTRY_DIRECTORY);
	assert_int_equal(end.id, 1000);
	assert_int_not_equal(inode.id, end.id);
	assert_totals(rig, (struct totals){ .directories = 5 });
}

static void test_files_are_found(void **state)
{
	struct rig *rig = *state;
	struct chunk_row chunk;
	struct slice name;
	struct inode inode;
	uint64_t owner, end;

	make_directory(rig, "/a", false);
	assert_int_equal(put_file(rig, "/a/f", 3, false), 0);
	assert_int_equal(find(rig, "/a/f", &inode), 0);
	assert_int_equal(inode.type, ENTRY_FILE);
	assert_int_equal(inode.size, 30);
	assert_int_equal(inode.version, 1);
	assert_int_equal(inode.chunks, 3);
	assert_int_equal(inode.created_ms, 7);
	assert_int_equal(catalogue_chunk_at(rig->kv, inode.id, 20, &chunk), 0);
	assert_int_equal(chunk.chunk, inode.id * 1000 + 2);
	assert_int_equal(chunk.length, 10);
	assert_int_equal(chunk.end, 30);
	assert_int_equal(catalogue_chunk_at(rig->kv, inode.id, 19, &chunk), 0);
	assert_int_equal(chunk.end, 20);
	assert_int_equal(catalogue_chunk_at(rig->kv, inode.id, UINT64_MAX, &chunk), -ERR_NOT_FOUND);
	assert_int_equal(catalogue_chunk_at(rig->kv, inode.id, 30, &chunk), -ERR_NOT_FOUND);
	assert_int_equal(chunk_owner(rig->kv, inode.id * 1000 + 1, 0, &owner, &end), 0);
	assert_int_equal(owner, inode.id);
	assert_int_equal(end, 20);
	assert_int_equal(chunk_owner(rig->kv, inode.id * 1000 + 1, owner, &owner, &end),
			 -ERR_NOT_FOUND);
	assert_int_equal(chunk_owner(rig->kv, 5, 0, &owner, &end), -ERR_NOT_FOUND);
	assert_int_equal(find(rig, "/a/g", &inode), -ERR_NOT_FOUND);
	assert_int_equal(find(rig, "/a/f/g", &inode), -ERR_NOT_DIR);
	assert_int_equal(find(rig, "/x/f", &inode), -ERR_NOT_FOUND);
	assert_int_equal(catalogue_find_parent(rig->kv, slice_of("/a/new"), &inode, &name), 0);
	assert_int_equal(inode.id, 1000);
	assert_true(slice_equal(name, slice_of("new")));
	assert_int_equal(catalogue_find_parent(rig->kv, slice_of("/a/f/g"), &inode, &name),
			 -ERR_NOT_DIR);
	assert_totals(rig, (struct totals){ 1, 1, 30, 3 });
}

static void test_inodes_keep_all_their_fields(void **state)
{
	struct rig *rig = *state;
	struct inode inode, back;

	memset(&inode, 0, sizeof(inode));
	memset(&back, 0, sizeof(back));
	inode.id = 0x123456789a;
	inode.type = ENTRY_FILE;
	inode.size = UINT64_MAX - 1;
	inode.version = 1ull << 40;
	inode.created_ms = 2ull << 40;
	inode.modified_ms = 3ull << 40;
	inode.mode = 0100644;
	inode.uid = 1000;
	inode.gid = UINT32_MAX;
	inode.copies = 9;
	inode.chunk_size = CHUNK_SIZE_MAX;
	inode.chunks = UINT32_MAX;
	inode.digest_known = true;
	memset(&inode.digest, 0xab, sizeof(inode.digest));
	assert_int_equal(inode_put(rig->kv, &inode), 0);
	assert_int_equal(inode_get(rig->kv, inode.id, &back), 0);
	assert_int_equal(back.id, inode.id);
	assert_int_equal(back.type, inode.type);
	assert_int_equal(back.size, inode.size);
	assert_int_equal(back.version, inode.version);
	assert_int_equal(back.created_ms, inode.created_ms);
	assert_int_equal(back.modified_ms, inode.modified_ms);
	assert_int_equal(back.mode, inode.mode);
	assert_int_equal(back.uid, inode.uid);
	assert_int_equal(back.gid, inode.gid);
	assert_int_equal(back.copies, inode.copies);
	assert_int_equal(back.chunk_size, inode.chunk_size);
	assert_int_equal(back.chunks, inode.chunks);
	assert_true(back.digest_known);
	assert_true(digest_equal(&back.digest, &inode.digest));
}

static void test_a_row_of_another_version_is_refused(void **state)
{
	struct rig *rig = *state;
	uint8_t row[72] = { 2 };
	struct inode inode;

	assert_int_equal(kv_put(rig->kv, (struct slice){ (const uint8_t *)"i\0\0\0\0\0\0\0\1", 9 },
				(struct slice){ row, sizeof(row) }),
			 0);
	assert_int_equal(find(rig, "/", &inode), -ERR_BAD_FORMAT);
}

static void test_a_file_is_replaced_only_if_asked(void **state)
{
	struct rig *rig = *state;
	struct inode before, after;
	uint8_t copies = 0;

	make_directory(rig, "/a", false);
	assert_int_equal(put_file(rig, "/f", 2, false), 0);
	assert_int_equal(put_file(rig, "/f", 1, false), -ERR_EXISTS);
	assert_int_equal(put_file(rig, "/a", 1, true), -ERR_IS_DIR);
	assert_int_equal(put_file(rig, "/", 1, true), -ERR_IS_DIR);
	assert_int_equal(put_file(rig, "/x/f", 1, false), -ERR_NOT_FOUND);
	assert_int_equal(put_file(rig, "/f/f", 1, false), -ERR_NOT_DIR);
	assert_int_equal(catalogue_check_file(rig->kv, slice_of("/f"), false, &copies),
			 -ERR_EXISTS);
	assert_int_equal(catalogue_check_file(rig->kv, slice_of("/f"), true, &copies), 0);
	assert_int_equal(copies, 0);
	find(rig, "/f", &before);
	assert_int_equal(rows_of(rig, "t"), 0);
	assert_int_equal(put_file(rig, "/f", 5, true), 0);
	find(rig, "/f", &after);
	assert_int_not_equal(before.id, after.id);
	assert_int_equal(after.version, 2);
	assert_int_equal(after.size, 50);
	assert_int_equal(rows_of(rig, "t"), 1);
	assert_int_equal(inode_get(rig->kv, before.id, &before), 0);
	assert_totals(rig, (struct totals){ 1, 1, 50, 5 });
	assert_int_equal(collect(rig, 100, 101), 3);
	assert_int_equal(rig->freed, 2);
	assert_int_equal(inode_get(rig->kv, before.id, &before), -ERR_NOT_FOUND);
	assert_int_equal(rows_of(rig, "c"), 5);
	assert_int_equal(rows_of(rig, "k"), 5);
}

static void test_a_file_too_large_for_the_batch_changes_nothing(void **state)
{
	struct rig *rig = *state;
	struct new_file file = { .entry = { .inode = 9 }, .chunk_count = 1000 * 1000 };
	uint32_t before = rig->kv->batch_count;
	struct inode inode;

	assert_int_equal(catalogue_put_file(rig->kv, slice_of("/f"), &file, 0, &inode),
			 -ERR_TOO_LARGE);
	assert_int_equal(rig->kv->batch_count, before);
	assert_int_equal(find(rig, "/f", &inode), -ERR_NOT_FOUND);
}

static void test_copies_are_inherited(void **state)
{
	struct rig *rig = *state;
	struct new_entry how = { .inode = 50, .copies = 5 };
	struct inode inode;

	assert_int_equal(catalogue_mkdir(rig->kv, slice_of("/a"), &how, NULL, NULL), 0);
	make_directory(rig, "/a/b/c", true);
	put_file(rig, "/a/b/c/f", 1, false);
	find(rig, "/a/b/c/f", &inode);
	assert_int_equal(inode.copies, 5);
	assert_int_equal(catalogue_set_copies(rig->kv, slice_of("/a/b/c"), 2, &inode), 0);
	assert_int_equal(inode.copies, 2);
	find(rig, "/a/b/c/f", &inode);
	assert_int_equal(inode.copies, 5);
	put_file(rig, "/a/b/c/g", 1, false);
	find(rig, "/a/b/c/g", &inode);
	assert_int_equal(inode.copies, 2);
	assert_int_equal(catalogue_set_copies(rig->kv, slice_of("/x"), 2, &inode), -ERR_NOT_FOUND);
}

static void test_a_directory_is_listed_in_order(void **state)
{
	struct rig *rig = *state;
	static const char *const names[] = { "\x01", "B", "a", "a.b", "ab", "\xff\xff" };
	struct slice name = { 0 };
	struct inode inode;
	char path[32];

	make_directory(rig, "/d", false);
	make_directory(rig, "/e", false);
	put_file(rig, "/e/other", 0, false);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "/d/%s", names[ARRAY_SIZE(names) - 1 - i]);
		assert_int_equal(put_file(rig, path, 1, false), 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		assert_int_equal(dirent_next(rig->kv, 1000, name, &name, &inode), 0);
		assert_true(slice_equal(name, slice_of(names[i])));
		assert_int_equal(inode.size, 10);
	}
	assert_int_equal(dirent_next(rig->kv, 1000, name, &name, &inode), -ERR_NOT_FOUND);
	assert_int_equal(dirent_next(rig->kv, 1000, slice_of("aa"), &name, &inode), 0);
	assert_true(slice_equal(name, slice_of("ab")));
}

/* ---- removing ---- */

static void test_remove_checks_what_is_there(void **state)
{
	struct rig *rig = *state;
	struct removed removed;

	make_directory(rig, "/a/b", true);
	put_file(rig, "/f", 1, false);
	assert_int_equal(remove_entry(rig, "/x", 0, &removed), -ERR_NOT_FOUND);
	assert_int_equal(remove_entry(rig, "/x/y", 0, &removed), -ERR_NOT_FOUND);
	assert_int_equal(remove_entry(rig, "/f/y", 0, &removed), -ERR_NOT_DIR);
	assert_int_equal(remove_entry(rig, "/f", REMOVE_DIRECTORY, &removed), -ERR_NOT_DIR);
	assert_int_equal(remove_entry(rig, "/a", 0, &removed), -ERR_NOT_EMPTY);
	assert_int_equal(remove_entry(rig, "/a", REMOVE_DIRECTORY, &removed), -ERR_NOT_EMPTY);
	assert_int_equal(remove_entry(rig, "/", REMOVE_TREE, &removed), -ERR_BAD_NAME);
	assert_int_equal(remove_entry(rig, "/a/b", REMOVE_DIRECTORY, &removed), 0);
	assert_int_equal(removed.entries, 1);
	assert_int_equal(remove_entry(rig, "/a", 0, &removed), 0);
	assert_int_equal(remove_entry(rig, "/f", 0, &removed), 0);
	assert_int_equal(removed.entries, 1);
	assert_int_equal(removed.bytes, 10);
	assert_true(directory_is_empty(rig->kv, INODE_ROOT));
	assert_totals(rig, (struct totals){ 0 });
}

static void tree_make(struct rig *rig)
{
	char path[64];

	for (int i = 0; i < 5; i++) {
		snprintf(path, sizeof(path), "/t/%d/sub", i);
		assert_int_equal(make_directory(rig, path, true), 0);
		for (int j = 0; j < 7; j++) {
			snprintf(path, sizeof(path), "/t/%d/f%d", i, j);
			assert_int_equal(put_file(rig, path, (uint32_t)j, false), 0);
			snprintf(path, sizeof(path), "/t/%d/sub/f%d", i, j);
			assert_int_equal(put_file(rig, path, 1, false), 0);
		}
	}
}

enum { TREE_DIRECTORIES = 11, TREE_FILES = 70, TREE_CHUNKS = 5 * (21 + 7) };

static void test_a_tree_goes_in_one_step(void **state)
{
	struct rig *rig = *state;
	struct removed removed;
	struct inode inode;
	uint32_t before;

	put_file(rig, "/stays", 3, false);
	tree_make(rig);
	assert_totals(rig, (struct totals){ TREE_FILES + 1, TREE_DIRECTORIES,
					    (TREE_CHUNKS + 3) * 10, TREE_CHUNKS + 3 });
	before = rig->kv->batch_count;
	assert_int_equal(remove_entry(rig, "/t", REMOVE_TREE, &removed), 0);
	assert_int_equal(removed.entries, TREE_FILES + TREE_DIRECTORIES);
	assert_int_equal(removed.bytes, TREE_CHUNKS * 10);
	assert_int_equal(rig->kv->batch_count - before, 6);
	assert_int_equal(rows_of(rig, "t"), 1);
	assert_int_equal(find(rig, "/t/1/f1", &inode), -ERR_NOT_FOUND);
	assert_totals(rig, (struct totals){ 1, 0, 30, 3 });
}

static void assert_only_the_root_is_left(struct rig *rig)
{
	assert_false(catalogue_has_garbage(rig->kv));
	assert_int_equal(rows_of(rig, "i"), 1);
	assert_int_equal(rows_of(rig, "d"), 0);
	assert_int_equal(rows_of(rig, "n"), 0);
	assert_int_equal(rows_of(rig, "c"), 0);
	assert_int_equal(rows_of(rig, "k"), 0);
}

static void test_garbage_is_collected_in_steps_of_any_size(void **state)
{
	struct rig *rig = *state;

	for (unsigned int most = 1; most < 300; most = most * 2 + 1) {
		uint64_t inode, end, expected = 0;
		struct removed removed;
		struct inode file;
		char path[64];
		int steps;

		tree_make(rig);
		for (int i = 0; i < 5; i++) {
			for (int j = 0; j < 7; j++) {
				snprintf(path, sizeof(path), "/t/%d/f%d", i, j);
				find(rig, path, &file);
				for (uint32_t k = 0; k < file.chunks; k++)
					expected += file.id * 1000 + k;
				snprintf(path, sizeof(path), "/t/%d/sub/f%d", i, j);
				expected += inode_of(rig, path) * 1000;
			}
		}
		rig->freed = rig->freed_sum = 0;
		file.id = inode_of(rig, "/t/4/sub/f6");
		remove_entry(rig, "/t", REMOVE_TREE, &removed);
		assert_int_equal(chunk_owner(rig->kv, file.id * 1000, 0, &inode, &end), 0);
		assert_int_equal(collect(rig, most, 100), 0);
		while ((steps = collect(rig, most, 101)) == (int)most)
			assert_true(rig->freed <= TREE_CHUNKS);
		assert_true(steps >= 0);
		assert_int_equal(rig->freed, TREE_CHUNKS);
		assert_int_equal(rig->freed_sum, expected);
		assert_only_the_root_is_left(rig);
	}
}

static void test_what_is_being_read_waits(void **state)
{
	struct rig *rig = *state;
	struct removed removed;
	struct inode inode;

	tree_make(rig);
	rig->held = inode_of(rig, "/t/2/sub/f3");
	remove_entry(rig, "/t", REMOVE_TREE, &removed);
	while (collect(rig, 10, 101) == 10)
		;
	assert_int_equal(collect(rig, 10, 101), 0);
	assert_int_equal(rig->freed, TREE_CHUNKS - 1);
	assert_int_equal(rows_of(rig, "g"), 1);
	assert_int_equal(inode_get(rig->kv, rig->held, &inode), 0);
	assert_int_equal(rows_of(rig, "d"), 0);
	rig->held = 0;
	assert_int_equal(collect(rig, 10, 101), 2);
	assert_int_equal(rig->freed, TREE_CHUNKS);
	assert_only_the_root_is_left(rig);
}

static void test_the_deepest_tree_can_go(void **state)
{
	struct rig *rig = *state;
	char path[2 * PATH_DEPTH_MAX + 1];
	struct removed removed;

	for (int i = 0; i < PATH_DEPTH_MAX; i++)
		memcpy(path + 2 * i, "/d", 3);
	assert_int_equal(make_directory(rig, path, true), 0);
	assert_int_equal(remove_entry(rig, "/d", REMOVE_TREE, &removed), 0);
	assert_int_equal(removed.entries, PATH_DEPTH_MAX);
	while (collect(rig, 3, 101) == 3)
		;
	assert_only_the_root_is_left(rig);
}

static void count_below(struct rig *rig, uint64_t directory, struct totals *sum)
{
	char last[NAME_SIZE_MAX];
	struct slice name = { 0 };
	struct inode inode;

	while (dirent_next(rig->kv, directory, name, &name, &inode) == 0) {
		memcpy(last, name.data, name.size);
		name.data = (const uint8_t *)last;
		if (inode.type == ENTRY_DIRECTORY) {
			sum->directories++;
			count_below(rig, inode.id, sum);
			continue;
		}
		sum->files++;
		sum->bytes += inode.size;
		sum->chunks += inode.chunks;
	}
}

static void random_path(struct prng *prng, char *ret, size_t size)
{
	int depth = 1 + (int)prng_below(prng, 3);
	int at = 0;

	for (int i = 0; i < depth; i++)
		at += snprintf(ret + at, size - (size_t)at, "/%d", (int)prng_below(prng, 3));
}

static void test_totals_follow_whatever_happens(void **state)
{
	struct rig *rig = *state;
	struct prng prng = { 4 };

	for (int i = 0; i < 3000; i++) {
		struct totals counted = { 0 };
		struct removed removed;
		char path[32];

		random_path(&prng, path, sizeof(path));
		switch (prng_below(&prng, 6)) {
		case 0: make_directory(rig, path, prng_below(&prng, 2)); break;
		case 1: remove_entry(rig, path, REMOVE_TREE, &removed); break;
		case 2: collect(rig, 3, 101); break;
		default: put_file(rig, path, (uint32_t)prng_below(&prng, 4), true);
		}
		count_below(rig, INODE_ROOT, &counted);
		assert_totals(rig, counted);
	}
	remove_entry(rig, "/0", REMOVE_TREE, &(struct removed){ 0 });
	remove_entry(rig, "/1", REMOVE_TREE, &(struct removed){ 0 });
	remove_entry(rig, "/2", REMOVE_TREE, &(struct removed){ 0 });
	while (collect(rig, 100, 101) == 100)
		;
	assert_only_the_root_is_left(rig);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_new_catalogue_has_a_root),
		TEST(test_mkdir_checks_what_is_there),
		TEST(test_mkdir_with_parents),
		TEST(test_files_are_found),
		TEST(test_inodes_keep_all_their_fields),
		TEST(test_a_row_of_another_version_is_refused),
		TEST(test_a_file_is_replaced_only_if_asked),
		TEST(test_a_file_too_large_for_the_batch_changes_nothing),
		TEST(test_copies_are_inherited),
		TEST(test_a_directory_is_listed_in_order),
		TEST(test_remove_checks_what_is_there),
		TEST(test_a_tree_goes_in_one_step),
		TEST(test_garbage_is_collected_in_steps_of_any_size),
		TEST(test_what_is_being_read_waits),
		TEST(test_the_deepest_tree_can_go),
		TEST(test_totals_follow_whatever_happens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

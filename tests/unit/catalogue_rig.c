#include "catalogue_rig.h"

#include <stdlib.h>
#include <string.h>

int rig_setup(void **state)
{
	static const struct id cluster = { "cluster" };
	struct rig *rig = calloc(1, sizeof(*rig));

	rig->next_id = 1000;
	rig->uptime_ms = 100;
	assert_int_equal(kv_memory_new(&rig->kv), 0);
	assert_int_equal(catalogue_format(rig->kv, &cluster, "home"), 0);
	*state = rig;
	return 0;
}

int rig_teardown(void **state)
{
	struct rig *rig = *state;

	kv_memory_free(rig->kv);
	free(rig);
	return 0;
}

uint64_t rig_next_id(void *rig)
{
	return ((struct rig *)rig)->next_id++;
}

struct moment rig_now(const struct rig *rig)
{
	return (struct moment){ rig->uptime_ms, 1000000 + rig->uptime_ms };
}

int rig_mkdir(struct rig *rig, const char *path)
{
	struct new_entry how = { .inode = rig->next_id++, .now_ms = 5, .parents = true };

	return catalogue_mkdir(rig->kv, slice_of(path), &how, rig_next_id, rig);
}

int rig_put(struct rig *rig, const char *path, uint32_t chunks, bool replace)
{
	struct chunk_row *rows = calloc(chunks + 1, sizeof(*rows));
	struct new_file file = {
		.entry = { .inode = rig->next_id++, .now_ms = 7, .replace = replace },
		.size = (uint64_t)chunks * 10,
		.chunk_size = 10,
		.chunks = rows,
		.chunk_count = chunks,
	};
	struct inode inode;
	int rc;

	for (uint32_t i = 0; i < chunks; i++)
		rows[i] = (struct chunk_row){ .chunk = rig->next_chunk + 1 + i, .length = 10 };
	rc = catalogue_put_file(rig->kv, slice_of(path), &file, rig->uptime_ms, &inode);
	rig->next_chunk += rc == 0 ? chunks : 0;
	free(rows);
	return rc;
}

uint64_t rig_inode(struct rig *rig, const char *path)
{
	struct inode inode;

	return catalogue_find(rig->kv, slice_of(path), &inode) == 0 ? inode.id : 0;
}

int rig_remove(struct rig *rig, const char *path)
{
	struct removed removed;

	return catalogue_remove(rig->kv, slice_of(path), REMOVE_TREE, rig_now(rig), &removed);
}

int rig_rename(struct rig *rig, const char *path, const char *to, unsigned int flags)
{
	struct move how = { slice_of(path), slice_of(to), flags, rig_now(rig) };
	struct moved moved;

	return catalogue_rename(rig->kv, &how, &moved);
}

int rig_copy(struct rig *rig, const struct move *how, unsigned int most, char *ret)
{
	struct tree_copy *copy;
	struct moved moved;
	int rc = copy_begin(rig->kv, how, rig_next_id, rig, &copy);

	if (rc < 0)
		return rc;
	while ((rc = copy_step(rig->kv, copy, most)) == 0)
		rig_check(rig);
	if (rc > 0)
		rc = copy_link(rig->kv, copy, rig_now(rig), &moved);
	if (rc < 0)
		assert_int_equal(copy_drop(rig->kv, copy, rig->uptime_ms), 0);
	else if (ret)
		memcpy(ret, moved.path, moved.path_size);
	if (rc == 0 && ret)
		ret[moved.path_size] = '\0';
	copy_free(copy);
	return rc;
}

int rig_restore(struct rig *rig, const char *path, const char *to)
{
	struct restore how = { .path = slice_of(path), .to = slice_of(to), .now_ms = 9 };
	struct removed back;

	return catalogue_restore(rig->kv, &how, rig_next_id, rig, &back);
}

uint64_t rig_rows(struct rig *rig, const char *kind)
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

static bool is_held(void *context, uint64_t inode)
{
	return ((struct rig *)context)->held == inode;
}

static void on_freed(void *context, uint64_t chunk)
{
	(void)chunk;
	((struct rig *)context)->freed++;
}

uint64_t rig_collect(struct rig *rig)
{
	struct garbage_how how = { UINT64_MAX, 7, is_held, on_freed, rig };
	uint64_t before = rig->freed;

	while (catalogue_collect(rig->kv, &how) == 7)
		rig_check(rig);
	return rig->freed - before;
}

struct totals rig_totals(struct rig *rig)
{
	struct totals totals;

	assert_int_equal(totals_get(rig->kv, &totals), 0);
	return totals;
}

struct totals rig_trash(struct rig *rig)
{
	struct trash_state state;

	assert_int_equal(trash_state_get(rig->kv, &state), 0);
	return state.totals;
}

/* ---- what rows say of each other ---- */

static void totals_equal(struct totals a, struct totals b)
{
	assert_int_equal(a.files, b.files);
	assert_int_equal(a.directories, b.directories);
	assert_int_equal(a.bytes, b.bytes);
	assert_int_equal(a.chunks, b.chunks);
}

static uint64_t chunks_of(struct rig *rig, uint64_t inode)
{
	struct chunk_row chunk = { 0 };
	uint64_t count = 0;

	while (catalogue_chunk_at(rig->kv, inode, chunk.end, &chunk) == 0) {
		uint64_t owner, end;

		assert_int_equal(chunk_owner(rig->kv, chunk.chunk, inode - 1, &owner, &end), 0);
		assert_int_equal(owner, inode);
		assert_int_equal(end, chunk.end);
		count++;
	}
	return count;
}

/* Adds all that hangs below the inode, without it. */
static void below(struct rig *rig, uint64_t directory, struct totals *sum)
{
	char last[NAME_SIZE_MAX];
	struct slice name = { 0 };
	struct inode inode;

	while (dirent_next(rig->kv, directory, name, &name, &inode) == 0) {
		memcpy(last, name.data, name.size);
		name.data = (uint8_t *)last;
		sum->files += inode.type == ENTRY_FILE;
		sum->directories += inode.type == ENTRY_DIRECTORY;
		sum->bytes += inode.size;
		sum->chunks += chunks_of(rig, inode.id);
		if (inode.type == ENTRY_DIRECTORY)
			below(rig, inode.id, sum);
	}
}

static struct totals of_tree(struct rig *rig, uint64_t id, bool itself)
{
	struct totals sum = { 0 };
	struct inode inode;

	if (inode_get(rig->kv, id, &inode) < 0)
		return sum;
	sum.chunks = chunks_of(rig, id);
	sum.files = itself && inode.type == ENTRY_FILE;
	sum.directories = itself && inode.type == ENTRY_DIRECTORY;
	sum.bytes = itself ? inode.size : 0;
	below(rig, id, &sum);
	return sum;
}

/* Each name leads to an inode that knows the name. */
static void names_check(struct rig *rig)
{
	uint8_t space[KV_KEY_SIZE_MAX + 1], back[9] = "n";
	struct slice key = slice_of("d"), value;

	while (kv_seek(rig->kv, key, &key, &value) == 0 && key.data[0] == 'd') {
		struct slice found, name = { key.data + 9, key.size - 9 };
		uint64_t parent = get_be64(key.data + 1);

		put_be64(back + 1, get_u64(value.data + 1));
		assert_int_equal(kv_get(rig->kv, (struct slice){ back, sizeof(back) }, &found), 0);
		assert_int_equal(get_u64(found.data + 1), parent);
		assert_true(slice_equal((struct slice){ found.data + 9, found.size - 9 }, name));
		key = kv_after(key, space);
	}
	assert_int_equal(rig_rows(rig, "n"), rig_rows(rig, "d"));
	assert_int_equal(rig_rows(rig, "k"), rig_rows(rig, "c"));
	assert_int_equal(rig_rows(rig, "u"), rig_rows(rig, "t"));
}

static void add(struct totals *sum, struct totals more)
{
	sum->files += more.files;
	sum->directories += more.directories;
	sum->bytes += more.bytes;
	sum->chunks += more.chunks;
}

/* The trash as its rows have it, and the chunks of what it has let go but not handed on. */
static void trash_check(struct rig *rig, uint64_t *let_go)
{
	struct trash_row row = { 0 };
	struct trash_state state;
	struct totals all = { 0 };

	assert_int_equal(trash_state_get(rig->kv, &state), 0);
	while (trash_next(rig->kv, row.since_ms, row.inode, &row) == 0) {
		struct totals tree = of_tree(rig, row.inode, true);

		totals_equal(row.totals, tree);
		if (row.since_ms >= state.first_ms)
			add(&all, tree);
		else
			*let_go += tree.chunks;
	}
	totals_equal(all, state.totals);
}

static uint64_t listed_chunks(struct rig *rig, const char *kind, size_t at)
{
	uint8_t space[KV_KEY_SIZE_MAX + 1];
	struct slice key = slice_of(kind), value;
	uint64_t count = 0;

	while (kv_seek(rig->kv, key, &key, &value) == 0 && key.data[0] == (uint8_t)kind[0]) {
		count += of_tree(rig, get_be64(key.data + at), true).chunks;
		key = kv_after(key, space);
	}
	return count;
}

void rig_check(struct rig *rig)
{
	uint64_t root, garbage, let_go = 0, all = rig_rows(rig, "c");
	struct totals named;

	assert_int_equal(catalogue_root(rig->kv, &root), 0);
	named = of_tree(rig, root, false);
	names_check(rig);
	totals_equal(rig_totals(rig), named);
	trash_check(rig, &let_go);
	assert_int_equal(garbage_chunks(rig->kv, &garbage), 0);
	assert_int_equal(garbage, listed_chunks(rig, "g", 9) + let_go);
	assert_int_equal(all, named.chunks + rig_trash(rig).chunks + garbage +
				      listed_chunks(rig, "b", 1));
}

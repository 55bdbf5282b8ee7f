/* The trash, rows "t" in the order of removal and "u" by path: trees that have lost their name and
 * wait, each with what it counts. The tree itself stays as it was, below an inode without a
 * name. */
#include "hash.h"
#include "path.h"
#include "rows.h"

enum {
	TRASH_FIXED = 1 + 8 + TOTALS_SIZE,
	TRASH_STATE_SIZE = TOTALS_SIZE + 2 * 8,
	EXPLAINED_TRIES = 256, /* removed directories of one path that restoring looks into */
};

/* ---- what all of it counts ---- */

int trash_state_get(struct kv *kv, struct trash_state *ret)
{
	struct slice value;
	int rc = setting_get(kv, SETTING_TRASH, &value);

	*ret = (struct trash_state){ 0 };
	if (rc < 0)
		return rc == -ERR_NOT_FOUND ? 0 : rc;
	if (value.size != TRASH_STATE_SIZE)
		return -ERR_BAD_FORMAT;
	totals_decode(value.data, &ret->totals);
	ret->last_ms = get_u64(value.data + TOTALS_SIZE);
	ret->first_ms = get_u64(value.data + TOTALS_SIZE + 8);
	return 0;
}

static int trash_state_put(struct kv *kv, const struct trash_state *state)
{
	uint8_t bytes[TRASH_STATE_SIZE];

	totals_encode(&state->totals, bytes);
	put_u64(bytes + TOTALS_SIZE, state->last_ms);
	put_u64(bytes + TOTALS_SIZE + 8, state->first_ms);
	return setting_put(kv, SETTING_TRASH, (struct slice){ bytes, sizeof(bytes) });
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* ---- rows ---- */

/* By path, the newest first. */
static struct slice key_of_path(uint8_t *space, struct slice path, uint64_t since_ms,
				uint64_t inode)
{
	struct digest digest = digest_of(path.data, path.size);

	space[0] = 'u';
	memcpy(space + 1, digest.bytes, DIGEST_SIZE);
	put_be64(space + 1 + DIGEST_SIZE, ~since_ms);
	put_be64(space + 1 + DIGEST_SIZE + 8, ~inode);
	return (struct slice){ space, 1 + DIGEST_SIZE + 16 };
}

static int trash_row_put(struct kv *kv, const struct trash_row *row)
{
	uint8_t value[1 + TRASH_FIXED + PATH_SIZE_MAX] = { ROW_VERSION };
	uint8_t space[ROW_KEY_MAX];

	value[1] = row->type;
	put_u64(value + 2, row->removed_ms);
	totals_encode(&row->totals, value + 10);
	memcpy(value + 1 + TRASH_FIXED, row->path.data, row->path.size);
	return kv_put(kv, key_pair(space, "t", row->since_ms, row->inode),
		      (struct slice){ value, 1 + TRASH_FIXED + row->path.size });
}

static int trash_row_decode(struct slice key, struct slice value, struct trash_row *ret)
{
	if (value.size < 1 + TRASH_FIXED || value.data[0] != ROW_VERSION)
		return -ERR_BAD_FORMAT;
	ret->since_ms = get_be64(key.data + 1);
	ret->inode = get_be64(key.data + 9);
	ret->type = value.data[1];
	ret->removed_ms = get_u64(value.data + 2);
	totals_decode(value.data + 10, &ret->totals);
	ret->path = (struct slice){ value.data + 1 + TRASH_FIXED, value.size - 1 - TRASH_FIXED };
	return 0;
}

static int trash_rows_remove(struct kv *kv, const struct trash_row *row)
{
	uint8_t space[ROW_KEY_MAX];
	int rc = kv_remove(kv, key_of_path(space, row->path, row->since_ms, row->inode));

	return rc < 0 ? rc : kv_remove(kv, key_pair(space, "t", row->since_ms, row->inode));
}

int trash_put(struct kv *kv, struct trash_row *row)
{
	const uint8_t value[] = { ROW_VERSION };
	uint8_t space[ROW_KEY_MAX];
	struct trash_state state;
	int rc = trash_state_get(kv, &state);

	if (rc < 0)
		return rc;
	/* Also where the running time stands still or has lost some: after every other. Inodes tell
	 * nothing of the order, what was renamed is older than its name. */
	row->since_ms = later(row->since_ms, later(state.last_ms + 1, state.first_ms));
	state.last_ms = row->since_ms;
	totals_sum(&state.totals, &row->totals);
	rc = trash_row_put(kv, row);
	if (rc == 0)
		rc = kv_put(kv, key_of_path(space, row->path, row->since_ms, row->inode),
			    (struct slice){ value, sizeof(value) });
	return rc < 0 ? rc : trash_state_put(kv, &state);
}

int trash_next(struct kv *kv, uint64_t since_ms, uint64_t inode, struct trash_row *ret)
{
	uint8_t space[ROW_KEY_MAX], next[KV_KEY_SIZE_MAX + 1];
	struct slice start = key_pair(space, "t", since_ms, inode);
	struct slice key, value;
	int rc = kv_seek(kv, kv_after(start, next), &key, &value);

	if (rc < 0)
		return rc;
	if (key.size != start.size || key.data[0] != 't')
		return -ERR_NOT_FOUND;
	return trash_row_decode(key, value, ret);
}

/* The next older one of the same path; `after` NULL: the newest. */
static int trash_of_path(struct kv *kv, struct slice path, const struct trash_row *after,
			 struct trash_row *ret)
{
	uint8_t space[ROW_KEY_MAX], next[KV_KEY_SIZE_MAX + 1];
	struct slice start = key_of_path(space, path, UINT64_MAX, UINT64_MAX);
	struct slice key, value;
	int rc;

	if (after)
		start = kv_after(key_of_path(space, path, after->since_ms, after->inode), next);
	rc = kv_seek(kv, start, &key, &value);
	if (rc < 0)
		return rc;
	if (key.size != 1 + DIGEST_SIZE + 16 || memcmp(key.data, space, 1 + DIGEST_SIZE) != 0)
		return -ERR_NOT_FOUND;
	ret->since_ms = ~get_be64(key.data + 1 + DIGEST_SIZE);
	ret->inode = ~get_be64(key.data + 1 + DIGEST_SIZE + 8);
	start = key_pair(space, "t", ret->since_ms, ret->inode);
	rc = row_expected(kv_get(kv, start, &value));
	return rc < 0 ? rc : trash_row_decode(start, value, ret);
}

/* ---- letting go ---- */

static int trash_release(struct kv *kv, const struct trash_row *row, struct moment when,
			 struct trash_state *state)
{
	int rc = trash_rows_remove(kv, row);

	if (rc == 0)
		rc = garbage_put(kv, when.uptime_ms, row->inode);
	if (rc < 0 || row->since_ms < state->first_ms)
		return rc;
	totals_subtract(&state->totals, &row->totals);
	return garbage_count(kv, (int64_t)row->totals.chunks);
}

int trash_collect(struct kv *kv, const struct trash_limit *limit, struct moment when,
		  struct removed *ret)
{
	struct trash_state state;
	struct trash_row row = { 0 };
	unsigned int count = 0;
	int rc = trash_state_get(kv, &state);

	*ret = (struct removed){ 0 };
	while (rc == 0 && count < limit->most && ret->bytes < limit->bytes) {
		rc = trash_next(kv, row.since_ms, row.inode, &row);
		if (rc == -ERR_NOT_FOUND ||
		    (rc == 0 && row.since_ms >= later(limit->before_ms, state.first_ms)))
			break;
		if (rc == 0)
			rc = trash_release(kv, &row, when, &state);
		ret->entries++;
		ret->bytes += row.totals.bytes;
		count++;
	}
	if (rc == -ERR_NOT_FOUND)
		rc = 0;
	if (rc == 0 && count)
		rc = trash_state_put(kv, &state);
	return rc < 0 ? rc : (int)count;
}

int catalogue_purge(struct kv *kv, const struct purge *how, struct removed *ret)
{
	struct trash_row row;
	struct trash_state state;
	unsigned int count = 0;
	int rc = trash_state_get(kv, &state);
	uint64_t first_ms = later(state.first_ms, how->from_ms);

	*ret = (struct removed){ 0 };
	if (rc == 0)
		rc = trash_of_path(kv, how->path, NULL, &row);
	for (; rc == 0 && row.since_ms >= first_ms; rc = trash_of_path(kv, how->path, &row, &row)) {
		if (how->id && row.inode != how->id)
			continue;
		row.path = how->path;
		rc = trash_release(kv, &row, how->when, &state);
		if (rc < 0)
			return rc;
		ret->entries += row.totals.files + row.totals.directories;
		ret->bytes += row.totals.bytes;
		count++;
		if (how->id || count == how->most)
			break;
	}
	if (rc < 0 && rc != -ERR_NOT_FOUND)
		return rc;
	if (count == 0)
		return -ERR_NOT_FOUND;
	rc = trash_state_put(kv, &state);
	return rc < 0 ? rc : !how->id && count == how->most;
}

int catalogue_purge_all(struct kv *kv, struct removed *ret)
{
	struct trash_state state;
	int rc = trash_state_get(kv, &state);

	if (rc == 0)
		rc = garbage_count(kv, (int64_t)state.totals.chunks);
	if (rc < 0)
		return rc;
	*ret = (struct removed){ state.totals.files + state.totals.directories,
				 state.totals.bytes };
	state.totals = (struct totals){ 0 };
	state.first_ms = state.last_ms + 1;
	return trash_state_put(kv, &state);
}

/* ---- coming back ---- */

/* What comes back: an entry, or something inside of it. */
struct found {
	struct trash_row row;
	struct inode inode;
	struct slice inner; /* below the entry; empty: the entry itself */
	struct totals totals;
};

/* Follows a path below a removed directory. */
static int inner_find(struct kv *kv, const struct trash_row *row, struct slice inner,
		      struct inode *ret)
{
	struct dirent_row at = { row->inode, row->type };
	struct slice name;

	while (path_next(&inner, &name)) {
		int rc;

		if (at.type != ENTRY_DIRECTORY)
			return -ERR_NOT_FOUND;
		rc = dirent_row_get(kv, at.inode, name, &at);
		if (rc < 0)
			return rc;
	}
	return row_expected(inode_get(kv, at.inode, ret));
}

/* The newest entry that was at `outer` and has `inner`: into `ret`, if it is newer than that. */
static int explain(struct kv *kv, const struct restore *how, struct slice outer, struct slice inner,
		   struct found *ret)
{
	struct trash_row row, *after = NULL;
	struct inode inode;

	for (int i = 0; i < EXPLAINED_TRIES || how->id; i++) {
		int rc = trash_of_path(kv, outer, after, &row);

		after = &row;
		if (rc < 0)
			return rc == -ERR_NOT_FOUND ? 0 : rc;
		if (row.since_ms < how->from_ms || row.since_ms < ret->row.since_ms)
			return 0;
		if (how->id && row.inode != how->id)
			continue;
		rc = inner_find(kv, &row, inner, &inode);
		if (rc == -ERR_NOT_FOUND)
			continue;
		if (rc < 0)
			return rc;
		*ret = (struct found){ .row = row, .inode = inode, .inner = inner };
		ret->row.path = outer;
		return 0;
	}
	return 0;
}

/* From the path itself upwards: of two that were removed at one time the inner one went first, but
 * it is also what was meant. */
static int found_find(struct kv *kv, const struct restore *how, struct found *ret)
{
	struct slice outer = how->path, name;
	struct trash_state state;
	int rc = trash_state_get(kv, &state);

	*ret = (struct found){ 0 };
	while (rc == 0 && outer.size > 1) {
		struct slice inner = { how->path.data + outer.size, how->path.size - outer.size };
		struct found newer = *ret;

		rc = explain(kv, how, outer, inner, &newer);
		if (rc == 0 && newer.row.since_ms < state.first_ms)
			newer = *ret;
		if (!ret->row.inode || newer.row.since_ms > ret->row.since_ms)
			*ret = newer;
		path_split(outer, &outer, &name);
	}
	if (rc == 0 && !ret->row.inode)
		rc = -ERR_NOT_FOUND;
	if (rc < 0)
		return rc;
	ret->totals = ret->row.totals;
	return ret->inner.size ? subtree_count(kv, &ret->inode, &ret->totals) : 0;
}

/* Takes it out of the trash: it hangs nowhere then. */
static int found_take(struct kv *kv, const struct found *found)
{
	struct trash_row row = found->row;
	struct trash_state state;
	struct slice name;
	uint64_t parent;
	int rc = trash_state_get(kv, &state);

	if (rc < 0)
		return rc;
	totals_subtract(&state.totals, &found->totals);
	if (found->inner.size == 0) {
		rc = trash_rows_remove(kv, &row);
	} else {
		totals_subtract(&row.totals, &found->totals);
		rc = row_expected(name_row_get(kv, found->inode.id, &parent, &name));
		if (rc < 0)
			return rc;
		rc = dirent_remove(kv, parent, name, found->inode.id);
		if (rc == 0)
			rc = trash_row_put(kv, &row);
	}
	return rc < 0 ? rc : trash_state_put(kv, &state);
}

/* Nothing may be there yet, and all that is above must be directories or can be made. */
static int place_check(struct kv *kv, const struct restore *how, const struct found *found)
{
	struct slice to = how->to.size ? how->to : how->path;
	struct slice parent, name;
	struct inode inode;
	int rc = catalogue_find(kv, to, &inode);

	if (rc == 0)
		return -ERR_EXISTS;
	if (rc != -ERR_NOT_FOUND)
		return rc;
	path_split(to, &parent, &name);
	while ((rc = catalogue_find(kv, parent, &inode)) == -ERR_NOT_FOUND)
		path_split(parent, &parent, &name);
	if (rc == 0 && inode.type != ENTRY_DIRECTORY)
		rc = -ERR_NOT_DIR;
	return rc < 0 ? rc : subtree_fits(kv, &found->inode, how->path, to);
}

int catalogue_restore(struct kv *kv, const struct restore *how, next_id_fn *next_id, void *context,
		      struct removed *ret)
{
	struct slice to = how->to.size ? how->to : how->path;
	struct new_entry made = { .now_ms = how->now_ms, .parents = true };
	struct slice above, name;
	struct totals totals;
	struct inode parent;
	struct found found;
	int rc = found_find(kv, how, &found);

	if (rc == 0)
		rc = place_check(kv, how, &found);
	if (rc < 0)
		return rc;
	path_split(to, &above, &name);
	made.inode = next_id(context);
	rc = catalogue_mkdir(kv, above, &made, next_id, context);
	if (rc == 0)
		rc = catalogue_find(kv, above, &parent);
	if (rc == 0)
		rc = found_take(kv, &found);
	if (rc == 0)
		rc = dirent_put(kv, parent.id, name, &found.inode);
	if (rc == 0)
		rc = totals_get(kv, &totals);
	if (rc < 0)
		return rc;
	*ret = (struct removed){ found.totals.files + found.totals.directories,
				 found.totals.bytes };
	totals_sum(&totals, &found.totals);
	return totals_put(kv, &totals);
}

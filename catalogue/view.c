#include <errno.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "error.h"
#include "ordered_map.h"
#include "view.h"

_Static_assert(sizeof(size_t) == 8, "the map is far larger than a 32-bit address space");

enum { VIEW_VERSION = 4, APPLIED_SIZE = 1 + 3 * (8 + 8 + DIGEST_SIZE) + 1 };
/* Address space, not memory: enough for hundreds of millions of files. The thread sanitizer does
 * not always find much more in one piece. */
#define MAP_SIZE ((size_t)1 << 38)
/* Changes in one transaction of a replay: many for speed, but dirty pages live in memory. */
enum { REPLAY_CHANGES = 64 * 1024 };

struct view {
	struct kv kv; /* first: the operations get a pointer to it */
	MDB_env *env;
	MDB_dbi rows;
	MDB_dbi meta; /* "applied" */

	/* Loop thread. */
	struct ordered_map overlay;
	MDB_txn *snapshot;
	MDB_cursor *cursor;    /* of the snapshot, */
	struct slice walked;   /* and the key where it stands, if it is known */
	uint64_t applied;      /* the last batch that the snapshot has */
	struct view_mark mark; /* of that */
	int broken;            /* why there is no snapshot, or 0 */

	/* View thread; during replay the only thread. */
	_Atomic uint64_t committed; /* the last batch in LMDB: read by the loop thread */
	MDB_txn *replay;
	struct view_mark replay_mark;
	struct buffer replay_batch;
	uint32_t replay_changes;
};

static int view_error(int rc)
{
	switch (rc) {
	case MDB_SUCCESS: return 0;
	case MDB_NOTFOUND: return -ERR_NOT_FOUND;
	case MDB_MAP_FULL: return -ERR_LOCAL_FULL;
	case MDB_VERSION_MISMATCH: return -ERR_BAD_FORMAT;
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_INVALID: return -ERR_CORRUPT;
	default: return rc > 0 ? error_from_errno(rc) : -ERR_IO;
	}
}

static MDB_val val_of(struct slice slice)
{
	return (MDB_val){ .mv_size = slice.size, .mv_data = (void *)(uintptr_t)slice.data };
}

static struct slice slice_from(MDB_val val)
{
	return (struct slice){ val.mv_data, val.mv_size };
}

/* ---- reading ---- */

static int view_get(struct kv *kv, struct slice key, struct slice *ret)
{
	struct view *view = (struct view *)kv;
	struct map_entry *entry = map_find(&view->overlay, key);
	MDB_val wanted = val_of(key), found;
	int rc;

	if (view->broken)
		return view->broken;
	if (entry && entry->removed)
		return -ERR_NOT_FOUND;
	if (entry) {
		*ret = entry->value;
		return 0;
	}
	rc = mdb_get(view->snapshot, view->rows, &wanted, &found);
	if (rc == 0)
		*ret = slice_from(found);
	return view_error(rc);
}

/* The place in LMDB where a walk stands. */
struct place {
	bool there;
	struct slice key;
	struct slice value;
};

static int place_move(struct view *view, MDB_cursor_op how, MDB_val key, struct place *ret)
{
	MDB_val value;
	int rc = mdb_cursor_get(view->cursor, &key, &value, how);

	ret->there = rc == 0;
	view->walked = (struct slice){ 0 };
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc == 0) {
		ret->key = view->walked = slice_from(key);
		ret->value = slice_from(value);
	}
	return view_error(rc);
}

/* The place of `key` or behind it. Who walks wants the successor of the key that was found last,
 * which is there without a search. */
static int place_find(struct view *view, struct slice key, struct place *ret)
{
	const struct slice last = view->walked;
	MDB_cursor_op how = key.size > 0 ? MDB_SET_RANGE : MDB_FIRST;

	if (last.size > 0 && key.size == last.size + 1 && key.data[last.size] == 0 &&
	    memcmp(key.data, last.data, last.size) == 0)
		how = MDB_NEXT;
	return place_move(view, how, val_of(key), ret);
}

/* Both sides are walked forward together; where they meet the overlay decides, and what it says is
 * removed is stepped over on both. */
static int view_seek(struct kv *kv, struct slice key, struct slice *ret_key,
		     struct slice *ret_value)
{
	struct view *view = (struct view *)kv;
	struct map_entry *entry = map_seek(&view->overlay, key);
	struct place place;
	int rc = view->broken;

	if (rc == 0)
		rc = place_find(view, key, &place);
	while (rc == 0) {
		int order = !entry ? 1 : !place.there ? -1 : slice_compare(entry->key, place.key);

		if (!entry && !place.there)
			return -ERR_NOT_FOUND;
		if (order > 0) {
			*ret_key = place.key;
			*ret_value = place.value;
			return 0;
		}
		if (!entry->removed) {
			*ret_key = entry->key;
			*ret_value = entry->value;
			return 0;
		}
		entry = map_next(entry);
		if (order == 0)
			rc = place_move(view, MDB_NEXT, val_of(key), &place);
	}
	return rc;
}

/* ---- changing: the overlay ---- */

static int view_put(struct kv *kv, struct slice key, struct slice value)
{
	return map_put(&((struct view *)kv)->overlay, key, value, false);
}

static int view_remove(struct kv *kv, struct slice key)
{
	return map_put(&((struct view *)kv)->overlay, key, (struct slice){ 0 }, true);
}

void view_sealed(struct view *view, uint64_t sequence)
{
	struct map_entry *entry;

	TAILQ_FOREACH_REVERSE(entry, &view->overlay.ages, map_ages, by_age) {
		if (entry->sequence != MAP_UNSEALED)
			break;
		entry->sequence = sequence;
	}
}

static void overlay_drop_applied(struct view *view)
{
	struct map_entry *entry;

	while ((entry = TAILQ_FIRST(&view->overlay.ages)) && entry->sequence <= view->applied)
		map_drop(&view->overlay, entry);
}

size_t view_overlay_size(const struct view *view)
{
	return view->overlay.bytes;
}

/* ---- snapshots ---- */

static const uint8_t *head_decode(const uint8_t *at, struct journal_head *ret)
{
	ret->epoch = get_u64(at);
	ret->sequence = get_u64(at + 8);
	memcpy(ret->hash.bytes, at + 16, DIGEST_SIZE);
	return at + 16 + DIGEST_SIZE;
}

static uint8_t *head_encode(const struct journal_head *head, uint8_t *at)
{
	put_u64(at, head->epoch);
	put_u64(at + 8, head->sequence);
	memcpy(at + 16, head->hash.bytes, DIGEST_SIZE);
	return at + 16 + DIGEST_SIZE;
}

static int applied_get(MDB_txn *txn, MDB_dbi meta, struct view_mark *ret)
{
	MDB_val key = val_of(slice_of("applied"));
	MDB_val value;
	int rc = mdb_get(txn, meta, &key, &value);
	const uint8_t *at;

	*ret = (struct view_mark){ 0 };
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc)
		return view_error(rc);
	at = value.mv_data;
	if (value.mv_size != APPLIED_SIZE || at[0] != VIEW_VERSION)
		return -ERR_BAD_FORMAT;
	at = head_decode(at + 1, &ret->head);
	at = head_decode(at, &ret->whole);
	at = head_decode(at, &ret->had);
	ret->building = at[0] != 0;
	return 0;
}

static int applied_put(struct view *view, MDB_txn *txn, const struct view_mark *mark)
{
	uint8_t row[APPLIED_SIZE] = { VIEW_VERSION };
	MDB_val key = val_of(slice_of("applied"));
	MDB_val value = { sizeof(row), row };
	uint8_t *at = head_encode(&mark->head, row + 1);

	at = head_encode(&mark->whole, at);
	at = head_encode(&mark->had, at);
	at[0] = mark->building;
	return view_error(mdb_put(txn, view->meta, &key, &value, 0));
}

/* An old snapshot keeps LMDB from using its pages again, so none is held longer than needed. */
static int snapshot_renew(struct view *view)
{
	struct view_mark reached = { 0 };
	int rc;

	view->walked = (struct slice){ 0 };
	mdb_txn_reset(view->snapshot);
	rc = view_error(mdb_txn_renew(view->snapshot));
	if (rc == 0)
		rc = view_error(mdb_cursor_renew(view->snapshot, view->cursor));
	if (rc == 0)
		rc = applied_get(view->snapshot, view->meta, &reached);
	if (rc == 0) {
		view->applied = reached.head.sequence;
		view->mark = reached;
	}
	return rc;
}

void view_refresh(struct view *view)
{
	if (view->broken || atomic_load(&view->committed) == view->applied)
		return;
	view->broken = snapshot_renew(view);
	if (!view->broken)
		overlay_drop_applied(view);
}

/* ---- taking batches into LMDB ---- */

static int changes_write(struct view *view, MDB_txn *txn, struct slice changes)
{
	struct change change;
	int rc;

	while ((rc = change_next(&changes, &change)) > 0) {
		MDB_val key = val_of(change.key), value = val_of(change.value);

		if (change.removed)
			rc = mdb_del(txn, view->rows, &key, NULL);
		else
			rc = mdb_put(txn, view->rows, &key, &value, 0);
		if (rc && !(change.removed && rc == MDB_NOTFOUND))
			return view_error(rc);
	}
	return rc;
}

/* Pages come in order: a cursor at the end takes their rows without a search. */
static int rows_append(struct view *view, MDB_txn *txn, struct slice rows)
{
	MDB_cursor *end;
	struct change row;
	int rc = view_error(mdb_cursor_open(txn, view->rows, &end));

	if (rc < 0)
		return rc;
	while ((rc = change_next(&rows, &row)) > 0) {
		MDB_val key = val_of(row.key), value = val_of(row.value);

		rc = mdb_cursor_put(end, &key, &value, MDB_APPEND);
		if (rc == MDB_KEYEXIST)
			rc = mdb_cursor_put(end, &key, &value, 0);
		rc = view_error(rc);
		if (rc < 0)
			break;
	}
	mdb_cursor_close(end);
	return rc;
}

/* Writes the first batch of `batches` unless LMDB has it, and moves on. */
static int batch_write(struct view *view, MDB_txn *txn, struct slice *batches,
		       struct view_mark *reached)
{
	struct batch_head head;
	struct slice changes;
	struct digest hash;
	size_t size;
	int rc = batch_read(*batches, &head, &changes, &size, &hash);

	if (rc <= 0)
		return -ERR_CORRUPT;
	*batches = (struct slice){ batches->data + size, batches->size - size };
	if (head.sequence <= reached->head.sequence)
		return 0;
	if (head.sequence != reached->head.sequence + 1)
		return -ERR_STALE;
	reached->head = (struct journal_head){ head.epoch, head.sequence, hash };
	return changes_write(view, txn, changes);
}

static int commit(struct view *view, MDB_txn *txn, const struct view_mark *reached)
{
	int rc = applied_put(view, txn, reached);

	if (rc < 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	rc = view_error(mdb_txn_commit(txn));
	if (rc == 0)
		atomic_store(&view->committed, reached->head.sequence);
	return rc;
}

int view_apply(struct view *view, struct slice batches)
{
	struct view_mark reached;
	MDB_txn *txn;
	int rc = view_error(mdb_txn_begin(view->env, NULL, 0, &txn));

	if (rc < 0)
		return rc;
	rc = applied_get(txn, view->meta, &reached);
	while (rc == 0 && batches.size > 0)
		rc = batch_write(view, txn, &batches, &reached);
	if (rc < 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	return commit(view, txn, &reached);
}

static int replay_commit(struct view *view)
{
	MDB_txn *txn = view->replay;

	view->replay = NULL;
	view->replay_changes = 0;
	return txn ? commit(view, txn, &view->replay_mark) : 0;
}

/* Without a snapshot meanwhile: it would keep LMDB from using pages again. */
static int replay_begin(struct view *view)
{
	int rc;

	mdb_txn_reset(view->snapshot);
	view->broken = -ERR_UNAVAILABLE;
	rc = view_error(mdb_txn_begin(view->env, NULL, 0, &view->replay));
	if (rc < 0)
		return rc;
	rc = applied_get(view->replay, view->meta, &view->replay_mark);
	if (rc < 0) {
		mdb_txn_abort(view->replay);
		view->replay = NULL;
	}
	return rc;
}

int view_replay(struct view *view, const struct batch_head *head, struct slice changes)
{
	int rc;

	if (!view->replay) {
		rc = replay_begin(view);
		if (rc < 0)
			return rc;
	}
	if (head->sequence != view->replay_mark.head.sequence + 1)
		return -ERR_STALE;
	buffer_clear(&view->replay_batch);
	rc = batch_encode(head, changes, &view->replay_batch, &view->replay_mark.head.hash);
	if (rc == 0)
		rc = changes_write(view, view->replay, changes);
	if (rc < 0) {
		mdb_txn_abort(view->replay);
		view->replay = NULL;
		return rc;
	}
	view->replay_mark.head.sequence = head->sequence;
	view->replay_mark.head.epoch = head->epoch;
	view->replay_changes += head->shared.count + head->local.count;
	return view->replay_changes < REPLAY_CHANGES ? 0 : replay_commit(view);
}

int view_replay_end(struct view *view)
{
	int rc = replay_commit(view);

	if (rc == 0)
		rc = snapshot_renew(view);
	view->broken = rc;
	buffer_done(&view->replay_batch);
	return rc;
}

int view_keep(struct view *view, const struct batch_head *head, struct slice changes)
{
	struct change change;
	int rc;

	while ((rc = change_next(&changes, &change)) > 0) {
		rc = map_put(&view->overlay, change.key, change.value, change.removed);
		if (rc < 0)
			return rc;
	}
	view_sealed(view, head->sequence);
	return rc;
}

/* ---- copies from elsewhere ---- */

int view_load(struct view *view, struct slice rows, const struct view_mark *mark)
{
	MDB_txn *txn;
	int rc = view_error(mdb_txn_begin(view->env, NULL, 0, &txn));

	if (rc < 0)
		return rc;
	rc = rows_append(view, txn, rows);
	if (rc < 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	return commit(view, txn, mark);
}

int view_clear(struct view *view, const struct view_mark *mark)
{
	MDB_txn *txn;
	int rc = view_error(mdb_txn_begin(view->env, NULL, 0, &txn));

	if (rc < 0)
		return rc;
	rc = view_error(mdb_drop(txn, view->rows, 0));
	if (rc < 0) {
		mdb_txn_abort(txn);
		return rc;
	}
	return commit(view, txn, mark);
}

int view_renew(struct view *view)
{
	view->broken = snapshot_renew(view);
	return view->broken;
}

struct view_mark view_mark(const struct view *view)
{
	return view->mark;
}

/* ---- opening ---- */

static int tables_open(struct view *view)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(view->env, NULL, 0, &txn);

	if (rc)
		return view_error(rc);
	rc = mdb_dbi_open(txn, "rows", MDB_CREATE, &view->rows);
	if (rc == 0)
		rc = mdb_dbi_open(txn, "meta", MDB_CREATE, &view->meta);
	if (rc) {
		mdb_txn_abort(txn);
		return view_error(rc);
	}
	return view_error(mdb_txn_commit(txn));
}

static int environment_open(struct view *view, const char *path)
{
	int rc = mdb_env_create(&view->env);

	if (rc == 0)
		rc = mdb_env_set_mapsize(view->env, MAP_SIZE);
	if (rc == 0)
		rc = mdb_env_set_maxdbs(view->env, 2);
	if (rc == 0)
		rc = mdb_env_open(view->env, path, MDB_NOTLS, 0600);
	return view_error(rc);
}

static int snapshot_open(struct view *view)
{
	struct view_mark reached;
	int rc = mdb_txn_begin(view->env, NULL, MDB_RDONLY, &view->snapshot);

	if (rc == 0)
		rc = mdb_cursor_open(view->snapshot, view->rows, &view->cursor);
	if (rc)
		return view_error(rc);
	rc = applied_get(view->snapshot, view->meta, &reached);
	view->applied = reached.head.sequence;
	view->mark = reached;
	atomic_store(&view->committed, view->applied);
	return rc;
}

int view_open(const char *path, struct view **ret, uint64_t *ret_applied)
{
	static const struct kv_ops ops = { view_get, view_seek, view_put, view_remove };
	struct view *view;
	int rc;

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_from_errno(errno);
	view = calloc(1, sizeof(*view));
	if (!view)
		return -ERR_NO_MEMORY;
	view->kv.ops = &ops;
	map_init(&view->overlay);
	rc = environment_open(view, path);
	if (rc == 0)
		rc = tables_open(view);
	if (rc == 0)
		rc = snapshot_open(view);
	if (rc < 0) {
		view_close(view);
		return rc;
	}
	*ret_applied = view->applied;
	*ret = view;
	return 0;
}

void view_close(struct view *view)
{
	if (!view)
		return;
	if (view->replay)
		mdb_txn_abort(view->replay);
	if (view->cursor)
		mdb_cursor_close(view->cursor);
	if (view->snapshot)
		mdb_txn_abort(view->snapshot);
	if (view->env)
		mdb_env_close(view->env);
	map_done(&view->overlay);
	buffer_done(&view->kv.batch);
	buffer_done(&view->replay_batch);
	free(view);
}

struct digest view_hash(const struct view *view)
{
	return view->mark.head.hash;
}

uint64_t view_applied(struct view *view)
{
	return atomic_load(&view->committed);
}

struct kv *view_kv(struct view *view)
{
	return &view->kv;
}

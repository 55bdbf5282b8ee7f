/* struct kv over LMDB: the catalogue as it is, bigger than memory, with an overlay of the changes
 * that LMDB has not taken in yet. The journal stays the truth; on any doubt the view is dropped and
 * rebuilt from it.
 *
 * Threads: the loop thread uses the kv, view_refresh() and view_sealed(); one view thread calls
 * view_apply(). Reads renew one LMDB read transaction per refresh, so values stay valid as kv.h
 * promises. Memory: the overlay only; LMDB's pages belong to the page cache. */
#ifndef MUSTER_CATALOGUE_VIEW_H
#define MUSTER_CATALOGUE_VIEW_H

#include "batch.h"
#include "journal.h"

struct view;

/* What is in it. Zeroed: nothing. */
struct view_mark {
	struct journal_head head;  /* the last batch applied */
	struct journal_head whole; /* as a copy that came in pages: it is one from this batch on */
	bool building;             /* such pages are still to come */
	struct journal_head had;   /* that it gave up for them: see replica_head */
};

/* `path`: directory for LMDB's files, created if missing. *ret_applied: the last batch in it. */
int view_open(const char *path, struct view **ret, uint64_t *ret_applied);
/* Of that batch; zero if there is none. */
struct digest view_hash(const struct view *view);
/* Any thread: the last batch that LMDB has by now. */
uint64_t view_applied(struct view *view);
void view_close(struct view *view);
struct kv *view_kv(struct view *view);

/* Loop thread: the batch just sealed from the kv has this number (its overlay entries stay until
 * that number is applied). Called right after batch_seal(). */
void view_sealed(struct view *view, uint64_t sequence);
/* View thread: takes whole durable batches into LMDB in one transaction with the number reached.
 * Batches that LMDB has already are skipped; -ERR_STALE: some between are missing. All or nothing:
 * after -ERR_LOCAL_FULL, which a write cut short turns into -ERR_IO, it may be tried again. */
int view_apply(struct view *view, struct slice batches);
/* Loop thread, at the start of each turn: drops overlay entries that LMDB has by now. */
void view_refresh(struct view *view);
/* Start only: replays one batch of the journal straight into LMDB (several per transaction);
 * view_replay_end commits the rest. In between the kv cannot be read. -ERR_STALE as above. */
int view_replay(struct view *view, const struct batch_head *head, struct slice changes);
int view_replay_end(struct view *view);
/* Start only, after view_replay_end: a batch of the journal that LMDB has no room for. It is laid
 * over it, in memory, until view_apply() has taken it in. */
int view_keep(struct view *view, const struct batch_head *head, struct slice changes);

/* For copies that come in pages, one thread that does all: rows ("put" changes, shared ones only)
 * and the mark in one transaction; an empty view with that mark. The kv shows it after
 * view_refresh(), or view_renew() where the number of the last batch has not changed. */
int view_load(struct view *view, struct slice rows, const struct view_mark *mark);
int view_clear(struct view *view, const struct view_mark *mark);
int view_renew(struct view *view);
struct view_mark view_mark(const struct view *view); /* of what the kv shows */

size_t view_overlay_size(const struct view *view); /* bytes, for back-pressure and tests */

#endif

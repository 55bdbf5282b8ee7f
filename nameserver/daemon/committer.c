#include "committer.h"

#include <stdlib.h>
#include <uv.h>

#include "error.h"
#include "space.h"

enum {
	/* Batches are gathered for the view: one sync of LMDB for many of the journal's. But what
	 * one transaction changes lies in memory until it ends. */
	VIEW_WAIT_MS = 200,
	VIEW_SIZE_MAX = 1024 * 1024,
	VIEW_RETRY_MS = 1000,
};

/* Whole batches on their way into a thread. */
struct line {
	struct buffer batches;
	uint64_t sequence; /* of the last one */
	uv_cond_t wake;
};

struct committer {
	struct committer_how how;
	uv_thread_t sync_thread, apply_thread;
	bool sync_runs, apply_runs;
	uv_mutex_t lock; /* of all below */
	struct line sync;
	struct line apply;
	bool stopping;   /* no batch will be queued any more */
	bool sync_ended; /* nor any for the view */
	struct committer_state state;
};

static void fail(struct committer *committer, int error, const char *what)
{
	uv_mutex_lock(&committer->lock);
	if (!committer->state.error) {
		committer->state.error = error;
		committer->state.what = what;
	}
	uv_mutex_unlock(&committer->lock);
	committer->how.notify(committer->how.context);
}

static int line_add(struct line *line, struct slice batches, uint64_t sequence)
{
	bool was_empty = line->batches.size == 0;
	int rc = buffer_append(&line->batches, batches.data, batches.size);

	if (rc == 0)
		line->sequence = sequence;
	if (was_empty || line->batches.size >= VIEW_SIZE_MAX)
		uv_cond_signal(&line->wake);
	return rc;
}

/* Everything that waits; empty: the line has ended. */
static struct buffer line_take(struct line *line, uint64_t *ret_sequence)
{
	struct buffer taken = line->batches;

	line->batches = (struct buffer){ 0 };
	*ret_sequence = line->sequence;
	return taken;
}

/* ---- the sync thread */

static struct buffer sync_wait(struct committer *committer, uint64_t *ret_sequence)
{
	struct buffer taken;

	uv_mutex_lock(&committer->lock);
	while (committer->sync.batches.size == 0 && !committer->stopping)
		uv_cond_wait(&committer->sync.wake, &committer->lock);
	taken = line_take(&committer->sync, ret_sequence);
	uv_mutex_unlock(&committer->lock);
	return taken;
}

static int sync_done(struct committer *committer, struct slice batches, uint64_t sequence)
{
	uint64_t applied;
	int rc;

	uv_mutex_lock(&committer->lock);
	committer->state.durable = sequence;
	applied = committer->state.applied;
	rc = line_add(&committer->apply, batches, sequence);
	uv_mutex_unlock(&committer->lock);
	committer->how.notify(committer->how.context);
	return rc < 0 ? rc : journal_trim(committer->how.journal, applied);
}

static void sync_end(struct committer *committer)
{
	uv_mutex_lock(&committer->lock);
	committer->sync_ended = true;
	uv_cond_signal(&committer->apply.wake);
	uv_mutex_unlock(&committer->lock);
}

static void sync_main(void *argument)
{
	struct committer *committer = argument;
	int rc = 0;

	while (rc == 0) {
		uint64_t sequence;
		struct buffer batches = sync_wait(committer, &sequence);
		struct slice bytes = { batches.data, batches.size };

		if (bytes.size == 0)
			break;
		rc = journal_append(committer->how.journal, bytes);
		if (rc == 0)
			rc = sync_done(committer, bytes, sequence);
		buffer_done(&batches);
	}
	if (rc < 0)
		fail(committer, rc, "journal");
	sync_end(committer);
}

/* ---- the view thread */

/* True once it is that late. */
static bool wait_until(struct committer *committer, uint64_t end_ns)
{
	uint64_t now_ns = uv_hrtime();

	if (now_ns < end_ns)
		uv_cond_timedwait(&committer->apply.wake, &committer->lock, end_ns - now_ns);
	return now_ns >= end_ns;
}

static struct buffer apply_wait(struct committer *committer, uint64_t *ret_sequence)
{
	struct line *line = &committer->apply;
	struct buffer taken;
	uint64_t end_ns;

	uv_mutex_lock(&committer->lock);
	while (line->batches.size == 0 && !committer->sync_ended)
		uv_cond_wait(&line->wake, &committer->lock);
	end_ns = uv_hrtime() + (uint64_t)VIEW_WAIT_MS * 1000000;
	while (line->batches.size < VIEW_SIZE_MAX && !committer->sync_ended &&
	       !wait_until(committer, end_ns))
		;
	taken = line_take(line, ret_sequence);
	uv_mutex_unlock(&committer->lock);
	return taken;
}

static void apply_done(struct committer *committer, uint64_t sequence)
{
	uv_mutex_lock(&committer->lock);
	committer->state.applied = sequence;
	uv_mutex_unlock(&committer->lock);
	committer->how.notify(committer->how.context);
}

/* Takes batches off the front until they are about VIEW_SIZE_MAX; returns what was taken. */
static struct slice lump_next(struct slice *rest, uint64_t *ret_sequence)
{
	struct slice lump = { rest->data, 0 };
	struct batch_head head;
	struct slice changes;
	struct digest hash;
	size_t size;

	while (lump.size < VIEW_SIZE_MAX && batch_read(*rest, &head, &changes, &size, &hash) == 1) {
		*ret_sequence = head.sequence;
		lump.size += size;
		*rest = (struct slice){ rest->data + size, rest->size - size };
	}
	return lump;
}

/* LMDB calls a write that the end of the disk cut short an I/O error. */
static bool is_for_want_of_room(const struct committer *committer, int rc)
{
	if (rc == -ERR_LOCAL_FULL)
		return true;
	return rc == -ERR_IO && committer->how.disk && space_is_full(committer->how.disk, true);
}

/* False: the line has ended. The journal has what the view lacks. */
static bool room_wait(struct committer *committer)
{
	const uint64_t end_ns = uv_hrtime() + (uint64_t)VIEW_RETRY_MS * 1000000;
	bool ended;

	uv_mutex_lock(&committer->lock);
	while (!committer->sync_ended && !wait_until(committer, end_ns))
		;
	ended = committer->sync_ended;
	uv_mutex_unlock(&committer->lock);
	return !ended;
}

static int lump_apply(struct committer *committer, struct slice lump)
{
	int rc = view_apply(committer->how.view, lump);

	while (is_for_want_of_room(committer, rc) && room_wait(committer))
		rc = view_apply(committer->how.view, lump);
	return rc;
}

static int apply_all(struct committer *committer, struct slice batches)
{
	int rc = 0;

	while (rc == 0 && batches.size > 0) {
		uint64_t sequence = 0;
		struct slice lump = lump_next(&batches, &sequence);

		rc = lump.size ? lump_apply(committer, lump) : -ERR_CORRUPT;
		if (rc == 0)
			apply_done(committer, sequence);
	}
	return rc;
}

static void apply_main(void *argument)
{
	struct committer *committer = argument;
	int rc = 0;

	while (rc == 0) {
		uint64_t sequence;
		struct buffer batches = apply_wait(committer, &sequence);

		if (batches.size == 0)
			return;
		rc = apply_all(committer, (struct slice){ batches.data, batches.size });
		buffer_done(&batches);
	}
	if (!is_for_want_of_room(committer, rc))
		fail(committer, rc, "view");
}

/* ---- the loop's side */

static int threads_start(struct committer *committer)
{
	if (uv_thread_create(&committer->sync_thread, sync_main, committer) < 0)
		return -ERR_NO_MEMORY;
	committer->sync_runs = true;
	if (uv_thread_create(&committer->apply_thread, apply_main, committer) < 0)
		return -ERR_NO_MEMORY;
	committer->apply_runs = true;
	return 0;
}

int committer_new(const struct committer_how *how, struct committer **ret)
{
	struct committer *committer = calloc(1, sizeof(*committer));
	int rc;

	if (!committer)
		return -ERR_NO_MEMORY;
	committer->how = *how;
	committer->state.durable = how->sequence;
	committer->state.applied = how->applied;
	uv_mutex_init(&committer->lock);
	uv_cond_init(&committer->sync.wake);
	uv_cond_init(&committer->apply.wake);
	rc = how->behind.size ? line_add(&committer->apply, how->behind, how->sequence) : 0;
	if (rc == 0)
		rc = threads_start(committer);
	if (rc < 0) {
		committer_free(committer);
		return rc;
	}
	*ret = committer;
	return 0;
}

int committer_queue(struct committer *committer, struct slice batch, uint64_t sequence)
{
	int rc;

	uv_mutex_lock(&committer->lock);
	rc = line_add(&committer->sync, batch, sequence);
	uv_mutex_unlock(&committer->lock);
	return rc;
}

struct committer_state committer_state(struct committer *committer)
{
	struct committer_state state;

	uv_mutex_lock(&committer->lock);
	state = committer->state;
	uv_mutex_unlock(&committer->lock);
	return state;
}

void committer_stop(struct committer *committer)
{
	uv_mutex_lock(&committer->lock);
	committer->stopping = true;
	uv_cond_signal(&committer->sync.wake);
	uv_mutex_unlock(&committer->lock);
	if (committer->sync_runs)
		uv_thread_join(&committer->sync_thread);
	if (committer->apply_runs)
		uv_thread_join(&committer->apply_thread);
	committer->sync_runs = committer->apply_runs = false;
}

void committer_free(struct committer *committer)
{
	if (!committer)
		return;
	committer_stop(committer);
	buffer_done(&committer->sync.batches);
	buffer_done(&committer->apply.batches);
	uv_cond_destroy(&committer->sync.wake);
	uv_cond_destroy(&committer->apply.wake);
	uv_mutex_destroy(&committer->lock);
	free(committer);
}

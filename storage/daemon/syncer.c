/* The thread that makes things durable: while one commit runs, the next is gathered. */
#include "clock.h"
#include "error.h"
#include "log.h"
#include "storage_daemon.h"

struct stored {
	uint32_t transfer;
	int result;
	struct digest digest;
};

static bool has_job(const struct syncer *syncer)
{
	return syncer->commit || syncer->chore;
}

static void *sync_run(void *context)
{
	struct daemon *daemon = context;
	struct syncer *syncer = &daemon->syncer;
	int result;

	pthread_mutex_lock(&syncer->lock);
	for (;;) {
		while (!syncer->stop && (!has_job(syncer) || syncer->finished))
			pthread_cond_wait(&syncer->change, &syncer->lock);
		if (!has_job(syncer) || syncer->finished)
			break;
		pthread_mutex_unlock(&syncer->lock);
		result = syncer->commit ? store_commit_run(syncer->commit)
					: store_chore_run(syncer->chore);
		pthread_mutex_lock(&syncer->lock);
		syncer->result = result;
		syncer->finished = true;
		uv_async_send(&daemon->wake);
	}
	pthread_mutex_unlock(&syncer->lock);
	return NULL;
}

static void give(struct syncer *syncer, struct store_commit *commit, struct store_chore *chore)
{
	pthread_mutex_lock(&syncer->lock);
	syncer->commit = commit;
	syncer->chore = chore;
	syncer->finished = false;
	pthread_mutex_unlock(&syncer->lock);
	pthread_cond_signal(&syncer->change);
}

/* The store is in the middle of something: the core hears of it afterwards. */
static void on_stored(void *context, void *tag, const struct chunk_meta *meta, int result)
{
	struct stored stored = { (uint32_t)(uintptr_t)tag, result, meta->digest };
	struct daemon *daemon = context;

	/* Without memory nothing is said, and nobody believes that it is stored. */
	buffer_append(&daemon->syncer.stored, &stored, sizeof(stored));
}

static void commit_finish(struct daemon *daemon, struct store_commit *commit, int result)
{
	struct buffer *list = &daemon->syncer.stored;
	struct stored stored;

	store_commit_finish(daemon->store, commit, result, on_stored, daemon);
	for (size_t at = 0; at < list->size; at += sizeof(stored)) {
		struct storage_event event = { .kind = STORAGE_STORED, .digest = &stored.digest };

		memcpy(&stored, list->data + at, sizeof(stored));
		event.transfer = stored.transfer;
		event.error = stored.result;
		source_retire(daemon, stored.transfer);
		daemon_step(daemon, &event);
	}
	buffer_clear(list);
}

void syncer_submit(struct daemon *daemon)
{
	struct syncer *syncer = &daemon->syncer;
	struct store_commit *commit = daemon->chunks.gathering;
	int rc;

	if (!commit || has_job(syncer))
		return;
	daemon->chunks.gathering = NULL;
	rc = store_commit_seal(daemon->store, commit);
	if (rc < 0)
		commit_finish(daemon, commit, rc);
	else
		give(syncer, commit, NULL);
}

static void finish(struct daemon *daemon)
{
	struct syncer *syncer = &daemon->syncer;
	struct store_commit *commit = syncer->commit;
	struct store_chore *chore = syncer->chore;

	syncer->commit = NULL;
	syncer->chore = NULL;
	syncer->finished = false;
	if (commit)
		commit_finish(daemon, commit, syncer->result);
	else
		store_chore_finish(daemon->store, chore, syncer->result);
}

void syncer_finished(struct daemon *daemon)
{
	struct syncer *syncer = &daemon->syncer;
	bool finished;

	pthread_mutex_lock(&syncer->lock);
	finished = syncer->finished;
	pthread_mutex_unlock(&syncer->lock);
	if (finished)
		finish(daemon); /* and the end of this turn submits what has been gathered */
}

/* Upkeep has the thread only while nobody waits for it. */
void syncer_chores(struct daemon *daemon)
{
	struct syncer *syncer = &daemon->syncer;
	struct store_chore *chore;

	if (has_job(syncer) || daemon->chunks.gathering)
		return;
	chore = store_chore_next(daemon->store, clock_monotonic_ms());
	if (chore)
		give(syncer, NULL, chore);
}

static void chunks_write_abort(void *context, struct store_write *write)
{
	struct store_chunks *chunks = context;

	source_retire_write(chunks->owner, write);
	store_chunks_calls.write_abort(chunks, write);
}

int syncer_new(struct daemon *daemon)
{
	struct syncer *syncer = &daemon->syncer;

	daemon->chunks = (struct store_chunks){ .store = daemon->store,
						.owner = daemon,
						.calls = store_chunks_calls };
	daemon->chunks.calls.write_abort = chunks_write_abort;
	pthread_mutex_init(&syncer->lock, NULL);
	pthread_cond_init(&syncer->change, NULL);
	syncer->started = pthread_create(&syncer->thread, NULL, sync_run, daemon) == 0;
	return syncer->started ? 0 : -ERR_NO_MEMORY;
}

/* The thread ends with its job; what was gathered behind it is made durable here. */
void syncer_free(struct daemon *daemon)
{
	struct syncer *syncer = &daemon->syncer;
	struct store_commit *commit = daemon->chunks.gathering;
	int rc;

	if (!syncer->started)
		return;
	pthread_mutex_lock(&syncer->lock);
	syncer->stop = true;
	pthread_cond_signal(&syncer->change);
	pthread_mutex_unlock(&syncer->lock);
	pthread_join(syncer->thread, NULL);
	if (has_job(syncer))
		finish(daemon);
	daemon->chunks.gathering = NULL;
	if (commit) {
		rc = store_commit_seal(daemon->store, commit);
		if (rc == 0)
			rc = store_commit_run(commit);
		commit_finish(daemon, commit, rc);
	}
	pthread_mutex_destroy(&syncer->lock);
	pthread_cond_destroy(&syncer->change);
	buffer_done(&syncer->stored);
}

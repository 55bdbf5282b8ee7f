/* The core's view of the store, and the thread that makes things durable: while one commit runs,
 * the next is gathered. */
#include "clock.h"
#include "error.h"
#include "log.h"
#include "storage_daemon.h"

/* ---- what the core asks ---- */

static void chunks_usage(void *context, struct storage_usage *ret)
{
	struct daemon *daemon = context;
	struct store_usage usage;

	store_usage(daemon->store, &usage);
	*ret = (struct storage_usage){ .capacity = usage.capacity,
				       .used = usage.used,
				       .free = usage.free,
				       .chunks = usage.chunks,
				       .failed = usage.failed };
}

static int chunks_find(void *context, uint64_t chunk, uint32_t *ret_length, struct digest *digest)
{
	struct daemon *daemon = context;
	struct store_reader *reader;
	struct chunk_meta meta;
	int rc;

	if (!digest)
		return store_has(daemon->store, chunk) ? 0 : -ERR_NOT_FOUND;
	rc = store_reader_open(daemon->store, chunk, &reader);
	if (rc < 0)
		return rc;
	rc = store_reader_check(reader, &meta);
	store_reader_close(daemon->store, reader);
	if (rc < 0)
		return rc;
	*ret_length = meta.length;
	*digest = meta.digest;
	return 0;
}

static int chunks_remove(void *context, uint64_t chunk)
{
	struct daemon *daemon = context;

	return store_remove(daemon->store, chunk);
}

static int chunks_quarantine(void *context, uint64_t chunk)
{
	struct daemon *daemon = context;

	return store_quarantine(daemon->store, chunk);
}

static size_t chunks_list(void *context, uint64_t after, struct chunk_ref *ret, size_t most)
{
	struct daemon *daemon = context;
	struct store_listed listed[256];
	size_t count = 0, got;

	do {
		size_t wanted =
			most - count < ARRAY_SIZE(listed) ? most - count : ARRAY_SIZE(listed);

		got = store_list(daemon->store, after, listed, wanted);
		for (size_t i = 0; i < got; i++)
			ret[count++] = (struct chunk_ref){ listed[i].chunk, listed[i].length };
		if (got)
			after = listed[got - 1].chunk;
	} while (got == ARRAY_SIZE(listed) && count < most);
	return count;
}

static struct digest chunks_inventory(void *context)
{
	struct daemon *daemon = context;

	return store_inventory_digest(daemon->store);
}

static int chunks_adopt(void *context, const struct id *cluster, const char *name)
{
	struct daemon *daemon = context;

	return store_adopt(daemon->store, cluster, name);
}

static int chunks_write_new(void *context, const struct storage_meta *meta,
			    struct store_write **ret)
{
	struct daemon *daemon = context;
	struct chunk_meta chunk = { .chunk = meta->chunk,
				    .file = meta->file,
				    .epoch = meta->epoch,
				    .length = meta->length };

	return store_write_new(daemon->store, &chunk, ret);
}

static int chunks_write_add(void *context, struct store_write *write, struct slice data,
			    const uint8_t *crcs)
{
	(void)context;
	return store_write_add(write, data.data, data.size, crcs);
}

static void chunks_write_abort(void *context, struct store_write *write)
{
	struct daemon *daemon = context;

	source_retire_write(daemon, write);
	store_write_abort(daemon->store, write);
}

static int chunks_write_commit(void *context, struct store_write *write, uint32_t transfer)
{
	struct daemon *daemon = context;
	struct syncer *syncer = &daemon->syncer;
	int rc = syncer->gathering ? 0 : store_commit_new(daemon->store, &syncer->gathering);

	if (rc == 0)
		rc = store_commit_add(syncer->gathering, write, (void *)(uintptr_t)transfer);
	return rc;
}

const struct storage_chunks daemon_chunks = {
	.usage = chunks_usage,
	.find = chunks_find,
	.remove = chunks_remove,
	.quarantine = chunks_quarantine,
	.list = chunks_list,
	.inventory = chunks_inventory,
	.adopt = chunks_adopt,
	.write_new = chunks_write_new,
	.write_add = chunks_write_add,
	.write_abort = chunks_write_abort,
	.write_commit = chunks_write_commit,
};

/* ---- the sync thread ---- */

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
	struct store_commit *commit = syncer->gathering;
	int rc;

	if (!commit || has_job(syncer))
		return;
	syncer->gathering = NULL;
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

	if (has_job(syncer) || syncer->gathering)
		return;
	chore = store_chore_next(daemon->store, clock_monotonic_ms());
	if (chore)
		give(syncer, NULL, chore);
}

int syncer_new(struct daemon *daemon)
{
	struct syncer *syncer = &daemon->syncer;

	pthread_mutex_init(&syncer->lock, NULL);
	pthread_cond_init(&syncer->change, NULL);
	syncer->started = pthread_create(&syncer->thread, NULL, sync_run, daemon) == 0;
	return syncer->started ? 0 : -ERR_NO_MEMORY;
}

/* The thread ends with its job; what was gathered behind it is made durable here. */
void syncer_free(struct daemon *daemon)
{
	struct syncer *syncer = &daemon->syncer;
	struct store_commit *commit = syncer->gathering;
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
	syncer->gathering = NULL;
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

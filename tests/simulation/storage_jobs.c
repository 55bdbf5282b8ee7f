/* What is written: the real store's commits and chores, which take their time. */
#include <stdlib.h>

#include "error.h"
#include "storage_host.h"

static void commit_submit(struct host *host);

/* ---- what the core asks of the store ---- */

static int chunks_remove(void *context, uint64_t chunk)
{
	struct store_chunks *chunks = context;
	const struct host *host = ((struct storage_host *)chunks->owner)->host;

	world_trace(host->world, "%s: removes chunk %llx", host->name, (unsigned long long)chunk);
	oracle_removed(host->world, host, chunk);
	storage_sabotage_remove(host, chunk);
	return store_chunks_calls.remove(chunks, chunk);
}

/* ---- commits ---- */

static void commit_due(struct world *w, const struct due *due)
{
	(void)w;
	commit_submit(due->host);
}

static int chunks_write_commit(void *context, struct store_write *write, uint32_t transfer)
{
	struct store_chunks *chunks = context;
	struct storage_host *storage = chunks->owner;
	int rc = store_chunks_calls.write_commit(chunks, write, transfer);

	if (rc == 0)
		storage_sabotage_commit(storage, write, transfer);
	if (rc == 0)
		world_after(storage->host->world, world_below(storage->host->world, 200),
			    (struct due){ .run = commit_due, .host = storage->host });
	return rc;
}

static void on_stored(void *context, void *tag, const struct chunk_meta *meta, int result)
{
	struct host *host = context;

	if (host->world->config.sabotage == SABOTAGE_EARLY_STORED && result == 0)
		return;
	storage_host_step(host, &(struct storage_event){ .kind = STORAGE_STORED,
							 .transfer = (uint32_t)(uintptr_t)tag,
							 .error = result,
							 .digest = &meta->digest });
}

/* What the sync thread does, at the moment at which it is done. */
static void job_done(struct world *w, const struct due *due)
{
	struct host *host = due->host;
	struct storage_host *storage = storage_of(host);
	struct store_commit *commit = storage->commit;
	struct store_chore *chore = storage->chore;
	int rc = commit ? store_commit_run(commit) : store_chore_run(chore);

	if (rc < 0)
		world_trace(w, "%s: %s failed: %d", host->name, commit ? "commit" : "chore", rc);
	storage->commit = NULL;
	storage->chore = NULL;
	if (commit)
		store_commit_finish(storage->store, commit, rc, on_stored, host);
	else
		store_chore_finish(storage->store, chore, rc);
	commit_submit(host);
}

static void job_start(struct host *host)
{
	struct world *w = host->world;
	uint64_t most = world_chance(w, 5) ? 20 * w->sync_us : w->sync_us;

	world_after(w, 100 + world_below(w, most), (struct due){ .run = job_done, .host = host });
}

static void commit_submit(struct host *host)
{
	struct storage_host *storage = storage_of(host);
	struct store_commit *commit = storage->chunks.gathering;
	int rc;

	if (!commit || storage->commit || storage->chore)
		return;
	storage->chunks.gathering = NULL;
	rc = store_commit_seal(storage->store, commit);
	if (rc < 0) {
		store_commit_finish(storage->store, commit, rc, on_stored, host);
		return;
	}
	storage->commit = commit;
	job_start(host);
}

static void chores(struct world *w, const struct due *due)
{
	struct host *host = due->host;
	struct storage_host *storage = storage_of(host);

	world_after(w, 500 * MS + world_below(w, SECOND),
		    (struct due){ .run = chores, .host = host });
	if (storage->commit || storage->chore || storage->chunks.gathering)
		return;
	storage->chore = store_chore_next(storage->store, host_ms(host));
	if (storage->chore)
		job_start(host);
}

/* ---- life ---- */

void storage_jobs_init(struct storage_host *storage)
{
	storage->chunks = (struct store_chunks){ .store = storage->store,
						 .owner = storage,
						 .calls = store_chunks_calls };
	storage->chunks.calls.remove = chunks_remove;
	storage->chunks.calls.write_commit = chunks_write_commit;
}

void storage_jobs_start(struct host *host)
{
	world_after(host->world, SECOND, (struct due){ .run = chores, .host = host });
}

static void ignore_stored(void *context, void *tag, const struct chunk_meta *meta, int result)
{
	(void)context;
	(void)tag;
	(void)meta;
	(void)result;
}

/* What runs in the sync thread gets as far as the disk lets it. */
void storage_jobs_stop(struct host *host, bool crash)
{
	struct storage_host *storage = storage_of(host);
	int rc = 0;

	if (crash)
		disk_sim_power_off_at(host->disk, 1 + world_below(host->world, 12));
	if (storage->commit) {
		rc = store_commit_run(storage->commit);
		store_commit_finish(storage->store, storage->commit, rc, ignore_stored, NULL);
	}
	if (storage->chore) {
		rc = store_chore_run(storage->chore);
		store_chore_finish(storage->store, storage->chore, rc);
	}
	if (crash)
		disk_sim_power_off_at(host->disk, 1);
	if (storage->chunks.gathering)
		store_commit_finish(storage->store, storage->chunks.gathering, -ERR_IO,
				    ignore_stored, NULL);
}

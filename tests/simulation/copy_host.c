#include "copy_host.h"

#include <stdlib.h>

#include "replica_memory.h"

enum { LOSE_PERCENT = 10 };

static const struct replica_limits few_limits = { .recent = 2048, .page = 512 };

struct copy_job {
	struct copy_job *next;
	struct replica_job job;
	struct buffer bytes;
};

struct copy_host {
	struct host *host;
	copy_done_fn *done;
	struct replica *replica;
	struct copy_job *first, **last;
};

static void job_run(struct copy_host *copy, struct replica_result *ret)
{
	struct copy_job *job = copy->first;

	job->job.bytes = (struct slice){ job->bytes.data, job->bytes.size };
	replica_run(copy->replica, &job->job, ret);
	copy->first = job->next;
	if (!copy->first)
		copy->last = &copy->first;
	buffer_done(&job->bytes);
	free(job);
}

static void job_start(struct copy_host *copy);

/* Sabotage: a row vanishes. */
static void row_lose(struct kv *kv)
{
	struct slice key, value;

	if (kv_seek(kv, slice_of("d"), &key, &value) == 0)
		(void)kv->ops->remove(kv, key);
}

static void job_done(struct world *w, const struct due *due)
{
	struct copy_host *copy = due->context;
	struct storage_event event = { .kind = STORAGE_REPLICA };
	struct replica_result result;

	job_run(copy, &result);
	world_trace(w, "%s: copy job %d: %d, at %llu", due->host->name, (int)result.kind,
		    result.error, (unsigned long long)result.head.last.sequence);
	/* Rows may lag behind the journal. */
	if (w->healed || world_chance(w, 50))
		(void)replica_settle(copy->replica);
	if (w->config.sabotage == SABOTAGE_LOOSE_COPIES && world_chance(w, 2))
		row_lose(due->host->rows->kv);
	event.replica = &result;
	copy->done(due->host, &event);
	if (copy->first)
		job_start(copy);
}

static void job_start(struct copy_host *copy)
{
	struct world *w = copy->host->world;

	world_after(w, 100 + world_below(w, w->sync_us),
		    (struct due){ .run = job_done, .host = copy->host, .context = copy });
}

static int submit(void *context, const struct replica_job *wanted)
{
	struct copy_host *copy = context;
	struct copy_job *job = calloc(1, sizeof(*job));

	if (!job || buffer_append(&job->bytes, wanted->bytes.data, wanted->bytes.size) < 0)
		abort();
	job->job = *wanted;
	*copy->last = job;
	copy->last = &job->next;
	if (copy->first == job)
		job_start(copy);
	return 0;
}

const struct storage_catalogue copy_host_catalogue = { submit };

/* Somebody has removed the directory. */
static void lose(struct host *host, struct disk *disk)
{
	if (journal_drop(disk) < 0)
		return;
	replica_memory_done(host->rows);
	if (replica_memory_init(host->rows, disk) < 0)
		abort();
	host->copy_lost = true;
	world_trace(host->world, "%s: its copy of the catalogue is gone", host->name);
}

struct copy_host *copy_host_new(struct host *host, copy_done_fn *done)
{
	struct copy_host *copy = calloc(1, sizeof(*copy));
	struct disk *disk = disk_sim_disk(host->disk);
	/* With few in memory, servers have to copy all from each other. */
	bool few = world_chance(host->world, 50);

	if (!copy)
		abort();
	if (!host->rows) {
		host->rows = malloc(sizeof(*host->rows));
		if (!host->rows || replica_memory_init(host->rows, disk) < 0)
			abort();
	}
	if ((world_chance(host->world, LOSE_PERCENT) && fault_may_lose(host->world, host)) ||
	    host->lose_copy)
		lose(host, disk);
	host->lose_copy = false;
	copy->host = host;
	copy->done = done;
	copy->last = &copy->first;
	if (replica_new(disk, &host->rows->rows, few ? &few_limits : &replica_limits,
			&copy->replica) < 0)
		abort();
	return copy;
}

void copy_host_free(struct copy_host *copy, bool crash)
{
	struct world *w = copy->host->world;
	struct replica_result result;

	if (crash && copy->first && world_chance(w, 50)) {
		disk_sim_power_off_at(copy->host->disk, 1 + world_below(w, 6));
		job_run(copy, &result);
		disk_sim_power_off_at(copy->host->disk, 1);
	}
	while (copy->first) {
		struct copy_job *job = copy->first;

		copy->first = job->next;
		buffer_done(&job->bytes);
		free(job);
	}
	replica_free(copy->replica);
	free(copy);
}

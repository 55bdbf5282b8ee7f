/* The last act of some runs: all that is known of the catalogue is put back to an earlier time, the
 * name server's directory and every copy, and the chunks are not. So nobody can tell what is
 * lacking, and to the name server the newest chunks are of no file. It must not have them deleted:
 *
 *   alarm  their ids were given out by runs that this catalogue does not know of;
 *   brake  it does know of the run, but they are a tenth of what a server holds, or more.
 *
 * Then somebody finds the newest directory, and everything that was acknowledged is read. */
#include <stdlib.h>

#include "ns_host.h"
#include "storage_host.h"

enum {
	ONE_IN = 32, /* runs, of each kind */
	ALARM_REST = 9,
	BRAKE_REST = 22,
	PUTS = 12,
	LOOK_S = 60, /* longer than chunks of no file are kept for */
	CHUNKS_SEEN_MAX = 512,
	PART = 10, /* of what a server holds: so many at least, and not only one, meet the brake */
};

enum act { ACT_NONE, ACT_ALARM, ACT_BRAKE };

struct holding_chunks {
	uint64_t chunks[CHUNKS_SEEN_MAX];
	size_t count;
};

struct old {
	struct world *w;
	struct host *ns;
	enum act act;
	bool sure; /* nothing that is needed may go */
	struct holding_chunks held[STORAGES_MAX];
};

static enum act act_of(const struct world *w)
{
	switch (w->config.sabotage) {
	case SABOTAGE_NONE: break;
	case SABOTAGE_NO_ALARM: return ACT_ALARM;
	case SABOTAGE_NO_BRAKE: return ACT_BRAKE;
	default: return ACT_NONE;
	}
	switch (w->config.seed % ONE_IN) {
	case ALARM_REST: return ACT_ALARM;
	case BRAKE_REST: return ACT_BRAKE;
	default: return ACT_NONE;
	}
}

void old_catalogue_begun(struct world *w, struct host *ns)
{
	if (act_of(w) == ACT_ALARM && !w->earliest)
		w->earliest = ns_disk_copy(ns);
}

/* ---- steps ---- */

static void again(struct old *old)
{
	host_stop(old->ns, HOST_KILL);
	host_start(old->ns);
	oracle_registered(old->w);
}

static void stop_all(struct old *old)
{
	host_stop(old->ns, HOST_KILL);
	for (unsigned int i = 0; i < old->w->storage_count; i++)
		host_stop(world_storage(old->w, i), HOST_KILL);
}

/* Of the copies nothing is left. */
static void start_all(struct old *old)
{
	host_start(old->ns);
	for (unsigned int i = 0; i < old->w->storage_count; i++) {
		struct host *storage = world_storage(old->w, i);

		storage->lose_copy = true;
		host_start(storage);
	}
	oracle_registered(old->w);
}

static void put_more(struct old *old)
{
	struct world *w = old->w;

	for (unsigned int i = 0; i < w->client_count; i++)
		host_start(world_client(w, i));
	workload_put_some(w, PUTS);
	world_wait_idle(w, "the last puts");
}

static void chunks_note(const struct host *storage, struct holding_chunks *held)
{
	uint64_t after = 0;
	size_t count = 1;

	while (count > 0) {
		count = storage_host_list(storage, after, held->chunks + held->count,
					  CHUNKS_SEEN_MAX - held->count);
		held->count += count;
		after = held->count ? held->chunks[held->count - 1] : 0;
	}
}

/* Those that are of no file now. Where the brake lets them go, since they are few, nothing is
 * looked at. */
static void unknown_choose(struct old *old, struct holding_chunks *held)
{
	struct kv *kv = ns_host_kv(old->ns);
	uint64_t inode, end;
	size_t count = 0, most = held->count / PART + 1;

	for (size_t i = 0; i < held->count; i++) {
		if (chunk_owner(kv, held->chunks[i], 0, &inode, &end) < 0)
			held->chunks[count++] = held->chunks[i];
	}
	if (old->act == ACT_BRAKE && count > 0 && count <= most) {
		old->sure = false;
		count = 0;
	}
	held->count = count;
}

static void still_there(struct old *old, unsigned int number)
{
	const struct holding_chunks *held = &old->held[number];
	const struct host *storage = world_storage(old->w, number);
	uint64_t chunk;

	for (size_t i = 0; i < held->count; i++) {
		if (storage_host_list(storage, held->chunks[i] - 1, &chunk, 1) != 1 ||
		    chunk != held->chunks[i])
			world_fail(old->w,
				   "%s has deleted chunk %llx, which an old catalogue did not know",
				   storage->name, (unsigned long long)held->chunks[i]);
	}
}

static void old_serves(struct old *old, struct ns_snapshot *directory)
{
	struct world *w = old->w;

	w->old_serves = true;
	w->brake_floor = old->act == ACT_BRAKE;
	ns_disk_put(old->ns, directory);
	world_trace(w, "%s: its catalogue is an old one, and nobody knows", old->ns->name);
	start_all(old);
	if (w->result.failed)
		return;
	for (unsigned int i = 0; i < w->storage_count; i++)
		unknown_choose(old, &old->held[i]);
	world_run_until(w, w->now_us + LOOK_S * (uint64_t)SECOND);
	for (unsigned int i = 0; i < w->storage_count; i++)
		still_there(old, i);
}

static void newest_serves(struct old *old, struct ns_snapshot *directory)
{
	struct world *w = old->w;

	w->old_serves = false;
	w->brake_floor = 0;
	w->accepted = true;
	ns_disk_put(old->ns, directory);
	world_trace(w, "%s: its catalogue is the newest one again", old->ns->name);
	start_all(old);
	oracle_journal_set(w);
	oracle_catalogues(w);
	if (w->result.failed)
		return;
	workload_read_all(w);
	world_wait_idle(w, "reading everything again");
}

/* ---- the act ---- */

static void others_stop(struct old *old)
{
	for (unsigned int i = 0; i < old->w->ns_count; i++) {
		if (world_ns(old->w, i) != old->ns)
			host_stop(world_ns(old->w, i), HOST_QUIT);
	}
}

static void play(struct old *old, struct ns_snapshot *directory)
{
	struct ns_snapshot *newest;

	for (unsigned int i = 0; old->act == ACT_ALARM && i < 2; i++)
		again(old);
	put_more(old);
	for (unsigned int i = 0; i < old->w->storage_count; i++)
		chunks_note(world_storage(old->w, i), &old->held[i]);
	stop_all(old);
	newest = ns_disk_copy(old->ns);
	if (old->w->result.failed)
		ns_snapshot_free(directory);
	else
		old_serves(old, directory);
	stop_all(old);
	if (old->w->result.failed || !old->sure)
		ns_snapshot_free(newest);
	else
		newest_serves(old, newest);
}

void old_catalogue_play(struct world *w)
{
	struct old *old;
	struct ns_snapshot *directory;

	if (act_of(w) == ACT_NONE || w->result.failed)
		return;
	old = calloc(1, sizeof(*old));
	if (!old)
		abort();
	*old = (struct old){ .w = w, .ns = world_nameserver(w), .act = act_of(w), .sure = true };
	others_stop(old);
	directory = old->act == ACT_ALARM ? w->earliest : ns_disk_copy(old->ns);
	if (old->act == ACT_ALARM)
		w->earliest = NULL;
	if (directory && ns_snapshot_is_of(directory, old->ns))
		play(old, directory);
	else
		ns_snapshot_free(directory);
	free(old);
}

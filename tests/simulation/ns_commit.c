/* The journal of a simulated name server: batches become durable in their time, and what the core
 * calls committed is compared with what others have called so. */
#include <stdlib.h>

#include "batch.h"
#include "ns_host.h"

static uint64_t sync_time(struct world *w)
{
	uint64_t most = world_chance(w, 5) ? 20 * w->sync_us : w->sync_us;

	return 100 + world_below(w, most);
}

/* ---- what is committed ---- */

static void flight_add(struct host *host, struct slice batch)
{
	struct ns_flight *flight = &ns_of(host)->flight;
	struct batch_head head;
	struct slice changes;
	struct digest hash;
	size_t size;

	if (batch_read(batch, &head, &changes, &size, &hash) != 1 || size != batch.size) {
		world_fail(host->world, "%s: what it commits is no batch", host->name);
		return;
	}
	/* So many wait only while nothing can be committed: the last ones do for comparing. */
	if (flight->count == NS_FLIGHT_MAX) {
		flight->first = (flight->first + 1) % NS_FLIGHT_MAX;
		flight->count--;
	}
	flight->heads[(flight->first + flight->count++) % NS_FLIGHT_MAX] =
		(struct journal_head){ head.epoch, head.sequence, hash };
}

static void first_committed(struct host *host, uint64_t epoch)
{
	struct world *w = host->world;

	if (epoch <= w->epoch)
		world_fail(w, "%s serves epoch %llu after epoch %llu", host->name,
			   (unsigned long long)epoch, (unsigned long long)w->epoch);
	w->epoch = epoch;
	old_catalogue_begun(w, host);
	w->founded = true;
	host->restored = false;
}

void ns_commit_look(struct host *host)
{
	struct ns_host *ns = ns_of(host);
	struct nameserver_info info = nameserver_info(ns->core);
	struct ns_flight *flight = &ns->flight;

	while (flight->count && flight->heads[flight->first].sequence <= info.committed) {
		const struct journal_head *head = &flight->heads[flight->first];

		if (ns->committed == 0)
			first_committed(host, info.epoch);
		ns->committed = head->sequence;
		history_committed(host->world, host, head);
		flight->first = (flight->first + 1) % NS_FLIGHT_MAX;
		flight->count--;
	}
}

/* ---- the journal ---- */

static void report_durable(struct host *host, uint64_t sequence)
{
	ns_of(host)->durable = sequence;
	ns_step(host, &(struct ns_event){ .kind = NS_DURABLE, .sequence = sequence });
}

static void append_start(struct host *host);

static void append_done(struct world *w, const struct due *due)
{
	struct host *host = due->host;
	struct ns_host *ns = ns_of(host);
	struct slice batches = { ns->appending.data, ns->appending.size };
	int rc = journal_append(ns->journal, batches);

	ns->is_appending = false;
	buffer_clear(&ns->appending);
	if (rc < 0) {
		world_trace(w, "%s: the journal failed, stops", host->name);
		host_stop(host, HOST_KILL);
		host_restart_after(host, SECOND);
		return;
	}
	if (w->config.sabotage != SABOTAGE_EARLY_DURABLE)
		report_durable(host, ns->appending_sequence);
	if (host->process == ns && !ns->is_appending)
		append_start(host);
}

static void append_start(struct host *host)
{
	struct ns_host *ns = ns_of(host);
	struct buffer batches = ns->queued;

	if (batches.size == 0)
		return;
	ns->queued = ns->appending;
	ns->appending = batches;
	ns->appending_sequence = ns->queued_sequence;
	ns->is_appending = true;
	world_after(host->world, sync_time(host->world),
		    (struct due){ .run = append_done, .host = host });
}

static void durable_early(struct world *w, const struct due *due)
{
	(void)w;
	report_durable(due->host, due->a);
}

void ns_commit(struct host *host, const struct ns_action *action, struct slice batch)
{
	struct ns_host *ns = ns_of(host);

	flight_add(host, batch);
	buffer_append(&ns->queued, batch.data, batch.size);
	ns->queued_sequence = action->sequence;
	if (!ns->is_appending)
		append_start(host);
	if (host->world->config.sabotage == SABOTAGE_EARLY_DURABLE)
		world_after(
			host->world, 1,
			(struct due){ .run = durable_early, .host = host, .a = action->sequence });
}

void ns_commit_stop(struct host *host, bool crash)
{
	struct ns_host *ns = ns_of(host);
	struct slice batches = { ns->appending.data, ns->appending.size };

	if (!crash && ns->is_appending)
		(void)journal_append(ns->journal, batches);
	/* A crash in the middle of it: the disk says how far it came. */
	if (crash && ns->is_appending && world_chance(host->world, 50)) {
		disk_sim_power_off_at(host->disk, 1 + world_below(host->world, 4));
		(void)journal_append(ns->journal, batches);
	}
}

/* ---- reading it ---- */

static void journal_read_done(struct world *w, const struct due *due)
{
	struct ns_host *ns = ns_of(due->host);
	struct journal_range range = { due->a, ns->durable, 1 + world_below(w, JOURNAL_READ_SIZE) };
	struct buffer batches = { 0 };
	struct ns_event event = { .kind = NS_JOURNAL, .sequence = due->a };

	event.error = journal_read(ns->reader, &range, &batches);
	event.batches = (struct slice){ batches.data, batches.size };
	ns_step(due->host, &event);
	buffer_done(&batches);
}

void ns_journal_read(struct host *host, const struct ns_action *action)
{
	world_after(host->world, sync_time(host->world),
		    (struct due){ .run = journal_read_done, .host = host, .a = action->sequence });
}

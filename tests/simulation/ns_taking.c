/* The glue around what a name server does before it serves: jobs on its own copy of the catalogue
 * take their time, one after the other. */
#include <stdlib.h>

#include "identity.h"
#include "ns_host.h"
#include "replica_memory.h"

enum { REFUSED_AGAIN_MS = 3000 };
#define FOR_EVER_MS (UINT64_MAX / 2)

static void act_all(struct host *host);

void ns_taking_step(struct host *host, struct takeover_event *event)
{
	struct ns_host *ns = ns_of(host);

	event->now_ms = host_ms(host);
	event->wall_ms = world_wall_ms(host->world);
	takeover_step(ns->takeover, event, &ns->taking);
	act_all(host);
}

/* ---- jobs ---- */

static void job_done(struct world *w, const struct due *due)
{
	struct ns_host *ns = ns_of(due->host);
	struct takeover_event event = { .kind = TAKEOVER_REPLICA };
	struct replica_result result;

	ns->job.bytes = (struct slice){ ns->job_bytes.data, ns->job_bytes.size };
	ns->job_due = false;
	replica_run(ns->replica, &ns->job, &result);
	buffer_clear(&ns->job_bytes);
	world_trace(w, "%s: catalogue job %d: %d, at %llu", due->host->name, (int)result.kind,
		    result.error, (unsigned long long)result.head.last.sequence);
	ns_sabotage_looked(due->host, &result);
	event.replica = &result;
	ns_taking_step(due->host, &event);
}

static void job_start(struct host *host, const struct takeover_action *action, struct slice bytes)
{
	struct ns_host *ns = ns_of(host);
	struct world *w = host->world;

	if (ns->job_due) {
		world_fail(w, "%s: a second job before the first is done", host->name);
		return;
	}
	ns->job = action->job;
	ns->job_due = true;
	if (buffer_append(&ns->job_bytes, bytes.data, bytes.size) < 0)
		abort();
	world_after(w, 100 + world_below(w, w->sync_us),
		    (struct due){ .run = job_done, .host = host });
}

/* ---- actions ---- */

static void kept(struct world *w, const struct due *due)
{
	struct identity identity = { due->host->id, due->a, due->b };
	int rc = identity_write(disk_sim_disk(due->host->disk), &identity);

	(void)w;
	ns_of(due->host)->marked = rc == 0 ? identity.rebuilding : ns_of(due->host)->marked;
	if (ns_of(due->host)->takeover)
		ns_taking_step(due->host,
			       &(struct takeover_event){ .kind = TAKEOVER_KEPT, .error = rc });
}

static void keep(struct host *host, const struct takeover_action *action)
{
	struct world *w = host->world;

	world_after(
		w, 100 + world_below(w, w->sync_us),
		(struct due){
			.run = kept, .host = host, .a = action->epoch, .b = action->rebuilding });
}

void ns_mark_look(struct host *host)
{
	struct ns_host *ns = ns_of(host);
	struct disk *disk = disk_sim_disk(host->disk);
	struct identity identity;

	if (!ns->marked || !nameserver_info(ns->core).serving)
		return;
	ns->marked = false;
	if (identity_read(disk, &identity) < 0)
		return;
	identity.rebuilding = false;
	identity_write(disk, &identity);
}

/* After this event: the outbox it stands in goes as well. */
static void open_now(struct world *w, const struct due *due)
{
	struct host *host = due->host;

	if (ns_serve(host))
		return;
	world_trace(w, "%s: cannot serve", host->name);
	host_stop(host, HOST_KILL);
	host_restart_after(host, SECOND);
}

static void refuse(struct world *w, const struct due *due)
{
	(void)w;
	host_stop(due->host, HOST_QUIT);
	host_restart_after(due->host, REFUSED_AGAIN_MS * MS);
}

static void act(struct host *host, const struct takeover_action *action)
{
	struct ns_host *ns = ns_of(host);
	struct world *w = host->world;
	struct slice bytes = takeover_action_bytes(&ns->taking, action);

	switch (action->kind) {
	case TAKEOVER_SEND: net_send(host, action->conn, bytes.data, bytes.size); break;
	case TAKEOVER_CLOSE: net_close(host, action->conn, false); break;
	case TAKEOVER_BEACON: net_broadcast(host, bytes.data); break;
	case TAKEOVER_JOB: job_start(host, action, bytes); break;
	case TAKEOVER_KEEP: keep(host, action); break;
	case TAKEOVER_NOTE:
		world_trace(w, "%s: %s %.*s", host->name, action->event, (int)bytes.size,
			    (const char *)bytes.data);
		break;
	case TAKEOVER_OPEN:
		if (!ns->open_due)
			world_after(w, 1, (struct due){ .run = open_now, .host = host });
		ns->open_due = true;
		break;
	case TAKEOVER_REFUSE:
		world_trace(w, "%s: must not start: %d %.*s", host->name, action->error,
			    (int)bytes.size, (const char *)bytes.data);
		world_after(w, 1, (struct due){ .run = refuse, .host = host });
		break;
	}
}

static void act_all(struct host *host)
{
	struct ns_host *ns = ns_of(host);

	if (ns->taking.error)
		abort();
	for (unsigned int i = 0; i < ns->taking.count; i++)
		act(host, &ns->taking.actions[i]);
	takeover_outbox_clear(&ns->taking);
	ns_arm(host, takeover_deadline(ns->takeover));
}

/* ---- life ---- */

static int copy_open(struct host *host, struct ns_host *ns, struct replica_result *ret)
{
	struct world *w = host->world;
	int rc;

	ns_rows_need(host);
	rc = replica_new(disk_sim_disk(host->disk), &host->rows->rows, &replica_limits_own,
			 &ns->replica);
	if (rc < 0)
		return rc;
	replica_run(ns->replica, &(struct replica_job){ .kind = REPLICA_OPEN }, ret);
	if (ret->dropped && w->config.sabotage == SABOTAGE_NONE)
		world_fail(w, "%s: its catalogue is damaged: %d", host->name, ret->dropped);
	if (ret->error == 0)
		replica_run(ns->replica, &(struct replica_job){ .kind = REPLICA_LOOK }, ret);
	return ret->error;
}

/* Beacons get lost, servers are down: whoever cannot know that there is a cluster, or how far it
 * has come, looks for longer. */
static uint64_t found_after_ms(const struct host *host, const struct replica_head *own)
{
	bool empty = own->last.sequence == 0;

	return host->restored || (empty && host->world->founded) ? FOR_EVER_MS : 0;
}

bool ns_taking_start(struct host *host, struct ns_host *ns)
{
	struct world *w = host->world;
	struct replica_result result;
	struct identity identity;
	struct takeover_config config = {
		.self = host->id,
		.machine = host->machine,
		.seed = prng_next(&w->prng),
		.port = NS_PORT,
		.version = "simulated",
		.cluster_name = "simulated",
		.standby = host->number > 0,
		.accept_rebuild = w->accepted,
	};
	bool building = host->rows && host->rows->mark.building;
	int rc = copy_open(host, ns, &result);

	if (rc == 0) {
		config.unfinished = building;
		config.head = result.head;
		config.facts = result.facts;
		config.found_after_ms = found_after_ms(host, &result.head);
		if (identity_read(disk_sim_disk(host->disk), &identity) == 0) {
			config.asked_epoch = identity.asked_epoch;
			config.rebuilding = ns->marked = identity.rebuilding;
		}
		if (w->config.sabotage == SABOTAGE_FEW_PROMISES)
			config.facts.set = (struct journal_set){ 0 };
		rc = takeover_new(&config, host_ms(host), &ns->takeover);
	}
	if (rc < 0) {
		world_trace(w, "%s: cannot start: %d", host->name, rc);
		return false;
	}
	return true;
}

void ns_taking_stop(struct host *host, bool crash)
{
	struct ns_host *ns = ns_of(host);
	struct world *w = host->world;
	struct replica_result result;

	if (crash && ns->job_due && world_chance(w, 50)) {
		disk_sim_power_off_at(host->disk, 1 + world_below(w, 6));
		ns->job.bytes = (struct slice){ ns->job_bytes.data, ns->job_bytes.size };
		replica_run(ns->replica, &ns->job, &result);
		disk_sim_power_off_at(host->disk, 1);
	}
}

/* What goes wrong, and when. Each seed has its own selection: a run in which everything happens at
 * once finds less than many in which little does ("swarm testing"). */
#include "faults.h"

#include "error.h"
#include "journal_set.h"

/* What shows that a rule is missing. */
static const unsigned int sabotaged[SABOTAGE_COUNT] = {
	[SABOTAGE_OLD_COPY] = FAULT_NS_OLD,
	[SABOTAGE_NO_HOLD] = FAULT_NS_LOST,
	[SABOTAGE_NO_LEASE] = FAULT_USURP,
	[SABOTAGE_ONE_PROMISE] = FAULT_RELAPSE,
	[SABOTAGE_OLDEST_COPY] = FAULT_USURP | FAULT_RELAPSE,
	[SABOTAGE_OLD_BATCH] = FAULT_USURP,
	[SABOTAGE_LOW_PROMISE] = FAULT_USURP | FAULT_NS_LOST,
	[SABOTAGE_NO_ALARM] = FAULT_RESET,
	[SABOTAGE_NO_BRAKE] = FAULT_RESET,
};

void faults_draw(struct world *w)
{
	w->faults =
		(unsigned int)prng_next(&w->prng) & (unsigned int)prng_next(&w->prng) & FAULTS_ALL;
	if (world_chance(w, 70))
		w->faults |= 1u << world_below(w, 4);
	if (world_chance(w, 50))
		w->faults |= (unsigned int)FAULT_PARTITION << world_below(w, 8);
	w->fault_gap_us = SECOND + world_below(w, 6 * SECOND);
	if (sabotaged[w->config.sabotage])
		w->faults = sabotaged[w->config.sabotage];
	else if (w->config.sabotage != SABOTAGE_NONE)
		w->faults |= FAULT_NS_CRASH | FAULT_POWER_ALL | FAULT_RESET;
	if (w->faults & FAULT_DATAGRAMS) {
		w->loss_percent = (uint32_t)world_below(w, 80);
		w->twice_percent = (uint32_t)world_below(w, 50);
		w->late_percent = (uint32_t)world_below(w, 40);
	}
	if (w->faults & FAULT_REFUSE)
		w->refuse_percent = (uint32_t)world_below(w, 40);
}

bool fault_needs_two(const struct world *w)
{
	return sabotaged[w->config.sabotage] & FAULT_USURP;
}

static struct host *any_host(struct world *w)
{
	return &w->hosts[world_below(w, w->host_count)];
}

static struct host *any_storage(struct world *w)
{
	return world_storage(w, (unsigned int)world_below(w, w->storage_count));
}

static uint64_t some_time(struct world *w)
{
	return world_chance(w, 60) ? 20 * MS + world_below(w, 2 * SECOND)
				   : SECOND + world_below(w, 18 * SECOND);
}

/* ---- crashes ---- */

/* Asked to end, it says goodbye first. */
static void quit_now(struct world *w, const struct due *due)
{
	host_stop(due->host, HOST_QUIT);
	host_restart_after(due->host, some_time(w));
}

static void quit(struct host *host)
{
	struct world *w = host->world;

	if (host->kind == HOST_STORAGE && !host_is_paused(host))
		storage_host_ends(host);
	world_after(w, 1 + world_below(w, 300 * MS), (struct due){ .run = quit_now, .host = host });
}

static void crash(struct host *host)
{
	struct world *w = host->world;
	unsigned int dice = (unsigned int)world_below(w, 100);

	if (!host->up)
		return;
	if (host->kind != HOST_CLIENT && dice < 15) {
		quit(host);
		return;
	}
	host_stop(host, dice < (host->kind == HOST_CLIENT ? 50 : 40) ? HOST_KILL : HOST_POWER);
	host_restart_after(host, some_time(w));
}

static struct host *any_nameserver(struct world *w)
{
	if (world_chance(w, 75))
		return world_nameserver(w);
	return world_ns(w, (unsigned int)world_below(w, w->ns_count));
}

static void crash_nameserver(struct world *w)
{
	crash(any_nameserver(w));
}

static void crash_storage(struct world *w)
{
	crash(any_storage(w));
}

/* Those that decide, most of them or all. */
static void crash_set(struct world *w)
{
	const struct host *ns = world_nameserver(w);
	bool in[STORAGES_MAX];

	for (unsigned int i = 0; i < w->storage_count; i++)
		in[i] = ns_host_in_set(ns, &world_storage(w, i)->id);
	for (unsigned int i = 0; i < w->storage_count; i++) {
		if (in[i] && world_chance(w, 75))
			crash(world_storage(w, i));
	}
}

static void crash_client(struct world *w)
{
	crash(world_client(w, (unsigned int)world_below(w, w->client_count)));
}

static void power_all(struct world *w)
{
	for (unsigned int i = 0; i < w->host_count; i++) {
		struct host *host = &w->hosts[i];

		if (host->kind == HOST_CLIENT || !host->up)
			continue;
		host_stop(host, HOST_POWER);
		host_restart_after(host, 100 * MS + world_below(w, 3 * SECOND));
	}
}

/* ---- the network ---- */

static void reset_some(struct world *w)
{
	unsigned int percent = world_chance(w, 30) ? 100 : 10 + (unsigned int)world_below(w, 50);

	for (uint64_t i = 1; i <= w->socket_count; i++) {
		if (w->sockets[i - 1] && world_chance(w, percent))
			net_reset(w, i);
	}
}

static void cut_ends(struct world *w, const struct due *due)
{
	w->cut[due->a][due->b] = false;
	world_trace(w, "%s hears %s again", w->hosts[due->b].name, w->hosts[due->a].name);
	net_resume(w);
}

void fault_cut_one(struct world *w, const struct host *from, const struct host *to,
		   uint64_t time_us)
{
	if (from == to || w->cut[from->index][to->index])
		return;
	w->cut[from->index][to->index] = true;
	world_trace(w, "%s does not hear %s any more", to->name, from->name);
	world_after(w, time_us, (struct due){ .run = cut_ends, .a = from->index, .b = to->index });
}

void fault_cut_both(struct world *w, const struct host *one, const struct host *other,
		    uint64_t time_us)
{
	fault_cut_one(w, one, other, time_us);
	fault_cut_one(w, other, one, time_us);
}

static void cut(struct world *w)
{
	struct host *host = any_host(w);
	struct host *other = world_chance(w, 50) ? any_host(w) : NULL;
	uint64_t time_us = some_time(w);

	for (unsigned int i = 0; i < w->host_count; i++) {
		if (other && other != &w->hosts[i])
			continue;
		fault_cut_both(w, host, &w->hosts[i], time_us);
	}
}

static void cut_one_way(struct world *w)
{
	fault_cut_one(w, any_host(w), any_host(w), some_time(w));
}

/* Two sides; a client is on either. */
static void partition(struct world *w)
{
	uint64_t time_us = SECOND + world_below(w, 30 * SECOND);
	bool side[HOSTS_MAX];

	w->result.tallies[TALLY_SIDES]++;
	for (unsigned int i = 0; i < w->host_count; i++)
		side[i] = world_chance(w, 50);
	for (unsigned int i = 0; i < w->host_count; i++) {
		for (unsigned int k = 0; k < w->host_count; k++) {
			if (side[i] != side[k])
				fault_cut_one(w, &w->hosts[i], &w->hosts[k], time_us);
		}
	}
}

static void slow_ends(struct world *w, const struct due *due)
{
	w->hosts[due->a].slow_us = 0;
}

static void slow(struct world *w)
{
	struct host *host = any_host(w);

	host->slow_us = 2 * MS + world_below(w, world_chance(w, 30) ? 800 * MS : 60 * MS);
	world_trace(w, "%s is slow: %llu us", host->name, (unsigned long long)host->slow_us);
	world_after(w, some_time(w), (struct due){ .run = slow_ends, .a = host->index });
}

/* ---- hosts and disks ---- */

void fault_pause(struct host *host, uint64_t time_us)
{
	struct world *w = host->world;

	if (host_is_paused(host))
		return;
	host->paused_until_us = w->now_us + time_us;
	/* A clock that stands still meanwhile. */
	if (host->kind == HOST_NAMESERVER && w->config.sabotage == SABOTAGE_NO_LEASE)
		host->clock_ms -= time_us / MS;
	world_trace(w, "%s sleeps until %.3f", host->name, (double)host->paused_until_us / SECOND);
}

static void pause_host(struct world *w)
{
	fault_pause(any_host(w), some_time(w));
}

static void pause_nameserver(struct world *w)
{
	fault_pause(any_nameserver(w), SECOND + world_below(w, 59 * SECOND));
}

/* ---- a name server's directory ---- */

/* How many of the journal set, without `but`, have that batch. Of one that is down nobody knows. */
static unsigned int members_have(struct world *w, const struct host *but, uint64_t sequence)
{
	const struct host *ns = world_nameserver(w);
	unsigned int count = 0;

	for (unsigned int i = 0; i < w->storage_count; i++) {
		const struct host *storage = world_storage(w, i);
		struct replica_head head = storage_host_catalogue(storage);

		count += storage != but && ns_host_in_set(ns, &storage->id) && head.whole &&
			 head.last.sequence >= sequence;
	}
	return count;
}

/* Batches that were acknowledged are on the disks of the name server and of most of the journal
 * set. A copy of one of them may be lost while all the others have everything; not a second one
 * before that is so again. */
bool fault_may_lose(struct world *w, const struct host *but)
{
	const struct host *ns = world_nameserver(w);
	unsigned int members = ns_host_set_size(ns);

	if (w->healed || ns_host_committed(ns) == 0 || members == 0)
		return false;
	if (ns_host_in_set(ns, &but->id))
		members--;
	return members > 0 && members_have(w, but, ns_host_committed(ns)) == members;
}

/* Enough of them have a copy at all: else nobody could begin without a word of the operator. */
bool fault_may_forget(struct world *w)
{
	const struct host *ns = world_nameserver(w);
	unsigned int members = ns_host_set_size(ns);
	uint64_t committed = ns_host_committed(ns);

	return !w->healed && committed > 0 && members > 0 &&
	       members_have(w, NULL, 1) >= journal_needs(JOURNAL_TAKE, members) &&
	       members_have(w, NULL, committed) >= journal_needs(JOURNAL_COMMIT, members);
}

static void nameserver_replaced(struct host *host)
{
	host_restart_after(host, 100 * MS + world_below(host->world, 5 * SECOND));
}

void fault_lose_directory(struct host *host)
{
	host_stop(host, HOST_KILL);
	ns_disk_lose(host);
	host->world->result.tallies[TALLY_LOST]++;
	world_trace(host->world, "%s: its directory is gone", host->name);
	nameserver_replaced(host);
}

static void lose_directory(struct world *w)
{
	struct host *host = any_nameserver(w);

	if (fault_may_forget(w))
		fault_lose_directory(host);
}

static void old_directory(struct world *w)
{
	struct host *host = any_nameserver(w);

	if (!host->snapshot || world_chance(w, 30)) {
		ns_disk_keep(host);
		return;
	}
	if (!fault_may_forget(w))
		return;
	host_stop(host, HOST_KILL);
	if (ns_disk_restore(host)) {
		w->result.tallies[TALLY_OLD]++;
		world_trace(w, "%s: its directory is an old one", host->name);
	}
	nameserver_replaced(host);
}

/* ---- very long times ---- */

/* For a server that is off, 400 days are nothing; the others have lived through them. No client
 * asks for so long. */
static void away(struct world *w)
{
	struct host *host = any_storage(w);
	uint64_t days = 1 + world_below(w, 400);

	host_stop(host, world_chance(w, 50) ? HOST_QUIT : HOST_POWER);
	world_trace(w, "%s misses %llu days", host->name, (unsigned long long)days);
	for (unsigned int i = 0; i < w->client_count; i++) {
		host_stop(world_client(w, i), HOST_QUIT);
		host_restart_after(world_client(w, i), SECOND);
	}
	w->result.tallies[TALLY_AWAY]++;
	world_days_pass(w, days);
	host_restart_after(host, SECOND + world_below(w, 10 * SECOND));
}

static void jump(struct world *w)
{
	uint64_t years = UINT64_C(20) * 365 * 24 * 3600 * 1000;

	w->wall_jump_ms = (int64_t)world_below(w, years) - (int64_t)(years / 2);
}

static void disk_fault_ends(struct world *w, const struct due *due)
{
	struct host *host = &w->hosts[due->a];

	if (!host->up || host->life != due->b)
		return;
	host_stop(host, HOST_KILL);
	host_restart_after(host, 100 * MS);
}

static void disk_fails(struct world *w)
{
	struct host *host = world_chance(w, 25) ? any_nameserver(w) : any_storage(w);
	unsigned int kinds = world_chance(w, 60) ? DISK_SIM_SYNC_FILE : DISK_SIM_CHANGES;

	if (!host->up)
		return;
	world_trace(w, "%s: its disk will fail", host->name);
	host->disk_faulty = true;
	disk_sim_fail(host->disk, &(struct disk_sim_fault){ .kinds = kinds,
							    .nth = 1 + world_below(w, 6),
							    .error = -ERR_IO,
							    .sticky = world_chance(w, 30) });
	world_after(w, some_time(w),
		    (struct due){ .run = disk_fault_ends, .a = host->index, .b = host->life });
}

static void full_ends(struct world *w, const struct due *due)
{
	struct host *host = &w->hosts[due->a];

	if (host->up && host->life == due->b)
		disk_sim_fail(host->disk, &(struct disk_sim_fault){ 0 });
}

static void disk_full(struct world *w)
{
	struct host *host = any_storage(w);
	unsigned int kinds = DISK_SIM_WRITE | DISK_SIM_ALLOCATE | DISK_SIM_MKDIR;

	if (!host->up)
		return;
	world_trace(w, "%s: its disk is full", host->name);
	host->disk_faulty = true;
	disk_sim_fail(host->disk,
		      &(struct disk_sim_fault){
			      .kinds = kinds, .nth = 1, .error = -ERR_LOCAL_FULL, .sticky = true });
	world_after(w, some_time(w),
		    (struct due){ .run = full_ends, .a = host->index, .b = host->life });
}

void fault_disk_lies(struct world *w)
{
	for (unsigned int i = 0; i < w->host_count; i++) {
		struct host *host = &w->hosts[i];
		bool lies =
			(host->kind == HOST_STORAGE && w->config.sabotage == SABOTAGE_UNSYNCED) ||
			(host->kind == HOST_NAMESERVER &&
			 w->config.sabotage == SABOTAGE_UNSYNCED_JOURNAL);

		if (lies)
			disk_sim_fail(host->disk,
				      &(struct disk_sim_fault){ .kinds = DISK_SIM_SYNC_FILE,
								.nth = 1,
								.sticky = true });
	}
}

/* ---- at the worst moments ---- */

static void crash_now(struct world *w, const struct due *due)
{
	if (w->healed)
		return;
	if (due->a)
		power_all(w);
	else
		crash_nameserver(w);
}

void fault_acknowledged(struct world *w)
{
	bool all = w->faults & FAULT_POWER_ALL && world_chance(w, 50);

	if (w->healed || !(w->faults & (FAULT_POWER_ALL | FAULT_NS_CRASH)) || !world_chance(w, 4))
		return;
	world_after(w, world_below(w, MS), (struct due){ .run = crash_now, .a = all });
}

static void reset_now(struct world *w, const struct due *due)
{
	net_reset(w, due->a);
}

void fault_answered(struct world *w, uint64_t socket)
{
	if (w->healed || !(w->faults & FAULT_RESET) || !world_chance(w, 4))
		return;
	world_after(w, world_below(w, 400), (struct due){ .run = reset_now, .a = socket });
}

/* ---- one after the other ---- */

static void (*const faults[])(struct world *) = {
	crash_nameserver, crash_storage, crash_client, power_all, reset_some,  cut,
	cut_one_way,      pause_host,    slow,         NULL,      jump,        disk_fails,
	disk_full,        NULL,          NULL,         NULL,      partition,   pause_nameserver,
	lose_directory,   old_directory, crash_set,    away,      fault_usurp, fault_relapse,
};

static void fault_next(struct world *w, const struct due *due)
{
	(void)due;
	if (w->healed)
		return;
	for (unsigned int tries = 0; tries < 64; tries++) {
		unsigned int which = (unsigned int)world_below(w, ARRAY_SIZE(faults));

		if (faults[which] && w->faults >> which & 1) {
			faults[which](w);
			break;
		}
	}
	world_after(w, 100 * MS + world_below(w, w->fault_gap_us),
		    (struct due){ .run = fault_next });
}

void faults_begin(struct world *w)
{
	world_after(w, 2 * SECOND + world_below(w, 2 * SECOND), (struct due){ .run = fault_next });
}

void faults_heal(struct world *w)
{
	world_trace(w, "everything heals");
	w->healed = true;
	memset(w->cut, 0, sizeof(w->cut));
	w->loss_percent = w->twice_percent = w->late_percent = w->refuse_percent = 0;
	for (unsigned int i = 0; i < w->host_count; i++) {
		struct host *host = &w->hosts[i];

		if (host_is_paused(host))
			world_wake(w, host);
		host->slow_us = 0;
		if (host->disk_faulty)
			host_stop(host, HOST_KILL);
		if (!host->up)
			host_restart_after(host, 10 * MS);
	}
	net_resume(w);
}

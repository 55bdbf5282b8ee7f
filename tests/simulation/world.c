/* The cluster: who is there, its life from the first start to the last check. */
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#include "codec.h"
#include "error.h"

enum {
	STANDBY_PERCENT = 40,
};

static const char *const sabotages[] = {
	[SABOTAGE_NONE] = "none",
	[SABOTAGE_EARLY_DURABLE] = "early-durable",
	[SABOTAGE_UNSYNCED] = "unsynced-chunks",
	[SABOTAGE_EARLY_STORED] = "early-stored",
	[SABOTAGE_FORGOTTEN] = "forgotten-answers",
	[SABOTAGE_UNSYNCED_JOURNAL] = "unsynced-journal",
	[SABOTAGE_OLD_START] = "old-start",
	[SABOTAGE_NO_REPAIR] = "no-repair",
	[SABOTAGE_GREEDY] = "greedy-trim",
	[SABOTAGE_MUTE_COPIES] = "mute-copies",
	[SABOTAGE_LOOSE_COPIES] = "loose-copies",
	[SABOTAGE_FORGET_SHARED] = "forget-shared",
	[SABOTAGE_FORGET_PURGED] = "forget-purged",
	[SABOTAGE_PROMISE_LOST] = "promise-lost",
	[SABOTAGE_OWN_DISK] = "own-disk-only",
	[SABOTAGE_FEW_PROMISES] = "few-promises",
	[SABOTAGE_OLD_COPY] = "old-copy",
	[SABOTAGE_NO_HOLD] = "no-hold",
	[SABOTAGE_NO_LEASE] = "no-lease",
	[SABOTAGE_ONE_PROMISE] = "one-promise",
	[SABOTAGE_OLDEST_COPY] = "oldest-copy",
	[SABOTAGE_OLD_BATCH] = "old-batch",
	[SABOTAGE_LOW_PROMISE] = "low-promise",
	[SABOTAGE_OLD_ANSWERS] = "old-answers",
	[SABOTAGE_NO_ALARM] = "no-alarm",
	[SABOTAGE_NO_BRAKE] = "no-brake",
};

const char *sabotage_name(unsigned int sabotage)
{
	return sabotage < SABOTAGE_COUNT ? sabotages[sabotage] : NULL;
}

uint64_t world_trash_ms(const struct world *w)
{
	static const uint64_t choice[] = { 0, 2000, 50 * 1000 };

	return choice[w->config.seed % ARRAY_SIZE(choice)];
}

/* Where disks are full it may go earlier. */
uint64_t world_kept_us(const struct world *w)
{
	return w->faults & (FAULT_FULL | FAULT_AWAY) ? 0 : world_trash_ms(w) * MS;
}

/* ---- hosts ---- */

uint64_t host_ms(const struct host *host)
{
	return host->clock_ms + host->world->now_us / MS;
}

uint64_t host_until(const struct host *host, uint64_t at_ms)
{
	uint64_t now_ms = host_ms(host);

	return at_ms > now_ms ? (at_ms - now_ms) * MS : 1;
}

bool host_is_paused(const struct host *host)
{
	return host->paused_until_us > host->world->now_us;
}

void world_days_pass(struct world *w, uint64_t days)
{
	w->skipped_ms += days * 24 * 3600 * 1000;
	for (unsigned int i = 0; i < w->host_count; i++)
		w->hosts[i].clock_ms += days * 24 * 3600 * 1000;
}

void host_listen(struct host *host, uint16_t port)
{
	for (unsigned int i = 0; i < PORTS_MAX; i++) {
		if (host->ports[i] == 0) {
			host->ports[i] = port;
			return;
		}
	}
	abort();
}

void host_unlisten(struct host *host, uint16_t port)
{
	for (unsigned int i = 0; i < PORTS_MAX; i++) {
		if (host->ports[i] == port)
			host->ports[i] = 0;
	}
}

static uint32_t new_address(struct world *w)
{
	return (uint32_t)(0x0a000000 + (++w->addresses));
}

void host_start(struct host *host)
{
	struct world *w = host->world;

	if (host->up)
		return;
	if (host->life && w->faults & FAULT_ADDRESS && !w->healed && world_chance(w, 30))
		host->address = new_address(w);
	host->up = true;
	host->life++;
	host->clock_ms = 1 + world_below(w, 1000 * 1000);
	host->paused_until_us = 0;
	host->disk_faulty = false;
	fault_disk_lies(w);
	world_trace(w, "%s: starts", host->name);
	if (host->ops->start(host))
		return;
	host->up = false;
	host->process = NULL;
	host_restart_after(host, SECOND);
}

static void restart(struct world *w, const struct due *due)
{
	host_start(&w->hosts[due->a]);
}

void host_restart_after(struct host *host, uint64_t delay_us)
{
	world_after(host->world, delay_us, (struct due){ .run = restart, .a = host->index });
}

static void restart_now(struct world *w, const struct due *due)
{
	struct host *host = due->host;
	uint32_t address = host->address;

	(void)w;
	host_stop(host, HOST_QUIT);
	host_start(host);
	host->address = address;
}

void host_restart_now(struct host *host)
{
	world_after(host->world, 1, (struct due){ .run = restart_now, .host = host });
}

static enum disk_sim_crash_mode crash_mode(struct world *w, enum host_stop how)
{
	if (how != HOST_POWER)
		return DISK_SIM_KILL;
	if (w->config.sabotage != SABOTAGE_NONE)
		return DISK_SIM_DROP_ALL;
	return (enum disk_sim_crash_mode)world_below(w, DISK_SIM_KILL);
}

void host_stop(struct host *host, enum host_stop how)
{
	struct world *w = host->world;

	if (!host->up)
		return;
	world_trace(w, "%s: %s", host->name,
		    how == HOST_QUIT   ? "quits"
		    : how == HOST_KILL ? "is killed"
				       : "loses power");
	host->ops->stop(host, how != HOST_QUIT);
	host->process = NULL;
	host->up = false;
	host->hears = false;
	memset(host->ports, 0, sizeof(host->ports));
	net_host_gone(host, how == HOST_POWER);
	if (host->disk)
		disk_sim_crash(host->disk, crash_mode(w, how), prng_next(&w->prng));
}

/* ---- who is there ---- */

struct host *world_ns(struct world *w, unsigned int number)
{
	return &w->hosts[number];
}

struct host *world_nameserver(struct world *w)
{
	struct host *best = &w->hosts[0];
	uint64_t epoch = 0;

	for (unsigned int i = 0; i < w->ns_count; i++) {
		struct ns_figures figures = ns_host_figures(world_ns(w, i));

		if (figures.serving && figures.epoch > epoch) {
			best = world_ns(w, i);
			epoch = figures.epoch;
		}
	}
	return best;
}

struct host *world_storage(struct world *w, unsigned int number)
{
	return &w->hosts[w->ns_count + number];
}

struct host *world_client(struct world *w, unsigned int number)
{
	return &w->hosts[w->ns_count + w->storage_count + number];
}

static void host_add(struct world *w, enum host_kind kind, unsigned int number)
{
	static const struct process_ops *const ops[] = { &nameserver_process, &storage_process,
							 &client_process };
	static const char *const names[] = { "ns", "storage", "client" };
	struct host *host = &w->hosts[w->host_count];

	*host = (struct host){ .world = w,
			       .ops = ops[kind],
			       .kind = kind,
			       .index = w->host_count++,
			       .number = number,
			       .address = new_address(w),
			       .id = world_id(w),
			       .disk_id = world_id(w),
			       .machine = world_id(w) };
	snprintf(host->name, sizeof(host->name), "%s-%u", names[kind], number);
	if (kind == HOST_CLIENT)
		return;
	host->disk = disk_sim_new(WORLD_DISK_CAPACITY);
	if (!host->disk)
		abort();
}

static void build(struct world *w)
{
	w->storage_count = 2 + (unsigned int)world_below(w, STORAGES_MAX - 1);
	if (world_chance(w, 50))
		w->storage_count = 3;
	w->client_count = 2 + world_chance(w, 20);
	/* With a journal set of less than three it never begins, and must not be in the way. */
	w->ns_count = 1 + world_chance(w, STANDBY_PERCENT);
	if (fault_needs_two(w)) {
		w->ns_count = 2;
		w->storage_count += w->storage_count < JOURNAL_SET_MAX;
	}
	for (unsigned int i = 0; i < w->ns_count; i++)
		host_add(w, HOST_NAMESERVER, i);
	for (unsigned int i = 0; i < w->storage_count; i++)
		host_add(w, HOST_STORAGE, i);
	for (unsigned int i = 0; i < w->client_count; i++)
		host_add(w, HOST_CLIENT, i);
	for (unsigned int i = 0; i < w->host_count; i++)
		host_restart_after(&w->hosts[i], world_below(w, SECOND));
}

static void world_draw(struct world *w)
{
	w->prng.state = w->config.seed;
	w->wall_base_ms = UINT64_C(1700000000000);
	w->cluster = world_id(w);
	w->chunk_size = (uint32_t)(2 + world_below(w, 3)) * 64 * 1024;
	/* Now and then transfers of several frames. */
	if (world_chance(w, 6))
		w->chunk_size = 1536 * 1024;
	w->large_from = world_chance(w, 40) ? 100 * 1024 : 0;
	w->sync_us = 500 + world_below(w, world_chance(w, 30) ? 60 * MS : 5 * MS);
	faults_draw(w);
	workload_new(w);
	build(w);
}

/* ---- its life ---- */

void world_wait_idle(struct world *w, const char *what)
{
	uint64_t end_us = w->now_us + 90 * SECOND;

	while (!workload_is_idle(w) && w->now_us < end_us && !w->result.failed)
		world_run_until(w, w->now_us + 100 * MS);
	if (!workload_is_idle(w))
		world_fail(w, "%s did not come to an end 90 s after everything healed", what);
}

static void clients_go(struct world *w)
{
	for (unsigned int i = 0; i < w->client_count; i++)
		host_stop(world_client(w, i), HOST_QUIT);
}

/* A receipt that got lost on its way leaves a copy that nobody knows of, until inventories are
 * compared: when its server registers again. */
static void storages_restart(struct world *w)
{
	for (unsigned int i = 0; i < w->storage_count; i++) {
		host_stop(world_storage(w, i), world_chance(w, 50) ? HOST_QUIT : HOST_KILL);
		host_restart_after(world_storage(w, i), world_below(w, SECOND));
	}
}

static void live(struct world *w)
{
	faults_begin(w);
	drain_begin(w);
	world_run_until(w, 12 * SECOND + world_below(w, 30 * SECOND));
	if (w->result.failed)
		return;
	faults_heal(w);
	/* A stand-by that slept may take over although nobody else is gone. */
	world_run_until(w, w->now_us + (w->ns_count > 1 ? 25 : 6) * (uint64_t)SECOND);
	workload_quiesce(w);
	world_wait_idle(w, "operations");
	oracle_registered(w);
	drain_end(w);
	oracle_journal_set(w);
	oracle_catalogues(w);
	oracle_copies(w, false);
	if (w->result.failed)
		return;
	workload_read_all(w);
	world_wait_idle(w, "reading everything");
	/* What nobody needs would go in this time, and must not after a rebuild. */
	if (w->rebuilt)
		world_run_until(w, w->now_us + 10 * SECOND);
	clients_go(w);
	if (w->rebuilt)
		world_days_pass(w, WORLD_DAYS_HELD + 1);
	storages_restart(w);
	oracle_registered(w);
	if (!w->result.failed)
		oracle_no_leaks(w);
	if (!w->result.failed)
		oracle_copies(w, true);
	if (!w->result.failed)
		oracle_catalogues(w);
	old_catalogue_play(w);
}

static void check_history(struct world *w)
{
	char message[2048];

	past_place(w);
	if (!model_check(&w->model, message, sizeof(message)))
		world_fail(w, "%s", message);
	w->result.undecided = w->model.blurred;
}

static void world_free(struct world *w)
{
	for (unsigned int i = 0; i < w->host_count; i++) {
		host_stop(&w->hosts[i], HOST_QUIT);
		ns_disk_done(&w->hosts[i]);
	}
	ns_snapshot_free(w->earliest);
	for (size_t i = 0; i < w->queue_count; i++) {
		if (w->queue[i].owned)
			free(w->queue[i].context);
	}
	free(w->queue);
	net_done(w);
	workload_free(w);
	model_done(&w->model);
	free(w->chunks.slots);
	free(w->inodes.slots);
	free(w->history.batches);
	free(w);
}

bool world_run(const struct world_config *config, struct world_result *ret)
{
	struct world *w = calloc(1, sizeof(*w));

	if (!w)
		abort();
	w->config = *config;
	world_draw(w);
	live(w);
	check_history(w);
	w->result.virtual_us = w->now_us;
	*ret = w->result;
	world_free(w);
	return !ret->failed;
}

/* ---- the trace of frames ---- */

static void trace_frame(struct world *w, const char *way, const struct frame_header *header,
			const uint8_t *body)
{
	struct arena arena = { 0 };
	struct message message;
	struct buffer text = { 0 };

	if (header->type == MSG_data)
		world_trace(w, "  %s %sdata id %u offset %llu length %llu flags %u", way,
			    header->reply ? "reply " : "", header->id,
			    (unsigned long long)header->arg1, (unsigned long long)header->arg2,
			    header->flags);
	else if (message_decode(header, body, &arena, &message) == 0 &&
		 message_print(&message, &text) == 0)
		world_trace(w, "  %s %s%.*s id %u", way, header->reply ? "reply " : "",
			    text.size > 300 ? 300 : (int)text.size, (const char *)text.data,
			    header->id);
	buffer_done(&text);
	arena_done(&arena);
}

void world_trace_frames(struct world *w, const struct host *from, const struct socket *socket,
			const uint8_t *data, size_t size)
{
	struct frame_header header;
	struct host *to = NULL;
	char way[64];
	size_t step;

	if (!w->config.trace)
		return;
	for (unsigned int i = 0; i < w->host_count; i++) {
		struct endpoint own = endpoint_ipv4(w->hosts[i].address, socket->remote.port);

		if (endpoint_equal(&own, &socket->remote))
			to = &w->hosts[i];
	}
	snprintf(way, sizeof(way), "%s > %s (%llx)", from->name, to ? to->name : "nobody",
		 (unsigned long long)socket->handle);
	for (; frame_next(data, size, &header, &step) == 1; data += step, size -= step)
		trace_frame(w, way, &header, data + FRAME_HEADER_SIZE);
}

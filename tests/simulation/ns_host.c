/* The glue around the name server's core: journal on a simulated disk, turns, durability. */
#include <stdlib.h>

#include "beacon.h"
#include "catalogue.h"
#include "codec.h"
#include "journal.h"
#include "journal_reader.h"
#include "kv_memory.h"
#include "nameserver.h"
#include "world.h"

enum { NS_PORT = 6235 };

struct ns_host {
	struct kv *kv;
	struct journal *journal;
	struct journal_reader *reader;
	struct nameserver *core;
	struct ns_outbox outbox;
	struct buffer queued, appending; /* whole batches */
	uint64_t queued_sequence, appending_sequence, durable;
	bool is_appending, turn_due, served;
	uint64_t armed_ms;
	struct arena arena;
};

static struct ns_host *of(const struct host *host)
{
	return host->process;
}

static void step(struct host *host, struct ns_event *event);

/* ---- what leaves is looked at: ids are given out once ---- */

static void places_check(struct world *w, const struct place *places, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		if (!number_set_add(&w->chunks, places[i].chunk))
			world_fail(w, "chunk id %llx was given out twice",
				   (unsigned long long)places[i].chunk);
	}
}

static void answer_check(struct world *w, const struct message *message)
{
	if (message->status || !message->body)
		return;
	if (message->info->code == MSG_put_begin) {
		const struct put_begin_reply *reply = message->body;

		places_check(w, reply->places, reply->places_count);
	} else if (message->info->code == MSG_put_chunks) {
		const struct put_chunks_reply *reply = message->body;

		places_check(w, reply->places, reply->places_count);
	}
}

static void sent_check(struct host *host, struct slice bytes)
{
	struct ns_host *ns = of(host);
	struct frame_header header;
	struct message message;
	size_t size;

	while (frame_next(bytes.data, bytes.size, &header, &size) == 1) {
		const uint8_t *body = bytes.data + FRAME_HEADER_SIZE;

		if (header.reply && message_decode(&header, body, &ns->arena, &message) == 0)
			answer_check(host->world, &message);
		arena_reset(&ns->arena);
		bytes = (struct slice){ bytes.data + size, bytes.size - size };
	}
}

/* ---- durability ---- */

static void report_durable(struct host *host, uint64_t sequence)
{
	struct ns_event event = { .kind = NS_DURABLE, .sequence = sequence };
	struct nameserver_info info = nameserver_info(of(host)->core);
	struct world *w = host->world;

	of(host)->durable = sequence;
	if (!of(host)->served) {
		of(host)->served = true;
		if (info.epoch <= w->epoch)
			world_fail(w, "epoch %llu is served after epoch %llu",
				   (unsigned long long)info.epoch, (unsigned long long)w->epoch);
		w->epoch = info.epoch;
	}
	step(host, &event);
}

static void append_start(struct host *host);

static void append_done(struct world *w, const struct due *due)
{
	struct host *host = due->host;
	struct ns_host *ns = of(host);
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

static uint64_t sync_time(struct world *w)
{
	uint64_t most = world_chance(w, 5) ? 20 * w->sync_us : w->sync_us;

	return 100 + world_below(w, most);
}

static void append_start(struct host *host)
{
	struct ns_host *ns = of(host);
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

static void commit(struct host *host, const struct ns_action *action, struct slice batch)
{
	struct ns_host *ns = of(host);

	buffer_append(&ns->queued, batch.data, batch.size);
	ns->queued_sequence = action->sequence;
	if (!ns->is_appending)
		append_start(host);
	if (host->world->config.sabotage == SABOTAGE_EARLY_DURABLE)
		world_after(
			host->world, 1,
			(struct due){ .run = durable_early, .host = host, .a = action->sequence });
}

static void journal_read_done(struct world *w, const struct due *due)
{
	struct ns_host *ns = of(due->host);
	struct journal_range range = { due->a, ns->durable, 1 + world_below(w, JOURNAL_READ_SIZE) };
	struct buffer batches = { 0 };
	struct ns_event event = { .kind = NS_JOURNAL, .sequence = due->a };

	event.error = journal_read(ns->reader, &range, &batches);
	event.batches = (struct slice){ batches.data, batches.size };
	step(due->host, &event);
	buffer_done(&batches);
}

/* ---- steps ---- */

static bool is_fetch(struct slice frame)
{
	struct frame_header header;

	return frame_header_decode(frame.data, &header) == 0 && header.type == MSG_fetch &&
	       !header.reply;
}

static void act(struct host *host, const struct ns_action *action)
{
	struct slice bytes = ns_action_bytes(&of(host)->outbox, action);

	switch (action->kind) {
	case NS_SEND:
		sent_check(host, bytes);
		if (host->world->config.sabotage == SABOTAGE_NO_REPAIR && is_fetch(bytes))
			break;
		net_send(host, action->conn, bytes.data, bytes.size);
		fault_answered(host->world, net_socket(host, action->conn));
		break;
	case NS_CLOSE: net_close(host, action->conn, false); break;
	case NS_COMMIT: commit(host, action, bytes); break;
	case NS_JOURNAL_READ:
		world_after(host->world, sync_time(host->world),
			    (struct due){ .run = journal_read_done,
					  .host = host,
					  .a = action->sequence });
		break;
	case NS_BEACON: net_broadcast(host, bytes.data); break;
	case NS_EVENT:
		world_trace(host->world, "%s: %s %.*s", host->name, action->event, (int)bytes.size,
			    (const char *)bytes.data);
		break;
	case NS_FAILED: world_fail(host->world, "the name server's catalogue failed"); break;
	case NS_DEPOSED: world_fail(host->world, "the name server was deposed"); break;
	case NS_DIAL: break;
	}
}

static void tick(struct world *w, const struct due *due);

static void arm(struct host *host)
{
	struct ns_host *ns = of(host);
	uint64_t deadline_ms = nameserver_deadline(ns->core);

	if (deadline_ms >= ns->armed_ms)
		return;
	ns->armed_ms = deadline_ms;
	world_after(host->world, host_until(host, deadline_ms),
		    (struct due){ .run = tick, .host = host, .a = deadline_ms });
}

static void act_all(struct host *host)
{
	struct ns_host *ns = of(host);

	for (unsigned int i = 0; i < ns->outbox.count; i++)
		act(host, &ns->outbox.actions[i]);
	ns_outbox_clear(&ns->outbox);
	arm(host);
}

static void turn_ends(struct world *w, const struct due *due)
{
	struct ns_host *ns = of(due->host);

	(void)w;
	ns->turn_due = false;
	nameserver_end_turn(ns->core, &ns->outbox);
	act_all(due->host);
}

/* Changes a row behind the core's back; `value` empty: removes it. */
static void row_forge(struct kv *kv, struct slice key, struct slice value)
{
	uint8_t head[CHANGE_PUT_SIZE] = { value.size ? CHANGE_PUT : CHANGE_REMOVE };
	struct buffer changes = { 0 };

	put_u16(head + 1, (uint16_t)key.size);
	put_u32(head + 3, (uint32_t)value.size);
	buffer_append(&changes, head, value.size ? CHANGE_PUT_SIZE : CHANGE_REMOVE_SIZE);
	buffer_append(&changes, key.data, key.size);
	buffer_append(&changes, value.data, value.size);
	kv_memory_apply(kv, (struct slice){ changes.data, changes.size });
	buffer_done(&changes);
}

/* Sabotage: nothing is known of what was answered before. */
static void answers_forget(struct kv *kv)
{
	struct slice key, value;

	while (kv_seek(kv, slice_of("o"), &key, &value) == 0 && key.data[0] == 'o')
		row_forge(kv, key, (struct slice){ 0 });
}

/* Sabotage: a chunk belongs to nobody but the first who had it. */
static void shared_forget(struct kv *kv)
{
	uint8_t space[KV_KEY_SIZE_MAX + 1];
	uint64_t before = 0;
	struct slice key = slice_of("k"), value;

	while (kv_seek(kv, key, &key, &value) == 0 && key.data[0] == 'k') {
		uint64_t chunk = get_be64(key.data + 1);
		struct slice next = kv_after(key, space);

		if (chunk == before)
			row_forge(kv, key, (struct slice){ 0 });
		before = chunk;
		key = next;
	}
}

/* Sabotage: up to where the trash was emptied. */
static void purged_forget(struct kv *kv)
{
	struct slice key = slice_of("strash"), value;
	uint8_t row[128];

	if (kv_get(kv, key, &value) < 0 || value.size > sizeof(row))
		return;
	memcpy(row, value.data, value.size);
	memset(row + value.size - 8, 0, 8);
	row_forge(kv, key, (struct slice){ row, value.size });
}

static void sabotage(struct world *w, struct kv *kv)
{
	switch (w->config.sabotage) {
	case SABOTAGE_FORGOTTEN: answers_forget(kv); break;
	case SABOTAGE_FORGET_SHARED: shared_forget(kv); break;
	case SABOTAGE_FORGET_PURGED: purged_forget(kv); break;
	default: break;
	}
}

static void step(struct host *host, struct ns_event *event)
{
	struct ns_host *ns = of(host);
	struct world *w = host->world;

	sabotage(w, ns->kv);
	event->now_ms = host_ms(host);
	event->wall_ms = world_wall_ms(w);
	nameserver_step(ns->core, event, &ns->outbox);
	act_all(host);
	if (ns->turn_due)
		return;
	ns->turn_due = true;
	world_after(w, world_below(w, 200), (struct due){ .run = turn_ends, .host = host });
}

static void tick(struct world *w, const struct due *due)
{
	struct ns_host *ns = of(due->host);

	(void)w;
	if (due->a != ns->armed_ms)
		return;
	ns->armed_ms = UINT64_MAX;
	step(due->host, &(struct ns_event){ .kind = NS_TICK });
	arm(due->host);
}

/* ---- life ---- */

static int replay(void *context, const struct batch_head *head, struct slice changes)
{
	(void)head;
	return kv_memory_apply(context, changes);
}

static int catalogue_open(struct host *host, struct ns_host *ns)
{
	int rc = kv_memory_new(&ns->kv);

	if (rc == 0)
		rc = journal_open(disk_sim_disk(host->disk), 0, replay, ns->kv, &ns->journal);
	if (rc == 0)
		rc = journal_reader_new(disk_sim_disk(host->disk), &ns->reader);
	if (rc == 0 && journal_head(ns->journal).sequence == 0)
		rc = catalogue_format(ns->kv, &host->world->cluster, "simulated");
	return rc;
}

static int core_start(struct host *host, struct ns_host *ns)
{
	struct world *w = host->world;
	uint64_t start = setting_get_u64(ns->kv, "start", 0);
	struct journal_head head = journal_head(ns->journal);
	struct nameserver_config config = {
		.self = host->id,
		.machine = host->machine,
		.secret = w->key,
		.seed = prng_next(&w->prng),
		.wall_ms = world_wall_ms(w),
		.sequence = head.sequence,
		.hash = head.hash,
		.port = NS_PORT,
		.version = "simulated",
		.chunk_size = w->chunk_size,
		.unknown_grace_ms = 20 * 1000,
		.trash_ms = world_trash_ms(w),
		.no_trash = world_trash_ms(w) == 0,
		.copy_step = 3,
		.repair_delay_ms = 1000 + w->config.seed % 4 * 3000,
	};

	if (w->config.sabotage == SABOTAGE_OLD_START && start)
		setting_put_u64(ns->kv, "start", start - 1);
	return nameserver_new(&config, ns->kv, host_ms(host), &ns->core);
}

static void ns_free(struct ns_host *ns)
{
	nameserver_free(ns->core);
	journal_reader_free(ns->reader);
	journal_close(ns->journal);
	kv_memory_free(ns->kv);
	ns_outbox_done(&ns->outbox);
	buffer_done(&ns->queued);
	buffer_done(&ns->appending);
	arena_done(&ns->arena);
	free(ns);
}

static bool ns_start(struct host *host)
{
	struct ns_host *ns = calloc(1, sizeof(*ns));
	int rc;

	if (!ns)
		abort();
	ns->armed_ms = UINT64_MAX;
	rc = catalogue_open(host, ns);
	if (rc == 0)
		ns->durable = journal_head(ns->journal).sequence;
	if (rc == 0)
		rc = core_start(host, ns);
	if (rc < 0) {
		world_trace(host->world, "%s: cannot start: %d", host->name, rc);
		if (rc == -ERR_CORRUPT)
			world_fail(host->world, "%s: the journal is damaged", host->name);
		ns_free(ns);
		return false;
	}
	host->process = ns;
	host_listen(host, NS_PORT);
	host->hears = true;
	nameserver_end_turn(ns->core, &ns->outbox);
	act_all(host);
	return true;
}

static void ns_stop(struct host *host, bool crash)
{
	struct ns_host *ns = of(host);

	if (!crash && ns->is_appending)
		(void)journal_append(ns->journal,
				     (struct slice){ ns->appending.data, ns->appending.size });
	/* A crash in the middle of it: the disk says how far it came. */
	if (crash && ns->is_appending && world_chance(host->world, 50)) {
		disk_sim_power_off_at(host->disk, 1 + world_below(host->world, 4));
		(void)journal_append(ns->journal,
				     (struct slice){ ns->appending.data, ns->appending.size });
	}
	ns_free(ns);
}

/* ---- events ---- */

static void ns_accepted(struct host *host, const struct socket *socket)
{
	step(host, &(struct ns_event){ .kind = NS_OPENED,
				       .conn = socket->handle,
				       .peer = socket->remote,
				       .local = socket->local });
}

static void ns_dialled(struct host *host, uint64_t handle, int error, const struct endpoint *peer)
{
	(void)peer;
	(void)handle;
	(void)error;
	world_fail(host->world, "the name server dialled somebody");
}

static void ns_frame(struct host *host, uint64_t handle, const struct frame_header *header,
		     const uint8_t *body)
{
	step(host, &(struct ns_event){
			   .kind = NS_FRAME, .conn = handle, .header = header, .body = body });
}

static void ns_malformed(struct host *host, uint64_t handle, const struct frame_header *header)
{
	step(host, &(struct ns_event){ .kind = NS_MALFORMED, .conn = handle, .header = header });
}

static void ns_closed(struct host *host, uint64_t handle, int error)
{
	(void)error;
	step(host, &(struct ns_event){ .kind = NS_CLOSED, .conn = handle });
}

static void ns_datagram(struct host *host, const struct endpoint *source, const uint8_t *data)
{
	struct nameserver_info info = nameserver_info(of(host)->core);
	struct beacon beacon;

	(void)source;
	if (beacon_decode(data, BEACON_SIZE, NULL, &beacon) < 0 || beacon.kind != BEACON_PROBE)
		return;
	if (id_is_none(&beacon.cluster) || id_equal(&beacon.cluster, &info.cluster))
		step(host, &(struct ns_event){ .kind = NS_PROBE });
}

const struct process_ops nameserver_process = {
	.start = ns_start,
	.stop = ns_stop,
	.accepted = ns_accepted,
	.dialled = ns_dialled,
	.frame = ns_frame,
	.malformed = ns_malformed,
	.closed = ns_closed,
	.datagram = ns_datagram,
};

struct kv *ns_host_kv(const struct host *host)
{
	return host->process ? of(host)->kv : NULL;
}

struct ns_figures ns_host_figures(const struct host *host)
{
	struct nameserver_info info;

	if (!host->process)
		return (struct ns_figures){ 0 };
	info = nameserver_info(of(host)->core);
	return (struct ns_figures){ .serving = info.serving,
				    .leases = info.leases,
				    .members = info.members,
				    .epoch = info.epoch };
}

struct journal_head ns_host_head(const struct host *host)
{
	const struct ns_host *ns = host->process;

	if (!ns || ns->is_appending || ns->queued.size || ns->kv->batch_count)
		return (struct journal_head){ 0 };
	return journal_head(ns->journal);
}

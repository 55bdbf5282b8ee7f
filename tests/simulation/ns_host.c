/* The glue around the name server's core: turns, what leaves, what comes. */
#include "ns_host.h"

#include <stdlib.h>

#include "beacon.h"
#include "codec.h"

/* Handles of connections that only ask whether somebody is there. */
#define DIALLED_BIT (UINT64_C(1) << 62)

enum { NS_DIAL_US = 500 * MS };

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

/* Somebody is told how things are. */
static bool is_of_now(const struct frame_header *header)
{
	const struct message_info *info = message_info(header->type);

	return header->reply && header->status == 0 && info && info->to == TO_CATALOGUE &&
	       !(header->flags & FRAME_DEGRADED);
}

static void sent_check(struct host *host, struct slice bytes)
{
	struct ns_host *ns = ns_of(host);
	struct frame_header header;
	struct message message;
	size_t size;

	while (frame_next(bytes.data, bytes.size, &header, &size) == 1) {
		const uint8_t *body = bytes.data + FRAME_HEADER_SIZE;

		if (header.type == MSG_delete && !header.reply)
			history_deletes(host->world, host);
		if (is_of_now(&header))
			history_answered(host->world, host, nameserver_info(ns->core).epoch);
		if (header.reply && message_decode(&header, body, &ns->arena, &message) == 0)
			answer_check(host->world, &message);
		arena_reset(&ns->arena);
		bytes = (struct slice){ bytes.data + size, bytes.size - size };
	}
}

/* ---- steps ---- */

static bool is_request(struct slice frame, uint16_t type)
{
	struct frame_header header;

	return frame_header_decode(frame.data, &header) == 0 && header.type == type &&
	       !header.reply;
}

static void dial(struct host *host, const struct ns_action *action)
{
	net_dial(host, &(struct dial){ .handle = DIALLED_BIT | action->sequence,
				       .endpoints = { action->endpoint },
				       .count = 1,
				       .timeout_us = NS_DIAL_US });
}

static void send(struct host *host, const struct ns_action *action, struct slice bytes)
{
	sent_check(host, bytes);
	if (host->world->config.sabotage == SABOTAGE_NO_REPAIR && is_request(bytes, MSG_fetch))
		return;
	net_send(host, action->conn, bytes.data, bytes.size);
	if (host->world->config.sabotage == SABOTAGE_OWN_DISK)
		ns_sabotage_ack(host, action->conn, bytes);
	fault_answered(host->world, net_socket(host, action->conn));
}

static void depose(struct host *host)
{
	world_trace(host->world, "%s: is deposed", host->name);
	if (!ns_of(host)->deposed)
		host_restart_now(host);
	ns_of(host)->deposed = true;
}

static void act(struct host *host, const struct ns_action *action)
{
	struct slice bytes = ns_action_bytes(&ns_of(host)->outbox, action);
	struct world *w = host->world;

	switch (action->kind) {
	case NS_SEND: send(host, action, bytes); break;
	case NS_CLOSE: net_close(host, action->conn, false); break;
	case NS_COMMIT: ns_commit(host, action, bytes); break;
	case NS_JOURNAL_READ: ns_journal_read(host, action); break;
	case NS_BEACON: net_broadcast(host, bytes.data); break;
	case NS_EVENT:
		world_trace(w, "%s: %s %.*s", host->name, action->event, (int)bytes.size,
			    (const char *)bytes.data);
		break;
	case NS_FAILED: world_fail(w, "%s: its catalogue failed", host->name); break;
	case NS_DEPOSED: depose(host); break;
	case NS_DIAL: dial(host, action); break;
	}
}

static void tick(struct world *w, const struct due *due)
{
	struct ns_host *ns = ns_of(due->host);

	(void)w;
	if (due->a != ns->armed_ms)
		return;
	ns->armed_ms = UINT64_MAX;
	if (ns->takeover)
		ns_taking_step(due->host, &(struct takeover_event){ .kind = TAKEOVER_TICK });
	else
		ns_step(due->host, &(struct ns_event){ .kind = NS_TICK });
}

void ns_arm(struct host *host, uint64_t deadline_ms)
{
	struct ns_host *ns = ns_of(host);

	if (deadline_ms >= ns->armed_ms)
		return;
	ns->armed_ms = deadline_ms;
	world_after(host->world, host_until(host, deadline_ms),
		    (struct due){ .run = tick, .host = host, .a = deadline_ms });
}

static void act_all(struct host *host)
{
	struct ns_host *ns = ns_of(host);

	for (unsigned int i = 0; i < ns->outbox.count; i++)
		act(host, &ns->outbox.actions[i]);
	ns_outbox_clear(&ns->outbox);
	ns_commit_look(host);
	ns_mark_look(host);
	ns_arm(host, nameserver_deadline(ns->core));
}

static void turn_ends(struct world *w, const struct due *due)
{
	struct ns_host *ns = ns_of(due->host);

	(void)w;
	ns->turn_due = false;
	if (ns->deposed)
		return;
	nameserver_end_turn(ns->core, &ns->outbox);
	act_all(due->host);
}

void ns_step(struct host *host, struct ns_event *event)
{
	struct ns_host *ns = ns_of(host);
	struct world *w = host->world;

	if (ns->deposed)
		return;
	ns_sabotage_step(w, ns->kv);
	event->now_ms = host_ms(host);
	event->wall_ms = world_wall_ms(w);
	nameserver_step(ns->core, event, &ns->outbox);
	act_all(host);
	if (ns->turn_due)
		return;
	ns->turn_due = true;
	world_after(w, world_below(w, 200), (struct due){ .run = turn_ends, .host = host });
}

/* ---- life ---- */

static int core_start(struct host *host, const struct journal_head *head)
{
	struct world *w = host->world;
	struct ns_host *ns = ns_of(host);
	struct takeover_outcome outcome = takeover_outcome(ns->takeover);
	struct nameserver_config config = {
		.self = host->id,
		.machine = host->machine,
		.seed = prng_next(&w->prng),
		.wall_ms = world_wall_ms(w),
		.epoch = outcome.epoch,
		.rebuilt = outcome.rebuilt && w->config.sabotage != SABOTAGE_NO_HOLD,
		.sequence = head->sequence,
		.hash = head->hash,
		.port = NS_PORT,
		.version = "simulated",
		.chunk_size = w->chunk_size,
		.unknown_grace_ms = 20 * 1000,
		.trash_ms = world_trash_ms(w),
		.no_trash = world_trash_ms(w) == 0,
		.copy_step = 3,
		.brake_floor =
			w->config.sabotage == SABOTAGE_NO_BRAKE ? UINT32_MAX : w->brake_floor,
		.repair_delay_ms = 1000 + w->config.seed % 4 * 3000,
	};

	put_u64(config.secret.bytes, prng_next(&w->prng));
	if (outcome.rebuilt)
		history_rebuilt(w);
	if (outcome.founded && w->founded)
		world_fail(w, "%s founds a second cluster", host->name);
	return nameserver_new(&config, ns->kv, host_ms(host), &ns->core);
}

/* Cluster and catalogue are what the core before has left in the directory. */
static int catalogue_open(struct host *host, struct journal_head *ret)
{
	struct ns_host *ns = ns_of(host);
	int rc;

	replica_free(ns->replica);
	ns->replica = NULL;
	rc = ns_disk_load(host, &ns->kv, &ns->journal, ret);
	if (rc == 0)
		rc = journal_reader_new(disk_sim_disk(host->disk), &ns->reader);
	if (rc == 0 && ret->sequence == 0)
		rc = catalogue_format(ns->kv, &host->world->cluster, "simulated");
	if (rc == -ERR_CORRUPT)
		world_fail(host->world, "%s: the journal is damaged", host->name);
	if (rc == 0)
		ns_sabotage_start(host->world, ns->kv);
	ns->durable = ret->sequence;
	return rc;
}

static void hand(void *context, struct ns_event *event)
{
	ns_step(context, event);
}

bool ns_serve(struct host *host)
{
	struct ns_host *ns = ns_of(host);
	struct takeover *takeover = ns->takeover;
	struct journal_head head;
	int rc = catalogue_open(host, &head);

	if (rc == 0)
		rc = core_start(host, &head);
	if (rc < 0)
		return false;
	ns->takeover = NULL;
	ns->armed_ms = UINT64_MAX;
	nameserver_end_turn(ns->core, &ns->outbox);
	act_all(host);
	takeover_hand_over(takeover, hand, host);
	takeover_free(takeover);
	return true;
}

static void ns_free(struct ns_host *ns)
{
	takeover_free(ns->takeover);
	takeover_outbox_done(&ns->taking);
	replica_free(ns->replica);
	buffer_done(&ns->job_bytes);
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

	if (!ns)
		abort();
	ns->armed_ms = UINT64_MAX;
	host->process = ns;
	if (!ns_taking_start(host, ns)) {
		host->process = NULL;
		ns_free(ns);
		return false;
	}
	host_listen(host, NS_PORT);
	host->hears = true;
	ns_taking_step(host, &(struct takeover_event){ .kind = TAKEOVER_TICK });
	return true;
}

static void ns_stop(struct host *host, bool crash)
{
	struct ns_host *ns = ns_of(host);

	if (ns->takeover)
		ns_taking_stop(host, crash);
	else
		ns_commit_stop(host, crash);
	ns_free(ns);
}

/* ---- events ---- */

static void ns_accepted(struct host *host, const struct socket *socket)
{
	if (ns_of(host)->takeover)
		ns_taking_step(host, &(struct takeover_event){ .kind = TAKEOVER_OPENED,
							       .conn = socket->handle,
							       .peer = socket->remote,
							       .local = socket->local });
	else
		ns_step(host, &(struct ns_event){ .kind = NS_OPENED,
						  .conn = socket->handle,
						  .peer = socket->remote,
						  .local = socket->local });
}

static void ns_dialled(struct host *host, uint64_t handle, int error, const struct endpoint *peer)
{
	(void)peer;
	if (error == 0)
		net_close(host, handle, false);
	ns_step(host, &(struct ns_event){ .kind = NS_DIALLED,
					  .sequence = handle & ~DIALLED_BIT,
					  .error = error });
}

static void ns_frame(struct host *host, uint64_t handle, const struct frame_header *header,
		     const uint8_t *body)
{
	if (ns_of(host)->takeover)
		ns_sabotage_taking(host, handle, header, body);
	else
		ns_step(host,
			&(struct ns_event){
				.kind = NS_FRAME, .conn = handle, .header = header, .body = body });
}

static void ns_malformed(struct host *host, uint64_t handle, const struct frame_header *header)
{
	if (ns_of(host)->takeover)
		ns_taking_step(host, &(struct takeover_event){ .kind = TAKEOVER_MALFORMED,
							       .conn = handle,
							       .header = header });
	else
		ns_step(host, &(struct ns_event){
				      .kind = NS_MALFORMED, .conn = handle, .header = header });
}

static void ns_closed(struct host *host, uint64_t handle, int error)
{
	(void)error;
	if (handle & DIALLED_BIT)
		return;
	if (ns_of(host)->takeover)
		ns_taking_step(host,
			       &(struct takeover_event){ .kind = TAKEOVER_CLOSED, .conn = handle });
	else
		ns_step(host, &(struct ns_event){ .kind = NS_CLOSED, .conn = handle });
}

/* It serves where we did. */
static bool is_successor(const struct beacon *beacon, const struct nameserver_info *info)
{
	return info->lost && beacon->kind == BEACON_NAMESERVER && beacon->start != 0 &&
	       beacon->epoch > info->epoch && id_equal(&beacon->cluster, &info->cluster);
}

static void ns_datagram(struct host *host, const struct endpoint *source, const uint8_t *data)
{
	struct nameserver_info info;
	struct beacon beacon;

	if (beacon_decode(data, BEACON_SIZE, NULL, &beacon) < 0)
		return;
	if (ns_of(host)->takeover) {
		ns_taking_step(host, &(struct takeover_event){ .kind = TAKEOVER_HEARD,
							       .beacon = &beacon,
							       .peer = *source });
		return;
	}
	info = nameserver_info(ns_of(host)->core);
	if (is_successor(&beacon, &info))
		depose(host);
	else if (beacon.kind == BEACON_PROBE &&
		 (id_is_none(&beacon.cluster) || id_equal(&beacon.cluster, &info.cluster)))
		ns_step(host, &(struct ns_event){ .kind = NS_PROBE });
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

/* ---- for oracles ---- */

struct kv *ns_host_kv(const struct host *host)
{
	return host->process ? ns_of(host)->kv : NULL;
}

struct ns_figures ns_host_figures(const struct host *host)
{
	struct nameserver_info info;

	if (!host->process || !ns_of(host)->core)
		return (struct ns_figures){ 0 };
	info = nameserver_info(ns_of(host)->core);
	return (struct ns_figures){ .serving = info.serving,
				    .leases = info.leases,
				    .members = info.members,
				    .epoch = info.epoch };
}

uint64_t ns_host_committed(const struct host *host)
{
	return host->process ? ns_of(host)->committed : 0;
}

bool ns_host_in_set(const struct host *host, const struct id *node)
{
	struct journal_set set;
	struct kv *kv = ns_host_kv(host);

	return kv && journal_set_get(kv, &set) == 0 && journal_members_have(&set.now, node);
}

unsigned int ns_host_set_size(const struct host *host)
{
	struct journal_set set;
	struct kv *kv = ns_host_kv(host);

	return kv && journal_set_get(kv, &set) == 0 && !set.changing ? set.now.count : 0;
}

struct journal_head ns_host_head(const struct host *host)
{
	const struct ns_host *ns = host->process;
	struct journal_head head;

	if (!ns || !ns->core || ns->is_appending || ns->queued.size || ns->kv->batch_count)
		return (struct journal_head){ 0 };
	head = journal_head(ns->journal);
	return head.sequence ? head : host->rows->mark.head;
}

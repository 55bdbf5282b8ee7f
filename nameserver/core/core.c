/* Turns and time: what happens when, and what it says of itself. */
#include <assert.h>

#include "batch.h"
#include "hold.h"
#include "letting_go.h"
#include "repair.h"

static void on_closed(struct nameserver *ns, const struct ns_event *event)
{
	struct session *session = session_find(ns, event->conn);

	if (session)
		session_gone(ns, session);
}

/* ---- time ---- */

uint64_t uptime_ms(const struct nameserver *ns)
{
	return ns->uptime_base_ms + (ns->now_ms - ns->started_ms);
}

enum { UPTIME_WITH_BATCH_MS = 10 * 1000, UPTIME_ALONE_MS = 10 * 60 * 1000 };

/* The running time goes into the catalogue now and then, at best with a batch that leaves. */
static void uptime_save(struct nameserver *ns)
{
	uint64_t age = uptime_ms(ns) - ns->uptime_saved_ms;

	if (age < (ns->kv->batch_count ? UPTIME_WITH_BATCH_MS : UPTIME_ALONE_MS))
		return;
	if (must_spare(ns) && ns->kv->batch_count == 0)
		return;
	if (setting_put_u64(ns->kv, "uptime", uptime_ms(ns)) < 0)
		ns->failed = true;
	ns->uptime_saved_ms = uptime_ms(ns);
}

/* Of those whom we do not read nobody can be late. */
static void peers_tick(struct nameserver *ns)
{
	if (ns->deaf)
		return;
	sessions_tick(ns);
	clients_tick(ns);
	members_tick(ns);
	orders_tick(ns);
	shipping_tick(ns);
}

static void on_tick(struct nameserver *ns)
{
	peers_tick(ns);
	puts_tick(ns);
	copies_tick(ns);
	long_requests_tick(ns);
	trash_tick(ns);
	hold_tick(ns);
	lost_found_tick(ns);
	garbage_tick(ns);
	results_tick(ns);
	sweep_tick(ns);
	repair_tick(ns);
	balance_tick(ns);
	doubts_tick(ns);
	verify_tick(ns);
	beacons_tick(ns);
	events_tick(ns);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t peers_deadline(const struct nameserver *ns)
{
	uint64_t at = earlier(members_deadline(ns), sessions_deadline(ns));

	at = earlier(at, orders_deadline(ns));
	at = earlier(at, shipping_deadline(ns));
	at = earlier(at, quorum_deadline(ns));
	return ns->deaf ? UINT64_MAX : earlier(at, clients_deadline(ns));
}

static uint64_t uptime_deadline(const struct nameserver *ns)
{
	uint64_t saved_ms = ns->started_ms + ns->uptime_saved_ms - ns->uptime_base_ms;

	return must_spare(ns) ? UINT64_MAX : saved_ms + UPTIME_ALONE_MS;
}

uint64_t nameserver_deadline(const struct nameserver *ns)
{
	uint64_t at = earlier(beacons_deadline(ns), peers_deadline(ns));

	at = earlier(at, puts_deadline(ns));
	at = earlier(at, copies_deadline(ns));
	at = earlier(at, long_requests_deadline(ns));
	at = earlier(at, trash_deadline(ns));
	at = earlier(at, hold_deadline(ns));
	at = earlier(at, lost_found_deadline(ns));
	at = earlier(at, garbage_deadline(ns));
	at = earlier(at, results_deadline(ns));
	at = earlier(at, sweep_deadline(ns));
	at = earlier(at, repair_deadline(ns));
	at = earlier(at, balance_deadline(ns));
	at = earlier(at, doubts_deadline(ns));
	at = earlier(at, verify_deadline(ns));
	at = earlier(at, parked_deadline(ns));
	at = earlier(at, events_deadline(ns));
	return earlier(at, uptime_deadline(ns));
}

/* ---- turns ---- */

static void seal(struct nameserver *ns)
{
	struct ns_outbox *outbox = ns->outbox;
	struct batch_head head = {
		.epoch = ns->epoch,
		.sequence = ns->sequence + 1,
		.previous = ns->hash,
	};
	struct ns_action *action;
	int rc;

	if (ns->kv->batch_count == 0 || ns->failed)
		return;
	action = outbox_add(outbox, NS_COMMIT);
	if (!action)
		return;
	rc = batch_seal(ns->kv, &head, &outbox->bytes, &ns->hash);
	if (rc < 0) {
		ns->failed = true;
		outbox->count--;
		return;
	}
	action->size = outbox->bytes.size - action->offset;
	action->sequence = head.sequence;
	ns->sequence = head.sequence;
	shipping_sealed(ns, ns_action_bytes(outbox, action));
}

static void end_turn(struct nameserver *ns)
{
	quorum_choose(ns);
	uptime_save(ns);
	seal(ns);
	if (ns->failed) {
		if (!ns->failed_told)
			outbox_add(ns->outbox, ns->deposed ? NS_DEPOSED : NS_FAILED);
		ns->failed_told = true;
		return;
	}
	parked_sealed(ns);
	shipping_turn_ends(ns);
	held_seal(ns);
	quorum_commit(ns);
	quorum_look(ns);
	held_release(ns);
	shipping_run(ns);
}

void nameserver_end_turn(struct nameserver *ns, struct ns_outbox *outbox)
{
	ns->outbox = outbox;
	end_turn(ns);
	ns->outbox = NULL;
}

/* ---- what the glue says of itself ---- */

static void on_space(struct nameserver *ns, const struct ns_event *event)
{
	if (ns->full == !event->good)
		return;
	ns->full = !event->good;
	if (!ns->full)
		sweep_request(ns, false);
	ns_event(ns, ns->full ? LOG_ERROR : LOG_INFO, ns->full ? "disk_full" : "disk_has_room",
		 "writable=%s", ns->full ? "false" : "true");
}

/* So long nobody was heard. */
static void all_excuse(struct nameserver *ns, uint64_t ms)
{
	sessions_excuse(ns, ms);
	clients_excuse(ns, ms);
	members_excuse(ns, ms);
	orders_excuse(ns, ms);
	quorum_excuse(ns, ms);
}

static void on_reading(struct nameserver *ns, const struct ns_event *event)
{
	if (ns->deaf == !event->good)
		return;
	ns->deaf = !event->good;
	if (ns->deaf) {
		ns->deaf_ms = ns->now_ms;
		return;
	}
	all_excuse(ns, ns->now_ms - ns->deaf_ms);
}

static void on_durable(struct nameserver *ns, const struct ns_event *event)
{
	if (event->sequence <= ns->durable)
		return;
	ns->shipping.due = true;
	quorum_durable(ns, event->sequence);
	held_release(ns);
	shipping_run(ns);
}

static void on_event(struct nameserver *ns, const struct ns_event *event)
{
	switch (event->kind) {
	case NS_OPENED: session_opened(ns, event); break;
	case NS_GREETED: session_greeted(ns, event); break;
	case NS_DIALLED: member_dialled(ns, event); break;
	case NS_FRAME: frame_came(ns, event); break;
	case NS_CLOSED: on_closed(ns, event); break;
	case NS_MALFORMED: frame_malformed(ns, event); break;
	case NS_PROBE: beacon_probed(ns); break;
	case NS_DURABLE: on_durable(ns, event); break;
	case NS_JOURNAL: journal_was_read(ns, event->sequence, event->batches, event->error); break;
	case NS_SPACE: on_space(ns, event); break;
	case NS_READING: on_reading(ns, event); break;
	case NS_KEEPING_UP: ns->behind = !event->good; break;
	case NS_TICK: on_tick(ns); break;
	}
}

uint64_t excused(const struct nameserver *ns, uint64_t at_ms, uint64_t ms)
{
	return at_ms + ms < ns->now_ms ? at_ms + ms : ns->now_ms;
}

enum { PAUSE_MS = 1000 };

/* Ticks come when they are due, unless this process stood still: heartbeats then wait unread, and
 * nobody else is to blame for the silence. */
static void now_set(struct nameserver *ns, uint64_t now_ms)
{
	bool late = now_ms - ns->now_ms >= PAUSE_MS;
	uint64_t due = late ? nameserver_deadline(ns) : UINT64_MAX;

	if (due < ns->now_ms)
		due = ns->now_ms;
	ns->now_ms = now_ms;
	if (due >= now_ms || now_ms - due < PAUSE_MS)
		return;
	all_excuse(ns, now_ms - due);
	hold_excuse(ns, now_ms - due);
}

void nameserver_step(struct nameserver *ns, const struct ns_event *event, struct ns_outbox *outbox)
{
	assert(event->now_ms >= ns->now_ms);
	now_set(ns, event->now_ms);
	ns->wall_ms = event->wall_ms;
	ns->outbox = outbox;
	if (!ns->failed)
		on_event(ns, event);
	if (!ns->failed)
		parked_run(ns);
	if (ns->kv->batch.size > TURN_SIZE_MAX)
		end_turn(ns);
	arena_reset(&ns->arena);
	ns->outbox = NULL;
}

/* ---- life ---- */

static void config_complete(struct nameserver_config *config)
{
#define DEFAULT(field, value) config->field = config->field ? config->field : (value)
	DEFAULT(client_port_first, CLIENT_PORT_FIRST);
	DEFAULT(client_port_last, CLIENT_PORT_LAST);
	DEFAULT(copies, COPIES_DEFAULT);
	DEFAULT(chunk_size, CHUNK_SIZE_DEFAULT);
	DEFAULT(heartbeat_ms, HEARTBEAT_MS);
	DEFAULT(suspect_after_ms, SUSPECT_AFTER_MS);
	DEFAULT(dead_after_ms, DEAD_AFTER_MS);
	DEFAULT(beacon_interval_ms, BEACON_INTERVAL_MS);
	DEFAULT(repair_delay_ms, REPAIR_DELAY_MS);
	DEFAULT(unknown_grace_ms, UNKNOWN_GRACE_MS);
	DEFAULT(trash_ms, TRASH_MS);
	DEFAULT(copy_step, COPY_STEP);
	DEFAULT(journal_patience_ms, JOURNAL_PATIENCE_MS);
	DEFAULT(version, "");
#undef DEFAULT
	if (config->no_trash)
		config->trash_ms = 0;
}

/* 0 where there is none yet; what cannot be read must not pass for that, since the counts of epochs
 * and starts would begin again. */
static int count_get(struct nameserver *ns, const char *name, uint64_t *ret)
{
	int rc = setting_find_u64(ns->kv, name, ret);

	if (rc == -ERR_NOT_FOUND)
		*ret = 0;
	return rc == -ERR_NOT_FOUND ? 0 : rc;
}

static int counts_load(struct nameserver *ns)
{
	int rc = count_get(ns, "epoch", &ns->epoch);

	if (rc == 0)
		rc = count_get(ns, "start", &ns->start);
	if (rc == 0)
		rc = count_get(ns, "uptime", &ns->uptime_base_ms);
	if (rc < 0)
		return rc;
	ns->uptime_saved_ms = ns->uptime_base_ms;
	if (ns->config.epoch && ns->config.epoch <= ns->epoch)
		return -ERR_STALE;
	ns->epoch = ns->config.epoch ? ns->config.epoch : ns->epoch + 1;
	rc = setting_put_u64(ns->kv, "epoch", ns->epoch);
	return rc < 0 ? rc : setting_put_u64(ns->kv, "start", ++ns->start);
}

static int settings_load(struct nameserver *ns)
{
	struct slice value;
	int rc = setting_get(ns->kv, SETTING_CLUSTER, &value);

	if (rc < 0)
		return rc;
	if (value.size != ID_SIZE)
		return -ERR_BAD_FORMAT;
	memcpy(ns->cluster.bytes, value.data, ID_SIZE);
	rc = setting_get(ns->kv, SETTING_CLUSTER_NAME, &value);
	if (rc < 0)
		return rc;
	if (value.size > CLUSTER_NAME_MAX)
		return -ERR_BAD_FORMAT;
	memcpy(ns->cluster_name, value.data, value.size);
	return counts_load(ns);
}

int nameserver_new(const struct nameserver_config *config, struct kv *kv, uint64_t now_ms,
		   struct nameserver **ret)
{
	struct nameserver *ns = calloc(1, sizeof(*ns));
	int rc;

	if (!ns)
		return -ERR_NO_MEMORY;
	ns->config = *config;
	config_complete(&ns->config);
	ns->kv = kv;
	ns->now_ms = ns->started_ms = now_ms;
	ns->wall_ms = config->wall_ms;
	ns->sequence = ns->durable = ns->committed = config->sequence;
	ns->first_sequence = config->sequence + 1;
	ns->hash = config->hash;
	ns->arena.limit = ARENA_MAX;
	ns->prng.state = config->seed;
	ns->next_port = ns->config.client_port_first;
	ns->garbage = true;
	ns->sweep.again = ns->worse = true;
	ns->next_beacon_ms = now_ms;
	ns->results_ms = now_ms + CLIENT_FORGET_MS;
	TAILQ_INIT(&ns->strangers);
	TAILQ_INIT(&ns->gone);
	TAILQ_INIT(&ns->fading);
	TAILQ_INIT(&ns->put_order);
	TAILQ_INIT(&ns->parked);
	ns->parked_next_ms = UINT64_MAX;
	TAILQ_INIT(&ns->copies);
	TAILQ_INIT(&ns->long_requests);
	ns->trash.room_ms = UINT64_MAX;
	TAILQ_INIT(&ns->order_list);
	events_init(ns);
	shipping_init(ns);
	rc = settings_load(ns);
	if (rc == 0)
		rc = hold_load(ns);
	if (rc == 0)
		rc = quorum_load(ns);
	if (rc == 0)
		rc = members_load(ns);
	if (rc == 0)
		rc = copies_drop(kv, uptime_ms(ns));
	rc = rc > 0 ? 0 : rc;
	if (rc == 0)
		rc = repair_new(ns);
	if (rc == 0)
		rc = balance_new(ns);
	if (rc < 0) {
		nameserver_free(ns);
		return rc;
	}
	/* After a restart no content goes before those who have it open are back. */
	ns->garbage_ms = now_ms;
	ns->collect_from_ms = ns->start == 1 ? now_ms : now_ms + CLIENT_GONE_MS;
	*ret = ns;
	return 0;
}

void nameserver_free(struct nameserver *ns)
{
	if (!ns)
		return;
	parked_free(ns);
	copies_free(ns);
	long_requests_free(ns);
	verify_free(ns);
	lost_found_free(ns);
	orders_free(ns);
	repair_free(ns);
	balance_free(ns);
	sessions_free(ns);
	clients_free(ns);
	members_free(ns);
	events_done(ns);
	shipping_done(ns);
	held_done(&ns->held);
	held_done(&ns->early);
	arena_done(&ns->arena);
	free(ns);
}

struct nameserver_info nameserver_info(const struct nameserver *ns)
{
	struct nameserver_info info = {
		.cluster = ns->cluster,
		.epoch = ns->epoch,
		.start = ns->start,
		.sequence = ns->sequence,
		.durable = ns->durable,
		.committed = ns->committed,
		.serving = is_serving(ns),
		.lost = ns->quorum.lost,
		.sessions = HASH_COUNT(ns->sessions),
		.clients = HASH_COUNT(ns->clients),
		.members = ns->member_count,
		.leases = HASH_COUNT(ns->leases),
	};

	memcpy(info.cluster_name, ns->cluster_name, sizeof(info.cluster_name));
	return info;
}

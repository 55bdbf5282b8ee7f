#include <inttypes.h>
#include <stdarg.h>
#include <unistd.h>

#include "beacon.h"
#include "clock.h"
#include "error.h"
#include "server_inside.h"
#include "space.h"
#include "text.h"

/* Much less than what lies between LEASE_OF_SERVER_MS and PROMISE_AFTER_MS. */
enum { TURN_LONG_MS = 500 };

/* Changes that the view lacks lie in memory: beyond the first nobody is read until they are down to
 * the second. */
enum {
	OVERLAY_MAX = 32 * 1024 * 1024,
	OVERLAY_LOW = 16 * 1024 * 1024,
	/* Long before that, what can wait does; so who asks waits for it no longer than usual. */
	OVERLAY_BUSY = 8 * 1024 * 1024,
	OVERLAY_CALM = 4 * 1024 * 1024,
};

/* ---- acting for the core */

/* At once: nothing that follows may be acknowledged, and what was is in the journal. */
void server_fail(int error, const char *what)
{
	log_event(LOG_ERROR, "failed", "what=%s error=%s", what, error_name(error));
	_exit(EXIT_FAILURE);
}

static void act_send(struct server *server, const struct ns_action *action, struct slice bytes)
{
	struct peer *peer = peer_find(&server->peers, action->conn);

	if (peer)
		peer_send(peer, bytes);
}

static void act_close(struct server *server, const struct ns_action *action, struct slice bytes)
{
	struct peer *peer = peer_find(&server->peers, action->conn);

	(void)bytes;
	if (peer)
		peer_free(peer);
}

static void act_commit(struct server *server, const struct ns_action *action, struct slice bytes)
{
	int rc;

	server->grown = true;
	view_sealed(server->database->view, action->sequence);
	rc = committer_queue(server->committer, bytes, action->sequence);
	if (rc < 0)
		server_fail(rc, "journal");
}

static void act_journal_read(struct server *server, const struct ns_action *action,
			     struct slice bytes)
{
	(void)bytes;
	history_read(server->history, &(struct journal_range){ .after = action->sequence,
							       .through = server->durable,
							       .most = JOURNAL_READ_SIZE });
}

static void act_beacon(struct server *server, const struct ns_action *action, struct slice bytes)
{
	int sent = beacon_socket_send(server->beacons, bytes.data, bytes.size);

	(void)action;
	log_event(LOG_DEBUG, "beacon", "interfaces=%d", sent);
}

static void act_event(struct server *server, const struct ns_action *action, struct slice bytes)
{
	(void)server;
	log_pairs(action->level, action->event, (const char *)bytes.data, bytes.size);
}

static void act_failed(struct server *server, const struct ns_action *action, struct slice bytes)
{
	(void)server;
	(void)action;
	(void)bytes;
	server_fail(-ERR_IO, "catalogue");
}

static void act_deposed(struct server *server, const struct ns_action *action, struct slice bytes)
{
	(void)action;
	(void)bytes;
	server->deposed = true;
}

static void act_dial(struct server *server, const struct ns_action *action, struct slice bytes)
{
	int rc = dials_start(&server->dials, action->sequence, &action->endpoint);

	(void)bytes;
	if (rc < 0)
		server_fail(rc, "dial");
}

typedef void act_fn(struct server *server, const struct ns_action *action, struct slice bytes);

static void server_act(struct server *server)
{
	static act_fn *const acts[] = {
		[NS_SEND] = act_send,
		[NS_CLOSE] = act_close,
		[NS_COMMIT] = act_commit,
		[NS_BEACON] = act_beacon,
		[NS_EVENT] = act_event,
		[NS_FAILED] = act_failed,
		[NS_DEPOSED] = act_deposed,
		[NS_DIAL] = act_dial,
		[NS_JOURNAL_READ] = act_journal_read,
	};
	struct ns_outbox *outbox = &server->outbox;

	for (unsigned int i = 0; i < outbox->count && !server->deposed; i++) {
		const struct ns_action *action = &outbox->actions[i];

		acts[action->kind](server, action, ns_action_bytes(outbox, action));
	}
	if (outbox->error)
		server_fail(outbox->error, "memory");
	ns_outbox_clear(outbox);
}

/* ---- turns */

void server_step(struct server *server, struct ns_event *event)
{
	if (server->deposed)
		return;
	if (!server->in_turn) {
		log_hold();
		view_refresh(server->database->view);
		server->now_ms = clock_monotonic_ms();
		server->wall_ms = clock_wall_ms();
		server->in_turn = true;
		if (server->grown)
			server_look(server);
	}
	event->now_ms = server->now_ms;
	event->wall_ms = server->wall_ms;
	nameserver_step(server->ns, event, &server->outbox);
	server_act(server);
}

void server_event(struct server *server, enum log_level level, const char *event,
		  const char *format, ...)
{
	const struct ns_action action = { .level = level, .event = event };
	char pairs[EVENT_TEXT_MAX]; /* what we say ourselves is short */
	va_list args;
	int size;

	va_start(args, format);
	size = vsnprintf(pairs, sizeof(pairs), format, args);
	va_end(args);
	if (!server->ns || server->deposed) {
		log_pairs(level, event, pairs, size > 0 ? (size_t)size : 0);
		return;
	}
	nameserver_event(server->ns, &action,
			 (struct slice){ (const uint8_t *)pairs, size > 0 ? (size_t)size : 0 },
			 clock_wall_ms(), &server->outbox);
	server_act(server);
}

void server_look(struct server *server)
{
	struct ns_event event = { .kind = NS_SPACE };
	bool full = space_is_full(server->database->disk, server->full);

	server->grown = false;
	if (full == server->full)
		return;
	server->full = full;
	event.good = !full;
	server_step(server, &event);
}

static void on_tick(uv_timer_t *timer)
{
	struct server *server = timer->data;

	server->deadline_ms = UINT64_MAX;
	server_step(server, &(struct ns_event){ .kind = NS_TICK });
}

void server_tick_at(struct server *server, uint64_t deadline_ms, uv_timer_cb on_deadline)
{
	uint64_t now = clock_monotonic_ms();

	if (deadline_ms == server->deadline_ms)
		return;
	server->deadline_ms = deadline_ms;
	if (deadline_ms == UINT64_MAX)
		uv_timer_stop(&server->tick);
	else
		uv_timer_start(&server->tick, on_deadline,
			       deadline_ms > now ? deadline_ms - now : 0, 0);
}

static void choke(struct server *server, bool choked)
{
	struct ns_event event = { .kind = NS_READING, .good = !choked };

	if (choked == server->peers.choked)
		return;
	peers_choke(&server->peers, choked);
	server_step(server, &event);
}

static void fall_behind(struct server *server, bool behind)
{
	struct ns_event event = { .kind = NS_KEEPING_UP, .good = !behind };

	if (behind == server->behind)
		return;
	server->behind = behind;
	server_step(server, &event);
}

/* On a full disk the view waits for room. Nothing that changes much is asked for then, and reading
 * goes on. */
static void overlay_regulate(struct server *server)
{
	size_t size = view_overlay_size(server->database->view);

	if (size <= OVERLAY_CALM || server->full)
		fall_behind(server, false);
	else if (size > OVERLAY_BUSY)
		fall_behind(server, true);
	if (size <= OVERLAY_LOW || server->full)
		choke(server, false);
	else if (size > OVERLAY_MAX)
		choke(server, true);
}

/* A turn that takes long (this process was stopped in the middle of it) may answer what was asked
 * long after its beginning: then it is late now, for the core as well. */
static void clock_look(struct server *server)
{
	uint64_t now_ms = clock_monotonic_ms();

	if (now_ms - server->now_ms < TURN_LONG_MS)
		return;
	server->now_ms = now_ms;
	server->wall_ms = clock_wall_ms();
	server_step(server, &(struct ns_event){ .kind = NS_TICK });
}

void server_end_turn(struct server *server)
{
	if (server->deposed) {
		server_depose(server);
		return;
	}
	if (!server->in_turn)
		return;
	overlay_regulate(server);
	clock_look(server);
	server->in_turn = false;
	nameserver_end_turn(server->ns, &server->outbox);
	server_act(server);
	if (!server->serving && nameserver_info(server->ns).serving)
		server_serves(server);
	log_release();
	if (server->deposed)
		server_depose(server);
	else
		server_tick_at(server, nameserver_deadline(server->ns), on_tick);
}

/* Most of what happens, happens while the loop waits: its answers leave right after. What timers
 * and paused links add must not wait with it. */
void server_after_wait(uv_check_t *check)
{
	server_end_turn(check->data);
}

void server_before_wait(uv_prepare_t *prepare)
{
	server_end_turn(prepare->data);
}

/* ---- what happens */

/* The same things happen before there is a core; who handles them is all that differs. */
static void happened(struct server *server, const struct ns_event *event)
{
	static const enum takeover_event_kind kinds[] = {
		[NS_OPENED] = TAKEOVER_OPENED,
		[NS_FRAME] = TAKEOVER_FRAME,
		[NS_CLOSED] = TAKEOVER_CLOSED,
		[NS_MALFORMED] = TAKEOVER_MALFORMED,
	};
	struct ns_event copy = *event;

	if (!server->takeover) {
		server_step(server, &copy);
		return;
	}
	server_seek_step(server, &(struct takeover_event){ .kind = kinds[event->kind],
							   .conn = event->conn,
							   .peer = event->peer,
							   .local = event->local,
							   .header = event->header,
							   .body = event->body });
}

void server_dialled(void *context, uint64_t number, int error)
{
	server_step(context,
		    &(struct ns_event){ .kind = NS_DIALLED, .sequence = number, .error = error });
}

static void on_frame(void *context, struct link *link, const struct frame_header *header,
		     const uint8_t *body)
{
	struct peer *peer = context;
	struct server *server = peer->peers->context;
	const struct ns_event event = {
		.kind = NS_FRAME, .conn = peer->conn, .header = header, .body = body
	};

	(void)link;
	peer_asked(peer, header);
	happened(server, &event);
}

static void on_closed(void *context, struct link *link, int error,
		      const struct frame_header *header)
{
	struct peer *peer = context;
	struct server *server = peer->peers->context;
	struct ns_event event = { .kind = header ? NS_MALFORMED : NS_CLOSED,
				  .conn = peer->conn,
				  .header = header };

	(void)link;
	log_event(LOG_DEBUG, "closed", "conn=%" PRIu64 " error=%s", peer->conn, error_name(error));
	if (!header)
		peer_free(peer);
	happened(server, &event);
}

static void on_drained(void *context, struct link *link)
{
	(void)link;
	peer_regulate(context);
}

const struct link_handler server_link_handler = { on_frame, on_closed, on_drained };

void server_accepted(void *context, int socket, const struct endpoint *from)
{
	struct server *server = context;
	struct ns_event event = { .kind = NS_OPENED, .peer = *from };
	struct peer *peer;

	if (peer_new(&server->peers, socket, &peer) < 0)
		return;
	event.conn = peer->conn;
	event.local = link_local(peer->link);
	happened(server, &event);
}

static bool is_for_us(const struct beacon *beacon, const struct nameserver_info *info)
{
	if (beacon->kind != BEACON_PROBE)
		return false;
	if (!id_is_none(&beacon->cluster))
		return id_equal(&beacon->cluster, &info->cluster);
	return !beacon->cluster_name[0] || strcmp(beacon->cluster_name, info->cluster_name) == 0;
}

/* One that has lost touch with those who decide is told by nobody that they follow another: it was
 * stopped for a while, or cut off. It can only ask anew. */
static bool is_our_successor(const struct server *server, const struct beacon *beacon,
			     const struct nameserver_info *info)
{
	return info->lost && beacon->kind == BEACON_NAMESERVER && beacon->start != 0 &&
	       beacon->epoch > info->epoch && id_equal(&beacon->cluster, &info->cluster) &&
	       !id_equal(&beacon->server, &server->identity.server);
}

/* It has a copy of our directory, and storage servers follow it, or as many as follow us. */
static bool is_copy_above_us(const struct server *server, const struct beacon *beacon,
			     const struct nameserver_info *info)
{
	if (beacon->kind != BEACON_NAMESERVER || beacon->start == 0 ||
	    beacon->process == server->process ||
	    !id_equal(&beacon->server, &server->identity.server) ||
	    !id_equal(&beacon->cluster, &info->cluster))
		return false;
	return beacon->epoch != info->epoch ? beacon->epoch > info->epoch
					    : beacon->process > server->process;
}

static void copy_tell(const struct endpoint *source)
{
	char address[ENDPOINT_TEXT_MAX];

	log_event(LOG_ERROR, "directory_copied",
		  "address=%s text=\"the name server there has a copy of this data directory: this "
		  "one waits; stop one of them and delete its directory\"",
		  endpoint_format(source, address));
}

/* What we have not committed yet, it does not know; nobody was told of it either. */
static void give_way(struct server *server)
{
	server->deposed = true;
	server_end_turn(server);
}

void server_heard(void *context, const void *datagram, size_t size, const struct endpoint *source)
{
	struct server *server = context;
	struct nameserver_info info;
	struct beacon beacon;

	if (beacon_decode(datagram, size, NULL, &beacon) < 0)
		return;
	if (server->takeover) {
		server_seek_step(server, &(struct takeover_event){ .kind = TAKEOVER_HEARD,
								   .beacon = &beacon,
								   .peer = *source });
		return;
	}
	info = nameserver_info(server->ns);
	if (is_copy_above_us(server, &beacon, &info)) {
		copy_tell(source);
		give_way(server);
	} else if (is_our_successor(server, &beacon, &info)) {
		give_way(server);
	} else if (server_is_superfluous(server, &beacon, source)) {
		server->superfluous = true;
		give_way(server);
	} else if (is_for_us(&beacon, &info)) {
		server_step(server, &(struct ns_event){ .kind = NS_PROBE });
	}
}

void server_committed(uv_async_t *async)
{
	struct server *server = async->data;
	struct ns_event event = { .kind = NS_DURABLE };
	struct committer_state state;

	if (!server->committer)
		return;
	state = committer_state(server->committer);
	event.sequence = state.durable;
	if (state.error)
		server_fail(state.error, state.what);
	if (state.durable > server->durable) {
		server->durable = state.durable;
		server_step(server, &event);
	}
	if (server->peers.choked || server->behind) {
		view_refresh(server->database->view);
		overlay_regulate(server);
	}
}

void server_history(void *context, uint64_t after, struct slice batches, int error)
{
	struct ns_event event = {
		.kind = NS_JOURNAL, .sequence = after, .batches = batches, .error = error
	};

	if (error < 0 && error != -ERR_STALE)
		log_event(LOG_WARN, "journal_not_read", "after=%" PRIu64 " error=%s", after,
			  error_name(error));
	server_step(context, &event);
}

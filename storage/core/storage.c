/* The storage server's core: its life, and which event and which message goes where. */
#include "storage_inside.h"

/* ---- messages ---- */

typedef int message_fn(struct storage *s, struct conn *conn, const struct incoming *in);

struct handler {
	unsigned int code;
	message_fn *serve;
};

#define SERVE_NAMESERVER(name)
#define SERVE_CLIENT(name)
#define SERVE_STORAGE(name)                  { MSG_##name, storage_on_##name },
#define SERVE_ANY(name)                      { MSG_##name, storage_on_##name },
#define SERVE_CATALOGUE(name)                { MSG_##name, storage_on_##name },
#define MESSAGE(code, name, to, flags, text) SERVE_##to(name)

static const struct handler handlers[] = {
#include "messages.def"
};

static message_fn *handler_find(unsigned int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++) {
		if (handlers[i].code == code)
			return handlers[i].serve;
	}
	return NULL;
}

/* The name server's orders come from it alone, and files' bytes never from it. */
static bool is_served_there(const struct conn *conn, const struct message_info *info)
{
	if (info->flags & MESSAGE_EARLY)
		return true;
	if (info->flags & MESSAGE_BULK)
		return conn->use != USE_NAMESERVER;
	if (info->to == TO_CATALOGUE || info->code == MSG_have)
		return storage_is_reader(conn);
	if (info->code == MSG_pull || info->code == MSG_page)
		return conn->use == USE_NAMESERVER || conn->role == ROLE_STORAGE;
	return conn->use == USE_NAMESERVER;
}

static int serve_request(struct storage *s, struct conn *conn, struct incoming *in)
{
	const struct message_info *info = message_info(in->header->type);
	message_fn *serve = handler_find(in->header->type);
	int rc;

	if (!info || !serve || !is_served_there(conn, info))
		return storage_degraded_refusal(s, conn, info);
	rc = message_decode(in->header, in->body, &s->arena, &in->message);
	if (rc < 0) {
		conn->closing = true;
		return rc;
	}
	return serve(s, conn, in);
}

static void take_request(struct storage *s, struct conn *conn, struct incoming *in)
{
	const struct message_info *info = message_info(in->header->type);
	int rc = in->header->type == MSG_data ? storage_on_data(s, conn, in)
					      : serve_request(s, conn, in);

	if (rc < 0 && !(info && info->flags & MESSAGE_ONE_WAY))
		storage_send_refusal(s, conn, in->header, rc);
}

static void take_reply(struct storage *s, struct conn *conn, struct incoming *in)
{
	int rc = message_decode(in->header, in->body, &s->arena, &in->message);

	if (rc < 0)
		conn->closing = true;
	else if (in->header->type == MSG_hello)
		storage_on_hello_reply(s, conn, in);
	else if (conn->state != CONN_READY)
		conn->closing = true;
	else if (storage_pull_reply(s, conn, in))
		return;
	else if (conn->use == USE_NAMESERVER)
		storage_seek_reply(s, in);
	else if (conn->use == USE_HOP && in->header->type == MSG_write)
		storage_chain_reply(s, conn, in);
	else if (conn->use == USE_HOP && in->header->type == MSG_read)
		storage_fetch_reply(s, conn, in);
}

static bool is_awaited(const struct transfer *transfer, const struct frame_header *header)
{
	if (!header->reply)
		return header->type == MSG_data;
	return transfer->fetch && header->type == MSG_read;
}

/* HELLO comes first; between a WRITE or a READ and the end of its DATA nothing else comes. */
static bool is_in_order(const struct conn *conn, const struct frame_header *header)
{
	if (conn->incoming && !is_awaited(conn->incoming, header))
		return false;
	if (conn->state == CONN_READY || header->reply)
		return true;
	return header->type == MSG_hello || header->type == MSG_ping;
}

static void on_frame(struct storage *s, const struct storage_event *event)
{
	struct conn *conn = storage_conn_find(s, event->connection);
	struct incoming in = { .header = event->header, .body = event->body };

	if (!conn)
		return;
	conn->heard_ms = s->now_ms;
	conn->slow = false;
	if (!is_in_order(conn, in.header)) {
		if (!in.header->reply && in.header->type != MSG_data)
			storage_send_refusal(s, conn, in.header, -ERR_BAD_REQUEST);
		conn->closing = true;
	} else if (in.header->reply) {
		take_reply(s, conn, &in);
	} else {
		take_request(s, conn, &in);
	}
	arena_reset(&s->arena);
	if (conn->closing)
		storage_conn_drop(s, conn, -ERR_BAD_REQUEST, true);
}

/* ---- events ---- */

static void on_tick(struct storage *s, const struct storage_event *event)
{
	(void)event;
	storage_transfer_tick(s);
	storage_inspect_tick(s);
	storage_scrub_tick(s);
	storage_conn_tick(s);
	storage_seek_tick(s);
	storage_pull_tick(s);
	storage_degraded_tick(s);
}

typedef void event_fn(struct storage *s, const struct storage_event *event);

static event_fn *const events[] = {
	[STORAGE_OPENED] = storage_on_opened,
	[STORAGE_CLOSED] = storage_on_closed,
	[STORAGE_FRAME] = on_frame,
	[STORAGE_BEACON] = storage_on_beacon,
	[STORAGE_DIALLED] = storage_on_dialled,
	[STORAGE_RESOLVED] = storage_on_resolved,
	[STORAGE_RECEIVED] = storage_on_received,
	[STORAGE_STORED] = storage_on_stored,
	[STORAGE_PROGRESS] = storage_on_progress,
	[STORAGE_FORWARDED] = storage_on_forwarded,
	[STORAGE_SENT] = storage_on_sent,
	[STORAGE_INSPECTED] = storage_on_inspected,
	[STORAGE_REPLICA] = storage_on_replica,
	[STORAGE_STOP] = storage_on_stop,
	[STORAGE_TICK] = on_tick,
};

int storage_step(struct storage *s, const struct storage_event *event,
		 struct storage_outbox *outbox)
{
	assert(event->kind < ARRAY_SIZE(events));
	s->now_ms = event->now_ms;
	s->out = outbox;
	s->error = 0;
	if (!s->started)
		s->touch_ms = s->seeker.lost_ms = s->now_ms;
	s->started = true;
	events[event->kind](s, event);
	s->out = NULL;
	return s->error;
}

uint64_t storage_deadline(const struct storage *s)
{
	uint64_t due = storage_seek_deadline(s);
	uint64_t conn_due = storage_conn_deadline(s);
	uint64_t inspect_due = storage_inspect_deadline(s);
	uint64_t scrub_due = storage_scrub_deadline(s);
	uint64_t pull_due = storage_pull_deadline(s);
	uint64_t degraded_due = storage_degraded_deadline(s);

	if (conn_due < due)
		due = conn_due;
	if (inspect_due < due)
		due = inspect_due;
	if (scrub_due < due)
		due = scrub_due;
	if (pull_due < due)
		due = pull_due;
	if (degraded_due < due)
		due = degraded_due;
	if (s->transfers && s->next_watch_ms < due)
		due = s->next_watch_ms;
	return due;
}

/* ---- life ---- */

int storage_new(const struct storage_config *config, struct storage **ret)
{
	struct storage *s = calloc(1, sizeof(*s));

	if (!s)
		return -ERR_NO_MEMORY;
	s->config = *config;
	s->prng.state = config->seed;
	s->seeker.backoff_ms = BACKOFF_MIN_MS;
	s->seeker.discovery.cluster = config->cluster;
	memcpy(s->seeker.discovery.cluster_name, config->cluster_name,
	       sizeof(config->cluster_name));
	s->seeker.known = config->remembered;
	/* What was before that nobody knows any more; it must not look as if there were nothing. */
	s->previous_epoch = config->promised_epoch;
	s->previous_server = config->promised_server;
	s->scrub.state = config->scrub;
	s->load_turn = 1;
	LIST_INIT(&s->unused);
	STAILQ_INIT(&s->inspections);
	STAILQ_INIT(&s->follow.waits);
	s->follow.state = config->catalogue ? FOLLOW_FAILED : FOLLOW_OFF;
	s->follow.batch.max = BATCH_SIZE_MAX;
	s->follow.pull.part.max = BATCH_SIZE_MAX;
	*ret = s;
	return 0;
}

void storage_free(struct storage *s)
{
	struct conn *conn, *next;

	if (!s)
		return;
	storage_transfers_free(s);
	storage_inspections_drop(s);
	storage_scrub_free(s);
	storage_follow_free(s);
	HASH_ITER(hh, s->conns, conn, next) {
		HASH_DEL(s->conns, conn);
		buffer_done(&conn->backlog);
		free(conn);
	}
	storage_peers_free(s);
	hmac_free(s->key);
	arena_done(&s->arena);
	free(s);
}

void storage_set_endpoints(struct storage *s, const struct endpoint *endpoints, unsigned int count)
{
	assert(count <= ENDPOINTS_MAX);
	memcpy(s->config.endpoints, endpoints, count * sizeof(*endpoints));
	s->config.endpoint_count = count;
	/* At the next tick, because this is no step. */
	if (s->seeker.state == SEEK_REGISTERED) {
		s->seeker.register_again = true;
		s->seeker.next_heartbeat_ms = s->now_ms;
	}
}

void storage_state(const struct storage *s, struct storage_state *ret)
{
	*ret = (struct storage_state){ .registered = storage_is_registered(s),
				       .epoch = s->epoch,
				       .connections = HASH_COUNT(s->conns),
				       .transfers = HASH_COUNT(s->transfers),
				       .catalogue = s->follow.head };
}

/* Connections: greeting and being greeted, and what hangs on each when it goes. */
#include "storage_inside.h"

struct conn *storage_conn_find(struct storage *s, uint64_t handle)
{
	struct conn *conn;

	HASH_FIND(hh, s->conns, &handle, sizeof(handle), conn);
	return conn;
}

struct conn *storage_conn_add(struct storage *s, uint64_t handle, enum conn_use use)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	if (!conn) {
		s->error = -ERR_NO_MEMORY;
		return NULL;
	}
	conn->handle = handle;
	conn->use = use;
	conn->since_ms = conn->heard_ms = s->now_ms;
	conn->backlog.max = BACKLOG_MAX;
	LIST_INIT(&conn->asked);
	LIST_INIT(&conn->fed);
	HASH_ADD(hh, s->conns, handle, sizeof(conn->handle), conn);
	return conn;
}

static const unsigned int dial_timeouts_ms[] = {
	[USE_NAMESERVER] = NAMESERVER_DIAL_MS,
	[USE_CLIENT] = CLIENT_DIAL_MS,
	[USE_HOP] = HOP_DIAL_MS,
};

struct conn *storage_conn_dial(struct storage *s, enum conn_use use,
			       const struct endpoint *endpoints, unsigned int count)
{
	struct conn *conn = storage_conn_add(s, ++s->last_handle, use);
	struct storage_action *action;

	if (!conn)
		return NULL;
	conn->state = CONN_DIALLING;
	action = storage_act(s, ACT_DIAL);
	action->connection = conn->handle;
	action->timeout_ms = dial_timeouts_ms[use];
	action->endpoint_count = count < ENDPOINTS_MAX ? count : ENDPOINTS_MAX;
	memcpy(action->endpoints, endpoints, action->endpoint_count * sizeof(*endpoints));
	return conn;
}

void storage_conn_drop(struct storage *s, struct conn *conn, int error, bool tell)
{
	struct transfer *transfer, *next;

	if (tell)
		storage_act(s, ACT_CLOSE)->connection = conn->handle;
	HASH_DEL(s->conns, conn);
	storage_pull_conn_gone(s, conn);
	LIST_FOREACH_SAFE(transfer, &conn->asked, in_asked, next)
		storage_write_asker_gone(s, transfer);
	if (conn->use == USE_HOP)
		storage_chain_conn_gone(s, conn, error);
	if (conn == s->seeker.conn) {
		storage_seek_failed(s, error);
		storage_inspections_drop(s);
		storage_fetches_orphaned(s);
	}
	buffer_done(&conn->backlog);
	free(conn);
}

/* ---- they greet us ---- */

static int hello_check(const struct storage *s, const struct hello_request *req)
{
	const struct storage_config *config = &s->config;
	struct slice name = slice_of(config->cluster_name);

	if (req->versions >> 16 > PROTOCOL_VERSION || (req->versions & 0xffff) < PROTOCOL_VERSION)
		return -ERR_WRONG_VERSION;
	if (!id_is_none(&req->expected) && !id_equal(&req->expected, &config->self))
		return -ERR_WRONG_NODE;
	if (!id_is_none(&req->cluster) && !id_is_none(&config->cluster) &&
	    !id_equal(&req->cluster, &config->cluster))
		return -ERR_WRONG_CLUSTER;
	if (req->cluster_name.size && name.size && !slice_equal(req->cluster_name, name))
		return -ERR_WRONG_CLUSTER;
	if (req->role < ROLE_NAMESERVER || req->role > ROLE_CONSOLE || id_is_none(&req->self))
		return -ERR_BAD_REQUEST;
	return 0;
}

int storage_on_hello(struct storage *s, struct conn *conn, const struct incoming *in)
{
	const struct hello_request *req = in->message.body;
	struct hello_reply reply = { .version = PROTOCOL_VERSION,
				     .epoch = storage_known_epoch(s),
				     .role = ROLE_STORAGE,
				     .cluster = s->config.cluster,
				     .cluster_name = slice_of(s->config.cluster_name),
				     .self = s->config.self,
				     .machine = s->config.machine,
				     .seen = conn->endpoint };
	int rc = conn->state == CONN_STRANGER ? hello_check(s, req) : -ERR_BAD_REQUEST;

	if (rc < 0) {
		conn->closing = true;
		return rc;
	}
	conn->state = CONN_READY;
	conn->since_ms = s->now_ms;
	conn->role = req->role;
	conn->lane = req->lane;
	conn->peer = req->self;
	conn->local = !id_is_none(&req->machine) && id_equal(&req->machine, &s->config.machine);
	reply.seen.flags = (uint8_t)(ENDPOINT_SEEN |
				     (endpoint_is_loopback(&reply.seen) ? ENDPOINT_LOOPBACK : 0));
	storage_send_reply(s, conn, in, &reply);
	return 0;
}

int storage_on_ping(struct storage *s, struct conn *conn, const struct incoming *in)
{
	const struct ping_request *req = in->message.body;
	struct ping_reply reply = { .cookie = req->cookie };

	storage_send_reply(s, conn, in, &reply);
	return 0;
}

void storage_on_opened(struct storage *s, const struct storage_event *event)
{
	struct conn *conn = storage_conn_add(s, event->connection, USE_ACCEPTED);

	assert(event->connection & STORAGE_ACCEPTED);
	if (conn && event->endpoint_count)
		conn->endpoint = event->endpoints[0];
}

void storage_on_closed(struct storage *s, const struct storage_event *event)
{
	struct conn *conn = storage_conn_find(s, event->connection);

	if (!conn)
		return;
	if (event->header && !event->header->reply && event->header->type != MSG_data)
		storage_send_refusal(s, conn, event->header, event->error);
	storage_conn_drop(s, conn, event->error, false);
}

/* ---- we greet them ---- */

static void greet(struct storage *s, struct conn *conn)
{
	struct hello_request hello = { .versions = PROTOCOL_VERSION << 16 | PROTOCOL_VERSION,
				       .epoch = storage_known_epoch(s),
				       .role = ROLE_STORAGE,
				       .cluster = s->config.cluster,
				       .cluster_name = slice_of(s->config.cluster_name),
				       .self = s->config.self,
				       .expected = conn->peer,
				       .machine = s->config.machine,
				       .proof = conn->proof,
				       .lane = conn->lane };

	conn->state = CONN_GREETING;
	conn->since_ms = s->now_ms;
	storage_send_request(s, conn, MSG_hello, 1, &hello);
}

void storage_on_dialled(struct storage *s, const struct storage_event *event)
{
	struct conn *conn = storage_conn_find(s, event->connection);

	if (!conn) {
		/* Given up meanwhile; the glue may have just made it. */
		if (event->error == 0)
			storage_act(s, ACT_CLOSE)->connection = event->connection;
		return;
	}
	if (event->error < 0) {
		storage_conn_drop(s, conn, event->error, false);
		return;
	}
	if (event->endpoint_count)
		conn->endpoint = event->endpoints[0];
	greet(s, conn);
}

static const uint8_t expected_roles[] = {
	[USE_NAMESERVER] = ROLE_NAMESERVER,
	[USE_CLIENT] = ROLE_CLIENT,
	[USE_HOP] = ROLE_STORAGE,
};

void storage_on_hello_reply(struct storage *s, struct conn *conn, const struct incoming *in)
{
	const struct hello_reply *reply = in->message.body;
	int error = in->header->status ? -(int)in->header->status : 0;

	if (conn->state != CONN_GREETING)
		error = -ERR_BAD_REQUEST;
	else if (!error && reply->role != expected_roles[conn->use])
		error = -ERR_WRONG_NODE;
	else if (!error && !id_is_none(&conn->peer) && !id_equal(&conn->peer, &reply->self))
		error = -ERR_WRONG_NODE;
	if (error) {
		if (conn->use == USE_NAMESERVER)
			storage_seek_refused(s, error);
		conn->closing = true;
		return;
	}
	conn->peer = reply->self;
	conn->role = reply->role;
	conn->state = CONN_READY;
	conn->since_ms = s->now_ms;
	if (conn->use == USE_NAMESERVER)
		storage_seek_greeted(s, reply);
	else if (conn->handle == s->follow.pull.source)
		storage_pull_conn_ready(s, conn);
	else if (conn->use == USE_HOP && LIST_EMPTY(&conn->asked))
		storage_chain_conn_ready(s, conn);
	else if (conn->use == USE_HOP)
		storage_fetch_conn_ready(s, conn);
}

/* ---- dialling a client ---- */

static bool is_dialling(const struct storage *s, const struct id *client, uint8_t lane)
{
	for (const struct conn *conn = s->conns; conn; conn = conn->hh.next) {
		if (conn->use == USE_CLIENT && conn->state != CONN_READY && conn->lane == lane &&
		    id_equal(&conn->peer, client))
			return true;
	}
	return false;
}

int storage_on_connect(struct storage *s, struct conn *conn, const struct incoming *in)
{
	const struct connect_request *req = in->message.body;
	struct connect_reply reply = { 0 };
	struct conn *dialled;

	if (req->lane > LANE_LARGE || id_is_none(&req->client))
		return -ERR_BAD_REQUEST;
	if (!is_dialling(s, &req->client, (uint8_t)req->lane)) {
		dialled = storage_conn_dial(s, USE_CLIENT, &req->endpoint, 1);
		if (!dialled)
			return -ERR_NO_MEMORY;
		dialled->peer = req->client;
		dialled->proof = req->proof;
		dialled->lane = (uint8_t)req->lane;
	}
	storage_send_reply(s, conn, in, &reply);
	return 0;
}

/* ---- time ---- */

static uint64_t conn_due(const struct conn *conn)
{
	if (conn->state == CONN_STRANGER || conn->state == CONN_GREETING)
		return conn->since_ms + HELLO_TIMEOUT_MS;
	if (conn->use == USE_HOP && conn->state == CONN_READY && LIST_EMPTY(&conn->fed) &&
	    !conn->busy)
		return (conn->heard_ms > conn->since_ms ? conn->heard_ms : conn->since_ms) +
		       HOP_IDLE_MS;
	return UINT64_MAX;
}

void storage_conn_tick(struct storage *s)
{
	struct conn *conn, *next;

	HASH_ITER(hh, s->conns, conn, next) {
		if (conn_due(conn) <= s->now_ms)
			storage_conn_drop(s, conn, -ERR_TIMEOUT, true);
	}
}

uint64_t storage_conn_deadline(const struct storage *s)
{
	uint64_t due = UINT64_MAX;

	for (const struct conn *conn = s->conns; conn; conn = conn->hh.next) {
		uint64_t this_due = conn_due(conn);

		if (this_due < due)
			due = this_due;
	}
	return due;
}

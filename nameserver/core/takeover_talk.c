/* Connections before there is a name server: everybody is greeted, and waits. */
#include "hello.h"
#include "takeover_inside.h"
#include "text.h"

struct takeover_conn *takeover_conn_find(const struct takeover *t, uint64_t conn)
{
	struct takeover_conn *c;

	HASH_FIND(hh, t->conns, &conn, sizeof(conn), c);
	return c;
}

static void waiting_free(struct takeover *t, struct takeover_waiting *w)
{
	TAILQ_REMOVE(&t->waiting, w, entries);
	t->waiting_bytes -= sizeof(*w) + w->size;
	free(w);
}

static void conn_free(struct takeover *t, struct takeover_conn *c)
{
	struct takeover_waiting *w, *next;

	for (w = TAILQ_FIRST(&t->waiting); w; w = next) {
		next = TAILQ_NEXT(w, entries);
		if (w->conn == c->conn)
			waiting_free(t, w);
	}
	HASH_DELETE(hh, t->conns, c);
	buffer_done(&c->hello);
	free(c);
}

void takeover_conn_opened(struct takeover *t, const struct takeover_event *event)
{
	struct takeover_conn *c =
		HASH_COUNT(t->conns) < SESSIONS_MAX ? calloc(1, sizeof(*c)) : NULL;

	if (!c) {
		takeover_act(t, TAKEOVER_CLOSE)->conn = event->conn;
		return;
	}
	c->conn = event->conn;
	c->peer = event->peer;
	c->local = event->local;
	c->opened_ms = t->now_ms;
	HASH_ADD(hh, t->conns, conn, sizeof(c->conn), c);
}

void takeover_conn_closed(struct takeover *t, uint64_t conn)
{
	struct takeover_conn *c = takeover_conn_find(t, conn);

	if (!c)
		return;
	conn_free(t, c);
	takeover_pull_lost(t, conn);
}

static void conn_close(struct takeover *t, struct takeover_conn *c)
{
	takeover_act(t, TAKEOVER_CLOSE)->conn = c->conn;
	takeover_conn_closed(t, c->conn);
}

void takeover_conns_close(struct takeover *t)
{
	struct takeover_conn *c, *next;

	HASH_ITER(hh, t->conns, c, next)
		conn_close(t, c);
}

void takeover_conns_free(struct takeover *t)
{
	struct takeover_conn *c, *next;

	HASH_ITER(hh, t->conns, c, next)
		conn_free(t, c);
}

/* ---- HELLO ---- */

static int greet_check(const struct takeover *t, const struct takeover_conn *from,
		       const struct hello_request *request)
{
	const struct hello_self self = { &t->config.self, &t->cluster, t->cluster_name };
	int rc = hello_check(&self, from->role != 0, request);

	if (rc < 0)
		return rc;
	if (request->role != ROLE_STORAGE && HASH_COUNT(t->conns) > SESSIONS_MAX - SESSIONS_KEPT)
		return -ERR_BUSY;
	/* While there is another name server everybody shall find that one. */
	return t->phase == PHASE_QUIET || (t->config.standby && t->phase == PHASE_LISTEN)
		       ? -ERR_UNAVAILABLE
		       : 0;
}

/* A client goes to nobody of a lower epoch any more: it must not hear of one that may never
 * begin. */
static void greet(struct takeover *t, struct takeover_conn *c, uint32_t id)
{
	const struct hello_reply reply = {
		.version = PROTOCOL_VERSION,
		.epoch = c->role == ROLE_STORAGE ? t->epoch : t->own.last.epoch,
		.role = ROLE_NAMESERVER,
		.cluster = t->cluster,
		.cluster_name = slice_of(t->cluster_name),
		.self = t->config.self,
		.machine = t->config.machine,
		.seen = { .family = c->peer.family,
			  .flags = c->peer.flags | ENDPOINT_SEEN,
			  .address = c->peer.address,
			  .port = c->peer.port },
	};

	takeover_send(
		t, c->conn,
		&(struct message){
			.info = message_info(MSG_hello), .reply = true, .id = id, .body = &reply });
}

static int hello_keep(struct takeover_conn *c, const struct frame_header *header,
		      const uint8_t *body)
{
	uint8_t bytes[FRAME_HEADER_SIZE];

	buffer_clear(&c->hello);
	frame_header_encode(header, bytes);
	if (buffer_append(&c->hello, bytes, sizeof(bytes)) < 0 ||
	    buffer_append(&c->hello, body, header->body_size) < 0)
		return -ERR_NO_MEMORY;
	return 0;
}

/* A storage server that has belonged to a cluster of the wanted name says which one that is. A
 * second such cluster cannot be told from the first by name: whoever is of it is turned away. */
static void cluster_heard(struct takeover *t, const struct id *cluster, struct slice name)
{
	char first[ID_TEXT_MAX], second[ID_TEXT_MAX];

	if (id_is_none(cluster) || !slice_equal(name, slice_of(t->cluster_name)))
		return;
	t->heard = true;
	if (id_is_none(&t->cluster)) {
		takeover_adopted(t, cluster);
	} else if (!id_equal(&t->cluster, cluster) && !t->said_two) {
		t->said_two = true;
		takeover_note(t, LOG_ERROR, "two_clusters", "first=%s second=%s",
			      id_format(&t->cluster, first), id_format(cluster, second));
	}
}

static void request_keep(struct takeover *t, struct takeover_conn *from,
			 const struct frame_header *header, const uint8_t *body)
{
	struct takeover_waiting *w = NULL;

	if (t->waiting_bytes + sizeof(*w) + header->body_size <= TAKEOVER_WAITING_BYTES_MAX)
		w = malloc(sizeof(*w) + header->body_size);
	if (!w) {
		takeover_refuse_request(t, from->conn, header, -ERR_UNAVAILABLE);
		return;
	}
	w->conn = from->conn;
	w->since_ms = t->now_ms;
	w->header = *header;
	w->size = header->body_size;
	if (w->size)
		memcpy(w->body, body, w->size);
	t->waiting_bytes += sizeof(*w) + w->size;
	TAILQ_INSERT_TAIL(&t->waiting, w, entries);
}

static void greeted(struct takeover *t, struct takeover_conn *c,
		    const struct hello_request *request, const struct frame_header *header)
{
	c->role = request->role;
	c->self = request->self;
	greet(t, c, header->id);
}

/* Nobody can be told a cluster that is not known yet: its HELLO waits with everything else. */
static void hello_take(struct takeover *t, struct takeover_conn *c,
		       const struct hello_request *request, const struct frame_header *header,
		       const uint8_t *body)
{
	int rc;

	if (request->role == ROLE_STORAGE)
		cluster_heard(t, &request->cluster, request->cluster_name);
	rc = c->hello_waits ? -ERR_BAD_REQUEST : greet_check(t, c, request);
	if (rc == 0)
		rc = hello_keep(c, header, body);
	if (rc < 0) {
		takeover_refuse_request(t, c->conn, header, rc);
		conn_close(t, c);
		return;
	}
	if (request->role == ROLE_STORAGE)
		takeover_epoch_heard(t, request->epoch);
	if (!id_is_none(&t->cluster)) {
		greeted(t, c, request, header);
		return;
	}
	c->hello_waits = true;
	request_keep(t, c, header, body);
}

static void greet_late(struct takeover *t, struct takeover_waiting *w)
{
	struct takeover_conn *c = takeover_conn_find(t, w->conn);
	struct message message;

	if (!c || message_decode(&w->header, w->body, &t->arena, &message) < 0)
		return;
	c->hello_waits = false;
	greeted(t, c, message.body, &w->header);
}

void takeover_adopted(struct takeover *t, const struct id *cluster)
{
	struct takeover_waiting *w, *next;
	char text[ID_TEXT_MAX], name[NAME_TEXT_MAX];

	t->cluster = *cluster;
	takeover_note(t, LOG_INFO, "cluster_found", "cluster=%s name=%s", id_format(cluster, text),
		      log_quote(t->cluster_name, strlen(t->cluster_name), name, sizeof(name)));
	for (w = TAILQ_FIRST(&t->waiting); w; w = next) {
		next = TAILQ_NEXT(w, entries);
		if (w->header.type == MSG_hello) {
			greet_late(t, w);
			waiting_free(t, w);
		}
	}
}

/* ---- requests ---- */

static void answer_status(struct takeover *t, const struct takeover_conn *from,
			  const struct frame_header *header)
{
	const struct journal_members *set = &t->deciding.now;
	struct status_reply reply = {
		.epoch = t->own.last.epoch,
		.sequence = t->own.whole ? t->own.last.sequence : 0,
		.cluster = t->cluster,
		.cluster_name = slice_of(t->cluster_name),
		.version = slice_of(t->config.version),
		.nameserver = from->local,
		.nodes_online = takeover_count(t, false),
		.nodes_total = t->facts.members,
		.uptime_ms = t->now_ms - t->started_ms,
		.state = SERVICE_TAKEOVER,
		.journal_set = set->count,
		.journal_needed = journal_needs(JOURNAL_TAKE, set->count),
		.waiting = takeover_wait_names(t),
	};

	for (unsigned int i = 0; i < set->count; i++)
		reply.journal_up += takeover_is_in_reach(t, &set->nodes[i]);

	takeover_send(t, from->conn,
		      &(struct message){ .info = message_info(MSG_status),
					 .reply = true,
					 .id = header->id,
					 .body = &reply });
}

static void answer_ping(struct takeover *t, const struct takeover_conn *from,
			const struct frame_header *header)
{
	const struct ping_reply reply = { .cookie = header->arg1 };

	takeover_send(t, from->conn,
		      &(struct message){ .info = message_info(MSG_ping),
					 .reply = true,
					 .id = header->id,
					 .body = &reply });
}

static void seen(struct takeover *t, const struct id *node)
{
	for (unsigned int i = 0; i < t->seen_count; i++) {
		if (id_equal(&t->seen[i], node))
			return;
	}
	if (t->seen_count < STANDBY_SET)
		t->seen[t->seen_count++] = *node;
}

/* What it said on a connection that is dead, and not known to be, must not count beside what it
 * says now. */
static void earlier_close(struct takeover *t, const struct takeover_conn *from)
{
	struct takeover_conn *c, *next;

	HASH_ITER(hh, t->conns, c, next) {
		if (c != from && c->registered && id_equal(&c->self, &from->self))
			conn_close(t, c);
	}
}

static void register_take(struct takeover *t, struct takeover_conn *from,
			  const struct register_request *request)
{
	earlier_close(t, from);
	from->registered = true;
	seen(t, &from->self);
	from->said = (struct journal_head){ request->catalogue_epoch, request->catalogue_sequence,
					    request->catalogue_hash };
	from->promised = request->promised_epoch;
	takeover_epoch_promised(t, request->promised_epoch);
	takeover_epoch_promised(t, request->catalogue_epoch);
}

static bool is_decoded(unsigned int type)
{
	return type == MSG_hello || type == MSG_register;
}

static void request_take(struct takeover *t, struct takeover_conn *from,
			 const struct frame_header *header, const uint8_t *body)
{
	struct message message = { 0 };

	if (is_decoded(header->type) && message_decode(header, body, &t->arena, &message) < 0) {
		takeover_refuse_request(t, from->conn, header, -ERR_BAD_REQUEST);
		conn_close(t, from);
	} else if (header->type == MSG_hello) {
		hello_take(t, from, message.body, header, body);
	} else if (header->type == MSG_ping) {
		answer_ping(t, from, header);
	} else if (header->type == MSG_status) {
		answer_status(t, from, header);
	} else {
		/* One that is repeated is to be answered, too. */
		if (header->type == MSG_register && from->role == ROLE_STORAGE)
			register_take(t, from, message.body);
		request_keep(t, from, header, body);
	}
}

void takeover_conn_frame(struct takeover *t, const struct takeover_event *event)
{
	const struct frame_header *header = event->header;
	const struct message_info *info = message_info(header->type);
	struct takeover_conn *from = takeover_conn_find(t, event->conn);

	if (!from)
		return;
	if (header->reply) {
		if (from->role == ROLE_STORAGE && header->type == MSG_promise)
			takeover_promise_answered(t, from, header, event->body);
		else if (from->role == ROLE_STORAGE)
			takeover_pull_answered(t, from, header, event->body);
	} else if (!from->role && !(info && info->flags & MESSAGE_EARLY)) {
		conn_close(t, from);
	} else if (!info) {
		takeover_refuse_request(t, from->conn, header, -ERR_UNSUPPORTED);
	} else {
		request_take(t, from, header, event->body);
	}
}

void takeover_conn_malformed(struct takeover *t, const struct takeover_event *event)
{
	const struct frame_header *header = event->header;
	struct takeover_conn *from = takeover_conn_find(t, event->conn);

	if (!from)
		return;
	if (header && !header->reply)
		takeover_refuse_request(t, from->conn, header,
					header->body_size > BODY_SIZE_MAX ? -ERR_TOO_LARGE
									  : -ERR_BAD_REQUEST);
	conn_close(t, from);
}

/* ---- time ---- */

static bool has_waited_too_long(const struct takeover *t, const struct takeover_waiting *w)
{
	return w->header.type != MSG_register && t->now_ms >= w->since_ms + TAKEOVER_WAIT_MS;
}

static void waiting_sweep(struct takeover *t)
{
	struct takeover_waiting *w, *next;

	for (w = TAILQ_FIRST(&t->waiting); w; w = next) {
		next = TAILQ_NEXT(w, entries);
		if (!has_waited_too_long(t, w))
			continue;
		if (!(message_info(w->header.type)->flags & MESSAGE_ONE_WAY))
			takeover_refuse_request(t, w->conn, &w->header, -ERR_UNAVAILABLE);
		if (w->header.type == MSG_hello)
			takeover_conn_find(t, w->conn)->opened_ms = 0;
		waiting_free(t, w);
	}
}

void takeover_conns_sweep(struct takeover *t)
{
	struct takeover_conn *c, *next;

	waiting_sweep(t);
	HASH_ITER(hh, t->conns, c, next) {
		if (!c->role && (c->opened_ms == 0 || t->now_ms >= c->opened_ms + HELLO_TIMEOUT_MS))
			conn_close(t, c);
	}
}

/* Connections: who is at the other end. */
#include "hello.h"
#include "ns_state.h"

struct session *session_find(const struct nameserver *ns, uint64_t conn)
{
	struct session *session;

	HASH_FIND(hh, ns->sessions, &conn, sizeof(conn), session);
	return session;
}

static void turn_away(struct nameserver *ns, uint64_t conn)
{
	struct ns_action *action = outbox_add(ns->outbox, NS_CLOSE);

	if (action)
		action->conn = conn;
}

/* When all places are taken, the stranger who has waited longest makes room. */
void session_opened(struct nameserver *ns, const struct ns_event *event)
{
	struct session *session, *oldest = TAILQ_FIRST(&ns->strangers);

	if (HASH_COUNT(ns->sessions) >= SESSIONS_MAX && oldest) {
		turn_away(ns, oldest->conn);
		session_gone(ns, oldest);
	}
	session = HASH_COUNT(ns->sessions) < SESSIONS_MAX ? calloc(1, sizeof(*session)) : NULL;
	if (!session) {
		turn_away(ns, event->conn);
		return;
	}
	session->conn = event->conn;
	session->peer = event->peer;
	session->local = event->local;
	session->opened_ms = ns->now_ms;
	HASH_ADD(hh, ns->sessions, conn, sizeof(session->conn), session);
	TAILQ_INSERT_TAIL(&ns->strangers, session, strangers);
}

/* The session is nobody's any more. */
static void session_detach(struct nameserver *ns, struct session *session)
{
	parked_forget(ns, session->conn);
	if (!session->role)
		TAILQ_REMOVE(&ns->strangers, session, strangers);
	if (session->client && session->client->session == session)
		client_detach(ns, session->client);
	if (session->member && session->member->session == session)
		member_lost(ns, session->member);
	session->client = NULL;
	session->member = NULL;
}

void session_close(struct nameserver *ns, struct session *session)
{
	if (session->closing)
		return;
	session_detach(ns, session);
	session->closing = true;
	held_add(ns, held_for(ns, session), &(struct held){ .conn = session->conn });
}

void session_gone(struct nameserver *ns, struct session *session)
{
	if (!session->closing)
		session_detach(ns, session);
	HASH_DEL(ns->sessions, session);
	free(session);
}

void sessions_tick(struct nameserver *ns)
{
	struct session *session;

	while ((session = TAILQ_FIRST(&ns->strangers)) &&
	       ns->now_ms - session->opened_ms >= HELLO_TIMEOUT_MS)
		session_close(ns, session);
}

uint64_t sessions_deadline(const struct nameserver *ns)
{
	const struct session *session = TAILQ_FIRST(&ns->strangers);

	return session ? session->opened_ms + HELLO_TIMEOUT_MS : UINT64_MAX;
}

void sessions_excuse(struct nameserver *ns, uint64_t ms)
{
	struct session *session;

	TAILQ_FOREACH(session, &ns->strangers, strangers)
		session->opened_ms = excused(ns, session->opened_ms, ms);
}

void sessions_free(struct nameserver *ns)
{
	struct session *session, *next;

	HASH_ITER(hh, ns->sessions, session, next) {
		HASH_DEL(ns->sessions, session);
		free(session);
	}
}

/* ---- HELLO ---- */

int on_hello(struct nameserver *ns, struct session *from, const struct hello_request *request,
	     struct hello_reply *reply)
{
	const struct hello_self self = { &ns->config.self, &ns->cluster, ns->cluster_name };
	int rc = hello_check(&self, from->role != 0, request);

	/* Who has seen a later epoch must not be served by what remembers less. */
	if (rc == 0 && request->epoch > ns->epoch)
		rc = -ERR_STALE;
	/* Of us, or about to be: what it has promised to somebody who never began is in our way. */
	if (rc == -ERR_STALE && request->role == ROLE_STORAGE &&
	    (member_find(ns, &request->self) || id_is_none(&request->cluster)))
		quorum_deposed(ns, &request->self, request->epoch);
	if (rc == -ERR_WRONG_CLUSTER && request->role == ROLE_STORAGE) {
		from->self = request->self;
		member_refused(ns, from, slice_of(""), rc);
	}
	if (rc < 0)
		return rc;
	from->self = request->self;
	from->machine = request->machine;
	if (request->role != ROLE_STORAGE) {
		/* Clients, however many, must not keep the storage servers out. */
		if (HASH_COUNT(ns->sessions) > SESSIONS_MAX - SESSIONS_KEPT)
			return -ERR_BUSY;
		rc = client_attach(ns, from);
		if (rc < 0)
			return rc;
	}
	from->role = request->role;
	TAILQ_REMOVE(&ns->strangers, from, strangers);
	*reply = (struct hello_reply){
		.version = PROTOCOL_VERSION,
		.epoch = ns->epoch,
		.role = ROLE_NAMESERVER,
		.cluster = ns->cluster,
		.cluster_name = slice_of(ns->cluster_name),
		.self = ns->config.self,
		.machine = ns->config.machine,
		.seen = from->peer,
	};
	reply->seen.flags |= ENDPOINT_SEEN;
	return 0;
}

/* Somebody else has answered its HELLO for us. */
void session_greeted(struct nameserver *ns, const struct ns_event *event)
{
	struct session *session;
	struct hello_reply reply;
	struct message hello;
	int rc;

	session_opened(ns, event);
	session = session_find(ns, event->conn);
	if (!session)
		return;
	rc = message_decode(event->header, event->body, &ns->arena, &hello);
	if (rc == 0)
		rc = event->header->type == MSG_hello && !event->header->reply
			     ? on_hello(ns, session, hello.body, &reply)
			     : -ERR_BAD_REQUEST;
	if (rc < 0)
		session_close(ns, session);
}

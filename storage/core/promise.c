/* Whom this server follows: one name server, by a promise that survives a power cut. The name
 * server that it followed before may still be alive and believe that it is the only one, until
 * LEASE_OF_SERVER_MS after it was last told that we hear it; so another one waits for longer. */
#include "storage_inside.h"

uint64_t storage_known_epoch(const struct storage *s)
{
	uint64_t epoch = s->epoch > s->config.promised_epoch ? s->epoch : s->config.promised_epoch;

	return epoch > s->follow.head.last.epoch ? epoch : s->follow.head.last.epoch;
}

bool storage_is_followed(const struct storage *s, uint64_t epoch)
{
	return storage_is_registered(s) && epoch == s->epoch && epoch >= s->config.promised_epoch;
}

void storage_touched(struct storage *s, uint64_t nameserver_ms)
{
	s->echo = nameserver_ms;
	s->touch_ms = s->now_ms;
}

/* Somebody else may still be the name server. Who has never been of a cluster has followed nobody;
 * who has just started does not know when it last did. */
static bool is_bound(const struct storage *s, const struct id *server)
{
	return !id_is_none(&s->config.cluster) && !id_equal(server, &s->config.promised_server) &&
	       s->now_ms < s->touch_ms + PROMISE_AFTER_MS;
}

static void note_promise(struct storage *s, const struct id *server, uint64_t epoch)
{
	struct storage_config *config = &s->config;

	s->previous_epoch = config->promised_epoch;
	s->previous_server = config->promised_server;
	s->promised_process = 0;
	config->promised_epoch = epoch;
	config->promised_server = *server;
}

static bool has_failed(const struct storage *s)
{
	struct storage_usage usage;

	s->config.chunks->usage(s->config.chunks_context, &usage);
	return usage.failed;
}

int storage_promise_registered(struct storage *s, const struct id *server, uint64_t epoch)
{
	const struct storage_config *config = &s->config;
	int rc;

	if (epoch == config->promised_epoch && id_equal(server, &config->promised_server))
		return 0;
	/* Who serves in an epoch was promised it by enough others, so whoever else has our promise
	 * of that epoch never begins in it; from now on the one that serves has it. */
	if (epoch < config->promised_epoch)
		return -ERR_STALE;
	rc = config->chunks->promise(config->chunks_context, epoch, server);
	/* A server whose disk has failed still serves what it can read. */
	if (rc < 0 && (rc == -ERR_STALE || !has_failed(s)))
		return rc;
	note_promise(s, server, epoch);
	return 0;
}

/* ---- PROMISE ---- */

static uint16_t members_give(const struct journal_members *members, struct node_id *ret)
{
	for (unsigned int i = 0; i < members->count; i++)
		ret[i].node = members->nodes[i];
	return (uint16_t)members->count;
}

/* What was acknowledged here once speaks on, also while another copy takes its place. */
static void catalogue_give(struct promise_reply *reply, const struct replica_head *head)
{
	const struct journal_head *last = head->had.sequence ? &head->had : &head->last;

	reply->incomplete = head->had.sequence != 0;
	reply->catalogue_epoch = last->epoch;
	reply->catalogue_sequence = last->sequence;
	reply->catalogue_hash = last->hash;
}

/* `result`: of the copy of the catalogue; NULL: there is none. */
static void answer(struct storage *s, struct conn *conn, uint32_t request,
		   const struct replica_result *result)
{
	struct node_id set[JOURNAL_SET_MAX], before[JOURNAL_SET_MAX];
	struct promise_reply reply = { .epoch = s->config.promised_epoch,
				       .previous = s->previous_epoch,
				       .server = s->config.promised_server,
				       .previous_server = s->previous_server,
				       .process = s->promised_process,
				       .journal_set = set,
				       .journal_before = before };

	if (result && !result->error && (result->head.whole || result->head.had.sequence))
		catalogue_give(&reply, &result->head);
	if (reply.catalogue_sequence && !reply.incomplete) {
		const struct journal_set *facts = &result->facts.set;

		reply.changing = facts->changing;
		reply.journal_set_count = members_give(&facts->now, set);
		reply.journal_before_count = members_give(&facts->before, before);
	}
	storage_send_message(s, conn,
			     &(struct message){ .info = message_info(MSG_promise),
						.reply = true,
						.id = request,
						.body = &reply });
}

void storage_promise_looked(struct storage *s, const struct replica_wait *wait,
			    const struct replica_result *result)
{
	struct conn *conn = storage_conn_find(s, wait->asker);

	if (conn)
		answer(s, conn, wait->request, result);
}

static int grant(struct storage *s, const struct promise_request *req)
{
	struct storage_config *config = &s->config;
	struct storage_action *action;
	int rc;

	if (is_bound(s, &req->server))
		return -ERR_BUSY;
	rc = config->chunks->promise(config->chunks_context, req->epoch, &req->server);
	if (rc < 0)
		return rc;
	note_promise(s, &req->server, req->epoch);
	action = storage_note(s, NOTE_PROMISED);
	action->who = req->server;
	action->number = req->epoch;
	/* Orders of the epoch in which we have registered are void: it shall take us anew. */
	if (storage_is_registered(s)) {
		s->seeker.register_again = true;
		s->seeker.next_heartbeat_ms = s->now_ms;
	}
	return 0;
}

/* Two processes with copies of one directory have one id: only one of them has each epoch. */
static bool is_asked_again(struct storage *s, const struct promise_request *req)
{
	if (req->epoch != s->config.promised_epoch ||
	    !id_equal(&req->server, &s->config.promised_server))
		return false;
	if (!s->promised_process)
		s->promised_process = req->process;
	return !req->process || req->process == s->promised_process;
}

/* What was given to the copy of the catalogue before is durable when a job that follows is done. */
int storage_on_promise(struct storage *s, struct conn *conn, const struct incoming *in)
{
	const struct promise_request *req = in->message.body;
	const struct storage_config *config = &s->config;
	enum follow_state state = s->follow.state;
	int rc = 0;

	if (req->epoch == 0 || !id_equal(&req->server, &conn->peer))
		return -ERR_BAD_REQUEST;
	if (req->epoch > config->promised_epoch)
		rc = grant(s, req);
	if (rc < 0)
		return rc;
	if (is_asked_again(s, req) && (state == FOLLOW_READY || state == FOLLOW_OPENING))
		return storage_follow_submit(s, &(struct replica_job){ .kind = REPLICA_LOOK },
					     conn->handle, in->header->id);
	answer(s, conn, in->header->id, NULL);
	return 0;
}

/* While there is no name server: clients are told of the copy of the catalogue, find by asking who
 * holds what, and read it with tickets that nobody has signed. Nothing can be changed. */
#include "storage_inside.h"

/* Its machine may have gone without a word: those who read do not wait until it is given up. */
static uint64_t missed_ms(const struct storage *s)
{
	return storage_is_registered(s) ? s->seeker.conn->heard_ms + MISSED_AFTER_MS
					: s->seeker.lost_ms + DEGRADED_AFTER_MS;
}

static bool is_without_nameserver(const struct storage *s)
{
	return !id_is_none(&s->config.cluster) && s->now_ms >= missed_ms(s);
}

static bool has_copy(const struct storage *s)
{
	return s->follow.state == FOLLOW_READY && storage_follow_known(s).sequence > 0;
}

bool storage_is_reader(const struct conn *conn)
{
	return conn->use != USE_NAMESERVER &&
	       (conn->role == ROLE_CLIENT || conn->role == ROLE_CONSOLE);
}

/* ---- the catalogue ---- */

/* Rows may be on the disk: the copy's owner looks them up. */
static int ask(struct storage *s, struct conn *conn, const struct incoming *in)
{
	struct replica_job job = { .kind = REPLICA_ASK, .local = conn->local };
	struct buffer frame = { 0 };
	int rc;

	if (!is_without_nameserver(s) || !has_copy(s))
		return -ERR_UNAVAILABLE;
	if (s->degraded.asking >= ASKS_MAX)
		return -ERR_BUSY;
	rc = message_encode(&in->message, &frame);
	job.bytes = (struct slice){ frame.data, frame.size };
	if (rc == 0)
		rc = storage_follow_submit(s, &job, conn->handle, in->header->id);
	buffer_done(&frame);
	s->degraded.asking += rc == 0;
	return rc;
}

void storage_degraded_answered(struct storage *s, const struct replica_wait *wait,
			       const struct replica_result *result)
{
	struct conn *conn = storage_conn_find(s, wait->asker);
	struct frame_header to = { .type = (uint16_t)wait->code, .id = wait->request };

	s->degraded.asking--;
	if (conn && result->error)
		storage_send_refusal(s, conn, &to, result->error);
	else if (conn)
		storage_send_bytes(s, conn, result->bytes.data, result->bytes.size);
}

int storage_on_stat(struct storage *s, struct conn *conn, const struct incoming *in)
{
	return ask(s, conn, in);
}

int storage_on_list(struct storage *s, struct conn *conn, const struct incoming *in)
{
	return ask(s, conn, in);
}

int storage_on_open(struct storage *s, struct conn *conn, const struct incoming *in)
{
	return ask(s, conn, in);
}

/* ---- chunks ---- */

int storage_on_have(struct storage *s, struct conn *conn, const struct incoming *in)
{
	const struct have_request *req = in->message.body;
	const struct storage_config *config = &s->config;
	struct chunk_id here[CHUNKS_MAX];
	struct have_reply reply = { .chunks = here };

	if (!is_without_nameserver(s))
		return -ERR_UNAVAILABLE;
	for (unsigned int i = 0; i < req->chunks_count; i++) {
		if (config->chunks->find(config->chunks_context, req->chunks[i].chunk, NULL,
					 NULL) == 0)
			here[reply.chunks_count++] = req->chunks[i];
	}
	storage_send_reply(s, conn, in, &reply);
	return 0;
}

int storage_degraded_ticket(const struct storage *s, const struct conn *conn,
			    const struct ticket *ticket)
{
	if (ticket->operation != TICKET_READ || !id_is_none(&ticket->tag) ||
	    !storage_is_reader(conn))
		return -ERR_DENIED;
	if (!id_equal(&ticket->holder, &s->config.self))
		return -ERR_WRONG_NODE;
	return is_without_nameserver(s) ? 0 : -ERR_UNAVAILABLE;
}

/* ---- what cannot be done ---- */

static bool is_change(const struct message_info *info)
{
	switch (info->code) {
	case MSG_put_begin:
	case MSG_put_chunks:
	case MSG_put_replace:
	case MSG_put_seal: return true;
	default: return info->flags & MESSAGE_CHANGES;
	}
}

int storage_degraded_refusal(const struct storage *s, const struct conn *conn,
			     const struct message_info *info)
{
	if (info && info->to == TO_NAMESERVER && is_change(info) && storage_is_reader(conn) &&
	    is_without_nameserver(s))
		return -ERR_NO_QUORUM;
	return -ERR_UNSUPPORTED;
}

/* ---- being found ---- */

static bool is_of_our_cluster(const struct storage *s, const struct beacon *beacon)
{
	const char *name = beacon->cluster_name;

	if (!id_is_none(&beacon->cluster))
		return id_equal(&beacon->cluster, &s->config.cluster);
	return !*name || strcmp(name, s->config.cluster_name) == 0;
}

/* Storage servers probe, too, but they count their starts: they look for a name server, not for us.
 * A name server that is about to begin must learn that there is a cluster. */
static bool is_probe_for_us(const struct storage *s, const struct beacon *beacon)
{
	return beacon->kind == BEACON_PROBE &&
	       (id_is_none(&beacon->server) || beacon->start == 0) && is_of_our_cluster(s, beacon);
}

void storage_degraded_heard(struct storage *s, const struct beacon *beacon)
{
	struct degraded *degraded = &s->degraded;

	if (beacon->kind == BEACON_STORAGE && is_of_our_cluster(s, beacon) &&
	    !id_equal(&beacon->server, &s->config.self))
		degraded->answer_ms = 0;
	if (!is_probe_for_us(s, beacon) || !is_without_nameserver(s) || !has_copy(s) ||
	    s->config.endpoint_count == 0 || degraded->answer_ms)
		return;
	/* Who asks too soon after another waits a little, not until it asks again. */
	degraded->answer_ms = s->now_ms + 1 + prng_below(&s->prng, DEGRADED_DELAY_MS);
	if (degraded->answer_ms < degraded->next_answer_ms)
		degraded->answer_ms = degraded->next_answer_ms;
}

static void beacon_send(struct storage *s)
{
	struct beacon beacon = { .kind = BEACON_STORAGE,
				 .port = s->config.endpoints[0].port,
				 .cluster = s->config.cluster,
				 .server = s->config.self,
				 .epoch = storage_known_epoch(s),
				 .start = s->config.start,
				 .counter = ++s->degraded.beacons };

	memcpy(beacon.cluster_name, s->config.cluster_name, sizeof(beacon.cluster_name));
	storage_broadcast(s, &beacon);
	s->degraded.next_answer_ms = s->now_ms + 1000 / PROBE_ANSWERS_PER_S;
}

static void say(struct storage *s)
{
	struct storage_action *action;

	if (s->degraded.said)
		return;
	s->degraded.said = true;
	action = storage_note(s, NOTE_DEGRADED);
	action->who = s->config.promised_server;
	action->number = storage_follow_known(s).sequence;
}

void storage_degraded_tick(struct storage *s)
{
	struct degraded *degraded = &s->degraded;
	bool reading = is_without_nameserver(s) && has_copy(s);

	if (reading)
		say(s);
	else if (storage_is_registered(s))
		degraded->said = false;
	if (degraded->answer_ms && s->now_ms >= degraded->answer_ms) {
		degraded->answer_ms = 0;
		if (reading && s->config.endpoint_count)
			beacon_send(s);
	}
}

uint64_t storage_degraded_deadline(const struct storage *s)
{
	const struct degraded *degraded = &s->degraded;
	uint64_t due = degraded->answer_ms ? degraded->answer_ms : UINT64_MAX;
	uint64_t reads_ms = missed_ms(s);

	if (!degraded->said && !id_is_none(&s->config.cluster) && has_copy(s) && reads_ms < due)
		due = reads_ms;
	return due;
}

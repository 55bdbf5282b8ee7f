/* Getting what the copy of the catalogue lacks: from the name server when there is a gap, and from
 * any other storage server now and then, so that one which the name server does not reach learns
 * all the same. One source and one question at a time; the next page is asked for as soon as its
 * cursor is known, so that the source reads it while others are stored. */
#include "pages.h"
#include "storage_inside.h"

static void step_to(struct storage *s, enum pull_step step)
{
	s->follow.pull.step = step;
	s->follow.pull.since_ms = s->now_ms;
}

static struct storage_action *note(struct storage *s, enum storage_note what)
{
	struct storage_action *action = storage_note(s, what);

	action->who = s->follow.pull.node;
	action->number = s->follow.tail.sequence;
	return action;
}

/* ---- the end ---- */

static void end(struct storage *s)
{
	struct pull *pull = &s->follow.pull;
	struct conn *conn = storage_conn_find(s, pull->source);

	if (conn && conn->use == USE_HOP)
		conn->busy = false;
	buffer_done(&pull->part);
	buffer_done(&pull->cursor);
	pull->source = 0;
	pull->storing = 0;
	step_to(s, PULL_NONE);
}

/* The other side has not kept to the rules, or to the time. */
static void give_up(struct storage *s)
{
	struct conn *conn = storage_conn_find(s, s->follow.pull.source);

	end(s);
	if (conn && conn->use == USE_HOP)
		conn->closing = true;
}

void storage_pull_cancel(struct storage *s)
{
	if (s->follow.pull.step != PULL_NONE)
		end(s);
}

void storage_pull_conn_gone(struct storage *s, const struct conn *conn)
{
	if (conn->handle == s->follow.pull.source)
		end(s);
}

/* ---- asking ---- */

static void ask(struct storage *s, struct conn *conn, unsigned int code, const void *body)
{
	struct pull *pull = &s->follow.pull;

	pull->request = conn == s->seeker.conn ? ++s->seeker.request : pull->request + 1;
	storage_send_request(s, conn, code, pull->request, body);
}

static void ask_batches(struct storage *s, struct conn *conn)
{
	const struct pull *pull = &s->follow.pull;
	const struct journal_head *tail = pull->more ? &pull->base : &s->follow.tail;
	struct pull_request req = { .sequence = tail->sequence,
				    .offset = pull->part.size,
				    .hash = tail->hash };

	step_to(s, PULL_ASKED);
	ask(s, conn, MSG_pull, &req);
}

static void ask_page(struct storage *s, struct conn *conn)
{
	const struct buffer *cursor = &s->follow.pull.cursor;
	struct page_request req = { .after = { cursor->data, cursor->size } };

	step_to(s, PAGE_ASKED);
	ask(s, conn, MSG_page, &req);
}

/* Who gives pages keeps the batches that belong to them for a while only. So now and then those are
 * fetched in between, up to the last page. */
static void ask_next(struct storage *s, struct conn *conn)
{
	struct pull *pull = &s->follow.pull;

	if (pull->pages >= CATCH_UP_PAGES && pull->base.sequence < pull->point) {
		ask_batches(s, conn);
		return;
	}
	if (pull->pages >= CATCH_UP_PAGES)
		pull->pages = 0;
	ask_page(s, conn);
}

static void ask_ahead(struct storage *s, struct conn *conn)
{
	if (s->follow.pull.storing < PAGES_STORING_MAX)
		ask_next(s, conn);
	else
		step_to(s, PAGE_STORING);
}

void storage_pull_conn_ready(struct storage *s, struct conn *conn)
{
	ask_batches(s, conn);
}

static void start(struct storage *s, struct conn *conn)
{
	struct pull *pull = &s->follow.pull;

	pull->part = (struct buffer){ .max = BATCH_SIZE_MAX };
	pull->source = conn->handle;
	pull->node = conn->peer;
	pull->more = false;
	pull->first_job = s->follow.last_job + 1;
	pull->storing = 0;
	step_to(s, PULL_DIALLING);
	if (conn->use == USE_HOP)
		conn->busy = true;
	if (conn->state == CONN_READY)
		ask_batches(s, conn);
}

static void start_with_peer(struct storage *s)
{
	const struct follow *follow = &s->follow;
	const struct replica_peer *peer;
	struct conn *conn;

	if (follow->peer_count == 0)
		return;
	peer = &follow->peers[prng_below(&s->prng, follow->peer_count)];
	conn = storage_peer_connection(s, &peer->node, peer->endpoints, peer->endpoint_count);
	if (!conn)
		return;
	conn->quiet = conn->state != CONN_READY;
	start(s, conn);
}

void storage_pull_next(struct storage *s)
{
	struct follow *follow = &s->follow;

	if (follow->state != FOLLOW_READY || follow->pull.step != PULL_NONE)
		return;
	if (follow->ask_nameserver && storage_is_registered(s)) {
		follow->ask_nameserver = false;
		start(s, s->seeker.conn);
	} else if (follow->ask_peer) {
		follow->ask_peer = false;
		start_with_peer(s);
	}
}

void storage_pull_registered(struct storage *s)
{
	s->follow.ask_nameserver = true;
	storage_pull_next(s);
}

/* ---- what comes ---- */

static void level(struct storage *s)
{
	struct follow *follow = &s->follow;

	if (follow->said_behind && follow->head.whole)
		note(s, NOTE_CATALOGUE_LEVEL);
	if (follow->head.whole)
		follow->said_behind = follow->said_refused = false;
	end(s);
}

static void say_behind(struct storage *s)
{
	if (!s->follow.said_behind)
		note(s, NOTE_CATALOGUE_BEHIND);
	s->follow.said_behind = true;
}

/* A part of a batch, or several whole ones. 1: they go to the copy; 0: there are more to ask for;
 * negative: they are not what they should be. */
static int take_batches(struct storage *s, const struct pull_reply *reply)
{
	struct buffer *part = &s->follow.pull.part;
	struct slice batches = reply->batches;
	int rc;

	if (reply->size == 0 && part->size > 0)
		return -ERR_BAD_REQUEST;
	if (reply->size > 0) {
		if (buffer_append(part, batches.data, batches.size) < 0 ||
		    part->size > reply->size || batches.size == 0)
			return -ERR_BAD_REQUEST;
		if (part->size < reply->size)
			return 0;
		batches = (struct slice){ part->data, part->size };
	}
	if (batches.size == 0)
		return -ERR_BAD_REQUEST;
	if (s->follow.pull.more) {
		rc = storage_follow_catch_up(s, batches, &s->follow.pull.base);
		s->follow.pull.storing += rc == 1;
	} else {
		rc = storage_follow_append(s, batches, 0, 0);
	}
	buffer_clear(part);
	return rc;
}

static bool is_behind(const struct pull_reply *reply, const struct journal_head *tail)
{
	return reply->epoch < tail->epoch ||
	       (reply->epoch == tail->epoch && reply->sequence <= tail->sequence);
}

static void say_refused(struct storage *s)
{
	if (!s->follow.said_refused)
		note(s, NOTE_CATALOGUE_REFUSED)->error = -ERR_STALE;
	s->follow.said_refused = true;
}

static void page_store(struct storage *s, struct replica_job *job)
{
	s->follow.pull.storing++;
	storage_follow_submit(s, job, 0, 0);
}

/* All anew, but not from somebody who knows less: his history may be the lost one's. */
static void copy_all(struct storage *s, struct conn *conn, const struct pull_reply *reply)
{
	struct follow *follow = &s->follow;
	const struct journal_head *tail = &follow->tail;

	if (reply->sequence == 0 || (follow->head.whole && is_behind(reply, tail))) {
		say_refused(s);
		end(s);
		return;
	}
	note(s, NOTE_CATALOGUE_ANEW);
	follow->said_behind = true;
	follow->tail = (struct journal_head){ 0 };
	buffer_clear(&follow->pull.cursor);
	follow->pull.more = true;
	follow->pull.pages = 0;
	page_store(s, &(struct replica_job){ .kind = REPLICA_BEGIN });
	ask_page(s, conn);
}

/* Between pages. */
static void take_between(struct storage *s, struct conn *conn, const struct pull_reply *reply)
{
	struct pull *pull = &s->follow.pull;
	int rc = 1;

	if (reply->state == PULL_LEVEL)
		pull->point = pull->base.sequence;
	else
		rc = take_batches(s, reply);
	if (rc < 0)
		give_up(s);
	else if (rc == 0)
		ask_batches(s, conn);
	else
		ask_ahead(s, conn);
}

static void take_pull(struct storage *s, struct conn *conn, const struct pull_reply *reply)
{
	int rc;

	if (s->follow.pull.more && (reply->state == PULL_LEVEL || reply->state == PULL_BATCHES)) {
		take_between(s, conn, reply);
		return;
	}
	switch (reply->state) {
	case PULL_BATCHES: break;
	case PULL_UNKNOWN: copy_all(s, conn, reply); return;
	case PULL_LEVEL: level(s); return;
	default: give_up(s); return;
	}
	say_behind(s);
	rc = take_batches(s, reply);
	if (rc < 0)
		give_up(s);
	else if (rc == 0)
		ask_batches(s, conn);
	else
		step_to(s, PULL_STORING);
}

/* The name server may send batches meanwhile; they do not follow what there is not yet. */
static void take_page(struct storage *s, struct conn *conn, const struct page_reply *reply)
{
	struct pull *pull = &s->follow.pull;
	struct slice after = { pull->cursor.data, pull->cursor.size }, last;
	struct replica_job job = { .kind = REPLICA_LOAD,
				   .bytes = reply->rows,
				   .point = { reply->epoch, reply->sequence, reply->hash },
				   .more = reply->more };

	if (reply->sequence == 0 || page_check(reply->rows, after, &last) < 0 ||
	    (reply->more && reply->rows.size == 0)) {
		give_up(s);
		return;
	}
	if (after.size == 0)
		pull->base = job.point;
	pull->point = reply->sequence;
	pull->pages++;
	if (reply->rows.size > 0) {
		buffer_clear(&pull->cursor);
		if (buffer_append(&pull->cursor, last.data, last.size) < 0)
			s->error = -ERR_NO_MEMORY;
	}
	pull->more = reply->more;
	page_store(s, &job);
	if (pull->more)
		ask_ahead(s, conn);
	else
		step_to(s, PAGE_STORING);
}

bool storage_pull_reply(struct storage *s, struct conn *conn, const struct incoming *in)
{
	struct pull *pull = &s->follow.pull;
	const bool page = in->header->type == MSG_page;

	if (in->header->type != MSG_pull && !page)
		return false;
	/* Answers to what was given up are late, no more. */
	if (conn->handle != pull->source || in->header->id != pull->request ||
	    pull->step != (page ? PAGE_ASKED : PULL_ASKED))
		return true;
	if (in->header->status == ERR_IN_PROGRESS && page)
		ask_page(s, conn);
	else if (in->header->status == ERR_IN_PROGRESS)
		ask_batches(s, conn);
	else if (in->header->status)
		end(s);
	else if (page)
		take_page(s, conn, in->message.body);
	else
		take_pull(s, conn, in->message.body);
	storage_pull_next(s);
	return true;
}

static void page_stored(struct storage *s, struct conn *conn)
{
	struct pull *pull = &s->follow.pull;

	pull->storing--;
	if (pull->more && pull->step == PAGE_STORING)
		ask_next(s, conn);
	else if (!pull->more && pull->storing == 0)
		ask_batches(s, conn);
}

/* What came is durable: on to the next. */
void storage_pull_stored(struct storage *s, const struct replica_result *result)
{
	struct pull *pull = &s->follow.pull;
	struct conn *conn = storage_conn_find(s, pull->source);

	if ((int32_t)(result->number - pull->first_job) < 0 ||
	    (pull->step != PULL_STORING && pull->storing == 0))
		return;
	if (result->error || !conn)
		end(s);
	else if (pull->step == PULL_STORING)
		ask_batches(s, conn);
	else
		page_stored(s, conn);
}

/* ---- time ---- */

static bool is_waiting(const struct pull *pull)
{
	return pull->step == PULL_DIALLING || pull->step == PULL_ASKED || pull->step == PAGE_ASKED;
}

static void open_copy(struct storage *s)
{
	s->follow.state = FOLLOW_OPENING;
	storage_follow_submit(s, &(struct replica_job){ .kind = REPLICA_OPEN }, 0, 0);
}

static void gossip(struct storage *s)
{
	struct follow *follow = &s->follow;

	follow->next_gossip_ms =
		s->now_ms + GOSSIP_MS - GOSSIP_MS / 10 + prng_below(&s->prng, GOSSIP_MS / 5);
	follow->ask_nameserver = follow->ask_peer = true;
}

void storage_pull_tick(struct storage *s)
{
	struct follow *follow = &s->follow;
	struct conn *conn;

	if (follow->state == FOLLOW_OFF)
		return;
	if (follow->state == FOLLOW_FAILED && s->now_ms >= follow->next_open_ms)
		open_copy(s);
	if (is_waiting(&follow->pull) && s->now_ms >= follow->pull.since_ms + PULL_SILENCE_MS) {
		conn = storage_conn_find(s, follow->pull.source);
		give_up(s);
		if (conn && conn->closing)
			storage_conn_drop(s, conn, -ERR_TIMEOUT, true);
	}
	if (s->now_ms >= follow->next_gossip_ms)
		gossip(s);
	storage_pull_next(s);
}

uint64_t storage_pull_deadline(const struct storage *s)
{
	const struct follow *follow = &s->follow;
	uint64_t due = follow->next_gossip_ms;

	if (follow->state == FOLLOW_OFF)
		return UINT64_MAX;
	if (follow->state == FOLLOW_FAILED && follow->next_open_ms < due)
		due = follow->next_open_ms;
	if (is_waiting(&follow->pull) && follow->pull.since_ms + PULL_SILENCE_MS < due)
		due = follow->pull.since_ms + PULL_SILENCE_MS;
	return due;
}

/* Promises, and what follows from them: whose catalogue is the right one, and may it be opened? */
#include "takeover_inside.h"
#include "text.h"

unsigned int takeover_count(const struct takeover *t, bool granted)
{
	const struct takeover_conn *c;
	unsigned int count = 0;

	for (c = t->conns; c; c = c->hh.next)
		count += granted ? c->granted : c->registered;
	return count;
}

static bool is_own_usable(const struct takeover *t)
{
	return t->own.whole && t->own.last.sequence > 0;
}

/* ---- asking ---- */

static void ask(struct takeover *t, struct takeover_conn *c)
{
	const struct promise_request request = { .epoch = t->epoch,
						 .server = t->config.self,
						 .process = t->config.process };

	if (!t->first_asked)
		t->first_asked = t->epoch;
	t->asked = true;
	c->ask_ms = t->now_ms;
	c->request = takeover_ask(t, c->conn, MSG_promise, &request);
}

static bool is_registered(void *context, const struct id *node)
{
	const struct takeover *t = context;
	const struct takeover_conn *c;

	for (c = t->conns; c; c = c->hh.next) {
		if (c->registered && id_equal(&c->self, node))
			return true;
	}
	return false;
}

/* Then the set may be another by now. Whose copy is not open yet may have that later one, if it has
 * promised somebody a later epoch. */
static bool may_know_later(const struct takeover *t, const struct takeover_conn *c)
{
	if (c->granted && journal_is_later(&c->head, &t->own.last))
		return true;
	return c->said.sequence ? journal_is_later(&c->said, &t->own.last)
				: c->promised > takeover_epoch_known(t);
}

static bool is_anybody_later(const struct takeover *t)
{
	const struct takeover_conn *c;

	for (c = t->conns; c; c = c->hh.next) {
		if (c->registered && may_know_later(t, c))
			return true;
	}
	return false;
}

/* Whether those in reach could be enough, if they promised. */
static bool may_be_enough(struct takeover *t)
{
	return journal_agrees(&t->facts.set, JOURNAL_RETURN, is_registered, t) ||
	       journal_agrees(&t->facts.set, JOURNAL_TAKE, is_registered, t);
}

/* Who promises follows nobody else any more. So nobody draws a server to itself who cannot begin
 * with it anyway: another name server may have enough of the others, and serve. A stand-by that
 * knows nothing yet cannot tell who is enough. */
bool takeover_may_ask(struct takeover *t)
{
	if (t->config.accept_rebuild || t->phase == PHASE_PULL)
		return true;
	if (t->config.standby && takeover_is_empty(t))
		return t->seen_count >= STANDBY_SET;
	return !is_own_usable(t) || may_be_enough(t) || is_anybody_later(t);
}

static bool is_due(const struct takeover *t, const struct takeover_conn *c)
{
	if (!c->registered || (c->granted && !c->incomplete))
		return false;
	return c->request ? t->now_ms >= c->ask_ms + PROMISE_SILENCE_MS : t->now_ms >= c->ask_ms;
}

static bool is_anybody_due(const struct takeover *t)
{
	const struct takeover_conn *c;

	for (c = t->conns; c; c = c->hh.next) {
		if (is_due(t, c))
			return true;
	}
	return false;
}

void takeover_ask_promises(struct takeover *t)
{
	const bool due = is_anybody_due(t) && takeover_may_ask(t);
	struct takeover_conn *c;

	if ((!due && !takeover_epoch_is_wrong(t)) || !takeover_epoch_is_kept(t) || !due)
		return;
	for (c = t->conns; c; c = c->hh.next) {
		if (is_due(t, c))
			ask(t, c);
	}
}

static void members_copy(const struct node_id *nodes, unsigned int count,
			 struct journal_members *ret)
{
	ret->count = count;
	for (unsigned int i = 0; i < count; i++)
		ret->nodes[i] = nodes[i].node;
}

/* It followed us and nobody else since the last batch that was on our disk, or was about to when we
 * died; or nobody at all. */
static bool has_been_ours(const struct takeover *t, const struct promise_reply *reply)
{
	return reply->previous == 0 || (id_equal(&reply->previous_server, &t->config.self) &&
					reply->previous <= takeover_epoch_known(t));
}

/* It has promised this very takeover already, on another connection perhaps, and may have started
 * anew since: what was before is not known any more. But had somebody else come between, we would
 * have been told so, or be by now; our own restart concludes the same (TAKEOVER_KEEP). */
static bool is_of_now(const struct takeover *t, const struct promise_reply *reply)
{
	return id_equal(&reply->previous_server, &t->config.self) &&
	       reply->previous >= t->first_asked;
}

static void granted(struct takeover *t, struct takeover_conn *c, const struct promise_reply *reply)
{
	c->granted = true;
	if (!c->knows) {
		c->knows = true;
		c->returns = is_of_now(t, reply) ? !t->overtaken : has_been_ours(t, reply);
		if (!c->returns && !is_of_now(t, reply))
			t->overtaken = true;
	}
	c->head = (struct journal_head){ reply->catalogue_epoch, reply->catalogue_sequence,
					 reply->catalogue_hash };
	c->incomplete = reply->incomplete;
	c->set = (struct journal_set){ .changing = reply->changing };
	members_copy(reply->journal_set, reply->journal_set_count, &c->set.now);
	members_copy(reply->journal_before, reply->journal_before_count, &c->set.before);
}

static bool is_promised_to_us(const struct takeover *t, const struct promise_reply *reply)
{
	return reply->epoch == t->epoch && id_equal(&reply->server, &t->config.self) &&
	       (reply->process == t->config.process || !reply->process || !t->config.process);
}

static void take_promise(struct takeover *t, struct takeover_conn *c,
			 const struct frame_header *header, const uint8_t *body)
{
	struct message message;
	const struct promise_reply *reply;

	if (message_decode(header, body, &t->arena, &message) < 0)
		return;
	reply = message.body;
	if (is_promised_to_us(t, reply))
		granted(t, c, reply);
	else /* Somebody else has it, or a higher one: ours must be above that. */
		takeover_epoch_outbid(t, reply->epoch);
	takeover_epoch_used(t, reply->catalogue_epoch);
}

void takeover_promise_answered(struct takeover *t, struct takeover_conn *from,
			       const struct frame_header *header, const uint8_t *body)
{
	if (header->id != from->request)
		return;
	from->request = 0;
	from->ask_ms = t->now_ms + (header->status == ERR_IN_PROGRESS ? 0 : ASK_AGAIN_MS);
	if (header->status == 0)
		take_promise(t, from, header, body);
}

/* ---- choosing ---- */

/* The operator has said that no others will come, and they had their time. */
static bool is_accepted(const struct takeover *t)
{
	return t->config.accept_rebuild && t->now_ms >= t->phase_ms + ACCEPT_AFTER_MS;
}

static bool is_member(const struct journal_set *set, const struct id *node)
{
	return journal_members_have(&set->now, node) ||
	       (set->changing && journal_members_have(&set->before, node));
}

/* In one epoch there is one history: what others have of our last one is ours, and goes on from
 * what the own disk has. */
static bool is_our_own(const struct takeover *t, const struct takeover_conn *c)
{
	return t->config.head.whole && c->head.epoch == t->config.head.last.epoch;
}

/* What counts is in the set's copies. What others have besides may never have been committed. */
static bool is_candidate(const struct takeover *t, const struct takeover_conn *c)
{
	return c->granted && c->head.sequence > 0 && !c->incomplete &&
	       t->now_ms >= c->excluded_until_ms &&
	       (is_accepted(t) || is_member(&c->set, &c->self) || is_our_own(t, c));
}

static const struct takeover_conn *conn_of(const struct takeover *t, const struct id *node)
{
	const struct takeover_conn *c;

	for (c = t->conns; c; c = c->hh.next) {
		if (c->granted && id_equal(&c->self, node))
			return c;
	}
	return NULL;
}

/* Who is asked whether a catalogue that ends with `head` is the right one. */
struct votes {
	const struct takeover *t;
	const struct journal_head *head;
};

/* Nobody speaks for less than it has: it may have what was committed, or know that the set is
 * another by now, also where it cannot be the source itself. */
static const struct takeover_conn *vote_of(const struct votes *votes, const struct id *node)
{
	const struct takeover_conn *c = conn_of(votes->t, node);

	return c && !journal_is_later(&c->head, votes->head) ? c : NULL;
}

/* Somebody here has all that this one ever had, or it has it itself. */
static bool is_covered(const struct takeover *t, const struct takeover_conn *c)
{
	const struct takeover_conn *other;

	if (!c->incomplete || (is_own_usable(t) && !journal_is_later(&c->head, &t->own.last)))
		return c->head.sequence > 0;
	for (other = t->conns; other; other = other->hh.next) {
		if (other->granted && !other->incomplete &&
		    !journal_is_later(&c->head, &other->head))
			return true;
	}
	return false;
}

bool takeover_has_promised(const struct takeover *t, const struct id *node)
{
	const struct takeover_conn *c = conn_of(t, node);

	return c && is_covered(t, c);
}

bool takeover_is_without_copy(const struct takeover *t, const struct id *node)
{
	const struct takeover_conn *c = conn_of(t, node);

	return c && !is_covered(t, c);
}

bool takeover_is_in_reach(struct takeover *t, const struct id *node)
{
	return takeover_has_promised(t, node) || (is_registered(t, node) && !takeover_may_ask(t));
}

/* A server whose copy was lost speaks for nothing. */
static bool has_promised(void *context, const struct id *node)
{
	const struct takeover_conn *c = vote_of(context, node);

	return c && c->head.sequence > 0;
}

static bool has_returned(void *context, const struct id *node)
{
	const struct takeover_conn *c = vote_of(context, node);

	return c && c->returns;
}

static struct takeover_conn *best_candidate(const struct takeover *t)
{
	struct takeover_conn *c, *best = NULL;
	struct journal_head head = { 0 };

	if (is_own_usable(t))
		head = t->own.last;
	for (c = t->conns; c; c = c->hh.next) {
		if (is_candidate(t, c) && journal_is_later(&c->head, &head)) {
			best = c;
			head = c->head;
		}
	}
	return best;
}

/* There has been a set: the first one was committed. */
static bool proves_a_set(const struct journal_set *set)
{
	return set->now.count > 0 && (!set->changing || set->before.count > 0);
}

/* A catalogue without a set was the name server's alone. But where somebody knows a later one, and
 * is asked just now or has been told of a set, this one is old. */
static bool is_outdone(const struct takeover *t)
{
	const struct takeover_conn *c;

	for (c = t->conns; c; c = c->hh.next) {
		if (c->granted ? journal_is_later(&c->head, &t->own.last) && proves_a_set(&c->set)
			       : c->registered && journal_is_later(&c->said, &t->own.last))
			return true;
	}
	return false;
}

/* What was fetched, and never opened, says nothing of what we had committed. */
static bool is_of_our_last_epoch(const struct takeover *t, const struct journal_head *head)
{
	return !t->config.rebuilding && head->epoch == t->config.head.last.epoch;
}

/* May the catalogue that names this set, and ends so, be opened? All that we have committed
 * ourselves was on our disk at the start, and is in whatever our last epoch has besides: unless
 * that disk is an old copy of what it was. So who might know is waited for first. */
static bool is_enough(struct takeover *t, const struct journal_set *set,
		      const struct journal_head *head)
{
	struct votes votes = { t, head };

	if (t->config.standby && set->now.count < STANDBY_SET)
		return false;
	if (set->now.count == 0 && !set->changing)
		return is_of_our_last_epoch(t, head) && takeover_has_looked(t) && !is_outdone(t);
	return journal_agrees(set, JOURNAL_TAKE, has_promised, &votes) ||
	       (is_of_our_last_epoch(t, head) && takeover_has_looked(t) &&
		journal_agrees(set, JOURNAL_RETURN, has_returned, &votes));
}

/* An empty stand-by fetches what goes on elsewhere. */
static bool is_loss(const struct takeover *t, bool enough)
{
	return !enough || (t->config.head.last.sequence == 0 && !t->config.standby);
}

/* The directory knows before it has anything of it: later nothing else tells. */
static void fetch(struct takeover *t, struct takeover_conn *source, bool enough)
{
	if (is_loss(t, enough) && !takeover_rebuild_is_kept(t))
		return;
	t->outcome.rebuilt = t->outcome.rebuilt || is_loss(t, enough);
	takeover_pull_start(t, source);
}

void takeover_choose(struct takeover *t)
{
	struct takeover_conn *best;
	const struct journal_set *set;
	bool enough;

	if (t->phase != PHASE_SEEK)
		return;
	best = best_candidate(t);
	if (!best && !is_own_usable(t))
		return;
	set = best ? &best->set : &t->facts.set;
	t->deciding = *set;
	enough = is_enough(t, set, best ? &best->head : &t->own.last);
	if (!enough && !is_accepted(t))
		return;
	if (best) {
		fetch(t, best, enough);
		return;
	}
	/* Something may be missing that somebody was told. */
	t->outcome.rebuilt = t->outcome.rebuilt || !enough;
	takeover_finish(t);
}

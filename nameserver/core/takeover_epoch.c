/* Which epoch is asked for, and what the own directory knows of it. */
#include "takeover_inside.h"

/* Whoever promised something must promise this anew: the number has changed. What was found out
 * about whom they followed before we came stays true. */
void takeover_epoch_heard(struct takeover *t, uint64_t epoch)
{
	struct takeover_conn *c;

	if (epoch >= EPOCH_MAX || epoch < t->epoch || (epoch == t->epoch && t->asked))
		return;
	t->epoch = epoch + 1;
	t->asked = false;
	for (c = t->conns; c; c = c->hh.next) {
		c->granted = false;
		c->request = 0;
		c->ask_ms = 0;
	}
}

void takeover_epoch_said(struct takeover *t, uint64_t epoch)
{
	if (epoch < t->epoch || epoch - t->epoch < EPOCH_LEAP)
		takeover_epoch_heard(t, epoch);
}

void takeover_epoch_used(struct takeover *t, uint64_t epoch)
{
	t->asked = t->asked && epoch != t->epoch;
	takeover_epoch_heard(t, epoch);
}

void takeover_epoch_outbid(struct takeover *t, uint64_t epoch)
{
	t->overtaken = true;
	takeover_epoch_used(t, epoch);
}

uint64_t takeover_epoch_known(const struct takeover *t)
{
	uint64_t last = t->config.head.last.epoch;

	return last > t->config.asked_epoch ? last : t->config.asked_epoch;
}

/* One of those that we have asked for in this takeover is no news. If it was another's all the
 * same, the answer to PROMISE tells. */
void takeover_epoch_promised(struct takeover *t, uint64_t epoch)
{
	const bool may_be_ours = t->first_asked && epoch >= t->first_asked && epoch <= t->epoch;

	if (epoch > takeover_epoch_known(t) && !may_be_ours)
		t->overtaken = true;
	takeover_epoch_heard(t, epoch);
}

/* Who dies between the promise and the first batch knows by it that the promise was his own. An old
 * copy of a directory must never say so: else it would go on after its second start as if nothing
 * had come after it. */
static uint64_t epoch_to_keep(const struct takeover *t)
{
	return t->overtaken ? t->config.asked_epoch : t->epoch;
}

bool takeover_epoch_is_wrong(const struct takeover *t)
{
	return t->kept > epoch_to_keep(t);
}

static void keep(struct takeover *t, uint64_t epoch)
{
	struct takeover_action *action = takeover_act(t, TAKEOVER_KEEP);

	action->epoch = t->keeping_epoch = epoch;
	action->rebuilding = t->rebuilding || t->keeping_mark;
	t->keeping = true;
}

bool takeover_epoch_is_kept(struct takeover *t)
{
	const uint64_t epoch = epoch_to_keep(t);

	if (t->kept == epoch || (t->keeps_not && !takeover_epoch_is_wrong(t)))
		return true;
	if (!t->keeping)
		keep(t, epoch);
	return false;
}

bool takeover_rebuild_is_kept(struct takeover *t)
{
	if (!t->rebuilding && !t->keeping) {
		t->keeping_mark = true;
		keep(t, t->kept);
	}
	return t->rebuilding;
}

static void not_kept(struct takeover *t, bool needed, int error)
{
	if (needed) {
		takeover_give_up(t, error, "the data directory cannot be written: %s",
				 error_text(error));
		return;
	}
	t->keeps_not = true;
	takeover_note(t, LOG_WARN, "epoch_not_kept", "epoch=%llu error=%s",
		      (unsigned long long)t->keeping_epoch, error_name(error));
}

/* A full disk only makes the next start slower, as long as nothing is fetched. */
void takeover_epoch_kept(struct takeover *t, int error)
{
	const bool mark = t->keeping_mark;

	t->keeping = t->keeping_mark = false;
	if (error) {
		not_kept(t, mark || t->keeping_epoch < t->kept, error);
		return;
	}
	t->kept = t->keeping_epoch;
	t->rebuilding = t->rebuilding || mark;
}

/* An operator has a storage server emptied, and later changes his mind. What he does is drawn apart
 * from all else, so that the other runs stay as they are. */
#include "catalogue.h"
#include "world.h"

enum {
	ONE_IN = 4, /* runs */
	LOOK_US = SECOND,
	BEGIN_US = 12 * SECOND,
	LAST_US = 20 * SECOND,
	PATIENCE_S = 60,
};

static bool is_draining(struct world *w)
{
	struct kv *kv = ns_host_kv(world_nameserver(w));
	struct member_row row;

	return kv && w->drained && member_get(kv, &w->drained->id, &row) == 0 && row.draining;
}

static void ask(struct world *w, bool undo)
{
	struct op_plan plan = { .kind = SIM_DRAIN, .node = w->drained->id, .replace = undo };

	for (unsigned int i = 0; i < w->client_count; i++) {
		struct host *client = world_client(w, i);

		if (!client->up || host_is_paused(client) || !client_host_connected(client))
			continue;
		world_trace(w, "%s %s be emptied", w->drained->name, undo ? "need not" : "shall");
		client_host_begin(client, &plan, NULL);
		return;
	}
}

static void drain_look(struct world *w, const struct due *due)
{
	bool undo = w->healed || w->now_us >= w->drained_until_us;

	(void)due;
	if (is_draining(w) == undo)
		ask(w, undo);
	if (!w->healed)
		world_after(w, LOOK_US, (struct due){ .run = drain_look });
}

static void drain_now(struct world *w, const struct due *due)
{
	if (w->healed)
		return;
	w->result.tallies[TALLY_DRAINED]++;
	w->drained = world_storage(w, (unsigned int)due->a);
	w->drained_until_us = w->now_us + due->b;
	drain_look(w, due);
}

void drain_begin(struct world *w)
{
	struct prng dice = { w->config.seed };

	if (w->config.sabotage != SABOTAGE_NONE || prng_below(&dice, ONE_IN) ||
	    w->storage_count < 3)
		return;
	world_after(w, 3 * SECOND + prng_below(&dice, BEGIN_US),
		    (struct due){ .run = drain_now,
				  .a = prng_below(&dice, w->storage_count),
				  .b = 2 * SECOND + prng_below(&dice, LAST_US) });
}

void drain_end(struct world *w)
{
	uint64_t end_us = w->now_us + PATIENCE_S * (uint64_t)SECOND;

	while (is_draining(w) && w->now_us < end_us && !w->result.failed) {
		ask(w, true);
		world_run_until(w, w->now_us + LOOK_US);
	}
	if (is_draining(w))
		world_fail(w, "%s is still to be emptied %d s after everything healed",
			   w->drained->name, PATIENCE_S);
}

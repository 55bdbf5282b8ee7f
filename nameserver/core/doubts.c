/* Copies that somebody else calls bad: their server reads them, and then it is known. */
#include "orders.h"
#include "repair.h"

enum {
	DOUBTED_MAX =
		4096, /* per server; what finds no room is asked about when it is reported again */
	LOOK_MS = 30 * 1000,
	LOOK_SILENCE_MS = 6000,
	LOOK_AGAIN_MS = 1000,
};

void copy_doubt(struct nameserver *ns, struct member *member, uint64_t chunk)
{
	struct holders holders;

	if (!member->session || member->doubted.count >= DOUBTED_MAX)
		return;
	if (holders_get(ns->kv, chunk, &holders) < 0 || !holders_have(&holders, member->row.number))
		return;
	if (chunk_set_add(&member->doubted, chunk) > 0 && member->look_ms < ns->now_ms)
		member->look_ms = ns->now_ms;
}

/* BUSY, and what means nothing: it is asked again. */
static int finding_enter(struct nameserver *ns, struct member *member,
			 const struct chunk_finding *finding)
{
	int rc;

	if (!chunk_set_has(&member->doubted, finding->chunk) || finding->status == ERR_BUSY)
		return 0;
	chunk_set_remove(&member->doubted, finding->chunk);
	if (finding->status == 0)
		rc = place_sound(ns, member, finding->chunk);
	else
		rc = place_bad(ns, member, finding->chunk, true);
	if (finding->status && rc > 0)
		corrupt_tell(ns, member, finding->chunk, "inspection");
	if (rc >= 0)
		repair_look(ns, finding->chunk);
	return rc;
}

/* What was said of them stands. */
static void doubts_end(struct nameserver *ns, struct member *member)
{
	struct chunk_set doubted = member->doubted;

	member->doubted = (struct chunk_set){ 0 };
	for (size_t i = 0; i < doubted.count; i++)
		repair_look(ns, doubted.ids[i]);
	chunk_set_done(&doubted);
}

static void look_done(struct nameserver *ns, const struct order_result *result)
{
	const struct inspect_reply *reply = result->reply;
	struct member *member = result->member;

	member->looking = false;
	member->look_ms = ns->now_ms + LOOK_AGAIN_MS;
	if (result->error < 0) {
		doubts_end(ns, member);
		return;
	}
	for (unsigned int i = 0; i < reply->findings_count; i++) {
		if (finding_enter(ns, member, &reply->findings[i]) < 0)
			ns->failed = true;
	}
}

/* The first ones; those that are part of no file any more are passed over. */
static void look(struct nameserver *ns, struct member *member)
{
	const struct order_how how = {
		.timeout_ms = LOOK_MS,
		.silence_ms = LOOK_SILENCE_MS,
		.done = look_done,
	};
	struct chunk_sum *sums = arena_alloc(&ns->arena, INSPECT_MAX * sizeof(*sums));
	struct inspect_request order = { .chunks = sums };

	for (size_t i = 0; sums && i < member->doubted.count;) {
		uint64_t chunk = member->doubted.ids[i];
		struct chunk_row row;

		if (order.chunks_count == INSPECT_MAX)
			break;
		if (chunk_find(ns->kv, chunk, &row) < 0) {
			chunk_set_remove(&member->doubted, chunk);
			continue;
		}
		sums[order.chunks_count++] = (struct chunk_sum){ chunk, row.length, row.digest };
		i++;
	}
	if (order.chunks_count)
		member->looking = member_order(ns, member, MSG_inspect, &order, &how) == 0;
}

static bool is_due(const struct member *member)
{
	return member->doubted.count && member->session && !member->looking;
}

void doubts_tick(struct nameserver *ns)
{
	for (unsigned int i = 0; i < ns->member_count; i++) {
		struct member *member = ns->sorted[i];

		if (!member->session && member->doubted.count)
			doubts_end(ns, member);
		if (is_due(member) && member->look_ms <= ns->now_ms)
			look(ns, member);
	}
}

uint64_t doubts_deadline(const struct nameserver *ns)
{
	uint64_t at = UINT64_MAX;

	for (unsigned int i = 0; i < ns->member_count; i++) {
		const struct member *member = ns->sorted[i];

		if (is_due(member) && member->look_ms < at)
			at = member->look_ms;
	}
	return at;
}

/* What goes: chunks that no file has any more, chunks that none ever had, old recorded answers. */
#include "hold.h"
#include "orders.h"
#include "repair.h"

enum {
	COLLECT_STEP = 1024, /* chunks, files and directories a step, at most */
	DELETE_PART = 4,     /* so many times as many chunks are looked at that are to be deleted */
	DOOMED_MAX = 1024 * 1024,    /* per server; the rest comes with its next inventory */
	DOOMED_PAUSE = 256 * 1024,   /* a server that far behind makes the collector wait */
	DOOMED_AWAY_MAX = 64 * 1024, /* of one that is not connected */
	UNKNOWN_MAX = 1024 * 1024,   /* per server; the rest comes with its next inventory */
	UNHEARD_PART = 6, /* unknown chunks wait so many times longer while a server is missing */
	DELETE_MS = 5 * 60 * 1000, /* for an answer to DELETE */
	RESULTS_CLIENTS = 16,      /* a step */
	RESULTS_STEP = 256,
	RESULTS_PAUSE_MS = 60 * 1000,
};

/* ---- ordering chunks away ---- */

void chunk_doom(struct nameserver *ns, struct member *member, uint64_t chunk)
{
	if (member->doomed.count >= (member->session ? DOOMED_MAX : DOOMED_AWAY_MAX))
		return;
	if (chunk_set_add(&member->doomed, chunk) > 0)
		garbage_soon(ns);
}

/* Of an id that was given out in this run we know that its put has ended. Another one may be known
 * to somebody who has not been heard yet. */
int chunk_is_unknown(struct nameserver *ns, struct member *member, uint64_t chunk)
{
	int rc = 0;

	if (chunk >> ID_BITS_OF_COUNT == ns->start) {
		chunk_doom(ns, member, chunk);
		return 0;
	}
	if (member->unknown.count < UNKNOWN_MAX)
		rc = chunk_set_add(&member->unknown, chunk);
	member->unknown_ms = ns->now_ms;
	return rc < 0 ? -ERR_NO_MEMORY : 0;
}

/* Asked once more right before the order: part of no file, and of no put; or a copy too many, of
 * which nothing is on the books any more. One that is no longer too many is put back on them, if it
 * was taken off since the server told what it has. */
static bool may_delete(struct nameserver *ns, struct member *member, uint64_t chunk)
{
	struct chunk_health health;
	int rc;

	if (lease_find(ns, chunk))
		return false;
	rc = health_get(ns, chunk, &health);
	if (rc == 0 && holders_have(&health.holders, member->row.number))
		return false;
	if (rc == 0 && health.firm < health.wanted) {
		rc = chunk_set_has(&member->away, chunk) ? place_keep(ns, member, chunk) : 0;
		repair_wait(ns);
		ns->failed = ns->failed || rc < 0;
		return false;
	}
	ns->failed = ns->failed || (rc < 0 && rc != -ERR_NOT_FOUND);
	return !ns->failed;
}

static void delete_done(struct nameserver *ns, const struct order_result *result)
{
	struct member *member = result->member;
	const struct delete_reply *reply = result->reply;

	member->deleting = false;
	for (size_t i = 0; result->error == 0 && i < member->ordered.count; i++)
		bad_remove(ns, member, member->ordered.ids[i]);
	chunk_set_done(&member->ordered);
	if (result->error == 0)
		member_deleted(member, reply);
	if (member->doomed.count)
		garbage_soon(ns);
}

/* At most `most` of them; returns how many were looked at. */
static size_t doomed_send(struct nameserver *ns, struct member *member, size_t most)
{
	size_t taken = member->doomed.count < most ? member->doomed.count : most;
	struct chunk_id *chunks = arena_alloc(&ns->arena, taken * sizeof(*chunks));
	struct delete_request order = { .epoch = ns->epoch, .chunks = chunks };
	const struct order_how how = { .timeout_ms = DELETE_MS, .done = delete_done };

	if (!chunks)
		return 0;
	for (size_t i = 0; i < taken; i++) {
		uint64_t chunk = member->doomed.ids[i];

		if (!may_delete(ns, member, chunk))
			continue;
		if (chunk_set_add(&member->ordered, chunk) < 0)
			ns->failed = true;
		chunks[order.chunks_count++].chunk = chunk;
	}
	chunk_set_drop(&member->doomed, taken);
	if (order.chunks_count)
		member->deleting = member_order(ns, member, MSG_delete, &order, &how) == 0;
	return taken;
}

void deletes_withdraw(struct nameserver *ns)
{
	for (unsigned int i = 0; i < ns->member_count; i++) {
		struct member *member = ns->sorted[i];

		if (!member->deleting || !held_delete_drop(ns, member->session->conn))
			continue;
		for (size_t j = 0; j < member->ordered.count; j++)
			chunk_doom(ns, member, member->ordered.ids[j]);
		order_withdraw(ns, member, delete_done);
	}
}

/* Not while its inventory is on its way: what it lists might be gone when we enter it. */
static bool can_delete(const struct nameserver *ns, const struct member *member)
{
	return member->session && !ns->quorum.lost && member->stage != INVENTORY_COUNTING &&
	       member->stage != INVENTORY_COMING && !deletes_are_held(ns);
}

/* Who has not been heard since the start may know why they are there. */
static uint64_t unknown_grace_ms(const struct nameserver *ns)
{
	return ns->config.unknown_grace_ms * (members_all_heard(ns) ? 1 : UNHEARD_PART);
}

/* When its unknown chunks may go; UINT64_MAX: not as things are. */
static uint64_t unknown_due_ms(const struct nameserver *ns, const struct member *member,
			       uint64_t grace_ms)
{
	uint64_t due_ms = member->unknown_ms + grace_ms;
	uint64_t brake_ms = brake_until_ms(member);

	if (!member->unknown.count || !can_delete(ns, member))
		return UINT64_MAX;
	return due_ms > brake_ms ? due_ms : brake_ms;
}

static bool can_order(const struct nameserver *ns, const struct member *member)
{
	return member->doomed.count && !member->deleting && can_delete(ns, member);
}

static void unknown_release(struct nameserver *ns, struct member *member)
{
	size_t count = brake_release(ns, member, member->unknown.count);

	for (size_t i = 0; i < count; i++)
		chunk_doom(ns, member, member->unknown.ids[i]);
	chunk_set_drop(&member->unknown, count);
}

/* All together have their turn of `most` chunks; those who find none left are first in the next. */
static void members_clean(struct nameserver *ns, size_t most)
{
	const uint64_t grace_ms = unknown_grace_ms(ns);
	unsigned int from = ns->delete_next;

	for (unsigned int i = 0; i < ns->member_count; i++) {
		unsigned int at = (from + i) % ns->member_count;
		struct member *member = ns->sorted[at];

		if (unknown_due_ms(ns, member, grace_ms) <= ns->now_ms)
			unknown_release(ns, member);
		if (!most || !can_order(ns, member))
			continue;
		most -= doomed_send(ns, member, most);
		ns->delete_next = at + 1;
	}
}

/* ---- the collector ---- */

static bool garbage_held(void *context, uint64_t inode)
{
	return inode_is_open(context, inode);
}

static void garbage_chunk(void *context, uint64_t chunk)
{
	struct nameserver *ns = context;

	if (places_end(ns, chunk) < 0)
		ns->failed = true;
}

static bool must_pause(const struct nameserver *ns)
{
	for (unsigned int i = 0; i < ns->member_count; i++) {
		if (ns->sorted[i]->session && ns->sorted[i]->doomed.count >= DOOMED_PAUSE)
			return true;
	}
	return false;
}

static void collect(struct nameserver *ns, unsigned int most)
{
	const struct garbage_how how = {
		.before_ms = UINT64_MAX,
		.most = most,
		.held = garbage_held,
		.each = garbage_chunk,
		.context = ns,
	};
	int rc;

	if (!ns->garbage || ns->now_ms < ns->collect_from_ms || must_spare(ns) ||
	    deletes_are_held(ns) || must_pause(ns))
		return;
	rc = catalogue_collect(ns->kv, &how);
	if (rc < 0)
		ns->failed = true;
	ns->garbage = rc >= (int)most;
}

void garbage_soon(struct nameserver *ns)
{
	ns->garbage = true;
}

void garbage_tick(struct nameserver *ns)
{
	unsigned int most;

	if (ns->now_ms < garbage_deadline(ns))
		return;
	most = pace_step(&ns->collect_pace, ns->now_ms - ns->garbage_ms, COLLECT_STEP);
	ns->garbage_ms = ns->now_ms + STEP_MS;
	collect(ns, most);
	members_clean(ns, (size_t)DELETE_PART * most);
	if (garbage_deadline(ns) > ns->garbage_ms)
		ns->collect_pace = 0;
}

uint64_t garbage_deadline(const struct nameserver *ns)
{
	uint64_t at = UINT64_MAX, grace_ms = unknown_grace_ms(ns);

	if (ns->garbage && !must_spare(ns) && !deletes_are_held(ns))
		at = ns->collect_from_ms;
	for (unsigned int i = 0; i < ns->member_count; i++) {
		const struct member *member = ns->sorted[i];
		uint64_t due_ms = can_order(ns, member) ? 0 : unknown_due_ms(ns, member, grace_ms);

		at = due_ms < at ? due_ms : at;
	}
	return at < ns->garbage_ms ? ns->garbage_ms : at;
}

/* ---- recorded answers of clients that are gone ---- */

/* The first client from the cursor on that has recorded answers. */
static int results_next(struct nameserver *ns, struct id *ret)
{
	uint8_t start[1 + ID_SIZE] = "o";
	struct slice key, value;
	int rc;

	memcpy(start + 1, ns->results_cursor.bytes, ID_SIZE);
	rc = kv_seek(ns->kv, (struct slice){ start, sizeof(start) }, &key, &value);
	if (rc < 0)
		return rc;
	if (key.size < sizeof(start) || key.data[0] != 'o')
		return -ERR_NOT_FOUND;
	memcpy(ret->bytes, key.data + 1, ID_SIZE);
	return 0;
}

static void cursor_pass(struct nameserver *ns, const struct id *client)
{
	ns->results_cursor = *client;
	for (int i = ID_SIZE - 1; i >= 0; i--) {
		if (++ns->results_cursor.bytes[i])
			return;
	}
}

/* 1: more is to be done at once. */
static int results_step(struct nameserver *ns)
{
	for (int i = 0; i < RESULTS_CLIENTS; i++) {
		struct client *client;
		struct id id;
		int rc = results_next(ns, &id);

		if (rc < 0)
			return rc == -ERR_NOT_FOUND ? 0 : rc;
		HASH_FIND(hh, ns->clients, &id, sizeof(id), client);
		if (!client) {
			rc = result_trim(ns->kv, &id, UINT64_MAX, RESULTS_STEP);
			if (rc < 0 || rc == RESULTS_STEP)
				return rc < 0 ? rc : 1;
		}
		cursor_pass(ns, &id);
		if (id_is_none(&ns->results_cursor))
			return 0;
	}
	return 1;
}

void results_tick(struct nameserver *ns)
{
	int rc;

	if (ns->now_ms < results_deadline(ns))
		return;
	rc = results_step(ns);
	if (rc < 0)
		ns->failed = true;
	if (rc > 0) {
		ns->results_ms = ns->now_ms + STEP_MS;
		return;
	}
	ns->results_cursor = (struct id){ { 0 } };
	ns->results_ms = ns->now_ms + RESULTS_PAUSE_MS;
}

uint64_t results_deadline(const struct nameserver *ns)
{
	return must_spare(ns) ? UINT64_MAX : ns->results_ms;
}

/* Servers fill evenly, also those that came later: copies move from fuller servers to emptier ones.
 *
 * It begins when the fullest and the emptiest are more than START apart, and ends at STOP, so that
 * it does not begin again at once. A walk over all chunks finds what may move: a chunk that needs
 * nothing, on a server that is fuller than the one it goes to, before and after. To move is to make
 * one copy more than is wanted; then what is too much goes, by the rules of repair, which are asked
 * beforehand which copy that would be: so zones and machines come first here, too, and at no time
 * are there fewer copies than wanted. Few chunks are under way at a time, half of the time none,
 * and none while chunks are to be repaired. */
#include "hold.h"
#include "orders.h"
#include "repair.h"

enum {
	START = 100, /* permille of the capacity */
	STOP = 50,
	CHECK_MS = 2000,
	WALK_STEP = 256, /* chunks a step, at most */
	WALK_MS = 50,
	MOVES_MAX = 8,
	TARGETS_MAX = 16,         /* that are tried for one chunk */
	FAILED_MAX = 32,          /* moves, one after the other */
	REST_MS = 10 * 60 * 1000, /* after those, and a walk that found nothing to move */
	ROOM_LEFT_PART = 20,      /* of its capacity; a server with less is given nothing */
};

struct moving {
	struct fetch_ends ends;
	uint64_t chunk;
	uint16_t leaves; /* the server that will lose its copy */
};

struct balance {
	bool running;
	bool told;
	uint64_t next_ms;
	uint64_t cursor;
	unsigned int pace;
	bool moved;          /* in this walk */
	unsigned int failed; /* the last moves */
	uint64_t begun_ms, count, bytes;
	struct moving moves[MOVES_MAX];
	unsigned int move_count;
};

static struct moving *moving_find(struct balance *balance, uint64_t chunk)
{
	for (unsigned int i = 0; i < balance->move_count; i++) {
		if (balance->moves[i].chunk == chunk)
			return &balance->moves[i];
	}
	return NULL;
}

/* ---- how full ---- */

static bool takes_part(const struct member *member)
{
	return member->state == NODE_ONLINE && member->session && member->key && member->capacity &&
	       !member->disk_failed && !member->row.draining && member->stage == INVENTORY_NONE &&
	       member->compared;
}

static uint64_t permille(const struct member *member, uint64_t bytes)
{
	uint64_t part = bytes / (member->capacity / 1000 + 1);

	return part < 1000 ? part : 1000;
}

/* When all has come that is to come, and all has gone that is to go. */
static uint64_t fullness(const struct nameserver *ns, const struct member *member)
{
	const struct balance *balance = ns->balance;
	uint64_t used = member->used + member->leased, going = 0;

	if (member->chunks)
		going = (member->doomed.count + member->ordered.count) *
			(member->used / member->chunks);
	for (unsigned int i = 0; i < balance->move_count; i++) {
		if (balance->moves[i].leaves == member->row.number)
			going += balance->moves[i].ends.length;
	}
	return permille(member, used > going ? used - going : 0);
}

struct spread {
	uint64_t lowest, highest;
	unsigned int servers;
};

static struct spread spread_of(const struct nameserver *ns)
{
	struct spread spread = { .lowest = 1000 };

	for (unsigned int i = 0; i < ns->member_count; i++) {
		uint64_t full;

		if (!takes_part(ns->sorted[i]))
			continue;
		full = fullness(ns, ns->sorted[i]);
		spread.servers++;
		spread.lowest = full < spread.lowest ? full : spread.lowest;
		spread.highest = full > spread.highest ? full : spread.highest;
	}
	return spread;
}

static bool is_apart(const struct spread *spread, uint64_t most)
{
	return spread->servers > 1 && spread->highest > spread->lowest + most;
}

/* ---- beginning and ending ---- */

static void begin(struct nameserver *ns)
{
	struct balance *balance = ns->balance;

	balance->running = true;
	balance->told = balance->moved = false;
	balance->failed = 0;
	balance->cursor = balance->count = balance->bytes = 0;
	balance->begun_ms = ns->now_ms;
}

static void tell_begun(struct nameserver *ns)
{
	const struct spread spread = spread_of(ns);

	if (!ns->balance->told)
		ns_event(ns, LOG_INFO, "balance_started", "fullest=%llu emptiest=%llu",
			 (unsigned long long)spread.highest / 10,
			 (unsigned long long)spread.lowest / 10);
	ns->balance->told = true;
}

static void end(struct nameserver *ns, const struct spread *spread)
{
	struct balance *balance = ns->balance;

	balance->running = false;
	if (balance->told)
		ns_event(ns, LOG_INFO, "balance_ended",
			 "copies=%llu bytes=%llu fullest=%llu emptiest=%llu ms=%llu",
			 (unsigned long long)balance->count, (unsigned long long)balance->bytes,
			 (unsigned long long)spread->highest / 10,
			 (unsigned long long)spread->lowest / 10,
			 (unsigned long long)(ns->now_ms - balance->begun_ms));
	balance->told = false;
}

bool balance_is_running(const struct nameserver *ns)
{
	return ns->balance->told;
}

/* ---- one chunk ---- */

/* Nothing is to be done about it, and all its copies are certain. */
static bool is_settled(const struct nameserver *ns, const struct chunk_health *health)
{
	return health->planned == health->wanted && health->firm == health->planned &&
	       health->holders.count == health->planned && health->holders.count < HOLDERS_MAX &&
	       health_need(ns, health) == NEED_NOTHING;
}

static bool may_go_to(const struct chunk_health *health, const struct member *member,
		      uint32_t length)
{
	return takes_part(member) && copy_is_firm(member, health->chunk) &&
	       member_room(member) >= length + member->capacity / ROOM_LEFT_PART &&
	       !holders_have(&health->holders, member->row.number) &&
	       !chunk_set_has(&member->doomed, health->chunk) &&
	       !chunk_set_has(&member->ordered, health->chunk);
}

static void holders_insert(struct holders *holders, uint16_t number)
{
	unsigned int at = holders->count++;

	for (; at > 0 && holders->numbers[at - 1] > number; at--)
		holders->numbers[at] = holders->numbers[at - 1];
	holders->numbers[at] = number;
}

/* Who would lose its copy if `target` had one, too; NULL: that would not make it more even. */
static struct member *leaver(struct nameserver *ns, const struct chunk_health *health,
			     const struct member *target, uint32_t length)
{
	struct chunk_health after = *health;
	struct member *leaves;
	uint64_t before_full, after_full;

	holders_insert(&after.holders, target->row.number);
	after.firm++;
	leaves = surplus_choose(ns, &after);
	if (!leaves || leaves == target || !takes_part(leaves))
		return NULL;
	before_full = fullness(ns, leaves);
	after_full = fullness(ns, target);
	if (before_full <= after_full + STOP)
		return NULL;
	after_full += permille(target, length);
	return before_full > after_full + permille(leaves, length) ? leaves : NULL;
}

static bool on_a_full_one(const struct nameserver *ns, const struct chunk_health *health,
			  const struct spread *spread)
{
	for (unsigned int i = 0; i < health->holders.count; i++) {
		const struct member *member = member_by_number(ns, health->holders.numbers[i]);

		if (member && fullness(ns, member) > spread->lowest + STOP)
			return true;
	}
	return false;
}

struct plan {
	struct member *target, *leaves;
};

/* Of the emptiest servers the first that will do; each chunk begins with another. */
static bool plan_make(struct nameserver *ns, const struct chunk_health *health,
		      const struct spread *spread, const struct chunk_row *row, struct plan *ret)
{
	unsigned int tried = 0;

	for (unsigned int i = 0; i < ns->member_count && tried < TARGETS_MAX; i++) {
		ret->target = ns->sorted[(i + row->chunk) % ns->member_count];
		if (!may_go_to(health, ret->target, row->length) ||
		    fullness(ns, ret->target) > spread->lowest + STOP / 2)
			continue;
		tried++;
		ret->leaves = leaver(ns, health, ret->target, row->length);
		if (ret->leaves)
			return true;
	}
	return false;
}

/* ---- moving it ---- */

static void move_done(struct nameserver *ns, const struct order_result *result)
{
	struct balance *balance = ns->balance;
	const struct fetch_reply *reply = result->reply;
	struct moving *found = moving_find(balance, result->subject), move;
	int error = result->error;

	if (!found)
		return;
	move = *found;
	*found = balance->moves[--balance->move_count];
	fetch_end(ns, &move.ends);
	if (error == 0)
		error = fetch_receipt(ns, result->member, &reply->receipt, move.chunk);
	balance->failed = error ? balance->failed + 1 : 0;
	if (error == 0) {
		balance->count++;
		balance->bytes += move.ends.length;
		repair_look(ns, move.chunk);
	} else {
		fetch_doubt(ns, move.ends.source, move.chunk, error);
	}
	balance->next_ms = ns->now_ms + WALK_MS + (ns->now_ms - move.ends.begun_ms);
}

enum outcome { NOT_THIS_ONE, MOVING, SERVERS_BUSY };

static enum outcome move_begin(struct nameserver *ns, const struct chunk_health *health,
			       const struct chunk_row *row, const struct plan *plan)
{
	struct balance *balance = ns->balance;
	struct fetch_plan fetch = { .row = row, .target = plan->target };
	struct moving *move = &balance->moves[balance->move_count];

	fetch.source = source_choose(ns, health, 0);
	if (!fetch.source || plan->target->fetching >= fetches_most(ns, plan->target))
		return SERVERS_BUSY;
	tell_begun(ns);
	if (fetch_begin(ns, &fetch, move_done) < 0)
		return SERVERS_BUSY;
	*move = (struct moving){
		.ends = { fetch.source->row.number, plan->target->row.number, row->length,
			  ns->now_ms },
		.chunk = row->chunk,
		.leaves = plan->leaves->row.number,
	};
	balance->move_count++;
	balance->moved = true;
	return MOVING;
}

static enum outcome chunk_consider(struct nameserver *ns, uint64_t chunk,
				   const struct spread *spread)
{
	struct chunk_health health = { .chunk = chunk };
	struct chunk_row row;
	struct plan plan;
	int rc = holders_get(ns->kv, chunk, &health.holders);

	if (rc == 0 && (moving_find(ns->balance, chunk) || !on_a_full_one(ns, &health, spread)))
		return NOT_THIS_ONE;
	if (rc == 0)
		rc = health_get(ns, chunk, &health);
	if (rc == 0)
		rc = chunk_find(ns->kv, chunk, &row);
	if (rc < 0) {
		ns->failed = ns->failed || rc != -ERR_NOT_FOUND;
		return NOT_THIS_ONE;
	}
	if (!is_settled(ns, &health) || !plan_make(ns, &health, spread, &row, &plan) ||
	    chunk_is_garbage(ns->kv, chunk))
		return NOT_THIS_ONE;
	return move_begin(ns, &health, &row, &plan);
}

/* ---- the walk ---- */

/* It may be that nothing can be moved. */
static void rest(struct nameserver *ns, const struct spread *spread)
{
	end(ns, spread);
	ns->balance->next_ms = ns->now_ms + REST_MS;
}

static void walk_ended(struct nameserver *ns, const struct spread *spread)
{
	struct balance *balance = ns->balance;

	balance->cursor = 0;
	if (!balance->moved && balance->move_count == 0)
		rest(ns, spread);
	balance->moved = balance->move_count > 0;
}

static void walk(struct nameserver *ns, const struct spread *spread, unsigned int most)
{
	struct balance *balance = ns->balance;

	takers_count(ns);
	for (unsigned int i = 0; i < most && balance->move_count < MOVES_MAX; i++) {
		uint64_t chunk = 0;
		int rc = chunk_next(ns->kv, balance->cursor, &chunk);

		if (rc == -ERR_NOT_FOUND) {
			walk_ended(ns, spread);
			return;
		}
		if (rc < 0) {
			ns->failed = true;
			return;
		}
		if (chunk_consider(ns, chunk, spread) == SERVERS_BUSY)
			return;
		balance->cursor = chunk;
	}
}

static bool may_move(const struct nameserver *ns)
{
	return repair_count(ns) == 0 && !ns->sweep.running && !ns->sweep.again && !must_spare(ns) &&
	       !deletes_are_held(ns);
}

void balance_tick(struct nameserver *ns)
{
	struct balance *balance = ns->balance;
	struct spread spread;
	uint64_t late_ms;

	if (ns->now_ms < balance->next_ms)
		return;
	late_ms = ns->now_ms - balance->next_ms;
	balance->next_ms = balance->running ? ns->now_ms + CHECK_MS : UINT64_MAX;
	if (!may_move(ns))
		return;
	spread = spread_of(ns);
	if (!balance->running && is_apart(&spread, START))
		begin(ns);
	if (!balance->running)
		return;
	if (!is_apart(&spread, STOP) && balance->move_count == 0) {
		end(ns, &spread);
		return;
	}
	if (balance->failed >= FAILED_MAX) {
		if (balance->move_count == 0)
			rest(ns, &spread);
		return;
	}
	balance->next_ms = ns->now_ms + WALK_MS;
	walk(ns, &spread, pace_step(&balance->pace, late_ms, WALK_STEP));
}

void balance_look(struct nameserver *ns)
{
	if (ns->balance->next_ms == UINT64_MAX)
		ns->balance->next_ms = ns->now_ms + CHECK_MS;
}

void balance_wake(struct nameserver *ns)
{
	if (ns->balance->next_ms > ns->now_ms + CHECK_MS)
		ns->balance->next_ms = ns->now_ms + CHECK_MS;
}

uint64_t balance_deadline(const struct nameserver *ns)
{
	return ns->balance->next_ms;
}

int balance_new(struct nameserver *ns)
{
	ns->balance = calloc(1, sizeof(*ns->balance));
	if (!ns->balance)
		return -ERR_NO_MEMORY;
	ns->balance->next_ms = UINT64_MAX;
	return 0;
}

void balance_free(struct nameserver *ns)
{
	free(ns->balance);
}

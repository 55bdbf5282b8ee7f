/* What the trash lets go of: what is older than is kept, and the oldest when room is needed. It
 * then is garbage, and the collector does the rest. */
#include "letting_go.h"

#include "hold.h"

enum {
	LET_GO_STEP = 1024, /* entries */
	ROOM_STEP_MS = 100, /* between two looks while a put waits for room */
	ROOM_LOW_PART = 20, /* room is short below a twentieth of all there is, */
};
#define ROOM_LOW_MAX ((uint64_t)1 << 30) /* or below this */

uint64_t trash_from_ms(const struct nameserver *ns)
{
	uint64_t now = uptime_ms(ns);

	/* Of many in one moment the last ones are noted a little later than they went. */
	if (ns->config.trash_ms == 0)
		return UINT64_MAX;
	return now >= ns->config.trash_ms ? now - ns->config.trash_ms + 1 : 0;
}

void trash_changed(struct nameserver *ns)
{
	ns->trash.next_ms = ns->now_ms;
}

int freeing_count(struct nameserver *ns, uint64_t *ret)
{
	int rc = garbage_chunks(ns->kv, ret);

	for (unsigned int i = 0; i < ns->member_count; i++)
		*ret += ns->sorted[i]->session ? ns->sorted[i]->doomed.count : 0;
	return rc;
}

/* ---- room ---- */

/* Whether something is on its way out. What somebody is reading is not, however long it takes. */
static bool is_freeing(const struct nameserver *ns)
{
	if (ns->garbage && catalogue_has_garbage(ns->kv))
		return true;
	for (unsigned int i = 0; i < ns->member_count; i++) {
		const struct member *member = ns->sorted[i];

		if (member->session && (member->deleting || member->doomed.count))
			return true;
	}
	return false;
}

static bool may_free(const struct nameserver *ns)
{
	return !must_spare(ns) && !deletes_are_held(ns);
}

/* Of the servers that are up, divided by the copies that a file can have on them. */
struct room {
	uint64_t capacity, free;
};

static struct room room_of(const struct nameserver *ns)
{
	struct room room = { 0 };
	unsigned int copies = 0;

	for (unsigned int i = 0; i < ns->member_count; i++) {
		const struct member *member = ns->sorted[i];

		if (!member_is_up(member) || member->disk_failed)
			continue;
		room.capacity += member->capacity;
		room.free += member_room(member);
		copies += copies < ns->config.copies;
	}
	if (copies) {
		room.capacity /= copies;
		room.free /= copies;
	}
	return room;
}

int room_wait(struct nameserver *ns, uint64_t bytes)
{
	uint64_t size = bytes == SIZE_UNKNOWN ? ns->config.chunk_size : bytes;
	struct room room = room_of(ns);
	uint64_t wanted = size > room.free ? size - room.free : ns->config.chunk_size;
	struct trash_state state;
	int rc = trash_state_get(ns->kv, &state);

	if (rc < 0)
		return rc;
	/* Nothing is given up for what would not fit even then. */
	if (!may_free(ns) || size > room.capacity)
		return -ERR_NO_SPACE;
	if (!is_freeing(ns) && ns->now_ms >= ns->trash.settled_ms &&
	    (state.totals.files == 0 || size > room.free + state.totals.bytes))
		return -ERR_NO_SPACE;
	ns->trash.wanted = wanted > ns->trash.wanted ? wanted : ns->trash.wanted;
	if (ns->trash.room_ms == UINT64_MAX)
		ns->trash.room_ms = ns->now_ms + ROOM_STEP_MS;
	return park(ns, PARK_ROOM, IN_PROGRESS_AFTER_MS);
}

/* Bytes, copies not counted, that must go before there is no shortage any more. */
static uint64_t shortage(const struct nameserver *ns)
{
	struct room room = room_of(ns);
	uint64_t part = room.capacity / ROOM_LOW_PART;
	uint64_t enough = part < ROOM_LOW_MAX ? part : ROOM_LOW_MAX;

	return room.free < enough ? enough - room.free : 0;
}

/* No more is let go before all that was has been deleted and servers have said what room that gave:
 * so it is not more than needed. */
static void room_make(struct nameserver *ns)
{
	const struct trash_limit limit = { UINT64_MAX, LET_GO_STEP, ns->trash.wanted };
	struct removed gone;
	int rc;

	if (is_freeing(ns)) {
		ns->trash.settled_ms = ns->now_ms + ns->config.heartbeat_ms + ROOM_STEP_MS;
		return;
	}
	if (ns->trash.wanted == 0 || ns->now_ms < ns->trash.settled_ms || !may_free(ns))
		return;
	rc = trash_collect(ns->kv, &limit, moment_now(ns), &gone);
	if (rc < 0) {
		ns->failed = true;
		return;
	}
	if (rc == 0)
		return;
	ns->trash.settled_ms = ns->now_ms + ns->config.heartbeat_ms + ROOM_STEP_MS;
	garbage_soon(ns);
	ns_event(ns, LOG_INFO, "let_go", "entries=%llu bytes=%llu",
		 (unsigned long long)gone.entries, (unsigned long long)gone.bytes);
}

/* Puts that wait say anew, when they are woken, what they want. */
static void room_tick(struct nameserver *ns)
{
	bool waited = ns->trash.wanted > 0;

	if (ns->now_ms < ns->trash.room_ms)
		return;
	room_make(ns);
	ns->trash.wanted = 0;
	parked_wake(ns, PARK_ROOM);
	ns->trash.room_ms = waited ? ns->now_ms + ROOM_STEP_MS : UINT64_MAX;
}

/* ---- age ---- */

/* When to look again: when the oldest is due, or when room may have become short. */
static int look_next(struct nameserver *ns, uint64_t *ret)
{
	uint64_t look_ms = ns->now_ms + ns->config.heartbeat_ms;
	uint64_t uptime = uptime_ms(ns), due_ms;
	struct trash_row row;
	int rc = trash_next(ns->kv, 0, 0, &row);

	*ret = UINT64_MAX;
	if (rc < 0)
		return rc == -ERR_NOT_FOUND ? 0 : rc;
	due_ms = row.since_ms + ns->config.trash_ms;
	due_ms = ns->now_ms + (due_ms > uptime ? due_ms - uptime : 1);
	*ret = due_ms < look_ms ? due_ms : look_ms;
	return 0;
}

static void age_tick(struct nameserver *ns)
{
	const struct trash_limit limit = { trash_from_ms(ns), LET_GO_STEP, UINT64_MAX };
	struct removed gone;
	uint64_t want;
	int rc;

	if (ns->now_ms < ns->trash.next_ms || !may_free(ns))
		return;
	rc = trash_collect(ns->kv, &limit, moment_now(ns), &gone);
	if (rc > 0)
		garbage_soon(ns);
	ns->trash.next_ms = ns->now_ms + STEP_MS;
	if (rc >= 0 && rc < LET_GO_STEP)
		rc = look_next(ns, &ns->trash.next_ms);
	if (rc < 0)
		ns->failed = true;
	want = ns->trash.next_ms == UINT64_MAX ? 0 : shortage(ns);
	if (want && ns->trash.wanted < want) {
		ns->trash.wanted = want;
		ns->trash.room_ms = ns->now_ms;
	}
}

void trash_tick(struct nameserver *ns)
{
	age_tick(ns);
	room_tick(ns);
}

uint64_t trash_deadline(const struct nameserver *ns)
{
	uint64_t age_ms = may_free(ns) ? ns->trash.next_ms : UINT64_MAX;

	return age_ms < ns->trash.room_ms ? age_ms : ns->trash.room_ms;
}

/* When nothing is deleted, and how much may go at once of what nobody asked for. */
#include "hold.h"

#include "repair.h"

#define SETTING_NO_DELETES   "no-deletes-until" /* running time */
#define SETTING_BEFORE_START "rebuilt-start"    /* ids of lower start numbers are from before */
#define SETTING_FROM_START   "rebuilt-from"     /* of lower ones all batches are here */

enum {
	BRAKE_MS = 60 * 60 * 1000,
	BRAKE_FLOOR = 1000,           /* chunks; less is no mass */
	BRAKE_PART = 10,              /* of what the server holds */
	SET_MS = 24 * 60 * 60 * 1000, /* in which another wanted number explains what goes */
	/* Above all start numbers that a copy some batches behind does not know of: ids are never
	 * given out twice. */
	START_LEAP = 4096,
};

/* ---- what holds everything ---- */

bool is_rebuilt(const struct nameserver *ns)
{
	return uptime_ms(ns) < ns->hold.until_ms;
}

/* The catalogue knows of a run that it began, and so has all batches of those before. What was left
 * by a rebuild that is not long ago still counts. */
static uint64_t missing_from(const struct nameserver *ns)
{
	uint64_t last = ns->start - 1;

	return is_rebuilt(ns) && ns->hold.from < last ? ns->hold.from : last;
}

static int rebuilt_keep(struct nameserver *ns)
{
	int rc;

	ns->hold.from = missing_from(ns);
	ns->start += START_LEAP;
	ns->hold.until_ms = uptime_ms(ns) + HOLD_AFTER_REBUILD_MS;
	ns->hold.before = ns->start;
	rc = setting_put_u64(ns->kv, "start", ns->start);
	if (rc == 0)
		rc = setting_put_u64(ns->kv, SETTING_NO_DELETES, ns->hold.until_ms);
	if (rc == 0)
		rc = setting_put_u64(ns->kv, SETTING_FROM_START, ns->hold.from);
	return rc < 0 ? rc : setting_put_u64(ns->kv, SETTING_BEFORE_START, ns->hold.before);
}

static int number_get(struct nameserver *ns, const char *name, uint64_t *ret)
{
	int rc = setting_find_u64(ns->kv, name, ret);

	if (rc == -ERR_NOT_FOUND)
		*ret = 0;
	return rc == -ERR_NOT_FOUND ? 0 : rc;
}

int hold_load(struct nameserver *ns)
{
	int rc = number_get(ns, SETTING_NO_DELETES, &ns->hold.until_ms);

	if (rc == 0)
		rc = number_get(ns, SETTING_BEFORE_START, &ns->hold.before);
	if (rc == 0)
		rc = number_get(ns, SETTING_FROM_START, &ns->hold.from);
	return rc == 0 && ns->config.rebuilt ? rebuilt_keep(ns) : rc;
}

bool deletes_are_held(const struct nameserver *ns)
{
	return ns->hold.stale || is_rebuilt(ns);
}

static void stale_tell(struct nameserver *ns, const struct member *member, uint64_t chunk,
		       const struct register_request *head)
{
	if (ns->hold.stale)
		return;
	ns->hold.stale = true;
	deletes_withdraw(ns);
	ns_event_about(ns, member, LOG_ERROR, "catalogue_is_old",
		       "chunk=%llx epoch=%llu sequence=%llu start=%llu own_epoch=%llu",
		       (unsigned long long)chunk,
		       (unsigned long long)(head ? head->catalogue_epoch : 0),
		       (unsigned long long)(head ? head->catalogue_sequence : 0),
		       (unsigned long long)ns->start, (unsigned long long)ns->epoch);
}

void hold_chunk_heard(struct nameserver *ns, const struct member *member, uint64_t chunk)
{
	if (chunk > (ns->start << ID_BITS_OF_COUNT | ns->next_chunk))
		stale_tell(ns, member, chunk, NULL);
}

void hold_register_heard(struct nameserver *ns, const struct session *from,
			 const struct register_request *request)
{
	if (request->catalogue_epoch > ns->epoch ||
	    (request->catalogue_epoch == ns->epoch && request->catalogue_sequence > ns->sequence))
		stale_tell(ns, member_find(ns, &from->self), 0, request);
}

bool members_all_heard(const struct nameserver *ns)
{
	for (unsigned int i = 0; i < ns->member_count; i++) {
		if (!ns->sorted[i]->key && !ns->sorted[i]->row.retired)
			return false;
	}
	return true;
}

/* ---- the brake ---- */

static uint64_t brake_end_ms(const struct member *member)
{
	return member->brake.from_ms + BRAKE_MS;
}

static bool brake_is_over(const struct nameserver *ns, const struct member *member)
{
	return member->brake.most == 0 || ns->now_ms >= brake_end_ms(member);
}

static void brake_begin(const struct nameserver *ns, struct member *member)
{
	uint64_t part = member->chunks / BRAKE_PART;
	uint64_t floor = ns->config.brake_floor ? ns->config.brake_floor : BRAKE_FLOOR;

	member->brake.from_ms = ns->now_ms;
	member->brake.gone = 0;
	member->brake.most = part > floor ? part : floor;
}

static void brake_pull(struct nameserver *ns, struct member *member, size_t waiting)
{
	struct brake *brake = &member->brake;

	brake->pulled = true;
	brake->from_ms = ns->now_ms;
	brake->gone = brake->most;
	ns_event_about(ns, member, LOG_WARN, "delete_brake", "waiting=%zu most=%llu chunks=%llu",
		       waiting, (unsigned long long)brake->most,
		       (unsigned long long)member->chunks);
}

/* Suspended with the whole machine, or stopped: who knows why they are there could not say so, and
 * nobody could be alarmed. */
void hold_excuse(struct nameserver *ns, uint64_t ms)
{
	for (unsigned int i = 0; i < ns->member_count; i++) {
		struct member *member = ns->sorted[i];

		member->unknown_ms = excused(ns, member->unknown_ms, ms);
		member->brake.from_ms = excused(ns, member->brake.from_ms, ms);
	}
}

uint64_t brake_until_ms(const struct member *member)
{
	return member->brake.pulled ? brake_end_ms(member) : 0;
}

static void brake_end(struct nameserver *ns, struct member *member)
{
	member->brake.pulled = false;
	sweep_request(ns, false); /* for copies too many that had to wait */
}

/* Where unknown chunks wait, too, the collector asks again. */
static bool is_only_trim(const struct member *member)
{
	return member->brake.pulled && member->unknown.count == 0;
}

size_t brake_release(struct nameserver *ns, struct member *member, size_t unknown)
{
	struct brake *brake = &member->brake;
	uint64_t room;

	if (brake_is_over(ns, member))
		brake_begin(ns, member);
	room = brake->most - brake->gone;
	if (unknown > room && !brake->pulled) {
		brake_pull(ns, member, unknown);
		return 0;
	}
	if (unknown > room) {
		brake->gone += room;
		return room;
	}
	if (brake->pulled)
		brake_end(ns, member);
	brake->gone += unknown;
	return unknown;
}

/* Its deletion is part of what somebody ordered, or of what this name server did itself. */
static bool trim_is_explained(const struct nameserver *ns, const struct member *member)
{
	return member->row.draining || ns->hold.made || ns->now_ms < ns->hold.set_until_ms;
}

bool brake_lets_trim(const struct nameserver *ns, const struct member *member)
{
	return trim_is_explained(ns, member) || brake_is_over(ns, member) ||
	       member->brake.gone < member->brake.most;
}

void brake_trimmed(struct nameserver *ns, struct member *member)
{
	struct brake *brake = &member->brake;

	if (trim_is_explained(ns, member)) {
		ns->hold.made -= ns->hold.made > 0;
		return;
	}
	if (brake_is_over(ns, member))
		brake_begin(ns, member);
	if (++brake->gone >= brake->most && !brake->pulled)
		brake_pull(ns, member, 0);
}

void brake_copy_made(struct nameserver *ns)
{
	ns->hold.made++;
}

void brake_copies_set(struct nameserver *ns)
{
	ns->hold.set_until_ms = ns->now_ms + SET_MS;
}

static const struct member *brake_find(const struct nameserver *ns)
{
	const struct member *last = NULL;

	for (unsigned int i = 0; i < ns->member_count; i++) {
		const struct member *member = ns->sorted[i];

		if (member->brake.pulled && (!last || brake_end_ms(member) > brake_end_ms(last)))
			last = member;
	}
	return last;
}

/* ---- telling ---- */

enum delete_hold hold_of(const struct nameserver *ns)
{
	if (ns->hold.stale)
		return HOLD_STALE;
	if (is_rebuilt(ns))
		return HOLD_REBUILT;
	return brake_find(ns) ? HOLD_BRAKE : HOLD_NONE;
}

uint64_t hold_left_ms(const struct nameserver *ns)
{
	const struct member *braked;
	uint64_t end_ms;

	if (ns->hold.stale)
		return 0;
	if (is_rebuilt(ns))
		return ns->hold.until_ms - uptime_ms(ns);
	braked = brake_find(ns);
	end_ms = braked ? brake_end_ms(braked) : 0;
	return end_ms > ns->now_ms ? end_ms - ns->now_ms : 0;
}

static const char *reason_of(enum delete_hold hold)
{
	static const char *const reasons[] = {
		[HOLD_NONE] = "none",
		[HOLD_BRAKE] = "brake",
		[HOLD_STALE] = "stale",
		[HOLD_REBUILT] = "rebuilt",
	};

	return reasons[hold];
}

/* The brake has an event of its own. */
static void hold_tell(struct nameserver *ns)
{
	enum delete_hold hold = deletes_are_held(ns) ? hold_of(ns) : HOLD_NONE;

	if (hold == ns->hold.told)
		return;
	if (hold == HOLD_NONE) {
		ns_event(ns, LOG_INFO, "deletes_go_on", "reason=%s", reason_of(ns->hold.told));
		sweep_request(ns, false);
		garbage_soon(ns);
		trash_changed(ns);
	} else {
		ns_event(ns, LOG_WARN, "deletes_held", "reason=%s left_s=%llu", reason_of(hold),
			 (unsigned long long)(hold_left_ms(ns) / 1000));
	}
	ns->hold.told = hold;
}

void hold_tick(struct nameserver *ns)
{
	hold_tell(ns);
	for (unsigned int i = 0; i < ns->member_count; i++) {
		if (is_only_trim(ns->sorted[i]) && brake_is_over(ns, ns->sorted[i]))
			brake_end(ns, ns->sorted[i]);
	}
}

uint64_t hold_deadline(const struct nameserver *ns)
{
	uint64_t at = UINT64_MAX;

	if (ns->hold.told != (deletes_are_held(ns) ? hold_of(ns) : HOLD_NONE))
		return ns->now_ms;
	if (!ns->hold.stale && is_rebuilt(ns))
		at = ns->now_ms + (ns->hold.until_ms - uptime_ms(ns));
	for (unsigned int i = 0; i < ns->member_count; i++) {
		const struct member *member = ns->sorted[i];

		if (is_only_trim(member) && brake_end_ms(member) < at)
			at = brake_end_ms(member);
	}
	return at;
}

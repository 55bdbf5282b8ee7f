/* How full the storage servers are: as they say, as it follows from what is stored and deleted
 * meanwhile, and as it was when they went. */
#include "repair.h"

/* 8 PiB: what all servers together say must not overflow. */
uint64_t believable(uint64_t bytes)
{
	const uint64_t most = (uint64_t)1 << 53;

	return bytes < most ? bytes : most;
}

uint64_t member_room(const struct member *member)
{
	return member->free > member->leased ? member->free - member->leased : 0;
}

void member_gained(struct member *member, uint64_t bytes)
{
	member->chunks++;
	member->used = believable(member->used + bytes);
	member->free -= member->free < bytes ? member->free : bytes;
}

/* That it is empty only its heartbeat says: somebody may switch it off then. */
void member_deleted(struct member *member, const struct delete_reply *reply)
{
	uint64_t chunks = reply->deleted;

	member->free = believable(reply->free);
	member->used = believable(reply->used);
	if (member->chunks)
		member->chunks -= chunks < member->chunks ? chunks : member->chunks - 1;
}

void space_recall(struct member *member)
{
	member->capacity = member->row.space.capacity;
	member->used = member->row.space.used;
	member->free = member->row.space.free;
	member->chunks = member->row.space.chunks;
}

/* So that it is known what an offline server held, even after a restart of ours. */
void space_keep(struct nameserver *ns, struct member *member)
{
	member->row.space = (struct member_space){
		.capacity = member->capacity,
		.used = member->used,
		.free = member->free,
		.chunks = member->chunks,
	};
	if (!must_spare(ns) && member_put(ns->kv, &member->row) < 0)
		ns->failed = true;
}

enum { SPACE_PART = 64 };

static bool space_has_changed(const struct member *member)
{
	const struct member_space *kept = &member->row.space;
	uint64_t more =
		member->used > kept->used ? member->used - kept->used : kept->used - member->used;

	return more > member->capacity / SPACE_PART || !member->chunks != !kept->chunks;
}

enum { LOW_PART = 20, ENOUGH_PART = 10 };

/* Told once, until a good deal more is free. */
static void space_tell(struct nameserver *ns, struct member *member)
{
	if (!member->space_low && member->free < member->capacity / LOW_PART) {
		member->space_low = true;
		ns_event_about(ns, member, LOG_WARN, "space_low", "free=%llu capacity=%llu",
			       (unsigned long long)member->free,
			       (unsigned long long)member->capacity);
	} else if (member->free > member->capacity / ENOUGH_PART) {
		member->space_low = false;
	}
}

void space_heard(struct nameserver *ns, struct member *member,
		 const struct heartbeat_request *request)
{
	if (request->free >= member->free + ns->config.chunk_size)
		repair_has_room(ns);
	member->used = believable(request->used);
	member->free = believable(request->free);
	member->chunks = request->chunks;
	if (space_has_changed(member))
		space_keep(ns, member);
	space_tell(ns, member);
	balance_look(ns);
}

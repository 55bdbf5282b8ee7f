/* Where copies are: what receipts, inventories and reports of damage say about it. */
#include "hold.h"
#include "repair.h"

enum { BAD_MAX = 65536, AWAY_MAX = 65536, GAINED_MAX = 4096 };

static int bad_add(struct nameserver *ns, struct member *member, uint64_t chunk)
{
	int rc = member->bad.count < BAD_MAX ? chunk_set_add(&member->bad, chunk) : 0;

	if (rc > 0)
		ns->bad_copies++;
	if (rc > 0 && member->bad.count == 1)
		LIST_INSERT_HEAD(&ns->with_bad, member, with_bad);
	return rc;
}

void bad_remove(struct nameserver *ns, struct member *member, uint64_t chunk)
{
	if (!member->bad.count || !chunk_set_remove(&member->bad, chunk))
		return;
	ns->bad_copies--;
	if (!member->bad.count)
		LIST_REMOVE(member, with_bad);
}

static int place_noted(struct nameserver *ns, uint64_t chunk, struct member *member, bool added)
{
	if (member->stage >= INVENTORY_COMING && chunk_set_add(&member->fresh, chunk) < 0)
		return -ERR_NO_MEMORY;
	bad_remove(ns, member, chunk);
	if (added)
		inventory_changed(ns, member, chunk);
	return 0;
}

/* 1: it was not on the books. */
static int place_add(struct nameserver *ns, uint64_t chunk, struct member *member)
{
	struct standing before, after;
	int rc = standing_get(ns, chunk, &before), added;

	if (rc < 0)
		return rc;
	added = holders_add(ns->kv, chunk, member->row.number);
	if (added < 0)
		return added;
	rc = place_noted(ns, chunk, member, added > 0);
	if (rc == 0)
		rc = standing_get(ns, chunk, &after);
	if (rc < 0)
		return rc;
	standing_change(ns, chunk, before, after);
	return added > 0;
}

/* A copy goes of a chunk that stays: a receipt that somebody hands in later must not bring it back.
 * The oldest are forgotten first. */
static int away_add(struct member *member, uint64_t chunk)
{
	if (member->away.count >= AWAY_MAX)
		chunk_set_drop(&member->away, AWAY_MAX / 2);
	return chunk_set_add(&member->away, chunk) < 0 ? -ERR_NO_MEMORY : 0;
}

/* The counts are the caller's business. */
static int place_remove(struct nameserver *ns, uint64_t chunk, struct member *member)
{
	int rc = holders_remove(ns->kv, chunk, member->row.number);

	if (rc <= 0)
		return rc;
	chunk_set_remove(&member->listed, chunk);
	chunk_set_remove(&member->fresh, chunk);
	inventory_changed(ns, member, chunk);
	return rc;
}

/* Of a chunk that goes on; the counts follow. */
static int place_drop(struct nameserver *ns, uint64_t chunk, struct member *member)
{
	struct standing before, after;
	int rc = standing_get(ns, chunk, &before);

	if (rc == 0)
		rc = place_remove(ns, chunk, member);
	if (rc >= 0)
		rc = standing_get(ns, chunk, &after);
	if (rc == 0)
		standing_change(ns, chunk, before, after);
	return rc;
}

/* The chunk belongs to a file now: its holders in one row. */
int places_begin(struct nameserver *ns, const struct lease *lease, unsigned int wanted)
{
	struct holders holders = { 0 };
	int rc;

	for (unsigned int i = 0; i < lease->count; i++) {
		unsigned int at = holders.count;

		if (!(lease->durable >> i & 1))
			continue;
		for (; at > 0 && holders.numbers[at - 1] > lease->holders[i]; at--)
			holders.numbers[at] = holders.numbers[at - 1];
		holders.numbers[at] = lease->holders[i];
		holders.count++;
	}
	rc = holders_set(ns->kv, lease->chunk, &holders);
	for (unsigned int i = 0; rc == 0 && i < holders.count; i++)
		rc = place_noted(ns, lease->chunk, member_by_number(ns, holders.numbers[i]), true);
	if (rc < 0)
		return rc;
	standing_change(ns, lease->chunk, (struct standing){ 0 },
			standing_of(copies_count(ns, lease->chunk, &holders), wanted));
	if (holders.count < wanted)
		repair_await(ns, lease, wanted - holders.count);
	if (holders.count != wanted)
		repair_look(ns, lease->chunk);
	return 0;
}

/* The chunk goes: nothing is known of it any more, and its holders are told. */
int places_end(struct nameserver *ns, uint64_t chunk)
{
	struct member *bad, *next;
	struct standing standing;
	struct holders holders;
	int rc = standing_get(ns, chunk, &standing);

	if (rc == 0)
		rc = holders_get(ns->kv, chunk, &holders);
	if (rc < 0)
		return rc;
	standing_change(ns, chunk, standing, (struct standing){ 0 });
	for (bad = LIST_FIRST(&ns->with_bad); bad; bad = next) {
		next = LIST_NEXT(bad, with_bad);
		if (copy_is_bad(bad, chunk))
			chunk_doom(ns, bad, chunk);
		bad_remove(ns, bad, chunk);
	}
	for (unsigned int i = 0; i < holders.count; i++) {
		struct member *member = member_by_number(ns, holders.numbers[i]);

		rc = member ? place_remove(ns, chunk, member)
			    : holders_remove(ns->kv, chunk, holders.numbers[i]);
		if (rc < 0)
			return rc;
		if (member)
			chunk_doom(ns, member, chunk);
	}
	return 0;
}

int receipt_check(struct nameserver *ns, const struct receipt *receipt, struct member **ret)
{
	struct member *member = member_find(ns, &receipt->holder);

	if (!member || !member->key || receipt->epoch != ns->epoch)
		return -ERR_BAD_RECEIPT;
	*ret = member;
	if (receipt_verify(member->key, receipt))
		return 1;
	return member->rekeyed ? 0 : -ERR_BAD_RECEIPT;
}

/* ---- INVENTORY ---- */

/* So many are counted one by one, and looked at as soon as it is compared; more by a walk. */
static int place_gain(struct nameserver *ns, struct member *member, uint64_t chunk)
{
	int rc;

	if (member->gained.count < GAINED_MAX) {
		rc = place_add(ns, chunk, member);
		return rc < 0 ? rc : chunk_set_add(&member->gained, chunk);
	}
	member->gained_more = true;
	rc = holders_add(ns->kv, chunk, member->row.number);
	if (rc > 0)
		inventory_changed(ns, member, chunk);
	return rc;
}

/* A copy that was reported bad and given up does not come back; one that was to be deleted does:
 * nothing is deleted there while its inventory is on its way. */
static int known_chunk(struct nameserver *ns, struct member *member, uint64_t chunk)
{
	struct holders holders;
	int rc = holders_get(ns->kv, chunk, &holders);

	if (rc < 0)
		return rc;
	if (!holders_have(&holders, member->row.number)) {
		if (chunk_set_has(&member->bad, chunk) || holders.count == HOLDERS_MAX)
			return 0;
		rc = place_gain(ns, member, chunk);
		if (rc < 0)
			return rc;
		chunk_set_remove(&member->away, chunk);
	}
	return chunk_set_add(&member->listed, chunk) < 0 ? -ERR_NO_MEMORY : 0;
}

/* 1: nobody knows the chunk. */
static int inventory_chunk(struct nameserver *ns, struct member *member,
			   const struct chunk_ref *ref)
{
	struct chunk_row row;
	int rc = chunk_find(ns->kv, ref->chunk, &row);

	if (rc == 0)
		return row.length == ref->length ? known_chunk(ns, member, ref->chunk) : 0;
	if (rc != -ERR_NOT_FOUND)
		return rc;
	if (lease_find(ns, ref->chunk))
		return 0;
	hold_chunk_heard(ns, member, ref->chunk);
	if (lost_found_takes(ns, member, ref) || chunk_set_has(&member->doomed, ref->chunk) ||
	    chunk_set_has(&member->ordered, ref->chunk))
		return 1;
	rc = chunk_is_unknown(ns, member, ref->chunk);
	return rc < 0 ? rc : 1;
}

static int inventory_check(const struct member *member, const struct inventory_request *request)
{
	if (request->last > 1)
		return -ERR_BAD_REQUEST;
	if (member->stage != INVENTORY_COMING || request->position != member->inventory_position)
		return -ERR_STALE;
	for (unsigned int i = 0; i < request->chunks_count; i++) {
		uint64_t before = i ? request->chunks[i - 1].chunk : member->inventory_last;

		if (request->chunks[i].chunk <= before ||
		    !inventory_lists(member, request->chunks[i].chunk))
			return -ERR_BAD_REQUEST;
	}
	return 0;
}

int on_inventory(struct nameserver *ns, struct session *from,
		 const struct inventory_request *request, struct inventory_reply *reply)
{
	struct member *member = from->member;
	int rc = member ? 0 : -ERR_STALE;

	if (rc == 0)
		rc = inventory_check(member, request);
	for (unsigned int i = 0; rc >= 0 && i < request->chunks_count; i++) {
		rc = inventory_chunk(ns, member, &request->chunks[i]);
		reply->unknown += rc > 0;
	}
	if (rc < 0)
		return rc;
	member->inventory_position += request->chunks_count;
	if (request->chunks_count)
		member->inventory_last = request->chunks[request->chunks_count - 1].chunk;
	if (!request->last)
		return 0;
	inventory_told(ns, member);
	garbage_soon(ns);
	return 0;
}

int place_missing(struct nameserver *ns, struct member *member, uint64_t chunk)
{
	int rc = place_drop(ns, chunk, member);

	if (rc == 0)
		repair_look(ns, chunk);
	return rc;
}

/* ---- late copies, bad copies ---- */

/* It counts if it is what the catalogue says. */
int place_stored(struct nameserver *ns, struct member *member, const struct receipt *receipt)
{
	struct lease *lease = lease_find(ns, receipt->chunk);
	struct chunk_row row;
	int rc;

	if (lease)
		return lease_receipt(ns, lease, receipt) < 0 ? 0 : 1;
	rc = chunk_find(ns->kv, receipt->chunk, &row);
	if (rc == -ERR_NOT_FOUND) {
		rc = chunk_is_unknown(ns, member, receipt->chunk);
		return rc < 0 ? rc : 0;
	}
	if (rc < 0)
		return rc;
	if (row.length != receipt->length || !digest_equal(&row.digest, &receipt->digest))
		return 0;
	if (chunk_set_has(&member->away, receipt->chunk))
		return 0;
	rc = place_add(ns, receipt->chunk, member);
	if (rc < 0)
		return rc == -ERR_TOO_LARGE ? 1 : rc;
	/* It may have been waited for, or be one too many. */
	if (rc > 0) {
		member_gained(member, receipt->length);
		repair_look(ns, receipt->chunk);
	}
	return 1;
}

/* The answer to our own order is newer than whatever we know, unless the copy is to go again. */
int place_fetched(struct nameserver *ns, struct member *member, const struct receipt *receipt)
{
	if (chunk_set_has(&member->ordered, receipt->chunk))
		return 0;
	chunk_set_remove(&member->away, receipt->chunk);
	brake_copy_made(ns);
	return place_stored(ns, member, receipt);
}

int place_found(struct nameserver *ns, struct member *member, uint64_t chunk)
{
	int rc = place_add(ns, chunk, member);

	return rc == -ERR_TOO_LARGE ? 0 : rc;
}

/* Each receipt speaks for itself: servers hand in those of the hops behind them too. One that is
 * void by now is passed over, because those beside it still count. */
int on_stored(struct nameserver *ns, struct session *from, const struct stored_request *request,
	      struct stored_reply *reply)
{
	if (!from->member)
		return -ERR_STALE;
	for (unsigned int i = 0; i < request->receipts_count; i++) {
		const struct receipt *receipt = &request->receipts[i];
		struct member *holder;
		int rc = receipt_check(ns, receipt, &holder);

		if (rc <= 0)
			continue;
		rc = place_stored(ns, holder, receipt);
		if (rc < 0)
			return rc;
		reply->accepted += rc > 0;
	}
	return 0;
}

/* Only what is not the last hope is given up. A server that found its own copy bad is believed, and
 * loses it while another sound one is up. What a client says of others may be a lie: that copy is
 * read last and counts no more until its server has looked; the last good one that is up stays one:
 * perhaps only the way to it is bad. */
int place_bad(struct nameserver *ns, struct member *member, uint64_t chunk, bool own)
{
	struct standing before, after;
	struct holders holders;
	struct copies copies;
	bool known = copy_is_bad(member, chunk), is_sound;
	int rc = holders_get(ns->kv, chunk, &holders);

	if (rc < 0 || !holders_have(&holders, member->row.number) || (known && !own))
		return rc;
	copies = copies_count(ns, chunk, &holders);
	is_sound = !known && member_is_up(member) && !member->disk_failed;
	if (!own && (holders.count < 2 || (is_sound && copies.sound < 2)))
		return 0;
	rc = standing_get(ns, chunk, &before);
	if (rc == 0 && own)
		rc = away_add(member, chunk);
	if (rc == 0 && own && copies.sound > is_sound)
		rc = place_remove(ns, chunk, member);
	if (rc >= 0 && !known)
		rc = bad_add(ns, member, chunk);
	if (rc >= 0)
		rc = standing_get(ns, chunk, &after);
	if (rc < 0)
		return rc;
	standing_change(ns, chunk, before, after);
	repair_look(ns, chunk);
	return 1;
}

int place_sound(struct nameserver *ns, struct member *member, uint64_t chunk)
{
	struct standing before, after;
	int rc = standing_get(ns, chunk, &before);

	if (rc < 0)
		return rc;
	bad_remove(ns, member, chunk);
	chunk_set_remove(&member->away, chunk);
	rc = standing_get(ns, chunk, &after);
	if (rc == 0)
		standing_change(ns, chunk, before, after);
	return rc;
}

void corrupt_tell(struct nameserver *ns, const struct member *member, uint64_t chunk,
		  const char *by)
{
	enum log_level level = telling_level(ns, &ns->corrupt, LOG_ERROR);

	if (level != LOG_DEBUG || ns->config.debug)
		ns_event_about(ns, member, level, "corrupt_found", "chunk=%llx path=%s by=%s",
			       (unsigned long long)chunk, chunk_path_quoted(ns, chunk), by);
}

int on_corrupt(struct nameserver *ns, struct session *from, const struct corrupt_request *request,
	       struct corrupt_reply *reply)
{
	struct member *member = member_find(ns, &request->node);
	bool own = from->role == ROLE_STORAGE;

	(void)reply;
	if (own && (!member || from->member != member))
		return -ERR_DENIED;
	if (!member)
		return -ERR_NOT_FOUND;
	for (unsigned int i = 0; i < request->chunks_count; i++) {
		uint64_t chunk = request->chunks[i].chunk;
		int rc;

		if (!own)
			copy_doubt(ns, member, chunk);
		rc = place_bad(ns, member, chunk, own);
		if (rc < 0)
			return rc;
		if (rc > 0)
			corrupt_tell(ns, member, chunk, own ? "itself" : "client");
	}
	return 0;
}

/* ---- what is too much ---- */

int place_trim(struct nameserver *ns, struct member *member, uint64_t chunk)
{
	int rc = away_add(member, chunk);

	if (rc == 0)
		rc = place_drop(ns, chunk, member);
	if (rc < 0)
		return rc;
	brake_trimmed(ns, member);
	chunk_doom(ns, member, chunk);
	return 0;
}

int place_keep(struct nameserver *ns, struct member *member, uint64_t chunk)
{
	int rc = copy_is_bad(member, chunk) ? 0 : place_add(ns, chunk, member);

	if (rc > 0)
		chunk_set_remove(&member->away, chunk);
	return rc < 0 && rc != -ERR_TOO_LARGE ? rc : 0;
}

/* ---- what the sweep does with a chunk ---- */

/* Of members that were forgotten nothing counts. */
int place_sweep(struct nameserver *ns, uint64_t chunk, struct holders *holders)
{
	unsigned int kept = 0, before = holders->count;

	for (unsigned int i = 0; i < before; i++) {
		if (member_by_number(ns, holders->numbers[i]))
			holders->numbers[kept++] = holders->numbers[i];
	}
	holders->count = kept;
	return kept == before ? 0 : holders_set(ns->kv, chunk, holders);
}

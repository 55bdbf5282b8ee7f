/* Where copies are: what receipts, inventories and reports of damage say about it. */
#include "ns_state.h"

enum { UNKNOWN_MAX = 1024 * 1024, BAD_MAX = 65536 };

static void digest_turn(struct digest *digest, uint64_t chunk)
{
	uint8_t bytes[8];
	struct digest one;

	put_u64(bytes, chunk);
	one = digest_of(bytes, sizeof(bytes));
	for (int i = 0; i < DIGEST_SIZE; i++)
		digest->bytes[i] ^= one.bytes[i];
}

/* A place came or went. While the member is swept, the sweep will meet what lies ahead of it. */
static void digest_change(struct nameserver *ns, struct member *member, uint64_t chunk)
{
	bool counts =
		member->stage == INVENTORY_SWEPT ? chunk <= ns->sweep.cursor : member->digest_known;

	if (counts)
		digest_turn(&member->digest, chunk);
}

int place_add(struct nameserver *ns, uint64_t chunk, struct member *member)
{
	int rc = holders_add(ns->kv, chunk, member->row.number);

	if (rc < 0)
		return rc;
	if (member->stage != INVENTORY_NONE && chunk_set_add(&member->fresh, chunk) < 0)
		return -ERR_NO_MEMORY;
	chunk_set_remove(&member->bad, chunk);
	if (rc > 0)
		digest_change(ns, member, chunk);
	return rc;
}

int place_remove(struct nameserver *ns, uint64_t chunk, struct member *member)
{
	int rc = holders_remove(ns->kv, chunk, member->row.number);

	if (rc <= 0)
		return rc;
	chunk_set_remove(&member->listed, chunk);
	chunk_set_remove(&member->fresh, chunk);
	digest_change(ns, member, chunk);
	return rc;
}

int receipt_check(struct nameserver *ns, const struct receipt *receipt, struct member **ret)
{
	struct member *member = member_find(ns, &receipt->holder);

	if (!member || !member->key || receipt->epoch != ns->epoch)
		return -ERR_BAD_RECEIPT;
	*ret = member;
	if (receipt_verify(member->key, receipt))
		return 1;
	return member->old_key && receipt_verify(member->old_key, receipt) ? 0 : -ERR_BAD_RECEIPT;
}

/* ---- INVENTORY ---- */

bool inventory_begin(struct nameserver *ns, struct member *member, const struct digest *digest)
{
	bool same = member->digest_known && digest_equal(&member->digest, digest);

	(void)ns;
	chunk_set_done(&member->unknown);
	chunk_set_done(&member->listed);
	chunk_set_done(&member->fresh);
	member->stage = same ? INVENTORY_NONE : INVENTORY_COMING;
	member->digest_known = same;
	return !same;
}

static bool is_as_recorded(struct nameserver *ns, const struct chunk_ref *ref, uint64_t inode,
			   uint32_t index)
{
	struct chunk_row row;

	return catalogue_chunk(ns->kv, inode, index, &row) == 0 && row.length == ref->length;
}

/* 1: nobody knows the chunk. */
static int inventory_chunk(struct nameserver *ns, struct member *member,
			   const struct chunk_ref *ref)
{
	uint64_t inode;
	uint32_t index;
	int rc = chunk_owner(ns->kv, ref->chunk, &inode, &index);

	if (rc == 0) {
		if (chunk_set_has(&member->bad, ref->chunk) ||
		    !is_as_recorded(ns, ref, inode, index))
			return 0;
		rc = holders_add(ns->kv, ref->chunk, member->row.number);
		if (rc < 0)
			return rc == -ERR_TOO_LARGE ? 0 : rc;
		return chunk_set_add(&member->listed, ref->chunk) < 0 ? -ERR_NO_MEMORY : 0;
	}
	if (rc != -ERR_NOT_FOUND)
		return rc;
	if (lease_find(ns, ref->chunk))
		return 0;
	/* An id from a start that we have not had: the catalogue is older than this disk. */
	if (ref->chunk >> ID_BITS_OF_COUNT > ns->start && !ns->deletes_blocked) {
		ns->deletes_blocked = true;
		ns_event(ns, LOG_ERROR, "catalogue_is_old", "chunk=%llu start=%llu",
			 (unsigned long long)ref->chunk, (unsigned long long)ns->start);
	}
	if (member->unknown.count < UNKNOWN_MAX && chunk_set_add(&member->unknown, ref->chunk) < 0)
		return -ERR_NO_MEMORY;
	return 1;
}

static int inventory_check(const struct member *member, const struct inventory_request *request)
{
	if (request->last > 1)
		return -ERR_BAD_REQUEST;
	if (member->stage != INVENTORY_COMING || request->position != member->inventory_position)
		return -ERR_STALE;
	for (unsigned int i = 0; i < request->chunks_count; i++) {
		uint64_t before = i ? request->chunks[i - 1].chunk : member->inventory_last;

		if (request->chunks[i].chunk <= before)
			return -ERR_BAD_REQUEST;
	}
	return 0;
}

int on_inventory(struct nameserver *ns, struct session *from,
		 const struct inventory_request *request, struct inventory_reply *reply)
{
	struct member *member = from->member;
	int rc = member ? 0 : -ERR_STALE;

	if (rc == 0 && request->position == 0 && member->stage != INVENTORY_COMING)
		inventory_begin(ns, member, &(struct digest){ { 0 } });
	if (rc == 0 && member->stage == INVENTORY_NONE)
		member->stage = INVENTORY_COMING;
	if (rc == 0 && request->position == 0)
		member->inventory_position = member->inventory_last = 0;
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
	member->stage = INVENTORY_WAITING;
	member->digest_known = false;
	sweep_request(ns);
	garbage_soon(ns);
	return 0;
}

/* ---- late copies, bad copies ---- */

/* A copy of a chunk of a file; it counts if it is what the catalogue says. 1: it does. */
static int stored_copy(struct nameserver *ns, struct member *member, const struct receipt *receipt)
{
	struct lease *lease = lease_find(ns, receipt->chunk);
	struct chunk_row row;
	uint64_t inode;
	uint32_t index;
	int rc;

	if (lease)
		return lease_receipt(ns, lease, receipt) < 0 ? 0 : 1;
	rc = chunk_owner(ns->kv, receipt->chunk, &inode, &index);
	if (rc == -ERR_NOT_FOUND) {
		chunk_doom(ns, member, receipt->chunk);
		return 0;
	}
	if (rc == 0)
		rc = catalogue_chunk(ns->kv, inode, index, &row);
	if (rc < 0)
		return rc;
	if (row.length != receipt->length || !digest_equal(&row.digest, &receipt->digest))
		return 0;
	rc = place_add(ns, receipt->chunk, member);
	if (rc > 0)
		sweep_request(ns);
	return rc < 0 && rc != -ERR_TOO_LARGE ? rc : 1;
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
		rc = stored_copy(ns, holder, receipt);
		if (rc < 0)
			return rc;
		reply->accepted += rc > 0;
	}
	return 0;
}

/* The last copy that is up is kept whatever they say: perhaps only the way to it is bad. */
static int corrupt_copy(struct nameserver *ns, struct member *member, uint64_t chunk)
{
	struct holders holders;
	int rc = holders_get(ns->kv, chunk, &holders);

	if (rc < 0 || holders.count < 2)
		return rc;
	if (holders_up(ns, &holders) < 2 && member_is_up(member))
		return 0;
	rc = place_remove(ns, chunk, member);
	if (rc <= 0)
		return rc;
	ns->corrupt++;
	if (member->bad.count < BAD_MAX)
		chunk_set_add(&member->bad, chunk);
	sweep_request(ns);
	return 0;
}

int on_corrupt(struct nameserver *ns, struct session *from, const struct corrupt_request *request,
	       struct corrupt_reply *reply)
{
	struct member *member = member_find(ns, &request->node);
	uint64_t before = ns->corrupt;
	int rc = 0;

	(void)reply;
	if (from->role == ROLE_STORAGE && !id_equal(&from->self, &request->node))
		return -ERR_DENIED;
	if (!member)
		return -ERR_NOT_FOUND;
	for (unsigned int i = 0; rc == 0 && i < request->chunks_count; i++)
		rc = corrupt_copy(ns, member, request->chunks[i].chunk);
	if (rc == 0)
		ns_event(ns, LOG_WARN, "corrupt", "name=%s reported=%u dropped=%llu by=%s",
			 member->row.name[0] ? member->row.name : "none", request->chunks_count,
			 (unsigned long long)(ns->corrupt - before),
			 from->role == ROLE_STORAGE ? "itself" : "client");
	return rc;
}

/* ---- what the sweep does with a chunk ---- */

/* Inventories that are complete decide what their members hold. */
int place_sweep(struct nameserver *ns, uint64_t chunk, const struct holders *holders)
{
	for (unsigned int i = 0; i < holders->count; i++) {
		struct member *member = member_by_number(ns, holders->numbers[i]);
		int rc;

		if (!member || member->stage != INVENTORY_SWEPT)
			continue;
		if (chunk_set_has(&member->listed, chunk) || chunk_set_has(&member->fresh, chunk)) {
			digest_turn(&member->digest, chunk);
			continue;
		}
		rc = holders_remove(ns->kv, chunk, member->row.number);
		if (rc < 0)
			return rc;
	}
	return 0;
}

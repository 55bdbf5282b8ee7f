/* Every sealed batch goes to every storage server, for its copy of the catalogue.
 *
 * Not by way of orders.c: batches come many times a second, each answer only says how far a copy
 * has got, and one that stays away is no failure. Nor through the queue of what is held back:
 * batches leave as soon as they are sealed, and are on their way while the own disk writes. Those
 * of the journal set are waited for (quorum.c).
 *
 * The bytes on their way to a server are bounded; who does not keep up falls out of the ring of
 * recent batches, is skipped, and pulls what it lacks (pulls.c). */
#include "batch.h"
#include "ns_state.h"

/* The last batch that may leave. */
static uint64_t shippable(const struct nameserver *ns)
{
	return ns->sequence;
}

/* ---- what is kept ---- */

void shipping_init(struct nameserver *ns)
{
	struct shipping *ship = &ns->shipping;

	ship->recent.max = SHIP_RECENT_MAX;
	ship->older.max = SIZE_MAX;
	for (unsigned int i = 0; i < COMMIT_NOTES; i++)
		ship->notes[i].sequence = ns->committed;
}

void shipping_done(struct nameserver *ns)
{
	recent_done(&ns->shipping.recent);
	recent_done(&ns->shipping.older);
	buffer_done(&ns->shipping.scratch);
}

/* Without memory for it the ring is empty, and whoever needs it reads the journal. */
void shipping_sealed(struct nameserver *ns, struct slice batch)
{
	struct buffer *scratch = &ns->shipping.scratch;

	ns->shipping.due = true;
	buffer_clear(scratch);
	if (batch_share(batch, scratch) < 0 ||
	    recent_add(&ns->shipping.recent, (struct slice){ scratch->data, scratch->size }) < 0)
		recent_clear(&ns->shipping.recent);
	if (scratch->capacity > CATALOGUE_PART_MAX)
		buffer_done(scratch);
}

enum { NOTE_MS = 1000 };

void shipping_committed(struct nameserver *ns)
{
	struct commit_note *notes = ns->shipping.notes;

	if (ns->now_ms - notes[0].ms >= NOTE_MS) {
		memmove(notes + 1, notes, (COMMIT_NOTES - 1) * sizeof(*notes));
		notes[0].ms = ns->now_ms;
	}
	notes[0].sequence = ns->committed;
}

uint64_t copies_settled(const struct nameserver *ns)
{
	const struct commit_note *notes = ns->shipping.notes;
	unsigned int i = 0;

	while (i + 1 < COMMIT_NOTES && notes[i].ms + COPY_LATE_MS > ns->now_ms)
		i++;
	return notes[i].sequence;
}

uint32_t copies_of_catalogue(const struct nameserver *ns)
{
	uint64_t least = copies_settled(ns);
	uint32_t count = 1;

	for (unsigned int i = 0; i < ns->member_count; i++) {
		const struct member *member = ns->sorted[i];

		count += member_is_up(member) && member->copy.acknowledged > 0 &&
			 member->copy.acknowledged >= least;
	}
	return count;
}

uint64_t copy_lag(const struct nameserver *ns, const struct member *member)
{
	uint64_t has = member->copy.acknowledged;

	return has < ns->committed ? ns->committed - has : 0;
}

/* ---- what leaves ---- */

static bool part_send(struct nameserver *ns, struct member *member, struct slice batch)
{
	struct member_copy *copy = &member->copy;
	struct buffer *bytes = &ns->outbox->bytes;
	size_t left = batch.size - copy->offset;
	struct batch_request request = {
		.epoch = ns->epoch,
		.sequence = copy->next,
		.offset = copy->offset,
		.size = (uint32_t)batch.size,
		.part = { batch.data + copy->offset,
			  left < CATALOGUE_PART_MAX ? left : CATALOGUE_PART_MAX },
	};
	struct shipped_part *part = &copy->parts[copy->count];
	struct ns_action *action = outbox_add(ns->outbox, NS_SEND);

	if (!action)
		return false;
	*part = (struct shipped_part){ .id = request_number(ns),
				       .size = (uint32_t)request.part.size,
				       .sequence = request.sequence,
				       .last = left == request.part.size,
				       .of = copy->turns };
	if (request_encode(bytes, MSG_batch, part->id, &request) < 0) {
		ns->outbox->error = -ERR_NO_MEMORY;
		return false;
	}
	action->conn = member->session->conn;
	action->size = bytes->size - action->offset;
	copy->count++;
	copy->bytes += part->size;
	copy->offset = part->last ? 0 : copy->offset + part->size;
	copy->next += part->last;
	return true;
}

static void copy_lacks(struct nameserver *ns, struct member_copy *copy, uint64_t again_ms)
{
	copy->level = false;
	copy->again_ms = ns->now_ms + again_ms;
	copy->turns++;
}

static void copy_goes_on(struct member_copy *copy, uint64_t next)
{
	copy->level = true;
	copy->next = next;
	copy->offset = 0;
	copy->turns++;
}

/* Whether another part of the batch, or the one after it, may be on its way, too. */
static bool has_room(const struct member_copy *copy)
{
	return copy->count < SHIP_PARTS_MAX &&
	       (copy->count == 0 || copy->bytes + CATALOGUE_PART_MAX <= SHIP_BYTES_MAX);
}

/* How it answers says how far it is. */
static void copy_ask(struct nameserver *ns, struct member *member)
{
	struct member_copy *copy = &member->copy;
	struct slice batch;

	if (copy->count > 0 || ns->now_ms < copy->again_ms ||
	    recent_get(&ns->shipping.recent, shippable(ns), &batch) < 0)
		return;
	copy->next = shippable(ns);
	copy->offset = 0;
	copy->again_ms = ns->now_ms + SHIP_AGAIN_MS;
	part_send(ns, member, batch);
}

/* It lacks something; or it has told that it does not, but not that this is on its disk. */
static bool is_in_doubt(const struct nameserver *ns, const struct member_copy *copy)
{
	return !copy->level || (copy->next > shippable(ns) && copy->proven + 1 < copy->next);
}

static void member_ship(struct nameserver *ns, struct member *member)
{
	struct member_copy *copy = &member->copy;
	struct slice batch;

	if (!member->session || copy->answered > ns->durable)
		return;
	while (copy->level && copy->next <= shippable(ns) && has_room(copy)) {
		if (recent_get(&ns->shipping.recent, copy->next, &batch) < 0)
			copy_lacks(ns, copy, 0);
		else if (!part_send(ns, member, batch))
			return;
	}
	if (is_in_doubt(ns, copy))
		copy_ask(ns, member);
}

void shipping_run(struct nameserver *ns)
{
	if (!ns->shipping.due)
		return;
	ns->shipping.due = false;
	for (unsigned int i = 0; i < ns->member_count && !ns->outbox->error; i++)
		member_ship(ns, ns->sorted[i]);
}

void shipping_turn_ends(struct nameserver *ns)
{
	for (unsigned int i = 0; ns->shipping.answering && i < ns->member_count; i++) {
		struct member_copy *copy = &ns->sorted[i]->copy;

		if (copy->answered == UINT64_MAX)
			copy->answered = ns->sequence;
	}
	ns->shipping.due |= ns->shipping.answering;
	ns->shipping.answering = false;
}

void shipping_tick(struct nameserver *ns)
{
	ns->shipping.due = true;
	shipping_run(ns);
}

uint64_t shipping_deadline(const struct nameserver *ns)
{
	uint64_t at = UINT64_MAX;

	for (unsigned int i = 0; i < ns->member_count; i++) {
		const struct member_copy *copy = &ns->sorted[i]->copy;

		if (ns->sorted[i]->session && is_in_doubt(ns, copy) && copy->count == 0 &&
		    copy->again_ms > ns->now_ms && copy->again_ms < at)
			at = copy->again_ms;
	}
	return at;
}

/* ---- what comes back ---- */

/* 1: it is of our history; 0: of another; -ERR_NOT_FOUND: nobody knows any more. */
static int is_ours(const struct nameserver *ns, uint64_t sequence, const struct digest *hash)
{
	struct digest known;

	if (sequence > ns->sequence)
		return 0;
	if (recent_hash(&ns->shipping.recent, sequence, &known) < 0)
		return -ERR_NOT_FOUND;
	return digest_equal(&known, hash);
}

static void copy_proves(struct member_copy *copy, uint64_t has, bool ours)
{
	if (ours || has < copy->proven)
		copy->proven = has;
}

/* What answers to parts but the last say is as old as those: the batches before may be on their
 * way still. */
static void copy_told(struct nameserver *ns, struct member_copy *copy,
		      const struct shipped_part *part, const struct batch_reply *reply)
{
	uint64_t has = reply->sequence;
	int ours = has ? is_ours(ns, has, &reply->hash) : -ERR_NOT_FOUND;

	copy_proves(copy, ours ? has : 0, ours == 1);
	if (ours == 0) {
		copy->acknowledged = 0;
		copy_lacks(ns, copy, SHIP_AGAIN_MS);
		return;
	}
	if (part->last || has >= copy->acknowledged)
		copy->acknowledged = has;
	if (copy->level && part->last && has < part->sequence)
		copy_lacks(ns, copy, SHIP_AGAIN_MS);
	else if (copy->level && has >= copy->next)
		copy_goes_on(copy, has + 1);
	else if (!copy->level && has >= part->sequence)
		copy_goes_on(copy, has + 1);
	else if (!copy->level && has + 1 == part->sequence && !part->last)
		copy->level = true;
}

static bool part_take(struct member_copy *copy, uint32_t id, struct shipped_part *ret)
{
	unsigned int i = 0;

	while (i < copy->count && copy->parts[i].id != id)
		i++;
	if (i == copy->count)
		return false;
	*ret = copy->parts[i];
	copy->count--;
	copy->bytes -= ret->size;
	memmove(&copy->parts[i], &copy->parts[i + 1], (copy->count - i) * sizeof(copy->parts[0]));
	return true;
}

void shipping_answered(struct nameserver *ns, struct member *member,
		       const struct frame_header *header, const uint8_t *body)
{
	struct member_copy *copy = &member->copy;
	struct shipped_part part;
	struct message reply;

	if (!part_take(copy, header->id, &part))
		return;
	ns->shipping.due = true;
	if (part.of != copy->turns)
		return;
	if (message_decode(header, body, &ns->arena, &reply) == 0 && !reply.status) {
		copy_told(ns, copy, &part, reply.body);
		quorum_acknowledged(ns, member);
		return;
	}
	copy_lacks(ns, copy, SHIP_AGAIN_MS);
	/* It follows somebody else, or none: its next registration tells. */
	if (header->status == ERR_STALE)
		session_close(ns, member->session);
}

void shipping_joined(struct nameserver *ns, struct member *member,
		     const struct register_request *request)
{
	struct member_copy *copy = &member->copy;
	uint64_t has = request->catalogue_sequence;
	int ours = has ? is_ours(ns, has, &request->catalogue_hash) : 0;

	*copy = (struct member_copy){ .acknowledged = ours ? has : 0,
				      .proven = ours == 1 ? has : 0,
				      .answered = UINT64_MAX,
				      .turns = copy->turns };
	if (ours == 1)
		copy_goes_on(copy, has + 1);
	else
		copy_lacks(ns, copy, 0);
	ns->shipping.answering = true;
}

void shipping_left(struct member *member)
{
	struct member_copy *copy = &member->copy;

	copy->level = false;
	copy->turns++;
	copy->count = 0;
	copy->bytes = 0;
}

void shipping_pulled(struct nameserver *ns, struct member *member, uint64_t has, uint64_t sent)
{
	struct member_copy *copy = &member->copy;

	copy->acknowledged = sent ? has : 0;
	copy_proves(copy, copy->acknowledged, false);
	copy->again_ms = 0;
	if (sent == ns->sequence)
		copy_goes_on(copy, sent + 1);
	else
		copy_lacks(ns, copy, SHIP_AGAIN_MS);
	copy->answered = UINT64_MAX;
	ns->shipping.answering = true;
}

/* PULL and PAGE: what copies of the catalogue lack.
 *
 * Answers leave when all that was sealed before them is durable, so they may tell of it.
 *
 * Pages. Each names one batch. From the first page's on the asker applies the batches over all rows
 * it got, so every later change must be in a later batch; and once it has applied the last page's,
 * its rows must be those of some moment, so no row may have a change that is in a later batch. Both
 * hold if the rows of a page are those right after the batch it names, no more and no less: so
 * pages are read only between the sealing of a turn and its first change. Rows that change between
 * two pages are in the asker's hands as of different batches; but a row is absolute, and whatever
 * batch changed it lies between the first page's and the last one's. A row that moves away from
 * what was not read yet (a file that is renamed to a key the reading has passed) is put there again
 * by its batch, and removed at the other place: removing what is not there is no error. */
#include "batch.h"
#include "ns_state.h"
#include "pages.h"

_Static_assert(KV_KEY_SIZE_MAX <= 400, "PAGE names any key");

enum { STATE_FOLLOW = 1, STATE_LEVEL = 2, STATE_UNKNOWN = 3 };

/* ---- the journal ---- */

void journal_was_read(struct nameserver *ns, uint64_t after, struct slice batches, int error)
{
	struct shipping *ship = &ns->shipping;
	struct batch_head head;
	size_t size;

	ship->reading = false;
	ship->read_after = after;
	ship->read_error = error;
	recent_clear(&ship->older);
	while (ship->read_error == 0 && batches.size > 0) {
		if (batch_peek(batches, &head, &size) != 1 || size > batches.size)
			ship->read_error = -ERR_CORRUPT;
		else
			ship->read_error =
				recent_add(&ship->older, (struct slice){ batches.data, size });
		batches = (struct slice){ batches.data + size, batches.size - size };
	}
	if (ship->read_error < 0)
		recent_clear(&ship->older);
	parked_wake(ns, PARK_JOURNAL);
}

static void journal_ask(struct nameserver *ns, uint64_t after)
{
	struct ns_action *action =
		ns->shipping.reading ? NULL : outbox_add(ns->outbox, NS_JOURNAL_READ);

	if (!action)
		return;
	action->sequence = after;
	ns->shipping.reading = true;
	ns->shipping.read_error = 0;
}

/* ---- PULL ---- */

/* As recent_read, out of the ring, or of what was read from the journal; that is read further, and
 * the request parked: -ERR_NOT_FOUND. Another error than that of a history that is not known is
 * told once: who asks again has it tried again. */
static int history_read(struct nameserver *ns, const struct history_point *from, uint32_t *ret_size)
{
	struct shipping *ship = &ns->shipping;
	int rc = recent_read(&ship->recent, from, &ship->scratch, ret_size);

	if (rc == 1 || (rc < 0 && rc != -ERR_NOT_FOUND))
		return rc;
	rc = recent_read(&ship->older, from, &ship->scratch, ret_size);
	if (rc == 1 || rc == -ERR_RANGE)
		return rc;
	/* The last batch that was read is another than the asker has; or the ring is. */
	if (rc == -ERR_STALE)
		return rc;
	if (!ship->reading && ship->read_error < 0 && ship->read_after == from->sequence) {
		rc = ship->read_error;
		ship->read_error = rc == -ERR_STALE ? rc : 0;
		return rc;
	}
	journal_ask(ns, from->sequence);
	park(ns, PARK_JOURNAL, IN_PROGRESS_AFTER_MS);
	return -ERR_NOT_FOUND;
}

/* The last batch that is whole in the asker's hands then. */
static uint64_t last_of(const struct pull_request *request, const struct pull_reply *reply)
{
	struct slice rest = reply->batches;
	uint64_t last = request->sequence;
	struct batch_head head;
	size_t size;

	if (reply->size > 0)
		return last + (request->offset + rest.size == reply->size);
	while (batch_peek(rest, &head, &size) == 1 && size <= rest.size) {
		last = head.sequence;
		rest = (struct slice){ rest.data + size, rest.size - size };
	}
	return last;
}

static int history_answer(struct nameserver *ns, const struct pull_request *request,
			  struct pull_reply *reply)
{
	struct shipping *ship = &ns->shipping;
	struct history_point from = { request->sequence, request->hash, request->offset };
	int rc;

	reply->state = STATE_UNKNOWN;
	if (from.sequence > ns->sequence)
		return 0;
	if (from.sequence == ns->sequence) {
		if (digest_equal(&from.hash, &ns->hash))
			reply->state = STATE_LEVEL;
		return 0;
	}
	buffer_clear(&ship->scratch);
	rc = history_read(ns, &from, &reply->size);
	if (rc == -ERR_STALE || (rc == -ERR_NOT_FOUND && ns->park.wanted))
		return 0;
	if (rc < 0)
		return rc;
	reply->state = STATE_FOLLOW;
	reply->batches = (struct slice){ ship->scratch.data, ship->scratch.size };
	return 0;
}

int on_pull(struct nameserver *ns, struct session *from, const struct pull_request *request,
	    struct pull_reply *reply)
{
	int rc = history_answer(ns, request, reply);

	if (rc < 0 || ns->park.wanted)
		return rc;
	reply->sequence = ns->sequence;
	reply->epoch = ns->epoch;
	if (from->member)
		shipping_pulled(ns, from->member, request->sequence,
				reply->state == STATE_UNKNOWN ? 0 : last_of(request, reply));
	return 0;
}

/* ---- PAGE ---- */

int on_page(struct nameserver *ns, struct session *from, const struct page_request *request,
	    struct page_reply *reply)
{
	struct buffer *rows = &ns->shipping.scratch;
	int rc;

	(void)from;
	if (ns->kv->batch_count > 0)
		return park(ns, PARK_SEALED, IN_PROGRESS_AFTER_MS);
	buffer_clear(rows);
	rc = page_read(ns->kv, request->after, CATALOGUE_PART_MAX, rows);
	if (rc < 0)
		return rc;
	*reply = (struct page_reply){ .sequence = ns->sequence,
				      .epoch = ns->epoch,
				      .hash = ns->hash,
				      .more = (uint8_t)rc,
				      .rows = { rows->data, rows->size } };
	return 0;
}

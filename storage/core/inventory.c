/* What this server holds, told to the name server: sums of all buckets, then the chunks of those
 * that differ there. */
#include "inventory.h"
#include "storage_inside.h"

enum {
	LIST_STEP = 1024,            /* chunks at once */
	LIST_MAX = 128 * LIST_STEP,  /* looked at for one message: some 10 ms */
	MESSAGE_MAX = 4 * LIST_STEP, /* in one, each of which the name server looks up at once */
};

void storage_buckets_send(struct storage *s)
{
	uint64_t *buckets = arena_alloc(&s->arena, INVENTORY_BUCKETS * sizeof(*buckets));
	uint8_t *digests = arena_alloc(&s->arena, INVENTORY_DIGESTS_SIZE);
	struct buckets_request req = { .digests = { digests, INVENTORY_DIGESTS_SIZE } };

	if (!buckets || !digests) {
		s->error = -ERR_NO_MEMORY;
		return;
	}
	s->config.chunks->buckets(s->config.chunks_context, buckets);
	inventory_encode(buckets, digests);
	s->seeker.inventory = INVENTORY_SUMMED;
	storage_send_request(s, s->seeker.conn, MSG_buckets, ++s->seeker.request, &req);
}

void storage_buckets_reply(struct storage *s, const struct incoming *in)
{
	const struct buckets_reply *reply = in->message.body;
	struct seeker *seeker = &s->seeker;

	if (seeker->inventory != INVENTORY_SUMMED)
		return;
	seeker->inventory = INVENTORY_TOLD;
	if (reply->differ.size != INVENTORY_BITS_SIZE)
		return;
	memcpy(seeker->differ, reply->differ.data, INVENTORY_BITS_SIZE);
	seeker->inventory_after = seeker->inventory_position = 0;
	storage_inventory_send(s);
}

/* Appends what is asked for of the next few chunks. */
static void list_step(struct storage *s, struct inventory_request *req, struct chunk_ref *refs)
{
	struct seeker *seeker = &s->seeker;
	struct chunk_ref seen[LIST_STEP];
	size_t count = s->config.chunks->list(s->config.chunks_context, seeker->inventory_after,
					      seen, LIST_STEP);

	for (size_t i = 0; i < count; i++) {
		if (inventory_bit(seeker->differ, inventory_bucket(seen[i].chunk)))
			refs[req->chunks_count++] = seen[i];
	}
	if (count)
		seeker->inventory_after = seen[count - 1].chunk;
	req->last = count < LIST_STEP;
}

void storage_inventory_send(struct storage *s)
{
	struct seeker *seeker = &s->seeker;
	struct chunk_ref *refs = arena_alloc(&s->arena, MESSAGE_MAX * sizeof(*refs));
	struct inventory_request req = { .position = seeker->inventory_position, .chunks = refs };

	if (!refs) {
		s->error = -ERR_NO_MEMORY;
		return;
	}
	for (size_t looked = 0; looked < LIST_MAX && !req.last; looked += LIST_STEP) {
		if (req.chunks_count + LIST_STEP > MESSAGE_MAX)
			break;
		list_step(s, &req, refs);
	}
	seeker->inventory = req.last ? INVENTORY_TOLD : INVENTORY_LISTED;
	seeker->inventory_position += req.chunks_count;
	storage_send_request(s, seeker->conn, MSG_inventory, ++seeker->request, &req);
}

/* ---- leaving ---- */

/* The name server closes the connection when it has heard it. */
void storage_on_stop(struct storage *s, const struct storage_event *event)
{
	const struct goodbye_request req = { 0 };

	(void)event;
	storage_late_send(s);
	if (storage_is_registered(s))
		storage_send_request(s, s->seeker.conn, MSG_goodbye, ++s->seeker.request, &req);
}

/* What this server holds, told to the name server: sums of all buckets, then the chunks of those
 * that differ there. */
#include "inventory.h"
#include "storage_inside.h"

enum {
	MESSAGE_MAX = 4096, /* chunks in one, each of which the name server looks up at once */
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

void storage_inventory_send(struct storage *s)
{
	struct seeker *seeker = &s->seeker;
	struct chunk_ref *refs = arena_alloc(&s->arena, MESSAGE_MAX * sizeof(*refs));
	struct inventory_request req = { .position = seeker->inventory_position, .chunks = refs };
	size_t count;

	if (!refs) {
		s->error = -ERR_NO_MEMORY;
		return;
	}
	count = s->config.chunks->list_buckets(s->config.chunks_context, seeker->differ,
					       seeker->inventory_after, refs, MESSAGE_MAX);
	if (count)
		seeker->inventory_after = refs[count - 1].chunk;
	req.chunks_count = (uint16_t)count;
	req.last = count < MESSAGE_MAX;
	seeker->inventory = req.last ? INVENTORY_TOLD : INVENTORY_LISTED;
	seeker->inventory_position += count;
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

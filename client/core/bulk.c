/* Places leased ahead: with several small puts at once, each costs one WRITE and one PUT_COMMIT. */
#include "client_parts.h"

#include <stdlib.h>

enum {
	ASK_MOST = PLACES_MAX,
	LOW_WATER = 48, /* below it more are leased, while small puts keep coming */
	BULK_FROM = 2,  /* small puts at once */
	BULK_BUSY_MS = 20,
};

static void bulk_serve(struct client *client);

static unsigned int places_in_use(const struct client *client)
{
	return client->bulk.count + client->small_puts;
}

static void bulk_answered(struct client *client, void *owner, int error, const void *body)
{
	const struct put_chunks_reply *reply = body;
	struct bulk *bulk = &client->bulk;
	struct client_op *op;

	(void)owner;
	bulk->asking = false;
	bulk->busy = error == -ERR_BUSY;
	if (bulk->busy) {
		bulk->busy_ms = client->now_ms + BULK_BUSY_MS;
		return;
	}
	for (unsigned int i = 0; error == 0 && i < reply->places_count; i++) {
		struct bulk_place *place = &bulk->places[bulk->count];

		if (bulk->count == BULK_PLACES_MAX ||
		    !place_take(client, &place->place, &reply->places[i], reply->nodes,
				reply->nodes_count))
			break;
		place->leased_ms = client->now_ms;
		place->copies = bulk->asked_copies;
		bulk->count++;
	}
	if (error == 0 && reply->places_count == 0)
		error = -ERR_NO_NODES;
	/* Its chunks are smaller than what is small to us. */
	bulk->refused |= error == -ERR_BAD_REQUEST;
	while (bulk->refused && (op = TAILQ_FIRST(&bulk->waiting)) != NULL)
		put_retry(client, op, error);
	while (error < 0 && (op = TAILQ_FIRST(&bulk->waiting)) != NULL)
		op_finish(client, op, error, NULL);
	bulk_serve(client);
}

static void bulk_ask(struct client *client, uint8_t copies)
{
	struct bulk *bulk = &client->bulk;
	unsigned int used = places_in_use(client);
	struct put_chunks_request chunks = { .copies = copies, .length = SMALL_CHUNK_MAX };

	if (bulk->asking || bulk->busy_ms || bulk->count + ASK_MOST > BULK_PLACES_MAX)
		return;
	if (!bulk->places)
		bulk->places = calloc(BULK_PLACES_MAX, sizeof(*bulk->places));
	if (!bulk->places)
		return;
	/* As many as are at work now are soon wanted again. */
	chunks.places =
		(uint8_t)(client->small_puts * 2 < ASK_MOST ? client->small_puts * 2 : ASK_MOST);
	if (used + chunks.places > BULK_PLACES_MAX && !TAILQ_EMPTY(&bulk->waiting))
		chunks.places = 16;
	else if (used + chunks.places > BULK_PLACES_MAX)
		return;
	bulk->asking = true;
	bulk->asked_copies = copies;
	if (control_ask(client, &(struct asking){ MSG_put_chunks, &chunks, bulk_answered, client },
			false) < 0)
		bulk->asking = false;
}

/* The oldest place for so many copies that is not too old. */
static bool bulk_take(struct client *client, uint8_t copies, struct chunk_place *ret)
{
	struct bulk *bulk = &client->bulk;

	for (unsigned int i = 0; i < bulk->count; i++) {
		struct bulk_place *place = &bulk->places[i];

		if (place->copies != copies || client->now_ms - place->leased_ms > BULK_LIFE_MS)
			continue;
		*ret = place->place;
		*place = bulk->places[--bulk->count];
		return true;
	}
	return false;
}

static bool op_serve(struct client *client, struct client_op *op)
{
	struct put_state *put = &op->put;
	struct piece *piece = &put->pieces[0];

	if (!bulk_take(client, put->how.copies, &piece->place))
		return false;
	put->bulk = true;
	put->chunk = piece->place.chunk;
	put->chunk_size = CHUNK_SIZE_DEFAULT;
	put->next = 1;
	piece->op = op;
	piece->index = 0;
	piece->length = (uint32_t)put->size;
	op->progress_ms = client->now_ms;
	piece_start(client, piece);
	return true;
}

static void bulk_serve(struct client *client)
{
	struct client_op *op;

	while ((op = TAILQ_FIRST(&client->bulk.waiting)) != NULL) {
		uint8_t copies = op->put.how.copies;

		bulk_leave(client, op);
		if (op_serve(client, op))
			continue;
		op->in_bulk = true;
		TAILQ_INSERT_HEAD(&client->bulk.waiting, op, bulk_entry);
		bulk_ask(client, copies);
		return;
	}
}

bool bulk_want(struct client *client, struct client_op *op)
{
	struct bulk *bulk = &client->bulk;

	if (client->degraded || bulk->refused ||
	    (client->small_puts < BULK_FROM && bulk->count == 0))
		return false;
	if (!op_serve(client, op)) {
		if (client->small_puts < BULK_FROM)
			return false;
		op->in_bulk = true;
		TAILQ_INSERT_TAIL(&bulk->waiting, op, bulk_entry);
	}
	if (client->small_puts >= BULK_FROM && bulk->count < LOW_WATER)
		bulk_ask(client, op->put.how.copies);
	return true;
}

void bulk_leave(struct client *client, struct client_op *op)
{
	if (!op->in_bulk)
		return;
	op->in_bulk = false;
	TAILQ_REMOVE(&client->bulk.waiting, op, bulk_entry);
}

static void drop_old(struct client *client)
{
	struct bulk *bulk = &client->bulk;

	for (unsigned int i = 0; i < bulk->count;) {
		if (client->now_ms - bulk->places[i].leased_ms > BULK_LIFE_MS)
			bulk->places[i] = bulk->places[--bulk->count];
		else
			i++;
	}
}

void bulk_tick(struct client *client)
{
	struct bulk *bulk = &client->bulk;

	drop_old(client);
	if (bulk->busy_ms && client->now_ms >= bulk->busy_ms)
		bulk->busy_ms = 0;
	bulk_serve(client);
}

/* Another session: what was leased may be gone. */
void bulk_reset(struct client *client)
{
	client->bulk.count = 0;
	client->bulk.asking = client->bulk.refused = client->bulk.busy = false;
	client->bulk.busy_ms = 0;
}

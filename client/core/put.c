/* Puts: places are leased a few ahead, chunks leave one after the other while receipts of earlier
 * ones come in, and the commit makes it a file. */
#include "client_parts.h"

#include <stdlib.h>

enum { BUSY_MS = 50 };

static bool is_stream(const struct put_state *put)
{
	return !put->how.rewindable;
}

static bool is_size_known(const struct put_state *put)
{
	return put->ended || put->how.size != SIZE_UNKNOWN;
}

static uint64_t chunk_total(const struct put_state *put)
{
	return (put->size + put->chunk_size - 1) / put->chunk_size;
}

bool put_is_small(const struct client_op *op)
{
	return op->kind == OP_PUT && op->put.how.rewindable && op->put.how.size > 0 &&
	       op->put.how.size <= SMALL_CHUNK_MAX;
}

/* ---- places ---- */

bool place_take(struct client *client, struct chunk_place *ret, const struct place *place,
		const struct node_address *nodes, uint16_t node_count)
{
	ret->chunk = place->chunk;
	ret->count = 0;
	for (unsigned int i = 0; i < place->holders_count; i++) {
		const struct holder *holder = &place->holders[i];

		if (holder->node >= node_count)
			return false;
		ret->holders[ret->count] = (struct holder_at){
			node_learn(client, &nodes[holder->node]),
			holder->ticket,
		};
		if (!ret->holders[ret->count++].node)
			return false;
	}
	return true;
}

static bool places_take(struct client *client, struct client_op *op, const struct place *places,
			unsigned int count, const struct put_chunks_reply *nodes)
{
	struct put_state *put = &op->put;

	for (unsigned int i = 0; i < count && put->place_count < PLACES_AHEAD; i++) {
		unsigned int slot = (put->place_first + put->place_count) % PLACES_AHEAD;

		if (!place_take(client, &put->places[slot], &places[i], nodes->nodes,
				nodes->nodes_count))
			return false;
		put->place_count++;
		put->leased++;
	}
	return true;
}

/* Bytes of a stream that are here for the next piece. */
static uint32_t filled(const struct put_state *put)
{
	uint64_t before = put->next * put->chunk_size;
	uint64_t here = put->gathered > before ? put->gathered - before : 0;

	return (uint32_t)(here < put->chunk_size ? here : put->chunk_size);
}

/* How many more places the rest of the file takes, as far as is known. */
static uint64_t places_needed(const struct put_state *put)
{
	uint64_t started = put->next + put->place_count;

	if (is_size_known(put))
		return chunk_total(put) > started ? chunk_total(put) - started : 0;
	return put->place_count == 0 && filled(put) ? 1 : 0;
}

static void chunks_answered(struct client *client, void *owner, int error, const void *body)
{
	const struct put_chunks_reply *reply = body;
	struct client_op *op = owner;

	op->put.asking = false;
	if (error == -ERR_BUSY)
		op->put.busy_ms = client->now_ms + BUSY_MS;
	else if (error == -ERR_EXPIRED || error == -ERR_NOT_FOUND)
		put_retry(client, op, -ERR_EXPIRED);
	else if (error < 0)
		op_finish(client, op, error, NULL);
	else if (reply->places_count == 0)
		op_finish(client, op, -ERR_NO_NODES, NULL);
	else if (!places_take(client, op, reply->places, reply->places_count, reply))
		op_finish(client, op, -ERR_BAD_REQUEST, NULL);
	else
		put_go_on(client, op);
}

static void places_ask(struct client *client, struct client_op *op)
{
	struct put_state *put = &op->put;
	uint64_t needed = places_needed(put);
	unsigned int room = PLACES_AHEAD - put->place_count;
	struct put_chunks_request chunks = { .put = put->put };

	if (put->asking || put->busy_ms || needed == 0 || put->place_count > PLACES_AHEAD / 2)
		return;
	chunks.places = (uint8_t)(needed < room ? needed : room);
	put->asking = true;
	if (control_ask(client, &(struct asking){ MSG_put_chunks, &chunks, chunks_answered, op },
			false) < 0)
		op_finish(client, op, -ERR_NO_MEMORY, NULL);
}

/* ---- the beginning ---- */

static void begin_answered(struct client *client, void *owner, int error, const void *body)
{
	const struct put_begin_reply *reply = body;
	struct client_op *op = owner;
	struct put_state *put = &op->put;

	put->asking = false;
	op->progress_ms = client->now_ms;
	put->busy = error == -ERR_BUSY;
	if (put->busy && client->now_ms - put->since_ms < stuck_ms(client)) {
		put->busy_ms = client->now_ms + BUSY_MS;
		return;
	}
	/* It was for storage servers that it waited. */
	if (put->busy)
		error = -ERR_UNAVAILABLE;
	if (error == 0 && (reply->chunk_size == 0 || reply->chunk_size > CHUNK_SIZE_MAX))
		error = -ERR_BAD_REQUEST;
	if (error == 0 && put->gathered && reply->chunk_size != put->chunk_size)
		error = -ERR_EXPIRED;
	if (error < 0) {
		op_finish(client, op, error, NULL);
		return;
	}
	put->begun = true;
	put->put = reply->put;
	put->chunk_size = reply->chunk_size;
	put->copies_wanted = reply->copies_wanted;
	if (places_take(client, op, reply->places, reply->places_count,
			&(struct put_chunks_reply){ .nodes = reply->nodes,
						    .nodes_count = reply->nodes_count }))
		put_go_on(client, op);
	else
		op_finish(client, op, -ERR_BAD_REQUEST, NULL);
}

static uint8_t first_places(const struct put_state *put)
{
	uint64_t chunks;

	if (put->how.size == SIZE_UNKNOWN)
		return 1;
	chunks = (put->how.size + CHUNK_SIZE_DEFAULT - 1) / CHUNK_SIZE_DEFAULT;
	return (uint8_t)(chunks < PLACES_AHEAD ? chunks : PLACES_AHEAD);
}

static void put_begin(struct client *client, struct client_op *op)
{
	struct put_state *put = &op->put;
	struct put_begin_request begin = {
		.size = put->how.size,
		.copies = put->how.copies,
		.flags = put_flags(put),
		.places = first_places(put),
		.path = { op->path.data, op->path.size },
	};
	int rc;

	put->asking = true;
	rc = control_ask(client, &(struct asking){ MSG_put_begin, &begin, begin_answered, op },
			 false);
	if (rc < 0)
		op_finish(client, op, rc, NULL);
}

void put_start(struct client *client, struct client_op *op)
{
	struct put_state *put = &op->put;

	put->size = put->how.size == SIZE_UNKNOWN ? 0 : put->how.size;
	put->digest = digest_of("", 0);
	put->since_ms = client->now_ms;
	if (put_is_small(op))
		client->small_puts++;
	else
		client->large_puts++;
	client->stream_running |= is_stream(put);
	if (!put_is_small(op) || !bulk_want(client, op))
		put_begin(client, op);
}

/* ---- chunks ---- */

static struct piece *piece_free(struct put_state *put)
{
	unsigned int most = is_stream(put) ? CLIENT_BUFFERS_MAX : CLIENT_PIECES_MAX;

	for (unsigned int i = 0; i < most; i++) {
		if (put->pieces[i].state == PIECE_FREE)
			return &put->pieces[i];
	}
	return NULL;
}

static bool is_all_read(const struct put_state *put)
{
	for (unsigned int i = 0; i < CLIENT_PIECES_MAX; i++) {
		if (put->pieces[i].state != PIECE_FREE && !put->pieces[i].read)
			return false;
	}
	return true;
}

static bool is_anything_under_way(const struct put_state *put)
{
	for (unsigned int i = 0; i < CLIENT_PIECES_MAX; i++) {
		if (put->pieces[i].state != PIECE_FREE)
			return true;
	}
	return put->filling || filled(put);
}

static bool is_at_end(const struct put_state *put)
{
	return is_size_known(put) && put->next >= chunk_total(put);
}

static void fill_ask(struct client *client, struct client_op *op)
{
	struct put_state *put = &op->put;
	uint64_t offset = put->gathered;
	struct client_action *action;

	if (put->filling || filled(put) || put->ended || !piece_free(put) || is_at_end(put))
		return;
	put->filling = true;
	put->forgetting |= offset >= CLIENT_BUFFERS_MAX * put->chunk_size;
	action = act(client, CLIENT_FILL);
	action->op = op;
	action->user = op->user;
	action->offset = offset;
	action->size = put->chunk_size;
	if (put->how.size != SIZE_UNKNOWN && put->how.size - offset < put->chunk_size)
		action->size = put->how.size - offset;
}

void put_filled(struct client *client, const struct client_event *event)
{
	struct client_op *op = event->op;
	struct put_state *put = &op->put;

	if (!put->filling)
		return;
	put->filling = false;
	op->progress_ms = client->now_ms;
	if (event->error < 0) {
		op_finish(client, op, event->error, NULL);
		return;
	}
	put->gathered += event->size;
	if (put->how.size == SIZE_UNKNOWN) {
		put->size += event->size;
		put->ended = event->last;
	}
	put_go_on(client, op);
}

/* The next chunk may leave when the one before it has been read to its end: the digest of the whole
 * file wants all bytes in order. */
static bool piece_next(struct client *client, struct client_op *op)
{
	struct put_state *put = &op->put;
	struct piece *piece = piece_free(put);
	uint64_t left = put->size - put->next * put->chunk_size;

	if (!piece || put->place_count == 0 || !is_all_read(put))
		return false;
	if (is_stream(put) ? filled(put) == 0 : is_at_end(put))
		return false;
	piece->op = op;
	if (is_stream(put))
		piece->length = filled(put);
	else
		piece->length = (uint32_t)(left < put->chunk_size ? left : put->chunk_size);
	piece->index = put->next++;
	piece->place = put->places[put->place_first];
	put->place_first = (put->place_first + 1) % PLACES_AHEAD;
	put->place_count--;
	piece_start(client, piece);
	return true;
}

/* ---- receipts ---- */

static int receipts_reserve(struct put_state *put, unsigned int more)
{
	unsigned int capacity = RECEIPTS_MAX;
	struct receipt *receipts;

	if (put->receipt_count + more <= put->receipt_capacity)
		return 0;
	while (capacity < put->receipt_count + more)
		capacity *= 2;
	receipts = malloc(capacity * sizeof(*receipts));
	if (!receipts)
		return -ERR_NO_MEMORY;
	memcpy(receipts, put->receipts, put->receipt_count * sizeof(*receipts));
	if (put->receipts != put->few)
		free(put->receipts);
	put->receipts = receipts;
	put->receipt_capacity = capacity;
	return 0;
}

static void seal_answered(struct client *client, void *owner, int error, const void *body)
{
	struct client_op *op = owner;
	struct put_state *put = &op->put;

	(void)body;
	op->progress_ms = client->now_ms;
	if (error < 0) {
		put_retry(client, op, error);
		return;
	}
	put->receipt_count -= put->sealing;
	memmove(put->receipts, put->receipts + put->sealing,
		put->receipt_count * sizeof(*put->receipts));
	put->sealing = 0;
	put_go_on(client, op);
}

static void put_seal(struct client *client, struct client_op *op)
{
	struct put_state *put = &op->put;
	struct put_seal_request seal = { .put = put->put, .receipts = put->receipts };

	if (put->sealing || put->unsealed < SEAL_EVERY)
		return;
	put->sealing = put->receipt_count < RECEIPTS_MAX ? put->receipt_count : RECEIPTS_MAX;
	put->unsealed = 0;
	seal.receipts_count = (uint16_t)put->sealing;
	if (control_ask(client, &(struct asking){ MSG_put_seal, &seal, seal_answered, op }, false) <
	    0)
		op_finish(client, op, -ERR_NO_MEMORY, NULL);
}

void put_piece_done(struct client *client, struct piece *piece)
{
	struct client_op *op = piece->op;
	struct put_state *put = &op->put;

	if (receipts_reserve(put, piece->receipt_count) < 0) {
		op_finish(client, op, -ERR_NO_MEMORY, NULL);
		return;
	}
	memcpy(put->receipts + put->receipt_count, piece->receipts,
	       piece->receipt_count * sizeof(*piece->receipts));
	put->receipt_count += piece->receipt_count;
	put->unsealed++;
	piece->state = PIECE_FREE;
	if (is_stream(put)) {
		struct client_action *action = act(client, CLIENT_DROP);

		action->op = op;
		action->user = op->user;
		action->offset = piece->index * put->chunk_size;
	}
	put_go_on(client, op);
}

/* ---- the end ---- */

/* Too few copies because servers were full: that is what to say. */
int put_reason(const struct client_op *op, int error)
{
	bool few = error == -ERR_UNAVAILABLE || error == -ERR_UNREACHABLE;

	return few && op->put.full ? -ERR_NO_SPACE : error;
}

/* Too few have it, but one of those that were given up may only have been slow. */
static bool is_worth_patience(const struct put_state *put, int error)
{
	return error == -ERR_UNAVAILABLE && put->hasty && put_can_begin_again(put);
}

static void commit_answered(struct client *client, void *owner, int error, const void *body)
{
	struct client_op *op = owner;
	struct put_state *put = &op->put;

	if (error == -ERR_STALE && put->how.rebase && put->rebases < REBASES_MAX) {
		base_ask(client, op);
		return;
	}
	if (error == -ERR_EXPIRED || error == -ERR_BAD_RECEIPT || is_worth_patience(put, error)) {
		put_retry(client, op, error);
		return;
	}
	if (error == 0) {
		put->begun = false;
		put->stored.size = put->how.base_size + put->size;
		put->stored.added = put->size;
		put->stored.digest = put->digest;
		put->stored.commit = *(const struct put_commit_reply *)body;
	}
	op_finish(client, op, put_reason(op, error), NULL);
}

void put_commit(struct client *client, struct client_op *op)
{
	struct put_state *put = &op->put;
	struct chunk_ref chunk = { put->chunk, (uint32_t)put->size };
	struct put_commit_request commit = {
		.put = put->bulk ? 0 : put->put,
		.size = put->size,
		.digest = put->digest,
		.base_inode = put->how.base_inode,
		.base_version = put->how.base_version,
		.base_size = put->how.base_size,
		.flags = put_flags(put),
		.copies = put->how.copies,
		.path = { op->path.data, op->path.size },
		.chunks = &chunk,
		.chunks_count = put->bulk,
		.receipts = put->receipts,
		.receipts_count = (uint16_t)put->receipt_count,
	};
	int rc;

	put->committing = true;
	rc = control_ask(client, &(struct asking){ MSG_put_commit, &commit, commit_answered, op },
			 false);
	if (rc < 0)
		op_finish(client, op, rc, NULL);
}

static bool commit_is_due(const struct put_state *put)
{
	if (put->committing || put->sealing || is_anything_under_way(put))
		return false;
	return is_at_end(put);
}

void put_go_on(struct client *client, struct client_op *op)
{
	struct put_state *put = &op->put;

	if (!op->running || (!put->begun && !put->bulk))
		return;
	if (is_stream(put))
		fill_ask(client, op);
	/* Whatever finishes the op, or begins it anew, leaves nothing for this one to do. */
	if (piece_next(client, op)) {
		if (op->running && is_stream(put))
			fill_ask(client, op);
		if (!op->running || (!put->begun && !put->bulk))
			return;
	}
	places_ask(client, op);
	if (!op->running)
		return;
	if (commit_is_due(put)) {
		if (put->receipt_count > RECEIPTS_MAX) {
			put->unsealed = SEAL_EVERY;
			put_seal(client, op);
		} else {
			put_commit(client, op);
		}
	} else {
		put_seal(client, op);
	}
}

static void pieces_drop(struct client *client, struct client_op *op)
{
	for (unsigned int i = 0; i < CLIENT_PIECES_MAX; i++)
		piece_drop(client, &op->put.pieces[i]);
}

static void put_abort(struct client *client, struct client_op *op)
{
	if (op->put.begun)
		control_tell(client, MSG_put_abort, &(struct put_abort_request){ op->put.put });
	op->put.begun = false;
}

/* Where the bytes can be read again, or are all there still. */
bool put_can_begin_again(const struct put_state *put)
{
	return !put->forgetting && put->restarts < RESTARTS_MAX;
}

/* Its lease or its tickets ran out, or servers were too slow: all of it once more. */
void put_retry(struct client *client, struct client_op *op, int error)
{
	struct put_state *put = &op->put;
	struct client_action *action;

	if (!put_can_begin_again(put)) {
		op_finish(client, op, error, NULL);
		return;
	}
	control_forget(client, op);
	pieces_drop(client, op);
	put_abort(client, op);
	bulk_leave(client, op);
	put->restarts++;
	put->since_ms = client->now_ms;
	put->bulk = put->asking = put->committing = put->hasty = false;
	put->next = put->leased = put->busy_ms = 0;
	put->place_first = put->place_count = 0;
	put->receipt_count = put->unsealed = put->sealing = 0;
	action = act(client, CLIENT_REWIND);
	action->op = op;
	action->user = op->user;
	put_begin(client, op);
}

void put_drop(struct client *client, struct client_op *op)
{
	struct put_state *put = &op->put;

	pieces_drop(client, op);
	put_abort(client, op);
	bulk_leave(client, op);
	if (op->running) {
		if (put_is_small(op))
			client->small_puts--;
		else
			client->large_puts--;
		if (is_stream(put))
			client->stream_running = false;
	}
	if (put->receipts != put->few)
		free(put->receipts);
	put->receipts = put->few;
	put->receipt_capacity = COPIES_MAX;
}

uint64_t put_moved_ms(const struct client_op *op)
{
	uint64_t moved_ms = op->progress_ms;

	for (unsigned int i = 0; i < CLIENT_PIECES_MAX; i++) {
		const struct piece *piece = &op->put.pieces[i];

		if (piece->state != PIECE_FREE && piece->link && piece->replaced == 0 &&
		    piece->link->moved_ms > moved_ms)
			moved_ms = piece->link->moved_ms;
	}
	return moved_ms;
}

/* While there is no name server, whoever needs it for another place waits for that. */
static bool is_waiting_for_servers(const struct client *client, const struct put_state *put)
{
	for (unsigned int i = 0; i < CLIENT_PIECES_MAX; i++) {
		enum piece_state state = put->pieces[i].state;

		if (state != PIECE_FREE && (state != PIECE_REPLACING || client->control))
			return true;
	}
	return false;
}

void put_tick(struct client *client, struct client_op *op)
{
	struct put_state *put = &op->put;

	if (put->busy_ms && client->now_ms >= put->busy_ms) {
		put->busy_ms = 0;
		if (put->begun)
			put_go_on(client, op);
		else
			put_begin(client, op);
	}
	for (unsigned int i = 0; i < CLIENT_PIECES_MAX && op->running; i++)
		piece_tick(client, &put->pieces[i]);
	if (op->running && is_waiting_for_servers(client, put) &&
	    client->now_ms - put_moved_ms(op) >= stuck_ms(client))
		op_finish(client, op, -ERR_UNREACHABLE, NULL);
}

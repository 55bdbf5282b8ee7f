/* One chunk of a put: to the first server of its chain, receipts back, other servers for dead
 * ones. */
#include "client_parts.h"

static struct put_state *put_of(struct piece *piece)
{
	return &piece->op->put;
}

static void hop_remove(struct piece *piece, const struct id *id)
{
	struct chunk_place *place = &piece->place;

	for (unsigned int i = 0; i < place->count; i++) {
		if (!id_equal(&place->holders[i].node->id, id))
			continue;
		place->count--;
		memmove(&place->holders[i], &place->holders[i + 1],
			(place->count - i) * sizeof(place->holders[0]));
		return;
	}
}

static bool hop_is_in(const struct piece *piece, const struct id *id)
{
	for (unsigned int i = 0; i < piece->place.count; i++) {
		if (id_equal(&piece->place.holders[i].node->id, id))
			return true;
	}
	return false;
}

/* ---- servers that are slow ---- */

static void hop_slow(const struct client *client, struct node *node)
{
	node->slow_until_ms = client->now_ms + SLOW_MS;
}

/* Another server could not reach it. */
static void hop_down(const struct client *client, struct piece *piece, const struct id *id)
{
	for (unsigned int i = 0; i < piece->place.count; i++) {
		if (id_equal(&piece->place.holders[i].node->id, id))
			piece->place.holders[i].node->slow_until_ms = client->now_ms + DOUBT_MS;
	}
}

static bool hop_is_slow(const struct client *client, const struct node *node)
{
	return client->now_ms < node->slow_until_ms;
}

static bool has_receipt(const struct piece *piece, const struct node *node)
{
	for (unsigned int i = 0; i < piece->receipt_count; i++) {
		if (id_equal(&piece->receipts[i].holder, &node->id))
			return true;
	}
	return false;
}

/* The first of a chain that has not said that it has the chunk is whom the others wait for. */
static void chain_slow(const struct client *client, const struct piece *piece)
{
	for (unsigned int i = 0; i < piece->place.count; i++) {
		struct node *node = piece->place.holders[i].node;

		if (has_receipt(piece, node))
			continue;
		hop_slow(client, node);
		return;
	}
}

/* One that need not be waited for, since enough others are quick; NULL: none. A put that begins
 * again may have done without too many. */
static const struct node *hop_to_spare(const struct client *client, const struct piece *piece)
{
	const struct chunk_place *place = &piece->place;
	const struct node *slow = NULL;
	unsigned int quick = 0;

	for (unsigned int i = 0; i < place->count; i++) {
		if (hop_is_slow(client, place->holders[i].node))
			slow = place->holders[i].node;
		else
			quick++;
	}
	return quick >= piece->enough && piece->op->put.restarts == 0 ? slow : NULL;
}

/* ---- sending ---- */

static void hops_fill(const struct piece *piece, struct hop *hops,
		      struct endpoint (*endpoints)[ENDPOINTS_MAX])
{
	const struct chunk_place *place = &piece->place;

	for (unsigned int i = 1; i < place->count; i++) {
		const struct node *before = place->holders[i - 1].node;
		const struct node *node = place->holders[i].node;
		bool same =
			!id_is_none(&node->machine) && id_equal(&before->machine, &node->machine);

		hops[i - 1] = (struct hop){
			.ticket = place->holders[i].ticket,
			.endpoints = endpoints[i - 1],
			.endpoints_count = (uint16_t)endpoints_for_peer(
				node->endpoints, node->endpoint_count, same, endpoints[i - 1]),
		};
	}
}

static void piece_send(struct client *client, struct piece *piece, struct data_link *link)
{
	struct endpoint endpoints[COPIES_MAX][ENDPOINTS_MAX];
	struct hop hops[COPIES_MAX];
	struct write_request write = {
		.length = piece->length,
		.ticket = piece->place.holders[0].ticket,
		.hops = hops,
		.hops_count = (uint16_t)(piece->place.count - 1),
	};
	struct client_action *action;

	piece->token = pending_add(client, PENDING_PIECE, piece);
	hops_fill(piece, hops, endpoints);
	if (piece->token == 0 ||
	    request_encode(send_begin(client), MSG_write, piece->token, &write) < 0) {
		op_finish(client, piece->op, -ERR_NO_MEMORY, NULL);
		return;
	}
	send_end(client, link->connection);
	piece->link = link;
	piece->state = PIECE_SENDING;
	piece->sent = piece->final = false;
	piece->status = 0;
	piece->dead = (struct id){ 0 };
	piece->moved_ms = client->now_ms;
	action = act(client, CLIENT_PAYLOAD);
	action->connection = link->connection;
	action->op = piece->op;
	action->user = piece->op->user;
	action->token = piece->token;
	action->offset = piece->index * put_of(piece)->chunk_size;
	action->size = piece->length;
}

static void piece_try(struct client *client, struct piece *piece)
{
	uint8_t lane = piece->length > SMALL_CHUNK_MAX ? LANE_LARGE : LANE_SMALL;
	struct data_link *link;

	piece->state = PIECE_LINK;
	piece->link = NULL;
	link = link_use(client, piece->place.holders[0].node, lane, &piece->waiter);
	if (link)
		piece_send(client, piece, link);
}

/* Nobody is left to ask. What is durable counts; whether it is enough, the name server says. */
static void piece_settle(struct client *client, struct piece *piece)
{
	if (piece->receipt_count == 0) {
		op_finish(client, piece->op, put_reason(piece->op, -ERR_UNREACHABLE), NULL);
		return;
	}
	piece->state = PIECE_DONE;
	put_piece_done(client, piece);
}

/* Who failed a moment ago, or is slow, goes to the end of the chain: nobody waits behind it. */
static void hops_order(const struct client *client, struct chunk_place *place)
{
	for (unsigned int i = 0; i + 1 < place->count; i++) {
		struct holder_at first = place->holders[0];

		if (!node_is_doubtful(client, first.node) && !hop_is_slow(client, first.node))
			return;
		memmove(&place->holders[0], &place->holders[1],
			(place->count - 1) * sizeof(place->holders[0]));
		place->holders[place->count - 1] = first;
	}
}

void piece_link_ready(struct client *client, struct piece *piece)
{
	piece_try(client, piece);
}

/* ---- another server for a dead one ---- */

static void piece_again(struct client *client, struct piece *piece)
{
	if (piece->place.count > 0)
		piece_try(client, piece);
	else
		piece_settle(client, piece);
}

static void replace_answered(struct client *client, void *owner, int error, const void *body)
{
	const struct put_replace_reply *reply = body;
	struct piece *piece = owner;
	struct client_op *op = piece->op;
	struct chunk_place place;

	if (error == -ERR_EXPIRED || error == -ERR_NOT_FOUND) {
		put_retry(client, op, -ERR_EXPIRED);
		return;
	}
	if (error == 0 &&
	    place_take(client, &place, &reply->place, reply->nodes, reply->nodes_count) &&
	    place.chunk == piece->place.chunk && place.count > 0 &&
	    piece->place.count < COPIES_MAX && !hop_is_in(piece, &place.holders[0].node->id)) {
		memmove(&piece->place.holders[1], &piece->place.holders[0],
			piece->place.count * sizeof(place.holders[0]));
		piece->place.holders[0] = place.holders[0];
		piece->place.count++;
	}
	piece_again(client, piece);
}

static void piece_replace(struct client *client, struct piece *piece, const struct id *dead)
{
	struct node_count have[COPIES_MAX];
	struct put_replace_request replace = {
		.put = put_of(piece)->bulk ? 0 : put_of(piece)->put,
		.chunk = piece->place.chunk,
		.dead = *dead,
		.have = have,
		.have_count = (uint16_t)piece->receipt_count,
	};

	piece->op->culprit = *dead;
	piece->busy_ms = 0;
	hop_remove(piece, dead);
	piece->link = NULL;
	if (++piece->replaced >= PIECE_HOPELESS && piece->receipt_count == 0) {
		op_finish(client, piece->op, put_reason(piece->op, -ERR_UNREACHABLE), NULL);
		return;
	}
	if (piece->replaced > COPIES_MAX) {
		piece_again(client, piece);
		return;
	}
	for (unsigned int i = 0; i < piece->receipt_count; i++)
		have[i] = (struct node_count){ .node = piece->receipts[i].holder };
	piece->state = PIECE_REPLACING;
	if (control_ask(client,
			&(struct asking){ MSG_put_replace, &replace, replace_answered, piece },
			false) < 0)
		piece_again(client, piece);
}

void piece_start(struct client *client, struct piece *piece)
{
	const struct node *slow;

	hops_order(client, &piece->place);
	piece->waiter.kind = WAITER_PIECE;
	piece->waiter.queued = false;
	piece->read = false;
	piece->token = 0;
	piece->receipt_count = 0;
	piece->replaced = 0;
	piece->busy_ms = 0;
	piece->moved_ms = client->now_ms;
	piece->enough = piece->place.count < 2 ? piece->place.count : 2;
	slow = hop_to_spare(client, piece);
	if (piece->place.count == 0) {
		op_finish(client, piece->op, -ERR_NO_NODES, NULL);
	} else if (slow) {
		struct id id = slow->id;

		piece_replace(client, piece, &id);
		piece->replaced = 0; /* nothing was tried yet */
	} else {
		piece_try(client, piece);
	}
}

static void piece_unlink(struct client *client, struct piece *piece)
{
	if (piece->token)
		pending_remove(client, piece->token);
	piece->token = 0;
	if (piece->waiter.queued) {
		uint8_t lane = piece->length > SMALL_CHUNK_MAX ? LANE_LARGE : LANE_SMALL;

		link_unwait(&piece->place.holders[0].node->links[lane], &piece->waiter);
	}
}

void piece_hop_dead(struct client *client, struct piece *piece)
{
	struct id dead;

	if (piece->state == PIECE_FREE || piece->state == PIECE_DONE || piece->place.count == 0)
		return;
	dead = piece->place.holders[0].node->id;
	piece_unlink(client, piece);
	piece_replace(client, piece, &dead);
}

/* ---- receipts ---- */

/* Whether it is a new one, of a server that was asked for it. */
static bool receipt_take(struct piece *piece, const struct receipt *receipt)
{
	if (receipt->chunk != piece->place.chunk || receipt->length != piece->length ||
	    piece->receipt_count == COPIES_MAX || !hop_is_in(piece, &receipt->holder))
		return false;
	for (unsigned int i = 0; i < piece->receipt_count; i++) {
		if (id_equal(&piece->receipts[i].holder, &receipt->holder))
			return false;
	}
	piece->receipts[piece->receipt_count++] = *receipt;
	return true;
}

static void receipts_strike(struct piece *piece)
{
	for (unsigned int i = 0; i < piece->receipt_count; i++)
		hop_remove(piece, &piece->receipts[i].holder);
}

static bool is_ticket_void(int status)
{
	return status == -ERR_EXPIRED || status == -ERR_DENIED || status == -ERR_WRONG_NODE;
}

/* Not counted in tries: over a slow wire each takes its time. */
static bool is_worth_waiting(const struct client *client, struct piece *piece)
{
	if (piece->status != -ERR_BUSY || piece->place.count == 0)
		return false;
	if (piece->busy_ms == 0)
		piece->busy_ms = client->now_ms;
	return client->now_ms - piece->busy_ms < patience_ms(client, PIECE_PATIENT_MS);
}

/* The try is over: the payload has left and the last reply is there. */
static void piece_conclude(struct client *client, struct piece *piece)
{
	struct id first = piece->place.holders[0].node->id;

	piece_unlink(client, piece);
	receipts_strike(piece);
	if (piece->status == -ERR_NO_SPACE)
		put_of(piece)->full = true;
	if (is_worth_waiting(client, piece)) {
		piece->state = PIECE_BUSY;
		piece->link = NULL;
		piece->moved_ms = client->now_ms;
		return;
	}
	piece->busy_ms = 0;
	if (is_ticket_void(piece->status) && put_can_begin_again(put_of(piece))) {
		piece->op->culprit = first;
		put_retry(client, piece->op, piece->status);
	} else if (piece->place.count == 0) {
		piece_settle(client, piece);
	} else if (piece->status) {
		piece_replace(client, piece, &first);
	} else if (hop_is_in(piece, &piece->dead)) {
		hop_down(client, piece, &piece->dead);
		piece_replace(client, piece, &piece->dead);
	} else if (piece->receipt_count >= piece->enough) {
		chain_slow(client, piece);
		piece_settle(client, piece); /* slow ones will tell the name server themselves */
	} else {
		struct id slow = piece->place.holders[0].node->id;

		chain_slow(client, piece);
		piece_replace(client, piece, &slow);
	}
}

void piece_reply(struct client *client, struct piece *piece, const struct message *message)
{
	const struct write_reply *reply = message->body;
	bool news = message->status || !(message->flags & FRAME_MORE);

	if (piece->final)
		return;
	piece->final = news;
	if (message->status) {
		piece->status = -(int)message->status;
	} else {
		for (unsigned int i = 0; i < reply->receipts_count; i++)
			news |= receipt_take(piece, &reply->receipts[i]);
		if (piece->final)
			piece->dead = reply->dead;
		if (piece->final && reply->reason == ERR_NO_SPACE)
			put_of(piece)->full = true;
	}
	/* Who only says that more will follow says nothing. */
	if (news)
		piece->moved_ms = piece->op->progress_ms = client->now_ms;
	if (piece->final && piece->sent)
		piece_conclude(client, piece);
}

void piece_sent(struct client *client, struct piece *piece)
{
	struct client_op *op = piece->op;

	piece->sent = piece->read = true;
	piece->state = PIECE_WAITING;
	piece->moved_ms = client->now_ms;
	if (piece->replaced == 0)
		op->progress_ms = client->now_ms;
	if (piece->final)
		piece_conclude(client, piece);
	else
		put_go_on(client, op);
}

/* ---- time, and giving up ---- */

void piece_drop(struct client *client, struct piece *piece)
{
	if (piece->state == PIECE_FREE)
		return;
	if (piece->state == PIECE_SENDING && piece->link) {
		struct client_action *action = act(client, CLIENT_ABORT);

		action->connection = piece->link->connection;
		action->token = piece->token;
	}
	if (piece->state == PIECE_REPLACING)
		control_forget(client, piece);
	else if (piece->state != PIECE_DONE)
		piece_unlink(client, piece);
	piece->state = PIECE_FREE;
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* A put that begins again waits for longer: all servers may be slow, on one busy disk. */
static bool is_silent(const struct client *client, const struct piece *piece)
{
	uint64_t limit_ms = piece->replaced ? PIECE_AGAIN_MS : PIECE_SILENT_MS;

	return client->now_ms - later(piece->moved_ms, piece->link->moved_ms) >=
	       patience_ms(client, limit_ms << piece->op->put.restarts);
}

static void piece_give_up(struct client *client, struct piece *piece)
{
	put_of(piece)->hasty = true;
	chain_slow(client, piece);
	piece->link->doomed = true;
}

static void waiting_tick(struct client *client, struct piece *piece)
{
	uint64_t silent_ms = client->now_ms - piece->moved_ms;

	if (silent_ms >= patience_ms(client, SLOW_HOP_MS) &&
	    piece->receipt_count >= piece->enough) {
		chain_slow(client, piece);
		piece_unlink(client, piece);
		piece_settle(client, piece);
	} else if (silent_ms >= stuck_ms(client) || is_silent(client, piece)) {
		piece_give_up(client, piece);
	}
}

void piece_tick(struct client *client, struct piece *piece)
{
	uint64_t now_ms = client->now_ms;

	switch (piece->state) {
	case PIECE_LINK:
		if (now_ms - piece->waiter.since_ms < patience_ms(client, LINK_PATIENCE_MS))
			break;
		hop_slow(client, piece->place.holders[0].node);
		piece_hop_dead(client, piece);
		break;
	case PIECE_SENDING:
		if (is_silent(client, piece))
			piece_give_up(client, piece);
		break;
	case PIECE_WAITING: waiting_tick(client, piece); break;
	case PIECE_BUSY:
		if (now_ms - piece->moved_ms >= PIECE_BUSY_MS)
			piece_try(client, piece);
		break;
	default: break;
	}
}

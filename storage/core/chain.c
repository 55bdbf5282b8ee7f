/* The servers behind us in a chain: connections to them, what goes out, what comes back. */
#include "storage_inside.h"

/* ---- connections to a hop ---- */

static struct peer *peer_get(struct storage *s, const struct id *node)
{
	struct peer *peer;

	HASH_FIND(hh, s->peers, node, sizeof(*node), peer);
	if (peer)
		return peer;
	peer = calloc(1, sizeof(*peer));
	if (!peer) {
		s->error = -ERR_NO_MEMORY;
		return NULL;
	}
	peer->node = *node;
	LIST_INIT(&peer->conns);
	HASH_ADD(hh, s->peers, node, sizeof(peer->node), peer);
	return peer;
}

/* Short transfers share one connection; a long one has its own for as long as it is sent. */
static struct conn *peer_conn(struct peer *peer, uint8_t lane)
{
	struct conn *conn;

	LIST_FOREACH(conn, &peer->conns, of_peer) {
		if (conn->lane == lane && (lane == LANE_SMALL || !conn->busy))
			return conn;
	}
	return NULL;
}

static bool is_peer_slow(const struct peer *peer)
{
	const struct conn *conn;

	LIST_FOREACH(conn, &peer->conns, of_peer) {
		if (conn->slow)
			return true;
	}
	return false;
}

static struct conn *peer_dial(struct storage *s, struct peer *peer,
			      const struct endpoint *endpoints, unsigned int count, uint8_t lane)
{
	struct conn *conn;

	if (peer->count >= HOP_CONNECTIONS_MAX || count == 0)
		return NULL;
	conn = storage_conn_dial(s, USE_HOP, endpoints, count);
	if (!conn)
		return NULL;
	conn->peer = peer->node;
	conn->lane = lane;
	conn->hop = peer;
	peer->count++;
	LIST_INSERT_HEAD(&peer->conns, conn, of_peer);
	return conn;
}

static struct conn *hop_connection(struct storage *s, const struct hop *hop, uint8_t lane)
{
	struct peer *peer = peer_get(s, &hop->ticket.holder);
	struct conn *conn;

	if (!peer || s->now_ms < peer->down_until_ms || is_peer_slow(peer))
		return NULL;
	conn = peer_conn(peer, lane);
	return conn ? conn : peer_dial(s, peer, hop->endpoints, hop->endpoints_count, lane);
}

struct conn *storage_peer_connection(struct storage *s, const struct id *node,
				     const struct endpoint *endpoints, unsigned int count)
{
	struct peer *peer = peer_get(s, node);
	struct conn *conn;

	if (!peer || s->now_ms < peer->down_until_ms)
		return NULL;
	LIST_FOREACH(conn, &peer->conns, of_peer) {
		if (conn->lane == LANE_LARGE && conn->state == CONN_READY && !conn->busy &&
		    LIST_EMPTY(&conn->fed) && LIST_EMPTY(&conn->asked))
			return conn;
	}
	return peer_dial(s, peer, endpoints, count, LANE_LARGE);
}

void storage_chain_unlink(struct transfer *transfer)
{
	if (transfer->to)
		LIST_REMOVE(transfer, in_fed);
	transfer->to = NULL;
}

/* The hop has said its last about the transfer, or never will. */
static void hop_over(struct transfer *transfer, bool broken)
{
	transfer->hop_pending = transfer->hop_waited = false;
	transfer->hop_broken |= broken;
	storage_chain_unlink(transfer);
}

void storage_chain_conn_gone(struct storage *s, struct conn *conn, int error)
{
	struct transfer *transfer, *next;
	struct storage_action *action;
	bool given_up = error == -ERR_CANCELLED; /* by us: that says nothing about the server */

	LIST_REMOVE(conn, of_peer);
	conn->hop->count--;
	if (conn->state != CONN_READY && !given_up)
		conn->hop->down_until_ms = s->now_ms + HOP_PAUSE_MS;
	if ((conn->state != CONN_READY && !given_up && !conn->quiet) || !LIST_EMPTY(&conn->fed)) {
		action = storage_note(s, NOTE_HOP_DOWN);
		action->who = conn->hop->node;
		action->error = error;
	}
	LIST_FOREACH_SAFE(transfer, &conn->fed, in_fed, next) {
		hop_over(transfer, true);
		storage_transfer_settle(s, transfer, NULL, 0);
	}
}

void storage_chain_drop_closing(struct storage *s)
{
	struct conn *conn, *next;

	HASH_ITER(hh, s->conns, conn, next) {
		if (conn->use == USE_HOP && conn->closing)
			storage_conn_drop(s, conn, -ERR_TIMEOUT, true);
	}
}

void storage_peers_free(struct storage *s)
{
	struct peer *peer, *next;

	HASH_ITER(hh, s->peers, peer, next) {
		HASH_DEL(s->peers, peer);
		free(peer);
	}
}

/* ---- onwards ---- */

/* Bytes for the hop; they wait until it has been greeted. */
static void pass_on(struct storage *s, struct transfer *transfer, const void *data, size_t size)
{
	struct conn *conn = transfer->to;

	if (conn->state == CONN_READY)
		storage_send_bytes(s, conn, data, size);
	else if (buffer_append(&conn->backlog, data, size) < 0)
		conn->closing = true;
}

/* A long transfer starts when the hop is ready and bytes have begun to come, or are all here. */
static void forward(struct storage *s, struct transfer *transfer)
{
	struct storage_action *action;

	assert(transfer->prefix.size && !transfer->forwarding);
	transfer->forwarding = true;
	transfer->to->busy = true;
	transfer->feeding = transfer->to->handle;
	action = storage_act(s, ACT_FORWARD);
	action->transfer = transfer->number;
	action->connection = transfer->to->handle;
	action->id = transfer->number;
	action->chunk = transfer->meta.chunk;
	action->length = transfer->meta.length;
	action->write = transfer->write;
	action->size = transfer->prefix.size;
	if (buffer_append(&s->out->bytes, transfer->prefix.data, transfer->prefix.size) < 0)
		s->error = -ERR_NO_MEMORY;
	buffer_clear(&transfer->prefix);
}

void storage_chain_start(struct storage *s, struct transfer *transfer,
			 const struct write_request *request)
{
	const struct hop *hop = request->hops;
	struct write_request onward = { .length = request->length, .file = request->file };

	transfer->hop_count = request->hops_count;
	if (request->hops_count == 0)
		return;
	for (unsigned int i = 0; i < request->hops_count; i++)
		transfer->hops[i] = hop[i].ticket.holder;
	onward.ticket = hop->ticket;
	onward.hops = hop + 1;
	onward.hops_count = (uint16_t)(request->hops_count - 1);
	if (request_encode(&transfer->prefix, MSG_write, transfer->number, &onward) == 0)
		transfer->to = hop_connection(s, hop, transfer->large ? LANE_LARGE : LANE_SMALL);
	if (!transfer->to) {
		transfer->hop_broken = true;
		return;
	}
	LIST_INSERT_HEAD(&transfer->to->fed, transfer, in_fed);
	transfer->hop_pending = transfer->hop_waited = true;
	if (!transfer->large)
		return;
	if (transfer->to->state == CONN_READY)
		forward(s, transfer);
	else
		transfer->to->busy = true;
}

void storage_chain_data(struct storage *s, struct transfer *transfer,
			const struct frame_header *header, const uint8_t *body)
{
	struct frame_header onward = *header;
	uint8_t bytes[FRAME_HEADER_SIZE];

	if (!transfer->to || transfer->large)
		return;
	if (transfer->prefix.size)
		pass_on(s, transfer, transfer->prefix.data, transfer->prefix.size);
	buffer_clear(&transfer->prefix);
	onward.id = transfer->number;
	frame_header_encode(&onward, bytes);
	pass_on(s, transfer, bytes, sizeof(bytes));
	pass_on(s, transfer, body, header->body_size);
}

void storage_chain_abort(struct storage *s, struct transfer *transfer)
{
	struct data_head head = { .id = transfer->number,
				  .flags = FRAME_ABORT,
				  .offset = transfer->received };
	uint8_t bytes[FRAME_HEADER_SIZE + DATA_CRCS_SIZE_MAX];

	if (!transfer->to)
		return;
	/* The glue that forwards, or has, knows by itself, and the hop answers. */
	if (transfer->forwarding || (transfer->large && !transfer->prefix.size))
		return;
	if (transfer->prefix.size) {
		/* It has heard nothing of it. */
		if (transfer->large)
			transfer->to->busy = false;
		buffer_clear(&transfer->prefix);
		hop_over(transfer, false);
	} else {
		pass_on(s, transfer, bytes, data_head_encode(&head, NULL, bytes));
	}
}

void storage_chain_conn_ready(struct storage *s, struct conn *conn)
{
	struct transfer *transfer;

	if (conn->backlog.size)
		storage_send_bytes(s, conn, conn->backlog.data, conn->backlog.size);
	buffer_done(&conn->backlog);
	if (conn->lane == LANE_SMALL)
		return;
	LIST_FOREACH(transfer, &conn->fed, in_fed) {
		if (transfer->prefix.size)
			forward(s, transfer);
	}
}

/* ---- back ---- */

static struct transfer *fed_transfer(struct storage *s, const struct conn *conn, uint32_t number)
{
	struct transfer *transfer = storage_transfer_find(s, number);

	return transfer && transfer->to == conn ? transfer : NULL;
}

void storage_chain_reply(struct storage *s, struct conn *conn, const struct incoming *in)
{
	const struct write_reply *reply = in->message.body;
	struct transfer *transfer = fed_transfer(s, conn, in->header->id);
	const struct receipt *receipts = NULL;
	unsigned int count = 0;

	if (!transfer)
		return;
	transfer->moved_ms = s->now_ms;
	if (in->header->status == 0) {
		receipts = reply->receipts;
		count = reply->receipts_count;
		storage_transfer_see(transfer, receipts, count);
	}
	if (in->header->status || reply->reason)
		transfer->hop_reason =
			in->header->status ? in->header->status : (uint8_t)reply->reason;
	if (!(in->header->flags & FRAME_MORE)) {
		/* Names of the dead come from those who tried to reach them. */
		if (in->header->status == 0 && !id_is_none(&reply->dead))
			transfer->hop_broken = true;
		hop_over(transfer, false);
	}
	storage_transfer_settle(s, transfer, receipts, count);
}

void storage_on_progress(struct storage *s, const struct storage_event *event)
{
	struct transfer *transfer = storage_transfer_find(s, event->transfer);

	if (transfer)
		transfer->moved_ms = s->now_ms;
}

/* After an error STORAGE_CLOSED follows for the hop's connection, and ends the wait. */
void storage_on_forwarded(struct storage *s, const struct storage_event *event)
{
	struct transfer *transfer = storage_transfer_find(s, event->transfer);
	struct conn *conn;

	if (!transfer)
		return;
	transfer->forwarding = false;
	transfer->moved_ms = s->now_ms;
	conn = storage_conn_find(s, transfer->feeding);
	if (conn)
		conn->busy = false;
	storage_transfer_settle(s, transfer, NULL, 0);
}

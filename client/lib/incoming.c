/* What comes in on a connection. Control frames go to the core whole; the blocks of DATA frames are
 * checked and delivered as they arrive, in the order of the file. */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "error.h"

enum {
	RECEIVE_MOST = 8 * 1024 * 1024, /* then others have their turn */
};

/* ---- transfers ---- */

void channel_expect(struct muster *session, struct channel *channel,
		    const struct client_action *action)
{
	struct transfer *transfer = TAILQ_FIRST(&session->spare_transfers);

	if (transfer)
		TAILQ_REMOVE(&session->spare_transfers, transfer, entry);
	else
		transfer = calloc(1, sizeof(*transfer));
	if (!transfer) {
		channel_lost(session, channel, -ERR_NO_MEMORY);
		return;
	}
	transfer->token = action->token;
	transfer->op = action->user;
	transfer->chunk_at = action->start;
	transfer->at = action->offset;
	transfer->left = action->size;
	transfer->from = action->from;
	transfer->to = action->to;
	TAILQ_INSERT_TAIL(&channel->transfers, transfer, entry);
}

void transfer_free(struct muster *session, struct channel *channel, struct transfer *transfer)
{
	TAILQ_REMOVE(&channel->transfers, transfer, entry);
	TAILQ_INSERT_HEAD(&session->spare_transfers, transfer, entry);
}

static struct transfer *transfer_find(struct channel *channel, uint32_t token)
{
	struct transfer *transfer;

	TAILQ_FOREACH(transfer, &channel->transfers, entry) {
		if (transfer->token == token)
			return transfer;
	}
	return NULL;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Its next byte for the sink is not the sink's next byte yet. */
static bool is_ahead(const struct transfer *transfer)
{
	const struct sink *sink = &transfer->op->sink;

	return larger(transfer->at, transfer->from) > sink->base + sink->at;
}

/* ---- delivering ---- */

static size_t good_prefix(const uint8_t *data, size_t size, const uint8_t *crcs)
{
	size_t good = 0;

	while (good < size) {
		size_t block = size - good < BLOCK_SIZE ? size - good : BLOCK_SIZE;

		if (!crc32c_blocks_match(data + good, block, crcs + good / BLOCK_SIZE * 4))
			break;
		good += block;
	}
	return good;
}

/* Returns whether that was all of it. */
static bool transfer_advance(struct transfer *transfer, size_t size)
{
	transfer->chunk_at += size;
	transfer->at += size;
	transfer->left -= size;
	return transfer->left == 0;
}

static void transfer_end(struct muster *session, struct channel *channel)
{
	transfer_free(session, channel, channel->incoming.transfer);
	channel->incoming.transfer = NULL;
}

/* Verified bytes of the transfer; those that were asked for go to the sink. */
static int deliver(struct transfer *transfer, const uint8_t *data, size_t size, uint64_t *ret)
{
	struct muster_op *op = transfer->op;
	uint64_t from = larger(transfer->at, transfer->from);
	uint64_t to = smaller(transfer->at + size, transfer->to);
	const uint8_t *bytes = data + (from - transfer->at);
	int rc;

	*ret = 0;
	if (to <= from)
		return 0;
	if (op->whole)
		op_hash(op, from, bytes, (size_t)(to - from));
	rc = sink_write(op->session, &op->sink, bytes, (size_t)(to - from));
	if (rc == 0)
		*ret = to - from;
	return rc;
}

/* The transfer has moved by `size` bytes of the present DATA frame: what the core learns of it. */
static void received(struct muster *session, struct channel *channel, const uint8_t *data,
		     size_t size)
{
	struct incoming *incoming = &channel->incoming;
	struct transfer *transfer = incoming->transfer;
	struct muster_op *op = transfer->op;
	size_t good = good_prefix(data, size, incoming->crcs + incoming->done / BLOCK_SIZE * 4);
	struct client_event event = {
		.kind = CLIENT_RECEIVED,
		.op = op->core,
		.token = transfer->token,
		.error = good < size ? -ERR_CORRUPT : 0,
	};
	int rc = deliver(transfer, data, good, &event.size);
	bool ends = transfer_advance(transfer, size);

	if (rc < 0) {
		event.error = rc;
		event.local = true;
	}
	event.last = ends && event.error == 0;
	if (event.last && op->whole)
		event.digest = op_digest(op);
	if (event.error < 0)
		transfer->op = NULL;
	if (ends)
		transfer_end(session, channel);
	op_progress(op, op->sink.at, false);
	engine_step(session, &event);
	if (event.last || event.error < 0)
		channels_resume(session, op);
}

/* ---- frames ---- */

static void data_refused(struct muster *session, struct channel *channel)
{
	struct transfer *transfer = channel->incoming.transfer;
	struct client_event event = { .kind = CLIENT_RECEIVED, .error = -ERR_UNAVAILABLE };

	channel->incoming.active = false;
	if (!transfer)
		return;
	if (transfer->op) {
		event.op = transfer->op->core;
		event.token = transfer->token;
	}
	transfer_free(session, channel, transfer);
	if (event.op)
		engine_step(session, &event);
}

/* Whether its bytes follow the last ones, and end where they should. What nobody wants any more was
 * asked for all the same; what nobody ever asked for is no answer. */
static int data_check(const struct incoming *incoming)
{
	const struct transfer *transfer = incoming->transfer;
	bool last = incoming->head.flags & FRAME_LAST;

	if (!transfer)
		return -ERR_BAD_REQUEST;
	if (incoming->head.offset != transfer->chunk_at || incoming->head.length > transfer->left ||
	    last != (incoming->head.length == transfer->left))
		return -ERR_BAD_REQUEST;
	return 0;
}

/* Returns the bytes dealt with; 0: more are needed; or an error: no frames. */
static int64_t data_begin(struct muster *session, struct channel *channel,
			  const struct frame_header *header, const uint8_t *data, size_t size)
{
	struct incoming *incoming = &channel->incoming;
	size_t crcs_size;
	int rc = data_head_decode(header, &incoming->head, &crcs_size);

	if (rc < 0)
		return rc;
	if (size < FRAME_HEADER_SIZE + crcs_size)
		return 0;
	memcpy(incoming->crcs, data + FRAME_HEADER_SIZE, crcs_size);
	incoming->active = true;
	incoming->done = 0;
	incoming->transfer = transfer_find(channel, header->id);
	if (incoming->head.flags & FRAME_ABORT)
		data_refused(session, channel);
	else if (data_check(incoming) < 0)
		return -ERR_BAD_REQUEST;
	return (int64_t)(FRAME_HEADER_SIZE + crcs_size);
}

static int64_t data_go_on(struct muster *session, struct channel *channel, const uint8_t *data,
			  size_t size)
{
	struct incoming *incoming = &channel->incoming;
	size_t left = incoming->head.length - incoming->done;
	size_t usable = size < left ? size / BLOCK_SIZE * BLOCK_SIZE : left;
	bool ends = usable == left;

	if (usable == 0)
		return 0;
	if (incoming->transfer->op) {
		if (is_ahead(incoming->transfer)) {
			channel->paused_for = incoming->transfer->op;
			channel_interest(session, channel);
			return 0;
		}
		received(session, channel, data, usable);
	} else if (transfer_advance(incoming->transfer, usable)) {
		transfer_end(session, channel);
	}
	incoming->done += (uint32_t)usable;
	if (ends)
		incoming->active = false;
	return (int64_t)usable;
}

/* A READ that was refused will bring no data. */
static void forget_refused(struct muster *session, struct channel *channel,
			   const struct frame_header *header)
{
	struct transfer *transfer;

	if (header->type != MSG_read || !header->reply || header->status == 0)
		return;
	transfer = transfer_find(channel, header->id);
	if (transfer)
		transfer_free(session, channel, transfer);
}

static int64_t frame_take(struct muster *session, struct channel *channel, const uint8_t *data,
			  size_t size)
{
	struct frame_header header;
	size_t frame_size;
	int rc;

	if (size < FRAME_HEADER_SIZE)
		return 0;
	rc = frame_next(data, size, &header, &frame_size);
	if (rc >= 0 && header.type == MSG_data)
		return data_begin(session, channel, &header, data, size);
	if (rc <= 0)
		return rc;
	forget_refused(session, channel, &header);
	engine_step(session, &(struct client_event){ .kind = CLIENT_FRAME,
						     .connection = channel->handle,
						     .header = &header,
						     .body = data + FRAME_HEADER_SIZE });
	return (int64_t)frame_size;
}

/* Deals with as much as it can; returns how much that was. */
static size_t parse(struct muster *session, struct channel *channel, const uint8_t *data,
		    size_t size)
{
	size_t done = 0;

	while (!channel->closed && !channel->paused_for && done < size) {
		int64_t taken = channel->incoming.active
					? data_go_on(session, channel, data + done, size - done)
					: frame_take(session, channel, data + done, size - done);

		if (taken < 0) {
			channel_lost(session, channel, (int)taken);
			engine_act(session);
		}
		if (taken <= 0)
			break;
		done += (size_t)taken;
	}
	return done;
}

/* ---- receiving ---- */

/* So much that the input ends with a block or a frame, where that can be foreseen. */
static size_t receive_size(const struct channel *channel)
{
	const struct incoming *incoming = &channel->incoming;
	size_t left;

	if (!incoming->active)
		return INPUT_SIZE;
	left = incoming->head.length - incoming->done;
	if (channel->rest.size >= left)
		return INPUT_SIZE;
	left -= channel->rest.size;
	if (left + FRAME_HEADER_SIZE + DATA_CRCS_SIZE_MAX <= INPUT_SIZE)
		return left + FRAME_HEADER_SIZE + DATA_CRCS_SIZE_MAX;
	return INPUT_SIZE - channel->rest.size % BLOCK_SIZE;
}

static void rest_keep(struct muster *session, struct channel *channel, const uint8_t *data,
		      size_t size)
{
	buffer_clear(&channel->rest);
	if (size > 0 && !channel->closed && buffer_append(&channel->rest, data, size) < 0)
		channel_lost(session, channel, -ERR_NO_MEMORY);
}

/* One recv; false when there is nothing more to be had. */
static bool receive_once(struct muster *session, struct channel *channel, size_t *total)
{
	size_t rest = channel->rest.size;
	size_t want = receive_size(channel);
	ssize_t got;
	size_t done;

	memcpy(session->input, channel->rest.data ? channel->rest.data : session->input, rest);
	got = recv(channel->socket, session->input + rest, want, 0);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (got <= 0) {
		channel_lost(session, channel, -ERR_CONNECTION);
		engine_act(session);
		return false;
	}
	*total += (size_t)got;
	if (channel->incoming.active)
		engine_step(session, &(struct client_event){ .kind = CLIENT_MOVED,
							     .connection = channel->handle });
	if (channel->closed)
		return false;
	done = parse(session, channel, session->input, rest + (size_t)got);
	rest_keep(session, channel, session->input + done, rest + (size_t)got - done);
	return (size_t)got == want && !channel->closed && !channel->paused_for;
}

void channel_receive(struct muster *session, struct channel *channel)
{
	size_t total = 0;

	if (channel->reading)
		return;
	channel->reading = true;
	if (channel->rest.size > 0 && !channel->paused_for) {
		size_t rest = channel->rest.size;

		/* What had to wait is here already. */
		memcpy(session->input, channel->rest.data, rest);
		total = parse(session, channel, session->input, rest);
		rest_keep(session, channel, session->input + total, rest - total);
	}
	while (!channel->closed && !channel->paused_for && total < RECEIVE_MOST) {
		if (!receive_once(session, channel, &total))
			break;
	}
	channel->reading = false;
}

/* Its bytes are dealt with in the next turn. */
void channel_resume(struct muster *session, struct channel *channel)
{
	channel->paused_for = NULL;
	if (channel->closed)
		return;
	channel->resumed = true;
	session->resumed = true;
	channel_interest(session, channel);
}

void channels_resume(struct muster *session, const struct muster_op *op)
{
	struct channel *channel, *next;

	HASH_ITER(hh, session->channels, channel, next) {
		if (channel->paused_for == op)
			channel_resume(session, channel);
	}
}

/* Those whose bytes waited here. */
void channels_go_on(struct muster *session)
{
	struct channel *channel, *next;

	while (session->resumed) {
		session->resumed = false;
		for (channel = session->channels; channel; channel = next) {
			next = channel->hh.next;
			if (!channel->resumed)
				continue;
			channel->resumed = false;
			channel_receive(session, channel);
			session->resumed = true;
			break;
		}
	}
}

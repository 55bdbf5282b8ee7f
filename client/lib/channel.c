/* One connection: frames and payloads go out in the order in which they were queued. */
#include "engine.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "error.h"

enum { FLUSH_MOST = 8 * 1024 * 1024 /* then others have their turn */ };

struct channel *channel_new(struct muster *session, uint64_t handle, int socket)
{
	struct channel *channel = calloc(1, sizeof(*channel));
	int on = 1;

	if (!channel)
		return NULL;
	channel->watch.kind = WATCH_CHANNEL;
	channel->handle = handle;
	channel->socket = socket;
	channel->events = EPOLLIN;
	TAILQ_INIT(&channel->outputs);
	TAILQ_INIT(&channel->transfers);
	setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (engine_watch(session, socket, EPOLLIN, &channel->watch) < 0) {
		free(channel);
		return NULL;
	}
	HASH_ADD(hh, session->channels, handle, sizeof(channel->handle), channel);
	if (!channel->hh.tbl) {
		free(channel);
		return NULL;
	}
	return channel;
}

struct channel *channel_find(struct muster *session, uint64_t handle)
{
	struct channel *channel;

	HASH_FIND(hh, session->channels, &handle, sizeof(handle), channel);
	return channel;
}

static void output_free(struct muster *session, struct channel *channel)
{
	struct output *output = TAILQ_FIRST(&channel->outputs);

	TAILQ_REMOVE(&channel->outputs, output, entry);
	buffer_clear(&output->bytes);
	output->has_payload = false;
	output->sent = 0;
	TAILQ_INSERT_HEAD(&session->spare_outputs, output, entry);
}

void channel_free(struct muster *session, struct channel *channel)
{
	struct transfer *transfer;

	while (!TAILQ_EMPTY(&channel->outputs))
		output_free(session, channel);
	while ((transfer = TAILQ_FIRST(&channel->transfers)) != NULL)
		transfer_free(session, channel, transfer);
	free(channel->stage.copy);
	buffer_done(&channel->rest);
	free(channel);
}

void channel_close(struct muster *session, struct channel *channel)
{
	if (channel->closed)
		return;
	channel->closed = true;
	close(channel->socket);
	HASH_DEL(session->channels, channel);
	if (channel->dirty)
		TAILQ_REMOVE(&session->dirty, channel, dirty_entry);
	channel->dirty = false;
	TAILQ_INSERT_TAIL(&session->closed, channel, closed_entry);
}

/* Not by the core's wish: it is told, a little later. */
void channel_lost(struct muster *session, struct channel *channel, int error)
{
	if (channel->closed)
		return;
	channel_close(session, channel);
	engine_later(session, &(struct client_event){ .kind = CLIENT_CLOSED,
						      .connection = channel->handle,
						      .error = error });
}

/* Asks epoll for what matters now. */
void channel_interest(struct muster *session, struct channel *channel)
{
	struct epoll_event event = { .data.ptr = &channel->watch };

	if (channel->connecting)
		event.events = EPOLLOUT;
	else
		event.events = (channel->paused_for ? 0u : (uint32_t)EPOLLIN) |
			       (channel->blocked ? (uint32_t)EPOLLOUT : 0u);
	if (channel->closed || event.events == channel->events)
		return;
	channel->events = event.events;
	epoll_ctl(session->epoll, EPOLL_CTL_MOD, channel->socket, &event);
}

/* ---- queueing ---- */

static void make_dirty(struct muster *session, struct channel *channel)
{
	if (channel->dirty || channel->blocked || channel->connecting || channel->closed)
		return;
	channel->dirty = true;
	TAILQ_INSERT_TAIL(&session->dirty, channel, dirty_entry);
	engine_wake(session);
}

static struct output *output_tail(struct muster *session, struct channel *channel)
{
	struct output *output = TAILQ_LAST(&channel->outputs, output_list);

	if (output && !output->has_payload)
		return output;
	output = TAILQ_FIRST(&session->spare_outputs);
	if (output)
		TAILQ_REMOVE(&session->spare_outputs, output, entry);
	else
		output = calloc(1, sizeof(*output));
	if (output)
		TAILQ_INSERT_TAIL(&channel->outputs, output, entry);
	return output;
}

int channel_send(struct muster *session, struct channel *channel, const void *data, size_t size)
{
	struct output *output = output_tail(session, channel);

	if (!output)
		return -ERR_NO_MEMORY;
	make_dirty(session, channel);
	return buffer_append(&output->bytes, data, size);
}

static void tell_sent(struct muster *session, const struct payload *payload, int error)
{
	struct client_event event = {
		.kind = CLIENT_SENT,
		.op = payload->op->core,
		.token = payload->token,
		.error = error,
	};

	if (error == 0)
		event.digest = op_digest(payload->op);
	engine_later(session, &event);
}

/* Small ones stand among the frames: many leave in one system call. */
static int payload_copy(struct output *output, const struct payload *payload)
{
	struct data_head head = {
		.id = payload->token,
		.flags = FRAME_LAST,
		.length = (uint32_t)payload->size,
	};
	uint8_t *at = buffer_extend(&output->bytes, FRAME_HEADER_SIZE + 4 + payload->size);
	uint8_t crc[4];
	uint8_t *data;
	int rc;

	if (!at)
		return -ERR_NO_MEMORY;
	data = at + FRAME_HEADER_SIZE + 4;
	rc = source_read(payload->op, payload->offset, data, payload->size);
	if (rc < 0) {
		output->bytes.size -= 4 + payload->size;
		head.flags = FRAME_ABORT;
		head.length = 0;
		data_head_encode(&head, crc, at);
		return rc;
	}
	crc32c_blocks(data, payload->size, crc);
	data_head_encode(&head, crc, at);
	op_hash(payload->op, payload->offset, data, payload->size);
	return 0;
}

int channel_payload(struct muster *session, struct channel *channel, const struct payload *payload)
{
	struct output *output = output_tail(session, channel);

	if (!output)
		return -ERR_NO_MEMORY;
	make_dirty(session, channel);
	if (payload->size <= COPY_MAX) {
		tell_sent(session, payload, payload_copy(output, payload));
		return 0;
	}
	output->has_payload = true;
	output->payload = *payload;
	return 0;
}

/* ---- payloads that are too large to be copied ---- */

static void stage_head(struct stage *stage, const struct payload *payload, uint8_t flags)
{
	struct data_head head = {
		.id = payload->token,
		.flags = flags,
		.offset = payload->sent,
		.length = (uint32_t)stage->size,
	};
	uint8_t crcs[DATA_CRCS_SIZE_MAX];

	crc32c_blocks(stage->data, stage->size, crcs);
	stage->head_size = data_head_encode(&head, crcs, stage->head);
	stage->sent = 0;
}

static void stage_abort(struct stage *stage, const struct payload *payload)
{
	stage->data = NULL;
	stage->size = 0;
	stage_head(stage, payload, FRAME_ABORT);
}

static int stage_load(struct stage *stage, const struct payload *payload)
{
	uint64_t at = payload->offset + payload->sent;

	stage->data = source_peek(payload->op, at);
	if (stage->data)
		return 0;
	if (!stage->copy)
		stage->copy = malloc(STAGE_SIZE);
	if (!stage->copy)
		return -ERR_NO_MEMORY;
	stage->data = stage->copy;
	return source_read(payload->op, at, stage->copy, stage->size);
}

/* The next frame of the payload; one that cannot be read ends with ABORT. */
static void stage_next(struct muster *session, struct stage *stage, struct payload *payload)
{
	uint64_t left = payload->size - payload->sent;
	int rc;

	stage->size = left < STAGE_SIZE ? (size_t)left : STAGE_SIZE;
	rc = payload->op ? stage_load(stage, payload) : -ERR_CANCELLED;
	if (rc < 0) {
		if (payload->op)
			tell_sent(session, payload, rc);
		payload->op = NULL;
		stage_abort(stage, payload);
		payload->sent = payload->size;
		return;
	}
	op_hash(payload->op, payload->offset + payload->sent, stage->data, stage->size);
	op_progress(payload->op, payload->op->hashed, false);
	stage_head(stage, payload, left == stage->size ? FRAME_LAST : 0);
	payload->sent += stage->size;
}

static bool stage_is_empty(const struct stage *stage)
{
	return stage->sent == stage->head_size + stage->size;
}

static ssize_t stage_send(struct channel *channel)
{
	struct stage *stage = &channel->stage;
	struct iovec parts[2];
	struct msghdr message = { .msg_iov = parts };
	size_t sent = stage->sent;

	if (sent < stage->head_size) {
		parts[message.msg_iovlen++] =
			(struct iovec){ stage->head + sent, stage->head_size - sent };
		sent = stage->head_size;
	}
	sent -= stage->head_size;
	if (sent < stage->size)
		parts[message.msg_iovlen++] =
			(struct iovec){ (void *)(uintptr_t)(stage->data + sent),
					stage->size - sent };
	return sendmsg(channel->socket, &message, MSG_NOSIGNAL);
}

/* ---- sending ---- */

/* What was sent, 0 when the socket is full, or an error. */
static ssize_t sent_or_error(ssize_t sent)
{
	if (sent >= 0)
		return sent;
	if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)
		return 0;
	return -ERR_CONNECTION;
}

static ssize_t send_bytes(struct channel *channel, struct output *output)
{
	int more = output->has_payload || TAILQ_NEXT(output, entry) ? MSG_MORE : 0;
	ssize_t sent = sent_or_error(send(channel->socket, output->bytes.data + output->sent,
					  output->bytes.size - output->sent, MSG_NOSIGNAL | more));

	if (sent > 0)
		output->sent += (size_t)sent;
	return sent;
}

static ssize_t send_payload(struct muster *session, struct channel *channel, struct output *output)
{
	struct stage *stage = &channel->stage;
	ssize_t sent;

	if (stage_is_empty(stage))
		stage_next(session, stage, &output->payload);
	sent = sent_or_error(stage_send(channel));
	if (sent <= 0)
		return sent;
	stage->sent += (size_t)sent;
	if (stage_is_empty(stage) && output->payload.sent == output->payload.size) {
		output->has_payload = false;
		if (output->payload.op)
			tell_sent(session, &output->payload, 0);
		free(stage->copy);
		*stage = (struct stage){ 0 };
	}
	return sent;
}

static void tell_moved(struct muster *session, const struct channel *channel)
{
	engine_later(session,
		     &(struct client_event){ .kind = CLIENT_MOVED, .connection = channel->handle });
}

/* Returns what went out, in all; *ret_full: the socket takes no more for now. */
static int64_t send_queue(struct muster *session, struct channel *channel, bool *ret_full)
{
	int64_t total = 0;
	struct output *output;

	*ret_full = true;
	while ((output = TAILQ_FIRST(&channel->outputs)) != NULL && total < FLUSH_MOST) {
		ssize_t sent;

		if (output->sent < output->bytes.size)
			sent = send_bytes(channel, output);
		else if (output->has_payload)
			sent = send_payload(session, channel, output);
		else {
			output_free(session, channel);
			continue;
		}
		if (sent <= 0)
			return sent < 0 ? sent : total;
		total += sent;
	}
	*ret_full = output != NULL;
	return total;
}

void channel_flush(struct muster *session, struct channel *channel)
{
	bool has_payload = false;
	bool full;
	struct output *output;
	int64_t sent;

	if (channel->connecting || channel->closed)
		return;
	TAILQ_FOREACH(output, &channel->outputs, entry)
		has_payload |= output->has_payload;
	sent = send_queue(session, channel, &full);
	if (sent < 0) {
		channel_lost(session, channel, (int)sent);
	} else {
		channel->blocked = full;
		if (has_payload && sent > 0)
			tell_moved(session, channel);
		channel_interest(session, channel);
	}
}

static void connect_ended(struct muster *session, struct channel *channel)
{
	int rc = tcp_connected(channel->socket);

	channel->connecting = false;
	if (rc < 0) {
		channel_lost(session, channel, rc);
		engine_act(session);
		return;
	}
	channel_interest(session, channel);
	engine_step(session,
		    &(struct client_event){ .kind = CLIENT_OPENED, .connection = channel->handle });
	if (!TAILQ_EMPTY(&channel->outputs))
		make_dirty(session, channel);
}

void channel_ready(struct muster *session, struct channel *channel, uint32_t events)
{
	if (channel->closed)
		return;
	if (channel->connecting) {
		connect_ended(session, channel);
		return;
	}
	if (events & EPOLLOUT) {
		channel->blocked = false;
		channel_flush(session, channel);
		engine_act(session);
	}
	if (channel->closed)
		return;
	if (channel->paused_for && events & (EPOLLHUP | EPOLLERR)) {
		channel_lost(session, channel, -ERR_CONNECTION);
		engine_act(session);
	} else if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		channel_receive(session, channel);
	}
}

/* ---- giving up ---- */

/* The bytes of the frame under way may belong to the caller, who takes them back. */
static void payload_detach(struct channel *channel, struct output *output)
{
	struct stage *stage = &channel->stage;

	output->payload.op = NULL;
	if (output != TAILQ_FIRST(&channel->outputs) || stage_is_empty(stage) ||
	    stage->data == stage->copy)
		return;
	if (!stage->copy)
		stage->copy = malloc(STAGE_SIZE);
	if (stage->copy && stage->data)
		memcpy(stage->copy, stage->data, stage->size);
	stage->data = stage->copy;
}

/* Behind its last whole frame an ABORT follows; unless all of it is on its way already. */
void channel_abort(struct muster *session, struct channel *channel, uint32_t token)
{
	struct output *output;
	struct transfer *transfer;

	TAILQ_FOREACH(output, &channel->outputs, entry) {
		if (output->has_payload && output->payload.token == token)
			payload_detach(channel, output);
	}
	TAILQ_FOREACH(transfer, &channel->transfers, entry) {
		if (transfer->token != token)
			continue;
		if (channel->paused_for == transfer->op)
			channel_resume(session, channel);
		transfer->op = NULL;
		break;
	}
	if (!channel->stage.data && channel->stage.size > 0)
		channel_lost(session, channel, -ERR_NO_MEMORY);
}

void channels_forget(struct muster *session, const struct muster_op *op)
{
	struct channel *channel, *next;

	HASH_ITER(hh, session->channels, channel, next) {
		struct output *output;
		struct transfer *transfer;

		TAILQ_FOREACH(output, &channel->outputs, entry) {
			if (output->has_payload && output->payload.op == op)
				payload_detach(channel, output);
		}
		TAILQ_FOREACH(transfer, &channel->transfers, entry) {
			if (transfer->op == op)
				transfer->op = NULL;
		}
		if (channel->paused_for == op)
			channel_resume(session, channel);
	}
}

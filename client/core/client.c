/* The frame of the core: events in, actions out, operations in line. */
#include "client_parts.h"

#include <assert.h>
#include <stdlib.h>

/* ---- the outbox ---- */

void client_outbox_clear(struct client_outbox *outbox)
{
	buffer_clear(&outbox->bytes);
	outbox->count = 0;
}

void client_outbox_done(struct client_outbox *outbox)
{
	buffer_done(&outbox->bytes);
	free(outbox->actions);
	*outbox = (struct client_outbox){ 0 };
}

static bool outbox_grow(struct client_outbox *outbox)
{
	size_t capacity = outbox->capacity ? outbox->capacity * 2 : 64;
	struct client_action *actions = realloc(outbox->actions, capacity * sizeof(*actions));

	if (!actions)
		return false;
	outbox->actions = actions;
	outbox->capacity = capacity;
	return true;
}

/* Never NULL: where memory is out, the action goes nowhere and the outbox says that it failed. */
struct client_action *act(struct client *client, enum client_action_kind kind)
{
	struct client_outbox *out = client->out;

	if (out->count == out->capacity && !outbox_grow(out)) {
		out->failed = true;
		out->count = 0;
		if (out->capacity == 0)
			return &out->nowhere;
	}
	out->actions[out->count] = (struct client_action){ .kind = kind };
	return &out->actions[out->count++];
}

struct buffer *send_begin(struct client *client)
{
	return &client->out->bytes;
}

void send_end(struct client *client, uint64_t connection)
{
	struct client_outbox *out = client->out;
	size_t start = 0;

	if (out->bytes.error)
		out->failed = true;
	/* Whatever stands behind the last action's bytes is what was just appended. */
	for (size_t i = out->count; i > 0; i--) {
		struct client_action *last = &out->actions[i - 1];

		if (last->kind != CLIENT_SEND && last->kind != CLIENT_PROBE)
			continue;
		start = last->start + (size_t)last->size;
		if (last->kind == CLIENT_SEND && i == out->count &&
		    last->connection == connection) {
			last->size = out->bytes.size - last->start;
			return;
		}
		break;
	}
	if (out->bytes.size > start) {
		struct client_action *action = act(client, CLIENT_SEND);

		action->connection = connection;
		action->start = start;
		action->size = out->bytes.size - start;
	}
}

/* ---- ids ---- */

uint64_t connection_new(struct client *client)
{
	return client->next_connection += 2;
}

uint32_t pending_add(struct client *client, enum pending_kind kind, void *owner)
{
	struct pending *pending;
	uint32_t slot;

	if (client->free_count == 0)
		return 0;
	slot = client->free_slots[--client->free_count];
	pending = &client->pending[slot];
	pending->id +=
		PENDING_MAX; /* the slot's number in the low bits, its use in the high ones */
	if (pending->id == slot && slot == 0)
		pending->id += PENDING_MAX;
	pending->kind = kind;
	pending->owner = owner;
	return pending->id;
}

struct pending *pending_find(struct client *client, uint32_t id)
{
	struct pending *pending = &client->pending[id & (PENDING_MAX - 1)];

	return pending->kind != PENDING_FREE && pending->id == id ? pending : NULL;
}

void pending_remove(struct client *client, uint32_t id)
{
	struct pending *pending = pending_find(client, id);

	if (!pending)
		return;
	pending->kind = PENDING_FREE;
	client->free_slots[client->free_count++] = id & (PENDING_MAX - 1);
}

/* ---- operations ---- */

bool client_is_ready(const struct client *client)
{
	return client->control != 0 && client->port_settled;
}

static void op_run(struct client *client, struct client_op *op)
{
	TAILQ_REMOVE(&client->waiting, op, entry);
	TAILQ_INSERT_TAIL(&client->running, op, entry);
	op->running = true;
	op->progress_ms = client->now_ms;
	client->running_count++;
	switch (op->kind) {
	case OP_PUT: put_start(client, op); break;
	case OP_GET: get_start(client, op); break;
	case OP_REACH: reach_start(client, op); break;
	case OP_REQUEST: break;
	}
}

static bool op_may_run(const struct client *client, const struct client_op *op)
{
	if (op->kind == OP_PUT && !op->put.how.rewindable && client->stream_running)
		return false;
	if (op->kind == OP_PUT && !put_is_small(op) && client->large_puts >= LARGE_PUTS_MAX)
		return false;
	return client->running_count < CLIENT_OPS_MAX;
}

static void ops_run(struct client *client)
{
	struct client_op *op, *next;

	control_go_on(client);
	if (!client_is_ready(client))
		return;
	for (op = TAILQ_FIRST(&client->waiting); op; op = next) {
		next = TAILQ_NEXT(op, entry);
		if (client->running_count >= CLIENT_OPS_MAX)
			return;
		if (op_may_run(client, op)) {
			op_run(client, op);
			next = TAILQ_FIRST(&client->waiting);
		}
	}
}

static struct client_op *op_new(struct client *client, const struct client_start *start,
				enum op_kind kind)
{
	struct client_op *op;

	/* What is over is looked at until its CLIENT_DONE has been carried out. */
	if (start->outbox->count == 0)
		TAILQ_CONCAT(&client->spare_ops, &client->over_ops, entry);
	op = TAILQ_FIRST(&client->spare_ops);
	if (op)
		TAILQ_REMOVE(&client->spare_ops, op, entry);
	else
		op = calloc(1, sizeof(*op));
	if (!op)
		return NULL;
	client->now_ms = start->now_ms;
	client->out = start->outbox;
	op->kind = kind;
	op->user = start->user;
	op->start_ms = op->progress_ms = start->now_ms;
	op->running = op->over = false;
	op->in_bulk = op->degraded = op->reads = op->in_doubt = false;
	op->culprit = (struct id){ 0 };
	buffer_clear(&op->path);
	return op;
}

static void op_release(struct client *client, struct client_op *op)
{
	if (op->kind == OP_PUT)
		put_drop(client, op);
	else if (op->kind == OP_GET)
		get_drop(client, op);
	else if (op->kind == OP_REACH)
		reach_drop(client, op);
	if (op->running) {
		TAILQ_REMOVE(&client->running, op, entry);
		client->running_count--;
	} else {
		TAILQ_REMOVE(&client->waiting, op, entry);
	}
	control_forget(client, op);
	op->running = false;
	op->over = true;
	TAILQ_INSERT_HEAD(&client->over_ops, op, entry);
}

void op_finish(struct client *client, struct client_op *op, int error, const void *reply)
{
	struct client_action *action;

	op->in_doubt = error < 0 && (client->answer_in_doubt || control_in_doubt(client, op));
	op_release(client, op);
	action = act(client, CLIENT_DONE);
	action->op = op;
	action->user = op->user;
	action->error = error;
	action->reply = reply;
	action->flag = op->degraded;
	client->degraded_answers += op->degraded;
}

/* A change that may have been made must not look like one that was refused. */
void op_give_up(struct client *client, struct client_op *op, int error)
{
	op_finish(client, op, control_in_doubt(client, op) ? -ERR_TIMEOUT : error, NULL);
}

void client_cancel(struct client *client, struct client_op *op, uint64_t now_ms,
		   struct client_outbox *outbox)
{
	client->now_ms = now_ms;
	client->out = outbox;
	if (!op->over)
		op_release(client, op);
	ops_run(client);
}

static void request_answered(struct client *client, void *owner, int error, const void *body)
{
	struct client_op *op = owner;

	op->degraded = client->answer_degraded;
	op_finish(client, op, error, body);
}

struct client_op *client_request(struct client *client, const struct client_start *start,
				 unsigned int code, void *body, int *ret_error)
{
	struct client_op *op = op_new(client, start, OP_REQUEST);

	if (!op) {
		*ret_error = -ERR_NO_MEMORY;
		return NULL;
	}
	op->reads = degraded_serves(code);
	*ret_error =
		control_ask(client, &(struct asking){ code, body, request_answered, op }, true);
	if (*ret_error < 0) {
		TAILQ_INSERT_HEAD(&client->spare_ops, op, entry);
		return NULL;
	}
	op->running = true;
	client->running_count++;
	TAILQ_INSERT_TAIL(&client->running, op, entry);
	client_want(client, start->now_ms, start->outbox);
	return op;
}

static struct client_op *transfer_start(struct client *client, struct client_op *op,
					struct slice path, int *ret_error)
{
	if (op)
		*ret_error = buffer_append(&op->path, path.data, path.size);
	else
		*ret_error = -ERR_NO_MEMORY;
	if (*ret_error < 0) {
		if (op)
			TAILQ_INSERT_HEAD(&client->spare_ops, op, entry);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&client->waiting, op, entry);
	client_want(client, client->now_ms, client->out);
	ops_run(client);
	return op;
}

struct client_op *client_put(struct client *client, const struct client_start *start,
			     const struct client_put *put, int *ret_error)
{
	struct client_op *op = op_new(client, start, OP_PUT);

	if (op) {
		memset(&op->put, 0, offsetof(struct put_state, places));
		for (unsigned int i = 0; i < CLIENT_PIECES_MAX; i++)
			op->put.pieces[i].state = PIECE_FREE;
		op->put.how = *put;
		op->put.receipts = op->put.few;
		op->put.receipt_capacity = COPIES_MAX;
	}
	return transfer_start(client, op, put->path, ret_error);
}

struct client_op *client_get(struct client *client, const struct client_start *start,
			     const struct client_get *get, int *ret_error)
{
	struct client_op *op = op_new(client, start, OP_GET);

	if (op) {
		memset(&op->get, 0, sizeof(op->get));
		op->reads = true;
		op->get.how = *get;
		op->get.content = get->file ? &get->file->content : &op->get.own;
	}
	return transfer_start(client, op,
			      get->file
				      ? (struct slice){ get->file->path.data, get->file->path.size }
				      : get->path,
			      ret_error);
}

struct client_op *client_reach(struct client *client, const struct client_start *start,
			       const struct id *node, int *ret_error)
{
	struct client_op *op = op_new(client, start, OP_REACH);

	if (op) {
		memset(&op->reach, 0, sizeof(op->reach));
		op->reach.node = *node;
	}
	return transfer_start(client, op, (struct slice){ 0 }, ret_error);
}

const struct client_stored *client_op_stored(const struct client_op *op)
{
	return &op->put.stored;
}

const struct entry *client_op_entry(const struct client_op *op)
{
	return &op->get.entry;
}

bool client_op_in_doubt(const struct client_op *op)
{
	return op->in_doubt;
}

const struct id *client_op_culprit(const struct client_op *op)
{
	return &op->culprit;
}

/* ---- events ---- */

static void on_tick(struct client *client)
{
	struct client_op *op, *next;

	seek_tick(client);
	control_tick(client);
	links_tick(client);
	bulk_tick(client);
	TAILQ_FOREACH_SAFE(op, &client->running, entry, next) {
		if (op->kind == OP_PUT)
			put_tick(client, op);
		else if (op->kind == OP_GET)
			get_tick(client, op);
		else if (op->kind == OP_REACH)
			reach_tick(client, op);
	}
	links_reap(client);
	waits_tick(client);
}

static void on_listened(struct client *client, int error)
{
	if (error == 0) {
		client->port = client->wanted_port;
		client->port_settled = true;
	} else {
		seek_port_taken(client);
	}
}

static void on_opened(struct client *client, uint64_t connection)
{
	if (!seek_opened(client, connection) && !reach_opened(client, connection))
		links_opened(client, connection);
}

static void on_closed(struct client *client, const struct client_event *event)
{
	if (event->connection == client->control)
		seek_lost(client, client->heard_ms >= client->connected_ms);
	else if (!seek_closed(client, event->connection, event->error) &&
		 !reach_closed(client, event->connection, event->error))
		links_closed(client, event->connection);
}

static void on_frame(struct client *client, const struct client_event *event)
{
	if (event->connection == client->control) {
		control_frame(client, event->header, event->body);
	} else if (!seek_frame(client, event) && !reach_frame(client, event)) {
		links_frame(client, event);
	}
}

static void on_moved(struct client *client, uint64_t handle)
{
	struct connection *connection;

	HASH_FIND(hh, client->connections, &handle, sizeof(handle), connection);
	if (connection && connection->link)
		connection->link->moved_ms = client->now_ms;
}

static void on_sent(struct client *client, const struct client_event *event)
{
	struct pending *pending = pending_find(client, event->token);
	struct piece *piece;

	if (!pending || pending->kind != PENDING_PIECE)
		return;
	piece = pending->owner;
	piece->op->put.digest = event->digest;
	if (event->error < 0)
		op_finish(client, piece->op, event->error, NULL);
	else
		piece_sent(client, piece);
}

void client_step(struct client *client, const struct client_event *event,
		 struct client_outbox *outbox)
{
	client->now_ms = event->now_ms;
	client->out = outbox;
	arena_reset(&client->arena);
	switch (event->kind) {
	case CLIENT_TICK: on_tick(client); break;
	case CLIENT_HEARD: seek_heard(client, event); break;
	case CLIENT_RESOLVED: seek_resolved(client, event); break;
	case CLIENT_LISTENED: on_listened(client, event->error); break;
	case CLIENT_ACCEPTED: links_accepted(client, event); break;
	case CLIENT_OPENED: on_opened(client, event->connection); break;
	case CLIENT_CLOSED: on_closed(client, event); break;
	case CLIENT_FRAME: on_frame(client, event); break;
	case CLIENT_MOVED: on_moved(client, event->connection); break;
	case CLIENT_FILLED: put_filled(client, event); break;
	case CLIENT_SENT: on_sent(client, event); break;
	case CLIENT_RECEIVED: get_received(client, event); break;
	}
	ops_run(client);
}

/* Silence costs nothing: without work there is no tick, but to see whether a name server is
 * back. */
uint64_t client_deadline(const struct client *client)
{
	bool busy = (client->seek.active && !client->degraded) || seek_is_trying(client) ||
		    client->strangers > 0 || !TAILQ_EMPTY(&client->running) ||
		    !TAILQ_EMPTY(&client->waiting) || !TAILQ_EMPTY(&client->requests);

	if (busy)
		return client->now_ms + CLIENT_TICK_MS;
	return client->degraded ? client->seek.probe_ms : UINT64_MAX;
}

/* ---- the session as a whole ---- */

void client_want(struct client *client, uint64_t now_ms, struct client_outbox *outbox)
{
	client->now_ms = now_ms;
	client->out = outbox;
	if (client->control == 0 && !client->wanted) {
		client->wanted = true;
		client->wanted_ms = now_ms;
		seek_start(client);
	}
}

void client_leave(struct client *client, uint64_t now_ms, struct client_outbox *outbox)
{
	client->now_ms = now_ms;
	client->out = outbox;
	if (client->bulk.count > 0)
		control_tell(client, MSG_put_abort, &(struct put_abort_request){ 0 });
	bulk_reset(client);
}

const struct discovery *client_discovery(const struct client *client)
{
	return &client->discovery;
}

struct client *client_new(const struct client_config *config)
{
	struct client *client = calloc(1, sizeof(*client));

	if (!client)
		return NULL;
	client->config = *config;
	if (client->config.timeout_ms == 0)
		client->config.timeout_ms = CLIENT_PATIENCE_MS;
	client->prng.state = config->seed;
	TAILQ_INIT(&client->requests);
	TAILQ_INIT(&client->held);
	TAILQ_INIT(&client->changes);
	TAILQ_INIT(&client->spare);
	TAILQ_INIT(&client->running);
	TAILQ_INIT(&client->waiting);
	TAILQ_INIT(&client->spare_ops);
	TAILQ_INIT(&client->over_ops);
	TAILQ_INIT(&client->files);
	TAILQ_INIT(&client->bulk.waiting);
	memcpy(client->discovery.cluster_name, config->cluster_name,
	       sizeof(client->discovery.cluster_name));
	client->seek.last = config->remembered;
	for (uint32_t i = 0; i < PENDING_MAX; i++) {
		client->pending[i].id = i;
		client->free_slots[client->free_count++] = i;
	}
	return client;
}

static void ops_free(struct op_list *list)
{
	struct client_op *op, *next;

	TAILQ_FOREACH_SAFE(op, list, entry, next) {
		buffer_done(&op->path);
		if (op->kind == OP_PUT && op->put.receipts != op->put.few)
			free(op->put.receipts);
		else if (op->kind == OP_GET)
			get_free(op);
		free(op);
	}
}

void client_free(struct client *client)
{
	if (!client)
		return;
	ops_free(&client->running);
	ops_free(&client->waiting);
	ops_free(&client->spare_ops);
	ops_free(&client->over_ops);
	files_done(client);
	control_done(client);
	links_done(client);
	free(client->bulk.places);
	arena_done(&client->arena);
	free(client);
}

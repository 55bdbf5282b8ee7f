/* Gets: chunk after chunk from the best holder, the next one asked for while the present one
 * comes. */
#include "client_parts.h"

#include <stdlib.h>

enum { REOPEN_MAX = 2, STARVED_MS = 4000 };

/* ---- where the chunks are ---- */

/* Which part of which content: known with the first answer. */
static int get_begin(struct client *client, struct client_op *op, const struct entry *entry)
{
	struct get_state *get = &op->get;
	struct client_action *action;
	uint64_t size = entry->size;
	uint64_t length = get->how.length ? get->how.length : UINT64_MAX;

	get->opened = true;
	get->entry = *entry;
	get->entry.name = (struct slice){ 0 };
	if (!get->content->opened)
		get->content->entry = get->entry;
	get->content->opened = true;
	op->degraded |= get->content->degraded;
	if (get->content->entry.inode != entry->inode)
		return -ERR_STALE;
	if (entry->type != ENTRY_FILE)
		return -ERR_IS_DIR;
	if (get->how.open_only)
		return 0;
	if (get->how.offset > size)
		return -ERR_RANGE;
	get->from = get->at = get->how.offset;
	get->to = length < size - get->at ? get->at + length : size;
	if (get->to - get->at > get->how.most)
		return -ERR_TOO_LARGE;
	get->large = get->to - get->at > SMALL_CHUNK_MAX;
	client->large_gets += get->large;
	action = act(client, CLIENT_EXPECT);
	action->op = op;
	action->user = op->user;
	action->size = get->to - get->at;
	action->offset = get->at;
	action->flag = get->to - get->at == size;
	return 0;
}

static int open_take(struct client *client, struct client_op *op, const struct open_reply *reply)
{
	struct get_state *get = &op->get;
	int error;

	get->content->degraded = client->answer_degraded;
	op->degraded |= client->answer_degraded;
	error = get->opened ? 0 : get_begin(client, op, &reply->entry);
	if (error == 0 && reply->entry.inode != get->entry.inode)
		error = -ERR_STALE;
	if (error == 0)
		error = content_take(client, get->content, reply);
	if (error == 0 && client->degraded && !get->how.open_only)
		error = search_start(client, op, reply);
	/* Or else it would be asked for again and again. */
	if (error == 0 && get->at < get->to && !content_fresh(client, get->content, get->asked))
		error = -ERR_BAD_REQUEST;
	return error;
}

static void open_answered(struct client *client, void *owner, int error, const void *body)
{
	struct client_op *op = owner;
	struct get_state *get = &op->get;

	get->asking = false;
	if (!get->opened)
		op->progress_ms = client->now_ms;
	if (error == 0)
		error = open_take(client, op, body);
	if (error < 0 || get->how.open_only)
		op_finish(client, op, error, NULL);
	else
		get_go_on(client, op);
}

static void open_ask(struct client *client, struct client_op *op, uint64_t offset)
{
	struct get_state *get = &op->get;
	struct open_request open = {
		.offset = offset,
		.inode = get->opened ? get->entry.inode : 0,
		.path = { op->path.data, op->path.size },
		.count = OPEN_CHUNKS,
	};
	int rc;

	if (get->asking)
		return;
	get->asking = true;
	get->asked = offset;
	rc = control_ask(client, &(struct asking){ MSG_open, &open, open_answered, op }, false);
	if (rc < 0)
		op_finish(client, op, rc, NULL);
}

void get_start(struct client *client, struct client_op *op)
{
	struct get_state *get = &op->get;
	int error;

	if (!get->content->opened) {
		open_ask(client, op, get->how.tail ? OPEN_LAST : get->how.offset);
		return;
	}
	error = get_begin(client, op, &get->content->entry);
	if (error < 0)
		op_finish(client, op, error, NULL);
	else
		get_go_on(client, op);
}

/* ---- one transfer ---- */

static void part_unlink(struct client *client, struct part *part)
{
	if (part->token) {
		struct client_action *action = act(client, CLIENT_ABORT);

		action->connection = part->link ? part->link->connection : 0;
		action->token = part->token;
		pending_remove(client, part->token);
	}
	part->token = 0;
	part->link = NULL;
	if (part->waiter.queued)
		link_unwait(&part->at.node->links[part->lane], &part->waiter);
}

static void part_read(struct client *client, struct part *part, struct data_link *link)
{
	uint64_t start = (part->from - part->base) / BLOCK_SIZE * BLOCK_SIZE;
	uint64_t end = (part->to - part->base + BLOCK_SIZE - 1) / BLOCK_SIZE * BLOCK_SIZE;
	struct read_request read = { .offset = start, .ticket = part->at.ticket };
	struct client_action *action;

	read.length = (end < part->chunk_length ? end : part->chunk_length) - start;
	part->token = pending_add(client, PENDING_PART, part);
	if (part->token == 0 ||
	    request_encode(send_begin(client), MSG_read, part->token, &read) < 0) {
		op_finish(client, part->op, -ERR_NO_MEMORY, NULL);
		return;
	}
	send_end(client, link->connection);
	part->link = link;
	part->moved_ms = client->now_ms;
	action = act(client, CLIENT_RECEIVE);
	action->connection = link->connection;
	action->op = part->op;
	action->user = part->op->user;
	action->token = part->token;
	action->start = (size_t)start;
	action->offset = part->base + start;
	action->size = read.length;
	action->from = part->from;
	action->to = part->to;
}

static void part_try(struct client *client, struct part *part)
{
	struct data_link *link = link_use(client, part->at.node, part->lane, &part->waiter);

	if (link)
		part_read(client, part, link);
}

void part_link_ready(struct client *client, struct part *part)
{
	part_try(client, part);
}

/* The chunk that an append has put in the place of the one that was wanted begins with the same
 * bytes, but may end before it. */
static void part_fit(struct part *part, const struct located *located)
{
	uint64_t end = located->offset + located->length;

	if (part->chunk_id != located->chunk)
		part->op->get.reopened = 0;
	part->base = located->offset;
	part->chunk_id = located->chunk;
	part->chunk_length = located->length;
	if (end >= part->to)
		return;
	part->to = end;
	part->op->get.from = end;
}

/* The next holder that has not been tried for this chunk, those in doubt last; false: none is
 * left. */
static bool part_choose(const struct client *client, struct part *part)
{
	const struct located *located = content_find(part->op->get.content, part->from);
	int chosen = -1;

	for (unsigned int i = 0; located && i < located->count; i++) {
		if (part->tried & 1u << i)
			continue;
		if (chosen < 0)
			chosen = (int)i;
		if (node_is_doubtful(client, located->holders[i].node))
			continue;
		chosen = (int)i;
		break;
	}
	if (chosen < 0)
		return false;
	part->at = located->holders[chosen];
	part_fit(part, located);
	part->tried |= 1u << chosen;
	return true;
}

/* All holders have been tried. The name server may know others by now, and has fresh tickets. */
static void part_exhausted(struct client *client, struct part *part)
{
	struct client_op *op = part->op;
	struct get_state *get = &op->get;

	/* It may take them a while to know where they belong. */
	if (get->back && client->now_ms - op->progress_ms < stuck_ms(client))
		get->reopened = 1;
	get->back = false;
	if (get->reopened++ >= REOPEN_MAX || part->corrupt) {
		op_finish(client, op, part->corrupt ? -ERR_CORRUPT : -ERR_UNREACHABLE, NULL);
		return;
	}
	part->reopen = true;
	part->tried = 0;
	get->reopen_ms = client->now_ms +
			 (get->reopened > 1 ? patience_ms(client, LINK_PATIENCE_MS) / 4 : 0);
}

static void part_next(struct client *client, struct part *part)
{
	if (part_choose(client, part))
		part_try(client, part);
	else
		part_exhausted(client, part);
}

static void report_corrupt(struct client *client, const struct part *part)
{
	struct chunk_id chunk = { part->chunk_id };
	struct corrupt_request corrupt = {
		.node = part->at.node->id,
		.chunks = &chunk,
		.chunks_count = 1,
	};

	control_ask(client, &(struct asking){ MSG_corrupt, &corrupt, NULL, NULL }, false);
}

/* What was asked for ahead lies unread in front of whatever its server sends from now on. */
static void ahead_drop(struct client *client, struct get_state *get)
{
	struct part *ahead = &get->parts[get->current ^ 1];

	if (!ahead->used)
		return;
	part_unlink(client, ahead);
	ahead->used = false;
	get->from = ahead->from;
}

void part_failed(struct client *client, struct part *part, int error)
{
	struct get_state *get = &part->op->get;
	struct located *located = content_find(get->content, part->from);

	if (!part->used || part->reopen)
		return;
	if (located)
		located->doubtful = true;
	part_unlink(client, part);
	if (part == &get->parts[get->current])
		ahead_drop(client, get);
	part->op->culprit = part->at.node->id;
	if (error == -ERR_CORRUPT || error == -ERR_NOT_FOUND) {
		report_corrupt(client, part);
		part->corrupt |= error == -ERR_CORRUPT;
	}
	part_next(client, part);
}

void get_refused(struct client *client, struct client_op *op, int error)
{
	if (error != -ERR_UNAVAILABLE || !client->degraded)
		return;
	op->get.back = true;
	seek_look(client);
}

void part_refused(struct client *client, struct part *part, const struct message *message)
{
	get_refused(client, part->op, -(int)message->status);
	part_failed(client, part, -(int)message->status);
}

/* ---- the whole ---- */

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void part_start(struct client *client, struct client_op *op, unsigned int slot)
{
	struct get_state *get = &op->get;
	struct part *part = &get->parts[slot];
	const struct located *located = content_fresh(client, get->content, get->from);

	if (!located || (client->degraded && located->count == 0 && !located->searched)) {
		open_ask(client, op, get->from);
		return;
	}
	*part = (struct part){
		.waiter = { .kind = WAITER_PART },
		.op = op,
		.used = true,
		.from = get->from,
		.to = smaller(located->offset + located->length, get->to),
		.moved_ms = client->now_ms,
	};
	part->lane = part->to - part->from > SMALL_CHUNK_MAX ? LANE_LARGE : LANE_SMALL;
	get->from = part->to;
	part_next(client, part);
}

static void get_end(struct client *client, struct client_op *op, const struct client_event *event)
{
	struct get_state *get = &op->get;
	int error = 0;

	if (event && get->to == get->entry.size && get->how.offset == 0 &&
	    get->entry.digest_known && !digest_equal(&event->digest, &get->entry.digest))
		error = -ERR_CORRUPT;
	op_finish(client, op, error, NULL);
}

/* Asked for ahead only once the present transfer runs, and only when nobody else could come to
 * wait behind a transfer that is not read yet. */
static bool may_prefetch(const struct client *client, const struct get_state *get)
{
	const struct part *current = &get->parts[get->current];

	return get->large && client->running_count == 1 && current->used && current->token &&
	       current->moving && get->from < get->to;
}

void get_go_on(struct client *client, struct client_op *op)
{
	struct get_state *get = &op->get;

	if (get->at >= get->to) {
		get_end(client, op, NULL);
		return;
	}
	if (search_blocks(op))
		return;
	for (unsigned int i = 0; i < PARTS_MAX; i++) {
		struct part *part = &get->parts[i];

		if (part->used && part->reopen && !get->reopen_ms && !get->asking) {
			part->reopen = false;
			part_next(client, part);
			return;
		}
	}
	if (!get->parts[get->current].used && !get->asking)
		part_start(client, op, get->current);
	else if (may_prefetch(client, get) && !get->parts[get->current ^ 1].used && !get->asking)
		part_start(client, op, get->current ^ 1);
}

static void part_done(struct client *client, struct part *part, const struct client_event *event)
{
	struct client_op *op = part->op;
	struct get_state *get = &op->get;

	pending_remove(client, part->token);
	part->token = 0;
	part->used = false;
	if (get->at >= get->to) {
		get_end(client, op, event);
		return;
	}
	get->current ^= 1;
	get->parts[get->current].moved_ms = client->now_ms;
	get_go_on(client, op);
}

void get_received(struct client *client, const struct client_event *event)
{
	struct pending *pending = pending_find(client, event->token);
	struct client_op *op;
	struct part *part;

	if (!pending || pending->kind != PENDING_PART)
		return;
	part = pending->owner;
	op = part->op;
	if (event->size > 0) {
		part->from += event->size;
		op->get.at += event->size;
		op->get.reopened = 0;
	}
	part->moving = true;
	part->moved_ms = op->progress_ms = client->now_ms;
	if (event->error < 0 && event->local)
		op_finish(client, op, event->error, NULL);
	else if (event->error < 0)
		part_failed(client, part, event->error);
	else if (event->last)
		part_done(client, part, event);
	else
		get_go_on(client, op);
}

void get_drop(struct client *client, struct client_op *op)
{
	struct slice path = { op->path.data, op->path.size };
	struct get_state *get = &op->get;

	for (unsigned int i = 0; i < PARTS_MAX; i++) {
		if (get->parts[i].used)
			part_unlink(client, &get->parts[i]);
		get->parts[i].used = false;
	}
	if (get->opened && !get->how.file)
		content_close(client, op, path, get->entry.inode);
	if (get->heir_of && !(get->opened && get->heir_of == get->entry.inode))
		content_close(client, op, path, get->heir_of);
	client->large_gets -= get->large;
	get->opened = get->large = false;
	search_drop(client, op);
	content_done(&get->own);
}

void get_free(struct client_op *op)
{
	content_done(&op->get.own);
	free(op->get.search);
}

static void part_tick(struct client *client, struct part *part, bool is_current)
{
	uint64_t now_ms = client->now_ms;
	uint64_t moved_ms;

	if (!part->used || part->reopen)
		return;
	if (!part->token) {
		if (part->waiter.queued &&
		    now_ms - part->waiter.since_ms >= patience_ms(client, LINK_PATIENCE_MS))
			part_failed(client, part, -ERR_UNREACHABLE);
		return;
	}
	if (!is_current)
		return;
	moved_ms = part->link->moved_ms > part->moved_ms ? part->link->moved_ms : part->moved_ms;
	if (now_ms - moved_ms >= patience_ms(client, READ_SILENCE_MS))
		part->link->doomed = true;
	else if (now_ms - part->moved_ms >= patience_ms(client, STARVED_MS))
		part_failed(client, part, -ERR_UNREACHABLE);
}

void get_tick(struct client *client, struct client_op *op)
{
	struct get_state *get = &op->get;

	for (unsigned int i = 0; i < PARTS_MAX && op->running; i++)
		part_tick(client, &get->parts[i], i == get->current);
	if (op->running)
		search_tick(client, op);
	if (!op->running)
		return;
	/* While there is no name server, whoever asks it for other holders waits for that. */
	if (get->opened && (!get->asking || client->control) &&
	    client->now_ms - op->progress_ms >= stuck_ms(client)) {
		op_finish(client, op, -ERR_UNREACHABLE, NULL);
		return;
	}
	if (get->reopen_ms && client->now_ms >= get->reopen_ms) {
		get->reopen_ms = 0;
		open_ask(client, op, get->at);
	}
}

/* Who holds the chunks that a storage server's copy of the catalogue has told of: places are not in
 * the catalogue, so every server of the cluster is asked (HAVE). The get goes on as soon as each
 * chunk has a holder; answers that come later add others, in case that one fails. */
#include "client_parts.h"

#include <stdlib.h>

enum { SEARCH_MS = 1000 };

struct asked {
	struct waiter waiter; /* first: a waiter is its question */
	struct client_op *op;
	struct node *node;
	struct data_link *link;
	uint32_t token; /* 0: not asked, or answered */
	bool over;
};

struct wanted {
	uint64_t chunk, offset;
	bool found;
};

struct search {
	uint64_t deadline_ms;
	bool blocks;
	unsigned int wanted_count;
	struct wanted wanted[CHUNKS_MAX];
	unsigned int next; /* of those not asked yet */
	unsigned int active;
	unsigned int count;
	struct asked asked[];
};

/* ---- the end ---- */

static void ask_unlink(struct client *client, struct asked *asked)
{
	if (asked->token)
		pending_remove(client, asked->token);
	asked->token = 0;
	asked->link = NULL;
	if (asked->waiter.queued)
		link_unwait(&asked->node->links[LANE_SMALL], &asked->waiter);
}

void search_drop(struct client *client, struct client_op *op)
{
	struct search *search = op->get.search;

	op->get.search = NULL;
	for (unsigned int i = 0; search && i < search->next; i++)
		ask_unlink(client, &search->asked[i]);
	free(search);
}

bool search_blocks(const struct client_op *op)
{
	return op->get.search && op->get.search->blocks;
}

/* The content may have changed its chunks since they were asked for. */
static struct located *wanted_find(const struct client_op *op, const struct wanted *wanted)
{
	struct located *located = content_find(op->get.content, wanted->offset);

	return located && located->chunk == wanted->chunk ? located : NULL;
}

static void mark_searched(const struct client_op *op)
{
	const struct search *search = op->get.search;

	for (unsigned int i = 0; i < search->wanted_count; i++) {
		struct located *located = wanted_find(op, &search->wanted[i]);

		if (located)
			located->searched = true;
	}
}

/* What can be known by now is known: the get goes on with it. */
static void search_settle(struct client *client, struct client_op *op)
{
	op->get.search->blocks = false;
	mark_searched(op);
	if (op->get.search->active == 0)
		search_drop(client, op);
	get_go_on(client, op);
}

static bool is_settled(const struct client *client, const struct search *search)
{
	if (search->active == 0 || client->now_ms >= search->deadline_ms)
		return true;
	for (unsigned int i = 0; i < search->wanted_count; i++) {
		if (!search->wanted[i].found)
			return false;
	}
	return true;
}

/* ---- one server ---- */

static int ask(struct client *client, struct asked *asked, struct data_link *link)
{
	const struct search *search = asked->op->get.search;
	struct chunk_id chunks[CHUNKS_MAX];
	struct have_request have = {
		.chunks = chunks,
		.chunks_count = (uint16_t)search->wanted_count,
	};
	int rc;

	for (unsigned int i = 0; i < search->wanted_count; i++)
		chunks[i].chunk = search->wanted[i].chunk;
	asked->token = pending_add(client, PENDING_HAVE, asked);
	if (asked->token == 0)
		return -ERR_NO_MEMORY;
	rc = request_encode(send_begin(client), MSG_have, asked->token, &have);
	if (rc < 0)
		return rc;
	send_end(client, link->connection);
	asked->link = link;
	return 0;
}

static void ask_begin(struct client *client, struct asked *asked)
{
	struct search *search = asked->op->get.search;
	struct data_link *link;

	search->active++;
	link = link_use(client, asked->node, LANE_SMALL, &asked->waiter);
	if (link && ask(client, asked, link) < 0) {
		ask_unlink(client, asked);
		asked->over = true;
		search->active--;
	}
}

static void asks_begin(struct client *client, struct search *search)
{
	while (search->active < SEARCHES_MAX && search->next < search->count)
		ask_begin(client, &search->asked[search->next++]);
}

static void ask_over(struct client *client, struct asked *asked)
{
	struct client_op *op = asked->op;
	struct search *search = op->get.search;

	if (asked->over)
		return;
	asked->over = true;
	ask_unlink(client, asked);
	search->active--;
	asks_begin(client, search);
	if (search->blocks && is_settled(client, search))
		search_settle(client, op);
	else if (search->active == 0)
		search_drop(client, op);
}

void search_link_ready(struct client *client, struct waiter *waiter)
{
	struct asked *asked = (struct asked *)waiter;
	struct data_link *link = &asked->node->links[LANE_SMALL];

	if (ask(client, asked, link) < 0)
		ask_over(client, asked);
}

void search_failed(struct client *client, void *asked)
{
	ask_over(client, asked);
}

bool search_uses(const void *asked, const struct data_link *link)
{
	return ((const struct asked *)asked)->link == link;
}

/* ---- what it holds ---- */

/* The ticket of nobody: it is honoured while there is no name server. */
static struct ticket ticket_make(const struct client *client, const struct node *node,
				 const struct located *located)
{
	return (struct ticket){
		.operation = TICKET_READ,
		.chunk = located->chunk,
		.length = located->length,
		.expiry = UINT32_MAX,
		.holder = node->id,
		.client = client->config.self,
	};
}

static void holder_add(const struct client *client, struct located *located, struct node *node)
{
	for (unsigned int i = 0; i < located->count; i++) {
		if (located->holders[i].node == node)
			return;
	}
	if (located->count < COPIES_MAX)
		located->holders[located->count++] =
			(struct holder_at){ node, ticket_make(client, node, located) };
}

static void held(struct client *client, struct asked *asked, uint64_t chunk)
{
	struct search *search = asked->op->get.search;

	for (unsigned int i = 0; i < search->wanted_count; i++) {
		struct wanted *wanted = &search->wanted[i];
		struct located *located =
			wanted->chunk == chunk ? wanted_find(asked->op, wanted) : NULL;

		if (!located)
			continue;
		wanted->found = true;
		holder_add(client, located, asked->node);
	}
}

void search_reply(struct client *client, void *owner, const struct message *message)
{
	const struct have_reply *reply = message->body;
	struct asked *asked = owner;

	if (message->status == ERR_UNAVAILABLE)
		get_refused(client, asked->op, -ERR_UNAVAILABLE);
	for (unsigned int i = 0; message->status == 0 && i < reply->chunks_count; i++)
		held(client, asked, reply->chunks[i].chunk);
	ask_over(client, asked);
}

void search_tick(struct client *client, struct client_op *op)
{
	struct search *search = op->get.search;

	if (search && search->blocks && is_settled(client, search))
		search_settle(client, op);
}

/* ---- the beginning ---- */

static struct search *search_new(struct client *client, const struct open_reply *reply)
{
	struct search *search =
		calloc(1, sizeof(*search) + reply->nodes_count * sizeof(search->asked[0]));

	if (!search)
		return NULL;
	search->blocks = true;
	search->deadline_ms = client->now_ms + patience_ms(client, SEARCH_MS);
	for (unsigned int i = 0; i < reply->chunks_count; i++) {
		const struct located_chunk *chunk = &reply->chunks[i];

		if (chunk->holders_count == 0)
			search->wanted[search->wanted_count++] =
				(struct wanted){ .chunk = chunk->chunk, .offset = chunk->offset };
	}
	return search;
}

/* Those that can be asked at once come first. */
static int servers_take(struct client *client, struct client_op *op, struct search *search,
			const struct open_reply *reply)
{
	unsigned int last = reply->nodes_count;

	search->count = reply->nodes_count;
	for (unsigned int i = 0; i < reply->nodes_count; i++) {
		struct node *node = node_learn(client, &reply->nodes[i]);
		struct asked *asked;

		if (!node)
			return -ERR_NO_MEMORY;
		asked = node_is_doubtful(client, node) ? &search->asked[--last]
						       : &search->asked[search->next++];
		asked->waiter.kind = WAITER_HAVE;
		asked->op = op;
		asked->node = node;
	}
	search->next = 0;
	return 0;
}

int search_start(struct client *client, struct client_op *op, const struct open_reply *reply)
{
	struct search *search;
	int rc;

	search_drop(client, op);
	search = search_new(client, reply);
	if (!search)
		return -ERR_NO_MEMORY;
	op->get.search = search;
	rc = servers_take(client, op, search, reply);
	if (rc < 0) {
		search_drop(client, op);
		return rc;
	}
	asks_begin(client, search);
	if (search->wanted_count == 0 || search->active == 0) {
		mark_searched(op);
		search_drop(client, op);
	}
	return 0;
}

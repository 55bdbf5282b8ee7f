/* What is known of a content: where its chunks are, with tickets for them. A get has one of its
 * own, or reads through one that is held open. The name server keeps a content for the client as
 * long as either is there. */
#include "client_parts.h"

#include <stdlib.h>

enum {
	LOCATED_MAX = 512, /* of one content: with whole chunks 8 GiB of it, in some 600 KiB */
	/* Then asked for anew, well before the tickets end. */
	LOCATED_LIFE_MS = TICKET_LIFE_S * 1000 * 2 / 3,
};

/* The position of the first chunk that ends after the byte. */
static unsigned int position_of(const struct content *content, uint64_t offset)
{
	unsigned int from = 0, to = content->count;

	while (from < to) {
		unsigned int middle = from + (to - from) / 2;
		const struct located *located = &content->chunks[middle];

		if (located->offset + located->length <= offset)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

struct located *content_find(const struct content *content, uint64_t offset)
{
	unsigned int at = position_of(content, offset);

	return at < content->count && content->chunks[at].offset <= offset ? &content->chunks[at]
									   : NULL;
}

const struct located *content_fresh(const struct client *client, const struct content *content,
				    uint64_t offset)
{
	const struct located *located = content_find(content, offset);

	if (!located || located->doubtful || client->now_ms - located->asked_ms >= LOCATED_LIFE_MS)
		return NULL;
	return located;
}

static int located_take(struct client *client, struct located *ret,
			const struct located_chunk *chunk, const struct open_reply *reply)
{
	*ret = (struct located){
		.chunk = chunk->chunk,
		.offset = chunk->offset,
		.length = chunk->length,
		.asked_ms = client->now_ms,
	};
	for (unsigned int i = 0; i < chunk->holders_count; i++) {
		const struct holder *holder = &chunk->holders[i];
		struct node *node;

		if (holder->node >= reply->nodes_count)
			return -ERR_BAD_REQUEST;
		node = node_learn(client, &reply->nodes[holder->node]);
		if (!node)
			return -ERR_NO_MEMORY;
		ret->holders[ret->count++] = (struct holder_at){ node, holder->ticket };
	}
	return 0;
}

/* They follow each other without gaps, up to the content's end at most. */
static bool is_in_order(const struct open_reply *reply)
{
	uint64_t size = reply->entry.size;

	for (unsigned int i = 0; i < reply->chunks_count; i++) {
		const struct located_chunk *chunk = &reply->chunks[i];

		if (chunk->length == 0 || chunk->length > size ||
		    chunk->offset > size - chunk->length)
			return false;
		if (i > 0 && chunk->offset != chunk[-1].offset + chunk[-1].length)
			return false;
	}
	return true;
}

static int content_reserve(struct content *content, unsigned int count)
{
	unsigned int capacity = content->capacity ? content->capacity : 1;
	struct located *chunks;

	while (capacity < count)
		capacity *= 2;
	if (capacity == content->capacity)
		return 0;
	chunks = realloc(content->chunks, capacity * sizeof(*chunks));
	if (!chunks)
		return -ERR_NO_MEMORY;
	content->chunks = chunks;
	content->capacity = capacity;
	return 0;
}

/* Makes room for `count` chunks in the place of all that touch these bytes; where there is no room,
 * in the place of all that are known. Returns the position of the first. */
static int content_open_gap(struct content *content, uint64_t from, uint64_t to, unsigned int count)
{
	unsigned int first, last;
	int rc;

	if (content->count + count > LOCATED_MAX)
		content->count = 0;
	first = position_of(content, from);
	for (last = first; last < content->count && content->chunks[last].offset < to; last++)
		;
	rc = content_reserve(content, content->count + count);
	if (rc < 0)
		return rc;
	memmove(&content->chunks[first + count], &content->chunks[last],
		(content->count - last) * sizeof(*content->chunks));
	content->count = content->count - (last - first) + count;
	return (int)first;
}

int content_take(struct client *client, struct content *content, const struct open_reply *reply)
{
	const struct located_chunk *chunks = reply->chunks;
	unsigned int count = reply->chunks_count;
	int first;

	if (count == 0)
		return 0;
	if (!is_in_order(reply))
		return -ERR_BAD_REQUEST;
	first = content_open_gap(content, chunks[0].offset,
				 chunks[count - 1].offset + chunks[count - 1].length, count);
	if (first < 0)
		return first;
	for (unsigned int i = 0; i < count; i++) {
		int rc = located_take(client, &content->chunks[(unsigned int)first + i], &chunks[i],
				      reply);

		if (rc < 0) {
			content->count = 0;
			return rc;
		}
	}
	return 0;
}

void content_done(struct content *content)
{
	free(content->chunks);
	*content = (struct content){ 0 };
}

/* ---- contents held open ---- */

struct client_file *client_file_new(struct client *client, struct slice path)
{
	struct client_file *file = calloc(1, sizeof(*file));

	if (file && buffer_append(&file->path, path.data, path.size) < 0) {
		free(file);
		return NULL;
	}
	if (file)
		TAILQ_INSERT_TAIL(&client->files, file, entry);
	return file;
}

static void file_free(struct client *client, struct client_file *file)
{
	TAILQ_REMOVE(&client->files, file, entry);
	content_done(&file->content);
	buffer_done(&file->path);
	free(file);
}

void client_file_free(struct client *client, struct client_file *file, uint64_t now_ms,
		      struct client_outbox *outbox)
{
	bool opened = file->content.opened;
	uint64_t inode = file->content.entry.inode;

	client->now_ms = now_ms;
	client->out = outbox;
	file_free(client, file);
	if (opened)
		content_close(client, NULL, (struct slice){ 0 }, inode);
}

const struct entry *client_file_entry(const struct client_file *file)
{
	return &file->content.entry;
}

uint64_t client_file_tail(const struct client_file *file)
{
	const struct content *content = &file->content;
	const struct located *last = content->count ? &content->chunks[content->count - 1] : NULL;

	return last && last->offset + last->length == content->entry.size ? last->offset
									  : UINT64_MAX;
}

static bool is_held(const struct client *client, uint64_t inode)
{
	struct client_file *file;

	TAILQ_FOREACH(file, &client->files, entry) {
		if (file->content.opened && file->content.entry.inode == inode)
			return true;
	}
	return false;
}

/* A get whose answer may turn out to be that content. It closes one content besides its own. */
static bool may_inherit(const struct client_op *op, struct slice path, uint64_t inode)
{
	const struct get_state *get = &op->get;

	if (!get->asking || get->opened || (get->heir_of && get->heir_of != inode))
		return false;
	return path.size == 0 || slice_equal((struct slice){ op->path.data, op->path.size }, path);
}

/* The name server keeps a content for the client, however many gets it has; and the answer to a get
 * that has just asked may rest on that. An empty path: any. */
void content_close(struct client *client, const struct client_op *op, struct slice path,
		   uint64_t inode)
{
	struct client_op *other;

	if (is_held(client, inode))
		return;
	TAILQ_FOREACH(other, &client->running, entry) {
		struct get_state *get = &other->get;

		if (other == op || other->kind != OP_GET)
			continue;
		if (get->opened && get->content->entry.inode == inode)
			return;
		if (may_inherit(other, path, inode)) {
			get->heir_of = inode;
			return;
		}
	}
	control_tell(client, MSG_close, &(struct close_request){ inode });
}

static void content_doubt(struct content *content)
{
	for (unsigned int i = 0; i < content->count; i++)
		content->chunks[i].doubtful = true;
}

void contents_doubt(struct client *client)
{
	struct client_op *op;

	TAILQ_FOREACH(op, &client->running, entry) {
		if (op->kind == OP_GET)
			content_doubt(&op->get.own);
	}
}

/* Another session: its tickets are others, and its name server may not know what we have open. */
void files_renew(struct client *client)
{
	struct client_file *file;

	TAILQ_FOREACH(file, &client->files, entry) {
		struct open_request open = {
			.inode = file->content.entry.inode,
			.path = { file->path.data, file->path.size },
			.count = 1,
		};

		content_doubt(&file->content);
		if (file->content.opened)
			control_ask(client, &(struct asking){ MSG_open, &open, NULL, NULL }, true);
	}
}

void files_done(struct client *client)
{
	struct client_file *file;

	while ((file = TAILQ_FIRST(&client->files)) != NULL)
		file_free(client, file);
}

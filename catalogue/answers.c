#include "answers.h"

#include "catalogue.h"
#include "codec.h"
#include "endpoint.h"
#include "entries.h"
#include "path.h"

struct answering {
	struct kv *kv;
	struct arena *arena;
	bool local;
};

static uint8_t wanted(const struct inode *inode)
{
	return inode->copies ? inode->copies : COPIES_DEFAULT;
}

static int find(const struct answering *a, struct slice path, struct inode *inode,
		struct entry *ret)
{
	int rc = entry_find(a->kv, path, inode, ret);

	if (rc == 0)
		entry_fill(inode, wanted(inode), ret);
	return rc;
}

/* ---- STAT ---- */

static int answer_stat(const struct answering *a, const void *body, void *ret)
{
	const struct stat_request *request = body;
	struct stat_reply *reply = ret;
	struct inode inode;

	if (request->flags > STAT_HOLDERS)
		return -ERR_BAD_REQUEST;
	return find(a, request->path, &inode, &reply->entry);
}

/* ---- LIST ---- */

static bool is_after(struct slice name, struct slice after)
{
	size_t size = name.size < after.size ? name.size : after.size;
	int order = size ? memcmp(name.data, after.data, size) : 0;

	return order > 0 || (order == 0 && name.size > after.size);
}

static int list_file(const struct answering *a, const struct entry *file, struct slice after,
		     struct list_reply *reply)
{
	struct entry *entry = arena_alloc(a->arena, sizeof(*entry));

	if (!entry)
		return -ERR_NO_MEMORY;
	*entry = *file;
	reply->entries = entry;
	reply->entries_count = after.size == 0 || is_after(file->name, after);
	return 0;
}

static int list_directory(const struct answering *a, uint64_t directory,
			  const struct list_request *request, struct list_reply *reply)
{
	unsigned int most = request->count && request->count < ENTRIES_MAX
				    ? (unsigned int)request->count
				    : ENTRIES_MAX;
	struct entry *entries = arena_alloc(a->arena, most * sizeof(*entries));
	struct slice name, after = request->after;
	struct inode inode;
	int rc;

	if (!entries)
		return -ERR_NO_MEMORY;
	reply->entries = entries;
	while ((rc = dirent_next(a->kv, directory, after, &name, &inode)) == 0) {
		if (reply->entries_count == most) {
			reply->more = 1;
			return 0;
		}
		entries[reply->entries_count].name = name;
		entry_fill(&inode, wanted(&inode), &entries[reply->entries_count++]);
		after = name;
	}
	return rc == -ERR_NOT_FOUND ? 0 : rc;
}

static int answer_list(const struct answering *a, const void *body, void *ret)
{
	const struct list_request *request = body;
	struct list_reply *reply = ret;
	struct inode inode;
	struct entry entry;
	int rc = find(a, request->path, &inode, &entry);

	if (rc < 0)
		return rc;
	if (inode.type != ENTRY_DIRECTORY)
		return list_file(a, &entry, request->after, reply);
	return list_directory(a, inode.id, request, reply);
}

/* ---- OPEN ---- */

static int endpoints_give(const struct answering *a, const struct member_row *row,
			  struct node_address *ret)
{
	struct endpoint *endpoints =
		arena_alloc(a->arena, row->endpoint_count * sizeof(*endpoints));

	if (!endpoints)
		return -ERR_NO_MEMORY;
	ret->endpoints = endpoints;
	for (unsigned int i = 0; i < row->endpoint_count; i++) {
		if (a->local || !endpoint_is_loopback(&row->endpoints[i]))
			endpoints[ret->endpoints_count++] = row->endpoints[i];
	}
	return 0;
}

static int nodes_give(const struct answering *a, struct open_reply *reply)
{
	struct node_address *nodes = arena_alloc(a->arena, NODES_PAGE_MAX * sizeof(*nodes));
	struct member_row row;
	int rc = nodes ? member_next(a->kv, NULL, &row) : -ERR_NO_MEMORY;

	reply->nodes = nodes;
	while (rc == 0 && reply->nodes_count < NODES_PAGE_MAX) {
		struct node_address *node = &nodes[reply->nodes_count];
		struct id last = row.node;

		node->node = row.node;
		if (!row.retired && row.endpoint_count) {
			rc = endpoints_give(a, &row, node);
			if (rc == 0 && node->endpoints_count)
				reply->nodes_count++;
		}
		if (rc == 0)
			rc = member_next(a->kv, &last, &row);
	}
	return rc == -ERR_NOT_FOUND ? 0 : rc;
}

/* A chunk that the file's size asks for must be there. */
static int chunk_at(const struct answering *a, const struct inode *inode, uint64_t offset,
		    struct chunk_row *ret)
{
	int rc = catalogue_chunk_at(a->kv, inode->id, offset, ret);

	return rc == -ERR_NOT_FOUND ? -ERR_IO : rc;
}

static int chunks_give(const struct answering *a, const struct inode *inode,
		       const struct open_request *request, struct open_reply *reply)
{
	unsigned int most =
		request->count && request->count < CHUNKS_MAX ? request->count : CHUNKS_MAX;
	struct located_chunk *chunks = arena_alloc(a->arena, most * sizeof(*chunks));
	struct chunk_row row = { .end = request->offset };
	int rc = chunks ? 0 : -ERR_NO_MEMORY;

	if (rc == 0 && request->offset == OPEN_LAST) {
		row.end = inode->size;
		if (inode->size)
			rc = chunk_at(a, inode, inode->size - 1, &row);
		row.end -= inode->size ? row.length : 0;
	}
	reply->chunks = chunks;
	while (rc == 0 && reply->chunks_count < most && row.end < inode->size) {
		rc = chunk_at(a, inode, row.end, &row);
		if (rc < 0)
			break;
		chunks[reply->chunks_count++] =
			(struct located_chunk){ .chunk = row.chunk,
						.offset = row.end - row.length,
						.length = row.length,
						.digest = row.digest };
	}
	return rc;
}

static int answer_open(const struct answering *a, const void *body, void *ret)
{
	const struct open_request *request = body;
	struct open_reply *reply = ret;
	struct inode inode;
	int rc = find(a, request->path, &inode, &reply->entry);

	if (rc < 0)
		return rc;
	if (inode.type != ENTRY_FILE)
		return -ERR_IS_DIR;
	if (request->inode && request->inode != inode.id)
		return -ERR_STALE;
	if (request->offset != OPEN_LAST && request->offset > inode.size)
		return -ERR_RANGE;
	rc = chunks_give(a, &inode, request, reply);
	return rc < 0 ? rc : nodes_give(a, reply);
}

/* ---- frames ---- */

typedef int answer_fn(const struct answering *a, const void *body, void *ret);

static const struct {
	unsigned int code;
	answer_fn *answer;
} answerers[] = {
	{ MSG_stat, answer_stat },
	{ MSG_list, answer_list },
	{ MSG_open, answer_open },
};

static answer_fn *answerer_find(unsigned int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(answerers); i++) {
		if (answerers[i].code == code)
			return answerers[i].answer;
	}
	return NULL;
}

/* Of the past as well: what is not found in a copy may be there by now. */
static int refuse(const struct message *request, int error, struct buffer *ret)
{
	size_t at = ret->size;
	int rc = refusal_encode(ret, request->info->code, request->id, error);

	if (rc == 0)
		ret->data[at + 2] |= FRAME_DEGRADED;
	return rc;
}

static int answer(const struct answering *a, const struct message *request, struct buffer *ret)
{
	union {
		struct stat_reply stat;
		struct list_reply list;
		struct open_reply open;
	} reply = { 0 };
	struct message message = { .info = request->info,
				   .reply = true,
				   .flags = FRAME_DEGRADED,
				   .id = request->id,
				   .body = &reply };
	int rc = answerer_find(request->info->code)(a, request->body, &reply);

	return rc < 0 ? refuse(request, rc, ret) : message_encode(&message, ret);
}

int catalogue_answer(struct kv *kv, struct slice request, bool local, struct buffer *ret)
{
	struct arena arena = { 0 };
	struct answering a = { .kv = kv, .arena = &arena, .local = local };
	struct frame_header header;
	struct message message;
	size_t size;
	int rc = frame_next(request.data, request.size, &header, &size);

	if (rc != 1 || size != request.size || header.reply)
		return -ERR_BAD_REQUEST;
	if (!answerer_find(header.type))
		return -ERR_UNSUPPORTED;
	/* Rows may have come by other ways than the catalogue's functions. */
	kv->root = 0;
	rc = message_decode(&header, request.data + FRAME_HEADER_SIZE, &arena, &message);
	if (rc == 0)
		rc = answer(&a, &message, ret);
	arena_done(&arena);
	return rc;
}

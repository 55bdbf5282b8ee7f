/* STAT, LIST and OPEN. */
#include "entries.h"
#include "ns_state.h"
#include "path.h"

enum {
	LIST_CHUNKS_MAX = 64,         /* of one file that LIST looks at for its copies */
	LIST_CHUNKS_TOTAL = 8 * 1024, /* of one page; then the page ends early */
};

/* Goes on to the file's chunk that begins where this one ends. */
static int chunk_holders(struct nameserver *ns, const struct inode *inode, struct chunk_row *chunk,
			 struct holders *ret)
{
	int rc = catalogue_chunk_at(ns->kv, inode->id, chunk->end, chunk);

	if (rc == 0)
		rc = holders_get(ns->kv, chunk->chunk, ret);
	return rc == -ERR_NOT_FOUND ? -ERR_IO : rc;
}

int file_copies(struct nameserver *ns, const struct inode *inode, struct chunk_range range,
		uint8_t *ret)
{
	unsigned int fewest = inode->type == ENTRY_FILE ? copies_wanted(ns, inode) : 0;
	struct chunk_row chunk = { .end = range.offset };

	for (uint64_t i = 0; i < range.most && chunk.end < inode->size; i++) {
		struct holders holders;
		unsigned int sound;
		int rc = chunk_holders(ns, inode, &chunk, &holders);

		if (rc < 0)
			return rc;
		sound = copies_count(ns, chunk.chunk, &holders).sound;
		if (i == 0 || sound < fewest)
			fewest = sound;
	}
	*ret = (uint8_t)(fewest < COPIES_MAX ? fewest : COPIES_MAX);
	return 0;
}

int entry_describe(struct nameserver *ns, const struct inode *inode, struct chunk_range range,
		   struct entry *ret)
{
	entry_fill(inode, copies_wanted(ns, inode), ret);
	return file_copies(ns, inode, range, &ret->copies);
}

/* ---- STAT ---- */

static int count_holders(struct nameserver *ns, const struct inode *inode, uint32_t *counts)
{
	struct chunk_row chunk = { 0 };

	while (chunk.end < inode->size) {
		struct holders holders;
		int rc = chunk_holders(ns, inode, &chunk, &holders);

		if (rc < 0)
			return rc;
		for (unsigned int j = 0; j < holders.count; j++) {
			if (member_by_number(ns, holders.numbers[j]))
				counts[holders.numbers[j]]++;
		}
	}
	return 0;
}

static int stat_holders(struct nameserver *ns, const struct inode *inode, struct stat_reply *reply)
{
	uint32_t *counts = arena_alloc(&ns->arena, ns->by_number_size * sizeof(*counts));
	struct node_count *holders = arena_alloc(&ns->arena, NODES_PAGE_MAX * sizeof(*holders));
	int rc;

	if (!counts || !holders)
		return -ERR_NO_MEMORY;
	rc = count_holders(ns, inode, counts);
	if (rc < 0)
		return rc;
	reply->holders = holders;
	for (unsigned int i = 0; i < ns->member_count; i++) {
		const struct member_row *row = &ns->sorted[i]->row;

		if (counts[row->number] && reply->holders_count < NODES_PAGE_MAX)
			holders[reply->holders_count++] =
				(struct node_count){ row->node, counts[row->number] };
	}
	return 0;
}

int on_stat(struct nameserver *ns, struct session *from, const struct stat_request *request,
	    struct stat_reply *reply)
{
	struct inode inode;
	int rc = request->flags > STAT_HOLDERS ? -ERR_BAD_REQUEST : 0;

	(void)from;
	if (rc == 0)
		rc = entry_find(ns->kv, request->path, &inode, &reply->entry);
	if (rc == 0)
		rc = entry_describe(ns, &inode, (struct chunk_range){ 0, inode.chunks },
				    &reply->entry);
	if (rc == 0 && request->flags & STAT_HOLDERS && inode.chunks)
		rc = stat_holders(ns, &inode, reply);
	return rc;
}

/* ---- LIST ---- */

static int slice_compare(struct slice a, struct slice b)
{
	size_t size = a.size < b.size ? a.size : b.size;
	int order = size ? memcmp(a.data, b.data, size) : 0;

	if (order)
		return order;
	return a.size < b.size ? -1 : a.size > b.size;
}

static int list_file(struct nameserver *ns, const struct inode *inode, struct slice name,
		     struct slice after, struct list_reply *reply)
{
	struct entry *entry = arena_alloc(&ns->arena, sizeof(*entry));

	if (!entry)
		return -ERR_NO_MEMORY;
	entry->name = name;
	reply->entries = entry;
	reply->entries_count = after.size == 0 || slice_compare(name, after) > 0;
	return entry_describe(ns, inode, (struct chunk_range){ 0, LIST_CHUNKS_MAX }, entry);
}

static int list_directory(struct nameserver *ns, uint64_t directory, struct slice after,
			  unsigned int most, struct list_reply *reply)
{
	struct entry *entries = arena_alloc(&ns->arena, most * sizeof(*entries));
	uint32_t looked = 0;
	struct inode inode;
	struct slice name;
	int rc;

	if (!entries)
		return -ERR_NO_MEMORY;
	reply->entries = entries;
	while ((rc = dirent_next(ns->kv, directory, after, &name, &inode)) == 0) {
		struct entry *entry = &entries[reply->entries_count];

		if (reply->entries_count == most || looked >= LIST_CHUNKS_TOTAL) {
			reply->more = 1;
			return 0;
		}
		entry->name = name;
		rc = entry_describe(ns, &inode, (struct chunk_range){ 0, LIST_CHUNKS_MAX }, entry);
		if (rc < 0)
			return rc;
		looked += inode.chunks < LIST_CHUNKS_MAX ? inode.chunks : LIST_CHUNKS_MAX;
		reply->entries_count++;
		after = name;
	}
	return rc == -ERR_NOT_FOUND ? 0 : rc;
}

int on_list(struct nameserver *ns, struct session *from, const struct list_request *request,
	    struct list_reply *reply)
{
	unsigned int most = request->count && request->count < ENTRIES_MAX
				    ? (unsigned int)request->count
				    : ENTRIES_MAX;
	struct entry entry;
	struct inode inode;
	int rc = entry_find(ns->kv, request->path, &inode, &entry);

	(void)from;
	if (rc < 0)
		return rc;
	if (inode.type != ENTRY_DIRECTORY)
		return list_file(ns, &inode, entry.name, request->after, reply);
	return list_directory(ns, inode.id, request->after, most, reply);
}

/* ---- OPEN ---- */

/* Lower is better: not reported bad, online, on the client's machine, not busy. */
static uint64_t read_order(const struct client *client, const struct member *member, uint64_t chunk)
{
	uint64_t order = member->load / 4;

	if (chunk_set_has(&member->bad, chunk))
		order |= (uint64_t)1 << 63;
	if (member->state != NODE_ONLINE || member->disk_failed)
		order |= (uint64_t)1 << 62;
	if (id_is_none(&client->machine) || !id_equal(&client->machine, &member->machine))
		order |= (uint64_t)1 << 61;
	return order;
}

/* The members that are up, best first; equals take turns by chunk. */
static unsigned int readers_sort(const struct nameserver *ns, const struct client *client,
				 const struct chunk_row *chunk, const struct holders *holders,
				 const struct member **ret)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < holders->count; i++) {
		unsigned int turn = (unsigned int)((i + chunk->chunk) % holders->count);
		const struct member *member = member_by_number(ns, holders->numbers[turn]);
		unsigned int at = count;
		uint64_t order;

		if (!member || !member_is_up(member) || !member->key)
			continue;
		order = read_order(client, member, chunk->chunk);
		for (; at > 0 && read_order(client, ret[at - 1], chunk->chunk) > order; at--)
			ret[at] = ret[at - 1];
		ret[at] = member;
		count++;
	}
	return count < COPIES_MAX ? count : COPIES_MAX;
}

static int located_fill(struct nameserver *ns, struct node_list *nodes,
			const struct chunk_row *chunk, struct located_chunk *ret)
{
	struct holder *list = arena_alloc(&ns->arena, COPIES_MAX * sizeof(*list));
	const struct member *readers[HOLDERS_MAX];
	struct holders holders;
	unsigned int count;
	int rc = holders_get(ns->kv, chunk->chunk, &holders);

	if (rc < 0 || !list)
		return rc < 0 ? rc : -ERR_NO_MEMORY;
	count = readers_sort(ns, nodes->client, chunk, &holders, readers);
	for (unsigned int i = 0; i < count; i++) {
		struct ticket ticket = {
			.operation = TICKET_READ,
			.chunk = chunk->chunk,
			.length = chunk->length,
		};

		rc = holder_add(ns, nodes, readers[i], &ticket, &list[i]);
		if (rc < 0)
			return rc;
	}
	*ret = (struct located_chunk){
		.chunk = chunk->chunk,
		.offset = chunk->end - chunk->length,
		.length = chunk->length,
		.digest = chunk->digest,
		.holders = list,
		.holders_count = (uint16_t)count,
	};
	return 0;
}

struct opening {
	struct client *client;
	const struct open_request *request;
	uint64_t offset;
};

static int open_chunks(struct nameserver *ns, const struct opening *opening,
		       const struct inode *inode, struct open_reply *reply)
{
	struct chunk_row row = { .end = opening->offset };
	unsigned int most = opening->request->count ? opening->request->count : CHUNKS_MAX;
	struct located_chunk *chunks = arena_alloc(&ns->arena, most * sizeof(*chunks));
	struct node_list nodes;
	int rc = node_list_init(ns, &nodes, opening->client, NODES_PAGE_MAX);

	if (rc < 0 || !chunks)
		return -ERR_NO_MEMORY;
	reply->chunks = chunks;
	while (reply->chunks_count < most && row.end < inode->size) {
		struct located_chunk *chunk = &chunks[reply->chunks_count];

		rc = catalogue_chunk_at(ns->kv, inode->id, row.end, &row);
		if (rc == 0)
			rc = located_fill(ns, &nodes, &row, chunk);
		if (rc == -ERR_TOO_LARGE && reply->chunks_count)
			break;
		if (rc < 0)
			return rc == -ERR_NOT_FOUND ? -ERR_IO : rc;
		reply->chunks_count++;
		if (chunk->holders_count)
			client_tell(ns, opening->client,
				    member_find(ns, &chunk->holders[0].ticket.holder),
				    row.length > SMALL_CHUNK_MAX ? LANE_LARGE : LANE_SMALL, false);
	}
	reply->nodes = nodes.nodes;
	reply->nodes_count = (uint16_t)nodes.count;
	return 0;
}

/* Whoever has a content open reads on in it, whatever has become of its name. */
static int content_find(struct nameserver *ns, const struct client *client,
			const struct open_request *request, struct inode *inode,
			struct entry *entry)
{
	int rc;

	if (request->inode && client_has_open(client, request->inode)) {
		struct slice parent;

		rc = path_check(request->path);
		if (rc < 0)
			return rc;
		path_split(request->path, &parent, &entry->name);
		rc = inode_get(ns->kv, request->inode, inode);
		return rc == -ERR_NOT_FOUND ? -ERR_STALE : rc;
	}
	rc = entry_find(ns->kv, request->path, inode, entry);
	if (rc < 0)
		return rc;
	if (inode->type != ENTRY_FILE)
		return -ERR_IS_DIR;
	return request->inode && request->inode != inode->id ? -ERR_STALE : 0;
}

/* From which byte on chunks are wanted. */
static int offset_find(struct nameserver *ns, const struct open_request *request,
		       const struct inode *inode, uint64_t *ret)
{
	struct chunk_row last;
	int rc;

	*ret = request->offset == OPEN_LAST ? inode->size : request->offset;
	if (*ret > inode->size)
		return -ERR_RANGE;
	if (request->offset != OPEN_LAST || inode->size == 0)
		return 0;
	rc = catalogue_chunk_at(ns->kv, inode->id, inode->size - 1, &last);
	if (rc < 0)
		return rc == -ERR_NOT_FOUND ? -ERR_IO : rc;
	*ret = last.end - last.length;
	return 0;
}

int on_open(struct nameserver *ns, struct session *from, const struct open_request *request,
	    struct open_reply *reply)
{
	struct chunk_range range = { .most = CHUNKS_MAX };
	struct inode inode;
	int rc = content_find(ns, from->client, request, &inode, &reply->entry);

	if (rc == 0)
		rc = offset_find(ns, request, &inode, &range.offset);
	if (rc < 0)
		return rc;
	if (range.offset == 0)
		range.most = inode.chunks;
	rc = entry_describe(ns, &inode, range, &reply->entry);
	if (rc == 0)
		rc = open_chunks(ns, &(struct opening){ from->client, request, range.offset },
				 &inode, reply);
	if (rc == 0 && inode.chunks)
		rc = client_open(ns, from->client, inode.id);
	if (rc == 0 && ns->config.debug)
		ns_event(ns, LOG_DEBUG, "opened", "path=%s size=%llu chunks=%u offset=%llu",
			 quoted(ns, request->path), (unsigned long long)inode.size, inode.chunks,
			 (unsigned long long)request->offset);
	return rc;
}

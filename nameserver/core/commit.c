/* PUT_COMMIT: leased places with receipts become a file, in one batch. */
#include "hash.h"
#include "ns_state.h"
#include "path.h"

struct commit {
	const struct put_commit_request *request;
	struct put *put; /* NULL: an empty file without a put */
	struct lease **leases;
	uint32_t count;
	uint32_t chunk_size;
	uint8_t copies;
	uint8_t durable;   /* of the chunk that has fewest */
	struct inode base; /* of an append */
};

/* The chunks that a put of that size has: its places in the order in which they were leased. Places
 * without any receipt are passed over: the client never got the answer that leased them. */
static int leases_of_put(struct nameserver *ns, struct commit *commit)
{
	uint64_t size = commit->request->size;
	struct put *put = commit->put;
	uint64_t count = size / put->chunk_size + (size % put->chunk_size != 0);

	if (commit->request->chunks_count || (put->size != SIZE_UNKNOWN && put->size != size))
		return -ERR_BAD_REQUEST;
	if (count > put->count)
		return -ERR_BAD_REQUEST;
	commit->leases = arena_alloc(&ns->arena, (size_t)count * sizeof(struct lease *));
	if (!commit->leases)
		return -ERR_NO_MEMORY;
	for (uint32_t i = 0; i < put->count; i++) {
		if (!put->leases[i]->length)
			continue;
		if (commit->count == count)
			return -ERR_BAD_REQUEST;
		commit->leases[commit->count++] = put->leases[i];
	}
	return commit->count < count ? -ERR_UNAVAILABLE : 0;
}

/* The chunks that the request names, from places leased ahead. */
static int leases_of_request(struct nameserver *ns, struct commit *commit)
{
	const struct put_commit_request *request = commit->request;

	commit->count = request->chunks_count;
	commit->leases = arena_alloc(&ns->arena, commit->count * sizeof(struct lease *));
	if (!commit->leases)
		return -ERR_NO_MEMORY;
	for (uint32_t i = 0; i < commit->count; i++) {
		struct lease *lease = lease_find(ns, request->chunks[i].chunk);

		if (!lease || lease->put != commit->put)
			return -ERR_EXPIRED;
		for (uint32_t j = 0; j < i; j++) {
			if (commit->leases[j] == lease)
				return -ERR_BAD_REQUEST;
		}
		if (lease->length && lease->length != request->chunks[i].length)
			return -ERR_BAD_REQUEST;
		commit->leases[i] = lease;
	}
	return 0;
}

/* Every chunk durable often enough, and as long as it has to be. */
static int chunks_check(const struct nameserver *ns, struct commit *commit)
{
	unsigned int online = members_online(ns);
	unsigned int enough = commit->copies < 2 || online < 2 ? 1 : 2;
	uint64_t rest = commit->request->size;

	commit->durable = commit->copies;
	for (uint32_t i = 0; i < commit->count; i++) {
		const struct lease *lease = commit->leases[i];
		unsigned int copies = lease_copies(lease);

		if (copies < enough)
			return -ERR_UNAVAILABLE;
		if (lease->length > rest ||
		    (i + 1 < commit->count && lease->length != commit->chunk_size))
			return -ERR_BAD_REQUEST;
		rest -= lease->length;
		if (i == 0 || copies < commit->durable)
			commit->durable = (uint8_t)(copies < COPIES_MAX ? copies : COPIES_MAX);
	}
	if (rest)
		return -ERR_BAD_REQUEST;
	/* One chunk is the whole: a client that summed up something else has a fault. */
	if (commit->count == 1 &&
	    !digest_equal(&commit->leases[0]->digest, &commit->request->digest))
		return -ERR_BAD_REQUEST;
	return 0;
}

/* An append says to which content: to that one it is made, or not at all. */
static int base_check(struct nameserver *ns, const struct put_commit_request *request,
		      struct inode *ret)
{
	int rc;

	if (!(request->flags & PUT_APPEND)) {
		bool based = request->base_inode || request->base_version || request->base_size;

		return based ? -ERR_BAD_REQUEST : 0;
	}
	if (request->flags & PUT_REPLACE || request->copies)
		return -ERR_BAD_REQUEST;
	rc = catalogue_find(ns->kv, request->path, ret);
	if (rc < 0)
		return rc;
	return ret->id == request->base_inode && ret->version == request->base_version ? 0
										       : -ERR_STALE;
}

static int commit_prepare(struct nameserver *ns, const struct client *client, struct commit *commit)
{
	const struct put_commit_request *request = commit->request;
	bool named = request->put || request->chunks_count || request->receipts_count;
	int rc = path_check(request->path);

	if (rc < 0)
		return rc;
	commit->chunk_size = ns->config.chunk_size;
	commit->put = put_find(ns, client, request->put);
	if (named && !commit->put)
		return -ERR_EXPIRED;
	if (commit->put)
		put_renew(ns, commit->put);
	rc = put_target(ns, request->path, request->flags, &commit->copies);
	if (rc == 0)
		rc = base_check(ns, request, &commit->base);
	if (rc < 0)
		return rc;
	/* What is appended to may be another file than when the put began. */
	if (request->put && !(request->flags & PUT_APPEND))
		commit->copies = commit->put->copies;
	if (request->copies)
		commit->copies = request->copies;
	if (commit->copies == 0)
		commit->copies = ns->config.copies;
	rc = request->receipts_count
		     ? receipts_take(ns, commit->put, request->receipts, request->receipts_count)
		     : 0;
	if (rc == 0)
		rc = request->put ? leases_of_put(ns, commit) : leases_of_request(ns, commit);
	return rc < 0 ? rc : chunks_check(ns, commit);
}

static int append_tail(struct nameserver *ns, const struct commit *commit,
		       const struct chunk_row *rows, struct inode *ret)
{
	const struct put_commit_request *request = commit->request;
	const struct new_tail tail = {
		.inode = fresh_id(ns, &ns->next_inode),
		.base_size = request->base_size,
		.size = request->size,
		.digest = request->digest,
		.now_ms = ns->wall_ms,
		.chunk_size = commit->chunk_size,
		.chunks_max = PUT_CHUNKS_MAX_,
		.chunks = rows,
		.chunk_count = commit->count,
	};

	*ret = commit->base;
	return catalogue_append(ns->kv, ret, &tail, uptime_ms(ns));
}

static int commit_file(struct nameserver *ns, const struct commit *commit,
		       const struct chunk_row *rows, struct inode *ret)
{
	const struct put_commit_request *request = commit->request;
	const struct new_file file = {
		.entry = { .inode = fresh_id(ns, &ns->next_inode),
			   .now_ms = ns->wall_ms,
			   .copies = commit->copies,
			   .replace = request->flags & PUT_REPLACE },
		.size = request->size,
		.digest = request->digest,
		.chunk_size = commit->chunk_size,
		.chunks = rows,
		.chunk_count = commit->count,
	};

	return catalogue_put_file(ns->kv, request->path, &file, uptime_ms(ns), ret);
}

static int commit_chunks(struct nameserver *ns, const struct commit *commit, struct inode *ret)
{
	struct chunk_row *rows = arena_alloc(&ns->arena, commit->count * sizeof(*rows));

	if (!rows)
		return -ERR_NO_MEMORY;
	for (uint32_t i = 0; i < commit->count; i++) {
		const struct lease *lease = commit->leases[i];

		rows[i] = (struct chunk_row){
			.chunk = lease->chunk,
			.length = lease->length,
			.digest = lease->digest,
		};
	}
	return commit->request->flags & PUT_APPEND ? append_tail(ns, commit, rows, ret)
						   : commit_file(ns, commit, rows, ret);
}

/* From the last one on: leases of a put close the gap that one leaves with their last. */
static void commit_done(struct nameserver *ns, struct commit *commit)
{
	for (uint32_t i = commit->count; i > 0; i--)
		lease_free(ns, commit->leases[i - 1], true);
	if (commit->request->put)
		put_free(ns, commit->put);
}

static void commit_tell(struct nameserver *ns, const struct commit *commit,
			const struct inode *inode)
{
	const struct put_commit_request *request = commit->request;
	const char *path = quoted(ns, request->path);
	uint64_t ms = request->put ? ns->now_ms - commit->put->begun_ms : park_age_ms(ns);

	if (request->flags & PUT_APPEND)
		ns_event(ns, LOG_INFO, "appended",
			 "path=%s size=%llu added=%llu copies=%u/%u ms=%llu", path,
			 (unsigned long long)inode->size,
			 (unsigned long long)(inode->size - commit->base.size), commit->durable,
			 commit->copies, (unsigned long long)ms);
	else
		ns_event(ns, LOG_INFO, "put_committed",
			 "path=%s size=%llu chunks=%u copies=%u/%u ms=%llu", path,
			 (unsigned long long)inode->size, inode->chunks, commit->durable,
			 commit->copies, (unsigned long long)ms);
}

int on_put_commit(struct nameserver *ns, struct session *from,
		  const struct put_commit_request *request, struct put_commit_reply *reply)
{
	struct commit commit = { .request = request };
	struct inode inode;
	int rc = commit_prepare(ns, from->client, &commit);

	if (rc == 0)
		rc = commit_chunks(ns, &commit, &inode);
	for (uint32_t i = 0; rc == 0 && i < commit.count; i++)
		rc = places_begin(ns, commit.leases[i], commit.copies);
	if (rc < 0)
		return rc;
	*reply = (struct put_commit_reply){
		.inode = inode.id,
		.version = inode.version,
		.copies = commit.durable,
		.copies_wanted = commit.copies,
	};
	commit_tell(ns, &commit, &inode);
	ns->garbage = ns->garbage || inode.version > 1;
	if (inode.version > 1)
		trash_changed(ns);
	commit_done(ns, &commit);
	return 0;
}

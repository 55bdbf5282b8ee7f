/* Changes to the tree of names that concern no bytes. */
#include "hash.h"
#include "hold.h"
#include "letting_go.h"
#include "path.h"

uint64_t next_inode(void *context)
{
	struct nameserver *ns = context;

	return fresh_id(ns, &ns->next_inode);
}

int on_mkdir(struct nameserver *ns, struct session *from, const struct mkdir_request *request,
	     struct mkdir_reply *reply)
{
	const struct new_entry how = {
		.inode = next_inode(ns),
		.now_ms = ns->wall_ms,
		.parents = request->flags & MKDIR_PARENTS,
	};
	struct inode inode;
	int rc = path_check(request->path);

	(void)from;
	if (rc == 0)
		rc = catalogue_mkdir(ns->kv, request->path, &how, next_inode, ns);
	if (rc == 0)
		rc = catalogue_find(ns->kv, request->path, &inode);
	if (rc < 0)
		return rc;
	reply->inode = inode.id;
	ns_event(ns, LOG_INFO, "mkdir", "path=%s ms=%llu", quoted(ns, request->path),
		 (unsigned long long)park_age_ms(ns));
	return 0;
}

enum { COUNT_STEP = 16 * 1024 }; /* entries of a tree that goes: some 10 ms */

/* What hangs below a name is counted before anything happens. 0: more is to be counted. */
static int tree_count_ahead(struct nameserver *ns, const struct session *from,
			    const struct remove_request *request)
{
	struct long_request *known = long_request_get(ns, from, request->operation);
	int rc = known ? 0 : -ERR_NO_MEMORY;

	if (rc == 0 && !known->count)
		rc = tree_count_new(ns->kv, request->path, &known->count);
	/* What cannot be counted is for catalogue_remove to refuse. */
	return rc < 0 ? 1 : tree_count_step(ns->kv, known->count, COUNT_STEP);
}

int on_remove(struct nameserver *ns, struct session *from, const struct remove_request *request,
	      struct remove_reply *reply)
{
	bool tree = request->flags & REMOVE_TREE;
	struct removed removed;
	int rc = path_check(request->path);

	if (rc == 0 && tree && tree_count_ahead(ns, from, request) == 0)
		return long_request_park(ns);
	if (rc == 0)
		rc = catalogue_remove(ns->kv, request->path, request->flags, moment_now(ns),
				      &removed);
	if (tree)
		long_request_end(ns, from, request->operation);
	if (rc < 0)
		return rc;
	reply->removed = removed.entries;
	reply->bytes = removed.bytes;
	ns_event(ns, LOG_INFO, "removed", "path=%s entries=%llu bytes=%llu ms=%llu",
		 quoted(ns, request->path), (unsigned long long)removed.entries,
		 (unsigned long long)removed.bytes, (unsigned long long)park_age_ms(ns));
	trash_changed(ns);
	return 0;
}

int on_create(struct nameserver *ns, struct session *from, const struct create_request *request,
	      struct create_reply *reply)
{
	const struct new_file file = {
		.entry = { .inode = next_inode(ns), .now_ms = ns->wall_ms },
		.chunk_size = ns->config.chunk_size,
		.digest = digest_of("", 0),
	};
	struct inode inode;
	int rc = path_check(request->path);

	(void)from;
	if (rc == 0)
		rc = catalogue_put_file(ns->kv, request->path, &file, uptime_ms(ns), &inode);
	if (rc < 0)
		return rc;
	reply->inode = inode.id;
	reply->version = inode.version;
	ns_event(ns, LOG_INFO, "created", "path=%s size=0 copies=%u ms=%llu",
		 quoted(ns, request->path), copies_wanted(ns, &inode),
		 (unsigned long long)park_age_ms(ns));
	return 0;
}

int on_set_copies(struct nameserver *ns, struct session *from,
		  const struct set_copies_request *request, struct set_copies_reply *reply)
{
	struct inode inode;
	uint8_t held = 0;
	int rc = request->copies ? path_check(request->path) : -ERR_BAD_REQUEST;

	(void)from;
	if (rc == 0)
		rc = catalogue_set_copies(ns->kv, request->path, request->copies, &inode);
	if (rc == 0)
		rc = file_copies(ns, &inode, (struct chunk_range){ 0, inode.chunks }, &held);
	if (rc < 0)
		return rc;
	reply->copies = held;
	ns_event(ns, LOG_INFO, "copies_set", "path=%s size=%llu copies=%llu held=%u ms=%llu",
		 quoted(ns, request->path), (unsigned long long)inode.size,
		 (unsigned long long)request->copies, held, (unsigned long long)park_age_ms(ns));
	if (inode.type == ENTRY_FILE) {
		brake_copies_set(ns);
		sweep_request(ns, true);
	}
	return 0;
}

/* What was removed, and emptying the store. */
#include "letting_go.h"
#include "path.h"

enum {
	LOOK_MAX = 4096,   /* entries that one TRASH_LIST looks at */
	PURGE_STEP = 2048, /* entries that go in one turn */
};

/* Those below have been let go: too old, or the trash was emptied. */
static int first_ms(struct nameserver *ns, uint64_t *ret)
{
	struct trash_state state;
	int rc = trash_state_get(ns->kv, &state);

	*ret = trash_from_ms(ns);
	if (rc == 0 && state.first_ms > *ret)
		*ret = state.first_ms;
	return rc;
}

/* ---- TRASH_LIST ---- */

static bool is_at_or_below(struct slice path, struct slice above)
{
	if (above.size <= 1)
		return true;
	return path.size >= above.size && memcmp(path.data, above.data, above.size) == 0 &&
	       (path.size == above.size || path.data[above.size] == '/');
}

static int trash_entry_fill(struct nameserver *ns, const struct trash_row *row,
			    struct trash_entry *ret)
{
	uint8_t *path = arena_alloc(&ns->arena, row->path.size);
	uint64_t due_ms = row->since_ms + ns->config.trash_ms;

	if (!path)
		return -ERR_NO_MEMORY;
	memcpy(path, row->path.data, row->path.size);
	*ret = (struct trash_entry){
		.since_ms = row->since_ms,
		.id = row->inode,
		.path = { path, row->path.size },
		.type = row->type,
		.entries = row->totals.files + row->totals.directories,
		.bytes = row->totals.bytes,
		.removed_ms = row->removed_ms,
		.purge_in_ms = due_ms > uptime_ms(ns) ? due_ms - uptime_ms(ns) : 0,
	};
	return 0;
}

static int list_fill(struct nameserver *ns, const struct trash_list_request *request,
		     struct trash_row *at, struct trash_list_reply *reply)
{
	struct trash_entry *entries = arena_alloc(&ns->arena, TRASH_PAGE_MAX * sizeof(*entries));

	if (!entries)
		return -ERR_NO_MEMORY;
	reply->entries = entries;
	for (int i = 0; i < LOOK_MAX && reply->entries_count < TRASH_PAGE_MAX; i++) {
		int rc = trash_next(ns->kv, at->since_ms, at->inode, at);

		if (rc == 0 && is_at_or_below(at->path, request->path))
			rc = trash_entry_fill(ns, at, &entries[reply->entries_count++]);
		if (rc < 0)
			return rc == -ERR_NOT_FOUND ? 0 : rc;
	}
	reply->more = 1;
	return 0;
}

int on_trash_list(struct nameserver *ns, struct session *from,
		  const struct trash_list_request *request, struct trash_list_reply *reply)
{
	struct trash_row at = { .since_ms = request->since_ms, .inode = request->id };
	uint64_t from_ms = 0;
	int rc = request->path.size ? path_check(request->path) : 0;

	(void)from;
	if (rc == 0)
		rc = first_ms(ns, &from_ms);
	if (rc < 0)
		return rc;
	if (at.since_ms < from_ms)
		at = (struct trash_row){ .since_ms = from_ms };
	rc = list_fill(ns, request, &at, reply);
	reply->since_ms = at.since_ms;
	reply->id = at.inode;
	return rc;
}

/* ---- TRASH_RESTORE, TRASH_PURGE ---- */

int on_trash_restore(struct nameserver *ns, struct session *from,
		     const struct trash_restore_request *request, struct trash_restore_reply *reply)
{
	struct restore how = {
		.path = request->path,
		.to = request->to,
		.id = request->id,
		.now_ms = ns->wall_ms,
	};
	struct removed back;
	int rc = path_check(request->path);

	(void)from;
	if (rc == 0 && request->to.size)
		rc = path_check(request->to);
	if (rc == 0)
		rc = first_ms(ns, &how.from_ms);
	if (rc == 0)
		rc = catalogue_restore(ns->kv, &how, next_inode, ns, &back);
	if (rc < 0)
		return rc;
	*reply = (struct trash_restore_reply){
		.entries = back.entries,
		.bytes = back.bytes,
		.path = request->to.size ? request->to : request->path,
	};
	trash_changed(ns);
	ns_event(ns, LOG_INFO, "restored", "path=%s entries=%llu ms=%llu", quoted(ns, reply->path),
		 (unsigned long long)back.entries, (unsigned long long)park_age_ms(ns));
	return 0;
}

/* Of one path: there may be as many as it was written over. 1: more is to be done. */
static int purge_path(struct nameserver *ns, const struct session *from,
		      const struct trash_purge_request *request, struct removed *ret)
{
	struct purge how = {
		.path = request->path,
		.id = request->id,
		.when = moment_now(ns),
		.most = PURGE_STEP,
	};
	struct long_request *known = long_request_get(ns, from, request->operation);
	int rc = known ? first_ms(ns, &how.from_ms) : -ERR_NO_MEMORY;

	if (rc == 0)
		rc = catalogue_purge(ns->kv, &how, ret);
	if (rc == -ERR_NOT_FOUND && known->gone.entries)
		rc = 0;
	if (rc >= 0) {
		ret->entries = known->gone.entries += ret->entries;
		ret->bytes = known->gone.bytes += ret->bytes;
		garbage_soon(ns);
	}
	if (rc <= 0)
		long_request_end(ns, from, request->operation);
	return rc;
}

int on_trash_purge(struct nameserver *ns, struct session *from,
		   const struct trash_purge_request *request, struct trash_purge_reply *reply)
{
	bool all = request->path.size == 0 && request->id == 0;
	struct removed gone = { 0 };
	int rc = all ? catalogue_purge_all(ns->kv, &gone) : path_check(request->path);

	if (rc == 0 && !all)
		rc = purge_path(ns, from, request, &gone);
	if (rc != 0)
		return rc < 0 ? rc : long_request_park(ns);
	reply->entries = gone.entries;
	reply->bytes = gone.bytes;
	trash_changed(ns);
	garbage_soon(ns);
	ns_event(ns, LOG_INFO, "purged", "entries=%llu bytes=%llu ms=%llu",
		 (unsigned long long)gone.entries, (unsigned long long)gone.bytes,
		 (unsigned long long)park_age_ms(ns));
	return 0;
}

/* ---- FORMAT ---- */

int on_format(struct nameserver *ns, struct session *from, const struct format_request *request,
	      struct format_reply *reply)
{
	struct removed gone;
	int rc;

	(void)from;
	if (!slice_equal(request->cluster_name, slice_of(ns->cluster_name)))
		return -ERR_BAD_REQUEST;
	rc = catalogue_empty(ns->kv, next_inode(ns), moment_now(ns), &gone);
	if (rc < 0)
		return rc;
	reply->entries = gone.entries;
	reply->bytes = gone.bytes;
	trash_changed(ns);
	garbage_soon(ns);
	ns_event(ns, LOG_WARN, "formatted", "entries=%llu bytes=%llu ms=%llu",
		 (unsigned long long)gone.entries, (unsigned long long)gone.bytes,
		 (unsigned long long)park_age_ms(ns));
	return 0;
}

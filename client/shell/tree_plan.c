#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "line.h"
#include "local_target.h"
#include "tree_plan.h"

static struct plan_item *item_new(struct plan *plan)
{
	if (plan->count == plan->room) {
		uint64_t room = plan->room ? plan->room * 2 : 256;
		struct plan_item *items = reallocarray(plan->items, room, sizeof(*items));

		if (!items)
			return NULL;
		plan->items = items;
		plan->room = room;
	}
	return &plan->items[plan->count];
}

/* `parent` by value: its home may move. */
static int item_add(struct plan *plan, struct plan_item parent, const char *name,
		    const struct plan_item *found)
{
	size_t front = strlen(parent.path);
	size_t size = strlen(name) + 1;
	char *path = arena_alloc(&plan->arena, front + 1 + size);
	struct plan_item *item = item_new(plan);

	if (!path || !item)
		return -ERR_NO_MEMORY;
	memcpy(path, parent.path, front);
	if (front)
		path[front++] = '/';
	memcpy(path + front, name, size);
	*item = *found;
	item->path = path;
	item->depth = parent.depth + 1;
	plan->count++;
	plan->directories += item->directory;
	plan->files += !item->directory;
	plan->bytes += item->size;
	return 0;
}

static void skip(struct plan *plan, const struct plan_item *parent, const char *name, int error,
		 const char *why)
{
	char path[8192];

	snprintf(path, sizeof(path), "%s%s%s", parent->path, *parent->path && *name ? "/" : "",
		 name);
	plan->skip(plan->context, path, error, why);
}

static int local_entry(struct plan *plan, const struct plan_item *parent, int directory,
		       const char *name)
{
	struct plan_item found = { 0 };
	struct stat st;
	bool link;

	if (fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		skip(plan, parent, name, error_from_errno(errno), NULL);
		return 0;
	}
	link = S_ISLNK(st.st_mode);
	if (link && fstatat(directory, name, &st, 0) < 0) {
		skip(plan, parent, name, errno == ELOOP ? -ERR_NOT_FOUND : error_from_errno(errno),
		     "the link leads nowhere");
		return 0;
	}
	if (S_ISDIR(st.st_mode) && link) {
		skip(plan, parent, name, 0, "a link to a directory");
		return 0;
	}
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		skip(plan, parent, name, 0, "neither a file nor a directory");
		return 0;
	}
	found.directory = S_ISDIR(st.st_mode);
	found.size = found.directory ? 0 : (uint64_t)st.st_size;
	return item_add(plan, *parent, name, &found);
}

static int local_level(struct plan *plan, struct plan_item parent, DIR *stream)
{
	struct dirent *entry = NULL;
	int rc = 0;

	/* Which error that was, is only known where no entry came. */
	errno = 0;
	while (rc == 0 && !plan->stop(plan->context)) {
		errno = 0;
		entry = readdir(stream);
		if (!entry)
			break;
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			rc = local_entry(plan, &parent, dirfd(stream), entry->d_name);
	}
	if (rc == 0 && !entry && errno)
		skip(plan, &parent, "", error_from_errno(errno), NULL);
	return rc;
}

static int local_directory(struct plan *plan, const char *root, struct plan_item parent)
{
	char path[8192];
	DIR *stream;
	int rc;

	snprintf(path, sizeof(path), "%s/%s", root, parent.path);
	stream = opendir(path);
	if (!stream) {
		skip(plan, &parent, "", error_from_errno(errno), NULL);
		return 0;
	}
	rc = local_level(plan, parent, stream);
	closedir(stream);
	return rc;
}

static int root_add(struct plan *plan)
{
	struct plan_item *item = item_new(plan);

	if (!item)
		return -ERR_NO_MEMORY;
	*item = (struct plan_item){ .path = "", .directory = true };
	plan->count = plan->directories = 1;
	return 0;
}

int plan_local(struct plan *plan, const char *root)
{
	int rc = root_add(plan);

	for (uint64_t i = 0; rc == 0 && i < plan->count && !plan->stop(plan->context); i++) {
		if (plan->items[i].directory)
			rc = local_directory(plan, root, plan->items[i]);
	}
	return rc;
}

static int remote_entry(struct plan *plan, const struct plan_item *parent,
			const struct muster_entry *entry)
{
	struct plan_item found = {
		.directory = entry->type == MUSTER_DIRECTORY,
		.size = entry->type == MUSTER_DIRECTORY ? 0 : entry->size,
	};

	if (!local_name_safe(entry->name)) {
		skip(plan, parent, entry->name, -ERR_BAD_NAME, NULL);
		return 0;
	}
	return item_add(plan, *parent, entry->name, &found);
}

static int remote_directory(struct plan *plan, struct muster *session, const char *root,
			    struct plan_item parent)
{
	char path[REMOTE_PATH_MAX];
	struct muster_entry entry;
	struct muster_list *list;
	int rc = *parent.path ? remote_join(root, parent.path, path)
			      : remote_resolve("/", root, path);

	if (rc == 0)
		rc = muster_list_open(session, path, &list);
	if (rc < 0)
		return rc;
	while ((rc = muster_list_next(list, &entry)) == 1) {
		rc = remote_entry(plan, &parent, &entry);
		if (rc < 0 || plan->stop(plan->context))
			break;
	}
	muster_list_close(list);
	return rc < 0 ? rc : 0;
}

int plan_remote(struct plan *plan, struct muster *session, const char *root)
{
	int rc = root_add(plan);

	for (uint64_t i = 0; rc == 0 && i < plan->count && !plan->stop(plan->context); i++) {
		if (plan->items[i].directory)
			rc = remote_directory(plan, session, root, plan->items[i]);
		/* Removed meanwhile: not part of the tree any more. */
		if (rc == -ERR_NOT_FOUND && i > 0)
			rc = 0;
	}
	return rc;
}

void plan_done(struct plan *plan)
{
	arena_done(&plan->arena);
	free(plan->items);
	plan->items = NULL;
	plan->count = plan->room = 0;
}

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "disk_names.h"

const char *path_clean(const char *path)
{
	while (path[0] == '.' && path[1] == '/')
		path += 2;
	return strcmp(path, ".") == 0 ? "" : path;
}

static size_t parent_length(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) : 0;
}

bool path_parent_is(const char *path, const char *dir)
{
	size_t length = strlen(dir);

	return parent_length(path) == length && strncmp(path, dir, length) == 0;
}

static bool parent_exists(struct sim_name *names, const char *path)
{
	size_t length = parent_length(path);
	struct sim_name *name;

	if (!length)
		return true;
	HASH_FIND(hh, names, path, length, name);
	return name && name->file->directory;
}

bool names_has_parent(struct disk_names *names, const char *path)
{
	return parent_exists(names->now, path);
}

void file_drop(struct sim_file *file)
{
	assert(file->refs);
	if (--file->refs == 0)
		sim_file_free(file);
}

static struct sim_name *name_find(struct sim_name *names, const char *path)
{
	struct sim_name *name;

	HASH_FIND_STR(names, path, name);
	return name;
}

static void name_remove(struct sim_name **names, struct sim_name *name)
{
	HASH_DEL(*names, name);
	file_drop(name->file);
	free(name);
}

static void name_put(struct sim_name **names, const char *path, struct sim_file *file)
{
	struct sim_name *old = name_find(*names, path);
	size_t size = strlen(path) + 1;
	struct sim_name *name = malloc(sizeof(*name) + size);

	assert(name);
	memcpy(name->path, path, size);
	name->file = file;
	file->refs++;
	if (old)
		name_remove(names, old);
	HASH_ADD_STR(*names, path, name);
}

static void see(struct disk_names *names, const char *path, struct sim_file *file)
{
	struct sim_name *old = name_find(names->now, path);

	file->live++;
	if (old)
		old->file->live--;
	name_put(&names->now, path, file);
}

static void unsee(struct disk_names *names, struct sim_name *name)
{
	name->file->live--;
	name_remove(&names->now, name);
}

struct sim_file *names_find(struct disk_names *names, const char *path)
{
	struct sim_name *name = name_find(names->now, path);

	return name ? name->file : NULL;
}

static void change_add(struct disk_names *names, const struct sim_change *what)
{
	struct sim_change *change = malloc(sizeof(*change));

	assert(change);
	*change = *what;
	change->path = strdup(what->path);
	change->to = what->to ? strdup(what->to) : NULL;
	assert(change->path && (change->to || !what->to));
	change->file->refs++;
	TAILQ_INSERT_TAIL(&names->pending, change, link);
}

static void change_free(struct disk_names *names, struct sim_change *change)
{
	TAILQ_REMOVE(&names->pending, change, link);
	file_drop(change->file);
	free(change->path);
	free(change->to);
	free(change);
}

void names_create(struct disk_names *names, const char *path, struct sim_file *file)
{
	see(names, path, file);
	change_add(names, &(struct sim_change){
				  .kind = CREATED, .path = (char *)(uintptr_t)path, .file = file });
}

void names_rename(struct disk_names *names, const char *from, const char *to)
{
	struct sim_name *name = name_find(names->now, from);
	struct sim_file *file = name->file;

	change_add(names, &(struct sim_change){ .kind = RENAMED,
						.path = (char *)(uintptr_t)from,
						.to = (char *)(uintptr_t)to,
						.file = file });
	unsee(names, name);
	see(names, to, file);
}

void names_unlink(struct disk_names *names, const char *path)
{
	struct sim_name *name = name_find(names->now, path);

	change_add(names, &(struct sim_change){ .kind = UNLINKED,
						.path = (char *)(uintptr_t)path,
						.file = name->file });
	unsee(names, name);
}

static void change_apply(struct disk_names *names, const struct sim_change *change)
{
	struct sim_name *name = name_find(names->durable, change->path);

	if (change->kind == CREATED) {
		name_put(&names->durable, change->path, change->file);
		return;
	}
	if (name && name->file == change->file)
		name_remove(&names->durable, name);
	if (change->kind == RENAMED)
		name_put(&names->durable, change->to, change->file);
}

/* Applies the chosen ones in order and forgets all (at a crash) or only them (at a sync). */
static void changes_apply(struct disk_names *names, bool forget_all)
{
	struct sim_change *change = TAILQ_FIRST(&names->pending);

	while (change) {
		struct sim_change *next = TAILQ_NEXT(change, link);

		if (change->chosen)
			change_apply(names, change);
		if (change->chosen || forget_all)
			change_free(names, change);
		change = next;
	}
}

static bool touches(const struct sim_change *change, const char *dir)
{
	return path_parent_is(change->path, dir) || (change->to && path_parent_is(change->to, dir));
}

static bool overlap(const struct sim_change *a, const struct sim_change *b)
{
	return strcmp(a->path, b->path) == 0 || (a->to && strcmp(a->to, b->path) == 0);
}

/* A rename between directories takes along what happened to the old name before it. */
static bool follows(const struct sim_change *change)
{
	const struct sim_change *later = change;

	while ((later = TAILQ_NEXT(later, link)))
		if (later->chosen && later->kind == RENAMED && overlap(change, later))
			return true;
	return false;
}

void names_sync(struct disk_names *names, const char *dir)
{
	struct sim_change *change;
	bool again;

	TAILQ_FOREACH(change, &names->pending, link)
		change->chosen = touches(change, dir);
	do {
		again = false;
		TAILQ_FOREACH(change, &names->pending, link)
			if (!change->chosen && follows(change))
				change->chosen = again = true;
	} while (again);
	changes_apply(names, false);
}

size_t names_pending(const struct disk_names *names)
{
	const struct sim_change *change;
	size_t count = 0;

	TAILQ_FOREACH(change, &names->pending, link)
		count++;
	return count;
}

static void see_durable(struct disk_names *names)
{
	struct sim_name *name, *next;

	HASH_ITER(hh, names->now, name, next)
		unsee(names, name);
	HASH_ITER(hh, names->durable, name, next)
		see(names, name->path, name->file);
}

/* What is in a directory that did not make it is gone with it. */
static void orphans_remove(struct disk_names *names)
{
	struct sim_name *name, *next;
	bool again;

	do {
		again = false;
		HASH_ITER(hh, names->durable, name, next)
			if (!parent_exists(names->durable, name->path)) {
				name_remove(&names->durable, name);
				again = true;
			}
	} while (again);
}

void names_crash(struct disk_names *names, names_keep_fn *keep, void *context)
{
	struct sim_change *change;

	TAILQ_FOREACH(change, &names->pending, link)
		change->chosen = keep(context);
	changes_apply(names, true);
	orphans_remove(names);
	see_durable(names);
}

void names_init(struct disk_names *names)
{
	*names = (struct disk_names){ 0 };
	TAILQ_INIT(&names->pending);
}

void names_done(struct disk_names *names)
{
	struct sim_name *name, *next;

	while (!TAILQ_EMPTY(&names->pending))
		change_free(names, TAILQ_FIRST(&names->pending));
	HASH_ITER(hh, names->now, name, next)
		unsee(names, name);
	HASH_ITER(hh, names->durable, name, next)
		name_remove(&names->durable, name);
}

static struct sim_file *twin(struct sim_file *file)
{
	if (!file->twin)
		file->twin = sim_file_copy(file);
	return file->twin;
}

void names_copy(struct disk_names *names, const struct disk_names *from)
{
	struct sim_change *change;
	struct sim_name *name;

	names_init(names);
	for (name = from->now; name; name = name->hh.next)
		see(names, name->path, twin(name->file));
	for (name = from->durable; name; name = name->hh.next)
		name_put(&names->durable, name->path, twin(name->file));
	TAILQ_FOREACH(change, &from->pending, link) {
		struct sim_change copy = *change;

		copy.file = twin(change->file);
		change_add(names, &copy);
	}
	for (name = from->now; name; name = name->hh.next)
		name->file->twin = NULL;
	for (name = from->durable; name; name = name->hh.next)
		name->file->twin = NULL;
	TAILQ_FOREACH(change, &from->pending, link)
		change->file->twin = NULL;
}

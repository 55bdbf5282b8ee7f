#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

#include "disk_image.h"
#include "disk_sim.h"
#include "error.h"

enum { LIE = 1 };

struct sim_name {
	struct sim_file *file;
	UT_hash_handle hh;
	char path[];
};

/* A change of names that no sync_dir has made durable yet. */
struct sim_change {
	enum { CREATED, RENAMED, UNLINKED } kind;
	bool chosen;
	char *path;
	char *to; /* RENAMED only */
	struct sim_file *file;
	TAILQ_ENTRY(sim_change) link;
};

struct sim_handle {
	struct sim_file *file; /* NULL: free */
	bool read_only;
	bool lock;
};

struct disk_sim {
	struct disk disk;
	pthread_mutex_t mutex;
	uint64_t capacity;
	struct sim_name *now;
	struct sim_name *durable;
	TAILQ_HEAD(, sim_change) pending;
	struct sim_handle *handles;
	size_t handle_count;
	uint64_t steps;
	uint64_t off_at; /* the step with which the power fails */
	bool off;
	struct disk_sim_fault fault;
	uint64_t seen; /* operations the fault has counted */
	uint64_t hits;
	disk_sim_watch_fn *before;
	void *before_context;
	struct disk_sim_costs costs;
};

static struct disk_sim *sim_of(struct disk *disk)
{
	return (struct disk_sim *)disk;
}

/* ---- names ---- */

static const char *path_clean(const char *path)
{
	while (path[0] == '.' && path[1] == '/')
		path += 2;
	return strcmp(path, ".") == 0 ? "" : path;
}

static void file_drop(struct sim_file *file)
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
	struct sim_name *name = malloc(sizeof(*name) + strlen(path) + 1);

	assert(name);
	strcpy(name->path, path);
	name->file = file;
	file->refs++;
	if (old)
		name_remove(names, old);
	HASH_ADD_STR(*names, path, name);
}

static void name_see(struct disk_sim *sim, const char *path, struct sim_file *file)
{
	struct sim_name *old = name_find(sim->now, path);

	file->live++;
	if (old)
		old->file->live--;
	name_put(&sim->now, path, file);
}

static void name_unsee(struct disk_sim *sim, struct sim_name *name)
{
	name->file->live--;
	name_remove(&sim->now, name);
}

static struct sim_file *file_find(struct disk_sim *sim, const char *path)
{
	struct sim_name *name = name_find(sim->now, path);

	return name ? name->file : NULL;
}

static size_t parent_length(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) : 0;
}

static bool parent_is(const char *path, const char *dir)
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

/* ---- pending changes ---- */

static void change_add(struct disk_sim *sim, const struct sim_change *what)
{
	struct sim_change *change = malloc(sizeof(*change));

	assert(change);
	*change = *what;
	change->chosen = false;
	change->path = strdup(what->path);
	change->to = what->to ? strdup(what->to) : NULL;
	assert(change->path && (change->to || !what->to));
	change->file->refs++;
	TAILQ_INSERT_TAIL(&sim->pending, change, link);
}

static void change_free(struct disk_sim *sim, struct sim_change *change)
{
	TAILQ_REMOVE(&sim->pending, change, link);
	file_drop(change->file);
	free(change->path);
	free(change->to);
	free(change);
}

static void change_apply(struct disk_sim *sim, const struct sim_change *change)
{
	struct sim_name *name = name_find(sim->durable, change->path);

	if (change->kind == CREATED) {
		name_put(&sim->durable, change->path, change->file);
		return;
	}
	if (name && name->file == change->file)
		name_remove(&sim->durable, name);
	if (change->kind == RENAMED)
		name_put(&sim->durable, change->to, change->file);
}

/* Applies the chosen ones in order and forgets all (at a crash) or only them (at a sync). */
static void changes_apply(struct disk_sim *sim, bool forget_all)
{
	struct sim_change *change = TAILQ_FIRST(&sim->pending);

	while (change) {
		struct sim_change *next = TAILQ_NEXT(change, link);

		if (change->chosen)
			change_apply(sim, change);
		if (change->chosen || forget_all)
			change_free(sim, change);
		change = next;
	}
}

static bool change_touches(const struct sim_change *change, const char *dir)
{
	return parent_is(change->path, dir) || (change->to && parent_is(change->to, dir));
}

static bool changes_overlap(const struct sim_change *a, const struct sim_change *b)
{
	return strcmp(a->path, b->path) == 0 || (a->to && strcmp(a->to, b->path) == 0);
}

/* A rename between directories takes along what happened to the old name before it. */
static void changes_choose(struct disk_sim *sim, const char *dir)
{
	struct sim_change *change;

	TAILQ_FOREACH_REVERSE(change, &sim->pending, sim_changes, link)
	{
		struct sim_change *later = change;

		change->chosen = change_touches(change, dir);
		while (!change->chosen && (later = TAILQ_NEXT(later, link)))
			change->chosen = later->chosen && later->kind == RENAMED &&
					 changes_overlap(change, later);
	}
}

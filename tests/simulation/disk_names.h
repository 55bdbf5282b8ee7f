/* Names of a simulated disk: those that are seen, those that are durable, and the changes that no
 * directory sync has carried over yet. Part of disk_sim. */
#ifndef MUSTER_TESTS_DISK_NAMES_H
#define MUSTER_TESTS_DISK_NAMES_H

#include <sys/queue.h>
#include <uthash.h>

#include "disk_image.h"
#include "disk_sim.h"

struct sim_name {
	struct sim_file *file;
	UT_hash_handle hh;
	char path[];
};

struct sim_change {
	enum { CREATED, RENAMED, UNLINKED } kind;
	bool chosen;
	char *path;
	char *to; /* RENAMED only */
	struct sim_file *file;
	TAILQ_ENTRY(sim_change) link;
};

TAILQ_HEAD(sim_changes, sim_change);

struct disk_names {
	struct sim_name *now;
	struct sim_name *durable;
	struct sim_changes pending;
};

void names_init(struct disk_names *names);
void names_done(struct disk_names *names);
void names_copy(struct disk_names *names, const struct disk_names *from);

const char *path_clean(const char *path); /* "./a" -> "a", "." -> "" */
bool path_parent_is(const char *path, const char *dir);

void file_drop(struct sim_file *file); /* frees with the last reference */
struct sim_file *names_find(struct disk_names *names, const char *path);
bool names_has_parent(struct disk_names *names, const char *path); /* as seen now */
void names_create(struct disk_names *names, const char *path, struct sim_file *file);
void names_rename(struct disk_names *names, const char *from, const char *to);
void names_unlink(struct disk_names *names, const char *path);

size_t names_pending(const struct disk_names *names);
void names_sync(struct disk_names *names, const char *dir);
/* A crash: each pending change is asked for, those that are kept become durable, in order; then
 * whatever is durable is what is seen. */
typedef bool names_keep_fn(void *context);
void names_crash(struct disk_names *names, names_keep_fn *keep, void *context);
void names_power_cut(struct disk_names *names, enum disk_sim_crash_mode mode, uint64_t seed);

#endif

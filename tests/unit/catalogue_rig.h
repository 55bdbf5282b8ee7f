/* A catalogue in memory, and short words for what the tests of moving and the trash do with it. */
#ifndef MUSTER_TESTS_CATALOGUE_RIG_H
#define MUSTER_TESTS_CATALOGUE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "catalogue.h"
#include "kv_memory.h"

struct rig {
	struct kv *kv;
	uint64_t next_id;
	uint64_t next_chunk;
	uint64_t uptime_ms;
	uint64_t freed; /* chunks that the collector reported */
	uint64_t held;  /* inode that is being read, or 0 */
};

int rig_setup(void **state);
int rig_teardown(void **state);

uint64_t rig_next_id(void *rig);
struct moment rig_now(const struct rig *rig);
int rig_mkdir(struct rig *rig, const char *path); /* and what is missing above */
/* A file with `chunks` chunks of 10 bytes. */
int rig_put(struct rig *rig, const char *path, uint32_t chunks, bool replace);
uint64_t rig_inode(struct rig *rig, const char *path); /* 0: no such thing */
int rig_remove(struct rig *rig, const char *path);
int rig_rename(struct rig *rig, const char *path, const char *to, unsigned int flags);
/* In steps of `most`; where it is now, terminated, in `ret` unless that is NULL. */
int rig_copy(struct rig *rig, const struct move *how, unsigned int most, char *ret);
int rig_restore(struct rig *rig, const char *path, const char *to);
uint64_t rig_rows(struct rig *rig, const char *kind);
uint64_t rig_collect(struct rig *rig); /* all garbage; returns the chunks that went */
struct totals rig_totals(struct rig *rig);
struct totals rig_trash(struct rig *rig);

/* What rows say of each other, counts included. */
void rig_check(struct rig *rig);

#define COPY(rig, from, to_, flags_)                                                               \
	rig_copy(rig,                                                                              \
		 &(struct move){ .path = slice_of(from), .to = slice_of(to_), .flags = (flags_) }, \
		 1000, NULL)

#endif

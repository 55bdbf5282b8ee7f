/* The simulated twin of struct disk: a disk in memory that loses, tears and refuses.
 *
 * What it models
 *   Content. Each file has a volatile image (what reads see: the page cache) and a durable one, in
 *   sectors of 512 bytes. A write changes the volatile image; sync_file copies the dirty sectors
 *   and the size over. Nothing else ever becomes durable by itself, but at a crash any unsynced
 *   sector may turn out to have reached the disk.
 *   Names. create, rename, unlink and mkdir are pending until sync_dir of the directory they
 *   changed. At a crash each pending one survives or not, one by one; a rename is atomic. A file
 *   whose name is lost is lost, however often it was synced; so is one in a lost directory.
 *   Failed syncs behave as Linux does: the dirty sectors are called clean and are lost. A later
 *   sync succeeds and does not write them, reads still see them until a crash.
 *   Failed writes have written half of what they were given.
 *   Space is bounded: -ERR_LOCAL_FULL. Preallocated bytes count.
 *
 * How to use it for "crash at every operation"
 *   A step is an operation that changes something: create, write, sync_file, sync_dir, rename,
 *   unlink, mkdir, allocate, truncate. Either run the workload again for n = 1, 2, … with
 *   disk_sim_power_off_at(sim, n), until a run ends with the power still on, then disk_sim_crash();
 *   or run it once with disk_sim_watch(): the function is called before each step and may
 *   disk_sim_clone() the disk and crash the clone, as often as it likes. An operation cut off in
 *   the middle needs no case of its own: random crashes after it leave every part of it.
 *
 * Everything is deterministic: what happens follows from the calls and the seeds. One mutex guards
 * a disk, so calls may come from several threads (whose order then decides). */
#ifndef MUSTER_TESTS_DISK_SIM_H
#define MUSTER_TESTS_DISK_SIM_H

#include "disk.h"

struct disk_sim;

/* An empty disk of `capacity` bytes; NULL: no memory. disk_free(disk_sim_disk(sim)) frees it. */
struct disk_sim *disk_sim_new(uint64_t capacity);
struct disk *disk_sim_disk(struct disk_sim *sim);
/* A copy with the same content, durable and not, but no open handles, locks, faults or watcher.
 * Cheap: pages are shared until one side writes. */
struct disk_sim *disk_sim_clone(struct disk_sim *sim);

enum disk_sim_crash_mode {
	DISK_SIM_DROP_ALL,  /* only what was synced is left */
	DISK_SIM_KEEP_ALL,  /* every write and name made it */
	DISK_SIM_RANDOM,    /* each unsynced sector and name: half of them make it */
	DISK_SIM_TEAR,      /* as RANDOM, and some sectors are half old, half new */
	DISK_SIM_DROP_DATA, /* all names and sizes made it, no content: delayed allocation */
	DISK_SIM_DROP_ONE,  /* all but one sector or name: hard on checksums */
	DISK_SIM_KILL,      /* only the process died: nothing is lost, all is unsynced */
	DISK_SIM_CRASH_MODES
};

/* The power fails and comes back: handles and locks are gone (their owner must have let go of them,
 * store_abandon() for one), what is left is durable, power is on, faults are removed. */
void disk_sim_crash(struct disk_sim *sim, enum disk_sim_crash_mode mode, uint64_t seed);

uint64_t disk_sim_steps(const struct disk_sim *sim);
/* From step `nth` on (counted from this call, the first is 1), that included, every operation fails
 * with -ERR_IO and does nothing, until disk_sim_crash(). 0: never. */
void disk_sim_power_off_at(struct disk_sim *sim, uint64_t nth);
bool disk_sim_power_is_off(const struct disk_sim *sim);
typedef void disk_sim_watch_fn(void *context, struct disk_sim *sim);
/* Calls `before` before each step; it may clone `sim` and look at it, not operate on it. */
void disk_sim_watch(struct disk_sim *sim, disk_sim_watch_fn *before, void *context);

enum disk_sim_kind {
	DISK_SIM_OPEN = 1 << 0,
	DISK_SIM_READ = 1 << 1,
	DISK_SIM_WRITE = 1 << 2,
	DISK_SIM_SYNC_FILE = 1 << 3,
	DISK_SIM_SYNC_DIR = 1 << 4,
	DISK_SIM_RENAME = 1 << 5,
	DISK_SIM_UNLINK = 1 << 6,
	DISK_SIM_MKDIR = 1 << 7,
	DISK_SIM_ALLOCATE = 1 << 8,
	DISK_SIM_TRUNCATE = 1 << 9,
	DISK_SIM_SIZE = 1 << 10,
	DISK_SIM_LIST = 1 << 11,
	DISK_SIM_SPACE = 1 << 12,
	DISK_SIM_LOCK = 1 << 13,
	DISK_SIM_EVERY = (1 << 14) - 1,
	DISK_SIM_CHANGES = DISK_SIM_WRITE | DISK_SIM_SYNC_FILE | DISK_SIM_SYNC_DIR |
			   DISK_SIM_RENAME | DISK_SIM_UNLINK | DISK_SIM_MKDIR | DISK_SIM_ALLOCATE |
			   DISK_SIM_TRUNCATE,
};

struct disk_sim_fault {
	unsigned int kinds; /* which operations are counted and hit */
	uint64_t nth;       /* the first one hit, from 1, counted from disk_sim_fail() on */
	int error;          /* -ERR_IO, -ERR_LOCAL_FULL …; 0: a lie, success without effect */
	bool sticky;        /* from then on; else once */
};

/* Replaces the present fault; one with nth 0 removes it. */
void disk_sim_fail(struct disk_sim *sim, const struct disk_sim_fault *fault);
uint64_t disk_sim_failed(const struct disk_sim *sim); /* how often it has hit */

/* Behind everybody's back, in both images; the file must exist and not end before. For rot and for
 * stale or misdirected writes. -ERR_NOT_FOUND, -ERR_RANGE. */
int disk_sim_flip(struct disk_sim *sim, const char *path, uint64_t offset, uint8_t mask);
int disk_sim_patch(struct disk_sim *sim, const char *path, const struct iovec *data,
		   uint64_t offset);

/* All files with their sizes, in the order of their creation. */
typedef void disk_sim_file_fn(void *context, const char *path, uint64_t size);
void disk_sim_each_file(struct disk_sim *sim, disk_sim_file_fn *each, void *context);

/* Operations so far, for cost figures. */
struct disk_sim_costs {
	uint64_t reads, writes, bytes_written, syncs, dir_syncs;
};
void disk_sim_costs(const struct disk_sim *sim, struct disk_sim_costs *ret);

#endif

/* Files of a simulated disk: a volatile and a durable image of each. Part of disk_sim. */
#ifndef MUSTER_TESTS_DISK_IMAGE_H
#define MUSTER_TESTS_DISK_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "random.h"

enum { SIM_PAGE = 4096, SIM_SECTOR = 512, SIM_SECTORS = SIM_PAGE / SIM_SECTOR };

struct sim_page; /* counted, shared by images and clones until somebody writes */

struct sim_slot {
	struct sim_page *now;     /* what reads see; NULL: zeros */
	struct sim_page *durable; /* what is left if nothing more is written */
	uint8_t dirty;            /* one bit per sector */
};

struct sim_file {
	unsigned int refs; /* names in both images, pending changes, handles */
	unsigned int live; /* names that are seen and handles: while > 0 it takes space */
	bool directory;
	bool marked;           /* for walks that meet a file once */
	struct sim_file *twin; /* while cloning */
	uint64_t size;
	uint64_t durable_size;
	uint64_t allocated;
	struct sim_slot *slots;
	size_t count;
};

struct sim_file *sim_file_new(bool directory);
void sim_file_free(struct sim_file *file);
struct sim_file *sim_file_copy(const struct sim_file *file); /* refs and live start at 0 */

uint64_t sim_file_charge(const struct sim_file *file); /* bytes of the disk that it takes */
size_t sim_file_read(const struct sim_file *file, void *data, size_t size, uint64_t offset);
int sim_file_write(struct sim_file *file, const void *data, size_t size, uint64_t offset);
/* Into both images, without making anything dirty. */
int sim_file_patch(struct sim_file *file, const void *data, size_t size, uint64_t offset);
void sim_file_truncate(struct sim_file *file, uint64_t size);
void sim_file_sync(struct sim_file *file);
void sim_file_lose(struct sim_file *file); /* a failed sync: dirty sectors are called clean */

/* What a crash leaves of a file. */
struct sim_fate {
	bool keep_size;
	unsigned int keep_of_256; /* chance of an unsynced sector */
	unsigned int tear_of_256; /* chance that one which is kept is kept in half */
	struct prng *prng;
};
uint64_t sim_file_dirty(const struct sim_file *file);      /* sectors */
void sim_file_forget(struct sim_file *file, uint64_t nth); /* loses the n-th dirty sector */
void sim_file_crash(struct sim_file *file, const struct sim_fate *fate);

#endif

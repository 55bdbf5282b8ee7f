/* All access to files goes through here, so that the same code runs on a real disk and on one that
 * loses, tears and refuses writes (tests/simulation/disk_sim.c).
 *
 * Paths are relative to the disk's root directory, which is "", and use '/'. A file handle is an
 * int >= 0. Every call returns 0 or a count, else a negative error code (-ERR_NOT_FOUND,
 * -ERR_LOCAL_FULL, -ERR_IO …).
 * What a power cut leaves: content is durable after disk_sync_file(); a name created, renamed or
 * removed is durable after disk_sync_dir() of its directory. After a failed sync nothing may be
 * retried or believed. Calls on different handles may run in different threads. */
#ifndef MUSTER_BASE_DISK_H
#define MUSTER_BASE_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct disk;

enum disk_open_flags {
	DISK_CREATE = 1 << 0,    /* create if missing */
	DISK_EXCLUSIVE = 1 << 1, /* with CREATE: it must not exist */
	DISK_READ_ONLY = 1 << 2,
};

struct disk_space {
	uint64_t capacity; /* bytes of the whole file system */
	uint64_t free;     /* bytes an ordinary user may still write */
};

typedef int disk_list_fn(void *context, const char *name, bool directory);

struct disk_ops {
	int (*open)(struct disk *disk, const char *path, int flags);
	int (*close)(struct disk *disk, int file);
	int64_t (*read)(struct disk *disk, int file, void *data, size_t size, uint64_t offset);
	/* May be NULL: then `read` is used. */
	int64_t (*read_cached)(struct disk *disk, int file, void *data, size_t size,
			       uint64_t offset);
	int64_t (*write)(struct disk *disk, int file, const struct iovec *parts, int count,
			 uint64_t offset);
	int (*sync_file)(struct disk *disk, int file);
	int (*sync_dir)(struct disk *disk, const char *path);
	int (*rename)(struct disk *disk, const char *from, const char *to);
	int (*unlink)(struct disk *disk, const char *path);
	int (*mkdir)(struct disk *disk, const char *path);
	int (*allocate)(struct disk *disk, int file, uint64_t offset, uint64_t size);
	int (*truncate)(struct disk *disk, int file, uint64_t size);
	int64_t (*size)(struct disk *disk, int file);
	int (*list)(struct disk *disk, const char *path, disk_list_fn *each, void *context);
	int (*space)(struct disk *disk, struct disk_space *ret);
	int (*lock)(struct disk *disk, const char *path); /* a handle; -ERR_LOCKED if taken */
	int (*descriptor)(struct disk *disk, int file);   /* for sendfile; -ERR_UNSUPPORTED */
	void (*free)(struct disk *disk);
};

struct disk {
	const struct disk_ops *ops;
};

/* The directory `root` of this machine; it is created (with parents) if missing. */
int disk_posix_new(const char *root, struct disk **ret);
void disk_free(struct disk *disk); /* NULL-safe; close the handles first */

int disk_open(struct disk *disk, const char *path, int flags);
int disk_close(struct disk *disk, int file);
/* Reads up to `size` bytes; fewer only at the end of the file. */
int64_t disk_read(struct disk *disk, int file, void *data, size_t size, uint64_t offset);
/* As disk_read, but -ERR_BUSY if that would have to wait for the disk and this can be told. */
int64_t disk_read_cached(struct disk *disk, int file, void *data, size_t size, uint64_t offset);
/* All or an error: short writes are continued inside. */
int disk_write(struct disk *disk, int file, const void *data, size_t size, uint64_t offset);
int disk_writev(struct disk *disk, int file, const struct iovec *parts, int count, uint64_t offset);
/* Writes zeros. A sync of what is written over blocks that were written before need not wait for
 * the file system's own books, which all files of it share. */
int disk_zero(struct disk *disk, int file, uint64_t offset, uint64_t size);
int disk_sync_file(struct disk *disk, int file); /* fdatasync */
int disk_sync_dir(struct disk *disk, const char *path);
int disk_rename(struct disk *disk, const char *from, const char *to);
int disk_unlink(struct disk *disk, const char *path);
int disk_mkdir(struct disk *disk, const char *path); /* an existing directory is no error */
/* Reserves blocks; the file grows to offset + size. -ERR_UNSUPPORTED: the file system cannot. */
int disk_allocate(struct disk *disk, int file, uint64_t offset, uint64_t size);
int disk_truncate(struct disk *disk, int file, uint64_t size);
int64_t disk_size(struct disk *disk, int file);
/* Calls `each` per entry, in no order; its first result but 0 ends the walk and is returned. */
int disk_list(struct disk *disk, const char *path, disk_list_fn *each, void *context);
int disk_space(struct disk *disk, struct disk_space *ret);
int disk_lock(struct disk *disk, const char *path);
int disk_descriptor(struct disk *disk, int file);

#endif

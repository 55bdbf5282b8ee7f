#include "disk.h"
#include "error.h"

enum { PARTS_AT_ONCE = 64, ZEROS_SIZE = 16 * 1024 };

void disk_free(struct disk *disk)
{
	if (disk)
		disk->ops->free(disk);
}

int disk_open(struct disk *disk, const char *path, int flags)
{
	return disk->ops->open(disk, path, flags);
}

int disk_close(struct disk *disk, int file)
{
	return disk->ops->close(disk, file);
}

typedef int64_t read_fn(struct disk *disk, int file, void *data, size_t size, uint64_t offset);

static int64_t read_all(struct disk *disk, read_fn *read, int file, struct iovec part,
			uint64_t offset)
{
	uint8_t *at = part.iov_base;
	size_t done = 0;

	while (done < part.iov_len) {
		int64_t got = read(disk, file, at + done, part.iov_len - done, offset + done);

		if (got < 0)
			return got;
		if (got == 0)
			break;
		done += (size_t)got;
	}
	return (int64_t)done;
}

int64_t disk_read(struct disk *disk, int file, void *data, size_t size, uint64_t offset)
{
	return read_all(disk, disk->ops->read, file, (struct iovec){ data, size }, offset);
}

int64_t disk_read_cached(struct disk *disk, int file, void *data, size_t size, uint64_t offset)
{
	read_fn *read = disk->ops->read_cached ? disk->ops->read_cached : disk->ops->read;

	return read_all(disk, read, file, (struct iovec){ data, size }, offset);
}

/* Where in a list of parts the writing has come to. */
struct progress {
	const struct iovec *parts;
	int count;
	size_t skip; /* bytes of the first part that are written */
};

static int window(const struct progress *progress, struct iovec *ret)
{
	int count = progress->count < PARTS_AT_ONCE ? progress->count : PARTS_AT_ONCE;

	for (int i = 0; i < count; i++)
		ret[i] = progress->parts[i];
	if (count) {
		ret[0].iov_base = (uint8_t *)ret[0].iov_base + progress->skip;
		ret[0].iov_len -= progress->skip;
	}
	return count;
}

static void advance(struct progress *progress, size_t written)
{
	progress->skip += written;
	while (progress->count && progress->skip >= progress->parts->iov_len) {
		progress->skip -= progress->parts->iov_len;
		progress->parts++;
		progress->count--;
	}
}

int disk_writev(struct disk *disk, int file, const struct iovec *parts, int count, uint64_t offset)
{
	struct progress progress = { .parts = parts, .count = count };

	advance(&progress, 0);
	while (progress.count) {
		struct iovec some[PARTS_AT_ONCE];
		int n = window(&progress, some);
		int64_t written = disk->ops->write(disk, file, some, n, offset);

		if (written < 0)
			return (int)written;
		if (written == 0)
			return -ERR_IO;
		offset += (uint64_t)written;
		advance(&progress, (size_t)written);
	}
	return 0;
}

int disk_write(struct disk *disk, int file, const void *data, size_t size, uint64_t offset)
{
	/* iovec has no const; nothing writes through it here. */
	struct iovec part = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };

	return disk_writev(disk, file, &part, 1, offset);
}

int disk_zero(struct disk *disk, int file, uint64_t offset, uint64_t size)
{
	static const uint8_t zeros[ZEROS_SIZE];
	struct iovec parts[PARTS_AT_ONCE];
	int rc = 0;

	while (size > 0 && rc == 0) {
		size_t total = 0;
		int count = 0;

		while (count < PARTS_AT_ONCE && total < size) {
			size_t part = size - total < sizeof(zeros) ? (size_t)(size - total)
								   : sizeof(zeros);

			parts[count++] = (struct iovec){ (void *)(uintptr_t)zeros, part };
			total += part;
		}
		rc = disk_writev(disk, file, parts, count, offset);
		offset += total;
		size -= total;
	}
	return rc;
}

int disk_sync_file(struct disk *disk, int file)
{
	return disk->ops->sync_file(disk, file);
}

int disk_sync_dir(struct disk *disk, const char *path)
{
	return disk->ops->sync_dir(disk, path);
}

int disk_rename(struct disk *disk, const char *from, const char *to)
{
	return disk->ops->rename(disk, from, to);
}

int disk_unlink(struct disk *disk, const char *path)
{
	return disk->ops->unlink(disk, path);
}

int disk_mkdir(struct disk *disk, const char *path)
{
	return disk->ops->mkdir(disk, path);
}

int disk_allocate(struct disk *disk, int file, uint64_t offset, uint64_t size)
{
	return disk->ops->allocate(disk, file, offset, size);
}

int disk_truncate(struct disk *disk, int file, uint64_t size)
{
	return disk->ops->truncate(disk, file, size);
}

int64_t disk_size(struct disk *disk, int file)
{
	return disk->ops->size(disk, file);
}

int disk_list(struct disk *disk, const char *path, disk_list_fn *each, void *context)
{
	return disk->ops->list(disk, path, each, context);
}

int disk_space(struct disk *disk, struct disk_space *ret)
{
	return disk->ops->space(disk, ret);
}

int disk_lock(struct disk *disk, const char *path)
{
	return disk->ops->lock(disk, path);
}

int disk_descriptor(struct disk *disk, int file)
{
	return disk->ops->descriptor(disk, file);
}

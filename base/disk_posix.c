#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h> /* renameat */
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "disk.h"
#include "error.h"

/* Files are file descriptors, opened relative to the root: a root that is moved keeps working. */
struct disk_posix {
	struct disk disk;
	int root;
};

static int root_of(struct disk *disk)
{
	return ((struct disk_posix *)disk)->root;
}

static int result(int rc)
{
	return rc < 0 ? error_from_errno(errno) : rc;
}

static int posix_open(struct disk *disk, const char *path, int flags)
{
	int os = O_CLOEXEC | (flags & DISK_READ_ONLY ? O_RDONLY : O_RDWR);

	if (flags & DISK_CREATE)
		os |= O_CREAT;
	if (flags & DISK_EXCLUSIVE)
		os |= O_EXCL;
	return result(openat(root_of(disk), path, os, 0666));
}

static int posix_close(struct disk *disk, int file)
{
	(void)disk;
	return result(close(file));
}

static int64_t posix_read(struct disk *disk, int file, void *data, size_t size, uint64_t offset)
{
	ssize_t got;

	(void)disk;
	do
		got = pread(file, data, size, (off_t)offset);
	while (got < 0 && errno == EINTR);
	return got < 0 ? error_from_errno(errno) : got;
}

/* Not every file system can say what is in its cache. */
static int64_t posix_read_cached(struct disk *disk, int file, void *data, size_t size,
				 uint64_t offset)
{
	struct iovec part = { data, size };
	ssize_t got;

	do
		got = preadv2(file, &part, 1, (off_t)offset, RWF_NOWAIT);
	while (got < 0 && errno == EINTR);
	if (got >= 0)
		return got;
	if (errno == EAGAIN)
		return -ERR_BUSY;
	return posix_read(disk, file, data, size, offset);
}

static int64_t posix_write(struct disk *disk, int file, const struct iovec *parts, int count,
			   uint64_t offset)
{
	ssize_t put;

	(void)disk;
	do
		put = pwritev(file, parts, count, (off_t)offset);
	while (put < 0 && errno == EINTR);
	return put < 0 ? error_from_errno(errno) : put;
}

static int posix_sync_file(struct disk *disk, int file)
{
	(void)disk;
	return result(fdatasync(file));
}

static int directory_open(struct disk *disk, const char *path)
{
	return result(
		openat(root_of(disk), *path ? path : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static int posix_sync_dir(struct disk *disk, const char *path)
{
	int fd = directory_open(disk, path);
	int rc;

	if (fd < 0)
		return fd;
	rc = result(fsync(fd));
	close(fd);
	return rc;
}

static int posix_rename(struct disk *disk, const char *from, const char *to)
{
	return result(renameat(root_of(disk), from, root_of(disk), to));
}

static int posix_unlink(struct disk *disk, const char *path)
{
	return result(unlinkat(root_of(disk), path, 0));
}

static bool is_directory(int at, const char *path)
{
	struct stat st;

	return fstatat(at, path, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

static int directory_make(int at, const char *path)
{
	int rc = result(mkdirat(at, path, 0777));

	if (rc != -ERR_EXISTS)
		return rc;
	return is_directory(at, path) ? 0 : -ERR_NOT_DIR;
}

static int posix_mkdir(struct disk *disk, const char *path)
{
	return directory_make(root_of(disk), path);
}

static int posix_allocate(struct disk *disk, int file, uint64_t offset, uint64_t size)
{
	int rc;

	(void)disk;
	do
		rc = fallocate(file, 0, (off_t)offset, (off_t)size);
	while (rc < 0 && errno == EINTR);
	return result(rc);
}

static int posix_truncate(struct disk *disk, int file, uint64_t size)
{
	(void)disk;
	return result(ftruncate(file, (off_t)size));
}

static int64_t posix_size(struct disk *disk, int file)
{
	struct stat st;

	(void)disk;
	if (fstat(file, &st) < 0)
		return error_from_errno(errno);
	return st.st_size;
}

/* Some file systems leave d_type unknown. */
static bool entry_is_directory(int at, const struct dirent *entry)
{
	if (entry->d_type == DT_UNKNOWN || entry->d_type == DT_LNK)
		return is_directory(at, entry->d_name);
	return entry->d_type == DT_DIR;
}

static int entries_walk(DIR *dir, disk_list_fn *each, void *context)
{
	for (;;) {
		struct dirent *entry;
		int rc;

		errno = 0;
		entry = readdir(dir);
		if (!entry)
			return errno ? error_from_errno(errno) : 0;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		rc = each(context, entry->d_name, entry_is_directory(dirfd(dir), entry));
		if (rc)
			return rc;
	}
}

static int posix_list(struct disk *disk, const char *path, disk_list_fn *each, void *context)
{
	int fd = directory_open(disk, path);
	DIR *dir;
	int rc;

	if (fd < 0)
		return fd;
	dir = fdopendir(fd);
	if (!dir) {
		rc = error_from_errno(errno);
		close(fd);
		return rc;
	}
	rc = entries_walk(dir, each, context);
	closedir(dir);
	return rc;
}

static int posix_space(struct disk *disk, struct disk_space *ret)
{
	struct statvfs st;

	if (fstatvfs(root_of(disk), &st) < 0)
		return error_from_errno(errno);
	ret->capacity = (uint64_t)st.f_blocks * st.f_frsize;
	ret->free = (uint64_t)st.f_bavail * st.f_frsize;
	return 0;
}

static int posix_lock(struct disk *disk, const char *path)
{
	int fd = posix_open(disk, path, DISK_CREATE);
	int rc;

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	rc = errno == EWOULDBLOCK ? -ERR_LOCKED : error_from_errno(errno);
	close(fd);
	return rc;
}

static int posix_descriptor(struct disk *disk, int file)
{
	(void)disk;
	return file;
}

static void posix_free(struct disk *disk)
{
	close(root_of(disk));
	free(disk);
}

static const struct disk_ops posix_ops = {
	.open = posix_open,
	.close = posix_close,
	.read = posix_read,
	.read_cached = posix_read_cached,
	.write = posix_write,
	.sync_file = posix_sync_file,
	.sync_dir = posix_sync_dir,
	.rename = posix_rename,
	.unlink = posix_unlink,
	.mkdir = posix_mkdir,
	.allocate = posix_allocate,
	.truncate = posix_truncate,
	.size = posix_size,
	.list = posix_list,
	.space = posix_space,
	.lock = posix_lock,
	.descriptor = posix_descriptor,
	.free = posix_free,
};

/* Creates what is missing of `path`, which is whole again afterwards. Returns how many directories
 * that were: the last ones. */
static int parents_make(char *path)
{
	int made = 0;

	for (char *at = path; *at; at++) {
		char *slash = strchr(at + 1, '/');
		int rc;

		if (slash)
			*slash = '\0';
		rc = 0;
		if (!is_directory(AT_FDCWD, path)) {
			rc = directory_make(AT_FDCWD, path);
			made++;
		}
		if (rc < 0)
			return rc;
		if (!slash)
			return made;
		*slash = '/';
		at = slash;
		while (at[1] == '/')
			at++;
	}
	return made;
}

/* Makes the name of the directory durable, and as many above it as were made with it. */
static int names_sync(int directory, int count)
{
	int fd = openat(directory, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc;

	/* A parent we may not read is not ours: somebody else made the root, long ago. */
	if (fd < 0)
		return errno == EACCES ? 0 : error_from_errno(errno);
	rc = result(fsync(fd));
	if (rc == 0 && count > 1)
		rc = names_sync(fd, count - 1);
	close(fd);
	return rc;
}

static int root_open(const char *root)
{
	char *path = strdup(root);
	int made;
	int fd;
	int rc;

	if (!path)
		return -ERR_NO_MEMORY;
	made = parents_make(path);
	free(path);
	if (made < 0)
		return made;
	fd = result(open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (fd < 0)
		return fd;
	rc = names_sync(fd, made);
	if (rc < 0) {
		close(fd);
		return rc;
	}
	return fd;
}

int disk_posix_new(const char *root, struct disk **ret)
{
	struct disk_posix *posix;
	int fd = root_open(root);

	if (fd < 0)
		return fd;
	posix = malloc(sizeof(*posix));
	if (!posix) {
		close(fd);
		return -ERR_NO_MEMORY;
	}
	*posix = (struct disk_posix){ .disk.ops = &posix_ops, .root = fd };
	*ret = &posix->disk;
	return 0;
}

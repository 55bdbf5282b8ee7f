/* To be loaded into a daemon before its libraries (LD_PRELOAD): a disk that takes its time.
 *
 * While the file SLOW_DISK_SWITCH exists, each call that reads, writes, syncs or changes names
 * below the directory SLOW_DISK takes so many milliseconds as the file says; nothing is cached. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static long delay_ms(void)
{
	const char *path = getenv("SLOW_DISK_SWITCH");
	int (*real_open)(const char *, int, ...) = REAL(open);
	char text[16] = "";
	int fd = path ? real_open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return 0;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return strtol(text, NULL, 10);
}

/* How long calls for this descriptor take now. */
static long delay_of(int fd)
{
	const char *slow = getenv("SLOW_DISK");
	int error = errno;
	char link[64], path[512];
	ssize_t size;
	long delay = slow ? delay_ms() : 0;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	size = delay ? readlink(link, path, sizeof(path) - 1) : -1;
	errno = error;
	if (size < 0)
		return 0;
	path[size] = '\0';
	return strncmp(path, slow, strlen(slow)) == 0 ? delay : 0;
}

static void wait_for(int fd)
{
	long delay = delay_of(fd);
	int error = errno;

	nanosleep(&(struct timespec){ delay / 1000, delay % 1000 * 1000000 }, NULL);
	errno = error;
}

#define SLOW(type, name, parameters, arguments)                     \
	__attribute__((visibility("default"))) type name parameters \
	{                                                           \
		wait_for(fd);                                       \
		return REAL(name) arguments;                        \
	}

SLOW(ssize_t, pread, (int fd, void *data, size_t size, off_t at), (fd, data, size, at))
SLOW(ssize_t, pread64, (int fd, void *data, size_t size, off64_t at), (fd, data, size, at))
SLOW(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
SLOW(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at))
SLOW(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t at),
     (fd, parts, count, at))
SLOW(ssize_t, pwritev64, (int fd, const struct iovec *parts, int count, off64_t at),
     (fd, parts, count, at))
SLOW(int, fdatasync, (int fd), (fd))
SLOW(int, fsync, (int fd), (fd))
SLOW(int, ftruncate, (int fd, off_t size), (fd, size))
SLOW(int, ftruncate64, (int fd, off64_t size), (fd, size))
SLOW(int, fallocate, (int fd, int mode, off_t at, off_t size), (fd, mode, at, size))
SLOW(int, fallocate64, (int fd, int mode, off64_t at, off64_t size), (fd, mode, at, size))
SLOW(int, sync_file_range, (int fd, off64_t at, off64_t size, unsigned int flags),
     (fd, at, size, flags))
SLOW(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags))
SLOW(int, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode))
SLOW(int, renameat, (int fd, const char *from, int to_fd, const char *to), (fd, from, to_fd, to))
SLOW(int, openat, (int fd, const char *path, int flags, ...), (fd, path, flags, 0600))
SLOW(int, openat64, (int fd, const char *path, int flags, ...), (fd, path, flags, 0600))

/* Without waiting there is nothing: it is not cached. */
#define SLOW_PREADV2(name, off)                                                                \
	__attribute__((visibility("default"))) ssize_t name(int fd, const struct iovec *parts, \
							    int count, off at, int flags)      \
	{                                                                                      \
		if (flags & RWF_NOWAIT && delay_of(fd)) {                                      \
			errno = EAGAIN;                                                        \
			return -1;                                                             \
		}                                                                              \
		wait_for(fd);                                                                  \
		return REAL(name)(fd, parts, count, at, flags);                                \
	}

SLOW_PREADV2(preadv2, off_t)
SLOW_PREADV2(preadv64v2, off64_t)

#define SLOW_SENDFILE(name, off)                                                                  \
	__attribute__((visibility("default"))) ssize_t name(int to, int fd, off *at, size_t size) \
	{                                                                                         \
		wait_for(fd);                                                                     \
		return REAL(name)(to, fd, at, size);                                              \
	}

SLOW_SENDFILE(sendfile, off_t)
SLOW_SENDFILE(sendfile64, off64_t)

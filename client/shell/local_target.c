#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "local_target.h"
#include "random.h"

bool local_name_safe(const char *name)
{
	return *name && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strchr(name, '/') &&
	       strlen(name) < LOCAL_NAME_MAX;
}

/* One step down; takes `directory` over. */
static int step_down(int directory, const char *name, size_t size)
{
	char step[LOCAL_NAME_MAX];
	int fd = -1;
	int rc = -ERR_BAD_NAME;

	if (size < sizeof(step)) {
		memcpy(step, name, size);
		step[size] = '\0';
	}
	if (size < sizeof(step) && local_name_safe(step)) {
		fd = openat(directory, step, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		rc = fd < 0 ? error_from_errno(errno) : 0;
	}
	close(directory);
	return rc < 0 ? rc : fd;
}

static int walk_down(int root, const char *path, size_t size)
{
	const char *end = path + size;
	int fd = fcntl(root, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return error_from_errno(errno);
	while (path < end && fd >= 0) {
		const char *slash = memchr(path, '/', (size_t)(end - path));
		const char *stop = slash ? slash : end;

		fd = step_down(fd, path, (size_t)(stop - path));
		path = stop + (slash != NULL);
	}
	return fd;
}

int local_directory_open(int root, const char *path)
{
	return walk_down(root, path, strlen(path));
}

int local_directory_make(int root, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	struct stat st;
	int parent = walk_down(root, path, slash ? (size_t)(slash - path) : 0);
	int rc = 0;

	if (parent < 0)
		return parent;
	if (!local_name_safe(name))
		rc = -ERR_BAD_NAME;
	else if (mkdirat(parent, name, 0777) < 0)
		rc = error_from_errno(errno);
	if (rc == -ERR_EXISTS && fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    S_ISDIR(st.st_mode))
		rc = 0;
	close(parent);
	return rc;
}

static int temporary_open(struct local_target *target)
{
	uint64_t number;
	int rc = random_bytes(&number, sizeof(number));

	if (rc < 0)
		return rc;
	snprintf(target->temporary, sizeof(target->temporary), ".muster-%016llx",
		 (unsigned long long)number);
	target->fd = openat(target->directory, target->temporary,
			    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
	if (target->fd >= 0)
		return 0;
	rc = error_from_errno(errno);
	target->temporary[0] = '\0';
	return rc;
}

static int name_check(const struct local_target *target)
{
	struct stat st;

	if (fstatat(target->directory, target->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : error_from_errno(errno);
	if (S_ISDIR(st.st_mode))
		return -ERR_IS_DIR;
	return target->replace ? 0 : -ERR_EXISTS;
}

int local_target_open(struct local_target *target, int directory, const char *name, bool replace)
{
	int rc = -ERR_BAD_NAME;

	*target = (struct local_target){ .fd = -1, .directory = directory, .replace = replace };
	if (local_name_safe(name)) {
		memcpy(target->name, name, strlen(name) + 1);
		rc = name_check(target);
	}
	if (rc == 0)
		rc = temporary_open(target);
	if (rc < 0)
		local_target_drop(target);
	return rc;
}

/* A device or a pipe cannot be renamed over: it is what shall be written to. */
static bool path_is_device(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

int local_target_open_path(struct local_target *target, const char *path, bool replace)
{
	const char *slash = strrchr(path, '/');
	char parent[4096] = ".";
	int directory;

	*target = (struct local_target){ .fd = -1, .directory = -1 };
	if (path_is_device(path)) {
		target->fd = open(path, O_WRONLY | O_CLOEXEC);
		return target->fd < 0 ? error_from_errno(errno) : 0;
	}
	if (slash && (size_t)(slash - path) + 2 > sizeof(parent))
		return -ERR_NAME_TOO_LONG;
	if (slash)
		snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path) + 1, path);
	directory = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (directory < 0)
		return error_from_errno(errno);
	return local_target_open(target, directory, slash ? slash + 1 : path, replace);
}

/* Never over a name that came meanwhile; where the file system cannot, a link does as well. */
static int rename_new(const struct local_target *target)
{
	if (renameat2(target->directory, target->temporary, target->directory, target->name,
		      RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return error_from_errno(errno);
	if (linkat(target->directory, target->temporary, target->directory, target->name, 0) < 0)
		return error_from_errno(errno);
	unlinkat(target->directory, target->temporary, 0);
	return 0;
}

static int name_give(struct local_target *target)
{
	int rc = 0;

	if (!target->replace)
		rc = rename_new(target);
	else if (renameat(target->directory, target->temporary, target->directory, target->name) <
		 0)
		rc = error_from_errno(errno);
	if (rc == 0)
		target->temporary[0] = '\0';
	return rc;
}

int local_target_keep(struct local_target *target)
{
	int rc = 0;

	/* Some file systems tell of a full disk only now. */
	if (target->fd >= 0 && close(target->fd) < 0 && errno != EINTR)
		rc = error_from_errno(errno);
	target->fd = -1;
	if (rc == 0 && target->temporary[0])
		rc = name_give(target);
	local_target_drop(target);
	return rc;
}

void local_target_drop(struct local_target *target)
{
	if (target->fd >= 0)
		close(target->fd);
	if (target->temporary[0])
		unlinkat(target->directory, target->temporary, 0);
	if (target->directory >= 0)
		close(target->directory);
	target->fd = target->directory = -1;
	target->temporary[0] = '\0';
}

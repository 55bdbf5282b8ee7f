#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "disk_names.h"
#include "disk_sim.h"
#include "error.h"

/* What `begin` may answer besides an error: go on, or say that all went well and do nothing. */
enum { GO = 0, LIE = 1 };

struct sim_handle {
	struct sim_file *file; /* NULL: free */
	bool read_only;
	bool lock;
};

struct disk_sim {
	struct disk disk;
	pthread_mutex_t mutex;
	uint64_t capacity;
	struct disk_names names;
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

static const struct disk_ops sim_ops;

static struct disk_sim *sim_of(struct disk *disk)
{
	return (struct disk_sim *)disk;
}

static bool fault_hits(struct disk_sim *sim, unsigned int kind)
{
	const struct disk_sim_fault *fault = &sim->fault;

	if (!fault->nth || !(fault->kinds & kind))
		return false;
	sim->seen++;
	return sim->seen == fault->nth || (fault->sticky && sim->seen > fault->nth);
}

/* Locks. Every operation calls `end` afterwards. */
static int begin(struct disk_sim *sim, unsigned int kind, bool step)
{
	pthread_mutex_lock(&sim->mutex);
	if (sim->off)
		return -ERR_IO;
	if (step) {
		if (sim->before)
			sim->before(sim->before_context, sim);
		sim->steps++;
		if (sim->off_at && sim->steps >= sim->off_at) {
			sim->off = true;
			return -ERR_IO;
		}
	}
	if (fault_hits(sim, kind)) {
		sim->hits++;
		return sim->fault.error ? sim->fault.error : LIE;
	}
	return GO;
}

static int end(struct disk_sim *sim, int rc)
{
	pthread_mutex_unlock(&sim->mutex);
	return rc == LIE ? 0 : rc;
}

static struct sim_file *file_of(struct disk_sim *sim, int file)
{
	assert(file >= 0 && (size_t)file < sim->handle_count && sim->handles[file].file);
	return sim->handles[file].file;
}

static int handle_new(struct disk_sim *sim, struct sim_file *file, int flags)
{
	size_t at = 0;

	while (at < sim->handle_count && sim->handles[at].file)
		at++;
	if (at == sim->handle_count) {
		struct sim_handle *grown = realloc(sim->handles, (at + 16) * sizeof(*sim->handles));

		assert(grown);
		memset(grown + at, 0, 16 * sizeof(*grown));
		sim->handles = grown;
		sim->handle_count = at + 16;
	}
	sim->handles[at] = (struct sim_handle){ .file = file, .read_only = flags & DISK_READ_ONLY };
	file->refs++;
	file->live++;
	return (int)at;
}

static void handle_close(struct sim_handle *handle)
{
	handle->file->live--;
	file_drop(handle->file);
	*handle = (struct sim_handle){ 0 };
}

static int open_locked(struct disk_sim *sim, const char *path, int flags)
{
	struct sim_file *file = names_find(&sim->names, path);

	if (!*path || (file && file->directory))
		return -ERR_IS_DIR;
	if (file && flags & DISK_CREATE && flags & DISK_EXCLUSIVE)
		return -ERR_EXISTS;
	if (!file) {
		if (!(flags & DISK_CREATE) || !names_has_parent(&sim->names, path))
			return -ERR_NOT_FOUND;
		file = sim_file_new(false);
		names_create(&sim->names, path, file);
	}
	return handle_new(sim, file, flags);
}

static int sim_open(struct disk *disk, const char *path, int flags)
{
	struct disk_sim *sim = sim_of(disk);
	bool step;
	int rc;

	path = path_clean(path);
	pthread_mutex_lock(&sim->mutex);
	step = flags & DISK_CREATE && !names_find(&sim->names, path);
	pthread_mutex_unlock(&sim->mutex);
	rc = begin(sim, DISK_SIM_OPEN, step);
	if (rc >= GO)
		rc = open_locked(sim, path, flags);
	pthread_mutex_unlock(&sim->mutex);
	return rc;
}

/* Closing works even without power: nobody checks it. */
static int sim_close(struct disk *disk, int file)
{
	struct disk_sim *sim = sim_of(disk);

	pthread_mutex_lock(&sim->mutex);
	/* A crash has closed all handles, and who lived through it closes his again. */
	if ((size_t)file < sim->handle_count && sim->handles[file].file)
		handle_close(&sim->handles[file]);
	return end(sim, 0);
}

static int64_t sim_read(struct disk *disk, int file, void *data, size_t size, uint64_t offset)
{
	struct disk_sim *sim = sim_of(disk);
	int64_t rc = begin(sim, DISK_SIM_READ, false);

	if (rc >= GO) {
		rc = (int64_t)sim_file_read(file_of(sim, file), data, size, offset);
		sim->costs.reads++;
	}
	pthread_mutex_unlock(&sim->mutex);
	return rc;
}

static uint64_t space_used(struct disk_sim *sim)
{
	struct sim_name *name;
	uint64_t used = 0;

	for (name = sim->names.now; name; name = name->hh.next)
		used += sim_file_charge(name->file);
	for (size_t i = 0; i < sim->handle_count; i++) {
		struct sim_file *file = sim->handles[i].file;

		/* Unlinked, and still open. */
		if (file && file->live == 1)
			used += sim_file_charge(file);
	}
	return used;
}

static int room_check(struct disk_sim *sim, const struct sim_file *file, uint64_t limit)
{
	uint64_t more;

	limit = (limit + SIM_PAGE - 1) / SIM_PAGE * SIM_PAGE;
	if (limit <= sim_file_charge(file))
		return 0;
	more = limit - sim_file_charge(file);
	return space_used(sim) + more > sim->capacity ? -ERR_LOCAL_FULL : 0;
}

static size_t parts_size(const struct iovec *parts, int count)
{
	size_t size = 0;

	for (int i = 0; i < count; i++)
		size += parts[i].iov_len;
	return size;
}

static void parts_write(struct sim_file *file, const struct iovec *parts, size_t size,
			uint64_t offset)
{
	while (size) {
		size_t part = parts->iov_len < size ? parts->iov_len : size;

		if (part)
			sim_file_write(file, parts->iov_base, part, offset);
		offset += part;
		size -= part;
		parts++;
	}
}

static int64_t sim_write(struct disk *disk, int file, const struct iovec *parts, int count,
			 uint64_t offset)
{
	struct disk_sim *sim = sim_of(disk);
	size_t size = parts_size(parts, count);
	int rc = begin(sim, DISK_SIM_WRITE, true);

	if (rc == GO)
		rc = room_check(sim, file_of(sim, file), offset + size);
	if (rc == GO) {
		assert(!sim->handles[file].read_only);
		parts_write(file_of(sim, file), parts, size, offset);
		sim->costs.writes++;
		sim->costs.bytes_written += size;
	} else if (rc < 0 && !sim->off && room_check(sim, file_of(sim, file), offset + size) == 0) {
		parts_write(file_of(sim, file), parts, size / 2, offset);
	}
	rc = end(sim, rc);
	return rc < 0 ? rc : (int64_t)size;
}

static int sim_sync_file(struct disk *disk, int file)
{
	struct disk_sim *sim = sim_of(disk);
	int rc = begin(sim, DISK_SIM_SYNC_FILE, true);

	if (rc == GO) {
		sim_file_sync(file_of(sim, file));
		sim->costs.syncs++;
	} else if (rc < 0 && !sim->off) {
		sim_file_lose(file_of(sim, file));
	}
	return end(sim, rc);
}

static int dir_check(struct disk_sim *sim, const char *path)
{
	struct sim_file *file = *path ? names_find(&sim->names, path) : NULL;

	if (!*path)
		return 0;
	if (!file)
		return -ERR_NOT_FOUND;
	return file->directory ? 0 : -ERR_NOT_DIR;
}

static int sim_sync_dir(struct disk *disk, const char *path)
{
	struct disk_sim *sim = sim_of(disk);
	int rc = begin(sim, DISK_SIM_SYNC_DIR, true);

	path = path_clean(path);
	if (rc == GO)
		rc = dir_check(sim, path);
	if (rc == GO) {
		names_sync(&sim->names, path);
		sim->costs.dir_syncs++;
	}
	return end(sim, rc);
}

static int sim_rename(struct disk *disk, const char *from, const char *to)
{
	struct disk_sim *sim = sim_of(disk);
	int rc = begin(sim, DISK_SIM_RENAME, true);

	from = path_clean(from);
	to = path_clean(to);
	if (rc == GO && (!names_find(&sim->names, from) || !names_has_parent(&sim->names, to)))
		rc = -ERR_NOT_FOUND;
	if (rc == GO)
		names_rename(&sim->names, from, to);
	return end(sim, rc);
}

static int sim_unlink(struct disk *disk, const char *path)
{
	struct disk_sim *sim = sim_of(disk);
	int rc = begin(sim, DISK_SIM_UNLINK, true);
	struct sim_file *file;

	path = path_clean(path);
	file = names_find(&sim->names, path);
	if (rc == GO && !file)
		rc = -ERR_NOT_FOUND;
	if (rc == GO && file->directory)
		rc = -ERR_IS_DIR;
	if (rc == GO)
		names_unlink(&sim->names, path);
	return end(sim, rc);
}

static int sim_mkdir(struct disk *disk, const char *path)
{
	struct disk_sim *sim = sim_of(disk);
	int rc = begin(sim, DISK_SIM_MKDIR, true);
	struct sim_file *file;

	path = path_clean(path);
	file = names_find(&sim->names, path);
	if (rc == GO && file)
		return end(sim, file->directory ? 0 : -ERR_NOT_DIR);
	if (rc == GO && !names_has_parent(&sim->names, path))
		rc = -ERR_NOT_FOUND;
	if (rc == GO && *path)
		names_create(&sim->names, path, sim_file_new(true));
	return end(sim, rc);
}

static int sim_allocate(struct disk *disk, int file, uint64_t offset, uint64_t size)
{
	struct disk_sim *sim = sim_of(disk);
	int rc = begin(sim, DISK_SIM_ALLOCATE, true);

	if (rc == GO)
		rc = room_check(sim, file_of(sim, file), offset + size);
	if (rc == GO && offset + size > file_of(sim, file)->size) {
		file_of(sim, file)->size = offset + size;
		file_of(sim, file)->allocated = offset + size;
	}
	return end(sim, rc);
}

static int sim_truncate(struct disk *disk, int file, uint64_t size)
{
	struct disk_sim *sim = sim_of(disk);
	int rc = begin(sim, DISK_SIM_TRUNCATE, true);

	if (rc == GO)
		sim_file_truncate(file_of(sim, file), size);
	return end(sim, rc);
}

static int64_t sim_size(struct disk *disk, int file)
{
	struct disk_sim *sim = sim_of(disk);
	int64_t rc = begin(sim, DISK_SIM_SIZE, false);

	if (rc >= GO)
		rc = (int64_t)file_of(sim, file)->size;
	pthread_mutex_unlock(&sim->mutex);
	return rc;
}

static int list_locked(struct disk_sim *sim, const char *path, disk_list_fn *each, void *context)
{
	struct sim_name *name;
	int rc = dir_check(sim, path);

	for (name = sim->names.now; name && rc == 0; name = name->hh.next)
		if (path_parent_is(name->path, path))
			rc = each(context, name->path + strlen(path) + (*path ? 1 : 0),
				  name->file->directory);
	return rc;
}

static int sim_list(struct disk *disk, const char *path, disk_list_fn *each, void *context)
{
	struct disk_sim *sim = sim_of(disk);
	int rc = begin(sim, DISK_SIM_LIST, false);

	if (rc >= GO)
		rc = list_locked(sim, path_clean(path), each, context);
	pthread_mutex_unlock(&sim->mutex);
	return rc;
}

static int sim_space(struct disk *disk, struct disk_space *ret)
{
	struct disk_sim *sim = sim_of(disk);
	int rc = begin(sim, DISK_SIM_SPACE, false);

	if (rc >= GO) {
		uint64_t used = space_used(sim);

		ret->capacity = sim->capacity;
		ret->free = used < sim->capacity ? sim->capacity - used : 0;
	}
	return end(sim, rc);
}

static int sim_lock(struct disk *disk, const char *path)
{
	struct disk_sim *sim = sim_of(disk);
	int file = sim_open(disk, path, DISK_CREATE);
	int rc;

	if (file < 0)
		return file;
	rc = begin(sim, DISK_SIM_LOCK, false);
	for (size_t i = 0; rc >= GO && i < sim->handle_count; i++)
		if (sim->handles[i].lock && sim->handles[i].file == sim->handles[file].file)
			rc = -ERR_LOCKED;
	if (rc < GO)
		handle_close(&sim->handles[file]);
	else
		sim->handles[file].lock = true;
	pthread_mutex_unlock(&sim->mutex);
	return rc < GO ? rc : file;
}

static int sim_descriptor(struct disk *disk, int file)
{
	(void)disk;
	(void)file;
	return -ERR_UNSUPPORTED;
}

static void sim_free(struct disk *disk)
{
	struct disk_sim *sim = sim_of(disk);

	for (size_t i = 0; i < sim->handle_count; i++)
		if (sim->handles[i].file)
			handle_close(&sim->handles[i]);
	names_done(&sim->names);
	pthread_mutex_destroy(&sim->mutex);
	free(sim->handles);
	free(sim);
}

static const struct disk_ops sim_ops = {
	.open = sim_open,
	.close = sim_close,
	.read = sim_read,
	.write = sim_write,
	.sync_file = sim_sync_file,
	.sync_dir = sim_sync_dir,
	.rename = sim_rename,
	.unlink = sim_unlink,
	.mkdir = sim_mkdir,
	.allocate = sim_allocate,
	.truncate = sim_truncate,
	.size = sim_size,
	.list = sim_list,
	.space = sim_space,
	.lock = sim_lock,
	.descriptor = sim_descriptor,
	.free = sim_free,
};

/* Recursive, because a watcher that is called in the middle of an operation clones the disk. */
static struct disk_sim *sim_new(uint64_t capacity)
{
	struct disk_sim *sim = calloc(1, sizeof(*sim));
	pthread_mutexattr_t recursive;

	if (!sim)
		return NULL;
	pthread_mutexattr_init(&recursive);
	pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&sim->mutex, &recursive);
	pthread_mutexattr_destroy(&recursive);
	sim->disk.ops = &sim_ops;
	sim->capacity = capacity;
	return sim;
}

struct disk_sim *disk_sim_new(uint64_t capacity)
{
	struct disk_sim *sim = sim_new(capacity);

	if (sim)
		names_init(&sim->names);
	return sim;
}

struct disk *disk_sim_disk(struct disk_sim *sim)
{
	return &sim->disk;
}

struct disk_sim *disk_sim_clone(struct disk_sim *sim)
{
	struct disk_sim *clone = sim_new(sim->capacity);

	if (!clone)
		return NULL;
	pthread_mutex_lock(&sim->mutex);
	names_copy(&clone->names, &sim->names);
	pthread_mutex_unlock(&sim->mutex);
	return clone;
}

/* ---- crashes ---- */

void disk_sim_crash(struct disk_sim *sim, enum disk_sim_crash_mode mode, uint64_t seed)
{
	pthread_mutex_lock(&sim->mutex);
	for (size_t i = 0; i < sim->handle_count; i++)
		if (sim->handles[i].file)
			handle_close(&sim->handles[i]);
	if (mode != DISK_SIM_KILL)
		names_power_cut(&sim->names, mode, seed);
	sim->off = false;
	sim->off_at = 0;
	sim->fault = (struct disk_sim_fault){ 0 };
	pthread_mutex_unlock(&sim->mutex);
}

/* ---- knobs ---- */

uint64_t disk_sim_steps(const struct disk_sim *sim)
{
	return sim->steps;
}

void disk_sim_power_off_at(struct disk_sim *sim, uint64_t nth)
{
	sim->off_at = nth ? sim->steps + nth : 0;
}

bool disk_sim_power_is_off(const struct disk_sim *sim)
{
	return sim->off;
}

void disk_sim_watch(struct disk_sim *sim, disk_sim_watch_fn *before, void *context)
{
	sim->before = before;
	sim->before_context = context;
}

void disk_sim_fail(struct disk_sim *sim, const struct disk_sim_fault *fault)
{
	sim->fault = *fault;
	sim->seen = 0;
	sim->hits = 0;
}

uint64_t disk_sim_failed(const struct disk_sim *sim)
{
	return sim->hits;
}

int disk_sim_patch(struct disk_sim *sim, const char *path, const struct iovec *data,
		   uint64_t offset)
{
	struct sim_file *file = names_find(&sim->names, path_clean(path));

	return file ? sim_file_patch(file, data->iov_base, data->iov_len, offset) : -ERR_NOT_FOUND;
}

int disk_sim_flip(struct disk_sim *sim, const char *path, uint64_t offset, uint8_t mask)
{
	struct sim_file *file = names_find(&sim->names, path_clean(path));
	uint8_t byte;

	if (!file)
		return -ERR_NOT_FOUND;
	if (sim_file_read(file, &byte, 1, offset) != 1)
		return -ERR_RANGE;
	byte ^= mask;
	return sim_file_patch(file, &byte, 1, offset);
}

void disk_sim_each_file(struct disk_sim *sim, disk_sim_file_fn *each, void *context)
{
	for (struct sim_name *name = sim->names.now; name; name = name->hh.next)
		if (!name->file->directory)
			each(context, name->path, name->file->size);
}

void disk_sim_costs(const struct disk_sim *sim, struct disk_sim_costs *ret)
{
	*ret = sim->costs;
}

/* The thread of the catalogue's copy: it does the core's jobs one after the other, and makes
 * durable with one sync all batches that wait. Rows take batches in when nothing else is to be
 * done. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "error.h"
#include "replica_view.h"
#include "storage_daemon.h"

enum {
	SETTLE_MS = 200, /* batches are gathered for the rows: one sync of LMDB for many */
	LUMP_MAX = 4 * 1024 * 1024,
	PATH_MAX_ = 4096,
};

struct copy_task {
	STAILQ_ENTRY(copy_task) next;
	struct replica_job job;
	struct replica_result result;
	struct replica_peer *peers; /* of the result */
	struct buffer bytes;        /* of the job, then of the result */
};
STAILQ_HEAD(copy_tasks, copy_task);

struct copying {
	struct daemon *daemon;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t change;
	struct copy_tasks waiting, finished; /* under the lock, */
	bool stop;                           /* and this */

	/* The thread's own. */
	char path[PATH_MAX_], view[PATH_MAX_ + 8];
	struct disk *disk;
	struct replica_rows *rows;
	struct replica *replica;
};

static void task_free(struct copy_task *task)
{
	buffer_done(&task->bytes);
	free(task->peers);
	free(task);
}

static void tasks_free(struct copy_tasks *tasks)
{
	struct copy_task *task;

	while ((task = STAILQ_FIRST(tasks))) {
		STAILQ_REMOVE_HEAD(tasks, next);
		task_free(task);
	}
}

/* ---- the thread ---- */

/* The directory may be missing, or on a disk that is full, when the server starts. */
static int prepare(struct copying *copying)
{
	int rc = 0;

	if (!copying->disk)
		rc = disk_posix_new(copying->path, &copying->disk);
	if (rc == 0 && !copying->rows)
		rc = replica_view_new(copying->view, copying->disk, &copying->rows);
	if (rc == 0 && !copying->replica)
		rc = replica_new(copying->disk, copying->rows, &replica_limits, &copying->replica);
	return rc;
}

/* What a result points to belongs to the replica until its next job. */
static int result_keep(struct copy_task *task)
{
	struct replica_result *result = &task->result;
	size_t size = result->peer_count * sizeof(*result->peers);

	buffer_clear(&task->bytes);
	if (buffer_append(&task->bytes, result->bytes.data, result->bytes.size) < 0)
		return -ERR_NO_MEMORY;
	result->bytes = (struct slice){ task->bytes.data, task->bytes.size };
	if (!result->peers || size == 0)
		return 0;
	task->peers = malloc(size);
	if (!task->peers)
		return -ERR_NO_MEMORY;
	memcpy(task->peers, result->peers, size);
	result->peers = task->peers;
	return 0;
}

static void run(struct copying *copying, struct copy_task *task, const struct replica_job *job)
{
	int rc = prepare(copying);

	if (rc == 0)
		replica_run(copying->replica, job, &task->result);
	else
		task->result = (struct replica_result){ .kind = job->kind, .error = rc };
	task->result.number = task->job.number;
	if (result_keep(task) < 0)
		abort();
}

/* Batches that wait one behind the other become durable together, and are answered alike. */
static void run_appends(struct copying *copying, struct copy_tasks *tasks, struct copy_tasks *done)
{
	struct copy_task *first = STAILQ_FIRST(tasks), *task;
	struct replica_job job = first->job;
	struct buffer lump = { 0 };

	while ((task = STAILQ_FIRST(tasks)) && task->job.kind == REPLICA_APPEND &&
	       (task == first || lump.size + task->bytes.size <= LUMP_MAX)) {
		STAILQ_REMOVE_HEAD(tasks, next);
		if (buffer_append(&lump, task->bytes.data, task->bytes.size) < 0)
			abort();
		STAILQ_INSERT_TAIL(done, task, next);
	}
	job.bytes = (struct slice){ lump.data, lump.size };
	run(copying, first, &job);
	buffer_done(&lump);
	for (task = STAILQ_NEXT(first, next); task; task = STAILQ_NEXT(task, next)) {
		task->result = first->result;
		task->result.number = task->job.number;
		task->result.peers = NULL;
	}
}

static void run_all(struct copying *copying, struct copy_tasks *tasks)
{
	struct copy_task *task;

	while ((task = STAILQ_FIRST(tasks))) {
		struct copy_tasks done = STAILQ_HEAD_INITIALIZER(done);

		if (task->job.kind == REPLICA_APPEND) {
			run_appends(copying, tasks, &done);
		} else {
			STAILQ_REMOVE_HEAD(tasks, next);
			task->job.bytes = (struct slice){ task->bytes.data, task->bytes.size };
			run(copying, task, &task->job);
			STAILQ_INSERT_TAIL(&done, task, next);
		}
		pthread_mutex_lock(&copying->lock);
		STAILQ_CONCAT(&copying->finished, &done);
		pthread_mutex_unlock(&copying->lock);
		uv_async_send(&copying->daemon->wake);
	}
}

/* True: something is to be done; false: for a while nothing was. */
static bool wait_for_tasks(struct copying *copying, bool patient)
{
	struct timespec end;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_nsec += SETTLE_MS * 1000000L;
	end.tv_sec += end.tv_nsec / 1000000000L;
	end.tv_nsec %= 1000000000L;
	while (STAILQ_EMPTY(&copying->waiting) && !copying->stop) {
		if (patient)
			pthread_cond_wait(&copying->change, &copying->lock);
		else if (pthread_cond_timedwait(&copying->change, &copying->lock, &end) ==
			 ETIMEDOUT)
			return false;
	}
	return true;
}

static void *copying_main(void *context)
{
	struct copying *copying = context;
	bool settled = true;

	pthread_mutex_lock(&copying->lock);
	while (!copying->stop) {
		struct copy_tasks tasks = STAILQ_HEAD_INITIALIZER(tasks);
		bool due = !wait_for_tasks(copying, settled);

		STAILQ_CONCAT(&tasks, &copying->waiting);
		pthread_mutex_unlock(&copying->lock);
		run_all(copying, &tasks);
		/* A failure is said in answer to the next job. */
		if (due && copying->replica)
			(void)replica_settle(copying->replica);
		settled = due || !copying->replica || replica_is_settled(copying->replica);
		pthread_mutex_lock(&copying->lock);
	}
	pthread_mutex_unlock(&copying->lock);
	if (copying->replica)
		(void)replica_settle(copying->replica);
	return NULL;
}

/* ---- the loop ---- */

static int copying_submit(void *context, const struct replica_job *job)
{
	struct copying *copying = context;
	struct copy_task *task = calloc(1, sizeof(*task));

	if (!task)
		return -ERR_NO_MEMORY;
	task->job = *job;
	if (buffer_append(&task->bytes, job->bytes.data, job->bytes.size) < 0) {
		task_free(task);
		return -ERR_NO_MEMORY;
	}
	pthread_mutex_lock(&copying->lock);
	STAILQ_INSERT_TAIL(&copying->waiting, task, next);
	pthread_mutex_unlock(&copying->lock);
	pthread_cond_signal(&copying->change);
	return 0;
}

const struct storage_catalogue copying_catalogue = { copying_submit };

void copying_finished(struct daemon *daemon)
{
	struct copying *copying = daemon->copying;
	struct copy_tasks done = STAILQ_HEAD_INITIALIZER(done);
	struct copy_task *task;

	pthread_mutex_lock(&copying->lock);
	STAILQ_CONCAT(&done, &copying->finished);
	pthread_mutex_unlock(&copying->lock);
	STAILQ_FOREACH(task, &done, next) {
		struct storage_event event = { .kind = STORAGE_REPLICA, .replica = &task->result };

		daemon_step(daemon, &event);
	}
	tasks_free(&done);
}

int copying_new(struct daemon *daemon)
{
	struct copying *copying = calloc(1, sizeof(*copying));
	int size;

	if (!copying)
		return -ERR_NO_MEMORY;
	daemon->copying = copying;
	copying->daemon = daemon;
	STAILQ_INIT(&copying->waiting);
	STAILQ_INIT(&copying->finished);
	pthread_mutex_init(&copying->lock, NULL);
	pthread_cond_init(&copying->change, NULL);
	size = snprintf(copying->path, sizeof(copying->path), "%s/catalogue",
			daemon->settings->data);
	if (size < 0 || (size_t)size >= sizeof(copying->path))
		return -ERR_NAME_TOO_LONG;
	snprintf(copying->view, sizeof(copying->view), "%s/view", copying->path);
	copying->started = pthread_create(&copying->thread, NULL, copying_main, copying) == 0;
	return copying->started ? 0 : -ERR_NO_MEMORY;
}

/* What was not begun is not done; nobody was told that it was. */
void copying_free(struct daemon *daemon)
{
	struct copying *copying = daemon->copying;

	if (!copying)
		return;
	if (copying->started) {
		pthread_mutex_lock(&copying->lock);
		copying->stop = true;
		pthread_cond_signal(&copying->change);
		pthread_mutex_unlock(&copying->lock);
		pthread_join(copying->thread, NULL);
	}
	tasks_free(&copying->waiting);
	tasks_free(&copying->finished);
	replica_free(copying->replica);
	replica_view_free(copying->rows);
	disk_free(copying->disk);
	pthread_mutex_destroy(&copying->lock);
	pthread_cond_destroy(&copying->change);
	free(copying);
	daemon->copying = NULL;
}

/* RENAME and COPY. What takes longer than one step is copied by a job: it goes on whether or not
 * somebody waits, and what it made becomes visible together with the recorded answer. */
#include "letting_go.h"
#include "path.h"

enum {
	COPY_JOBS_MAX = 64, /* else BUSY */
	COPY_AHEAD = 2,     /* batches that may not be durable yet: everybody else waits for them */
};

struct copy_job {
	struct id client;
	uint64_t operation;
	struct tree_copy *copy; /* NULL: it has ended with */
	int error;
	uint64_t begun_ms;
	TAILQ_ENTRY(copy_job) order;
};

/* The path has to live until the answer is encoded. */
static int path_keep(struct nameserver *ns, const struct moved *moved, struct slice *ret)
{
	uint8_t *path = arena_alloc(&ns->arena, moved->path_size);

	if (!path)
		return -ERR_NO_MEMORY;
	memcpy(path, moved->path, moved->path_size);
	*ret = (struct slice){ path, moved->path_size };
	return 0;
}

/* ---- RENAME ---- */

static int move_check(struct slice path, struct slice to)
{
	int rc = path_check(path);

	return rc < 0 ? rc : path_check(to);
}

int on_rename(struct nameserver *ns, struct session *from, const struct rename_request *request,
	      struct rename_reply *reply)
{
	const struct move how = {
		.path = request->path,
		.to = request->to,
		.flags = request->flags,
		.when = moment_now(ns),
	};
	struct moved moved;
	int rc = move_check(request->path, request->to);

	(void)from;
	if (rc == 0)
		rc = catalogue_rename(ns->kv, &how, &moved);
	if (rc == 0)
		rc = path_keep(ns, &moved, &reply->path);
	if (rc < 0)
		return rc;
	reply->inode = moved.inode.id;
	if (moved.replaced)
		trash_changed(ns);
	ns_event(ns, LOG_INFO, "renamed", "path=%s to=%s ms=%llu", quoted(ns, request->path),
		 quoted(ns, reply->path), (unsigned long long)park_age_ms(ns));
	return 0;
}

/* ---- jobs ---- */

static struct copy_job *job_find(const struct nameserver *ns, const struct id *client,
				 uint64_t operation)
{
	struct copy_job *job;

	TAILQ_FOREACH(job, &ns->copies, order) {
		if (job->operation == operation && id_equal(&job->client, client))
			return job;
	}
	return NULL;
}

static void job_free(struct nameserver *ns, struct copy_job *job)
{
	TAILQ_REMOVE(&ns->copies, job, order);
	ns->copy_count--;
	copy_free(job->copy);
	free(job);
}

/* An error that nobody came back for makes room. */
static bool job_room(struct nameserver *ns)
{
	struct copy_job *job;

	if (ns->copy_count < COPY_JOBS_MAX)
		return true;
	TAILQ_FOREACH(job, &ns->copies, order) {
		if (job->copy)
			continue;
		job_free(ns, job);
		return true;
	}
	return false;
}

static void job_fail(struct nameserver *ns, struct copy_job *job, int error)
{
	if (copy_drop(ns->kv, job->copy, uptime_ms(ns)) < 0)
		ns->failed = true;
	copy_free(job->copy);
	job->copy = NULL;
	job->error = error;
	garbage_soon(ns);
	parked_wake(ns, PARK_COPY);
}

static void copied_tell(struct nameserver *ns, const struct tree_copy *copy, struct slice path,
			uint64_t ms)
{
	const struct totals *totals = copy_totals(copy);

	ns_event(ns, LOG_INFO, "copied", "path=%s to=%s entries=%llu bytes=%llu ms=%llu",
		 quoted(ns, copy_source(copy)), quoted(ns, path),
		 (unsigned long long)(totals->files + totals->directories),
		 (unsigned long long)totals->bytes, (unsigned long long)ms);
}

/* Makes the copy visible. Fails before it changes anything, or for good (ns->failed). */
static int job_link(struct nameserver *ns, struct tree_copy *copy, struct copy_reply *ret)
{
	const struct totals *totals = copy_totals(copy);
	uint32_t before = ns->kv->batch_count;
	struct moved moved;
	int rc = copy_link(ns->kv, copy, moment_now(ns), &moved);

	if (rc == 0)
		rc = path_keep(ns, &moved, &ret->path);
	if (rc < 0) {
		ns->failed = ns->failed || ns->kv->batch_count != before;
		return rc;
	}
	ret->entries = totals->files + totals->directories;
	ret->bytes = totals->bytes;
	if (moved.replaced)
		trash_changed(ns);
	return 0;
}

/* The answer goes into the batch that shows the copy; whoever asks again finds it there. */
static int job_record(struct nameserver *ns, const struct copy_job *job,
		      const struct copy_reply *reply)
{
	struct buffer frame = { 0 };
	struct slice known;
	int rc = result_get(ns->kv, &job->client, job->operation, &known);

	if (rc == -ERR_EXPIRED)
		return 0;
	rc = reply_encode(&frame, MSG_copy, 0, reply);
	if (rc == 0)
		rc = result_put(ns->kv, &job->client, job->operation,
				(struct slice){ frame.data, frame.size });
	buffer_done(&frame);
	return rc;
}

static int job_end(struct nameserver *ns, struct copy_job *job)
{
	struct copy_reply reply = { 0 };
	int rc = job_link(ns, job->copy, &reply);

	if (rc < 0)
		return rc;
	if (job_record(ns, job, &reply) < 0)
		ns->failed = true;
	copied_tell(ns, job->copy, reply.path, ns->now_ms - job->begun_ms);
	job_free(ns, job);
	parked_wake(ns, PARK_COPY);
	return 0;
}

static void job_step(struct nameserver *ns, struct copy_job *job)
{
	int rc =
		ns->full ? -ERR_CATALOGUE_FULL : copy_step(ns->kv, job->copy, ns->config.copy_step);

	if (rc == 0) {
		TAILQ_REMOVE(&ns->copies, job, order);
		TAILQ_INSERT_TAIL(&ns->copies, job, order);
		return;
	}
	if (rc < 0 && rc != -ERR_STALE && rc != -ERR_CATALOGUE_FULL)
		ns->failed = true;
	if (rc > 0)
		rc = job_end(ns, job);
	if (rc < 0)
		job_fail(ns, job, rc);
}

static struct copy_job *job_next(const struct nameserver *ns)
{
	struct copy_job *job;

	if (ns->deaf || ns->behind || ns->quorum.lost || ns->sequence - ns->committed >= COPY_AHEAD)
		return NULL;
	TAILQ_FOREACH(job, &ns->copies, order) {
		if (job->copy)
			return job;
	}
	return NULL;
}

void copies_tick(struct nameserver *ns)
{
	struct copy_job *job = job_next(ns);

	if (job && !ns->failed)
		job_step(ns, job);
}

uint64_t copies_deadline(const struct nameserver *ns)
{
	return job_next(ns) ? ns->now_ms : UINT64_MAX;
}

void copies_free(struct nameserver *ns)
{
	struct copy_job *job;

	while ((job = TAILQ_FIRST(&ns->copies)))
		job_free(ns, job);
}

/* ---- COPY ---- */

static int job_begin(struct nameserver *ns, const struct session *from,
		     const struct copy_request *request, struct tree_copy *copy)
{
	struct copy_job *job = calloc(1, sizeof(*job));

	if (!job) {
		copy_free(copy);
		return -ERR_NO_MEMORY;
	}
	*job = (struct copy_job){
		.client = from->self,
		.operation = request->operation,
		.copy = copy,
		.begun_ms = ns->park.since_ms,
	};
	TAILQ_INSERT_TAIL(&ns->copies, job, order);
	ns->copy_count++;
	return park(ns, PARK_COPY, IN_PROGRESS_AFTER_MS);
}

/* What one step copies is there at once. */
static int copy_run(struct nameserver *ns, const struct session *from,
		    const struct copy_request *request, struct copy_reply *reply)
{
	const struct move how = {
		.path = request->path,
		.to = request->to,
		.flags = request->flags,
		.when = moment_now(ns),
	};
	struct tree_copy *copy;
	int rc = copy_begin(ns->kv, &how, next_inode, ns, &copy);

	if (rc < 0)
		return rc;
	rc = copy_step(ns->kv, copy, ns->config.copy_step);
	if (rc < 0) {
		copy_free(copy);
		return rc;
	}
	if (rc == 0 || job_link(ns, copy, reply) < 0)
		return job_begin(ns, from, request, copy);
	copied_tell(ns, copy, reply->path, park_age_ms(ns));
	copy_free(copy);
	return 0;
}

int on_copy(struct nameserver *ns, struct session *from, const struct copy_request *request,
	    struct copy_reply *reply)
{
	struct copy_job *job = job_find(ns, &from->self, request->operation);
	int rc = move_check(request->path, request->to);

	if (job && job->copy)
		return park(ns, PARK_COPY, IN_PROGRESS_AFTER_MS);
	if (job) {
		rc = job->error;
		job_free(ns, job);
	}
	if (rc < 0)
		return rc;
	return job_room(ns) ? copy_run(ns, from, request, reply) : -ERR_BUSY;
}

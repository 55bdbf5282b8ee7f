/* Which chunks are looked at, in which order, and the FETCH orders that result. */
#include "repair.h"
#include "orders.h"

enum {
	JOBS_MAX = 64 * 1024,
	JOBS_LAST_ROOM = 16 * 1024, /* of these, only for chunks with one copy left */
	FETCHES_MAX = 256,
	LOOKS = 64,     /* chunks a step: some 1 ms of 20 */
	PAUSE_MS = 500, /* when all servers that matter are busy, or full */
	PAUSE_MAX_MS = 30 * 1000,
	RETRY_SOON_MS = 1000, /* once: one of the two may just have begun anew */
	RETRY_MS = 5000,
	ATTEMPTS_MAX = 8,              /* then the chunk waits for the next walk */
	WALK_AGAIN_MS = 5 * 60 * 1000, /* for what could not be helped */
	TRIM_QUEUE = 64 * 1024,        /* a server with so many chunks to delete gets no more */
};

/* In the order in which they are worked on; from QUEUE_SOON on they wait. */
enum queue {
	QUEUE_LAST, /* one copy left */
	QUEUE_FEW,  /* two, of more than three */
	QUEUE_COPY,
	QUEUE_TRIM,
	QUEUE_SOON,
	QUEUE_RETRY,
	QUEUE_NEW,
	QUEUE_FETCHING,
	QUEUES
};

struct job {
	uint64_t chunk;
	uint64_t due_ms;                   /* of those that wait; QUEUE_FETCHING: when it began */
	struct fetch_ends ends;            /* that it is, or was, tried with */
	uint16_t parts[LEASE_HOLDERS_MAX]; /* QUEUE_NEW: servers that the copies come from and to */
	uint8_t part_count;
	uint8_t queue;
	uint8_t attempts;
	TAILQ_ENTRY(job) order;
	UT_hash_handle hh;
};
TAILQ_HEAD(job_list, job);

struct repair {
	struct job *jobs;
	struct job_list queues[QUEUES];
	unsigned int counts[QUEUES];
	uint64_t next_ms; /* the next step */
	uint64_t walk_ms; /* when there will be more to find */
	bool waits;       /* there will be when a server comes */
	uint64_t pause_ms;
	struct repair_work work;
	struct telling repaired, trimmed;
};

/* ---- the queues ---- */

static struct job *job_find(const struct repair *repair, uint64_t chunk)
{
	struct job *job;

	HASH_FIND(hh, repair->jobs, &chunk, sizeof(chunk), job);
	return job;
}

static void job_put(struct repair *repair, struct job *job, enum queue queue)
{
	job->queue = (uint8_t)queue;
	TAILQ_INSERT_TAIL(&repair->queues[queue], job, order);
	repair->counts[queue]++;
}

static void job_take(struct repair *repair, struct job *job)
{
	TAILQ_REMOVE(&repair->queues[job->queue], job, order);
	repair->counts[job->queue]--;
}

static void job_move(struct repair *repair, struct job *job, enum queue queue)
{
	job_take(repair, job);
	job_put(repair, job, queue);
}

static void job_drop(struct repair *repair, struct job *job)
{
	job_take(repair, job);
	HASH_DEL(repair->jobs, job);
	free(job);
}

static void walk_at(struct repair *repair, uint64_t at_ms)
{
	repair->walk_ms = at_ms < repair->walk_ms ? at_ms : repair->walk_ms;
}

/* NULL: there is no room. */
static struct job *job_new(struct repair *repair, uint64_t chunk, unsigned int most)
{
	struct job *job = HASH_COUNT(repair->jobs) < most ? calloc(1, sizeof(*job)) : NULL;

	if (!job)
		return NULL;
	job->chunk = chunk;
	HASH_ADD(hh, repair->jobs, chunk, sizeof(job->chunk), job);
	return job;
}

static void job_add(struct nameserver *ns, uint64_t chunk, enum queue queue)
{
	struct repair *repair = ns->repair;
	unsigned int most = queue == QUEUE_LAST ? JOBS_MAX : JOBS_MAX - JOBS_LAST_ROOM;
	struct job *job = job_find(repair, chunk);

	if (job) {
		if (job->queue != QUEUE_FETCHING && job->queue != QUEUE_SOON &&
		    job->queue != QUEUE_RETRY && job->queue != queue)
			job_move(repair, job, queue);
		return;
	}
	job = job_new(repair, chunk, most);
	if (!job) {
		walk_at(repair, ns->now_ms + RETRY_MS);
		return;
	}
	job_put(repair, job, queue);
	if (repair->next_ms > ns->now_ms + STEP_MS)
		repair->next_ms = ns->now_ms + STEP_MS;
}

static void job_retry(struct nameserver *ns, struct job *job)
{
	if (++job->attempts >= ATTEMPTS_MAX) {
		walk_at(ns->repair, ns->now_ms + WALK_AGAIN_MS);
		job_drop(ns->repair, job);
		return;
	}
	job->due_ms = ns->now_ms + (job->attempts == 1 ? RETRY_SOON_MS : RETRY_MS);
	job_move(ns->repair, job, job->attempts == 1 ? QUEUE_SOON : QUEUE_RETRY);
}

uint64_t repair_count(const struct nameserver *ns)
{
	const unsigned int *counts = ns->repair->counts;

	return (uint64_t)counts[QUEUE_LAST] + counts[QUEUE_FEW] + counts[QUEUE_COPY] +
	       counts[QUEUE_SOON] + counts[QUEUE_RETRY] + counts[QUEUE_FETCHING];
}

uint64_t repair_rate(const struct nameserver *ns)
{
	return work_rate(ns, &ns->repair->work);
}

/* What found no room in the queue is known as a number only. */
uint64_t repair_left_ms(const struct nameserver *ns)
{
	const struct repair *repair = ns->repair;
	uint64_t rate = repair_rate(ns), chunks = repair_count(ns);
	struct totals totals;

	if (!rate || !chunks || totals_get(ns->kv, &totals) < 0 || !totals.chunks)
		return 0;
	if ((repair->walk_ms != UINT64_MAX || ns->sweep.running) && ns->under_copied > chunks)
		chunks = ns->under_copied;
	return chunks * (totals.bytes / totals.chunks) / (rate / 1000 + 1);
}

/* ---- what comes in ---- */

void repair_wait(struct nameserver *ns)
{
	ns->repair->waits = true;
}

/* What could not be done is tried at once. */
static void pause_end(struct nameserver *ns, uint64_t in_ms)
{
	struct repair *repair = ns->repair;

	repair->pause_ms = PAUSE_MS;
	if (repair->next_ms > ns->now_ms + in_ms)
		repair->next_ms = ns->now_ms + in_ms;
}

void repair_has_room(struct nameserver *ns)
{
	pause_end(ns, PAUSE_MS);
}

void repair_server_came(struct nameserver *ns)
{
	pause_end(ns, PAUSE_MS);
	balance_wake(ns);
	if (ns->repair->waits)
		walk_at(ns->repair, ns->now_ms + STEP_MS);
	ns->repair->waits = false;
}

static enum queue queue_of(const struct chunk_health *health)
{
	if (health->copies.sound == 1 && health->wanted > 1)
		return QUEUE_LAST;
	return health->copies.sound == 2 && health->wanted > 3 ? QUEUE_FEW : QUEUE_COPY;
}

static struct job *job_waiting(const struct repair *repair, uint64_t chunk)
{
	struct job *job = job_find(repair, chunk);

	return job && job->queue == QUEUE_NEW ? job : NULL;
}

static void job_settle(struct repair *repair, uint64_t chunk)
{
	struct job *job = job_waiting(repair, chunk);

	if (job)
		job_drop(repair, job);
}

/* What no file has any more may lack copies until it is collected, which can take days. */
static enum need need_of(struct nameserver *ns, const struct chunk_health *health)
{
	enum need need = health_need(ns, health);
	int rc = need == NEED_COPY || need == NEED_COPY_LATER
			 ? chunk_is_garbage(ns->kv, health->chunk)
			 : 0;

	ns->failed = ns->failed || rc < 0;
	return rc ? NEED_NOTHING : need;
}

void repair_found(struct nameserver *ns, const struct chunk_health *health)
{
	switch (need_of(ns, health)) {
	case NEED_COPY: job_add(ns, health->chunk, queue_of(health)); break;
	case NEED_TRIM: job_add(ns, health->chunk, QUEUE_TRIM); break;
	case NEED_COPY_LATER:
		if (!job_waiting(ns->repair, health->chunk)) {
			walk_at(ns->repair, health->missed_ms);
			repair_wait(ns);
		}
		break;
	case NEED_SERVERS: repair_wait(ns); break;
	case NEED_NOTHING: job_settle(ns->repair, health->chunk); break;
	}
}

void repair_look(struct nameserver *ns, uint64_t chunk)
{
	struct chunk_health health;
	int rc;

	takers_count(ns);
	rc = health_get(ns, chunk, &health);
	if (rc == 0)
		repair_found(ns, &health);
	else if (rc != -ERR_NOT_FOUND)
		ns->failed = true;
}

/* ---- late copies of what was just put ---- */

void repair_await(struct nameserver *ns, const struct lease *lease, unsigned int lacking)
{
	struct repair *repair = ns->repair;
	struct job *job;

	if (lease_coming(ns, lease) < lacking || job_find(repair, lease->chunk))
		return;
	job = job_new(repair, lease->chunk, JOBS_MAX - JOBS_LAST_ROOM);
	if (!job)
		return;
	for (unsigned int i = 0; i < lease->count; i++) {
		if (!(lease->gone >> i & 1))
			job->parts[job->part_count++] = lease->holders[i];
	}
	job->due_ms = ns->now_ms + ns->config.repair_delay_ms;
	job_put(repair, job, QUEUE_NEW);
}

uint64_t repair_awaited_ms(const struct nameserver *ns, uint64_t chunk)
{
	const struct job *job = job_waiting(ns->repair, chunk);

	return job ? job->due_ms : 0;
}

static bool job_has_part(const struct job *job, const struct member *member)
{
	for (unsigned int i = 0; i < job->part_count; i++) {
		if (job->parts[i] == member->row.number)
			return true;
	}
	return false;
}

void repair_interrupted(struct nameserver *ns, const struct member *member)
{
	struct repair *repair = ns->repair;
	struct job *job, *next;

	for (job = TAILQ_FIRST(&repair->queues[QUEUE_NEW]); job; job = next) {
		next = TAILQ_NEXT(job, order);
		if (!job_has_part(job, member))
			continue;
		job_move(repair, job, QUEUE_COPY);
		pause_end(ns, STEP_MS);
	}
}

/* ---- FETCH ---- */

/* At least one as long as a walk may find more. */
static uint64_t work_left(const struct nameserver *ns)
{
	uint64_t left = repair_count(ns) + ns->repair->counts[QUEUE_TRIM];

	return left ? left : ns->sweep.running;
}

static void fetch_event(struct nameserver *ns, const struct job *job, enum log_level level,
			const char *event)
{
	const struct member *source = member_by_number(ns, job->ends.source);

	if (level == LOG_DEBUG && !ns->config.debug)
		return;
	ns_event_about(ns, member_by_number(ns, job->ends.target), level, event,
		       "source=%s chunk=%llx length=%lu path=%s ms=%llu",
		       source ? source->row.name : "?", (unsigned long long)job->chunk,
		       (unsigned long)job->ends.length, chunk_path_quoted(ns, job->chunk),
		       (unsigned long long)(ns->now_ms - job->due_ms));
}

static void fetch_done(struct nameserver *ns, const struct order_result *result)
{
	struct job *job = job_find(ns->repair, result->subject);
	const struct fetch_reply *reply = result->reply;
	int error = result->error;

	if (!job || job->queue != QUEUE_FETCHING)
		return;
	fetch_end(ns, &job->ends);
	if (error == 0)
		error = fetch_receipt(ns, result->member, &reply->receipt, job->chunk);
	pause_end(ns, 0);
	if (error == 0) {
		work_begin(ns, &ns->repair->work, job->due_ms);
		work_copied(ns, &ns->repair->work, job->ends.length);
		fetch_event(ns, job, telling_level(ns, &ns->repair->repaired, LOG_INFO),
			    "repaired");
		job->attempts = 0;
		job_move(ns->repair, job, QUEUE_COPY);
		return;
	}
	fetch_event(ns, job, LOG_DEBUG, "repair_failed");
	fetch_doubt(ns, job->ends.source, job->chunk, error);
	job_retry(ns, job);
}

enum outcome { DONE, TRY_LATER, SERVERS_BUSY };

static uint16_t failed_target(const struct job *job)
{
	return job->attempts ? job->ends.target : 0;
}

static enum outcome job_fetch(struct nameserver *ns, struct job *job,
			      const struct chunk_health *health)
{
	struct chunk_row row;
	struct fetch_plan plan = { .row = &row };

	if (chunk_find(ns->kv, job->chunk, &row) < 0)
		return TRY_LATER;
	plan.source = source_choose(ns, health, job->attempts ? job->ends.source : 0);
	plan.target =
		plan.source ? target_choose(ns, health, failed_target(job), row.length) : NULL;
	if (!plan.source || !plan.target)
		return SERVERS_BUSY;
	if (fetch_begin(ns, &plan, fetch_done) < 0)
		return TRY_LATER;
	job->ends = (struct fetch_ends){ plan.source->row.number, plan.target->row.number,
					 row.length, ns->now_ms };
	job->due_ms = ns->now_ms;
	job_move(ns->repair, job, QUEUE_FETCHING);
	fetch_event(ns, job, LOG_DEBUG, "repair_started");
	return DONE;
}

/* ---- what is too much ---- */

static const char *trim_reason(const struct nameserver *ns, const struct member *member,
			       uint64_t chunk)
{
	if (copy_is_bad(member, chunk))
		return "corrupt";
	if (member->row.draining)
		return "drain";
	return balance_is_running(ns) ? "balance" : "surplus";
}

static int trim(struct nameserver *ns, struct member *member, uint64_t chunk)
{
	const char *reason = trim_reason(ns, member, chunk);
	enum log_level level = telling_level(ns, &ns->repair->trimmed, LOG_INFO);

	/* Of what balance moves it tells itself. */
	if (!balance_is_running(ns))
		work_begin(ns, &ns->repair->work, ns->now_ms);
	ns->repair->work.trimmed++;
	if (level != LOG_DEBUG || ns->config.debug)
		ns_event_about(ns, member, level, "trimmed", "chunk=%llx reason=%s path=%s",
			       (unsigned long long)chunk, reason, chunk_path_quoted(ns, chunk));
	return place_trim(ns, member, chunk);
}

/* Bad copies that are not on the books go at once, of the others one at a time. */
static enum outcome job_trim(struct nameserver *ns, struct job *job,
			     const struct chunk_health *health)
{
	struct member *member;

	LIST_FOREACH(member, &ns->with_bad, with_bad) {
		if (copy_is_bad(member, health->chunk) &&
		    !holders_have(&health->holders, member->row.number))
			chunk_doom(ns, member, health->chunk);
	}
	member = surplus_choose(ns, health);
	if (!member) {
		repair_wait(ns);
		job_drop(ns->repair, job);
		return DONE;
	}
	if (member->doomed.count >= TRIM_QUEUE)
		return SERVERS_BUSY;
	if (trim(ns, member, health->chunk) < 0)
		ns->failed = true;
	job_drop(ns->repair, job);
	repair_look(ns, health->chunk);
	return DONE;
}

/* ---- steps ---- */

static enum outcome job_run(struct nameserver *ns, struct job *job)
{
	struct chunk_health health;
	int rc = health_get(ns, job->chunk, &health);

	if (rc < 0) {
		ns->failed = ns->failed || rc != -ERR_NOT_FOUND;
		job_drop(ns->repair, job);
		return DONE;
	}
	switch (need_of(ns, &health)) {
	case NEED_COPY: return job_fetch(ns, job, &health);
	case NEED_TRIM: return job_trim(ns, job, &health);
	default: break;
	}
	job_drop(ns->repair, job);
	repair_found(ns, &health);
	return DONE;
}

/* Those whose servers are busy go to the end of their queue. Returns how many were looked at. */
static unsigned int queue_run(struct nameserver *ns, enum queue queue, unsigned int most)
{
	struct repair *repair = ns->repair;
	unsigned int count = repair->counts[queue], looked = 0;

	while (looked < count && looked < most && !ns->failed) {
		struct job *job = TAILQ_FIRST(&repair->queues[queue]);

		if (!job || repair->counts[QUEUE_FETCHING] >= FETCHES_MAX)
			break;
		looked++;
		switch (job_run(ns, job)) {
		case DONE: pause_end(ns, STEP_MS); break;
		case TRY_LATER: job_retry(ns, job); break;
		case SERVERS_BUSY: job_move(repair, job, queue); break;
		}
	}
	return looked;
}

static void due_wake(struct nameserver *ns, enum queue queue)
{
	struct repair *repair = ns->repair;
	struct job *job;

	while ((job = TAILQ_FIRST(&repair->queues[queue])) && job->due_ms <= ns->now_ms)
		job_move(repair, job, QUEUE_COPY);
}

static bool has_work(const struct nameserver *ns)
{
	const unsigned int *counts = ns->repair->counts;

	return (counts[QUEUE_LAST] || counts[QUEUE_FEW] || counts[QUEUE_COPY] ||
		counts[QUEUE_TRIM]) &&
	       counts[QUEUE_FETCHING] < FETCHES_MAX && !must_spare(ns);
}

void repair_tick(struct nameserver *ns)
{
	struct repair *repair = ns->repair;
	unsigned int left = LOOKS;
	uint64_t rested_ms;

	for (int queue = QUEUE_SOON; queue <= QUEUE_NEW; queue++)
		due_wake(ns, (enum queue)queue);
	if (repair->walk_ms <= ns->now_ms) {
		repair->walk_ms = UINT64_MAX;
		sweep_request(ns, false);
	}
	work_tell(ns, &repair->work, work_left(ns));
	if (!has_work(ns) || ns->now_ms < repair->next_ms)
		return;
	takers_count(ns);
	repair->next_ms = ns->now_ms + repair->pause_ms;
	repair->pause_ms =
		2 * repair->pause_ms < PAUSE_MAX_MS ? 2 * repair->pause_ms : PAUSE_MAX_MS;
	for (int queue = QUEUE_LAST; queue <= QUEUE_TRIM; queue++)
		left -= queue_run(ns, (enum queue)queue, left);
	rested_ms = fetches_rested_ms(ns);
	if (rested_ms < repair->next_ms)
		repair->next_ms = rested_ms;
}

static uint64_t first_due(const struct repair *repair, enum queue queue)
{
	const struct job *job = TAILQ_FIRST(&repair->queues[queue]);

	return job ? job->due_ms : UINT64_MAX;
}

uint64_t repair_deadline(const struct nameserver *ns)
{
	const struct repair *repair = ns->repair;
	uint64_t at = repair->walk_ms;
	uint64_t told_ms;

	for (int queue = QUEUE_SOON; queue <= QUEUE_NEW; queue++) {
		uint64_t due_ms = first_due(repair, (enum queue)queue);

		at = due_ms < at ? due_ms : at;
	}
	told_ms = work_deadline(ns, &repair->work, work_left(ns));
	at = told_ms < at ? told_ms : at;
	return has_work(ns) && repair->next_ms < at ? repair->next_ms : at;
}

int repair_new(struct nameserver *ns)
{
	struct repair *repair = calloc(1, sizeof(*repair));

	if (!repair)
		return -ERR_NO_MEMORY;
	for (int i = 0; i < QUEUES; i++)
		TAILQ_INIT(&repair->queues[i]);
	repair->walk_ms = UINT64_MAX;
	repair->pause_ms = PAUSE_MS;
	ns->repair = repair;
	return 0;
}

void repair_free(struct nameserver *ns)
{
	struct job *job, *next;

	if (!ns->repair)
		return;
	HASH_ITER(hh, ns->repair->jobs, job, next)
		job_drop(ns->repair, job);
	free(ns->repair);
}

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
	RETRY_MS = 5000,
	ATTEMPTS_MAX = 8,              /* then the chunk waits for the next walk */
	WALK_AGAIN_MS = 5 * 60 * 1000, /* for what could not be helped */
	TRIM_QUEUE = 64 * 1024,        /* a server with so many chunks to delete gets no more */
};

/* In the order in which they are worked on; from QUEUE_RETRY on they wait. */
enum queue {
	QUEUE_LAST, /* one copy left */
	QUEUE_FEW,  /* two, of more than three */
	QUEUE_COPY,
	QUEUE_TRIM,
	QUEUE_RETRY,
	QUEUE_NEW,
	QUEUE_FETCHING,
	QUEUES
};

struct job {
	uint64_t chunk;
	uint64_t due_ms;        /* QUEUE_RETRY, QUEUE_NEW; QUEUE_FETCHING: when it began */
	struct fetch_ends ends; /* that it is, or was, tried with */
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
	struct repair_rate rate;
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

static void job_add(struct nameserver *ns, uint64_t chunk, enum queue queue)
{
	struct repair *repair = ns->repair;
	unsigned int most = queue == QUEUE_LAST ? JOBS_MAX : JOBS_MAX - JOBS_LAST_ROOM;
	struct job *job = job_find(repair, chunk);

	if (job) {
		if (job->queue != QUEUE_FETCHING && job->queue != QUEUE_RETRY &&
		    job->queue != queue)
			job_move(repair, job, queue);
		return;
	}
	job = HASH_COUNT(repair->jobs) < most ? calloc(1, sizeof(*job)) : NULL;
	if (!job) {
		walk_at(repair, queue == QUEUE_NEW ? ns->new_until_ms : ns->now_ms + RETRY_MS);
		return;
	}
	job->chunk = chunk;
	job->due_ms = ns->new_until_ms;
	HASH_ADD(hh, repair->jobs, chunk, sizeof(job->chunk), job);
	job_put(repair, job, queue);
	if (queue <= QUEUE_TRIM && repair->next_ms > ns->now_ms + STEP_MS)
		repair->next_ms = ns->now_ms + STEP_MS;
}

static void job_retry(struct nameserver *ns, struct job *job)
{
	if (++job->attempts >= ATTEMPTS_MAX) {
		walk_at(ns->repair, ns->now_ms + WALK_AGAIN_MS);
		job_drop(ns->repair, job);
		return;
	}
	job->due_ms = ns->now_ms + RETRY_MS;
	job_move(ns->repair, job, QUEUE_RETRY);
}

uint64_t repair_count(const struct nameserver *ns)
{
	const unsigned int *counts = ns->repair->counts;

	return (uint64_t)counts[QUEUE_LAST] + counts[QUEUE_FEW] + counts[QUEUE_COPY] +
	       counts[QUEUE_RETRY] + counts[QUEUE_FETCHING];
}

uint64_t repair_rate(const struct nameserver *ns)
{
	return rate_get(&ns->repair->rate, ns->now_ms);
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
		if (health->missed_ms == ns->new_until_ms)
			job_add(ns, health->chunk, QUEUE_NEW);
		else
			walk_at(ns->repair, health->missed_ms);
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

/* ---- FETCH ---- */

/* Not where a copy is; where a bad one is only if no other server is left; not again, if it can be
 * helped, where it failed the last time. */
enum strictness { AVOID_FAILED, AVOID_BAD, AVOID_HOLDERS, STRICTNESSES };

static bool must_avoid(const struct nameserver *ns, const struct chunk_health *health,
		       const struct job *job, const struct member *member,
		       enum strictness strictness)
{
	bool bad = copy_is_bad(member, health->chunk);

	if (member->fetching >= fetches_most(ns, member))
		return true;
	if (chunk_set_has(&member->doomed, health->chunk) ||
	    chunk_set_has(&member->ordered, health->chunk))
		return true;
	if (holders_have(&health->holders, member->row.number) && !bad)
		return true;
	if (bad)
		return strictness < AVOID_HOLDERS;
	return strictness == AVOID_FAILED && job->attempts &&
	       member->row.number == job->ends.target;
}

static struct member *target_choose(struct nameserver *ns, const struct chunk_health *health,
				    const struct job *job, uint32_t length)
{
	const struct member **avoid = arena_alloc(&ns->arena, ns->member_count * sizeof(*avoid));
	const struct member *near[HOLDERS_MAX];
	struct placement wanted = { .length = length, .copies = 1, .avoid = avoid, .near = near };
	struct member *chosen[COPIES_MAX];

	if (!avoid)
		return NULL;
	for (unsigned int i = 0; i < health->holders.count; i++) {
		const struct member *member = member_by_number(ns, health->holders.numbers[i]);

		if (member && !member->row.draining && !copy_is_bad(member, health->chunk))
			near[wanted.near_count++] = member;
	}
	for (int strictness = 0; strictness < STRICTNESSES; strictness++) {
		wanted.avoid_count = 0;
		for (unsigned int i = 0; i < ns->member_count; i++) {
			const struct member *member = ns->sorted[i];

			if (must_avoid(ns, health, job, member, (enum strictness)strictness))
				avoid[wanted.avoid_count++] = member;
		}
		if (placement_choose(ns, &wanted, chosen) > 0)
			return chosen[0];
	}
	return NULL;
}

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
		work_begin(ns, &ns->repair->work);
		ns->repair->work.copied++;
		ns->repair->work.bytes += job->ends.length;
		rate_add(&ns->repair->rate, ns->now_ms, job->ends.length);
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

static enum outcome job_fetch(struct nameserver *ns, struct job *job,
			      const struct chunk_health *health)
{
	struct chunk_row row;
	struct fetch_plan plan = { .row = &row };

	if (chunk_find(ns->kv, job->chunk, &row) < 0)
		return TRY_LATER;
	plan.source = source_choose(ns, health, job->attempts ? job->ends.source : 0);
	plan.target = plan.source ? target_choose(ns, health, job, row.length) : NULL;
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
		work_begin(ns, &ns->repair->work);
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

/* Chunks count as new for one to two times the delay. */
static void new_turn(struct nameserver *ns)
{
	if (ns->now_ms < ns->new_until_ms)
		return;
	ns->new_from = ns->new_next;
	ns->new_next = ns->start << ID_BITS_OF_COUNT | (ns->next_chunk + 1);
	ns->new_until_ms = ns->now_ms + ns->config.repair_delay_ms;
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

	new_turn(ns);
	due_wake(ns, QUEUE_RETRY);
	due_wake(ns, QUEUE_NEW);
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
	uint64_t retry_ms = first_due(repair, QUEUE_RETRY), new_ms = first_due(repair, QUEUE_NEW);
	uint64_t told_ms;

	at = retry_ms < at ? retry_ms : at;
	at = new_ms < at ? new_ms : at;
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
	ns->new_from = ns->new_next = ns->start << ID_BITS_OF_COUNT;
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

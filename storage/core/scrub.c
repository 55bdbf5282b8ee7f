/* Scrubbing: every copy is read once in the name server's period, whether anybody wants it or not.
 *
 * A pass goes through the chunks in the order of their ids, at the pace at which it ends a little
 * before the period does: bytes left over time left. It is never slower than a gentle minimum, so a
 * small disk is done early and rests then; it never takes more than a quarter of the disk's time,
 * and waits while clients want much of it. Time counts while the server runs. A disk that has
 * failed is left to those who copy what can still be read.
 *
 * Reading a copy, and giving up one that is bad, is INSPECT's business (inspect.c), whose own
 * questions go first. */
#include "storage_inside.h"

enum {
	PAGE_MAX = 4096,            /* ids that are asked for at once */
	PACE_MIN_BYTES = 64 * 1024, /* a second */
	PERIOD_PART = 10,           /* a pass aims to end a tenth of the period early */
	DISK_PART = 4,              /* of the disk's time, at most */
	START_MS = 10 * 1000,       /* a server that just started has better to do */
	TRANSFERS_MAX = 4,          /* with more of them it waits, */
	YIELD_MS = 200,             /* this long at a time */
	REPORTS_MAX = 16 * 1024,    /* bad copies that are yet to be told */
};

static bool is_here(struct storage *s, uint64_t chunk)
{
	return s->config.chunks->find(s->config.chunks_context, chunk, NULL, NULL) == 0;
}

/* ---- time ---- */

static uint64_t elapsed_ms(const struct storage *s)
{
	const struct scrub *scrub = &s->scrub;

	return scrub->state.elapsed_ms + (scrub->period_ms ? s->now_ms - scrub->counted_ms : 0);
}

static void time_count(struct storage *s)
{
	s->scrub.state.elapsed_ms = elapsed_ms(s);
	s->scrub.counted_ms = s->now_ms;
}

static uint64_t left_until(uint64_t end_ms, uint64_t now_ms)
{
	return end_ms > now_ms ? end_ms - now_ms : 0;
}

/* From one read to the next, if a copy has that length. */
static uint64_t pace_ms(struct storage *s, uint32_t length)
{
	const struct scrub *scrub = &s->scrub;
	uint64_t aim_ms = scrub->period_ms - scrub->period_ms / PERIOD_PART;
	uint64_t slow_ms = (uint64_t)length * 1000 / PACE_MIN_BYTES;
	uint64_t even_ms, reads_left;
	struct storage_usage usage;

	s->config.chunks->usage(s->config.chunks_context, &usage);
	reads_left = left_until(usage.used, scrub->state.bytes) / (length ? length : 1) + 1;
	even_ms = left_until(aim_ms, scrub->state.elapsed_ms) / reads_left;
	return even_ms < slow_ms ? even_ms : slow_ms;
}

/* ---- a pass ---- */

static void say(struct storage *s, enum storage_note what)
{
	struct storage_action *action = storage_note(s, what);

	action->number = s->scrub.state.chunks;
	action->id = (uint32_t)s->scrub.state.bad;
	action->took_ms = s->scrub.state.elapsed_ms;
}

static void pass_begin(struct storage *s)
{
	s->scrub.state = (struct scrub_state){ 0 };
	s->scrub.page_at = s->scrub.page_count = 0;
	s->scrub.next_ms = s->now_ms;
	say(s, NOTE_SCRUB_STARTED);
}

/* The next begins with the next period. */
static void pass_end(struct storage *s)
{
	struct scrub *scrub = &s->scrub;

	scrub->state.ended = true;
	scrub->next_ms = s->now_ms + left_until(scrub->period_ms, scrub->state.elapsed_ms) + 1;
	free(scrub->page);
	scrub->page = NULL;
	say(s, NOTE_SCRUB_ENDED);
}

/* False: there is nothing behind the cursor. */
static bool page_fill(struct storage *s)
{
	struct scrub *scrub = &s->scrub;

	if (!scrub->page)
		scrub->page = malloc(PAGE_MAX * sizeof(*scrub->page));
	if (!scrub->page) {
		s->error = -ERR_NO_MEMORY;
		return false;
	}
	scrub->page_at = 0;
	scrub->page_count = s->config.chunks->list(s->config.chunks_context, scrub->state.cursor,
						   scrub->page, PAGE_MAX);
	return scrub->page_count > 0;
}

static void read_next(struct storage *s)
{
	struct scrub *scrub = &s->scrub;

	for (;;) {
		const struct chunk_ref *ref;

		if (scrub->page_at == scrub->page_count && !page_fill(s)) {
			pass_end(s);
			return;
		}
		ref = &scrub->page[scrub->page_at++];
		scrub->state.cursor = ref->chunk;
		if (!is_here(s, ref->chunk))
			continue;
		scrub->reading = ref->chunk;
		scrub->length = ref->length;
		scrub->begun_ms = s->now_ms;
		storage_inspect_read(s, ref->chunk, ref->length);
		return;
	}
}

void storage_scrub_inspected(struct storage *s, uint64_t chunk, bool damaged)
{
	struct scrub *scrub = &s->scrub;
	uint64_t spent_ms, gentle_ms;

	if (scrub->reading != chunk)
		return;
	time_count(s);
	scrub->reading = 0;
	scrub->state.chunks++;
	scrub->state.bytes += scrub->length;
	scrub->state.bad += damaged;
	spent_ms = s->now_ms - scrub->begun_ms;
	gentle_ms = s->now_ms + (spent_ms ? spent_ms : 1) * (DISK_PART - 1);
	scrub->next_ms = scrub->begun_ms + pace_ms(s, scrub->length);
	if (scrub->next_ms < gentle_ms)
		scrub->next_ms = gentle_ms;
}

/* Clients go first, as long as the pass can still end in time. */
static bool must_yield(const struct storage *s)
{
	return HASH_COUNT(s->transfers) > TRANSFERS_MAX &&
	       s->scrub.state.elapsed_ms < s->scrub.period_ms;
}

void storage_scrub_tick(struct storage *s)
{
	if (s->now_ms < storage_scrub_deadline(s))
		return;
	time_count(s);
	if (s->scrub.state.ended)
		pass_begin(s);
	else if (must_yield(s))
		s->scrub.next_ms = s->now_ms + YIELD_MS;
	else
		read_next(s);
}

uint64_t storage_scrub_deadline(const struct storage *s)
{
	bool may_read = s->scrub.period_ms && !s->inspecting && !s->disk_failed;

	return may_read ? s->scrub.next_ms : UINT64_MAX;
}

/* ---- life ---- */

void storage_scrub_registered(struct storage *s, uint32_t period_s)
{
	struct scrub *scrub = &s->scrub;
	uint64_t period_ms = (uint64_t)period_s * 1000, start_ms;

	if (period_ms == scrub->period_ms)
		return;
	time_count(s);
	scrub->period_ms = period_ms;
	if (!period_ms)
		return;
	start_ms = period_ms / PERIOD_PART < START_MS ? period_ms / PERIOD_PART : START_MS;
	if (scrub->state.ended)
		start_ms = left_until(period_ms, scrub->state.elapsed_ms) + 1;
	else
		say(s, NOTE_SCRUB_STARTED);
	scrub->next_ms = s->now_ms + start_ms;
}

void storage_scrub(const struct storage *s, struct scrub_state *ret)
{
	*ret = s->scrub.state;
	ret->elapsed_ms = elapsed_ms(s);
	/* What is being read has not been found good. */
	if (s->scrub.reading)
		ret->cursor = s->scrub.reading - 1;
}

void storage_scrub_free(struct storage *s)
{
	free(s->scrub.page);
	free(s->scrub.reports);
}

/* ---- bad copies that nobody could be told of ---- */

void storage_corrupt_keep(struct storage *s, uint64_t chunk)
{
	struct scrub *scrub = &s->scrub;

	if (!scrub->reports)
		scrub->reports = malloc(REPORTS_MAX * sizeof(*scrub->reports));
	/* The inventory lacks those beyond. */
	if (scrub->reports && scrub->report_count < REPORTS_MAX)
		scrub->reports[scrub->report_count++].chunk = chunk;
}

void storage_corrupt_flush(struct storage *s)
{
	struct scrub *scrub = &s->scrub;
	unsigned int kept = 0;

	/* What has been stored anew is good. */
	for (unsigned int i = 0; i < scrub->report_count; i++) {
		if (!is_here(s, scrub->reports[i].chunk))
			scrub->reports[kept++] = scrub->reports[i];
	}
	for (unsigned int i = 0; i < kept; i += CHUNK_LIST_MAX)
		storage_corrupt_tell(s, scrub->reports + i,
				     kept - i < CHUNK_LIST_MAX ? kept - i : CHUNK_LIST_MAX);
	free(scrub->reports);
	scrub->reports = NULL;
	scrub->report_count = 0;
}

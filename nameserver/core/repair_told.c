/* What is told of repair: of each chunk while they are few, of all of them together. */
#include "repair.h"

enum { TOLD_MAX = 100, TOLD_MS = 10 * 60 * 1000, PROGRESS_MS = 10 * 1000 };

enum log_level telling_level(const struct nameserver *ns, struct telling *telling,
			     enum log_level level)
{
	if (telling->count == 0 || ns->now_ms - telling->since_ms >= TOLD_MS) {
		telling->since_ms = ns->now_ms;
		telling->count = 0;
	}
	if (telling->count >= TOLD_MAX)
		return LOG_DEBUG;
	telling->count++;
	return level;
}

void work_begin(const struct nameserver *ns, struct repair_work *work, uint64_t since_ms)
{
	if (!work->running)
		*work = (struct repair_work){
			.running = true,
			.begun_ms = since_ms,
			.told_ms = ns->now_ms,
			.second = ns->now_ms / 1000,
		};
}

uint64_t work_deadline(const struct nameserver *ns, const struct repair_work *work, uint64_t left)
{
	if (!work->running)
		return UINT64_MAX;
	return left ? work->told_ms + PROGRESS_MS : ns->now_ms;
}

void work_tell(struct nameserver *ns, struct repair_work *work, uint64_t left)
{
	if (!work->running || (left && ns->now_ms - work->told_ms < PROGRESS_MS))
		return;
	ns_event(ns, LOG_INFO, left ? "repair_progress" : "repair_done",
		 "copied=%llu bytes=%llu trimmed=%llu left=%llu rate=%llu left_ms=%llu ms=%llu",
		 (unsigned long long)work->copied, (unsigned long long)work->bytes,
		 (unsigned long long)work->trimmed, (unsigned long long)left,
		 (unsigned long long)repair_rate(ns), (unsigned long long)repair_left_ms(ns),
		 (unsigned long long)(ns->now_ms - work->begun_ms));
	work->told_ms = ns->now_ms;
	work->running = left != 0;
}

/* Seconds in which nothing was copied count, too. */
static void seconds_pass(struct repair_work *work, uint64_t second)
{
	for (int i = 0; i < RATE_SECONDS && work->second < second; i++)
		work->lately[++work->second % RATE_SECONDS] = 0;
	work->second = second;
}

void work_copied(const struct nameserver *ns, struct repair_work *work, uint64_t bytes)
{
	seconds_pass(work, ns->now_ms / 1000);
	work->copied++;
	work->bytes += bytes;
	work->lately[work->second % RATE_SECONDS] += bytes;
}

/* What took less time than is looked back on is not spread over all of that. */
uint64_t work_rate(const struct nameserver *ns, const struct repair_work *work)
{
	struct repair_work now = *work;
	uint64_t sum = 0, ms = ns->now_ms - work->begun_ms;

	seconds_pass(&now, ns->now_ms / 1000);
	for (int i = 0; i < RATE_SECONDS; i++)
		sum += now.lately[i];
	ms = ms < 1000 ? 1000 : ms;
	return ms < RATE_SECONDS * 1000 ? sum * 1000 / ms : sum / RATE_SECONDS;
}

const char *chunk_path_quoted(struct nameserver *ns, uint64_t chunk)
{
	char *path = arena_alloc(&ns->arena, PATH_SIZE_MAX + 1);
	uint64_t inode = 0, end;

	while (path && chunk_owner(ns->kv, chunk, inode, &inode, &end) == 0) {
		if (catalogue_path(ns->kv, inode, path, PATH_SIZE_MAX + 1) >= 0)
			return quoted(ns, slice_of(path));
	}
	return quoted(ns, slice_of(""));
}

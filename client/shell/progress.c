#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "output.h"
#include "progress.h"
#include "text.h"

/* Short transfers never show a line; a terminal need not follow faster than the eye. */
enum { FIRST_MS = 400, AGAIN_MS = 100, BAR_MIN = 8, BAR_MAX = 40, LINE_MAX = 512, PART_MAX = 96 };

void progress_init(struct progress *progress, const char *name, bool wanted)
{
	memset(progress, 0, sizeof(*progress));
	progress->wanted = wanted && isatty(STDERR_FILENO);
	progress->name = name;
	progress->bytes_total = UINT64_MAX;
	progress->start_ms = clock_monotonic_ms();
}

const char *rate_format(uint64_t bytes, uint64_t elapsed_ms, char ret[RATE_MAX])
{
	double seconds = (double)(elapsed_ms ? elapsed_ms : 1) / 1000;
	char size[SIZE_TEXT_MAX];

	snprintf(ret, RATE_MAX, "%s/s", size_format((uint64_t)((double)bytes / seconds), size));
	return ret;
}

/* "0:07", "1:02:03"; "" where nobody knows */
static void left_format(const struct progress *progress, uint64_t elapsed_ms, char ret[PART_MAX])
{
	double share;
	unsigned long long seconds;

	ret[0] = '\0';
	if (progress->bytes_total == UINT64_MAX || progress->bytes == 0 || elapsed_ms == 0)
		return;
	share = (double)progress->bytes_total / (double)progress->bytes - 1;
	if (share < 0 || share * (double)elapsed_ms > 1e9)
		return;
	seconds = (unsigned long long)(share * (double)elapsed_ms / 1000 + 0.5);
	if (seconds >= 3600)
		snprintf(ret, PART_MAX, "  %llu:%02llu:%02llu left", seconds / 3600,
			 seconds / 60 % 60, seconds % 60);
	else
		snprintf(ret, PART_MAX, "  %llu:%02llu left", seconds / 60, seconds % 60);
}

static void amount_format(const struct progress *progress, char ret[PART_MAX])
{
	char done[SIZE_TEXT_MAX];
	char total[SIZE_TEXT_MAX];
	int used = 0;

	if (progress->files_total)
		used = snprintf(ret, PART_MAX, "%llu/%llu files, ",
				(unsigned long long)progress->files,
				(unsigned long long)progress->files_total);
	if (progress->bytes_total == UINT64_MAX)
		snprintf(ret + used, PART_MAX - (size_t)used, "%s",
			 size_format(progress->bytes, done));
	else
		snprintf(ret + used, PART_MAX - (size_t)used, "%s of %s",
			 size_format(progress->bytes, done),
			 size_format(progress->bytes_total, total));
}

static unsigned int percent(const struct progress *progress)
{
	if (progress->bytes_total == 0 || progress->bytes >= progress->bytes_total)
		return 100;
	return (unsigned int)(100.0 * (double)progress->bytes / (double)progress->bytes_total);
}

/* "[####----] 50%  ", as far as there is room for it. */
static void bar_format(const struct progress *progress, unsigned int room, char ret[PART_MAX])
{
	unsigned int cells = room > 10 ? room - 10 : 0;
	unsigned int full;

	ret[0] = '\0';
	if (progress->bytes_total == UINT64_MAX || cells < BAR_MIN)
		return;
	cells = cells < BAR_MAX ? cells : BAR_MAX;
	full = cells * percent(progress) / 100;
	ret[0] = '[';
	memset(ret + 1, '#', full);
	memset(ret + 1 + full, '-', cells - full);
	snprintf(ret + 1 + cells, PART_MAX - 1 - cells, "] %3u%%  ", percent(progress));
}

size_t progress_format(const struct progress *progress, uint64_t elapsed_ms, unsigned int width,
		       char *ret, size_t size)
{
	char bar[PART_MAX], amount[PART_MAX], rate[RATE_MAX], left[PART_MAX];
	unsigned int rest;
	int used;

	amount_format(progress, amount);
	rate_format(progress->bytes, elapsed_ms, rate);
	left_format(progress, elapsed_ms, left);
	rest = (unsigned int)(strlen(progress->name) + strlen(amount) + strlen(rate) +
			      strlen(left)) +
	       4;
	bar_format(progress, width > rest ? width - rest : 0, bar);
	used = snprintf(ret, size, "%s  %s%s  %s%s", progress->name, bar, amount, rate, left);
	if (used >= (int)size)
		used = (int)size - 1;
	if ((unsigned int)used > width)
		used = (int)width;
	ret[used] = '\0';
	return (size_t)used;
}

void progress_draw(struct progress *progress)
{
	uint64_t now = clock_monotonic_ms();
	uint64_t elapsed = now - progress->start_ms;
	char line[LINE_MAX];
	unsigned int width;

	if (!progress->wanted || elapsed < FIRST_MS)
		return;
	if (progress->shown && now - progress->drawn_ms < AGAIN_MS)
		return;
	/* The last column stays free: a terminal would wrap. */
	width = terminal_width(STDERR_FILENO);
	progress_format(progress, elapsed, width > 1 ? width - 1 : 0, line, sizeof(line));
	fprintf(stderr, "\r%s\033[K", line);
	fflush(stderr);
	progress->drawn_ms = now;
	progress->shown = true;
}

void progress_hide(struct progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
	progress->shown = false;
}

int progress_step(void *context, uint64_t done, uint64_t total)
{
	struct progress *progress = context;

	progress->bytes = done;
	if (total != UINT64_MAX)
		progress->bytes_total = total;
	progress_draw(progress);
	return 0;
}

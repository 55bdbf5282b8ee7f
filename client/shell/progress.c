#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "clock.h"
#include "output.h"
#include "progress.h"
#include "text.h"

/* Short transfers never show a line; a terminal need not follow faster than the eye. */
enum { FIRST_MS = 400, AGAIN_MS = 100, BAR_MIN = 8, BAR_MAX = 40, LINE_MAX = 512, PART_MAX = 64 };

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
	char *point = strchr(size_format((uint64_t)((double)bytes / seconds), size), '.');

	/* A tenth of some hundred is not what anybody wants to know. */
	if (point && point - size >= 3)
		memmove(point, point + 2, strlen(point + 2) + 1);
	snprintf(ret, RATE_MAX, "%s/s", size);
	return ret;
}

static bool counts_bytes(const struct progress *progress)
{
	return progress->bytes > 0 ||
	       (progress->bytes_total > 0 && progress->bytes_total != UINT64_MAX);
}

/* 0 to 1; negative where nobody knows. Of the bytes if there are any, else of the files. */
static double share_done(const struct progress *progress)
{
	double share = -1;

	if (counts_bytes(progress)) {
		if (progress->bytes_total != UINT64_MAX)
			share = (double)progress->bytes / (double)progress->bytes_total;
	} else if (progress->files_total) {
		share = (double)progress->files / (double)progress->files_total;
	}
	return share > 1 ? 1 : share;
}

/* "0:07 left", "1:02:03 left"; "" where nobody knows */
static void left_format(const struct progress *progress, uint64_t elapsed_ms, char ret[PART_MAX])
{
	double share = share_done(progress);
	double left_ms;
	unsigned long long seconds;

	ret[0] = '\0';
	if (share <= 0 || elapsed_ms == 0)
		return;
	left_ms = (1 / share - 1) * (double)elapsed_ms;
	if (left_ms > 1e9)
		return;
	seconds = (unsigned long long)(left_ms / 1000 + 0.5);
	if (seconds >= 3600)
		snprintf(ret, PART_MAX, "%llu:%02llu:%02llu left", seconds / 3600,
			 seconds / 60 % 60, seconds % 60);
	else
		snprintf(ret, PART_MAX, "%llu:%02llu left", seconds / 60, seconds % 60);
}

/* "3/9 files" */
static void files_format(const struct progress *progress, char ret[PART_MAX])
{
	const char *unit = progress->unit ? progress->unit : "files";

	ret[0] = '\0';
	if (progress->files_total)
		snprintf(ret, PART_MAX, "%llu/%llu %s", (unsigned long long)progress->files,
			 (unsigned long long)progress->files_total, unit);
	else if (progress->files)
		snprintf(ret, PART_MAX, "%llu %s", (unsigned long long)progress->files, unit);
}

static void amount_format(const struct progress *progress, char ret[PART_MAX])
{
	char done[SIZE_TEXT_MAX];
	char total[SIZE_TEXT_MAX];

	ret[0] = '\0';
	if (!counts_bytes(progress))
		return;
	size_format(progress->bytes, done);
	if (progress->bytes_total == UINT64_MAX)
		snprintf(ret, PART_MAX, "%s", done);
	else
		snprintf(ret, PART_MAX, "%s of %s", done,
			 size_format(progress->bytes_total, total));
}

static void speed_format(const struct progress *progress, uint64_t elapsed_ms, char ret[PART_MAX])
{
	char rate[RATE_MAX];
	double seconds = (double)(elapsed_ms ? elapsed_ms : 1) / 1000;

	if (counts_bytes(progress))
		snprintf(ret, PART_MAX, "%s", rate_format(progress->bytes, elapsed_ms, rate));
	else
		snprintf(ret, PART_MAX, "%.0f/s", (double)progress->files / seconds);
}

static void percent_format(const struct progress *progress, char ret[PART_MAX])
{
	double share = share_done(progress);

	ret[0] = '\0';
	if (share >= 0)
		snprintf(ret, PART_MAX, "%3u%%", (unsigned int)(100 * share));
}

/* "[####----]" */
static void bar_format(const struct progress *progress, unsigned int room, char ret[PART_MAX])
{
	double share = share_done(progress);
	unsigned int cells = room > 2 ? room - 2 : 0;
	unsigned int full;

	ret[0] = '\0';
	if (share < 0 || cells < BAR_MIN)
		return;
	cells = cells < BAR_MAX ? cells : BAR_MAX;
	full = (unsigned int)((double)cells * share);
	ret[0] = '[';
	memset(ret + 1, '#', full);
	memset(ret + 1 + full, '-', cells - full);
	memcpy(ret + 1 + cells, "]", 2);
}

/* What the line consists of, from left to right. */
enum part { NAME, BAR, PERCENT, FILES, AMOUNT, SPEED, LEFT, PARTS };

static size_t parts_join(char parts[PARTS][PART_MAX], unsigned int shown, char *ret, size_t size)
{
	size_t used = 0;

	ret[0] = '\0';
	for (unsigned int i = 0; i < PARTS && used < size; i++) {
		if (!(shown & 1u << i) || !parts[i][0])
			continue;
		used += (size_t)snprintf(ret + used, size - used, "%s%s", used ? "  " : "",
					 parts[i]);
	}
	return used < size ? used : size - 1;
}

size_t progress_format(const struct progress *progress, uint64_t elapsed_ms, unsigned int width,
		       char *ret, size_t size)
{
	/* What goes first where the terminal is narrow. Without a total nothing says more than the
	 * amount. */
	static const enum part dispensable[] = { FILES, AMOUNT, NAME, SPEED, LEFT };
	char parts[PARTS][PART_MAX] = { "" };
	unsigned int shown = (1u << PARTS) - 1;
	size_t used;

	snprintf(parts[NAME], PART_MAX, "%s", progress->name);
	percent_format(progress, parts[PERCENT]);
	files_format(progress, parts[FILES]);
	amount_format(progress, parts[AMOUNT]);
	speed_format(progress, elapsed_ms, parts[SPEED]);
	left_format(progress, elapsed_ms, parts[LEFT]);
	used = parts_join(parts, shown, ret, size);
	for (unsigned int i = 0; used > width && i < ARRAY_SIZE(dispensable); i++) {
		if (dispensable[i] == AMOUNT && !parts[PERCENT][0])
			continue;
		shown &= ~(1u << dispensable[i]);
		used = parts_join(parts, shown, ret, size);
	}
	bar_format(progress, width > used + 2 ? width - (unsigned int)used - 2 : 0, parts[BAR]);
	used = parts_join(parts, shown, ret, size);
	if (used > width)
		used = width;
	ret[used] = '\0';
	return used;
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

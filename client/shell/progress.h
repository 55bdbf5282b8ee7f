/* The line that tells how far something long is: on a terminal's standard error only.
 *
 *     struct progress progress;
 *
 *     progress_init(&progress, "verify", call_confirms(call));
 *     progress.bytes_total = total;
 *     while (…) {
 *             progress.bytes += done;
 *             progress_draw(&progress);
 *     }
 *     progress_hide(&progress);
 *
 * Where bytes count they give percent, rate and time left; where none do, files do. */
#ifndef MUSTER_SHELL_PROGRESS_H
#define MUSTER_SHELL_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
	bool wanted;
	bool shown; /* a line stands on the terminal now */
	const char *name;
	uint64_t start_ms;
	uint64_t drawn_ms;
	uint64_t bytes;
	uint64_t bytes_total; /* UINT64_MAX: unknown */
	uint64_t files;
	uint64_t files_total; /* 0: a single file */
	const char *unit;     /* what is counted beside bytes; NULL: "files" */
};

/* `wanted` counts only if standard error is a terminal. */
void progress_init(struct progress *progress, const char *name, bool wanted);
/* Draws if some time has passed since the last time. */
void progress_draw(struct progress *progress);
/* Takes the line away, before anything else is printed and at the end. */
void progress_hide(struct progress *progress);
/* A muster_progress_fn for a single file; the context is the struct. */
int progress_step(void *context, uint64_t done, uint64_t total);

/* The line itself, at most `width` columns: pure. */
size_t progress_format(const struct progress *progress, uint64_t elapsed_ms, unsigned int width,
		       char *ret, size_t size);
/* "12.3 MiB/s" */
enum { RATE_MAX = 32 };
const char *rate_format(uint64_t bytes, uint64_t elapsed_ms, char ret[RATE_MAX]);

#endif

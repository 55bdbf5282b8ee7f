/* What scripts have exercised, added up over several runs by way of a file: one line for each
 * `request NAME`, `reply NAME` and `status NAME`. */
#ifndef MUSTER_TESTS_COVERAGE_H
#define MUSTER_TESTS_COVERAGE_H

#include <stdio.h>

#include "frame.h"

enum { COVERAGE_CODES = 256, COVERAGE_STATUSES = 64 };
struct coverage {
	bool requests[COVERAGE_CODES];
	bool replies[COVERAGE_CODES];
	bool statuses[COVERAGE_STATUSES];
};

/* `received`: from the server under test; only its statuses count. */
void coverage_add(struct coverage *coverage, const struct frame_header *header, bool received);
int coverage_read(struct coverage *coverage, const char *path); /* adds; a missing file is empty */
int coverage_write(const struct coverage *coverage, const char *path);
/* A line for each message and status that is missing; returns how many. */
unsigned int coverage_missing(const struct coverage *coverage, FILE *out);

#endif

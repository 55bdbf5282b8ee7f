/* Is anybody there? Connects for the core (NS_DIAL) and closes at once. */
#ifndef MUSTER_NS_DIALS_H
#define MUSTER_NS_DIALS_H

#include <sys/queue.h>

#include "transport.h"

typedef void dials_done_fn(void *context, uint64_t number, int error);

struct dial;
struct dials {
	uv_loop_t *loop;
	dials_done_fn *done; /* in the loop, later */
	void *context;
	LIST_HEAD(, dial) list;
};

int dials_start(struct dials *dials, uint64_t number, const struct endpoint *to);
void dials_cancel(struct dials *dials); /* all; `done` is not called for them */

#endif

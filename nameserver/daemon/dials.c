#include "dials.h"

#include <unistd.h>

#include "error.h"

enum { DIAL_MS = 500 };

struct dial {
	LIST_ENTRY(dial) entries;
	struct dials *dials;
	struct dialer *dialer;
	uint64_t number;
};

static void on_done(void *context, int result)
{
	struct dial *dial = context;
	struct dials *dials = dial->dials;
	uint64_t number = dial->number;

	if (result >= 0)
		close(result);
	LIST_REMOVE(dial, entries);
	free(dial);
	dials->done(dials->context, number, result < 0 ? result : 0);
}

int dials_start(struct dials *dials, uint64_t number, const struct endpoint *to)
{
	struct dial_how how = { .endpoints = to, .count = 1, .timeout_ms = DIAL_MS };
	struct dial *dial = calloc(1, sizeof(*dial));
	int rc;

	if (!dial)
		return -ERR_NO_MEMORY;
	dial->dials = dials;
	dial->number = number;
	rc = dialer_new(dials->loop, &how, on_done, dial, &dial->dialer);
	if (rc < 0) {
		free(dial);
		return rc;
	}
	LIST_INSERT_HEAD(&dials->list, dial, entries);
	return 0;
}

void dials_cancel(struct dials *dials)
{
	struct dial *dial;

	while ((dial = LIST_FIRST(&dials->list))) {
		LIST_REMOVE(dial, entries);
		dialer_cancel(dial->dialer);
		free(dial);
	}
}

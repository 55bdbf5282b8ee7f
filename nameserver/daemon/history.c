#include "history.h"

#include <assert.h>
#include <stdlib.h>

#include "error.h"

struct history {
	struct history_how how;
	struct journal_reader *reader;
	uv_work_t work;
	bool busy;
	bool abandoned;
	/* Of the read that is under way: the pool's thread writes the last two. */
	struct journal_range range;
	struct buffer batches;
	int error;
};

static void work_run(uv_work_t *work)
{
	struct history *history = work->data;

	history->error = journal_read(history->reader, &history->range, &history->batches);
}

static void work_done(uv_work_t *work, int status)
{
	struct history *history = work->data;
	struct buffer batches = history->batches;
	struct slice bytes = { batches.data, batches.size };
	int error = status < 0 ? -ERR_BUSY : history->error;

	/* It may ask for the next at once. */
	history->batches = (struct buffer){ 0 };
	history->busy = false;
	if (history->how.done)
		history->how.done(history->how.context, history->range.after, bytes, error);
	buffer_done(&batches);
	if (history->abandoned)
		history_free(history);
}

int history_new(const struct history_how *how, struct history **ret)
{
	struct history *history = calloc(1, sizeof(*history));
	int rc = history ? journal_reader_new(how->disk, &history->reader) : -ERR_NO_MEMORY;

	if (rc < 0) {
		free(history);
		return rc;
	}
	history->how = *how;
	history->work.data = history;
	*ret = history;
	return 0;
}

void history_read(struct history *history, const struct journal_range *range)
{
	int rc;

	assert(!history->busy);
	history->busy = true;
	history->range = *range;
	/* It fails only without a function to call. */
	rc = uv_queue_work(history->how.loop, &history->work, work_run, work_done);
	assert(rc == 0);
}

void history_stop(struct history *history)
{
	if (history)
		history->how.done = NULL;
}

void history_free(struct history *history)
{
	if (!history)
		return;
	assert(!history->busy);
	journal_reader_free(history->reader);
	free(history);
}

void history_abandon(struct history *history)
{
	history_stop(history);
	if (history && history->busy)
		history->abandoned = true;
	else
		history_free(history);
}

/* Questions about the store as a whole, and what is done to it. */
#include "question.h"

#include <stdlib.h>

#include "error.h"

/* ---- status ---- */

int muster_start_status(struct muster *session, struct muster_then then, struct muster_op **ret)
{
	struct question question = { .code = MSG_status };

	return question_start(session, &question, then, ret);
}

int muster_status(struct muster *session, struct muster_status *ret)
{
	struct question question = { .code = MSG_status };

	return question_ask(session, &question, ret, sizeof(*ret));
}

const struct muster_status *muster_op_status(const struct muster_op *op)
{
	return question_answer(op, MSG_status);
}

/* ---- servers that go ---- */

int muster_drain(struct muster *session, const uint8_t node[16], bool on, uint64_t *ret_chunks)
{
	struct question question = { .code = MSG_drain, .drain = { .on = on } };

	memcpy(question.drain.node.bytes, node, ID_SIZE);
	return question_ask(session, &question, ret_chunks, sizeof(*ret_chunks));
}

int muster_forget(struct muster *session, const uint8_t node[16])
{
	struct question question = { .code = MSG_forget };

	memcpy(question.forget.node.bytes, node, ID_SIZE);
	return question_ask(session, &question, NULL, 0);
}

int muster_format(struct muster *session, const char *cluster, struct muster_removed *ret)
{
	struct question question = { .code = MSG_format };

	if (!cluster || strlen(cluster) > CLUSTER_NAME_MAX)
		question.error = -ERR_USAGE;
	else
		question.format.cluster_name = slice_of(cluster);
	return question_ask(session, &question, ret, sizeof(*ret));
}

/* ---- events ---- */

/* Not so long that the answer would seem to be overdue. */
static uint64_t events_wait_ms(const struct muster *session, unsigned int wanted_ms)
{
	uint64_t most_ms =
		session->config.timeout_ms ? session->config.timeout_ms / 2 : EVENTS_WAIT_MS;

	if (most_ms > EVENTS_WAIT_MS)
		most_ms = EVENTS_WAIT_MS;
	return wanted_ms < most_ms ? wanted_ms : most_ms;
}

static struct question events_question(const struct muster *session,
				       const struct muster_events_args *args)
{
	struct question question = { .code = MSG_events };

	if (args->level > MUSTER_DEBUG || (args->node && strlen(args->node) > HOST_NAME_MAX_))
		question.error = -ERR_USAGE;
	else if (args->node)
		question.events.node = slice_of(args->node);
	question.events.after = args->after;
	question.events.wait_ms = events_wait_ms(session, args->wait_ms);
	question.events.level = (uint8_t)args->level;
	return question;
}

int muster_start_events(struct muster *session, const struct muster_events_args *args,
			struct muster_then then, struct muster_op **ret)
{
	struct question question = events_question(session, args);

	return question_start(session, &question, then, ret);
}

const struct muster_event_page *muster_op_events(const struct muster_op *op)
{
	return question_answer(op, MSG_events);
}

static int each_event(const struct muster_event_page *page, muster_event_fn *each, void *context)
{
	for (unsigned int i = 0; i < page->count; i++) {
		if (each(context, &page->events[i]) != 0)
			return -ERR_CANCELLED;
	}
	return (int)page->count;
}

int muster_events(struct muster *session, const struct muster_events_args *args,
		  muster_event_fn *each, void *context, uint64_t *ret_after, uint64_t *ret_missed)
{
	struct question question = events_question(session, args);
	const struct muster_event_page *page;
	void *answer;
	int rc = question_page(session, &question, &answer);

	if (rc < 0)
		return rc;
	page = answer;
	*ret_after = page->after;
	if (ret_missed)
		*ret_missed = page->missed;
	rc = each_event(page, each, context);
	free(answer);
	return rc;
}

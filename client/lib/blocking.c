/* Puts and gets that are waited for: each starts an operation; the engine turns until it ends. */
#include "engine.h"

#include "error.h"

/* What an operation leaves behind for the call that waits for it. */
struct outcome {
	bool done;
	int result;
	struct muster_op *op; /* inside `done` only */
	void (*take)(struct outcome *outcome, const struct muster_op *op);
	void *ret;
};

static void outcome_done(void *context, struct muster_op *op, int result)
{
	struct outcome *outcome = context;

	outcome->done = true;
	outcome->result = result;
	if (outcome->take)
		outcome->take(outcome, op);
}

static struct muster_then then_of(struct outcome *outcome)
{
	return (struct muster_then){ outcome_done, outcome };
}

/* An interrupt that comes when the operation is over is for the next call. */
void op_wait(struct muster_op *op, const bool *done)
{
	struct muster *session = op->session;

	while (!*done) {
		if (!op->over && atomic_exchange(&session->interrupted, false))
			muster_cancel(op);
		engine_turn(session, -1);
	}
}

static int outcome_wait(struct muster_op *op, struct outcome *outcome)
{
	op_wait(op, &outcome->done);
	return outcome->result;
}

static void take_put(struct outcome *outcome, const struct muster_op *op)
{
	if (outcome->ret)
		*(struct muster_put_result *)outcome->ret = *muster_op_put(op);
}

int muster_put(struct muster *session, const struct muster_put_args *args,
	       struct muster_put_result *ret)
{
	struct outcome outcome = { .take = take_put, .ret = ret };
	struct muster_op *op;
	int rc = muster_start_put(session, args, then_of(&outcome), &op);

	return rc < 0 ? rc : outcome_wait(op, &outcome);
}

static void take_get(struct outcome *outcome, const struct muster_op *op)
{
	if (outcome->ret)
		*(struct muster_get_result *)outcome->ret = *muster_op_get(op);
}

int muster_get(struct muster *session, const struct muster_get_args *args,
	       struct muster_get_result *ret)
{
	struct outcome outcome = { .take = take_get, .ret = ret };
	struct muster_op *op;
	int rc = muster_start_get(session, args, then_of(&outcome), &op);

	return rc < 0 ? rc : outcome_wait(op, &outcome);
}

#include "question.h"

#include <stdlib.h>

#include "error.h"

static void waited_done(void *context, struct muster_op *op, int result)
{
	struct waited *waited = context;

	waited->done = true;
	waited->result = result;
	waited->answer = op->answer;
	op->answer = NULL;
}

int question_start(struct muster *session, const struct question *question, struct muster_then then,
		   struct muster_op **ret)
{
	struct question asked = *question;
	struct client_start start;
	struct client_op *core;
	struct muster_op *op;
	int rc = question->error;

	if (rc == 0)
		rc = op_alloc(session, LIB_QUESTION, then, &op);
	if (rc < 0)
		return rc;
	op->code = question->code;
	if (ret)
		*ret = op;
	start = op_start(op);
	/* The body stands where any of its kinds begins. */
	core = client_request(session->core, &start, question->code, &asked.stat, &rc);
	return op_started(session, op, core, rc);
}

struct muster_then then_wait(struct waited *waited)
{
	*waited = (struct waited){ 0 };
	return (struct muster_then){ waited_done, waited };
}

int wait_for(struct muster_op *op, struct waited *waited)
{
	op_wait(op, &waited->done);
	return waited->result;
}

static int wait_question(struct muster *session, const struct question *question,
			 struct waited *waited)
{
	struct muster_op *op;
	int rc = question_start(session, question, then_wait(waited), &op);

	return rc < 0 ? rc : wait_for(op, waited);
}

int answer_take(struct waited *waited, void *ret, size_t size)
{
	if (ret && waited->answer)
		memcpy(ret, waited->answer, size);
	free(waited->answer);
	return waited->result;
}

int question_ask(struct muster *session, const struct question *question, void *ret, size_t size)
{
	struct waited waited;
	int rc = wait_question(session, question, &waited);

	return rc < 0 ? rc : answer_take(&waited, ret, size);
}

int question_page(struct muster *session, const struct question *question, void **ret)
{
	struct waited waited;
	int rc = wait_question(session, question, &waited);

	*ret = waited.answer;
	return rc;
}

const void *question_answer(const struct muster_op *op, unsigned int code)
{
	return op->code == code ? op->answer : NULL;
}

uint8_t flags_translate(unsigned int flags, const uint8_t table[static 8])
{
	unsigned int bits = 0;

	for (unsigned int i = 0; i < 8; i++)
		bits |= flags & 1u << i ? table[i] : 0u;
	return (uint8_t)bits;
}

/* Ways to a storage server. */
#include "question.h"

#include "error.h"

int muster_start_reach(struct muster *session, const uint8_t node[16], struct muster_then then,
		       struct muster_op **ret)
{
	struct client_start start;
	struct client_op *core;
	struct muster_op *op;
	struct id id;
	int rc = op_alloc(session, LIB_REACH, then, &op);

	if (rc < 0)
		return rc;
	if (ret)
		*ret = op;
	memcpy(id.bytes, node, ID_SIZE);
	start = op_start(op);
	core = client_reach(session->core, &start, &id, &rc);
	return op_started(session, op, core, rc);
}

int muster_reach(struct muster *session, const uint8_t node[16], struct muster_reach *ret)
{
	struct waited waited;
	struct muster_op *op;
	int rc = muster_start_reach(session, node, then_wait(&waited), &op);

	if (rc < 0)
		return rc;
	wait_for(op, &waited);
	return answer_take(&waited, ret, sizeof(*ret));
}

const struct muster_reach *muster_op_reach(const struct muster_op *op)
{
	return op->kind == LIB_REACH ? op->answer : NULL;
}

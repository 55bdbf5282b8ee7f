/* Answers that may be of the past: whatever they tell of a path must once have been so there. That
 * nothing is there was true in the beginning. */
#include "workload.h"

/* The answer did not say that nothing happened. */
static bool may_have_acted(const struct model_op *op)
{
	return op->outcome == MODEL_OK || op->outcome == MODEL_DOUBT;
}

/* The last piece of an appended file was appended here, or the whole file came as it is. */
static bool makes_file(const struct world *w, const struct model_op *op, uint64_t content)
{
	switch (op->kind) {
	case MODEL_PUT:
	case MODEL_PUT_NEW:
	case MODEL_BRING: return op->content == content;
	case MODEL_CREATE: return content == 0;
	case MODEL_APPEND:
		return op->content == content || op->content == w->contents[content].piece;
	default: return false;
	}
}

static bool was(const struct world *w, unsigned int path, const struct model_op *told)
{
	for (size_t i = 0; i < w->model.count; i++) {
		const struct model_op *op = &w->model.ops[i];

		if (op->path != path || !may_have_acted(op))
			continue;
		if (told->outcome == MODEL_DIRECTORY ? op->kind == MODEL_MKDIR
						     : makes_file(w, op, told->content))
			return true;
	}
	return false;
}

void past_check(struct world *w, const struct workload_op *op, unsigned int which,
		const struct model_op *told)
{
	const unsigned int path = op->paths[which];

	if (told->outcome != MODEL_DIRECTORY && (told->outcome != MODEL_OK || !told->content_known))
		return;
	w->result.past++;
	if (!was(w, path, told))
		world_fail(
			w,
			"%s: an answer of the past tells of content %llu at %s, where it never was",
			op->host->name, (unsigned long long)told->content, w->model.paths[path]);
}

/* Answers that may be of the past. Whatever they tell of a path must once have been so there, and
 * the copy that they came from must have been so just after the last batch that it had. A copy has
 * batches from the first on without a gap. So whatever was answered when no later batch counted
 * than this last one, is in it; what else was asked before may be, or not. The answer is a look at
 * the path at some time after all the former, and the model says whether that is possible. */
#include <stdlib.h>

#include "workload.h"

struct past {
	struct model_op told;
	struct journal_head head;
};

struct pasts {
	struct past *list;
	size_t count, capacity;
};

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

/* Whatever was asked for may have been so once, also what was refused in the end: a batch that it
 * was in has not counted, and it was asked for again. */
static bool was(const struct world *w, unsigned int path, const struct model_op *told)
{
	for (size_t i = 0; i < w->model.count; i++) {
		const struct model_op *op = &w->model.ops[i];

		if (op->path != path)
			continue;
		if (told->outcome == MODEL_DIRECTORY ? op->kind == MODEL_MKDIR
						     : makes_file(w, op, told->content))
			return true;
	}
	return false;
}

static void past_note(struct world *w, const struct workload_op *op, unsigned int which,
		      const struct model_op *told)
{
	struct pasts *pasts = w->pasts ? w->pasts : calloc(1, sizeof(*pasts));

	if (!pasts)
		abort();
	w->pasts = pasts;
	if (pasts->count == pasts->capacity) {
		pasts->capacity = pasts->capacity ? 2 * pasts->capacity : 64;
		pasts->list = realloc(pasts->list, pasts->capacity * sizeof(*pasts->list));
		if (!pasts->list)
			abort();
	}
	pasts->list[pasts->count] = (struct past){ *told, op->past };
	pasts->list[pasts->count].told.kind = MODEL_READ;
	pasts->list[pasts->count].told.path = op->paths[which];
	pasts->list[pasts->count++].told.who = op->host->number;
}

void past_check(struct world *w, const struct workload_op *op, unsigned int which,
		const struct model_op *told)
{
	const unsigned int path = op->paths[which];

	if (!op->of_nameserver && op->past.sequence &&
	    (told->outcome == MODEL_ABSENT || told->outcome == MODEL_DIRECTORY ||
	     told->outcome == MODEL_OK))
		past_note(w, op, which, told);
	if (told->outcome != MODEL_DIRECTORY && (told->outcome != MODEL_OK || !told->content_known))
		return;
	w->result.past++;
	if (!was(w, path, told))
		world_fail(
			w,
			"%s: an answer of the past tells of content %llu at %s, where it never was",
			op->host->name, (unsigned long long)told->content, w->model.paths[path]);
}

/* What was never committed may be told of as well, and is in no order with anything. */
static bool is_committed(const struct world *w, const struct journal_head *head)
{
	const struct committed *batch;

	if (head->sequence > w->history.count)
		return false;
	batch = &w->history.batches[head->sequence - 1];
	return batch->epoch == head->epoch && digest_equal(&batch->hash, &head->hash);
}

/* When the last of what the copy has for sure was answered. */
static uint64_t known_us(const struct world *w, const struct past *past, size_t count)
{
	uint64_t last_us = 0;

	for (size_t i = 0; i < count; i++) {
		const struct model_op *op = &w->model.ops[i];

		if (op->path == past->told.path && op->told_us < past->told.told_us &&
		    op->counted <= past->head.sequence && op->told_us > last_us)
			last_us = op->told_us;
	}
	return last_us;
}

void past_place(struct world *w)
{
	const size_t count = w->model.count;

	for (size_t i = 0; w->pasts && i < w->pasts->count; i++) {
		const struct past *past = &w->pasts->list[i];
		struct model_op look = past->told;
		size_t position;

		if (!is_committed(w, &past->head))
			continue;
		w->result.placed++;
		look.asked_us = known_us(w, past, count);
		position = model_ask(&w->model, &look);
		model_answer(&w->model, position, &look);
	}
}

void past_free(struct world *w)
{
	if (w->pasts)
		free(w->pasts->list);
	free(w->pasts);
}

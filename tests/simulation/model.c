#include "model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS_MAX = 64, STATES_MAX = 8000, INDEX_SIZE = 16384, SHOWN_MAX = 14 };

unsigned int model_path(struct model *model, const char *path)
{
	for (unsigned int i = 0; i < model->path_count; i++) {
		if (strcmp(model->paths[i], path) == 0)
			return i;
	}
	if (model->path_count == MODEL_REGISTERS_MAX)
		abort();
	snprintf(model->paths[model->path_count], MODEL_PATH_MAX, "%s", path);
	return model->path_count++;
}

size_t model_ask(struct model *model, const struct model_op *op)
{
	if (model->count == model->capacity) {
		model->capacity = model->capacity ? model->capacity * 2 : 256;
		model->ops = realloc(model->ops, model->capacity * sizeof(*model->ops));
		if (!model->ops)
			abort();
	}
	model->ops[model->count] = *op;
	model->ops[model->count].told_us = UINT64_MAX;
	model->ops[model->count].outcome = MODEL_DOUBT;
	return model->count++;
}

void model_answer(struct model *model, size_t position, const struct model_op *told)
{
	struct model_op *op = &model->ops[position];

	op->outcome = told->outcome;
	op->version = told->version;
	if (op->kind == MODEL_READ) {
		op->content = told->content;
		op->content_known = told->content_known;
	}
	if (told->outcome != MODEL_DOUBT)
		op->told_us = told->told_us;
}

void model_done(struct model *model)
{
	free(model->ops);
}

/* ---- one register ---- */

enum kind_of_state { STATE_ABSENT, STATE_DIRECTORY, STATE_FILE };

struct state {
	enum kind_of_state kind;
	uint64_t content;
	uint64_t version;
	uint64_t done; /* bits: slots that have taken effect before their answer */
};

struct states {
	struct state *list;
	uint32_t *index; /* positions + 1, by hash */
	size_t count;
	bool full;
};

/* An operation under way: asked, and not yet answered. */
struct check {
	const struct model *model;
	const struct model_op *slots[SLOTS_MAX];
	struct states now, next;
};

static bool same(const struct state *a, const struct state *b)
{
	return a->kind == b->kind && a->done == b->done && a->version == b->version &&
	       a->content == b->content;
}

static size_t place_of(const struct state *state, size_t capacity)
{
	uint64_t hash = (state->done * 31 + state->content * 4 + state->kind) * 31 + state->version;

	return (size_t)((hash * 0x9e3779b97f4a7c15u) >> 32) & (capacity - 1);
}

/* Where it is in the index, or where it would go. */
static uint32_t *index_find(const struct states *states, const struct state *state)
{
	size_t at = place_of(state, INDEX_SIZE);

	while (states->index[at] && !same(&states->list[states->index[at] - 1], state))
		at = (at + 1) % INDEX_SIZE;
	return &states->index[at];
}

static void states_add(struct states *states, const struct state *state)
{
	uint32_t *at = index_find(states, state);

	if (*at)
		return;
	if (states->count == STATES_MAX) {
		states->full = true;
		return;
	}
	states->list[states->count++] = *state;
	*at = (uint32_t)states->count;
}

static void states_clear(struct states *states)
{
	memset(states->index, 0, INDEX_SIZE * sizeof(*states->index));
	states->count = 0;
	states->full = false;
}

static void states_new(struct states *states)
{
	states->list = malloc(STATES_MAX * sizeof(*states->list));
	states->index = malloc(INDEX_SIZE * sizeof(*states->index));
	if (!states->list || !states->index)
		abort();
	states_clear(states);
}

static void states_free(struct states *states)
{
	free(states->list);
	free(states->index);
}

static bool write_applies(const struct model *model, const struct model_op *op, struct state *state)
{
	uint64_t version = state->kind == STATE_FILE ? state->version + 1 : 1;
	uint64_t content = op->content;

	switch (op->kind) {
	case MODEL_PUT:
		if (state->kind == STATE_DIRECTORY)
			return false;
		break;
	case MODEL_APPEND:
		if (state->kind != STATE_FILE)
			return false;
		content = model->join(model->context, state->content, op->content);
		break;
	case MODEL_REMOVE:
		if (state->kind == STATE_ABSENT)
			return false;
		*state = (struct state){ .kind = STATE_ABSENT, .done = state->done };
		return true;
	default:
		if (state->kind != STATE_ABSENT)
			return false;
		break;
	}
	if (op->kind == MODEL_MKDIR) {
		*state = (struct state){ .kind = STATE_DIRECTORY, .done = state->done };
		return true;
	}
	if (op->version != MODEL_ANY && op->version != version)
		return false;
	state->kind = STATE_FILE;
	state->content = content;
	state->version = version;
	return true;
}

/* Whether this answer is right in this state, which changes with it. */
static bool applies(const struct model *model, const struct model_op *op, struct state *state)
{
	switch (op->outcome) {
	case MODEL_ABSENT: return state->kind == STATE_ABSENT;
	case MODEL_DIRECTORY: return state->kind == STATE_DIRECTORY;
	case MODEL_EXISTS: return state->kind != STATE_ABSENT;
	case MODEL_NOTHING: return true;
	case MODEL_OK:
	case MODEL_DOUBT: break;
	}
	if (op->kind != MODEL_READ)
		return write_applies(model, op, state);
	return state->kind == STATE_FILE && (!op->content_known || op->content == state->content) &&
	       (op->version == MODEL_ANY || op->version == state->version);
}

static bool only_looks(const struct model_op *op)
{
	return op->kind == MODEL_READ || (op->outcome != MODEL_OK && op->outcome != MODEL_DOUBT);
}

/* Answers that change nothing may come as early as they are right. */
static void look(const struct check *check, struct state *state)
{
	for (unsigned int i = 0; i < SLOTS_MAX; i++) {
		const struct model_op *op = check->slots[i];

		if (op && !(state->done >> i & 1) && only_looks(op) &&
		    applies(check->model, op, state))
			state->done |= UINT64_C(1) << i;
	}
}

/* All states that can be reached by operations under way taking effect, `states` included. */
static void close_over(const struct check *check, struct states *states)
{
	for (size_t at = 0; at < states->count; at++) {
		for (unsigned int i = 0; i < SLOTS_MAX; i++) {
			struct state state = states->list[at];
			const struct model_op *op = check->slots[i];

			if (!op || state.done >> i & 1 || only_looks(op) ||
			    !applies(check->model, op, &state))
				continue;
			state.done |= UINT64_C(1) << i;
			look(check, &state);
			states_add(states, &state);
		}
	}
}

static int slot_free(const struct check *check)
{
	for (int i = 0; i < SLOTS_MAX; i++) {
		if (!check->slots[i])
			return i;
	}
	return -1;
}

/* A state that has changed is looked for anew: `now` becomes `next`. */
static void swap(struct check *check)
{
	struct states before = check->now;

	check->next.full |= before.full;
	check->now = check->next;
	check->next = before;
	states_clear(&check->next);
}

static bool ask(struct check *check, const struct model_op *op)
{
	int slot = slot_free(check);

	if (slot < 0)
		return false;
	check->slots[slot] = op;
	for (size_t i = 0; i < check->now.count; i++) {
		struct state state = check->now.list[i];

		look(check, &state);
		states_add(&check->next, &state);
	}
	swap(check);
	return true;
}

/* Only states in which it has taken effect are left. */
static void answer(struct check *check, const struct model_op *op)
{
	unsigned int slot = 0;

	while (check->slots[slot] != op)
		slot++;
	close_over(check, &check->now);
	for (size_t i = 0; i < check->now.count; i++) {
		struct state state = check->now.list[i];

		if (!(state.done >> slot & 1))
			continue;
		state.done &= ~(UINT64_C(1) << slot);
		states_add(&check->next, &state);
	}
	check->slots[slot] = NULL;
	swap(check);
}

/* ---- the history of a path, as events in order ---- */

struct moment {
	const struct model_op *op;
	uint64_t at_us;
	bool told;
};

static int moment_compare(const void *a, const void *b)
{
	const struct moment *x = a, *y = b;

	if (x->at_us != y->at_us)
		return x->at_us < y->at_us ? -1 : 1;
	/* At the same time: questions first, they may overlap. */
	if (x->told != y->told)
		return x->told ? 1 : -1;
	return x->op < y->op ? -1 : x->op > y->op;
}

static bool is_void(const struct model_op *op)
{
	return op->outcome == MODEL_NOTHING ||
	       (op->kind == MODEL_READ && op->outcome == MODEL_DOUBT);
}

static size_t moments_of(const struct model *model, unsigned int path, struct moment *ret)
{
	size_t count = 0;

	for (size_t i = 0; i < model->count; i++) {
		const struct model_op *op = &model->ops[i];

		if (op->path != path || is_void(op))
			continue;
		ret[count++] = (struct moment){ op, op->asked_us, false };
		if (op->told_us != UINT64_MAX)
			ret[count++] = (struct moment){ op, op->told_us, true };
	}
	qsort(ret, count, sizeof(*ret), moment_compare);
	return count;
}

/* ---- what is shown of a broken history ---- */

static const char *const kinds[] = {
	"put", "put-new", "create", "mkdir", "remove", "append", "read"
};
static const char *const outcomes[] = { "ok",     "directory", "absent",
					"exists", "refused",   "no answer" };

static size_t show(const struct model_op *op, char *text, size_t size)
{
	char told[32] = "never";
	int used;

	if (op->told_us != UINT64_MAX)
		snprintf(told, sizeof(told), "%.6f", (double)op->told_us / 1e6);
	used = snprintf(text, size, "\n    %.6f-%s client %u %s: %s", (double)op->asked_us / 1e6,
			told, op->who, kinds[op->kind], outcomes[op->outcome]);
	if (used > 0 && (size_t)used < size && op->kind != MODEL_MKDIR && op->kind != MODEL_REMOVE)
		used += snprintf(text + used, size - (size_t)used,
				 " content %" PRIu64 "%s version %" PRIu64, op->content,
				 op->kind == MODEL_READ && !op->content_known ? "?" : "",
				 op->version);
	return used < 0 ? 0 : (size_t)used;
}

static void explain(const struct model *model, const struct moment *end, size_t before,
		    char *message, size_t size)
{
	const struct model_op *bad = end->op;
	size_t first = before, shown = 0, used;

	used = (size_t)snprintf(message, size, "%s: no order of operations explains this answer:",
				model->paths[bad->path]);
	if (used < size)
		used += show(bad, message + used, size - used);
	if (used < size)
		used += (size_t)snprintf(message + used, size - used, "\n  asked before:");
	while (first > 0 && shown < SHOWN_MAX) {
		first--;
		shown += !end[-(ptrdiff_t)(before - first)].told;
	}
	for (const struct moment *at = end - (before - first); at < end && used < size; at++) {
		if (!at->told && at->op != bad)
			used += show(at->op, message + used, size - used);
	}
}

static bool path_check(struct model *model, unsigned int path, char *message, size_t size)
{
	struct check check = { .model = model };
	struct moment *moments = malloc((2 * model->count + 1) * sizeof(*moments));
	size_t count;
	bool ok = true;

	if (!moments)
		abort();
	count = moments_of(model, path, moments);
	states_new(&check.now);
	states_new(&check.next);
	states_add(&check.now, &(struct state){ .kind = STATE_ABSENT });
	for (size_t i = 0; i < count && ok; i++) {
		if (!moments[i].told) {
			if (ask(&check, moments[i].op))
				continue;
			model->blurred++;
			break;
		}
		answer(&check, moments[i].op);
		if (check.now.full) {
			model->blurred++;
			break;
		}
		ok = check.now.count > 0;
		if (!ok)
			explain(model, &moments[i], i, message, size);
	}
	states_free(&check.now);
	states_free(&check.next);
	free(moments);
	return ok;
}

bool model_check(struct model *model, char *message, size_t size)
{
	model->blurred = 0;
	for (unsigned int i = 0; i < model->path_count; i++) {
		if (!path_check(model, i, message, size))
			return false;
	}
	return true;
}

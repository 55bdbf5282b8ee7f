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
	op->counted = told->counted;
	if (op->kind == MODEL_READ) {
		op->content = told->content;
		op->content_known = told->content_known;
	}
	if (told->outcome != MODEL_DOUBT)
		op->told_us = told->told_us;
}

void model_learn(struct model *model, size_t position, const struct model_op *told)
{
	struct model_op *op = &model->ops[position];

	op->outcome = told->outcome;
	op->content = told->content;
	op->content_known = told->content_known;
	op->version = told->version;
	op->told_us = told->told_us;
}

void model_done(struct model *model)
{
	free(model->ops);
}

/* ---- one register ---- */

enum kind_of_state {
	STATE_ABSENT,
	STATE_DIRECTORY,
	STATE_FILE,
	STATE_UNKNOWN, /* older than what is remembered came back */
};

struct content_state {
	enum kind_of_state kind;
	uint64_t content;
	uint64_t version;
};

/* What was removed; the newest is the last. Looked at only where something is restored, since
 * otherwise histories would differ for ever in what nobody asks for. */
enum { KEPT_MAX = 4 };
struct kept {
	struct content_state was;
	uint64_t since_us; /* not before */
};

struct state {
	struct content_state is;
	uint64_t done; /* bits: slots that have taken effect before their answer */
	unsigned int kept_count;
	bool deeper; /* older ones have been forgotten */
	struct kept kept[KEPT_MAX];
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
	bool keeps; /* something is restored */
	const struct model_op *slots[SLOTS_MAX];
	struct states now, next;
};

static bool same_content(const struct content_state *a, const struct content_state *b)
{
	return a->kind == b->kind && a->version == b->version && a->content == b->content;
}

static bool same(const struct state *a, const struct state *b)
{
	if (!same_content(&a->is, &b->is) || a->done != b->done || a->kept_count != b->kept_count ||
	    a->deeper != b->deeper)
		return false;
	for (unsigned int i = 0; i < a->kept_count; i++) {
		if (a->kept[i].since_us != b->kept[i].since_us ||
		    !same_content(&a->kept[i].was, &b->kept[i].was))
			return false;
	}
	return true;
}

static uint64_t hash_of(const struct content_state *is)
{
	return (is->content * 4 + is->kind) * 31 + is->version;
}

static size_t place_of(const struct state *state, size_t capacity)
{
	uint64_t hash = state->done * 31 + hash_of(&state->is);

	for (unsigned int i = 0; i < state->kept_count; i++)
		hash = hash * 31 + hash_of(&state->kept[i].was);
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

/* What is here goes to the trash. */
static void keep(const struct check *check, const struct model_op *op, struct state *state)
{
	if (!check->keeps || state->is.kind == STATE_ABSENT)
		return;
	if (state->kept_count == KEPT_MAX) {
		state->deeper = true;
		state->kept_count--;
		memmove(state->kept, state->kept + 1, (KEPT_MAX - 1) * sizeof(state->kept[0]));
	}
	state->kept[state->kept_count++] = (struct kept){ state->is, op->asked_us };
}

static void forget_kept(struct state *state)
{
	state->kept_count = 0;
	state->deeper = false;
	memset(state->kept, 0, sizeof(state->kept));
}

static bool is_as_told(const struct model_op *op, const struct content_state *is)
{
	return is->kind == STATE_FILE && (!op->content_known || op->content == is->content) &&
	       (op->version == MODEL_ANY || op->version == is->version);
}

/* A file is put here, of whatever content and version that makes. */
static bool write_applies(const struct check *check, const struct model_op *op, struct state *state)
{
	struct content_state file = { STATE_FILE, op->content, op->version };

	if (op->kind != MODEL_PUT && op->kind != MODEL_BRING && op->kind != MODEL_APPEND &&
	    state->is.kind != STATE_ABSENT)
		return false;
	if (state->is.kind == STATE_DIRECTORY)
		return false;
	if (op->kind != MODEL_BRING)
		file.version = state->is.kind == STATE_FILE ? state->is.version + 1 : 1;
	if (op->kind == MODEL_APPEND) {
		if (state->is.kind != STATE_FILE)
			return false;
		file.content =
			check->model->join(check->model->context, state->is.content, op->content);
	} else {
		keep(check, op, state);
	}
	if (op->version != MODEL_ANY && op->version != file.version)
		return false;
	state->is = file;
	return true;
}

static bool restore_applies(const struct model *model, const struct model_op *op,
			    struct state *state)
{
	const struct kept *newest = &state->kept[state->kept_count - 1];

	if (op->outcome == MODEL_KEPT_NOT)
		return state->kept_count == 0 || op->told_us - newest->since_us > model->kept_us;
	if (state->is.kind != STATE_ABSENT || (state->kept_count == 0 && !state->deeper))
		return false;
	if (state->kept_count == 0) {
		state->is = (struct content_state){ .kind = STATE_UNKNOWN };
		return true;
	}
	state->is = newest->was;
	state->kept_count--;
	state->kept[state->kept_count] = (struct kept){ 0 };
	return true;
}

/* Whether this change may happen in this state, which changes with it. */
static bool change_applies(const struct check *check, const struct model_op *op,
			   struct state *state)
{
	switch (op->kind) {
	case MODEL_REMOVE:
		if (state->is.kind == STATE_ABSENT)
			return false;
		keep(check, op, state);
		break;
	case MODEL_TAKE:
		if (op->content_known ? !is_as_told(op, &state->is)
				      : state->is.kind == STATE_ABSENT)
			return false;
		break;
	case MODEL_RESTORE: return restore_applies(check->model, op, state);
	case MODEL_PURGE: forget_kept(state); return true;
	case MODEL_EMPTY: forget_kept(state); break;
	case MODEL_MKDIR:
		if (state->is.kind != STATE_ABSENT)
			return false;
		state->is = (struct content_state){ .kind = STATE_DIRECTORY };
		return true;
	default: return write_applies(check, op, state);
	}
	state->is = (struct content_state){ .kind = STATE_ABSENT };
	return true;
}

/* Every answer is right where nothing is known. */
static bool settle(const struct model_op *op, struct content_state *is)
{
	bool done = op->outcome == MODEL_OK || op->outcome == MODEL_DOUBT;

	if (done && (op->kind == MODEL_REMOVE || op->kind == MODEL_TAKE || op->kind == MODEL_EMPTY))
		*is = (struct content_state){ .kind = STATE_ABSENT };
	if (done && op->kind == MODEL_MKDIR)
		*is = (struct content_state){ .kind = STATE_DIRECTORY };
	return true;
}

/* Whether this answer is right in this state, which changes with it. */
static bool applies(const struct check *check, const struct model_op *op, struct state *state)
{
	if (state->is.kind == STATE_UNKNOWN)
		return settle(op, &state->is);
	switch (op->outcome) {
	case MODEL_ABSENT: return state->is.kind == STATE_ABSENT;
	case MODEL_DIRECTORY: return state->is.kind == STATE_DIRECTORY;
	case MODEL_EXISTS: return state->is.kind != STATE_ABSENT;
	case MODEL_KEPT_NOT: return restore_applies(check->model, op, state);
	case MODEL_NOTHING: return true;
	case MODEL_OK:
	case MODEL_DOUBT: break;
	}
	return op->kind == MODEL_READ ? is_as_told(op, &state->is)
				      : change_applies(check, op, state);
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

		if (op && !(state->done >> i & 1) && only_looks(op) && applies(check, op, state))
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
			    !applies(check, op, &state))
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

static size_t moments_of(const struct model *model, unsigned int path, struct moment *ret,
			 bool *keeps)
{
	size_t count = 0;

	for (size_t i = 0; i < model->count; i++) {
		const struct model_op *op = &model->ops[i];

		if (op->path != path || is_void(op))
			continue;
		*keeps = *keeps || op->kind == MODEL_RESTORE;
		ret[count++] = (struct moment){ op, op->asked_us, false };
		if (op->told_us != UINT64_MAX)
			ret[count++] = (struct moment){ op, op->told_us, true };
	}
	qsort(ret, count, sizeof(*ret), moment_compare);
	return count;
}

/* ---- what is shown of a broken history ---- */

static const char *const kinds[] = { "put",  "put-new", "create",  "mkdir", "remove", "append",
				     "take", "bring",   "restore", "purge", "empty",  "read" };
static const char *const outcomes[] = { "ok",           "directory", "absent",   "exists",
					"nothing kept", "refused",   "no answer" };

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
	count = moments_of(model, path, moments, &check.keeps);
	states_new(&check.now);
	states_new(&check.next);
	states_add(&check.now, &(struct state){ .is.kind = STATE_ABSENT });
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

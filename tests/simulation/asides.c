/* What was copied or moved aside: it must stay as it is. */
#include <stdio.h>
#include <stdlib.h>

#include "world.h"

struct aside {
	char path[64];
	bool live, known;
	struct model_op seen; /* outcome, content, version */
	size_t position;      /* of what made it */
	uint64_t told_us;     /* its answer */
};

struct asides {
	struct aside *list;
	size_t count, capacity;
	unsigned int names;
};

static struct asides *asides_of(struct world *w)
{
	if (!w->asides)
		w->asides = calloc(1, sizeof(*w->asides));
	if (!w->asides)
		abort();
	return w->asides;
}

void aside_name(struct world *w, char *ret, size_t size)
{
	snprintf(ret, size, ASIDE "%u", ++asides_of(w)->names);
}

void aside_new(struct world *w, const char *path, size_t position)
{
	struct asides *asides = asides_of(w);
	struct aside *aside;

	if (asides->count == asides->capacity) {
		asides->capacity = asides->capacity ? 2 * asides->capacity : 64;
		asides->list = realloc(asides->list, asides->capacity * sizeof(*asides->list));
		if (!asides->list)
			abort();
	}
	aside = &asides->list[asides->count++];
	*aside = (struct aside){ .live = true, .position = position, .told_us = w->now_us };
	snprintf(aside->path, sizeof(aside->path), "%s", path);
}

struct aside *aside_find(struct world *w, const char *path)
{
	struct asides *asides = asides_of(w);

	for (size_t i = asides->count; i > 0; i--) {
		if (strcmp(asides->list[i - 1].path, path) == 0)
			return asides->list[i - 1].live ? &asides->list[i - 1] : NULL;
	}
	return NULL;
}

/* A copy says what it was made of; what was moved is the very file. */
static void learn(struct world *w, struct aside *aside)
{
	const struct model_op *maker = &w->model.ops[aside->position];
	struct model_op told = aside->seen;

	told.told_us = aside->told_us;
	told.content_known = told.outcome == MODEL_OK;
	if (maker->kind == MODEL_READ)
		told.version = MODEL_ANY;
	else if (told.outcome != MODEL_ABSENT)
		told.outcome = MODEL_OK;
	if (told.outcome == MODEL_ABSENT &&
	    (maker->kind != MODEL_READ || maker->outcome == MODEL_OK))
		world_fail(w, "%s is not there, and was made", aside->path);
	model_learn(&w->model, aside->position, &told);
}

void aside_seen(struct world *w, struct aside *aside, const struct model_op *told)
{
	if (told->outcome != MODEL_OK && told->outcome != MODEL_ABSENT &&
	    told->outcome != MODEL_DIRECTORY)
		return;
	if (!aside->known) {
		aside->known = true;
		aside->seen = *told;
		learn(w, aside);
	} else if (told->outcome != aside->seen.outcome || told->content != aside->seen.content ||
		   told->version != aside->seen.version) {
		world_fail(w, "%s was content %llu version %llu and is %llu version %llu (%d, %d)",
			   aside->path, (unsigned long long)aside->seen.content,
			   (unsigned long long)aside->seen.version,
			   (unsigned long long)told->content, (unsigned long long)told->version,
			   aside->seen.outcome, told->outcome);
	}
}

static bool may_be_taken(const struct aside *aside)
{
	return aside->live && aside->known && aside->seen.outcome == MODEL_OK &&
	       !strchr(aside->path + 1, '/');
}

const struct model_op *aside_take(struct world *w, char *ret_path, size_t size)
{
	struct asides *asides = asides_of(w);
	size_t first = asides->count ? (size_t)world_below(w, asides->count) : 0;

	for (size_t i = 0; i < asides->count; i++) {
		struct aside *aside = &asides->list[(first + i) % asides->count];

		if (!may_be_taken(aside))
			continue;
		aside->live = false;
		snprintf(ret_path, size, "%s", aside->path);
		return &aside->seen;
	}
	return NULL;
}

void asides_forget(struct world *w)
{
	for (size_t i = 0; i < asides_of(w)->count; i++)
		w->asides->list[i].live = false;
}

const char *aside_path(const struct world *w, size_t which)
{
	if (!w->asides || which >= w->asides->count)
		return NULL;
	return w->asides->list[which].live ? w->asides->list[which].path : "";
}

void asides_free(struct world *w)
{
	if (w->asides)
		free(w->asides->list);
	free(w->asides);
}

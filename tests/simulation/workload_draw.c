/* What clients think of: puts, moves, looks, in all proportions. */
#include <stdio.h>

#include "workload.h"

const char *const workload_paths[PATHS] = { "/a", "/b",   "/c",   "/d",   "/e",
					    "/f", "/t/a", "/t/b", "/t/c", "/t/d" };

bool is_aside(const char *path)
{
	return strncmp(path, ASIDE, strlen(ASIDE)) == 0;
}

static uint64_t draw_size(struct world *w)
{
	uint64_t chunk = w->chunk_size;

	switch (world_below(w, 10)) {
	case 0: return 0;
	case 1:
	case 2: return 8 + world_below(w, 200);
	case 3: return chunk * (1 + world_below(w, 2));
	case 4:
	case 5: return 8 + world_below(w, 3 * chunk);
	case 6:
		return w->workload->size_class ? 8 + world_below(w, 7 * chunk)
					       : 8 + world_below(w, 4096);
	default: return 8 + world_below(w, 60000);
	}
}

static void draw_put(struct world *w, struct op_plan *plan)
{
	plan->kind = SIM_PUT;
	plan->size = draw_size(w);
	plan->content = content_new(w, plan->size);
	plan->replace = world_chance(w, 80);
	plan->stream = world_chance(w, 15);
	plan->unknown_size = plan->stream && world_chance(w, 60);
	plan->copies = (uint8_t)(world_chance(w, 20) ? 1 + world_below(w, 4) : 0);
}

static void draw_append(struct world *w, struct op_plan *plan)
{
	plan->kind = SIM_APPEND;
	plan->size = 8 + world_below(w, world_chance(w, 30) ? 2 * w->chunk_size : 4096);
	plan->content = content_new(w, plan->size);
	plan->stream = world_chance(w, 15);
}

/* Something known that was put aside comes back, or goes; else another thing is put aside. */
static void draw_move(struct world *w, struct op_plan *plan)
{
	const struct model_op *seen =
		world_chance(w, 50) ? aside_take(w, plan->path, sizeof(plan->path)) : NULL;

	plan->kind = SIM_RENAME;
	if (!seen) {
		aside_name(w, plan->to, sizeof(plan->to));
	} else if (world_chance(w, 30)) {
		plan->kind = SIM_REMOVE;
	} else {
		plan->content = seen->content;
		plan->version = seen->version;
		snprintf(plan->to, sizeof(plan->to), "%s",
			 workload_paths[world_below(w, ROOT_PATHS)]);
	}
}

static void draw_copy(struct world *w, struct op_plan *plan)
{
	plan->kind = SIM_COPY;
	plan->tree = w->workload->tree == TREE_MADE && world_chance(w, 40);
	if (plan->tree)
		snprintf(plan->path, sizeof(plan->path), TREE);
	aside_name(w, plan->to, sizeof(plan->to));
}

static void draw_trash(struct world *w, struct op_plan *plan)
{
	unsigned int kind = (unsigned int)world_below(w, 100);

	snprintf(plan->path, sizeof(plan->path), "%s",
		 workload_paths[RESTORED + world_below(w, ROOT_PATHS - RESTORED)]);
	plan->kind = kind < 80 ? SIM_RESTORE : SIM_PURGE;
	if (kind >= 88)
		plan->path[0] = '\0';
	if (kind == 99 && w->config.seed % 4 == 0)
		plan->kind = SIM_FORMAT;
}

static void draw_named(struct world *w, struct op_plan *plan)
{
	unsigned int kind = (unsigned int)world_below(w, 100);

	if (kind < 40)
		draw_copy(w, plan);
	else if (kind < 70)
		draw_move(w, plan);
	else
		draw_trash(w, plan);
}

void workload_draw(struct world *w, struct op_plan *plan)
{
	unsigned int most = w->workload->tree == TREE_MADE ? PATHS : ROOT_PATHS;
	unsigned int kind = (unsigned int)world_below(w, 115);

	snprintf(plan->path, sizeof(plan->path), "%s", workload_paths[world_below(w, most)]);
	if (kind >= 100) {
		draw_named(w, plan);
	} else if (kind < 30) {
		draw_put(w, plan);
	} else if (kind < 40) {
		draw_append(w, plan);
	} else if (kind < 65) {
		plan->kind = SIM_GET;
	} else if (kind < 75) {
		plan->kind = SIM_STAT;
	} else if (kind < 80) {
		plan->kind = SIM_LIST;
		snprintf(plan->path, sizeof(plan->path), "%s", most == PATHS ? TREE : "/");
	} else if (kind < 92) {
		plan->kind = SIM_REMOVE;
	} else if (kind < 96) {
		plan->kind = SIM_CREATE;
	} else {
		plan->kind = SIM_MKDIR;
	}
}

/* What clients do, and what they were told: both go into the model. */
#include <stdio.h>
#include <stdlib.h>

#include "error.h"
#include "workload.h"

enum { AT_ONCE_MAX = 5 };

/* ---- what is asked ---- */

static enum model_kind model_kind_of(const struct op_plan *plan)
{
	switch (plan->kind) {
	case SIM_PUT: return plan->replace ? MODEL_PUT : MODEL_PUT_NEW;
	case SIM_MKDIR: return MODEL_MKDIR;
	case SIM_REMOVE: return MODEL_REMOVE;
	case SIM_CREATE: return MODEL_CREATE;
	case SIM_APPEND: return MODEL_APPEND;
	case SIM_RENAME: return is_aside(plan->path) ? MODEL_BRING : MODEL_TAKE;
	case SIM_RESTORE: return MODEL_RESTORE;
	case SIM_PURGE: return MODEL_PURGE;
	case SIM_FORMAT: return MODEL_EMPTY;
	default: return MODEL_READ;
	}
}

static void ask_about(struct world *w, struct workload_op *op, const char *path)
{
	struct model_op asked = { .path = model_path(&w->model, path),
				  .kind = model_kind_of(&op->plan),
				  .content = op->plan.content,
				  .content_known =
					  op->plan.kind != SIM_RENAME || is_aside(op->plan.path),
				  .version = op->plan.version,
				  .asked_us = w->now_us,
				  .who = op->host->number };

	op->paths[op->asked] = asked.path;
	op->positions[op->asked++] = model_ask(&w->model, &asked);
}

/* Whether the operation is about that path. Listing a directory and copying it is a look at every
 * path in it. */
static bool concerns(const struct op_plan *plan, unsigned int path)
{
	bool tree = strcmp(plan->path, TREE) == 0;

	switch (plan->kind) {
	case SIM_FORMAT: return true;
	case SIM_PURGE:
		return plan->path[0] ? strcmp(plan->path, workload_paths[path]) == 0
				     : path >= RESTORED && path < ROOT_PATHS;
	case SIM_LIST: return tree == (path >= ROOT_PATHS);
	case SIM_COPY:
		if (plan->tree)
			return path >= ROOT_PATHS;
		break;
	case SIM_RENAME:
		if (is_aside(plan->path))
			return strcmp(plan->to, workload_paths[path]) == 0;
		break;
	default: break;
	}
	return strcmp(plan->path, workload_paths[path]) == 0;
}

static void ask(struct world *w, struct workload_op *op)
{
	for (unsigned int i = 0; i < PATHS; i++) {
		if (concerns(&op->plan, i))
			ask_about(w, op, workload_paths[i]);
	}
}

/* ---- beginning ---- */

static unsigned int running(const struct world *w, const struct host *host)
{
	unsigned int count = 0;

	for (struct workload_op *op = w->workload->ops; op; op = op->next)
		count += !host || op->host == host;
	return count;
}

static const char *kind_name(enum op_kind_sim kind)
{
	static const char *const names[] = { "put",     "get",    "stat",   "list",   "mkdir",
					     "remove",  "create", "append", "rename", "copy",
					     "restore", "purge",  "format" };

	return names[kind];
}

/* Until it has been answered nobody can say what of that which is made is there afterwards. */
static void format_begins(struct world *w)
{
	w->workload->formats++;
	w->workload->formatting++;
	asides_forget(w);
}

static void begin(struct host *host, const struct op_plan *plan, bool must_succeed)
{
	struct world *w = host->world;
	struct workload_op *op = calloc(1, sizeof(*op));

	if (!op)
		abort();
	op->host = host;
	op->plan = *plan;
	op->must_succeed = must_succeed;
	op->began_us = w->now_us;
	op->next = w->workload->ops;
	w->workload->ops = op;
	w->result.operations++;
	if (plan->kind == SIM_FORMAT)
		format_begins(w);
	op->formats = w->workload->formatting ? 0 : w->workload->formats;
	world_trace(w, "%s: %s %s %s content %llu size %llu%s%s", host->name, kind_name(plan->kind),
		    plan->path, plan->to, (unsigned long long)plan->content,
		    (unsigned long long)plan->size, plan->replace ? " replace" : "",
		    plan->stream ? " stream" : "");
	ask(w, op);
	client_host_begin(host, plan, op);
}

static void begin_next(struct world *w, const struct due *due)
{
	struct host *host = due->host;
	struct workload *work = w->workload;
	struct op_plan plan = { 0 };

	if (work->quiet)
		return;
	world_after(w, world_below(w, 2 * work->gap_us),
		    (struct due){ .run = begin_next, .host = host });
	if (running(w, host) >= work->at_once)
		return;
	if (work->tree == TREE_UNMADE) {
		work->tree = TREE_ASKED;
		plan.kind = SIM_MKDIR;
		snprintf(plan.path, sizeof(plan.path), TREE);
	} else {
		workload_draw(w, &plan);
	}
	begin(host, &plan, false);
}

void workload_client_started(struct host *host)
{
	world_after(host->world, world_below(host->world, SECOND),
		    (struct due){ .run = begin_next, .host = host });
}

/* ---- answers ---- */

static void op_free(struct world *w, struct workload_op *op)
{
	struct workload_op **at = &w->workload->ops;

	while (*at != op)
		at = &(*at)->next;
	*at = op->next;
	free(op);
}

/* It looks at the store, and what it saw may be of the past. */
static bool is_degraded(const struct workload_op *op)
{
	return op->host->degraded_us >= op->began_us &&
	       (op->plan.kind == SIM_GET || op->plan.kind == SIM_STAT || op->plan.kind == SIM_LIST);
}

void workload_past_heard(struct host *host, const struct journal_head *head)
{
	struct world *w = host->world;

	for (struct workload_op *op = w->workload->ops; op; op = op->next) {
		if (op->host != host)
			continue;
		op->of_nameserver = op->of_nameserver || !head;
		if (head && (!op->of_past || journal_is_later(&op->past, head)))
			op->past = *head;
		op->of_past = true;
	}
}

static void tell(struct world *w, const struct workload_op *op, unsigned int which,
		 struct model_op *told)
{
	told->told_us = w->now_us;
	told->counted = w->history.count;
	if (is_degraded(op)) {
		past_check(w, op, which, told);
		told->outcome = MODEL_DOUBT;
	}
	if (told->outcome == MODEL_DOUBT)
		w->result.doubtful++;
	model_answer(&w->model, op->positions[which], told);
}

/* A file as it was read or described: whose content is it? */
static void see_file(struct world *w, const struct workload_op *op, const struct op_seen *seen,
		     struct model_op *told)
{
	told->outcome = MODEL_OK;
	told->version = seen->version;
	told->content_known = seen->digest_known;
	if (!seen->digest_known)
		return;
	if (!content_find(w, seen->size, &seen->digest, &told->content) &&
	    !content_parse(w, seen->bytes, &told->content))
		world_fail(w, "%s: %s %s gave %llu bytes that nobody ever put", op->host->name,
			   kind_name(op->plan.kind), op->plan.path, (unsigned long long)seen->size);
}

static enum model_outcome outcome_of(const struct workload_op *op, int error)
{
	enum op_kind_sim kind = op->plan.kind;
	bool looks = kind == SIM_GET || kind == SIM_STAT || kind == SIM_REMOVE ||
		     kind == SIM_APPEND || (kind == SIM_COPY && !op->plan.tree) ||
		     (kind == SIM_RENAME && !is_aside(op->plan.path));

	switch (-error) {
	case 0: return MODEL_OK;
	case ERR_EXISTS: return kind == SIM_REMOVE ? MODEL_DOUBT : MODEL_EXISTS;
	case ERR_IS_DIR: return MODEL_DIRECTORY;
	case ERR_NOT_FOUND:
		if (kind == SIM_RESTORE)
			return MODEL_KEPT_NOT;
		if (kind == SIM_PURGE)
			return MODEL_NOTHING;
		return looks ? MODEL_ABSENT : MODEL_DOUBT;
	case ERR_NO_NODES:
	case ERR_NO_SPACE:
	case ERR_UNREACHABLE:
	case ERR_EXPIRED:
	case ERR_BAD_RECEIPT:
	case ERR_BUSY: return MODEL_NOTHING;
	/* NO_QUORUM and UNAVAILABLE as well: it may have been asked before, and the answer lost. */
	default: return MODEL_DOUBT;
	}
}

static void see_list(struct world *w, const struct workload_op *op, const struct op_seen *seen)
{
	for (unsigned int i = 0; i < op->asked; i++) {
		const char *name = strrchr(w->model.paths[op->paths[i]], '/') + 1;
		struct model_op told = { .outcome = seen->error ? MODEL_DOUBT : MODEL_ABSENT };

		for (unsigned int k = 0; seen->list && k < seen->list->entries_count; k++) {
			const struct entry *entry = &seen->list->entries[k];
			struct op_seen one = { .size = entry->size,
					       .version = entry->version,
					       .digest_known = entry->digest_known,
					       .digest = entry->digest };

			if (!slice_equal(entry->name, slice_of(name)))
				continue;
			if (entry->type == ENTRY_DIRECTORY)
				told.outcome = MODEL_DIRECTORY;
			else
				see_file(w, op, &one, &told);
		}
		tell(w, op, i, &told);
	}
}

static void see_put(struct world *w, const struct workload_op *op, const struct op_seen *seen)
{
	if (!number_set_add(&w->inodes, seen->inode))
		world_fail(w, "%s: put %s: inode %llx was given out twice", op->host->name,
			   op->plan.path, (unsigned long long)seen->inode);
	if (seen->size != op->plan.size)
		world_fail(w, "%s: put %s: %llu bytes were stored of %llu", op->host->name,
			   op->plan.path, (unsigned long long)seen->size,
			   (unsigned long long)op->plan.size);
	if (op->plan.size)
		oracle_put_acknowledged(w, seen->inode, seen->copies);
}

/* It is told at once that there was something, and what, when it has been read. */
static void see_copy(struct world *w, const struct workload_op *op, int error)
{
	for (unsigned int i = 0; i < op->asked; i++) {
		struct model_op told = { .outcome = outcome_of(op, error) };

		if (op->plan.tree)
			told.outcome = MODEL_DOUBT;
		tell(w, op, i, &told);
	}
}

/* What follows from an operation that has been answered. */
static void begin_planned(struct world *w, const struct due *due)
{
	(void)w;
	begin(due->host, due->context, false);
}

static void plan_next(struct host *host, enum op_kind_sim kind, const char *path)
{
	struct op_plan *plan = calloc(1, sizeof(*plan));

	if (!plan)
		abort();
	plan->kind = kind;
	snprintf(plan->path, sizeof(plan->path), "%s", path);
	world_after(
		host->world, world_below(host->world, SECOND),
		(struct due){ .run = begin_planned, .host = host, .context = plan, .owned = true });
}

/* What was put aside is read soon, and at the end. */
static void put_aside(struct world *w, const struct workload_op *op)
{
	if (w->workload->formatting || op->formats != w->workload->formats)
		return;
	for (unsigned int i = 0; i < op->asked; i++) {
		const char *name = strrchr(w->model.paths[op->paths[i]], '/');
		char path[64];

		snprintf(path, sizeof(path), "%.30s%.30s", op->plan.to, op->plan.tree ? name : "");
		aside_new(w, path, op->positions[i]);
		plan_next(op->host, SIM_GET, path);
	}
}

/* Those who moved it away are the only ones who know its name. */
static void see_aside(struct world *w, const struct workload_op *op, const struct op_seen *seen,
		      const struct model_op *told)
{
	struct aside *aside = op->plan.kind == SIM_GET ? aside_find(w, op->plan.path) : NULL;

	if (aside && !is_degraded(op))
		aside_seen(w, aside, told);
	if (seen->error == -ERR_NOT_FOUND && op->plan.kind != SIM_GET &&
	    op->formats == w->workload->formats && !w->workload->formatting)
		world_fail(w, "%s: %s %s: it is gone", op->host->name, kind_name(op->plan.kind),
			   op->plan.path);
}

static void see(struct world *w, const struct workload_op *op, const struct op_seen *seen)
{
	struct model_op told = { .outcome = outcome_of(op, seen->error), .version = seen->version };

	if (op->plan.kind == SIM_PUT && seen->error == 0)
		see_put(w, op, seen);
	if ((op->plan.kind == SIM_GET || op->plan.kind == SIM_STAT) && seen->error == 0) {
		if (seen->found_directory)
			told.outcome = MODEL_DIRECTORY;
		else
			see_file(w, op, seen, &told);
	}
	if (told.outcome == MODEL_DIRECTORY)
		told.version = MODEL_ANY;
	if (is_aside(op->plan.path))
		see_aside(w, op, seen, &told);
	if (op->plan.kind == SIM_RENAME)
		told.version = op->plan.version;
	for (unsigned int i = 0; i < op->asked; i++)
		tell(w, op, i, &told);
}

void workload_done(struct world *w, struct workload_op *op, const struct op_seen *seen)
{
	bool tree = strcmp(op->plan.path, TREE) == 0 && op->plan.kind == SIM_MKDIR;

	world_fold(w, seen->version, (uint64_t)-seen->error);
	world_trace(w, "%s: %s %s: %s size %llu version %llu copies %u", op->host->name,
		    kind_name(op->plan.kind), op->plan.path,
		    seen->error ? error_name(seen->error) : "ok", (unsigned long long)seen->size,
		    (unsigned long long)seen->version, seen->copies);
	if (tree)
		w->workload->tree =
			seen->error == 0 || seen->error == -ERR_EXISTS ? TREE_MADE : TREE_UNMADE;
	if (op->plan.kind == SIM_LIST)
		see_list(w, op, seen);
	else if (op->plan.kind == SIM_COPY)
		see_copy(w, op, seen->error);
	else
		see(w, op, seen);
	if (op->plan.kind == SIM_FORMAT && seen->error == 0) {
		w->workload->formatting--;
		w->workload->tree = TREE_UNMADE;
	}
	/* Nothing may come back. */
	if (op->plan.kind == SIM_PURGE && seen->error == 0 && op->plan.path[0] == '\0')
		plan_next(op->host, SIM_RESTORE, workload_paths[RESTORED + world_below(w, 2)]);
	if (seen->error == 0 && is_aside(op->plan.to))
		put_aside(w, op);
	if (op->must_succeed && (outcome_of(op, seen->error) >= MODEL_NOTHING || is_degraded(op)))
		world_fail(w, "%s: %s %s failed although all is well: %s", op->host->name,
			   kind_name(op->plan.kind), op->plan.path, error_name(seen->error));
	if (seen->error == -ERR_BAD_REQUEST)
		world_fail(w, "%s: %s %s: %s", op->host->name, kind_name(op->plan.kind),
			   op->plan.path, error_name(seen->error));
	if (seen->error == -ERR_CORRUPT)
		world_fail(w, "%s: %s %s: damaged bytes, and nothing damages them here",
			   op->host->name, kind_name(op->plan.kind), op->plan.path);
	if (seen->error == 0 &&
	    (op->plan.kind == SIM_COPY || model_kind_of(&op->plan) != MODEL_READ))
		fault_acknowledged(w);
	op_free(w, op);
}

/* Whoever asked is gone: what it asked for may happen or not. */
void workload_client_stopped(struct host *host)
{
	struct world *w = host->world;
	struct workload_op *op, *next;

	for (op = w->workload->ops; op; op = next) {
		next = op->next;
		if (op->host != host)
			continue;
		if (w->workload->tree == TREE_ASKED)
			w->workload->tree = TREE_UNMADE;
		w->result.doubtful += op->asked;
		op_free(w, op);
	}
}

/* ---- the whole ---- */

static uint64_t join(void *context, uint64_t before, uint64_t piece)
{
	return content_join(context, before, piece);
}

void workload_new(struct world *w)
{
	w->workload = calloc(1, sizeof(*w->workload));
	if (!w->workload)
		abort();
	w->workload->at_once = 1 + (unsigned int)world_below(w, AT_ONCE_MAX);
	if (world_chance(w, 10))
		w->workload->at_once *= 4;
	w->workload->gap_us = 50 * MS + world_below(w, 400 * MS);
	w->model.join = join;
	w->model.context = w;
	w->model.kept_us = world_kept_us(w);
	w->workload->formats = 1;
	w->workload->size_class = world_chance(w, 40) && w->chunk_size < 1024 * 1024;
	content_new(w, 0);
}

void workload_free(struct world *w)
{
	while (w->workload->ops)
		op_free(w, w->workload->ops);
	free(w->workload);
	free(w->contents);
	asides_free(w);
	past_free(w);
}

void workload_quiesce(struct world *w)
{
	w->workload->quiet = true;
}

bool workload_is_idle(const struct world *w)
{
	return w->workload->ops == NULL;
}

void workload_put_some(struct world *w, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct op_plan plan = { .kind = SIM_PUT, .replace = true };

		plan.size = 8 + world_below(w, w->chunk_size);
		plan.content = content_new(w, plan.size);
		snprintf(plan.path, sizeof(plan.path), "%s", workload_paths[i % ROOT_PATHS]);
		begin(world_client(w, 0), &plan, false);
	}
}

void workload_read_all(struct world *w)
{
	const char *path;

	for (unsigned int i = 0; i < PATHS; i++) {
		struct op_plan plan = { .kind = SIM_GET };

		if (i >= ROOT_PATHS && w->workload->tree != TREE_MADE)
			continue;
		snprintf(plan.path, sizeof(plan.path), "%s", workload_paths[i]);
		begin(world_client(w, 0), &plan, true);
	}
	for (size_t i = 0; (path = aside_path(w, i)); i++) {
		struct op_plan plan = { .kind = SIM_GET };

		snprintf(plan.path, sizeof(plan.path), "%s", path);
		if (plan.path[0])
			begin(world_client(w, 0), &plan, true);
	}
}

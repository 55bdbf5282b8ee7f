/* The calls that wait: each starts an operation and turns the engine until it is over. */
#include "engine.h"

#include <stdlib.h>

#include "error.h"

/* What an operation leaves behind for the call that waits for it. */
struct outcome {
	bool done;
	int result;
	struct muster_op *op; /* inside `done` only */
	void (*take)(struct outcome *outcome, const struct muster_op *op);
	void *ret;
	void *more;
	unsigned int most;
	unsigned int count;
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

static int outcome_wait(struct muster *session, struct muster_op *op, struct outcome *outcome)
{
	while (!outcome->done) {
		if (muster_wait(session, -1) == -ERR_CANCELLED && !outcome->done)
			muster_cancel(op);
	}
	return outcome->result;
}

/* ---- one question, one answer ---- */

/* Whose answer is taken while the core's reply is still there. */
static int ask(struct muster *session, unsigned int code, void *body, convert_fn *convert,
	       struct outcome *outcome)
{
	struct muster_op *op;
	int rc = op_alloc(session, LIB_SIMPLE, then_of(outcome), &op);

	if (rc < 0)
		return rc;
	op->code = code;
	op->convert = convert;
	op->convert_context = outcome;
	rc = op_start_simple(session, op, code, body);
	return rc < 0 ? rc : outcome_wait(session, op, outcome);
}

static void convert_stat(struct muster_op *op, const void *reply)
{
	const struct stat_reply *stat = reply;
	struct outcome *outcome = op->convert_context;
	struct muster_holder *holders = outcome->more;

	entry_convert(&stat->entry, outcome->ret);
	outcome->count = stat->holders_count;
	for (unsigned int i = 0; i < stat->holders_count && i < outcome->most; i++) {
		memcpy(holders[i].node, stat->holders[i].node.bytes, ID_SIZE);
		holders[i].chunks = stat->holders[i].chunks;
	}
}

int muster_stat_holders(struct muster *session, const char *path, struct muster_entry *ret,
			struct muster_holder *ret_holders, unsigned int most)
{
	struct stat_request stat = { .flags = most ? STAT_HOLDERS : 0 };
	struct outcome outcome = { .ret = ret, .more = ret_holders, .most = most };
	int rc = path_from(path, &stat.path);

	if (rc == 0)
		rc = ask(session, MSG_stat, &stat, convert_stat, &outcome);
	return rc < 0 ? rc : (int)outcome.count;
}

int muster_stat(struct muster *session, const char *path, struct muster_entry *ret)
{
	int rc = muster_stat_holders(session, path, ret, NULL, 0);

	return rc < 0 ? rc : 0;
}

int muster_mkdir(struct muster *session, const char *path, unsigned int flags)
{
	struct outcome outcome = { 0 };
	struct muster_op *op;
	int rc = muster_start_mkdir(session, path, flags, then_of(&outcome), &op);

	return rc < 0 ? rc : outcome_wait(session, op, &outcome);
}

int muster_create(struct muster *session, const char *path)
{
	struct outcome outcome = { 0 };
	struct muster_op *op;
	int rc = muster_start_create(session, path, then_of(&outcome), &op);

	return rc < 0 ? rc : outcome_wait(session, op, &outcome);
}

int muster_rmdir(struct muster *session, const char *path)
{
	struct remove_request remove = { .flags = REMOVE_DIRECTORY };
	struct outcome outcome = { 0 };
	int rc = path_from(path, &remove.path);

	return rc < 0 ? rc : ask(session, MSG_remove, &remove, NULL, &outcome);
}

static void take_removed(struct outcome *outcome, const struct muster_op *op)
{
	if (outcome->ret && outcome->result == 0)
		*(struct muster_removed *)outcome->ret = *muster_op_removed(op);
}

int muster_remove(struct muster *session, const char *path, unsigned int flags,
		  struct muster_removed *ret)
{
	struct outcome outcome = { .take = take_removed, .ret = ret };
	struct muster_op *op;
	int rc = muster_start_remove(session, path, flags, then_of(&outcome), &op);

	return rc < 0 ? rc : outcome_wait(session, op, &outcome);
}

static void convert_copies(struct muster_op *op, const void *reply)
{
	struct outcome *outcome = op->convert_context;

	outcome->count = (unsigned int)((const struct set_copies_reply *)reply)->copies;
}

int muster_set_copies(struct muster *session, const char *path, unsigned int copies)
{
	struct set_copies_request set = { .copies = (uint8_t)copies };
	struct outcome outcome = { 0 };
	int rc = path_from(path, &set.path);

	if (rc == 0 && (copies == 0 || copies > COPIES_MAX))
		rc = -ERR_USAGE;
	if (rc == 0)
		rc = ask(session, MSG_set_copies, &set, convert_copies, &outcome);
	return rc < 0 ? rc : (int)outcome.count;
}

/* ---- listings ---- */

enum { PAGE = 256 };

struct muster_list {
	struct muster *session;
	char path[PATH_SIZE_MAX + 1];
	char after[NAME_SIZE_MAX + 1];
	bool more;
	int error; /* of the page */
	unsigned int at;
	unsigned int count;
	struct muster_entry entries[PAGE];
};

/* Whether the page goes on behind the one before it. */
static bool is_after(const struct muster_list *list, const struct list_reply *page)
{
	struct muster_entry first;

	if (page->entries_count == 0 || !*list->after)
		return true;
	entry_convert(&page->entries[0], &first);
	return strcmp(first.name, list->after) > 0;
}

static void convert_list(struct muster_op *op, const void *reply)
{
	const struct list_reply *page = reply;
	struct outcome *outcome = op->convert_context;
	struct muster_list *list = outcome->ret;

	/* Names ascend; else a listing might never end. */
	list->error = is_after(list, page) ? 0 : -ERR_BAD_REQUEST;
	if (list->error < 0)
		return;
	list->at = 0;
	list->count = page->entries_count < PAGE ? page->entries_count : PAGE;
	list->more = page->more || page->entries_count > PAGE;
	for (unsigned int i = 0; i < list->count; i++)
		entry_convert(&page->entries[i], &list->entries[i]);
	if (list->count > 0)
		memcpy(list->after, list->entries[list->count - 1].name, sizeof(list->after));
	else
		list->more = false;
}

static int list_page(struct muster_list *list)
{
	struct list_request request = {
		.count = PAGE,
		.path = slice_of(list->path),
		.after = slice_of(list->after),
	};
	struct outcome outcome = { .ret = list };
	int rc = ask(list->session, MSG_list, &request, convert_list, &outcome);

	return rc < 0 ? rc : list->error;
}

int muster_list_open(struct muster *session, const char *path, struct muster_list **ret)
{
	struct slice slice;
	struct muster_list *list;
	int rc = path_from(path, &slice);

	*ret = NULL;
	if (rc < 0)
		return rc;
	list = calloc(1, sizeof(*list));
	if (!list)
		return -ERR_NO_MEMORY;
	list->session = session;
	memcpy(list->path, path, slice.size);
	rc = list_page(list);
	if (rc < 0) {
		free(list);
		return rc;
	}
	*ret = list;
	return 0;
}

int muster_list_next(struct muster_list *list, struct muster_entry *ret)
{
	int rc = 0;

	if (list->at == list->count && list->more)
		rc = list_page(list);
	if (rc < 0)
		return rc;
	if (list->at == list->count)
		return 0;
	*ret = list->entries[list->at++];
	return 1;
}

void muster_list_close(struct muster_list *list)
{
	free(list);
}

/* ---- bytes ---- */

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

	return rc < 0 ? rc : outcome_wait(session, op, &outcome);
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

	return rc < 0 ? rc : outcome_wait(session, op, &outcome);
}

/* ---- the store ---- */

struct node_list {
	struct muster_node *nodes;
	unsigned int count;
	struct id after;
	bool more;
	int error;
};

static void convert_nodes(struct muster_op *op, const void *reply)
{
	const struct nodes_reply *page = reply;
	struct outcome *outcome = op->convert_context;
	struct node_list *list = outcome->ret;
	struct muster_node *nodes;

	list->more = page->more && page->nodes_count > 0;
	if (page->nodes_count == 0)
		return;
	nodes = realloc(list->nodes, (list->count + page->nodes_count) * sizeof(*nodes));
	if (!nodes) {
		list->error = -ERR_NO_MEMORY;
		return;
	}
	list->nodes = nodes;
	for (unsigned int i = 0; i < page->nodes_count; i++)
		node_convert(&page->nodes[i], &list->nodes[list->count++]);
	list->after = page->nodes[page->nodes_count - 1].node;
}

int muster_nodes(struct muster *session, struct muster_node **ret)
{
	struct node_list list = { .more = true };

	*ret = NULL;
	while (list.more && list.error == 0 && list.count <= NODES_MAX) {
		struct nodes_request request = { .after = list.after };
		struct outcome outcome = { .ret = &list };
		int rc = ask(session, MSG_nodes, &request, convert_nodes, &outcome);

		if (rc < 0)
			list.error = rc;
	}
	if (list.error < 0) {
		free(list.nodes);
		return list.error;
	}
	*ret = list.nodes;
	return (int)list.count;
}

void muster_nodes_free(struct muster_node *nodes)
{
	free(nodes);
}

static void convert_status(struct muster_op *op, const void *reply)
{
	struct outcome *outcome = op->convert_context;

	status_convert(reply, outcome->ret);
}

int muster_status(struct muster *session, struct muster_status *ret)
{
	struct status_request request = { 0 };
	struct outcome outcome = { .ret = ret };

	return ask(session, MSG_status, &request, convert_status, &outcome);
}

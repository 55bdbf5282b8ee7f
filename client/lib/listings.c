/* What is listed page by page: directories, the trash, the storage servers. */
#include "question.h"

#include <stdlib.h>

#include "error.h"

enum { PAGE = 256 };

/* ---- directories ---- */

static struct question list_question(const struct muster_list_args *args)
{
	struct question question = { .code = MSG_list };
	unsigned int most = args->most ? args->most : PAGE;

	question.error = path_from(args->path, &question.list.path);
	question.list.count = (uint16_t)(most < ENTRIES_MAX ? most : ENTRIES_MAX);
	if (args->after)
		question.list.after = slice_of(args->after);
	if (question.list.after.size > NAME_SIZE_MAX)
		question.error = -ERR_NAME_TOO_LONG;
	return question;
}

int muster_start_list(struct muster *session, const struct muster_list_args *args,
		      struct muster_then then, struct muster_op **ret)
{
	struct question question = list_question(args);

	return question_start(session, &question, then, ret);
}

const struct muster_page *muster_op_list(const struct muster_op *op)
{
	return question_answer(op, MSG_list);
}

struct muster_list {
	struct muster *session;
	char path[PATH_SIZE_MAX + 1];
	char after[NAME_SIZE_MAX + 1];
	struct muster_page *page;
	unsigned int at;
};

/* Else a listing might never end, or show a name twice. */
static bool is_ascending(const struct muster_page *page, const char *after)
{
	for (unsigned int i = 0; i < page->count; i++) {
		if (strcmp(page->entries[i].name, after) <= 0)
			return false;
		after = page->entries[i].name;
	}
	return true;
}

static int list_page(struct muster_list *list)
{
	struct muster_list_args args = { .path = list->path, .after = list->after };
	struct question question = list_question(&args);
	const struct muster_page *page;
	void *answer;
	int rc = question_page(list->session, &question, &answer);

	if (rc < 0)
		return rc;
	free(list->page);
	list->page = answer;
	list->at = 0;
	page = answer;
	if (page->count == 0)
		return 0;
	if (!is_ascending(page, list->after)) {
		list->at = page->count;
		return -ERR_BAD_REQUEST;
	}
	memcpy(list->after, page->entries[page->count - 1].name, sizeof(list->after));
	return 0;
}

int muster_list_open_after(struct muster *session, const char *path, const char *after,
			   struct muster_list **ret)
{
	struct muster_list_args args = { .path = path, .after = after };
	struct question question = list_question(&args);
	struct muster_list *list;
	int rc;

	*ret = NULL;
	if (question.error < 0)
		return question.error;
	list = calloc(1, sizeof(*list));
	if (!list)
		return -ERR_NO_MEMORY;
	list->session = session;
	memcpy(list->path, path, question.list.path.size);
	if (after)
		memcpy(list->after, after, question.list.after.size);
	rc = list_page(list);
	if (rc < 0)
		muster_list_close(list);
	else
		*ret = list;
	return rc;
}

int muster_list_open(struct muster *session, const char *path, struct muster_list **ret)
{
	return muster_list_open_after(session, path, NULL, ret);
}

int muster_list_next(struct muster_list *list, struct muster_entry *ret)
{
	int rc = 0;

	if (list->at == list->page->count && list->page->more)
		rc = list_page(list);
	if (rc < 0)
		return rc;
	if (list->at == list->page->count)
		return 0;
	*ret = list->page->entries[list->at++];
	return 1;
}

void muster_list_close(struct muster_list *list)
{
	if (list)
		free(list->page);
	free(list);
}

/* ---- the trash ---- */

static struct question trash_question(const struct muster_trash_args *args)
{
	struct question question = { .code = MSG_trash_list };

	if (args->path)
		question.error = path_from(args->path, &question.trash_list.path);
	question.trash_list.since_ms = args->after.since_ms;
	question.trash_list.id = args->after.id;
	return question;
}

int muster_start_trash(struct muster *session, const struct muster_trash_args *args,
		       struct muster_then then, struct muster_op **ret)
{
	struct question question = trash_question(args);

	return question_start(session, &question, then, ret);
}

const struct muster_trash_page *muster_op_trash(const struct muster_op *op)
{
	return question_answer(op, MSG_trash_list);
}

struct muster_trash {
	struct muster *session;
	char path[PATH_SIZE_MAX + 1]; /* empty: all */
	struct muster_trash_cursor after;
	struct muster_trash_page *page;
	unsigned int at;
};

static bool is_later(struct muster_trash_cursor a, struct muster_trash_cursor b)
{
	return a.since_ms != b.since_ms ? a.since_ms > b.since_ms : a.id > b.id;
}

static int trash_page(struct muster_trash *trash)
{
	struct muster_trash_args args = { *trash->path ? trash->path : NULL, trash->after };
	struct question question = trash_question(&args);
	void *answer;
	int rc = question_page(trash->session, &question, &answer);

	if (rc < 0)
		return rc;
	free(trash->page);
	trash->page = answer;
	trash->at = 0;
	if (trash->page->more && !is_later(trash->page->next, trash->after)) {
		trash->page->more = false;
		trash->at = trash->page->count;
		return -ERR_BAD_REQUEST;
	}
	trash->after = trash->page->next;
	return 0;
}

int muster_trash_open(struct muster *session, const char *path, struct muster_trash **ret)
{
	struct question question = trash_question(&(struct muster_trash_args){ .path = path });
	struct muster_trash *trash;
	int rc;

	*ret = NULL;
	if (question.error < 0)
		return question.error;
	trash = calloc(1, sizeof(*trash));
	if (!trash)
		return -ERR_NO_MEMORY;
	trash->session = session;
	if (path)
		memcpy(trash->path, path, question.trash_list.path.size);
	rc = trash_page(trash);
	if (rc < 0)
		muster_trash_close(trash);
	else
		*ret = trash;
	return rc;
}

int muster_trash_next(struct muster_trash *trash, struct muster_trashed *ret)
{
	int rc = 0;

	/* A page may be empty and not the last one. */
	while (rc == 0 && trash->at == trash->page->count && trash->page->more)
		rc = trash_page(trash);
	if (rc < 0)
		return rc;
	if (trash->at == trash->page->count)
		return 0;
	*ret = trash->page->entries[trash->at++];
	return 1;
}

void muster_trash_close(struct muster_trash *trash)
{
	if (trash)
		free(trash->page);
	free(trash);
}

/* ---- storage servers ---- */

static struct question nodes_question(const uint8_t *after)
{
	struct question question = { .code = MSG_nodes };

	if (after)
		memcpy(question.nodes.after.bytes, after, ID_SIZE);
	return question;
}

int muster_start_nodes(struct muster *session, const uint8_t *after, struct muster_then then,
		       struct muster_op **ret)
{
	struct question question = nodes_question(after);

	return question_start(session, &question, then, ret);
}

const struct muster_node_page *muster_op_nodes(const struct muster_op *op)
{
	return question_answer(op, MSG_nodes);
}

/* Those of the page behind the `count` that are there. */
static int nodes_add(struct muster_node **nodes, unsigned int count,
		     const struct muster_node_page *page)
{
	struct muster_node *more = realloc(*nodes, (count + page->count + 1) * sizeof(*more));

	if (!more)
		return -ERR_NO_MEMORY;
	*nodes = more;
	if (page->count > 0)
		memcpy(&more[count], page->nodes, page->count * sizeof(*more));
	return 0;
}

int muster_nodes(struct muster *session, struct muster_node **ret)
{
	unsigned int count = 0;
	bool more = true;
	int rc = 0;

	*ret = NULL;
	while (rc == 0 && more && count <= NODES_MAX) {
		struct question question = nodes_question(count ? (*ret)[count - 1].id : NULL);
		const struct muster_node_page *page;
		void *answer;

		rc = question_page(session, &question, &answer);
		if (rc < 0)
			break;
		page = answer;
		rc = nodes_add(ret, count, page);
		count += rc == 0 ? page->count : 0;
		more = page->more;
		free(answer);
	}
	if (rc == 0)
		return (int)count;
	free(*ret);
	*ret = NULL;
	return rc;
}

void muster_nodes_free(struct muster_node *nodes)
{
	free(nodes);
}

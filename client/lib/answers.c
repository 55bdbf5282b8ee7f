/* What the name server answers, in the shapes of muster.h. */
#include "question.h"

#include <stdlib.h>

#include "error.h"

typedef int answer_fn(struct muster_op *op, const void *reply);

/* NULL: no memory. */
static void *answer_new(struct muster_op *op, size_t size)
{
	op->answer = calloc(1, size);
	return op->answer;
}

/* The answer with room for `count` items behind it. */
static void *page_new(struct muster_op *op, size_t size, size_t count, size_t item_size)
{
	return answer_new(op, size + count * item_size);
}

/* ---- names ---- */

/* A storage server that stands in knows what there is, but not who holds it. */
static bool knows_holders(const struct muster_op *op)
{
	struct client_state state = { 0 };

	if (op->degraded)
		client_state(op->session->core, &state);
	return !state.degraded;
}

static void named_entry(const struct entry *entry, bool known, struct muster_entry *ret)
{
	entry_convert(entry, ret);
	if (!known && entry->size > 0)
		ret->copies = MUSTER_COPIES_UNKNOWN;
}

static int on_stat(struct muster_op *op, const void *reply)
{
	const struct stat_reply *stat = reply;
	struct stat_answer *answer =
		page_new(op, sizeof(*answer), stat->holders_count, sizeof(answer->holders[0]));

	if (!answer)
		return -ERR_NO_MEMORY;
	named_entry(&stat->entry, knows_holders(op), &answer->entry);
	answer->count = stat->holders_count;
	for (unsigned int i = 0; i < stat->holders_count; i++) {
		memcpy(answer->holders[i].node, stat->holders[i].node.bytes, ID_SIZE);
		answer->holders[i].chunks = stat->holders[i].chunks;
	}
	return 0;
}

static int on_list(struct muster_op *op, const void *reply)
{
	const struct list_reply *list = reply;
	struct muster_page *page =
		page_new(op, sizeof(*page), list->entries_count, sizeof(struct muster_entry));
	const bool known = knows_holders(op);
	struct muster_entry *entries;

	if (!page)
		return -ERR_NO_MEMORY;
	entries = (struct muster_entry *)(page + 1);
	for (unsigned int i = 0; i < list->entries_count; i++)
		named_entry(&list->entries[i], known, &entries[i]);
	*page = (struct muster_page){ entries, list->entries_count,
				      list->more && list->entries_count > 0 };
	return 0;
}

static int removed_make(struct muster_op *op, uint64_t count, uint64_t bytes)
{
	struct muster_removed *removed = answer_new(op, sizeof(*removed));

	if (!removed)
		return -ERR_NO_MEMORY;
	*removed = (struct muster_removed){ count, bytes };
	return 0;
}

static int on_remove(struct muster_op *op, const void *reply)
{
	const struct remove_reply *removed = reply;

	return removed_make(op, removed->removed, removed->bytes);
}

static int on_set_copies(struct muster_op *op, const void *reply)
{
	(void)op;
	return (int)((const struct set_copies_reply *)reply)->copies;
}

static int copied_make(struct muster_op *op, struct slice path, uint64_t count, uint64_t bytes)
{
	struct muster_copied *copied = answer_new(op, sizeof(*copied));

	if (!copied)
		return -ERR_NO_MEMORY;
	copied->count = count;
	copied->bytes = bytes;
	text_convert(path, copied->path, sizeof(copied->path));
	return 0;
}

static int on_rename(struct muster_op *op, const void *reply)
{
	return copied_make(op, ((const struct rename_reply *)reply)->path, 0, 0);
}

static int on_copy(struct muster_op *op, const void *reply)
{
	const struct copy_reply *copied = reply;

	return copied_make(op, copied->path, copied->entries, copied->bytes);
}

/* ---- the trash ---- */

static int on_trash_list(struct muster_op *op, const void *reply)
{
	const struct trash_list_reply *list = reply;
	struct muster_trash_page *page =
		page_new(op, sizeof(*page), list->entries_count, sizeof(struct muster_trashed));
	struct muster_trashed *entries;

	if (!page)
		return -ERR_NO_MEMORY;
	entries = (struct muster_trashed *)(page + 1);
	for (unsigned int i = 0; i < list->entries_count; i++) {
		const struct trash_entry *from = &list->entries[i];

		entries[i] = (struct muster_trashed){
			.id = from->id,
			.type = from->type == ENTRY_DIRECTORY ? MUSTER_DIRECTORY : MUSTER_FILE,
			.entries = from->entries,
			.bytes = from->bytes,
			.removed_ms = from->removed_ms,
			.purge_in_ms = from->purge_in_ms,
		};
		text_convert(from->path, entries[i].path, sizeof(entries[i].path));
	}
	*page = (struct muster_trash_page){
		.entries = entries,
		.count = list->entries_count,
		.more = list->more,
		.next = { list->since_ms, list->id },
	};
	return 0;
}

static int on_trash_restore(struct muster_op *op, const void *reply)
{
	const struct trash_restore_reply *restored = reply;

	return copied_make(op, restored->path, restored->entries, restored->bytes);
}

static int on_trash_purge(struct muster_op *op, const void *reply)
{
	const struct trash_purge_reply *purged = reply;

	return removed_make(op, purged->entries, purged->bytes);
}

static int on_format(struct muster_op *op, const void *reply)
{
	const struct format_reply *format = reply;

	return removed_make(op, format->entries, format->bytes);
}

/* ---- the store ---- */

static int on_nodes(struct muster_op *op, const void *reply)
{
	const struct nodes_reply *list = reply;
	struct muster_node_page *page =
		page_new(op, sizeof(*page), list->nodes_count, sizeof(struct muster_node));
	struct muster_node *nodes;

	if (!page)
		return -ERR_NO_MEMORY;
	nodes = (struct muster_node *)(page + 1);
	for (unsigned int i = 0; i < list->nodes_count; i++)
		node_convert(&list->nodes[i], &nodes[i]);
	*page = (struct muster_node_page){ nodes, list->nodes_count,
					   list->more && list->nodes_count > 0 };
	return 0;
}

static int on_status(struct muster_op *op, const void *reply)
{
	struct muster_status *status = answer_new(op, sizeof(*status));

	if (!status)
		return -ERR_NO_MEMORY;
	status_convert(reply, status);
	return 0;
}

static int on_drain(struct muster_op *op, const void *reply)
{
	uint64_t *chunks = answer_new(op, sizeof(*chunks));

	if (!chunks)
		return -ERR_NO_MEMORY;
	*chunks = ((const struct drain_reply *)reply)->chunks;
	return 0;
}

static bool is_zero(const struct digest *digest)
{
	static const struct digest zero;

	return memcmp(digest, &zero, sizeof(zero)) == 0;
}

static void finding_convert(const struct copy_finding *from, struct muster_copy_finding *ret)
{
	*ret = (struct muster_copy_finding){
		.offset = from->offset,
		.state = (enum muster_copy_state)from->state,
		.has_digest = !is_zero(&from->digest),
	};
	memcpy(ret->node, from->node.bytes, sizeof(ret->node));
	memcpy(ret->digest, from->digest.bytes, sizeof(ret->digest));
}

static int on_verify(struct muster_op *op, const void *reply)
{
	const struct verify_reply *verify = reply;
	struct muster_verify_page *page = page_new(op, sizeof(*page), verify->copies_count,
						   sizeof(struct muster_copy_finding));
	struct muster_copy_finding *findings;

	if (!page)
		return -ERR_NO_MEMORY;
	findings = (struct muster_copy_finding *)(page + 1);
	for (unsigned int i = 0; i < verify->copies_count; i++)
		finding_convert(&verify->copies[i], &findings[i]);
	entry_convert(&verify->entry, &page->entry);
	page->findings = findings;
	page->count = verify->copies_count;
	page->next = verify->next;
	return 0;
}

static void problem_convert(const struct problem *from, struct muster_problem *ret)
{
	ret->kind = (enum muster_problem_kind)from->kind;
	ret->has_node = !id_is_none(&from->node);
	ret->copies = from->copies;
	ret->copies_wanted = from->copies_wanted;
	memcpy(ret->node, from->node.bytes, sizeof(ret->node));
	text_convert(from->path, ret->path, sizeof(ret->path));
	text_convert(from->detail, ret->detail, sizeof(ret->detail));
}

static int on_check(struct muster_op *op, const void *reply)
{
	const struct check_reply *check = reply;
	struct muster_check_page *page =
		page_new(op, sizeof(*page), check->problems_count, sizeof(struct muster_problem));
	struct muster_problem *problems;

	if (!page)
		return -ERR_NO_MEMORY;
	problems = (struct muster_problem *)(page + 1);
	for (unsigned int i = 0; i < check->problems_count; i++)
		problem_convert(&check->problems[i], &problems[i]);
	*page = (struct muster_check_page){ problems, check->problems_count, check->after,
					    check->seen, check->more };
	return 0;
}

/* Their texts stand behind them. */
static void events_convert(const struct events_reply *reply, struct muster_event *events)
{
	char *text = (char *)(events + reply->events_count);

	for (unsigned int i = 0; i < reply->events_count; i++) {
		const struct event_line *from = &reply->events[i];

		events[i].number = from->number;
		events[i].time_ms = from->time_ms;
		events[i].level = (enum muster_level)from->level;
		text_convert(from->node, events[i].node, sizeof(events[i].node));
		text_convert(from->event, events[i].event, sizeof(events[i].event));
		text_convert(from->text, text, from->text.size + 1);
		events[i].text = text;
		text += from->text.size + 1;
	}
}

static int on_events(struct muster_op *op, const void *reply)
{
	const struct events_reply *list = reply;
	struct muster_event_page *page;
	size_t size = sizeof(*page);

	for (unsigned int i = 0; i < list->events_count; i++)
		size += list->events[i].text.size + 1;
	page = page_new(op, size, list->events_count, sizeof(struct muster_event));
	if (!page)
		return -ERR_NO_MEMORY;
	page->events = (struct muster_event *)(page + 1);
	page->count = list->events_count;
	page->after = list->after;
	page->missed = list->missed;
	events_convert(list, (struct muster_event *)(page + 1));
	return 0;
}

static int on_reached(struct muster_op *op, const void *reply)
{
	struct muster_reach *reach = answer_new(op, sizeof(*reach));

	if (!reach)
		return -ERR_NO_MEMORY;
	reach_convert(reply, reach);
	return 0;
}

static const struct {
	unsigned int code;
	answer_fn *make;
} answers[] = {
	{ MSG_stat, on_stat },
	{ MSG_list, on_list },
	{ MSG_remove, on_remove },
	{ MSG_set_copies, on_set_copies },
	{ MSG_rename, on_rename },
	{ MSG_copy, on_copy },
	{ MSG_trash_list, on_trash_list },
	{ MSG_trash_restore, on_trash_restore },
	{ MSG_trash_purge, on_trash_purge },
	{ MSG_format, on_format },
	{ MSG_nodes, on_nodes },
	{ MSG_status, on_status },
	{ MSG_verify, on_verify },
	{ MSG_check, on_check },
	{ MSG_events, on_events },
	{ MSG_drain, on_drain },
};

int answer_make(struct muster_op *op, const void *reply)
{
	if (op->kind == LIB_REACH)
		return on_reached(op, reply);
	for (unsigned int i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		if (answers[i].code == op->code)
			return answers[i].make(op, reply);
	}
	return 0;
}

/* Commands about the store as a whole: df, format. */
#include <inttypes.h>
#include <string.h>

#include "clock.h"
#include "error.h"
#include "progress.h"
#include "servers.h"
#include "store_output.h"

/* How long `format` waits while nothing is freed, some heartbeats, and how often it looks. */
enum { STILL_MS = 10000, LOOK_MS = 200 };

/* ---- df ---- */

struct space {
	struct servers servers;
	struct muster_node sum;
	struct muster_status status;
};

/* 0, or an error of the session's last call. space_done() in any case. */
static int space_load(struct call *call, struct space *ret)
{
	int rc;

	memset(ret, 0, sizeof(*ret));
	rc = servers_load(call, &ret->servers);
	if (rc == 0)
		rc = muster_status(call->session, &ret->status);
	memcpy(ret->sum.name, "all", 4);
	for (unsigned int i = 0; i < ret->servers.count; i++) {
		ret->sum.capacity += ret->servers.items[i].capacity;
		ret->sum.used += ret->servers.items[i].used;
		ret->sum.free += ret->servers.items[i].free;
	}
	return rc;
}

static void space_done(struct space *space)
{
	servers_done(&space->servers);
}

static void numbers_add(cJSON *object, const struct muster_node *node)
{
	json_number(object, "capacity", node->capacity);
	json_number(object, "used", node->used);
	json_number(object, "free", node->free);
}

static void space_add(cJSON *object, const struct space *space)
{
	cJSON *list;

	numbers_add(object, &space->sum);
	json_number(object, "trash_entries", space->status.trash_entries);
	json_number(object, "trash_bytes", space->status.trash_bytes);
	json_number(object, "freeing", space->status.freeing);
	list = cJSON_AddArrayToObject(object, "nodes");
	for (unsigned int i = 0; i < space->servers.count; i++) {
		const struct muster_node *node = &space->servers.items[i];
		cJSON *row = cJSON_CreateObject();

		json_text(row, "name", node->name);
		numbers_add(row, node);
		json_text(row, "state", server_state(node));
		cJSON_AddItemToArray(list, row);
	}
}

static void df_row(struct table *table, const struct muster_node *node)
{
	uint64_t whole = node->used + node->free;

	text_cell(table, node->name);
	size_cell(table, node->capacity);
	size_cell(table, node->used);
	size_cell(table, node->free);
	if (whole)
		table_cell(table, TONE_PLAIN, "%.0f%%", 100.0 * (double)node->used / (double)whole);
	else
		table_cell(table, TONE_PLAIN, "-");
}

static int df_table(struct call *call, const struct space *space)
{
	static const struct table_column columns[] = {
		{ "NAME", false, false }, { "CAPACITY", true, false }, { "USED", true, false },
		{ "FREE", true, false },  { "FULL", true, false },
	};
	struct table table;

	table_init(&table, columns, ARRAY_SIZE(columns));
	for (unsigned int i = 0; i < space->servers.count; i++)
		df_row(&table, &space->servers.items[i]);
	df_row(&table, &space->sum);
	return table_finish(call, &table);
}

int command_df(struct call *call)
{
	struct space space;
	int status = call_session(call);
	int rc;

	if (status != STATUS_DONE)
		return status;
	rc = space_load(call, &space);
	if (rc < 0) {
		status = call_fail_last(call, NULL, rc);
	} else if (call->shell->preferences.json) {
		cJSON *object = cJSON_CreateObject();

		space_add(object, &space);
		status = call_json(call, object);
	} else {
		status = df_table(call, &space);
		trash_print(&space.status);
	}
	space_done(&space);
	return status;
}

/* ---- format ---- */

static void goes_print(const struct muster_status *status)
{
	char bytes[SIZE_TEXT_MAX], trash[SIZE_TEXT_MAX];

	fputs("everything in cluster ", stderr);
	name_print(stderr, status->cluster);
	fprintf(stderr,
		" goes for good:\n  %" PRIu64 " file%s in %" PRIu64 " director%s, %s\n"
		"  %" PRIu64 " %s in the trash, %s\n",
		status->files, plural(status->files), status->directories,
		status->directories == 1 ? "y" : "ies", bytes_format(status->bytes, bytes),
		status->trash_entries, status->trash_entries == 1 ? "entry" : "entries",
		bytes_format(status->trash_bytes, trash));
}

static int format_agreed(struct call *call, const struct muster_status *status)
{
	if (call->options[CALL_YES])
		return STATUS_DONE;
	if (!call_can_ask())
		return call_fail_text(call, NULL, -ERR_NOT_PERMITTED,
				      "there is no terminal to ask at (use --yes)");
	goes_print(status);
	return call_ask(call, "empty the whole store? [y/N] ", NULL, NULL) ? STATUS_DONE
									   : STATUS_FAILED;
}

/* Chunks that are still to be deleted, or on servers that are up as far as they have told. */
static int chunks_left(struct call *call, uint64_t *ret_freeing, uint64_t *ret)
{
	struct muster_status status;
	struct servers servers = { 0 };
	int rc = muster_status(call->session, &status);

	if (rc == 0)
		rc = servers_load(call, &servers);
	if (rc < 0)
		return rc;
	*ret = *ret_freeing = status.freeing;
	for (unsigned int i = 0; i < servers.count; i++) {
		if (servers.items[i].state != MUSTER_NODE_OFFLINE)
			*ret += servers.items[i].chunks;
	}
	servers_done(&servers);
	return 0;
}

/* Until the servers have deleted what they held and said so, as long as that goes on. Returns what
 * is still to be deleted. */
static uint64_t freeing_wait(struct call *call)
{
	uint64_t moved_ms = clock_monotonic_ms();
	uint64_t least = UINT64_MAX;
	uint64_t freeing = 0;
	uint64_t left;
	struct progress progress;

	progress_init(&progress, "format", call_confirms(call));
	progress.unit = "chunks";
	while (chunks_left(call, &freeing, &left) == 0 && left > 0) {
		if (left < least) {
			moved_ms = clock_monotonic_ms();
			least = left;
		}
		if (progress.files_total < left)
			progress.files_total = left;
		progress.files = progress.files_total - left;
		progress_draw(&progress);
		if (call_interrupted(call) || clock_monotonic_ms() - moved_ms >= STILL_MS)
			break;
		muster_wait(call->session, LOOK_MS);
	}
	progress_hide(&progress);
	return freeing;
}

static int format_report(struct call *call, const struct muster_removed *removed,
			 const struct space *space)
{
	char size[SIZE_TEXT_MAX];

	if (call->shell->preferences.json) {
		cJSON *object = cJSON_CreateObject();

		json_number(object, "removed", removed->count);
		json_number(object, "bytes", removed->bytes);
		space_add(object, space);
		return call_json(call, object);
	}
	if (!call_confirms(call))
		return STATUS_DONE;
	printf("removed %" PRIu64 " %s, %s\n", removed->count,
	       removed->count == 1 ? "entry" : "entries", bytes_format(removed->bytes, size));
	for (unsigned int i = 0; i < space->servers.count; i++) {
		name_print(stdout, space->servers.items[i].name);
		printf(": %s free\n", bytes_format(space->servers.items[i].free, size));
	}
	return STATUS_DONE;
}

static int format_finish(struct call *call, const struct muster_removed *removed)
{
	uint64_t left = freeing_wait(call);
	struct space space;
	int rc = space_load(call, &space);
	int status;

	if (left)
		call_note(call, "%" PRIu64 " chunk%s still to be deleted: that goes on by itself",
			  left, plural(left));
	status = rc < 0 ? call_fail_last(call, NULL, rc) : format_report(call, removed, &space);
	space_done(&space);
	return status;
}

int command_format(struct call *call)
{
	struct muster_removed removed = { 0 };
	struct muster_status status;
	int result = call_session(call);
	int rc;

	if (result != STATUS_DONE)
		return result;
	rc = muster_status(call->session, &status);
	if (rc < 0)
		return call_fail_last(call, NULL, rc);
	result = format_agreed(call, &status);
	if (result != STATUS_DONE)
		return result;
	rc = muster_format(call->session, status.cluster, &removed);
	return rc < 0 ? call_fail_last(call, NULL, rc) : format_finish(call, &removed);
}

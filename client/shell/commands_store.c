/* Commands about the store as a whole: nodes, status, df. */
#include <string.h>

#include "command.h"
#include "error.h"
#include "text.h"

enum { AGO_MAX = 32 };

/* "3 s ago", "5 min ago" */
static const char *ago_format(uint64_t ms, char ret[AGO_MAX])
{
	uint64_t seconds = ms / 1000;

	if (seconds < 60)
		snprintf(ret, AGO_MAX, "%llu s ago", (unsigned long long)seconds);
	else if (seconds < 3600)
		snprintf(ret, AGO_MAX, "%llu min ago", (unsigned long long)seconds / 60);
	else if (seconds < 2 * 86400)
		snprintf(ret, AGO_MAX, "%llu h ago", (unsigned long long)seconds / 3600);
	else
		snprintf(ret, AGO_MAX, "%llu days ago", (unsigned long long)seconds / 86400);
	return ret;
}

static const char *state_word(enum muster_node_state state)
{
	switch (state) {
	case MUSTER_NODE_ONLINE: return "online";
	case MUSTER_NODE_SUSPECT: return "suspect";
	case MUSTER_NODE_OFFLINE: return "offline";
	case MUSTER_NODE_DRAINING: return "draining";
	}
	return "unknown";
}

static enum tone state_tone(enum muster_node_state state)
{
	if (state == MUSTER_NODE_ONLINE)
		return TONE_GOOD;
	return state == MUSTER_NODE_OFFLINE ? TONE_BAD : TONE_WARN;
}

static void hex_add(cJSON *object, const char *key, const uint8_t id[ID_SIZE])
{
	struct id value;
	char text[ID_TEXT_MAX];

	memcpy(value.bytes, id, ID_SIZE);
	json_text(object, key, id_format(&value, text));
}

static int node_json(struct call *call, const struct muster_node *node)
{
	cJSON *object = cJSON_CreateObject();

	hex_add(object, "id", node->id);
	json_text(object, "name", node->name);
	json_text(object, "address", node->address);
	hex_add(object, "machine", node->machine);
	json_text(object, "zone", node->zone);
	json_text(object, "state", state_word(node->state));
	json_number(object, "capacity", node->capacity);
	json_number(object, "used", node->used);
	json_number(object, "free", node->free);
	json_number(object, "chunks", node->chunks);
	json_number(object, "last_seen", node->last_seen_ms);
	json_number(object, "first_seen", node->first_seen_ms);
	json_number(object, "last_start", node->last_start_ms);
	json_number(object, "starts", node->starts);
	return call_json(call, object);
}

static void text_cell(struct table *table, const char *text)
{
	struct buffer escaped = { 0 };

	name_escape(&escaped, text, strlen(text));
	buffer_append(&escaped, "", 1);
	table_cell(table, TONE_PLAIN, "%s", escaped.error ? "?" : (const char *)escaped.data);
	buffer_done(&escaped);
}

static void size_cell(struct table *table, uint64_t bytes)
{
	char text[SIZE_TEXT_MAX];

	table_cell(table, TONE_PLAIN, "%s", size_format(bytes, text));
}

static void node_row(struct table *table, const struct muster_node *node)
{
	char ago[AGO_MAX];
	char first[TIME_TEXT_MAX];

	text_cell(table, node->name);
	table_cell(table, state_tone(node->state), "%s", state_word(node->state));
	text_cell(table, node->address);
	size_cell(table, node->used);
	size_cell(table, node->free);
	table_cell(table, TONE_PLAIN, "%llu", (unsigned long long)node->chunks);
	table_cell(table, TONE_PLAIN, "%s", ago_format(node->last_seen_ms, ago));
	table_cell(table, TONE_PLAIN, "%llu", (unsigned long long)node->starts);
	table_cell(table, TONE_PLAIN, "%s", time_format(node->first_seen_ms, first));
}

static int table_finish(struct call *call, struct table *table)
{
	bool failed = table->failed;

	table_print(table, stdout, call->shell->width, call->shell->colour);
	return failed ? call_fail(call, NULL, -ERR_NO_MEMORY, NULL) : STATUS_DONE;
}

static int nodes_table(struct call *call, const struct muster_node *nodes, unsigned int count)
{
	static const struct table_column columns[] = {
		{ "NAME", false, false }, { "STATE", false, false }, { "ADDRESS", false, false },
		{ "USED", true, false },  { "FREE", true, false },   { "CHUNKS", true, true },
		{ "SEEN", true, true },   { "STARTS", true, true },  { "FIRST SEEN", false, true },
	};
	struct table table;

	if (count == 0) {
		call_note(call, "no storage server has registered yet");
		return STATUS_DONE;
	}
	table_init(&table, columns, ARRAY_SIZE(columns));
	for (unsigned int i = 0; i < count; i++)
		node_row(&table, &nodes[i]);
	return table_finish(call, &table);
}

static int nodes_json(struct call *call, const struct muster_node *nodes, unsigned int count)
{
	int status = STATUS_DONE;

	for (unsigned int i = 0; i < count; i++)
		status = status_worse(status, node_json(call, &nodes[i]));
	return status;
}

/* Hands all servers to `show`. */
static int nodes_show(struct call *call,
		      int (*show)(struct call *call, const struct muster_node *nodes,
				  unsigned int count))
{
	struct muster_node *nodes;
	int status = call_session(call);
	int count;

	if (status != STATUS_DONE)
		return status;
	count = muster_nodes(call->session, &nodes);
	if (count < 0)
		return call_fail_last(call, NULL, count);
	status = show(call, nodes, (unsigned int)count);
	muster_nodes_free(nodes);
	return status;
}

int command_nodes(struct call *call)
{
	return nodes_show(call, call->shell->preferences.json ? nodes_json : nodes_table);
}

static int status_json(struct call *call, const struct muster_status *status)
{
	cJSON *object = cJSON_CreateObject();

	json_text(object, "cluster", status->cluster);
	json_text(object, "nameserver", status->nameserver);
	json_text(object, "version", status->version);
	json_number(object, "epoch", status->epoch);
	json_number(object, "sequence", status->sequence);
	json_number(object, "nodes_online", status->nodes_online);
	json_number(object, "nodes_total", status->nodes_total);
	json_number(object, "files", status->files);
	json_number(object, "directories", status->directories);
	json_number(object, "bytes", status->bytes);
	json_number(object, "chunks", status->chunks);
	json_number(object, "under_copied", status->under_copied);
	json_number(object, "lost", status->lost);
	json_number(object, "repairing", status->repairing);
	json_number(object, "capacity", status->capacity);
	json_number(object, "used", status->used);
	json_number(object, "free", status->free);
	json_number(object, "catalogue_copies", status->catalogue_copies);
	cJSON_AddBoolToObject(object, "writable", status->writable);
	json_number(object, "uptime", status->uptime_ms);
	return call_json(call, object);
}

static void health_print(const struct shell *shell, const struct muster_status *status)
{
	enum tone tone = status->lost ? TONE_BAD : TONE_WARN;
	char text[128];

	if (!status->under_copied && !status->lost) {
		tone = TONE_GOOD;
		snprintf(text, sizeof(text), "no chunk is known to lack any");
	} else {
		snprintf(text, sizeof(text),
			 "%llu chunk%s under-copied, %llu lost, %llu being repaired",
			 (unsigned long long)status->under_copied, plural(status->under_copied),
			 (unsigned long long)status->lost, (unsigned long long)status->repairing);
	}
	fputs("copies       ", stdout);
	tone_print(stdout, shell->colour ? tone : TONE_PLAIN, text);
	putchar('\n');
}

static void status_text(const struct shell *shell, const struct muster_status *status)
{
	char bytes[SIZE_TEXT_MAX];
	char used[SIZE_TEXT_MAX];
	char free_text[SIZE_TEXT_MAX];

	fputs("cluster      ", stdout);
	name_print(stdout, status->cluster);
	printf("\nname server  %s, version ", status->nameserver);
	name_print(stdout, status->version);
	printf(", epoch %llu%s\n", (unsigned long long)status->epoch,
	       status->writable ? "" : ", read-only now");
	printf("servers      %u of %u online\n", status->nodes_online, status->nodes_total);
	printf("stored       %llu file%s in %llu director%s, %s\n",
	       (unsigned long long)status->files, plural(status->files),
	       (unsigned long long)status->directories, status->directories == 1 ? "y" : "ies",
	       size_format(status->bytes, bytes));
	health_print(shell, status);
	printf("space        %s used, %s free\n", size_format(status->used, used),
	       size_format(status->free, free_text));
}

int command_status(struct call *call)
{
	struct muster_status status;
	int rc = call_session(call);

	if (rc != STATUS_DONE)
		return rc;
	rc = muster_status(call->session, &status);
	if (rc < 0)
		return call_fail_last(call, NULL, rc);
	if (call->shell->preferences.json)
		return status_json(call, &status);
	status_text(call->shell, &status);
	return STATUS_DONE;
}

static struct muster_node nodes_sum(const struct muster_node *nodes, unsigned int count)
{
	struct muster_node sum = { .name = "all" };

	for (unsigned int i = 0; i < count; i++) {
		sum.capacity += nodes[i].capacity;
		sum.used += nodes[i].used;
		sum.free += nodes[i].free;
	}
	return sum;
}

static void space_add(cJSON *object, const struct muster_node *node)
{
	json_text(object, "name", node->name);
	json_number(object, "capacity", node->capacity);
	json_number(object, "used", node->used);
	json_number(object, "free", node->free);
}

static int df_json(struct call *call, const struct muster_node *nodes, unsigned int count)
{
	struct muster_node sum = nodes_sum(nodes, count);
	cJSON *object = cJSON_CreateObject();
	cJSON *list;

	json_number(object, "capacity", sum.capacity);
	json_number(object, "used", sum.used);
	json_number(object, "free", sum.free);
	list = cJSON_AddArrayToObject(object, "nodes");
	for (unsigned int i = 0; i < count; i++) {
		cJSON *row = cJSON_CreateObject();

		space_add(row, &nodes[i]);
		json_text(row, "state", state_word(nodes[i].state));
		cJSON_AddItemToArray(list, row);
	}
	return call_json(call, object);
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

static int df_table(struct call *call, const struct muster_node *nodes, unsigned int count)
{
	static const struct table_column columns[] = {
		{ "NAME", false, false }, { "CAPACITY", true, false }, { "USED", true, false },
		{ "FREE", true, false },  { "FULL", true, false },
	};
	struct muster_node sum = nodes_sum(nodes, count);
	struct table table;

	table_init(&table, columns, ARRAY_SIZE(columns));
	for (unsigned int i = 0; i < count; i++)
		df_row(&table, &nodes[i]);
	df_row(&table, &sum);
	return table_finish(call, &table);
}

int command_df(struct call *call)
{
	return nodes_show(call, call->shell->preferences.json ? df_json : df_table);
}

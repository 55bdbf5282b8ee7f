/* Commands about the storage servers: nodes, drain, undrain, forget. */
#include <inttypes.h>
#include <string.h>

#include "error.h"
#include "servers.h"
#include "store_output.h"

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

static void id_add(cJSON *object, const char *key, const uint8_t id[16])
{
	char text[ID_TEXT_MAX];

	json_text(object, key, server_id(id, text));
}

static int node_json(struct call *call, const struct muster_node *node)
{
	cJSON *object = cJSON_CreateObject();

	id_add(object, "id", node->id);
	json_text(object, "name", node->name);
	json_text(object, "address", node->address);
	id_add(object, "machine", node->machine);
	json_text(object, "zone", node->zone);
	json_text(object, "state", server_state(node));
	json_number(object, "capacity", node->capacity);
	json_number(object, "used", node->used);
	json_number(object, "free", node->free);
	json_number(object, "chunks", node->chunks);
	json_number(object, "last_seen", node->last_seen_ms);
	json_number(object, "first_seen", node->first_seen_ms);
	json_number(object, "last_start", node->last_start_ms);
	json_number(object, "starts", node->starts);
	json_number(object, "catalogue_lag", node->catalogue_lag);
	return call_json(call, object);
}

/* More than the state where there is more to say. */
static void state_cell(struct table *table, const struct muster_node *node)
{
	const char *more = "";

	if (node->disk_failed)
		more = ", disk failed";
	else if (node->draining && node->state != MUSTER_NODE_DRAINING)
		more = ", draining";
	table_cell(table, server_tone(node), "%s%s", server_state(node), more);
}

static void node_row(struct table *table, const struct muster_node *node)
{
	char ago[AGO_MAX];
	char first[TIME_TEXT_MAX];

	text_cell(table, node->name);
	state_cell(table, node);
	text_cell(table, node->address);
	size_cell(table, node->used);
	size_cell(table, node->free);
	table_cell(table, TONE_PLAIN, "%llu", (unsigned long long)node->chunks);
	table_cell(table, TONE_PLAIN, "%s", ago_format(node->last_seen_ms, ago));
	table_cell(table, TONE_PLAIN, "%llu", (unsigned long long)node->starts);
	table_cell(table, TONE_PLAIN, "%s", time_format(node->first_seen_ms, first));
}

static int nodes_table(struct call *call, const struct servers *servers)
{
	static const struct table_column columns[] = {
		{ "NAME", false, false }, { "STATE", false, false }, { "ADDRESS", false, false },
		{ "USED", true, false },  { "FREE", true, false },   { "CHUNKS", true, true },
		{ "SEEN", true, true },   { "STARTS", true, true },  { "FIRST SEEN", false, true },
	};
	struct table table;

	if (servers->count == 0) {
		call_note(call, "no storage server has registered yet");
		return STATUS_DONE;
	}
	table_init(&table, columns, ARRAY_SIZE(columns));
	for (unsigned int i = 0; i < servers->count; i++)
		node_row(&table, &servers->items[i]);
	return table_finish(call, &table);
}

static int nodes_json(struct call *call, const struct servers *servers)
{
	int status = STATUS_DONE;

	for (unsigned int i = 0; i < servers->count; i++)
		status = status_worse(status, node_json(call, &servers->items[i]));
	return status;
}

int command_nodes(struct call *call)
{
	struct servers servers = { 0 };
	int status = call_session(call);
	int rc;

	if (status != STATUS_DONE)
		return status;
	rc = servers_load(call, &servers);
	if (rc < 0)
		return call_fail_last(call, NULL, rc);
	status = call->shell->preferences.json ? nodes_json(call, &servers)
					       : nodes_table(call, &servers);
	servers_done(&servers);
	return status;
}

/* ---- one of them ---- */

typedef int node_fn(struct call *call, const struct muster_node *node);

static int node_each(struct call *call, node_fn *act)
{
	const struct muster_node *node = NULL;
	struct servers servers = { 0 };
	int status = call_session(call);
	int rc;

	if (status != STATUS_DONE)
		return status;
	rc = servers_load(call, &servers);
	if (rc < 0)
		return call_fail_last(call, NULL, rc);
	status = servers_choose(call, &servers, call->arguments[0], &node);
	if (status == STATUS_DONE)
		status = act(call, node);
	servers_done(&servers);
	return status;
}

static cJSON *node_object(const struct muster_node *node)
{
	cJSON *object = cJSON_CreateObject();

	json_text(object, "node", node->name);
	id_add(object, "id", node->id);
	return object;
}

static int drain_report(struct call *call, const struct muster_node *node, bool on, uint64_t chunks)
{
	if (call->shell->preferences.json) {
		cJSON *object = node_object(node);

		cJSON_AddBoolToObject(object, "draining", on);
		json_number(object, "chunks", chunks);
		return call_json(call, object);
	}
	if (!call_confirms(call))
		return STATUS_DONE;
	name_print(stdout, node->name);
	if (on)
		printf(": nothing new goes there, %" PRIu64 " chunk%s to move elsewhere\n", chunks,
		       plural(chunks));
	else
		puts(": in service again");
	return STATUS_DONE;
}

static int drain_set(struct call *call, const struct muster_node *node, bool on)
{
	uint64_t chunks = 0;
	int rc = muster_drain(call->session, node->id, on, &chunks);

	return rc < 0 ? call_fail_last(call, node->name, rc) : drain_report(call, node, on, chunks);
}

static int drain_one(struct call *call, const struct muster_node *node)
{
	return drain_set(call, node, true);
}

int command_drain(struct call *call)
{
	return node_each(call, drain_one);
}

static int undrain_one(struct call *call, const struct muster_node *node)
{
	return drain_set(call, node, false);
}

int command_undrain(struct call *call)
{
	return node_each(call, undrain_one);
}

static int forget_one(struct call *call, const struct muster_node *node)
{
	int rc = muster_forget(call->session, node->id);

	if (rc < 0)
		return call_fail_last(call, node->name, rc);
	if (call->shell->preferences.json) {
		cJSON *object = node_object(node);

		cJSON_AddBoolToObject(object, "forgotten", true);
		return call_json(call, object);
	}
	if (call_confirms(call)) {
		fputs("forgot ", stdout);
		name_print(stdout, node->name);
		putchar('\n');
	}
	return STATUS_DONE;
}

int command_forget(struct call *call)
{
	return node_each(call, forget_one);
}

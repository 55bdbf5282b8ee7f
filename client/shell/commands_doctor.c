/* The command doctor: what discovery sees, and what mends it. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "doctor.h"
#include "error.h"
#include "fold.h"
#include "text.h"

enum { BEACON_PORT_USUAL = 3501, TEXT_MAX = 1024 };

static const char *const states[] = {
	[MUSTER_NODE_ONLINE] = "online",
	[MUSTER_NODE_SUSPECT] = "suspect",
	[MUSTER_NODE_OFFLINE] = "offline",
	[MUSTER_NODE_DRAINING] = "draining",
};

static const char *ip_format(uint32_t ip, char ret[INET_ADDRSTRLEN])
{
	struct in_addr address = { htonl(ip) };

	ret[0] = '\0';
	if (ip)
		inet_ntop(AF_INET, &address, ret, INET_ADDRSTRLEN);
	return ret;
}

static const char *state_of(const struct muster_node *node)
{
	return (size_t)node->state < ARRAY_SIZE(states) && states[node->state] ? states[node->state]
									       : "unknown";
}

/* ---- JSON ---- */

static void id_json(cJSON *object, const char *key, const uint8_t bytes[16])
{
	char text[ID_TEXT_MAX];
	struct id id;

	memcpy(id.bytes, bytes, sizeof(id.bytes));
	json_text(object, key, id_format(&id, text));
}

static cJSON *row_add(cJSON *array)
{
	cJSON *row = cJSON_CreateObject();

	cJSON_AddItemToArray(array, row);
	return row;
}

static void interfaces_json(const struct doctor *doctor, cJSON *object)
{
	cJSON *array = cJSON_AddArrayToObject(object, "interfaces");
	char text[INET_ADDRSTRLEN];

	for (unsigned int i = 0; i < doctor->ear_count; i++) {
		const struct doctor_ear *ear = &doctor->ears[i];
		cJSON *row = row_add(array);

		json_text(row, "name", ear->interface.name);
		json_text(row, "address", ip_format(ear->interface.ip, text));
		json_text(row, "broadcast", ip_format(ear->interface.broadcast, text));
		cJSON_AddBoolToObject(row, "up", ear->up);
		cJSON_AddBoolToObject(row, "loopback", ear->interface.loopback);
		cJSON_AddBoolToObject(row, "used", ear->used);
	}
}

/* null: none */
static void address_json(cJSON *row, const char *key, const char *address)
{
	if (*address)
		json_text(row, key, address);
	else
		json_null(row, key);
}

static void beacons_json(const struct doctor *doctor, cJSON *object)
{
	cJSON *array = cJSON_AddArrayToObject(object, "beacons");

	for (unsigned int i = 0; i < doctor->ear_count; i++) {
		const struct doctor_ear *ear = &doctor->ears[i];

		for (unsigned int k = 0; k < ear->count; k++) {
			cJSON *row = row_add(array);

			json_text(row, "interface", ear->interface.name);
			json_text(row, "cluster", ear->clusters[k].name);
			id_json(row, "cluster_id", ear->clusters[k].id);
			address_json(row, "nameserver", ear->clusters[k].nameserver);
			address_json(row, "storage", ear->clusters[k].storage);
		}
	}
}

static bool is_reached(const struct doctor *doctor)
{
	return doctor->connected == 0 && !doctor->info.degraded;
}

static int why_not(const struct doctor *doctor)
{
	return doctor->connected ? doctor->connected : -ERR_NO_NAMESERVER;
}

static void nameserver_json(const struct doctor *doctor, cJSON *object)
{
	cJSON *row = cJSON_AddObjectToObject(object, "nameserver");

	cJSON_AddBoolToObject(row, "reached", is_reached(doctor));
	cJSON_AddBoolToObject(row, "degraded", doctor->info.degraded);
	address_json(row, "storage", doctor->info.storage);
	json_text(row, "address", doctor->info.nameserver);
	json_text(row, "cluster", doctor->info.cluster);
	if (is_reached(doctor)) {
		json_number(row, "rtt_us", doctor->rtt_us);
		json_null(row, "error");
	} else {
		json_null(row, "rtt_us");
		json_text(row, "error", muster_error_name(why_not(doctor)));
	}
	json_number(row, "client_port", doctor->info.port);
}

static void way_json(cJSON *row, const char *key, const struct doctor_node *node, int result)
{
	if (node->asked)
		json_text(row, key, result == 0 ? "ok" : muster_error_name(result));
	else
		json_null(row, key);
}

static void nodes_json(const struct doctor *doctor, cJSON *object)
{
	cJSON *array = cJSON_AddArrayToObject(object, "nodes");

	for (unsigned int i = 0; i < doctor->node_count; i++) {
		const struct doctor_node *node = &doctor->nodes[i];
		cJSON *row = row_add(array);

		id_json(row, "id", node->node.id);
		json_text(row, "name", node->node.name);
		json_text(row, "address", node->node.address);
		json_text(row, "state", state_of(&node->node));
		way_json(row, "active", node, node->reach.active);
		way_json(row, "passive", node, node->reach.passive);
		json_number(row, "client_port", node->reach.port);
	}
}

static int report_json(const struct doctor *doctor)
{
	cJSON *object = cJSON_CreateObject();
	cJSON *array;

	cJSON_AddBoolToObject(object, "ok", doctor->problem_count == 0);
	json_number(object, "beacon_port", doctor->beacon_port);
	interfaces_json(doctor, object);
	beacons_json(doctor, object);
	nameserver_json(doctor, object);
	nodes_json(doctor, object);
	array = cJSON_AddArrayToObject(object, "problems");
	for (unsigned int i = 0; i < doctor->problem_count; i++) {
		cJSON *row = row_add(array);

		json_text(row, "what", doctor->problems[i].what);
		json_text(row, "mend", doctor->problems[i].mend);
	}
	return call_json(doctor->call, object);
}

/* ---- text ---- */

static void title_print(const struct doctor *doctor, const char *text)
{
	fputs("\n", stdout);
	if (doctor->call->shell->colour)
		printf("\033[1m%s\033[0m\n", text);
	else
		puts(text);
}

static const char *escaped(const char *text, char ret[TEXT_MAX])
{
	struct buffer buffer = { 0 };

	ret[0] = '\0';
	if (*text && name_escape(&buffer, text, strlen(text)) == 0)
		snprintf(ret, TEXT_MAX, "%.*s", (int)buffer.size, (const char *)buffer.data);
	buffer_done(&buffer);
	return ret;
}

static void heard_format(const struct doctor_ear *ear, char ret[TEXT_MAX])
{
	size_t used = 0;

	snprintf(ret, TEXT_MAX, "%s",
		 !ear->up             ? "down"
		 : !ear->interface.ip ? "no IPv4 address for broadcasts"
		 : !ear->used         ? "not used"
				      : "no beacon");
	for (unsigned int i = 0; i < ear->count && used < TEXT_MAX; i++) {
		char name[TEXT_MAX];
		int more = snprintf(ret + used, TEXT_MAX - used, "%scluster %s %s%s", i ? ", " : "",
				    escaped(ear->clusters[i].name, name),
				    *ear->clusters[i].nameserver
					    ? "at "
					    : "without a name server, storage server at ",
				    *ear->clusters[i].nameserver ? ear->clusters[i].nameserver
								 : ear->clusters[i].storage);

		used += more > 0 ? (size_t)more : 0;
	}
}

static void interfaces_print(const struct doctor *doctor)
{
	static const struct table_column columns[] = {
		{ .title = "INTERFACE" },
		{ .title = "ADDRESS" },
		{ .title = "BROADCAST", .optional = true },
		{ .title = "HEARS" },
	};
	const struct shell *shell = doctor->call->shell;
	struct table table;

	table_init(&table, columns, ARRAY_SIZE(columns));
	for (unsigned int i = 0; i < doctor->ear_count; i++) {
		const struct doctor_ear *ear = &doctor->ears[i];
		char ip[INET_ADDRSTRLEN], broadcast[INET_ADDRSTRLEN], heard[TEXT_MAX];

		heard_format(ear, heard);
		table_cell(&table, TONE_PLAIN, "%s", ear->interface.name);
		table_cell(&table, TONE_PLAIN, "%s", ip_format(ear->interface.ip, ip));
		table_cell(&table, TONE_PLAIN, "%s",
			   ip_format(ear->interface.broadcast, broadcast));
		table_cell(&table, ear->count ? TONE_GOOD : TONE_PLAIN, "%s", heard);
	}
	table_print(&table, stdout, shell->width, shell->colour);
}

static void nameserver_print(const struct doctor *doctor)
{
	const struct shell *shell = doctor->call->shell;
	char text[TEXT_MAX], name[TEXT_MAX];

	title_print(doctor, "Name server");
	if (is_reached(doctor))
		snprintf(text, sizeof(text), "%s, cluster %s, answers over TCP in %llu.%02llu ms",
			 doctor->info.nameserver, escaped(doctor->info.cluster, name),
			 (unsigned long long)(doctor->rtt_us / 1000),
			 (unsigned long long)(doctor->rtt_us % 1000 / 10));
	else if (doctor->info.degraded && !doctor_takes_over(doctor))
		snprintf(text, sizeof(text),
			 "none; storage server %s of cluster %s lets files be read meanwhile",
			 doctor->info.storage, escaped(doctor->info.cluster, name));
	else if (doctor_takes_over(doctor))
		snprintf(text, sizeof(text), "%s, taking over: it does not serve yet",
			 doctor_takes_over(doctor));
	else
		snprintf(text, sizeof(text), "none reached: %s",
			 muster_error_text(doctor->connected));
	tone_print(stdout,
		   !shell->colour       ? TONE_PLAIN
		   : is_reached(doctor) ? TONE_GOOD
					: TONE_BAD,
		   text);
	putchar('\n');
}

static void way_cell(struct table *table, const struct doctor_node *node, int result, bool needed)
{
	if (!node->asked)
		table_cell(table, TONE_PLAIN, "-");
	else if (result == 0)
		table_cell(table, TONE_GOOD, "ok");
	else
		table_cell(table, needed ? TONE_BAD : TONE_PLAIN, "%s", muster_error_text(result));
}

static void nodes_print(const struct doctor *doctor)
{
	static const struct table_column columns[] = {
		{ .title = "SERVER" },     { .title = "ADDRESS", .optional = true },
		{ .title = "STATE" },      { .title = "IT DIALS US" },
		{ .title = "WE DIAL IT" },
	};
	const struct shell *shell = doctor->call->shell;
	struct table table;

	title_print(doctor, "Storage servers");
	table_init(&table, columns, ARRAY_SIZE(columns));
	for (unsigned int i = 0; i < doctor->node_count; i++) {
		const struct doctor_node *node = &doctor->nodes[i];
		char name[TEXT_MAX];

		table_cell(&table, TONE_PLAIN, "%s", escaped(node->node.name, name));
		table_cell(&table, TONE_PLAIN, "%s", node->node.address);
		table_cell(&table,
			   node->node.state == MUSTER_NODE_ONLINE    ? TONE_GOOD
			   : node->node.state == MUSTER_NODE_OFFLINE ? TONE_BAD
								     : TONE_WARN,
			   "%s", state_of(&node->node));
		way_cell(&table, node, node->reach.active, doctor_needs_active(doctor));
		way_cell(&table, node, node->reach.passive, doctor_needs_passive(doctor));
	}
	table_print(&table, stdout, shell->width, shell->colour);
	if (doctor->info.port)
		printf("Port leased to us for their calls: TCP %u\n", doctor->info.port);
}

static void problem_print(const struct doctor *doctor, unsigned int i)
{
	const struct shell *shell = doctor->call->shell;
	enum tone tone = shell->colour ? TONE_BAD : TONE_PLAIN;
	struct fold fold = { .out = stdout, .width = shell->width };
	char text[TEXT_MAX];

	fold.indent = (unsigned int)printf("%u. ", i + 1);
	tone_begin(stdout, tone);
	fold_text(&fold, escaped(doctor->problems[i].what, text));
	tone_end(stdout, tone);
	fold_end(&fold);
	fold.extra = (unsigned int)printf("%*smend it: ", (int)fold.indent, "") - fold.indent;
	fold_text(&fold, escaped(doctor->problems[i].mend, text));
	fold_end(&fold);
}

static void problems_print(const struct doctor *doctor)
{
	bool colour = doctor->call->shell->colour;

	if (doctor->problem_count == 0) {
		putchar('\n');
		tone_print(stdout, colour ? TONE_GOOD : TONE_PLAIN, "All is well.");
		putchar('\n');
		return;
	}
	title_print(doctor, "Problems");
	for (unsigned int i = 0; i < doctor->problem_count; i++) {
		problem_print(doctor, i);
	}
}

static int report(const struct doctor *doctor)
{
	if (doctor->call->shell->preferences.json)
		return report_json(doctor);
	interfaces_print(doctor);
	nameserver_print(doctor);
	if (doctor->node_count)
		nodes_print(doctor);
	problems_print(doctor);
	return STATUS_DONE;
}

static int examine(struct doctor *doctor)
{
	int status;

	doctor_interfaces(doctor);
	if (call_confirms(doctor->call))
		call_note(doctor->call, "listening on UDP port %u ...", doctor->beacon_port);
	doctor_listen(doctor);
	if (!call_interrupted(doctor->call))
		doctor_connect(doctor);
	if (is_reached(doctor) && !call_interrupted(doctor->call))
		doctor_reach(doctor);
	if (call_interrupted(doctor->call))
		return call_fail(doctor->call, NULL, -ERR_CANCELLED, NULL);
	doctor_judge(doctor);
	status = report(doctor);
	if (!is_reached(doctor))
		return status_worse(status, STATUS_NO_NAMESERVER);
	return doctor->problem_count ? status_worse(status, STATUS_FAILED) : status;
}

int command_doctor(struct call *call)
{
	struct doctor *doctor = calloc(1, sizeof(*doctor));
	int status;

	if (!doctor)
		return call_fail(call, NULL, -ERR_NO_MEMORY, NULL);
	doctor->call = call;
	doctor->beacon_port = call->shell->preferences.beacon_port;
	if (doctor->beacon_port == 0)
		doctor->beacon_port = BEACON_PORT_USUAL;
	status = examine(doctor);
	doctor_done(doctor);
	free(doctor);
	return status;
}

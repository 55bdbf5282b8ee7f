#include <string.h>

#include "error.h"
#include "servers.h"

int servers_load(struct call *call, struct servers *ret)
{
	int count = muster_nodes(call->session, &ret->items);

	ret->count = count < 0 ? 0 : (unsigned int)count;
	if (count < 0)
		ret->items = NULL;
	return count < 0 ? count : 0;
}

void servers_done(struct servers *servers)
{
	if (servers->items)
		muster_nodes_free(servers->items);
	memset(servers, 0, sizeof(*servers));
}

unsigned int servers_width(const struct servers *servers)
{
	unsigned int widest = 0;

	for (unsigned int i = 0; i < servers->count; i++) {
		char name[64];
		unsigned int width = name_width(server_name(servers, servers->items[i].id, name));

		widest = width > widest ? width : widest;
	}
	return widest;
}

const struct muster_node *servers_find(const struct servers *servers, const uint8_t id[16])
{
	for (unsigned int i = 0; i < servers->count; i++) {
		if (memcmp(servers->items[i].id, id, ID_SIZE) == 0)
			return &servers->items[i];
	}
	return NULL;
}

const char *server_id(const uint8_t id[16], char ret[ID_TEXT_MAX])
{
	struct id value;

	memcpy(value.bytes, id, ID_SIZE);
	return id_format(&value, ret);
}

const char *server_name(const struct servers *servers, const uint8_t id[16], char ret[64])
{
	const struct muster_node *node = servers_find(servers, id);

	if (!node || !node->name[0])
		return server_id(id, ret);
	memcpy(ret, node->name, strlen(node->name) + 1);
	return ret;
}

static bool is_name(const struct muster_node *node, const char *text)
{
	return strcmp(node->name, text) == 0;
}

static bool is_id(const struct muster_node *node, const char *text)
{
	char id[ID_TEXT_MAX];
	size_t size = strlen(text);

	return size > 0 && strncasecmp(server_id(node->id, id), text, size) == 0;
}

/* How many fit; *ret is one of them. */
static unsigned int servers_match(const struct servers *servers, const char *text,
				  bool (*fits)(const struct muster_node *node, const char *text),
				  const struct muster_node **ret)
{
	unsigned int found = 0;

	for (unsigned int i = 0; i < servers->count; i++) {
		if (fits(&servers->items[i], text)) {
			*ret = &servers->items[i];
			found++;
		}
	}
	return found;
}

int servers_choose(struct call *call, const struct servers *servers, const char *text,
		   const struct muster_node **ret)
{
	unsigned int found = servers_match(servers, text, is_name, ret);

	if (found > 1)
		return call_fail_text(
			call, text, -ERR_BAD_NAME,
			"several servers have this name (give the beginning of an id)");
	if (found == 0)
		found = servers_match(servers, text, is_id, ret);
	if (found > 1)
		return call_fail_text(call, text, -ERR_BAD_NAME,
				      "the ids of several servers begin so (give more of it)");
	if (found == 0)
		return call_fail_text(call, text, -ERR_NOT_FOUND,
				      "no such storage server (`nodes` lists them)");
	return STATUS_DONE;
}

const char *server_state(const struct muster_node *node)
{
	switch (node->state) {
	case MUSTER_NODE_ONLINE: return "online";
	case MUSTER_NODE_SUSPECT: return "suspect";
	case MUSTER_NODE_OFFLINE: return "offline";
	case MUSTER_NODE_DRAINING: return "draining";
	}
	return "unknown";
}

enum tone server_tone(const struct muster_node *node)
{
	if (node->state == MUSTER_NODE_ONLINE && !node->disk_failed)
		return TONE_GOOD;
	return node->state == MUSTER_NODE_OFFLINE || node->disk_failed ? TONE_BAD : TONE_WARN;
}

/* Commands that show names: tree, stat, du. */
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "name_columns.h"
#include "names.h"
#include "remote_walk.h"
#include "servers.h"

/* A path has no more components than half its bytes. */
enum { HOLDERS_MAX = 64, DEPTH_MAX = REMOTE_PATH_MAX / 2 };

/* ---- tree ---- */

struct branches {
	struct call *call;
	struct remote_walk walk;
	bool utf8;
	bool last[DEPTH_MAX + 1]; /* per level: nothing comes after this one */
	uint64_t files;
	uint64_t directories;
};

static void branch_print(const struct branches *branches, const struct muster_entry *entry)
{
	static const char *const lines[2][4] = {
		{ "|   ", "    ", "|-- ", "`-- " },
		{ "│   ", "    ", "├── ", "└── " },
	};
	const char *const *line = lines[branches->utf8];
	unsigned int depth = branches->walk.depth;

	for (unsigned int i = 1; i < depth; i++)
		fputs(line[branches->last[i]], stdout);
	fputs(line[2 + branches->last[depth]], stdout);
	name_columns_print(entry->name, entry->type == MUSTER_DIRECTORY,
			   branches->call->shell->colour);
	putchar('\n');
}

static int branch_show(struct branches *branches, const struct muster_entry *entry)
{
	struct remote_walk *walk = &branches->walk;

	branches->last[walk->depth] = walk->last;
	branches->files += entry->type == MUSTER_FILE;
	branches->directories += entry->type == MUSTER_DIRECTORY;
	if (branches->call->shell->preferences.json)
		return call_json(branches->call, entry_object(walk->path, entry));
	branch_print(branches, entry);
	return STATUS_DONE;
}

static int branches_show(struct branches *branches, const char *path)
{
	struct call *call = branches->call;
	struct muster_entry entry;
	int status = STATUS_DONE;
	int rc = remote_walk_start(&branches->walk, call->session, path);

	while (rc == 0 && status == STATUS_DONE && !call_interrupted(call) && !call_unheard(call)) {
		rc = remote_walk_next(&branches->walk, &entry);
		if (rc != 1)
			break;
		rc = 0;
		status = branch_show(branches, &entry);
	}
	if (rc == 0 && call_interrupted(call))
		rc = -ERR_CANCELLED;
	if (rc < 0)
		status = call_fail_last(call, branches->walk.path, rc);
	remote_walk_done(&branches->walk);
	return status;
}

static int tree_run(struct branches *branches, const char *path)
{
	struct call *call = branches->call;
	int status;

	branches->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	if (!call->shell->preferences.json) {
		name_print(stdout, path);
		putchar('\n');
	}
	status = branches_show(branches, path);
	if (call_confirms(call) && !call_unheard(call))
		printf("%llu director%s, %llu file%s\n", (unsigned long long)branches->directories,
		       branches->directories == 1 ? "y" : "ies",
		       (unsigned long long)branches->files, plural(branches->files));
	return status;
}

static int tree_one(struct call *call, const char *path)
{
	struct branches *branches;
	struct muster_entry entry;
	int rc = muster_stat(call->session, path, &entry);
	int status;

	if (rc < 0)
		return call_fail_last(call, path, rc);
	if (entry.type != MUSTER_DIRECTORY)
		return call_fail(call, path, -ERR_NOT_DIR, NULL);
	branches = calloc(1, sizeof(*branches));
	if (!branches)
		return call_fail(call, path, -ERR_NO_MEMORY, NULL);
	branches->call = call;
	status = tree_run(branches, path);
	free(branches);
	return status;
}

int command_tree(struct call *call)
{
	call_default_here(call);
	return call_each_path(call, 0, tree_one);
}

/* ---- stat ---- */

struct holders {
	struct muster_holder items[HOLDERS_MAX];
	unsigned int count;
	struct servers servers;
};

static void holder_print(const struct holders *holders, unsigned int i,
			 const struct muster_entry *entry)
{
	const struct muster_holder *holder = &holders->items[i];
	const struct muster_node *node = servers_find(&holders->servers, holder->node);
	char name[64];

	fputs(i ? "          " : "holders   ", stdout);
	name_print(stdout, server_name(&holders->servers, holder->node, name));
	if (node)
		printf(" at %s", node->address);
	if (holder->chunks < entry->chunks)
		printf(" (%u of %u chunks)", holder->chunks, entry->chunks);
	putchar('\n');
}

static void size_print(uint64_t bytes)
{
	char size[SIZE_TEXT_MAX];

	printf("size      %llu byte%s", (unsigned long long)bytes, plural(bytes));
	if (bytes >= 1024)
		printf(" (%s)", size_format(bytes, size));
	putchar('\n');
}

static void file_print(const struct muster_entry *entry, const struct holders *holders)
{
	char digest[DIGEST_TEXT_MAX], copies[COPIES_TEXT_MAX];

	size_print(entry->size);
	printf("version   %llu\n", (unsigned long long)entry->version);
	printf("digest    %s\n",
	       entry->has_digest ? digest_format(entry->digest, digest) : "unknown");
	printf("copies    %s\n", copies_format(entry->copies, entry->copies_wanted, copies));
	printf("chunks    %u\n", entry->chunks);
	for (unsigned int i = 0; i < holders->count; i++)
		holder_print(holders, i, entry);
}

static void stat_print(const char *path, const struct muster_entry *entry,
		       const struct holders *holders)
{
	char time[TIME_TEXT_MAX];

	fputs("path      ", stdout);
	name_print(stdout, path);
	printf("\ntype      %s\n", entry->type == MUSTER_DIRECTORY ? "directory" : "file");
	if (entry->type == MUSTER_FILE)
		file_print(entry, holders);
	else
		printf("copies    %u for future files\n", entry->copies_wanted);
	printf("created   %s\n", time_format(entry->created_ms, time));
	printf("modified  %s\n", time_format(entry->modified_ms, time));
}

static int stat_json(struct call *call, const char *path, const struct muster_entry *entry,
		     const struct holders *holders)
{
	cJSON *object = entry_object(path, entry);
	cJSON *list;

	json_number(object, "created", entry->created_ms);
	json_number(object, "copies_wanted", entry->copies_wanted);
	json_number(object, "chunks", entry->chunks);
	list = cJSON_AddArrayToObject(object, "holders");
	for (unsigned int i = 0; i < holders->count; i++) {
		const uint8_t *id = holders->items[i].node;
		const struct muster_node *node = servers_find(&holders->servers, id);
		cJSON *row = cJSON_CreateObject();
		char name[64];
		char text[ID_TEXT_MAX];

		json_text(row, "node", server_name(&holders->servers, id, name));
		json_text(row, "id", server_id(id, text));
		json_text(row, "address", node ? node->address : "");
		json_number(row, "chunks", holders->items[i].chunks);
		cJSON_AddItemToArray(list, row);
	}
	return call_json(call, object);
}

static int stat_one(struct call *call, const char *path)
{
	struct holders holders = { 0 };
	struct muster_entry entry;
	int rc = muster_stat_holders(call->session, path, &entry, holders.items, HOLDERS_MAX);
	int status = STATUS_DONE;

	if (rc < 0)
		return call_fail_last(call, path, rc);
	holders.count = rc < HOLDERS_MAX ? (unsigned int)rc : HOLDERS_MAX;
	rc = holders.count ? servers_load(call, &holders.servers) : 0;
	if (rc < 0)
		return call_fail_last(call, path, rc);
	if (call->shell->preferences.json) {
		status = stat_json(call, path, &entry, &holders);
	} else {
		if (call->seen++)
			putchar('\n');
		stat_print(path, &entry, &holders);
	}
	servers_done(&holders.servers);
	return status;
}

int command_stat(struct call *call)
{
	return call_each_path(call, 0, stat_one);
}

/* ---- du ---- */

struct usage {
	uint64_t bytes;
	uint64_t files;
	uint64_t directories;
};

static int usage_sum(struct call *call, struct remote_walk *walk, struct usage *usage)
{
	struct muster_entry entry;
	int rc;

	while ((rc = remote_walk_next(walk, &entry)) == 1) {
		usage->files += entry.type == MUSTER_FILE;
		usage->directories += entry.type == MUSTER_DIRECTORY;
		usage->bytes += entry.size;
		if (call_interrupted(call))
			return -ERR_CANCELLED;
	}
	return rc;
}

static int usage_add(struct call *call, const char *path, struct usage *usage)
{
	struct remote_walk *walk = malloc(sizeof(*walk));
	int rc;

	if (!walk)
		return -ERR_NO_MEMORY;
	rc = remote_walk_start(walk, call->session, path);
	if (rc == 0)
		rc = usage_sum(call, walk, usage);
	remote_walk_done(walk);
	free(walk);
	return rc;
}

static int du_print(struct call *call, const char *path, const struct usage *usage)
{
	char size[SIZE_TEXT_MAX];

	if (call->shell->preferences.json) {
		cJSON *object = cJSON_CreateObject();

		json_text(object, "path", path);
		json_number(object, "bytes", usage->bytes);
		json_number(object, "files", usage->files);
		json_number(object, "directories", usage->directories);
		return call_json(call, object);
	}
	printf("%10s  %llu file%s  ", size_format(usage->bytes, size),
	       (unsigned long long)usage->files, plural(usage->files));
	name_print(stdout, path);
	putchar('\n');
	return STATUS_DONE;
}

static int du_one(struct call *call, const char *path)
{
	struct usage usage = { 0 };
	struct muster_entry entry;
	int rc = muster_stat(call->session, path, &entry);

	if (rc == 0 && entry.type == MUSTER_DIRECTORY)
		rc = usage_add(call, path, &usage);
	else if (rc == 0)
		usage = (struct usage){ .bytes = entry.size, .files = 1 };
	return rc < 0 ? call_fail_last(call, path, rc) : du_print(call, path, &usage);
}

int command_du(struct call *call)
{
	call_default_here(call);
	return call_each_path(call, 0, du_one);
}

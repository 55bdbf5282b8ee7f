/* Commands that show names: ls, tree, stat, du. */
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "error.h"
#include "name_columns.h"
#include "text.h"

enum { HOLDERS_MAX = 64, DEPTH_MAX = 128 };

static const char *digest_format(const struct muster_entry *entry, char ret[5 + ID_TEXT_MAX])
{
	struct id id;

	memcpy(id.bytes, entry->digest, sizeof(entry->digest));
	memcpy(ret, "xxh3:", 5);
	id_format(&id, ret + 5);
	return ret;
}

static cJSON *entry_object(const char *path, const struct muster_entry *entry)
{
	cJSON *object = cJSON_CreateObject();
	char digest[5 + ID_TEXT_MAX];

	json_text(object, "path", path);
	json_text(object, "name", remote_name(path));
	json_text(object, "type", entry->type == MUSTER_DIRECTORY ? "dir" : "file");
	json_number(object, "size", entry->size);
	json_number(object, "modified", entry->modified_ms);
	json_number(object, "copies", entry->copies);
	json_number(object, "version", entry->version);
	if (entry->has_digest)
		json_text(object, "digest", digest_format(entry, digest));
	else
		json_null(object, "digest");
	return object;
}

/* ---- ls ---- */

static void long_print(const struct shell *shell, const struct muster_entry *entry,
		       const char *name)
{
	bool file = entry->type == MUSTER_FILE;
	char copies[32] = "-";
	char size[SIZE_TEXT_MAX] = "-";
	char time[TIME_TEXT_MAX];

	if (file) {
		snprintf(copies, sizeof(copies), "%u/%u", entry->copies, entry->copies_wanted);
		size_format(entry->size, size);
	}
	printf("%3s %10s  %s  ", copies, size, time_format(entry->modified_ms, time));
	name_columns_print(name, !file, shell->colour);
	putchar('\n');
}

struct listing {
	struct call *call;
	struct name_columns columns;
	const char *path;
	bool whole_path; /* a file that was asked for by itself */
};

static int entry_show(struct listing *listing, const struct muster_entry *entry)
{
	struct call *call = listing->call;
	const char *name = listing->whole_path ? listing->path : entry->name;
	char path[REMOTE_PATH_MAX];

	if (call->shell->preferences.json) {
		if (listing->whole_path)
			return call_json(call, entry_object(listing->path, entry));
		if (remote_join(listing->path, entry->name, path) < 0)
			return call_fail(call, entry->name, -ERR_NAME_TOO_LONG, NULL);
		return call_json(call, entry_object(path, entry));
	}
	if (call->options[CALL_LONG])
		long_print(call->shell, entry, name);
	else
		name_columns_add(&listing->columns, name, entry->type == MUSTER_DIRECTORY);
	return STATUS_DONE;
}

/* Names of directories, for later. */
struct names {
	char **items;
	unsigned int count;
	unsigned int room;
};

static int names_add(struct names *names, const char *name)
{
	if (names->count == names->room) {
		unsigned int room = names->room ? names->room * 2 : 16;
		char **items = reallocarray(names->items, room, sizeof(*items));

		if (!items)
			return -ERR_NO_MEMORY;
		names->items = items;
		names->room = room;
	}
	names->items[names->count] = strdup(name);
	return names->items[names->count++] ? 0 : -ERR_NO_MEMORY;
}

static void names_done(struct names *names)
{
	for (unsigned int i = 0; i < names->count; i++)
		free(names->items[i]);
	free(names->items);
}

/* Shows one directory; with -R collects those in it. */
static int directory_show(struct listing *listing, struct names *directories)
{
	struct call *call = listing->call;
	struct muster_entry entry;
	struct muster_list *list;
	int status = STATUS_DONE;
	int rc = muster_list_open(call->session, listing->path, &list);

	if (rc < 0)
		return call_fail_last(call, listing->path, rc);
	while (status == STATUS_DONE && !call_unheard(call)) {
		rc = muster_list_next(list, &entry);
		if (rc <= 0)
			break;
		status = entry_show(listing, &entry);
		if (call->options[CALL_DEEP] && entry.type == MUSTER_DIRECTORY)
			rc = names_add(directories, entry.name);
		if (rc < 0)
			break;
	}
	muster_list_close(list);
	name_columns_flush(&listing->columns);
	return rc < 0 ? call_fail_last(call, listing->path, rc) : status;
}

static void heading_print(const struct call *call, const char *path, bool first)
{
	if (call->shell->preferences.json)
		return;
	if (!first)
		putchar('\n');
	name_print(stdout, path);
	puts(":");
}

static int directory_ls(struct listing *listing, bool heading, bool first)
{
	struct names below = { 0 };
	const char *path = listing->path;
	char child[REMOTE_PATH_MAX];
	int status;

	if (heading)
		heading_print(listing->call, path, first);
	status = directory_show(listing, &below);
	for (unsigned int i = 0; i < below.count && status == STATUS_DONE; i++) {
		if (call_interrupted(listing->call) || call_unheard(listing->call))
			break;
		if (remote_join(path, below.items[i], child) < 0)
			continue;
		listing->path = child;
		status = directory_ls(listing, true, false);
	}
	listing->path = path;
	names_done(&below);
	return status;
}

static int ls_one(struct call *call, const char *path)
{
	bool first = call->seen++ == 0;
	struct listing listing = { .call = call, .path = path };
	struct muster_entry entry;
	int rc = muster_stat(call->session, path, &entry);
	int status;

	if (rc < 0)
		return call_fail_last(call, path, rc);
	name_columns_init(&listing.columns, call->shell->width, call->shell->colour);
	if (entry.type == MUSTER_FILE) {
		listing.whole_path = true;
		status = entry_show(&listing, &entry);
		name_columns_flush(&listing.columns);
	} else {
		status = directory_ls(&listing, call->count > 1 || call->options[CALL_DEEP], first);
	}
	name_columns_done(&listing.columns);
	return status;
}

/* Without arguments: the current directory. */
static void default_here(struct call *call)
{
	static char dot[] = ".";
	static char *here[] = { dot, NULL };

	if (call->count == 0) {
		call->arguments = here;
		call->count = 1;
	}
}

int command_ls(struct call *call)
{
	default_here(call);
	return call_each_path(call, 0, ls_one);
}

/* ---- tree ---- */

struct branches {
	struct call *call;
	bool utf8;
	bool last[DEPTH_MAX + 1]; /* per level: nothing comes after this one */
	unsigned int depth;
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

	for (unsigned int i = 0; i < branches->depth; i++)
		fputs(line[branches->last[i]], stdout);
	fputs(line[2 + branches->last[branches->depth]], stdout);
	name_columns_print(entry->name, entry->type == MUSTER_DIRECTORY,
			   branches->call->shell->colour);
	putchar('\n');
}

static int branches_show(struct branches *branches, const char *path);

static int branch_show(struct branches *branches, const char *parent,
		       const struct muster_entry *entry)
{
	char path[REMOTE_PATH_MAX];
	int status = STATUS_DONE;

	if (remote_join(parent, entry->name, path) < 0)
		return call_fail(branches->call, entry->name, -ERR_NAME_TOO_LONG, NULL);
	if (branches->call->shell->preferences.json)
		status = call_json(branches->call, entry_object(path, entry));
	else
		branch_print(branches, entry);
	if (entry->type == MUSTER_FILE) {
		branches->files++;
		return status;
	}
	branches->directories++;
	if (branches->depth == DEPTH_MAX)
		return call_fail(branches->call, path, -ERR_NAME_TOO_LONG, "too deep");
	branches->depth++;
	status = status_worse(status, branches_show(branches, path));
	branches->depth--;
	return status;
}

/* One entry ahead, because a branch has to know whether it is the last. */
static int branches_show(struct branches *branches, const char *path)
{
	struct call *call = branches->call;
	struct muster_entry entries[2];
	struct muster_list *list;
	unsigned int now = 0;
	int status = STATUS_DONE;
	int rc = muster_list_open(call->session, path, &list);

	if (rc < 0)
		return call_fail_last(call, path, rc);
	rc = muster_list_next(list, &entries[now]);
	while (rc == 1 && status == STATUS_DONE && !call_interrupted(call) && !call_unheard(call)) {
		rc = muster_list_next(list, &entries[!now]);
		if (rc < 0)
			break;
		branches->last[branches->depth] = rc == 0;
		status = branch_show(branches, path, &entries[now]);
		now = !now;
	}
	if (rc < 0)
		status = call_fail_last(call, path, rc);
	muster_list_close(list);
	return status;
}

static int tree_one(struct call *call, const char *path)
{
	struct branches branches = { .call = call };
	struct muster_entry entry;
	int rc = muster_stat(call->session, path, &entry);
	int status;

	if (rc < 0)
		return call_fail_last(call, path, rc);
	if (entry.type != MUSTER_DIRECTORY)
		return call_fail(call, path, -ERR_NOT_DIR, NULL);
	branches.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	if (!call->shell->preferences.json) {
		name_print(stdout, path);
		putchar('\n');
	}
	status = branches_show(&branches, path);
	if (call_confirms(call))
		printf("%llu director%s, %llu file%s\n", (unsigned long long)branches.directories,
		       branches.directories == 1 ? "y" : "ies", (unsigned long long)branches.files,
		       plural(branches.files));
	return status;
}

int command_tree(struct call *call)
{
	default_here(call);
	return call_each_path(call, 0, tree_one);
}

/* ---- stat ---- */

struct holders {
	struct muster_holder items[HOLDERS_MAX];
	unsigned int count;
	struct muster_node *nodes;
	unsigned int node_count;
};

static const struct muster_node *node_find(const struct holders *holders, const uint8_t *id)
{
	for (unsigned int i = 0; i < holders->node_count; i++) {
		if (memcmp(holders->nodes[i].id, id, ID_SIZE) == 0)
			return &holders->nodes[i];
	}
	return NULL;
}

static const char *holder_id(const struct muster_holder *holder, char ret[ID_TEXT_MAX])
{
	struct id id;

	memcpy(id.bytes, holder->node, ID_SIZE);
	return id_format(&id, ret);
}

static void holder_print(const struct holders *holders, unsigned int i,
			 const struct muster_entry *entry)
{
	const struct muster_holder *holder = &holders->items[i];
	const struct muster_node *node = node_find(holders, holder->node);
	char id[ID_TEXT_MAX];

	fputs(i ? "          " : "holders   ", stdout);
	name_print(stdout, node && node->name[0] ? node->name : holder_id(holder, id));
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
	char digest[5 + ID_TEXT_MAX];

	size_print(entry->size);
	printf("version   %llu\n", (unsigned long long)entry->version);
	printf("digest    %s\n", entry->has_digest ? digest_format(entry, digest) : "unknown");
	printf("copies    %u/%u\n", entry->copies, entry->copies_wanted);
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
		const struct muster_node *node = node_find(holders, holders->items[i].node);
		cJSON *row = cJSON_CreateObject();
		char id[ID_TEXT_MAX];

		json_text(row, "node", node ? node->name : "");
		json_text(row, "id", holder_id(&holders->items[i], id));
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
	rc = holders.count ? muster_nodes(call->session, &holders.nodes) : 0;
	if (rc < 0)
		return call_fail_last(call, path, rc);
	holders.node_count = (unsigned int)rc;
	if (call->shell->preferences.json) {
		status = stat_json(call, path, &entry, &holders);
	} else {
		if (call->seen++)
			putchar('\n');
		stat_print(path, &entry, &holders);
	}
	if (holders.nodes)
		muster_nodes_free(holders.nodes);
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

static int usage_add(struct call *call, const char *path, struct usage *usage)
{
	char child[REMOTE_PATH_MAX];
	struct muster_entry entry;
	struct muster_list *list;
	int rc = muster_list_open(call->session, path, &list);

	if (rc < 0)
		return rc;
	while ((rc = muster_list_next(list, &entry)) == 1) {
		usage->files += entry.type == MUSTER_FILE;
		usage->bytes += entry.size;
		if (entry.type == MUSTER_FILE)
			continue;
		usage->directories++;
		rc = remote_join(path, entry.name, child);
		if (rc == 0)
			rc = usage_add(call, child, usage);
		if (rc < 0)
			break;
	}
	muster_list_close(list);
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
	default_here(call);
	return call_each_path(call, 0, du_one);
}

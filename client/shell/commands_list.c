/* ls. */
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "holdings.h"
#include "name_columns.h"
#include "names.h"
#include "remote_walk.h"

struct listing {
	struct call *call;
	struct name_columns columns;
	struct servers servers; /* --copies */
	unsigned int names;     /* columns of the longest of their names */
	const char *path;
	bool whole_path;  /* a file that was asked for by itself */
	bool directories; /* some were among the names */
};

static void long_print(const struct shell *shell, const struct muster_entry *entry,
		       const char *name)
{
	bool file = entry->type == MUSTER_FILE;
	char copies[COPIES_TEXT_MAX] = "-";
	char size[SIZE_TEXT_MAX] = "-";
	char time[TIME_TEXT_MAX];

	if (file) {
		copies_format(entry->copies, entry->copies_wanted, copies);
		size_format(entry->size, size);
	}
	printf("%3s %10s  %s  ", copies, size, time_format(entry->modified_ms, time));
	name_columns_print(name, !file, shell->colour);
	putchar('\n');
}

/* ---- copies ---- */

static void holding_print(const struct listing *listing, const struct holding *holding)
{
	bool colour = listing->call->shell->colour;
	char digest[DIGEST_TEXT_MAX];
	char name[64];
	unsigned int columns;

	fputs("    ", stdout);
	columns = name_print(stdout, server_name(&listing->servers, holding->node, name));
	printf("%*s  %-*s  ", columns < listing->names ? (int)(listing->names - columns) : 0, "",
	       DIGEST_TEXT_MAX - 1,
	       holding->has_digest ? digest_format(holding->digest, digest) : "-");
	tone_print(stdout, colour ? copy_state_tone(holding->state) : TONE_PLAIN,
		   copy_state_word(holding->state));
	putchar('\n');
}

static void holdings_json(const struct listing *listing, const struct holdings *holdings,
			  cJSON *object)
{
	cJSON *list = cJSON_AddArrayToObject(object, "holders");

	for (unsigned int i = 0; i < holdings->count; i++) {
		const struct holding *holding = &holdings->items[i];
		const struct muster_node *node = servers_find(&listing->servers, holding->node);
		cJSON *row = cJSON_CreateObject();
		char name[64];

		json_text(row, "node", server_name(&listing->servers, holding->node, name));
		json_text(row, "address", node ? node->address : "");
		json_digest(row, holding->has_digest, holding->digest);
		json_text(row, "state", copy_state_word(holding->state));
		cJSON_AddItemToArray(list, row);
	}
}

/* ---- entries ---- */

static void entry_print(struct listing *listing, const struct muster_entry *entry,
			const struct holdings *holdings)
{
	const struct call *call = listing->call;
	bool directory = entry->type == MUSTER_DIRECTORY;
	const char *name = listing->whole_path ? listing->path : entry->name;

	if (call->options[CALL_LONG]) {
		long_print(call->shell, entry, name);
	} else if (holdings) {
		name_columns_print(name, directory, call->shell->colour);
		putchar('\n');
	} else {
		name_columns_add(&listing->columns, name, directory);
	}
	for (unsigned int i = 0; holdings && i < holdings->count; i++)
		holding_print(listing, &holdings->items[i]);
}

static int entry_json(struct listing *listing, const char *path, const struct muster_entry *entry,
		      const struct holdings *holdings)
{
	cJSON *object = entry_object(path, entry);

	if (holdings)
		holdings_json(listing, holdings, object);
	return call_json(listing->call, object);
}

static int entry_show(struct listing *listing, const struct muster_entry *entry)
{
	struct call *call = listing->call;
	struct holdings read = { .count = 0 };
	struct holdings *holdings = call->options[CALL_HOLDERS] ? &read : NULL;
	char path[REMOTE_PATH_MAX];
	int rc = 0;

	if (listing->whole_path)
		memcpy(path, listing->path, strlen(listing->path) + 1);
	else
		rc = remote_join(listing->path, entry->name, path);
	if (rc < 0)
		return call_fail(call, entry->name, rc, NULL);
	if (holdings && entry->type == MUSTER_FILE && entry->chunks > 0)
		rc = holdings_read(call, path, entry, holdings);
	if (rc < 0)
		return call_fail_last(call, path, rc);
	if (call->shell->preferences.json)
		return entry_json(listing, path, entry, holdings);
	entry_print(listing, entry, holdings);
	return STATUS_DONE;
}

/* ---- directories ---- */

static int directory_show(struct listing *listing)
{
	struct call *call = listing->call;
	struct muster_entry entry;
	struct muster_list *list;
	int status = STATUS_DONE;
	int rc = muster_list_open(call->session, listing->path, &list);

	if (rc < 0)
		return call_fail_last(call, listing->path, rc);
	listing->directories = false;
	while (!call_interrupted(call) && !call_unheard(call)) {
		rc = muster_list_next(list, &entry);
		if (rc <= 0)
			break;
		status = status_worse(status, entry_show(listing, &entry));
		listing->directories |= entry.type == MUSTER_DIRECTORY;
	}
	if (rc > 0 && call_interrupted(call))
		rc = -ERR_CANCELLED;
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

/* All directories below, each listed by itself. One that has no directory is gone through once. */
static int deeper_show(struct listing *listing, struct remote_walk *walk)
{
	struct call *call = listing->call;
	struct muster_entry entry;
	int status = STATUS_DONE;
	int rc = remote_walk_start(walk, call->session, listing->path);

	listing->path = walk->path;
	while (rc == 0 && !call_interrupted(call) && !call_unheard(call)) {
		rc = remote_walk_next(walk, &entry);
		if (rc != 1)
			break;
		rc = 0;
		if (entry.type != MUSTER_DIRECTORY)
			continue;
		heading_print(call, walk->path, false);
		status = status_worse(status, directory_show(listing));
		if (!listing->directories)
			remote_walk_skip(walk);
	}
	if (rc == 0 && call_interrupted(call) && status == STATUS_DONE)
		rc = -ERR_CANCELLED;
	if (rc < 0)
		status = status_worse(status, call_fail_last(call, walk->path, rc));
	remote_walk_done(walk);
	return status;
}

static int directory_ls(struct listing *listing, bool first)
{
	struct call *call = listing->call;
	struct remote_walk *walk;
	int status;

	if (call->count > 1 || call->options[CALL_DEEP])
		heading_print(call, listing->path, first);
	status = directory_show(listing);
	if (!call->options[CALL_DEEP] || !listing->directories)
		return status;
	walk = malloc(sizeof(*walk));
	if (!walk)
		return call_fail(call, listing->path, -ERR_NO_MEMORY, NULL);
	status = status_worse(status, deeper_show(listing, walk));
	free(walk);
	return status;
}

static int ls_found(struct listing *listing, const struct muster_entry *entry, bool first)
{
	int status;

	if (entry->type == MUSTER_DIRECTORY)
		return directory_ls(listing, first);
	listing->whole_path = true;
	status = entry_show(listing, entry);
	name_columns_flush(&listing->columns);
	return status;
}

static int ls_one(struct call *call, const char *path)
{
	bool first = call->seen++ == 0;
	struct listing listing = { .call = call, .path = path };
	struct muster_entry entry;
	int rc = muster_stat(call->session, path, &entry);
	int status;

	if (rc == 0 && call->options[CALL_HOLDERS])
		rc = servers_load(call, &listing.servers);
	if (rc < 0)
		return call_fail_last(call, path, rc);
	listing.names = servers_width(&listing.servers);
	name_columns_init(&listing.columns, call->shell->width, call->shell->colour);
	status = ls_found(&listing, &entry, first);
	name_columns_done(&listing.columns);
	servers_done(&listing.servers);
	return status;
}

int command_ls(struct call *call)
{
	call_default_here(call);
	return call_each_path(call, 0, ls_one);
}

/* Commands that change names: mkdir, rmdir, create, rm, copies; and cd, pwd. */
#include <string.h>

#include "command.h"
#include "error.h"
#include "state.h"
#include "text.h"

static int mkdir_one(struct call *call, const char *path)
{
	int rc =
		muster_mkdir(call->session, path, call->options[CALL_PARENTS] ? MUSTER_PARENTS : 0);

	return rc < 0 ? call_fail_last(call, path, rc) : STATUS_DONE;
}

int command_mkdir(struct call *call)
{
	return call_each_path(call, 0, mkdir_one);
}

static int rmdir_one(struct call *call, const char *path)
{
	int rc = muster_rmdir(call->session, path);

	return rc < 0 ? call_fail_last(call, path, rc) : STATUS_DONE;
}

int command_rmdir(struct call *call)
{
	return call_each_path(call, 0, rmdir_one);
}

static int create_one(struct call *call, const char *path)
{
	int rc = muster_create(call->session, path);

	return rc < 0 ? call_fail_last(call, path, rc) : STATUS_DONE;
}

int command_create(struct call *call)
{
	return call_each_path(call, 0, create_one);
}

/* 1: a directory that is not empty; 0: anything else; or an error. */
static int holds_names(struct call *call, const char *path)
{
	struct muster_entry entry;
	struct muster_list *list;
	int rc = muster_stat(call->session, path, &entry);

	if (rc < 0 || entry.type != MUSTER_DIRECTORY)
		return rc;
	rc = muster_list_open(call->session, path, &list);
	if (rc < 0)
		return rc;
	rc = muster_list_next(list, &entry);
	muster_list_close(list);
	return rc;
}

static int rm_report(struct call *call, const char *path, const struct muster_removed *removed)
{
	char size[SIZE_TEXT_MAX];

	if (call->shell->preferences.json) {
		cJSON *object = cJSON_CreateObject();

		json_text(object, "path", path);
		json_number(object, "removed", removed->count);
		json_number(object, "bytes", removed->bytes);
		return call_json(call, object);
	}
	if (call_confirms(call)) {
		fputs("removed ", stdout);
		name_print(stdout, path);
		printf(": %llu %s, %s\n", (unsigned long long)removed->count,
		       removed->count == 1 ? "entry" : "entries",
		       bytes_format(removed->bytes, size));
	}
	return STATUS_DONE;
}

/* Directories that are not empty go with -r; on a terminal a yes does instead of -r, and is wanted
 * even with it unless -f is given. */
static int rm_one(struct call *call, const char *path)
{
	bool force = call->options[CALL_FORCE];
	bool tree = call->options[CALL_TREE];
	struct muster_removed removed = { 0 };
	int rc = 0;

	if (call_can_ask() && !force && strcmp(path, "/") != 0) {
		rc = holds_names(call, path);
		if (rc == 1 && !call_ask(call, "remove ", path, " and all that is in it? [y/N] "))
			return STATUS_FAILED;
		tree |= rc == 1;
	}
	if (rc >= 0)
		rc = muster_remove(call->session, path, tree ? MUSTER_TREE : 0, &removed);
	if (rc == -ERR_NOT_FOUND && force)
		return STATUS_DONE;
	return rc < 0 ? call_fail_last(call, path, rc) : rm_report(call, path, &removed);
}

int command_rm(struct call *call)
{
	return call_each_path(call, 0, rm_one);
}

static int copies_report(struct call *call, const char *path, const struct muster_entry *entry)
{
	bool file = entry->type == MUSTER_FILE;

	if (call->shell->preferences.json) {
		cJSON *object = cJSON_CreateObject();

		json_text(object, "path", path);
		if (file)
			json_number(object, "copies", entry->copies);
		else
			json_null(object, "copies");
		json_number(object, "copies_wanted", entry->copies_wanted);
		return call_json(call, object);
	}
	if (!call_confirms(call))
		return STATUS_DONE;
	name_print(stdout, path);
	if (file)
		printf(": %u/%u copies\n", entry->copies, entry->copies_wanted);
	else
		printf(": future files get %u %s\n", entry->copies_wanted,
		       entry->copies_wanted == 1 ? "copy" : "copies");
	return STATUS_DONE;
}

static int copies_one(struct call *call, const char *path)
{
	struct muster_entry entry;
	uint64_t copies = 0;
	int rc;

	number_parse(call->arguments[0], 1, 9, &copies);
	rc = muster_set_copies(call->session, path, (unsigned int)copies);
	if (rc >= 0)
		rc = muster_stat(call->session, path, &entry);
	return rc < 0 ? call_fail_last(call, path, rc) : copies_report(call, path, &entry);
}

int command_copies(struct call *call)
{
	uint64_t copies;

	if (number_parse(call->arguments[0], 1, 9, &copies) < 0)
		return call_usage(call, "wants a number of copies from 1 to 9, not '%s'",
				  call->arguments[0]);
	return call_each_path(call, 1, copies_one);
}

static int cd_to(struct call *call, const char *path)
{
	struct shell *shell = call->shell;
	struct muster_entry entry;
	int rc = muster_stat(call->session, path, &entry);

	if (rc < 0)
		return call_fail_last(call, path, rc);
	if (entry.type != MUSTER_DIRECTORY)
		return call_fail(call, path, -ERR_NOT_DIR, NULL);
	if (shell->keeps_directory) {
		rc = state_set("directory", shell_state_key(shell), path);
		if (rc < 0)
			return call_fail(call, path, rc, "the directory cannot be remembered");
	}
	memcpy(shell->directory, path, strlen(path) + 1);
	return STATUS_DONE;
}

int command_cd(struct call *call)
{
	static char root[] = "/";
	static char *to_root[] = { root, NULL };

	if (call->count == 0) {
		call->arguments = to_root;
		call->count = 1;
	}
	return call_each_path(call, 0, cd_to);
}

int command_pwd(struct call *call)
{
	if (call->shell->preferences.json) {
		cJSON *object = cJSON_CreateObject();

		json_text(object, "path", call->shell->directory);
		return call_json(call, object);
	}
	name_print(stdout, call->shell->directory);
	putchar('\n');
	return STATUS_DONE;
}

/* trash ls, trash restore, trash purge. */
#include <inttypes.h>
#include <string.h>

#include "command.h"
#include "error.h"
#include "store_output.h"
#include "text.h"

struct trash_action {
	unsigned int min; /* arguments after the name */
	unsigned int max;
	command_fn *handler;
};

/* Ids are an epoch and a number in it, so that the first are of this width. */
enum { ID_WIDTH = 13 };

/* ---- what is in it ---- */

static int trashed_json(struct call *call, const struct muster_trashed *gone)
{
	cJSON *object = cJSON_CreateObject();

	json_number(object, "id", gone->id);
	json_text(object, "path", gone->path);
	json_text(object, "type", gone->type == MUSTER_DIRECTORY ? "dir" : "file");
	json_number(object, "entries", gone->entries);
	json_number(object, "bytes", gone->bytes);
	json_number(object, "removed", gone->removed_ms);
	json_number(object, "purge_in", gone->purge_in_ms);
	return call_json(call, object);
}

static int trashed_show(struct call *call, const struct muster_trashed *gone)
{
	char time[TIME_TEXT_MAX], size[SIZE_TEXT_MAX], left[LEFT_MAX], id[32];
	bool ids = call->options[CALL_IDS];

	if (call->shell->preferences.json) {
		call->seen++;
		return trashed_json(call, gone);
	}
	snprintf(id, sizeof(id), "%" PRIu64, gone->id);
	if (call->seen++ == 0)
		printf("%-19s  %-8s  %8s  %10s  %*s%sPATH\n", "REMOVED", "KEPT FOR", "ENTRIES",
		       "SIZE", ids ? ID_WIDTH : 0, ids ? "ID" : "", ids ? "  " : "");
	printf("%-19s  %-8s  %8" PRIu64 "  %10s  %*s%s", time_format(gone->removed_ms, time),
	       left_format(gone->purge_in_ms, left), gone->entries, size_format(gone->bytes, size),
	       ids ? ID_WIDTH : 0, ids ? id : "", ids ? "  " : "");
	name_print(stdout, gone->path);
	fputs(gone->type == MUSTER_DIRECTORY ? "/\n" : "\n", stdout);
	return STATUS_DONE;
}

static int trash_ls(struct call *call)
{
	char path[REMOTE_PATH_MAX];
	struct muster_trashed gone;
	struct muster_trash *trash;
	int status = STATUS_DONE;
	int rc;

	if (call->count > 1)
		status = call_resolve(call, call->arguments[1], path);
	if (status != STATUS_DONE)
		return status;
	rc = muster_trash_open(call->session, call->count > 1 ? path : NULL, &trash);
	if (rc < 0)
		return call_fail_last(call, NULL, rc);
	while (status == STATUS_DONE && !call_interrupted(call) && !call_unheard(call)) {
		rc = muster_trash_next(trash, &gone);
		if (rc <= 0)
			break;
		status = trashed_show(call, &gone);
	}
	muster_trash_close(trash);
	if (rc == 0 && call->seen == 0)
		call_note(call, "nothing %sis in the trash", call->count > 1 ? "from there " : "");
	if (rc > 0 && call_interrupted(call))
		rc = -ERR_CANCELLED;
	return rc < 0 ? call_fail_last(call, NULL, rc) : status;
}

/* ---- bringing back ---- */

static int id_option(const struct call *call, uint64_t *ret)
{
	const char *text = call->options[CALL_ID];

	*ret = 0;
	if (text && number_parse(text, 1, UINT64_MAX, ret) < 0)
		return call_usage(call, "--id wants a number of `trash ls -l`, not '%s'", text);
	return STATUS_DONE;
}

static int restored_report(struct call *call, const char *path, const struct muster_copied *back)
{
	char size[SIZE_TEXT_MAX];

	if (call->shell->preferences.json) {
		cJSON *object = cJSON_CreateObject();

		json_text(object, "path", path);
		json_text(object, "to", back->path);
		json_number(object, "restored", back->count);
		json_number(object, "bytes", back->bytes);
		return call_json(call, object);
	}
	if (!call_confirms(call))
		return STATUS_DONE;
	fputs("restored ", stdout);
	name_print(stdout, path);
	if (strcmp(path, back->path) != 0) {
		fputs(" -> ", stdout);
		name_print(stdout, back->path);
	}
	printf(": %" PRIu64 " %s, %s\n", back->count, back->count == 1 ? "entry" : "entries",
	       bytes_format(back->bytes, size));
	return STATUS_DONE;
}

static int trash_restore(struct call *call)
{
	bool elsewhere = call->count > 2;
	char path[REMOTE_PATH_MAX];
	char to[REMOTE_PATH_MAX];
	struct muster_copied back;
	uint64_t id;
	int status = id_option(call, &id);
	int rc;

	if (status == STATUS_DONE)
		status = call_resolve(call, call->arguments[1], path);
	if (status == STATUS_DONE && elsewhere)
		status = call_resolve(call, call->arguments[2], to);
	if (status != STATUS_DONE)
		return status;
	rc = muster_trash_restore(call->session, path, id, elsewhere ? to : NULL, &back);
	if (rc == -ERR_EXISTS)
		return call_fail(call, elsewhere ? to : path, rc,
				 "give another name to restore it to");
	if (rc == -ERR_NOT_FOUND)
		return call_fail(call, path, rc, "`trash ls` shows what can come back");
	return rc < 0 ? call_fail_last(call, path, rc) : restored_report(call, path, &back);
}

/* ---- letting go ---- */

static int purged_report(struct call *call, const char *path, const struct muster_removed *purged)
{
	char size[SIZE_TEXT_MAX];

	if (call->shell->preferences.json) {
		cJSON *object = cJSON_CreateObject();

		if (path)
			json_text(object, "path", path);
		else
			json_null(object, "path");
		json_number(object, "purged", purged->count);
		json_number(object, "bytes", purged->bytes);
		return call_json(call, object);
	}
	if (!call_confirms(call))
		return STATUS_DONE;
	fputs("purged ", stdout);
	name_print(stdout, path ? path : "the trash");
	printf(": %" PRIu64 " %s, %s\n", purged->count, purged->count == 1 ? "entry" : "entries",
	       bytes_format(purged->bytes, size));
	return STATUS_DONE;
}

static bool purge_wanted(struct call *call, const char *path)
{
	if (call->options[CALL_FORCE] || call->options[CALL_YES] || !call_can_ask())
		return true;
	if (path)
		return call_ask(call, "let go of ", path, " in the trash for good? [y/N] ");
	return call_ask(call, "let go of all that is in the trash for good? [y/N] ", NULL, NULL);
}

static int trash_purge(struct call *call)
{
	char resolved[REMOTE_PATH_MAX];
	const char *path = call->count > 1 ? resolved : NULL;
	struct muster_removed purged;
	uint64_t id;
	int status = id_option(call, &id);
	int rc;

	if (status == STATUS_DONE && id && !path)
		status = call_usage(call, "--id wants the path with it");
	if (status == STATUS_DONE && path)
		status = call_resolve(call, call->arguments[1], resolved);
	if (status != STATUS_DONE)
		return status;
	if (!purge_wanted(call, path))
		return STATUS_FAILED;
	rc = muster_trash_purge(call->session, path, id, &purged);
	if (rc == -ERR_NOT_FOUND)
		return call_fail(call, path, rc, "`trash ls` shows what is there");
	return rc < 0 ? call_fail_last(call, path, rc) : purged_report(call, path, &purged);
}

enum { TRASH_LS, TRASH_RESTORE, TRASH_PURGE };

const char *const trash_verbs[] = {
	[TRASH_LS] = "ls",
	[TRASH_RESTORE] = "restore",
	[TRASH_PURGE] = "purge",
	[TRASH_PURGE + 1] = NULL,
};

static const struct trash_action actions[] = {
	[TRASH_LS] = { 0, 1, trash_ls },
	[TRASH_RESTORE] = { 1, 2, trash_restore },
	[TRASH_PURGE] = { 0, 1, trash_purge },
};

static const struct trash_action *action_find(const char *name)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(actions); i++) {
		if (strcmp(trash_verbs[i], name) == 0)
			return &actions[i];
	}
	return NULL;
}

int command_trash(struct call *call)
{
	const struct trash_action *action = action_find(call->arguments[0]);
	int status;

	if (!action)
		return call_usage(call, "wants ls, restore or purge, not '%s'", call->arguments[0]);
	if (call->count - 1 < action->min)
		return call_usage(call, "%s wants a path", call->arguments[0]);
	if (call->count - 1 > action->max)
		return call_usage(call, "%s takes at most %u path%s", call->arguments[0],
				  action->max, plural(action->max));
	status = call_session(call);
	return status == STATUS_DONE ? action->handler(call) : status;
}

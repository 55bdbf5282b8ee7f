/* Commands that move and copy names inside the store: mv, cp. No byte passes through the client. */
#include <string.h>

#include "error.h"
#include "transfer.h"

/* Where something would go. */
static void target_name(const struct destination *to, const char *path, char ret[REMOTE_PATH_MAX])
{
	if (!to->directory || remote_join(to->path, remote_name(path), ret) < 0)
		memcpy(ret, to->path, strlen(to->path) + 1);
}

/* The error says what is wrong; this says with which of the two names. */
static int move_fail(struct call *call, const char *path, const struct destination *to, int rc)
{
	char target[REMOTE_PATH_MAX];
	struct muster_entry entry;

	target_name(to, path, target);
	switch (-rc) {
	case ERR_EXISTS:
	case ERR_NOT_EMPTY: return call_fail_last(call, target, rc);
	case ERR_NOT_FOUND:
	case ERR_NOT_DIR:
	case ERR_IS_DIR: break;
	default: return call_fail_last(call, path, rc);
	}
	if (muster_stat(call->session, path, &entry) < 0)
		return call_fail(call, path, rc, NULL);
	if (rc == -ERR_IS_DIR && entry.type == MUSTER_DIRECTORY)
		return call_fail(call, path, rc, NULL);
	return call_fail(call, target, rc, rc == -ERR_IS_DIR ? "it is in the way" : NULL);
}

static void arrow_print(const char *did, const char *path, const char *to)
{
	printf("%s ", did);
	name_print(stdout, path);
	fputs(" -> ", stdout);
	name_print(stdout, to);
}

/* ---- mv ---- */

static int mv_report(struct call *call, const char *path, const char *to)
{
	if (call->shell->preferences.json) {
		cJSON *object = cJSON_CreateObject();

		json_text(object, "path", path);
		json_text(object, "to", to);
		return call_json(call, object);
	}
	if (call_confirms(call)) {
		arrow_print("moved", path, to);
		putchar('\n');
	}
	return STATUS_DONE;
}

static int mv_one(struct call *call, const char *path, const struct destination *to)
{
	unsigned int flags = MUSTER_INTO | (call->options[CALL_FORCE] ? MUSTER_REPLACE : 0);
	char now[MUSTER_PATH_SIZE];
	int rc = muster_rename(call->session, path, to->path, flags, now);

	return rc < 0 ? move_fail(call, path, to, rc) : mv_report(call, path, now);
}

/* ---- cp ---- */

static int cp_report(struct call *call, const char *path, const struct muster_copied *copied)
{
	char size[SIZE_TEXT_MAX];

	if (call->shell->preferences.json) {
		cJSON *object = cJSON_CreateObject();

		json_text(object, "path", path);
		json_text(object, "to", copied->path);
		json_number(object, "copied", copied->count);
		json_number(object, "bytes", copied->bytes);
		return call_json(call, object);
	}
	if (call_confirms(call)) {
		arrow_print("copied", path, copied->path);
		printf(": %llu %s, %s\n", (unsigned long long)copied->count,
		       copied->count == 1 ? "entry" : "entries", bytes_format(copied->bytes, size));
	}
	return STATUS_DONE;
}

static unsigned int cp_flags(const struct call *call)
{
	unsigned int flags = MUSTER_INTO;

	flags |= call->options[CALL_TREE] ? MUSTER_TREE : 0;
	flags |= call->options[CALL_FORCE] ? MUSTER_REPLACE : 0;
	flags |= call->options[CALL_KEEP_BOTH] ? MUSTER_KEEP_BOTH : 0;
	return flags;
}

static int cp_one(struct call *call, const char *path, const struct destination *to)
{
	struct muster_copied copied;
	int rc = muster_copy(call->session, path, to->path, cp_flags(call), &copied);

	return rc < 0 ? move_fail(call, path, to, rc) : cp_report(call, path, &copied);
}

/* ---- both ---- */

static int each_to(struct call *call,
		   int (*one)(struct call *call, const char *path, const struct destination *to))
{
	char path[REMOTE_PATH_MAX];
	struct destination to;
	int status = call_session(call);

	if (status == STATUS_DONE)
		status = transfer_destination(call, &to);
	if (status != STATUS_DONE)
		return status;
	for (unsigned int i = 0; i + 1 < call->count && status != STATUS_NO_NAMESERVER; i++) {
		int now = call_resolve(call, call->arguments[i], path);

		if (now == STATUS_DONE)
			now = one(call, path, &to);
		status = status_worse(status, now);
		if (call_ends(call, call->count - i - 2, &status))
			break;
	}
	return status;
}

int command_mv(struct call *call)
{
	return each_to(call, mv_one);
}

int command_cp(struct call *call)
{
	if (call->options[CALL_FORCE] && call->options[CALL_KEEP_BOTH])
		return call_usage(call, "-f replaces, --keep-both does not: choose one");
	return each_to(call, cp_one);
}

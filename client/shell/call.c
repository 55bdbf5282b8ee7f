#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "error.h"
#include "text.h"

enum { CLUSTERS_MAX = 8, HINT_MAX = 512 };

int status_worse(int a, int b)
{
	return a > b ? a : b;
}

static int status_of(int error)
{
	if (error == -ERR_USAGE)
		return STATUS_USAGE;
	if (error == -ERR_NO_NAMESERVER || error == -ERR_TWO_CLUSTERS || error == -ERR_READ_ONLY)
		return STATUS_NO_NAMESERVER;
	return STATUS_FAILED;
}

/* What usually helps. Where an option does, only if the command takes it and it was not given; `of`
 * names the only command it is for. The first row that fits is told. */
struct hint {
	int error;
	const char *of; /* NULL: any */
	int option;     /* -1: none */
	const char *text;
};

static const struct hint hints[] = {
	{ ERR_EXISTS, "cp", CALL_FORCE, "use -f to replace it, --keep-both to have both" },
	{ ERR_EXISTS, NULL, CALL_FORCE, "use -f to replace it" },
	{ ERR_EXISTS, "cp", CALL_KEEP_BOTH, "use --keep-both to have both" },
	{ ERR_EXISTS, "mkdir", CALL_PARENTS, "with -p that is no error" },
	{ ERR_NOT_FOUND, "mkdir", CALL_PARENTS, "use -p to make its parents" },
	{ ERR_IS_DIR, NULL, CALL_TREE, "use -r" },
	{ ERR_NOT_EMPTY, "rm", CALL_TREE, "use -r to remove all that is in it" },
	{ ERR_NOT_EMPTY, "rmdir", -1, "rm -r removes all that is in it" },
	{ ERR_ONLINE, "forget", -1,
	  "only a server that is gone for good can be forgotten: "
	  "drain it, then stop it" },
	{ ERR_NO_NODES, NULL, -1, "start muster-storage somewhere; `nodes` shows which are known" },
	{ ERR_NO_SPACE, NULL, -1, "`df` shows where room is, `trash purge` makes some" },
	{ ERR_TWO_CLUSTERS, NULL, -1, "choose one with --cluster NAME" },
	{ ERR_READ_ONLY, NULL, -1, "start the name server; `status` says who answers meanwhile" },
	{ ERR_NO_QUORUM, NULL, -1,
	  "`status` says how many are missing: start them, or `forget` those that are gone for "
	  "good" },
	{ ERR_UNAVAILABLE, NULL, -1, "`status` may say why" },
	{ ERR_NO_NAMESERVER, NULL, -1,
	  "is it running? -n HOST[:PORT] names one that cannot be heard" },
};

static bool hint_fits(const struct hint *hint, const struct call *call, int error)
{
	const struct command *command = call->command;

	if (hint->error != -error)
		return false;
	if (hint->of && !(command && strcmp(command->name, hint->of) == 0))
		return false;
	return hint->option < 0 ||
	       (command && command->options & 1u << hint->option && !call->options[hint->option]);
}

static const struct hint *usual_hint(const struct call *call, int error)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(hints); i++) {
		if (hint_fits(&hints[i], call, error))
			return &hints[i];
	}
	return NULL;
}

static void object_json(const char *name, const char *code, const char *message, const char *path)
{
	cJSON *outer = cJSON_CreateObject();
	cJSON *error = cJSON_AddObjectToObject(outer, name);

	json_text(error, "code", code);
	json_text(error, "message", message);
	if (path)
		json_text(error, "path", path);
	else
		json_null(error, "path");
	json_print(stderr, outer);
}

static void error_print(const struct call *call, const char *path, const char *message)
{
	fflush(stdout);
	fputs("muster: ", stderr);
	if (call->command)
		fprintf(stderr, "%s: ", call->command->name);
	if (path) {
		name_print(stderr, *path ? path : "''");
		fputs(": ", stderr);
	}
	/* It may quote what a server or the user said. */
	words_print(stderr, message);
	fputc('\n', stderr);
}

int call_fail_text(const struct call *call, const char *path, int error, const char *message)
{
	call->shell->missed |= error == -ERR_NOT_FOUND || error == -ERR_UNREACHABLE;
	if (call->shell->preferences.json)
		object_json("error", muster_error_name(error), message, path);
	else
		error_print(call, path, message);
	return status_of(error);
}

static int report(const struct call *call, const char *path, int error, const char *hint)
{
	char message[HINT_MAX + 128];
	bool more = hint && *hint;

	snprintf(message, sizeof(message), "%s%s%s%s", muster_error_text(error), more ? " (" : "",
		 more ? hint : "", more ? ")" : "");
	return call_fail_text(call, path, error, message);
}

/* What the session says is more exact than what usually helps, but an option is a sure remedy. */
int call_fail_detail(const struct call *call, const char *path, int error, const char *detail)
{
	const struct hint *usual = usual_hint(call, error);

	if (error == -ERR_BAD_NAME && path && strcmp(path, "/") == 0)
		return report(call, path, error, "it is the root, which stays what it is");
	if (usual && (usual->option >= 0 || !(detail && *detail)))
		return report(call, path, error, usual->text);
	return report(call, path, error, detail);
}

int call_fail(const struct call *call, const char *path, int error, const char *hint)
{
	return hint ? report(call, path, error, hint) : call_fail_detail(call, path, error, NULL);
}

int call_fail_last(const struct call *call, const char *path, int error)
{
	return call_fail_detail(call, path, error, muster_detail(call->session));
}

int call_fail_errno(const struct call *call, const char *path, int os)
{
	char text[128];
	int rc = os == EINTR ? -ERR_CANCELLED : error_from_errno(os);

	if (rc != -ERR_IO || os == EIO)
		return call_fail(call, path, rc, NULL);
	snprintf(text, sizeof(text), "%s", strerror(os));
	text[0] = (char)tolower((unsigned char)text[0]);
	return call_fail_text(call, path, rc, text);
}

int call_usage(const struct call *call, const char *format, ...)
{
	char message[HINT_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (call->shell->preferences.json) {
		object_json("error", "USAGE", message, NULL);
		return STATUS_USAGE;
	}
	error_print(call, NULL, message);
	if (call->command)
		fprintf(stderr, "usage: %s%s%s\n", call->command->name,
			*call->command->synopsis ? " " : "", call->command->synopsis);
	else
		fputs("`help` lists the commands.\n", stderr);
	return STATUS_USAGE;
}

void call_note(const struct call *call, const char *format, ...)
{
	va_list args;

	if (!call_confirms(call))
		return;
	fputs("muster: ", stderr);
	if (call->command)
		fprintf(stderr, "%s: ", call->command->name);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
}

static uint64_t degraded_answers(const struct shell *shell)
{
	struct muster_info info = { 0 };

	if (shell->session)
		muster_info(shell->session, &info);
	return info.degraded_answers;
}

void call_begin(struct call *call)
{
	call->degraded_answers = degraded_answers(call->shell);
	call->shell->missed = false;
}

/* Once for a command, however many answers it needed. */
void call_end(const struct call *call, int status)
{
	uint64_t count = degraded_answers(call->shell);
	struct muster_info info = { 0 };
	char message[HINT_MAX];

	if (count == 0 || count == call->degraded_answers || call->shell->preferences.quiet)
		return;
	/* Who was refused for that very reason knows; and most failures have another one. */
	if (status != STATUS_DONE && (status == STATUS_NO_NAMESERVER || !call->shell->missed))
		return;
	muster_info(call->shell->session, &info);
	if (info.degraded)
		snprintf(message, sizeof(message),
			 "degraded: no name server; this is what storage server %s knew last",
			 info.storage);
	else
		snprintf(message, sizeof(message),
			 "degraded: the name server is out of touch with the servers that keep the "
			 "catalogue with it; this is what it knew last");
	if (call->shell->preferences.json)
		object_json("warning", "DEGRADED", message, NULL);
	else
		error_print(call, NULL, message);
}

bool call_confirms(const struct call *call)
{
	return !call->shell->preferences.quiet && !call->shell->preferences.json;
}

bool call_can_ask(void)
{
	return isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

bool call_ask(const struct call *call, const char *before, const char *name, const char *after)
{
	char answer[64];

	fflush(stdout);
	fputs(before, stderr);
	if (name)
		name_print(stderr, name);
	if (after)
		fputs(after, stderr);
	if (!fgets(answer, sizeof(answer), stdin)) {
		clearerr(stdin);
		fputc('\n', stderr);
		return false;
	}
	return !call_interrupted(call) && (answer[0] == 'y' || answer[0] == 'Y');
}

bool call_interrupted(const struct call *call)
{
	return call->shell->interrupted || call->shell->terminated;
}

bool call_unheard(const struct call *call)
{
	if (ferror(stdout))
		call->shell->unheard = true;
	return call->shell->unheard;
}

bool call_ends(const struct call *call, unsigned int left, int *status)
{
	if (call_interrupted(call) && left > 0 && *status == STATUS_DONE)
		*status = call_fail(call, NULL, -ERR_CANCELLED, NULL);
	return call_interrupted(call) || call_unheard(call);
}

int call_json(const struct call *call, cJSON *object)
{
	int rc = json_print(stdout, object);

	return rc < 0 ? call_fail(call, NULL, rc, NULL) : STATUS_DONE;
}

/* "office at 10.0.0.5:6235, lab at 10.0.0.7:6235" */
static void clusters_list(const struct muster *session, char ret[HINT_MAX])
{
	struct muster_cluster clusters[CLUSTERS_MAX];
	unsigned int count = muster_clusters(session, clusters, CLUSTERS_MAX);
	size_t used = (size_t)snprintf(ret, HINT_MAX, "choose one with --cluster NAME:");

	if (count > CLUSTERS_MAX)
		count = CLUSTERS_MAX;
	for (unsigned int i = 0; i < count && used < HINT_MAX; i++)
		used += (size_t)snprintf(
			ret + used, HINT_MAX - used, "%s %s at %s", i ? "," : "", clusters[i].name,
			*clusters[i].nameserver ? clusters[i].nameserver : clusters[i].storage);
}

static int connect_fail(const struct call *call, int rc)
{
	struct muster *session = call->shell->session;
	char hint[HINT_MAX];

	if (!session)
		return call_fail(call, NULL, rc, NULL);
	if (rc == -ERR_TWO_CLUSTERS) {
		clusters_list(session, hint);
		return call_fail(call, NULL, rc, hint);
	}
	return call_fail_detail(call, NULL, rc, muster_detail(session));
}

int call_session(struct call *call)
{
	struct muster_info info;
	bool fresh = !call->shell->session;
	int rc = shell_connect(call->shell);

	if (rc < 0)
		return connect_fail(call, rc);
	call->session = call->shell->session;
	if (fresh && call->shell->preferences.verbose && call_confirms(call)) {
		muster_info(call->session, &info);
		if (info.degraded)
			call_note(call, "cluster %s, storage server %s", info.cluster,
				  info.storage);
		else
			call_note(call, "cluster %s, name server %s", info.cluster,
				  info.nameserver);
	}
	return STATUS_DONE;
}

int call_resolve(const struct call *call, const char *text, char ret[REMOTE_PATH_MAX])
{
	int rc = remote_resolve(call->shell->directory, text, ret);

	if (rc == -ERR_BAD_NAME)
		return call_fail(call, text, rc, "there is nothing above the root");
	if (rc == 0 && !*text)
		return call_fail(call, text, -ERR_BAD_NAME, "it is empty");
	return rc < 0 ? call_fail(call, text, rc, NULL) : STATUS_DONE;
}

int call_each_path(struct call *call, unsigned int first, call_path_fn *each)
{
	char path[REMOTE_PATH_MAX];
	int status = call_session(call);

	if (status != STATUS_DONE)
		return status;
	for (unsigned int i = first; i < call->count && status != STATUS_NO_NAMESERVER; i++) {
		int now = call_resolve(call, call->arguments[i], path);

		if (now == STATUS_DONE)
			now = each(call, path);
		status = status_worse(status, now);
		if (call_ends(call, call->count - i - 1, &status))
			break;
	}
	return status;
}

/* Commands about this program and this machine: lcd, lls, lpwd, version, help, exit. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "error.h"
#include "names.h"

int command_lcd(struct call *call)
{
	const char *home = getenv("HOME");
	const char *path = call->count ? call->arguments[0] : home ? home : "/";

	if (chdir(path) < 0)
		return call_fail(call, path, error_from_errno(errno), NULL);
	return STATUS_DONE;
}

static int path_show(struct call *call, const char *path)
{
	if (call->shell->preferences.json) {
		cJSON *object = cJSON_CreateObject();

		json_text(object, "path", path);
		return call_json(call, object);
	}
	name_print(stdout, path);
	putchar('\n');
	return STATUS_DONE;
}

int command_lpwd(struct call *call)
{
	char *path = getcwd(NULL, 0);
	int status;

	if (!path)
		return call_fail(call, NULL, error_from_errno(errno), NULL);
	status = path_show(call, path);
	free(path);
	return status;
}

/* The system's own ls knows this machine's files best. */
static int ls_run(struct call *call)
{
	char **words = calloc(call->count + 3, sizeof(*words));
	static char ls[] = "ls";
	static char end[] = "--";
	pid_t pid;

	if (!words)
		return -ERR_NO_MEMORY;
	words[0] = ls;
	words[1] = end;
	memcpy(words + 2, call->arguments, call->count * sizeof(*words));
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		signal(SIGPIPE, SIG_DFL);
		execvp(words[0], words);
		_exit(127);
	}
	free(words);
	return pid < 0 ? error_from_errno(errno) : pid;
}

static int local_json(struct call *call, const char *path, const char *name, const struct stat *st)
{
	cJSON *object = cJSON_CreateObject();

	json_text(object, "path", path);
	json_text(object, "name", name);
	json_text(object, "type",
		  S_ISDIR(st->st_mode)   ? "dir"
		  : S_ISREG(st->st_mode) ? "file"
					 : "other");
	json_number(object, "size", (uint64_t)st->st_size);
	json_number(object, "modified",
		    (uint64_t)st->st_mtim.tv_sec * 1000 + (uint64_t)st->st_mtim.tv_nsec / 1000000);
	return call_json(call, object);
}

static int hidden_not(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

static int local_directory_json(struct call *call, const char *path)
{
	struct dirent **entries;
	int count = scandir(path, &entries, hidden_not, alphasort);
	int status = STATUS_DONE;

	if (count < 0)
		return call_fail(call, path, error_from_errno(errno), NULL);
	for (int i = 0; i < count; i++) {
		char full[8192];
		struct stat st;

		snprintf(full, sizeof(full), "%s/%s", path, entries[i]->d_name);
		if (lstat(full, &st) == 0)
			status = status_worse(status,
					      local_json(call, full, entries[i]->d_name, &st));
		free(entries[i]);
	}
	free(entries);
	return status;
}

static int lls_json(struct call *call)
{
	int status = STATUS_DONE;

	call_default_here(call);
	for (unsigned int i = 0; i < call->count; i++) {
		const char *path = call->arguments[i];
		struct stat st;
		int now;

		if (stat(path, &st) < 0)
			now = call_fail(call, path, error_from_errno(errno), NULL);
		else if (S_ISDIR(st.st_mode))
			now = local_directory_json(call, path);
		else
			now = local_json(call, path, remote_name(path), &st);
		status = status_worse(status, now);
	}
	return status;
}

int command_lls(struct call *call)
{
	int pid = call->shell->preferences.json ? 0 : ls_run(call);
	int result = 0;

	if (pid == 0)
		return lls_json(call);

	if (pid < 0)
		return call_fail(call, NULL, pid, NULL);
	while (waitpid(pid, &result, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(result) && WEXITSTATUS(result) == 0 ? STATUS_DONE : STATUS_FAILED;
}

int command_version(struct call *call)
{
	if (call->shell->preferences.json) {
		cJSON *object = cJSON_CreateObject();

		json_text(object, "version", MUSTER_VERSION);
		return call_json(call, object);
	}
	puts("muster " MUSTER_VERSION);
	return STATUS_DONE;
}

static int help_json(struct call *call, const struct command *command)
{
	cJSON *object = cJSON_CreateObject();

	json_text(object, "command", command->name);
	json_text(object, "synopsis", command->synopsis);
	json_text(object, "summary", command->summary);
	return call_json(call, object);
}

static int help_all_json(struct call *call)
{
	const struct command *command;
	int status = STATUS_DONE;

	for (unsigned int i = 0; (command = command_at(i)); i++)
		status = status_worse(status, help_json(call, command));
	return status;
}

int command_help(struct call *call)
{
	bool json = call->shell->preferences.json;
	const struct command *command;

	if (call->count == 0 && json)
		return help_all_json(call);
	if (call->count == 0) {
		commands_help(stdout);
		return STATUS_DONE;
	}
	command = command_find(call->arguments[0]);
	if (!command)
		return call_usage(call, "no such command: %s", call->arguments[0]);
	if (json)
		return help_json(call, command);
	command_help_print(stdout, command);
	return STATUS_DONE;
}

int command_exit(struct call *call)
{
	call->shell->ended = true;
	return STATUS_DONE;
}

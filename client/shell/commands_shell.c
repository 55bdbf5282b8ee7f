/* Commands about this program and this machine: lcd, lls, lpwd, version, help, exit. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "error.h"

int command_lcd(struct call *call)
{
	const char *home = getenv("HOME");
	const char *path = call->count ? call->arguments[0] : home ? home : "/";

	if (chdir(path) < 0)
		return call_fail(call, path, error_from_errno(errno), NULL);
	return STATUS_DONE;
}

int command_lpwd(struct call *call)
{
	char *path = getcwd(NULL, 0);

	if (!path)
		return call_fail(call, NULL, error_from_errno(errno), NULL);
	name_print(stdout, path);
	putchar('\n');
	free(path);
	return STATUS_DONE;
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

int command_lls(struct call *call)
{
	int pid = ls_run(call);
	int result = 0;

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

int command_help(struct call *call)
{
	const struct command *command;

	if (call->count == 0) {
		commands_help(stdout);
		return STATUS_DONE;
	}
	command = command_find(call->arguments[0]);
	if (!command)
		return call_usage(call, "no such command: %s", call->arguments[0]);
	command_help_print(stdout, command);
	return STATUS_DONE;
}

int command_exit(struct call *call)
{
	call->shell->ended = true;
	return STATUS_DONE;
}

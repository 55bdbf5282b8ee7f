/* muster: the shell and the one-shot command line of the Muster file store. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "error.h"

enum { OUTPUT_BUFFER = 64 * 1024 };

/* For the signal handler, which gets nothing else. */
static struct shell *volatile the_shell;

static void on_signal(int number)
{
	struct shell *shell = the_shell;
	bool again = shell->interrupted && !shell->interactive;

	if (number != SIGINT)
		shell->terminated = 1;
	/* Asked twice: whatever still runs does not listen. */
	if (again) {
		signal(number, SIG_DFL);
		raise(number);
		return;
	}
	shell_interrupt(shell);
}

static void signals_take(struct shell *shell)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = on_signal };

	the_shell = shell;
	for (unsigned int i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct sigaction before;

		/* nohup's wish is kept. */
		if (sigaction(numbers[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN)
			sigaction(numbers[i], &action, NULL);
	}
	signal(SIGPIPE, SIG_IGN);
}

static int preferences_fail(struct call *call, int rc, const char *message)
{
	if (rc == -ERR_END && strcmp(message, "version") == 0)
		return command_version(call);
	if (rc == -ERR_END) {
		preferences_help(stdout);
		fputs("\n", stdout);
		commands_help(stdout);
		return STATUS_DONE;
	}
	if (rc != -ERR_USAGE)
		return call_fail(call, NULL, rc, message);
	return call_usage(call, "%s", message);
}

static int words_run(struct shell *shell, char **words)
{
	unsigned int count = 0;
	int status;

	while (words[count])
		count++;
	shell->keeps_directory = true;
	shell->running = 1;
	status = command_run(shell, words, count);
	shell->running = 0;
	return status;
}

static int run(struct shell *shell, char **words)
{
	struct call call = { .shell = shell };

	if (shell->preferences.key)
		return call_fail(
			&call, NULL, -ERR_UNSUPPORTED,
			"--key: this version has no keys, every store is open to its network");
	if (*words)
		return words_run(shell, words);
	shell->interactive = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	return shell->interactive ? shell_interactive(shell) : shell_script(shell);
}

/* Nobody listening any more is no news to anybody; a full disk is. */
static int output_finish(struct call *call, int status)
{
	int rc = 0;

	errno = 0;
	if (fflush(stdout) != 0)
		rc = error_from_errno(errno);
	if (rc == 0 && !call->shell->unheard && !ferror(stdout))
		return status;
	if (rc < 0 && errno != EPIPE)
		call_fail(call, "standard output", rc, NULL);
	return status_worse(status, STATUS_FAILED);
}

int main(int argc, char **argv)
{
	static char output[OUTPUT_BUFFER];
	struct shell shell = { 0 };
	struct call call = { .shell = &shell };
	char message[256];
	int words;
	int status;

	(void)argc;
	setlocale(LC_ALL, "");
	/* A listing of some thousand names leaves in one piece. */
	if (!isatty(STDOUT_FILENO))
		setvbuf(stdout, output, _IOFBF, sizeof(output));
	signals_take(&shell);
	words = preferences_load(&shell.preferences, argv, message);
	if (words < 0) {
		status = preferences_fail(&call, words, message);
	} else {
		shell_init(&shell, argv);
		status = run(&shell, argv + words);
	}
	shell_done(&shell);
	return output_finish(&call, status);
}

/* muster: the shell and the one-shot command line of the Muster file store. */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "command.h"
#include "error.h"

enum { OUTPUT_BUFFER = 64 * 1024, LISTENS_MS = 1000 };

/* For the signal handler, which gets nothing else. */
static struct shell *volatile the_shell;

/* Asked again: whatever still runs does not listen. At a terminal hands are quick, so that it takes
 * some time to be sure. */
static bool must_give_up(const struct shell *shell)
{
	if (!shell->interrupted)
		return false;
	if (!shell->interactive)
		return true;
	return shell->running && clock_monotonic_ms() - shell->interrupted_ms >= LISTENS_MS;
}

static void on_end(int number)
{
	struct shell *shell = the_shell;
	bool hopeless = must_give_up(shell);

	if (number != SIGINT)
		shell->terminated = 1;
	if (hopeless) {
		signal(number, SIG_DFL);
		raise(number);
		return;
	}
	shell_interrupt(shell);
}

/* A command stops at once; at the prompt the terminal is put in order first. */
static void on_stop(int number)
{
	struct shell *shell = the_shell;

	(void)number;
	if (shell->running || !shell->interactive)
		shell_stop();
	else
		shell->suspended = 1;
}

static void on_continue(int number)
{
	(void)number;
	the_shell->resumed = 1;
}

static void on_resize(int number)
{
	(void)number;
	the_shell->resized = 1;
}

static void on_alarm(int number)
{
	struct muster *session = the_shell->session;

	(void)number;
	if (session)
		muster_interrupt(session);
}

static void signals_take(struct shell *shell)
{
	static const struct {
		int number;
		void (*handler)(int number);
	} signals[] = {
		{ SIGINT, on_end },      { SIGTERM, on_end },   { SIGHUP, on_end },
		{ SIGTSTP, on_stop },    { SIGALRM, on_alarm }, { SIGCONT, on_continue },
		{ SIGWINCH, on_resize },
	};

	the_shell = shell;
	for (unsigned int i = 0; i < ARRAY_SIZE(signals); i++) {
		struct sigaction action = { .sa_handler = signals[i].handler };
		struct sigaction before;

		/* What takes input from a terminal is not disturbed by its size. */
		if (signals[i].number == SIGWINCH || signals[i].number == SIGCONT ||
		    signals[i].number == SIGTSTP)
			action.sa_flags = SA_RESTART;
		/* nohup's wish is kept. */
		if (sigaction(signals[i].number, NULL, &before) == 0 &&
		    before.sa_handler != SIG_IGN)
			sigaction(signals[i].number, &action, NULL);
	}
	signal(SIGPIPE, SIG_IGN);
	/* write() tells as well that a file may not grow any more. */
	signal(SIGXFSZ, SIG_IGN);
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
	int status;

	shell->keeps_directory = true;
	shell->running = 1;
	status = command_run(shell, words);
	shell->running = 0;
	return status;
}

static int run(struct shell *shell, char **words)
{
	struct call call = { .shell = shell };

	if (shell->preferences.key)
		return call_fail_text(
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

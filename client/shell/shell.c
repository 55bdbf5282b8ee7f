#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "clock.h"
#include "command.h"
#include "console.h"
#include "error.h"
#include "shell.h"
#include "state.h"
#include "text.h"

const char *shell_state_key(const struct shell *shell)
{
	const struct preferences *preferences = &shell->preferences;

	if (preferences->cluster)
		return preferences->cluster;
	return preferences->nameserver ? preferences->nameserver : "";
}

static void directory_load(struct shell *shell)
{
	if (state_get("directory", shell_state_key(shell), shell->directory) < 0 ||
	    remote_resolve("/", shell->directory, shell->directory) < 0)
		memcpy(shell->directory, "/", 2);
}

void shell_init(struct shell *shell, char *const argv[])
{
	const char *no_colour = getenv("NO_COLOR");
	const char *terminal = getenv("TERM");

	shell->argv = argv;
	shell->width = terminal_width(STDOUT_FILENO);
	shell->colour = shell->width && !(no_colour && *no_colour) && terminal &&
			strcmp(terminal, "dumb") != 0;
	directory_load(shell);
}

void shell_done(struct shell *shell)
{
	struct muster *session = shell->session;

	shell->session = NULL;
	muster_close(session);
}

void shell_interrupt(struct shell *shell)
{
	struct muster *session = shell->session;

	if (!shell->interrupted)
		shell->interrupted_ms = clock_monotonic_ms();
	shell->interrupted = 1;
	if (shell->running && session)
		muster_interrupt(session);
}

void shell_stop(void)
{
	struct sigaction plain = { .sa_handler = SIG_DFL };
	struct sigaction before;
	sigset_t stop, mask;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTSTP);
	sigaction(SIGTSTP, &plain, &before);
	raise(SIGTSTP);
	sigprocmask(SIG_UNBLOCK, &stop, &mask);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	sigaction(SIGTSTP, &before, NULL);
}

void shell_hurry(unsigned int limit_ms)
{
	struct itimerval timer = { .it_value = { limit_ms / 1000, limit_ms % 1000 * 1000L } };

	setitimer(ITIMER_REAL, &timer, NULL);
}

/* An alarm that came too late must not hit the next command. */
void shell_relax(struct shell *shell)
{
	shell_hurry(0);
	if (shell->session)
		muster_wait(shell->session, 0);
}

void shell_forget(struct shell *shell)
{
	char message[256];
	struct preferences *preferences = &shell->preferences;

	shell_done(shell);
	preferences_load(preferences, shell->argv, message);
	directory_load(shell);
}

static void nameserver_remember(struct shell *shell, const char *before)
{
	struct muster_info info;

	muster_info(shell->session, &info);
	if (!info.nameserver[0] || strcmp(info.nameserver, before) == 0)
		return;
	/* Only saves time the next time: a home that cannot be written is no reason to complain. */
	state_set("nameservers", shell_state_key(shell), info.nameserver);
}

/* Whose storage servers are read through when its name server is gone. */
static void cluster_remember(struct shell *shell, const char *before)
{
	struct muster_info info;
	char text[ID_TEXT_MAX];
	struct id cluster;

	muster_info(shell->session, &info);
	memcpy(cluster.bytes, info.cluster_id, sizeof(cluster.bytes));
	if (!info.degraded && strcmp(id_format(&cluster, text), before) != 0)
		state_set("clusters", shell_state_key(shell), text);
}

enum { MISSED_MS = 30 * 1000 };

/* Where there was no name server a moment ago, the next command need not wait as long to believe
 * it. The time is that since the machine started. */
static bool missed_lately(const struct shell *shell, uint64_t within_ms)
{
	uint64_t now_ms = clock_monotonic_ms();
	char text[STATE_VALUE_MAX];
	uint64_t missed_ms;

	if (state_get("missed", shell_state_key(shell), text) < 0)
		return false;
	missed_ms = strtoull(text, NULL, 10);
	return missed_ms <= now_ms && now_ms - missed_ms < within_ms;
}

void shell_missed_remember(struct shell *shell)
{
	struct muster_info info;
	char text[24];

	if (!shell->session)
		return;
	muster_info(shell->session, &info);
	if (!info.degraded || missed_lately(shell, MISSED_MS / 4))
		return;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)clock_monotonic_ms());
	state_set("missed", shell_state_key(shell), text);
}

static void missed_forget(struct shell *shell)
{
	struct muster_info info;

	muster_info(shell->session, &info);
	if (!info.degraded)
		state_set("missed", shell_state_key(shell), NULL);
}

struct remembered {
	bool missed;
	char nameserver[STATE_VALUE_MAX];
	char cluster[STATE_VALUE_MAX]; /* its id */
};

static void remembered_load(const struct shell *shell, struct remembered *ret)
{
	*ret->nameserver = *ret->cluster = '\0';
	if (!shell->preferences.nameserver)
		state_get("nameservers", shell_state_key(shell), ret->nameserver);
	state_get("clusters", shell_state_key(shell), ret->cluster);
	ret->missed = missed_lately(shell, MISSED_MS);
}

/* A progress line may stand there. */
static void waiting_print(void *context, const char *what)
{
	(void)context;
	fputs("\r\033[Kmuster: waiting for ", stderr);
	words_print(stderr, what);
	fputs("\n", stderr);
}

static bool wants_waiting(const struct preferences *preferences)
{
	return !preferences->quiet && !preferences->json && isatty(STDERR_FILENO);
}

static int session_new(struct shell *shell, const struct remembered *remembered)
{
	const struct preferences *preferences = &shell->preferences;
	struct muster_options options = {
		.nameserver = preferences->nameserver,
		.cluster = preferences->cluster,
		.interfaces = preferences->interfaces.items,
		.interface_count = preferences->interfaces.count,
		.beacon_port = preferences->beacon_port,
		.transfer = preferences->way,
		.timeout_ms = (unsigned int)preferences->timeout_ms,
		.missed = remembered->missed,
		.waiting = wants_waiting(preferences) ? waiting_print : NULL,
		.remembered = *remembered->nameserver ? remembered->nameserver : NULL,
	};
	struct muster *session = NULL;
	struct id cluster;
	int rc;

	if (id_parse(remembered->cluster, &cluster) == 0)
		options.remembered_cluster = cluster.bytes;
	rc = muster_new(&options, &session);
	shell->session = session;
	return rc;
}

int shell_connect(struct shell *shell)
{
	struct remembered remembered;
	int rc = 0;

	remembered_load(shell, &remembered);
	if (!shell->session)
		rc = session_new(shell, &remembered);
	if (rc == 0)
		rc = muster_connect(shell->session);
	if (rc == 0 && !shell->preferences.nameserver)
		nameserver_remember(shell, remembered.nameserver);
	if (rc == 0) {
		cluster_remember(shell, remembered.cluster);
		if (remembered.missed)
			missed_forget(shell);
		shell_missed_remember(shell);
	}
	return rc;
}

int shell_words(struct shell *shell, const struct line *line)
{
	int status;

	if (line->count == 0)
		return STATUS_DONE;
	shell->running = 1;
	/* One that came just before is for this command. */
	if (shell->interrupted && shell->session)
		muster_interrupt(shell->session);
	status = command_run_line(shell, line);
	shell->running = 0;
	/* An interrupt that came too late for this command must not hit the next one. */
	if (shell->interrupted && shell->session)
		muster_wait(shell->session, 0);
	return status;
}

static int words_split(struct shell *shell, const char *text)
{
	struct line line;
	struct call call = { .shell = shell };
	int rc = line_split(text, &line);
	int status;

	if (rc == -ERR_USAGE)
		return call_usage(&call, "a quote is not closed, or a backslash ends the line");
	if (rc < 0)
		return call_fail(&call, NULL, rc, NULL);
	status = shell_words(shell, &line);
	if (shell->preferences.console && line.count == 1 && strcmp(line.words[0], "help") == 0)
		console_help(stdout);
	line_done(&line);
	return status;
}

int shell_line(struct shell *shell, const char *text)
{
	int status;

	if (shell->preferences.console && console_line(shell, text, &status))
		return status;
	return words_split(shell, text);
}

int shell_script(struct shell *shell)
{
	char *text = NULL;
	size_t room = 0;
	int status = STATUS_DONE;

	shell->script = true;
	while (!shell->ended && !shell->terminated && !shell->unheard) {
		ssize_t size = getline(&text, &room, stdin);
		int now;

		if (size < 0)
			break;
		if (strlen(text) != (size_t)size) {
			struct call call = { .shell = shell };

			now = call_usage(&call, "a line with a NUL byte is no command");
		} else {
			now = shell_line(shell, text);
		}
		fflush(stdout);
		status = status_worse(status, now);
		if (now != STATUS_DONE && (!shell->preferences.keep_going || shell->interrupted))
			break;
	}
	free(text);
	return status;
}

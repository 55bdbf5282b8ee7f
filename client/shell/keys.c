#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "bytes.h"
#include "keys.h"

enum { CTRL_D = 4 };

void keys_init(struct keys *keys, struct shell *shell, EditLine *editor)
{
	memset(keys, 0, sizeof(*keys));
	keys->shell = shell;
	keys->editor = editor;
}

void keys_line(struct keys *keys)
{
	keys->begun = false;
	keys->ahead = 0;
}

/* The terminal goes back to how it was found while we are stopped. */
static void suspend(struct keys *keys)
{
	keys->shell->suspended = 0;
	el_set(keys->editor, EL_PREP_TERM, 0);
	fputc('\n', stdout);
	fflush(stdout);
	shell_stop();
	keys->shell->resumed = 1;
}

/* What does not end the line. */
static void signals_serve(struct keys *keys)
{
	struct shell *shell = keys->shell;

	if (shell->suspended)
		suspend(keys);
	/* Whoever had the terminal meanwhile may have set it differently. */
	if (shell->resumed) {
		shell->resumed = 0;
		el_set(keys->editor, EL_PREP_TERM, 0);
		el_set(keys->editor, EL_PREP_TERM, 1);
		el_resize(keys->editor);
		el_set(keys->editor, EL_REFRESH);
	}
	if (shell->resized) {
		shell->resized = 0;
		el_resize(keys->editor);
		el_set(keys->editor, EL_REFRESH);
	}
	shell->width = terminal_width(STDOUT_FILENO);
}

static bool must_end(const struct shell *shell)
{
	return shell->interrupted || shell->terminated;
}

/* Waits for a key while the session goes on; -1: a signal came. `signals` are let in only here, so
 * that none can slip between looking and waiting. */
static int key_wait(struct keys *keys, const sigset_t *signals)
{
	while (!must_end(keys->shell)) {
		struct muster *session = keys->shell->session;
		struct pollfd waits[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
					   { .fd = -1, .events = POLLIN } };
		int wait_ms = -1;
		struct timespec limit;

		signals_serve(keys);
		if (session) {
			waits[1].fd = muster_fd(session);
			wait_ms = muster_timeout(session);
		}
		limit = (struct timespec){ wait_ms / 1000, wait_ms % 1000 * 1000000L };
		if (ppoll(waits, 2, wait_ms < 0 ? NULL : &limit, signals) < 0) {
			if (errno != EINTR)
				return -1;
			continue;
		}
		if (session)
			muster_process(session);
		if (waits[0].revents)
			return 0;
	}
	return -1;
}

static int key_wait_safely(struct keys *keys)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGTSTP, SIGCONT, SIGWINCH };
	sigset_t blocked, before;
	int rc;

	sigemptyset(&blocked);
	for (unsigned int i = 0; i < ARRAY_SIZE(numbers); i++)
		sigaddset(&blocked, numbers[i]);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	rc = key_wait(keys, &before);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return rc;
}

/* While a command runs the terminal collects lines, and what is to be the end of the input is kept
 * as a NUL. Here keys are keys again. */
static void ahead_count(struct keys *keys)
{
	struct termios terminal;

	if (!keys->begun && tcgetattr(STDIN_FILENO, &terminal) == 0 &&
	    !(terminal.c_lflag & ICANON) && ioctl(STDIN_FILENO, FIONREAD, &keys->ahead) < 0)
		keys->ahead = 0;
	keys->begun = true;
}

static ssize_t byte_read(struct keys *keys, char *ret)
{
	ssize_t got = read(STDIN_FILENO, ret, 1);

	if (got == 1 && keys->ahead > 0) {
		keys->ahead--;
		if (*ret == '\0')
			*ret = CTRL_D;
	}
	return got;
}

int keys_read(struct keys *keys, wchar_t *ret)
{
	ahead_count(keys);
	for (;;) {
		char byte;
		ssize_t got;
		size_t used;

		if (key_wait_safely(keys) < 0) {
			errno = EINTR;
			return -1;
		}
		got = byte_read(keys, &byte);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return (int)got;
		used = mbrtowc(ret, &byte, 1, &keys->partial);
		if (used == 1 || used == 0)
			return 1;
		if (used == (size_t)-1)
			memset(&keys->partial, 0, sizeof(keys->partial));
	}
}

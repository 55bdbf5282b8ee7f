/* The interactive shell: line editing, history, the prompt. */
#include <errno.h>
#include <histedit.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>

#include "command.h"
#include "completion.h"
#include "error.h"
#include "name_columns.h"
#include "state.h"
#include "text.h"

enum { HISTORY_MAX = 1000, PROMPT_MAX = 512, DIRECTORY_SHOWN_MAX = 48 };

struct interactive {
	struct shell *shell;
	EditLine *editor;
	History *history;
	char history_file[STATE_PATH_MAX];
	char prompt[PROMPT_MAX];
	mbstate_t partial; /* of a character that has not come whole */
};

/* ---- prompt ---- */

static enum tone health_find(struct shell *shell, char ret[64])
{
	struct muster_status status;
	struct muster_info info = { 0 };

	if (shell->session)
		muster_info(shell->session, &info);
	if (!info.connected || muster_status(shell->session, &status) < 0) {
		snprintf(ret, 64, "offline");
		return TONE_BAD;
	}
	snprintf(ret, 64, "%u/%u", status.nodes_online, status.nodes_total);
	if (status.lost || status.nodes_online == 0)
		return TONE_BAD;
	return status.nodes_online < status.nodes_total || !status.writable ? TONE_WARN : TONE_GOOD;
}

/* The end of the directory, which says most, escaped. */
static void directory_format(const char *directory, char ret[4 * DIRECTORY_SHOWN_MAX + 8])
{
	size_t size = strlen(directory);
	const char *from = directory;
	struct buffer escaped = { 0 };

	if (size > DIRECTORY_SHOWN_MAX) {
		from = strchr(directory + size - DIRECTORY_SHOWN_MAX, '/');
		from = from ? from : directory + size - DIRECTORY_SHOWN_MAX;
	}
	name_escape(&escaped, from, strlen(from));
	snprintf(ret, 4 * DIRECTORY_SHOWN_MAX + 8, "%s%.*s", from > directory ? "..." : "",
		 (int)escaped.size, (const char *)escaped.data);
	buffer_done(&escaped);
}

/* \1 stands around what takes no room on the screen. */
static void prompt_make(struct interactive *interactive)
{
	static const char *const codes[] = {
		[TONE_GOOD] = "32",
		[TONE_WARN] = "33",
		[TONE_BAD] = "1;31",
		[TONE_NAME] = "34",
	};
	char directory[4 * DIRECTORY_SHOWN_MAX + 8];
	char health[64];
	enum tone tone = health_find(interactive->shell, health);

	directory_format(interactive->shell->directory, directory);
	if (interactive->shell->colour)
		snprintf(interactive->prompt, PROMPT_MAX,
			 "muster \1\033[%sm\1%s\1\033[0m\1 (\1\033[%sm\1%s\1\033[0m\1)> ",
			 codes[TONE_NAME], directory, codes[tone], health);
	else
		snprintf(interactive->prompt, PROMPT_MAX, "muster %s (%s)> ", directory, health);
}

static struct interactive *owner(EditLine *editor)
{
	struct interactive *interactive = NULL;

	el_get(editor, EL_CLIENTDATA, &interactive);
	return interactive;
}

static char *prompt_give(EditLine *editor)
{
	return owner(editor)->prompt;
}

/* ---- keys ---- */

/* Waits for a key while the session goes on; -1: a signal came. The signals are let in only here,
 * so that none can slip between looking and waiting. */
static int key_wait(struct shell *shell, const sigset_t *signals)
{
	while (!shell->interrupted && !shell->terminated) {
		struct muster *session = shell->session;
		struct pollfd waits[2] = { { .fd = STDIN_FILENO, .events = POLLIN },
					   { .fd = -1, .events = POLLIN } };
		int wait_ms = -1;
		struct timespec limit;

		if (session) {
			waits[1].fd = muster_fd(session);
			wait_ms = muster_timeout(session);
		}
		limit = (struct timespec){ wait_ms / 1000, wait_ms % 1000 * 1000000L };
		if (ppoll(waits, 2, wait_ms < 0 ? NULL : &limit, signals) < 0 && errno != EINTR)
			return -1;
		if (session)
			muster_process(session);
		if (waits[0].revents)
			return 0;
	}
	return -1;
}

static int key_wait_safely(struct shell *shell)
{
	sigset_t blocked, before;
	int rc;

	sigemptyset(&blocked);
	sigaddset(&blocked, SIGINT);
	sigaddset(&blocked, SIGTERM);
	sigaddset(&blocked, SIGHUP);
	sigprocmask(SIG_BLOCK, &blocked, &before);
	rc = key_wait(shell, &before);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return rc;
}

/* libedit's way to get one character: 1, 0 at the end, -1. */
static int key_read(EditLine *editor, wchar_t *ret)
{
	struct interactive *interactive = owner(editor);

	for (;;) {
		char byte;
		ssize_t got;
		size_t used;

		if (key_wait_safely(interactive->shell) < 0) {
			errno = EINTR;
			return -1;
		}
		got = read(STDIN_FILENO, &byte, 1);
		if (got <= 0)
			return (int)got;
		used = mbrtowc(ret, &byte, 1, &interactive->partial);
		if (used == 1 || used == 0)
			return 1;
		if (used == (size_t)-1)
			memset(&interactive->partial, 0, sizeof(interactive->partial));
	}
}

static void matches_show(const struct shell *shell, const struct completion *found)
{
	struct name_columns columns;

	putchar('\n');
	name_columns_init(&columns, shell->width, shell->colour);
	for (unsigned int i = 0; i < found->count; i++)
		name_columns_add(&columns, found->matches[i].name, found->matches[i].directory);
	name_columns_done(&columns);
	fflush(stdout);
}

static unsigned char matches_use(EditLine *editor, const struct shell *shell,
				 struct completion *found)
{
	if (buffer_append(&found->insert, "", 1) < 0)
		return CC_ERROR;
	if (found->insert.size > 1)
		return el_insertstr(editor, (const char *)found->insert.data) == 0 ? CC_REFRESH
										   : CC_ERROR;
	if (found->count == 0)
		return CC_REFRESH_BEEP;
	matches_show(shell, found);
	return CC_REDISPLAY;
}

static unsigned char complete(EditLine *editor, int key)
{
	struct shell *shell = owner(editor)->shell;
	const LineInfo *line = el_line(editor);
	struct completion found;
	unsigned char result = CC_ERROR;

	(void)key;
	shell->running = 1;
	if (completion_find(shell, line->buffer, (size_t)(line->cursor - line->buffer), &found) ==
	    0)
		result = matches_use(editor, shell, &found);
	completion_done(&found);
	shell->running = 0;
	return result;
}

/* ---- the loop ---- */

static void history_start(struct interactive *interactive)
{
	HistEvent event;

	interactive->history = history_init();
	if (!interactive->history)
		return;
	history(interactive->history, &event, H_SETSIZE, HISTORY_MAX);
	history(interactive->history, &event, H_SETUNIQUE, 1);
	if (state_path(interactive->history_file, "") == 0 &&
	    directory_make(interactive->history_file) == 0 &&
	    state_path(interactive->history_file, "history") == 0)
		history(interactive->history, &event, H_LOAD, interactive->history_file);
	else
		interactive->history_file[0] = '\0';
	el_set(interactive->editor, EL_HIST, history, interactive->history);
}

static void history_stop(struct interactive *interactive)
{
	HistEvent event;

	if (!interactive->history)
		return;
	if (interactive->history_file[0])
		history(interactive->history, &event, H_SAVE, interactive->history_file);
	history_end(interactive->history);
}

static int editor_start(struct interactive *interactive)
{
	EditLine *editor = el_init("muster", stdin, stdout, stderr);

	if (!editor)
		return -ERR_NO_MEMORY;
	interactive->editor = editor;
	el_set(editor, EL_CLIENTDATA, interactive);
	el_set(editor, EL_PROMPT_ESC, prompt_give, '\1');
	el_set(editor, EL_EDITOR, "emacs");
	el_set(editor, EL_SIGNAL, 0);
	el_set(editor, EL_GETCFN, key_read);
	el_set(editor, EL_ADDFN, "muster-complete", "complete the word", complete);
	el_set(editor, EL_BIND, "^I", "muster-complete", NULL);
	el_set(editor, EL_BIND, "^R", "em-inc-search-prev", NULL);
	history_start(interactive);
	el_source(editor, NULL);
	return 0;
}

static void line_take(struct interactive *interactive, const char *line, int *status)
{
	struct shell *shell = interactive->shell;
	HistEvent event;

	if (interactive->history && line[strspn(line, " \t\n")])
		history(interactive->history, &event, H_ENTER, line);
	*status = shell_line(shell, line);
	fflush(stdout);
	clearerr(stdout);
}

static int lines_run(struct interactive *interactive)
{
	struct shell *shell = interactive->shell;
	int status = STATUS_DONE;

	while (!shell->ended && !shell->terminated) {
		const char *line;
		int size = 0;

		shell->interrupted = 0;
		prompt_make(interactive);
		el_resize(interactive->editor);
		shell->width = terminal_width(STDOUT_FILENO);
		line = el_gets(interactive->editor, &size);
		if (line && size > 0) {
			line_take(interactive, line, &status);
		} else if (shell->interrupted && !shell->terminated) {
			el_reset(interactive->editor);
			fputs("^C\n", stderr);
		} else {
			if (!shell->terminated)
				fputc('\n', stdout);
			break;
		}
	}
	return shell->terminated ? STATUS_FAILED : status;
}

/* Says where one is; without a name server the shell starts all the same. */
static void greet(struct shell *shell)
{
	struct call call = { .shell = shell };
	struct muster_info info;

	shell->running = 1;
	if (call_session(&call) == STATUS_DONE && call_confirms(&call)) {
		muster_info(call.session, &info);
		fputs("Muster " MUSTER_VERSION ", cluster ", stdout);
		name_print(stdout, info.cluster);
		printf(", name server %s. `help` lists the commands.\n", info.nameserver);
	}
	shell->running = 0;
}

int shell_interactive(struct shell *shell)
{
	struct interactive interactive = { .shell = shell };
	struct call call = { .shell = shell };
	int status;
	int rc = editor_start(&interactive);

	if (rc < 0)
		return call_fail(&call, NULL, rc, "the terminal cannot be used");
	greet(shell);
	status = lines_run(&interactive);
	history_stop(&interactive);
	el_end(interactive.editor);
	return status;
}

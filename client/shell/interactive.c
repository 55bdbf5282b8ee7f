/* The interactive shell: line editing, completion, the loop. */
#include <histedit.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "completion.h"
#include "console.h"
#include "error.h"
#include "history_file.h"
#include "keys.h"
#include "name_columns.h"
#include "prompt.h"

enum { SHOWN_MAX = 200 };

struct interactive {
	struct shell *shell;
	EditLine *editor;
	struct history_file history;
	struct keys keys;
	char prompt[PROMPT_MAX];
	bool away; /* the name server was not there at the last prompt */
};

/* ---- prompt ---- */

static bool is_connected(const struct shell *shell)
{
	struct muster_info info = { 0 };

	if (shell->session)
		muster_info(shell->session, &info);
	return info.connected && !info.degraded;
}

/* One line where it went and came back meanwhile: nothing that was typed told it. */
static void return_tell(struct interactive *interactive)
{
	bool away = !is_connected(interactive->shell);

	if (interactive->away && !away && !interactive->shell->preferences.quiet)
		fputs("muster: the name server is back\n", stderr);
	interactive->away = away;
}

static void prompt_make(struct interactive *interactive)
{
	struct shell *shell = interactive->shell;
	struct health health = health_find(shell);

	return_tell(interactive);
	shell->width = terminal_width(STDOUT_FILENO);
	prompt_format(shell->directory, &health, shell->width, shell->colour, interactive->prompt);
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

static int key_read(EditLine *editor, wchar_t *ret)
{
	return keys_read(&owner(editor)->keys, ret);
}

static void matches_show(const struct shell *shell, const struct completion *found)
{
	struct name_columns columns;
	unsigned int shown = found->count < SHOWN_MAX ? found->count : SHOWN_MAX;

	putchar('\n');
	name_columns_init(&columns, shell->width, shell->colour);
	for (unsigned int i = 0; i < shown; i++)
		name_columns_add(&columns, found->matches[i].name, found->matches[i].directory);
	name_columns_done(&columns);
	if (found->more)
		puts("... and more");
	else if (shown < found->count)
		printf("... and %u more\n", found->count - shown);
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

static int editor_start(struct interactive *interactive)
{
	EditLine *editor = el_init("muster", stdin, stdout, stderr);

	if (!editor)
		return -ERR_NO_MEMORY;
	interactive->editor = editor;
	keys_init(&interactive->keys, interactive->shell, editor);
	el_set(editor, EL_CLIENTDATA, interactive);
	el_set(editor, EL_PROMPT_ESC, prompt_give, PROMPT_HIDDEN);
	el_set(editor, EL_EDITOR, "emacs");
	el_set(editor, EL_SIGNAL, 0);
	el_set(editor, EL_GETCFN, key_read);
	el_set(editor, EL_ADDFN, "muster-complete", "complete the word", complete);
	el_set(editor, EL_BIND, "^I", "muster-complete", NULL);
	el_set(editor, EL_BIND, "^R", "em-inc-search-prev", NULL);
	el_set(editor, EL_BIND, "^W", "ed-delete-prev-word", NULL);
	el_set(editor, EL_BIND, "\033[1;5D", "ed-prev-word", NULL);
	el_set(editor, EL_BIND, "\033[1;5C", "em-next-word", NULL);
	history_file_open(&interactive->history);
	if (interactive->history.history)
		el_set(editor, EL_HIST, history, interactive->history.history);
	el_source(editor, NULL);
	return 0;
}

/* Output may have ended within a line. As many spaces as fit into one take the cursor to the next
 * line then, and leave it on this one otherwise. */
static void line_begin(const struct shell *shell)
{
	const char *terminal = getenv("TERM");

	if (shell->width && terminal && strcmp(terminal, "dumb") != 0)
		printf("%*s\r", (int)shell->width, "");
}

static int line_take(struct interactive *interactive, const char *line)
{
	struct shell *shell = interactive->shell;
	int status;

	if (line[strspn(line, " \t\n")])
		history_file_add(&interactive->history, line);
	status = shell_line(shell, line);
	shell->width = terminal_width(STDOUT_FILENO);
	line_begin(shell);
	fflush(stdout);
	clearerr(stdout);
	return status;
}

static const char *line_get(struct interactive *interactive, int *ret_size)
{
	interactive->shell->interrupted = 0;
	prompt_make(interactive);
	el_resize(interactive->editor);
	keys_line(&interactive->keys);
	return el_gets(interactive->editor, ret_size);
}

static int lines_run(struct interactive *interactive)
{
	struct shell *shell = interactive->shell;
	int status = STATUS_DONE;

	while (!shell->ended && !shell->terminated) {
		int size = 0;
		const char *line = line_get(interactive, &size);

		if (line && size > 0) {
			status = line_take(interactive, line);
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
		printf(", %s %s. `help` lists the commands.\n",
		       info.degraded ? "no name server: reading through storage server"
				     : "name server",
		       info.degraded ? info.storage : info.nameserver);
	}
	shell->running = 0;
}

int shell_interactive(struct shell *shell)
{
	struct interactive interactive = { .shell = shell };
	struct call call = { .shell = shell };
	pid_t parent = shell->preferences.console ? console_begin() : 0;
	int status;
	int rc = editor_start(&interactive);

	if (rc < 0)
		return call_fail(&call, NULL, rc, "the terminal cannot be used");
	greet(shell);
	status = lines_run(&interactive);
	history_file_close(&interactive.history);
	el_end(interactive.editor);
	if (shell->preferences.console && console_is_orphan(parent))
		fputs("muster: the name server has ended; its log may say why\n", stderr);
	return status;
}

/* The program as a whole: what is set, the session, the current directory. */
#ifndef MUSTER_SHELL_SHELL_H
#define MUSTER_SHELL_SHELL_H

#include <signal.h>
#include <stdbool.h>

#include "line.h"
#include "muster.h"
#include "output.h"
#include "preferences.h"

struct shell {
	struct preferences preferences;
	char *const *argv;
	struct muster *volatile session; /* NULL until a command needs it */
	char directory[REMOTE_PATH_MAX];
	bool keeps_directory; /* `cd` is for the commands that follow, not for this shell */
	bool interactive;     /* a person at a terminal */
	bool script;          /* commands come from standard input */
	bool ended;
	bool colour;  /* on standard output */
	bool unheard; /* nobody reads standard output */
	bool missed;  /* in this command, something that only a name server knows may be there */
	unsigned int width;            /* of standard output; 0: no terminal */
	volatile sig_atomic_t running; /* a command runs */
	volatile sig_atomic_t interrupted;
	volatile sig_atomic_t terminated; /* SIGTERM or SIGHUP came */
	volatile sig_atomic_t suspended;  /* SIGTSTP came at the prompt */
	volatile sig_atomic_t resumed;    /* SIGCONT came */
	volatile sig_atomic_t resized;    /* SIGWINCH came */
	uint64_t interrupted_ms;          /* when; by the monotonic clock */
};

/* After the preferences are loaded. */
void shell_init(struct shell *shell, char *const argv[]);
void shell_done(struct shell *shell);
/* Makes the running command stop. For signal handlers. */
void shell_interrupt(struct shell *shell);
/* Stops this process as Ctrl-Z does by default; returns when it goes on. For signal handlers. */
void shell_stop(void);
/* Up to shell_relax(), what takes longer than `limit_ms` in all ends with -MUSTER_E_CANCELLED. */
void shell_hurry(unsigned int limit_ms);
void shell_relax(struct shell *shell);
/* The cluster may be another one now: closes the session. */
void shell_forget(struct shell *shell);
/* Under which name the last name server and the directory of this cluster are kept. */
const char *shell_state_key(const struct shell *shell);
/* Finds the name server; -MUSTER_E_… where it cannot. `shell->session` is set even then, for its
 * detail, unless memory ran out. */
int shell_connect(struct shell *shell);
/* That there is no name server, if that is so: the next command need not find it out. */
void shell_missed_remember(struct shell *shell);

/* Splits and runs a line. Returns its status; an empty line is done. */
int shell_line(struct shell *shell, const char *text);
int shell_words(struct shell *shell, const struct line *line); /* the words of a line */
int shell_script(struct shell *shell);                         /* commands from standard input */
int shell_interactive(struct shell *shell);                    /* a person at a terminal */

#endif

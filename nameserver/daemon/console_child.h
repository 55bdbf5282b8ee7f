/* --console: the terminal that the name server was started on becomes a shell, which runs as a
 * child. When that ends, so does the server; when the server stops, the shell is ended first and
 * the terminal is as it was. */
#ifndef MUSTER_NS_CONSOLE_CHILD_H
#define MUSTER_NS_CONSOLE_CHILD_H

#include <stdbool.h>
#include <termios.h>
#include <uv.h>

#include "settings.h"

struct console_child {
	uv_process_t process; /* its data: this */
	uv_timer_t patience;
	struct termios terminal; /* as it was found */
	bool running;
	void (*ended)(void *context);
	void *context;
};

/* Makes sure of the terminal and of a file for the log: one in the data directory unless --log-file
 * names one. It is to be opened once that directory is there. 0; or negative, with a line in
 * `message`. */
int console_prepare(struct settings *settings, char message[MESSAGE_SIZE_MAX]);

struct console_how {
	const char *address; /* "127.0.0.1:6235": where the shell reaches us */
	const char *cluster;
	const struct settings *settings;
	void (*ended)(void *context); /* the shell has ended by itself */
	void *context;
};
/* What the terminal's keys send to us too, is the shell's from now on. On failure a line is in
 * `message`. */
int console_start(struct console_child *child, uv_loop_t *loop, const struct console_how *how,
		  char message[MESSAGE_SIZE_MAX]);
/* Ends the shell if it runs, and waits for that. Only after a start that worked. */
void console_stop(struct console_child *child);

#endif

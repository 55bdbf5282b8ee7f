/* One line per event: time, level, component, event name, key=value pairs (or the same as a JSON
 * object). For glue only: cores, protocol, catalogue and libmuster never log; but log_pairs.c is
 * pure, and cores may use it.
 *
 *     log_event(LOG_INFO, "registered", "node=%s address=%s", name, address);
 *
 * The format string holds the pairs; a value that may hold spaces or comes from a peer goes through
 * log_quote(). In JSON quoted values are strings, whole numbers of up to 15 digits are numbers, the
 * rest strings; a key without value is true. Elsewhere control characters and what is no UTF-8
 * become '?': whatever a value holds, a line is one line and JSON is JSON. Pairs beyond
 * LOG_PAIRS_MAX bytes: the longest quoted values are cut.
 * Before log_open lines go to standard error at level info. Thread-safe: one write(2) per line, or
 * per log_hold() to log_release(). */
#ifndef MUSTER_BASE_LOG_H
#define MUSTER_BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log_config {
	const char *component;
	enum log_level level;
	bool json;
	const char *file; /* NULL: standard error */
};

int log_open(const struct log_config *config); /* before threads start; copies the strings */
int log_reopen(void);                          /* after SIGHUP; on failure the old file stays */
bool log_enabled(enum log_level level);
void log_event(enum log_level level, const char *event, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same, of pairs that are ready. */
void log_pairs(enum log_level level, const char *event, const char *pairs, size_t size);

/* Lines are gathered, then written together: a loop holds them while it works off what has come and
 * releases them before it waits. Meanwhile errors, and whatever fills the buffer (64 KiB), take
 * what was gathered with them at once; so do the end of the process by exit() and by a signal of
 * its own making (SIGSEGV, SIGABRT…). Lost are the lines of the turn that kill -9 or _exit() cuts
 * short. */
void log_hold(void);
void log_release(void);

/* ---- log_pairs.c ---- */

enum { LOG_QUOTE_MAX = 4096, LOG_PAIRS_MAX = 8192, LOG_CUT_ROOM = 4 };
/* `text` in double quotes, escaped as in JSON, cut to fit; returns ret. */
const char *log_quote(const char *text, size_t size, char *ret, size_t ret_size);
/* As vsnprintf, but several times as fast where there are only %s, %u, %x and their l and ll: a
 * name server that makes 150 000 files a second tells of each. */
int log_format(char *ret, size_t size, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));
/* Shortens pairs to at most `max` bytes; returns how many are left. The longest quoted values are
 * cut, between two characters, and end in "…"; if that is not enough the last pairs go as a whole.
 * `text` may end within a quoted value, and has room for LOG_CUT_ROOM bytes more. */
size_t log_pairs_fit(char *text, size_t size, size_t max);
size_t log_value_length(const char *text, size_t size); /* of the value that starts there */

int log_level_parse(const char *text, enum log_level *ret);
/* Level and JSON from the words of --log-level and --log-format. 0; or -ERR_USAGE, with a line in
 * `message`. */
int log_config_parse(const char *level, const char *format, struct log_config *ret,
		     char message[256]);

#endif

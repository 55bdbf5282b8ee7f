/* One line per event: time, level, component, event name, key=value pairs (or the same as a JSON
 * object). For glue only: cores, protocol, catalogue and libmuster never log.
 *
 *     log_event(LOG_INFO, "registered", "node=%s address=%s", name, address);
 *
 * The format string holds the pairs; a value that may hold spaces or comes from a peer goes through
 * log_quote(). In JSON quoted values are strings, whole numbers are numbers, the rest strings.
 * Before log_open lines go to standard error at level info. Thread-safe: one write(2) per line. */
#ifndef MUSTER_BASE_LOG_H
#define MUSTER_BASE_LOG_H

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

enum { LOG_QUOTE_MAX = 4096 };
/* `text` in double quotes, escaped as in JSON, cut to fit; returns ret. */
const char *log_quote(const char *text, size_t size, char *ret, size_t ret_size);

int log_level_parse(const char *text, enum log_level *ret);
/* Level and JSON from the words of --log-level and --log-format. 0; or -ERR_USAGE, with a line in
 * `message`. */
int log_config_parse(const char *level, const char *format, struct log_config *ret,
		     char message[256]);

#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"
#include "error.h"
#include "log.h"
#include "text.h"

/* In JSON a pair grows most if it is a bare letter: 'a ' becomes ',"a":true'. */
enum {
	LINE_MAX_SIZE = 5 * LOG_PAIRS_MAX + 1024,
	BUFFER_SIZE = 64 * 1024 + LINE_MAX_SIZE,
	NUMBER_DIGITS_MAX = 15,
	STAMP_SIZE = sizeof("2026-11-20T10:31:07.123Z"),
};

static const char *const level_names[] = {
	[LOG_ERROR] = "error",
	[LOG_WARN] = "warn",
	[LOG_INFO] = "info",
	[LOG_DEBUG] = "debug",
};

static struct {
	int fd;
	enum log_level level;
	bool json;
	char component[64];
	char file[PATH_MAX];

	pthread_mutex_t lock; /* of what follows */
	bool held, catching;
	time_t stamp_s;
	char stamp[STAMP_SIZE]; /* of that second */
	size_t used;            /* whole lines, in `buffer` */
} state = {
	.fd = STDERR_FILENO,
	.level = LOG_INFO,
	.component = "muster",
	.lock = PTHREAD_MUTEX_INITIALIZER,
};

static char buffer[BUFFER_SIZE];

/* A line while it is made: LINE_MAX_SIZE less the newline. */
struct line {
	char *text;
	size_t size;
};

static void line_add(struct line *line, const char *text, size_t size)
{
	size_t room = LINE_MAX_SIZE - 1 - line->size;

	if (size > room)
		size = room;
	memcpy(line->text + line->size, text, size);
	line->size += size;
}

static void line_text(struct line *line, const char *text)
{
	line_add(line, text, strlen(text));
}

/* Safe in a signal handler. */
static void write_out(void)
{
	size_t done = 0;

	while (done < state.used) {
		ssize_t put = write(state.fd, buffer + done, state.used - done);

		if (put < 0 && errno != EINTR)
			break;
		done += put > 0 ? (size_t)put : 0;
	}
	state.used = 0;
}

static int file_open(const char *file)
{
	int fd = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);

	return fd < 0 ? error_from_errno(errno) : fd;
}

int log_open(const struct log_config *config)
{
	int fd = STDERR_FILENO;

	if (config->file && strlen(config->file) >= sizeof(state.file))
		return -ERR_NAME_TOO_LONG;
	if (config->file)
		fd = file_open(config->file);
	if (fd < 0)
		return fd;
	log_release();
	if (state.fd != STDERR_FILENO)
		close(state.fd);
	state.fd = fd;
	state.level = config->level;
	state.json = config->json;
	snprintf(state.component, sizeof(state.component), "%s", config->component);
	snprintf(state.file, sizeof(state.file), "%s", config->file ? config->file : "");
	return 0;
}

/* dup3 swaps the file under the same number: other threads write to the old or to the new one. */
int log_reopen(void)
{
	int fd;
	int rc;

	if (state.fd == STDERR_FILENO)
		return 0;
	fd = file_open(state.file);
	if (fd < 0)
		return fd;
	pthread_mutex_lock(&state.lock);
	write_out();
	rc = dup3(fd, state.fd, O_CLOEXEC) < 0 ? error_from_errno(errno) : 0;
	pthread_mutex_unlock(&state.lock);
	close(fd);
	return rc;
}

bool log_enabled(enum log_level level)
{
	return level <= state.level;
}

int log_level_parse(const char *text, enum log_level *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(level_names); i++) {
		if (strcmp(text, level_names[i]) == 0) {
			*ret = (enum log_level)i;
			return 0;
		}
	}
	return -ERR_USAGE;
}

int log_config_parse(const char *level, const char *format, struct log_config *ret,
		     char message[256])
{
	const char *complaint = NULL;

	ret->json = strcmp(format, "json") == 0;
	if (log_level_parse(level, &ret->level) < 0)
		complaint = "--log-level wants error, warn, info or debug";
	else if (!ret->json && strcmp(format, "text") != 0)
		complaint = "--log-format wants text or json";
	if (complaint)
		snprintf(message, 256, "%s", complaint);
	return complaint ? -ERR_USAGE : 0;
}

static bool plain_number(const char *text, size_t size)
{
	size_t start = size > 1 && text[0] == '-' ? 1 : 0;

	if (size == start || size - start > NUMBER_DIGITS_MAX)
		return false;
	if (text[start] == '0' && size > 1)
		return false;
	return strspn(text + start, "0123456789") >= size - start;
}

static void json_string(struct line *line, const char *text, size_t size)
{
	char quoted[2 * LOG_PAIRS_MAX + 3]; /* clean: quotes and backslashes grow */

	line_text(line, log_quote(text, size, quoted, sizeof(quoted)));
}

/* A string of JSON as it stands: somebody may have written one without log_quote(). */
static bool whole_string(const char *text, size_t size)
{
	size_t i = 1;

	if (size < 2 || text[0] != '"')
		return false;
	while (i < size && text[i] != '"') {
		if (text[i] == '\\' && text[i + 1] == 'u' &&
		    strspn(text + i + 2, "0123456789abcdefABCDEF") < 4)
			return false;
		if (text[i] == '\\' && !strchr("\"\\/bfnrtu", text[i + 1]))
			return false;
		i += text[i] == '\\' ? 2 : 1;
	}
	return i == size - 1;
}

static void json_value(struct line *line, const char *text, size_t size)
{
	if (plain_number(text, size) || whole_string(text, size))
		line_add(line, text, size);
	else
		json_string(line, text, size);
}

static void json_pairs(struct line *line, const char *pairs)
{
	for (const char *at = pairs + strspn(pairs, " "); *at; at += strspn(at, " ")) {
		size_t key = strcspn(at, "= ");
		size_t value;

		line_text(line, ",");
		json_string(line, at, key);
		line_text(line, ":");
		at += key;
		if (*at != '=') {
			line_text(line, "true");
			continue;
		}
		at++;
		value = log_value_length(at, strlen(at));
		json_value(line, at, value);
		at += value;
	}
}

enum { PLAIN_BLOCK = 16 };

/* Of a length that compilers make one comparison of. */
static bool block_is_plain(const char *text)
{
	unsigned int odd = 0;

	for (size_t i = 0; i < PLAIN_BLOCK; i++)
		odd |= (unsigned char)(text[i] - ' ') > '~' - ' ';
	return !odd;
}

/* Whatever stands in unquoted values shall not forge lines. */
static void pairs_clean(char *pairs, size_t size)
{
	for (size_t i = 0; i < size;) {
		size_t length;

		if (size - i >= PLAIN_BLOCK && block_is_plain(pairs + i)) { /* nearly all are */
			i += PLAIN_BLOCK;
			continue;
		}
		length = text_printable(pairs + i, size - i);
		if (length == 0)
			pairs[i] = '?';
		i += length ? length : 1;
	}
}

static void time_stamp(struct line *line)
{
	char stamp[STAMP_SIZE];
	struct timespec now;
	struct tm utc;

	clock_gettime(CLOCK_REALTIME, &now);
	if (now.tv_sec != state.stamp_s || !state.stamp[0]) {
		gmtime_r(&now.tv_sec, &utc);
		strftime(state.stamp, sizeof(state.stamp), "%Y-%m-%dT%H:%M:%S.000Z", &utc);
		state.stamp_s = now.tv_sec;
	}
	memcpy(stamp, state.stamp, STAMP_SIZE);
	for (long rest = now.tv_nsec / 1000000, i = 22; i > 19; i--, rest /= 10)
		stamp[i] = (char)('0' + rest % 10);
	line_add(line, stamp, STAMP_SIZE - 1);
}

static void line_of_text(struct line *line, const char *level, const char *event,
			 struct slice pairs)
{
	const char *words[] = { state.component, event };
	size_t start;

	line_text(line, level);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		line_add(line, " ", 1);
		line_text(line, words[i]);
	}
	if (pairs.size)
		line_add(line, " ", 1);
	start = line->size;
	line_add(line, (const char *)pairs.data, pairs.size);
	pairs_clean(line->text + start, line->size - start);
}

static void line_of_json(struct line *line, const char *level, const char *event,
			 struct slice pairs)
{
	char text[LOG_PAIRS_MAX + 1];

	memcpy(text, pairs.data, pairs.size);
	text[pairs.size] = '\0';
	pairs_clean(text, pairs.size);
	line_text(line, "\",\"level\":\"");
	line_text(line, level);
	line_text(line, "\",\"component\":");
	json_string(line, state.component, strlen(state.component));
	line_text(line, ",\"event\":");
	json_string(line, event, strlen(event));
	json_pairs(line, text);
	line_text(line, "}");
}

static void line_make(struct line *line, const char *level, const char *event, struct slice pairs)
{
	line_text(line, state.json ? "{\"time\":\"" : "");
	time_stamp(line);
	line_text(line, state.json ? "" : " ");
	if (state.json)
		line_of_json(line, level, event, pairs);
	else
		line_of_text(line, level, event, pairs);
}

/* ---- writing ---- */

static void on_death(int number)
{
	write_out();
	raise(number); /* SA_RESETHAND: now it does what it does */
}

static const int deaths[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };

/* Who has a handler already, a sanitizer say, keeps it. */
static void catch_death(void)
{
	struct sigaction how = { .sa_handler = on_death, .sa_flags = (int)SA_RESETHAND };
	struct sigaction old;

	for (size_t i = 0; i < ARRAY_SIZE(deaths); i++) {
		if (sigaction(deaths[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
			sigaction(deaths[i], &how, NULL);
	}
	atexit(log_release);
}

void log_hold(void)
{
	pthread_mutex_lock(&state.lock);
	state.held = true;
	if (!state.catching)
		catch_death();
	state.catching = true;
	pthread_mutex_unlock(&state.lock);
}

void log_release(void)
{
	pthread_mutex_lock(&state.lock);
	state.held = false;
	write_out();
	pthread_mutex_unlock(&state.lock);
}

void log_pairs(enum log_level level, const char *event, const char *pairs, size_t size)
{
	const struct slice slice = { (const uint8_t *)pairs,
				     size < LOG_PAIRS_MAX ? size : LOG_PAIRS_MAX };
	struct line line = { .size = 0 };

	if (!log_enabled(level))
		return;
	pthread_mutex_lock(&state.lock);
	if (sizeof(buffer) - state.used < LINE_MAX_SIZE)
		write_out();
	line.text = buffer + state.used;
	line_make(&line, level_names[level], event, slice);
	line.text[line.size++] = '\n';
	state.used += line.size;
	if (!state.held || level == LOG_ERROR)
		write_out();
	pthread_mutex_unlock(&state.lock);
}

void log_event(enum log_level level, const char *event, const char *format, ...)
{
	char pairs[2 * LOG_PAIRS_MAX + LOG_CUT_ROOM];
	va_list args;
	int size;

	if (!log_enabled(level))
		return;
	va_start(args, format);
	size = log_format(pairs, 2 * LOG_PAIRS_MAX, format, args);
	va_end(args);
	if (size < 0)
		return;
	size = size < 2 * LOG_PAIRS_MAX ? size : 2 * LOG_PAIRS_MAX - 1;
	log_pairs(level, event, pairs, log_pairs_fit(pairs, (size_t)size, LOG_PAIRS_MAX));
}

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h"
#include "error.h"
#include "log.h"
#include "text.h"

enum { LINE_MAX_SIZE = 16 * 1024, NUMBER_DIGITS_MAX = 15 };

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
} state = { .fd = STDERR_FILENO, .level = LOG_INFO, .component = "muster" };

/* A line while it is made: what does not fit is cut. */
struct line {
	char text[LINE_MAX_SIZE];
	size_t size;
};

static void line_add(struct line *line, const char *text, size_t size)
{
	size_t room = sizeof(line->text) - line->size;

	if (size > room)
		size = room;
	memcpy(line->text + line->size, text, size);
	line->size += size;
}

static void line_text(struct line *line, const char *text)
{
	line_add(line, text, strlen(text));
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
	rc = dup3(fd, state.fd, O_CLOEXEC) < 0 ? error_from_errno(errno) : 0;
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

/* The escape for the character at `at`; sets how many bytes of text it stands for. */
static size_t quote_one(const uint8_t *at, size_t size, char ret[8], size_t *taken)
{
	size_t length = text_printable(at, size);

	*taken = length ? length : 1;
	if (*at == '"' || *at == '\\')
		return (size_t)snprintf(ret, 8, "\\%c", *at);
	if (length) {
		memcpy(ret, at, length);
		return length;
	}
	switch (*at) {
	case '\n': return (size_t)snprintf(ret, 8, "\\n");
	case '\t': return (size_t)snprintf(ret, 8, "\\t");
	case '\r': return (size_t)snprintf(ret, 8, "\\r");
	default: break;
	}
	/* JSON knows no raw bytes: from 0x80 on the string shall read \xNN once it is decoded. */
	if (*at >= 0x80)
		return (size_t)snprintf(ret, 8, "\\\\x%02x", *at);
	return (size_t)snprintf(ret, 8, "\\u%04x", *at);
}

const char *log_quote(const char *text, size_t size, char *ret, size_t ret_size)
{
	size_t used = 1;

	if (ret_size < 3) {
		if (ret_size)
			*ret = '\0';
		return ret;
	}
	ret[0] = '"';
	while (size) {
		char piece[8];
		size_t taken;
		size_t length = quote_one((const uint8_t *)text, size, piece, &taken);

		if (used + length + 2 > ret_size)
			break;
		memcpy(ret + used, piece, length);
		used += length;
		text += taken;
		size -= taken;
	}
	ret[used] = '"';
	ret[used + 1] = '\0';
	return ret;
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
	char quoted[LOG_QUOTE_MAX];

	line_text(line, log_quote(text, size, quoted, sizeof(quoted)));
}

/* A cut line may end within a string. */
static bool whole_string(const char *text, size_t size)
{
	size_t i = 1;

	if (size < 2 || text[0] != '"')
		return false;
	while (i < size && text[i] != '"')
		i += text[i] == '\\' ? 2 : 1;
	return i == size - 1;
}

static void json_value(struct line *line, const char *text, size_t size)
{
	if (plain_number(text, size) || whole_string(text, size))
		line_add(line, text, size);
	else
		json_string(line, text, size);
}

/* Length of a value: to the closing quote, or to the next space. */
static size_t value_length(const char *at)
{
	size_t i = 1;

	if (*at != '"')
		return strcspn(at, " ");
	while (at[i] && at[i] != '"')
		i += at[i] == '\\' && at[i + 1] ? 2 : 1;
	return at[i] ? i + 1 : i;
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
		value = value_length(at);
		json_value(line, at, value);
		at += value;
	}
}

/* Control characters in unquoted values shall not forge lines. */
static void pairs_clean(char *pairs)
{
	for (; *pairs; pairs++) {
		if ((unsigned char)*pairs < 0x20 || *pairs == 0x7f)
			*pairs = '?';
	}
}

static void time_stamp(char *ret, size_t size)
{
	struct timespec now;
	struct tm utc;
	size_t used;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	used = strftime(ret, size, "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(ret + used, size - used, ".%03dZ", (int)(now.tv_nsec / 1000000));
}

static void line_make(struct line *line, const char *level, const char *event, const char *pairs)
{
	char stamp[40];

	time_stamp(stamp, sizeof(stamp));
	if (!state.json) {
		const char *words[] = { stamp, level, state.component, event, pairs };

		for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
			if (i && *words[i])
				line_text(line, " ");
			line_text(line, words[i]);
		}
		return;
	}
	line_text(line, "{\"time\":\"");
	line_text(line, stamp);
	line_text(line, "\",\"level\":\"");
	line_text(line, level);
	line_text(line, "\",\"component\":");
	json_string(line, state.component, strlen(state.component));
	line_text(line, ",\"event\":");
	json_string(line, event, strlen(event));
	json_pairs(line, pairs);
	line_text(line, "}");
}

void log_event(enum log_level level, const char *event, const char *format, ...)
{
	char pairs[LINE_MAX_SIZE / 4];
	struct line line;
	va_list args;
	ssize_t put;

	if (!log_enabled(level))
		return;
	va_start(args, format);
	vsnprintf(pairs, sizeof(pairs), format, args);
	va_end(args);
	pairs_clean(pairs);
	line.size = 0;
	line_make(&line, level_names[level], event, pairs);
	if (line.size == sizeof(line.text))
		line.size--;
	line_text(&line, "\n");
	do
		put = write(state.fd, line.text, line.size);
	while (put < 0 && errno == EINTR);
}

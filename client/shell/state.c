#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buffer.h"
#include "error.h"
#include "state.h"

enum { STATE_FILE_MAX = 512 * 1024 };

static int home_path(char ret[STATE_PATH_MAX], const char *variable, const char *fallback,
		     const char *name)
{
	const char *base = getenv(variable);
	const char *home = getenv("HOME");
	int size;

	/* The XDG specification: relative paths are to be ignored. */
	if (base && *base == '/')
		size = snprintf(ret, STATE_PATH_MAX, "%s/muster/%s", base, name);
	else if (home && *home == '/')
		size = snprintf(ret, STATE_PATH_MAX, "%s/%s/muster/%s", home, fallback, name);
	else
		return -ERR_NOT_FOUND;
	return size < STATE_PATH_MAX ? 0 : -ERR_NAME_TOO_LONG;
}

int config_path(char ret[STATE_PATH_MAX], const char *name)
{
	return home_path(ret, "XDG_CONFIG_HOME", ".config", name);
}

int state_path(char ret[STATE_PATH_MAX], const char *name)
{
	return home_path(ret, "XDG_STATE_HOME", ".local/state", name);
}

int directory_make(const char *path)
{
	char part[STATE_PATH_MAX];

	if (strlen(path) >= sizeof(part))
		return -ERR_NAME_TOO_LONG;
	for (size_t i = 1; i <= strlen(path); i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return error_from_errno(errno);
	}
	return 0;
}

static int descriptor_load(int fd, char *ret, size_t size)
{
	size_t used = 0;

	while (used < size - 1) {
		ssize_t got = read(fd, ret + used, size - 1 - used);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_from_errno(errno);
		if (got == 0)
			break;
		used += (size_t)got;
	}
	ret[used] = '\0';
	return 0;
}

int file_load(const char *path, char *ret, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int rc;

	if (fd < 0)
		return error_from_errno(errno);
	rc = descriptor_load(fd, ret, size);
	close(fd);
	return rc;
}

static int descriptor_store(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t put = write(fd, data, size);

		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return error_from_errno(errno);
		data += put;
		size -= (size_t)put;
	}
	return 0;
}

int file_store(const char *path, const void *data, size_t size)
{
	char beside[STATE_PATH_MAX];
	int fd;
	int rc;

	if (snprintf(beside, sizeof(beside), "%s.XXXXXX", path) >= (int)sizeof(beside))
		return -ERR_NAME_TOO_LONG;
	fd = mkostemp(beside, O_CLOEXEC);
	if (fd < 0)
		return error_from_errno(errno);
	rc = descriptor_store(fd, data, size);
	close(fd);
	if (rc == 0 && rename(beside, path) < 0)
		rc = error_from_errno(errno);
	if (rc < 0)
		unlink(beside);
	return rc;
}

/* Keys and values share lines, so tabs, line ends and % become %XX. */
static void part_encode(struct buffer *buffer, const char *text)
{
	for (; *text; text++) {
		if (strchr("%\t\n", *text))
			buffer_printf(buffer, "%%%02X", (unsigned char)*text);
		else
			buffer_append(buffer, text, 1);
	}
}

static int part_decode(const char *text, char ret[STATE_VALUE_MAX])
{
	size_t used = 0;
	unsigned int byte;

	for (; *text; used++) {
		if (used == STATE_VALUE_MAX - 1)
			return -ERR_TOO_LARGE;
		if (*text == '%' && sscanf(text + 1, "%2X", &byte) == 1 && text[1] && text[2]) {
			ret[used] = (char)byte;
			text += 3;
		} else {
			ret[used] = *text++;
		}
	}
	ret[used] = '\0';
	return 0;
}

static int text_load(const char *name, char path[STATE_PATH_MAX], char **ret)
{
	int rc = state_path(path, name);

	if (rc < 0)
		return rc;
	*ret = malloc(STATE_FILE_MAX);
	if (!*ret)
		return -ERR_NO_MEMORY;
	rc = file_load(path, *ret, STATE_FILE_MAX);
	if (rc < 0) {
		free(*ret);
		*ret = NULL;
	}
	return rc;
}

int state_get(const char *name, const char *key, char ret[STATE_VALUE_MAX])
{
	struct buffer wanted = { 0 };
	char path[STATE_PATH_MAX];
	char *text = NULL;
	char *rest;
	int rc = text_load(name, path, &text);

	if (rc < 0)
		return rc;
	part_encode(&wanted, key);
	buffer_append(&wanted, "\t", 2);
	rc = -ERR_NOT_FOUND;
	rest = text;
	while (rest && rc == -ERR_NOT_FOUND && wanted.error == 0) {
		const char *line = strsep(&rest, "\n");

		if (strncmp(line, (const char *)wanted.data, wanted.size - 1) == 0)
			rc = part_decode(line + wanted.size - 1, ret);
	}
	buffer_done(&wanted);
	free(text);
	return rc;
}

/* The lines of `text` but for the one that `buffer` begins with. */
static void others_append(struct buffer *buffer, size_t key_size, char *text)
{
	unsigned int kept = 1;

	while (text && kept < STATE_KEYS_MAX) {
		const char *line = strsep(&text, "\n");

		if (!*line || strncmp(line, (const char *)buffer->data, key_size) == 0)
			continue;
		buffer_printf(buffer, "%s\n", line);
		kept++;
	}
}

int state_set(const char *name, const char *key, const char *value)
{
	struct buffer lines = { .max = STATE_FILE_MAX - 1 };
	char path[STATE_PATH_MAX];
	char *text = NULL;
	size_t key_size;
	size_t forgotten = 0;
	int rc = state_path(path, "");

	if (rc < 0 || (rc = directory_make(path)) < 0)
		return rc;
	text_load(name, path, &text);
	part_encode(&lines, key);
	buffer_append(&lines, "\t", 1);
	key_size = lines.size;
	part_encode(&lines, value ? value : "");
	buffer_append(&lines, "\n", 1);
	forgotten = value ? 0 : lines.size;
	if (lines.error == 0)
		others_append(&lines, key_size, text);
	rc = lines.error;
	if (rc == 0)
		rc = file_store(path, lines.data + forgotten, lines.size - forgotten);
	buffer_done(&lines);
	free(text);
	return rc;
}

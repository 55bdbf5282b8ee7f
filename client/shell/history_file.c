#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buffer.h"
#include "error.h"
#include "history_file.h"

/* A file with more lines than REWRITE_FROM is written anew with the last LINES_MAX. */
enum { LINES_MAX = 1000, REWRITE_FROM = 2000 };

static void give_up(struct history_file *file, int error)
{
	fprintf(stderr, "muster: %s: the history is not kept: %s\n",
		file->path[0] ? file->path : "no home directory", error_text(error));
	file->kept = false;
}

/* In one step; if it cannot be, the long one stays. */
static void rewrite(struct history_file *file)
{
	char beside[STATE_PATH_MAX + 8];
	HistEvent event;
	int fd;

	snprintf(beside, sizeof(beside), "%s.XXXXXX", file->path);
	fd = mkostemp(beside, O_CLOEXEC);
	if (fd < 0)
		return;
	close(fd);
	if (history(file->history, &event, H_SAVE, beside) < 0 || rename(beside, file->path) < 0)
		unlink(beside);
}

/* As the library reads its files: a first line that says what they are, then escaped ones. */
static void line_escape(struct buffer *text, const char *line)
{
	for (; *line; line++) {
		if (*line > ' ' && *line < 0x7f && *line != '\\')
			buffer_append(text, line, 1);
		else
			buffer_printf(text, "\\%03o", (unsigned char)*line);
	}
	buffer_append(text, "\n", 1);
}

/* In one piece, so that shells do not mix their lines. NULL: only makes sure that it could. */
static int append(const struct history_file *file, const char *line)
{
	struct buffer text = { 0 };
	int fd = open(file->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	ssize_t put;
	int rc;

	if (fd < 0)
		return error_from_errno(errno);
	if (lseek(fd, 0, SEEK_END) == 0)
		buffer_printf(&text, "_HiStOrY_V2_\n");
	if (line)
		line_escape(&text, line);
	rc = text.error;
	put = rc == 0 && text.size ? write(fd, text.data, text.size) : 0;
	if (put < 0)
		rc = error_from_errno(errno);
	close(fd);
	buffer_done(&text);
	return rc;
}

void history_file_open(struct history_file *file)
{
	HistEvent event;
	int rc;

	memset(file, 0, sizeof(*file));
	file->history = history_init();
	if (!file->history)
		return;
	history(file->history, &event, H_SETSIZE, LINES_MAX);
	history(file->history, &event, H_SETUNIQUE, 1);
	file->kept = true;
	rc = state_path(file->path, "");
	if (rc == 0)
		rc = directory_make(file->path);
	if (rc == 0)
		rc = state_path(file->path, "history");
	if (rc < 0) {
		give_up(file, rc);
		return;
	}
	if (history(file->history, &event, H_LOAD, file->path) > REWRITE_FROM)
		rewrite(file);
	rc = append(file, NULL);
	if (rc < 0)
		give_up(file, rc);
}

void history_file_add(struct history_file *file, const char *line)
{
	HistEvent event;
	int entered;
	int rc;

	if (!file->history)
		return;
	entered = history(file->history, &event, H_ENTER, line);
	rc = entered > 0 && file->kept ? append(file, line) : 0;
	if (rc < 0)
		give_up(file, rc);
}

void history_file_close(struct history_file *file)
{
	if (file->history)
		history_end(file->history);
}

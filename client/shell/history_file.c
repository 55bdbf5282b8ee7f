#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static FILE *append_open(const struct history_file *file)
{
	int fd = open(file->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	FILE *stream = fd < 0 ? NULL : fdopen(fd, "a");

	if (!stream && fd >= 0)
		close(fd);
	/* The library writes a first line into a file that is empty. */
	if (stream)
		fseek(stream, 0, SEEK_END);
	return stream;
}

void history_file_open(struct history_file *file)
{
	HistEvent event;
	FILE *stream;
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
	stream = append_open(file);
	if (stream)
		fclose(stream);
	else
		give_up(file, error_from_errno(errno));
}

void history_file_add(struct history_file *file, const char *line)
{
	HistEvent event;
	FILE *stream;
	int entered;

	if (!file->history)
		return;
	entered = history(file->history, &event, H_ENTER, line);
	if (entered <= 0 || !file->kept)
		return;
	stream = append_open(file);
	if (!stream || history(file->history, &event, H_NSAVE_FP, (size_t)1, stream) < 0)
		give_up(file, error_from_errno(errno));
	if (stream && fclose(stream) != 0 && file->kept)
		give_up(file, error_from_errno(errno));
}

void history_file_close(struct history_file *file)
{
	if (file->history)
		history_end(file->history);
}

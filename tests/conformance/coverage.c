#include "coverage.h"

#include <errno.h>

#include "error.h"
#include "message.h"

/* What is wanted of READ comes as DATA; its own reply is there to refuse. */
static bool is_only_refused(unsigned int code)
{
	return code == MSG_read;
}

void coverage_add(struct coverage *coverage, const struct frame_header *header, bool received)
{
	if (header->type >= COVERAGE_CODES)
		return;
	if (!header->reply)
		coverage->requests[header->type] = true;
	else if (header->status == 0 || is_only_refused(header->type))
		coverage->replies[header->type] = true;
	if (header->reply && received && header->status < COVERAGE_STATUSES)
		coverage->statuses[header->status] = true;
}

static void add_line(struct coverage *coverage, const char *kind, const char *name)
{
	const struct message_info *message = message_find(name);
	const struct error_info *error = error_find(name);

	if (strcmp(kind, "status") == 0 && error && error->code < COVERAGE_STATUSES)
		coverage->statuses[error->code] = true;
	else if (strcmp(kind, "request") == 0 && message)
		coverage->requests[message->code] = true;
	else if (strcmp(kind, "reply") == 0 && message)
		coverage->replies[message->code] = true;
}

int coverage_read(struct coverage *coverage, const char *path)
{
	char kind[16], name[32];
	FILE *file = fopen(path, "r");

	if (!file)
		return errno == ENOENT ? 0 : error_from_errno(errno);
	while (fscanf(file, "%15s %31s", kind, name) == 2)
		add_line(coverage, kind, name);
	fclose(file);
	return 0;
}

int coverage_write(const struct coverage *coverage, const char *path)
{
	const struct message_info *message;
	const struct error_info *error;
	FILE *file = fopen(path, "w");

	if (!file)
		return error_from_errno(errno);
	for (unsigned int i = 0; (message = message_at(i)); i++) {
		if (coverage->requests[message->code])
			fprintf(file, "request %s\n", message->name);
		if (coverage->replies[message->code])
			fprintf(file, "reply %s\n", message->name);
	}
	for (unsigned int i = 0; (error = error_at(i)); i++) {
		if (error->code < COVERAGE_STATUSES && coverage->statuses[error->code])
			fprintf(file, "status %s\n", error->name);
	}
	return fclose(file) ? error_from_errno(errno) : 0;
}

unsigned int coverage_missing(const struct coverage *coverage, FILE *out)
{
	const struct message_info *message;
	const struct error_info *error;
	unsigned int count = 0;

	for (unsigned int i = 0; (message = message_at(i)); i++) {
		bool answered = !(message->flags & MESSAGE_ONE_WAY);

		if (!coverage->requests[message->code]) {
			fprintf(out, "not ok - no script exercises %s\n", message->name);
			count++;
		}
		if (answered && !coverage->replies[message->code]) {
			fprintf(out, "not ok - no script gets a reply to %s\n", message->name);
			count++;
		}
	}
	for (unsigned int i = 0; (error = error_at(i)); i++) {
		if (!error->wire || coverage->statuses[error->code])
			continue;
		fprintf(out, "not ok - no script meets the status %s\n", error->name);
		count++;
	}
	return count;
}

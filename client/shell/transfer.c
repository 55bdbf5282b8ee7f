#include <string.h>
#include <sys/stat.h>

#include "clock.h"
#include "error.h"
#include "transfer.h"

enum { RATE_AFTER_MS = 500 };

void local_name(const char *path, char ret[256])
{
	size_t size = strlen(path);
	const char *start;

	while (size > 1 && path[size - 1] == '/')
		size--;
	start = path + size;
	while (start > path && start[-1] != '/')
		start--;
	size -= (size_t)(start - path);
	if (size >= 256 || (size == 1 && (*start == '.' || *start == '/')) ||
	    (size == 2 && start[0] == '.' && start[1] == '.'))
		size = 0;
	memcpy(ret, start, size);
	ret[size] = '\0';
}

void transfer_rate_print(uint64_t bytes, const struct progress *progress)
{
	uint64_t elapsed_ms = clock_monotonic_ms() - progress->start_ms;
	char rate[RATE_MAX];

	if (elapsed_ms >= RATE_AFTER_MS)
		printf(" in %.1f s (%s)", (double)elapsed_ms / 1000,
		       rate_format(bytes, elapsed_ms, rate));
}

int transfer_destination(struct call *call, struct destination *ret)
{
	const char *text = call->arguments[call->count - 1];
	bool slash = *text && text[strlen(text) - 1] == '/';
	struct muster_entry entry;
	int status = call_resolve(call, text, ret->path);
	int rc;

	if (status != STATUS_DONE)
		return status;
	rc = muster_stat(call->session, ret->path, &entry);
	if (rc < 0 && rc != -ERR_NOT_FOUND)
		return call_fail_last(call, ret->path, rc);
	ret->directory = rc == 0 && entry.type == MUSTER_DIRECTORY;
	/* A tree may be what makes the directory. */
	if (rc < 0 && slash && !call->options[CALL_TREE])
		return call_fail(call, ret->path, rc, NULL);
	if (!ret->directory && (rc == 0 || call->count > 2) && (slash || call->count > 2))
		return call_fail(call, ret->path, rc < 0 ? rc : -ERR_NOT_DIR, NULL);
	return STATUS_DONE;
}

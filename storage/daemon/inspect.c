/* ACT_INSPECT: a worker of libuv's reads a chunk from the disk. */
#include <fcntl.h>
#include <stdlib.h>

#include "error.h"
#include "storage_daemon.h"

enum { PAGE = 4096, HEAD_MAX = 4096 /* header and CRCs in front of the payload */ };

struct inspecting {
	uv_work_t work;
	struct daemon *daemon;
	struct store_reader *reader;
	uint64_t chunk;
	uint32_t length; /* what it should have */
	struct chunk_meta meta;
	int result;
};

static void inspected(struct daemon *daemon, uint64_t chunk, int error,
		      const struct chunk_meta *meta)
{
	struct storage_event event = { .kind = STORAGE_INSPECTED,
				       .chunk = chunk,
				       .error = error,
				       .length = meta->length,
				       .digest = &meta->digest };

	daemon_step(daemon, &event);
}

/* What is in the page cache says nothing about the disk, and need not stay there afterwards. */
static void forget_pages(const struct inspecting *inspecting)
{
	uint64_t at;
	int file = store_reader_descriptor(inspecting->reader, &at);
	uint64_t from = at > HEAD_MAX ? (at - HEAD_MAX) / PAGE * PAGE : 0;
	uint64_t to = (at + inspecting->length + PAGE - 1) / PAGE * PAGE;

	if (file >= 0)
		(void)posix_fadvise(file, (off_t)from, (off_t)(to - from), POSIX_FADV_DONTNEED);
}

static void inspect_run(uv_work_t *work)
{
	struct inspecting *inspecting = work->data;

	forget_pages(inspecting);
	inspecting->result = store_reader_inspect(inspecting->reader, &inspecting->meta);
	forget_pages(inspecting);
}

static void inspect_done(uv_work_t *work, int status)
{
	struct inspecting *inspecting = work->data;

	(void)status;
	store_reader_close(inspecting->daemon->store, inspecting->reader);
	if (!inspecting->daemon->stopping)
		inspected(inspecting->daemon, inspecting->chunk, inspecting->result,
			  &inspecting->meta);
	free(inspecting);
}

static int start(struct daemon *daemon, const struct storage_action *action)
{
	struct inspecting *inspecting = calloc(1, sizeof(*inspecting));
	int rc;

	if (!inspecting)
		return -ERR_NO_MEMORY;
	inspecting->work.data = inspecting;
	inspecting->daemon = daemon;
	inspecting->chunk = action->chunk;
	inspecting->length = action->length;
	rc = store_reader_open(daemon->store, action->chunk, &inspecting->reader);
	if (rc == 0 &&
	    uv_queue_work(&daemon->loop, &inspecting->work, inspect_run, inspect_done) == 0)
		return 0;
	if (rc == 0) {
		store_reader_close(daemon->store, inspecting->reader);
		rc = -ERR_NO_MEMORY;
	}
	free(inspecting);
	/* The index knows it, but the file is gone. */
	return rc == -ERR_CORRUPT ? -ERR_NOT_FOUND : rc;
}

void inspect_start(struct daemon *daemon, const struct storage_action *action)
{
	static const struct chunk_meta none;
	int rc = start(daemon, action);

	if (rc < 0)
		inspected(daemon, action->chunk, rc, &none);
}

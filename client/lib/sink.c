/* Where gets write to: in order, and only what has been checked. */
#include "engine.h"

#include <errno.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

void sink_open(struct sink *sink, const struct muster_sink *how)
{
	struct stat status;

	*sink = (struct sink){ .how = *how };
	if (!how->write && !how->data && how->offset != MUSTER_UNKNOWN)
		sink->file = fstat(how->fd, &status) == 0 && S_ISREG(status.st_mode);
}

static void wait_writable(struct muster *session, int fd)
{
	struct pollfd waits[] = { { fd, POLLOUT, 0 }, { session->wake, POLLIN, 0 } };

	poll(waits, ARRAY_SIZE(waits), -1);
	if (waits[1].revents)
		engine_woken(session);
}

static int write_fd(struct muster *session, struct sink *sink, const uint8_t *data, size_t size)
{
	uint64_t at = sink->how.offset + sink->at;

	while (size > 0) {
		ssize_t put = sink->file ? pwrite(sink->how.fd, data, size, (off_t)at)
					 : write(sink->how.fd, data, size);

		if (put < 0 && errno != EAGAIN && errno != EINTR)
			return error_from_errno(errno);
		/* The flag stays: it also ends the blocking call that waits for this. */
		if (put < 0 && atomic_load(&session->interrupted))
			return -ERR_CANCELLED;
		if (put < 0 && errno == EAGAIN)
			wait_writable(session, sink->how.fd);
		if (put <= 0)
			continue;
		data += put;
		at += (uint64_t)put;
		size -= (size_t)put;
	}
	return 0;
}

int sink_write(struct muster *session, struct sink *sink, const void *data, size_t size)
{
	int rc = 0;

	if (sink->how.write)
		rc = sink->how.write(sink->how.context, data, size);
	else if (sink->how.data && sink->at + size <= sink->how.size)
		memcpy((uint8_t *)sink->how.data + sink->at, data, size);
	else if (sink->how.data)
		rc = -ERR_TOO_LARGE;
	else
		rc = write_fd(session, sink, data, size);
	if (rc < 0)
		return rc;
	sink->at += size;
	return 0;
}

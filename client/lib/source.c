/* Where puts read from. What can be read anywhere is read when it is sent, and again if need be;
 * what comes only once is gathered chunk by chunk. */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

/* Files that do not know their size, such as those of /proc, say that it is 0; they are read like a
 * pipe. */
static bool knows_its_size(int fd, const struct stat *status)
{
	char first;

	return status->st_size > 0 || pread(fd, &first, 1, 0) == 0;
}

static bool is_file(int fd, uint64_t offset, uint64_t *ret_left)
{
	struct stat status;

	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || !knows_its_size(fd, &status))
		return false;
	*ret_left = (uint64_t)status.st_size > offset ? (uint64_t)status.st_size - offset : 0;
	return true;
}

int source_open(struct source *source, const struct muster_source *how, uint64_t *ret_size)
{
	uint64_t left = 0;

	*source = (struct source){ .watch = { WATCH_SOURCE }, .how = *how };
	*ret_size = how->size;
	if (how->read)
		return 0;
	if (how->data || how->size == 0) {
		source->file = true;
		return how->size == MUSTER_UNKNOWN ? -ERR_USAGE : 0;
	}
	if (how->fd < 0)
		return -ERR_USAGE;
	source->file = how->offset != MUSTER_UNKNOWN && is_file(how->fd, how->offset, &left);
	if (source->file && how->size == MUSTER_UNKNOWN)
		*ret_size = left;
	else if (source->file && how->size > left)
		return -ERR_END;
	return 0;
}

bool source_is_rewindable(const struct source *source)
{
	return source->file;
}

/* ---- reading anywhere ---- */

static const struct filled *filled_find(const struct source *source, uint64_t offset)
{
	for (unsigned int i = 0; i < CLIENT_BUFFERS_MAX; i++) {
		const struct filled *filled = &source->buffers[i];

		if (filled->used && offset >= filled->offset &&
		    offset < filled->offset + filled->size)
			return filled;
	}
	return NULL;
}

const uint8_t *source_peek(const struct muster_op *op, uint64_t offset)
{
	const struct source *source = &op->source;
	const struct filled *filled;

	if (source->file && offset < source->head_size)
		return NULL;
	if (source->how.data && !source->how.read)
		return (const uint8_t *)source->how.data + (offset - source->head_size);
	filled = filled_find(&op->source, offset);
	return filled ? filled->data + (offset - filled->offset) : NULL;
}

static int read_file(const struct source *source, uint64_t offset, uint8_t *ret, size_t size)
{
	while (size > 0) {
		uint64_t at = source->how.offset + (offset - source->head_size);
		ssize_t got = pread(source->how.fd, ret, size, (off_t)at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return error_from_errno(errno);
		if (got == 0)
			return -ERR_END; /* it became shorter */
		ret += got;
		offset += (uint64_t)got;
		size -= (size_t)got;
	}
	return 0;
}

int source_read(struct muster_op *op, uint64_t offset, uint8_t *ret, size_t size)
{
	const struct source *source = &op->source;
	const uint8_t *from;

	if (source->file && offset < source->head_size) {
		size_t left = source->head_size - (size_t)offset;
		size_t part = size < left ? size : left;

		memcpy(ret, source->head + offset, part);
		offset += part;
		ret += part;
		size -= part;
	}
	if (size == 0)
		return 0;
	from = source_peek(op, offset);
	if (!from)
		return op->source.file ? read_file(&op->source, offset, ret, size) : -ERR_END;
	memcpy(ret, from, size);
	return 0;
}

/* ---- gathering ---- */

static void fill_done(struct muster *session, struct muster_op *op, int error, bool last)
{
	struct source *source = &op->source;
	struct client_event event = {
		.kind = CLIENT_FILLED,
		.op = op->core,
		.size = source->fill->size,
		.last = last,
		.error = error,
	};

	if (source->watched)
		epoll_ctl(session->epoll, EPOLL_CTL_DEL, source->how.fd, NULL);
	source->watched = false;
	source->filling = false;
	if (source->fill->size == 0)
		source->fill->used = false;
	if (last && error == 0 && source->how.size != MUSTER_UNKNOWN &&
	    source->fill->size < source->fill_want)
		event.error = -ERR_END;
	engine_later(session, &event);
}

/* Bytes read; 0: the end; -ERR_UNAVAILABLE: not now. */
static int64_t source_take(struct source *source, uint8_t *ret, size_t size)
{
	ssize_t got;

	if (source->how.read)
		return source->how.read(source->how.context, ret, size);
	do
		got = read(source->how.fd, ret, size);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN ? -ERR_UNAVAILABLE : error_from_errno(errno);
	return got;
}

/* Reads until the chunk is whole, or nothing is there for now. */
static void fill_go_on(struct muster *session, struct muster_op *op, bool once)
{
	struct source *source = &op->source;
	struct filled *fill = source->fill;

	while (fill->size < source->fill_want) {
		int64_t got = source_take(source, fill->data + fill->size,
					  source->fill_want - fill->size);

		if (got == -ERR_UNAVAILABLE && source->watched)
			return;
		if (got <= 0 || (uint64_t)got > source->fill_want - fill->size) {
			fill_done(session, op, got < 0 ? (int)got : got ? -ERR_USAGE : 0, true);
			return;
		}
		fill->size += (size_t)got;
		source->taken += (uint64_t)got;
		if (once && fill->size < source->fill_want)
			return;
	}
	fill_done(session, op, 0, false);
}

static struct filled *fill_free(struct source *source, bool kept)
{
	for (unsigned int i = 0; i < CLIENT_BUFFERS_MAX; i++) {
		struct filled *fill = &source->buffers[i];

		if (fill->used == kept && fill->kept == kept)
			return fill;
	}
	return NULL;
}

static struct filled *fill_new(struct source *source, uint64_t offset)
{
	struct filled *fill = fill_free(source, false);

	if (!fill)
		fill = fill_free(source, true);
	if (fill && !fill->data)
		fill->data = malloc(CHUNK_SIZE_MAX);
	if (!fill || !fill->data)
		return NULL;
	fill->used = true;
	fill->kept = false;
	fill->offset = offset;
	fill->size = 0;
	return fill;
}

/* What goes in front. */
static void fill_head(const struct source *source, struct filled *fill)
{
	size_t left =
		fill->offset < source->head_size ? source->head_size - (size_t)fill->offset : 0;

	fill->size = left < source->fill_want ? left : source->fill_want;
	if (fill->size > 0)
		memcpy(fill->data, source->head + fill->offset, fill->size);
}

void source_fill(struct muster *session, struct muster_op *op, uint64_t offset, uint64_t size)
{
	struct source *source = &op->source;

	source->fill = fill_new(source, offset);
	source->fill_want = (size_t)size;
	if (!source->fill) {
		engine_later(session, &(struct client_event){ .kind = CLIENT_FILLED,
							      .op = op->core,
							      .error = -ERR_NO_MEMORY });
		return;
	}
	source->filling = true;
	fill_head(source, source->fill);
	if (!source->how.read && source->fill->size < source->fill_want)
		source->watched =
			engine_watch(session, source->how.fd, EPOLLIN, &source->watch) == 0;
	if (!source->watched)
		fill_go_on(session, op, false);
}

void source_ready(struct muster *session, struct source *source)
{
	struct muster_op *op =
		(struct muster_op *)((char *)source - offsetof(struct muster_op, source));

	if (!source->watched || !op->core)
		return;
	fill_go_on(session, op, true);
	engine_act(session);
}

void source_drop(struct muster_op *op, uint64_t offset)
{
	for (unsigned int i = 0; i < CLIENT_BUFFERS_MAX; i++) {
		struct filled *filled = &op->source.buffers[i];

		if (filled->used && filled->offset == offset)
			filled->kept = true;
	}
}

void source_rewind(struct muster_op *op)
{
	for (unsigned int i = 0; i < CLIENT_BUFFERS_MAX; i++)
		op->source.buffers[i].kept = false;
}

void source_keep(struct muster_op *op)
{
	struct source *source = &op->source;

	for (unsigned int i = 0; i < CLIENT_BUFFERS_MAX && !source->file; i++) {
		struct filled *filled = &source->buffers[i];

		if (!filled->used || filled->offset > 0 ||
		    filled->size != source->head_size + source->taken)
			continue;
		op->kept = filled->data;
		op->kept_size = filled->size;
		*filled = (struct filled){ 0 };
		return;
	}
}

void source_close(struct muster *session, struct muster_op *op)
{
	struct source *source = &op->source;

	if (source->watched)
		epoll_ctl(session->epoll, EPOLL_CTL_DEL, source->how.fd, NULL);
	source->watched = false;
	for (unsigned int i = 0; i < CLIENT_BUFFERS_MAX; i++) {
		free(source->buffers[i].data);
		source->buffers[i] = (struct filled){ 0 };
	}
}

/* ---- the digest of the whole ---- */

/* Bytes at `offset` of the source or the file; those that are in it already do not count again. */
void op_hash(struct muster_op *op, uint64_t offset, const void *data, size_t size)
{
	uint64_t skip;

	if (offset > op->hashed || offset + size <= op->hashed)
		return;
	skip = op->hashed - offset;
	if (op->hash)
		digest_stream_add(op->hash, (const uint8_t *)data + skip, size - (size_t)skip);
	else
		op->digest = digest_of(data, size);
	op->hashed = offset + size;
}

struct digest op_digest(struct muster_op *op)
{
	return op->hash ? digest_stream_value(op->hash) : op->digest;
}

#include "link_output.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "error.h"

enum {
	PIECE_SIZE = 16 * 1024, /* room for the small messages of one loop turn */
	PARTS_MAX = 64,
};

struct output_piece {
	TAILQ_ENTRY(output_piece) link;
	const uint8_t *data; /* `own`, or borrowed */
	size_t size;
	size_t room; /* of `own` */
	link_release_fn *release;
	void *context;
	uint8_t own[];
};

void output_init(struct output *output)
{
	TAILQ_INIT(&output->pieces);
	output->size = 0;
	output->offset = 0;
}

static void piece_drop(struct output *output)
{
	struct output_piece *piece = TAILQ_FIRST(&output->pieces);

	TAILQ_REMOVE(&output->pieces, piece, link);
	output->offset = 0;
	if (piece->release)
		piece->release(piece->context);
	free(piece);
}

void output_done(struct output *output)
{
	while (!TAILQ_EMPTY(&output->pieces))
		piece_drop(output);
	output->size = 0;
}

static struct output_piece *piece_new(size_t room)
{
	struct output_piece *piece = malloc(sizeof(*piece) + room);

	if (!piece)
		return NULL;
	*piece = (struct output_piece){ .room = room };
	piece->data = piece->own;
	return piece;
}

int output_append(struct output *output, const void *data, size_t size)
{
	struct output_piece *piece = TAILQ_LAST(&output->pieces, output_list);

	if (size == 0)
		return 0;
	if (!piece || piece->room - piece->size < size || piece->data != piece->own) {
		piece = piece_new(size > PIECE_SIZE ? size : PIECE_SIZE);
		if (!piece)
			return -ERR_NO_MEMORY;
		TAILQ_INSERT_TAIL(&output->pieces, piece, link);
	}
	memcpy(piece->own + piece->size, data, size);
	piece->size += size;
	output->size += size;
	return 0;
}

int output_borrow(struct output *output, struct slice data, link_release_fn *release, void *context)
{
	struct output_piece *piece = piece_new(0);

	if (!piece)
		return -ERR_NO_MEMORY;
	piece->data = data.data;
	piece->size = data.size;
	piece->release = release;
	piece->context = context;
	TAILQ_INSERT_TAIL(&output->pieces, piece, link);
	output->size += data.size;
	return 0;
}

static size_t parts_gather(const struct output *output, struct iovec parts[PARTS_MAX])
{
	const struct output_piece *piece;
	size_t offset = output->offset;
	size_t count = 0;

	TAILQ_FOREACH(piece, &output->pieces, link) {
		if (count == PARTS_MAX)
			break;
		parts[count++] = (struct iovec){ (void *)(uintptr_t)(piece->data + offset),
						 piece->size - offset };
		offset = 0;
	}
	return count;
}

static void output_advance(struct output *output, size_t sent)
{
	output->size -= sent;
	output->offset += sent;
	while (!TAILQ_EMPTY(&output->pieces)) {
		size_t first = TAILQ_FIRST(&output->pieces)->size;
		size_t offset = output->offset;

		if (offset < first)
			return;
		piece_drop(output);
		output->offset = offset - first;
	}
}

/* sendmsg and not writev, because a peer that went away must not raise SIGPIPE. */
int output_flush(struct output *output, int socket)
{
	while (!TAILQ_EMPTY(&output->pieces)) {
		struct iovec parts[PARTS_MAX];
		struct msghdr message = { .msg_iov = parts };
		ssize_t sent;

		message.msg_iovlen = parts_gather(output, parts);
		sent = sendmsg(socket, &message, MSG_NOSIGNAL);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN)
			return 0;
		if (sent < 0)
			return error_from_errno(errno);
		output_advance(output, (size_t)sent);
	}
	return 1;
}

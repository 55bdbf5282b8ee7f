#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "error.h"
#include "link_output.h"
#include "network.h"

enum {
	READ_SIZE = 256 * 1024, /* at once; lives on the stack of the one who reads */
	LINGER_MS = 1000,
	HANDLES = 3,
	/* A peer whose machine vanished is noticed after 10 + 3 * 5 s. */
	KEEPALIVE_IDLE_S = 10,
	KEEPALIVE_INTERVAL_S = 5,
	KEEPALIVE_PROBES = 3,
};

struct link {
	uv_poll_t poll;
	uv_idle_t turn; /* runs once before the loop next waits: late input, output, late errors */
	uv_timer_t linger;
	int socket;
	int watched;     /* events asked of `poll` */
	int handles;     /* not closed yet */
	bool paused;     /* no input wanted */
	bool input_away; /* detached for receiving */
	bool blocked;    /* the socket takes no more bytes */
	bool broken;     /* nothing more can be sent */
	bool reported;   /* `closed` was called */
	bool closing;    /* no callback any more */
	int error;       /* to report in the next turn */
	size_t frame_max;
	const struct link_handler *handler;
	void *context;
	struct output output;
	struct buffer input; /* bytes read but not delivered */
	struct slice rest;   /* while delivering: what follows the frame being delivered */
};

static void on_poll(uv_poll_t *poll, int status, int events);
static void on_turn(uv_idle_t *turn);

static bool takes_input(const struct link *link)
{
	return !link->paused && !link->input_away && !link->reported && !link->closing &&
	       !link->error;
}

static void link_watch(struct link *link)
{
	int events = 0;

	if (takes_input(link) || (link->closing && !link->broken))
		events |= UV_READABLE;
	if (link->blocked && !link->broken)
		events |= UV_WRITABLE;
	if (events == link->watched)
		return;
	link->watched = events;
	if (events)
		uv_poll_start(&link->poll, events, on_poll);
	else
		uv_poll_stop(&link->poll);
}

static void link_wake(struct link *link)
{
	uv_idle_start(&link->turn, on_turn);
}

/* ---- the end */

static void on_handle_closed(uv_handle_t *handle)
{
	struct link *link = handle->data;

	if (--link->handles == 0)
		free(link);
}

static void link_destroy(struct link *link)
{
	if (uv_is_closing((uv_handle_t *)&link->poll))
		return;
	uv_close((uv_handle_t *)&link->poll, on_handle_closed);
	uv_close((uv_handle_t *)&link->turn, on_handle_closed);
	uv_close((uv_handle_t *)&link->linger, on_handle_closed);
	close(link->socket);
	output_done(&link->output);
	buffer_done(&link->input);
}

static void link_report(struct link *link, int error, const struct frame_header *header)
{
	if (link->reported || link->closing)
		return;
	link->reported = true;
	link_watch(link);
	link->handler->closed(link->context, link, error, header);
}

static void link_break(struct link *link, int error)
{
	link->broken = true;
	output_done(&link->output);
	if (link->closing) {
		link_destroy(link);
		return;
	}
	link_watch(link);
	link_report(link, error, NULL);
}

static void on_linger(uv_timer_t *timer)
{
	link_destroy(timer->data);
}

/* Closing a socket with unread input would reset the connection, and the peer would lose what we
 * said last. So the rest of its words are read and dropped until it hangs up. */
static void link_drop_input(struct link *link)
{
	uint8_t bytes[READ_SIZE / 4];
	ssize_t got = read(link->socket, bytes, sizeof(bytes));

	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
		link_destroy(link);
}

void link_close(struct link *link)
{
	assert(!link->closing);
	link->closing = true;
	link->rest.size = 0;
	if (link->broken || link->output.size == 0) {
		link_destroy(link);
		return;
	}
	uv_timer_start(&link->linger, on_linger, LINGER_MS, 0);
	link_watch(link);
	link_wake(link);
}

/* ---- output */

static void link_flush(struct link *link)
{
	bool had = link->output.size > 0;
	int rc;

	if (link->broken || !had)
		return;
	rc = output_flush(&link->output, link->socket);
	if (rc < 0) {
		link_break(link, rc);
		return;
	}
	link->blocked = rc == 0;
	if (!link->blocked && link->closing)
		shutdown(link->socket, SHUT_WR);
	else if (!link->blocked && link->handler->drained && !link->reported)
		link->handler->drained(link->context, link);
	if (!uv_is_closing((uv_handle_t *)&link->poll))
		link_watch(link);
}

/* The closed callback must not come out of a send: it waits for the turn. */
static int link_admit(struct link *link, size_t size)
{
	if (link->broken || link->closing || link->error)
		return -ERR_CONNECTION;
	if (size <= LINK_OUTPUT_MAX && link->output.size <= LINK_OUTPUT_MAX - size)
		return 0;
	link->error = -ERR_CONNECTION;
	link_wake(link);
	return -ERR_CONNECTION;
}

static int link_sent(struct link *link, int rc)
{
	if (rc < 0)
		link->error = rc;
	if (rc < 0 || !link->blocked)
		link_wake(link);
	return rc;
}

int link_send(struct link *link, const void *frames, size_t size)
{
	int rc = link_admit(link, size);

	return rc < 0 ? rc : link_sent(link, output_append(&link->output, frames, size));
}

int link_send_borrowed(struct link *link, const void *data, size_t size, link_release_fn *release,
		       void *context)
{
	struct slice bytes = { data, size };
	int rc = link_admit(link, size);

	return rc < 0 ? rc : link_sent(link, output_borrow(&link->output, bytes, release, context));
}

size_t link_unsent(const struct link *link)
{
	return link->output.size;
}

/* ---- input */

static void link_keep(struct link *link)
{
	struct slice rest = link->rest;

	link->rest = (struct slice){ 0 };
	if (rest.size > 0 && buffer_append(&link->input, rest.data, rest.size) < 0) {
		link->error = link->input.error;
		link_wake(link);
	}
}

/* Delivers what link->rest holds, as long as the handler wants it, and keeps what remains. */
static void link_deliver(struct link *link)
{
	while (takes_input(link) && link->rest.size > 0) {
		struct frame_header header = { 0 };
		struct slice rest = link->rest;
		size_t size = 0;
		int rc = frame_next(rest.data, rest.size, &header, &size);

		if (rc >= 0 && size > link->frame_max)
			rc = -ERR_TOO_LARGE;
		if (rc < 0) {
			link->rest.size = 0;
			link_report(link, rc, &header);
			return;
		}
		if (rc == 0)
			break;
		link->rest = (struct slice){ rest.data + size, rest.size - size };
		link->handler->frame(link->context, link, &header, rest.data + FRAME_HEADER_SIZE);
	}
	if (!link->closing)
		link_keep(link);
}

/* Bytes of the frame that `input` has begun and still lacks; 0 when its header is not whole, or
 * says what link_deliver will refuse. */
static size_t link_lacks(struct link *link)
{
	struct frame_header header;
	size_t size;

	if (link->input.size < FRAME_HEADER_SIZE ||
	    frame_next(link->input.data, link->input.size, &header, &size) != 0 ||
	    size > link->frame_max)
		return 0;
	return size - link->input.size;
}

/* A long frame goes straight where it is gathered; what follows it goes to the stack. */
static ssize_t link_read_long(struct link *link, size_t lacks, uint8_t *bytes, size_t size)
{
	uint8_t *at = buffer_extend(&link->input, lacks);
	struct iovec parts[] = { { at, lacks }, { bytes, size } };
	ssize_t got;

	if (!at) {
		errno = ENOMEM;
		return -1;
	}
	got = readv(link->socket, parts, ARRAY_SIZE(parts));
	if (got < (ssize_t)lacks)
		link->input.size -= lacks - (got > 0 ? (size_t)got : 0);
	return got;
}

static void link_deliver_long(struct link *link, const uint8_t *bytes, size_t size)
{
	struct buffer frame = link->input;
	struct frame_header header;
	size_t frame_size;

	link->input = (struct buffer){ 0 };
	link->rest = (struct slice){ bytes, size };
	if (frame_next(frame.data, frame.size, &header, &frame_size) == 1)
		link->handler->frame(link->context, link, &header, frame.data + FRAME_HEADER_SIZE);
	link_deliver(link);
	buffer_done(&frame);
}

static void link_read_failed(struct link *link, ssize_t got)
{
	if (got == 0)
		link_report(link, -ERR_CONNECTION, NULL);
	else if (errno != EAGAIN && errno != EINTR)
		link_break(link, error_from_errno(errno));
}

static void link_read(struct link *link)
{
	uint8_t bytes[READ_SIZE];
	size_t lacks = link_lacks(link);
	size_t kept = lacks ? 0 : link->input.size;
	ssize_t got;

	assert(kept < FRAME_HEADER_SIZE);
	if (lacks) {
		got = link_read_long(link, lacks, bytes, sizeof(bytes));
	} else {
		if (kept)
			memcpy(bytes, link->input.data, kept);
		got = read(link->socket, bytes + kept, sizeof(bytes) - kept);
	}
	if (got <= 0) {
		link_read_failed(link, got);
	} else if (!lacks) {
		buffer_clear(&link->input);
		link->rest = (struct slice){ bytes, kept + (size_t)got };
		link_deliver(link);
	} else if ((size_t)got >= lacks) {
		link_deliver_long(link, bytes, (size_t)got - lacks);
	}
}

static bool has_kept_frames(struct link *link)
{
	return link->input.size >= FRAME_HEADER_SIZE && link_lacks(link) == 0;
}

/* Frames that were kept because the handler did not want them. */
static void link_read_kept(struct link *link)
{
	struct buffer kept = link->input;

	link->input = (struct buffer){ 0 };
	link->rest = (struct slice){ kept.data, kept.size };
	link_deliver(link);
	buffer_done(&kept);
}

static void on_turn(uv_idle_t *turn)
{
	struct link *link = turn->data;

	uv_idle_stop(turn);
	if (link->error && !link->reported && !link->closing) {
		link_break(link, link->error);
		return;
	}
	if (takes_input(link) && has_kept_frames(link))
		link_read_kept(link);
	if (!uv_is_closing((uv_handle_t *)turn))
		link_flush(link);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct link *link = poll->data;

	if (status < 0) {
		int rc = tcp_connected(link->socket);

		link->watched = 0; /* libuv has stopped watching */
		link_break(link, rc < 0 ? rc : -ERR_CONNECTION);
		return;
	}
	if (events & UV_WRITABLE)
		link_flush(link);
	if (!(events & UV_READABLE) || uv_is_closing((uv_handle_t *)poll))
		return;
	if (link->closing)
		link_drop_input(link);
	else if (takes_input(link) && has_kept_frames(link))
		link_read_kept(link);
	else if (takes_input(link))
		link_read(link);
}

/* ---- setting up, pausing, lending */

static int socket_prepare(int socket)
{
	const struct {
		int level, name, value;
	} options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S },
		{ IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_PROBES },
	};
	int flags = fcntl(socket, F_GETFL);

	if (flags < 0 || fcntl(socket, F_SETFL, flags | O_NONBLOCK) < 0)
		return error_from_errno(errno);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (setsockopt(socket, options[i].level, options[i].name, &options[i].value,
			       sizeof(int)) < 0)
			return error_from_errno(errno);
	}
	return 0;
}

int link_new(uv_loop_t *loop, int socket, const struct link_handler *handler, void *context,
	     struct link **ret)
{
	int rc = socket_prepare(socket);
	struct link *link;

	if (rc < 0)
		return rc;
	link = calloc(1, sizeof(*link));
	if (!link)
		return -ERR_NO_MEMORY;
	rc = uv_poll_init(loop, &link->poll, socket);
	if (rc < 0) {
		free(link);
		return error_from_errno(-rc);
	}
	uv_idle_init(loop, &link->turn);
	uv_timer_init(loop, &link->linger);
	link->poll.data = link->turn.data = link->linger.data = link;
	link->handles = HANDLES;
	link->socket = socket;
	link->handler = handler;
	link->context = context;
	link->frame_max = SIZE_MAX;
	output_init(&link->output);
	link_watch(link);
	*ret = link;
	return 0;
}

void link_pause(struct link *link, bool paused)
{
	link->paused = paused;
	link_watch(link);
	if (!paused && link->input.size > 0)
		link_wake(link);
}

void link_set_frame_max(struct link *link, size_t size)
{
	link->frame_max = size;
}

int link_detach_input(struct link *link, struct buffer *leftover)
{
	int rc;

	if (link->reported || link->broken || link->error)
		return -ERR_CONNECTION;
	rc = buffer_append(leftover, link->input.data, link->input.size);
	if (rc == 0)
		rc = buffer_append(leftover, link->rest.data, link->rest.size);
	if (rc < 0)
		return rc;
	buffer_done(&link->input);
	link->rest.size = 0;
	link->input_away = true;
	link_watch(link);
	return link->socket;
}

int link_attach(struct link *link, const struct buffer *leftover)
{
	int rc = leftover ? buffer_append(&link->input, leftover->data, leftover->size) : 0;

	if (rc < 0)
		return rc;
	link->input_away = false;
	link_watch(link);
	link_wake(link);
	return 0;
}

static struct endpoint endpoint_of(int rc, const struct address *address)
{
	if (rc < 0)
		return (struct endpoint){ 0 };
	return endpoint_ipv4(address->ip, address->port);
}

struct endpoint link_peer(const struct link *link)
{
	struct address address;

	return endpoint_of(socket_peer(link->socket, &address), &address);
}

struct endpoint link_local(const struct link *link)
{
	struct address address;

	return endpoint_of(socket_local(link->socket, &address), &address);
}

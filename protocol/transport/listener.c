#include <stdlib.h>
#include <unistd.h>

#include "error.h"
#include "sockets.h"
#include "transport.h"

enum { ACCEPTS_MAX = 64 /* in one loop turn */, PAUSE_MS = 100, HANDLES = 2 };

struct listener {
	uv_poll_t poll;
	uv_timer_t pause;
	int handles;
	int socket;
	uint16_t port;
	listener_accepted_fn *accepted;
	void *context;
};

static void on_poll(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
	struct listener *listener = timer->data;

	uv_poll_start(&listener->poll, UV_READABLE, on_poll);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct listener *listener = poll->data;

	(void)status;
	(void)events;
	for (int i = 0; i < ACCEPTS_MAX && !uv_is_closing((uv_handle_t *)poll); i++) {
		struct address peer;
		struct endpoint endpoint;
		int fd = tcp_accept(listener->socket, &peer);

		if (fd == -ERR_END)
			return;
		if (fd < 0) {
			uv_poll_stop(poll);
			uv_timer_start(&listener->pause, on_pause_over, PAUSE_MS, 0);
			return;
		}
		endpoint = endpoint_ipv4(peer.ip, peer.port);
		listener->accepted(listener->context, fd, &endpoint);
	}
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct listener *listener = handle->data;

	if (--listener->handles == 0)
		free(listener);
}

static int listener_start(uv_loop_t *loop, struct listener *listener)
{
	struct address local;
	int rc = socket_local(listener->socket, &local);

	if (rc < 0)
		return rc;
	listener->port = local.port;
	rc = uv_poll_init(loop, &listener->poll, listener->socket);
	if (rc < 0)
		return error_from_errno(-rc);
	uv_timer_init(loop, &listener->pause);
	listener->poll.data = listener->pause.data = listener;
	listener->handles = HANDLES;
	uv_poll_start(&listener->poll, UV_READABLE, on_poll);
	return 0;
}

int listener_new(uv_loop_t *loop, const struct endpoint *endpoint, listener_accepted_fn *accepted,
		 void *context, struct listener **ret)
{
	struct address address = { 0 };
	struct listener *listener;
	int rc = endpoint ? endpoint_address(endpoint, &address) : 0;

	if (rc < 0)
		return rc;
	listener = calloc(1, sizeof(*listener));
	if (!listener)
		return -ERR_NO_MEMORY;
	listener->accepted = accepted;
	listener->context = context;
	listener->socket = rc = tcp_listen(&address);
	if (rc >= 0)
		rc = listener_start(loop, listener);
	if (rc < 0) {
		if (listener->socket >= 0)
			close(listener->socket);
		free(listener);
		return rc;
	}
	*ret = listener;
	return 0;
}

uint16_t listener_port(const struct listener *listener)
{
	return listener->port;
}

void listener_free(struct listener *listener)
{
	if (!listener)
		return;
	uv_close((uv_handle_t *)&listener->poll, on_handle_closed);
	uv_close((uv_handle_t *)&listener->pause, on_handle_closed);
	close(listener->socket);
}

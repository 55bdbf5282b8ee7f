#include <stdlib.h>
#include <unistd.h>

#include "error.h"
#include "sockets.h"
#include "transport.h"

struct attempt {
	uv_poll_t poll;
	int socket; /* -1: not started, or over */
};

struct dialer {
	uv_loop_t *loop;
	uv_timer_t next;    /* the next endpoint's turn */
	uv_timer_t timeout; /* of the whole */
	unsigned int handles;
	struct endpoint endpoints[ENDPOINTS_MAX];
	struct attempt attempts[ENDPOINTS_MAX];
	unsigned int count;
	unsigned int tried;
	unsigned int running;
	int error; /* why the last attempt failed */
	dialer_done_fn *done;
	void *context;
};

static void on_handle_closed(uv_handle_t *handle)
{
	struct dialer *dialer = handle->data;

	if (--dialer->handles == 0)
		free(dialer);
}

/* Returns the socket: nobody watches it any more. */
static int attempt_end(struct dialer *dialer, struct attempt *attempt)
{
	int socket = attempt->socket;

	uv_close((uv_handle_t *)&attempt->poll, on_handle_closed);
	attempt->socket = -1;
	dialer->running--;
	return socket;
}

void dialer_cancel(struct dialer *dialer)
{
	for (unsigned int i = 0; i < dialer->count; i++) {
		if (dialer->attempts[i].socket >= 0)
			close(attempt_end(dialer, &dialer->attempts[i]));
	}
	uv_close((uv_handle_t *)&dialer->next, on_handle_closed);
	uv_close((uv_handle_t *)&dialer->timeout, on_handle_closed);
}

static void dialer_finish(struct dialer *dialer, int result)
{
	dialer_cancel(dialer);
	dialer->done(dialer->context, result);
}

static void on_next(uv_timer_t *timer);

static void dialer_go_on(struct dialer *dialer)
{
	if (dialer->tried < dialer->count)
		uv_timer_start(&dialer->next, on_next, 0, 0);
	else if (dialer->running == 0)
		dialer_finish(dialer, dialer->error);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct dialer *dialer = poll->data;
	struct attempt *attempt = (struct attempt *)poll;
	int rc = tcp_connected(attempt->socket);

	(void)events;
	if (rc == 0 && status < 0)
		rc = -ERR_CONNECTION;
	if (rc == 0) {
		dialer_finish(dialer, attempt_end(dialer, attempt));
		return;
	}
	dialer->error = rc;
	close(attempt_end(dialer, attempt));
	dialer_go_on(dialer);
}

static int attempt_start(struct dialer *dialer, unsigned int number)
{
	struct attempt *attempt = &dialer->attempts[number];
	struct address address;
	int rc = endpoint_address(&dialer->endpoints[number], &address);
	int fd;

	if (rc < 0)
		return rc;
	fd = tcp_connect(&address);
	if (fd < 0)
		return fd;
	rc = uv_poll_init(dialer->loop, &attempt->poll, fd);
	if (rc < 0) {
		close(fd);
		return error_from_errno(-rc);
	}
	attempt->poll.data = dialer;
	attempt->socket = fd;
	dialer->handles++;
	dialer->running++;
	uv_poll_start(&attempt->poll, UV_WRITABLE, on_poll);
	return 0;
}

static void on_next(uv_timer_t *timer)
{
	struct dialer *dialer = timer->data;
	int rc = -ERR_UNREACHABLE;

	if (dialer->tried < dialer->count)
		rc = attempt_start(dialer, dialer->tried++);
	if (rc < 0) {
		dialer->error = rc;
		dialer_go_on(dialer);
	} else if (dialer->tried < dialer->count) {
		uv_timer_start(timer, on_next, DIAL_STAGGER_MS, 0);
	}
}

static void on_timeout(uv_timer_t *timer)
{
	dialer_finish(timer->data, -ERR_TIMEOUT);
}

int dialer_new(uv_loop_t *loop, const struct dial_how *how, dialer_done_fn *done, void *context,
	       struct dialer **ret)
{
	struct dialer *dialer = calloc(1, sizeof(*dialer));

	if (!dialer)
		return -ERR_NO_MEMORY;
	dialer->loop = loop;
	dialer->done = done;
	dialer->context = context;
	dialer->count = how->count < ENDPOINTS_MAX ? how->count : ENDPOINTS_MAX;
	for (unsigned int i = 0; i < dialer->count; i++) {
		dialer->endpoints[i] = how->endpoints[i];
		dialer->attempts[i].socket = -1;
	}
	uv_timer_init(loop, &dialer->next);
	uv_timer_init(loop, &dialer->timeout);
	dialer->next.data = dialer->timeout.data = dialer;
	dialer->handles = 2;
	uv_timer_start(&dialer->next, on_next, 0, 0);
	uv_timer_start(&dialer->timeout, on_timeout, how->timeout_ms, 0);
	*ret = dialer;
	return 0;
}

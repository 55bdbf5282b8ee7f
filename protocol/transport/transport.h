/* Frames over TCP and beacons over UDP on a libuv loop: the glue that both daemons share. One
 * thread: the loop's. Errors come back as codes of base/error.def; nothing here logs.
 *
 * A link owns a non-blocking socket watched with uv_poll, not a uv_tcp_t, so that it can be handed
 * to a blocking worker and taken back. What is sent during one loop turn leaves in one writev. */
#ifndef MUSTER_TRANSPORT_H
#define MUSTER_TRANSPORT_H

#include <stdlib.h>
#include <uv.h>

#include "buffer.h"
#include "endpoint.h"
#include "frame.h"

struct link;

struct link_handler {
	/* A whole frame; `body` is valid during the call. DATA frames come here too. */
	void (*frame)(void *context, struct link *link, const struct frame_header *header,
		      const uint8_t *body);
	/* The other side closed, the connection broke, or its bytes are no frames (`error`:
	 * -ERR_CONNECTION, -ERR_BAD_REQUEST, -ERR_TOO_LARGE …). For a malformed frame `header` has
	 * what was read of it, else NULL; the handler may still link_send() a refusal before it
	 * calls link_close(). Called once. */
	void (*closed)(void *context, struct link *link, int error,
		       const struct frame_header *header);
	/* Everything queued has been handed to the kernel. May be NULL. */
	void (*drained)(void *context, struct link *link);
};

enum { LINK_OUTPUT_MAX = 64 * 1024 * 1024 }; /* a peer that does not read is dropped beyond it */

/* Takes over a connected socket. Sets TCP_NODELAY, keep-alive and non-blocking. On failure the
 * socket is still the caller's. */
int link_new(uv_loop_t *loop, int socket, const struct link_handler *handler, void *context,
	     struct link **ret);
/* Bytes of whole frames; copied. -ERR_CONNECTION when it is closed already. */
int link_send(struct link *link, const void *frames, size_t size);
/* The same without a copy for large payloads: `data` stays valid until `release(context)`. */
typedef void link_release_fn(void *context);
int link_send_borrowed(struct link *link, const void *data, size_t size, link_release_fn *release,
		       void *context);
size_t link_unsent(const struct link *link);
void link_pause(struct link *link, bool paused); /* stops and resumes reading */
/* Longer frames than this, header included, are TOO_LARGE: for strangers. No limit at first. */
void link_set_frame_max(struct link *link, size_t size);
/* Closes after what is queued has left (at most 1 s); no callback follows. Never NULL. */
void link_close(struct link *link);
struct endpoint link_peer(const struct link *link);
struct endpoint link_local(const struct link *link);

/* For a worker that receives, while the loop may go on sending: stops reading; returns the socket
 * (still non-blocking), and in `leftover` what was read beyond the last frame delivered.
 * link_attach resumes; `leftover` bytes are taken as read first. Until the worker has let go of the
 * socket the link must not be closed: its number would soon be another's. */
int link_detach_input(struct link *link, struct buffer *leftover);
int link_attach(struct link *link, const struct buffer *leftover);

/* Accepting. `accepted` gets a connected socket, which it owns. Out of descriptors: accepting
 * pauses 100 ms and never spins. */
struct listener;
typedef void listener_accepted_fn(void *context, int socket, const struct endpoint *peer);
/* `port` 0: any free one. -ERR_ADDRESS_IN_USE. `address` NULL: every interface. */
int listener_new(uv_loop_t *loop, const struct endpoint *address, listener_accepted_fn *accepted,
		 void *context, struct listener **ret);
uint16_t listener_port(const struct listener *listener);
void listener_free(struct listener *listener); /* NULL-safe */

/* Dialling: tries endpoints in order, 100 ms apart or as soon as one fails; the first connected
 * wins; `timeout_ms` over all. `done` is called once, never out of dialer_new, with a socket that
 * it owns or why the last attempt failed; the dialer is void then. The first ENDPOINTS_MAX are
 * tried. */
struct dialer;
typedef void dialer_done_fn(void *context, int result_or_socket);
struct dial_how {
	const struct endpoint *endpoints;
	unsigned int count;
	unsigned int timeout_ms;
};
int dialer_new(uv_loop_t *loop, const struct dial_how *how, dialer_done_fn *done, void *context,
	       struct dialer **ret);
void dialer_cancel(struct dialer *dialer); /* no callback follows */

/* Beacons. */
struct beacon_socket;
typedef void beacon_heard_fn(void *context, const void *datagram, size_t size,
			     const struct endpoint *source);
struct beacon_how {
	uint16_t port;
	const char *const *interfaces; /* names or addresses; count 0: all, loopback included */
	unsigned int interface_count;
	beacon_heard_fn *heard; /* NULL: only sends */
	void *context;
};
int beacon_socket_new(uv_loop_t *loop, const struct beacon_how *how, struct beacon_socket **ret);
/* To every allowed interface's broadcast address and 127.255.255.255 (when loopback is allowed);
 * the interfaces are read anew. Returns how many it was sent to. */
int beacon_socket_send(struct beacon_socket *socket, const void *datagram, size_t size);
void beacon_socket_free(struct beacon_socket *socket); /* NULL-safe */

#endif

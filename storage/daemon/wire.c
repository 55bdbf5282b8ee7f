/* Connections of the daemon: a link, and what is queued for it while a worker has its output. */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "error.h"
#include "hash.h"
#include "storage_daemon.h"

struct wire *wire_find(struct daemon *daemon, uint64_t handle)
{
	struct wire *wire;

	HASH_FIND(hh, daemon->wires, &handle, sizeof(handle), wire);
	return wire;
}

/* ---- from the link ---- */

static void on_frame(void *context, struct link *link, const struct frame_header *header,
		     const uint8_t *body)
{
	struct wire *wire = context;
	struct storage_event event = {
		.kind = STORAGE_FRAME, .connection = wire->handle, .header = header, .body = body
	};

	if (wire->gone)
		return;
	if (!wire->known && header->type == MSG_hello) {
		wire->known = true;
		link_set_frame_max(link, SIZE_MAX);
	}
	daemon_step(wire->daemon, &event);
}

static void on_closed(void *context, struct link *link, int error,
		      const struct frame_header *header)
{
	struct wire *wire = context;
	struct storage_event event = {
		.kind = STORAGE_CLOSED, .connection = wire->handle, .error = error, .header = header
	};

	(void)link;
	if (wire->gone)
		return;
	if (wire->receive || wire->flow) {
		wire_lost(wire, error);
		return;
	}
	daemon_step(wire->daemon, &event);
	wire_close(wire);
}

static void on_drained(void *context, struct link *link)
{
	struct wire *wire = context;

	(void)link;
	if (!wire->gone)
		wire_next(wire);
}

static const struct link_handler handler = { on_frame, on_closed, on_drained };

/* ---- life ---- */

int wire_new(struct daemon *daemon, uint64_t handle, int socket, struct wire **ret)
{
	struct wire *wire = calloc(1, sizeof(*wire));
	int rc;

	if (!wire)
		return -ERR_NO_MEMORY;
	wire->daemon = daemon;
	wire->handle = handle;
	wire->socket = socket;
	STAILQ_INIT(&wire->reads);
	rc = link_new(&daemon->loop, socket, &handler, wire, &wire->link);
	if (rc < 0) {
		free(wire);
		return rc;
	}
	HASH_ADD(hh, daemon->wires, handle, sizeof(wire->handle), wire);
	*ret = wire;
	return 0;
}

void wire_opened(void *context, int socket, const struct endpoint *peer)
{
	struct daemon *daemon = context;
	struct storage_event event = { .kind = STORAGE_OPENED,
				       .endpoints = peer,
				       .endpoint_count = 1 };
	struct wire *wire;

	event.connection = STORAGE_ACCEPTED | ++daemon->last_handle;
	if (wire_new(daemon, event.connection, socket, &wire) < 0) {
		close(socket);
		return;
	}
	link_set_frame_max(wire->link, STRANGER_FRAME_MAX);
	daemon_step(daemon, &event);
}

static void drop_reads(struct wire *wire)
{
	struct waiting_read *read;

	while ((read = STAILQ_FIRST(&wire->reads))) {
		STAILQ_REMOVE_HEAD(&wire->reads, next);
		free(read);
	}
	wire->reads_count = 0;
}

static void wire_free(struct wire *wire)
{
	HASH_DEL(wire->daemon->wires, wire);
	link_close(wire->link);
	drop_reads(wire);
	buffer_done(&wire->held);
	free(wire);
}

/* A worker that has the socket is startled by the shutdown and gives it back. */
void wire_close(struct wire *wire)
{
	wire->gone = true;
	wire->lost = 0;
	if (wire->receive || wire->flow)
		shutdown(wire->socket, SHUT_RDWR);
	else
		wire_free(wire);
}

void wire_lost(struct wire *wire, int error)
{
	wire->lost = error ? error : -ERR_CONNECTION;
	wire_worker_done(wire);
}

/* The core hears that a connection is lost only when no worker is at it any more. */
void wire_worker_done(struct wire *wire)
{
	struct storage_event event = { .kind = STORAGE_CLOSED,
				       .connection = wire->handle,
				       .error = wire->lost };

	if (wire->receive || wire->flow) {
		if (wire->lost)
			shutdown(wire->socket, SHUT_RDWR);
		else if (!wire->gone)
			wire_next(wire);
		return;
	}
	if (wire->gone) {
		wire_free(wire);
	} else if (wire->lost) {
		daemon_step(wire->daemon, &event);
		wire_close(wire);
	} else {
		wire_next(wire);
	}
}

void wires_shutdown(struct daemon *daemon)
{
	for (struct wire *wire = daemon->wires; wire; wire = wire->hh.next)
		shutdown(wire->socket, SHUT_RDWR);
}

void wires_free(struct daemon *daemon)
{
	struct wire *wire, *next;

	HASH_ITER(hh, daemon->wires, wire, next) {
		wire->receive = NULL;
		wire->flow = NULL;
		wire_free(wire);
	}
}

/* ---- to the peer ---- */

void wire_send(struct wire *wire, const void *data, size_t size)
{
	if (wire->flow)
		buffer_append(&wire->held, data, size);
	else
		link_send(wire->link, data, size);
}

static void update_pause(struct wire *wire)
{
	link_pause(wire->link, wire->paused || wire->reads_count >= READS_WAITING_MAX);
}

void wire_pause(struct wire *wire, bool paused)
{
	wire->paused = paused;
	update_pause(wire);
}

/* ---- READs that wait for their turn ---- */

static bool is_busy(const struct wire *wire, const struct waiting_read *read)
{
	size_t unsent = link_unsent(wire->link);

	return wire->flow || wire->reading ||
	       unsent > (read->length >= LARGE_SIZE ? 0 : UNSENT_MAX);
}

static struct waiting_read *waiting_new(struct wire *wire, const struct waiting_read *read)
{
	struct waiting_read *waiting = malloc(sizeof(*waiting));

	if (!waiting) {
		read_failed(wire, read, -ERR_NO_MEMORY);
		return NULL;
	}
	*waiting = *read;
	wire->reads_count++;
	update_pause(wire);
	return waiting;
}

void wire_read(struct wire *wire, const struct waiting_read *read)
{
	struct waiting_read *waiting;

	if (STAILQ_EMPTY(&wire->reads) && !is_busy(wire, read)) {
		read_answer(wire, read);
		return;
	}
	waiting = waiting_new(wire, read);
	if (waiting)
		STAILQ_INSERT_TAIL(&wire->reads, waiting, next);
}

void wire_read_again(struct wire *wire, const struct waiting_read *read)
{
	struct waiting_read *waiting = waiting_new(wire, read);

	if (waiting)
		STAILQ_INSERT_HEAD(&wire->reads, waiting, next);
}

void wire_next(struct wire *wire)
{
	struct waiting_read *read;

	if (wire->held.size && !wire->flow) {
		link_send(wire->link, wire->held.data, wire->held.size);
		buffer_done(&wire->held);
	}
	while ((read = STAILQ_FIRST(&wire->reads)) && !is_busy(wire, read)) {
		STAILQ_REMOVE_HEAD(&wire->reads, next);
		wire->reads_count--;
		read_answer(wire, read);
		free(read);
	}
	update_pause(wire);
}

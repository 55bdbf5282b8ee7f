/* What waits to leave a socket: copied bytes and borrowed ones, in order. Used by link.c only. */
#ifndef MUSTER_LINK_OUTPUT_H
#define MUSTER_LINK_OUTPUT_H

#include <sys/queue.h>

#include "transport.h"

struct output_piece;

struct output {
	TAILQ_HEAD(output_list, output_piece) pieces;
	size_t size;   /* bytes that have not left */
	size_t offset; /* bytes of the first piece that have */
};

void output_init(struct output *output);
void output_done(struct output *output); /* drops and releases everything */
int output_append(struct output *output, const void *data, size_t size);
/* On failure nothing is released. */
int output_borrow(struct output *output, struct slice data, link_release_fn *release,
		  void *context);
/* Writes as much as the socket takes. 1: everything left; 0: the socket is full. */
int output_flush(struct output *output, int socket);

#endif

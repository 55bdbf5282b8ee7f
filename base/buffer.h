/* A growable array of bytes with a hard maximum and a sticky failure: append as much as you like,
 * ask once at the end. A zeroed struct with `max` set is an empty buffer. */
#ifndef MUSTER_BASE_BUFFER_H
#define MUSTER_BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

struct buffer {
	uint8_t *data;
	size_t size;     /* bytes in use */
	size_t capacity; /* bytes allocated */
	size_t max;      /* 0: no limit but memory */
	int error;       /* 0, or the first failure: -ERR_TOO_LARGE, -ERR_NO_MEMORY */
};

void buffer_done(struct buffer *buffer);  /* frees; the buffer is empty and usable again */
void buffer_clear(struct buffer *buffer); /* forgets content and failure, keeps the memory */

/* Room for `size` more bytes, already counted in; NULL on failure. Valid until the next append. */
uint8_t *buffer_extend(struct buffer *buffer, size_t size);
int buffer_append(struct buffer *buffer, const void *data, size_t size);
int buffer_printf(struct buffer *buffer, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
void buffer_consume(struct buffer *buffer, size_t size); /* drops bytes at the front */

#endif

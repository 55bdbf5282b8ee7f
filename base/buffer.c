#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buffer.h"
#include "error.h"

enum { BUFFER_MIN = 64 };

void buffer_done(struct buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct buffer){ .max = buffer->max };
}

void buffer_clear(struct buffer *buffer)
{
	buffer->size = 0;
	buffer->error = 0;
}

static size_t larger_capacity(const struct buffer *buffer, size_t needed)
{
	size_t capacity = buffer->capacity ? buffer->capacity : BUFFER_MIN;

	while (capacity < needed)
		capacity = capacity > SIZE_MAX / 2 ? needed : capacity * 2;
	if (buffer->max && capacity > buffer->max)
		capacity = buffer->max;
	return capacity;
}

static int buffer_reserve(struct buffer *buffer, size_t size)
{
	size_t max = buffer->max ? buffer->max : SIZE_MAX;
	size_t capacity;
	uint8_t *data;

	if (buffer->error)
		return buffer->error;
	if (buffer->size > max || size > max - buffer->size)
		return buffer->error = -ERR_TOO_LARGE;
	if (buffer->data && buffer->size + size <= buffer->capacity)
		return 0;
	capacity = larger_capacity(buffer, buffer->size + size);
	data = realloc(buffer->data, capacity);
	if (!data)
		return buffer->error = -ERR_NO_MEMORY;
	buffer->data = data;
	buffer->capacity = capacity;
	return 0;
}

uint8_t *buffer_extend(struct buffer *buffer, size_t size)
{
	uint8_t *at;

	if (buffer_reserve(buffer, size) < 0)
		return NULL;
	at = buffer->data + buffer->size;
	buffer->size += size;
	return at;
}

int buffer_append(struct buffer *buffer, const void *data, size_t size)
{
	uint8_t *at = buffer_extend(buffer, size);

	if (!at)
		return buffer->error;
	if (size)
		memcpy(at, data, size);
	return 0;
}

/* Tries the room that is left first. The text's NUL needs a byte of its own while it is made, so
 * that text which would fill a buffer to its very maximum takes a detour over the heap. */
int buffer_printf(struct buffer *buffer, const char *format, ...)
{
	size_t room = buffer->data ? buffer->capacity - buffer->size : 0;
	char *text = NULL;
	va_list args;
	int length;
	int rc;

	if (buffer->error)
		return buffer->error;
	va_start(args, format);
	length = vsnprintf(room ? (char *)buffer->data + buffer->size : NULL, room, format, args);
	va_end(args);
	if (length < 0)
		return buffer->error = -ERR_BAD_FORMAT;
	if ((size_t)length < room) {
		buffer->size += (size_t)length;
		return 0;
	}
	if (buffer->max && (size_t)length > buffer->max - buffer->size)
		return buffer->error = -ERR_TOO_LARGE;
	text = malloc((size_t)length + 1);
	if (!text)
		return buffer->error = -ERR_NO_MEMORY;
	va_start(args, format);
	vsnprintf(text, (size_t)length + 1, format, args);
	va_end(args);
	rc = buffer_append(buffer, text, (size_t)length);
	free(text);
	return rc;
}

void buffer_consume(struct buffer *buffer, size_t size)
{
	if (size >= buffer->size) {
		buffer->size = 0;
		return;
	}
	buffer->size -= size;
	memmove(buffer->data, buffer->data + size, buffer->size);
}

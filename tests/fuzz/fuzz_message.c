/* Any bytes as a message of any type: what decodes must encode to the same bytes. */
#include <stdlib.h>

#include "codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARENA_LIMIT = 64 * 1024 * 1024 };

static void check(bool condition)
{
	if (!condition)
		abort();
}

/* An unknown type stands for one of the table, so that none is hard to find. */
static void choose_type(struct frame_header *header)
{
	unsigned int count = 0;

	while (message_at(count))
		count++;
	if (!message_info(header->type))
		header->type = message_at(header->type % count)->code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena = { .limit = ARENA_LIMIT };
	struct buffer again = { 0 };
	struct frame_header header;
	struct message message;
	uint8_t head[FRAME_HEADER_SIZE];

	if (size < FRAME_HEADER_SIZE || frame_header_decode(data, &header) < 0)
		return 0;
	choose_type(&header);
	header.body_size = (uint32_t)(size - FRAME_HEADER_SIZE);
	frame_header_encode(&header, head);
	if (message_decode(&header, data + FRAME_HEADER_SIZE, &arena, &message) == 0) {
		check(message_encode(&message, &again) == 0);
		check(again.size == size);
		check(memcmp(again.data, head, FRAME_HEADER_SIZE) == 0);
		check(memcmp(again.data + FRAME_HEADER_SIZE, data + FRAME_HEADER_SIZE,
			     header.body_size) == 0);
	}
	buffer_done(&again);
	arena_done(&arena);
	return 0;
}

/* Whatever arrives: frames are found the same way however the stream is cut, and a good header
 * means its own bytes. */
#include <stdlib.h>

#include "frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool condition)
{
	if (!condition)
		abort();
}

/* A byte less than the whole frame is no frame, and asks for no more than the frame has. */
static void check_cut(const uint8_t *data, size_t whole)
{
	struct frame_header header;
	size_t needed;

	check(frame_next(data, whole - 1, &header, &needed) == 0);
	check(needed == whole);
	check(frame_next(data, FRAME_HEADER_SIZE - 1, &header, &needed) == 0);
	check(needed == FRAME_HEADER_SIZE);
}

static void check_frame(const uint8_t *data, const struct frame_header *header)
{
	uint8_t again[FRAME_HEADER_SIZE];
	uint8_t head_bytes[FRAME_HEADER_SIZE + DATA_CRCS_SIZE_MAX];
	struct data_head head;
	size_t crcs_size;

	frame_header_encode(header, again);
	check(memcmp(again, data, sizeof(again)) == 0);
	if (data_head_decode(header, &head, &crcs_size) < 0)
		return;
	check(crcs_size + head.length == header->body_size && crcs_size <= DATA_CRCS_SIZE_MAX);
	check(data_head_encode(&head, data + FRAME_HEADER_SIZE, head_bytes) ==
	      FRAME_HEADER_SIZE + crcs_size);
	check(memcmp(head_bytes, data, FRAME_HEADER_SIZE + crcs_size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame_header header;
	size_t whole;

	while (frame_next(data, size, &header, &whole) == 1) {
		check(whole >= FRAME_HEADER_SIZE && whole <= size);
		if (whole > FRAME_HEADER_SIZE)
			check_cut(data, whole);
		check_frame(data, &header);
		data += whole;
		size -= whole;
	}
	return 0;
}

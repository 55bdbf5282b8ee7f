#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "codec.h"
#include "error.h"
#include "frame.h"
#include "hash.h"
#include "message_random.h"

static const struct frame_header sample = {
	.type = 0x1234,
	.reply = true,
	.flags = FRAME_MORE,
	.status = 5,
	.id = 0x89abcdef,
	.arg1 = 0x0102030405060708,
	.arg2 = UINT64_MAX - 1,
	.body_size = 0x0a0b0c,
};

static void test_header_layout(void **state)
{
	static const uint8_t expected[FRAME_HEADER_SIZE] = {
		0x34, 0x92, 4,    5,    0xef, 0xcd, 0xab, 0x89, 8,    7,    6,    5, 4, 3, 2, 1,
		0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0c, 0x0b, 0x0a, 0, 0, 0, 0, 0,
	};
	uint8_t bytes[FRAME_HEADER_SIZE];
	struct frame_header header;

	(void)state;
	frame_header_encode(&sample, bytes);
	assert_memory_equal(bytes, expected, sizeof(bytes));
	assert_int_equal(frame_header_decode(bytes, &header), 0);
	assert_int_equal(header.type, sample.type);
	assert_true(header.reply);
	assert_int_equal(header.flags, sample.flags);
	assert_int_equal(header.status, sample.status);
	assert_int_equal(header.id, sample.id);
	assert_true(header.arg1 == sample.arg1 && header.arg2 == sample.arg2);
	assert_int_equal(header.body_size, sample.body_size);
}

/* Changes one byte of a good header; the id is read whatever is wrong elsewhere. */
static int decode_with(size_t at, uint8_t value)
{
	uint8_t bytes[FRAME_HEADER_SIZE];
	struct frame_header header;
	int rc;

	frame_header_encode(&sample, bytes);
	bytes[at] = value;
	rc = frame_header_decode(bytes, &header);
	assert_int_equal(header.id, sample.id);
	return rc;
}

static void test_bad_headers(void **state)
{
	(void)state;
	for (size_t at = 28; at < 32; at++)
		assert_int_equal(decode_with(at, 1), -ERR_BAD_REQUEST);
	assert_int_equal(decode_with(2, FRAME_FLAGS_ALL + 1), -ERR_BAD_REQUEST);
	assert_int_equal(decode_with(2, FRAME_FLAGS_ALL), 0);
	assert_int_equal(decode_with(1, 0x12), -ERR_BAD_REQUEST); /* a request with a status */
	assert_int_equal(decode_with(27, 1), -ERR_TOO_LARGE);
}

static int decode_size(uint16_t type, bool reply, uint32_t size)
{
	struct frame_header header = { .type = type, .reply = reply, .body_size = size };
	uint8_t bytes[FRAME_HEADER_SIZE];

	frame_header_encode(&header, bytes);
	return frame_header_decode(bytes, &header);
}

static void test_body_sizes(void **state)
{
	const uint32_t data_max = DATA_PAYLOAD_MAX + DATA_CRCS_SIZE_MAX;

	(void)state;
	assert_int_equal(decode_size(MSG_stat, false, BODY_SIZE_MAX), 0);
	assert_int_equal(decode_size(MSG_stat, false, BODY_SIZE_MAX + 1), -ERR_TOO_LARGE);
	assert_int_equal(decode_size(0x7fff, true, BODY_SIZE_MAX + 1), -ERR_TOO_LARGE);
	assert_int_equal(decode_size(MSG_data, false, data_max), 0);
	assert_int_equal(decode_size(MSG_data, false, data_max + 1), -ERR_TOO_LARGE);
	assert_int_equal(decode_size(MSG_data, true, data_max), -ERR_TOO_LARGE);
	assert_int_equal(decode_size(MSG_stat, false, UINT32_MAX), -ERR_TOO_LARGE);
}

/* One request and one reply of every message, back to back. */
static unsigned int fill_stream(struct buffer *stream)
{
	struct arena arena = { 0 };
	struct message_random from = { { 1 }, &arena, 8, 2 };
	const struct message_info *info;
	unsigned int count = 0;
	bool reply;

	while ((info = message_each(&count, &reply))) {
		struct message message = message_random(&from, info, reply);

		assert_int_equal(message_encode(&message, stream), 0);
	}
	arena_done(&arena);
	return count - 1;
}

static void test_coalesced_frames_come_apart(void **state)
{
	struct buffer stream = { 0 };
	unsigned int count = fill_stream(&stream);
	size_t at = 0;

	(void)state;
	while (at < stream.size) {
		struct frame_header header;
		size_t size;

		assert_int_equal(frame_next(stream.data + at, stream.size - at, &header, &size), 1);
		assert_int_equal(size, FRAME_HEADER_SIZE + header.body_size);
		at += size;
		count--;
	}
	assert_int_equal(at, stream.size);
	assert_int_equal(count, 0);
	buffer_done(&stream);
}

/* Wherever the stream is cut, the part before says how much is needed and never more. */
static void test_every_split(void **state)
{
	struct buffer stream = { 0 };
	struct frame_header header;
	size_t whole;

	(void)state;
	fill_stream(&stream);
	for (size_t at = 0; at < stream.size; at += whole) {
		assert_int_equal(frame_next(stream.data + at, stream.size - at, &header, &whole),
				 1);
		for (size_t size = 0; size < whole; size++) {
			uint8_t *part = malloc(size + (size == 0));
			size_t needed;

			memcpy(part, stream.data + at, size);
			assert_int_equal(frame_next(part, size, &header, &needed), 0);
			assert_int_equal(needed,
					 size < FRAME_HEADER_SIZE ? FRAME_HEADER_SIZE : whole);
			free(part);
		}
	}
	buffer_done(&stream);
}

static void test_a_broken_stream_is_an_error(void **state)
{
	uint8_t bytes[FRAME_HEADER_SIZE] = { [31] = 1 };
	struct frame_header header;
	size_t size;

	(void)state;
	assert_int_equal(frame_next(bytes, sizeof(bytes), &header, &size), -ERR_BAD_REQUEST);
}

static int data_round_trip(const struct data_head *head)
{
	static const uint8_t crcs[DATA_CRCS_SIZE_MAX] = { 1, 2, 3 };
	uint8_t bytes[FRAME_HEADER_SIZE + DATA_CRCS_SIZE_MAX];
	size_t size = data_head_encode(head, crcs, bytes);
	struct frame_header header;
	struct data_head again;
	size_t crcs_size;
	int rc;

	assert_int_equal(frame_header_decode(bytes, &header), 0);
	rc = data_head_decode(&header, &again, &crcs_size);
	if (rc < 0)
		return rc;
	assert_int_equal(size, FRAME_HEADER_SIZE + crcs_size);
	assert_memory_equal(bytes + FRAME_HEADER_SIZE, crcs, crcs_size);
	assert_int_equal(crcs_size, block_count(head->length) * 4);
	assert_int_equal(again.id, head->id);
	assert_int_equal(again.flags, head->flags);
	assert_int_equal(again.offset, head->offset);
	assert_int_equal(again.length, head->length);
	return 0;
}

static void test_data_heads(void **state)
{
	const uint64_t end = CHUNK_SIZE_MAX;

	(void)state;
	for (uint32_t length = 1; length <= DATA_PAYLOAD_MAX; length += BLOCK_SIZE - 1)
		assert_int_equal(data_round_trip(&(struct data_head){ 1, 0, 0, length }), 0);
	assert_int_equal(
		data_round_trip(&(struct data_head){ 9, FRAME_LAST, end - BLOCK_SIZE, BLOCK_SIZE }),
		0);
	assert_int_equal(data_round_trip(&(struct data_head){ 9, FRAME_ABORT, 0, 0 }), 0);
	assert_int_equal(data_round_trip(&(struct data_head){ 9, FRAME_LAST, 0, 0 }),
			 -ERR_BAD_REQUEST);
	assert_int_equal(data_round_trip(&(struct data_head){ 9, FRAME_MORE, 0, 1 }),
			 -ERR_BAD_REQUEST);
	assert_int_equal(data_round_trip(&(struct data_head){ 9, 0, BLOCK_SIZE / 2, 1 }),
			 -ERR_BAD_REQUEST);
	assert_int_equal(data_round_trip(&(struct data_head){ 9, 0, end, 1 }), -ERR_BAD_REQUEST);
	assert_int_equal(
		data_round_trip(&(struct data_head){ 9, 0, end - BLOCK_SIZE, BLOCK_SIZE + 1 }),
		-ERR_BAD_REQUEST);
	assert_int_equal(data_round_trip(&(struct data_head){ 9, 0, UINT64_MAX - BLOCK_SIZE + 1,
							      BLOCK_SIZE }),
			 -ERR_BAD_REQUEST);
}

static void test_data_lengths_must_agree(void **state)
{
	struct frame_header good = { .type = MSG_data, .arg2 = 10, .body_size = 14 };
	struct frame_header header;
	struct data_head head;
	size_t crcs_size;

	(void)state;
	assert_int_equal(data_head_decode(&good, &head, &crcs_size), 0);
	for (uint32_t size = 0; size < 30; size++) {
		header = good;
		header.body_size = size;
		assert_int_equal(data_head_decode(&header, &head, &crcs_size),
				 size == 14 ? 0 : -ERR_BAD_REQUEST);
	}
	header = good;
	header.arg2 = DATA_PAYLOAD_MAX + 1;
	assert_int_equal(data_head_decode(&header, &head, &crcs_size), -ERR_BAD_REQUEST);
	header.arg2 = ((uint64_t)1 << 32) + 10;
	assert_int_equal(data_head_decode(&header, &head, &crcs_size), -ERR_BAD_REQUEST);
	header = good;
	header.reply = true;
	assert_int_equal(data_head_decode(&header, &head, &crcs_size), -ERR_BAD_REQUEST);
	header = good;
	header.type = MSG_read;
	assert_int_equal(data_head_decode(&header, &head, &crcs_size), -ERR_BAD_REQUEST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header_layout),
		cmocka_unit_test(test_bad_headers),
		cmocka_unit_test(test_body_sizes),
		cmocka_unit_test(test_coalesced_frames_come_apart),
		cmocka_unit_test(test_every_split),
		cmocka_unit_test(test_a_broken_stream_is_an_error),
		cmocka_unit_test(test_data_heads),
		cmocka_unit_test(test_data_lengths_must_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

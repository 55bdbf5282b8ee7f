/* The codec over every message of the table; none is named here.
 *
 * tests/vectors/messages.txt holds frames that other implementations can be checked against. After
 * a wanted change of the table: MUSTER_REGENERATE=1 build/asan/unit/test_codec, and read the diff.
 * It runs at the root of the source tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "codec.h"
#include "error.h"
#include "message_random.h"

static int decode_frame(const struct buffer *frame, struct arena *arena, struct message *ret)
{
	struct frame_header header;
	int rc = frame_header_decode(frame->data, &header);

	if (rc < 0)
		return rc;
	assert_int_equal(frame->size, FRAME_HEADER_SIZE + header.body_size);
	return message_decode(&header, frame->data + FRAME_HEADER_SIZE, arena, ret);
}

/* Decodes, encodes again, and expects the same bytes. */
static void assert_round_trip(const struct buffer *frame, struct arena *arena)
{
	struct buffer again = { 0 };
	struct message message;

	assert_int_equal(decode_frame(frame, arena, &message), 0);
	assert_int_equal(message_encode(&message, &again), 0);
	assert_int_equal(again.size, frame->size);
	assert_memory_equal(again.data, frame->data, frame->size);
	buffer_done(&again);
}

static void test_every_message_round_trips(void **state)
{
	struct arena arena = { 0 };
	struct buffer frame = { 0 };
	const struct message_info *info;
	unsigned int position = 0;
	bool reply;

	(void)state;
	while ((info = message_each(&position, &reply))) {
		struct message_random from = { { info->code }, &arena, 300, 20 };

		for (int i = 0; i < 30; i++) {
			struct message message = message_random(&from, info, reply);

			buffer_clear(&frame);
			assert_int_equal(message_encode(&message, &frame), 0);
			assert_round_trip(&frame, &arena);
			arena_reset(&arena);
		}
	}
	buffer_done(&frame);
	arena_done(&arena);
}

/* Any length but the right one is refused, wherever it is cut. */
static void test_other_lengths_are_refused(void **state)
{
	struct arena arena = { 0 };
	struct buffer frame = { 0 };
	const struct message_info *info;
	unsigned int position = 0;
	bool reply;

	(void)state;
	while ((info = message_each(&position, &reply))) {
		struct message_random from = { { info->code }, &arena, 5, 2 };
		struct message message = message_random(&from, info, reply);
		struct frame_header header;

		buffer_clear(&frame);
		assert_int_equal(message_encode(&message, &frame), 0);
		assert_int_equal(frame_header_decode(frame.data, &header), 0);
		buffer_append(&frame, "", 1);
		for (uint32_t size = 0, right = header.body_size; size <= right + 1; size++) {
			/* A copy of that very size, so that ASan sees every byte read beyond. */
			uint8_t *body = malloc(size + (size == 0));

			memcpy(body, frame.data + FRAME_HEADER_SIZE, size);
			header.body_size = size;
			assert_int_equal(message_decode(&header, body, &arena, &message),
					 size == right ? 0 : -ERR_BAD_REQUEST);
			free(body);
		}
		arena_reset(&arena);
	}
	buffer_done(&frame);
	arena_done(&arena);
}

static void test_arguments_without_a_field_are_refused(void **state)
{
	struct arena arena = { 0 };
	const struct message_info *info;
	unsigned int position = 0;
	bool reply;

	(void)state;
	while ((info = message_each(&position, &reply))) {
		struct message message = { .info = info, .reply = reply };
		const struct layout *layout = message_layout(&message);
		struct frame_header header = { .type = info->code, .reply = reply };
		uint8_t *zeros = calloc(1, layout->wire_min + 1);
		bool takes[2] = { false, false };

		for (unsigned int i = 0; i < layout->count; i++) {
			if (layout->fields[i].kind <= FIELD_ARG2)
				takes[layout->fields[i].kind] = true;
		}
		header.body_size = (uint32_t)layout->wire_min;
		header.arg1 = 1;
		assert_int_equal(message_decode(&header, zeros, &arena, &message),
				 takes[FIELD_ARG1] ? 0 : -ERR_BAD_REQUEST);
		header.arg1 = 0;
		header.arg2 = UINT64_MAX;
		assert_int_equal(message_decode(&header, zeros, &arena, &message),
				 takes[FIELD_ARG2] ? 0 : -ERR_BAD_REQUEST);
		arena_reset(&arena);
		free(zeros);
	}
	arena_done(&arena);
}

static void test_random_bytes_are_refused_or_mean_themselves(void **state)
{
	struct arena arena = { 0 };
	struct prng prng = { 1 };
	const struct message_info *info;
	unsigned int position = 0;
	bool reply;

	(void)state;
	while ((info = message_each(&position, &reply))) {
		for (int i = 0; i < 500; i++) {
			struct frame_header header = { .type = info->code, .reply = reply };
			struct buffer frame = { 0 };
			struct message message;
			uint8_t *body;

			header.body_size = (uint32_t)prng_below(&prng, 200);
			header.arg1 = prng_below(&prng, 2);
			body = buffer_extend(&frame, FRAME_HEADER_SIZE + header.body_size);
			frame_header_encode(&header, body);
			/* Mostly zeros: whole random bytes seldom get past the first length. */
			for (size_t at = FRAME_HEADER_SIZE; at < frame.size; at++)
				body[at] = prng_below(&prng, 4) ? 0 : (uint8_t)prng_next(&prng);
			if (decode_frame(&frame, &arena, &message) == 0)
				assert_round_trip(&frame, &arena);
			arena_reset(&arena);
			buffer_done(&frame);
		}
	}
	arena_done(&arena);
}

static void test_refusals(void **state)
{
	struct arena arena = { 0 };
	struct buffer frame = { 0 };
	struct message message;

	(void)state;
	for (unsigned int i = 0; error_at(i); i++) {
		const struct error_info *info = error_at(i);

		if (info->code == ERR_OK)
			continue;
		buffer_clear(&frame);
		assert_int_equal(refusal_encode(&frame, message_at(0)->code, 7, -info->code), 0);
		assert_int_equal(frame.size, FRAME_HEADER_SIZE);
		assert_int_equal(decode_frame(&frame, &arena, &message), 0);
		assert_true(message.reply);
		assert_int_equal(message.id, 7);
		assert_null(message.body);
		if (info->wire)
			assert_int_equal(message.status, info->code);
		else
			assert_true(message.status == ERR_IO || message.status == ERR_UNAVAILABLE);
		assert_round_trip(&frame, &arena);
	}
	buffer_done(&frame);
	arena_done(&arena);
}

static void test_a_refusal_carries_nothing_else(void **state)
{
	struct frame_header header = { .type = message_at(0)->code, .reply = true, .status = 1 };
	struct arena arena = { 0 };
	struct message message;

	(void)state;
	assert_int_equal(message_decode(&header, NULL, &arena, &message), 0);
	header.arg1 = 1;
	assert_int_equal(message_decode(&header, NULL, &arena, &message), -ERR_BAD_REQUEST);
	header.arg1 = 0;
	header.body_size = 1;
	assert_int_equal(message_decode(&header, (const uint8_t *)"", &arena, &message),
			 -ERR_BAD_REQUEST);
	arena_done(&arena);
}

static void test_unknown_types(void **state)
{
	struct frame_header header = { .type = 0x7fff };
	struct buffer frame = { 0 };
	struct arena arena = { 0 };
	struct message message;

	(void)state;
	assert_int_equal(message_decode(&header, NULL, &arena, &message), -ERR_UNSUPPORTED);
	assert_int_equal(request_encode(&frame, 0x7fff, 1, NULL), -ERR_UNSUPPORTED);
	/* Whoever asked with it still gets an answer. */
	assert_int_equal(refusal_encode(&frame, 0x7fff, 3, -ERR_UNSUPPORTED), 0);
	assert_int_equal(frame_header_decode(frame.data, &header), 0);
	assert_int_equal(header.type, 0x7fff);
	assert_int_equal(header.id, 3);
	assert_int_equal(header.status, ERR_UNSUPPORTED);
	buffer_done(&frame);
	arena_done(&arena);
}

static void test_memory_limits_are_reported(void **state)
{
	const struct message_info *info;
	unsigned int position = 0;
	bool reply;

	(void)state;
	while ((info = message_each(&position, &reply))) {
		struct arena arena = { 0 };
		struct arena tight = { .limit = 1 };
		struct message_random from = { { 1 }, &arena, 5, 2 };
		struct message message = message_random(&from, info, reply);
		struct buffer small = { .max = FRAME_HEADER_SIZE - 1 };
		struct buffer frame = { 0 };

		assert_int_equal(message_encode(&message, &small), -ERR_TOO_LARGE);
		assert_int_equal(small.size, 0);
		assert_int_equal(message_encode(&message, &frame), 0);
		assert_int_equal(decode_frame(&frame, &tight, &message), -ERR_NO_MEMORY);
		buffer_done(&small);
		buffer_done(&frame);
		arena_done(&arena);
		arena_done(&tight);
	}
}

/* ---- golden vectors ---- */

static const char vectors_path[] = "tests/vectors/messages.txt";
static const char vectors_head[] =
	"# One frame per line: message, direction, bytes. Each pair is an empty body and one\n"
	"# filled at random within the limits. Generated by tests/unit/test_codec.c.\n";

static void print_vector(const struct message *message, struct buffer *out)
{
	struct buffer frame = { 0 };

	assert_int_equal(message_encode(message, &frame), 0);
	buffer_printf(out, "%s %s ", message->info->name, message->reply ? "reply" : "request");
	for (size_t i = 0; i < frame.size; i++)
		buffer_printf(out, "%02x", frame.data[i]);
	buffer_printf(out, "\n");
	buffer_done(&frame);
}

static void print_vectors(struct buffer *out)
{
	struct arena arena = { 0 };
	const struct message_info *info;
	unsigned int position = 0;
	bool reply;

	buffer_append(out, vectors_head, sizeof(vectors_head) - 1);
	while ((info = message_each(&position, &reply))) {
		struct message_random from = { { info->code }, &arena, 12, 2 };
		struct message message = { .info = info, .reply = reply, .id = 1 };

		message.body = arena_alloc(&arena, message_layout(&message)->size);
		print_vector(&message, out);
		message = message_random(&from, info, reply);
		print_vector(&message, out);
		arena_reset(&arena);
	}
	arena_done(&arena);
}

static void file_read(const char *path, struct buffer *ret)
{
	FILE *file = fopen(path, "r");
	char chunk[4096];
	size_t size;

	assert_non_null(file);
	while ((size = fread(chunk, 1, sizeof(chunk), file)) > 0)
		buffer_append(ret, chunk, size);
	assert_int_equal(fclose(file), 0);
}

static void file_write(const char *path, const struct buffer *content)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(content->data, 1, content->size, file), content->size);
	assert_int_equal(fclose(file), 0);
}

static void test_golden_vectors(void **state)
{
	struct buffer expected = { 0 };
	struct buffer actual = { 0 };

	(void)state;
	print_vectors(&actual);
	if (getenv("MUSTER_REGENERATE"))
		file_write(vectors_path, &actual);
	file_read(vectors_path, &expected);
	assert_int_equal(actual.size, expected.size);
	assert_memory_equal(actual.data, expected.data, expected.size);
	buffer_done(&expected);
	buffer_done(&actual);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_message_round_trips),
		cmocka_unit_test(test_other_lengths_are_refused),
		cmocka_unit_test(test_arguments_without_a_field_are_refused),
		cmocka_unit_test(test_random_bytes_are_refused_or_mean_themselves),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_a_refusal_carries_nothing_else),
		cmocka_unit_test(test_unknown_types),
		cmocka_unit_test(test_memory_limits_are_reported),
		cmocka_unit_test(test_golden_vectors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

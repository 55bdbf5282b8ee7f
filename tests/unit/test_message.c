/* The tables themselves, and the maxima of each of their fields. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "codec.h"
#include "error.h"
#include "message_random.h"

typedef void layout_test(const struct layout *layout, bool top);

static void for_each_layout(layout_test *test)
{
	for (unsigned int i = 0; record_at(i); i++)
		test(record_at(i), false);
	for (unsigned int i = 0; message_at(i); i++) {
		test(message_at(i)->request(), true);
		test(message_at(i)->reply(), true);
	}
}

static void test_messages_are_found(void **state)
{
	unsigned int count = 0;

	(void)state;
	for (; message_at(count); count++) {
		const struct message_info *info = message_at(count);

		assert_ptr_equal(message_info(info->code), info);
		assert_ptr_equal(message_find(info->name), info);
		assert_true(info->code > 0 && info->code < 0x8000);
		assert_true(info->to != 0 && info->text[0] != '\0');
	}
	assert_true(count > 0);
	for (unsigned int code = 0; code <= UINT16_MAX + 1; code++)
		count -= message_info(code) != NULL;
	assert_int_equal(count, 0);
	assert_null(message_info(UINT32_MAX));
	assert_null(message_find(""));
}

static void test_records_are_found(void **state)
{
	(void)state;
	for (unsigned int i = 0; record_at(i); i++)
		assert_ptr_equal(record_find(record_at(i)->name), record_at(i));
	assert_null(record_find(""));
	assert_string_equal(record_at(RECORD_ticket)->name, "ticket");
	assert_string_equal(record_at(RECORD_receipt)->name, "receipt");
}

/* The tag is what stands last, as the signing counts on. */
static void test_signed_records_end_with_their_tag(void **state)
{
	const struct layout *signed_records[] = { record_at(RECORD_ticket),
						  record_at(RECORD_receipt) };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(signed_records); i++) {
		const struct layout *layout = signed_records[i];

		assert_int_equal(layout->wire_min, layout->wire_max);
		assert_string_equal(layout->fields[layout->count - 1].name, "tag");
		assert_int_equal(layout->fields[layout->count - 1].kind, FIELD_ID);
	}
}

static void check_rows(const struct layout *layout, bool top)
{
	/* The text form keeps a bit per field. */
	assert_true(layout->count <= 64);
	assert_null(layout->fields[layout->count].name);
	for (unsigned int i = 0; i < layout->count; i++) {
		const struct field *field = &layout->fields[i];

		/* The text form keeps this word of a message for refusals. */
		if (top)
			assert_string_not_equal(field->name, "status");
		if (field->kind == FIELD_ARG1 || field->kind == FIELD_ARG2)
			assert_true(top);
		if (field->kind == FIELD_STR || field->kind == FIELD_LIST)
			assert_true(field->max > 0 && field->max < UINT16_MAX);
		if (field->kind == FIELD_BYTES)
			assert_true(field->max > 0 && field->max <= BODY_SIZE_MAX);
		assert_int_equal(field->kind == FIELD_ONE || field->kind == FIELD_LIST,
				 field->record != NULL);
	}
}

static void test_rows_make_sense(void **state)
{
	(void)state;
	for_each_layout(check_rows);
}

/* ---- maxima ---- */

/* Size of the field in a record whose strings and lists are empty: of those, of the length. */
static size_t wire_size(const struct field *field)
{
	static const size_t sizes[] = {
		[FIELD_U8] = 1,         [FIELD_U16] = 2,      [FIELD_U32] = 4,
		[FIELD_U64] = 8,        [FIELD_ID] = ID_SIZE, [FIELD_DIGEST] = DIGEST_SIZE,
		[FIELD_KEY] = KEY_SIZE, [FIELD_STR] = 2,      [FIELD_BYTES] = 4,
		[FIELD_LIST] = 2,
	};

	return field->kind == FIELD_ONE ? field->record()->wire_min : sizes[field->kind];
}

/* Bytes of the field's record in which all is zero but that field, and the room behind it that its
 * content takes. */
static uint8_t *bytes_with(const struct layout *layout, const struct field *field, uint64_t value,
			   size_t content_size)
{
	uint8_t *bytes = calloc(1, layout->wire_min + content_size + 1);
	size_t at = 0;

	for (const struct field *other = layout->fields; other != field; other++)
		at += wire_size(other);
	for (size_t i = 0; i < wire_size(field); i++)
		bytes[at + i] = (uint8_t)(value >> 8 * i);
	return bytes;
}

/* Decodes and, if that goes well, encodes again. */
static int try_bytes(const struct layout *layout, const struct field *field, uint64_t value,
		     size_t content_size)
{
	size_t size = layout->wire_min + content_size;
	uint8_t *bytes = bytes_with(layout, field, value, content_size);
	struct buffer again = { 0 };
	struct arena arena = { 0 };
	void *record = arena_alloc(&arena, layout->size);
	int rc = record_decode(layout, (struct slice){ bytes, size }, &arena, record);

	if (rc == 0) {
		assert_int_equal(record_encode(layout, record, &again), 0);
		assert_int_equal(again.size, size);
		assert_memory_equal(again.data, bytes, size);
	}
	free(bytes);
	buffer_done(&again);
	arena_done(&arena);
	return rc;
}

/* Encodes a record in which all is zero but the field. */
static int try_record(const struct layout *layout, const struct field *field, const void *value,
		      size_t size)
{
	uint8_t *record = calloc(1, layout->size);
	struct buffer out = { 0 };
	uint16_t count = UINT16_MAX;
	int rc;

	buffer_append(&out, "before", 6);
	memcpy(record + field->offset, value, size);
	if (field->kind == FIELD_LIST) {
		count = (uint16_t)(field->max + 1);
		memcpy(record + field->count_offset, &count, sizeof(count));
	}
	rc = record_encode(layout, record, &out);
	if (rc < 0)
		assert_int_equal(out.size, 6);
	buffer_done(&out);
	free(record);
	return rc;
}

static void check_number(const struct layout *layout, const struct field *field)
{
	size_t size = wire_size(field);
	uint64_t range = size == 8 ? UINT64_MAX : ((uint64_t)1 << 8 * size) - 1;
	uint64_t over = field->max + 1;

	assert_true(field->max <= range);
	assert_int_equal(try_bytes(layout, field, field->max ? field->max : range, 0), 0);
	if (field->max == 0 || field->max == range)
		return;
	assert_int_equal(try_bytes(layout, field, over, 0), -ERR_BAD_REQUEST);
	assert_int_equal(try_bytes(layout, field, range, 0), -ERR_BAD_REQUEST);
	/* The low bytes of a little-endian machine's number; elsewhere zero, which would pass. */
	if (*(const uint8_t *)&(const uint16_t){ 1 } == 1)
		assert_int_equal(try_record(layout, field, &over, size), -ERR_TOO_LARGE);
}

static void check_str(const struct layout *layout, const struct field *field)
{
	uint8_t *text = calloc(1, field->max + 1);
	struct slice over = { text, field->max + 1 };

	assert_int_equal(try_bytes(layout, field, field->max, field->max), 0);
	assert_int_equal(try_bytes(layout, field, over.size, over.size), -ERR_BAD_REQUEST);
	assert_int_equal(try_record(layout, field, &over, sizeof(over)), -ERR_TOO_LARGE);
	free(text);
}

static void check_list(const struct layout *layout, const struct field *field)
{
	const struct layout *item = field->record();
	uint8_t *items = calloc(field->max + 1, item->size);
	size_t size = field->max * item->wire_min;

	assert_int_equal(try_bytes(layout, field, field->max, size), 0);
	assert_int_equal(try_bytes(layout, field, field->max + 1, size + item->wire_min),
			 -ERR_BAD_REQUEST);
	assert_int_equal(try_record(layout, field, &items, sizeof(items)), -ERR_TOO_LARGE);
	free(items);
}

static void check_maxima(const struct layout *layout, bool top)
{
	(void)top;
	for (unsigned int i = 0; i < layout->count; i++) {
		const struct field *field = &layout->fields[i];

		switch (field->kind) {
		case FIELD_U8:
		case FIELD_U16:
		case FIELD_U32:
		case FIELD_U64: check_number(layout, field); break;
		case FIELD_STR:
		case FIELD_BYTES: check_str(layout, field); break;
		case FIELD_LIST: check_list(layout, field); break;
		default: break;
		}
	}
}

static void test_every_field_has_its_maximum(void **state)
{
	(void)state;
	for_each_layout(check_maxima);
}

/* A count that the bytes cannot hold takes no memory. */
static void check_hollow_list(const struct layout *layout, bool top)
{
	(void)top;
	for (unsigned int i = 0; i < layout->count; i++) {
		const struct field *field = &layout->fields[i];
		struct arena arena = { 0 };
		struct slice bytes = { .size = layout->wire_min };
		void *record = arena_alloc(&arena, layout->size);
		size_t used = arena.used;

		if (field->kind == FIELD_LIST) {
			bytes.data = bytes_with(layout, field, field->max, 0);
			/* Later fields may look like items, so few are believed at most. */
			assert_int_equal(record_decode(layout, bytes, &arena, record),
					 -ERR_BAD_REQUEST);
			if (field->max * field->record()->wire_min > layout->wire_min)
				assert_int_equal(arena.used, used);
			free((void *)(uintptr_t)bytes.data);
		}
		arena_done(&arena);
	}
}

static void test_hollow_lists_take_no_memory(void **state)
{
	(void)state;
	for_each_layout(check_hollow_list);
}

static void test_fixed_encoding(void **state)
{
	uint8_t bytes[1024];

	(void)state;
	for (unsigned int i = 0; record_at(i); i++) {
		const struct layout *layout = record_at(i);
		bool fixed = layout->wire_min == layout->wire_max;
		void *record = calloc(1, layout->size);

		assert_true(layout->wire_min <= sizeof(bytes));
		assert_int_equal(record_encode_fixed(layout, record, bytes, sizeof(bytes)),
				 fixed ? (int)layout->wire_min : -ERR_TOO_LARGE);
		assert_int_equal(record_encode_fixed(layout, record, bytes, layout->wire_min - 1),
				 -ERR_TOO_LARGE);
		free(record);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages_are_found),
		cmocka_unit_test(test_records_are_found),
		cmocka_unit_test(test_signed_records_end_with_their_tag),
		cmocka_unit_test(test_rows_make_sense),
		cmocka_unit_test(test_every_field_has_its_maximum),
		cmocka_unit_test(test_hollow_lists_take_no_memory),
		cmocka_unit_test(test_fixed_encoding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

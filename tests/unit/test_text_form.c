#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "codec.h"
#include "error.h"
#include "message_random.h"

static void test_every_message_round_trips(void **state)
{
	struct arena arena = { 0 };
	const struct message_info *info;
	unsigned int position = 0;
	bool reply;

	(void)state;
	while ((info = message_each(&position, &reply))) {
		struct message_random from = { { info->code }, &arena, 40, 9 };

		for (int i = 0; i < 20; i++) {
			struct message message = message_random(&from, info, reply);
			struct buffer text = { 0 };
			struct buffer before = { 0 };
			struct buffer after = { 0 };

			assert_int_equal(message_encode(&message, &before), 0);
			assert_int_equal(message_print(&message, &text), 0);
			buffer_append(&text, "", 1);
			assert_int_equal(
				message_parse((const char *)text.data, reply, &arena, &message), 0);
			assert_int_equal(message.id, 0);
			message.id = get_u32(before.data + 4);
			assert_int_equal(message_encode(&message, &after), 0);
			assert_int_equal(after.size, before.size);
			assert_memory_equal(after.data, before.data, before.size);
			buffer_done(&text);
			buffer_done(&before);
			buffer_done(&after);
			arena_reset(&arena);
		}
	}
	arena_done(&arena);
}

/* Parses and prints again. */
static void assert_reads(const char *text, bool reply, const char *expected)
{
	struct arena arena = { 0 };
	struct buffer out = { 0 };
	struct message message;

	assert_int_equal(message_parse(text, reply, &arena, &message), 0);
	assert_int_equal(message_print(&message, &out), 0);
	buffer_append(&out, "", 1);
	assert_string_equal((const char *)out.data, expected);
	buffer_done(&out);
	arena_done(&arena);
}

static void test_the_form(void **state)
{
	(void)state;
	assert_reads("stat", false, "stat");
	assert_reads("  stat  path=\"/a b\"\tflags=0x1 ", false, "stat flags=1 path=\"/a b\"");
	assert_reads("stat flags=18446744073709551615", false, "stat flags=18446744073709551615");
	assert_reads("stat path=\"\\n\\\"\\\\\\x41\\xfF\"", false,
		     "stat path=\"\\n\\\"\\\\A\\xff\"");
	assert_reads("stat entry={ name=\"\" } holders=[]", true, "stat");
	assert_reads("stat entry={type=2 inode=5} holders=[{chunks=1}{}]", true,
		     "stat entry={inode=5 type=2} holders=[ {chunks=1} {} ]");
	assert_reads("nodes after=00112233445566778899AABBccddeeff", false,
		     "nodes after=00112233445566778899aabbccddeeff");
	assert_reads("write +MORE +LAST failed=1", true, "write +LAST +MORE failed=1");
	assert_reads("stat status=NOT_FOUND", true, "stat status=NOT_FOUND");
	assert_reads("stat +DEGRADED status=255", true, "stat +DEGRADED status=255");
}

static int parse_error(const char *text, bool reply)
{
	struct arena arena = { .limit = 1 << 20 };
	struct message message;
	int rc = message_parse(text, reply, &arena, &message);

	arena_done(&arena);
	return rc;
}

static void test_what_is_not_in_the_form(void **state)
{
	static const char *const bad[] = {
		"stat what=1",
		"stat flags",
		"stat flags=",
		"stat flags=x",
		"stat flags=-1",
		"stat flags=1x",
		"stat flags=0x",
		"stat flags=1 flags=1",
		"stat path=a",
		"stat path=\"a",
		"stat path=\"a\\",
		"stat path=\"a\\\"",
		"stat path=\"\\q\"",
		"stat path=\"\\x1\"",
		"stat path=\"a\"b",
		"stat status=NOT_FOUND",
		"stat +WHAT",
		"stat + LAST",
		"stat }",
		"nodes after=0011",
		"nodes after=00112233445566778899aabbccddeeff0",
		"nodes after=0011223344556677 8899aabbccddeeff",
	};
	static const char *const bad_replies[] = {
		"stat entry=1",          "stat entry={",
		"stat entry={name=\"\"", "stat holders=[",
		"stat holders=[{}",      "stat holders=[{",
		"stat holders=[x]",      "stat status=WHAT",
		"stat status=",          "stat status=NOT_FOUND x",
		"stat status=0",         "stat status=1x",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(parse_error(bad[i], false), -ERR_BAD_REQUEST);
	for (size_t i = 0; i < ARRAY_SIZE(bad_replies); i++)
		assert_int_equal(parse_error(bad_replies[i], true), -ERR_BAD_REQUEST);
	assert_int_equal(parse_error("", false), -ERR_UNSUPPORTED);
	assert_int_equal(parse_error("what", false), -ERR_UNSUPPORTED);
	assert_int_equal(parse_error("stat\"", false), -ERR_BAD_REQUEST);
}

static void test_maxima_hold(void **state)
{
	struct buffer text = { 0 };

	(void)state;
	assert_int_equal(parse_error("stat flags=18446744073709551616", false), -ERR_TOO_LARGE);
	assert_int_equal(parse_error("stat flags=0x10000000000000000", false), -ERR_TOO_LARGE);
	assert_int_equal(parse_error("hello role=4", false), 0);
	assert_int_equal(parse_error("hello role=5", false), -ERR_TOO_LARGE);
	assert_int_equal(parse_error("heartbeat load=4294967295", false), 0);
	assert_int_equal(parse_error("heartbeat load=4294967296", false), -ERR_TOO_LARGE);
	buffer_printf(&text, "list after=\"%0*d\"", NAME_SIZE_MAX, 0);
	buffer_append(&text, "", 1);
	assert_int_equal(parse_error((const char *)text.data, false), 0);
	buffer_clear(&text);
	buffer_printf(&text, "list after=\"%0*d\"", NAME_SIZE_MAX + 1, 0);
	buffer_append(&text, "", 1);
	assert_int_equal(parse_error((const char *)text.data, false), -ERR_TOO_LARGE);
	buffer_clear(&text);
	buffer_printf(&text, "put_replace have=[");
	for (int i = 0; i < COPIES_MAX + 1; i++)
		buffer_printf(&text, "{}");
	buffer_append(&text, "]", 2);
	assert_int_equal(parse_error((const char *)text.data, false), -ERR_TOO_LARGE);
	buffer_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_message_round_trips),
		cmocka_unit_test(test_the_form),
		cmocka_unit_test(test_what_is_not_in_the_form),
		cmocka_unit_test(test_maxima_hold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

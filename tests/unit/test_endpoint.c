#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "endpoint.h"
#include "error.h"

enum { LAN = 0x0a000001, LOCALHOST = 0x7f000001 };

static void assert_text(const char *text, const char *expected)
{
	char formatted[ENDPOINT_TEXT_MAX];
	struct endpoint endpoint;

	assert_int_equal(endpoint_parse(text, 99, &endpoint), 0);
	assert_string_equal(endpoint_format(&endpoint, formatted), expected);
}

static void test_text(void **state)
{
	(void)state;
	assert_text("192.168.1.5:3503", "192.168.1.5:3503");
	assert_text("192.168.1.5", "192.168.1.5:99");
	assert_text("::1", "[::1]:99");
	assert_text("[fe80::2]", "[fe80::2]:99");
	assert_text("[fe80::2]:65535", "[fe80::2]:65535");
	assert_text("[1:2:3:4:5:6:255.255.255.255]:1", "[1:2:3:4:5:6:ffff:ffff]:1");
}

static void test_bad_text(void **state)
{
	static const char *const bad[] = { "",          "host",      "1.2.3",
					   "1.2.3.4:",  "1.2.3.4:0", "1.2.3.4:65536",
					   "1.2.3.4:x", "[::1",      "[::1]x",
					   "[::1]:",    ":80",       "1.2.3.4:80:80",
					   "[]:80",     " 1.2.3.4",  "1.2.3.4 " };
	char longest[ENDPOINT_TEXT_MAX + 1];
	struct endpoint endpoint;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(endpoint_parse(bad[i], 99, &endpoint), -ERR_USAGE);
	memset(longest, '1', sizeof(longest));
	longest[ENDPOINT_TEXT_MAX] = '\0';
	assert_int_equal(endpoint_parse(longest, 99, &endpoint), -ERR_USAGE);
}

static void test_ipv4(void **state)
{
	struct endpoint endpoint = endpoint_ipv4(0x01020304, 5);
	static const uint8_t address[ID_SIZE] = { 1, 2, 3, 4 };

	(void)state;
	assert_int_equal(endpoint.family, 4);
	assert_int_equal(endpoint.port, 5);
	assert_memory_equal(endpoint.address.bytes, address, ID_SIZE);
	assert_int_equal(endpoint.flags, 0);
	assert_int_equal(endpoint_ipv4(LOCALHOST, 5).flags, ENDPOINT_LOOPBACK);
}

static void test_equality(void **state)
{
	struct endpoint a = endpoint_ipv4(LAN, 1);
	struct endpoint b = a;

	(void)state;
	b.flags = ENDPOINT_SEEN;
	assert_true(endpoint_equal(&a, &b));
	b.port++;
	assert_false(endpoint_equal(&a, &b));
	b = a;
	b.family = 6;
	assert_false(endpoint_equal(&a, &b));
	b = endpoint_ipv4(LAN + 1, 1);
	assert_false(endpoint_equal(&a, &b));
}

static bool is_loopback_text(const char *text)
{
	struct endpoint endpoint;

	assert_int_equal(endpoint_parse(text, 1, &endpoint), 0);
	return endpoint_is_loopback(&endpoint);
}

static void test_loopback(void **state)
{
	(void)state;
	assert_true(is_loopback_text("127.0.0.1"));
	assert_true(is_loopback_text("127.9.9.9"));
	assert_true(is_loopback_text("::1"));
	assert_false(is_loopback_text("128.0.0.1"));
	assert_false(is_loopback_text("::2"));
	assert_false(is_loopback_text("7f00::1"));
}

static struct endpoint with_flags(uint32_t address, uint8_t flags)
{
	struct endpoint endpoint = endpoint_ipv4(address, 1);

	endpoint.flags = flags;
	return endpoint;
}

static void test_what_a_peer_gets(void **state)
{
	const struct endpoint list[] = {
		with_flags(LAN, ENDPOINT_ADVERTISED),
		with_flags(LOCALHOST, ENDPOINT_ADVERTISED),
		with_flags(LAN + 1, 0),
		with_flags(LAN + 2, ENDPOINT_SEEN),
		with_flags(LAN, ENDPOINT_SEEN),
	};
	struct endpoint ret[ENDPOINTS_MAX];

	(void)state;
	assert_int_equal(endpoints_for_peer(list, 5, false, ret), 3);
	assert_true(endpoint_equal(&ret[0], &list[3]));
	assert_true(endpoint_equal(&ret[1], &list[4]));
	assert_true(endpoint_equal(&ret[2], &list[2]));
	assert_int_equal(endpoints_for_peer(list, 5, true, ret), 4);
	assert_true(endpoint_equal(&ret[0], &list[1]));
	assert_true(endpoint_equal(&ret[1], &list[3]));
	assert_int_equal(endpoints_for_peer(&list[1], 1, false, ret), 0);
	assert_int_equal(endpoints_for_peer(NULL, 0, true, ret), 0);
}

static void test_no_more_than_fit(void **state)
{
	struct endpoint list[ENDPOINTS_MAX + 3];
	struct endpoint ret[ENDPOINTS_MAX];

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(list); i++)
		list[i] = with_flags(LAN + i, 0);
	list[ARRAY_SIZE(list) - 1].flags = ENDPOINT_SEEN;
	assert_int_equal(endpoints_for_peer(list, ARRAY_SIZE(list), false, ret), ENDPOINTS_MAX);
	assert_true(endpoint_equal(&ret[0], &list[ARRAY_SIZE(list) - 1]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_bad_text),
		cmocka_unit_test(test_ipv4),
		cmocka_unit_test(test_equality),
		cmocka_unit_test(test_loopback),
		cmocka_unit_test(test_what_a_peer_gets),
		cmocka_unit_test(test_no_more_than_fit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

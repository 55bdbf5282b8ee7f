#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "error.h"
#include "path.h"

static int check_text(const char *text)
{
	return path_check(slice_of(text));
}

static void test_good_paths(void **state)
{
	(void)state;
	assert_int_equal(check_text("/"), 0);
	assert_int_equal(check_text("/a"), 0);
	assert_int_equal(check_text("/a b/.c/..d/...\n\xff"), 0);
}

static void test_bad_paths(void **state)
{
	static const char *const bad[] = { "",   "a",   "a/b",   "//",     "/a/", "/a//b",
					   "/.", "/..", "/a/..", "/a/./b", "./a", "/a/../b" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(check_text(bad[i]), -ERR_BAD_NAME);
	assert_int_equal(path_check((struct slice){ (const uint8_t *)"/a\0b", 4 }), -ERR_BAD_NAME);
	assert_int_equal(path_check((struct slice){ NULL, 0 }), -ERR_BAD_NAME);
}

/* "/xxx…" of `count` components of `size` bytes each. */
static struct slice long_path(uint8_t *room, size_t count, size_t size)
{
	memset(room, 'x', count * (size + 1));
	for (size_t i = 0; i < count; i++)
		room[i * (size + 1)] = '/';
	return (struct slice){ room, count * (size + 1) };
}

static void test_limits(void **state)
{
	uint8_t room[PATH_SIZE_MAX + 512];

	(void)state;
	assert_int_equal(path_check(long_path(room, 1, NAME_SIZE_MAX)), 0);
	assert_int_equal(path_check(long_path(room, 1, NAME_SIZE_MAX + 1)), -ERR_NAME_TOO_LONG);
	assert_int_equal(path_check(long_path(room, PATH_DEPTH_MAX, 1)), 0);
	assert_int_equal(path_check(long_path(room, PATH_DEPTH_MAX + 1, 1)), -ERR_NAME_TOO_LONG);
	assert_int_equal(path_check(long_path(room, 16, NAME_SIZE_MAX)), 0);
	assert_int_equal(path_check(long_path(room, 17, NAME_SIZE_MAX)), -ERR_NAME_TOO_LONG);
}

static void test_names(void **state)
{
	uint8_t room[NAME_SIZE_MAX + 1];

	(void)state;
	memset(room, 'n', sizeof(room));
	assert_int_equal(name_check(slice_of("a")), 0);
	assert_int_equal(name_check(slice_of("...")), 0);
	assert_int_equal(name_check(slice_of("")), -ERR_BAD_NAME);
	assert_int_equal(name_check(slice_of(".")), -ERR_BAD_NAME);
	assert_int_equal(name_check(slice_of("..")), -ERR_BAD_NAME);
	assert_int_equal(name_check(slice_of("a/b")), -ERR_BAD_NAME);
	assert_int_equal(name_check((struct slice){ (const uint8_t *)"a", 2 }), -ERR_BAD_NAME);
	assert_int_equal(name_check((struct slice){ room, NAME_SIZE_MAX }), 0);
	assert_int_equal(name_check((struct slice){ room, NAME_SIZE_MAX + 1 }), -ERR_NAME_TOO_LONG);
}

/* Resolves behind bytes that are there already, which shall stay. */
static void assert_resolves(const char *directory, const char *text, const char *expected)
{
	struct buffer path = { 0 };

	buffer_append(&path, "before/", 7);
	assert_int_equal(path_resolve(slice_of(directory), slice_of(text), &path), 0);
	assert_memory_equal(path.data, "before/", 7);
	assert_true(
		slice_equal((struct slice){ path.data + 7, path.size - 7 }, slice_of(expected)));
	buffer_done(&path);
}

static void test_resolving(void **state)
{
	(void)state;
	assert_resolves("/", "a", "/a");
	assert_resolves("/a", "b", "/a/b");
	assert_resolves("/a", "/b", "/b");
	assert_resolves("/a", ".", "/a");
	assert_resolves("/a", "..", "/");
	assert_resolves("/a/b", "../c", "/a/c");
	assert_resolves("/a/b", "../../c/./d//e/", "/c/d/e");
	assert_resolves("/", "///", "/");
	assert_resolves("/", "./", "/");
	assert_resolves("/a", "b/..", "/a");
	assert_resolves("/a", "...", "/a/...");
}

static int resolve_error(const char *directory, const char *text)
{
	struct buffer path = { 0 };
	int rc;

	buffer_append(&path, "x", 1);
	rc = path_resolve(slice_of(directory), slice_of(text), &path);
	assert_int_equal(path.size, 1);
	buffer_done(&path);
	return rc;
}

static void test_what_does_not_resolve(void **state)
{
	char name[NAME_SIZE_MAX + 2] = { 0 };

	(void)state;
	memset(name, 'n', NAME_SIZE_MAX + 1);
	assert_int_equal(resolve_error("/", ".."), -ERR_BAD_NAME);
	assert_int_equal(resolve_error("/a", "../.."), -ERR_BAD_NAME);
	assert_int_equal(resolve_error("/a", "/../b"), -ERR_BAD_NAME);
	assert_int_equal(resolve_error("/a", ""), -ERR_BAD_NAME);
	assert_int_equal(resolve_error("a", "b"), -ERR_BAD_NAME);
	assert_int_equal(resolve_error("/", name), -ERR_NAME_TOO_LONG);
}

static void test_walking(void **state)
{
	struct slice rest = slice_of("/a/bc/d");
	struct slice name;

	(void)state;
	assert_true(path_next(&rest, &name));
	assert_true(slice_equal(name, slice_of("a")));
	assert_true(path_next(&rest, &name));
	assert_true(slice_equal(name, slice_of("bc")));
	assert_true(path_next(&rest, &name));
	assert_true(slice_equal(name, slice_of("d")));
	assert_false(path_next(&rest, &name));
	rest = slice_of("/");
	assert_false(path_next(&rest, &name));
	rest = (struct slice){ NULL, 0 };
	assert_false(path_next(&rest, &name));
}

static void assert_splits(const char *path, const char *parent, const char *name)
{
	struct slice actual_parent;
	struct slice actual_name;

	path_split(slice_of(path), &actual_parent, &actual_name);
	assert_true(slice_equal(actual_parent, slice_of(parent)));
	assert_true(slice_equal(actual_name, slice_of(name)));
}

static void test_splitting(void **state)
{
	(void)state;
	assert_splits("/a/b", "/a", "b");
	assert_splits("/a", "/", "a");
	assert_splits("/", "/", "");
	assert_splits("/a/b/cc", "/a/b", "cc");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_paths), cmocka_unit_test(test_bad_paths),
		cmocka_unit_test(test_limits),     cmocka_unit_test(test_names),
		cmocka_unit_test(test_resolving),  cmocka_unit_test(test_what_does_not_resolve),
		cmocka_unit_test(test_walking),    cmocka_unit_test(test_splitting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

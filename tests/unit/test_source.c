/* What a put takes for a file whose size is known, and what for a stream. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine.h"

static uint64_t size_of(int fd, uint64_t offset, bool *ret_rewindable)
{
	const struct muster_source how = { .fd = fd, .offset = offset, .size = MUSTER_UNKNOWN };
	struct source source;
	uint64_t size;

	assert_int_equal(source_open(&source, &how, &size), 0);
	*ret_rewindable = source_is_rewindable(&source);
	close(fd);
	return size;
}

static int file_of(size_t size)
{
	FILE *file = tmpfile();
	int fd;

	assert_non_null(file);
	for (size_t i = 0; i < size; i++)
		assert_int_equal(fputc('x', file), 'x');
	assert_int_equal(fflush(file), 0);
	fd = dup(fileno(file));
	fclose(file);
	return fd;
}

/* Thousands of empty files in a tree would else wait for each other, as streams do. */
static void test_empty_file(void **state)
{
	bool rewindable;

	(void)state;
	assert_int_equal(size_of(file_of(0), 0, &rewindable), 0);
	assert_true(rewindable);
}

static void test_file(void **state)
{
	bool rewindable;

	(void)state;
	assert_int_equal(size_of(file_of(5), 0, &rewindable), 5);
	assert_true(rewindable);
	assert_int_equal(size_of(file_of(5), 3, &rewindable), 2);
	assert_int_equal(size_of(file_of(5), 9, &rewindable), 0);
}

static void test_file_without_a_size(void **state)
{
	bool rewindable;

	(void)state;
	assert_true(size_of(open("/proc/self/status", O_RDONLY), 0, &rewindable) == MUSTER_UNKNOWN);
	assert_false(rewindable);
}

static void test_position(void **state)
{
	bool rewindable;

	(void)state;
	assert_true(size_of(file_of(5), MUSTER_UNKNOWN, &rewindable) == MUSTER_UNKNOWN);
	assert_false(rewindable);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty_file),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_file_without_a_size),
		cmocka_unit_test(test_position),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

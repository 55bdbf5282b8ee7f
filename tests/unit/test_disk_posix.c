#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "bytes.h"
#include "disk.h"
#include "error.h"

struct place {
	char root[64];
	struct disk *disk;
};

static int place_make(void **state)
{
	struct place *place = calloc(1, sizeof(*place));
	char path[128];

	snprintf(place->root, sizeof(place->root), "/tmp/muster-disk-XXXXXX");
	assert_non_null(mkdtemp(place->root));
	snprintf(path, sizeof(path), "%s/deep//er/", place->root);
	assert_int_equal(disk_posix_new(path, &place->disk), 0);
	*state = place;
	return 0;
}

static int place_remove(void **state)
{
	struct place *place = *state;
	pid_t child;

	disk_free(place->disk);
	child = fork();
	if (child == 0)
		execlp("rm", "rm", "-rf", place->root, (char *)NULL);
	waitpid(child, NULL, 0);
	free(place);
	return 0;
}

static struct disk *disk_in(void **state)
{
	return ((struct place *)*state)->disk;
}

static void test_writes_are_read_back(void **state)
{
	struct disk *disk = disk_in(state);
	int file = disk_open(disk, "a", DISK_CREATE);
	char data[16];

	assert_true(file >= 0);
	assert_int_equal(disk_write(disk, file, "hello", 5, 0), 0);
	assert_int_equal(disk_write(disk, file, "world", 5, 6), 0);
	assert_int_equal(disk_sync_file(disk, file), 0);
	assert_int_equal(disk_sync_dir(disk, ""), 0);
	assert_int_equal(disk_read(disk, file, data, sizeof(data), 0), 11);
	assert_memory_equal(data, "hello\0world", 11);
	assert_int_equal(disk_read(disk, file, data, 3, 6), 3);
	assert_int_equal(disk_read(disk, file, data, 3, 100), 0);
	assert_int_equal(disk_size(disk, file), 11);
	assert_int_equal(disk_truncate(disk, file, 4), 0);
	assert_int_equal(disk_size(disk, file), 4);
	assert_true(disk_descriptor(disk, file) >= 0);
	assert_int_equal(disk_close(disk, file), 0);
}

/* A disk that cannot tell reads; none ever gives wrong bytes. */
static void test_reads_without_waiting(void **state)
{
	enum { SIZE = 256 * 1024 };
	struct disk *disk = disk_in(state);
	int file = disk_open(disk, "cold", DISK_CREATE);
	uint8_t *data = malloc(SIZE);
	int64_t got;

	memset(data, 7, SIZE);
	assert_int_equal(disk_write(disk, file, data, SIZE, 0), 0);
	assert_int_equal(disk_sync_file(disk, file), 0);
	assert_int_equal(disk_read_cached(disk, file, data, SIZE + 9, 0), SIZE);
	assert_int_equal(disk_read_cached(disk, file, data, 9, SIZE), 0);
	assert_int_equal(posix_fadvise(disk_descriptor(disk, file), 0, 0, POSIX_FADV_DONTNEED), 0);
	memset(data, 0, SIZE);
	got = disk_read_cached(disk, file, data, SIZE, 0);
	assert_true(got == -ERR_BUSY || got == SIZE);
	assert_int_equal(disk_read(disk, file, data, SIZE, 0), SIZE);
	assert_int_equal(disk_read_cached(disk, file, data, SIZE, 0), SIZE);
	for (size_t i = 0; i < SIZE; i++)
		assert_int_equal(data[i], 7);
	free(data);
	disk_close(disk, file);
}

static void test_zeros(void **state)
{
	enum { SIZE = 3 * 1024 * 1024 + 5 };
	struct disk *disk = disk_in(state);
	int file = disk_open(disk, "zeros", DISK_CREATE);
	uint8_t *data = calloc(2, SIZE);

	assert_non_null(data);
	memset(data, 1, SIZE);
	assert_int_equal(disk_write(disk, file, data, SIZE, 0), 0);
	assert_int_equal(disk_zero(disk, file, 7, SIZE), 0);
	assert_int_equal(disk_read(disk, file, data, SIZE + 10, 0), SIZE + 7);
	for (size_t i = 0; i < SIZE + 7; i++)
		assert_int_equal(data[i], i < 7);
	free(data);
	disk_close(disk, file);
}

static void test_open_flags(void **state)
{
	struct disk *disk = disk_in(state);
	int file;

	assert_int_equal(disk_open(disk, "a", 0), -ERR_NOT_FOUND);
	assert_int_equal(disk_open(disk, "no/a", DISK_CREATE), -ERR_NOT_FOUND);
	file = disk_open(disk, "a", DISK_CREATE | DISK_EXCLUSIVE);
	assert_true(file >= 0);
	disk_close(disk, file);
	assert_int_equal(disk_open(disk, "a", DISK_CREATE | DISK_EXCLUSIVE), -ERR_EXISTS);
	file = disk_open(disk, "a", DISK_READ_ONLY);
	assert_true(file >= 0);
	assert_true(disk_write(disk, file, "x", 1, 0) < 0);
	disk_close(disk, file);
}

static void test_many_parts_in_one_write(void **state)
{
	struct disk *disk = disk_in(state);
	int file = disk_open(disk, "a", DISK_CREATE);
	struct iovec parts[100];
	uint8_t bytes[100];
	uint8_t back[100];

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		bytes[i] = (uint8_t)i;
		parts[i] = (struct iovec){ &bytes[i], i % 3 != 1 };
	}
	assert_int_equal(disk_writev(disk, file, parts, 100, 1), 0);
	assert_int_equal(disk_size(disk, file), 68);
	assert_int_equal(disk_read(disk, file, back, 100, 1), 67);
	for (size_t i = 0, at = 0; i < 100; i++) {
		if (i % 3 != 1)
			assert_int_equal(back[at++], i);
	}
	assert_int_equal(disk_writev(disk, file, parts, 0, 1), 0);
	disk_close(disk, file);
}

/* A disk that writes one byte less than asked, and at most three. */
static int64_t stingy_write(struct disk *disk, int file, const struct iovec *parts, int count,
			    uint64_t offset)
{
	uint8_t *into = (uint8_t *)disk + sizeof(*disk) + offset;
	size_t room = 3;

	(void)file;
	for (int i = 0; i < count && room; i++) {
		size_t part = parts[i].iov_len < room ? parts[i].iov_len : room;

		memcpy(into, parts[i].iov_base, part);
		into += part;
		room -= part;
	}
	return (int64_t)(3 - room);
}

static int64_t full_write(struct disk *disk, int file, const struct iovec *parts, int count,
			  uint64_t offset)
{
	(void)disk;
	(void)file;
	(void)parts;
	(void)count;
	return offset ? -ERR_LOCAL_FULL : 1;
}

static void test_short_writes_are_continued(void **state)
{
	static const struct disk_ops stingy = { .write = stingy_write };
	static const struct disk_ops full = { .write = full_write };
	struct {
		struct disk disk;
		char content[32];
	} fake = { .disk.ops = &stingy };
	struct iovec parts[] = { { "abcd", 4 }, { "", 0 }, { "efghij", 6 }, { "k", 1 } };

	(void)state;
	assert_int_equal(disk_writev(&fake.disk, 0, parts, 4, 0), 0);
	assert_string_equal(fake.content, "abcdefghijk");
	fake.disk.ops = &full;
	assert_int_equal(disk_writev(&fake.disk, 0, parts, 4, 0), -ERR_LOCAL_FULL);
}

static void test_names(void **state)
{
	struct disk *disk = disk_in(state);
	int file;

	assert_int_equal(disk_mkdir(disk, "dir"), 0);
	assert_int_equal(disk_mkdir(disk, "dir"), 0);
	file = disk_open(disk, "dir/a", DISK_CREATE);
	disk_close(disk, file);
	assert_int_equal(disk_mkdir(disk, "dir/a"), -ERR_NOT_DIR);
	assert_int_equal(disk_rename(disk, "dir/a", "b"), 0);
	assert_int_equal(disk_sync_dir(disk, "dir"), 0);
	assert_int_equal(disk_rename(disk, "dir/a", "b"), -ERR_NOT_FOUND);
	assert_int_equal(disk_unlink(disk, "b"), 0);
	assert_int_equal(disk_unlink(disk, "b"), -ERR_NOT_FOUND);
	assert_int_equal(disk_sync_dir(disk, "none"), -ERR_NOT_FOUND);
}

struct tally {
	int files, directories, stop_after;
};

static int tally_entry(void *context, const char *name, bool directory)
{
	struct tally *tally = context;

	assert_string_not_equal(name, ".");
	if (directory)
		tally->directories++;
	else
		tally->files++;
	return tally->files == tally->stop_after ? -ERR_CANCELLED : 0;
}

static void test_listing(void **state)
{
	struct disk *disk = disk_in(state);
	struct tally tally = { .stop_after = -1 };

	for (char name[] = "a"; *name <= 'e'; ++*name)
		disk_close(disk, disk_open(disk, name, DISK_CREATE));
	disk_mkdir(disk, "dir");
	assert_int_equal(disk_list(disk, "", tally_entry, &tally), 0);
	assert_int_equal(tally.files, 5);
	assert_int_equal(tally.directories, 1);
	tally = (struct tally){ .stop_after = 2 };
	assert_int_equal(disk_list(disk, "", tally_entry, &tally), -ERR_CANCELLED);
	assert_int_equal(tally.files, 2);
	assert_int_equal(disk_list(disk, "none", tally_entry, &tally), -ERR_NOT_FOUND);
	assert_int_equal(disk_list(disk, "a", tally_entry, &tally), -ERR_NOT_DIR);
}

static void test_allocate_grows_the_file(void **state)
{
	struct disk *disk = disk_in(state);
	int file = disk_open(disk, "a", DISK_CREATE);
	int rc = disk_allocate(disk, file, 4096, 8192);

	if (rc == -ERR_UNSUPPORTED)
		skip();
	assert_int_equal(rc, 0);
	assert_int_equal(disk_size(disk, file), 12288);
	disk_close(disk, file);
}

static void test_lock_is_exclusive_until_closed(void **state)
{
	struct disk *disk = disk_in(state);
	int lock = disk_lock(disk, "lock");

	assert_true(lock >= 0);
	assert_int_equal(disk_lock(disk, "lock"), -ERR_LOCKED);
	disk_close(disk, lock);
	lock = disk_lock(disk, "lock");
	assert_true(lock >= 0);
	disk_close(disk, lock);
}

static void test_space_and_roots(void **state)
{
	struct place *place = *state;
	struct disk_space space;
	struct disk *other = NULL;
	char path[128];
	int file;

	assert_int_equal(disk_space(place->disk, &space), 0);
	assert_true(space.capacity >= space.free && space.capacity > 0);
	file = disk_open(place->disk, "plain", DISK_CREATE);
	disk_close(place->disk, file);
	snprintf(path, sizeof(path), "%s/deep/er/plain", place->root);
	assert_int_equal(disk_posix_new(path, &other), -ERR_NOT_DIR);
	snprintf(path, sizeof(path), "%s/deep/er/plain/sub", place->root);
	assert_int_equal(disk_posix_new(path, &other), -ERR_NOT_DIR);
	assert_null(other);
	disk_free(NULL);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, place_make, place_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_writes_are_read_back),
		TEST(test_reads_without_waiting),
		TEST(test_zeros),
		TEST(test_open_flags),
		TEST(test_many_parts_in_one_write),
		TEST(test_short_writes_are_continued),
		TEST(test_names),
		TEST(test_listing),
		TEST(test_allocate_grows_the_file),
		TEST(test_lock_is_exclusive_until_closed),
		TEST(test_space_and_roots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

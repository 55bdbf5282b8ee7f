#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "database.h"
#include "error.h"
#include "temporary.h"

enum { SYNCED_MAX = 64, PLACE_MAX = 256 };

/* Which directories were synced, by inode: what the C library would do, written down. */
static struct {
	ino_t inodes[SYNCED_MAX];
	size_t count;
} synced;

int fsync(int fd)
{
	struct stat st;

	if (synced.count < SYNCED_MAX && fstat(fd, &st) == 0)
		synced.inodes[synced.count++] = st.st_ino;
	return (int)syscall(SYS_fsync, fd);
}

static bool was_synced(const char *root, const char *below)
{
	char path[PLACE_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s%s", root, below);
	assert_int_equal(stat(path, &st), 0);
	for (size_t i = 0; i < synced.count; i++) {
		if (synced.inodes[i] == st.st_ino)
			return true;
	}
	return false;
}

static int setup(void **state)
{
	char *root = calloc(1, TEMPORARY_PATH_MAX);

	assert_non_null(temporary_make(root));
	synced.count = 0;
	*state = root;
	return 0;
}

static int teardown(void **state)
{
	temporary_remove(*state);
	free(*state);
	return 0;
}

static int open_at(const char *root, const char *below, struct database *ret)
{
	char message[DATABASE_MESSAGE_MAX] = "";
	char path[PLACE_MAX];

	snprintf(path, sizeof(path), "%s%s", root, below);
	return database_open(path, ret, message);
}

static void test_every_name_it_makes_is_durable(void **state)
{
	static const char *const parents[] = { "",       "/a",          "/a/b",
					       "/a/b/c", "/a/b/c/view", "/a/b/c/journal" };
	struct database database;

	assert_int_equal(open_at(*state, "/a//b/c/", &database), 0);
	for (size_t i = 0; i < ARRAY_SIZE(parents); i++)
		assert_true(was_synced(*state, parents[i]));
	database_close(&database);
}

static void test_one_at_a_time(void **state)
{
	struct database first, second;

	assert_int_equal(open_at(*state, "", &first), 0);
	assert_int_equal(open_at(*state, "", &second), -ERR_LOCKED);
	database_close(&first);
	assert_int_equal(open_at(*state, "", &second), 0);
	database_close(&second);
}

static void test_somebody_elses_directory_is_refused(void **state)
{
	struct database database;
	char path[PLACE_MAX];
	FILE *file;

	snprintf(path, sizeof(path), "%s/letter", (const char *)*state);
	file = fopen(path, "w");
	assert_non_null(file);
	fclose(file);
	assert_int_equal(open_at(*state, "", &database), -ERR_BAD_FORMAT);
}

/* A database of so many batches, whose keys say which one it is. */
static void history_make(const char *root, const char *below, unsigned int batches)
{
	struct batch_head head = { .epoch = 1 };
	struct buffer bytes = { 0 };
	struct database database;
	struct kv *kv;

	assert_int_equal(open_at(root, below, &database), 0);
	kv = view_kv(database.view);
	for (unsigned int i = 0; i < batches; i++) {
		head.sequence++;
		assert_int_equal(kv_put(kv, slice_of(below), slice_of("x")), 0);
		assert_int_equal(batch_seal(kv, &head, &bytes, &head.previous), 1);
	}
	assert_int_equal(journal_append(database.journal, (struct slice){ bytes.data, bytes.size }),
			 0);
	assert_int_equal(view_apply(database.view, (struct slice){ bytes.data, bytes.size }), 0);
	buffer_done(&bytes);
	database_close(&database);
}

static void swap(const char *root, const char *one, const char *other)
{
	char first[PLACE_MAX], second[PLACE_MAX];

	snprintf(first, sizeof(first), "%s%s", root, one);
	snprintf(second, sizeof(second), "%s%s", root, other);
	assert_int_equal(syscall(SYS_renameat2, AT_FDCWD, first, AT_FDCWD, second, RENAME_EXCHANGE),
			 0);
}

static void test_a_journal_of_another_time_is_noticed(void **state)
{
	struct database database;

	history_make(*state, "/a", 3);
	history_make(*state, "/b", 3);
	history_make(*state, "/c", 5);
	/* As many batches, but others; then more, that go on from others. */
	swap(*state, "/a/journal", "/b/journal");
	assert_int_equal(open_at(*state, "/a", &database), -ERR_STALE);
	assert_int_equal(open_at(*state, "/b", &database), -ERR_STALE);
	swap(*state, "/a/journal", "/b/journal");
	swap(*state, "/a/journal", "/c/journal");
	assert_int_equal(open_at(*state, "/a", &database), -ERR_STALE);
	assert_int_equal(open_at(*state, "/c", &database), -ERR_STALE);
	swap(*state, "/a/journal", "/c/journal");
	assert_int_equal(open_at(*state, "/a", &database), 0);
	assert_int_equal(database.applied, 3);
	database_close(&database);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_every_name_it_makes_is_durable),
		TEST(test_one_at_a_time),
		TEST(test_somebody_elses_directory_is_refused),
		TEST(test_a_journal_of_another_time_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "database.h"
#include "error.h"
#include "identity.h"
#include "kv_memory.h"
#include "pages.h"
#include "replica_view.h"
#include "temporary.h"

enum { SYNCED_MAX = 64, PLACE_MAX = 256 };

/* Which directories were synced, by inode: what the C library would do, written down. */
static struct {
	ino_t inodes[SYNCED_MAX];
	size_t count;
	ino_t fails; /* cannot be */
} synced;

int fsync(int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && st.st_ino == synced.fails) {
		errno = EIO;
		return -1;
	}
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
	synced.fails = 0;
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

/* Whoever is told that the view is lost may have what is sound put aside. */
static void test_a_disk_error_is_no_loss(void **state)
{
	char message[DATABASE_MESSAGE_MAX], path[PLACE_MAX];
	struct database database;
	struct stat st;

	assert_int_equal(open_at(*state, "", &database), 0);
	database_close(&database);
	snprintf(path, sizeof(path), "%s/view", (const char *)*state);
	assert_int_equal(stat(path, &st), 0);
	synced.fails = st.st_ino;
	assert_int_equal(database_open(*state, &database, message), -ERR_IO);
	assert_non_null(strstr(message, "disk error"));
	synced.fails = 0;
	assert_int_equal(open_at(*state, "", &database), 0);
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

/* ---- a replica has had the directory ---- */

struct own {
	char view[PLACE_MAX];
	struct database database; /* only the lock */
	struct replica_rows *rows;
	struct replica *replica;
};

static void own_open(const char *root, const char *below, struct own *own)
{
	struct replica_result result;

	assert_int_equal(open_at(root, below, &own->database), 0);
	database_release(&own->database);
	snprintf(own->view, sizeof(own->view), "%s%s/view", root, below);
	assert_int_equal(replica_view_new(own->view, own->database.disk, &own->rows), 0);
	assert_int_equal(
		replica_new(own->database.disk, own->rows, &replica_limits_own, &own->replica), 0);
	replica_run(own->replica, &(struct replica_job){ .kind = REPLICA_OPEN }, &result);
	assert_int_equal(result.error, 0);
	assert_int_equal(result.dropped, 0);
}

static void own_close(struct own *own)
{
	replica_free(own->replica);
	replica_view_free(own->rows);
	database_close(&own->database);
}

static struct replica_result own_run(struct own *own, const struct replica_job *job)
{
	struct replica_result result;

	replica_run(own->replica, job, &result);
	assert_int_equal(result.error, 0);
	return result;
}

/* A batch as it comes from others, in `ret`. */
static void batch_from(const struct journal_head *last, struct buffer *ret)
{
	struct batch_head head = { .epoch = last->epoch + 1,
				   .sequence = last->sequence + 1,
				   .previous = last->hash };
	struct digest hash;
	struct kv *kv;

	assert_int_equal(kv_memory_new(&kv), 0);
	assert_int_equal(kv_put(kv, slice_of("sx"), slice_of("y")), 0);
	assert_int_equal(batch_seal(kv, &head, ret, &hash), 1);
	kv_memory_free(kv);
}

/* What only this server knows stays when the history goes on. */
static void test_local_rows_survive_what_is_fetched(void **state)
{
	struct batch_head head = { .epoch = 1, .sequence = 1 };
	struct buffer bytes = { 0 };
	struct database database;
	struct replica_result result;
	struct slice value;
	struct digest hash;
	struct own own;
	struct kv *kv;

	assert_int_equal(open_at(*state, "/a", &database), 0);
	kv = view_kv(database.view);
	assert_int_equal(kv_put(kv, slice_of("sa"), slice_of("b")), 0);
	assert_int_equal(kv_put(kv, slice_of("~p"), slice_of("here")), 0);
	assert_int_equal(batch_seal(kv, &head, &bytes, &hash), 2);
	assert_int_equal(journal_append(database.journal, (struct slice){ bytes.data, bytes.size }),
			 0);
	database_close(&database);
	own_open(*state, "/a", &own);
	result = own_run(&own, &(struct replica_job){ .kind = REPLICA_PULL });
	assert_int_equal(result.head.last.sequence, 1);
	buffer_clear(&bytes);
	batch_from(&result.head.last, &bytes);
	own_run(&own, &(struct replica_job){ .kind = REPLICA_APPEND,
					     .bytes = { bytes.data, bytes.size } });
	own_close(&own);
	assert_int_equal(open_at(*state, "/a", &database), 0);
	assert_int_equal(database_head(&database).sequence, 2);
	assert_int_equal(kv_get(view_kv(database.view), slice_of("~p"), &value), 0);
	assert_int_equal(kv_get(view_kv(database.view), slice_of("sx"), &value), 0);
	database_close(&database);
	buffer_done(&bytes);
}

static void test_pages_need_no_journal(void **state)
{
	const struct journal_head point = { 4, 9, { { 1 } } };
	struct buffer rows = { 0 }, batch = { 0 };
	struct database database;
	struct own own;
	struct kv *kv;

	history_make(*state, "/a", 3);
	assert_int_equal(kv_memory_new(&kv), 0);
	assert_int_equal(kv_put(kv, slice_of("sq"), slice_of("r")), 0);
	assert_int_equal(kv_memory_apply(kv, (struct slice){ kv->batch.data, kv->batch.size }), 0);
	assert_int_equal(page_read(kv, (struct slice){ 0 }, CATALOGUE_PART_MAX, &rows), 0);
	kv_memory_free(kv);
	own_open(*state, "/a", &own);
	own_run(&own, &(struct replica_job){ .kind = REPLICA_BEGIN });
	own_close(&own);
	/* Half done it is nothing, and no damage either. */
	assert_int_equal(open_at(*state, "/a", &database), 0);
	assert_true(database.unfinished);
	assert_int_equal(database_head(&database).sequence, 0);
	database_close(&database);
	own_open(*state, "/a", &own);
	own_run(&own, &(struct replica_job){ .kind = REPLICA_BEGIN });
	own_run(&own, &(struct replica_job){ .kind = REPLICA_LOAD,
					     .bytes = { rows.data, rows.size },
					     .point = point });
	own_close(&own);
	assert_int_equal(open_at(*state, "/a", &database), 0);
	assert_false(database.unfinished);
	assert_int_equal(database_head(&database).sequence, point.sequence);
	assert_int_equal(database.applied, point.sequence);
	batch_from(&point, &batch);
	assert_int_equal(journal_append(database.journal, (struct slice){ batch.data, batch.size }),
			 0);
	database_close(&database);
	assert_int_equal(open_at(*state, "/a", &database), 0);
	assert_int_equal(database_head(&database).sequence, point.sequence + 1);
	database_close(&database);
	buffer_done(&rows);
	buffer_done(&batch);
}

static void test_damage_is_put_aside(void **state)
{
	char message[DATABASE_MESSAGE_MAX], path[PLACE_MAX];
	struct database database;

	snprintf(path, sizeof(path), "%s/a", (const char *)*state);
	for (int number = 1; number <= 2; number++) {
		char aside[2 * PLACE_MAX];

		history_make(*state, "/a", 3);
		assert_int_equal(database_set_aside(path, message), 0);
		snprintf(aside, sizeof(aside), "%s/journal.damaged-%d/00000001", path, number);
		assert_int_equal(access(aside, F_OK), 0);
		assert_int_equal(open_at(*state, "/a", &database), 0);
		assert_int_equal(database_head(&database).sequence, 0);
		database_close(&database);
	}
}

static void test_identity_stays(void **state)
{
	struct identity first, again, kept;
	struct database database;
	bool is_new;
	int file;

	assert_int_equal(open_at(*state, "/a", &database), 0);
	assert_int_equal(identity_load(database.disk, &first, &is_new), 0);
	assert_true(is_new);
	assert_int_equal(identity_load(database.disk, &again, &is_new), 0);
	assert_false(is_new);
	assert_true(id_equal(&first.server, &again.server));
	assert_int_equal(again.asked_epoch, 0);
	assert_false(again.rebuilding);
	kept = (struct identity){ again.server, 0x123456789a, true };
	assert_int_equal(identity_write(database.disk, &kept), 0);
	assert_int_equal(identity_read(database.disk, &again), 0);
	assert_true(id_equal(&first.server, &again.server));
	assert_int_equal(again.asked_epoch, kept.asked_epoch);
	assert_true(again.rebuilding);
	file = disk_open(database.disk, "identity", 0);
	assert_int_equal(disk_write(database.disk, file, "x", 1, 12), 0);
	disk_close(database.disk, file);
	assert_int_equal(identity_load(database.disk, &again, &is_new), 0);
	assert_true(is_new);
	assert_int_equal(again.asked_epoch, 0);
	assert_false(again.rebuilding);
	assert_false(id_equal(&first.server, &again.server));
	database_close(&database);
	assert_int_equal(open_at(*state, "/a", &database), 0);
	database_close(&database);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_every_name_it_makes_is_durable),
		TEST(test_a_disk_error_is_no_loss),
		TEST(test_one_at_a_time),
		TEST(test_somebody_elses_directory_is_refused),
		TEST(test_a_journal_of_another_time_is_noticed),
		TEST(test_local_rows_survive_what_is_fetched),
		TEST(test_pages_need_no_journal),
		TEST(test_damage_is_put_aside),
		TEST(test_identity_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Chunks of files: found by offset, shared by copies, replaced by appends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "catalogue.h"
#include "kv_memory.h"
#include "random.h"

enum { FILE_ID = 100, COPY_ID = 200, GARBAGE_ID = 300 };

static struct kv *kv;
static uint64_t freed[64];
static unsigned int freed_count;

static int setup(void **state)
{
	const struct id cluster = { "cluster" };

	(void)state;
	freed_count = 0;
	assert_int_equal(kv_memory_new(&kv), 0);
	return catalogue_format(kv, &cluster, "home");
}

static int teardown(void **state)
{
	(void)state;
	kv_memory_free(kv);
	return 0;
}

static void on_freed(void *context, uint64_t chunk)
{
	(void)context;
	freed[freed_count++] = chunk;
}

static void collect(void)
{
	const struct garbage_how how = { .before_ms = UINT64_MAX, .most = 50, .each = on_freed };

	while (catalogue_collect(kv, &how) == 50)
		;
}

/* "/f" with chunks of these lengths, ids from 1 on. */
static struct inode make(const uint32_t *lengths, uint32_t count)
{
	struct chunk_row rows[16] = { 0 };
	struct new_file file = {
		.entry = { .inode = FILE_ID, .copies = 2 },
		.chunk_size = 100,
		.chunks = rows,
		.chunk_count = count,
	};
	struct inode inode;

	for (uint32_t i = 0; i < count; i++) {
		rows[i] = (struct chunk_row){ .chunk = i + 1, .length = lengths[i] };
		file.size += lengths[i];
	}
	assert_int_equal(catalogue_put_file(kv, slice_of("/f"), &file, 1, &inode), 0);
	return inode;
}

static int append(struct inode *file, uint64_t base, uint32_t length, uint64_t chunk)
{
	const struct chunk_row row = { .chunk = chunk, .length = length };
	const struct new_tail tail = {
		.inode = GARBAGE_ID + chunk,
		.base_size = base,
		.size = length,
		.chunks_max = 8,
		.chunks = &row,
		.chunk_count = length > 0,
	};

	return catalogue_append(kv, file, &tail, 5);
}

/* Each byte is in the chunk where adding up lengths says it is. */
static void test_every_byte_finds_its_chunk(void **state)
{
	const uint32_t lengths[] = { 1, 100, 3, 100, 100, 1, 7 };
	struct inode inode = make(lengths, 7);
	struct chunk_row row;
	uint64_t end = 0;

	(void)state;
	for (uint32_t i = 0; i < 7; i++) {
		for (uint64_t at = end; at < end + lengths[i]; at++) {
			assert_int_equal(catalogue_chunk_at(kv, inode.id, at, &row), 0);
			assert_int_equal(row.chunk, i + 1);
			assert_int_equal(row.length, lengths[i]);
			assert_int_equal(row.end, end + lengths[i]);
		}
		end += lengths[i];
	}
	assert_int_equal(catalogue_chunk_at(kv, inode.id, end, &row), -ERR_NOT_FOUND);
	assert_int_equal(catalogue_chunk_at(kv, inode.id + 1, 0, &row), -ERR_NOT_FOUND);
	assert_int_equal(chunk_find(kv, 3, &row), 0);
	assert_int_equal(row.length, 3);
	assert_int_equal(row.end, 104);
	assert_int_equal(chunk_find(kv, 8, &row), -ERR_NOT_FOUND);
}

static void test_chunks_are_copied_in_steps(void **state)
{
	const uint32_t lengths[] = { 10, 20, 30, 40, 50 };
	struct chunk_row row;
	uint64_t offset = 0, inode, end;

	(void)state;
	make(lengths, 5);
	assert_int_equal(chunks_copy(kv, FILE_ID, COPY_ID, 2, &offset), 2);
	assert_int_equal(offset, 30);
	assert_int_equal(catalogue_chunk_at(kv, COPY_ID, 30, &row), -ERR_NOT_FOUND);
	assert_int_equal(chunks_copy(kv, FILE_ID, COPY_ID, 2, &offset), 2);
	assert_int_equal(chunks_copy(kv, FILE_ID, COPY_ID, 2, &offset), 1);
	assert_int_equal(offset, 150);
	assert_int_equal(chunks_copy(kv, FILE_ID, COPY_ID, 2, &offset), 0);
	assert_int_equal(catalogue_chunk_at(kv, COPY_ID, 149, &row), 0);
	assert_int_equal(row.chunk, 5);
	assert_int_equal(chunk_owner(kv, 5, 0, &inode, &end), 0);
	assert_int_equal(inode, FILE_ID);
	assert_int_equal(chunk_owner(kv, 5, inode, &inode, &end), 0);
	assert_int_equal(inode, COPY_ID);
	assert_int_equal(end, 150);
	assert_int_equal(chunk_owner(kv, 5, inode, &inode, &end), -ERR_NOT_FOUND);
}

/* Each chunk once, however many files have it. */
static void test_chunks_are_walked_over_once(void **state)
{
	const uint32_t lengths[] = { 10, 20, 30 };
	uint64_t offset = 0, chunk = 0;

	(void)state;
	make(lengths, 3);
	chunks_copy(kv, FILE_ID, COPY_ID, 10, &offset);
	for (uint64_t i = 1; i <= 3; i++) {
		assert_int_equal(chunk_next(kv, chunk, &chunk), 0);
		assert_int_equal(chunk, i);
	}
	assert_int_equal(chunk_next(kv, chunk, &chunk), -ERR_NOT_FOUND);
}

/* The tail goes with the append, unless a copy still has it. */
static void test_a_replaced_chunk_goes_with_its_last_file(void **state)
{
	const uint32_t lengths[] = { 100, 20 };
	struct inode inode = make(lengths, 2);
	struct inode copy = { .id = COPY_ID, .type = ENTRY_FILE, .size = 120, .chunks = 2 };
	struct chunk_row row;
	uint64_t offset = 0;

	(void)state;
	inode_put(kv, &copy);
	chunks_copy(kv, FILE_ID, COPY_ID, 10, &offset);
	assert_int_equal(append(&inode, 100, 30, 9), 0);
	collect();
	assert_int_equal(freed_count, 0);
	assert_int_equal(catalogue_chunk_at(kv, FILE_ID, 119, &row), 0);
	assert_int_equal(row.chunk, 9);
	assert_int_equal(catalogue_chunk_at(kv, COPY_ID, 119, &row), 0);
	assert_int_equal(row.chunk, 2);
	assert_int_equal(append(&copy, 100, 25, 10), 0);
	collect();
	assert_int_equal(freed_count, 1);
	assert_int_equal(freed[0], 2);
	assert_int_equal(chunk_find(kv, 2, &row), -ERR_NOT_FOUND);
	assert_int_equal(chunk_find(kv, 1, &row), 0);
}

static void test_what_an_append_must_not_do(void **state)
{
	const uint32_t lengths[] = { 10, 20, 30 };
	struct inode inode = make(lengths, 3), before = inode;
	struct totals totals;

	(void)state;
	assert_int_equal(append(&inode, 29, 100, 9), -ERR_BAD_REQUEST);
	assert_int_equal(append(&inode, 61, 100, 9), -ERR_BAD_REQUEST);
	assert_int_equal(append(&inode, 30, 29, 9), -ERR_BAD_REQUEST);
	assert_int_equal(append(&inode, UINT64_MAX, 100, 9), -ERR_BAD_REQUEST);
	assert_memory_equal(&inode, &before, sizeof(inode));
	for (uint64_t i = 3; i < 8; i++)
		assert_int_equal(append(&inode, inode.size, 1, 10 + i), 0);
	assert_int_equal(append(&inode, inode.size, 1, 9), -ERR_TOO_LARGE);
	assert_int_equal(append(&inode, inode.size, 0, 0), 0);
	assert_int_equal(inode.version, 6);
	assert_int_equal(append(&inode, 10, 60, 9), 0);
	assert_int_equal(inode.chunks, 2);
	assert_int_equal(totals_get(kv, &totals), 0);
	assert_int_equal(totals.chunks, 2);
	assert_int_equal(totals.bytes, 70);
	collect();
	assert_int_equal(freed_count, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_byte_finds_its_chunk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_chunks_are_copied_in_steps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_chunks_are_walked_over_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_replaced_chunk_goes_with_its_last_file,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_an_append_must_not_do, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What a copy of the catalogue answers by itself. */
#include "answers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "codec.h"
#include "error.h"
#include "kv_memory.h"
#include "storage_desk.h"

struct asking {
	struct kv *kv;
	struct arena arena;
	struct buffer out;
	bool local;
};

static int begin(void **state)
{
	struct asking *a = test_calloc(1, sizeof(*a));

	assert_int_equal(kv_memory_new(&a->kv), 0);
	desk_catalogue(a->kv);
	*state = a;
	return 0;
}

static int end(void **state)
{
	struct asking *a = *state;

	kv_memory_free(a->kv);
	arena_done(&a->arena);
	buffer_done(&a->out);
	test_free(a);
	return 0;
}

static const struct message *ask(struct asking *a, unsigned int code, const void *body)
{
	struct message *message = arena_alloc(&a->arena, sizeof(*message));
	struct buffer request = { 0 };
	struct frame_header header;
	size_t size;

	assert_int_equal(request_encode(&request, code, 4, body), 0);
	buffer_clear(&a->out);
	assert_int_equal(catalogue_answer(a->kv, (struct slice){ request.data, request.size },
					  a->local, &a->out),
			 0);
	buffer_done(&request);
	assert_int_equal(frame_next(a->out.data, a->out.size, &header, &size), 1);
	assert_int_equal(size, a->out.size);
	assert_int_equal(
		message_decode(&header, a->out.data + FRAME_HEADER_SIZE, &a->arena, message), 0);
	assert_int_equal(message->id, 4);
	return message;
}

static uint8_t stat_status(struct asking *a, const char *path)
{
	return ask(a, MSG_stat, &(struct stat_request){ .path = slice_of(path) })->status;
}

static void test_stat(void **state)
{
	struct asking *a = *state;
	const struct message *message =
		ask(a, MSG_stat, &(struct stat_request){ .path = slice_of("/d") });
	const struct stat_reply *reply = message->body;

	assert_int_equal(message->flags, FRAME_DEGRADED);
	assert_int_equal(reply->entry.type, ENTRY_DIRECTORY);
	assert_int_equal(reply->entry.inode, 10);
	reply = ask(a, MSG_stat,
		    &(struct stat_request){ .flags = STAT_HOLDERS, .path = slice_of("/d/a") })
			->body;
	assert_int_equal(reply->entry.size, 9);
	assert_int_equal(reply->entry.copies, 0);
	assert_int_equal(reply->entry.copies_wanted, 2);
	assert_int_equal(reply->holders_count, 0);
	reply = ask(a, MSG_stat, &(struct stat_request){ .path = slice_of("/") })->body;
	assert_int_equal(reply->entry.name.size, 0);
	assert_int_equal(reply->entry.inode, INODE_ROOT);
}

static void test_hostile_paths(void **state)
{
	static const struct {
		const char *path;
		uint8_t status;
	} rows[] = {
		{ "", ERR_BAD_NAME },        { "d", ERR_BAD_NAME },
		{ "//d", ERR_BAD_NAME },     { "/d/", ERR_BAD_NAME },
		{ "/d/..", ERR_BAD_NAME },   { "/./d", ERR_BAD_NAME },
		{ "/x", ERR_NOT_FOUND },     { "/x/y", ERR_NOT_FOUND },
		{ "/d/a/b", ERR_NOT_DIR },   { "/d/\xff", ERR_NOT_FOUND },
		{ "/d/a\n", ERR_NOT_FOUND },
	};
	char longest[PATH_SIZE_MAX + 1];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(stat_status(*state, rows[i].path), rows[i].status);
	memset(longest, 'x', sizeof(longest));
	longest[0] = '/';
	longest[NAME_SIZE_MAX + 1] = '\0';
	assert_int_equal(stat_status(*state, longest), ERR_NOT_FOUND);
	longest[NAME_SIZE_MAX + 1] = 'x';
	longest[NAME_SIZE_MAX + 2] = '\0';
	assert_int_equal(stat_status(*state, longest), ERR_NAME_TOO_LONG);
}

static void test_list(void **state)
{
	struct list_request request = { .path = slice_of("/d"), .count = 1 };
	const struct list_reply *reply = ask(*state, MSG_list, &request)->body;

	assert_int_equal(reply->entries_count, 1);
	assert_true(slice_equal(reply->entries[0].name, slice_of("a")));
	assert_int_equal(reply->more, 1);
	request.after = slice_of("a");
	reply = ask(*state, MSG_list, &request)->body;
	assert_int_equal(reply->entries_count, 1);
	assert_true(slice_equal(reply->entries[0].name, slice_of("empty")));
	assert_int_equal(reply->more, 0);
	request.count = UINT64_MAX;
	request.after = slice_of("zzz");
	reply = ask(*state, MSG_list, &request)->body;
	assert_int_equal(reply->entries_count, 0);
	request = (struct list_request){ .path = slice_of("/d/a") };
	reply = ask(*state, MSG_list, &request)->body;
	assert_int_equal(reply->entries_count, 1);
	request.after = slice_of("a");
	reply = ask(*state, MSG_list, &request)->body;
	assert_int_equal(reply->entries_count, 0);
}

static void test_open(void **state)
{
	struct asking *a = *state;
	struct open_request request = { .path = slice_of("/d/a") };
	const struct open_reply *reply = ask(a, MSG_open, &request)->body;

	assert_int_equal(reply->chunks_count, 1);
	assert_int_equal(reply->chunks[0].length, 9);
	assert_int_equal(reply->chunks[0].holders_count, 0);
	assert_int_equal(reply->nodes_count, 1);
	assert_int_equal(reply->nodes[0].endpoints_count, 1);
	a->local = true;
	request.offset = OPEN_LAST;
	reply = ask(a, MSG_open, &request)->body;
	assert_int_equal(reply->chunks_count, 1);
	assert_int_equal(reply->nodes[0].endpoints_count, 2);
	request.offset = 9;
	assert_int_equal(
		((const struct open_reply *)ask(a, MSG_open, &request)->body)->chunks_count, 0);
	request.offset = 10;
	assert_int_equal(ask(a, MSG_open, &request)->status, ERR_RANGE);
	request = (struct open_request){ .path = slice_of("/d/a"), .inode = 12 };
	assert_int_equal(ask(a, MSG_open, &request)->status, ERR_STALE);
	request = (struct open_request){ .path = slice_of("/d/empty"), .offset = OPEN_LAST };
	reply = ask(a, MSG_open, &request)->body;
	assert_int_equal(reply->chunks_count, 0);
	request.path = slice_of("/d");
	assert_int_equal(ask(a, MSG_open, &request)->status, ERR_IS_DIR);
}

/* A chunk that the size asks for is gone: that is no end of the file. */
static void test_missing_row(void **state)
{
	struct asking *a = *state;
	struct open_request request = { .path = slice_of("/d/a") };
	struct slice key, value;

	assert_int_equal(kv_seek(a->kv, slice_of("c"), &key, &value), 0);
	assert_int_equal(kv_remove(a->kv, key), 0);
	assert_int_equal(ask(a, MSG_open, &request)->status, ERR_IO);
}

static void test_what_is_no_question(void **state)
{
	struct asking *a = *state;
	struct buffer request = { 0 };
	struct slice bytes;

	assert_int_equal(request_encode(&request, MSG_mkdir, 4,
					&(struct mkdir_request){ .path = slice_of("/x") }),
			 0);
	bytes = (struct slice){ request.data, request.size };
	assert_int_equal(catalogue_answer(a->kv, bytes, false, &a->out), -ERR_UNSUPPORTED);
	bytes.size--;
	assert_int_equal(catalogue_answer(a->kv, bytes, false, &a->out), -ERR_BAD_REQUEST);
	bytes.size = 0;
	assert_int_equal(catalogue_answer(a->kv, bytes, false, &a->out), -ERR_BAD_REQUEST);
	assert_int_equal(a->out.size, 0);
	buffer_done(&request);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_stat), TEST(test_hostile_paths), TEST(test_list),
		TEST(test_open), TEST(test_missing_row),   TEST(test_what_is_no_question),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

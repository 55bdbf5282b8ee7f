#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cJSON.h>
#include <cmocka.h>

#include "bytes.h"
#include "error.h"
#include "log.h"

static int file_make(void **state)
{
	char *path = strdup("/tmp/muster-log-XXXXXX");
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	*state = path;
	return 0;
}

static int file_remove(void **state)
{
	log_open(&(struct log_config){ .component = "test", .level = LOG_INFO });
	unlink(*state);
	free(*state);
	return 0;
}

static void open_log(void **state, enum log_level level, bool json)
{
	struct log_config config = {
		.component = "muster-test", .level = level, .json = json, .file = *state
	};

	assert_int_equal(log_open(&config), 0);
}

static size_t content(const char *path, char *ret, size_t size)
{
	FILE *file = fopen(path, "r");
	size_t got;

	assert_non_null(file);
	got = fread(ret, 1, size - 1, file);
	ret[got] = '\0';
	fclose(file);
	return got;
}

static void test_a_line_of_text(void **state)
{
	char text[1024];

	open_log(state, LOG_INFO, false);
	log_event(LOG_INFO, "registered", "node=%s chunks=%d", "n1", 7);
	log_event(LOG_DEBUG, "hidden", "x=%d", 1);
	content(*state, text, sizeof(text));
	assert_string_equal(text + strlen("2026-11-20T10:31:07.123Z"),
			    " info muster-test registered node=n1 chunks=7\n");
	assert_true(log_enabled(LOG_WARN));
	assert_false(log_enabled(LOG_DEBUG));
}

static void test_values_cannot_forge_a_line(void **state)
{
	char text[1024];

	open_log(state, LOG_INFO, false);
	log_event(LOG_WARN, "odd", "name=%s", "a\n2026 info forged\033[2J");
	content(*state, text, sizeof(text));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	assert_null(strchr(text, '\033'));
}

static void test_json_is_json(void **state)
{
	char quoted[LOG_QUOTE_MAX];
	char text[4096];
	cJSON *line;

	open_log(state, LOG_DEBUG, true);
	log_event(LOG_ERROR, "odd", "name=%s count=%d id=%s bare path=a\"b zero=007 last=\"x y\"",
		  log_quote("a \"b\"\n\001\377\\", 9, quoted, sizeof(quoted)), -12, "12ab");
	content(*state, text, sizeof(text));
	line = cJSON_Parse(text);
	assert_non_null(line);
	assert_string_equal(cJSON_GetObjectItem(line, "level")->valuestring, "error");
	assert_string_equal(cJSON_GetObjectItem(line, "component")->valuestring, "muster-test");
	assert_string_equal(cJSON_GetObjectItem(line, "event")->valuestring, "odd");
	assert_string_equal(cJSON_GetObjectItem(line, "name")->valuestring, "a \"b\"\n\001\\xff\\");
	assert_int_equal(cJSON_GetObjectItem(line, "count")->valueint, -12);
	assert_string_equal(cJSON_GetObjectItem(line, "id")->valuestring, "12ab");
	assert_true(cJSON_IsTrue(cJSON_GetObjectItem(line, "bare")));
	assert_string_equal(cJSON_GetObjectItem(line, "path")->valuestring, "a\"b");
	assert_string_equal(cJSON_GetObjectItem(line, "zero")->valuestring, "007");
	assert_string_equal(cJSON_GetObjectItem(line, "last")->valuestring, "x y");
	cJSON_Delete(line);
}

static void test_long_lines_are_cut_but_stay_lines(void **state)
{
	static char text[65536];
	static char quoted[LOG_QUOTE_MAX];
	static char name[20000];
	cJSON *line;

	memset(name, '"', sizeof(name));
	open_log(state, LOG_INFO, true);
	log_event(LOG_INFO, "long", "name=%s a=1",
		  log_quote(name, sizeof(name), quoted, sizeof(quoted)));
	content(*state, text, sizeof(text));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	line = cJSON_Parse(text);
	assert_non_null(line);
	cJSON_Delete(line);
}

static void test_quote_respects_its_room(void **state)
{
	char small[8];

	(void)state;
	assert_string_equal(log_quote("abcdefghij", 10, small, sizeof(small)), "\"abcde\"");
	assert_string_equal(log_quote("abcd\n", 5, small, sizeof(small)), "\"abcd\"");
	assert_string_equal(log_quote("abcd\n", 5, small, 2), "");
	assert_string_equal(log_quote("", 0, small, 3), "\"\"");
}

static void test_reopen_follows_the_name(void **state)
{
	char moved[64];
	char text[1024];

	open_log(state, LOG_INFO, false);
	snprintf(moved, sizeof(moved), "%s.1", (char *)*state);
	log_event(LOG_INFO, "before", "a=1");
	assert_int_equal(rename(*state, moved), 0);
	log_event(LOG_INFO, "between", "a=1");
	assert_int_equal(log_reopen(), 0);
	log_event(LOG_INFO, "after", "a=1");
	content(moved, text, sizeof(text));
	assert_non_null(strstr(text, "between"));
	assert_null(strstr(text, "after"));
	content(*state, text, sizeof(text));
	assert_non_null(strstr(text, "after"));
	unlink(moved);
}

enum { THREADS = 4, LINES = 200 };

static void *write_lines(void *context)
{
	for (int i = 0; i < LINES; i++)
		log_event(LOG_INFO, "turn", "thread=%s", (const char *)context);
	return NULL;
}

static void test_threads_write_whole_lines(void **state)
{
	static char text[THREADS * LINES * 100];
	pthread_t threads[THREADS];
	unsigned int lines = 0;

	open_log(state, LOG_INFO, false);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_lines, "t"), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	content(*state, text, sizeof(text));
	for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1, lines++)
		assert_memory_equal(end - 8, "thread=t", 8);
	assert_int_equal(lines, THREADS * LINES);
}

/* ---- lines that are held ---- */

static unsigned int lines_of(const char *path)
{
	static char text[1024 * 1024];
	unsigned int lines = 0;

	content(path, text, sizeof(text));
	for (const char *at = text; (at = strchr(at, '\n')); at++)
		lines++;
	return lines;
}

static void test_held_lines_come_together(void **state)
{
	open_log(state, LOG_INFO, false);
	log_hold();
	log_event(LOG_INFO, "one", "a=1");
	log_event(LOG_WARN, "two", "a=1");
	assert_int_equal(lines_of(*state), 0);
	log_release();
	assert_int_equal(lines_of(*state), 2);
	log_event(LOG_INFO, "three", "a=1");
	assert_int_equal(lines_of(*state), 3);
	log_hold();
	log_event(LOG_INFO, "four", "a=1");
	log_event(LOG_ERROR, "five", "a=1");
	assert_int_equal(lines_of(*state), 5);
	log_event(LOG_INFO, "six", "a=1");
	assert_int_equal(lines_of(*state), 5);
	log_release();
	assert_int_equal(lines_of(*state), 6);
}

static void test_more_than_the_buffer_holds(void **state)
{
	enum { MANY = 3000 };
	unsigned int early;

	open_log(state, LOG_INFO, true);
	log_hold();
	for (int i = 0; i < MANY; i++)
		log_event(LOG_INFO, "line", "number=%d text=\"%0100d\"", i, i);
	early = lines_of(*state);
	assert_true(early > MANY / 2 && early < MANY);
	log_release();
	assert_int_equal(lines_of(*state), MANY);
}

/* What is held belongs to the file that was open then. */
static void test_held_lines_and_reopening(void **state)
{
	char moved[64];

	open_log(state, LOG_INFO, false);
	log_hold();
	log_event(LOG_INFO, "before", "a=1");
	snprintf(moved, sizeof(moved), "%s.1", (char *)*state);
	assert_int_equal(rename(*state, moved), 0);
	assert_int_equal(log_reopen(), 0);
	log_event(LOG_INFO, "after", "a=1");
	log_release();
	assert_int_equal(lines_of(moved), 1);
	assert_int_equal(lines_of(*state), 1);
	unlink(moved);
}

enum end { END_EXIT, END_ABORT, END_COUNT };

static void end_now(enum end how)
{
	if (how == END_EXIT)
		exit(0);
	abort();
}

static void test_nothing_held_is_lost_at_the_end(void **state)
{
	for (enum end how = END_EXIT; how < END_COUNT; how++) {
		unsigned int before;
		pid_t child;
		int status;

		open_log(state, LOG_INFO, false);
		before = lines_of(*state);
		child = fork();
		if (child == 0) {
			log_hold();
			log_event(LOG_INFO, "last", "a=1");
			end_now(how);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(how == END_EXIT ? WIFEXITED(status) : WIFSIGNALED(status));
		assert_int_equal(lines_of(*state), before + 1);
	}
}

/* ---- formatting ---- */

__attribute__((format(printf, 1, 2))) static void same(const char *format, ...)
{
	char expected[64], text[64];

	for (size_t size = 0; size <= sizeof(text); size++) {
		va_list args;
		int wanted, got;

		memset(text, 'x', sizeof(text));
		memset(expected, 'x', sizeof(expected));
		va_start(args, format);
		wanted = vsnprintf(expected, size, format, args);
		va_end(args);
		va_start(args, format);
		got = log_format(text, size, format, args);
		va_end(args);
		assert_int_equal(got, wanted);
		if (size)
			assert_string_equal(text, expected);
		else
			assert_int_equal(text[0], 'x');
	}
}

static void test_formats_as_printf_does(void **state)
{
	(void)state;
	same("nothing");
	same("a=%s b=%s%s", "x", "", "yz");
	same("%u %u %u", 0U, 7U, UINT32_MAX);
	same("%lu %llu %x %llx", ULONG_MAX, ULLONG_MAX, 0xbeefU, 0x123456789abcdefULL);
	same("%d %s", -5, "after what is not simple");
	same("%s %016llx", "before", 0x12ULL);
	same("100%% %s", "percent");
	same("%.*s|%5u|%-3s|%c", 2, "abcdef", 42U, "l", 'c');
	same("%s=%d", "last", 3);
}

/* ---- cutting ---- */

static void fit(const char *text, size_t max, const char *expected)
{
	char space[256 + LOG_CUT_ROOM];
	size_t size = strlen(text);

	memcpy(space, text, size);
	size = log_pairs_fit(space, size, max);
	assert_true(size <= max);
	space[size] = '\0';
	assert_string_equal(space, expected);
}

static void test_pairs_are_cut_as_pairs(void **state)
{
	(void)state;
	fit("a=1 b=2", 7, "a=1 b=2");
	fit("a=1 b=2", 6, "a=1");
	fit("a=1 b=2", 2, "");
	fit("path=\"0123456789abcdef\" size=11", 25, "path=\"0123456…\" size=11");
	/* The short one keeps what it has. */
	fit("path=\"0123456789abcdef\" to=\"xyz\" ms=1", 36,
	    "path=\"0123456789ab…\" to=\"xyz\" ms=1");
	fit("a=\"0123456789abcdef\" b=\"0123456789ABCDEF\"", 37,
	    "a=\"0123456789a…\" b=\"0123456789A…\"");
	/* Not within an escape, nor within a character. */
	fit("path=\"01234\\u0001\\u0001\" n=1", 24, "path=\"01234…\" n=1");
	fit("path=\"01234567\\n\\n\\n\" n=1", 23, "path=\"01234567…\" n=1");
	fit("path=\"0123456äöü\" n=1", 22, "path=\"0123456…\" n=1");
	/* What looks like pairs within quotes is none. */
	fit("path=\"a=\\\"b\\\" c=\\\"d\\\" e=f g=h\" n=1", 24, "path=\"a=\\\"b\\\" c=…\" n=1");
	/* Cut already, within a value. */
	fit("n=1 path=\"0123456789abcdef", 22, "n=1 path=\"01234567…\"");
}

static void test_long_values_of_a_line(void **state)
{
	static char text[65536], quoted[LOG_PAIRS_MAX * 2], name[1000];

	memset(name, 1, sizeof(name));
	for (int json = 0; json <= 1; json++) {
		size_t before = content(*state, text, sizeof(text));
		cJSON *line;

		open_log(state, LOG_INFO, json);
		log_event(LOG_INFO, "long", "path=%s to=%s size=%d",
			  log_quote(name, sizeof(name), quoted, sizeof(quoted)), quoted, 7);
		content(*state, text, sizeof(text));
		assert_ptr_equal(strchr(text + before, '\n'), text + strlen(text) - 1);
		if (!json) {
			assert_non_null(strstr(text, "…\" size=7\n"));
			continue;
		}
		line = cJSON_Parse(text + before);
		assert_non_null(line);
		assert_int_equal(cJSON_GetObjectItem(line, "size")->valueint, 7);
		assert_true(strlen(cJSON_GetObjectItem(line, "to")->valuestring) > 100);
		cJSON_Delete(line);
	}
}

/* A value that nobody quoted. */
static void test_raw_bytes_make_no_broken_json(void **state)
{
	static const char *const values[] = { "\"\\q\"", "\"\\u12\"",    "\xff\xfe", "\"a",
					      "a\"b\\",  "\xe2\x80\xae", "\"\\",     "=" };
	char text[1024];

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		cJSON *line;

		unlink(*state);
		open_log(state, LOG_INFO, true);
		log_event(LOG_INFO, "raw", "a=1 value=%s", values[i]);
		content(*state, text, sizeof(text));
		line = cJSON_Parse(text);
		assert_non_null(line);
		assert_true(cJSON_IsString(cJSON_GetObjectItem(line, "value")));
		for (const char *at = text; *at; at++)
			assert_true((unsigned char)*at < 0x80);
		cJSON_Delete(line);
	}
}

static void test_what_cannot_be_opened(void **state)
{
	struct log_config config = { .component = "x", .file = "/nonexistent/log" };
	enum log_level level = LOG_INFO;

	(void)state;
	assert_int_equal(log_open(&config), -ERR_NOT_FOUND);
	assert_int_equal(log_level_parse("debug", &level), 0);
	assert_int_equal(level, LOG_DEBUG);
	assert_int_equal(log_level_parse("loud", &level), -ERR_USAGE);
}

static void test_words_of_the_options(void **state)
{
	struct log_config config = { .component = "x" };
	char message[256] = "";

	(void)state;
	assert_int_equal(log_config_parse("warn", "json", &config, message), 0);
	assert_int_equal(config.level, LOG_WARN);
	assert_true(config.json);
	assert_int_equal(log_config_parse("debug", "text", &config, message), 0);
	assert_false(config.json);
	assert_string_equal(message, "");
	assert_int_equal(log_config_parse("loud", "text", &config, message), -ERR_USAGE);
	assert_non_null(strstr(message, "--log-level"));
	assert_int_equal(log_config_parse("info", "xml", &config, message), -ERR_USAGE);
	assert_non_null(strstr(message, "--log-format"));
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, file_make, file_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_line_of_text),
		TEST(test_values_cannot_forge_a_line),
		TEST(test_json_is_json),
		TEST(test_long_lines_are_cut_but_stay_lines),
		TEST(test_quote_respects_its_room),
		TEST(test_reopen_follows_the_name),
		TEST(test_threads_write_whole_lines),
		TEST(test_held_lines_come_together),
		TEST(test_more_than_the_buffer_holds),
		TEST(test_held_lines_and_reopening),
		TEST(test_nothing_held_is_lost_at_the_end),
		TEST(test_formats_as_printf_does),
		TEST(test_pairs_are_cut_as_pairs),
		TEST(test_long_values_of_a_line),
		TEST(test_raw_bytes_make_no_broken_json),
		TEST(test_what_cannot_be_opened),
		TEST(test_words_of_the_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

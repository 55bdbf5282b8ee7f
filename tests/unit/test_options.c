#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bytes.h"
#include "error.h"
#include "options.h"

struct settings {
	bool json;
	bool quiet;
	uint64_t copies;
	uint16_t beacon_port;
	uint64_t capacity;
	uint64_t delay;
	const char *cluster;
	struct option_list nameserver;
	struct port_range client_ports;
};

#define ROW(...) OPTION_ROW(struct settings, __VA_ARGS__)

static const struct option_row rows[] = {
	ROW("json", 0, FLAG, json, NULL, NULL, "print JSON"),
	ROW("quiet", 'q', FLAG, quiet, NULL, NULL, "say less"),
	ROW("copies", 'c', NUMBER, copies, "3", "N", "copies of a file"),
	ROW("beacon-port", 0, PORT, beacon_port, "3501", "PORT", "where to listen"),
	ROW("capacity", 0, SIZE, capacity, NULL, "SIZE", "space to use"),
	ROW("delay", 0, DURATION, delay, "30", "TIME", "patience"),
	ROW("cluster", 0, TEXT, cluster, "main", "NAME", "which cluster"),
	ROW("nameserver", 'n', LIST, nameserver, NULL, "HOST[:PORT]", "whom to ask"),
	ROW("client-ports", 0, PORTS, client_ports, "3504-3600", "FIRST-LAST", "ports to lease"),
};

static const struct option_table table = {
	.program = "muster-test",
	.synopsis = "[OPTION …]",
	.about = "Tests options.",
	.rows = rows,
	.count = ARRAY_SIZE(rows),
};

/* What a run starts with, so that a member nobody sets shows. */
static int parse(struct settings *settings, const char *file, char message[256], char *const argv[])
{
	memset(settings, 0x5a, sizeof(*settings));
	return options_parse(&table, settings, file, argv, message);
}

#define PARSE(...) parse(&settings, NULL, message, (char *[]){ "muster-test", __VA_ARGS__, NULL })

static int forget_environment(void **state)
{
	(void)state;
	unsetenv("MUSTER_COPIES");
	unsetenv("MUSTER_BEACON_PORT");
	unsetenv("MUSTER_NAMESERVER");
	unsetenv("MUSTER_JSON");
	unsetenv("MUSTER_CLUSTER");
	return 0;
}

static void test_defaults(void **state)
{
	struct settings settings;
	char message[256];

	(void)state;
	assert_int_equal(parse(&settings, NULL, message, (char *[]){ "muster-test", NULL }), 1);
	assert_false(settings.json);
	assert_int_equal(settings.copies, 3);
	assert_int_equal(settings.beacon_port, 3501);
	assert_int_equal(settings.capacity, 0);
	assert_int_equal(settings.delay, 30000);
	assert_string_equal(settings.cluster, "main");
	assert_int_equal(settings.nameserver.count, 0);
	assert_int_equal(settings.client_ports.last, 3600);
	assert_int_equal(parse(&settings, NULL, message, (char *[]){ NULL }), 0);
}

static void test_forms_on_the_command_line(void **state)
{
	struct settings settings;
	char message[256];

	(void)state;
	assert_int_equal(PARSE("--json", "-qc5", "-n", "a", "-nb:1", "--capacity=1.5G", "--delay",
			       "5m", "--client-ports=7-9", "ls", "--copies", "9"),
			 10);
	assert_true(settings.json);
	assert_true(settings.quiet);
	assert_int_equal(settings.copies, 5);
	assert_int_equal(settings.nameserver.count, 2);
	assert_string_equal(settings.nameserver.items[0], "a");
	assert_string_equal(settings.nameserver.items[1], "b:1");
	assert_int_equal(settings.capacity, (uint64_t)3 << 29);
	assert_int_equal(settings.delay, 300000);
	assert_int_equal(settings.client_ports.first, 7);
	assert_int_equal(PARSE("--json=no", "--", "--json"), 3);
	assert_false(settings.json);
	assert_int_equal(PARSE("-", "x"), 1);
	assert_int_equal(PARSE("--cluster="), 2);
	assert_string_equal(settings.cluster, "");
	assert_int_equal(PARSE("--copies", "1", "--copies", "2"), 5);
	assert_int_equal(settings.copies, 2);
}

static void test_wrong_usage_says_what_and_where(void **state)
{
	struct settings settings;
	char message[256];

	(void)state;
	assert_int_equal(PARSE("--nonsense"), -ERR_USAGE);
	assert_string_equal(message, "unknown option --nonsense");
	assert_int_equal(PARSE("-qx"), -ERR_USAGE);
	assert_string_equal(message, "unknown option -x");
	assert_int_equal(PARSE("--copies"), -ERR_USAGE);
	assert_string_equal(message, "--copies: wants a whole number");
	assert_int_equal(PARSE("--beacon-port", "65536"), -ERR_USAGE);
	assert_string_equal(message, "--beacon-port: wants a port, 0 to 65535, not '65536'");
	assert_int_equal(PARSE("--json=perhaps"), -ERR_USAGE);
	setenv("MUSTER_BEACON_PORT", "x", 1);
	assert_int_equal(PARSE("ls"), -ERR_USAGE);
	assert_string_equal(message, "MUSTER_BEACON_PORT: wants a port, 0 to 65535, not 'x'");
}

static void test_help_answers_even_if_the_environment_is_wrong(void **state)
{
	struct settings settings;
	char message[256];

	(void)state;
	setenv("MUSTER_COPIES", "x", 1);
	assert_int_equal(PARSE("--help"), -ERR_END);
	assert_string_equal(message, "help");
	assert_int_equal(PARSE("-qh"), -ERR_END);
	assert_string_equal(message, "help");
	assert_int_equal(PARSE("--version"), -ERR_END);
	assert_string_equal(message, "version");
}

static void settings_file(char path[32], const char *content)
{
	int fd;

	snprintf(path, 32, "/tmp/muster-options-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, strlen(content)), strlen(content));
	close(fd);
}

static void test_flag_beats_environment_beats_file_beats_default(void **state)
{
	struct settings settings;
	char message[256];
	char path[32];

	(void)state;
	settings_file(path, "# comment\n\n copies = 7 \nbeacon-port=77\r\ndelay = 1h\njson\n"
			    "nameserver = f1\nnameserver = f2, f3\ncluster = from file");
	setenv("MUSTER_COPIES", "8", 1);
	setenv("MUSTER_BEACON_PORT", "88", 1);
	setenv("MUSTER_CLUSTER", "", 1);
	assert_int_equal(parse(&settings, path, message,
			       (char *[]){ "muster-test", "--copies", "9", NULL }),
			 3);
	assert_int_equal(settings.copies, 9);
	assert_int_equal(settings.beacon_port, 88);
	assert_int_equal(settings.delay, 3600000);
	assert_true(settings.json);
	assert_string_equal(settings.cluster, "from file");
	assert_int_equal(settings.nameserver.count, 3);
	assert_string_equal(settings.nameserver.items[2], "f3");

	setenv("MUSTER_NAMESERVER", "e1,e2", 1);
	parse(&settings, path, message, (char *[]){ "muster-test", NULL });
	assert_int_equal(settings.nameserver.count, 2);
	assert_string_equal(settings.nameserver.items[1], "e2");
	parse(&settings, path, message, (char *[]){ "muster-test", "-n", "a", NULL });
	assert_int_equal(settings.nameserver.count, 1);
	unlink(path);
}

static void test_files_that_are_wrong_or_missing(void **state)
{
	struct settings settings;
	char *argv[] = { "muster-test", NULL };
	char message[256];
	char wanted[256];
	char path[32];

	(void)state;
	assert_int_equal(parse(&settings, "/nonexistent/config", message, argv), 1);
	assert_true(parse(&settings, "/", message, argv) < 0);
	settings_file(path, "\ncolour = red\n");
	assert_int_equal(parse(&settings, path, message, argv), -ERR_USAGE);
	snprintf(wanted, sizeof(wanted), "%s:2: unknown setting 'colour'", path);
	assert_string_equal(message, wanted);
	unlink(path);
}

static void test_lists_have_a_maximum(void **state)
{
	struct settings settings;
	char message[256];

	(void)state;
	assert_int_equal(PARSE("-n1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16"), 2);
	assert_int_equal(settings.nameserver.count, 16);
	assert_int_equal(PARSE("-n1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16", "-n17"), -ERR_USAGE);
}

static void test_help_lists_every_row(void **state)
{
	char text[4096] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	(void)state;
	assert_non_null(out);
	options_help(&table, out);
	fclose(out);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char name[64];

		snprintf(name, sizeof(name), "--%s", rows[i].name);
		assert_non_null(strstr(text, name));
	}
	assert_non_null(strstr(text, "  -c, --copies N"));
	assert_non_null(strstr(text, "copies of a file (3)\n"));
	assert_non_null(strstr(text, "MUSTER_"));
}

#define TEST(function) cmocka_unit_test_setup(function, forget_environment)

static void test_data_default(void **state)
{
	char message[256] = "", path[64], tiny[8];

	(void)state;
	assert_int_equal(data_default("storage", path, sizeof(path), message), 0);
	assert_non_null(strstr(path, "/muster/storage"));
	assert_int_equal(data_default("storage", tiny, sizeof(tiny), message), -ERR_USAGE);
	assert_non_null(strstr(message, "--data"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_defaults),
		TEST(test_forms_on_the_command_line),
		TEST(test_wrong_usage_says_what_and_where),
		TEST(test_help_answers_even_if_the_environment_is_wrong),
		TEST(test_flag_beats_environment_beats_file_beats_default),
		TEST(test_files_that_are_wrong_or_missing),
		TEST(test_lists_have_a_maximum),
		TEST(test_help_lists_every_row),
		TEST(test_data_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

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

#include <fcntl.h>
#include <sys/stat.h>

#include "bytes.h"
#include "error.h"
#include "local_target.h"
#include "preferences.h"
#include "state.h"

struct place {
	char dir[64];
	char message[256];
	struct preferences preferences;
};

static struct place place;

static void file_write(const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", place.dir, name);
	assert_int_equal(file_store(path, text, strlen(text)), 0);
}

static int load_words(char *const *words)
{
	memset(&place.preferences, 0x5a, sizeof(place.preferences));
	return preferences_load(&place.preferences, words, place.message);
}

#define LOAD(...) load_words((char *[]){ __VA_ARGS__, NULL })

static int place_make(void **state)
{
	char path[128];

	(void)state;
	snprintf(place.dir, sizeof(place.dir), "/tmp/muster-test.XXXXXX");
	if (!mkdtemp(place.dir))
		return -1;
	setenv("XDG_CONFIG_HOME", place.dir, 1);
	setenv("XDG_STATE_HOME", place.dir, 1);
	unsetenv("MUSTER_CLUSTER");
	unsetenv("MUSTER_NAMESERVER");
	unsetenv("MUSTER_INTERFACE");
	unsetenv("MUSTER_BEACON_PORT");
	unsetenv("MUSTER_TIMEOUT");
	snprintf(path, sizeof(path), "%s/muster", place.dir);
	return mkdir(path, 0700);
}

static int place_remove(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf '%s'", place.dir);
	return system(command);
}

static void test_defaults(void **state)
{
	(void)state;
	assert_int_equal(LOAD("muster"), 1);
	assert_null(place.preferences.nameserver);
	assert_null(place.preferences.cluster);
	assert_int_equal(place.preferences.way, MUSTER_TRANSFER_AUTO);
	assert_false(place.preferences.json);
}

static void test_sources(void **state)
{
	(void)state;
	file_write("muster/config", "# mine\ncluster = office\ntimeout = 3\ntransfer = passive\n");
	assert_int_equal(LOAD("muster", "ls", "-l"), 1);
	assert_string_equal(place.preferences.cluster, "office");
	assert_int_equal(place.preferences.timeout_ms, 3000);
	assert_int_equal(place.preferences.way, MUSTER_TRANSFER_PASSIVE);
	setenv("MUSTER_CLUSTER", "lab", 1);
	assert_int_equal(LOAD("muster", "--json", "ls"), 2);
	assert_string_equal(place.preferences.cluster, "lab");
	assert_true(place.preferences.json);
	assert_int_equal(LOAD("muster", "--cluster", "home", "-n", "10.0.0.1", "ls"), 5);
	assert_string_equal(place.preferences.cluster, "home");
	assert_string_equal(place.preferences.nameserver, "10.0.0.1");
}

static void test_refused(void **state)
{
	(void)state;
	assert_int_equal(LOAD("muster", "--transfer", "pigeon"), -ERR_USAGE);
	assert_non_null(strstr(place.message, "pigeon"));
	assert_int_equal(LOAD("muster", "--colour"), -ERR_USAGE);
	file_write("muster/config", "colour = yes\n");
	assert_int_equal(LOAD("muster"), -ERR_USAGE);
	assert_non_null(strstr(place.message, "config:1: "));
}

/* A cluster of `up` counts while its name server runs, here this very process. */
static void up_write(pid_t pid)
{
	struct up_cluster cluster = {
		.cluster = "up-1", .nameserver = "127.0.0.1:7000", .port = 7000, .beacon_port = 7001
	};
	char path[128];

	snprintf(cluster.dir, sizeof(cluster.dir), "%s/up", place.dir);
	snprintf(path, sizeof(path), "%s/up/nameserver", place.dir);
	assert_int_equal(directory_make(path), 0);
	assert_int_equal(up_config_write(&cluster), 0);
	assert_int_equal(up_pid_write(&cluster, 0, pid), 0);
	assert_int_equal(state_set("last-up", "dir", cluster.dir), 0);
}

static void test_up(void **state)
{
	(void)state;
	file_write("muster/config", "cluster = office\ntimeout = 3\n");
	up_write(getpid());
	assert_int_equal(LOAD("muster", "ls"), 1);
	assert_string_equal(place.preferences.cluster, "up-1");
	assert_string_equal(place.preferences.nameserver, "127.0.0.1:7000");
	assert_int_equal(place.preferences.beacon_port, 7001);
	assert_int_equal(place.preferences.interfaces.count, 1);
	assert_int_equal(place.preferences.timeout_ms, 3000);
	assert_int_equal(LOAD("muster", "--cluster", "home", "ls"), 3);
	assert_string_equal(place.preferences.cluster, "home");
	assert_null(place.preferences.nameserver);
}

static void test_up_not_ours(void **state)
{
	(void)state;
	up_write(getpid());
	/* The number was given to somebody else meanwhile. */
	file_write("up/nameserver/start", "1\n");
	assert_int_equal(LOAD("muster", "ls"), 1);
	assert_null(place.preferences.cluster);
}

static void test_state(void **state)
{
	char value[STATE_VALUE_MAX];
	char key[32];

	(void)state;
	assert_int_equal(state_get("directory", "office", value), -ERR_NOT_FOUND);
	assert_int_equal(state_set("directory", "office", "/a\tb\nc%41 \xff"), 0);
	assert_int_equal(state_set("directory", "off", "/other"), 0);
	assert_int_equal(state_get("directory", "office", value), 0);
	assert_string_equal(value, "/a\tb\nc%41 \xff");
	assert_int_equal(state_set("directory", "office", NULL), 0);
	assert_int_equal(state_get("directory", "office", value), -ERR_NOT_FOUND);
	assert_int_equal(state_get("directory", "off", value), 0);
	for (int i = 0; i < 2 * STATE_KEYS_MAX; i++) {
		snprintf(key, sizeof(key), "key-%d", i);
		assert_int_equal(state_set("directory", key, "x"), 0);
	}
	assert_int_equal(state_get("directory", key, value), 0);
	assert_int_equal(state_get("directory", "key-0", value), -ERR_NOT_FOUND);
}

static int place_open(void)
{
	int fd = open(place.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void check_content(const char *name, const char *want)
{
	char path[256];
	char text[64];

	snprintf(path, sizeof(path), "%s/%s", place.dir, name);
	assert_int_equal(file_load(path, text, sizeof(text)), 0);
	assert_string_equal(text, want);
}

static void test_target(void **state)
{
	struct local_target target;

	(void)state;
	assert_int_equal(local_target_open(&target, place_open(), "a", false), 0);
	assert_int_equal(write(target.fd, "one", 3), 3);
	assert_int_equal(faccessat(target.directory, "a", F_OK, 0), -1);
	assert_int_equal(local_target_keep(&target), 0);
	check_content("a", "one");
	assert_int_equal(local_target_open(&target, place_open(), "a", false), -ERR_EXISTS);
	assert_int_equal(local_target_open(&target, place_open(), "a", true), 0);
	assert_int_equal(write(target.fd, "two", 3), 3);
	check_content("a", "one");
	local_target_drop(&target);
	check_content("a", "one");
	assert_int_equal(local_target_open(&target, place_open(), "muster", true), -ERR_IS_DIR);
	/* One that comes while ours is written stays. */
	assert_int_equal(local_target_open(&target, place_open(), "b", false), 0);
	file_write("b", "theirs");
	assert_int_equal(local_target_keep(&target), -ERR_EXISTS);
	check_content("b", "theirs");
}

static void test_hostile_names(void **state)
{
	static const char *const names[] = { "", ".", "..", "/", "a/b", "../a", "/etc/passwd" };
	struct local_target target;
	int root = place_open();

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++) {
		assert_false(local_name_safe(names[i]));
		assert_int_equal(local_target_open(&target, place_open(), names[i], true),
				 -ERR_BAD_NAME);
	}
	assert_int_equal(local_directory_make(root, "x"), 0);
	assert_int_equal(local_directory_make(root, "x"), 0);
	assert_int_equal(local_directory_make(root, "x/y"), 0);
	assert_int_equal(local_directory_make(root, ".."), -ERR_BAD_NAME);
	assert_int_equal(local_directory_make(root, "x/../../z"), -ERR_BAD_NAME);
	assert_true(local_directory_open(root, "..") < 0);
	assert_true(local_directory_open(root, "/tmp") < 0);
	assert_int_equal(symlinkat("/tmp", root, "link"), 0);
	assert_true(local_directory_open(root, "link") < 0);
	assert_true(local_directory_make(root, "link/evil") < 0);
	close(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, place_make, place_remove)
		IN_PLACE(test_defaults), IN_PLACE(test_sources),       IN_PLACE(test_refused),
		IN_PLACE(test_up),       IN_PLACE(test_up_not_ours),   IN_PLACE(test_state),
		IN_PLACE(test_target),   IN_PLACE(test_hostile_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "console_child.h"
#include "error.h"
#include "server.h"

enum { EXIT_USAGE = 2 };

static int usage(const char *message)
{
	if (strcmp(message, "help") == 0) {
		settings_help(stdout);
		return EXIT_SUCCESS;
	}
	if (strcmp(message, "version") == 0) {
		puts("muster-nameserver " MUSTER_VERSION);
		return EXIT_SUCCESS;
	}
	fprintf(stderr, "muster-nameserver: %s\n", message);
	return EXIT_USAGE;
}

/* As many connections as the system lets us have. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int fail(const char *message)
{
	fprintf(stderr, "muster-nameserver: %s\n", message);
	return EXIT_FAILURE;
}

/* The log may be in the data directory. */
static int log_start(const struct settings *settings, char message[DATABASE_MESSAGE_MAX])
{
	int rc = log_open(&settings->log);

	if (rc < 0)
		snprintf(message, DATABASE_MESSAGE_MAX, "--log-file %s: %s", settings->log.file,
			 error_text(rc));
	return rc;
}

/* A catalogue that cannot be read is only put aside by somebody who has accepted another. */
static int catalogue_open(const struct settings *settings, struct database *ret,
			  char message[DATABASE_MESSAGE_MAX])
{
	int rc = database_open(settings->data, ret, message);

	if ((rc != -ERR_CORRUPT && rc != -ERR_STALE) || !settings->accept_rebuild)
		return rc;
	fprintf(stderr, "muster-nameserver: %s\n", message);
	rc = database_set_aside(settings->data, message);
	if (rc < 0)
		return rc;
	fprintf(stderr, "muster-nameserver: %s\n", message);
	return database_open(settings->data, ret, message);
}

static int serve(const struct settings *settings)
{
	char message[DATABASE_MESSAGE_MAX];
	struct database database;
	int rc = catalogue_open(settings, &database, message);

	if (rc < 0)
		return fail(message);
	rc = log_start(settings, message);
	if (rc == 0)
		rc = server_run(settings, &database, message);
	database_close(&database);
	return rc < 0 ? fail(message) : EXIT_SUCCESS;
}

int main(int argc, char *argv[])
{
	char message[MESSAGE_SIZE_MAX];
	struct settings settings;

	(void)argc;
	if (settings_parse(&settings, argv, message) < 0)
		return usage(message);
	if (settings.console && console_prepare(&settings, message) < 0)
		return fail(message);
	signal(SIGPIPE, SIG_IGN);
	raise_descriptors();
	return serve(&settings);
}

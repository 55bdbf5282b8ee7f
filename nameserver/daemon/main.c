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

static int serve(const struct settings *settings)
{
	char message[DATABASE_MESSAGE_MAX];
	struct database database;
	int rc = database_open(settings->data, &database, message);

	if (rc == 0) {
		rc = server_run(settings, &database, message);
		database_close(&database);
	}
	if (rc < 0)
		fprintf(stderr, "muster-nameserver: %s\n", message);
	return rc < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

int main(int argc, char *argv[])
{
	char message[MESSAGE_SIZE_MAX];
	struct settings settings;
	int rc;

	(void)argc;
	if (settings_parse(&settings, argv, message) < 0)
		return usage(message);
	if (settings.console && console_prepare(&settings, message) < 0) {
		fprintf(stderr, "muster-nameserver: %s\n", message);
		return EXIT_FAILURE;
	}
	rc = log_open(&settings.log);
	if (rc < 0) {
		fprintf(stderr, "muster-nameserver: --log-file %s: %s\n", settings.log.file,
			error_text(rc));
		return EXIT_FAILURE;
	}
	signal(SIGPIPE, SIG_IGN);
	raise_descriptors();
	return serve(&settings);
}

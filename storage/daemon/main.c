/* muster-storage: keeps chunks of files. */
#include <stdio.h>
#include <string.h>

#include "error.h"
#include "storage_daemon.h"

static int fail(const char *message, int status)
{
	fprintf(stderr, "muster-storage: %s\n", message);
	return status;
}

int main(int argc, char *argv[])
{
	struct settings settings = { 0 };
	char message[MESSAGE_SIZE_MAX] = "";
	int rc = settings_parse(&settings, argv, message);

	(void)argc;
	if (rc == -ERR_END) {
		if (strcmp(message, "version") == 0)
			printf("muster-storage %s\n", MUSTER_VERSION);
		else
			settings_help(stdout);
		return 0;
	}
	if (rc < 0)
		return fail(message, settings.key ? 1 : 2);
	rc = log_open(&settings.log);
	if (rc < 0) {
		fprintf(stderr, "muster-storage: --log-file %s: %s\n", settings.log.file,
			error_text(rc));
		return 1;
	}
	return daemon_run(&settings, message) < 0 ? fail(message, 1) : 0;
}

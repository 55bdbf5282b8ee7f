#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "error.h"
#include "preferences.h"
#include "state.h"

enum { MESSAGE_SIZE = 256 };

#define OPTION(...) OPTION_ROW(struct preferences, __VA_ARGS__),
static const struct option_row rows[] = {
#include "options.def"
};
#undef OPTION

static const struct option_table table = {
	.program = "muster",
	.synopsis = "[OPTION …] [COMMAND [ARGUMENT …]]",
	.about = "The Muster file store. Without COMMAND: an interactive shell, or commands from\n"
		 "standard input, one per line.",
	.rows = rows,
	.count = ARRAY_SIZE(rows),
};

static int way_parse(struct preferences *preferences, char message[MESSAGE_SIZE])
{
	static const char *const ways[] = {
		[MUSTER_TRANSFER_AUTO] = "auto",
		[MUSTER_TRANSFER_ACTIVE] = "active",
		[MUSTER_TRANSFER_PASSIVE] = "passive",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(ways); i++) {
		if (strcmp(preferences->transfer, ways[i]) == 0) {
			preferences->way = (enum muster_transfer)i;
			return 0;
		}
	}
	snprintf(message, MESSAGE_SIZE, "--transfer: wants auto, active or passive, not '%s'",
		 preferences->transfer);
	return -ERR_USAGE;
}

/* Whether command line or environment say which cluster is meant. */
static bool place_named(char *const argv[])
{
	struct preferences named;
	char message[MESSAGE_SIZE];

	if (options_parse(&table, &named, NULL, argv, message) < 0)
		return true;
	return named.nameserver || named.cluster || named.interfaces.count || named.beacon_port;
}

static void up_adopt(struct preferences *preferences, char *const argv[])
{
	if (place_named(argv) || !up_find_running(&preferences->up))
		return;
	preferences->nameserver = preferences->up.nameserver;
	preferences->cluster = preferences->up.cluster;
	preferences->interfaces = (struct option_list){ .items = { "lo" }, .count = 1 };
	preferences->beacon_port = preferences->up.beacon_port;
}

int preferences_load(struct preferences *preferences, char *const argv[], char message[256])
{
	char file[STATE_PATH_MAX];
	const char *settings = config_path(file, "config") == 0 ? file : NULL;
	int words = options_parse(&table, preferences, settings, argv, message);
	int rc;

	if (words < 0)
		return words;
	rc = way_parse(preferences, message);
	if (rc == 0 && preferences->nameserver && !*preferences->nameserver) {
		snprintf(message, MESSAGE_SIZE, "--nameserver: wants HOST[:PORT], not ''");
		rc = -ERR_USAGE;
	}
	if (rc < 0)
		return rc;
	up_adopt(preferences, argv);
	return words;
}

void preferences_help(FILE *out)
{
	options_help(&table, out);
}

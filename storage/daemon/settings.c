#include <string.h>

#include "bounds.h"
#include "bytes.h"
#include "error.h"
#include "storage_settings.h"
#include "text.h"

static const struct option_row rows[] = {
#define OPTION(name, ...) OPTION_ROW(struct settings, name, 0, __VA_ARGS__),
#include "options.def"
};

static const struct option_table table = {
	.program = "muster-storage",
	.synopsis = "[OPTION…]",
	.about = "Keeps chunks of files for a Muster cluster and hands them out.\n"
		 "They live in /var/lib/muster/storage for root, else in\n"
		 "~/.local/share/muster/storage, unless --data says otherwise.",
	.rows = rows,
	.count = ARRAY_SIZE(rows),
};

static int complain(char *message, const char *text)
{
	snprintf(message, MESSAGE_SIZE_MAX, "%s", text);
	return -ERR_USAGE;
}

static int settings_check(struct settings *settings, char *message)
{
	uint64_t port = DATA_PORT;

	if (settings->port_text && number_parse(settings->port_text, 0, UINT16_MAX, &port) < 0)
		return complain(message, "--port wants a port from 0 to 65535");
	settings->port = (uint16_t)port;
	if (settings->key)
		return complain(message,
				"--key: there are no keys yet; clusters are open (--open)");
	if (settings->cluster &&
	    (!*settings->cluster || strlen(settings->cluster) > CLUSTER_NAME_MAX))
		return complain(message, "--cluster wants a name of 1 to 31 bytes");
	if (settings->zone && strlen(settings->zone) > ZONE_NAME_MAX)
		return complain(message, "--zone wants a name of at most 63 bytes");
	if (settings->beacon_port == 0)
		return complain(message, "--beacon-port wants a port from 1 to 65535");
	if (settings->advertise.count > ENDPOINTS_MAX)
		return complain(message, "--advertise can be given at most 8 times");
	settings->log = (struct log_config){ .component = "storage", .file = settings->log_file };
	return log_config_parse(settings->log_level, settings->log_format, &settings->log, message);
}

int settings_parse(struct settings *settings, char *const argv[], char message[MESSAGE_SIZE_MAX])
{
	int words = options_parse(&table, settings, NULL, argv, message);

	if (words < 0)
		return words;
	if (argv[words]) {
		snprintf(message, MESSAGE_SIZE_MAX, "unexpected word '%s'", argv[words]);
		return -ERR_USAGE;
	}
	if (!settings->data || !*settings->data) {
		int rc = data_default("storage", settings->default_data,
				      sizeof(settings->default_data), message);

		settings->data = settings->default_data;
		if (rc < 0)
			return rc;
	}
	return settings_check(settings, message);
}

void settings_help(FILE *out)
{
	options_help(&table, out);
}

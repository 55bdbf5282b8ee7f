#include "settings.h"

#include <string.h>

#include "bytes.h"
#include "error.h"
#include "text.h"

static const struct option_row rows[] = {
#define OPTION(name, ...) OPTION_ROW(struct settings, name, 0, __VA_ARGS__),
#include "options.def"
};

static const struct option_table table = {
	.program = "muster-nameserver",
	.synopsis = "[OPTION…]",
	.about = "Keeps the names of a Muster cluster and tells everybody where it is.\n"
		 "The catalogue lives in /var/lib/muster/nameserver for root, else in\n"
		 "~/.local/share/muster/nameserver, unless --data says otherwise.",
	.rows = rows,
	.count = ARRAY_SIZE(rows),
};

static int complain(char *message, const char *text)
{
	snprintf(message, MESSAGE_SIZE_MAX, "%s", text);
	return -ERR_USAGE;
}

enum { DAYS_TEXT_MAX = 16 };

static int days_parse(const char *text, uint64_t *ret_ms)
{
	char days[DAYS_TEXT_MAX + 2];

	if (strlen(text) > DAYS_TEXT_MAX)
		return -ERR_USAGE;
	snprintf(days, sizeof(days), "%sd", text);
	return duration_parse(days, ret_ms);
}

static int settings_check(struct settings *settings, char *message)
{
	if (settings->key)
		return complain(message,
				"--key: there are no keys yet; clusters are open (--open)");
	if (settings->cluster &&
	    (!*settings->cluster || strlen(settings->cluster) > CLUSTER_NAME_MAX))
		return complain(message, "--cluster wants a name of 1 to 31 bytes");
	if (settings->copies < 1 || settings->copies > COPIES_MAX)
		return complain(message, "--copies wants a number from 1 to 9");
	if (settings->beacon_port == 0)
		return complain(message, "--beacon-port wants a port from 1 to 65535");
	if (settings->client_ports.first == 0)
		return complain(message, "--client-ports wants ports from 1 to 65535");
	if (settings->beacon_interval_ms == 0 || settings->beacon_interval_ms > UINT32_MAX)
		return complain(message, "--beacon-interval wants more than 0, at most 49 days");
	if (settings->dead_after_ms > UINT32_MAX)
		return complain(message, "--dead-after wants at most 49 days");
	if (settings->suspect_after_ms == 0)
		return complain(message, "--suspect-after wants more than 0");
	if (settings->dead_after_ms < settings->suspect_after_ms)
		return complain(message, "--dead-after must not be shorter than --suspect-after");
	if (days_parse(settings->trash_days, &settings->trash_ms) < 0)
		return complain(message, "--trash-days wants a number of days such as 7 or 0.5");
	if (days_parse(settings->scrub_days, &settings->scrub_ms) < 0 ||
	    settings->scrub_ms / 1000 > UINT32_MAX)
		return complain(message, "--scrub-days wants a number of days such as 14 or 0.5");
	if (settings->repair_delay_ms == 0 || settings->repair_delay_ms > UINT32_MAX)
		return complain(message, "--repair-delay wants more than 0, at most 49 days");
	if (settings->standby && settings->accept_rebuild)
		return complain(message,
				"--standby waits for another name server, --accept-rebuild "
				"says that there is none: give one of them");
	settings->log =
		(struct log_config){ .component = "nameserver", .file = settings->log_file };
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
		int rc = data_default("nameserver", settings->default_data,
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

/* What the user wants of the name server: options.def, checked. */
#ifndef MUSTER_NS_SETTINGS_H
#define MUSTER_NS_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "bounds.h"
#include "log.h"
#include "options.h"

struct settings {
	const char *data;
	const char *cluster; /* NULL: not said */
	struct option_list interfaces;
	uint16_t port, beacon_port;
	uint64_t beacon_interval_ms;
	struct port_range client_ports;
	uint64_t copies;
	uint64_t suspect_after_ms, dead_after_ms, repair_delay_ms;
	const char *trash_days;
	uint64_t trash_ms; /* the same */
	const char *scrub_days;
	uint64_t scrub_ms; /* the same */
	bool standby, accept_rebuild;
	bool open;
	bool console;
	const char *key;
	const char *log_level, *log_format, *log_file;

	struct log_config log;
	char default_data[PATH_SIZE_MAX];
	char console_log[PATH_SIZE_MAX];
};

enum { MESSAGE_SIZE_MAX = 256 };

/* 0; or -ERR_END for --help and --version, or -ERR_USAGE, with a line in `message`. */
int settings_parse(struct settings *settings, char *const argv[], char message[MESSAGE_SIZE_MAX]);
void settings_help(FILE *out);

#endif

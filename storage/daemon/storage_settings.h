/* What the user wants of the storage server: options.def, checked. */
#ifndef MUSTER_STORAGE_SETTINGS_H
#define MUSTER_STORAGE_SETTINGS_H

#include <stdbool.h>

#include "bounds.h"
#include "log.h"
#include "options.h"

struct settings {
	const char *data;
	const char *cluster; /* NULL: not said */
	struct option_list interfaces, nameservers, advertise;
	const char *port_text; /* NULL: not said */
	uint16_t port;         /* what it says, else 3503; 0: any free one */
	uint16_t beacon_port;
	uint64_t capacity; /* 0: what the disk has */
	const char *zone;
	bool open;
	const char *key;
	const char *log_level, *log_format, *log_file;

	struct log_config log;
	char default_data[PATH_SIZE_MAX];
};

enum { MESSAGE_SIZE_MAX = 256 };

/* 0; or -ERR_END for --help and --version ("help", "version"), or -ERR_USAGE, with a line in
 * `message`. */
int settings_parse(struct settings *settings, char *const argv[], char message[MESSAGE_SIZE_MAX]);
void settings_help(FILE *out);

#endif

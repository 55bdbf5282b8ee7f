/* What the user set: command line, environment, settings file, and the running cluster of `up`. */
#ifndef MUSTER_SHELL_PREFERENCES_H
#define MUSTER_SHELL_PREFERENCES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "muster.h"
#include "options.h"
#include "up_files.h"

struct preferences {
	const char *nameserver;
	const char *cluster;
	struct option_list interfaces;
	uint16_t beacon_port;
	const char *key;
	bool open;
	const char *transfer;
	bool json;
	bool quiet;
	bool verbose;
	uint64_t timeout_ms;
	bool console;
	bool keep_going;
	enum muster_transfer way; /* from `transfer` */
	struct up_cluster up;     /* what the first four say where a cluster of `up` is meant */
};

/* Returns the index in argv of the command, or an error as options_parse() does, one line in
 * `message`. Where neither command line nor environment say which cluster is meant, a running
 * cluster of `up` is. Not to be copied: it points into itself. */
int preferences_load(struct preferences *preferences, char *const argv[], char message[256]);

void preferences_help(FILE *out);

#endif

/* The name server as a process: the core between sockets, timers and the threads that make its
 * batches durable. */
#ifndef MUSTER_NS_SERVER_H
#define MUSTER_NS_SERVER_H

#include "database.h"
#include "settings.h"

/* Serves until a signal ends it: 0. Negative: it could not start, and `message` says in one line
 * why. A failure while serving is logged and ends the process at once, with status 1. */
int server_run(const struct settings *settings, struct database *database,
	       char message[DATABASE_MESSAGE_MAX]);

#endif

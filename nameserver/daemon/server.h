/* The name server as a process: the core between sockets, timers and the threads that make its
 * batches durable. */
#ifndef MUSTER_NS_SERVER_H
#define MUSTER_NS_SERVER_H

#include "database.h"
#include "settings.h"

/* Serves until a signal ends it or something fails. 0: stopped cleanly; else a negative error, and
 * `message` says in one line what happened if that has not been logged. */
int server_run(const struct settings *settings, struct database *database,
	       char message[DATABASE_MESSAGE_MAX]);

#endif

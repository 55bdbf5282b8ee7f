/* What is checked of every HELLO, before there is a name server and while there is one. */
#ifndef MUSTER_NAMESERVER_HELLO_H
#define MUSTER_NAMESERVER_HELLO_H

#include "message.h"

struct hello_self {
	const struct id *server;
	const struct id *cluster; /* none: not known yet */
	const char *cluster_name;
};

/* Is it well made, of our version, and meant for us? `greeted`: there was one on this connection
 * already. -ERR_BAD_REQUEST, -ERR_WRONG_VERSION, -ERR_UNSUPPORTED, -ERR_WRONG_NODE,
 * -ERR_WRONG_CLUSTER. */
int hello_check(const struct hello_self *self, bool greeted, const struct hello_request *request);

#endif

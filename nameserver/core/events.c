/* EVENTS: what has happened. */
#include "ns_state.h"

int on_events(struct nameserver *ns, struct session *from, const struct events_request *request,
	      struct events_reply *reply)
{
	(void)ns;
	(void)from;
	(void)request;
	(void)reply;
	return -ERR_UNSUPPORTED;
}

/* Whether a storage server whose connection is gone is still there. */
#include "ns_state.h"

void member_dialled(struct nameserver *ns, const struct ns_event *event)
{
	(void)ns;
	(void)event;
}

int on_goodbye(struct nameserver *ns, struct session *from, const struct goodbye_request *request,
	       struct goodbye_reply *reply)
{
	(void)ns;
	(void)from;
	(void)request;
	(void)reply;
	return -ERR_UNSUPPORTED;
}

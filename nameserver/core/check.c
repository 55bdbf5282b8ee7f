/* CHECK: what is wrong. */
#include "ns_state.h"

int on_check(struct nameserver *ns, struct session *from, const struct check_request *request,
	     struct check_reply *reply)
{
	(void)ns;
	(void)from;
	(void)request;
	(void)reply;
	return -ERR_UNSUPPORTED;
}

/* DRAIN and FORGET. */
#include "ns_state.h"

int on_drain(struct nameserver *ns, struct session *from, const struct drain_request *request,
	     struct drain_reply *reply)
{
	(void)ns;
	(void)from;
	(void)request;
	(void)reply;
	return -ERR_UNSUPPORTED;
}

int on_forget(struct nameserver *ns, struct session *from, const struct forget_request *request,
	      struct forget_reply *reply)
{
	(void)ns;
	(void)from;
	(void)request;
	(void)reply;
	return -ERR_UNSUPPORTED;
}

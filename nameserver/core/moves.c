/* RENAME and COPY. */
#include "ns_state.h"

int on_rename(struct nameserver *ns, struct session *from, const struct rename_request *request,
	      struct rename_reply *reply)
{
	(void)ns;
	(void)from;
	(void)request;
	(void)reply;
	return -ERR_UNSUPPORTED;
}

int on_copy(struct nameserver *ns, struct session *from, const struct copy_request *request,
	    struct copy_reply *reply)
{
	(void)ns;
	(void)from;
	(void)request;
	(void)reply;
	return -ERR_UNSUPPORTED;
}

/* What was removed, and emptying the store. */
#include "ns_state.h"

int on_trash_list(struct nameserver *ns, struct session *from,
		  const struct trash_list_request *request, struct trash_list_reply *reply)
{
	(void)ns;
	(void)from;
	(void)request;
	(void)reply;
	return -ERR_UNSUPPORTED;
}

int on_trash_restore(struct nameserver *ns, struct session *from,
		     const struct trash_restore_request *request, struct trash_restore_reply *reply)
{
	(void)ns;
	(void)from;
	(void)request;
	(void)reply;
	return -ERR_UNSUPPORTED;
}

int on_trash_purge(struct nameserver *ns, struct session *from,
		   const struct trash_purge_request *request, struct trash_purge_reply *reply)
{
	(void)ns;
	(void)from;
	(void)request;
	(void)reply;
	return -ERR_UNSUPPORTED;
}

int on_format(struct nameserver *ns, struct session *from, const struct format_request *request,
	      struct format_reply *reply)
{
	(void)ns;
	(void)from;
	(void)request;
	(void)reply;
	return -ERR_UNSUPPORTED;
}

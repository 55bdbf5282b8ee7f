/* What a server holds against what we believe, by buckets: only what differs is listed. */
#include "ns_state.h"

int on_buckets(struct nameserver *ns, struct session *from, const struct buckets_request *request,
	       struct buckets_reply *reply)
{
	(void)ns;
	(void)from;
	(void)request;
	(void)reply;
	return -ERR_UNSUPPORTED;
}

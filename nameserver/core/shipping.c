/* Copies of the catalogue on storage servers. */
#include "ns_state.h"

int on_pull(struct nameserver *ns, struct session *from, const struct pull_request *request,
	    struct pull_reply *reply)
{
	(void)ns;
	(void)from;
	(void)request;
	(void)reply;
	return -ERR_UNSUPPORTED;
}

int on_page(struct nameserver *ns, struct session *from, const struct page_request *request,
	    struct page_reply *reply)
{
	(void)ns;
	(void)from;
	(void)request;
	(void)reply;
	return -ERR_UNSUPPORTED;
}

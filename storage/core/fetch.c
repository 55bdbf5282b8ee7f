/* FETCH: a copy of a chunk from another server. */
#include "storage_inside.h"

int storage_on_fetch(struct storage *s, struct conn *conn, const struct incoming *in)
{
	(void)s;
	(void)conn;
	(void)in;
	return -ERR_UNSUPPORTED;
}

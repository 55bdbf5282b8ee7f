/* Whom this server follows: one name server, by a promise that survives a power cut. */
#include "storage_inside.h"

int storage_on_promise(struct storage *s, struct conn *conn, const struct incoming *in)
{
	(void)s;
	(void)conn;
	(void)in;
	return -ERR_UNSUPPORTED;
}

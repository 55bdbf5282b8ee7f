/* INSPECT: are our copies right? */
#include "storage_inside.h"

int storage_on_inspect(struct storage *s, struct conn *conn, const struct incoming *in)
{
	(void)s;
	(void)conn;
	(void)in;
	return -ERR_UNSUPPORTED;
}

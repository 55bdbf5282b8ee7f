/* This server's copy of the catalogue. */
#include "storage_inside.h"

int storage_on_batch(struct storage *s, struct conn *conn, const struct incoming *in)
{
	(void)s;
	(void)conn;
	(void)in;
	return -ERR_UNSUPPORTED;
}

int storage_on_pull(struct storage *s, struct conn *conn, const struct incoming *in)
{
	return storage_on_batch(s, conn, in);
}

int storage_on_page(struct storage *s, struct conn *conn, const struct incoming *in)
{
	return storage_on_batch(s, conn, in);
}

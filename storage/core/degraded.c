/* While there is no name server: what the copy of the catalogue tells, and who holds what. */
#include "storage_inside.h"

int storage_on_stat(struct storage *s, struct conn *conn, const struct incoming *in)
{
	(void)s;
	(void)conn;
	(void)in;
	return -ERR_UNSUPPORTED;
}

int storage_on_list(struct storage *s, struct conn *conn, const struct incoming *in)
{
	(void)s;
	(void)conn;
	(void)in;
	return -ERR_UNSUPPORTED;
}

int storage_on_open(struct storage *s, struct conn *conn, const struct incoming *in)
{
	(void)s;
	(void)conn;
	(void)in;
	return -ERR_UNSUPPORTED;
}

int storage_on_have(struct storage *s, struct conn *conn, const struct incoming *in)
{
	(void)s;
	(void)conn;
	(void)in;
	return -ERR_UNSUPPORTED;
}

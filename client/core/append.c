/* Puts that append: where they go, also when others are faster. */
#include "client_parts.h"

uint8_t put_flags(const struct put_state *put)
{
	if (put->how.append)
		return PUT_APPEND;
	return put->how.replace ? PUT_REPLACE : 0;
}

/* What the file is now, after somebody else has appended to it: the chunks are stored, only their
 * place has changed. */
static void base_answered(struct client *client, void *owner, int error, const void *body)
{
	const struct stat_reply *reply = body;
	struct client_op *op = owner;
	struct put_state *put = &op->put;

	if (error < 0) {
		op_finish(client, op, error, NULL);
		return;
	}
	put->how.base_inode = reply->entry.inode;
	put->how.base_version = reply->entry.version;
	put->how.base_size = reply->entry.size;
	put_commit(client, op);
}

void base_ask(struct client *client, struct client_op *op)
{
	struct stat_request stat = { .path = { op->path.data, op->path.size } };
	int rc;

	op->put.rebases++;
	rc = control_ask(client, &(struct asking){ MSG_stat, &stat, base_answered, op }, false);
	if (rc < 0)
		op_finish(client, op, rc, NULL);
}

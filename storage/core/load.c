/* How much clients want of this server: the name server orders fewer copies where that is a lot. A
 * READ is over in no time, so who has read or written since the last heartbeat counts. */
#include "storage_inside.h"

/* FETCH is not counted: neither ours, nor that of another server which reads here. */
void storage_load_read(struct storage *s, struct conn *conn)
{
	if (conn->role == ROLE_CLIENT)
		storage_load_write(s, conn);
}

void storage_load_write(struct storage *s, struct conn *conn)
{
	if (conn->load_turn == s->load_turn)
		return;
	conn->load_turn = s->load_turn;
	s->load++;
}

uint32_t storage_load_take(struct storage *s)
{
	uint32_t load = s->load, writes = HASH_COUNT(s->transfers);

	for (int i = 0; i < FETCHES_MAX; i++)
		writes -= s->fetches[i].transfer && writes;
	s->load = 0;
	s->load_turn++;
	return load > writes ? load : writes;
}

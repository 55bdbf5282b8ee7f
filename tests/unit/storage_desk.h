/* A storage server's core with a copy of a small catalogue: "/d" with "a" (9 bytes in one chunk,
 * 77) and "empty", a member with a loopback and another address, and a journal set. */
#ifndef MUSTER_STORAGE_DESK_H
#define MUSTER_STORAGE_DESK_H

#include "replica_memory.h"
#include "storage_fixture.h"

enum { DESK_JOBS_MAX = 64, DESK_CHUNK = 77 };

struct storage_desk {
	struct fixture f;
	struct replica_memory rows;
	struct replica *replica;
	struct buffer batch;
	struct journal_head head; /* after it */
	struct replica_job jobs[DESK_JOBS_MAX];
	struct buffer bytes[DESK_JOBS_MAX];
	unsigned int count, done;
};

/* The catalogue's rows, for an empty kv. */
void desk_catalogue(struct kv *kv);
void desk_begin(struct storage_desk *desk);    /* not started: `f.config` may still be changed */
void desk_has_copy(struct storage_desk *desk); /* the batch, from before the start */
void desk_start(struct storage_desk *desk);
void desk_end(struct storage_desk *desk);
void desk_run(struct storage_desk *desk); /* the jobs of the copy that wait; outbox: of the last */
/* The name server that is looked for answers HELLO: its connection, on which REGISTER waits. */
uint64_t desk_dial(struct storage_desk *desk, uint8_t server);
void desk_register(struct storage_desk *desk, uint64_t connection, uint64_t epoch);
/* Gives it the batch in that epoch's name. */
void desk_fill(struct storage_desk *desk, uint64_t connection, uint64_t epoch);
void desk_lose(struct storage_desk *desk, uint64_t connection);
/* Registered with 0xee in epoch 5, filled, and the name server is gone. */
void desk_alone(struct storage_desk *desk);

#endif

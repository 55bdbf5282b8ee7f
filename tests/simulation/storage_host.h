/* Inside the glue around a storage server's core: storage_host.c has its life and its steps,
 * storage_jobs.c what is written, storage_reads.c what is read, storage_sabotage.c rules that are
 * removed. */
#ifndef MUSTER_TESTS_STORAGE_HOST_H
#define MUSTER_TESTS_STORAGE_HOST_H

#include "copy_host.h"
#include "storage.h"
#include "store.h"
#include "store_chunks.h"
#include "world.h"

enum { READERS_MAX = 256, GHOSTS_MAX = 8 };

struct storage_host {
	struct host *host;
	struct store *store;
	struct storage *core;
	struct storage_outbox outbox;
	struct store_chunks chunks;
	struct copy_host *copy;
	struct store_commit *commit;
	struct store_chore *chore;
	struct reading *readings[READERS_MAX];
	struct store_reader *inspected; /* NULL: no chunk is being looked at */
	uint64_t armed_ms;
	uint64_t asked_epoch;        /* by the last PROMISE, */
	struct id asked_server;      /* and by whom */
	uint64_t ghosts[GHOSTS_MAX]; /* sabotage: connections that are not closed; 0: free */
};

static inline struct storage_host *storage_of(const struct host *host)
{
	return host->process;
}

/* storage_host.c */
void storage_host_step(struct host *host, struct storage_event *event);

/* storage_jobs.c */
void storage_jobs_init(struct storage_host *storage); /* its chunks are the store's */
void storage_jobs_start(struct host *host);
void storage_jobs_stop(struct host *host, bool crash);

/* storage_reads.c */
void storage_read(struct host *host, const struct storage_action *action);
void storage_inspect(struct host *host, const struct storage_action *action);
void storage_reads_stop(struct storage_host *storage);

/* storage_sabotage.c */
void storage_sabotage_init(struct storage_host *storage);
void storage_sabotage_remove(const struct host *host, uint64_t chunk);
/* A write has been given to a commit. */
void storage_sabotage_commit(struct storage_host *storage, const struct store_write *write,
			     uint32_t transfer);
/* What leaves: false if it does not. May change the frame. */
bool storage_sabotage_sends(struct host *host, struct buffer *frame);
/* True: the connection stays, and nobody knows. */
bool storage_sabotage_closes(struct host *host, uint64_t conn);
/* True: it was for a connection that stayed so. */
bool storage_sabotage_hears(struct host *host, uint64_t conn, const struct frame_header *header,
			    const uint8_t *body);
bool storage_sabotage_lost(struct host *host, uint64_t conn);

#endif

/* The storage server's decisions, without sockets, files, clock or threads: what it answers, whom
 * it dials, when it gives up. Glue moves bytes and calls storage_step() with each event; a
 * simulation does the same with a simulated network.
 *
 * Connections are 64-bit handles, never reused. The glue names the ones it accepts, with
 * STORAGE_ACCEPTED set; the core names the ones it asks to dial, without it.
 *
 * A chunk comes in as a transfer, a number that is not 0. Short ones (below `large_size`) come in
 * DATA frames through STORAGE_FRAME, and the core keeps them by way of struct storage_chunks. For
 * long ones the core asks the glue (ACT_RECEIVE) to take the DATA frames off the connection
 * itself; until STORAGE_RECEIVED it gets no frame of that connection. The hop behind is fed with
 * ACT_FORWARD from what has been received; until STORAGE_FORWARDED the core sends nothing else on
 * the hop's connection. What FETCH brings from another server comes in the same two ways. */
#ifndef MUSTER_STORAGE_CORE_H
#define MUSTER_STORAGE_CORE_H

#include <stdbool.h>

#include "beacon.h"
#include "buffer.h"
#include "frame.h"
#include "message.h"
#include "replica.h"

struct storage;
struct store_write; /* of storage/store; here only a name that is passed on */

#define STORAGE_ACCEPTED (UINT64_C(1) << 63)

struct storage_usage {
	uint64_t capacity, used, free, chunks;
	bool failed; /* nothing more can be stored */
};

struct storage_meta {
	uint64_t chunk, file, epoch;
	uint32_t length;
	struct digest digest; /* for write_new: zeros, or what the bytes must have */
};

/* What the core asks of the store, answered at once; the names are those of store.h. Results are
 * 0 or negative codes. */
struct storage_chunks {
	void (*usage)(void *context, struct storage_usage *ret);
	/* Length and digest of a chunk that is here. `digest` may be NULL: then no disk is touched,
	 * and the length is left alone. */
	int (*find)(void *context, uint64_t chunk, uint32_t *ret_length, struct digest *digest);
	int (*remove)(void *context, uint64_t chunk);
	int (*quarantine)(void *context, uint64_t chunk);
	size_t (*list)(void *context, uint64_t after, struct chunk_ref *ret, size_t most);
	/* Of those buckets only (INVENTORY_BITS_SIZE). */
	size_t (*list_buckets)(void *context, const uint8_t *buckets, uint64_t after,
			       struct chunk_ref *ret, size_t most);
	struct digest (*inventory)(void *context);
	/* The sum of each of the INVENTORY_BUCKETS, as in BUCKETS: protocol/inventory.h. */
	void (*buckets)(void *context, uint64_t *ret);
	/* Writes down, durably, whom this server follows from now on. -ERR_STALE: it has promised a
	 * later epoch. */
	int (*promise)(void *context, uint64_t epoch, const struct id *server);
	/* Writes down the cluster that this server belongs to from now on. */
	int (*adopt)(void *context, const struct id *cluster, const char *name);

	int (*write_new)(void *context, const struct storage_meta *meta, struct store_write **ret);
	int (*write_add)(void *context, struct store_write *write, struct slice data,
			 const uint8_t *crcs);
	void (*write_abort)(void *context, struct store_write *write);
	/* Takes the write over; STORAGE_STORED follows once it is durable or has failed.
	 * -ERR_CORRUPT: the digest is not the one that was announced; it stays the caller's. */
	int (*write_commit)(void *context, struct store_write *write, uint32_t transfer);
};

/* What the core asks of this server's copy of the catalogue. Each job is answered by a
 * STORAGE_REPLICA event, in the order in which they were given; what it points to is copied. */
struct storage_catalogue {
	int (*submit)(void *context, const struct replica_job *job); /* -ERR_NO_MEMORY */
};

enum { STORAGE_NAMESERVERS_MAX = 16 };

/* How far the reading of all copies has come: see scrub.c. Zeroed: a pass that begins. */
struct scrub_state {
	uint64_t cursor;             /* the last chunk that was read */
	uint64_t elapsed_ms;         /* running time since the pass began */
	uint64_t chunks, bytes, bad; /* read in it, and found bad */
	bool ended;                  /* the next begins when the period is over */
};

/* Strings are borrowed for the core's life. */
struct storage_config {
	uint64_t seed;
	struct id self, disk, machine;
	struct id cluster;                       /* none: has never belonged to one */
	char cluster_name[CLUSTER_NAME_MAX + 1]; /* as given or remembered; empty: any */
	uint64_t start;                          /* mount generation */
	uint64_t promised_epoch;
	struct id promised_server;
	const char *host, *zone, *version;
	struct endpoint endpoints[ENDPOINTS_MAX]; /* where it takes data connections */
	unsigned int endpoint_count;
	const char *nameservers[STORAGE_NAMESERVERS_MAX]; /* fixed ones; none: discovery */
	unsigned int nameserver_count;
	struct endpoint remembered; /* family 0: none; tried first */
	struct scrub_state scrub;   /* as storage_scrub() said when it last ran */
	uint32_t large_size;        /* UINT32_MAX: no ACT_RECEIVE and no ACT_FORWARD ever */
	const struct storage_chunks *chunks;
	void *chunks_context;
	const struct storage_catalogue *catalogue; /* NULL: it keeps no copy */
	void *catalogue_context;
};

/* ---- events ---- */

enum storage_event_kind {
	STORAGE_OPENED,   /* accepted: connection, endpoint (the peer) */
	STORAGE_CLOSED,   /* connection, error; header of a malformed frame or NULL */
	STORAGE_FRAME,    /* connection, header, body */
	STORAGE_BEACON,   /* data (the datagram), endpoint (its source) */
	STORAGE_DIALLED,  /* connection, error or endpoint (the peer) */
	STORAGE_RESOLVED, /* endpoints, or error */
	/* transfer, error: 0, CORRUPT, CONNECTION (closed by the glue), …; status: with what the
	 * source of a FETCH refused, if it did */
	STORAGE_RECEIVED,
	STORAGE_STORED,    /* transfer, error or digest */
	STORAGE_PROGRESS,  /* transfer: bytes moved on to the hop behind */
	STORAGE_FORWARDED, /* transfer: all sent; or error (the glue closed the hop's connection) */
	STORAGE_SENT, /* connection, chunk, id, error: why ACT_SEND_CHUNK was not carried out */
	/* chunk, error: 0, CORRUPT, NOT_FOUND (its file is gone, too), IO or why it could not be
	 * looked at; length and digest of what was read, zeros where nothing was */
	STORAGE_INSPECTED,
	STORAGE_REPLICA, /* replica */
	/* The process is asked to end: the name server is told. It has heard it when it closes its
	 * connection, and storage_state() says that there is none. */
	STORAGE_STOP,
	STORAGE_TICK,
};

struct storage_event {
	enum storage_event_kind kind;
	uint64_t now_ms;
	uint64_t connection;
	uint64_t chunk;
	uint32_t transfer;
	uint32_t id;
	uint32_t length;
	uint8_t status;
	int error; /* 0 or negative */
	const struct frame_header *header;
	const uint8_t *body;
	struct slice data;
	const struct endpoint *endpoints;
	unsigned int endpoint_count;
	const struct digest *digest;
	const struct replica_result *replica;
};

/* ---- actions ---- */

enum storage_action_kind {
	ACT_SEND,     /* connection; bytes [at, at + size) of the outbox: whole frames */
	ACT_CLOSE,    /* connection; after what was sent; no STORAGE_CLOSED follows */
	ACT_PAUSE,    /* connection; `on`: stop reading, else go on */
	ACT_DIAL,     /* connection, endpoints, timeout_ms → STORAGE_DIALLED */
	ACT_RESOLVE,  /* name → STORAGE_RESOLVED */
	ACT_PROBE,    /* broadcast the datagram, a probe or an answer, at [at, at + size) */
	ACT_REMEMBER, /* endpoints[0]: the name server's address, for the next start */
	/* transfer, connection, id, write, length → STORAGE_RECEIVED. timeout_ms: how long the
	 * other side may be silent, 0: as long as usual; with it a status instead of DATA may
	 * come. */
	ACT_RECEIVE,
	/* transfer, connection (the hop), id, chunk, length; [at, at + size): the WRITE frame to
	 * send first. Source: what the transfer's ACT_RECEIVE brings, else the stored chunk. */
	ACT_FORWARD,
	/* connection, id, chunk, offset, length: answer a READ with DATA frames. */
	ACT_SEND_CHUNK,
	/* chunk, length (as it should be): read all of it from the disk, off the loop, and check it
	 * against what is stored with it → STORAGE_INSPECTED. One at a time. */
	ACT_INSPECT,
	ACT_NOTE, /* something worth a line in the log: note, and what it says */
};

enum storage_note {
	NOTE_REGISTERED,      /* id: name server; endpoints[0]; number: epoch */
	NOTE_LOST_NAMESERVER, /* error */
	NOTE_REFUSED, /* error: what the name server said to HELLO or REGISTER; endpoints[0] */
	NOTE_NO_NAMESERVER,    /* none found yet; said once per search */
	NOTE_TWO_CLUSTERS,     /* name, id: one of them; it joins none */
	NOTE_JOINED,           /* id: the cluster; name */
	NOTE_STORED,           /* chunk; number: its length; took_ms */
	NOTE_NOT_STORED,       /* chunk, error, took_ms */
	NOTE_SERVED,           /* chunk; number: bytes; took_ms is not known */
	NOTE_DISK_FAILED,      /* error: nothing more can be stored */
	NOTE_DELETED,          /* number: chunks */
	NOTE_CORRUPT,          /* chunk, error */
	NOTE_SLOW_HOP,         /* id: the server; chunk */
	NOTE_HOP_DOWN,         /* id: the server; error */
	NOTE_DENIED,           /* chunk, error: a ticket that was not honoured */
	NOTE_FETCHED,          /* chunk, id: from whom; number: its length; took_ms */
	NOTE_NOT_FETCHED,      /* chunk, id: from whom; error, took_ms */
	NOTE_INSPECTED_BAD,    /* chunk, error */
	NOTE_CATALOGUE_BEHIND, /* id: who has more; number: our last batch */
	NOTE_CATALOGUE_ANEW,   /* id: from whom all is copied */
	NOTE_CATALOGUE_LEVEL,  /* id: with whom, after having been behind; number: our last batch */
	NOTE_CATALOGUE_REFUSED, /* id: whose history is not ours, and older; error */
	NOTE_CATALOGUE_DAMAGED, /* error: what was found of the copy, and dropped */
	NOTE_CATALOGUE_FAILED,  /* error: of the copy's disk */
	NOTE_PROMISED,          /* id: the name server that it follows now; number: epoch */
	NOTE_DEGRADED,          /* clients may read; number: last batch of the catalogue's copy */
	NOTE_SCRUB_STARTED, /* a pass, or again. number: chunks read, id: of these bad; took_ms */
	NOTE_SCRUB_ENDED,   /* the same */
};

struct storage_action {
	enum storage_action_kind kind;
	uint64_t connection;
	size_t at, size;
	uint64_t chunk;
	uint64_t number;
	uint32_t transfer;
	uint32_t id;
	uint32_t offset, length;
	unsigned int timeout_ms;
	uint64_t took_ms;
	bool on;
	enum storage_note note;
	int error;
	struct store_write *write;
	const char *name; /* lives as long as the core */
	struct id who;
	unsigned int endpoint_count;
	struct endpoint endpoints[ENDPOINTS_MAX];
};

/* Filled by a step; the glue carries the actions out in order and clears it. Zeroed: empty. */
struct storage_outbox {
	struct storage_action *actions;
	unsigned int count, capacity;
	struct buffer bytes;
};

void storage_outbox_clear(struct storage_outbox *outbox);
void storage_outbox_done(struct storage_outbox *outbox);

/* -ERR_NO_MEMORY. */
int storage_new(const struct storage_config *config, struct storage **ret);
/* Gives up writes that no commit has taken over. NULL-safe. */
void storage_free(struct storage *storage);

/* -ERR_NO_MEMORY: the event may be half done; a daemon had better stop. */
int storage_step(struct storage *storage, const struct storage_event *event,
		 struct storage_outbox *outbox);
/* When the next STORAGE_TICK is due, on the clock of now_ms. The first one starts everything. */
uint64_t storage_deadline(const struct storage *storage);

/* New addresses to report; REGISTER is sent again. */
void storage_set_endpoints(struct storage *storage, const struct endpoint *endpoints,
			   unsigned int count);

struct storage_state {
	bool registered; /* and connected */
	uint64_t epoch;
	unsigned int connections, transfers;
	struct replica_head catalogue; /* as far as it is durable */
};
void storage_state(const struct storage *storage, struct storage_state *ret);
void storage_scrub(const struct storage *storage, struct scrub_state *ret);

#endif

/* The core's own shapes; only storage/core sees them. */
#ifndef MUSTER_STORAGE_INSIDE_H
#define MUSTER_STORAGE_INSIDE_H

#include <assert.h>
#include <stdlib.h>

#include <bsd/sys/queue.h>
#define uthash_fatal(message) abort()
#include <uthash.h>

#include "codec.h"
#include "endpoint.h"
#include "error.h"
#include "inventory.h"
#include "random.h"
#include "storage.h"
#include "ticket.h"

enum {
	HOP_DIAL_MS = 1000,       /* a hop that takes longer would be given up anyway */
	HOP_IDLE_MS = 60 * 1000,  /* then an unused connection to a hop is closed */
	HOP_PAUSE_MS = 500,       /* after a failed dial a hop counts as down for so long */
	HOP_CONNECTIONS_MAX = 32, /* to one server */
	OWN_COPY_MS = 10 * 1000,  /* the only copy there may be is worth waiting for */
	CLIENT_DIAL_MS = 3000,    /* by then the client has dialled us */
	NAMESERVER_DIAL_MS = 3000,
	NAMESERVER_SILENCE_MS = 6000,
	BACKOFF_MIN_MS = 200,
	BACKOFF_MAX_MS = 5000,
	LISTEN_MS = 150,            /* for a second cluster */
	QUICK_TRIES = 3,            /* where the name server was a moment ago, */
	QUICK_MS = 100,             /* so often, */
	QUICK_AFTER_MS = 1000,      /* if it was there so long */
	REFUSED_MS = 5000,          /* so long another is preferred to one that has refused us */
	REGISTERING_MS = 3000,      /* then one with a later epoch is preferred to one that waits */
	LEAVE_AGAIN_MS = 60 * 1000, /* and so seldom one that serves to one that waits */
	BEACON_FRESH_MS = 3 * BEACON_INTERVAL_MS,
	PROBE_MS = 1000,
	QUIET_PROBES = 6, /* a beacon's interval: both may just be starting */
	WATCH_MS = 100,   /* how often running transfers are looked at */
	OUTSTANDING_MAX = 4 * REQUESTS_MAX,
	LARGE_CHARGE = REQUEST_BYTES_MAX / 8,
	BACKLOG_MAX = 8 * 1024 * 1024, /* waiting for a hop's HELLO */
	FETCHES_MAX = 8,               /* under way; clients want the disk, too */
	FETCH_SILENCE_MS = 2000,       /* then another source may do better */
	INSPECT_ANSWER_MS = 2500,      /* what has not been looked at by then is BUSY */
	INSPECTIONS_MAX = REQUESTS_MAX,
	DEGRADED_AFTER_MS = 2000,    /* without a name server: a restart is over by then */
	MISSED_AFTER_MS = 3000,      /* of silence: no heartbeat waits as long for its answer */
	DEGRADED_DELAY_MS = 100,     /* so that not all answer one probe */
	ASKS_MAX = 4 * REQUESTS_MAX, /* of all clients under way, then BUSY */
	GOSSIP_MS = 5000,            /* on average: who has what we lack? */
	CATCH_UP_PAGES = 16,         /* then batches are asked for that were made meanwhile */
	PULL_SILENCE_MS = 5000,      /* then somebody else may do better */
	REOPEN_MS = 60 * 1000,       /* a copy whose disk has failed, or was full */
	/* Pages of a copy that wait for the disk: the source reads the next ones meanwhile. */
	PAGES_STORING_MAX = 8,
	READERS_MAX = 16, /* who pulls or copies from us at the same time, then BUSY */
};

enum conn_use { USE_ACCEPTED, USE_NAMESERVER, USE_CLIENT, USE_HOP };
/* A side that dialled greets; one that was dialled is a stranger until it is greeted. */
enum conn_state { CONN_STRANGER, CONN_DIALLING, CONN_GREETING, CONN_READY };

struct transfer;
struct fetch;
struct peer;
LIST_HEAD(transfer_list, transfer);
LIST_HEAD(conn_list, conn);

struct conn {
	uint64_t handle;
	UT_hash_handle hh;
	enum conn_use use;
	enum conn_state state;
	uint8_t role, lane;
	struct id peer; /* whom we expect, then who it is */
	struct id proof;
	bool local; /* on our machine */
	struct endpoint endpoint;
	uint64_t since_ms; /* in this state */
	uint64_t heard_ms;
	bool closing;

	struct transfer *incoming;  /* the WRITE, or our READ, whose DATA comes now */
	struct transfer_list asked; /* transfers that come from here */
	unsigned int outstanding;
	uint64_t outstanding_bytes;
	bool paused;

	/* Connections to a hop. */
	struct peer *hop;
	LIST_ENTRY(conn) of_peer;
	struct transfer_list fed; /* transfers that go there */
	struct buffer backlog;    /* until it is ready */
	bool busy;                /* an ACT_FORWARD owns its output, or a fetch all of it */
	bool quiet;               /* dialled though nobody waits for it */
	bool slow;                /* was given up on, and has said nothing since */
	uint32_t load_turn;       /* see load.c */
};

/* Another storage server. */
struct peer {
	struct id node;
	UT_hash_handle hh;
	struct conn_list conns;
	unsigned int count;
	uint64_t down_until_ms;
};

/* A WRITE on its way through this server, or a chunk that it fetches. */
struct transfer {
	uint32_t number;
	UT_hash_handle hh;
	UT_hash_handle by_chunk; /* while `write` or a commit holds it */
	bool in_chunks;
	struct storage_meta meta;
	struct fetch *fetch; /* NULL: a WRITE */
	struct conn *from;   /* NULL: gone */
	LIST_ENTRY(transfer) in_asked;
	uint32_t request;
	uint32_t charge; /* in from->outstanding_bytes */

	struct store_write *write;
	bool large;
	bool receiving; /* bytes are still coming, */
	bool by_glue;   /* and it takes them */
	uint32_t received;
	bool own_done;
	int own_error;
	bool doomed; /* DELETE came before it was stored */

	struct id hops[COPIES_MAX];
	bool receipt_seen[COPIES_MAX];
	unsigned int hop_count;
	struct conn *to; /* NULL: no hop, or it is gone */
	LIST_ENTRY(transfer) in_fed;
	struct buffer prefix; /* the WRITE for the hop, not sent yet */
	uint64_t feeding;     /* the handle of the connection that ACT_FORWARD owns */
	bool forwarding;      /* between ACT_FORWARD and STORAGE_FORWARDED */
	bool hop_pending;     /* its final reply is still to come */
	bool hop_waited;      /* and we wait for it */
	bool hop_broken;
	uint8_t hop_reason; /* status with which one behind us refused it */
	bool answered;      /* the final reply has been sent */
	uint64_t since_ms;  /* when it came */
	uint64_t moved_ms;
	LIST_ENTRY(transfer) in_free;
};

/* A FETCH that has not been answered. */
struct fetch {
	struct transfer *transfer; /* NULL: the place is free */
	uint64_t asker;            /* the name server's connection */
	uint32_t request;
	struct ticket ticket;
	uint64_t since_ms;
	int error; /* what it will be answered with, whatever else is found; 0: not known yet */
};

struct inspection;
STAILQ_HEAD(inspection_queue, inspection);

/* TOLD: nothing is under way. */
enum inventory_step { INVENTORY_TOLD, INVENTORY_SUMMED, INVENTORY_LISTED };
enum seek_state { SEEK_IDLE, SEEK_RESOLVING, SEEK_CONNECTING, SEEK_REGISTERING, SEEK_REGISTERED };

struct seeker {
	enum seek_state state;
	struct conn *conn;
	struct discovery discovery;
	uint64_t first_heard_ms; /* 0: not yet */
	uint64_t next_try_ms, last_try_ms, next_probe_ms;
	unsigned int backoff_ms;
	unsigned int tries;
	uint64_t probes;
	bool said_none, said_two;
	uint64_t heartbeat_ms, next_heartbeat_ms;
	uint32_t request;
	bool register_again;      /* our addresses changed */
	uint64_t lost_ms;         /* since then there is no name server; at first: the start */
	unsigned int quick;       /* tries left before it backs off */
	bool heard_now;           /* a beacon that nobody has followed yet */
	struct endpoint target;   /* dialled last */
	struct endpoint refusing; /* where we were refused last; family 0: nowhere */
	uint64_t refused_ms;
	uint64_t left_ms;       /* when one that waits was left for one that serves; 0: never */
	uint64_t offered_epoch; /* as the name server that we wait for said in HELLO */
	uint64_t next_ping_ms;
	enum inventory_step inventory;
	uint64_t inventory_after, inventory_position;
	uint8_t differ[INVENTORY_BITS_SIZE]; /* buckets that are listed */
	struct receipt late[RECEIPTS_MAX];   /* for STORED */
	unsigned int late_count;
	struct id offered; /* the cluster we are about to join */
	char offered_name[CLUSTER_NAME_MAX + 1];
	struct endpoint known; /* where the name server was last; family 0: nowhere */
};

/* ---- the copy of the catalogue ---- */

/* A job that has not come back, and who waits for it. */
struct replica_wait {
	STAILQ_ENTRY(replica_wait) next;
	enum replica_job_kind kind;
	uint32_t number;
	uint64_t asker; /* connection; 0: ourselves */
	uint32_t request;
	unsigned int code; /* ASK: of what was asked */
};
STAILQ_HEAD(replica_waits, replica_wait);

enum follow_state { FOLLOW_OFF, FOLLOW_OPENING, FOLLOW_READY, FOLLOW_FAILED };
enum pull_step {
	PULL_NONE,
	PULL_DIALLING,
	PULL_ASKED,   /* PULL */
	PULL_STORING, /* what came: a job of ours is under way */
	PAGE_ASKED,   /* PAGE, and pages that came before may be on their way to the disk */
	PAGE_STORING,
};

/* From one source at a time. */
struct pull {
	enum pull_step step;
	uint64_t source; /* connection */
	struct id node;
	uint32_t request;
	uint64_t since_ms;    /* in this step */
	struct buffer part;   /* of a batch that is too large for a message */
	struct buffer cursor; /* last key of the pages so far */
	bool more;            /* pages */
	/* While pages come: the batch that they have all changes up to, that of the last one, and
	 * how many have come since the former was brought up to the latter. */
	struct journal_head base;
	uint64_t point;
	unsigned int pages;
	uint32_t first_job;   /* those before it were of other pulls */
	unsigned int storing; /* so many jobs with pages are under way */
};

struct follow {
	enum follow_state state;
	struct replica_head head; /* durable */
	struct journal_head tail; /* what follows must follow this: given to the copy already */
	uint32_t last_job;
	struct replica_waits waits;
	unsigned int readers;

	struct buffer batch; /* parts of a BATCH */
	uint64_t batch_sequence;
	uint32_t batch_size;

	struct pull pull;
	bool ask_nameserver, ask_peer; /* as soon as nothing else is under way */
	bool said_behind, said_refused;
	uint64_t next_gossip_ms, next_open_ms;
	struct replica_peer *peers;
	unsigned int peer_count;
};

/* The reading of all copies, and what it found that nobody could be told of. */
struct scrub {
	uint64_t period_ms; /* 0: never */
	struct scrub_state state;
	uint64_t counted_ms; /* state.elapsed_ms is right for that time */
	uint64_t next_ms;    /* when something is to be done */
	uint64_t reading;    /* the chunk; 0: none */
	uint32_t length;     /* of that one */
	uint64_t begun_ms;
	struct chunk_ref *page; /* that come next */
	size_t page_at, page_count;
	struct chunk_id *reports;
	unsigned int report_count;
};

/* Reading without a name server. */
struct degraded {
	bool said;
	unsigned int asking; /* jobs of the copy that clients wait for */
	uint64_t answer_ms;  /* a probe will be answered then; 0: none */
	uint64_t next_answer_ms;
	uint64_t beacons;
};

struct storage {
	struct storage_config config;
	struct prng prng;
	uint64_t now_ms;
	struct storage_outbox *out;
	int error;
	struct storage_action spare; /* written to when memory is out */
	struct arena arena;

	uint64_t last_handle;
	struct conn *conns;
	struct peer *peers;

	uint32_t last_transfer;
	struct transfer *transfers;
	struct transfer *chunks;
	struct transfer_list unused;
	struct fetch fetches[FETCHES_MAX];

	struct inspection_queue inspections; /* in the order in which they came */
	unsigned int inspection_count;
	uint64_t inspecting;     /* the chunk that the glue reads; 0: none */
	bool inspecting_changed; /* it has been stored anew meanwhile */
	struct scrub scrub;
	uint32_t load, load_turn; /* connections that count in this turn; see load.c */

	struct seeker seeker;
	struct follow follow;
	struct degraded degraded;
	/* What was promised before it was promised last; PROMISE is answered with it. */
	uint64_t previous_epoch;
	struct id previous_server;
	uint32_t promised_process; /* 0: not known */

	struct hmac *key; /* NULL: never registered */
	uint64_t epoch;
	uint64_t registered_ms;
	uint64_t echo;     /* of the name server's clock, as it said last */
	uint64_t touch_ms; /* when that came; at first: the start */
	bool started;
	uint64_t next_watch_ms;
	bool disk_failed; /* and it was said */
};

/* A frame that came in. DATA is not decoded: its message is empty. */
struct incoming {
	const struct frame_header *header;
	const uint8_t *body;
	struct message message;
};

/* outbox.c */
struct storage_action *storage_act(struct storage *s, enum storage_action_kind kind);
struct storage_action *storage_note(struct storage *s, enum storage_note what);
void storage_send_bytes(struct storage *s, struct conn *conn, const void *data, size_t size);
void storage_send_message(struct storage *s, struct conn *conn, const struct message *message);
void storage_send_request(struct storage *s, struct conn *conn, unsigned int code, uint32_t id,
			  const void *body);
void storage_send_reply(struct storage *s, struct conn *conn, const struct incoming *to,
			const void *body);
void storage_send_refusal(struct storage *s, struct conn *conn, const struct frame_header *to,
			  int error);

/* connections.c */
struct conn *storage_conn_find(struct storage *s, uint64_t handle);
struct conn *storage_conn_add(struct storage *s, uint64_t handle, enum conn_use use);
struct conn *storage_conn_dial(struct storage *s, enum conn_use use,
			       const struct endpoint *endpoints, unsigned int count);
/* The connection is gone; everything that hung on it hears so. `tell`: the glue shall close it. */
void storage_conn_drop(struct storage *s, struct conn *conn, int error, bool tell);
void storage_conn_tick(struct storage *s);
uint64_t storage_conn_deadline(const struct storage *s);
int storage_on_hello(struct storage *s, struct conn *conn, const struct incoming *in);
int storage_on_ping(struct storage *s, struct conn *conn, const struct incoming *in);
int storage_on_connect(struct storage *s, struct conn *conn, const struct incoming *in);
void storage_on_hello_reply(struct storage *s, struct conn *conn, const struct incoming *in);
void storage_on_opened(struct storage *s, const struct storage_event *event);
void storage_on_closed(struct storage *s, const struct storage_event *event);
void storage_on_dialled(struct storage *s, const struct storage_event *event);

/* join.c */
void storage_seek_failed(struct storage *s, int error);
void storage_seek_tick(struct storage *s);
uint64_t storage_seek_deadline(const struct storage *s);
void storage_seek_greeted(struct storage *s, const struct hello_reply *reply);
void storage_seek_refused(struct storage *s, int error);
void storage_broadcast(struct storage *s, const struct beacon *beacon);
void storage_seek_reply(struct storage *s, const struct incoming *in);
void storage_on_beacon(struct storage *s, const struct storage_event *event);
void storage_on_resolved(struct storage *s, const struct storage_event *event);

/* duty.c */
void storage_register_send(struct storage *s);
void storage_register_reply(struct storage *s, const struct incoming *in);
void storage_heartbeat_send(struct storage *s);
void storage_late_add(struct storage *s, const struct receipt *receipts, unsigned int count);
void storage_late_send(struct storage *s);
void storage_corrupt_send(struct storage *s, uint64_t chunk, int error);
void storage_corrupt_tell(struct storage *s, const struct chunk_id *chunks, unsigned int count);
int storage_on_delete(struct storage *s, struct conn *conn, const struct incoming *in);
bool storage_is_registered(const struct storage *s);

/* inventory.c */
void storage_buckets_send(struct storage *s);
void storage_buckets_reply(struct storage *s, const struct incoming *in);
void storage_inventory_send(struct storage *s);
void storage_on_stop(struct storage *s, const struct storage_event *event);

/* serve.c */
int storage_ticket_check(struct storage *s, const struct conn *conn, const struct ticket *ticket,
			 uint8_t operation);
int storage_on_read(struct storage *s, struct conn *conn, const struct incoming *in);
void storage_on_sent(struct storage *s, const struct storage_event *event);

/* write.c */
int storage_on_write(struct storage *s, struct conn *conn, const struct incoming *in);
int storage_on_data(struct storage *s, struct conn *conn, const struct incoming *in);
/* 1: the chunk is here already, with meta->length bytes, and meta->digest is filled in; 0: it may
 * come, also in place of a copy that proves damaged. */
int storage_chunk_look(struct storage *s, struct storage_meta *meta);
/* Takes the bytes off the connection by way of the glue, or waits for them as frames. */
void storage_receive(struct storage *s, struct conn *conn, struct transfer *transfer);
/* The own copy will not be: the asker hears why. */
void storage_receive_failed(struct storage *s, struct transfer *transfer, int error);
void storage_on_received(struct storage *s, const struct storage_event *event);
void storage_on_stored(struct storage *s, const struct storage_event *event);
void storage_write_asker_gone(struct storage *s, struct transfer *transfer);

/* inspect.c */
int storage_on_inspect(struct storage *s, struct conn *conn, const struct incoming *in);
void storage_on_inspected(struct storage *s, const struct storage_event *event);
void storage_inspect_stored(struct storage *s, uint64_t chunk); /* a new copy of it */
void storage_inspect_tick(struct storage *s);
uint64_t storage_inspect_deadline(const struct storage *s);
void storage_inspections_drop(struct storage *s); /* nobody waits for them any more */

/* Has the glue read it; nothing else may be under way. */
void storage_inspect_read(struct storage *s, uint64_t chunk, uint32_t length);

/* load.c: for HEARTBEAT */
void storage_load_read(struct storage *s, struct conn *conn);
void storage_load_write(struct storage *s, struct conn *conn);
uint32_t storage_load_take(struct storage *s);

/* scrub.c */
void storage_scrub_registered(struct storage *s, uint32_t period_s);
void storage_scrub_inspected(struct storage *s, uint64_t chunk, bool damaged);
void storage_scrub_tick(struct storage *s);
uint64_t storage_scrub_deadline(const struct storage *s);
void storage_scrub_free(struct storage *s);
/* Bad copies that are told when the name server is there. */
void storage_corrupt_keep(struct storage *s, uint64_t chunk);
void storage_corrupt_flush(struct storage *s);

/* fetch.c */
int storage_on_fetch(struct storage *s, struct conn *conn, const struct incoming *in);
void storage_fetch_conn_ready(struct storage *s, struct conn *conn);
/* The source answered READ with a status. */
void storage_fetch_reply(struct storage *s, struct conn *conn, const struct incoming *in);
void storage_fetch_refused(struct fetch *fetch, uint8_t status);
void storage_fetch_received(struct storage *s, struct transfer *transfer);
/* The bytes are the chunk; a copy here that is not makes room. */
void storage_fetch_proved(struct storage *s, const struct transfer *transfer);
/* The receipt, or NULL and an error. */
void storage_fetch_done(struct storage *s, struct transfer *transfer, const struct receipt *receipt,
			int error);
/* Gives it up if bytes are still to come. The transfer may be gone afterwards. */
void storage_fetch_end(struct storage *s, struct transfer *transfer, int error);
void storage_fetch_tick(struct storage *s);
void storage_fetches_orphaned(struct storage *s); /* the name server's connection is gone */

/* promise.c: whom this server follows */
int storage_on_promise(struct storage *s, struct conn *conn, const struct incoming *in);
void storage_promise_looked(struct storage *s, const struct replica_wait *wait,
			    const struct replica_result *result);
/* Whoever it has registered with in that epoch is the one it follows from now on. -ERR_STALE: it
 * has promised a later one. */
int storage_promise_registered(struct storage *s, const struct id *server, uint64_t epoch);
/* Whether orders of that epoch are obeyed. */
bool storage_is_followed(const struct storage *s, uint64_t epoch);
void storage_touched(struct storage *s, uint64_t nameserver_ms); /* it has heard of it */
uint64_t storage_known_epoch(const struct storage *s);           /* the highest it has heard of */

/* degraded.c: what it tells of its copy of the catalogue while there is no name server */
int storage_on_stat(struct storage *s, struct conn *conn, const struct incoming *in);
int storage_on_list(struct storage *s, struct conn *conn, const struct incoming *in);
int storage_on_open(struct storage *s, struct conn *conn, const struct incoming *in);
int storage_on_have(struct storage *s, struct conn *conn, const struct incoming *in);
bool storage_is_reader(const struct conn *conn); /* a client, or an operator's console */
void storage_degraded_answered(struct storage *s, const struct replica_wait *wait,
			       const struct replica_result *result);
/* Of a reader without a name server; -ERR_DENIED: it is no such ticket. */
int storage_degraded_ticket(const struct storage *s, const struct conn *conn,
			    const struct ticket *ticket);
/* What to say to a client's request that only a name server serves. */
int storage_degraded_refusal(const struct storage *s, const struct conn *conn,
			     const struct message_info *info);
void storage_degraded_heard(struct storage *s, const struct beacon *beacon);
void storage_degraded_tick(struct storage *s);
uint64_t storage_degraded_deadline(const struct storage *s);

/* follow.c */
int storage_on_batch(struct storage *s, struct conn *conn, const struct incoming *in);
int storage_on_pull(struct storage *s, struct conn *conn, const struct incoming *in);
int storage_on_page(struct storage *s, struct conn *conn, const struct incoming *in);
void storage_on_replica(struct storage *s, const struct storage_event *event);
/* What others may rely on: zeros where the copy is not whole. */
struct journal_head storage_follow_known(const struct storage *s);
/* Of the answers that our jobs lead to `asker` hears, 0: nobody. */
int storage_follow_submit(struct storage *s, struct replica_job *job, uint64_t asker,
			  uint32_t request);
/* Whole batches: what follows our tail goes to the copy. 1: something did; 0: all is there already;
 * -ERR_STALE: they do not follow; -ERR_CORRUPT. */
int storage_follow_append(struct storage *s, struct slice batches, uint64_t asker,
			  uint32_t request);
/* The same between pages, from `base` on, which is moved. */
int storage_follow_catch_up(struct storage *s, struct slice batches, struct journal_head *base);
void storage_follow_free(struct storage *s);

/* pull.c */
void storage_pull_registered(struct storage *s); /* the name server is there */
void storage_pull_stored(struct storage *s, const struct replica_result *result);
void storage_pull_next(struct storage *s); /* something may be asked now */
void storage_pull_conn_ready(struct storage *s, struct conn *conn);
void storage_pull_conn_gone(struct storage *s, const struct conn *conn);
/* True if it was an answer to what we asked. */
bool storage_pull_reply(struct storage *s, struct conn *conn, const struct incoming *in);
void storage_pull_cancel(struct storage *s);
void storage_pull_tick(struct storage *s);
uint64_t storage_pull_deadline(const struct storage *s);

/* transfer.c */
struct transfer *storage_transfer_new(struct storage *s);
struct transfer *storage_transfer_find(struct storage *s, uint32_t number);
struct transfer *storage_transfer_of_chunk(struct storage *s, uint64_t chunk);
void storage_transfer_enter_chunk(struct storage *s, struct transfer *transfer);
void storage_transfer_leave_chunk(struct storage *s, struct transfer *transfer);
void storage_transfer_enter_asked(struct transfer *transfer, struct conn *conn, uint32_t charge);
void storage_transfer_leave_asked(struct storage *s, struct transfer *transfer);
/* Passes on receipts, answers if everything waited for is known, frees if nothing is left to do. */
void storage_transfer_settle(struct storage *s, struct transfer *transfer,
			     const struct receipt *receipts, unsigned int count);
/* Notes from whom they are. */
void storage_transfer_see(struct transfer *transfer, const struct receipt *receipts,
			  unsigned int count);
void storage_transfer_own_done(struct storage *s, struct transfer *transfer, int error);
void storage_transfer_tick(struct storage *s);
void storage_transfers_free(struct storage *s);

/* chain.c */
void storage_chain_start(struct storage *s, struct transfer *transfer,
			 const struct write_request *request);
void storage_chain_data(struct storage *s, struct transfer *transfer,
			const struct frame_header *header, const uint8_t *body);
/* The bytes for the hop will never be complete. */
void storage_chain_abort(struct storage *s, struct transfer *transfer);
void storage_chain_conn_ready(struct storage *s, struct conn *conn);
/* A connection to another server that nothing else uses; NULL: none is to be had. */
struct conn *storage_peer_connection(struct storage *s, const struct id *node,
				     const struct endpoint *endpoints, unsigned int count);
void storage_chain_conn_gone(struct storage *s, struct conn *conn, int error);
void storage_chain_reply(struct storage *s, struct conn *conn, const struct incoming *in);
void storage_chain_drop_closing(struct storage *s);
void storage_chain_unlink(struct transfer *transfer);
void storage_on_progress(struct storage *s, const struct storage_event *event);
void storage_on_forwarded(struct storage *s, const struct storage_event *event);
void storage_peers_free(struct storage *s);

#endif

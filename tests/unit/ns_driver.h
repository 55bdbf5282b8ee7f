/* Drives the name server's core without sockets: fake clients and storage servers, virtual time.
 *
 *     struct ns_driver d;
 *     driver_start(&d, NULL);
 *     struct ns_peer *client = driver_client(&d, 1), *storage = driver_storage(&d, 1);
 *     struct mkdir_reply reply;
 *     assert_int_equal(ASK(client, mkdir, &reply, .operation = 1, .path = slice_of("/a")), 0);
 *
 * Every call runs a whole turn and, unless d.hold_durable, makes its batch durable at once. What is
 * received lives until driver_stop(). Failures of the harness itself abort the test. */
#ifndef MUSTER_TESTS_NS_DRIVER_H
#define MUSTER_TESTS_NS_DRIVER_H

#include "batch.h"
#include "codec.h"
#include "nameserver.h"
#include "ticket.h"

enum { DRIVER_PEERS_MAX = 512, DRIVER_EVENTS_MAX = 1024 };

struct ns_received {
	struct message message;
	bool taken;
};

struct ns_peer {
	struct ns_driver *driver;
	uint64_t conn;
	bool closed; /* by the name server */
	struct id id;
	struct id machine;
	uint32_t next_id;
	uint64_t operation; /* the last one used, for OPERATION() */
	struct ns_received *received;
	size_t count, capacity, answered;
	/* storage servers */
	struct key key;
	uint64_t epoch;
	uint64_t registered_ms;
	uint64_t generation;
	bool wanted;  /* its inventory was */
	bool idle;    /* the test answers FETCH and INSPECT */
	bool follows; /* it acknowledges batches: the newest one that it saw, whole */
	uint64_t sequence;
	struct digest hash;
	struct buffer part;
	uint64_t echo;
	uint8_t flags; /* of its heartbeats */
};

struct ns_driver {
	struct nameserver_config config;
	struct kv *kv;
	struct nameserver *ns;
	struct ns_outbox outbox;
	struct arena arena;
	uint64_t now_ms, wall_ms, next_conn;
	struct ns_peer *peers[DRIVER_PEERS_MAX];
	unsigned int peer_count;
	uint64_t sealed; /* the newest batch */
	struct digest hash;
	struct buffer journal; /* all batches */
	uint64_t trimmed;      /* those up to this one are not there any more */
	int journal_error;     /* of reading it */
	bool hold_journal;     /* driver_journal() reads */
	bool read_wanted;
	uint64_t read_after;
	unsigned int reads;
	unsigned int ticks; /* that the core asked for */
	unsigned int beacons;
	uint64_t beacons_ms[DRIVER_EVENTS_MAX]; /* when */
	bool hold_durable;
	bool hold_turn; /* until driver_end() all belongs to one turn */
	uint64_t free;  /* what storage servers say in HEARTBEAT and DELETE; 0: 1 TiB */
	uint64_t left; /* what they say in DELETE that their chunks use; 0: as before, on average */
	bool idle;     /* as of each server */
	bool mute;     /* nor do they answer DELETE */
	bool follow;   /* storage servers that come follow */
	bool failed;   /* NS_FAILED or NS_DEPOSED */
	bool deposed;
	unsigned int dials; /* NS_DIAL so far, the last one: */
	uint64_t dial;
	struct endpoint dialled;
	struct buffer events; /* "name key=value …\n" */
};

struct id id_of(unsigned int number); /* 1 -> 01000000… with a kind in the last byte */

/* A new cluster "test"; `config` NULL or with what shall differ (zero fields are filled in).
 * Without trash_ms nothing is kept that was removed. */
void driver_start(struct ns_driver *d, const struct nameserver_config *config);
/* Another core on the same catalogue; all connections are gone. */
void driver_restart(struct ns_driver *d);
void driver_stop(struct ns_driver *d);

void driver_clock(struct ns_driver *d, uint64_t ms); /* with every tick that becomes due */
void driver_durable(struct ns_driver *d);            /* all that was sealed */
void driver_end(struct ns_driver *d);                /* of the turn, see hold_turn */
void driver_journal(struct ns_driver *d);            /* NS_JOURNAL, if it was asked for */

/* NS_SPACE or NS_READING. */
void driver_say(struct ns_driver *d, enum ns_event_kind kind, bool good);

/* A connection without HELLO, from that address ("10.0.0.1:4000"). */
struct ns_peer *driver_connect(struct ns_driver *d, const char *address, const char *local);
/* One whose HELLO somebody else has answered. */
struct ns_peer *driver_greeted(struct ns_driver *d, const struct hello_request *hello);
void driver_close(struct ns_peer *peer);

/* With HELLO: client `number` at 10.1.0.number on a machine of its own. Again after driver_close():
 * the same client reconnects. */
struct ns_peer *driver_client(struct ns_driver *d, unsigned int number);

/* With HELLO, REGISTER and, if it is wanted, the inventory: server `number` at 10.2.0.number. A
 * connection that it has is closed before. */
struct ns_storage {
	unsigned int number;
	unsigned int machine; /* 0: one of its own */
	const char *zone;
	const char *address; /* NULL: 10.2.0.number */
	uint64_t capacity;   /* 0: 1 TiB */
	uint64_t start;      /* 0: 1 */
	unsigned int disk;   /* 0: its number */
	const struct chunk_ref *chunks;
	unsigned int chunk_count;
	bool no_inventory; /* the test sends it */
	bool disk_failed;
};
struct ns_peer *driver_storage(struct ns_driver *d, unsigned int number);
struct ns_peer *driver_storage_with(struct ns_driver *d, const struct ns_storage *storage);
int driver_register(struct ns_peer *peer, const struct ns_storage *storage,
		    struct register_reply *ret);
struct ns_peer *driver_peer(struct ns_driver *d, const struct id *id); /* the newest with that id */

/* Sends and waits: 0 or the negative error. -ERR_TIMEOUT: no answer (yet). */
int driver_ask(struct ns_peer *peer, unsigned int code, const void *request, void *ret,
	       size_t ret_size);
#define ASK(peer, name, ret, ...)                                                        \
	driver_ask(peer, MSG_##name, &(const struct name##_request){ __VA_ARGS__ }, ret, \
		   sizeof(struct name##_reply))
/* Sends only; returns the request id. */
uint32_t driver_post(struct ns_peer *peer, unsigned int code, const void *request);
#define POST(peer, name, ...) \
	driver_post(peer, MSG_##name, &(const struct name##_request){ __VA_ARGS__ })
void driver_bytes(struct ns_peer *peer, const void *frame, size_t size); /* any whole frame */
/* The answer to that request id: as driver_ask. */
int driver_answer(struct ns_peer *peer, uint32_t id, void *ret, size_t ret_size);
/* The next order with that code that the name server sent, NULL: none. It has been
 * obeyed already, but for FETCH and INSPECT of idle servers: every copy is sound, every FETCH
 * succeeds. */
const struct message *driver_next(struct ns_peer *peer, unsigned int code);
void driver_obey(struct ns_peer *peer, const struct message *order);
void driver_reply(struct ns_peer *peer, const struct message *order, const void *reply);
void driver_refuse(struct ns_peer *peer, const struct message *order, int error);
const void *driver_order(struct ns_peer *peer, unsigned int code);
unsigned int driver_orders(struct ns_peer *peer, unsigned int code); /* takes them all; how many */

/* What came of the last dial. */
void driver_dialled(struct ns_driver *d, int error);

int driver_heartbeat(struct ns_peer *peer);
/* Heartbeats of all storage servers that are connected, every 2 s of `ms`. */
/* They hold what the name server believes. */
void driver_beat(struct ns_driver *d, uint64_t ms);

struct receipt driver_receipt(struct ns_peer *storage, uint64_t chunk, uint64_t length,
			      struct digest digest);
/* A whole put of one chunk of `size` bytes: as ASK of PUT_COMMIT. Receipts of all holders. */
int driver_put(struct ns_peer *client, const char *path, uint32_t size,
	       struct put_commit_reply *ret);
bool driver_logged(const struct ns_driver *d, const char *text);

#endif

/* Inside the name server's core: everything it remembers besides the catalogue. */
#ifndef MUSTER_NS_STATE_H
#define MUSTER_NS_STATE_H

#include <sys/queue.h>

#define uthash_fatal(text) abort()
#include <stdlib.h>
#include <uthash.h>

#include "arena.h"
#include "codec.h"
#include "event_ring.h"
#include "inventory.h"
#include "nameserver.h"
#include "quorum.h"
#include "random.h"
#include "shipping.h"
#include "ticket.h"

enum {
	LEASE_HOLDERS_MAX = 16,           /* of one chunk, replaced ones included */
	ID_BITS_OF_COUNT = 40,            /* ids: start number, then a count */
	TURN_SIZE_MAX = 16 * 1024 * 1024, /* of a batch, then it is sealed early */
	ARENA_MAX = 64 * 1024 * 1024,
	STEP_MS = 20, /* between two steps of background work */
};

/* How much of a long walk is done in a step: it begins with little, and doubles as long as steps
 * are over in time. What is not in memory can take the disk a hundred times longer: that the next
 * step comes late is how it shows. */
/* `count` is of the step before, 0: there is none, and then of this one. */
unsigned int pace_step(unsigned int *count, uint64_t late_ms, unsigned int most);

/* A sorted set of chunk ids. */
struct chunk_set {
	uint64_t *ids;
	size_t count;
	size_t capacity;
};

void chunk_set_done(struct chunk_set *set);
int chunk_set_add(struct chunk_set *set, uint64_t chunk); /* 1: it was new; -ERR_NO_MEMORY */
bool chunk_set_has(const struct chunk_set *set, uint64_t chunk);
bool chunk_set_remove(struct chunk_set *set, uint64_t chunk);
void chunk_set_drop(struct chunk_set *set, size_t count); /* the smallest */

struct session {
	uint64_t conn;
	struct endpoint peer, local;
	uint64_t opened_ms;
	uint8_t role; /* 0: no HELLO yet */
	bool closing; /* NS_CLOSE is queued */
	struct id self, machine;
	struct client *client; /* clients and consoles */
	struct member *member; /* storage servers that have registered */
	TAILQ_ENTRY(session) strangers;
	UT_hash_handle hh;
};
TAILQ_HEAD(session_list, session);

/* A content that a client has open. */
struct opened {
	uint64_t inode;
	TAILQ_ENTRY(opened) order;
	UT_hash_handle hh;
};
TAILQ_HEAD(opened_list, opened);

/* How many clients have a content open. */
struct inode_use {
	uint64_t inode;
	unsigned int count;
	UT_hash_handle hh;
};

enum client_stage { CLIENT_HERE, CLIENT_GONE, CLIENT_FADING };

struct client {
	struct id id;
	struct id machine;
	struct session *session; /* NULL: gone */
	enum client_stage stage;
	uint64_t gone_ms;
	uint16_t port; /* leased; 0: none */
	struct id proof;
	uint8_t *rejected; /* bit per port of the range */
	uint8_t *told;     /* per member number: bit per lane */
	size_t told_size;
	LIST_HEAD(, put) puts;
	unsigned int put_count;
	struct put *ahead; /* holds the places leased ahead */
	struct opened *opened;
	struct opened_list opened_order;
	TAILQ_ENTRY(client) gone;
	UT_hash_handle hh;
};
TAILQ_HEAD(client_list, client);

/* A chunk place: who may write it, and whose receipts are in. */
struct lease {
	uint64_t chunk;
	struct put *put;
	uint32_t index; /* in put->leases */
	uint32_t length_max;
	uint32_t length; /* 0: no receipt yet */
	struct digest digest;
	uint16_t holders[LEASE_HOLDERS_MAX]; /* member numbers */
	uint16_t durable;                    /* bit per holder */
	uint16_t gone; /* the same: given up by the client, or registered anew since */
	uint8_t count;
	UT_hash_handle hh;
};

struct put {
	uint64_t number; /* 0: places leased ahead */
	struct client *client;
	uint64_t size;
	uint32_t chunk_size;
	uint8_t copies;
	uint64_t begun_ms, renewed_ms;
	struct lease **leases;
	uint32_t count, capacity;
	uint32_t sealed;        /* leases with a receipt */
	TAILQ_ENTRY(put) order; /* by renewed_ms */
	LIST_ENTRY(put) of_client;
	UT_hash_handle hh;
};
TAILQ_HEAD(put_list, put);

struct copy_job;
TAILQ_HEAD(copy_list, copy_job);

struct long_request;
TAILQ_HEAD(long_request_list, long_request);

/* Why nothing is deleted; see hold.h. */
struct hold {
	bool stale;            /* a server knows more than the catalogue; until the next start */
	uint64_t until_ms;     /* running time; 0: the catalogue was never rebuilt */
	uint64_t before;       /* start number: ids of lower ones are older than the rebuild, */
	uint64_t from;         /* and of those from this one on batches may be missing */
	uint64_t made;         /* copies made that others may be too many for */
	uint64_t set_until_ms; /* somebody wants another number of copies of something */
	enum delete_hold told;
};

/* Of what a server holds and nobody asked to delete; see hold.h. */
struct brake {
	uint64_t from_ms;
	uint64_t most, gone; /* since then, in an hour */
	bool pulled;         /* something waits */
};

/* What we believe a server holds against what it says, since it registered: our side is still being
 * counted; BUCKETS and INVENTORY are awaited; all of it is here, and something of ours was not
 * listed: that waits for a walk; the walk looks for it. NONE: `compared` says whether it has
 * been. */
enum inventory_stage {
	INVENTORY_NONE,
	INVENTORY_COUNTING,
	INVENTORY_COMING,
	INVENTORY_WAITING,
	INVENTORY_COMPARING
};

/* What heartbeats say of the inventory, see inventory_heard(). */
struct inventory_beat {
	bool quiet; /* at the last one nothing was under way, and it said */
	struct digest theirs, ours;
	struct digest asked; /* the difference that BUCKETS was asked for last, */
	uint64_t asked_ms;   /* and when; 0: never */
};

/* Its connection broke: is anybody there? */
struct presence {
	unsigned int dials;   /* so far, */
	unsigned int refused; /* and the last ones of these */
	uint64_t dial_ms;     /* when the next one is due; 0: none is */
	uint64_t number;      /* of the one that is under way; 0: none is */
};

struct member {
	struct member_row row;
	struct id machine;
	struct session *session; /* NULL: not connected */
	uint8_t state;           /* enum node_state */
	bool disk_failed;
	bool space_low; /* and it was told */
	struct endpoint endpoints[ENDPOINTS_MAX];
	unsigned int endpoint_count;
	uint64_t capacity, free, used, chunks;
	uint32_t load;
	uint64_t leased; /* bytes promised to puts */
	uint64_t heard_ms, registered_ms;
	uint64_t level_ms; /* when its copy, in the journal set, had all that it should have */
	uint64_t echo_ms;  /* it was in touch with us, and surely with nobody else, at that time */
	struct hmac *key;  /* NULL: not registered in this run */
	bool rekeyed;      /* had another one in this run: its receipts are void, not forged */

	uint64_t pressure, head_pressure; /* see placement.c */

	enum inventory_stage stage;
	uint64_t inventory_position, inventory_last;
	struct chunk_set listed; /* by INVENTORY */
	struct chunk_set
		fresh; /* got durable since it registered, while an inventory is under way */
	struct chunk_set gained; /* places that INVENTORY brought; to be looked at */
	bool gained_more;        /* than are looked at one by one */
	struct chunk_set bad;    /* copies reported corrupt: see place_bad */
	LIST_ENTRY(member) with_bad;
	struct chunk_set away;    /* lost since it registered: receipts for them are void */
	struct chunk_set doubted; /* it is to look at them, see copy_doubt */
	bool looking;             /* it does */
	uint64_t look_ms;         /* not before */
	uint64_t stuck_until_ms;  /* it lives, but did not answer an INSPECT: no use before that */
	struct chunk_set unknown;
	uint64_t unknown_ms; /* since when they all are */
	struct brake brake;
	bool compared;             /* since it registered, all it holds, with the catalogue */
	struct inventory_sum *sum; /* of its places, as far as they are counted: see buckets.c */
	uint8_t differ
		[INVENTORY_BITS_SIZE]; /* buckets that INVENTORY lists; then: that lack some */
	struct inventory_beat beat;
	struct presence presence;
	bool stopped; /* it said goodbye */

	struct chunk_set doomed;  /* to be ordered away */
	bool deleting;            /* a DELETE is on its way */
	struct chunk_set ordered; /* of these */

	uint64_t offline_ms;                 /* since when it is offline */
	unsigned int fetching, fetched_from; /* FETCH orders that run */
	uint64_t fetch_rest_ms;              /* clients use it: no other before that */
	bool empty_told;                     /* it was to be emptied, and is */
	struct member_copy copy;             /* of the catalogue */
	UT_hash_handle hh;
};

enum held_flags {
	HELD_FIRM = 1 << 0,  /* not before it is committed, whatever happens */
	HELD_ORDER = 1 << 1, /* ours; else an answer, or a close */
};

/* What waits until it may leave: frames and closes, in order. */
struct held {
	uint64_t conn;     /* 0: it has left, or may not */
	uint64_t sequence; /* UINT64_MAX: of the turn that runs */
	size_t size;       /* of one frame; 0: close */
	unsigned int flags;
};

struct held_queue {
	struct held *items;
	size_t first, count, capacity;
	struct buffer bytes;
	size_t consumed; /* bytes at the front that have left */
	/* Before these only what is firm is left. */
	size_t passed, passed_bytes;
};

/* A request that cannot be answered yet: its handler parked it (see park()), and it is handled
 * again, from its first line on, when what it waits for may have come. */
enum park_cause {
	PARK_COPY,
	PARK_ROOM,
	PARK_VERIFY,
	PARK_EVENTS,
	PARK_TURN,
	PARK_JOURNAL,
	PARK_QUORUM,
	PARK_SEALED, /* handled when the turn has been sealed; must change nothing */
};
struct parked {
	uint64_t conn;
	uint64_t since_ms; /* when it first came */
	uint64_t until_ms; /* then it is handled once more, and cannot be parked again */
	enum park_cause cause;
	bool due;
	struct frame_header header;
	uint8_t *body;
	TAILQ_ENTRY(parked) order;
};
TAILQ_HEAD(parked_list, parked);

/* What EVENTS tells. Operations have a ring of their own, so that however many cannot push out the
 * death of a server; and so has what is of interest only to who debugs. */
enum event_class { EVENT_STATE, EVENT_OPERATION, EVENT_DEBUG, EVENT_CLASSES };

struct events {
	struct event_ring rings[EVENT_CLASSES];
	uint64_t last;       /* number of the newest */
	unsigned int wanted; /* somebody waits for levels below this number; 0: nobody waits */
	bool news;           /* of such a level has come: they are woken at wake_ms */
	uint64_t wake_ms;
	struct id refused; /* the server that was refused last, why and when */
	int refused_error;
	uint64_t refused_ms;
};

/* See telling_level. */
struct telling {
	uint64_t since_ms;
	unsigned int count;
};

struct order;
TAILQ_HEAD(order_list, order);

/* How many copies a file wants: that of the one that was asked for last. */
struct wanted_memory {
	uint64_t inode;
	uint8_t copies;
};

/* Background walk over all chunks, see sweep.c. */
struct sweep {
	bool running;
	bool again;
	uint64_t cursor;
	uint64_t under, lost, seen; /* so far */
	uint64_t next_ms;
	unsigned int pace;
	struct wanted_memory memory;
};

struct nameserver {
	struct nameserver_config config;
	struct kv *kv;
	struct id cluster;
	char cluster_name[CLUSTER_NAME_MAX + 1];
	uint64_t epoch, start;
	uint64_t sequence, first_sequence; /* sealed; the first of this core */
	uint64_t durable, committed;       /* here; and on the journal set */
	struct digest hash;
	uint64_t started_ms, uptime_base_ms, uptime_saved_ms;
	uint64_t now_ms, wall_ms;
	uint64_t next_chunk, next_inode, next_put, registrations, proofs;
	uint32_t next_request;
	struct prng prng;
	bool failed;
	bool failed_told;
	bool deposed;     /* why it failed */
	bool full;        /* there is no room for what can wait */
	bool deaf;        /* nobody is read, */
	uint64_t deaf_ms; /* since then */
	bool behind;      /* the disk is: copies wait */

	struct arena arena; /* of the step */
	struct parked_list parked;
	unsigned int parked_count;
	bool parked_due;         /* one of them may be, */
	uint64_t parked_next_ms; /* or will be then */
	struct park_wish {       /* of the handler that runs */
		bool wanted;
		enum park_cause cause;
		uint64_t until_ms;
		uint64_t since_ms; /* when its request first came */
		bool last;         /* it cannot be parked again */
	} park;
	struct events events;
	struct shipping shipping;
	struct quorum quorum;
	struct held_queue held;
	struct held_queue early;  /* answers to storage servers wait for the own disk only */
	struct ns_outbox *outbox; /* of the call that runs */

	struct session *sessions;
	struct session_list strangers;
	struct client *clients;
	struct client_list gone, fading;
	uint64_t opened_count;
	struct inode_use *inode_uses;
	struct lease *leases;
	struct put *puts;
	struct put_list put_order; /* also those of places leased ahead */
	unsigned int ahead_puts;
	uint16_t next_port;

	struct member *members;
	struct member **sorted; /* by id */
	unsigned int member_count;
	bool first_awaited; /* somebody has put when there was none */
	uint64_t first_ms;  /* when there was one */
	struct member **by_number;
	size_t by_number_size;
	uint64_t floor, head_floor; /* see placement.c */

	uint64_t next_beacon_ms, beacon_counter;
	uint64_t probe;                          /* answered so far */
	uint64_t probes_ms[PROBE_ANSWERS_PER_S]; /* when the last ones were */
	struct sweep sweep;
	struct inventory_count { /* of all members' places, see buckets.c */
		bool running, done;
		uint64_t cursor;
		uint64_t next_ms;
		unsigned int pace;
	} count;
	struct inventory_compare { /* places that were not listed, see buckets.c */
		bool wanted, running;
		uint64_t cursor;
		uint64_t next_ms;
		unsigned int pace;
		uint8_t differ[INVENTORY_BITS_SIZE]; /* of any of the members */
	} compare;
	uint64_t dials;
	uint64_t under_copied, lost;
	uint64_t bad_copies;          /* of all members */
	LIST_HEAD(, member) with_bad; /* those that have some */
	struct telling corrupt;
	struct order *orders;         /* see orders.h */
	struct order_list order_list; /* by the time at which they are given up */
	struct repair *repair;        /* see repair.h */
	struct balance *balance;      /* see balance.c */
	unsigned int takers;          /* servers that can take chunks */
	bool unheard;                 /* one has not told yet what it holds */
	struct verify *verifies;      /* see verify.c */
	uint64_t verify_count;
	bool worse;              /* something happened that only a walk yet to end will count */
	bool garbage;            /* perhaps something to collect */
	struct copy_list copies; /* see moves.c */
	unsigned int copy_count;
	struct long_request_list long_requests; /* see long_requests.c */
	unsigned int long_count;
	bool long_wanted;            /* one of them waits for the next tick */
	struct letting_go {          /* see letting_go.c */
		uint64_t next_ms;    /* when to look for what is too old */
		uint64_t room_ms;    /* for what may have to go earlier */
		uint64_t settled_ms; /* then the room is known that deleting gave */
		uint64_t wanted;     /* bytes */
	} trash;
	uint64_t garbage_ms;      /* next step */
	uint64_t collect_from_ms; /* nothing that a file had before that */
	unsigned int collect_pace;
	unsigned int delete_next; /* in `sorted`: who is ordered first */
	struct hold hold;
	struct lost_found *lost_found;
	struct id results_cursor;
	uint64_t results_ms;
};

/* ---- core.c, output.c ---- */

bool is_serving(const struct nameserver *ns); /* its first batch is committed */
/* Nothing is written that can wait. */
static inline bool must_spare(const struct nameserver *ns)
{
	return ns->full || ns->quorum.lost;
}
uint64_t uptime_ms(const struct nameserver *ns);
static inline struct moment moment_now(const struct nameserver *ns)
{
	return (struct moment){ uptime_ms(ns), ns->wall_ms };
}
uint64_t fresh_id(const struct nameserver *ns, uint64_t *counter);
/* 0 stands for what the name server's option says. */
static inline uint8_t copies_wanted(const struct nameserver *ns, const struct inode *inode)
{
	return inode->copies ? inode->copies : ns->config.copies;
}
struct ns_action *outbox_add(struct ns_outbox *outbox, enum ns_action_kind kind);
/* Frames go through the queue; `request` as in request_encode. Returns the id used, 0: failed. */
uint32_t order_send(struct nameserver *ns, uint64_t conn, unsigned int code, const void *request);
uint32_t request_number(struct nameserver *ns); /* for another request of ours */
/* Where answers to that peer wait. Its own bytes are at the end of the queue's buffer. */
struct held_queue *held_for(struct nameserver *ns, const struct session *to);
int held_add(struct nameserver *ns, struct held_queue *queue, const struct held *item);
void held_orders_drop(struct nameserver *ns, uint64_t conn); /* that have not left yet */
bool held_delete_drop(struct nameserver *ns, uint64_t conn); /* true: one had not */
void held_seal(struct nameserver *ns);
void held_release(struct nameserver *ns);
void held_done(struct held_queue *queue);

/* ---- parked.c ---- */

/* For a handler: `return park(ns, PARK_COPY, IN_PROGRESS_AFTER_MS);` (at most that long since the
 * request first came) and nobody is answered yet. What it has changed stays changed: it must find
 * itself when it is called again. If the time is up it is answered IN_PROGRESS, and the client
 * repeats the request in the same words, operation number included. */
int park(struct nameserver *ns, enum park_cause cause, uint64_t wait_ms);
uint64_t park_age_ms(const struct nameserver *ns); /* since the request first came */
/* Those parked for `cause` are handled again at the end of this step. */
void parked_wake(struct nameserver *ns, enum park_cause cause);
int parked_keep(struct nameserver *ns, const struct session *from,
		const struct frame_header *header, const uint8_t *body);
void parked_forget(struct nameserver *ns, uint64_t conn);
void parked_run(struct nameserver *ns);    /* those that are due */
void parked_sealed(struct nameserver *ns); /* those that wait for PARK_SEALED */
uint64_t parked_deadline(const struct nameserver *ns);
void parked_free(struct nameserver *ns);

/* ---- dispatch.c ---- */

void frame_came(struct nameserver *ns, const struct ns_event *event);
void frame_malformed(struct nameserver *ns, const struct ns_event *event);
void request_handle(struct nameserver *ns, struct session *from, const struct frame_header *header,
		    const uint8_t *body);

/* ---- events.c ---- */

/* For the log and for EVENTS. `event` is a name of events.def. Values: numbers, words of ours, and
 * quoted() for what comes from somebody else. ms: how long it took, see park_age_ms(). */
void ns_event(struct nameserver *ns, enum log_level level, const char *event, const char *format,
	      ...) __attribute__((format(printf, 4, 5)));
/* The same about a storage server (NULL: none): its name goes with the event, not into the
 * pairs. */
void ns_event_about(struct nameserver *ns, const struct member *member, enum log_level level,
		    const char *event, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
/* A string of JSON; lives until the end of the step. */
const char *quoted(struct nameserver *ns, struct slice text);
void events_init(struct nameserver *ns);
void events_done(struct nameserver *ns);
void events_tick(struct nameserver *ns);
uint64_t events_deadline(const struct nameserver *ns);

/* ---- sessions.c, clients.c ---- */

void session_opened(struct nameserver *ns, const struct ns_event *event);
void session_greeted(struct nameserver *ns, const struct ns_event *event);
struct session *session_find(const struct nameserver *ns, uint64_t conn);
void session_close(struct nameserver *ns, struct session *session); /* queues NS_CLOSE */
void session_gone(struct nameserver *ns, struct session *session);  /* frees it */
void sessions_tick(struct nameserver *ns);
uint64_t sessions_deadline(const struct nameserver *ns);
void sessions_free(struct nameserver *ns);

int client_attach(struct nameserver *ns, struct session *session);
void client_detach(struct nameserver *ns, struct client *client);
void clients_tick(struct nameserver *ns);
uint64_t clients_deadline(const struct nameserver *ns);
void clients_free(struct nameserver *ns);
int client_open(struct nameserver *ns, struct client *client, uint64_t inode);
bool client_has_open(const struct client *client, uint64_t inode);
bool inode_is_open(const struct nameserver *ns, uint64_t inode);
/* Tells the storage server to dial the client, if it can and, unless `again`, has not been told. */
void client_tell(struct nameserver *ns, struct client *client, struct member *member,
		 enum lane lane, bool again);

void clients_untell(struct nameserver *ns, const struct member *member);

/* ---- members.c ---- */

int members_load(struct nameserver *ns);
int member_insert(struct nameserver *ns, const struct member_row *row, struct member **ret);
void member_event(struct nameserver *ns, enum log_level level, const char *event,
		  const struct member *member);
void members_free(struct nameserver *ns);
void members_tick(struct nameserver *ns);
/* Of silence that is our own fault. */
void sessions_excuse(struct nameserver *ns, uint64_t ms);
void members_excuse(struct nameserver *ns, uint64_t ms);
void clients_excuse(struct nameserver *ns, uint64_t ms);
uint64_t excused(const struct nameserver *ns, uint64_t at_ms, uint64_t ms); /* not beyond now */
uint64_t members_deadline(const struct nameserver *ns);
struct member *member_find(const struct nameserver *ns, const struct id *node);
struct member *member_by_number(const struct nameserver *ns, uint16_t number);
void member_heard(struct nameserver *ns, struct member *member);
void member_lost(struct nameserver *ns, struct member *member); /* its connection broke */
/* It is taken for dead, or has said goodbye. */
void member_offline(struct nameserver *ns, struct member *member, const char *event,
		    const char *cause);

/* ---- registration.c ---- */

/* What may not join: told once in a while, however often it tries. */
void member_refused(struct nameserver *ns, const struct session *from, struct slice name,
		    int error);

/* ---- presence.c ---- */

void presence_ask(struct nameserver *ns, struct member *member); /* its connection broke */
void presence_known(struct member *member);                      /* it is back, or surely gone */
void presence_tick(struct nameserver *ns, struct member *member);
uint64_t presence_deadline(const struct member *member); /* UINT64_MAX: nothing is due */
void member_dialled(struct nameserver *ns, const struct ns_event *event);
/* Frees it; see on_forget. */
void member_drop(struct nameserver *ns, struct member *member);
/* Whether a server that is to be emptied is empty: then that is told. */
void drain_look(struct nameserver *ns, struct member *member); /* membership.c */
bool member_is_up(const struct member *member);                /* online or suspect */
unsigned int members_online(const struct nameserver *ns);
bool members_are_coming(struct nameserver *ns); /* whoever puts shall ask again: BUSY */

/* ---- space.c ---- */

uint64_t believable(uint64_t bytes);               /* of what a server says about its size */
uint64_t member_room(const struct member *member); /* bytes free that nobody was promised */
/* What its next heartbeat will say, as far as we know: it has got a chunk, it has deleted some. */
void member_gained(struct member *member, uint64_t bytes);
void member_deleted(struct member *member, const struct delete_reply *reply);
void space_heard(struct nameserver *ns, struct member *member,
		 const struct heartbeat_request *request);
void space_keep(struct nameserver *ns, struct member *member); /* in its row, for */
void space_recall(struct member *member);

/* ---- places.c: where copies are ---- */

int places_begin(struct nameserver *ns, const struct lease *lease, unsigned int wanted);
int places_end(struct nameserver *ns, uint64_t chunk);
int place_sweep(struct nameserver *ns, uint64_t chunk, struct holders *holders);
/* A complete inventory does not name the chunk. */
int place_missing(struct nameserver *ns, struct member *member, uint64_t chunk);
/* Receipts of late copies and of commits alike. 1: verified; 0: void (an older registration's);
 * -ERR_BAD_RECEIPT. */
int receipt_check(struct nameserver *ns, const struct receipt *receipt, struct member **ret);

/* ---- buckets.c: what a server holds against what we believe ---- */

/* A place came, or went. */
void inventory_changed(struct nameserver *ns, struct member *member, uint64_t chunk);
/* A new registration, or a heartbeat: whether BUCKETS is wanted. */
bool inventory_begin(struct nameserver *ns, struct member *member, const struct digest *digest);
bool inventory_heard(struct nameserver *ns, struct member *member, const struct digest *digest);
bool inventory_lists(const struct member *member, uint64_t chunk); /* its bucket was asked for */
void inventory_lost(struct member *member);                        /* the connection is gone */
void inventory_told(struct nameserver *ns, struct member *member); /* all of it was listed */
void inventory_tick(struct nameserver *ns);
uint64_t inventory_deadline(const struct nameserver *ns);

/* ---- addresses.c: lists of nodes in answers ---- */

struct node_list {
	const struct client *client;
	struct node_address *nodes;
	uint16_t *numbers;
	unsigned int count;
	unsigned int most;
};
int node_list_init(struct nameserver *ns, struct node_list *list, const struct client *client,
		   unsigned int most);
/* Position of the member in the list, which grows as needed; -ERR_TOO_LARGE: full. */
int node_list_add(struct nameserver *ns, struct node_list *list, const struct member *member);
int holder_add(struct nameserver *ns, struct node_list *list, const struct member *member,
	       struct ticket *ticket, struct holder *ret);
/* Where the peer of that session reaches the member. */
unsigned int member_endpoints(const struct session *peer, const struct member *member,
			      struct endpoint ret[ENDPOINTS_MAX]);
/* Fills in the rest of a ticket for a copy on `member`. */
void ticket_for(struct nameserver *ns, const struct member *member, const struct id *client,
		struct ticket *ticket);

/* ---- placement.c ---- */

struct placement {
	uint64_t length;
	unsigned int copies;
	const struct member **avoid; /* never these */
	unsigned int avoid_count;
	const struct member **near; /* already holders: their zones and machines come last */
	unsigned int near_count;
};
/* Chooses up to `copies` servers, the chain's head first. -ERR_NO_NODES, -ERR_NO_SPACE. */
int placement_choose(struct nameserver *ns, const struct placement *wanted,
		     struct member *ret[COPIES_MAX]);
void placement_join(struct nameserver *ns, struct member *member);

/* ---- leases.c, puts.c, commit.c ---- */

/* Whether a put of these flags may go there, and how many copies that means (0: the default). */
int put_target(struct nameserver *ns, struct slice path, unsigned int flags, uint8_t *ret_copies);
struct put *put_new(struct nameserver *ns, struct client *client, uint64_t number);
/* Drops the put; the chunks of leases it still has are deleted. */
void put_free(struct nameserver *ns, struct put *put);
void put_renew(struct nameserver *ns, struct put *put);
struct put *put_find(const struct nameserver *ns, const struct client *client, uint64_t number);
void puts_tick(struct nameserver *ns);
uint64_t puts_deadline(const struct nameserver *ns);
int lease_new(struct nameserver *ns, struct put *put, uint32_t length_max, unsigned int copies,
	      struct lease **ret);
struct lease *lease_find(const struct nameserver *ns, uint64_t chunk);
/* `kept`: its chunk is part of a file now; else its holders are told to delete it. */
void lease_free(struct nameserver *ns, struct lease *lease, bool kept);
int lease_holder_add(struct lease *lease, struct member *member);
int lease_receipt(struct nameserver *ns, struct lease *lease, const struct receipt *receipt);
unsigned int lease_copies(const struct lease *lease);
/* The client sends it nothing any more. */
void lease_give_up(struct nameserver *ns, struct lease *lease, const struct id *node);
/* Whatever that server was about to get is lost: it has begun anew. */
void leases_void(struct nameserver *ns, const struct member *member);
/* Holders whose copies are still on their way. */
unsigned int lease_coming(const struct nameserver *ns, const struct lease *lease);
int receipts_take(struct nameserver *ns, struct put *put, const struct receipt *receipts,
		  unsigned int count);

/* ---- garbage.c, sweep.c, beacons.c ---- */

/* It is to be ordered away. What its server cannot be told now it is told when it is back. */
void chunk_doom(struct nameserver *ns, struct member *member, uint64_t chunk);
/* A chunk that is part of nothing: it is doomed when that is sure. */
int chunk_is_unknown(struct nameserver *ns, struct member *member, uint64_t chunk);
void garbage_soon(struct nameserver *ns);
/* Orders that have not left yet, since what they rest on does not count: they are decided anew. */
void deletes_withdraw(struct nameserver *ns);
void trash_changed(struct nameserver *ns); /* something went there, or left it */
void garbage_tick(struct nameserver *ns);
uint64_t garbage_deadline(const struct nameserver *ns);
void results_tick(struct nameserver *ns);
uint64_t results_deadline(const struct nameserver *ns);
void sweep_tick(struct nameserver *ns);
uint64_t sweep_deadline(const struct nameserver *ns);
void sweep_request(struct nameserver *ns, bool worse); /* worse: chunks may have fewer copies */
uint64_t sweep_under_copied(struct nameserver *ns, uint64_t chunks);
struct copies {
	unsigned int up;    /* on servers that are up */
	unsigned int sound; /* of these, not reported bad */
};
struct copies copies_count(const struct nameserver *ns, uint64_t chunk,
			   const struct holders *holders);
/* What a chunk adds to the counts of STATUS; nothing if it is part of no file. */
struct standing {
	bool under, lost;
};
struct standing standing_of(struct copies copies, unsigned int wanted);
int standing_get(struct nameserver *ns, uint64_t chunk, struct standing *ret);
void standing_change(struct nameserver *ns, uint64_t chunk, struct standing before,
		     struct standing after);
void beacons_tick(struct nameserver *ns);
void beacon_probed(struct nameserver *ns);
uint64_t beacons_deadline(const struct nameserver *ns);

/* ---- reads.c ---- */

/* Copies of the chunk that has fewest, looking at no more than `most` chunks from the one that
 * holds the byte at `offset` on. */
struct chunk_range {
	uint64_t offset, most;
};
int file_copies(struct nameserver *ns, const struct inode *inode, struct chunk_range range,
		uint8_t *ret);
/* The copies of those chunks are counted. */
int entry_describe(struct nameserver *ns, const struct inode *inode, struct chunk_range range,
		   struct entry *ret);

/* ---- handlers, one per message that a name server serves ---- */

#define HANDLES_NAMESERVER(name)                                   \
	int on_##name(struct nameserver *ns, struct session *from, \
		      const struct name##_request *request, struct name##_reply *reply);
#define HANDLES_ANY(name)       HANDLES_NAMESERVER(name)
#define HANDLES_CATALOGUE(name) HANDLES_NAMESERVER(name)
#define HANDLES_STORAGE(name)
#define HANDLES_CLIENT(name)
#define MESSAGE(code, name, to, flags, text) HANDLES_##to(name)
#include "messages.def"

#endif

/* What the parts of the client core know of each other. Only client/core includes this.
 *
 *     seek.c     who is the name server: beacons, probes, dialling it, HELLO
 *     attempts.c  sessions that are tried;  degraded.c  those with storage servers
 *     search.c   who holds what, while there is no name server
 *     control.c  questions to it: ids, operation numbers, sending again, time-outs
 *     links.c    data connections to storage servers
 *     put.c      puts: places, seals, commit;  piece.c  one chunk on its way
 *     append.c   puts that append
 *     bulk.c     places leased ahead for small files
 *     get.c      gets;  content.c  where their chunks are, contents held open
 *     reach.c    which ways to a storage server work */
#ifndef MUSTER_CLIENT_PARTS_H
#define MUSTER_CLIENT_PARTS_H

#include <bsd/sys/queue.h>
/* No memory: the entry is not added, its `hh.tbl` stays NULL. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "client_core.h"
#include "error.h"
#include "random.h"
#include "seek_parts.h"

enum parts_limits {
	PENDING_MAX = 4096,      /* answers waited for, on all connections: a power of two */
	STRANGERS_MAX = 64,      /* accepted connections before their HELLO */
	SEARCHES_MAX = 64,       /* servers that one get asks at once what they hold */
	PIECE_SILENT_MS = 1500,  /* the first hop itself gives up on others after 1 s */
	PIECE_AGAIN_MS = 1000,   /* the same for one that took the place of a dead one */
	PIECE_HOPELESS = 3,      /* first hops in a row that were dead, and not one receipt */
	PIECE_BUSY_MS = 100,     /* then the server is asked again */
	PIECE_PATIENT_MS = 1000, /* with a busy server, then it counts as dead */
	LINK_MS = 3000,          /* to get a data connection */
	LINK_PATIENCE_MS = 1000, /* for a reader to wait for one before he asks somebody else */
	WAY_MS = 10 * 60 * 1000, /* for which the way that worked is remembered */
	DOUBT_MS = 5 * 1000,     /* by then the name server knows too */
	SLOW_MS = 30 * 1000,     /* it may stay so for long, and a try costs a second */
	DIAL_AFTER_MS = 20,      /* for the name server to tell a storage server by itself */
	PLACES_AHEAD = 8,        /* of a large put: their tickets shall not grow old */
	SEAL_EVERY = 64,
	RESTARTS_MAX = 3,
	REBASES_MAX = 256,    /* of one append: each time somebody else's has come first */
	QUESTIONS_MAX = 1024, /* of the session's user, to the name server, at once */
	LARGE_PUTS_MAX = 48,  /* at once: the name server lets a client have 64 open */
	BULK_PLACES_MAX = 256,
	BULK_LIFE_MS = 5 * 60 * 1000, /* half a lease */
	PARTS_MAX = 2,                /* transfers of one get at once */
	OPEN_CHUNKS = CHUNKS_MAX,
};

struct node;
struct piece;

/* ---- what is waited for: an answer with some id on some connection ---- */

enum pending_kind {
	PENDING_FREE,
	PENDING_REQUEST,
	PENDING_PIECE,
	PENDING_PART,
	PENDING_HAVE,
};

struct pending {
	uint32_t id;
	enum pending_kind kind;
	void *owner;
};

/* ---- control.c ---- */

/* `error` 0: `body` is the struct NAME_reply, valid during the call. */
typedef void answer_fn(struct client *client, void *owner, int error, const void *body);

struct request {
	uint32_t id; /* 0: it is held */
	uint16_t code;
	bool sent;             /* on the present connection */
	unsigned int sendings; /* on all of them */
	bool in_doubt;         /* an answer was lost: it may have been carried out */
	uint64_t again_ms;     /* refused for now, and sent again then; 0: it is not */
	uint32_t wait_ms;      /* until then */
	bool patient;
	bool goes_on;       /* with a put that has begun: waits for a name server */
	uint64_t operation; /* 0: changes nothing */
	uint64_t deadline_ms;
	uint64_t refuse_ms; /* no name server by then: READ_ONLY; 0: never */
	answer_fn *answer;  /* NULL: nobody wants to know any more */
	void *owner;
	struct buffer frame; /* to be sent again after a broken connection */
	TAILQ_ENTRY(request) entry;
	TAILQ_ENTRY(request) change;
};
TAILQ_HEAD(request_list, request);

struct asking {
	unsigned int code;
	void *body;
	answer_fn *answer;
	void *owner;
};
/* `patient`: waits in line behind QUESTIONS_MAX others that are. */
int control_ask(struct client *client, const struct asking *asking, bool patient);
void control_tell(struct client *client, unsigned int code,
		  const void *body); /* one-way; may be lost */
void control_forget(struct client *client, void *owner);
void control_frame(struct client *client, const struct frame_header *header, const uint8_t *body);
void control_go_on(struct client *client);     /* the held ones, as far as there is room */
void control_connected(struct client *client); /* sends what is unsent, all of it again */
/* Whether a change that the op asked for may have been made. */
bool control_in_doubt(const struct client *client, const struct client_op *op);
/* A name server that does not serve yet says how it is: that is what some want to know. */
void control_told(struct client *client, const struct status_reply *status);
void control_lost(struct client *client, bool served);
void control_tick(struct client *client);
void control_done(struct client *client);

/* ---- links.c ---- */

enum link_state { LINK_NONE, LINK_WAITING, LINK_READY };
enum way { WAY_UNKNOWN, WAY_ACTIVE, WAY_PASSIVE };

enum waiter_kind { WAITER_PIECE, WAITER_PART, WAITER_HAVE };
struct waiter {
	enum waiter_kind kind;
	bool queued;
	uint64_t since_ms;
	TAILQ_ENTRY(waiter) entry;
};
TAILQ_HEAD(waiter_list, waiter);

struct data_link {
	struct node *node;
	uint8_t lane;
	enum link_state state;
	bool passive; /* we dialled */
	bool asked;   /* DIAL sent for this attempt */
	bool doomed;  /* to fail at the end of this tick: its users are being walked over */
	uint64_t connection;
	uint64_t since_ms;             /* of this attempt */
	uint64_t moved_ms;             /* bytes of a transfer */
	uint64_t dials[ENDPOINTS_MAX]; /* connections; 0: none */
	unsigned int dialled;
	uint64_t dial_ms; /* next one */
	struct waiter_list waiters;
};

struct node {
	struct id id;
	struct id machine;
	struct endpoint endpoints[ENDPOINTS_MAX];
	unsigned int endpoint_count;
	enum way way;
	uint64_t way_until_ms;
	uint64_t doubt_until_ms; /* it failed a moment ago: others first */
	uint64_t slow_until_ms;  /* a put had to wait for it: the next ones try to do without */
	uint8_t told; /* lanes that the name server has ordered by itself, in this session: bits */
	struct data_link links[2];
	UT_hash_handle hh;
};

struct connection {
	uint64_t handle;
	struct data_link *link; /* NULL: a stranger */
	bool ready;
	bool passive;
	struct endpoint peer;
	uint64_t deadline_ms; /* of a stranger */
	UT_hash_handle hh;
};

struct node *node_learn(struct client *client, const struct node_address *address);
bool node_is_doubtful(const struct client *client, const struct node *node);
struct node *node_find(struct client *client, const struct id *id);
/* The link if it can be used now; else NULL, and the waiter is called when it can. */
struct data_link *link_use(struct client *client, struct node *node, uint8_t lane,
			   struct waiter *waiter);
void link_unwait(struct data_link *link, struct waiter *waiter);
/* It is of no use any more: closes it, and tells everybody who uses it. */
void link_fail(struct client *client, struct data_link *link);
void links_tick(struct client *client);
void links_reap(struct client *client); /* the doomed ones */
void links_accepted(struct client *client, const struct client_event *event);
void links_opened(struct client *client, uint64_t connection);
void links_closed(struct client *client, uint64_t connection);
void links_frame(struct client *client, const struct client_event *event);
void links_new_port(struct client *client); /* a new proof: servers must be told anew */
void links_done(struct client *client);

/* ---- ops ---- */

struct holder_at {
	struct node *node;
	struct ticket ticket;
};

struct chunk_place {
	uint64_t chunk;
	unsigned int count;
	struct holder_at holders[COPIES_MAX];
};

enum piece_state {
	PIECE_FREE,
	PIECE_LINK,      /* waits for a connection */
	PIECE_SENDING,   /* WRITE is out, its payload leaves */
	PIECE_WAITING,   /* for receipts */
	PIECE_REPLACING, /* PUT_REPLACE is out */
	PIECE_BUSY,      /* the server still lets go of an older sender of the chunk */
	PIECE_DONE,
};

struct piece {
	struct waiter waiter; /* first: a waiter is its piece */
	struct client_op *op;
	enum piece_state state;
	uint64_t index;
	uint32_t length;
	uint32_t token;
	bool read;           /* once, from end to end */
	bool sent;           /* in this try */
	bool final;          /* the last reply of this try is there */
	int status;          /* it refused */
	unsigned int enough; /* receipts, for the file to count as safe */
	unsigned int replaced;
	uint64_t busy_ms; /* since then the server says so; 0: it does not */
	struct data_link *link;
	uint64_t moved_ms;
	struct chunk_place place; /* the hops of the next or present try */
	unsigned int receipt_count;
	struct receipt receipts[COPIES_MAX];
	struct id dead;
};

struct part {
	struct waiter waiter; /* first */
	struct client_op *op;
	bool used;
	struct holder_at at; /* who is asked now */
	uint64_t base;       /* of the chunk in the file */
	uint64_t chunk_id;
	uint32_t chunk_length;
	uint64_t from; /* file bytes still to deliver */
	uint64_t to;
	uint32_t token; /* 0: not asked yet */
	struct data_link *link;
	unsigned int tried; /* holders, by bits */
	uint8_t lane;
	bool corrupt; /* some holder had a bad copy */
	bool reopen;  /* nobody left to ask: waits for fresh places */
	bool moving;  /* bytes have come */
	uint64_t moved_ms;
};

struct located {
	uint64_t chunk;
	uint64_t offset;
	uint64_t asked_ms;
	uint32_t length;
	bool doubtful; /* something was wrong with it: to be asked for anew */
	bool searched; /* storage servers were asked who holds it */
	unsigned int count;
	struct holder_at holders[COPIES_MAX];
};

struct content {
	bool opened;   /* `entry` is known, and the name server keeps the content for us */
	bool degraded; /* that is what a server knew last */
	struct entry entry;
	struct located *chunks; /* by offset */
	unsigned int count;
	unsigned int capacity;
};

struct client_file {
	struct content content;
	struct buffer path;
	TAILQ_ENTRY(client_file) entry;
};
TAILQ_HEAD(file_list, client_file);

enum op_kind { OP_REQUEST, OP_PUT, OP_GET, OP_REACH };

struct put_state {
	struct client_put how;
	bool begun;
	bool bulk;   /* its place was leased ahead */
	bool asking; /* for places */
	bool ended;  /* a stream's end is known */
	bool filling;
	bool forgetting; /* a stream of which not all is in memory any more */
	bool committing;
	bool full; /* a storage server had no room for a piece */
	bool busy; /* the name server lets it wait */
	unsigned int restarts;
	bool hasty; /* a server was given up since it said nothing */
	unsigned int rebases;
	uint64_t put;
	uint64_t chunk_size;
	uint8_t copies_wanted;
	uint64_t busy_ms;  /* ask again then; 0: no */
	uint64_t since_ms; /* asking for the put to be opened */
	uint64_t next;     /* index of the next piece to start */
	uint64_t gathered; /* bytes that a stream has brought */
	uint64_t leased;   /* places leased in all */
	uint64_t size;
	struct digest digest;
	unsigned int place_first;
	unsigned int place_count;
	unsigned int unsealed; /* chunks whose receipts are here */
	unsigned int sealing;  /* receipts handed in with the PUT_SEAL that is out */
	uint64_t chunk;        /* with bulk: its id */
	struct client_stored stored;
	struct receipt *receipts; /* to be handed in; `few` as long as they fit */
	unsigned int receipt_count;
	unsigned int receipt_capacity;
	struct chunk_place places[PLACES_AHEAD];
	struct piece pieces[CLIENT_PIECES_MAX];
	struct receipt few[COPIES_MAX];
};

struct get_state {
	struct client_get how;
	bool opened;
	bool asking;
	bool large;
	unsigned int reopened; /* since something was delivered */
	struct entry entry;
	uint64_t from; /* next byte to ask for */
	uint64_t at;   /* next byte to be delivered */
	uint64_t to;
	uint64_t asked;          /* the byte from which on OPEN was asked for chunks */
	uint64_t reopen_ms;      /* ask again then; 0: no */
	uint64_t heir_of;        /* content to be closed with this get; 0: none */
	struct search *search;   /* NULL: none is under way */
	bool back;               /* storage servers have a name server again */
	struct content *content; /* `own`, or that of the file it reads through */
	struct content own;
	unsigned int current; /* of parts: the one that is delivered now */
	struct part parts[PARTS_MAX];
};

struct reach_state {
	struct id node;
	struct endpoint endpoints[ENDPOINTS_MAX];
	unsigned int endpoint_count;
	unsigned int dialled;
	uint64_t dials[ENDPOINTS_MAX]; /* connections; 0: it is over */
	uint64_t dial_ms;              /* next one */
	uint64_t deadline_ms;          /* 0: the server's addresses are not known yet */
	bool active_known;
	bool passive_known;
	struct client_reached result;
};

struct client_op {
	enum op_kind kind;
	bool running;
	bool degraded; /* rests on what a server knew last */
	bool reads;    /* needs no name server */
	bool in_doubt; /* it failed, but what it changes may have been changed */
	void *user;
	uint64_t start_ms;
	uint64_t progress_ms;
	struct buffer path;
	struct id culprit;
	bool over; /* nobody's; a CLIENT_DONE of it may have got lost */
	TAILQ_ENTRY(client_op) entry;
	TAILQ_ENTRY(client_op) bulk_entry;
	bool in_bulk;
	union {
		struct put_state put;
		struct get_state get;
		struct reach_state reach;
	};
};
TAILQ_HEAD(op_list, client_op);

struct bulk_place {
	uint64_t leased_ms;
	uint8_t copies;
	struct chunk_place place;
};

struct bulk {
	struct bulk_place *places; /* BULK_PLACES_MAX */
	unsigned int count;
	bool asking;
	bool refused; /* by this name server */
	bool busy;    /* it lets us wait */
	uint8_t asked_copies;
	uint64_t busy_ms;
	struct op_list waiting;
};

struct waits {
	enum client_waits what;
	uint64_t since_ms; /* if for anything: since then nothing has moved */
	uint64_t seen_ms;
};

struct client {
	struct client_config config;
	uint64_t now_ms;
	struct client_outbox *out;
	struct arena arena;
	struct prng prng;
	uint64_t next_connection;
	bool wanted; /* somebody waits for the session */
	uint64_t wanted_ms;

	/* session */
	struct seek seek;
	struct discovery discovery;
	uint64_t control;      /* connection; 0: none */
	uint64_t connected_ms; /* since then */
	uint64_t heard_ms;     /* anything from the name server but its HELLO */
	uint64_t lost_ms;      /* since then there is none; before that, it was of use */
	bool degraded;         /* `control` leads to a storage server */
	bool proven;           /* the name server serves: it has answered, or says so */
	bool unserved;         /* it does not: only answers to changes are waited for */
	bool answer_degraded;  /* the answer that is being told */
	bool answer_in_doubt;  /* there is none to the change that is being told of */
	uint64_t degraded_answers;
	struct id storage; /* through which one reads while degraded */
	struct endpoint storage_endpoint;
	struct id nameserver;
	struct endpoint nameserver_endpoint;
	struct id cluster;
	char cluster_name[CLUSTER_NAME_MAX + 1];
	uint64_t epoch;
	uint16_t port;
	uint16_t wanted_port;
	unsigned int port_tries;
	bool port_settled;
	struct id proof;

	/* control */
	struct pending pending[PENDING_MAX];
	uint32_t free_slots[PENDING_MAX];
	unsigned int free_count;
	uint64_t last_operation;
	struct request_list requests;
	struct request_list held; /* in line behind them */
	unsigned int questions;   /* patient ones among the requests */
	struct request_list changes;
	struct request_list spare;

	/* data */
	struct node *nodes;
	struct connection *connections;
	unsigned int strangers;

	/* ops */
	struct op_list running;
	struct op_list waiting;
	struct op_list spare_ops;
	struct op_list over_ops; /* their CLIENT_DONE may still be in the outbox */
	struct file_list files;
	struct waits waits;
	unsigned int running_count;
	unsigned int small_puts;
	unsigned int large_puts;
	unsigned int large_gets;
	bool stream_running;
	struct bulk bulk;
};

/* client.c */
struct client_action *act(struct client *client, enum client_action_kind kind);
/* Where bytes for `connection` are to be appended; then send_end. */
struct buffer *send_begin(struct client *client);
void send_end(struct client *client, uint64_t connection);
uint32_t pending_add(struct client *client, enum pending_kind kind, void *owner); /* 0: full */
struct pending *pending_find(struct client *client, uint32_t id);
void pending_remove(struct client *client, uint32_t id);
void op_finish(struct client *client, struct client_op *op, int error, const void *reply);
/* The same without a name server that could say more. */
void op_give_up(struct client *client, struct client_op *op, int error);
uint64_t connection_new(struct client *client);
bool client_is_ready(const struct client *client); /* transfers can begin */

/* How long to wait. With less time in all, whoever is silent is given up sooner, too. */
static inline uint64_t stuck_ms(const struct client *client)
{
	return client->config.timeout_ms;
}

static inline uint64_t request_ms(const struct client *client)
{
	return client->config.timeout_ms - client->config.timeout_ms / 9;
}

static inline uint64_t patience_ms(const struct client *client, uint64_t usual_ms)
{
	uint64_t timeout_ms = client->config.timeout_ms;

	return timeout_ms < CLIENT_PATIENCE_MS ? usual_ms * timeout_ms / CLIENT_PATIENCE_MS
					       : usual_ms;
}

void waits_tick(struct client *client); /* state.c */

/* put.c */
bool put_is_small(const struct client_op *op); /* one chunk, which may be leased ahead */
void put_start(struct client *client, struct client_op *op);
void put_go_on(struct client *client, struct client_op *op);
void put_filled(struct client *client, const struct client_event *event);
void put_piece_done(struct client *client, struct piece *piece);
bool put_can_begin_again(const struct put_state *put);
void put_retry(struct client *client, struct client_op *op, int error);
int put_reason(const struct client_op *op, int error);
void put_drop(struct client *client, struct client_op *op); /* releases all it uses */
void put_tick(struct client *client, struct client_op *op);
uint64_t put_moved_ms(const struct client_op *op); /* when something of it moved last */
void put_commit(struct client *client, struct client_op *op);
bool place_take(struct client *client, struct chunk_place *ret, const struct place *place,
		const struct node_address *nodes, uint16_t node_count);

/* append.c */
uint8_t put_flags(const struct put_state *put);
void base_ask(struct client *client, struct client_op *op); /* then commits again */

/* piece.c */
void piece_start(struct client *client, struct piece *piece);
void piece_link_ready(struct client *client, struct piece *piece);
void piece_hop_dead(struct client *client, struct piece *piece);
void piece_reply(struct client *client, struct piece *piece, const struct message *message);
void piece_sent(struct client *client, struct piece *piece);
void piece_drop(struct client *client, struct piece *piece);
void piece_tick(struct client *client, struct piece *piece);

/* bulk.c */
bool bulk_want(struct client *client, struct client_op *op); /* false: not for this one */
void bulk_leave(struct client *client, struct client_op *op);
void bulk_tick(struct client *client);
void bulk_reset(struct client *client);

/* get.c */
void get_start(struct client *client, struct client_op *op);
void get_go_on(struct client *client, struct client_op *op);
/* A storage server refuses to serve it. */
void get_refused(struct client *client, struct client_op *op, int error);
void get_received(struct client *client, const struct client_event *event);
void get_drop(struct client *client, struct client_op *op);
/* content.c */
struct located *content_find(const struct content *content, uint64_t offset);
/* The same, if it need not be asked for anew. */
const struct located *content_fresh(const struct client *client, const struct content *content,
				    uint64_t offset);
int content_take(struct client *client, struct content *content, const struct open_reply *reply);
void content_done(struct content *content);
void files_renew(struct client *client);
/* Tickets of nobody are worth nothing any more. */
void contents_doubt(struct client *client);
void files_done(struct client *client);
/* No get needs it any more, unless another one does. */
void content_close(struct client *client, const struct client_op *op, struct slice path,
		   uint64_t inode);
void get_tick(struct client *client, struct client_op *op);
void get_free(struct client_op *op); /* without a word */
void part_link_ready(struct client *client, struct part *part);
void part_failed(struct client *client, struct part *part, int error);
void part_refused(struct client *client, struct part *part, const struct message *message);

/* search.c */
/* Asks the servers of an answer to OPEN which of its chunks they hold. */
int search_start(struct client *client, struct client_op *op, const struct open_reply *reply);
bool search_blocks(const struct client_op *op);
void search_tick(struct client *client, struct client_op *op);
void search_drop(struct client *client, struct client_op *op);
/* The same with the waiter of one server, or the owner of its pending answer. */
void search_link_ready(struct client *client, struct waiter *waiter);
void search_failed(struct client *client, void *asked);
bool search_uses(const void *asked, const struct data_link *link);
void search_reply(struct client *client, void *asked, const struct message *message);

/* reach.c */
void reach_start(struct client *client, struct client_op *op);
void reach_tick(struct client *client, struct client_op *op);
void reach_drop(struct client *client, struct client_op *op);
void reach_heard(struct client *client, const struct id *node); /* it has dialled us */
bool reach_opened(struct client *client, uint64_t connection);
bool reach_closed(struct client *client, uint64_t connection, int error);
bool reach_frame(struct client *client, const struct client_event *event);

#endif

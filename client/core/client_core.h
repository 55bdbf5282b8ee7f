/* The client as a state machine: finds the name server, keeps the session, makes data connections,
 * and leads every put and get from its first message to its last. Pure: sockets, files, clock and
 * the bytes themselves belong to the glue (client/lib), which feeds events in and carries actions
 * out.
 *
 * One struct client is one session. Operations are started with client_request, client_put and
 * client_get; each ends with exactly one CLIENT_DONE action, unless client_cancel came first.
 *
 * File bytes never come here. For a put the core says which part of the source goes to which
 * connection (CLIENT_PAYLOAD) and the glue frames it; for a get it says which transfer belongs to
 * which part of the sink (CLIENT_RECEIVE) and the glue checks and delivers, in the order in which
 * the actions came. The glue also keeps the digest of the whole file, as it sees all bytes in
 * order. */
#ifndef MUSTER_CLIENT_CORE_H
#define MUSTER_CLIENT_CORE_H

#include <stdbool.h>

#include "beacon.h"
#include "buffer.h"
#include "codec.h"
#include "endpoint.h"

struct client;
struct client_op;

enum client_limits {
	CLIENT_OPS_MAX = 256,   /* puts and gets running at once; more wait in line */
	CLIENT_PIECES_MAX = 4,  /* chunks of one put on their way */
	CLIENT_BUFFERS_MAX = 3, /* the same for a source that cannot be read twice */
	/* The longest wait in which nothing moves: for a name server, for an answer, for the next
	 * byte. All shorter waits follow from it. */
	CLIENT_PATIENCE_MS = 4500,
	CLIENT_TICK_MS = 50,
};

enum client_transfer { CLIENT_AUTO, CLIENT_ACTIVE, CLIENT_PASSIVE };

struct client_config {
	struct id self;
	struct id machine;
	char cluster_name[CLUSTER_NAME_MAX + 1]; /* empty: any */
	struct id remembered_cluster; /* none: any; through whose storage servers to read */
	bool missed;                  /* the name server was, a moment ago */
	bool fixed;                   /* CLIENT_RESOLVE instead of listening to beacons */
	struct endpoint remembered;   /* family 0: none */
	enum client_transfer transfer;
	uint64_t timeout_ms; /* 0: CLIENT_PATIENCE_MS */
	uint64_t seed;
};

enum client_event_kind {
	CLIENT_TICK,     /* client_deadline() has come; also once at the start */
	CLIENT_HEARD,    /* beacon, endpoints: where from */
	CLIENT_RESOLVED, /* endpoints, count; error */
	CLIENT_LISTENED, /* error, or 0: the leased port is bound */
	CLIENT_ACCEPTED, /* connection (chosen by the glue, odd); endpoints: the peer */
	CLIENT_OPENED,   /* connection that the core dialled */
	CLIENT_CLOSED,   /* connection: by the other side, or it could not be made */
	CLIENT_FRAME,    /* connection, header, body: any but the DATA frames of a transfer */
	CLIENT_MOVED,    /* connection: bytes of a transfer went out or came in */
	CLIENT_FILLED,   /* op, size: bytes of the chunk asked for by CLIENT_FILL, last; error */
	/* op, token: a payload has left; digest: of all that was read so far. Or error: it
	 * could not be read and was voided. */
	CLIENT_SENT,
	/* op, token, size: file bytes delivered; last: that was all of the transfer; error: of
	 * the holder, or `local`: of the sink. digest: of all bytes from the file's start, with
	 * the last ones of a whole file. */
	CLIENT_RECEIVED,
};

struct client_event {
	enum client_event_kind kind;
	uint64_t now_ms;
	uint64_t connection;
	int error;
	bool last;
	bool local;
	const struct beacon *beacon;
	const struct endpoint *endpoints;
	unsigned int count;
	const struct frame_header *header;
	const uint8_t *body;
	struct client_op *op;
	uint32_t token;
	uint64_t size;
	struct digest digest;
};

enum client_action_kind {
	CLIENT_SEND,    /* connection; size bytes at `start` of the outbox's bytes */
	CLIENT_DIAL,    /* connection (chosen by the core, even), endpoint */
	CLIENT_CLOSE,   /* connection: drops what is queued; no event follows */
	CLIENT_SEEK,    /* flag: listen to beacons, or stop */
	CLIENT_PROBE,   /* broadcast: BEACON_SIZE bytes at `start` */
	CLIENT_RESOLVE, /* the name server's address; CLIENT_RESOLVED follows */
	CLIENT_LISTEN,  /* size: the port; 0: stop; CLIENT_LISTENED follows */
	CLIENT_FILL,    /* op, offset, size: read so much of the source into memory */
	/* op, offset: a filled chunk may give way to the next that is to be filled */
	CLIENT_DROP,
	/* op: the put begins again; forget the digest. All that was filled is needed once more;
	 * nothing has had to give way yet. */
	CLIENT_REWIND,
	CLIENT_PAYLOAD, /* connection, op, token, offset, size: DATA frames, id = token */
	/* connection, token: void what is left of a PAYLOAD, swallow what comes of a RECEIVE */
	CLIENT_ABORT,
	CLIENT_EXPECT, /* op, size: the get will deliver so much; flag: the whole file */
	/* connection, op, token, start, offset: where in the chunk and in the file the READ
	 * begins; size: bytes it covers; from, to: part of the file to deliver */
	CLIENT_RECEIVE,
	/* op, error; flag: what came out is what a server knew last, without a name server that
	 * could be sure. Request: `reply` is valid until the next step. The op is gone. */
	CLIENT_DONE,
	CLIENT_CONNECTED, /* error 0: the session stands; else no name server: TWO_CLUSTERS … */
};

struct client_action {
	enum client_action_kind kind;
	uint64_t connection;
	size_t start;
	uint64_t size;
	struct endpoint endpoint;
	bool flag;
	int error;
	void *user; /* of the op */
	struct client_op *op;
	uint32_t token;
	uint64_t offset;
	uint64_t from;
	uint64_t to;
	const void *reply;
};

struct client_outbox {
	struct buffer bytes;
	struct client_action *actions;
	size_t count;
	size_t capacity;
	bool failed; /* out of memory: actions were lost; close the session */
	struct client_action nowhere;
};

void client_outbox_clear(struct client_outbox *outbox);
void client_outbox_done(struct client_outbox *outbox);

struct client *client_new(const struct client_config *config); /* NULL: no memory */
void client_free(struct client *client); /* NULL-safe; ops go without a word */

void client_step(struct client *client, const struct client_event *event,
		 struct client_outbox *outbox);
uint64_t client_deadline(
	const struct client *client); /* of the next CLIENT_TICK; UINT64_MAX: never */

/* What is needed to start anything. */
struct client_start {
	uint64_t now_ms;
	void *user; /* comes back in the op's actions */
	struct client_outbox *outbox;
};

/* One message to the name server and its answer. `body` is a struct NAME_request; operation
 * numbers are filled in. NULL where `ret_error` is set. */
struct client_op *client_request(struct client *client, const struct client_start *start,
				 unsigned int code, void *body, int *ret_error);

struct client_put {
	struct slice path;
	uint64_t size;   /* SIZE_UNKNOWN: a stream */
	bool rewindable; /* any part can be read again; else chunks come through CLIENT_FILL */
	uint8_t copies;
	bool replace;
	/* To the end of the content `base_inode` in its version `base_version`, of which the first
	 * `base_size` bytes stay; STALE if the path names another. */
	bool append;
	/* The put's bytes go to the end whatever the content is by then; STALE only if there is no
	 * keeping up. */
	bool rebase;
	uint64_t base_inode, base_version, base_size;
};
struct client_op *client_put(struct client *client, const struct client_start *start,
			     const struct client_put *put, int *ret_error);
/* The result, valid while CLIENT_DONE is carried out. */
struct client_stored {
	uint64_t size;  /* of the whole file */
	uint64_t added; /* of what the put brought */
	struct digest digest;
	struct put_commit_reply commit;
};
const struct client_stored *client_op_stored(const struct client_op *op);

struct client_get {
	struct slice path;
	uint64_t offset;
	uint64_t length; /* 0: to the end */
	uint64_t most;   /* TOO_LARGE when there is more to deliver */
	/* Through a content that is held open, instead of by path; the first one opens it. */
	struct client_file *file;
	bool open_only; /* delivers nothing */
	bool tail;      /* the first: where its last chunk is, not those from `offset` on */
};
struct client_op *client_get(struct client *client, const struct client_start *start,
			     const struct client_get *get, int *ret_error);
const struct entry *client_op_entry(const struct client_op *op); /* without its name */

/* A content held open: all gets through it see the one that the path named when the first of them
 * was answered, and mostly ask only a storage server. It must outlive its gets. */
struct client_file *client_file_new(struct client *client, struct slice path); /* NULL: no memory */
void client_file_free(struct client *client, struct client_file *file, uint64_t now_ms,
		      struct client_outbox *outbox);
const struct entry *client_file_entry(const struct client_file *file); /* without its name */
/* Where its last chunk begins, if that is known; else UINT64_MAX. */
uint64_t client_file_tail(const struct client_file *file);

/* Tries both ways to a storage server, with connections of their own. */
struct client_op *client_reach(struct client *client, const struct client_start *start,
			       const struct id *node, int *ret_error);
/* The reply of its CLIENT_DONE. */
struct client_reached {
	int active;  /* 0: the server can dial us */
	int passive; /* 0: we can dial the server */
	uint16_t port;
	struct endpoint endpoint; /* that we dialled last; family 0: none */
};

/* The op is gone at once. */
void client_cancel(struct client *client, struct client_op *op, uint64_t now_ms,
		   struct client_outbox *outbox);
/* It failed with TIMEOUT, and nobody knows whether what it asked for has been done. */
bool client_op_in_doubt(const struct client_op *op);
/* The server that the op's failure was about; none: it does not matter. */
const struct id *client_op_culprit(const struct client_op *op);

enum client_waits {
	CLIENT_WAITS_NOT,
	CLIENT_WAITS_NAMESERVER, /* none is found */
	CLIENT_WAITS_ANSWER,     /* it has taken the call and says nothing */
	CLIENT_WAITS_TAKEOVER,   /* it does not serve yet */
	CLIENT_WAITS_SERVERS,    /* it was started a moment ago; its storage servers are coming */
	CLIENT_WAITS_QUORUM,     /* for an answer that got lost when there was enough */
};

struct client_state {
	bool connected;
	int error; /* why not */
	enum client_waits waits;
	uint64_t waits_ms;   /* so long, if it waits */
	const char *waiting; /* TAKEOVER: for these storage servers, if it said so; else "" */
	struct endpoint nameserver;
	struct id cluster;
	char cluster_name[CLUSTER_NAME_MAX + 1];
	uint64_t epoch;
	uint16_t port;
	unsigned int active;
	unsigned int passive;
	bool degraded;             /* connected to `storage`: there is no name server */
	uint64_t degraded_answers; /* so far, of a name server without quorum too */
	struct id storage;
	struct endpoint storage_endpoint;
};
void client_state(const struct client *client, struct client_state *ret);
const struct discovery *client_discovery(const struct client *client);
/* What is asked from now on has nothing to do with what was asked before: if there is no name
 * server for it, one is looked for again before it is refused. */
void client_look_anew(struct client *client);
/* True while somebody waits for the session: operations, or client_want(). */
void client_want(struct client *client, uint64_t now_ms, struct client_outbox *outbox);
/* Before the end, with no operation left: gives back what is leased. */
void client_leave(struct client *client, uint64_t now_ms, struct client_outbox *outbox);

#endif

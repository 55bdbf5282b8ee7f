/* The glue between the client core and the system. Only client/lib includes this.
 *
 *     session.c   opening, waiting, closing; what the core wants done
 *     engine.c    epoll, the timer, steps of the core
 *     channel.c   one connection: what goes out;  incoming.c  what comes in
 *     beacons.c   the datagrams
 *     source.c    where puts read from;  sink.c  where gets write to
 *     file.c      contents held open;  append.c  appends, made of an open, a read and a put
 *     ops.c       operations;  blocking.c  puts and gets that are waited for
 *     question.c  questions to the name server;  names.c, listings.c, store.c, health.c  which
 *     answers.c   what comes out of them;  public.c  shapes of muster.h
 *     describe.c  what is said of failures, and of waiting */
#ifndef MUSTER_LIB_ENGINE_H
#define MUSTER_LIB_ENGINE_H

#include <bsd/sys/queue.h>
#include <stdatomic.h>
/* No memory: the entry is not added, its `hh.tbl` stays NULL. */
#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "client_core.h"
#include "hash.h"
#include "muster.h"
#include "network.h"

enum engine_limits {
	INPUT_SIZE = DATA_PAYLOAD_MAX, /* received at once; with less there are more wake-ups */
	STAGE_SIZE = DATA_PAYLOAD_MAX,
	COPY_MAX = BLOCK_SIZE, /* payloads up to this are copied into the stream of frames */
	EVENTS_MAX = 64,
	OUTPUTS_AT_ONCE = 64,
	DETAIL_MAX = 256,
	PROGRESS_MS = 100,
};

/* ---- what epoll reports ---- */

enum watch_kind {
	WATCH_CHANNEL,
	WATCH_LISTENER,
	WATCH_BEACONS,
	WATCH_TIMER,
	WATCH_WAKE,
	WATCH_SOURCE
};
struct watch {
	enum watch_kind kind;
};

/* ---- connections ---- */

struct payload {
	struct muster_op *op; /* NULL: none, or given up */
	uint32_t token;
	uint64_t offset; /* in the source */
	uint64_t size;
	uint64_t sent; /* bytes staged so far */
};

/* Frames, then perhaps the DATA frames of one transfer. */
struct output {
	struct buffer bytes;
	size_t sent;
	bool has_payload;
	struct payload payload;
	TAILQ_ENTRY(output) entry;
};
TAILQ_HEAD(output_list, output);

/* A frame of a payload on its way. */
struct stage {
	uint8_t head[FRAME_HEADER_SIZE + DATA_CRCS_SIZE_MAX];
	size_t head_size;
	const uint8_t *data; /* the source's own memory, or `copy` */
	uint8_t *copy;       /* STAGE_SIZE bytes; NULL until needed */
	size_t size;
	size_t sent; /* of head and data */
};

struct transfer {
	uint32_t token;
	struct muster_op *op; /* NULL: nobody wants it; swallow */
	uint64_t chunk_at;    /* next offset in the chunk */
	uint64_t at;          /* the same in the file */
	uint64_t left;
	uint64_t from;
	uint64_t to;
	TAILQ_ENTRY(transfer) entry;
};
TAILQ_HEAD(transfer_list, transfer);

/* A DATA frame of which a part is here. */
struct incoming {
	bool active;
	struct data_head head;
	uint8_t crcs[DATA_CRCS_SIZE_MAX];
	uint32_t done; /* payload bytes dealt with */
	struct transfer *transfer;
};

struct channel {
	struct watch watch;
	uint64_t handle;
	int socket;
	bool connecting;
	bool closed;                  /* to be freed at the end of the turn */
	bool dirty;                   /* has something to send */
	bool blocked;                 /* waits for room in the socket */
	struct muster_op *paused_for; /* its next bytes must wait for others of that op */
	bool reading;
	bool resumed;    /* no longer paused; `rest` is to be looked at */
	uint32_t events; /* asked of epoll */
	struct output_list outputs;
	struct stage stage;
	struct buffer rest; /* received, not dealt with */
	struct incoming incoming;
	struct transfer_list transfers;
	TAILQ_ENTRY(channel) dirty_entry;
	TAILQ_ENTRY(channel) closed_entry;
	UT_hash_handle hh;
};
TAILQ_HEAD(channel_list, channel);

/* ---- operations ---- */

enum lib_op_kind { LIB_QUESTION, LIB_PUT, LIB_GET, LIB_REACH, LIB_OPEN };

struct filled {
	uint8_t *data;
	bool used;
	bool kept; /* may give way, but the put may have to be made again */
	uint64_t offset;
	size_t size;
};

struct source {
	struct watch watch; /* of the descriptor, while it is waited for */
	struct muster_source how;
	bool file; /* can be read anywhere */
	bool watched;
	bool filling;
	struct filled *fill; /* being filled */
	size_t fill_want;
	struct filled buffers[CLIENT_BUFFERS_MAX];
	uint64_t taken; /* of a stream, in all */
	/* Bytes that are put in front of what is read; they belong to whoever started the put. */
	const uint8_t *head;
	size_t head_size;
};

struct sink {
	struct muster_sink how;
	bool file;
	uint64_t at;   /* bytes delivered */
	uint64_t base; /* file offset of the first one */
};

struct muster_op {
	struct muster *session;
	enum lib_op_kind kind;
	struct client_op *core; /* NULL: over */
	struct muster_then then;
	int result;
	bool over;         /* only `done` is still to be called */
	bool degraded;     /* what came out is what a server knew last */
	bool in_doubt;     /* it failed; what it was to change may have been changed */
	int cancelled;     /* the error with which it is to end; 0: it is not cancelled */
	unsigned int code; /* of a question */
	void *answer;      /* to it */
	muster_progress_fn *progress;
	void *progress_context;
	uint64_t progress_ms;
	uint64_t total;
	uint64_t hashed; /* bytes that are in the digest */
	bool whole;      /* the digest of all bytes is wanted */
	struct digest_stream *hash;
	struct digest digest;
	struct source source;
	struct sink sink;
	struct muster_put_result put;
	struct muster_get_result get;
	struct muster_file *file; /* that it opens or reads through */
	struct append *append;    /* it is one: others do its work */
	uint8_t *kept;            /* all that an append's stream brought, head included */
	size_t kept_size;
	char detail[DETAIL_MAX];
	TAILQ_ENTRY(muster_op) link;
};
TAILQ_HEAD(lib_op_list, muster_op);

/* An event that came up while actions were carried out. */
struct later {
	struct client_event event;
	struct muster_op *op;
	STAILQ_ENTRY(later) entry;
};
STAILQ_HEAD(later_list, later);

/* ---- the session ---- */

struct muster {
	struct client *core;
	struct client_config config;
	struct client_outbox outbox;
	int epoll;
	int timer;
	int wake;
	struct watch timer_watch;
	struct watch wake_watch;
	struct watch listener_watch;
	struct watch beacons_watch;
	int listener;      /* -1: none */
	int beacons;       /* -1: none */
	int beacon_sender; /* -1: none */
	uint64_t armed_ms; /* 0: the timer is off */
	bool inside;       /* muster_process() runs: nothing needs to be woken */
	bool woken;
	atomic_bool interrupted;
	uint64_t next_accepted;
	bool cancels; /* some op is cancelled */
	bool acting;  /* actions are carried out; those of calls from within follow in turn */
	bool closing; /* nothing new is started */

	char *nameserver; /* as given */
	char **interfaces;
	unsigned int interface_count;
	uint16_t beacon_port;

	struct channel *channels;
	struct channel_list dirty;
	struct channel_list closed;
	struct output_list spare_outputs;
	struct transfer_list spare_transfers;
	uint8_t *input; /* INPUT_SIZE, and room before it for a part of a block */
	struct later_list laters;

	struct lib_op_list ops;
	struct lib_op_list done;
	unsigned int running;
	bool connect_known; /* CLIENT_CONNECTED has come since it was last asked */
	int connect_error;
	bool resumed; /* some channel is */
	bool broken;  /* out of memory in the core's outbox */
	muster_waiting_fn *waiting;
	void *waiting_context;
	char waits_for[DETAIL_MAX]; /* as told last; "": nobody was */
	char detail[DETAIL_MAX];
};

/* engine.c */
int engine_init(struct muster *session);
void engine_done(struct muster *session);
int engine_watch(struct muster *session, int fd, uint32_t events, struct watch *watch);
void engine_step(struct muster *session, struct client_event *event);
void engine_act(struct muster *session); /* carries out what the outbox says */
void engine_later(struct muster *session, const struct client_event *event);
void engine_forget(struct muster *session, const struct muster_op *op); /* no later event of it */
void engine_wake(struct muster *session);
void engine_woken(struct muster *session); /* empties what woke it */
int engine_turn(struct muster *session, int wait_ms);
uint64_t engine_now(void);

/* actions.c */
void actions_carry_out(struct muster *session);

/* channel.c */
struct channel *channel_new(struct muster *session, uint64_t handle, int socket);
struct channel *channel_find(struct muster *session, uint64_t handle);
void channel_free(struct muster *session, struct channel *channel);
void channel_close(struct muster *session, struct channel *channel); /* freed later */
void channel_lost(struct muster *session, struct channel *channel, int error);
int channel_send(struct muster *session, struct channel *channel, const void *data, size_t size);
int channel_payload(struct muster *session, struct channel *channel, const struct payload *payload);
void channel_abort(struct muster *session, struct channel *channel, uint32_t token);
void channel_expect(struct muster *session, struct channel *channel,
		    const struct client_action *action);
void channel_flush(struct muster *session, struct channel *channel);
void channel_ready(struct muster *session, struct channel *channel, uint32_t events);
void channel_interest(struct muster *session, struct channel *channel);
void channels_forget(struct muster *session, const struct muster_op *op);

/* incoming.c */
void channel_receive(struct muster *session, struct channel *channel);
void channel_resume(struct muster *session, struct channel *channel);
void channels_resume(struct muster *session, const struct muster_op *op); /* those paused for it */
void channels_go_on(struct muster *session);
void transfer_free(struct muster *session, struct channel *channel, struct transfer *transfer);

/* beacons.c */
void beacons_listen(struct muster *session, bool on);
void beacons_probe(struct muster *session, const void *datagram);
void beacons_receive(struct muster *session);

/* source.c */
int source_open(struct source *source, const struct muster_source *how, uint64_t *ret_size);
bool source_is_rewindable(const struct source *source);
/* Bytes that can be sent from where they are; NULL: they must be read into a buffer. */
const uint8_t *source_peek(const struct muster_op *op, uint64_t offset);
int source_read(struct muster_op *op, uint64_t offset, uint8_t *ret, size_t size);
void source_fill(struct muster *session, struct muster_op *op, uint64_t offset, uint64_t size);
void source_ready(struct muster *session, struct source *source);
void source_drop(struct muster_op *op, uint64_t offset);
void source_rewind(struct muster_op *op);
void source_close(struct muster *session, struct muster_op *op);
/* All that a stream has brought, if it is still in memory: the op's `kept`. */
void source_keep(struct muster_op *op);
void op_hash(struct muster_op *op, uint64_t offset, const void *data, size_t size);
struct digest op_digest(struct muster_op *op);

/* sink.c */
void sink_open(struct sink *sink, const struct muster_sink *how);
int sink_write(struct muster *session, struct sink *sink, const void *data, size_t size);

/* ops.c */
int op_alloc(struct muster *session, enum lib_op_kind kind, struct muster_then then,
	     struct muster_op **ret);
void op_free(struct muster_op *op);
void op_complete(struct muster *session, struct muster_op *op, int result);
void op_ended(struct muster *session, const struct client_action *action);
void op_progress(struct muster_op *op, uint64_t done, bool end);
void ops_cancel_due(struct muster *session);
int ops_deliver(struct muster *session);
struct client_start op_start(struct muster_op *op);
int op_started(struct muster *session, struct muster_op *op, struct client_op *core, int error);
int path_from(const char *path, struct slice *ret);

/* Where an append goes: see struct client_put; `head` is what stands there behind `size`. */
struct put_base {
	uint64_t inode, version, size;
	const uint8_t *head;
	size_t head_size;
};
int put_start_at(struct muster *session, const struct muster_put_args *args,
		 const struct put_base *base, struct muster_then then, struct muster_op **ret);

/* file.c */
int file_open(struct muster *session, const char *path, bool tail, struct muster_then then,
	      struct muster_op **ret);
void file_opened(struct muster_op *op);
void file_unuse(struct muster_op *op);              /* the op goes */
uint64_t file_tail(const struct muster_file *file); /* as client_file_tail() */

/* append.c */
void append_stop(struct muster_op *op); /* its parts go on for nobody */
void append_free(struct append *append);

/* describe.c */
void op_describe(struct muster *session, struct muster_op *op, const struct id *culprit);
void session_describe(struct muster *session, int error);
void waiting_tell(struct muster *session);

/* blocking.c */
/* Turns the engine until *done, which the end of `op` sets. An interrupt cancels the op. */
void op_wait(struct muster_op *op, const bool *done);

/* public.c */
void entry_convert(const struct entry *entry, struct muster_entry *ret);
void node_convert(const struct node_info *node, struct muster_node *ret);
void reach_convert(const struct client_reached *reached, struct muster_reach *ret);
void status_convert(const struct status_reply *status, struct muster_status *ret);
void text_convert(struct slice text, char *ret, size_t size);

#endif

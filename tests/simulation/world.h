/* A whole cluster in one process: name servers, storage servers and clients, which are the real
 * cores, over a simulated network, simulated disks and virtual time. Everything that happens
 * follows from one number, the seed.
 *
 *     world_run(&config)   builds the cluster, lets clients work while faults happen, heals
 *                          everything, and checks what must be true then
 *
 * Time is in microseconds from the start. Things that will happen stand in one queue, ordered by
 * (time, order of entry). What is meant for a process that has died meanwhile is dropped; what is
 * meant for one that is paused waits.
 *
 * The first broken promise ends the run: world_fail() keeps its text. */
#ifndef MUSTER_TESTS_WORLD_H
#define MUSTER_TESTS_WORLD_H

#include "buffer.h"
#include "catalogue.h"
#include "disk_sim.h"
#include "endpoint.h"
#include "frame.h"
#include "model.h"
#include "random.h"
#include "replica_memory.h"

enum {
	NAMESERVERS_SIM_MAX = 2,
	STORAGES_MAX = 5,
	CLIENTS_SIM_MAX = 3,
	HOSTS_MAX = NAMESERVERS_SIM_MAX + STORAGES_MAX + CLIENTS_SIM_MAX,
	PORTS_MAX = 4,
	WORLD_DAYS_HELD = 7, /* nothing is deleted for so long after a rebuild */
	WORLD_DISK_CAPACITY = 512 * 1024 * 1024,
	MS = 1000,
	SECOND = 1000 * 1000,
};

struct world;
struct host;
struct due;
struct socket;

/* ---- the queue of what will happen ---- */

typedef void due_fn(struct world *w, const struct due *due);

struct due {
	due_fn *run;
	struct host *host; /* whose process it is for; NULL: the world's own */
	void *context;
	uint64_t a, b;
	bool owned; /* the context is freed after the run, or when it is dropped */
	/* Filled in: */
	uint64_t at_us, order;
	uint32_t life;
};

void world_after(struct world *w, uint64_t delay_us, struct due due);
void world_wake(struct world *w, struct host *host); /* from a pause */

/* ---- hosts and their processes ---- */

enum host_kind { HOST_NAMESERVER, HOST_STORAGE, HOST_CLIENT };

struct process_ops {
	/* False: it cannot start now (a failed disk). */
	bool (*start)(struct host *host);
	/* `crash`: nothing more is written. */
	void (*stop)(struct host *host, bool crash);
	void (*accepted)(struct host *host, const struct socket *socket);
	void (*dialled)(struct host *host, uint64_t handle, int error, const struct endpoint *peer);
	void (*frame)(struct host *host, uint64_t handle, const struct frame_header *header,
		      const uint8_t *body);
	void (*malformed)(struct host *host, uint64_t handle, const struct frame_header *header);
	void (*closed)(struct host *host, uint64_t handle, int error);
	void (*datagram)(struct host *host, const struct endpoint *source, const uint8_t *data);
};

struct host {
	struct world *world;
	const struct process_ops *ops;
	enum host_kind kind;
	unsigned int index;  /* in the world */
	unsigned int number; /* among its kind */
	char name[16];
	uint32_t address;
	struct id id, disk_id, machine;
	struct disk_sim *disk;        /* NULL: clients */
	struct replica_memory *rows;  /* of its catalogue, in a database that never tears */
	struct ns_snapshot *snapshot; /* of a name server's disk, from earlier; NULL: none */
	struct endpoint remembered;
	bool up;
	bool starting;
	bool copy_lost;    /* of the catalogue, once */
	bool lose_copy;    /* at the next start */
	bool restored;     /* name servers: the directory is an old one, and nobody has said so */
	uint64_t promised; /* storage servers: the highest epoch that was answered, */
	struct id promised_to; /* and to whom */
	uint64_t degraded_us;  /* clients: when an answer last came that may be of the past */
	uint32_t life;         /* how often it has been started */
	uint64_t clock_ms;     /* what its monotonic clock showed at time 0 */
	uint64_t paused_until_us;
	uint64_t slow_us;          /* added to each packet's way */
	uint16_t ports[PORTS_MAX]; /* that it listens on */
	bool hears;                /* datagrams */
	bool disk_faulty; /* in this life: what failed is out of service until the next start */
	void *process;    /* NULL while it is down */
};

extern const struct process_ops nameserver_process, storage_process, client_process;

uint64_t host_ms(const struct host *host); /* its monotonic clock */
/* Microseconds from now until its clock shows `at_ms`. */
uint64_t host_until(const struct host *host, uint64_t at_ms);
void host_start(struct host *host);
enum host_stop { HOST_QUIT, HOST_KILL, HOST_POWER };
void host_stop(struct host *host, enum host_stop how);
void host_restart_after(struct host *host, uint64_t delay_us);
void host_restart_now(struct host *host); /* after this event: it quits and starts where it is */
bool host_is_paused(const struct host *host);
void host_listen(struct host *host, uint16_t port);
void host_unlisten(struct host *host, uint16_t port);

/* ---- the network ---- */

struct segment {
	struct segment *next;
	uint64_t leave_us, arrive_us;
	bool end;
	size_t size;
	uint8_t data[];
};

enum socket_state { SOCKET_DIALLING, SOCKET_PENDING, SOCKET_OPEN };

struct socket {
	uint64_t id, peer; /* the peer's id; 0: nobody is there any more */
	uint64_t handle;
	struct host *host;
	enum socket_state state;
	struct endpoint local, remote;
	bool paused, ended, deaf;
	struct buffer in;
	struct segment *first, *last; /* on their way here */
	uint64_t arrive_us;           /* when the last of them is due */
	uint64_t busy_us;             /* until then what was sent from here is leaving */
	struct journal_head past;     /* of the copy that answers which came here are from */
};

/* `count` addresses, tried in order; the process hears dialled() unless it closes before. */
struct dial {
	uint64_t handle;
	struct endpoint endpoints[ENDPOINTS_MAX];
	unsigned int count;
	uint64_t timeout_us;
};
void net_dial(struct host *host, const struct dial *dial);
/* Returns when the last byte will have left; 0: no such connection. */
uint64_t net_send(struct host *host, uint64_t handle, const void *data, size_t size);
void net_close(struct host *host, uint64_t handle, bool drop);
void net_pause(struct host *host, uint64_t handle, bool on);
void net_broadcast(struct host *host, const uint8_t *data);
uint64_t net_socket(const struct host *host, uint64_t handle); /* its id; 0: none */
/* For faults and the end of a process. */
void net_reset(struct world *w, uint64_t socket);
void net_host_gone(struct host *host, bool silent);
void net_resume(struct world *w); /* after cuts were mended */
void net_done(struct world *w);

/* ---- the world ---- */

/* What removes a safety rule: the run must notice. */
enum sabotage {
	SABOTAGE_NONE,
	SABOTAGE_EARLY_DURABLE,    /* batches count as durable before they are in the journal */
	SABOTAGE_UNSYNCED,         /* storage servers' disks lie about syncs */
	SABOTAGE_EARLY_STORED,     /* copies count as stored before their commit has run */
	SABOTAGE_FORGOTTEN,        /* recorded answers are dropped */
	SABOTAGE_UNSYNCED_JOURNAL, /* the name server's disk lies about syncs */
	SABOTAGE_OLD_START,        /* the name server forgets its last start number */
	SABOTAGE_NO_REPAIR,        /* FETCH orders are lost */
	SABOTAGE_GREEDY,           /* a copy too many takes others with it */
	SABOTAGE_MUTE_COPIES,      /* storage servers do not ask for what their copies lack */
	SABOTAGE_LOOSE_COPIES,     /* copies lose a row now and then */
	SABOTAGE_FORGET_SHARED,    /* chunks belong to the first file that has them */
	SABOTAGE_FORGET_PURGED,    /* what was purged can be restored */
	SABOTAGE_PROMISE_LOST,     /* promises are not written down */
	SABOTAGE_OWN_DISK,         /* batches count as committed without the journal set */
	SABOTAGE_FEW_PROMISES,     /* a name server begins without asking the journal set */
	SABOTAGE_OLD_COPY,         /* the own copy is taken for the newest */
	SABOTAGE_NO_HOLD,          /* deletes go on after a rebuild */
	SABOTAGE_NO_LEASE,         /* a name server's clock stands still while it sleeps */
	SABOTAGE_ONE_PROMISE,      /* one promise less is enough to begin */
	SABOTAGE_OLDEST_COPY,      /* of those who promised, the one that has least is the source */
	SABOTAGE_OLD_BATCH,        /* batches are acknowledged to whoever was followed once */
	SABOTAGE_LOW_PROMISE,      /* lower epochs are promised after higher ones */
	SABOTAGE_OLD_ANSWERS,      /* without a name server copies deny what they know */
	SABOTAGE_NO_ALARM,         /* chunks of later runs do not show that a catalogue is old */
	SABOTAGE_NO_BRAKE,         /* any number of unknown chunks is deleted at once */
	SABOTAGE_COUNT,
};
const char *sabotage_name(unsigned int sabotage);

/* Drawn from the seed: which faults this run has at all. */
enum fault {
	FAULT_NS_CRASH = 1 << 0,
	FAULT_STORAGE_CRASH = 1 << 1,
	FAULT_CLIENT_CRASH = 1 << 2,
	FAULT_POWER_ALL = 1 << 3,
	FAULT_RESET = 1 << 4,
	FAULT_CUT = 1 << 5,
	FAULT_ONE_WAY = 1 << 6,
	FAULT_PAUSE = 1 << 7,
	FAULT_SLOW = 1 << 8,
	FAULT_DATAGRAMS = 1 << 9,
	FAULT_WALL = 1 << 10,
	FAULT_DISK = 1 << 11,
	FAULT_FULL = 1 << 12,
	FAULT_REFUSE = 1 << 13,
	FAULT_ADDRESS = 1 << 14,
	FAULT_PORT = 1 << 15,
	FAULT_PARTITION = 1 << 16, /* two sides that do not hear each other */
	FAULT_NS_PAUSE = 1 << 17,  /* the name server sleeps for up to a minute */
	FAULT_NS_LOST = 1 << 18,   /* its directory is gone */
	FAULT_NS_OLD = 1 << 19,    /* its directory is what it was a while ago */
	FAULT_SET = 1 << 20,       /* members of the journal set die together */
	FAULT_AWAY = 1 << 21,      /* a storage server misses 400 days */
	FAULT_USURP = 1 << 22,     /* the name server sleeps until another one has begun */
	FAULT_RELAPSE = 1 << 23,   /* its directory is gone, and it meets one that lacks batches */
	FAULTS_ALL = (1 << 24) - 1,
};

struct world_config {
	uint64_t seed;
	enum sabotage sabotage;
	bool trace;
};

/* What else is worth counting over many runs. */
enum tally {
	TALLY_LOST,    /* a name server's directory was lost */
	TALLY_OLD,     /* an old one was put in its place */
	TALLY_AWAY,    /* a storage server missed 1 to 400 days */
	TALLY_SLEPT,   /* a name server slept until another one had begun */
	TALLY_SIDES,   /* the network fell into two */
	TALLY_DRAINED, /* a storage server was to be emptied, and then not after all */
	TALLY_DELETED, /* copies of chunks of files were deleted, since there were enough others */
	TALLY_COUNT
};

struct world_result {
	bool failed;
	char message[2560];
	uint64_t hash; /* of all that happened */
	uint64_t events;
	uint64_t operations, doubtful;
	uint64_t past;   /* answers that may be of the past, and were looked at; */
	uint64_t placed; /* of these, with all that the copy must have known */
	uint64_t virtual_us;
	unsigned int undecided; /* paths with too much in doubt */
	uint64_t tallies[TALLY_COUNT];
};

struct number_set {
	uint64_t *slots;
	size_t count, capacity;
};
bool number_set_add(struct number_set *set, uint64_t number); /* false: it was there */

/* What was committed, by sequence: whoever serves, it is the same. */
struct committed {
	uint64_t epoch; /* 0: nobody has said so */
	struct digest hash;
};
struct history {
	struct committed *batches; /* the first is that of sequence 1 */
	uint64_t count, capacity;
};

/* What a put carries. */
struct content {
	uint64_t size;
	struct digest digest; /* not of joined ones */
	uint64_t piece;       /* it ends with that one: it is joined; 0: it is not */
	uint64_t joined;      /* the first that is this one and another behind it; 0: none */
	uint64_t next;        /* of these */
};

struct world {
	struct world_config config;
	struct world_result result;
	struct prng prng;
	uint64_t now_us, wall_base_ms;
	int64_t wall_jump_ms;

	struct due *queue;
	size_t queue_count, queue_capacity;
	uint64_t order;

	struct host hosts[HOSTS_MAX];
	unsigned int host_count, ns_count, storage_count, client_count;

	struct socket **sockets; /* by id */
	uint64_t socket_count, socket_capacity;
	bool cut[HOSTS_MAX][HOSTS_MAX]; /* from, to */

	unsigned int faults;
	uint64_t fault_gap_us; /* between two, at most */
	bool healed;
	uint32_t loss_percent, twice_percent, late_percent, refuse_percent;

	uint32_t addresses; /* given out */
	struct id cluster;
	uint32_t chunk_size, large_from;
	uint64_t sync_us;    /* what a sync takes at most */
	uint64_t epoch;      /* the highest in which something was committed */
	bool founded;        /* there is a cluster */
	bool rebuilt;        /* its catalogue had to be put together once, */
	uint64_t rebuilt_ms; /* and when, the last time */
	uint64_t skipped_ms; /* on all clocks */
	/* See old_catalogue.c. */
	struct ns_snapshot *earliest; /* a directory from before there was a journal set */
	bool old_serves;              /* what is committed now is another history */
	bool accepted;                /* name servers begin with what is in reach */
	unsigned int brake_floor;     /* chunks; 0: as usual */
	struct host *drained; /* is to be emptied, as far as anybody has asked; NULL: none */
	uint64_t drained_until_us;
	struct history history;
	struct number_set chunks; /* ids given out */
	struct number_set inodes;

	struct model model;
	struct pasts *pasts;
	struct content *contents; /* by their number */
	uint64_t content_count, content_capacity;
	struct workload *workload;
	struct asides *asides;
	unsigned int checks;
};

bool world_run(const struct world_config *config, struct world_result *ret);
/* Runs events until then, or until something failed. */
void world_run_until(struct world *w, uint64_t until_us);

uint64_t world_below(struct world *w, uint64_t bound);
bool world_chance(struct world *w, unsigned int percent);
uint64_t world_wall_ms(const struct world *w);
struct id world_id(struct world *w);
uint64_t world_trash_ms(const struct world *w);       /* 0: nothing is kept */
void world_days_pass(struct world *w, uint64_t days); /* at once, on all clocks */
uint64_t world_kept_us(const struct world *w);        /* what was removed is surely kept so long */
/* The one that serves, in the highest epoch; else the first. */
struct host *world_nameserver(struct world *w);
struct host *world_ns(struct world *w, unsigned int number);
struct host *world_storage(struct world *w, unsigned int number);
struct host *world_client(struct world *w, unsigned int number);

void world_fold(struct world *w, uint64_t what, uint64_t value); /* into the hash */
void world_fold_bytes(struct world *w, uint64_t what, const void *data, size_t size);
void world_fail(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_trace(struct world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void world_trace_frames(struct world *w, const struct host *from, const struct socket *socket,
			const uint8_t *data, size_t size);

/* ---- contents: bytes that say which put they belong to ---- */

void content_fill(uint64_t number, uint8_t *ret, size_t size);
/* Registers a new content of `size` bytes; 0 bytes are always number 0. */
uint64_t content_new(struct world *w, uint64_t size);
/* The number of the content that these bytes are; false: of none. */
bool content_find(const struct world *w, uint64_t size, const struct digest *digest, uint64_t *ret);
/* The content of one with another appended. */
uint64_t content_join(struct world *w, uint64_t before, uint64_t piece);
/* The same of bytes that are several contents one behind the other. */
bool content_parse(struct world *w, struct slice bytes, uint64_t *ret);

/* ---- parts ---- */

void faults_draw(struct world *w);
void faults_begin(struct world *w);
void faults_heal(struct world *w);
void fault_disk_lies(struct world *w);
/* Without a second name server a removed rule makes no difference. */
bool fault_needs_two(const struct world *w);
/* Has everybody else all that counts, so that this storage server's catalogue may be lost? */
bool fault_may_lose(struct world *w, const struct host *but);
/* A change has just been acknowledged; an answer has just been sent there. */
void fault_acknowledged(struct world *w);
void fault_answered(struct world *w, uint64_t socket);

/* ns_host.c; kv and figures of the running name server, NULL or zeros if there is none */
struct kv *ns_host_kv(const struct host *host);
struct ns_figures {
	bool serving;
	unsigned int leases, members;
	uint64_t epoch;
};
struct ns_figures ns_host_figures(const struct host *host);
uint64_t ns_host_committed(const struct host *host); /* by this process; 0: nothing */
/* Is that storage server in the journal set of the running name server? */
bool ns_host_in_set(const struct host *host, const struct id *node);
unsigned int ns_host_set_size(const struct host *host); /* 0 while it changes */
/* The last durable batch; zeros while something is not durable yet. */
struct journal_head ns_host_head(const struct host *host);

/* ns_disk.c: while it is down, or from outside. */
struct ns_snapshot *ns_disk_copy(struct host *host);
void ns_disk_put(struct host *host, struct ns_snapshot *snapshot); /* takes it */
bool ns_snapshot_is_of(const struct ns_snapshot *snapshot, const struct host *host);
void ns_snapshot_free(struct ns_snapshot *snapshot); /* NULL-safe */
void ns_disk_keep(struct host *host);                /* remembers what is on it */
bool ns_disk_restore(struct host *host);             /* false: nothing is remembered */
void ns_disk_lose(struct host *host);
void ns_disk_done(struct host *host);

/* storage_host.c */
void storage_host_ends(struct host *host);            /* it is asked to: HOST_QUIT shall follow */
uint64_t storage_host_epoch(const struct host *host); /* 0: not registered */
/* Chunks in the running server's index, ascending, after `after`; returns how many. */
size_t storage_host_list(const struct host *host, uint64_t after, uint64_t *ret, size_t most);
bool storage_host_has(const struct host *host, const struct chunk_row *row); /* a sound copy */
unsigned int storage_host_transfers(const struct host *host);
struct replica_head storage_host_catalogue(const struct host *host);

/* history.c: a name server says that everything up to there is committed; it sends an answer. */
void history_committed(struct world *w, const struct host *host, const struct journal_head *head);
void history_answered(struct world *w, const struct host *host, uint64_t epoch);
void history_rebuilt(struct world *w);
/* It has orders to delete sent. */
void history_deletes(struct world *w, const struct host *host);
/* A storage server says that it has promised this epoch; it starts, and still knows this one. */
void history_promised(struct host *host, uint64_t epoch, const struct id *server);
void history_remembers(const struct host *host, uint64_t epoch);

/* oracle.c */
/* Are all chunks of the content on so many disks that a power cut leaves them? */
void oracle_put_acknowledged(struct world *w, uint64_t inode, unsigned int copies);
void oracle_registered(struct world *w);
void oracle_journal_set(struct world *w); /* is it as large as it can be before long? */
void oracle_no_leaks(struct world *w);
/* Does every chunk have its copies before long? `exactly`: and none too many? */
void oracle_copies(struct world *w, bool exactly);
/* It is told to delete it: then there are enough others, if a file has it. */
void oracle_removed(struct world *w, const struct host *host, uint64_t chunk);
/* Has every storage server the name server's catalogue before long? */
void oracle_catalogues(struct world *w);

/* old_catalogue.c: the last act */
void old_catalogue_begun(struct world *w, struct host *ns); /* the first batch is committed */
void old_catalogue_play(struct world *w);

/* workload.c */
struct workload_op;
void workload_new(struct world *w);
void workload_free(struct world *w);
void workload_client_started(struct host *host);
void workload_client_stopped(struct host *host);
void workload_quiesce(struct world *w); /* begin nothing more */
bool workload_is_idle(const struct world *w);
void workload_read_all(struct world *w);                     /* by the first client; must succeed */
void workload_put_some(struct world *w, unsigned int count); /* the first client, at once */
void world_wait_idle(struct world *w, const char *what);     /* until all operations are over */

/* A degraded answer came to that client, from a copy that ended so; NULL: from a name server. */
void workload_past_heard(struct host *host, const struct journal_head *head);
void past_place(struct world *w); /* at the end, when it is known what has been committed */

/* client_host.c: one operation of a client; one workload_done() follows unless the client stops. */
enum op_kind_sim {
	SIM_PUT,
	SIM_GET,
	SIM_STAT,
	SIM_LIST,
	SIM_MKDIR,
	SIM_REMOVE,
	SIM_CREATE,
	SIM_APPEND,
	SIM_RENAME,
	SIM_COPY,
	SIM_RESTORE,
	SIM_PURGE,
	SIM_FORMAT,
	SIM_DRAIN, /* of no path: nobody hears of its end */
};
struct op_plan {
	enum op_kind_sim kind;
	char path[64]; /* of a purge: empty for all of the trash */
	char to[64];
	uint64_t content, size; /* puts, appends */
	uint64_t version;       /* of what is moved, if it is known */
	bool tree;              /* it is a directory that is copied */
	bool replace;
	bool stream, unknown_size;
	uint8_t copies;
	struct id node; /* to be emptied, or (`replace`) not after all */
};
struct op_seen {
	int error;
	bool found_directory;
	uint64_t size, version, inode;
	unsigned int copies;
	bool digest_known;
	struct digest digest;
	struct slice bytes; /* that were read */
	const struct list_reply *list;
};
bool client_host_begin(struct host *host, const struct op_plan *plan, struct workload_op *op);
void workload_done(struct world *w, struct workload_op *op, const struct op_seen *seen);
bool client_host_connected(const struct host *host);

/* drain.c */
void drain_begin(struct world *w); /* in some runs a storage server will be emptied for a while */
void drain_end(struct world *w);   /* makes sure that none is any more */

/* asides.c: what was copied or moved to a name of its own, where nobody changes it any more. So it
 * must stay what it is, whatever becomes of what it was made of; and once it has been read, it is
 * known what the operation that made it has seen. */
#define ASIDE "/aside-"
struct aside;
void aside_name(struct world *w, char *ret, size_t size); /* for the next one */
/* `position`: of that operation in the model. */
void aside_new(struct world *w, const char *path, size_t position);
struct aside *aside_find(struct world *w, const char *path); /* NULL: none, or not any more */
void aside_seen(struct world *w, struct aside *aside, const struct model_op *told);
/* A file of known content, to be moved away or removed; from now on nothing is known of it. */
const struct model_op *aside_take(struct world *w, char *ret_path, size_t size); /* NULL: none */
void asides_forget(struct world *w);                                             /* all of them */
const char *aside_path(const struct world *w, size_t which); /* NULL: no more; empty: gone */
void asides_free(struct world *w);

#endif

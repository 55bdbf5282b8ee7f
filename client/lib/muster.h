/* libmuster: the client library of the Muster file store.
 *
 *     struct muster *session;
 *     int rc = muster_open(&(struct muster_options){ 0 }, &session);
 *
 *     if (rc == 0)
 *             rc = muster_mkdir(session, "/backup", MUSTER_PARENTS);
 *     if (rc < 0)
 *             fprintf(stderr, "%s\n", muster_error_text(rc));
 *     muster_close(session);
 *
 * Sessions. A session is one client of one cluster. Opening it finds the name server (by its
 * broadcasts, or where `nameserver` says), and it stays connected until muster_close(); one that
 * breaks is made anew without the caller noticing, and no change is ever carried out twice.
 * Open one session and keep it: connections to servers live as long as it does.
 *
 * Threads. One thread at a time may use a session; different sessions are independent. The only
 * exception is muster_interrupt(). The library starts no thread, installs no signal handler, keeps
 * no global state, and never prints, logs or exits.
 *
 * Ownership. What a caller passes in is copied, except the bytes of a put and the buffer of a get,
 * which stay his and must live until the call, or the operation, is done. What the library hands
 * out as `const` belongs to it; each function says how long it stays valid.
 *
 * Units. Sizes and offsets are bytes. Durations end in _ms. Points in time are milliseconds since
 * 1970, by the name server's clock. Digests are XXH3-128 in the order in which xxh128sum prints
 * them.
 *
 * Errors. Functions return 0 or a count, else a negative error: -MUSTER_E_NOT_FOUND and so on.
 * After a failure muster_detail() says more where there is more to say.
 *
 * Paths are absolute, '/'-separated, NUL-terminated byte strings, without "." and ".." components
 * (-MUSTER_E_BAD_NAME): at most 4096 bytes, 255 per component.
 *
 * Memory. A session needs less than 64 MiB however large the files are that go through it.
 */
#ifndef MUSTER_H
#define MUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MUSTER_API __attribute__((visibility("default")))

/* ---- errors ---- */

enum muster_error {
	MUSTER_E_NOT_FOUND = 1,
	MUSTER_E_EXISTS = 2,
	MUSTER_E_NOT_DIR = 3,
	MUSTER_E_IS_DIR = 4,
	MUSTER_E_NOT_EMPTY = 5,
	MUSTER_E_BAD_NAME = 6,
	MUSTER_E_NAME_TOO_LONG = 7,
	MUSTER_E_NO_SPACE = 8,
	MUSTER_E_NO_NODES = 9,
	MUSTER_E_STALE = 10,
	MUSTER_E_DENIED = 11,
	MUSTER_E_BAD_REQUEST = 12,
	MUSTER_E_UNSUPPORTED = 13,
	MUSTER_E_TOO_LARGE = 14,
	MUSTER_E_UNAVAILABLE = 15,
	MUSTER_E_WRONG_CLUSTER = 16,
	MUSTER_E_WRONG_VERSION = 17,
	MUSTER_E_WRONG_NODE = 18,
	MUSTER_E_NO_PORT = 19,
	MUSTER_E_EXPIRED = 20,
	MUSTER_E_CORRUPT = 21,
	MUSTER_E_IO = 22,
	MUSTER_E_DUPLICATE_NODE = 24,
	MUSTER_E_BAD_RECEIPT = 25,
	MUSTER_E_BUSY = 26,
	MUSTER_E_RANGE = 27,
	MUSTER_E_CATALOGUE_FULL = 28, /* of the name server: nothing can be changed now */
	MUSTER_E_NO_MEMORY = 64,
	MUSTER_E_TIMEOUT = 65,
	MUSTER_E_CONNECTION = 66,
	MUSTER_E_NO_NAMESERVER = 67,
	MUSTER_E_TWO_CLUSTERS = 68,
	MUSTER_E_UNREACHABLE = 69,
	MUSTER_E_CANCELLED = 70,
	MUSTER_E_ADDRESS_IN_USE = 71,
	MUSTER_E_LOCKED = 72,
	MUSTER_E_USAGE = 73,
	MUSTER_E_NOT_PERMITTED = 74,
	MUSTER_E_LOCAL_FULL = 75,
	MUSTER_E_BAD_FORMAT = 76,
	MUSTER_E_END = 77,
};

/* For people: "file exists". Never NULL; takes the code with either sign; static. */
MUSTER_API const char *muster_error_text(int error);
/* For scripts: "EXISTS". */
MUSTER_API const char *muster_error_name(int error);
/* The errno that comes closest, positive. */
MUSTER_API int muster_error_errno(int error);

/* ---- sessions ----
 *
 *     struct muster_options options = { .cluster = "office", .timeout_ms = 5000 };
 *     struct muster *session;
 *     int rc = muster_open(&options, &session);
 *
 *     if (rc == -MUSTER_E_TWO_CLUSTERS)
 *             show(muster_detail(session));
 */

enum muster_transfer {
	MUSTER_TRANSFER_AUTO = 0, /* servers dial us; after 300 ms we dial them too */
	MUSTER_TRANSFER_ACTIVE,   /* only servers dial */
	MUSTER_TRANSFER_PASSIVE,  /* only we dial: behind NAT or a firewall */
};

/* Zeroed: find the only cluster on this network. Strings are copied. */
struct muster_options {
	const char *nameserver;        /* "HOST[:PORT]" instead of listening; NULL: listen */
	const char *cluster;           /* its name; NULL: any, if only one is heard */
	const char *const *interfaces; /* names or addresses to listen and probe on */
	unsigned int interface_count;  /* 0: all, loopback included */
	uint16_t beacon_port;          /* 0: 3501 */
	enum muster_transfer transfer;
	unsigned int timeout_ms;  /* to find a name server, first or once more; 0: 4.5 s */
	const char *remembered;   /* "HOST:PORT" that worked last time, tried at once; NULL: none */
	const uint8_t *client_id; /* 16 bytes that no other running client uses; NULL: random */
};

struct muster;

/* Opens a session and waits until it is connected. *ret is set also when it fails with anything
 * but -MUSTER_E_NO_MEMORY or -MUSTER_E_USAGE, so that muster_detail() and muster_clusters() can be
 * asked; it is to be closed in any case. -MUSTER_E_NO_NAMESERVER; -MUSTER_E_TWO_CLUSTERS: several
 * are heard and `cluster` does not decide; -MUSTER_E_WRONG_CLUSTER, -MUSTER_E_WRONG_VERSION. */
MUSTER_API int muster_open(const struct muster_options *options, struct muster **ret);
/* The same without waiting: operations wait for the name server, each for at most `timeout_ms`. */
MUSTER_API int muster_new(const struct muster_options *options, struct muster **ret);
/* Waits until the session is connected; 0 at once when it is. */
MUSTER_API int muster_connect(struct muster *session);
/* Operations still running complete with -MUSTER_E_CANCELLED first; none can be started any more.
 * NULL-safe. */
MUSTER_API void muster_close(struct muster *session);

struct muster_info {
	bool connected;
	char nameserver[64]; /* "192.168.1.5:6235", for `remembered`; empty: none found so far */
	char cluster[32];    /* its name */
	uint8_t cluster_id[16];
	uint8_t client_id[16];
	uint64_t epoch;
	uint16_t port; /* leased for servers that dial us; 0: none, we dial */
	/* Data connections to storage servers that are open now, by who dialled. */
	unsigned int active_connections;
	unsigned int passive_connections;
};
MUSTER_API void muster_info(const struct muster *session, struct muster_info *ret);

struct muster_cluster {
	char name[32];
	char nameserver[64];
	uint8_t id[16];
};
/* The clusters that were heard, each once. Returns how many were filled in. */
MUSTER_API unsigned int muster_clusters(const struct muster *session, struct muster_cluster *ret,
					unsigned int most);

/* One line about the last operation that failed, for people: which server or name it was about and
 * what was tried. "" where the error's text says it all. Valid until the next call. */
MUSTER_API const char *muster_detail(const struct muster *session);

/* Makes the blocking call that now runs, or else the next one, return -MUSTER_E_CANCELLED. May be
 * called from a signal handler and from any thread. */
MUSTER_API void muster_interrupt(struct muster *session);

/* ---- names ----
 *
 *     struct muster_entry entry;
 *     struct muster_list *list;
 *     int rc = muster_list_open(session, "/backup", &list);
 *
 *     while (rc == 0 && (rc = muster_list_next(list, &entry)) == 1)
 *             printf("%s %llu\n", entry.name, (unsigned long long)entry.size), rc = 0;
 *     muster_list_close(list);
 */

enum muster_type { MUSTER_FILE = 1, MUSTER_DIRECTORY = 2 };

struct muster_entry {
	char name[256]; /* last component, NUL-terminated; empty for the root */
	enum muster_type type;
	uint64_t size;
	uint64_t inode;   /* never used for another content */
	uint64_t version; /* counts the contents that the name has had, from 1 */
	uint64_t created_ms;
	uint64_t modified_ms;
	unsigned int copies; /* of the part that has fewest */
	unsigned int copies_wanted;
	uint32_t chunk_size;
	uint32_t chunks;
	bool has_digest;
	uint8_t digest[16]; /* XXH3-128 of the whole content */
};

struct muster_holder {
	uint8_t node[16];
	uint32_t chunks; /* of the file that it holds */
};

MUSTER_API int muster_stat(struct muster *session, const char *path, struct muster_entry *ret);
/* The same with the servers that hold it. Fills in at most `most`; returns how many there are. */
MUSTER_API int muster_stat_holders(struct muster *session, const char *path,
				   struct muster_entry *ret, struct muster_holder *ret_holders,
				   unsigned int most);

/* A listing in byte order of the names, in bounded memory however long it is. A file lists itself.
 * Names that come and go meanwhile may or may not be seen; no name is seen twice. */
struct muster_list;
MUSTER_API int muster_list_open(struct muster *session, const char *path, struct muster_list **ret);
/* 1: *ret is the next entry; 0: that was all; else an error. */
MUSTER_API int muster_list_next(struct muster_list *list, struct muster_entry *ret);
MUSTER_API void muster_list_close(struct muster_list *list); /* NULL-safe; before its session */

enum muster_flags {
	MUSTER_PARENTS = 1, /* mkdir: parents too; an existing directory is no error */
	MUSTER_TREE = 2,    /* remove: a directory with all that is in it */
	MUSTER_REPLACE = 4, /* put: may take the place of a file */
};

struct muster_removed {
	uint64_t count; /* files and directories that went */
	uint64_t bytes; /* of the files */
};

MUSTER_API int muster_mkdir(struct muster *session, const char *path, unsigned int flags);
MUSTER_API int muster_rmdir(struct muster *session, const char *path); /* an empty directory */
/* A file, an empty directory, or with MUSTER_TREE anything. `ret` may be NULL. */
MUSTER_API int muster_remove(struct muster *session, const char *path, unsigned int flags,
			     struct muster_removed *ret);
MUSTER_API int muster_create(struct muster *session, const char *path); /* an empty file */
/* How many copies a file, or a directory's future files, shall have: 1 to 9. Returns how many the
 * file has now; the missing ones are made in the background. */
MUSTER_API int muster_set_copies(struct muster *session, const char *path, unsigned int copies);

/* ---- bytes ----
 *
 *     struct muster_put_args put = {
 *             .path = "/backup/disk.img",
 *             .source = { .fd = fd, .size = MUSTER_UNKNOWN },
 *     };
 *     struct muster_put_result stored;
 *     int rc = muster_put(session, &put, &stored);
 *
 *     struct muster_get_args get = {
 *             .path = "/backup/disk.img",
 *             .sink = { .fd = -1, .data = buffer, .size = sizeof(buffer) },
 *             .length = sizeof(buffer),
 *     };
 *     rc = muster_get(session, &get, NULL);
 */

#define MUSTER_UNKNOWN UINT64_MAX

/* 0 to go on; anything else cancels the transfer. `total` may be MUSTER_UNKNOWN. Called at most
 * about ten times a second, and at the end. */
typedef int muster_progress_fn(void *context, uint64_t done, uint64_t total);

/* Fills `buffer` with up to `size` bytes; returns how many, 0 at the end, or a negative
 * muster_error, which becomes the put's. */
typedef int64_t muster_read_fn(void *context, void *buffer, size_t size);
/* Takes all `size` bytes; 0, or a negative muster_error, which becomes the get's. */
typedef int muster_write_fn(void *context, const void *data, size_t size);

/* Where a put reads from: `read` if set, else `data` if set, else `fd`. */
struct muster_source {
	int fd;
	uint64_t offset; /* a file is read from here on, leaving its position alone; MUSTER_UNKNOWN:
			  * from its position, in order, as anything else than a file always is */
	const void *data;
	muster_read_fn *read;
	void *context;
	/* Bytes to store; the source must have that many (else -MUSTER_E_END). MUSTER_UNKNOWN: all
	 * there are; for `data` it must be known. */
	uint64_t size;
};

/* Where a get writes to: `write` if set, else `data` if set, else `fd`. */
struct muster_sink {
	int fd;
	uint64_t offset; /* a file is written from here on, leaving its position alone;
			  * MUSTER_UNKNOWN: at its position, as anything else than a file always
			  * is */
	void *data;
	uint64_t size; /* room in `data`; a file that is longer: -MUSTER_E_TOO_LARGE */
	muster_write_fn *write;
	void *context;
};

struct muster_put_args {
	const char *path;
	struct muster_source source;
	unsigned int copies; /* 0: what the directory says */
	unsigned int flags;  /* MUSTER_REPLACE */
	muster_progress_fn *progress;
	void *progress_context;
};

struct muster_put_result {
	uint64_t size;
	uint64_t inode;
	uint64_t version;
	unsigned int copies; /* durable now; the rest follow by themselves */
	unsigned int copies_wanted;
	uint8_t digest[16];
};

/* Stores a file. The name appears, whole, in one step; 0 means that it is safe on min(2, copies,
 * servers up) disks at least. A failure leaves nothing behind. `ret` may be NULL. */
MUSTER_API int muster_put(struct muster *session, const struct muster_put_args *args,
			  struct muster_put_result *ret);

struct muster_get_args {
	const char *path;
	struct muster_sink sink;
	uint64_t offset; /* past the end: -MUSTER_E_RANGE */
	uint64_t length; /* cut at the end of the file; 0: all of the rest */
	muster_progress_fn *progress;
	void *progress_context;
};

struct muster_get_result {
	struct muster_entry entry; /* of the content that was read */
	uint64_t bytes;            /* that were written, also after a failure */
};

/* Reads a file or a part of it. No byte reaches the sink without its checksum verified; all come
 * from one content, even if the name is replaced meanwhile; -MUSTER_E_STALE where the rest of that
 * one can no longer be found. `ret` may be NULL. */
MUSTER_API int muster_get(struct muster *session, const struct muster_get_args *args,
			  struct muster_get_result *ret);

/* ---- the store ---- */

enum muster_node_state {
	MUSTER_NODE_ONLINE = 1,
	MUSTER_NODE_SUSPECT,
	MUSTER_NODE_OFFLINE,
	MUSTER_NODE_DRAINING,
};

struct muster_node {
	uint8_t id[16];
	uint8_t machine[16]; /* equal for servers on one machine */
	char name[64];
	char zone[64];
	char address[64]; /* the best known, "192.168.1.5:3503" */
	enum muster_node_state state;
	uint64_t capacity;
	uint64_t used;
	uint64_t free;
	uint64_t chunks;
	uint64_t last_seen_ms; /* ago */
	uint64_t first_seen_ms;
	uint64_t last_start_ms;
	uint64_t starts;
};

/* All storage servers, sorted by id. Returns how many; *ret goes to muster_nodes_free(). */
MUSTER_API int muster_nodes(struct muster *session, struct muster_node **ret);
MUSTER_API void muster_nodes_free(struct muster_node *nodes);

struct muster_status {
	uint8_t cluster_id[16];
	char cluster[32];
	char nameserver[64];
	char version[32]; /* of the name server's software */
	uint64_t epoch;
	uint64_t sequence;
	uint32_t nodes_online;
	uint32_t nodes_total;
	uint64_t files;
	uint64_t directories;
	uint64_t bytes;
	uint64_t chunks;
	uint64_t under_copied;
	uint64_t lost;
	uint64_t repairing;
	uint64_t capacity;
	uint64_t used;
	uint64_t free;
	uint32_t catalogue_copies;
	bool writable;
	uint64_t uptime_ms;
};
MUSTER_API int muster_status(struct muster *session, struct muster_status *ret);

/* ---- many at once ----
 *
 * The calls above wait. Those below start an operation and return; any number may be started, and
 * one thread and one descriptor serve them all. A session works on up to 256 puts and gets at once,
 * 48 of them puts of 1 MiB or more, and on 1024 questions; the rest wait in line.
 *
 *     muster_start_get(session, &args, (struct muster_then){ on_done, job }, NULL);
 *     while (running) {
 *             struct pollfd wait = { muster_fd(session), POLLIN, 0 };
 *
 *             poll(&wait, 1, muster_timeout(session));
 *             muster_process(session);
 *     }
 *
 * Completion is told by `done`, from inside muster_process() and exactly once; never from inside
 * muster_start_*(). The operation is gone when `done` returns. `done` may start new operations and
 * cancel others; it must not call blocking functions, muster_process() or muster_close(). The same
 * goes for functions that a put reads from, that a get writes to, or that are told the progress.
 * Blocking calls may be made while operations run: they process those too. */

struct muster_op;
typedef void muster_done_fn(void *context, struct muster_op *op, int result);
struct muster_then {
	muster_done_fn *done; /* NULL: nobody wants to know */
	void *context;
};

/* Readable when muster_process() has something to do. The session's own: only poll it. */
MUSTER_API int muster_fd(const struct muster *session);
/* How long poll() may wait, in ms; -1: for ever. The descriptor also becomes readable then. */
MUSTER_API int muster_timeout(const struct muster *session);
/* Does what can be done without waiting. Returns how many operations are still running. */
MUSTER_API int muster_process(struct muster *session);
/* Waits for something to do, at most `wait_ms` (-1: for ever), and does it. Returns as above, or
 * -MUSTER_E_CANCELLED after muster_interrupt(). */
MUSTER_API int muster_wait(struct muster *session, int wait_ms);

/* `done` is called with -MUSTER_E_CANCELLED in the next muster_process(), unless it came to an end
 * before. A change that has already been sent may still happen. */
MUSTER_API void muster_cancel(struct muster_op *op);

/* Each returns 0 or why nothing was started; then `done` is not called. `ret` may be NULL. */
MUSTER_API int muster_start_put(struct muster *session, const struct muster_put_args *args,
				struct muster_then then, struct muster_op **ret);
MUSTER_API int muster_start_get(struct muster *session, const struct muster_get_args *args,
				struct muster_then then, struct muster_op **ret);
MUSTER_API int muster_start_stat(struct muster *session, const char *path, struct muster_then then,
				 struct muster_op **ret);
MUSTER_API int muster_start_mkdir(struct muster *session, const char *path, unsigned int flags,
				  struct muster_then then, struct muster_op **ret);
MUSTER_API int muster_start_remove(struct muster *session, const char *path, unsigned int flags,
				   struct muster_then then, struct muster_op **ret);
MUSTER_API int muster_start_create(struct muster *session, const char *path,
				   struct muster_then then, struct muster_op **ret);

/* What came out; NULL for operations of another kind. Valid inside `done`; of the get and the put
 * also after a failure, as far as they came. */
MUSTER_API const struct muster_put_result *muster_op_put(const struct muster_op *op);
MUSTER_API const struct muster_get_result *muster_op_get(const struct muster_op *op);
MUSTER_API const struct muster_entry *muster_op_stat(const struct muster_op *op);
MUSTER_API const struct muster_removed *muster_op_removed(const struct muster_op *op);
/* As muster_detail(), of this operation. */
MUSTER_API const char *muster_op_detail(const struct muster_op *op);

#ifdef __cplusplus
}
#endif

#endif

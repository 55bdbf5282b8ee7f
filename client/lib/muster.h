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
 * Time. A call waits as long as something moves: a large file may take hours. When nothing at all
 * moves for `timeout_ms` of the session's options, 4.5 s by default, it ends: -MUSTER_E_TIMEOUT,
 * -MUSTER_E_UNREACHABLE or -MUSTER_E_NO_NAMESERVER. A name server that is lost and found again in
 * between gets that time anew. A put that had begun when it was lost waits for it, or for another
 * that takes over, for 30 s (less with a shorter `timeout_ms`, in proportion); of what can be read
 * only once it fails with -MUSTER_E_EXPIRED all the same, and nothing of it is stored, unless all
 * that was read so far is still in memory: three chunks, 48 MiB. After such an end a
 * change may have happened, or may still happen: look before it is made again. muster_interrupt()
 * ends a call at once. (The one thing that is not in our hands is the system's resolver: options
 * with numbers need none.) With a shorter `timeout_ms` calls that may take the name server a while,
 * such as a copy, still wait for 2.5 s: it tells that it is alive every 2 s.
 *
 * Without a name server a session still reads. After 1.5 s it turns to a storage server, which
 * answers from its copy of the catalogue: stat, list and get work, with every checksum verified as
 * always, and show what that server knew last. Such answers are *degraded*: muster_op_degraded(),
 * muster_info(). Everything else is refused, -MUSTER_E_READ_ONLY; but while a name server is there
 * and takes over, it waits, -MUSTER_E_UNAVAILABLE in the end. A name server that serves again
 * is gone back to without the caller noticing. Answers of a name server that is out of touch with
 * the servers that keep the catalogue with it are marked the same way; it refuses changes with
 * -MUSTER_E_NO_QUORUM. A change that fails with either of the two, or with NO_NAMESERVER or
 * UNAVAILABLE, has not been made; one whose answer was lost ends with -MUSTER_E_TIMEOUT if nobody
 * can tell.
 *
 * Paths are absolute, '/'-separated, NUL-terminated byte strings, without "." and ".." components
 * (-MUSTER_E_BAD_NAME): at most 4096 bytes, 255 per component.
 *
 * Memory. A session needs less than 64 MiB however large the files are that go through it, and for
 * each file held open (struct muster_file) up to 0.7 MiB more.
 *
 * Versions. What is in this header stays as it is for as long as the library is libmuster.so.0.
 * Structures that the caller fills in are to be zeroed first: zero means what is usual.
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

/* ---- errors ----
 *
 *     struct muster_entry entry;
 *     int rc = muster_stat(session, "/backup", &entry);
 *
 *     if (rc == -MUSTER_E_NOT_FOUND)
 *             rc = muster_mkdir(session, "/backup", 0);
 *     if (rc < 0)
 *             fprintf(stderr, "/backup: %s%s%s\n", muster_error_text(rc),
 *                     *muster_detail(session) ? ": " : "", muster_detail(session));
 */

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
	MUSTER_E_INTO_ITSELF = 29,
	MUSTER_E_ONLINE = 30,
	MUSTER_E_IN_PROGRESS = 31,
	MUSTER_E_NO_QUORUM = 32, /* too few servers that keep the catalogue are up: read-only */
	MUSTER_E_OLD_DISK = 33,  /* an older copy of its data directory */
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
	MUSTER_E_READ_ONLY = 78, /* no name server is up: files can only be listed and read */
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

/* Nothing has moved for a second, since somebody is waited for: `what` says in words whom, to be
 * put behind "waiting for", until the next call. Told anew when it is somebody else. From inside of
 * what waits, or muster_process(); it must not call the session's functions. */
typedef void muster_waiting_fn(void *context, const char *what);

/* Zeroed: find the only cluster on this network. Strings are copied. */
struct muster_options {
	const char *nameserver;        /* "HOST[:PORT]" instead of listening; NULL: listen */
	const char *cluster;           /* its name; NULL: any, if only one is heard */
	const char *const *interfaces; /* names or addresses to listen and probe on */
	unsigned int interface_count;  /* 0: all, loopback included */
	uint16_t beacon_port;          /* 0: 3501 */
	enum muster_transfer transfer;
	/* The longest wait in which nothing moves at all: for a name server, for an answer, for the
	 * next byte. 0: 4.5 s. */
	unsigned int timeout_ms;
	const char *remembered; /* "HOST:PORT" that worked last time, tried at once; NULL: none */
	/* 16 bytes, `cluster_id` of last time: without a name server only that cluster is read.
	 * NULL: none, and with `nameserver` but no `cluster` nothing is read then. */
	const uint8_t *remembered_cluster;
	/* 16 bytes that no other session has or ever had: what it changes is numbered under them.
	 * NULL: random. */
	const uint8_t *client_id;
	/* An earlier session read without a name server a moment ago (muster_info.degraded): if
	 * none answers within 0.3 s, this one does, too. */
	bool missed;
	muster_waiting_fn *waiting; /* NULL: nobody wants to know */
	void *waiting_context;
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
	bool degraded;    /* connected to a storage server: there is no name server now */
	char storage[64]; /* that one, "192.168.1.7:3503"; empty: none */
	uint8_t storage_id[16];
	/* Answers of this session so far that were what a server knew last, without a name server
	 * that could be sure. */
	uint64_t degraded_answers;
};
MUSTER_API void muster_info(const struct muster *session, struct muster_info *ret);

struct muster_cluster {
	char name[32];
	char nameserver[64]; /* empty: none is heard, */
	char storage[64];    /* but this storage server, which misses it too */
	uint8_t id[16];
};
/* The clusters that were heard, each once. Returns how many were filled in. */
MUSTER_API unsigned int muster_clusters(const struct muster *session, struct muster_cluster *ret,
					unsigned int most);

/* One line about the last operation that failed, for people: which server or name it was about and
 * what was tried. "" where the error's text says it all. Valid until the next call. */
MUSTER_API const char *muster_detail(const struct muster *session);

/* Makes the blocking call that now runs, or else the next one, return -MUSTER_E_CANCELLED. May be
 * called from a signal handler and from any thread, but not once muster_close() has begun. */
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

/* No name server is up, and only it knows who holds what. */
#define MUSTER_COPIES_UNKNOWN 0xffffffffU

struct muster_entry {
	char name[256]; /* last component, NUL-terminated; empty for the root */
	enum muster_type type;
	uint64_t size;
	uint64_t inode;   /* never used for another content */
	uint64_t version; /* counts the contents that the name has had, from 1 */
	uint64_t created_ms;
	uint64_t modified_ms;
	unsigned int copies; /* of the part that has fewest; or MUSTER_COPIES_UNKNOWN */
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
/* The same from a cursor on: the names after `after`, which need not exist any more. */
MUSTER_API int muster_list_open_after(struct muster *session, const char *path, const char *after,
				      struct muster_list **ret);
/* 1: *ret is the next entry; 0: that was all; else an error. */
MUSTER_API int muster_list_next(struct muster_list *list, struct muster_entry *ret);
MUSTER_API void muster_list_close(struct muster_list *list); /* NULL-safe; before its session */

enum muster_flags {
	MUSTER_PARENTS = 1,    /* mkdir: parents too; an existing directory is no error */
	MUSTER_TREE = 2,       /* remove: a directory with all that is in it */
	MUSTER_REPLACE = 4,    /* put, rename, copy: may take the place of a file */
	MUSTER_INTO = 8,       /* rename, copy: where the target is a directory, into it */
	MUSTER_KEEP_BOTH = 16, /* copy: where the target exists, beside it, as "name(1).ext" */
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

enum { MUSTER_PATH_SIZE = 4097 }; /* room for any path, its NUL included */

/* Moves a file or a directory with all that is in it, in one step. flags: MUSTER_REPLACE,
 * MUSTER_INTO. `ret`: where it is now; may be NULL. -MUSTER_E_INTO_ITSELF. */
MUSTER_API int muster_rename(struct muster *session, const char *path, const char *to,
			     unsigned int flags, char ret[MUSTER_PATH_SIZE]);

struct muster_copied {
	uint64_t count;              /* files and directories */
	uint64_t bytes;              /* of the files */
	char path[MUSTER_PATH_SIZE]; /* where the copy is */
};
/* Copies without moving a byte: both share what is stored until one of them changes. A tree
 * (MUSTER_TREE) appears whole, in one step. flags: also MUSTER_REPLACE, MUSTER_INTO,
 * MUSTER_KEEP_BOTH. `ret` may be NULL. */
MUSTER_API int muster_copy(struct muster *session, const char *path, const char *to,
			   unsigned int flags, struct muster_copied *ret);

/* ---- the trash: what was removed or replaced, for as long as it is kept ----
 *
 *     struct muster_trashed gone;
 *     struct muster_trash *trash;
 *     int rc = muster_trash_open(session, "/backup", &trash);
 *
 *     while (rc == 0 && (rc = muster_trash_next(trash, &gone)) == 1)
 *             rc = muster_trash_restore(session, gone.path, gone.id, NULL, NULL);
 *     muster_trash_close(trash);
 */

struct muster_trashed {
	uint64_t id;
	char path[MUSTER_PATH_SIZE]; /* where it was */
	enum muster_type type;
	uint64_t entries; /* files and directories, itself included */
	uint64_t bytes;
	uint64_t removed_ms;
	uint64_t purge_in_ms; /* of the name server's running time; sooner if space is needed */
};

/* Oldest first. `path`: what was there or below; NULL: all. */
struct muster_trash;
MUSTER_API int muster_trash_open(struct muster *session, const char *path,
				 struct muster_trash **ret);
MUSTER_API int muster_trash_next(struct muster_trash *trash, struct muster_trashed *ret); /* 1, 0 */
MUSTER_API void muster_trash_close(struct muster_trash *trash); /* NULL-safe */

/* Brings back `path`, which may lie inside a directory that was removed, to `to` (NULL: where it
 * was). `id`: which one; 0: the newest. Missing parents are made again; -MUSTER_E_EXISTS where
 * something else has the name. `ret` may be NULL. */
MUSTER_API int muster_trash_restore(struct muster *session, const char *path, uint64_t id,
				    const char *to, struct muster_copied *ret);
/* For good. `path` NULL: the whole trash; else what was removed under that name: all of it, or the
 * one with `id`. */
MUSTER_API int muster_trash_purge(struct muster *session, const char *path, uint64_t id,
				  struct muster_removed *ret);

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

/* Adds to the end of a file that exists (-MUSTER_E_NOT_FOUND). In one step, as a put, and once:
 * what others append at the same time comes before or after it, never in between. The content keeps
 * its inode; its version counts up. `copies` must be 0, `flags` mean nothing. ret->size: of the
 * whole file; the digest is zeros where it is not known, which is where the file had chunks before.
 *
 * A last chunk below 1 MiB is read and sent again in front of the new bytes, so that a file made of
 * many small pieces does not consist of many small chunks. Where others append at the same time
 * that may have to be done again: a source that can be read only once (a pipe, `read`) and brings
 * more than a chunk then fails with -MUSTER_E_STALE, and nothing was added. */
MUSTER_API int muster_append(struct muster *session, const struct muster_put_args *args,
			     struct muster_put_result *ret);

/* A file held open for reading anywhere: all reads see the content it had when it was opened, even
 * if the name is replaced, appended to or removed meanwhile. Where its chunks are is remembered, so
 * that a read mostly costs one question to a storage server and none to the name server. After a
 * restart of the name server a content whose name is gone may be gone too: -MUSTER_E_STALE or
 * -MUSTER_E_NOT_FOUND. See muster_start_read() for several reads at once. */
struct muster_file;
MUSTER_API int muster_file_open(struct muster *session, const char *path, struct muster_file **ret);
MUSTER_API const struct muster_entry *muster_file_entry(const struct muster_file *file);
/* Returns how many bytes were read: fewer than `size` only at the end of the file. */
MUSTER_API int64_t muster_file_read(struct muster_file *file, void *data, size_t size,
				    uint64_t offset);
/* Cancels reads that still run. NULL-safe; before its session. */
MUSTER_API void muster_file_close(struct muster_file *file);

/* ---- the store ----
 *
 *     struct muster_node *nodes;
 *     int count = muster_nodes(session, &nodes);
 *
 *     for (int i = 0; i < count; i++) {
 *             struct muster_reach ways;
 *
 *             if (muster_reach(session, nodes[i].id, &ways) == 0)
 *                     printf("%s: dials us: %s, we dial it: %s\n", nodes[i].name,
 *                            muster_error_name(ways.active), muster_error_name(ways.passive));
 *     }
 *     if (count >= 0)
 *             muster_nodes_free(nodes);
 */

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
	bool disk_failed;
	bool draining;          /* also while it is offline */
	uint64_t catalogue_lag; /* changes that its copy of the catalogue lacks */
};

/* All storage servers, sorted by id. Returns how many; *ret goes to muster_nodes_free(). */
MUSTER_API int muster_nodes(struct muster *session, struct muster_node **ret);
MUSTER_API void muster_nodes_free(struct muster_node *nodes);

enum muster_state {
	MUSTER_SERVES = 1,
	MUSTER_READ_ONLY,  /* too few servers that keep the catalogue are in touch */
	MUSTER_TAKES_OVER, /* it collects what the servers know, and does not serve yet */
};
enum muster_hold {
	MUSTER_HOLD_NONE,
	MUSTER_HOLD_BRAKE,   /* much more than usual would go */
	MUSTER_HOLD_STALE,   /* servers know a newer catalogue */
	MUSTER_HOLD_REBUILT, /* the catalogue was rebuilt a short while ago */
};

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
	uint64_t corrupt;       /* copies found bad and not replaced yet */
	uint64_t trash_entries; /* files and directories */
	uint64_t trash_bytes;
	uint64_t freeing; /* chunks still to be deleted */
	enum muster_state state;
	uint32_t journal_set;    /* storage servers that keep the catalogue with the name server */
	uint32_t journal_needed; /* of these, that must have a change before it counts */
	uint32_t journal_up;     /* of these, that are in touch and have all */
	uint64_t repair_rate;    /* bytes of copies made in a second, lately */
	uint64_t repair_left_ms; /* at that rate; 0: nothing to do, or unknown */
	enum muster_hold hold;   /* why nothing is deleted now */
	uint64_t hold_left_ms;   /* until that ends by itself; 0: it does not */
	char waiting[604];       /* MUSTER_TAKES_OVER: the storage servers it waits for */
};
MUSTER_API int muster_status(struct muster *session, struct muster_status *ret);

/* Nothing new goes to that server any more and what it has moves elsewhere; or, undone, not.
 * Returns 0; ret_chunks (may be NULL): what it holds. */
MUSTER_API int muster_drain(struct muster *session, const uint8_t node[16], bool on,
			    uint64_t *ret_chunks);
/* A server that is offline will not come back. -MUSTER_E_ONLINE. */
MUSTER_API int muster_forget(struct muster *session, const uint8_t node[16]);
/* Empties the whole store, the trash too. `cluster`: its name, as a safeguard. */
MUSTER_API int muster_format(struct muster *session, const char *cluster,
			     struct muster_removed *ret);

/* ---- what is wrong, and what has happened ----
 *
 *     struct muster_events_args wanted = { .wait_ms = 2000, .level = MUSTER_WARN };
 *     int rc = muster_verify(session, "/backup/disk.img", on_finding, NULL, NULL);
 *
 *     if (rc > 0)
 *             printf("%d copies were not right\n", rc);
 *     while (rc >= 0)
 *             rc = muster_events(session, &wanted, on_event, NULL, &wanted.after, NULL);
 *
 * The functions that are told of findings, problems and events run between two questions to the
 * name server: unlike those of puts and gets they may make blocking calls on the session. */

enum muster_copy_state {
	MUSTER_COPY_OK = 1,
	MUSTER_COPY_MISMATCH, /* its content is not what it has to be: it is replaced */
	MUSTER_COPY_MISSING,
	MUSTER_COPY_SILENT, /* its server does not answer */
};
/* One copy of one chunk. */
struct muster_copy_finding {
	uint64_t offset; /* of the chunk in the file */
	uint8_t node[16];
	enum muster_copy_state state;
	bool has_digest;
	uint8_t digest[16]; /* of what is there */
};
/* 0 to go on; anything else cancels. `entry`: of the file. */
typedef int muster_finding_fn(void *context, const struct muster_entry *entry,
			      const struct muster_copy_finding *finding);
/* Has every copy of a file read now, where it is, and compared. Bad ones are replaced by
 * themselves. Returns how many were not right. `progress` (may be NULL): bytes of the file. */
MUSTER_API int muster_verify(struct muster *session, const char *path, muster_finding_fn *each,
			     muster_progress_fn *progress, void *context);

enum muster_problem_kind {
	MUSTER_PROBLEM_UNDER_COPIED = 1,
	MUSTER_PROBLEM_LOST,
	MUSTER_PROBLEM_SURPLUS,
	MUSTER_PROBLEM_CORRUPT,
	MUSTER_PROBLEM_SAME_MACHINE, /* copies share a machine although they need not */
	MUSTER_PROBLEM_NODE,
};
struct muster_problem {
	enum muster_problem_kind kind;
	char path[MUSTER_PATH_SIZE]; /* of a file that has it; "": none is named */
	bool has_node;
	uint8_t node[16];
	unsigned int copies, copies_wanted;
	char detail[256]; /* for people */
};
/* What is wrong, one by one; in bounded memory. `progress` (may be NULL): chunks. Returns how many
 * problems there are. */
typedef int muster_problem_fn(void *context, const struct muster_problem *problem);
MUSTER_API int muster_check(struct muster *session, muster_problem_fn *each,
			    muster_progress_fn *progress, void *context);

enum muster_level { MUSTER_ERROR, MUSTER_WARN, MUSTER_INFO, MUSTER_DEBUG };
struct muster_event {
	uint64_t number;
	uint64_t time_ms;
	enum muster_level level;
	char node[64];    /* the server's name; "": none */
	char event[32];   /* "put_committed" */
	const char *text; /* "path=\"/a\" size=11": valid until the next call */
};
struct muster_events_args {
	uint64_t after;          /* number of the last one known; 0: from the oldest kept on */
	unsigned int wait_ms;    /* with nothing new: wait so long, at most 2 s */
	enum muster_level level; /* this one and graver ones */
	const char *node;        /* NULL: all */
};
/* Calls `each` for what there is (at most some hundred). Returns how many there were; *ret_after:
 * where to go on; *ret_missed (may be NULL): how many were forgotten in between. */
typedef int muster_event_fn(void *context, const struct muster_event *event);
MUSTER_API int muster_events(struct muster *session, const struct muster_events_args *args,
			     muster_event_fn *each, void *context, uint64_t *ret_after,
			     uint64_t *ret_missed);

/* Which ways for bulk data work between this client and a storage server, each tried anew, whatever
 * connections there are. 0: that way works; else why not: -MUSTER_E_TIMEOUT: nothing came, as
 * behind a firewall or NAT; -MUSTER_E_CONNECTION: refused. */
struct muster_reach {
	int active;  /* the server dials us; -MUSTER_E_NO_PORT, -MUSTER_E_UNAVAILABLE: it is down */
	int passive; /* we dial it; -MUSTER_E_UNREACHABLE: no address of it is known;
			   * -MUSTER_E_WRONG_NODE: somebody else is there */
	uint16_t port;    /* on which it would dial us; 0: none is leased */
	char address[64]; /* that we dialled last */
};
/* Returns 0 whatever the ways are. -MUSTER_E_NOT_FOUND: no such server. */
MUSTER_API int muster_reach(struct muster *session, const uint8_t node[16],
			    struct muster_reach *ret);

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
MUSTER_API int muster_start_append(struct muster *session, const struct muster_put_args *args,
				   struct muster_then then, struct muster_op **ret);
/* As muster_file_open(): muster_op_take_file() in `done`. */
MUSTER_API int muster_start_open(struct muster *session, const char *path, struct muster_then then,
				 struct muster_op **ret);
/* As muster_file_read(): muster_op_read() in `done`. Any number at once. */
MUSTER_API int muster_start_read(struct muster_file *file, void *data, size_t size, uint64_t offset,
				 struct muster_then then, struct muster_op **ret);
MUSTER_API int muster_start_stat(struct muster *session, const char *path, struct muster_then then,
				 struct muster_op **ret);
MUSTER_API int muster_start_mkdir(struct muster *session, const char *path, unsigned int flags,
				  struct muster_then then, struct muster_op **ret);
MUSTER_API int muster_start_rmdir(struct muster *session, const char *path, struct muster_then then,
				  struct muster_op **ret);
MUSTER_API int muster_start_remove(struct muster *session, const char *path, unsigned int flags,
				   struct muster_then then, struct muster_op **ret);
MUSTER_API int muster_start_create(struct muster *session, const char *path,
				   struct muster_then then, struct muster_op **ret);
/* Its result is the number of copies held now. */
MUSTER_API int muster_start_set_copies(struct muster *session, const char *path,
				       unsigned int copies, struct muster_then then,
				       struct muster_op **ret);
MUSTER_API int muster_start_status(struct muster *session, struct muster_then then,
				   struct muster_op **ret);

struct muster_move_args {
	const char *path;
	const char *to;     /* restore: NULL: where it was */
	unsigned int flags; /* rename, copy: as there */
	uint64_t id;        /* restore: which one; 0: the newest */
};
MUSTER_API int muster_start_rename(struct muster *session, const struct muster_move_args *args,
				   struct muster_then then, struct muster_op **ret);
MUSTER_API int muster_start_copy(struct muster *session, const struct muster_move_args *args,
				 struct muster_then then, struct muster_op **ret);
MUSTER_API int muster_start_trash_restore(struct muster *session,
					  const struct muster_move_args *args,
					  struct muster_then then, struct muster_op **ret);
MUSTER_API int muster_start_trash_purge(struct muster *session, const char *path, uint64_t id,
					struct muster_then then, struct muster_op **ret);

/* What comes in pages comes one page per operation: its cursor begins the next one. */
struct muster_list_args {
	const char *path;
	const char *after; /* only names behind this one; NULL: from the first on */
	unsigned int most; /* in this page: at most 1000; 0: 256 */
};
struct muster_page {
	const struct muster_entry *entries;
	unsigned int count;
	bool more; /* ask again with the last name as `after` */
};
MUSTER_API int muster_start_list(struct muster *session, const struct muster_list_args *args,
				 struct muster_then then, struct muster_op **ret);

struct muster_node_page {
	const struct muster_node *nodes;
	unsigned int count;
	bool more; /* ask again with the last id as `after` */
};
/* `after`: 16 bytes, only ids behind this one; NULL: from the first on. */
MUSTER_API int muster_start_nodes(struct muster *session, const uint8_t *after,
				  struct muster_then then, struct muster_op **ret);

struct muster_trash_cursor {
	uint64_t since_ms, id;
};
struct muster_trash_args {
	const char *path; /* what was there or below; NULL: all */
	struct muster_trash_cursor after;
};
struct muster_trash_page {
	const struct muster_trashed *entries;
	unsigned int count; /* may be 0 although there is more */
	bool more;
	struct muster_trash_cursor next;
};
MUSTER_API int muster_start_trash(struct muster *session, const struct muster_trash_args *args,
				  struct muster_then then, struct muster_op **ret);

struct muster_event_page {
	const struct muster_event *events;
	unsigned int count;
	uint64_t after; /* where to go on */
	uint64_t missed;
};
MUSTER_API int muster_start_events(struct muster *session, const struct muster_events_args *args,
				   struct muster_then then, struct muster_op **ret);

struct muster_verify_args {
	const char *path;
	uint64_t offset; /* from the chunk with this byte on */
	uint64_t inode;  /* of the pages before: that content, or -MUSTER_E_STALE; 0: any */
};
struct muster_verify_page {
	struct muster_entry entry;
	const struct muster_copy_finding *findings;
	unsigned int count;
	uint64_t next; /* offset to go on from; entry.size: that was all */
};
MUSTER_API int muster_start_verify(struct muster *session, const struct muster_verify_args *args,
				   struct muster_then then, struct muster_op **ret);

MUSTER_API int muster_start_reach(struct muster *session, const uint8_t node[16],
				  struct muster_then then, struct muster_op **ret);

struct muster_check_page {
	const struct muster_problem *problems;
	unsigned int count;
	uint64_t next; /* `after` of the next page */
	uint64_t seen; /* chunks that were looked at for this page */
	bool more;
};
/* `after`: 0: from the start. */
MUSTER_API int muster_start_check(struct muster *session, uint64_t after, struct muster_then then,
				  struct muster_op **ret);

/* What came out. NULL for operations of another kind, and for questions that failed; of the get and
 * the put also after a failure, as far as they came. Valid inside `done`. */
MUSTER_API const struct muster_put_result *muster_op_put(const struct muster_op *op);
MUSTER_API const struct muster_get_result *muster_op_get(const struct muster_op *op);
/* Bytes that a read has delivered, also after a failure. */
MUSTER_API size_t muster_op_read(const struct muster_op *op);
/* What was opened, which is the caller's from then on; NULL: nothing. */
MUSTER_API struct muster_file *muster_op_take_file(struct muster_op *op);
MUSTER_API const struct muster_entry *muster_op_stat(const struct muster_op *op);
/* Of a remove, a purge. */
MUSTER_API const struct muster_removed *muster_op_removed(const struct muster_op *op);
/* Of a copy, a restore, a rename (its count and bytes are 0). */
MUSTER_API const struct muster_copied *muster_op_copied(const struct muster_op *op);
MUSTER_API const struct muster_status *muster_op_status(const struct muster_op *op);
MUSTER_API const struct muster_page *muster_op_list(const struct muster_op *op);
MUSTER_API const struct muster_node_page *muster_op_nodes(const struct muster_op *op);
MUSTER_API const struct muster_trash_page *muster_op_trash(const struct muster_op *op);
MUSTER_API const struct muster_event_page *muster_op_events(const struct muster_op *op);
MUSTER_API const struct muster_verify_page *muster_op_verify(const struct muster_op *op);
MUSTER_API const struct muster_check_page *muster_op_check(const struct muster_op *op);
MUSTER_API const struct muster_reach *muster_op_reach(const struct muster_op *op);
/* Whether what came out is what a server knew last, without a name server that could be sure. */
MUSTER_API bool muster_op_degraded(const struct muster_op *op);
/* As muster_detail(), of this operation. */
MUSTER_API const char *muster_op_detail(const struct muster_op *op);

#ifdef __cplusplus
}
#endif

#endif

/* The inside of a store, shared by the files of this folder and by nobody else. */
#ifndef MUSTER_STORAGE_STORE_IMPL_H
#define MUSTER_STORAGE_STORE_IMPL_H

#include <sys/queue.h>
#include <uthash.h>
#include <utlist.h>

#include "chunk_index.h"
#include "record.h"
#include "store.h"

enum {
	SEGMENT_SIZE_MIN = 16 * 1024 * 1024,
	SEGMENT_SIZE_MAX = 256 * 1024 * 1024,
	SEGMENT_PARTS = 64,     /* a segment is this part of the capacity, within those two */
	OPEN_SEGMENTS_MAX = 64, /* handles kept; more only while readers hold them */
	BATCH_UNLINKS = 64,     /* files removed by one chore: tens of milliseconds */
	BATCH_MOVES = 1024,     /* chunks, and */
	BATCH_MOVE_BYTES = 4 * 1024 * 1024, /* bytes, moved by one chore */
	ZERO_AHEAD = 1024 * 1024, /* of a segment's blocks are written before they are needed, */
	ZERO_GROUP_MAX =
		256 * 1024, /* unless as much comes at once: then it costs more than it saves */
	BIG_DIRS = 256,
	BIG_DIR_SHIFT = 10, /* 1024 chunks in a row share a directory, and so its sync */
	STORE_PATH_MAX = 48,
	LIST_AHEAD = 32768, /* chunks sorted at once for store_list: 512 KiB */
	CHECKPOINT_MS = 10 * 60 * 1000,
	BACK_OFF_MS = 60 * 1000, /* after a chore that found the disk full */
};

struct segment {
	uint32_t number;
	uint32_t pins;
	uint64_t end;    /* of the records that count */
	uint64_t limit;  /* what is allocated while it is written, */
	uint64_t zeroed; /* and up to where those blocks have been written once */
	uint64_t live;   /* bytes of records that the index points to */
	int file;        /* -1: not open */
	bool sealed;
	bool stuck;                  /* what is left cannot be moved: damaged, kept aside */
	bool dead;                   /* unlinked; freed with the last pin */
	struct segment *prev, *next; /* those open, the one used last in front */
};

struct store_write {
	struct disk *disk;
	struct record record;
	struct chunk_meta meta;
	uint32_t filled;
	bool large;
	bool damaged;                 /* being moved: what was found is not the chunk */
	uint8_t *bytes;               /* small: the whole record; large: its first block */
	struct digest_stream *stream; /* large only */
	int file;                     /* large only; -1 until the first byte */
	uint32_t flushed;             /* large only: writeback was asked for up to here */
	uint64_t footprint;
	int source; /* being moved: where from */
	uint64_t source_offset;
	void *tag;
	STAILQ_ENTRY(store_write) link;
	UT_hash_handle hh;
};

STAILQ_HEAD(write_list, store_write);

/* The part of a commit that goes to one segment, by one write. */
struct leg {
	struct segment *segment;
	int file;
	bool create;
	uint64_t offset, size;
	uint64_t zeros;            /* to be written behind it */
	struct store_write *first; /* and those that follow in the list, large ones not counted */
	size_t count;
};

/* A segment that is full: its footer to be. */
struct closing {
	int file;
	const struct leg *leg; /* whose file it is, if that is still to be created */
	struct footer footer;
	struct footer_entry *entries; /* length 0: does not count */
};

struct store_commit {
	struct disk *disk;
	struct write_list writes;
	size_t count;
	struct leg *legs;
	struct closing *closings;
	size_t leg_count, closing_count;
	struct footer_entry *entries; /* new ones of the segment that stays open */
	size_t entry_count;
	bool sealed;
	bool new_big_dir;
	bool fatal; /* a write or sync failed in a way after which nothing may be believed */
};

struct removal {
	uint64_t chunk;
	uint32_t segment; /* 0: the chunk's file */
	bool bad;         /* the one that was put aside */
	uint64_t footprint;
};

struct removals {
	struct removal *list;
	size_t count, capacity;
};

/* Sorted ids, so that a listing in small pages does not pass over the whole index for each. */
struct listing {
	struct store_listed *list;
	size_t count;
	uint64_t after;
	uint64_t version;
	bool more;     /* there are chunks behind the last one */
	bool selected; /* only of these */
	uint8_t buckets[INVENTORY_BITS_SIZE];
};

struct store {
	struct disk *disk;
	struct store_identity identity;
	uint64_t superblock_sequence;
	int lock;
	uint32_t large_from;
	uint64_t segment_size;

	struct chunk_index index;
	struct segment **segments; /* by number, ascending */
	size_t segment_count, segment_capacity;
	struct segment *active;       /* the one that is appended to; may be NULL */
	struct footer_entry *entries; /* of the active one, all records */
	size_t entry_count, entry_capacity;
	uint32_t next_segment;
	struct segment *open_segments;
	size_t open_count;

	struct store_write *writes; /* on their way, by chunk */
	size_t write_count;
	struct removals removals;
	uint8_t big_dirs[BIG_DIRS / 8]; /* known to be durable */
	struct listing listing;
	uint64_t version; /* counts additions to the index */

	uint64_t capacity, reserve;
	uint64_t free_seen; /* in the file system, when it was last looked at */
	uint64_t unseen;    /* bytes reserved since then */
	uint64_t occupied;  /* records, dead ones too, and large files */
	uint64_t reserved;  /* for writes on their way */
	bool failed;
	bool busy;    /* a commit is sealed, or a chore given out */
	bool changed; /* since the last checkpoint */
	bool upkeep;  /* a segment may have become worth moving */
	bool clocked;
	uint64_t checkpoint_ms; /* when the last one was written */
	uint64_t checked_ms;    /* when chores were last asked for */
	uint64_t resume_ms;     /* no moving before */
	struct segment *moving;
	uint64_t *move_list; /* its chunks, those from move_at on are to be moved */
	size_t move_count, move_at;
};

/* segments.c */
struct segment *segment_new(uint32_t number);
struct segment *segment_find(const struct store *store, uint32_t number);
int segments_reserve(struct store *store, size_t more);
void segments_add(struct store *store, struct segment *segment); /* takes it; room was reserved */
void segments_remove(struct store *store, struct segment *segment);
void segments_done(struct store *store);
int segment_open(struct store *store, struct segment *segment); /* and moves it to the front */
void segment_opened(struct store *store, struct segment *segment, int file);
void segment_unpin(struct store *store, struct segment *segment);
void segment_path(uint32_t number, char ret[STORE_PATH_MAX]);
void big_path(uint64_t chunk, const char *suffix, char ret[STORE_PATH_MAX]);
void big_dir_path(uint64_t chunk, char ret[STORE_PATH_MAX]);
unsigned int big_dir_of(uint64_t chunk);
static inline bool big_dir_known(const struct store *store, unsigned int dir)
{
	return store->big_dirs[dir / 8] >> dir % 8 & 1;
}
static inline void big_dir_learn(struct store *store, unsigned int dir)
{
	store->big_dirs[dir / 8] = (uint8_t)(store->big_dirs[dir / 8] | 1u << dir % 8);
}

/* store.c */
int space_check(struct store *store, uint32_t length);

/* write.c */
uint64_t chunk_footprint(const struct store *store, uint32_t length);
struct store_write *write_alloc(struct store *store, const struct chunk_meta *meta);
void write_free(struct store_write *write); /* closes its file; touches no store */
void write_forget(struct store *store, struct store_write *write); /* and frees it */

/* commit.c */
void index_enter(struct store *store, uint64_t chunk, const struct place *place);
void index_leave(struct store *store, uint64_t chunk, const struct place *place);
void commit_free(struct store_commit *commit);
void commit_settle(struct store *store, struct store_commit *commit, int result);
/* Borrows the entries; a commit frees those of its own closings. */
struct closing closing_of(const struct store *store, const struct segment *segment,
			  struct footer_entry *entries, size_t count);
int closing_write(struct disk *disk, struct closing *closing);

/* chore.c */
int removals_add(struct removals *removals, const struct removal *removal);
void removals_cancel(struct store *store, uint64_t chunk);
void removals_flush(struct store *store);

/* checkpoint.c */
struct checkpoint {
	uint64_t generation;
	uint32_t next_segment;
	struct covered *covered; /* by number, ascending */
	size_t covered_count;
};
struct covered {
	uint32_t number;
	bool sealed;
	uint64_t end;
};
int checkpoint_encode(const struct store *store, uint8_t **ret, size_t *ret_size);
int checkpoint_write(struct disk *disk, const uint8_t *data, size_t size);
/* Fills the index. -ERR_NOT_FOUND: none that could be used; nothing was entered then. */
int checkpoint_load(struct store *store, struct checkpoint *ret);
void checkpoint_done(struct checkpoint *checkpoint);

/* scan.c */
struct scanned {
	struct footer_entry entry;
	uint8_t type;
};
struct scan {
	struct scanned *list;
	size_t count, capacity;
	uint64_t mark; /* what lies before it was durable */
	uint64_t end;  /* where the next group would begin */
	uint64_t torn_bytes;
	uint64_t damaged;
	uint64_t generation; /* highest met */
	bool sealed;         /* the footer was whole */
};
/* The records of a segment from `from` on: its footer, or a walk over the headers. */
int segment_scan(struct store *store, const struct segment *segment, uint64_t from,
		 struct scan *ret);
void scan_done(struct scan *scan);

/* recover.c */
int store_recover(struct store *store, struct store_report *report);

#endif

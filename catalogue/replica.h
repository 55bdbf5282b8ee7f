/* A copy of the catalogue on another server than the name server: rows, a journal of the batches
 * that came last, and a few of them in memory for others. Whoever owns it has it do one job after
 * the other, in one thread.
 *
 * A copy grows by batches, in order, each durable in the journal before it counts; rows take them
 * in afterwards. One that lacks too many begins anew (REPLICA_BEGIN) and is loaded in pages, which
 * are rows as they are when each page is read. Rows are absolute, so the batches from the first
 * page's on, applied over them, converge; but only from the last page's batch on are they a
 * catalogue. Batches may come between the pages, too: who gives them keeps them for a while only.
 * Until then the copy is not whole: it serves nobody, and a server with one says that it has none.
 * A stop among the pages is a new beginning. What it had before, and may have acknowledged, it
 * remembers until it has as much again.
 *
 * After a failure of its disk a copy refuses everything until REPLICA_OPEN. */
#ifndef MUSTER_CATALOGUE_REPLICA_H
#define MUSTER_CATALOGUE_REPLICA_H

#include "catalogue.h"
#include "disk.h"
#include "journal_set.h"
#include "recent.h"
#include "view.h"

struct replica;

struct replica_head {
	struct journal_head last; /* durable batch; zeros: none */
	bool whole;               /* else `last` is of a history still to be completed */
	/* The last batch of what was given up for that, while it is later than what is here; zeros:
	 * there is none such, or it was lost in another way. */
	struct journal_head had;
};

enum replica_job_kind {
	REPLICA_OPEN,   /* what is on the disk; what is damaged or half begun is dropped */
	REPLICA_APPEND, /* bytes: whole batches that follow. -ERR_STALE: they do not */
	REPLICA_BEGIN,  /* drops all */
	REPLICA_LOAD,   /* bytes: put changes; point: of their page; `more`: it was not the last */
	REPLICA_PULL,   /* point, offset: what the asker has */
	REPLICA_PAGE,   /* bytes: the key after which to go on. -ERR_UNAVAILABLE: not whole */
	REPLICA_LOOK,   /* has the rows take in everything; the result says what the copy knows */
	/* bytes: a request, `local`: see catalogue_answer(). -ERR_UNAVAILABLE: not whole */
	REPLICA_ASK,
};

struct replica_job {
	enum replica_job_kind kind;
	uint32_t number; /* the asker's; comes back */
	struct slice bytes;
	struct journal_head point;
	uint32_t offset;
	bool more;
	bool local;
};

enum replica_pull_state { PULL_BATCHES = 1, PULL_LEVEL = 2, PULL_UNKNOWN = 3 };

struct replica_peer {
	struct id node;
	struct endpoint endpoints[ENDPOINTS_MAX];
	uint16_t endpoint_count;
};

/* What a server of the journal set is called. */
struct replica_name {
	struct id node;
	char name[HOST_NAME_MAX_ + 1];
};

/* Of whose catalogue it is a copy. */
struct replica_facts {
	struct id cluster;
	char cluster_name[CLUSTER_NAME_MAX + 1];
	struct journal_set set;
	unsigned int members; /* not retired */
	struct replica_name names[2 * JOURNAL_SET_MAX];
	unsigned int name_count;
};

struct replica_result {
	enum replica_job_kind kind;
	uint32_t number;
	int error;
	int dropped;                /* OPEN: why what was on the disk is gone, or 0 */
	struct replica_head head;   /* of the copy, now */
	struct slice bytes;         /* PULL: batches, PAGE: rows, ASK: the answer */
	uint8_t state;              /* PULL: enum replica_pull_state */
	uint32_t size;              /* PULL: see recent_read */
	bool more;                  /* PAGE */
	struct journal_head point;  /* PAGE: the last batch in the rows */
	struct replica_facts facts; /* LOOK; zeros where there is no whole copy */
	/* The storage servers if they have changed, else NULL; until the next job. */
	const struct replica_peer *peers;
	unsigned int peer_count;
};

/* The same, of a catalogue that is whole. */
int replica_facts_read(struct kv *kv, struct replica_facts *ret);

/* Where the rows are: replica_memory.h, replica_view.h. Calls return 0 or negative; all or
 * nothing. */
struct replica_rows;
struct replica_rows_ops {
	/* Opens them if they are not; damage: -ERR_CORRUPT, -ERR_BAD_FORMAT. */
	int (*open)(struct replica_rows *rows, struct view_mark *ret);
	void (*close)(struct replica_rows *rows);
	int (*drop)(struct replica_rows *rows); /* while closed: what is there is damaged */
	int (*apply)(struct replica_rows *rows, struct slice batches);
	int (*load)(struct replica_rows *rows, struct slice changes, const struct view_mark *mark);
	int (*clear)(struct replica_rows *rows, const struct view_mark *mark);
	struct kv *(*kv)(struct replica_rows *rows); /* shows all of the above */
};
struct replica_rows {
	const struct replica_rows_ops *ops;
};

/* What it has for others: bytes of batches in memory, and of a page. */
struct replica_limits {
	size_t recent, page;
	/* A name server's own catalogue: batches of the journal, not those that come, may have
	 * local sections, and there are local rows. They stay until REPLICA_BEGIN. */
	bool own;
};
extern const struct replica_limits replica_limits;     /* the usual ones */
extern const struct replica_limits replica_limits_own; /* nothing is kept for others */

/* `disk`: of the journal; NULL: there is none. Both are borrowed. */
int replica_new(struct disk *disk, struct replica_rows *rows, const struct replica_limits *limits,
		struct replica **ret);
void replica_free(struct replica *replica); /* NULL-safe; the rows are closed */
/* Never fails itself: ret->error says. */
void replica_run(struct replica *replica, const struct replica_job *job,
		 struct replica_result *ret);
/* Takes durable batches into the rows, which a job does only when it needs them or many wait. */
int replica_settle(struct replica *replica);
bool replica_is_settled(const struct replica *replica);

#endif

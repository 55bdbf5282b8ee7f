/* Inside the takeover: takeover.c leads from step to step, takeover_talk.c has the connections,
 * takeover_epoch.c the epoch that is asked for, takeover_choose.c the promises, takeover_pull.c
 * gets what is lacking, takeover_wait.c says who is waited for, takeover_out.c tells. */
#ifndef MUSTER_TAKEOVER_INSIDE_H
#define MUSTER_TAKEOVER_INSIDE_H

#include <sys/queue.h>

#define uthash_fatal(text) abort()
#include <stdlib.h>
#include <uthash.h>

#include "arena.h"
#include "codec.h"
#include "error.h"
#include "random.h"
#include "takeover.h"

enum {
	LISTEN_OWN_MS = 100,   /* for the answer to a probe: is there a name server already? */
	LISTEN_EMPTY_MS = 300, /* the same, where a mistake would confuse clients */
	LISTEN_PROBE_MS = 100, /* between two probes then */
	SEEK_BEACON_MS = 500,  /* between two beacons at first */
	FOUND_PROBE_MS = 250,  /* between two probes for those whose name server is lost */
	SEEK_EAGER_MS = 10 * 1000,
	ASK_AGAIN_MS = 500, /* who has refused a promise for now */
	PROMISE_SILENCE_MS = 3000,
	SOURCE_SILENCE_MS = 5000, /* then somebody else may do better */
	SOURCE_AGAIN_MS = 5000,   /* who failed may do better then */
	SWEEP_MS = 100,           /* between two looks for what has waited too long */
	WAITING_FIRST_MS = 3000,  /* then people are told who is waited for */
	WAITING_NOTE_MS = 10 * 1000,
	LATE_MS = 1000, /* more than a busy machine lets wait: nothing was heard meanwhile */
	STANDBY_SET = JOURNAL_SET_MAX, /* a smaller one may have been cut off, not lost */
	NAME_TEXT_MAX = 4 * CLUSTER_NAME_MAX + 3, /* of a cluster, quoted */
	TAKEOVER_ARENA_MAX = 4 * 1024 * 1024,
	/* What the source reads and sends while a transaction is written and synced. */
	PAGES_AHEAD_MAX = 8,
};

/* Beyond it nobody is believed: there must be room above. */
#define EPOCH_MAX (UINT64_C(1) << 62)
/* Nor does a single datagram bring us further; there are more of them than starts. */
#define EPOCH_LEAP (UINT64_C(1) << 20)

enum takeover_phase {
	PHASE_LISTEN, /* is there another name server? */
	PHASE_QUIET,  /* there is */
	PHASE_SEEK,   /* for promises */
	PHASE_PULL,   /* what is lacking is on its way */
	PHASE_OVER,
};

/* A connection; and what its storage server has promised on it. */
struct takeover_conn {
	UT_hash_handle hh;
	uint64_t conn;
	struct endpoint peer, local;
	uint64_t opened_ms;
	struct buffer hello; /* that has been answered: the whole frame */
	uint8_t role;        /* 0: it has not been */
	struct id self;
	bool hello_waits;
	bool registered;
	struct journal_head said; /* its catalogue, as it registered with */
	uint64_t promised;        /* epoch, likewise */

	uint32_t request;           /* of the PROMISE that is not answered yet; 0: none */
	uint64_t ask_ms;            /* when to ask next, or when it was asked */
	bool granted;               /* the present epoch, to us */
	bool returns;               /* and has never followed anybody since our last batch */
	bool knows;                 /* `returns` has been found out */
	uint64_t excluded_until_ms; /* as a source */
	struct journal_head head;
	bool incomplete; /* `head` is of what its copy was: it has not got so far again */
	struct journal_set set;
};

/* A request that waits for the end. */
struct takeover_waiting {
	TAILQ_ENTRY(takeover_waiting) entries;
	uint64_t conn;
	uint64_t since_ms;
	struct frame_header header;
	size_t size;
	uint8_t body[];
};

/* The job under way. */
enum takeover_step { STEP_NONE, STEP_APPEND, STEP_BEGIN, STEP_LOAD, STEP_LOOK };

/* A page that came while an earlier one is being stored. */
struct takeover_page {
	struct buffer rows;
	struct journal_head point;
	bool more;
};

struct takeover_pull {
	enum takeover_step step;
	uint64_t source;    /* connection */
	unsigned int asked; /* it is, for this: MSG_pull or MSG_page; 0: it is not */
	uint32_t request;
	uint64_t asked_ms;
	struct journal_head target;
	struct buffer part;                          /* of a batch */
	struct buffer cursor;                        /* the last key that came */
	bool more;                                   /* pages are to be asked for */
	struct takeover_page pages[PAGES_AHEAD_MAX]; /* a ring */
	unsigned int first, count;
};

struct takeover {
	struct takeover_config config;
	struct replica_head own;
	struct replica_facts facts; /* of the own catalogue */
	struct id cluster;          /* none: not known yet */
	char cluster_name[CLUSTER_NAME_MAX + 1];
	enum takeover_phase phase;
	uint64_t now_ms, wall_ms;
	uint64_t started_ms;  /* for outcome */
	uint64_t phase_ms;    /* since when */
	uint64_t looked_ms;   /* since when others are looked for */
	uint64_t epoch;       /* asked for, or to be asked for */
	bool asked;           /* somebody was, for that one */
	uint64_t first_asked; /* epoch of this takeover; 0: none */
	uint64_t kept;        /* epoch that the directory has; see TAKEOVER_KEEP */
	bool rebuilding;      /* what it says besides, or is being told */
	bool keeping;         /* both are on their way there: */
	uint64_t keeping_epoch;
	bool keeping_mark;   /* `rebuilding` is news */
	bool keeps_not;      /* it cannot be written */
	bool overtaken;      /* somebody was promised more than this directory knows of */
	uint64_t another_ms; /* when another name server was heard last */
	uint64_t another_interval_ms;
	uint64_t next_probe_ms, next_beacon_ms, next_sweep_ms, next_note_ms;
	uint64_t beacons;
	uint64_t probes_ms[PROBE_ANSWERS_PER_S];
	unsigned int probe;
	unsigned int probes; /* sent while listening */
	bool said_standby, said_two, said_copied;
	struct id seen[STANDBY_SET]; /* storage servers that have registered, ever */
	unsigned int seen_count;
	bool heard;       /* that there is a cluster of the wanted name */
	uint32_t request; /* the last one's number */
	struct takeover_conn *conns;
	TAILQ_HEAD(, takeover_waiting) waiting;
	size_t waiting_bytes;
	struct journal_set deciding; /* of the catalogue that seems right; for notes */
	struct takeover_pull pull;
	struct takeover_outcome outcome;
	struct arena arena;
	struct prng prng;
	struct takeover_outbox *outbox; /* during a step */
	struct takeover_action nowhere; /* where memory is short: the outbox says so */
};

/* takeover_out.c */
struct takeover_action *takeover_act(struct takeover *t, enum takeover_action_kind kind);
void takeover_bytes(struct takeover *t, struct takeover_action *action, struct slice bytes);
void takeover_note(struct takeover *t, enum log_level level, const char *event, const char *format,
		   ...) __attribute__((format(printf, 4, 5)));
void takeover_send(struct takeover *t, uint64_t conn, const struct message *message);
void takeover_refuse_request(struct takeover *t, uint64_t conn, const struct frame_header *header,
			     int error);
uint32_t takeover_ask(struct takeover *t, uint64_t conn, unsigned int code, const void *body);
void takeover_datagram(struct takeover *t, enum beacon_kind kind);
void takeover_give_up(struct takeover *t, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* takeover_talk.c */
struct takeover_conn *takeover_conn_find(const struct takeover *t, uint64_t conn);
void takeover_conn_opened(struct takeover *t, const struct takeover_event *event);
void takeover_conn_closed(struct takeover *t, uint64_t conn);
void takeover_conn_frame(struct takeover *t, const struct takeover_event *event);
void takeover_conn_malformed(struct takeover *t, const struct takeover_event *event);
void takeover_conns_close(struct takeover *t); /* all of them */
void takeover_conns_sweep(struct takeover *t);
void takeover_conns_free(struct takeover *t);
/* The cluster is known now: who waits for its name is greeted. */
void takeover_adopted(struct takeover *t, const struct id *cluster);

/* takeover_epoch.c */
void takeover_epoch_heard(struct takeover *t, uint64_t epoch);
/* By a datagram: anybody may have sent it. */
void takeover_epoch_said(struct takeover *t, uint64_t epoch);
/* Also where we have asked for just that one. */
void takeover_epoch_used(struct takeover *t, uint64_t epoch);
/* A storage server has promised it to somebody else. */
void takeover_epoch_outbid(struct takeover *t, uint64_t epoch);
/* The highest that was promised to this server id, as far as the directory knew at the start. */
uint64_t takeover_epoch_known(const struct takeover *t);
/* A storage server has promised it, to whomever. */
void takeover_epoch_promised(struct takeover *t, uint64_t epoch);
/* Whether the directory knows which epoch is going to be asked for; else it will. */
bool takeover_epoch_is_kept(struct takeover *t);
/* What it has must be less. */
bool takeover_epoch_is_wrong(const struct takeover *t);
/* Whether the directory knows that it is being rebuilt; else it will. */
bool takeover_rebuild_is_kept(struct takeover *t);
void takeover_epoch_kept(struct takeover *t, int error);

/* takeover_choose.c */
void takeover_ask_promises(struct takeover *t);
/* Not who could not begin with those in reach, as far as is known. */
bool takeover_may_ask(struct takeover *t);
void takeover_promise_answered(struct takeover *t, struct takeover_conn *from,
			       const struct frame_header *header, const uint8_t *body);
/* Goes on if enough have promised: to a pull or to the end. */
void takeover_choose(struct takeover *t);
/* Of the servers of the set that decides. */
bool takeover_has_promised(const struct takeover *t, const struct id *node);
/* It has; or is there, and is not asked before more are. */
bool takeover_is_in_reach(struct takeover *t, const struct id *node);
bool takeover_is_without_copy(const struct takeover *t, const struct id *node);
unsigned int takeover_count(const struct takeover *t, bool granted); /* storage servers */

/* takeover_pull.c */
void takeover_pull_start(struct takeover *t, struct takeover_conn *source);
void takeover_pull_answered(struct takeover *t, struct takeover_conn *from,
			    const struct frame_header *header, const uint8_t *body);
void takeover_pull_done_job(struct takeover *t, const struct replica_result *result);
void takeover_pull_lost(struct takeover *t, uint64_t conn);
void takeover_pull_sweep(struct takeover *t);
void takeover_pull_free(struct takeover *t);

/* takeover_wait.c */
void takeover_wait_note(struct takeover *t);
/* For STATUS: in the arena. */
struct slice takeover_wait_names(struct takeover *t);

/* takeover.c */
void takeover_phase_set(struct takeover *t, enum takeover_phase phase);
void takeover_finish(struct takeover *t);
bool takeover_is_empty(const struct takeover *t);
/* A stand-by that is not to begin by itself, as far as it knows: nobody waits for it. */
bool takeover_is_deputy(const struct takeover *t);
/* It has been looking for others for so long that those in reach have come. */
bool takeover_has_looked(const struct takeover *t);

#endif

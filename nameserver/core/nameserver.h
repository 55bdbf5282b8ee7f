/* The name server's core: events in, actions out. No socket, file, clock, thread or random number;
 * the catalogue is a struct kv. One thread.
 *
 *     nameserver_new(&config, kv, now_ms, &ns);
 *     nameserver_end_turn(ns, &outbox);           the new epoch becomes the first batch
 *     for each turn:
 *             nameserver_step(ns, &event, &outbox);     for each thing that happened
 *             nameserver_end_turn(ns, &outbox);
 *     at nameserver_deadline(): an event NS_TICK
 *
 * The glue acts on the outbox after *every* call that was given one and before the next, in order,
 * then clears it. Nothing in an event is kept after the step; what is in the outbox is copied.
 *
 * Answers are held back by the core itself until all that they may rest on is committed: durable
 * here and on enough servers of the journal set (quorum.h). Every reply to a client (also to a pure
 * question, also a refusal) waits for the newest batch sealed up to the end of its turn, and leaves
 * only while the set is in touch; those to storage servers wait for this server's disk. So the glue
 * sends what it is told at once and otherwise only reports NS_DURABLE. Without enough of the set
 * changes are refused with NO_QUORUM and questions are answered with the flag DEGRADED.
 *
 * Without room (NS_SPACE) requests that change something, and those for chunk places, are refused
 * with CATALOGUE_FULL, STATUS says so, and work that can wait writes nothing. Batches still come,
 * few and small, since storage servers come and go: they must fit.
 *
 * Figures in answers: `copies` counts the copies on servers that are online or suspect and that
 * nobody reported bad: exactly in STAT and the first answer to OPEN, over the chunks in later ones,
 * over the first 64 chunks of each file in LIST. `under_copied` and `lost` of STATUS follow each
 * put, report and removal at once; when servers come or go, a walk over all chunks counts them anew
 * (50 000 a second in the background, the next 65 536 at each STATUS). While it is not done, chunks
 * that may have become under-copied and were not reached yet count as such. */
#ifndef MUSTER_NAMESERVER_H
#define MUSTER_NAMESERVER_H

#include "catalogue.h"
#include "endpoint.h"
#include "frame.h"
#include "log.h"

enum {
	SESSIONS_MAX = 16384,          /* connections; more are closed at once */
	SESSIONS_KEPT = 2048,          /* of these, not for clients: HELLO answers BUSY */
	CLIENTS_MAX = 65536,           /* remembered, also those gone for a while */
	PUTS_PER_CLIENT_MAX = 64,      /* open at a time, else BUSY */
	AHEAD_PER_CLIENT_MAX = 256,    /* places leased ahead, else BUSY */
	OPENED_PER_CLIENT_MAX = 65536, /* contents held open; beyond it the oldest is let go */
	OPENED_MAX = 1024 * 1024,      /* of all clients */
	LEASES_MAX = 1024 * 1024,      /* chunk places of all puts, else BUSY */
	OPERATIONS_MAX = 65536,        /* of a client, from the lowest outstanding on, else BUSY */
	PUT_CHUNKS_MAX_ = 128 * 1024,  /* chunks of one file: what fits a batch; else TOO_LARGE */
	CLIENT_GONE_MS = 30 * 1000,    /* then its puts are forgotten */
	CLIENT_FORGET_MS = 10 * 60 * 1000,   /* then its recorded answers are */
	REPAIR_DELAY_MS = 30 * 1000,         /* a server that is offline may come back */
	TRASH_MS = 24 * 60 * 60 * 1000,      /* removed files are kept that long */
	JOURNAL_PATIENCE_MS = 5 * 60 * 1000, /* a server of the journal set may be offline */
	UNKNOWN_GRACE_MS = 10 * 60 * 1000,   /* uptime before unknown chunks are deleted */
	JOURNAL_READ_SIZE = 4 * 1024 * 1024,
};

/* Zero means the default of protocol/bounds.h (or above) for every number but the first block. */
struct nameserver_config {
	struct id self;      /* this server's id */
	struct id machine;   /* see HELLO */
	struct key secret;   /* nobody else's; storage servers' keys derive from it */
	uint64_t seed;       /* jitter and starting points */
	uint64_t wall_ms;    /* now, ms since 1970; shown, never decided by */
	uint64_t epoch;      /* that was promised to this server; 0: takes one more than the last */
	bool rebuilt;        /* the catalogue had to be put together from storage servers' copies */
	uint64_t sequence;   /* of the last durable batch; 0: none */
	struct digest hash;  /* of that batch */
	uint16_t port;       /* control port, goes into beacons */
	uint32_t process;    /* a random number, goes into beacons */
	const char *version; /* of the software; lives as long as the core */
	bool debug;          /* events of level debug are told too */

	uint16_t client_port_first, client_port_last;
	uint8_t copies; /* where no directory says */
	uint32_t chunk_size;
	uint64_t heartbeat_ms, suspect_after_ms, dead_after_ms;
	uint64_t beacon_interval_ms;
	uint64_t repair_delay_ms;
	uint64_t unknown_grace_ms;
	unsigned int brake_floor;     /* chunks; fewer that nobody asked for are no mass */
	uint64_t journal_patience_ms; /* then another server stands in for one of the journal set */
	uint64_t trash_ms;            /* running time that removed files are kept */
	uint32_t scrub_s;             /* in which storage servers read all copies; 0: never */
	uint32_t copy_step;           /* files, directories and chunks that are copied in one go */
	bool no_trash;                /* they are not */
};

struct nameserver;

/* Takes the promised epoch, or epoch + 1, and start number + 1 in the kv's batch. The kv must have
 * been formatted (catalogue_format): else -ERR_NOT_FOUND. -ERR_STALE: its epoch is not below the
 * promised one. It outlives the core. */
int nameserver_new(const struct nameserver_config *config, struct kv *kv, uint64_t now_ms,
		   struct nameserver **ret);
void nameserver_free(struct nameserver *ns); /* NULL-safe */

enum ns_event_kind {
	NS_OPENED,    /* accepted: conn, peer, local */
	NS_GREETED,   /* as NS_OPENED, and its HELLO (header, body) was answered by somebody else */
	NS_FRAME,     /* a whole frame: conn, header, body */
	NS_DIALLED,   /* what came of NS_DIAL: sequence, error: 0: somebody accepted;
		       * -ERR_CONNECTION: refused, nobody listens there; -ERR_TIMEOUT: anything
		       * else, which proves nothing */
	NS_CLOSED,    /* conn, by the other side or an error */
	NS_MALFORMED, /* conn; header: what could be read, or NULL. The core answers and closes. */
	NS_PROBE, /* a PROBE datagram that beacon_decode took and that is meant for this cluster */
	NS_DURABLE, /* all batches up to `sequence` are durable */
	NS_JOURNAL, /* what NS_JOURNAL_READ asked for: sequence, and batches or error (-ERR_STALE:
		     * they have been trimmed) */
	NS_SPACE,   /* from now on there is room for batches, or hardly any: `good` */
	NS_READING, /* from now on connections are read, or none is: `good`. Silence meanwhile is
		     * nobody's fault. */
	NS_KEEPING_UP, /* what was changed is on disk soon enough, or waits in memory: `good`. What
			* changes much and can wait should, before nobody is read any more. */
	NS_TICK,
};

/* now_ms: monotonic, any origin, never goes back. conn: chosen by the glue, not 0, never reused. */
struct ns_event {
	enum ns_event_kind kind;
	uint64_t now_ms;
	uint64_t wall_ms;
	uint64_t conn;
	struct endpoint peer;  /* NS_OPENED */
	struct endpoint local; /* NS_OPENED: our end of that connection */
	const struct frame_header *header;
	const uint8_t *body;
	uint64_t sequence;    /* NS_DURABLE, NS_JOURNAL, NS_DIALLED */
	struct slice batches; /* NS_JOURNAL */
	int error;
	bool good; /* NS_SPACE, NS_READING, NS_KEEPING_UP; all are at the start */
};

enum ns_action_kind {
	NS_SEND,         /* conn, bytes: whole frames */
	NS_CLOSE,        /* conn, after what was sent before; no NS_CLOSED follows */
	NS_COMMIT,       /* bytes: one batch (catalogue/batch.h) with number `sequence`:
		    * view_sealed() now, make it durable, report NS_DURABLE */
	NS_JOURNAL_READ, /* read batches behind `sequence`, up to a durable one, without their local
			  * sections (JOURNAL_READ_SIZE bytes and at least one), and report
			  * NS_JOURNAL; one at a time is asked for */
	NS_BEACON,       /* bytes: one datagram to broadcast */
	NS_EVENT,  /* level, event, bytes: "key=value …" for the log, not terminated, at most
		    * LOG_PAIRS_MAX */
	NS_FAILED, /* the kv or memory failed halfway through a change: stop and recover */
	/* Another name server has been promised a later epoch: this one is none any more. Nothing
	 * it has not answered yet is committed; stop, and take over anew if that may be. */
	NS_DEPOSED,
	/* Connect to `endpoint` within 500 ms and close at once: is anybody there? → NS_DIALLED
	 * with the same `sequence` */
	NS_DIAL,
};

struct ns_action {
	enum ns_action_kind kind;
	uint64_t conn;
	uint64_t sequence;
	size_t offset; /* into the outbox's bytes */
	size_t size;
	enum log_level level;
	const char *event;        /* static */
	struct endpoint endpoint; /* NS_DIAL */
};

/* A zeroed struct is an empty outbox. */
struct ns_outbox {
	struct ns_action *actions;
	unsigned int count;
	unsigned int capacity;
	struct buffer bytes;
	int error; /* -ERR_NO_MEMORY: an action is missing; the glue must stop */
};

void ns_outbox_clear(struct ns_outbox *outbox);
void ns_outbox_done(struct ns_outbox *outbox);
static inline struct slice ns_action_bytes(const struct ns_outbox *outbox,
					   const struct ns_action *action)
{
	if (action->size == 0)
		return (struct slice){ 0 };
	return (struct slice){ outbox->bytes.data + action->offset, action->size };
}

/* Handles one event. A turn that has grown very large is sealed here already (NS_COMMIT). */
void nameserver_step(struct nameserver *ns, const struct ns_event *event, struct ns_outbox *outbox);

/* Seals what the turn changed into one batch (NS_COMMIT, at most one; none if nothing changed), and
 * releases the answers of turns that rest on nothing undurable. */
void nameserver_end_turn(struct nameserver *ns, struct ns_outbox *outbox);

/* What the glue itself has to say: it comes back as NS_EVENT, and EVENTS tells it. Of `event` only
 * `level` and `event` count; at most EVENT_TEXT_MAX bytes of pairs. */
void nameserver_event(struct nameserver *ns, const struct ns_action *event, struct slice pairs,
		      uint64_t wall_ms, struct ns_outbox *outbox);

/* When the next NS_TICK is due. Ticks may come earlier or more often. */
uint64_t nameserver_deadline(const struct nameserver *ns);

/* For the glue's messages and for tests. */
struct nameserver_info {
	struct id cluster;
	char cluster_name[CLUSTER_NAME_MAX + 1];
	uint64_t epoch;
	uint64_t start;
	uint64_t sequence; /* sealed */
	uint64_t durable;
	uint64_t committed; /* durable here and on the quorum */
	bool serving;       /* the first batch is committed */
	bool lost;          /* too few of the journal set are in touch */
	unsigned int sessions;
	unsigned int clients;
	unsigned int members;
	unsigned int leases; /* chunk places */
};
struct nameserver_info nameserver_info(const struct nameserver *ns);

#endif

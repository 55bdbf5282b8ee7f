/* What a name server does before it serves: it finds its cluster, collects the promises of storage
 * servers, and gets what its own catalogue lacks from theirs. Start, restart, rebuild on an empty
 * directory and fail-over are all this one procedure:
 *
 *  1. Quiet. Who hears a name server of the cluster (a beacon not of ours) waits until it has been
 *     silent for `dead_after_ms`, not counting times in which it slept itself. A stand-by takes
 *     over by itself only from a journal set of three; as long as it knows of none, nobody waits
 *     for it.
 *  2. Beacons. Storage servers that have lost their name server dial, greet and register; their
 *     REGISTER, and whatever clients ask, waits for the end.
 *  3. PROMISE with an epoch above all that was heard of, asked of every server that has registered:
 *     once these could be enough of the own catalogue's journal set, or one of them has, or may
 *     have, a later catalogue. Else another name server may serve with them.
 *     Who has promised a higher one is asked again with one above that. What is asked for is
 *     durable in the directory first (TAKEOVER_KEEP).
 *  4. The newest catalogue (epoch, then sequence) among the own and those of promised members of
 *     the journal set is the right one, once the set that *it* names has promised in sufficient
 *     number (journal_set.h); whoever has a later one does not count. JOURNAL_RETURN is enough
 *     after `found_after_ms` if it ends in the epoch in which the own one ended at the start, and
 *     the servers' promises before this were given to this server, in an epoch that this very
 *     directory has had or has asked for (TAKEOVER_KEEP). A catalogue without a set is opened then,
 *     too. In that time whoever knows a later batch of that epoch makes himself heard, be he in the
 *     set or not: the directory may be an old copy of itself.
 *  5. What the own one lacks is pulled over the same connection, or all of it copied in pages.
 *  6. TAKEOVER_OPEN: the glue hands everything over to the core of nameserver.h.
 *
 * Two processes with one server id have copies of one directory. Of these the one that serves goes
 * on, else the one with the higher epoch, or number of its process; the other is quiet.
 *
 * An empty directory that hears of no cluster of its name for `found_after_ms` founds one.
 *
 * The own catalogue is operated as a struct replica by the glue: TAKEOVER_JOB, one at a time. The
 * glue opens it before the first job (a REPLICA_OPEN of its own, of which nothing is told here) and
 * closes it before it carries out TAKEOVER_OPEN. No job ever comes where nothing is lacking.
 * Pure, like nameserver.h: events in, actions out. One thread. */
#ifndef MUSTER_TAKEOVER_H
#define MUSTER_TAKEOVER_H

#include "beacon.h"
#include "nameserver.h"
#include "replica.h"

enum {
	FOUND_AFTER_MS = 2300,       /* who has lost its name server answers probes by then */
	ACCEPT_AFTER_MS = 10 * 1000, /* with accept_rebuild: how long others are waited for */
	TAKEOVER_WAITING_BYTES_MAX = 4 * 1024 * 1024, /* requests that wait, of all connections */
	TAKEOVER_WAIT_MS = 2000, /* then a client's request is refused: UNAVAILABLE */
};

struct takeover_config {
	struct id self, machine;
	uint64_t seed;
	uint16_t port;
	uint32_t process; /* a random number: beacons of another process with our id are no echo */
	const char *version;
	uint64_t asked_epoch;       /* of the directory: see TAKEOVER_KEEP */
	bool rebuilding;            /* so was this */
	struct replica_head head;   /* of the own catalogue; zeros: the directory is empty */
	struct replica_facts facts; /* of it; zeros where it is empty or not whole */
	char cluster_name[CLUSTER_NAME_MAX + 1]; /* wanted; empty: that of the own catalogue */
	bool unfinished; /* an earlier takeover was cut short here: there is a cluster somewhere */
	bool standby;
	bool accept_rebuild; /* the operator says that no more servers will come */
	uint64_t beacon_interval_ms, dead_after_ms, found_after_ms; /* 0: as usual */
};

struct takeover;

int takeover_new(const struct takeover_config *config, uint64_t now_ms, struct takeover **ret);
void takeover_free(struct takeover *takeover); /* NULL-safe */

enum takeover_event_kind {
	TAKEOVER_OPENED,    /* accepted: conn, peer, local */
	TAKEOVER_FRAME,     /* conn, header, body */
	TAKEOVER_CLOSED,    /* conn */
	TAKEOVER_MALFORMED, /* conn, header or NULL */
	TAKEOVER_HEARD,     /* a valid datagram: beacon, peer (its source) */
	TAKEOVER_REPLICA,   /* what came of TAKEOVER_JOB: replica */
	TAKEOVER_KEPT,      /* what came of TAKEOVER_KEEP: error */
	TAKEOVER_TICK,
};

struct takeover_event {
	enum takeover_event_kind kind;
	uint64_t now_ms;
	uint64_t wall_ms;
	uint64_t conn;
	struct endpoint peer, local;
	const struct frame_header *header;
	const uint8_t *body;
	const struct beacon *beacon;
	const struct replica_result *replica;
	int error;
};

enum takeover_action_kind {
	TAKEOVER_SEND,   /* conn, bytes */
	TAKEOVER_CLOSE,  /* conn; no CLOSED follows */
	TAKEOVER_BEACON, /* bytes: one datagram to broadcast */
	TAKEOVER_JOB,    /* job; its bytes are the action's → TAKEOVER_REPLICA */
	/* epoch: durable from now on as the directory's asked_epoch → TAKEOVER_KEPT. It means that
	 * whatever this server id was promised up to there, was promised to this directory as it is
	 * now. So one that is older than what storage servers have promised keeps the lower
	 * number. `rebuilding`: what is fetched now, or was, may lack what somebody was told; the
	 * glue takes it back once the first batch of the next core is committed, which says so
	 * itself. */
	TAKEOVER_KEEP,
	TAKEOVER_NOTE,   /* level, event, bytes: for the log, as NS_EVENT */
	TAKEOVER_OPEN,   /* done: takeover_outcome(), takeover_hand_over() */
	TAKEOVER_REFUSE, /* this server must not start: error; bytes: a line for people */
};

struct takeover_action {
	enum takeover_action_kind kind;
	uint64_t conn;
	size_t offset, size; /* into the outbox's bytes */
	struct replica_job job;
	uint64_t epoch;
	bool rebuilding;
	enum log_level level;
	const char *event;
	int error;
};

/* A zeroed struct is an empty outbox. */
struct takeover_outbox {
	struct takeover_action *actions;
	unsigned int count, capacity;
	struct buffer bytes;
	int error;
};
void takeover_outbox_clear(struct takeover_outbox *outbox);
void takeover_outbox_done(struct takeover_outbox *outbox);
static inline struct slice takeover_action_bytes(const struct takeover_outbox *outbox,
						 const struct takeover_action *action)
{
	if (action->size == 0)
		return (struct slice){ 0 };
	return (struct slice){ outbox->bytes.data + action->offset, action->size };
}

void takeover_step(struct takeover *takeover, const struct takeover_event *event,
		   struct takeover_outbox *outbox);
uint64_t takeover_deadline(const struct takeover *takeover);

struct takeover_outcome {
	uint64_t epoch; /* promised; for nameserver_config.epoch */
	bool founded;   /* there was no cluster: the glue formats the catalogue */
	/* The own catalogue was empty, and no stand-by's, or too few agreed; now, or in a takeover
	 * that was cut short. */
	bool rebuilt;
	bool copied;              /* something came from storage servers */
	struct id source;         /* from which one, the last */
	struct journal_head head; /* of what was taken over */
	uint64_t took_ms;
};
struct takeover_outcome takeover_outcome(const struct takeover *takeover);

/* Tells everything that the next core has to know, in order: for each connection NS_GREETED (or
 * NS_OPENED where nobody has greeted), then NS_FRAME for each request that waits. */
typedef void takeover_hand_fn(void *context, struct ns_event *event);
void takeover_hand_over(struct takeover *takeover, takeover_hand_fn *hand, void *context);

#endif

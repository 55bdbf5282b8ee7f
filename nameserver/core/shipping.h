/* Copies of the catalogue on storage servers: what this server keeps for them, and what it knows
 * of each. See shipping.c and pulls.c. */
#ifndef MUSTER_NS_SHIPPING_H
#define MUSTER_NS_SHIPPING_H

#include "recent.h"

enum {
	SHIP_RECENT_MAX = 16 * 1024 * 1024, /* bytes of batches in memory */
	/* On their way to one server. Half of what it takes before it stops reading, and of what
	 * may be unsent before we stop reading it: batches alone must hold up neither orders nor
	 * heartbeats. */
	SHIP_BYTES_MAX = REQUEST_BYTES_MAX / 2,
	SHIP_PARTS_MAX = 32,  /* the same; it stops reading at REQUESTS_MAX */
	SHIP_AGAIN_MS = 5000, /* before a copy that lacks something is asked again */
	COPY_LATE_MS = 5000,  /* what a copy may lack and still counts */
	COMMIT_NOTES = 8,     /* a second apart: more than COPY_LATE_MS */
};

/* A BATCH that waits for its answer. */
struct shipped_part {
	uint32_t id;
	uint32_t size;
	uint64_t sequence;
	bool last;       /* of its batch */
	unsigned int of; /* member_copy.turns when it left */
};

struct member_copy {
	uint64_t acknowledged; /* it has all batches up to this one; 0: nothing is known */
	uint64_t proven;       /* the same, durable and surely of our history */
	/* It has, or is being sent, all before `next`. Else it lacks something, which it will pull:
	 * until then it is only asked, now and then, by the first part of the newest batch. */
	bool level;
	uint64_t again_ms;
	uint64_t next;
	uint32_t offset; /* in that batch */
	/* Nothing leaves before this batch is durable here: an answer that must come first waits
	 * for it. UINT64_MAX: for that of the turn that runs. */
	uint64_t answered;
	unsigned int turns; /* of `level` and `next`: what left before says nothing any more */
	unsigned int count;
	size_t bytes; /* on their way */
	struct shipped_part parts[SHIP_PARTS_MAX];
};

struct commit_note {
	uint64_t ms, sequence;
};

struct shipping {
	struct recent recent; /* sealed batches */
	struct recent older;  /* what was read from the journal last */
	bool reading;
	uint64_t read_after;
	int read_error;                         /* of that reading */
	bool due;                               /* something may leave */
	bool answering;                         /* some member_copy.answered is UINT64_MAX */
	struct commit_note notes[COMMIT_NOTES]; /* the newest first */
	struct buffer scratch;
};

struct nameserver;
struct member;
struct frame_header;
struct register_request;

void shipping_init(struct nameserver *ns);
void shipping_done(struct nameserver *ns);
void shipping_sealed(struct nameserver *ns, struct slice batch);
void shipping_committed(struct nameserver *ns); /* ns->committed has grown */
void shipping_turn_ends(struct nameserver *ns);
void shipping_run(struct nameserver *ns); /* what may leave, leaves */
void shipping_tick(struct nameserver *ns);
uint64_t shipping_deadline(const struct nameserver *ns);
void shipping_answered(struct nameserver *ns, struct member *member,
		       const struct frame_header *header, const uint8_t *body);
void shipping_joined(struct nameserver *ns, struct member *member,
		     const struct register_request *request);
void shipping_left(struct member *member);
/* It told what it has, and is being answered with all up to `sent` (0: it takes a full copy). */
void shipping_pulled(struct nameserver *ns, struct member *member, uint64_t has, uint64_t sent);
uint64_t copies_settled(const struct nameserver *ns);      /* what every copy should have by now */
uint32_t copies_of_catalogue(const struct nameserver *ns); /* for STATUS */
uint64_t copy_lag(const struct nameserver *ns, const struct member *member); /* batches */

/* pulls.c: the journal was read. -ERR_STALE: it no longer goes back so far. */
void journal_was_read(struct nameserver *ns, uint64_t after, struct slice batches, int error);

#endif

/* A takeover among scripted storage servers, which answer as real ones: HELLO, REGISTER, PROMISE,
 * PULL and PAGE are real frames. The own catalogue is a real replica in memory. */
#ifndef MUSTER_TAKEOVER_WORLD_H
#define MUSTER_TAKEOVER_WORLD_H

#include "codec.h"
#include "replica_memory.h"
#include "takeover.h"

enum { LINE_MAX_ = 24, FAKES_MAX = 4, CLIENT_CONN = 100, ASIDE_MAX_ = 64 };

/* A history of the catalogue: batch 1 has formatted it and named the journal set. */
struct line_of_batches {
	struct kv *kv;
	struct buffer batches[LINE_MAX_];
	struct journal_head heads[LINE_MAX_ + 1]; /* [n]: after n batches */
	struct journal_set set;
	unsigned int count;
};

extern const struct id the_cluster;
#define THE_NAME "home"

struct id fake_id(unsigned int number); /* from 1 */
/* `members`: servers 1 to that many are the journal set. */
void line_init(struct line_of_batches *line, unsigned int members);
void line_add(struct line_of_batches *line, uint64_t epoch, size_t size);
/* One of ten batches, in epochs 1 to 3; one of them is large. */
void line_make(struct line_of_batches *line, unsigned int members);
/* The same up to batch `from`, and the rest to be added. */
void line_fork(struct line_of_batches *line, const struct line_of_batches *other,
	       unsigned int from);
void batches_done(struct line_of_batches *line);

struct fake {
	bool up;
	uint64_t conn; /* 0: not connected */
	const struct line_of_batches *line;
	unsigned int has;    /* batches; 0: it has no copy */
	unsigned int oldest; /* the first batch that it can give one by one */
	uint64_t promised, previous;
	struct id promised_to, previous_to;
	uint32_t process;      /* that it is promised to; 0: whichever */
	unsigned int busy;     /* so many promises are refused so */
	unsigned int dies_in;  /* answers to PULL and PAGE; 0: never */
	unsigned int refuses;  /* so many of them are refused */
	unsigned int delays;   /* before that, so many take longer: IN_PROGRESS */
	bool opening;          /* when it greets and registers it does not know its copy yet */
	unsigned int promises; /* asked of it */
	unsigned int pages, pulls;
	bool no_cluster;
	/* `has` is of what its copy was: it is being made anew and gives nothing. */
	bool incomplete;
};

struct world {
	struct takeover_config config;
	struct takeover *takeover;
	struct takeover_outbox outbox;
	struct replica_memory rows;
	struct replica *own;
	struct fake fakes[FAKES_MAX + 1]; /* from 1 */
	struct buffer inbox;              /* u64 conn, then a frame, and so on */
	struct arena arena;
	uint64_t now_ms;
	uint64_t last_conn;
	bool opened;
	int refused;
	char why[512];
	unsigned int beacons, probes;
	uint64_t beacon_epoch;
	bool beacon_waits;
	uint64_t kept;         /* by the directory, as asked_epoch */
	bool marked;           /* there: it is being rebuilt */
	unsigned int unmarked; /* jobs before that */
	int keep_error;
	bool holds;             /* jobs wait for world_job() */
	struct replica_job job; /* one does, if its kind is not 0, */
	struct buffer job_bytes;
	int job_error; /* and fails so */
	struct buffer notes;
	uint8_t client_status[ASIDE_MAX_]; /* of the client's answers, in order */
	unsigned int client_answers;
	uint8_t client_state; /* of the last STATUS */
	char client_waiting[WAITING_TEXT_MAX + 1];
	uint64_t client_epoch; /* that it was greeted with */
	bool client_closed;
};

/* The own catalogue: the first `has` batches of the line. */
void world_init(struct world *world, const struct line_of_batches *line, unsigned int has);
void world_begin(struct world *world); /* after config has been changed */
void world_done(struct world *world);
/* Killed, and started again with what the directory has. */
void world_restart(struct world *world);
struct fake *world_fake(struct world *world, unsigned int number,
			const struct line_of_batches *line, unsigned int has);
/* Until it is open or refuses, or that much time is over. */
void world_run(struct world *world, uint64_t ms);
void world_job(struct world *world); /* the job that waits is done */
void world_connect(struct world *world, unsigned int number);
void world_disconnect(struct world *world, unsigned int number);
void world_hear(struct world *world, const struct beacon *beacon);
struct beacon world_nameserver(uint64_t epoch);
void world_client(struct world *world, bool hello);
void world_client_asks(struct world *world, unsigned int code, const void *request);
bool world_noted(const struct world *world, const char *event);
/* The own rows are those after `count` batches. */
bool world_has(struct world *world, const struct line_of_batches *line, unsigned int count);

#endif

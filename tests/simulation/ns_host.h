/* A simulated name server: first the core of takeover.h over a copy of the catalogue on its disk,
 * then the core of nameserver.h over the same directory. */
#ifndef MUSTER_TESTS_NS_HOST_H
#define MUSTER_TESTS_NS_HOST_H

#include "arena.h"
#include "journal.h"
#include "journal_reader.h"
#include "kv_memory.h"
#include "nameserver.h"
#include "takeover.h"
#include "world.h"

enum { NS_PORT = 6235, NS_FLIGHT_MAX = 512 };

/* Batches that are sealed and not known to be committed. */
struct ns_flight {
	struct journal_head heads[NS_FLIGHT_MAX];
	unsigned int first, count;
};

struct ns_host {
	uint64_t armed_ms;
	struct arena arena;

	/* Before it serves. */
	struct takeover *takeover; /* NULL: it serves */
	struct takeover_outbox taking;
	struct replica *replica;
	struct replica_job job;
	struct buffer job_bytes;
	bool job_due, open_due;
	struct id promised_by; /* the last one; for sabotage */

	/* While it serves. */
	struct kv *kv;
	struct journal *journal;
	struct journal_reader *reader;
	struct nameserver *core; /* NULL: it does not */
	struct ns_outbox outbox;
	struct buffer queued, appending; /* whole batches */
	uint64_t queued_sequence, appending_sequence, durable;
	bool is_appending, turn_due, deposed;
	struct ns_flight flight;
	uint64_t committed;
	bool marked; /* the directory: it is being rebuilt */
};

static inline struct ns_host *ns_of(const struct host *host)
{
	return host->process;
}

/* ns_host.c */
void ns_step(struct host *host, struct ns_event *event);
bool ns_serve(struct host *host); /* takes over from ns->takeover, which is done */
void ns_arm(struct host *host, uint64_t deadline_ms);

/* ns_taking.c */
bool ns_taking_start(struct host *host, struct ns_host *ns);
void ns_taking_stop(struct host *host, bool crash);
void ns_taking_step(struct host *host, struct takeover_event *event);
/* Takes the mark of a rebuild back once the catalogue says it itself. */
void ns_mark_look(struct host *host);

/* ns_commit.c */
void ns_commit(struct host *host, const struct ns_action *action, struct slice batch);
void ns_commit_stop(struct host *host, bool crash);
void ns_journal_read(struct host *host, const struct ns_action *action);
void ns_commit_look(struct host *host); /* what has been committed by now */

/* ns_disk.c: the catalogue as its directory has it; 0 or negative. */
int ns_disk_load(struct host *host, struct kv **ret_kv, struct journal **ret_journal,
		 struct journal_head *ret_head);
void ns_rows_need(struct host *host);

/* ns_sabotage.c */
void ns_sabotage_step(struct world *w, struct kv *kv);
void ns_sabotage_start(struct world *w, struct kv *kv);
/* Batches have been sent there. */
void ns_sabotage_ack(struct host *host, uint64_t conn, struct slice frames);
/* False: the frame is not to be heard. */
bool ns_sabotage_hears(const struct host *host, const struct frame_header *header);
/* What its own copy says of itself, before it serves. */
void ns_sabotage_looked(struct host *host, struct replica_result *result);
/* Before it serves: hands the frame on, changed perhaps. */
void ns_sabotage_taking(struct host *host, uint64_t conn, const struct frame_header *header,
			const uint8_t *body);

#endif

/* muster-storage: sockets, threads and files around the core of storage/core.
 *
 * Threads: the loop's, which owns everything but jobs; one for syncing (commits and chores); one
 * for the copy of the catalogue; some that receive long transfers and some that send them; libuv's,
 * which wait for the disk where a READ or an inspection has to, and for names. A job belongs to one
 * thread at a time and comes back to the loop through `wake`, or as libuv does it. */
#ifndef MUSTER_STORAGE_DAEMON_H
#define MUSTER_STORAGE_DAEMON_H

#include <pthread.h>
#include <stdatomic.h>

#include <bsd/sys/queue.h>
#include <uthash.h>

#include "buffer.h"
#include "disk.h"
#include "storage.h"
#include "storage_settings.h"
#include "store.h"
#include "store_chunks.h"
#include "transport.h"

enum {
	LARGE_SIZE = SMALL_CHUNK_MAX + 1,
	RECEIVERS = 64, /* each may wait for a slow peer; started when they are needed */
	SENDERS = 3,
	SILENCE_MS = 10 * 1000,   /* a peer in the middle of a long transfer, then it is dropped */
	UNSENT_MAX = 1024 * 1024, /* answers to READ wait until the peer has taken what was sent */
	READS_WAITING_MAX = 64,   /* then no more requests are read */
	STRANGER_FRAME_MAX = 64 * 1024,
	CHORE_MS = 1000,
	GOODBYE_MS = 500,         /* for the name server to hear that we go */
	ADDRESSES_MS = 10 * 1000, /* how often our own addresses are looked at */
};

struct daemon;
struct receive;
struct flow;

/* ---- where bytes for a flow come from ---- */

/* A chunk on its way in, or a stored one. Counted references; freed in the loop thread. */
struct source {
	struct daemon *daemon;
	unsigned int references; /* loop thread */
	uint32_t transfer;       /* key while it is on its way in */
	UT_hash_handle hh;
	const struct store_write *write;
	struct store_reader *reader; /* of a stored chunk */
	struct flow *flow;           /* that it feeds; under the flows' lock */
	int file;
	uint64_t base;
	_Atomic uint32_t available; /* bytes that may be sent */
	_Atomic bool failed;        /* there will be no more */
	uint8_t crcs[CHUNK_SIZE_MAX / (64 * 1024) * 4];
};

struct source *source_of_write(struct daemon *daemon, struct store_write *write, uint32_t transfer);
/* [any] Once the write has a file, which is after its first bytes. */
int source_open_write(struct source *source, const struct store_write *write);
/* Bytes of a stored chunk up to `end`. Takes the reader over, also if it fails. */
int source_of_reader(struct daemon *daemon, struct store_reader *reader, uint32_t end,
		     struct source **ret);
struct source *source_find(struct daemon *daemon, uint32_t transfer);
/* No longer found by its transfer, because the store has the chunk now, or never will. */
void source_retire(struct daemon *daemon, uint32_t transfer);
void source_retire_write(struct daemon *daemon, const struct store_write *write);
void source_release(struct source *source);

/* ---- flows: long transfers that go out ---- */

struct wire;
struct flow_order {
	struct source *source; /* a reference that the flow takes over */
	uint32_t transfer;     /* of a forward; 0: the answer to a READ */
	uint32_t id;
	uint32_t offset, length;
	struct slice prefix; /* frames to send first */
};
int flow_start(struct wire *wire, const struct flow_order *order);
void flows_kick(struct daemon *daemon, struct source *source); /* [any] more is available */
int flows_new(struct daemon *daemon);
void flows_free(struct daemon *daemon); /* stops them first */
void flows_finished(struct daemon *daemon);
void flows_report(struct daemon *daemon); /* progress, to the core */

/* ---- receiving ---- */

int receive_start(struct wire *wire, const struct storage_action *action);
int receivers_new(struct daemon *daemon);
void receivers_free(struct daemon *daemon);
void receives_finished(struct daemon *daemon);

/* ---- inspecting ---- */

void inspect_start(struct daemon *daemon, const struct storage_action *action);

/* ---- scrubbing ---- */

/* What DATA/scrub says; zeros where it is damaged or missing. */
void scrub_load(struct daemon *daemon, struct scrub_state *ret);
void scrub_keep(struct daemon *daemon); /* now and then: writes down how far it is */
void scrub_write(struct disk *disk, const struct scrub_state *state); /* [any], at once */

/* ---- connections ---- */

/* A READ that waits for its turn. */
struct waiting_read {
	STAILQ_ENTRY(waiting_read) next;
	uint64_t chunk;
	uint32_t id, offset, length;
	bool wait; /* for the disk, on the loop */
};

struct wire {
	struct daemon *daemon;
	uint64_t handle;
	UT_hash_handle hh;
	struct link *link;
	int socket;
	bool known;              /* has said HELLO */
	bool paused;             /* by the core */
	struct receive *receive; /* owns the input */
	struct flow *flow;       /* owns the output */
	bool reading;            /* a worker waits for the disk to answer a READ */
	STAILQ_HEAD(, waiting_read) reads;
	unsigned int reads_count;
	struct buffer held; /* frames to send after the flow */
	bool gone;          /* the core knows nothing of it any more */
	int lost;           /* STORAGE_CLOSED is due when the workers let go */
};

void wire_opened(void *context, int socket, const struct endpoint *peer);
int wire_new(struct daemon *daemon, uint64_t handle, int socket, struct wire **ret);
struct wire *wire_find(struct daemon *daemon, uint64_t handle);
void wire_send(struct wire *wire, const void *data, size_t size);
void wire_pause(struct wire *wire, bool paused);
void wire_read(struct wire *wire, const struct waiting_read *read);
void wire_read_again(struct wire *wire, const struct waiting_read *read); /* before the others */
void wire_next(struct wire *wire);            /* the output is free again, or freer */
void wire_close(struct wire *wire);           /* by order of the core */
void wire_lost(struct wire *wire, int error); /* the peer has gone */
void wire_worker_done(struct wire *wire);     /* after `receive` or `flow` became NULL */
void wires_shutdown(struct daemon *daemon);
void wires_free(struct daemon *daemon);

/* Answers, or lets a worker wait for the disk and answer then. */
void read_answer(struct wire *wire, const struct waiting_read *read);
void read_failed(struct wire *wire, const struct waiting_read *read, int error);

/* ---- the store ---- */

struct syncer {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t change;
	bool started, stop;
	struct store_commit *commit; /* one of the two is the job at work */
	struct store_chore *chore;
	bool finished;
	int result;
	struct buffer stored; /* what a commit has brought */
};
int syncer_new(struct daemon *daemon);
void syncer_submit(struct daemon *daemon);   /* at the end of a loop turn */
void syncer_finished(struct daemon *daemon); /* the job came back */
void syncer_chores(struct daemon *daemon);
void syncer_free(struct daemon *daemon); /* makes durable what was gathered */

/* ---- the copy of the catalogue ---- */

struct copying;
/* Its thread has a disk of its own in DATA/catalogue, and a journal and syncs of its own. */
int copying_new(struct daemon *daemon);
extern const struct storage_catalogue copying_catalogue; /* context: struct copying */
void copying_finished(struct daemon *daemon);            /* jobs came back */
void copying_free(struct daemon *daemon);

/* ---- the whole ---- */

struct dialling;

struct daemon {
	const struct settings *settings;
	struct disk *disk;
	struct store *store;
	struct store_chunks chunks; /* loop thread */
	struct storage *core;
	struct storage_outbox outbox;
	bool stepping;
	struct storage_event *later; /* events that came up during a step */
	unsigned int later_count, later_capacity;

	uv_loop_t loop;
	uv_async_t wake;
	uv_check_t turn;
	uv_prepare_t before_wait;
	uv_timer_t tick, chores, addresses, goodbye;
	uv_signal_t terminate, interrupt, hangup;
	uint64_t tick_due_ms;
	bool leaving; /* the name server is told that we go */
	bool stopping;

	struct listener *listeners[OPTION_LIST_MAX];
	unsigned int listener_count;
	uint16_t port;
	struct beacon_socket *beacons;
	struct endpoint endpoints[ENDPOINTS_MAX];
	unsigned int endpoint_count;
	struct id machine;
	char host[HOST_NAME_MAX_ + 1];

	uint64_t last_handle;
	struct wire *wires;
	struct dialling *dials;
	struct source *sources;
	struct receivers *receivers;
	struct flows *flows;
	struct syncer syncer;
	struct copying *copying;
	struct scrub_state scrub; /* as written down last, */
	uint64_t scrub_ms;        /* then */
	bool scrub_writing;
	uint8_t *scratch; /* for short answers */
};

/* Lets the core take an event and carries out what it says; during a step: afterwards. */
void daemon_step(struct daemon *daemon, struct storage_event *event);
void daemon_act(struct daemon *daemon, const struct storage_action *action);
void daemon_note(const struct storage_action *action);
/* `message` says in one line what is wrong. */
int daemon_run(const struct settings *settings, char message[MESSAGE_SIZE_MAX]);
int daemon_listen(struct daemon *daemon, char message[MESSAGE_SIZE_MAX]);
bool daemon_addresses(struct daemon *daemon); /* true: they changed */
int daemon_remembered(struct daemon *daemon, struct endpoint *ret);
void dials_free(struct daemon *daemon);

#endif

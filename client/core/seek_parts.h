/* Who the session is with: a name server, or a storage server that stands in for one. Only
 * client/core includes this, by client_parts.h. */
#ifndef MUSTER_CLIENT_SEEK_PARTS_H
#define MUSTER_CLIENT_SEEK_PARTS_H

#include "client_core.h"

enum { DIALS_MAX = 4 }; /* attempts at a session at once */

/* ---- seek.c ---- */

enum dial_stage { ATTEMPT_FREE, ATTEMPT_DIALLING, ATTEMPT_HELLO, ATTEMPT_STATUS };

/* Who is at the other end. */
struct greeted {
	struct id self;
	struct id cluster;
	char cluster_name[CLUSTER_NAME_MAX + 1];
	uint64_t epoch;
};

struct attempt {
	enum dial_stage stage;
	uint64_t connection;
	struct endpoint endpoint;
	uint64_t since_ms, deadline_ms;
	struct id storage;      /* a storage server, to read through; none: a name server */
	struct greeted greeted; /* STATUS is out: does it serve? */
	uint64_t ask_ms;        /* then STATUS again; 0: it is not answered yet */
};

struct seek {
	bool active; /* also while degraded */
	bool listening;
	bool wary;              /* who answers HELLO may not serve: it is asked for STATUS first */
	uint64_t since_ms;      /* seeking since */
	uint64_t probe_ms;      /* next probe */
	uint64_t looked_ms;     /* looked for it in vain until then, without waiting in between */
	uint64_t copy_ms;       /* from then on a storage server will do */
	struct endpoint failed; /* one that did not, */
	uint64_t failed_ms;     /* when last */
	uint64_t first_ms;      /* first acceptable beacon; 0: none */
	uint64_t retry_ms;      /* next try at an address that failed */
	uint32_t backoff_ms;
	bool resolving;
	struct endpoint last; /* tried first */
	/* Of the name server that takes over: the storage servers without which it cannot. */
	char waiting[WAITING_TEXT_MAX + 1];
	struct attempt attempts[DIALS_MAX];
	int error; /* last reason */
};

enum seek_waits {
	BACKOFF_FIRST_MS = 200,
	LOOK_EVERY_MS = 2000,  /* while a storage server stands in */
	STATUS_EVERY_MS = 500, /* of a name server that does not serve yet */
};

/* attempts.c */
struct attempt *attempt_find(struct client *client, uint64_t connection);
void attempt_ask(struct client *client, struct attempt *attempt); /* for its STATUS */
void attempt_close(struct client *client, struct attempt *attempt);
void attempt_failed(struct client *client, struct attempt *attempt);
void attempts_close(struct client *client);
void attempts_tick(struct client *client);
/* This one says that it serves now: it need not be asked in turns. */
void attempts_hurry(struct client *client, const struct id *nameserver);
/* Another attempt; `storage` NULL: at a name server. */
void seek_dial(struct client *client, const struct endpoint *endpoint, const struct id *storage);
/* The same at a name server, whatever became of an earlier call there that nobody has taken. */
void seek_dial_anew(struct client *client, const struct endpoint *endpoint);
bool seek_is_trying(const struct client *client);
/* One has taken a call a moment ago, or has answered HELLO but does not serve yet. */
bool seek_sees_nameserver(const struct client *client);

void seek_start(struct client *client);
void seek_tick(struct client *client);
void seek_heard(struct client *client, const struct client_event *event);
void seek_resolved(struct client *client, const struct client_event *event);
bool seek_opened(struct client *client, uint64_t connection);
bool seek_closed(struct client *client, uint64_t connection, int error);
bool seek_frame(struct client *client, const struct client_event *event);
/* The control connection is gone, over which the name server has `served`. */
void seek_lost(struct client *client, bool served);
void seek_port_taken(struct client *client);
/* Everybody who waits for the name server learns that there is none. */
void seek_fail(struct client *client, int error);
/* Probes, or tries the address given, at once. */
void seek_look(struct client *client);
/* The session stands, with whoever it is. */
void seek_stands(struct client *client, const struct attempt *attempt,
		 const struct greeted *greeted);
/* Who is connected says that it does not serve now. */
void seek_unserved(struct client *client);
/* Some were under way when the name server was lost: they wait for it longer than others do. */
bool seek_puts_wait(const struct client *client);
void seek_hello(struct client *client, uint64_t connection, struct hello_request *hello);

/* ---- degraded.c ---- */

/* True where a storage server may stand in: its cluster is known, or any will do. */
bool degraded_is_possible(const struct client *client);
void degraded_choose(struct client *client); /* dials a storage server, if it is time */
void degraded_begin(struct client *client, const struct attempt *attempt,
		    const struct greeted *greeted);
bool degraded_serves(unsigned int code); /* whether a storage server answers that */
/* When a question that it does not answer is refused. */
uint64_t degraded_refuse_ms(struct client *client);

#endif

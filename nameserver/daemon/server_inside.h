/* Inside the server: server_start.c begins and ends, server_seek.c has the takeover until it may
 * serve, server_open.c makes it a name server, or no longer one, server.c runs turns. */
#ifndef MUSTER_SERVER_INSIDE_H
#define MUSTER_SERVER_INSIDE_H

#include "committer.h"
#include "console_child.h"
#include "dials.h"
#include "history.h"
#include "identity.h"
#include "nameserver.h"
#include "network.h"
#include "peer.h"
#include "replica.h"
#include "server.h"
#include "takeover.h"

#define DEFAULT_CLUSTER_NAME "muster"

enum { SIGNALS = 3 };

struct server {
	const struct settings *settings;
	struct database *database;
	char *message;
	uv_loop_t loop;
	uv_prepare_t before_wait;
	uv_check_t after_wait;
	uv_timer_t tick;
	uv_async_t committed;
	uv_signal_t signals[SIGNALS];
	struct listener *listeners[INTERFACES_MAX];
	unsigned int listener_count;
	struct endpoint address; /* the first one listened on */
	uint16_t port;
	struct beacon_socket *beacons;
	struct peers peers;
	struct identity identity;
	uint32_t process; /* a random number, for beacons */

	struct takeover *takeover; /* until it serves */
	struct takeover_outbox seeking;
	struct takeover_outcome outcome;
	struct replica *replica; /* the catalogue, while something is fetched; else the database */
	struct replica_rows *rows;
	char view_path[PATH_SIZE_MAX + sizeof("/view")];
	struct replica_job job; /* that the takeover asked for, */
	struct buffer job_bytes;
	struct replica_result done; /* and what came of it */
	uv_work_t work;
	int kept; /* what came of TAKEOVER_KEEP */
	bool keep_done;
	bool opening;     /* once the step is over */
	uint64_t seek_ms; /* when the takeover began */

	struct nameserver *ns; /* when it serves */
	struct ns_outbox outbox;
	struct committer *committer;
	struct history *history;
	bool in_turn; /* something happened since the last end of a turn */
	bool serving;
	bool has_served;          /* ever */
	bool deposed;             /* the core is to be dropped */
	bool superfluous;         /* and its catalogue, too */
	uint64_t namesake_ms;     /* when that was told last; 0: never */
	bool ended;               /* whatever still happens is of no interest */
	int result;               /* of server_run */
	uint64_t now_ms, wall_ms; /* of this turn */
	uint64_t deadline_ms;     /* that `tick` is set to; UINT64_MAX: none */
	uint64_t durable;         /* that the core knows of */
	uv_timer_t look;          /* at the disk, once a second */
	bool grown;               /* something was written since the last look */
	bool full;
	bool behind; /* and the core knows */
	struct console_child console;
	bool console_started;
	struct dials dials;
};

_Noreturn void server_fail(int error, const char *what);
void server_step(struct server *server, struct ns_event *event);
/* The next tick of whichever core runs; UINT64_MAX: none. */
void server_tick_at(struct server *server, uint64_t deadline_ms, uv_timer_cb on_deadline);
void server_end_turn(struct server *server);
/* The line for people; returns rc. */
int server_complain(struct server *server, int rc, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Ends the loop; server_run returns rc. The line is there already. */
void server_give_up(struct server *server, int rc);

/* Begins the takeover with the directory as it is. */
int server_seek(struct server *server);
void server_seek_step(struct server *server, struct takeover_event *event);
void server_seek_release(struct server *server); /* the replica */
void server_seek_end(struct server *server);     /* frees what it needed */
/* What the takeover has found, is served from now on. */
int server_open(struct server *server);
/* The first batch is committed: tells so, once. */
void server_serves(struct server *server);
/* No longer a name server: takes over anew if that may be. */
void server_depose(struct server *server);
/* There is a cluster of our name already, and nothing in ours. If there is, that is told. */
bool server_is_superfluous(struct server *server, const struct beacon *beacon,
			   const struct endpoint *source);
/* Into the log and to those who ask with EVENTS. */
void server_event(struct server *server, enum log_level level, const char *event,
		  const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Tells the core if there is room on the disk, or no longer is. */
void server_look(struct server *server);

/* What the loop calls. */
extern const struct link_handler server_link_handler;
void server_accepted(void *context, int socket, const struct endpoint *from);
void server_heard(void *context, const void *datagram, size_t size, const struct endpoint *source);
void server_committed(uv_async_t *async);
void server_dialled(void *context, uint64_t number, int error);
void server_history(void *context, uint64_t after, struct slice batches, int error);
void server_after_wait(uv_check_t *check);
void server_before_wait(uv_prepare_t *prepare);

#endif

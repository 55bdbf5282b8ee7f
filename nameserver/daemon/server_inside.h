/* Inside the server: server.c runs turns, server_start.c begins and ends. */
#ifndef MUSTER_SERVER_INSIDE_H
#define MUSTER_SERVER_INSIDE_H

#include "committer.h"
#include "console_child.h"
#include "history.h"
#include "nameserver.h"
#include "network.h"
#include "peer.h"
#include "server.h"

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
	struct nameserver *ns;
	struct ns_outbox outbox;
	struct committer *committer;
	struct history *history;
	bool in_turn; /* something happened since the last end of a turn */
	bool serving;
	uint64_t now_ms, wall_ms; /* of this turn */
	uint64_t deadline_ms;     /* that `tick` is set to; UINT64_MAX: none */
	uint64_t durable;         /* that the core knows of */
	uv_timer_t look;          /* at the disk, once a second */
	bool grown;               /* something was written since the last look */
	bool full;
	bool behind; /* and the core knows */
	struct console_child console;
};

_Noreturn void server_fail(int error, const char *what);
void server_step(struct server *server, struct ns_event *event);
void server_end_turn(struct server *server);
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
void server_history(void *context, uint64_t after, struct slice batches, int error);
void server_after_wait(uv_check_t *check);
void server_before_wait(uv_prepare_t *prepare);

#endif

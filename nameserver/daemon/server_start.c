#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <sys/resource.h>

#include "error.h"
#include "random.h"
#include "server_inside.h"

static void on_signal(uv_signal_t *handle, int number)
{
	struct server *server = handle->data;
	int rc;

	/* The terminal sends it to us, too, and the shell there takes it. */
	if (number == SIGINT && server->settings->console)
		return;
	if (number != SIGHUP) {
		server_event(server, LOG_INFO, "stopping", "signal=%d", number);
		uv_stop(&server->loop);
		return;
	}
	rc = log_reopen();
	if (rc < 0)
		log_event(LOG_WARN, "log_not_reopened", "error=%s", error_name(rc));
}

/* ---- starting */

static int listen_on(struct server *server, uint32_t ip)
{
	struct endpoint endpoint = endpoint_ipv4(ip, server->port);
	char text[ENDPOINT_TEXT_MAX];
	int rc = listener_new(&server->loop, &endpoint, server_accepted, server,
			      &server->listeners[server->listener_count]);

	if (rc == -ERR_ADDRESS_IN_USE)
		return server_complain(server, rc, "port %u is taken; choose another with --port",
				       server->port);
	if (rc < 0)
		return server_complain(server, rc, "cannot listen on %s: %s",
				       endpoint_format(&endpoint, text), error_text(rc));
	endpoint.port = server->port = listener_port(server->listeners[server->listener_count]);
	if (server->listener_count++ == 0)
		server->address = endpoint;
	return 0;
}

static int listen_everywhere(struct server *server)
{
	const struct option_list *only = &server->settings->interfaces;
	struct interface list[INTERFACES_MAX];
	int count;

	server->port = server->settings->port;
	if (only->count == 0)
		return listen_on(server, 0);
	count = interfaces_list(only->items, only->count, list);
	if (count < 0)
		return server_complain(server, count, "cannot list the interfaces: %s",
				       error_text(count));
	if (count == 0)
		return server_complain(server, -ERR_USAGE,
				       "--interface: no interface %s is up with an IPv4 address",
				       only->items[0]);
	for (int i = 0; i < count; i++) {
		int rc = listen_on(server, list[i].ip);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int beacons_start(struct server *server)
{
	const struct settings *settings = server->settings;
	struct beacon_how how = {
		.port = settings->beacon_port,
		.interfaces = settings->interfaces.items,
		.interface_count = settings->interfaces.count,
		.heard = server_heard,
		.context = server,
	};
	int rc = beacon_socket_new(&server->loop, &how, &server->beacons);

	if (rc == -ERR_ADDRESS_IN_USE)
		return server_complain(
			server, rc,
			"UDP port %u is taken by something that does not share it; choose "
			"another with --beacon-port, here and everywhere",
			how.port);
	return rc < 0 ? server_complain(server, rc, "beacons: %s", error_text(rc)) : 0;
}

static void loop_start(struct server *server)
{
	static const int numbers[SIGNALS] = { SIGTERM, SIGINT, SIGHUP };

	uv_prepare_start(&server->before_wait, server_before_wait);
	uv_check_start(&server->after_wait, server_after_wait);
	for (int i = 0; i < SIGNALS; i++)
		uv_signal_start(&server->signals[i], on_signal, numbers[i]);
}

enum { DESCRIPTORS_KEPT = 64 };

/* The lowest free number is always the next one, so those above stay free. */
static int socket_end(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur > INT_MAX)
		return INT_MAX;
	return limit.rlim_cur > 2 * DESCRIPTORS_KEPT ? (int)limit.rlim_cur - DESCRIPTORS_KEPT
						     : (int)limit.rlim_cur;
}

static int server_init(struct server *server)
{
	uv_loop_t *loop = &server->loop;
	int rc = uv_loop_init(loop);

	if (rc < 0)
		return server_complain(server, error_from_errno(-rc), "no event loop: %s",
				       uv_strerror(rc));
	uv_prepare_init(loop, &server->before_wait);
	uv_check_init(loop, &server->after_wait);
	uv_timer_init(loop, &server->tick);
	uv_timer_init(loop, &server->look);
	uv_async_init(loop, &server->committed, server_committed);
	server->before_wait.data = server->after_wait.data = server;
	server->tick.data = server->look.data = server->committed.data = server;
	for (int i = 0; i < SIGNALS; i++) {
		uv_signal_init(loop, &server->signals[i]);
		server->signals[i].data = server;
	}
	rc = random_bytes(&server->process, sizeof(server->process));
	if (rc < 0)
		return server_complain(server, rc, "no random numbers: %s", error_text(rc));
	server->deadline_ms = UINT64_MAX;
	server->dials = (struct dials){ .loop = loop, .done = server_dialled, .context = server };
	server->peers = (struct peers){ .socket_end = socket_end(),
					.loop = loop,
					.handler = &server_link_handler,
					.context = server };
	return 0;
}

static int server_start(struct server *server)
{
	int rc = listen_everywhere(server);

	if (rc == 0)
		rc = beacons_start(server);
	if (rc == 0)
		rc = server_seek(server);
	if (rc == 0)
		loop_start(server);
	return rc;
}

/* ---- stopping */

static void close_handle(uv_handle_t *handle, void *context)
{
	struct server *server = context;
	uv_handle_t *own[] = {
		(uv_handle_t *)&server->before_wait, (uv_handle_t *)&server->after_wait,
		(uv_handle_t *)&server->tick,        (uv_handle_t *)&server->committed,
		(uv_handle_t *)&server->signals[0],  (uv_handle_t *)&server->signals[1],
		(uv_handle_t *)&server->signals[2],  (uv_handle_t *)&server->look,
	};

	for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
		if (handle == own[i])
			uv_close(handle, NULL);
	}
}

/* What was asked before the signal is still answered: it becomes durable first. */
static void server_finish(struct server *server)
{
	struct ns_event event = { .kind = NS_DURABLE };
	struct committer_state state;

	if (!server->ns)
		return;
	server_end_turn(server);
	committer_stop(server->committer);
	state = committer_state(server->committer);
	if (state.error)
		server_fail(state.error, state.what);
	event.sequence = state.durable;
	if (event.sequence > server->durable)
		server_step(server, &event);
	server->durable = event.sequence;
}

static void server_done(struct server *server)
{
	server->ended = true;
	for (unsigned int i = 0; i < server->listener_count; i++)
		listener_free(server->listeners[i]);
	beacon_socket_free(server->beacons);
	peers_free_all(&server->peers);
	dials_cancel(&server->dials);
	history_stop(server->history);
	uv_walk(&server->loop, close_handle, server);
	uv_run(&server->loop, UV_RUN_DEFAULT);
	uv_loop_close(&server->loop);
	history_free(server->history);
	committer_free(server->committer);
	nameserver_free(server->ns);
	ns_outbox_done(&server->outbox);
	server_seek_end(server);
}

int server_run(const struct settings *settings, struct database *database,
	       char message[DATABASE_MESSAGE_MAX])
{
	struct server server = { .settings = settings, .database = database, .message = message };
	int rc;

	message[0] = '\0';
	rc = server_init(&server);
	if (rc < 0)
		return rc;
	rc = server_start(&server);
	if (rc == 0) {
		uv_run(&server.loop, UV_RUN_DEFAULT);
		if (server.console_started)
			console_stop(&server.console);
		server_finish(&server);
		log_event(LOG_INFO, "stopped", "sequence=%" PRIu64, server.durable);
		rc = server.result;
	}
	server_done(&server);
	return rc;
}

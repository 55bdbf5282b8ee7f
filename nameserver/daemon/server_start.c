#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/resource.h>

#include "clock.h"
#include "error.h"
#include "random.h"
#include "server_inside.h"

#define DEFAULT_CLUSTER_NAME "muster"

enum { LOOK_MS = 1000, LOOPBACK_ADDRESS = 0x7f000001 };

static void notify(void *context)
{
	uv_async_send(&((struct server *)context)->committed);
}

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

__attribute__((format(printf, 3, 4))) static int complain(struct server *server, int rc,
							  const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(server->message, DATABASE_MESSAGE_MAX, format, args);
	va_end(args);
	return rc;
}

static int listen_on(struct server *server, uint32_t ip)
{
	struct endpoint endpoint = endpoint_ipv4(ip, server->port);
	char text[ENDPOINT_TEXT_MAX];
	int rc = listener_new(&server->loop, &endpoint, server_accepted, server,
			      &server->listeners[server->listener_count]);

	if (rc == -ERR_ADDRESS_IN_USE)
		return complain(server, rc, "port %u is taken; choose another with --port",
				server->port);
	if (rc < 0)
		return complain(server, rc, "cannot listen on %s: %s",
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
		return complain(server, count, "cannot list the interfaces: %s", error_text(count));
	if (count == 0)
		return complain(server, -ERR_USAGE,
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
		return complain(server, rc,
				"UDP port %u is taken by something that does not share it; choose "
				"another with --beacon-port, here and everywhere",
				how.port);
	return rc < 0 ? complain(server, rc, "beacons: %s", error_text(rc)) : 0;
}

#define SETTING_SERVER "server"

static int catalogue_create(struct server *server)
{
	const char *name = server->settings->cluster;
	struct kv *kv = view_kv(server->database->view);
	struct id ids[2];
	struct slice self = { ids[1].bytes, ID_SIZE };
	int rc = random_bytes(ids, sizeof(ids));

	if (rc == 0)
		rc = catalogue_format(kv, &ids[0], name ? name : DEFAULT_CLUSTER_NAME);
	return rc < 0 ? rc : setting_put(kv, SETTING_SERVER, self);
}

static int config_fill(struct server *server, struct nameserver_config *config)
{
	const struct settings *settings = server->settings;
	struct journal_head head = journal_head(server->database->journal);
	struct slice self;
	int rc = setting_get(view_kv(server->database->view), SETTING_SERVER, &self);

	*config = (struct nameserver_config){
		.wall_ms = clock_wall_ms(),
		.sequence = head.sequence,
		.hash = head.hash,
		.port = server->port,
		.version = MUSTER_VERSION,
		.client_port_first = settings->client_ports.first,
		.client_port_last = settings->client_ports.last,
		.copies = (uint8_t)settings->copies,
		.suspect_after_ms = settings->suspect_after_ms,
		.dead_after_ms = settings->dead_after_ms,
		.repair_delay_ms = settings->repair_delay_ms,
		.debug = log_enabled(LOG_DEBUG),
		.beacon_interval_ms = settings->beacon_interval_ms,
		.trash_ms = settings->trash_ms,
		.scrub_s = (uint32_t)(settings->scrub_ms / 1000),
		.no_trash = settings->trash_ms == 0,
	};
	if (rc < 0 || self.size != ID_SIZE)
		return rc < 0 ? rc : -ERR_BAD_FORMAT;
	memcpy(config->self.bytes, self.data, ID_SIZE);
	rc = machine_id(&config->machine);
	if (rc == 0)
		rc = random_bytes(&config->secret, sizeof(config->secret));
	return rc < 0 ? rc : random_bytes(&config->seed, sizeof(config->seed));
}

static int cluster_check(struct server *server)
{
	struct nameserver_info info = nameserver_info(server->ns);
	const char *wanted = server->settings->cluster;

	if (!wanted || strcmp(wanted, info.cluster_name) == 0)
		return 0;
	return complain(server, -ERR_WRONG_CLUSTER,
			"%s belongs to cluster \"%s\", not \"%s\"; leave --cluster out or choose "
			"another --data",
			server->settings->data, info.cluster_name, wanted);
}

static int core_start(struct server *server)
{
	struct journal_head head = journal_head(server->database->journal);
	struct nameserver_config config;
	int rc = head.sequence == 0 ? catalogue_create(server) : 0;

	if (rc == 0)
		rc = config_fill(server, &config);
	if (rc == 0)
		rc = nameserver_new(&config, view_kv(server->database->view), clock_monotonic_ms(),
				    &server->ns);
	if (rc < 0)
		return complain(server, rc, "%s: the catalogue cannot be used: %s",
				server->settings->data, error_text(rc));
	server->durable = head.sequence;
	return cluster_check(server);
}

static int committer_start(struct server *server)
{
	struct committer_how how = {
		.journal = server->database->journal,
		.view = server->database->view,
		.disk = server->database->disk,
		.sequence = server->durable,
		.behind = { server->database->behind.data, server->database->behind.size },
		.applied = server->database->applied,
		.notify = notify,
		.context = server,
	};
	int rc = committer_new(&how, &server->committer);

	buffer_done(&server->database->behind);
	return rc < 0 ? complain(server, rc, "no thread: %s", error_text(rc)) : 0;
}

static int history_start(struct server *server)
{
	struct history_how how = {
		.loop = &server->loop,
		.disk = server->database->disk,
		.done = server_history,
		.context = server,
	};
	int rc = history_new(&how, &server->history);

	return rc < 0 ? complain(server, rc, "%s", error_text(rc)) : 0;
}

static void on_look(uv_timer_t *timer)
{
	server_look(timer->data);
}

static void loop_start(struct server *server)
{
	static const int numbers[SIGNALS] = { SIGTERM, SIGINT, SIGHUP };

	uv_prepare_start(&server->before_wait, server_before_wait);
	uv_check_start(&server->after_wait, server_after_wait);
	for (int i = 0; i < SIGNALS; i++)
		uv_signal_start(&server->signals[i], on_signal, numbers[i]);
	if (server->database->rebuilt)
		server_event(server, LOG_WARN, "view_rebuilt", "sequence=%" PRIu64,
			     server->durable);
	uv_timer_start(&server->look, on_look, LOOK_MS, LOOK_MS);
	server->now_ms = clock_monotonic_ms();
	server->wall_ms = clock_wall_ms();
	server->in_turn = true;
	server_look(server);
	server_end_turn(server);
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
		return complain(server, error_from_errno(-rc), "no event loop: %s",
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
	server->deadline_ms = UINT64_MAX;
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
		rc = core_start(server);
	if (rc == 0)
		rc = committer_start(server);
	if (rc == 0)
		rc = history_start(server);
	if (rc == 0)
		loop_start(server);
	return rc;
}

/* ---- the console */

static void console_ended(void *context)
{
	struct server *server = context;

	server_event(server, LOG_INFO, "stopping", "console=ended");
	uv_stop(&server->loop);
}

/* On loopback, unless only other interfaces are listened on. */
static int console_open(struct server *server)
{
	struct endpoint at = endpoint_ipv4(LOOPBACK_ADDRESS, server->port);
	struct nameserver_info info = nameserver_info(server->ns);
	char address[ENDPOINT_TEXT_MAX];
	struct console_how how = {
		.address = address,
		.cluster = info.cluster_name,
		.settings = server->settings,
		.ended = console_ended,
		.context = server,
	};

	if (server->settings->interfaces.count)
		at = server->address;
	endpoint_format(&at, address);
	return console_start(&server->console, &server->loop, &how, server->message);
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
	for (unsigned int i = 0; i < server->listener_count; i++)
		listener_free(server->listeners[i]);
	beacon_socket_free(server->beacons);
	peers_free_all(&server->peers);
	history_stop(server->history);
	uv_walk(&server->loop, close_handle, server);
	uv_run(&server->loop, UV_RUN_DEFAULT);
	uv_loop_close(&server->loop);
	history_free(server->history);
	committer_free(server->committer);
	nameserver_free(server->ns);
	ns_outbox_done(&server->outbox);
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
	if (rc == 0 && settings->console)
		rc = console_open(&server);
	if (rc == 0) {
		uv_run(&server.loop, UV_RUN_DEFAULT);
		console_stop(&server.console);
		server_finish(&server);
		log_event(LOG_INFO, "stopped", "sequence=%" PRIu64, server.durable);
	}
	server_done(&server);
	return rc;
}

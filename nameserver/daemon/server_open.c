/* A name server begins with what the takeover has found, and ends when another one is followed. */
#include <inttypes.h>
#include <stdarg.h>

#include "clock.h"
#include "error.h"
#include "random.h"
#include "server_inside.h"
#include "text.h"

enum { LOOK_MS = 1000, LOOPBACK_ADDRESS = 0x7f000001 };

static void notify(void *context)
{
	uv_async_send(&((struct server *)context)->committed);
}

static int catalogue_create(struct server *server)
{
	const char *name = server->settings->cluster;
	struct id cluster;
	int rc = random_bytes(&cluster, sizeof(cluster));

	return rc < 0 ? rc
		      : catalogue_format(view_kv(server->database->view), &cluster,
					 name ? name : DEFAULT_CLUSTER_NAME);
}

static int config_fill(struct server *server, struct nameserver_config *config)
{
	const struct settings *settings = server->settings;
	struct journal_head head = database_head(server->database);
	int rc;

	*config = (struct nameserver_config){
		.self = server->identity.server,
		.wall_ms = clock_wall_ms(),
		.epoch = server->outcome.epoch,
		.rebuilt = server->outcome.rebuilt,
		.sequence = head.sequence,
		.hash = head.hash,
		.port = server->port,
		.process = server->process,
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
	rc = machine_id(&config->machine);
	if (rc == 0)
		rc = random_bytes(&config->secret, sizeof(config->secret));
	return rc < 0 ? rc : random_bytes(&config->seed, sizeof(config->seed));
}

static int core_start(struct server *server)
{
	struct nameserver_config config;
	int rc = server->outcome.founded ? catalogue_create(server) : 0;

	if (rc == 0)
		rc = config_fill(server, &config);
	if (rc == 0)
		rc = nameserver_new(&config, view_kv(server->database->view), clock_monotonic_ms(),
				    &server->ns);
	if (rc < 0)
		return server_complain(server, rc, "%s: the catalogue cannot be used: %s",
				       server->settings->data, error_text(rc));
	server->durable = config.sequence;
	return 0;
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
	return rc < 0 ? server_complain(server, rc, "no thread: %s", error_text(rc)) : 0;
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

	return rc < 0 ? server_complain(server, rc, "%s", error_text(rc)) : 0;
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

/* ---- beginning */

static void on_look(uv_timer_t *timer)
{
	server_look(timer->data);
}

/* A replica has had the directory. */
static int database_take_back(struct server *server)
{
	if (server->replica)
		server_seek_release(server);
	else if (!server->database->unfinished)
		return 0;
	else
		database_release(server->database);
	return database_reopen(server->settings->data, server->database, server->message);
}

static void hand(void *context, struct ns_event *event)
{
	server_step(context, event);
}

static void turns_start(struct server *server)
{
	if (server->database->rebuilt)
		server_event(server, LOG_WARN, "view_rebuilt", "sequence=%" PRIu64,
			     server->durable);
	uv_timer_start(&server->look, on_look, LOOK_MS, LOOK_MS);
	server_step(server, &(struct ns_event){ .kind = NS_TICK });
	server_look(server);
}

int server_open(struct server *server)
{
	struct takeover *takeover = server->takeover;
	int rc = database_take_back(server);

	if (rc == 0)
		rc = core_start(server);
	if (rc == 0)
		rc = committer_start(server);
	if (rc == 0)
		rc = history_start(server);
	if (rc < 0)
		return rc;
	server->takeover = NULL;
	server->deadline_ms = UINT64_MAX;
	uv_timer_stop(&server->tick);
	turns_start(server);
	takeover_hand_over(takeover, hand, server);
	takeover_free(takeover);
	server_end_turn(server);
	if (!server->settings->console || server->console_started)
		return 0;
	rc = console_open(server);
	server->console_started = rc == 0;
	return rc;
}

/* What there was to be found is said once, for those who ask with EVENTS as well. */
static void rebuilt_tell(struct server *server)
{
	const struct takeover_outcome *outcome = &server->outcome;
	struct totals totals = { 0 };
	char from[ID_TEXT_MAX];

	if (totals_get(view_kv(server->database->view), &totals) < 0)
		return;
	server_event(server, LOG_WARN, "rebuilt",
		     "files=%" PRIu64 " directories=%" PRIu64 " bytes=%" PRIu64 " chunks=%" PRIu64
		     " sequence=%" PRIu64 " from=%s took_ms=%" PRIu64,
		     totals.files, totals.directories, totals.bytes, totals.chunks,
		     outcome->head.sequence,
		     outcome->copied ? id_format(&outcome->source, from) : "own", outcome->took_ms);
}

/* The catalogue says it itself from now on. If the mark stays, a later start only holds deletes for
 * longer. */
static void mark_clear(struct server *server)
{
	struct identity identity = server->identity;
	int rc;

	identity.rebuilding = false;
	rc = identity_write(server->database->disk, &identity);
	if (rc == 0)
		server->identity = identity;
	else
		log_event(LOG_WARN, "mark_not_cleared", "error=%s", error_name(rc));
}

void server_serves(struct server *server)
{
	const struct takeover_outcome *outcome = &server->outcome;
	struct nameserver_info info = nameserver_info(server->ns);
	char name[LOG_QUOTE_MAX], cluster[ID_TEXT_MAX], address[ENDPOINT_TEXT_MAX];

	server->serving = server->has_served = true;
	log_quote(info.cluster_name, strlen(info.cluster_name), name, sizeof(name));
	server_event(server, LOG_INFO, "started",
		     "address=%s port=%u cluster=%s name=%s epoch=%" PRIu64 " took_ms=%" PRIu64
		     " from=%s rebuilt=%s",
		     endpoint_format(&server->address, address), server->port,
		     id_format(&info.cluster, cluster), name, info.epoch,
		     clock_monotonic_ms() - server->seek_ms, outcome->copied ? "servers" : "own",
		     outcome->rebuilt ? "yes" : "no");
	if (server->identity.rebuilding)
		mark_clear(server);
	if (outcome->rebuilt)
		rebuilt_tell(server);
}

/* ---- ending */

/* What waits is still written; after a failure nothing that is read back is to be believed. */
static void committer_end(struct server *server)
{
	struct committer_state state;

	committer_stop(server->committer);
	state = committer_state(server->committer);
	if (state.error)
		server_fail(state.error, state.what);
	committer_free(server->committer);
	server->committer = NULL;
}

static void core_drop(struct server *server)
{
	peers_free_all(&server->peers);
	dials_cancel(&server->dials);
	history_abandon(server->history);
	committer_end(server);
	nameserver_free(server->ns);
	ns_outbox_clear(&server->outbox);
	uv_timer_stop(&server->look);
	uv_timer_stop(&server->tick);
	server->history = NULL;
	server->ns = NULL;
	server->deadline_ms = UINT64_MAX;
	server->in_turn = server->serving = server->grown = false;
	server->full = server->behind = server->deposed = server->peers.choked = false;
}

void server_depose(struct server *server)
{
	struct nameserver_info info = nameserver_info(server->ns);
	int rc;

	log_release();
	log_event(LOG_WARN, "begins_anew", "epoch=%" PRIu64 " committed=%" PRIu64, info.epoch,
		  info.committed);
	core_drop(server);
	database_release(server->database);
	rc = server->superfluous
		     ? database_put_away(server->settings->data, server->database, server->message)
		     : 0;
	server->superfluous = false;
	if (rc == 0)
		rc = database_reopen(server->settings->data, server->database, server->message);
	if (rc == 0)
		rc = server_seek(server);
	if (rc < 0)
		server_give_up(server, rc);
}

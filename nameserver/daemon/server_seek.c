/* The takeover between the same sockets that the name server will have. The catalogue is the
 * database as long as nothing is fetched, so a restart opens it once; then a replica has it. */
#include <inttypes.h>
#include <stdarg.h>

#include "clock.h"
#include "error.h"
#include "random.h"
#include "replica_view.h"
#include "server_inside.h"

int server_complain(struct server *server, int rc, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(server->message, DATABASE_MESSAGE_MAX, format, args);
	va_end(args);
	return rc;
}

void server_give_up(struct server *server, int rc)
{
	char text[LOG_QUOTE_MAX];

	log_event(LOG_ERROR, "given_up", "error=%s text=%s", error_name(rc),
		  log_quote(server->message, strlen(server->message), text, sizeof(text)));
	server->result = rc;
	uv_stop(&server->loop);
}

/* ---- acting */

static void act_send(struct server *server, const struct takeover_action *action,
		     struct slice bytes)
{
	struct peer *peer = peer_find(&server->peers, action->conn);

	if (peer)
		peer_send(peer, bytes);
}

static void act_close(struct server *server, const struct takeover_action *action,
		      struct slice bytes)
{
	struct peer *peer = peer_find(&server->peers, action->conn);

	(void)bytes;
	if (peer)
		peer_free(peer);
}

static void act_beacon(struct server *server, const struct takeover_action *action,
		       struct slice bytes)
{
	(void)action;
	beacon_socket_send(server->beacons, bytes.data, bytes.size);
}

static void act_note(struct server *server, const struct takeover_action *action,
		     struct slice bytes)
{
	(void)server;
	log_pairs(action->level, action->event, (const char *)bytes.data, bytes.size);
}

static int replica_begin(struct server *server)
{
	struct database *database = server->database;
	struct replica_result opened;
	int rc;

	database_release(database);
	rc = replica_view_new(server->view_path, database->disk, &server->rows);
	if (rc == 0)
		rc = replica_new(database->disk, server->rows, &replica_limits_own,
				 &server->replica);
	if (rc < 0)
		return rc;
	replica_run(server->replica, &(struct replica_job){ .kind = REPLICA_OPEN }, &opened);
	return opened.error;
}

/* In a thread of the loop's, which reads the next page meanwhile. */
static void job_run(uv_work_t *work)
{
	struct server *server = work->data;
	int rc = server->replica ? 0 : replica_begin(server);

	server->job.bytes = (struct slice){ server->job_bytes.data, server->job_bytes.size };
	server->done = (struct replica_result){ .kind = server->job.kind, .error = rc };
	if (rc == 0)
		replica_run(server->replica, &server->job, &server->done);
}

static void job_done(uv_work_t *work, int status)
{
	struct server *server = work->data;

	(void)status;
	if (!server->ended)
		server_seek_step(server, &(struct takeover_event){ .kind = TAKEOVER_REPLICA,
								   .replica = &server->done });
}

static void act_job(struct server *server, const struct takeover_action *action, struct slice bytes)
{
	server->job = action->job;
	buffer_clear(&server->job_bytes);
	if (buffer_append(&server->job_bytes, bytes.data, bytes.size) < 0)
		server_fail(-ERR_NO_MEMORY, "memory");
	server->work.data = server;
	/* It fails only without a function to call. */
	uv_queue_work(&server->loop, &server->work, job_run, job_done);
}

/* Nobody is served yet, nor is anybody asked before: the disk may be waited for. */
static void act_keep(struct server *server, const struct takeover_action *action,
		     struct slice bytes)
{
	struct identity identity = { server->identity.server, action->epoch, action->rebuilding };

	(void)bytes;
	server->kept = identity_write(server->database->disk, &identity);
	if (server->kept == 0)
		server->identity = identity;
	server->keep_done = true;
}

static void act_open(struct server *server, const struct takeover_action *action,
		     struct slice bytes)
{
	(void)action;
	(void)bytes;
	server->outcome = takeover_outcome(server->takeover);
	server->opening = true;
}

static void act_refuse(struct server *server, const struct takeover_action *action,
		       struct slice bytes)
{
	server_give_up(server, server_complain(server, action->error, "%.*s", (int)bytes.size,
					       (const char *)bytes.data));
}

typedef void act_fn(struct server *server, const struct takeover_action *action,
		    struct slice bytes);

static void act(struct server *server)
{
	static act_fn *const acts[] = {
		[TAKEOVER_SEND] = act_send,     [TAKEOVER_CLOSE] = act_close,
		[TAKEOVER_BEACON] = act_beacon, [TAKEOVER_JOB] = act_job,
		[TAKEOVER_KEEP] = act_keep,     [TAKEOVER_NOTE] = act_note,
		[TAKEOVER_OPEN] = act_open,     [TAKEOVER_REFUSE] = act_refuse,
	};
	struct takeover_outbox *outbox = &server->seeking;

	for (unsigned int i = 0; i < outbox->count; i++) {
		const struct takeover_action *action = &outbox->actions[i];

		acts[action->kind](server, action, takeover_action_bytes(outbox, action));
	}
	if (outbox->error)
		server_fail(outbox->error, "memory");
	takeover_outbox_clear(outbox);
}

/* ---- steps */

static void on_tick(uv_timer_t *timer)
{
	struct server *server = timer->data;

	server->deadline_ms = UINT64_MAX;
	server_seek_step(server, &(struct takeover_event){ .kind = TAKEOVER_TICK });
}

static void step(struct server *server, struct takeover_event *event)
{
	event->now_ms = clock_monotonic_ms();
	event->wall_ms = clock_wall_ms();
	takeover_step(server->takeover, event, &server->seeking);
	act(server);
}

static void keep_done(struct server *server)
{
	server->keep_done = false;
	step(server, &(struct takeover_event){ .kind = TAKEOVER_KEPT, .error = server->kept });
}

void server_seek_step(struct server *server, struct takeover_event *event)
{
	int rc;

	if (server->result < 0)
		return;
	step(server, event);
	while (server->keep_done)
		keep_done(server);
	if (!server->opening) {
		server_tick_at(server, takeover_deadline(server->takeover), on_tick);
		return;
	}
	server->opening = false;
	rc = server_open(server);
	if (rc < 0)
		server_give_up(server, rc);
}

/* ---- beginning */

static int cluster_check(struct server *server, const struct replica_facts *facts)
{
	const char *wanted = server->settings->cluster;

	if (!wanted || !facts->cluster_name[0] || strcmp(wanted, facts->cluster_name) == 0)
		return 0;
	return server_complain(server, -ERR_WRONG_CLUSTER,
			       "%s belongs to cluster \"%s\", not \"%s\"; leave --cluster out or "
			       "choose another --data",
			       server->settings->data, facts->cluster_name, wanted);
}

static int facts_read(struct server *server, struct takeover_config *config)
{
	struct database *database = server->database;

	config->head = (struct replica_head){ .last = database_head(database), .whole = true };
	config->unfinished = database->unfinished;
	if (config->head.last.sequence == 0)
		return 0;
	return replica_facts_read(view_kv(database->view), &config->facts);
}

static int identity_find(struct server *server)
{
	bool is_new;
	int rc = identity_load(server->database->disk, &server->identity, &is_new);

	return rc < 0 ? server_complain(server, rc, "%s/identity: %s", server->settings->data,
					error_text(rc))
		      : 0;
}

static int config_fill(struct server *server, struct takeover_config *config)
{
	const struct settings *settings = server->settings;
	const char *name = settings->cluster ? settings->cluster : DEFAULT_CLUSTER_NAME;
	int rc;

	*config = (struct takeover_config){
		.self = server->identity.server,
		.asked_epoch = server->identity.asked_epoch,
		.rebuilding = server->identity.rebuilding,
		.port = server->port,
		.process = server->process,
		.version = MUSTER_VERSION,
		/* Who has served until now is nobody's deputy, unless another one is heard.
		 * What the operator knew is not known of what has happened since. */
		.standby = settings->standby && !server->has_served,
		.accept_rebuild = settings->accept_rebuild && !server->has_served,
		.beacon_interval_ms = settings->beacon_interval_ms,
		.dead_after_ms = settings->dead_after_ms,
	};
	snprintf(config->cluster_name, sizeof(config->cluster_name), "%s", name);
	rc = machine_id(&config->machine);
	if (rc == 0)
		rc = random_bytes(&config->seed, sizeof(config->seed));
	if (rc == 0)
		rc = facts_read(server, config);
	return rc < 0 ? server_complain(server, rc, "%s: the catalogue cannot be used: %s",
					settings->data, error_text(rc))
		      : 0;
}

int server_seek(struct server *server)
{
	struct takeover_config config;
	int rc = identity_find(server);

	snprintf(server->view_path, sizeof(server->view_path), "%s/view", server->settings->data);
	if (rc == 0)
		rc = config_fill(server, &config);
	if (rc == 0)
		rc = cluster_check(server, &config.facts);
	if (rc < 0)
		return rc;
	server->seek_ms = clock_monotonic_ms();
	rc = takeover_new(&config, server->seek_ms, &server->takeover);
	if (rc < 0)
		return server_complain(server, rc, "%s", error_text(rc));
	server_seek_step(server, &(struct takeover_event){ .kind = TAKEOVER_TICK });
	return server->result;
}

void server_seek_release(struct server *server)
{
	replica_free(server->replica);
	if (server->rows)
		replica_view_free(server->rows);
	server->replica = NULL;
	server->rows = NULL;
}

void server_seek_end(struct server *server)
{
	server_seek_release(server);
	takeover_free(server->takeover);
	takeover_outbox_done(&server->seeking);
	buffer_done(&server->job_bytes);
	server->takeover = NULL;
}

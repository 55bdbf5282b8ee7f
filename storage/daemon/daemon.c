/* The loop: what it watches, and how it starts and stops. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "clock.h"
#include "error.h"
#include "log.h"
#include "network.h"
#include "random.h"
#include "storage_daemon.h"

/* ---- time and turns ---- */

static void on_tick(uv_timer_t *timer)
{
	struct daemon *daemon = timer->data;
	struct storage_event event = { .kind = STORAGE_TICK };

	daemon->tick_due_ms = UINT64_MAX;
	flows_report(daemon);
	daemon_step(daemon, &event);
}

static void tick_arm(struct daemon *daemon)
{
	uint64_t due_ms = storage_deadline(daemon->core);
	uint64_t now_ms;

	if (due_ms == daemon->tick_due_ms)
		return;
	daemon->tick_due_ms = due_ms;
	now_ms = clock_monotonic_ms();
	if (due_ms == UINT64_MAX) {
		uv_timer_stop(&daemon->tick);
		return;
	}
	uv_update_time(&daemon->loop);
	uv_timer_start(&daemon->tick, on_tick, due_ms > now_ms ? due_ms - now_ms : 0, 0);
}

static bool is_connected(const struct daemon *daemon)
{
	struct storage_state state;

	storage_state(daemon->core, &state);
	return state.registered;
}

/* Everything that was ready has been looked at: what became of it goes to the disk together. */
static void on_turn(uv_check_t *turn)
{
	struct daemon *daemon = turn->data;

	if (daemon->leaving && !is_connected(daemon))
		uv_stop(&daemon->loop);
	syncer_submit(daemon);
	tick_arm(daemon);
	log_release();
}

/* What timers had to say. */
static void on_before_wait(uv_prepare_t *before_wait)
{
	(void)before_wait;
	log_release();
}

static void on_wake(uv_async_t *wake)
{
	struct daemon *daemon = wake->data;

	receives_finished(daemon);
	flows_finished(daemon);
	syncer_finished(daemon);
	copying_finished(daemon);
}

static void on_chores(uv_timer_t *timer)
{
	syncer_chores(timer->data);
	scrub_keep(timer->data);
}

static void on_addresses(uv_timer_t *timer)
{
	struct daemon *daemon = timer->data;

	if (!daemon_addresses(daemon))
		return;
	storage_set_endpoints(daemon->core, daemon->endpoints, daemon->endpoint_count);
	log_event(LOG_INFO, "addresses_changed", "count=%u", daemon->endpoint_count);
}

/* ---- signals and beacons ---- */

/* The name server does not close the connection: it may not be there any more. */
static void on_goodbye(uv_timer_t *timer)
{
	struct daemon *daemon = timer->data;

	uv_stop(&daemon->loop);
}

/* Asked twice, or without anybody to say goodbye to: at once. */
static void on_stop(uv_signal_t *signal, int number)
{
	struct storage_event event = { .kind = STORAGE_STOP };
	struct daemon *daemon = signal->data;

	log_event(LOG_INFO, "stopping", "signal=%d", number);
	if (daemon->leaving) {
		uv_stop(&daemon->loop);
		return;
	}
	daemon->leaving = true;
	daemon_step(daemon, &event);
	uv_timer_start(&daemon->goodbye, on_goodbye, GOODBYE_MS, 0);
}

static void on_hangup(uv_signal_t *signal, int number)
{
	int rc = log_reopen();

	(void)signal;
	(void)number;
	if (rc < 0)
		log_event(LOG_WARN, "log_not_reopened", "error=%s", error_name(rc));
}

static void on_beacon(void *context, const void *datagram, size_t size,
		      const struct endpoint *source)
{
	struct storage_event event = { .kind = STORAGE_BEACON,
				       .data = { datagram, size },
				       .endpoints = source,
				       .endpoint_count = 1 };

	daemon_step(context, &event);
}

static void watch_signal(struct daemon *daemon, uv_signal_t *handle, uv_signal_cb callback,
			 int number)
{
	uv_signal_init(&daemon->loop, handle);
	handle->data = daemon;
	uv_signal_start(handle, callback, number);
}

static void loop_start(struct daemon *daemon)
{
	daemon->tick_due_ms = UINT64_MAX;
	uv_async_init(&daemon->loop, &daemon->wake, on_wake);
	uv_check_init(&daemon->loop, &daemon->turn);
	uv_prepare_init(&daemon->loop, &daemon->before_wait);
	uv_timer_init(&daemon->loop, &daemon->tick);
	uv_timer_init(&daemon->loop, &daemon->chores);
	uv_timer_init(&daemon->loop, &daemon->addresses);
	uv_timer_init(&daemon->loop, &daemon->goodbye);
	daemon->wake.data = daemon->turn.data = daemon->tick.data = daemon;
	daemon->chores.data = daemon->addresses.data = daemon->goodbye.data = daemon;
	watch_signal(daemon, &daemon->terminate, on_stop, SIGTERM);
	watch_signal(daemon, &daemon->interrupt, on_stop, SIGINT);
	watch_signal(daemon, &daemon->hangup, on_hangup, SIGHUP);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a write that fails is enough */
}

static int beacons_start(struct daemon *daemon, char *message)
{
	const struct settings *settings = daemon->settings;
	struct beacon_how how = { .port = settings->beacon_port,
				  .interfaces = settings->interfaces.items,
				  .interface_count = settings->interfaces.count,
				  .heard = on_beacon,
				  .context = daemon };
	int rc;

	rc = beacon_socket_new(&daemon->loop, &how, &daemon->beacons);
	/* Then it only serves to be found by clients, should the name server go. */
	if (rc < 0 && settings->nameservers.count) {
		log_event(LOG_WARN, "beacons_unheard", "port=%u error=%s", settings->beacon_port,
			  error_name(rc));
		return 0;
	}
	if (rc < 0)
		snprintf(message, MESSAGE_SIZE_MAX,
			 "UDP port %u: %s; choose another with --beacon-port, or name the name "
			 "server with --nameserver",
			 settings->beacon_port, error_text(rc));
	return rc;
}

/* ---- the core ---- */

static int cluster_check(const struct settings *settings, const struct store_identity *identity,
			 char *message)
{
	if (id_is_none(&identity->cluster) || !settings->cluster ||
	    strcmp(settings->cluster, identity->cluster_name) == 0)
		return 0;
	snprintf(message, MESSAGE_SIZE_MAX,
		 "%s belongs to the cluster '%s'; leave --cluster out, or use another directory",
		 settings->data, identity->cluster_name);
	return -ERR_WRONG_CLUSTER;
}

static int core_start(struct daemon *daemon, char *message)
{
	const struct settings *settings = daemon->settings;
	const struct store_identity *identity = store_identity(daemon->store);
	struct storage_config config = { .self = identity->node,
					 .disk = identity->disk,
					 .machine = daemon->machine,
					 .cluster = identity->cluster,
					 .start = identity->generation,
					 .promised_epoch = identity->promised_epoch,
					 .promised_server = identity->promised_server,
					 .host = daemon->host,
					 .zone = settings->zone ? settings->zone : "",
					 .version = MUSTER_VERSION,
					 .nameserver_count = settings->nameservers.count,
					 .large_size = LARGE_SIZE,
					 .chunks = &daemon->chunks.calls,
					 .chunks_context = &daemon->chunks,
					 .catalogue = &copying_catalogue,
					 .catalogue_context = daemon->copying };
	int rc = cluster_check(settings, identity, message);

	if (rc < 0)
		return rc;
	snprintf(config.cluster_name, sizeof(config.cluster_name), "%s",
		 !id_is_none(&identity->cluster) ? identity->cluster_name
		 : settings->cluster             ? settings->cluster
						 : "");
	memcpy(config.endpoints, daemon->endpoints, sizeof(config.endpoints));
	config.endpoint_count = daemon->endpoint_count;
	memcpy(config.nameservers, settings->nameservers.items, sizeof(config.nameservers));
	scrub_load(daemon, &config.scrub);
	if (daemon_remembered(daemon, &config.remembered) < 0)
		config.remembered = (struct endpoint){ 0 };
	random_bytes(&config.seed, sizeof(config.seed));
	return storage_new(&config, &daemon->core);
}

/* ---- the store ---- */

static int store_start(struct daemon *daemon, char *message)
{
	struct store_options options = { .capacity = daemon->settings->capacity };
	struct store_report report;
	int rc = disk_posix_new(daemon->settings->data, &daemon->disk);

	if (rc < 0) {
		snprintf(message, MESSAGE_SIZE_MAX, "%s: %s; choose another with --data DIR",
			 daemon->settings->data, error_text(rc));
		return rc;
	}
	rc = random_bytes(&options.node, sizeof(options.node));
	if (rc == 0)
		rc = random_bytes(&options.disk, sizeof(options.disk));
	if (rc == 0)
		rc = random_bytes(&options.index_seed, sizeof(options.index_seed));
	if (rc == 0)
		rc = store_open(daemon->disk, &options, &daemon->store, &report, message);
	if (rc < 0)
		return rc;
	log_event(LOG_INFO, "store_opened", "chunks=%llu bytes=%llu torn=%llu quarantined=%llu",
		  (unsigned long long)report.chunks, (unsigned long long)report.bytes,
		  (unsigned long long)report.torn_bytes, (unsigned long long)report.quarantined);
	return 0;
}

/* ---- the whole ---- */

/* Each connection is a descriptor, and each long transfer another. */
static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int daemon_start(struct daemon *daemon, char *message)
{
	int rc = store_start(daemon, message);

	if (rc == 0)
		rc = machine_id(&daemon->machine);
	if (rc == 0)
		rc = host_name(daemon->host, sizeof(daemon->host));
	if (rc == 0)
		rc = flows_new(daemon);
	if (rc == 0)
		rc = receivers_new(daemon);
	if (rc == 0)
		rc = syncer_new(daemon);
	if (rc == 0)
		rc = copying_new(daemon);
	if (rc == 0)
		rc = daemon_listen(daemon, message);
	if (rc == 0)
		rc = core_start(daemon, message);
	if (rc == 0)
		rc = beacons_start(daemon, message);
	if (rc < 0)
		return rc;
	uv_check_start(&daemon->turn, on_turn);
	uv_prepare_start(&daemon->before_wait, on_before_wait);
	uv_timer_start(&daemon->tick, on_tick, 0, 0);
	uv_timer_start(&daemon->chores, on_chores, CHORE_MS, CHORE_MS);
	uv_timer_start(&daemon->addresses, on_addresses, ADDRESSES_MS, ADDRESSES_MS);
	return 0;
}

static void close_handle(uv_handle_t *handle, void *context)
{
	(void)context;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

/* Nothing is acknowledged from here on; what has arrived whole is made durable all the same. */
static void daemon_stop(struct daemon *daemon)
{
	struct scrub_state scrub = daemon->scrub;

	daemon->stopping = true;
	if (daemon->core)
		storage_scrub(daemon->core, &scrub);
	for (unsigned int i = 0; i < daemon->listener_count; i++)
		listener_free(daemon->listeners[i]);
	if (daemon->beacons)
		beacon_socket_free(daemon->beacons);
	dials_free(daemon);
	wires_shutdown(daemon);
	receivers_free(daemon);
	flows_free(daemon);
	syncer_free(daemon);
	copying_free(daemon);
	wires_free(daemon);
	storage_free(daemon->core);
	while (daemon->sources)
		source_retire(daemon, daemon->sources->transfer);
	uv_walk(&daemon->loop, close_handle, NULL);
	uv_run(&daemon->loop, UV_RUN_DEFAULT);
	uv_loop_close(&daemon->loop);
	if (daemon->disk && scrub.elapsed_ms)
		scrub_write(daemon->disk, &scrub);
	store_close(daemon->store);
	disk_free(daemon->disk);
	storage_outbox_done(&daemon->outbox);
	free(daemon->later);
	free(daemon->scratch);
}

int daemon_run(const struct settings *settings, char message[MESSAGE_SIZE_MAX])
{
	struct daemon daemon = { .settings = settings };
	int rc;

	message[0] = '\0';
	raise_descriptors();
	if (uv_loop_init(&daemon.loop) < 0)
		return -ERR_NO_MEMORY;
	loop_start(&daemon);
	daemon.scratch = malloc(FRAME_HEADER_SIZE + DATA_CRCS_SIZE_MAX + LARGE_SIZE);
	rc = daemon.scratch ? daemon_start(&daemon, message) : -ERR_NO_MEMORY;
	if (rc == 0) {
		log_event(LOG_INFO, "started", "port=%u", daemon.port);
		uv_run(&daemon.loop, UV_RUN_DEFAULT);
	}
	daemon_stop(&daemon);
	if (rc < 0 && !message[0])
		snprintf(message, MESSAGE_SIZE_MAX, "%s", error_text(rc));
	if (rc == 0)
		log_event(LOG_INFO, "stopped", "port=%u", daemon.port);
	return rc;
}

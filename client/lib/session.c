/* Opening and closing sessions, and what can be asked of them. */
#include "engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "error.h"
#include "random.h"

/* ---- opening ---- */

static int options_copy(struct muster *session, const struct muster_options *options)
{
	if (options->nameserver) {
		session->nameserver = strdup(options->nameserver);
		if (!session->nameserver)
			return -ERR_NO_MEMORY;
	}
	session->beacon_port = options->beacon_port ? options->beacon_port : BEACON_PORT;
	session->interfaces = calloc(options->interface_count + 1, sizeof(char *));
	if (!session->interfaces)
		return -ERR_NO_MEMORY;
	for (unsigned int i = 0; i < options->interface_count; i++) {
		session->interfaces[i] = strdup(options->interfaces[i]);
		if (!session->interfaces[i])
			return -ERR_NO_MEMORY;
		session->interface_count++;
	}
	return 0;
}

static int config_make(struct client_config *config, const struct muster_options *options)
{
	int rc = 0;

	if (options->transfer > MUSTER_TRANSFER_PASSIVE)
		return -ERR_USAGE;
	config->missed = options->missed;
	config->fixed = options->nameserver != NULL;
	config->transfer = (enum client_transfer)options->transfer;
	config->timeout_ms = options->timeout_ms;
	if (options->cluster) {
		if (strlen(options->cluster) > CLUSTER_NAME_MAX)
			return -ERR_USAGE;
		memcpy(config->cluster_name, options->cluster, strlen(options->cluster));
	}
	/* What was remembered is a hint: one that does not read as an address is none. */
	if (options->remembered &&
	    endpoint_parse(options->remembered, CONTROL_PORT, &config->remembered) < 0)
		config->remembered = (struct endpoint){ 0 };
	if (options->remembered_cluster)
		memcpy(config->remembered_cluster.bytes, options->remembered_cluster, ID_SIZE);
	if (options->client_id)
		memcpy(config->self.bytes, options->client_id, ID_SIZE);
	else
		rc = random_bytes(&config->self, sizeof(config->self));
	if (rc == 0)
		rc = random_bytes(&config->seed, sizeof(config->seed));
	return rc < 0 ? rc : machine_id(&config->machine);
}

static void session_free(struct muster *session)
{
	client_free(session->core);
	engine_done(session);
	for (unsigned int i = 0; i < session->interface_count; i++)
		free(session->interfaces[i]);
	free(session->interfaces);
	free(session->nameserver);
	free(session);
}

int muster_new(const struct muster_options *options, struct muster **ret)
{
	struct muster *session = calloc(1, sizeof(*session));
	int rc;

	*ret = NULL;
	if (!session)
		return -ERR_NO_MEMORY;
	session->waiting = options->waiting;
	session->waiting_context = options->waiting_context;
	rc = engine_init(session);
	if (rc == 0)
		rc = options_copy(session, options);
	if (rc == 0)
		rc = config_make(&session->config, options);
	if (rc == 0) {
		session->core = client_new(&session->config);
		rc = session->core ? 0 : -ERR_NO_MEMORY;
	}
	if (rc < 0) {
		session_free(session);
		return rc;
	}
	*ret = session;
	return 0;
}

int muster_connect(struct muster *session)
{
	struct client_state state;

	client_state(session->core, &state);
	client_look_anew(session->core);
	if (state.connected)
		return 0;
	session->connect_known = false;
	client_want(session->core, engine_now(), &session->outbox);
	engine_act(session);
	while (!session->connect_known) {
		int rc = muster_wait(session, -1);

		if (rc < 0)
			return rc;
		client_state(session->core, &state);
		if (state.connected)
			return 0;
	}
	return session->connect_error;
}

int muster_open(const struct muster_options *options, struct muster **ret)
{
	int rc = muster_new(options, ret);

	return rc < 0 ? rc : muster_connect(*ret);
}

void muster_close(struct muster *session)
{
	struct muster_op *op;

	if (!session)
		return;
	session->closing = true;
	TAILQ_FOREACH(op, &session->ops, link)
		muster_cancel(op);
	session->inside = true;
	ops_cancel_due(session);
	ops_deliver(session);
	client_leave(session->core, engine_now(), &session->outbox);
	session->inside = false;
	engine_turn(session, 0);
	session_free(session);
}

/* ---- turns ---- */

int muster_fd(const struct muster *session)
{
	return session->epoll;
}

int muster_timeout(const struct muster *session)
{
	uint64_t now_ms = engine_now();

	if (session->armed_ms == 0)
		return -1;
	return session->armed_ms > now_ms ? (int)(session->armed_ms - now_ms) : 0;
}

int muster_process(struct muster *session)
{
	engine_turn(session, 0);
	return (int)session->running;
}

int muster_wait(struct muster *session, int wait_ms)
{
	/* An interrupt's wake-up may have been used up by an earlier turn. */
	engine_turn(session, atomic_load(&session->interrupted) ? 0 : wait_ms);
	if (atomic_exchange(&session->interrupted, false))
		return -ERR_CANCELLED;
	return (int)session->running;
}

void muster_interrupt(struct muster *session)
{
	uint64_t one = 1;

	atomic_store(&session->interrupted, true);
	if (write(session->wake, &one, sizeof(one)) < 0)
		return;
}

/* ---- asking ---- */

void muster_info(const struct muster *session, struct muster_info *ret)
{
	struct client_state state;

	client_state(session->core, &state);
	*ret = (struct muster_info){
		.connected = state.connected,
		.epoch = state.epoch,
		.port = state.port,
		.active_connections = state.active,
		.passive_connections = state.passive,
		.degraded = state.degraded,
		.degraded_answers = state.degraded_answers,
	};
	if (state.nameserver.family)
		endpoint_format(&state.nameserver, ret->nameserver);
	if (state.degraded) {
		endpoint_format(&state.storage_endpoint, ret->storage);
		memcpy(ret->storage_id, state.storage.bytes, sizeof(ret->storage_id));
	}
	memcpy(ret->cluster, state.cluster_name, sizeof(ret->cluster));
	memcpy(ret->cluster_id, state.cluster.bytes, sizeof(ret->cluster_id));
	memcpy(ret->client_id, session->config.self.bytes, sizeof(ret->client_id));
}

static struct muster_cluster *cluster_find(struct muster_cluster *list, unsigned int count,
					   const struct id *id)
{
	for (unsigned int i = 0; i < count; i++) {
		if (memcmp(list[i].id, id->bytes, ID_SIZE) == 0)
			return &list[i];
	}
	return NULL;
}

unsigned int muster_clusters(const struct muster *session, struct muster_cluster *ret,
			     unsigned int most)
{
	const struct discovery *discovery = client_discovery(session->core);
	unsigned int count = 0;

	for (unsigned int i = 0; i < discovery->count; i++) {
		const struct discovered *server = &discovery->servers[i];
		struct muster_cluster *at = cluster_find(ret, count, &server->beacon.cluster);

		if (!at && count == most)
			continue;
		if (!at) {
			at = &ret[count++];
			*at = (struct muster_cluster){ 0 };
			memcpy(at->id, server->beacon.cluster.bytes, ID_SIZE);
			memcpy(at->name, server->beacon.cluster_name, sizeof(at->name));
		}
		endpoint_format(&server->endpoint, beacon_is_nameserver(&server->beacon)
							   ? at->nameserver
							   : at->storage);
	}
	return count;
}

const char *muster_detail(const struct muster *session)
{
	return session->detail;
}

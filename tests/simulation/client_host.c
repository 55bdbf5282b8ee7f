/* The glue around a client's core: operations with sources and sinks in memory. The bytes are moved
 * by client_bytes.c. */
#include "client_host.h"

#include <stdlib.h>

#include "codec.h"

enum { CLIENT_TIMEOUT_MS = 20 * 1000, CLIENT_DIAL_US = 4 * SECOND };

static struct client_host *of(const struct host *host)
{
	return host->process;
}

/* ---- answers to the workload ---- */

static void entry_see(struct op_seen *seen, const struct entry *entry)
{
	seen->found_directory = entry->type == ENTRY_DIRECTORY;
	seen->size = entry->size;
	seen->version = entry->version;
	seen->inode = entry->inode;
	seen->copies = entry->copies;
	seen->digest_known = entry->digest_known;
	seen->digest = entry->digest;
}

static void put_see(struct op_seen *seen, const struct client_op *op)
{
	const struct client_stored *stored = client_op_stored(op);

	seen->size = stored->size;
	seen->inode = stored->commit.inode;
	seen->version = stored->commit.version;
	seen->copies = stored->commit.copies;
}

static void get_see(struct op_seen *seen, const struct client_op *op, const struct buffer *sink)
{
	entry_see(seen, client_op_entry(op));
	seen->digest_known = true;
	seen->size = sink->size;
	seen->bytes = (struct slice){ sink->data, sink->size };
	seen->digest = digest_of(sink->data ? (const void *)sink->data : "", sink->size);
}

static void reply_see(struct op_seen *seen, const struct op_plan *plan, const void *reply)
{
	switch (plan->kind) {
	case SIM_STAT: entry_see(seen, &((const struct stat_reply *)reply)->entry); break;
	case SIM_LIST: seen->list = reply; break;
	case SIM_CREATE: seen->version = ((const struct create_reply *)reply)->version; break;
	default: break;
	}
}

static void done(struct host *host, const struct client_action *action)
{
	struct sim_op *op = action->user;
	struct op_seen seen = { .error = action->error };

	if (seen.error == 0 && (op->plan.kind == SIM_PUT || op->plan.kind == SIM_APPEND))
		put_see(&seen, action->op);
	else if (seen.error == 0 && op->plan.kind == SIM_GET)
		get_see(&seen, action->op, &op->sink);
	else if (seen.error == 0)
		reply_see(&seen, &op->plan, action->reply);
	client_bytes_forget(of(host), op);
	if (op->op)
		workload_done(host->world, op->op, &seen);
	client_op_free(of(host), op);
}

void client_op_free(struct client_host *client, struct sim_op *op)
{
	struct sim_op **at = &client->ops;

	while (*at != op)
		at = &(*at)->next;
	*at = op->next;
	buffer_done(&op->sink);
	free(op->source);
	free(op);
}

/* ---- actions ---- */

static void listened(struct world *w, const struct due *due)
{
	struct client_host *client = of(due->host);
	bool taken = w->faults & FAULT_PORT && !w->healed && world_chance(w, 30);

	if (due->a != client->port)
		return;
	if (taken) {
		client->port = 0;
	} else {
		host_listen(due->host, client->port);
	}
	client_host_step(due->host,
			 &(struct client_event){ .kind = CLIENT_LISTENED,
						 .error = taken ? -ERR_ADDRESS_IN_USE : 0 });
}

static void port_listen(struct host *host, uint16_t port)
{
	struct client_host *client = of(host);

	host_unlisten(host, client->port);
	client->port = port;
	if (port)
		world_after(host->world, world_below(host->world, MS),
			    (struct due){ .run = listened, .host = host, .a = port });
}

static void filled(struct world *w, const struct due *due)
{
	struct sim_op *op = client_op_find(of(due->host), due->a);
	uint64_t left;
	struct client_event event = { .kind = CLIENT_FILLED };

	(void)w;
	if (!op)
		return;
	left = op->plan.size - op->fill_offset;
	event.op = op->core;
	event.size = left < due->b ? left : due->b;
	event.last = left <= due->b;
	client_host_step(due->host, &event);
}

static void fill(struct host *host, const struct client_action *action)
{
	struct sim_op *op = action->user;

	op->core = action->op;
	op->fill_offset = action->offset;
	world_after(
		host->world, world_below(host->world, 2 * MS),
		(struct due){ .run = filled, .host = host, .a = op->serial, .b = action->size });
}

static void dial(struct host *host, const struct client_action *action)
{
	struct dial dial = { .handle = action->connection,
			     .endpoints = { action->endpoint },
			     .count = 1,
			     .timeout_us = CLIENT_DIAL_US };

	net_dial(host, &dial);
}

static void act(struct host *host, const struct client_action *action)
{
	struct client_host *client = of(host);
	const uint8_t *bytes = client->outbox.bytes.data + action->start;

	switch (action->kind) {
	case CLIENT_SEND:
		client_bytes_send(host, action->connection, bytes, (size_t)action->size);
		break;
	case CLIENT_DIAL: dial(host, action); break;
	case CLIENT_CLOSE:
		client_bytes_closed(client, action->connection);
		net_close(host, action->connection, true);
		break;
	case CLIENT_SEEK: host->hears = action->flag; break;
	case CLIENT_PROBE: net_broadcast(host, bytes); break;
	case CLIENT_LISTEN: port_listen(host, (uint16_t)action->size); break;
	case CLIENT_FILL: fill(host, action); break;
	case CLIENT_REWIND: ((struct sim_op *)action->user)->read = 0; break;
	case CLIENT_PAYLOAD: client_bytes_payload(host, action); break;
	case CLIENT_ABORT: client_bytes_abort(client, action->token); break;
	case CLIENT_EXPECT: ((struct sim_op *)action->user)->expected = action->size; break;
	case CLIENT_RECEIVE: client_bytes_receive(host, action); break;
	case CLIENT_DONE: done(host, action); break;
	case CLIENT_DROP:
	case CLIENT_CONNECTED: break;
	case CLIENT_RESOLVE: world_fail(host->world, "%s: resolves", host->name); break;
	}
}

static void tick(struct world *w, const struct due *due);

static void act_all(struct host *host)
{
	struct client_host *client = of(host);
	uint64_t deadline_ms;

	if (client->outbox.failed)
		abort();
	for (size_t i = 0; i < client->outbox.count; i++)
		act(host, &client->outbox.actions[i]);
	client_outbox_clear(&client->outbox);
	deadline_ms = client_deadline(client->core);
	if (deadline_ms >= client->armed_ms)
		return;
	client->armed_ms = deadline_ms;
	world_after(host->world, host_until(host, deadline_ms),
		    (struct due){ .run = tick, .host = host, .a = deadline_ms });
}

void client_host_step(struct host *host, struct client_event *event)
{
	struct client_host *client = of(host);

	event->now_ms = host_ms(host);
	client_step(client->core, event, &client->outbox);
	act_all(host);
}

static void tick(struct world *w, const struct due *due)
{
	(void)w;
	if (due->a != of(due->host)->armed_ms)
		return;
	of(due->host)->armed_ms = UINT64_MAX;
	client_host_step(due->host, &(struct client_event){ .kind = CLIENT_TICK });
}

/* ---- operations ---- */

struct sim_op *client_op_find(const struct client_host *client, uint64_t serial)
{
	struct sim_op *op = client->ops;

	while (op && op->serial != serial)
		op = op->next;
	return op;
}

static struct client_op *put_begin(struct client_host *client, const struct client_start *start,
				   struct sim_op *op, int *ret_error)
{
	const struct op_plan *plan = &op->plan;
	struct client_put put = { .path = slice_of(plan->path),
				  .size = plan->stream && plan->unknown_size ? SIZE_UNKNOWN
									     : plan->size,
				  .rewindable = !plan->stream,
				  .copies = plan->copies,
				  .replace = plan->replace,
				  .append = plan->kind == SIM_APPEND,
				  .rebase = plan->kind == SIM_APPEND };

	op->source = malloc(plan->size + 1);
	if (!op->source)
		abort();
	content_fill(plan->content, op->source, plan->size);
	return client_put(client->core, start, &put, ret_error);
}

/* What moves names about, and the trash. */
static struct client_op *move_begin(struct client *core, const struct client_start *start,
				    const struct op_plan *plan, int *ret_error)
{
	struct slice path = slice_of(plan->path), to = slice_of(plan->to);

	switch (plan->kind) {
	case SIM_RENAME:
		return client_request(
			core, start, MSG_rename,
			&(struct rename_request){ .path = path, .to = to, .flags = RENAME_REPLACE },
			ret_error);
	case SIM_COPY:
		return client_request(core, start, MSG_copy,
				      &(struct copy_request){ .path = path,
							      .to = to,
							      .flags = plan->tree ? COPY_TREE : 0 },
				      ret_error);
	case SIM_RESTORE:
		return client_request(core, start, MSG_trash_restore,
				      &(struct trash_restore_request){ .path = path }, ret_error);
	case SIM_PURGE:
		return client_request(core, start, MSG_trash_purge,
				      &(struct trash_purge_request){ .path = path }, ret_error);
	case SIM_FORMAT:
		return client_request(core, start, MSG_format,
				      &(struct format_request){ .cluster_name =
									slice_of("simulated") },
				      ret_error);
	default: return NULL;
	}
}

static struct client_op *core_begin(struct client_host *client, const struct client_start *start,
				    struct sim_op *op, int *ret_error)
{
	struct slice path = slice_of(op->plan.path);
	struct client *core = client->core;

	switch (op->plan.kind) {
	case SIM_APPEND:
	case SIM_PUT: return put_begin(client, start, op, ret_error);
	case SIM_GET:
		return client_get(core, start,
				  &(struct client_get){ .path = path, .most = UINT64_MAX },
				  ret_error);
	case SIM_STAT:
		return client_request(core, start, MSG_stat, &(struct stat_request){ .path = path },
				      ret_error);
	case SIM_LIST:
		return client_request(core, start, MSG_list, &(struct list_request){ .path = path },
				      ret_error);
	case SIM_MKDIR:
		return client_request(core, start, MSG_mkdir,
				      &(struct mkdir_request){ .path = path }, ret_error);
	case SIM_REMOVE:
		return client_request(core, start, MSG_remove,
				      &(struct remove_request){ .path = path }, ret_error);
	case SIM_CREATE:
		return client_request(core, start, MSG_create,
				      &(struct create_request){ .path = path }, ret_error);
	case SIM_DRAIN:
		return client_request(core, start, MSG_drain,
				      &(struct drain_request){ .node = op->plan.node,
							       .on = !op->plan.replace },
				      ret_error);
	default: return move_begin(core, start, &op->plan, ret_error);
	}
}

bool client_host_begin(struct host *host, const struct op_plan *plan, struct workload_op *op)
{
	struct client_host *client = of(host);
	struct sim_op *sim = calloc(1, sizeof(*sim));
	struct client_start start = { .now_ms = host_ms(host),
				      .user = sim,
				      .outbox = &client->outbox };
	int error = 0;

	if (!sim)
		abort();
	sim->plan = *plan;
	sim->op = op;
	sim->serial = ++client->serial;
	sim->next = client->ops;
	client->ops = sim;
	if (!core_begin(client, &start, sim, &error)) {
		world_fail(host->world, "%s: could not begin: %d", host->name, error);
		return false;
	}
	act_all(host);
	return true;
}

/* ---- life ---- */

static bool client_start_(struct host *host)
{
	struct client_host *client = calloc(1, sizeof(*client));
	struct client_config config = { .self = world_id(host->world),
					.machine = host->machine,
					.remembered = host->remembered,
					.timeout_ms = CLIENT_TIMEOUT_MS,
					.seed = prng_next(&host->world->prng) };

	if (!client)
		abort();
	if (world_chance(host->world, 20))
		config.transfer = world_chance(host->world, 50) ? CLIENT_ACTIVE : CLIENT_PASSIVE;
	client->armed_ms = UINT64_MAX;
	client->core = client_new(&config);
	if (!client->core)
		abort();
	host->process = client;
	host->hears = false;
	workload_client_started(host);
	return true;
}

static void client_stop(struct host *host, bool crash)
{
	struct client_host *client = of(host);
	struct client_state state;

	(void)crash;
	client_state(client->core, &state);
	host->remembered = state.nameserver;
	workload_client_stopped(host);
	client_free(client->core);
	client_bytes_done(client);
	while (client->ops)
		client_op_free(client, client->ops);
	client_outbox_done(&client->outbox);
	free(client);
}

/* ---- events ---- */

static void client_accepted(struct host *host, const struct socket *socket)
{
	client_host_step(host, &(struct client_event){ .kind = CLIENT_ACCEPTED,
						       .connection = socket->handle,
						       .endpoints = &socket->remote,
						       .count = 1 });
}

static void client_dialled(struct host *host, uint64_t handle, int error,
			   const struct endpoint *peer)
{
	(void)peer;
	client_host_step(host,
			 &(struct client_event){ .kind = error ? CLIENT_CLOSED : CLIENT_OPENED,
						 .connection = handle,
						 .error = error });
}

static void degraded(struct host *host, uint64_t handle)
{
	const struct socket *socket = host->world->sockets[net_socket(host, handle) - 1];

	host->degraded_us = host->world->now_us;
	workload_past_heard(host, socket->past.sequence ? &socket->past : NULL);
}

static void client_frame(struct host *host, uint64_t handle, const struct frame_header *header,
			 const uint8_t *body)
{
	if (header->reply && header->flags & FRAME_DEGRADED)
		degraded(host, handle);
	if (header->type == MSG_data)
		client_bytes_data(host, handle, header, body);
	else
		client_host_step(host, &(struct client_event){ .kind = CLIENT_FRAME,
							       .connection = handle,
							       .header = header,
							       .body = body });
}

static void client_closed(struct host *host, uint64_t handle, int error)
{
	client_bytes_closed(of(host), handle);
	client_host_step(host, &(struct client_event){ .kind = CLIENT_CLOSED,
						       .connection = handle,
						       .error = error });
}

static void client_malformed(struct host *host, uint64_t handle, const struct frame_header *header)
{
	(void)header;
	world_fail(host->world, "%s: a malformed frame came", host->name);
	net_close(host, handle, true);
	client_closed(host, handle, -ERR_BAD_REQUEST);
}

static void client_datagram(struct host *host, const struct endpoint *source, const uint8_t *data)
{
	struct beacon beacon;

	if (beacon_decode(data, BEACON_SIZE, NULL, &beacon) == 0)
		client_host_step(host, &(struct client_event){ .kind = CLIENT_HEARD,
							       .beacon = &beacon,
							       .endpoints = source,
							       .count = 1 });
}

const struct process_ops client_process = {
	.start = client_start_,
	.stop = client_stop,
	.accepted = client_accepted,
	.dialled = client_dialled,
	.frame = client_frame,
	.malformed = client_malformed,
	.closed = client_closed,
	.datagram = client_datagram,
};

bool client_host_connected(const struct host *host)
{
	struct client_state state;

	if (!host->process)
		return false;
	client_state(of(host)->core, &state);
	return state.connected;
}

/* The core's actions, carried out. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "endpoint.h"
#include "error.h"
#include "log.h"
#include "network.h"
#include "storage_daemon.h"

/* ---- steps ---- */

static void later(struct daemon *daemon, const struct storage_event *event)
{
	if (daemon->later_count == daemon->later_capacity) {
		unsigned int capacity = daemon->later_capacity ? 2 * daemon->later_capacity : 16;
		struct storage_event *grown =
			realloc(daemon->later, capacity * sizeof(*daemon->later));

		if (!grown)
			abort();
		daemon->later = grown;
		daemon->later_capacity = capacity;
	}
	daemon->later[daemon->later_count++] = *event;
}

static void step(struct daemon *daemon, struct storage_event *event)
{
	int rc;

	event->now_ms = clock_monotonic_ms();
	rc = storage_step(daemon->core, event, &daemon->outbox);
	for (unsigned int i = 0; i < daemon->outbox.count; i++)
		daemon_act(daemon, &daemon->outbox.actions[i]);
	storage_outbox_clear(&daemon->outbox);
	if (rc < 0) {
		log_event(LOG_ERROR, "failed", "error=%s", error_name(rc));
		uv_stop(&daemon->loop);
	}
}

/* What comes up while actions are carried out has no pointers into a frame, and waits. */
void daemon_step(struct daemon *daemon, struct storage_event *event)
{
	if (daemon->stepping) {
		later(daemon, event);
		return;
	}
	daemon->stepping = true;
	log_hold();
	step(daemon, event);
	for (unsigned int i = 0; i < daemon->later_count; i++) {
		struct storage_event next = daemon->later[i];

		step(daemon, &next);
	}
	daemon->later_count = 0;
	daemon->stepping = false;
}

/* ---- dialling and resolving ---- */

struct dialling {
	struct daemon *daemon;
	uint64_t handle;
	UT_hash_handle hh;
	struct dialer *dialer;
};

static void dialled(struct daemon *daemon, uint64_t handle, int error, const struct endpoint *peer)
{
	struct storage_event event = { .kind = STORAGE_DIALLED,
				       .connection = handle,
				       .error = error,
				       .endpoints = peer,
				       .endpoint_count = peer ? 1 : 0 };

	daemon_step(daemon, &event);
}

static void on_dialled(void *context, int result)
{
	struct dialling *dialling = context;
	struct daemon *daemon = dialling->daemon;
	uint64_t handle = dialling->handle;
	struct endpoint peer;
	struct wire *wire;
	int rc = result;

	HASH_DEL(daemon->dials, dialling);
	free(dialling);
	if (result >= 0)
		rc = wire_new(daemon, handle, result, &wire);
	if (rc < 0) {
		if (result >= 0)
			close(result);
		dialled(daemon, handle, rc, NULL);
		return;
	}
	wire->known = true;
	peer = link_peer(wire->link);
	dialled(daemon, handle, 0, &peer);
}

static int dial(struct daemon *daemon, const struct storage_action *action)
{
	struct dial_how how = { action->endpoints, action->endpoint_count, action->timeout_ms };
	struct dialling *dialling = calloc(1, sizeof(*dialling));
	int rc;

	if (!dialling)
		return -ERR_NO_MEMORY;
	dialling->daemon = daemon;
	dialling->handle = action->connection;
	rc = dialer_new(&daemon->loop, &how, on_dialled, dialling, &dialling->dialer);
	if (rc < 0) {
		free(dialling);
		return rc;
	}
	HASH_ADD(hh, daemon->dials, handle, sizeof(dialling->handle), dialling);
	return 0;
}

static bool dial_cancel(struct daemon *daemon, uint64_t handle)
{
	struct dialling *dialling;

	HASH_FIND(hh, daemon->dials, &handle, sizeof(handle), dialling);
	if (!dialling)
		return false;
	dialer_cancel(dialling->dialer);
	HASH_DEL(daemon->dials, dialling);
	free(dialling);
	return true;
}

void dials_free(struct daemon *daemon)
{
	while (daemon->dials)
		dial_cancel(daemon, daemon->dials->handle);
}

struct resolving {
	uv_work_t work;
	struct daemon *daemon;
	const char *name;
	struct address addresses[ENDPOINTS_MAX];
	int result;
};

static void resolve_run(uv_work_t *work)
{
	struct resolving *resolving = work->data;

	resolving->result =
		address_resolve(resolving->name, CONTROL_PORT, resolving->addresses, ENDPOINTS_MAX);
}

static void resolve_done(uv_work_t *work, int status)
{
	struct resolving *resolving = work->data;
	struct endpoint endpoints[ENDPOINTS_MAX];
	struct storage_event event = { .kind = STORAGE_RESOLVED, .endpoints = endpoints };

	(void)status;
	if (resolving->result < 0)
		event.error = resolving->result;
	else
		event.endpoint_count = (unsigned int)resolving->result;
	for (unsigned int i = 0; i < event.endpoint_count; i++)
		endpoints[i] =
			endpoint_ipv4(resolving->addresses[i].ip, resolving->addresses[i].port);
	if (!resolving->daemon->stopping)
		daemon_step(resolving->daemon, &event);
	free(resolving);
}

static int resolve(struct daemon *daemon, const char *name)
{
	struct resolving *resolving = calloc(1, sizeof(*resolving));

	if (!resolving)
		return -ERR_NO_MEMORY;
	resolving->work.data = resolving;
	resolving->daemon = daemon;
	resolving->name = name;
	if (uv_queue_work(&daemon->loop, &resolving->work, resolve_run, resolve_done) == 0)
		return 0;
	free(resolving);
	return -ERR_NO_MEMORY;
}

/* ---- the name server's address, for the next start ---- */

int daemon_remembered(struct daemon *daemon, struct endpoint *ret)
{
	char text[ENDPOINT_TEXT_MAX] = "";
	int file = disk_open(daemon->disk, "nameserver", DISK_READ_ONLY);
	int64_t got;

	if (file < 0)
		return file;
	got = disk_read(daemon->disk, file, text, sizeof(text) - 1, 0);
	disk_close(daemon->disk, file);
	if (got < 0)
		return (int)got;
	text[strcspn(text, "\n")] = '\0';
	return endpoint_parse(text, CONTROL_PORT, ret);
}

/* A hint only: nothing depends on its being durable. */
static void remember(struct daemon *daemon, const struct endpoint *endpoint)
{
	char text[ENDPOINT_TEXT_MAX + 1];
	int file = disk_open(daemon->disk, "nameserver.new", DISK_CREATE);
	size_t size;

	if (file < 0)
		return;
	endpoint_format(endpoint, text);
	size = strlen(text);
	text[size++] = '\n';
	disk_truncate(daemon->disk, file, 0);
	if (disk_write(daemon->disk, file, text, size, 0) == 0) {
		disk_close(daemon->disk, file);
		disk_rename(daemon->disk, "nameserver.new", "nameserver");
	} else {
		disk_close(daemon->disk, file);
	}
}

/* ---- the table ---- */

static void act_send(struct daemon *daemon, const struct storage_action *action)
{
	struct wire *wire = wire_find(daemon, action->connection);

	if (wire && !wire->gone)
		wire_send(wire, daemon->outbox.bytes.data + action->at, action->size);
}

static void act_close(struct daemon *daemon, const struct storage_action *action)
{
	struct wire *wire = wire_find(daemon, action->connection);

	if (wire && !wire->gone)
		wire_close(wire);
	else if (!wire)
		dial_cancel(daemon, action->connection);
}

static void act_pause(struct daemon *daemon, const struct storage_action *action)
{
	struct wire *wire = wire_find(daemon, action->connection);

	if (wire && !wire->gone)
		wire_pause(wire, action->on);
}

static void act_dial(struct daemon *daemon, const struct storage_action *action)
{
	int rc = dial(daemon, action);

	if (rc < 0)
		dialled(daemon, action->connection, rc, NULL);
}

static void act_resolve(struct daemon *daemon, const struct storage_action *action)
{
	struct storage_event event = { .kind = STORAGE_RESOLVED };

	event.error = resolve(daemon, action->name);
	if (event.error < 0)
		daemon_step(daemon, &event);
}

static void act_probe(struct daemon *daemon, const struct storage_action *action)
{
	if (daemon->beacons)
		beacon_socket_send(daemon->beacons, daemon->outbox.bytes.data + action->at,
				   action->size);
}

static void act_remember(struct daemon *daemon, const struct storage_action *action)
{
	remember(daemon, &action->endpoints[0]);
}

static void act_receive(struct daemon *daemon, const struct storage_action *action)
{
	struct wire *wire = wire_find(daemon, action->connection);
	struct storage_event event = { .kind = STORAGE_RECEIVED, .transfer = action->transfer };

	event.error = wire && !wire->gone ? receive_start(wire, action) : -ERR_CONNECTION;
	if (event.error < 0)
		daemon_step(daemon, &event);
}

static int forward(struct daemon *daemon, const struct storage_action *action)
{
	struct wire *wire = wire_find(daemon, action->connection);
	struct flow_order order = { .source = source_find(daemon, action->transfer),
				    .transfer = action->transfer,
				    .id = action->id,
				    .length = action->length,
				    .prefix = { daemon->outbox.bytes.data + action->at,
						action->size } };
	struct store_reader *reader;
	int rc = 0;

	if (!wire || wire->gone)
		return -ERR_CONNECTION;
	if (order.source)
		order.source->references++;
	else
		rc = store_reader_open(daemon->store, action->chunk, &reader);
	if (rc == 0 && !order.source)
		rc = source_of_reader(daemon, reader, action->length, &order.source);
	if (rc < 0)
		return rc;
	rc = flow_start(wire, &order);
	if (rc < 0)
		source_release(order.source);
	return rc;
}

static void act_forward(struct daemon *daemon, const struct storage_action *action)
{
	struct storage_event done = { .kind = STORAGE_FORWARDED, .transfer = action->transfer };
	struct storage_event closed = { .kind = STORAGE_CLOSED, .connection = action->connection };
	struct wire *wire = wire_find(daemon, action->connection);

	done.error = closed.error = forward(daemon, action);
	if (done.error == 0)
		return;
	daemon_step(daemon, &done);
	daemon_step(daemon, &closed);
	if (wire && !wire->gone)
		wire_close(wire);
}

static void act_send_chunk(struct daemon *daemon, const struct storage_action *action)
{
	struct wire *wire = wire_find(daemon, action->connection);
	struct waiting_read read = { .chunk = action->chunk,
				     .id = action->id,
				     .offset = action->offset,
				     .length = action->length };

	if (wire && !wire->gone)
		wire_read(wire, &read);
}

static void act_note(struct daemon *daemon, const struct storage_action *action)
{
	(void)daemon;
	daemon_note(action);
}

typedef void act_fn(struct daemon *daemon, const struct storage_action *action);

static act_fn *const acts[] = {
	[ACT_SEND] = act_send,         [ACT_CLOSE] = act_close,
	[ACT_PAUSE] = act_pause,       [ACT_DIAL] = act_dial,
	[ACT_RESOLVE] = act_resolve,   [ACT_PROBE] = act_probe,
	[ACT_REMEMBER] = act_remember, [ACT_RECEIVE] = act_receive,
	[ACT_FORWARD] = act_forward,   [ACT_SEND_CHUNK] = act_send_chunk,
	[ACT_INSPECT] = inspect_start, [ACT_NOTE] = act_note,
};

void daemon_act(struct daemon *daemon, const struct storage_action *action)
{
	acts[action->kind](daemon, action);
}

#include "peer_nameserver.h"

#include <stdio.h>
#include <stdlib.h>

#include "batch.h"
#include "error.h"
#include "kv_memory.h"
#include "nameserver.h"

enum { START_MS = 1000 };

struct connection {
	struct peer_nameserver *memory;
	uint64_t conn;
	bool closed;
	struct buffer sent; /* the beginning of a frame */
	struct buffer received;
	struct connection *next;
};

struct peer_nameserver {
	struct kv *kv;
	struct nameserver *ns;
	struct ns_outbox outbox;
	struct buffer journal; /* all batches */
	bool wanted;           /* of these those behind wanted_after */
	uint64_t wanted_after;
	uint64_t now_ms, sealed, next_conn;
	struct connection *connections;
};

static struct connection *connection_of(struct peer_nameserver *memory, uint64_t conn)
{
	struct connection *connection = memory->connections;

	while (connection && connection->conn != conn)
		connection = connection->next;
	return connection;
}

static void commit(struct peer_nameserver *memory, uint64_t sequence, struct slice batch)
{
	memory->sealed = sequence;
	buffer_append(&memory->journal, batch.data, batch.size);
}

static void act(struct peer_nameserver *memory)
{
	for (unsigned int i = 0; i < memory->outbox.count; i++) {
		const struct ns_action *action = &memory->outbox.actions[i];
		struct connection *connection = connection_of(memory, action->conn);
		struct slice bytes = ns_action_bytes(&memory->outbox, action);

		if (action->kind == NS_SEND && connection)
			buffer_append(&connection->received, bytes.data, bytes.size);
		else if (action->kind == NS_CLOSE && connection)
			connection->closed = true;
		else if (action->kind == NS_COMMIT)
			commit(memory, action->sequence, bytes);
		else if (action->kind == NS_JOURNAL_READ) {
			memory->wanted = true;
			memory->wanted_after = action->sequence;
		}
	}
	ns_outbox_clear(&memory->outbox);
}

static void journal_answer(struct peer_nameserver *memory)
{
	struct slice journal = { memory->journal.data, memory->journal.size };
	struct ns_event event = { .kind = NS_JOURNAL,
				  .now_ms = memory->now_ms,
				  .sequence = memory->wanted_after };
	struct buffer batches = { 0 };

	memory->wanted = false;
	event.error = batches_share(journal, event.sequence, JOURNAL_READ_SIZE, &batches);
	event.batches = (struct slice){ batches.data, batches.size };
	nameserver_step(memory->ns, &event, &memory->outbox);
	act(memory);
	nameserver_end_turn(memory->ns, &memory->outbox);
	act(memory);
	buffer_done(&batches);
}

/* A turn, and the disk right behind it. */
static void turn(struct peer_nameserver *memory, struct ns_event *event)
{
	struct ns_event durable = { .kind = NS_DURABLE, .now_ms = memory->now_ms };

	if (event) {
		event->now_ms = memory->now_ms;
		event->wall_ms = memory->now_ms;
		nameserver_step(memory->ns, event, &memory->outbox);
		act(memory);
	}
	nameserver_end_turn(memory->ns, &memory->outbox);
	act(memory);
	durable.sequence = memory->sealed;
	nameserver_step(memory->ns, &durable, &memory->outbox);
	act(memory);
	nameserver_end_turn(memory->ns, &memory->outbox);
	act(memory);
	while (memory->wanted)
		journal_answer(memory);
}

static void *memory_open(void *context, bool storage, unsigned int number)
{
	struct peer_nameserver *memory = context;
	struct connection *connection = calloc(1, sizeof(*connection));
	struct ns_event event = { .kind = NS_OPENED };

	if (!connection)
		return NULL;
	connection->memory = memory;
	connection->conn = ++memory->next_conn;
	connection->next = memory->connections;
	memory->connections = connection;
	event.conn = connection->conn;
	event.peer = endpoint_ipv4((storage ? 0x0a020000u : 0x0a010000u) + number, 40000);
	event.local = endpoint_ipv4(0x0a000001, CONTROL_PORT);
	turn(memory, &event);
	return connection;
}

static int memory_send(void *context, const void *bytes, size_t size)
{
	struct connection *connection = context;
	struct frame_header header;
	struct ns_event event = { .conn = connection->conn, .header = &header };
	size_t frame_size;
	int rc = connection->closed ? -ERR_CONNECTION
				    : buffer_append(&connection->sent, bytes, size);

	while (rc == 0 && !connection->closed) {
		int found = frame_next(connection->sent.data, connection->sent.size, &header,
				       &frame_size);

		if (found == 0)
			return 0;
		event.kind = found == 1 ? NS_FRAME : NS_MALFORMED;
		event.body = connection->sent.data + FRAME_HEADER_SIZE;
		turn(connection->memory, &event);
		buffer_consume(&connection->sent, found == 1 ? frame_size : connection->sent.size);
	}
	return rc;
}

static int memory_receive(void *context, bool patient, struct buffer *ret)
{
	struct connection *connection = context;
	struct frame_header header;
	size_t size;
	int rc = frame_next(connection->received.data, connection->received.size, &header, &size);

	(void)patient;
	if (rc != 1)
		return rc == 0 && connection->closed ? -ERR_CONNECTION : rc;
	buffer_append(ret, connection->received.data, size);
	buffer_consume(&connection->received, size);
	return 1;
}

static void memory_close(void *context)
{
	struct connection *connection = context, **link;
	struct peer_nameserver *memory = connection->memory;
	struct ns_event event = { .kind = NS_CLOSED, .conn = connection->conn };

	if (!connection->closed)
		turn(memory, &event);
	for (link = &memory->connections; *link != connection; link = &(*link)->next)
		;
	*link = connection->next;
	buffer_done(&connection->sent);
	buffer_done(&connection->received);
	free(connection);
}

static void memory_clock(void *context, uint64_t ms)
{
	struct peer_nameserver *memory = context;
	uint64_t target = memory->now_ms + ms;

	for (uint64_t at; (at = nameserver_deadline(memory->ns)) <= target;) {
		struct ns_event tick = { .kind = NS_TICK };

		memory->now_ms = at > memory->now_ms ? at : memory->now_ms;
		turn(memory, &tick);
	}
	memory->now_ms = target;
}

static void memory_disk(void *context, int error)
{
	struct ns_event space = { .kind = NS_SPACE, .good = error == 0 };

	turn(context, &space);
}

int peer_nameserver_new(struct peer_nameserver **ret)
{
	struct nameserver_config config = { .port = CONTROL_PORT, .version = "conformance" };
	const struct id cluster = { .bytes = "a test's cluster" };
	struct peer_nameserver *memory = calloc(1, sizeof(*memory));
	int rc = memory ? kv_memory_new(&memory->kv) : -ERR_NO_MEMORY;

	config.self.bytes[0] = 1;
	config.machine.bytes[0] = 2;
	if (rc == 0)
		memory->now_ms = START_MS;
	if (rc == 0)
		rc = catalogue_format(memory->kv, &cluster, "test");
	if (rc == 0)
		rc = nameserver_new(&config, memory->kv, memory->now_ms, &memory->ns);
	if (rc < 0) {
		peer_nameserver_free(memory);
		return rc;
	}
	turn(memory, NULL);
	*ret = memory;
	return 0;
}

void peer_nameserver_free(struct peer_nameserver *memory)
{
	if (!memory)
		return;
	nameserver_free(memory->ns);
	kv_memory_free(memory->kv);
	ns_outbox_done(&memory->outbox);
	buffer_done(&memory->journal);
	free(memory);
}

struct script_peer peer_nameserver_script(struct peer_nameserver *memory)
{
	return (struct script_peer){
		.context = memory,
		.open = memory_open,
		.send = memory_send,
		.receive = memory_receive,
		.close = memory_close,
		.clock = memory_clock,
		.disk = memory_disk,
		.memory = true,
	};
}

/* What client_host.c and client_bytes.c share. */
#ifndef MUSTER_TESTS_CLIENT_HOST_H
#define MUSTER_TESTS_CLIENT_HOST_H

#include "client_core.h"
#include "error.h"
#include "world.h"

/* An operation, and the bytes that it reads or writes. */
struct sim_op {
	struct sim_op *next;
	struct op_plan plan;
	struct workload_op *op;
	struct client_op *core;
	uint64_t serial;
	uint8_t *source;
	uint64_t read; /* bytes of the source read so far, from its start */
	uint64_t fill_offset;
	uint64_t expected; /* of the sink */
	struct buffer sink;
};

/* What waits to leave on a connection, in order: bytes, or the payload of a WRITE. */
struct outgoing {
	struct outgoing *next;
	uint64_t conn;
	struct buffer bytes; /* empty: a payload */
	struct sim_op *op;   /* NULL: aborted */
	struct client_op *core;
	uint32_t token;
	uint64_t offset, size, sent;
	bool begun;
};

/* The DATA that a READ asked for. */
struct incoming_data {
	struct incoming_data *next;
	uint64_t conn;
	struct sim_op *op;
	struct client_op *core;
	uint32_t token;
	uint64_t start;                  /* in the chunk */
	uint64_t offset, size, from, to; /* in the file */
	uint64_t got;
	struct buffer ready; /* came, but others stand before it */
	int error;
};

struct client_host {
	struct client *core;
	struct client_outbox outbox;
	struct sim_op *ops;
	struct outgoing *outgoing;
	struct incoming_data *incoming;
	uint64_t serial;
	uint64_t armed_ms;
	uint16_t port;
};

void client_host_step(struct host *host, struct client_event *event);
struct sim_op *client_op_find(const struct client_host *client, uint64_t serial);
void client_op_free(struct client_host *client, struct sim_op *op);

void client_bytes_send(struct host *host, uint64_t conn, const uint8_t *data, size_t size);
void client_bytes_payload(struct host *host, const struct client_action *action);
void client_bytes_receive(struct host *host, const struct client_action *action);
void client_bytes_abort(struct client_host *client, uint32_t token);
void client_bytes_closed(struct client_host *client, uint64_t conn);
void client_bytes_forget(struct client_host *client, const struct sim_op *op);
void client_bytes_data(struct host *host, uint64_t conn, const struct frame_header *header,
		       const uint8_t *body);
void client_bytes_done(struct client_host *client);

#endif

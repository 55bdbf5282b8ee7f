/* File bytes of a simulated client: payloads leave frame by frame; data that comes in is checked,
 * and delivered in the order in which it was asked for. */
#include <stdlib.h>

#include "client_host.h"
#include "hash.h"

static struct client_host *of(const struct host *host)
{
	return host->process;
}

/* ---- going out ---- */

static void outgoing_free(struct client_host *client, struct outgoing *item)
{
	struct outgoing **at = &client->outgoing;

	while (*at != item)
		at = &(*at)->next;
	*at = item->next;
	buffer_done(&item->bytes);
	free(item);
}

static struct outgoing *outgoing_first(const struct client_host *client, uint64_t conn)
{
	struct outgoing *item = client->outgoing;

	while (item && item->conn != conn)
		item = item->next;
	return item;
}

static struct outgoing *outgoing_add(struct client_host *client, uint64_t conn)
{
	struct outgoing *item = calloc(1, sizeof(*item));
	struct outgoing **at = &client->outgoing;

	if (!item)
		abort();
	item->conn = conn;
	while (*at)
		at = &(*at)->next;
	*at = item;
	return item;
}

static void pump(struct host *host, uint64_t conn);

static void abort_send(struct host *host, const struct outgoing *item)
{
	uint8_t bytes[FRAME_HEADER_SIZE + DATA_CRCS_SIZE_MAX];
	struct data_head head = { .id = item->token, .flags = FRAME_ABORT, .offset = item->sent };

	net_send(host, item->conn, bytes, data_head_encode(&head, NULL, bytes));
}

/* One DATA frame; returns when it will have left. */
static uint64_t data_send(struct host *host, struct outgoing *item)
{
	uint64_t left = item->size - item->sent;
	uint32_t size = (uint32_t)(left < DATA_PAYLOAD_MAX ? left : DATA_PAYLOAD_MAX);
	const uint8_t *source = item->op->source + item->offset + item->sent;
	uint8_t *frame = malloc(FRAME_HEADER_SIZE + DATA_CRCS_SIZE_MAX + size);
	uint8_t crcs[DATA_CRCS_SIZE_MAX];
	struct data_head head = { .id = item->token,
				  .flags = size == left ? FRAME_LAST : 0,
				  .offset = item->sent,
				  .length = size };
	uint64_t leave_us;
	size_t used;

	if (!frame)
		abort();
	crc32c_blocks(source, size, crcs);
	used = data_head_encode(&head, crcs, frame);
	memcpy(frame + used, source, size);
	leave_us = net_send(host, item->conn, frame, used + size);
	free(frame);
	item->sent += size;
	if (item->offset + item->sent > item->op->read)
		item->op->read = item->offset + item->sent;
	return leave_us;
}

static void payload_left(struct host *host, struct outgoing *item)
{
	struct client_event event = { .kind = CLIENT_SENT, .op = item->core, .token = item->token };

	if (item->op)
		event.digest = digest_of(item->op->source, item->op->read);
	outgoing_free(of(host), item);
	client_host_step(host, &event);
}

/* The next frame of the payload that stands first on the connection. */
static void payload_step(struct world *w, const struct due *due)
{
	struct host *host = due->host;
	uint64_t conn = due->a;
	struct outgoing *item = outgoing_first(of(host), conn);
	uint64_t leave_us;

	if (!item || item->bytes.size || item->token != due->b)
		return;
	client_host_step(host, &(struct client_event){ .kind = CLIENT_MOVED, .connection = conn });
	item = outgoing_first(of(host), conn);
	if (!item || item->bytes.size || item->token != due->b)
		return;
	if (!item->op && item->sent < item->size) {
		abort_send(host, item);
		item->size = item->sent;
	}
	if (item->sent == item->size) {
		payload_left(host, item);
		pump(host, conn);
		return;
	}
	leave_us = data_send(host, item);
	world_after(w, leave_us > w->now_us ? leave_us - w->now_us : 1,
		    (struct due){ .run = payload_step, .host = host, .a = conn, .b = item->token });
}

static void pump(struct host *host, uint64_t conn)
{
	struct client_host *client = of(host);
	struct outgoing *item;

	while ((item = outgoing_first(client, conn)) != NULL && item->bytes.size) {
		net_send(host, conn, item->bytes.data, item->bytes.size);
		outgoing_free(client, item);
	}
	if (!item || item->begun)
		return;
	item->begun = true;
	world_after(host->world, 10 + world_below(host->world, 500),
		    (struct due){ .run = payload_step, .host = host, .a = conn, .b = item->token });
}

void client_bytes_send(struct host *host, uint64_t conn, const uint8_t *data, size_t size)
{
	struct outgoing *item = outgoing_add(of(host), conn);

	buffer_append(&item->bytes, data, size);
	pump(host, conn);
}

void client_bytes_payload(struct host *host, const struct client_action *action)
{
	struct outgoing *item = outgoing_add(of(host), action->connection);

	item->op = action->user;
	item->core = action->op;
	item->token = action->token;
	item->offset = action->offset;
	item->size = action->size;
	if (item->offset + item->size > item->op->plan.size)
		world_fail(host->world, "%s: a payload beyond the source's end", host->name);
	else
		pump(host, action->connection);
}

/* ---- coming in ---- */

static void incoming_free(struct client_host *client, struct incoming_data *data)
{
	struct incoming_data **at = &client->incoming;

	while (*at != data)
		at = &(*at)->next;
	*at = data->next;
	buffer_done(&data->ready);
	free(data);
}

static struct incoming_data *incoming_find(const struct client_host *client, uint32_t token)
{
	struct incoming_data *data = client->incoming;

	while (data && data->token != token)
		data = data->next;
	return data;
}

static struct incoming_data *incoming_first(const struct client_host *client,
					    const struct sim_op *op)
{
	struct incoming_data *data = client->incoming;

	while (data && data->op != op)
		data = data->next;
	return data;
}

void client_bytes_receive(struct host *host, const struct client_action *action)
{
	struct incoming_data *data = calloc(1, sizeof(*data));
	struct incoming_data **at = &of(host)->incoming;

	if (!data)
		abort();
	data->conn = action->connection;
	data->op = action->user;
	data->core = action->op;
	data->token = action->token;
	data->start = action->start;
	data->offset = action->offset;
	data->size = action->size;
	data->from = action->from;
	data->to = action->to;
	while (*at)
		at = &(*at)->next;
	*at = data;
}

/* The part of `payload`, which begins at `at` of the file, that is wanted. */
static struct slice part_wanted(const struct incoming_data *data, struct slice payload, uint64_t at)
{
	uint64_t end = at + payload.size;
	uint64_t from = data->from > at ? data->from : at;
	uint64_t to = data->to < end ? data->to : end;

	if (from >= to)
		return (struct slice){ payload.data, 0 };
	return (struct slice){ payload.data + (from - at), (size_t)(to - from) };
}

static int data_check(const struct incoming_data *data, const struct data_head *head,
		      const uint8_t *body, size_t crcs_size)
{
	bool last = head->flags & FRAME_LAST;

	if (head->flags & FRAME_ABORT || head->offset != data->start + data->got ||
	    head->length > data->size - data->got ||
	    last != (data->got + head->length == data->size))
		return -ERR_BAD_REQUEST;
	return crc32c_blocks_match(body + crcs_size, head->length, body) ? 0 : -ERR_CORRUPT;
}

/* What is ready of the READ that stands first goes to the sink. */
static void deliver(struct host *host, struct sim_op *op)
{
	struct client_host *client = of(host);
	struct incoming_data *data;
	uint64_t serial = op->serial;

	while (client_op_find(client, serial) && (data = incoming_first(client, op)) != NULL) {
		struct client_event event = { .kind = CLIENT_RECEIVED,
					      .op = data->core,
					      .token = data->token,
					      .size = data->ready.size,
					      .error = data->error };

		event.last = data->got == data->size && !data->error;
		if (!event.size && !event.last && !event.error)
			return;
		if (op->sink.size + event.size > op->expected)
			world_fail(host->world, "%s: more than was to be delivered", host->name);
		buffer_append(&op->sink, data->ready.data, data->ready.size);
		buffer_clear(&data->ready);
		if (op->sink.size == op->expected)
			event.digest = digest_of(op->sink.data, op->sink.size);
		if (event.last || event.error)
			incoming_free(client, data);
		client_host_step(host, &event);
	}
}

void client_bytes_data(struct host *host, uint64_t conn, const struct frame_header *header,
		       const uint8_t *body)
{
	struct client_host *client = of(host);
	struct incoming_data *data;
	struct data_head head;
	struct slice part;
	size_t crcs_size;

	client_host_step(host, &(struct client_event){ .kind = CLIENT_MOVED, .connection = conn });
	data = incoming_find(client, header->id);
	if (!data || data->conn != conn || data->error)
		return;
	if (data_head_decode(header, &head, &crcs_size) < 0)
		data->error = -ERR_BAD_REQUEST;
	else
		data->error = data_check(data, &head, body, crcs_size);
	if (data->error == 0) {
		part = part_wanted(data, (struct slice){ body + crcs_size, head.length },
				   data->offset + data->got);
		buffer_append(&data->ready, part.data, part.size);
		data->got += head.length;
	}
	deliver(host, data->op);
}

/* ---- ends ---- */

/* A token is either a payload's or a READ's. */
void client_bytes_abort(struct client_host *client, uint32_t token)
{
	struct incoming_data *data = incoming_find(client, token);

	if (data)
		incoming_free(client, data);
	for (struct outgoing *item = client->outgoing; item; item = item->next) {
		if (!item->bytes.size && item->token == token)
			item->op = NULL;
	}
}

void client_bytes_closed(struct client_host *client, uint64_t conn)
{
	struct outgoing *item;
	struct incoming_data *data, *next;

	while ((item = outgoing_first(client, conn)) != NULL)
		outgoing_free(client, item);
	for (data = client->incoming; data; data = next) {
		next = data->next;
		if (data->conn == conn)
			incoming_free(client, data);
	}
}

void client_bytes_forget(struct client_host *client, const struct sim_op *op)
{
	struct incoming_data *data;

	while ((data = incoming_first(client, op)) != NULL)
		incoming_free(client, data);
	for (struct outgoing *item = client->outgoing; item; item = item->next) {
		if (item->op == op)
			item->op = NULL;
	}
}

void client_bytes_done(struct client_host *client)
{
	while (client->outgoing)
		outgoing_free(client, client->outgoing);
	while (client->incoming)
		incoming_free(client, client->incoming);
}

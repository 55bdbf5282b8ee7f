/* The glue around a storage server's core: the real store on a simulated disk, commits that take
 * their time, answers to READ. */
#include <stdlib.h>

#include "copy_host.h"
#include "error.h"
#include "storage.h"
#include "store.h"
#include "store_chunks.h"
#include "world.h"

enum { STORAGE_PORT = 3503, READERS_MAX = 256 };

struct reading {
	struct store_reader *reader; /* NULL: it could not be opened */
	int error;
	uint64_t conn, chunk;
	uint32_t id, offset, length;
};

struct storage_host {
	struct host *host;
	struct store *store;
	struct storage *core;
	struct storage_outbox outbox;
	struct store_chunks chunks;
	struct copy_host *copy;
	struct store_commit *commit;
	struct store_chore *chore;
	struct reading *readings[READERS_MAX];
	struct store_reader *inspected; /* NULL: no chunk is being looked at */
	uint64_t armed_ms;
	uint64_t asked_epoch; /* by the last PROMISE */
};

static struct storage_host *of(const struct host *host)
{
	return host->process;
}

static void step(struct host *host, struct storage_event *event);
static void commit_submit(struct host *host);

/* ---- what the core asks of the store ---- */

/* Sabotage: what one server is told to delete goes everywhere. */
static void remove_greedily(struct world *w, const struct host *host, uint64_t chunk)
{
	for (unsigned int i = 0; i < w->storage_count; i++) {
		struct host *other = world_storage(w, i);

		if (other != host && other->process)
			store_chunks_calls.remove(&of(other)->chunks, chunk);
	}
}

/* Sabotage: nothing is written. */
static int promise_lose(void *context, uint64_t epoch, const struct id *server)
{
	(void)context;
	(void)epoch;
	(void)server;
	return 0;
}

static int chunks_remove(void *context, uint64_t chunk)
{
	struct store_chunks *chunks = context;
	const struct host *host = ((struct storage_host *)chunks->owner)->host;

	world_trace(host->world, "%s: removes chunk %llx", host->name, (unsigned long long)chunk);
	if (host->world->config.sabotage == SABOTAGE_GREEDY)
		remove_greedily(host->world, host, chunk);
	return store_chunks_calls.remove(chunks, chunk);
}

/* ---- commits ---- */

struct early {
	uint32_t transfer;
	struct digest digest;
};

static void stored_early(struct world *w, const struct due *due)
{
	const struct early *early = due->context;

	(void)w;
	step(due->host, &(struct storage_event){ .kind = STORAGE_STORED,
						 .transfer = early->transfer,
						 .digest = &early->digest });
}

static void tell_early(struct storage_host *storage, const struct store_write *write,
		       uint32_t transfer)
{
	struct early *early = malloc(sizeof(*early));

	if (!early)
		abort();
	*early = (struct early){ transfer, store_write_digest(write) };
	world_after(storage->host->world, 1,
		    (struct due){ .run = stored_early,
				  .host = storage->host,
				  .context = early,
				  .owned = true });
}

static void commit_due(struct world *w, const struct due *due)
{
	(void)w;
	commit_submit(due->host);
}

static int chunks_write_commit(void *context, struct store_write *write, uint32_t transfer)
{
	struct store_chunks *chunks = context;
	struct storage_host *storage = chunks->owner;
	int rc = store_chunks_calls.write_commit(chunks, write, transfer);

	if (rc == 0 && storage->host->world->config.sabotage == SABOTAGE_EARLY_STORED)
		tell_early(storage, write, transfer);
	if (rc == 0)
		world_after(storage->host->world, world_below(storage->host->world, 200),
			    (struct due){ .run = commit_due, .host = storage->host });
	return rc;
}

static void on_stored(void *context, void *tag, const struct chunk_meta *meta, int result)
{
	struct host *host = context;

	if (host->world->config.sabotage == SABOTAGE_EARLY_STORED && result == 0)
		return;
	step(host, &(struct storage_event){ .kind = STORAGE_STORED,
					    .transfer = (uint32_t)(uintptr_t)tag,
					    .error = result,
					    .digest = &meta->digest });
}

/* What the sync thread does, at the moment at which it is done. */
static void job_done(struct world *w, const struct due *due)
{
	struct host *host = due->host;
	struct storage_host *storage = of(host);
	struct store_commit *commit = storage->commit;
	struct store_chore *chore = storage->chore;
	int rc = commit ? store_commit_run(commit) : store_chore_run(chore);

	if (rc < 0)
		world_trace(w, "%s: %s failed: %d", host->name, commit ? "commit" : "chore", rc);
	storage->commit = NULL;
	storage->chore = NULL;
	if (commit)
		store_commit_finish(storage->store, commit, rc, on_stored, host);
	else
		store_chore_finish(storage->store, chore, rc);
	commit_submit(host);
}

static void job_start(struct host *host)
{
	struct world *w = host->world;
	uint64_t most = world_chance(w, 5) ? 20 * w->sync_us : w->sync_us;

	world_after(w, 100 + world_below(w, most), (struct due){ .run = job_done, .host = host });
}

static void commit_submit(struct host *host)
{
	struct storage_host *storage = of(host);
	struct store_commit *commit = storage->chunks.gathering;
	int rc;

	if (!commit || storage->commit || storage->chore)
		return;
	storage->chunks.gathering = NULL;
	rc = store_commit_seal(storage->store, commit);
	if (rc < 0) {
		store_commit_finish(storage->store, commit, rc, on_stored, host);
		return;
	}
	storage->commit = commit;
	job_start(host);
}

static void chores(struct world *w, const struct due *due)
{
	struct host *host = due->host;
	struct storage_host *storage = of(host);

	world_after(w, 500 * MS + world_below(w, SECOND),
		    (struct due){ .run = chores, .host = host });
	if (storage->commit || storage->chore || storage->chunks.gathering)
		return;
	storage->chore = store_chore_next(storage->store, host_ms(host));
	if (storage->chore)
		job_start(host);
}

/* ---- READ ---- */

static void reading_free(struct storage_host *storage, struct reading *reading)
{
	for (unsigned int i = 0; i < READERS_MAX; i++) {
		if (storage->readings[i] == reading)
			storage->readings[i] = NULL;
	}
	if (reading->reader)
		store_reader_close(storage->store, reading->reader);
	free(reading);
}

static int data_send(struct host *host, const struct reading *reading, uint32_t offset)
{
	uint32_t left = reading->offset + reading->length - offset;
	uint32_t size = left < DATA_PAYLOAD_MAX ? left : DATA_PAYLOAD_MAX;
	uint32_t blocks = (uint32_t)block_count(size);
	uint8_t *frame = malloc(FRAME_HEADER_SIZE + DATA_CRCS_SIZE_MAX + size);
	uint8_t crcs[DATA_CRCS_SIZE_MAX];
	struct data_head head = { .id = reading->id,
				  .flags = size == left ? FRAME_LAST : 0,
				  .offset = offset,
				  .length = size };
	size_t used;
	int64_t rc;

	if (!frame)
		abort();
	rc = store_reader_crcs(reading->reader, offset / BLOCK_SIZE, blocks, crcs);
	used = data_head_encode(&head, crcs, frame);
	if (rc >= 0)
		rc = store_reader_read(reading->reader, frame + used, size, offset);
	if (rc >= 0)
		net_send(host, reading->conn, frame, used + size);
	free(frame);
	return rc < 0 ? (int)rc : 0;
}

static int reading_run(struct host *host, struct reading *reading)
{
	struct chunk_meta meta;
	int rc = reading->error;

	if (rc == 0)
		rc = store_reader_check(reading->reader, &meta);
	for (uint32_t sent = 0; rc == 0 && sent < reading->length; sent += DATA_PAYLOAD_MAX)
		rc = data_send(host, reading, reading->offset + sent);
	return rc;
}

static void reading_done(struct world *w, const struct due *due)
{
	struct reading *reading = due->context;
	struct host *host = due->host;
	struct storage_event event = { .kind = STORAGE_SENT,
				       .connection = reading->conn,
				       .chunk = reading->chunk,
				       .id = reading->id,
				       .error = reading_run(host, reading) };

	(void)w;
	reading_free(of(host), reading);
	if (event.error < 0)
		step(host, &event);
}

static void send_chunk(struct host *host, const struct storage_action *action)
{
	struct storage_host *storage = of(host);
	struct reading *reading = calloc(1, sizeof(*reading));
	unsigned int slot = 0;

	if (!reading)
		abort();
	*reading = (struct reading){ .conn = action->connection,
				     .chunk = action->chunk,
				     .id = action->id,
				     .offset = action->offset,
				     .length = action->length };
	reading->error = store_reader_open(storage->store, action->chunk, &reading->reader);
	while (slot < READERS_MAX && storage->readings[slot])
		slot++;
	if (slot == READERS_MAX)
		abort();
	storage->readings[slot] = reading;
	world_after(host->world, 20 + world_below(host->world, 2 * MS),
		    (struct due){ .run = reading_done, .host = host, .context = reading });
}

/* ---- INSPECT ---- */

static void inspect_done(struct world *w, const struct due *due)
{
	struct storage_host *storage = of(due->host);
	struct chunk_meta meta = { 0 };
	int rc = -(int)due->b;

	if (rc == 0) {
		rc = store_reader_inspect(storage->inspected, &meta);
		store_reader_close(storage->store, storage->inspected);
	}
	storage->inspected = NULL;
	world_trace(w, "%s: inspected chunk %llx: %d", due->host->name, (unsigned long long)due->a,
		    rc);
	step(due->host, &(struct storage_event){ .kind = STORAGE_INSPECTED,
						 .chunk = due->a,
						 .error = rc,
						 .length = meta.length,
						 .digest = &meta.digest });
}

static void inspect(struct host *host, const struct storage_action *action)
{
	struct storage_host *storage = of(host);
	struct due due = { .run = inspect_done, .host = host, .a = action->chunk };
	int rc = store_reader_open(storage->store, action->chunk, &storage->inspected);

	if (rc < 0)
		due.b = rc == -ERR_CORRUPT ? ERR_NOT_FOUND : (uint64_t)-rc;
	world_after(host->world, 20 + world_below(host->world, 20 * MS), due);
}

/* ---- steps ---- */

static void dial(struct host *host, const struct storage_action *action)
{
	struct dial dial = { .handle = action->connection,
			     .count = action->endpoint_count,
			     .timeout_us = (uint64_t)action->timeout_ms * MS };

	memcpy(dial.endpoints, action->endpoints,
	       action->endpoint_count * sizeof(*action->endpoints));
	net_dial(host, &dial);
}

static void note(struct host *host, const struct storage_action *action)
{
	world_trace(host->world, "%s: note %d chunk %llx number %llu error %d", host->name,
		    (int)action->note, (unsigned long long)action->chunk,
		    (unsigned long long)action->number, action->error);
}

static bool is_pull(const uint8_t *frame)
{
	struct frame_header header;

	return frame_header_decode(frame, &header) == 0 && header.type == MSG_pull && !header.reply;
}

/* Looks at an answer to PROMISE. */
static void promise_see(struct host *host, const uint8_t *frame)
{
	struct storage_host *storage = of(host);
	struct frame_header header;
	uint64_t epoch;

	if (frame_header_decode(frame, &header) < 0 || header.type != MSG_promise ||
	    !header.reply || header.status)
		return;
	epoch = header.arg1;
	/* Refused: it tells of another one. */
	if (epoch == storage->asked_epoch)
		history_promised(host, epoch);
}

static void act(struct host *host, const struct storage_action *action)
{
	const uint8_t *bytes = of(host)->outbox.bytes.data + action->at;

	switch (action->kind) {
	case ACT_SEND:
		if (host->world->config.sabotage == SABOTAGE_MUTE_COPIES && is_pull(bytes))
			break;
		promise_see(host, bytes);
		net_send(host, action->connection, bytes, action->size);
		break;
	case ACT_CLOSE: net_close(host, action->connection, false); break;
	case ACT_PAUSE: net_pause(host, action->connection, action->on); break;
	case ACT_DIAL: dial(host, action); break;
	case ACT_PROBE: net_broadcast(host, bytes); break;
	case ACT_REMEMBER: host->remembered = action->endpoints[0]; break;
	case ACT_SEND_CHUNK: send_chunk(host, action); break;
	case ACT_INSPECT: inspect(host, action); break;
	case ACT_NOTE: note(host, action); break;
	case ACT_RESOLVE:
	case ACT_RECEIVE:
	case ACT_FORWARD: world_fail(host->world, "%s: an action nobody asked for", host->name);
	}
}

static void tick(struct world *w, const struct due *due);

static void arm(struct host *host)
{
	struct storage_host *storage = of(host);
	uint64_t deadline_ms = storage_deadline(storage->core);

	if (deadline_ms >= storage->armed_ms)
		return;
	storage->armed_ms = deadline_ms;
	world_after(host->world, host_until(host, deadline_ms),
		    (struct due){ .run = tick, .host = host, .a = deadline_ms });
}

static void step(struct host *host, struct storage_event *event)
{
	struct storage_host *storage = of(host);

	event->now_ms = host_ms(host);
	if (storage_step(storage->core, event, &storage->outbox) < 0)
		abort();
	for (unsigned int i = 0; i < storage->outbox.count; i++)
		act(host, &storage->outbox.actions[i]);
	storage_outbox_clear(&storage->outbox);
	arm(host);
}

static void tick(struct world *w, const struct due *due)
{
	(void)w;
	if (due->a != of(due->host)->armed_ms)
		return;
	of(due->host)->armed_ms = UINT64_MAX;
	step(due->host, &(struct storage_event){ .kind = STORAGE_TICK });
}

/* ---- life ---- */

static int store_start(struct host *host, struct storage_host *storage)
{
	struct store_options options = { .node = host->id,
					 .disk = host->disk_id,
					 .index_seed = host->index + 1,
					 .segment_size = 1024 * 1024,
					 .large_from = host->world->large_from };
	struct store_report report;
	char message[256] = "";
	int rc = store_open(disk_sim_disk(host->disk), &options, &storage->store, &report, message);

	if (rc < 0)
		world_trace(host->world, "%s: cannot start: %s", host->name, message);
	if (rc < 0 && host->world->healed)
		world_fail(host->world, "%s: cannot start: %s", host->name, message);
	if (rc == 0 && report.quarantined)
		world_fail(host->world, "%s: %llu damaged records after a crash", host->name,
			   (unsigned long long)report.quarantined);
	return rc;
}

static int core_start(struct host *host, struct storage_host *storage)
{
	const struct store_identity *identity = store_identity(storage->store);
	struct storage_config config = {
		.seed = prng_next(&host->world->prng),
		.self = identity->node,
		.disk = identity->disk,
		.machine = host->machine,
		.cluster = identity->cluster,
		.start = identity->generation,
		.promised_epoch = identity->promised_epoch,
		.promised_server = identity->promised_server,
		.host = host->name,
		.zone = "",
		.version = "simulated",
		.endpoint_count = 1,
		.remembered = host->remembered,
		.large_size = UINT32_MAX,
		.chunks = &storage->chunks.calls,
		.chunks_context = &storage->chunks,
		.catalogue = &copy_host_catalogue,
	};

	history_remembers(host, identity->promised_epoch);
	storage->chunks = (struct store_chunks){ .store = storage->store,
						 .owner = storage,
						 .calls = store_chunks_calls };
	storage->chunks.calls.remove = chunks_remove;
	storage->chunks.calls.write_commit = chunks_write_commit;
	if (host->world->config.sabotage == SABOTAGE_PROMISE_LOST)
		storage->chunks.calls.promise = promise_lose;
	memcpy(config.cluster_name, identity->cluster_name, sizeof(config.cluster_name));
	config.endpoints[0] = endpoint_ipv4(host->address, STORAGE_PORT);
	config.endpoints[0].flags = ENDPOINT_ADVERTISED;
	config.catalogue_context = storage->copy = copy_host_new(host, step);
	return storage_new(&config, &storage->core);
}

static bool storage_start(struct host *host)
{
	struct storage_host *storage = calloc(1, sizeof(*storage));

	if (!storage)
		abort();
	storage->host = host;
	storage->armed_ms = UINT64_MAX;
	if (store_start(host, storage) < 0 || core_start(host, storage) < 0) {
		free(storage);
		return false;
	}
	host->process = storage;
	host_listen(host, STORAGE_PORT);
	host->hears = true;
	world_after(host->world, SECOND, (struct due){ .run = chores, .host = host });
	step(host, &(struct storage_event){ .kind = STORAGE_TICK });
	return true;
}

static void ignore_stored(void *context, void *tag, const struct chunk_meta *meta, int result)
{
	(void)context;
	(void)tag;
	(void)meta;
	(void)result;
}

/* What runs in the sync thread gets as far as the disk lets it. */
static void jobs_cut_off(struct host *host, struct storage_host *storage, bool crash)
{
	int rc = 0;

	if (crash)
		disk_sim_power_off_at(host->disk, 1 + world_below(host->world, 12));
	if (storage->commit) {
		rc = store_commit_run(storage->commit);
		store_commit_finish(storage->store, storage->commit, rc, ignore_stored, NULL);
	}
	if (storage->chore) {
		rc = store_chore_run(storage->chore);
		store_chore_finish(storage->store, storage->chore, rc);
	}
	if (crash)
		disk_sim_power_off_at(host->disk, 1);
	if (storage->chunks.gathering)
		store_commit_finish(storage->store, storage->chunks.gathering, -ERR_IO,
				    ignore_stored, NULL);
}

static void storage_stop(struct host *host, bool crash)
{
	struct storage_host *storage = of(host);

	jobs_cut_off(host, storage, crash);
	copy_host_free(storage->copy, crash);
	for (unsigned int i = 0; i < READERS_MAX; i++) {
		if (storage->readings[i])
			reading_free(storage, storage->readings[i]);
	}
	if (storage->inspected)
		store_reader_close(storage->store, storage->inspected);
	storage_free(storage->core);
	if (crash)
		store_abandon(storage->store);
	else
		store_close(storage->store);
	storage_outbox_done(&storage->outbox);
	free(storage);
}

/* ---- events ---- */

static void storage_accepted(struct host *host, const struct socket *socket)
{
	step(host, &(struct storage_event){ .kind = STORAGE_OPENED,
					    .connection = socket->handle,
					    .endpoints = &socket->remote,
					    .endpoint_count = 1 });
}

static void storage_dialled(struct host *host, uint64_t handle, int error,
			    const struct endpoint *peer)
{
	step(host, &(struct storage_event){ .kind = STORAGE_DIALLED,
					    .connection = handle,
					    .error = error,
					    .endpoints = peer,
					    .endpoint_count = peer ? 1 : 0 });
}

static void storage_frame(struct host *host, uint64_t handle, const struct frame_header *header,
			  const uint8_t *body)
{
	if (header->type == MSG_promise && !header->reply)
		of(host)->asked_epoch = header->arg1;
	step(host,
	     &(struct storage_event){
		     .kind = STORAGE_FRAME, .connection = handle, .header = header, .body = body });
}

static void storage_malformed(struct host *host, uint64_t handle, const struct frame_header *header)
{
	net_close(host, handle, false);
	step(host, &(struct storage_event){ .kind = STORAGE_CLOSED,
					    .connection = handle,
					    .error = -ERR_BAD_REQUEST,
					    .header = header });
}

static void storage_closed(struct host *host, uint64_t handle, int error)
{
	step(host, &(struct storage_event){
			   .kind = STORAGE_CLOSED, .connection = handle, .error = error });
}

static void storage_datagram(struct host *host, const struct endpoint *source, const uint8_t *data)
{
	step(host, &(struct storage_event){ .kind = STORAGE_BEACON,
					    .data = { data, BEACON_SIZE },
					    .endpoints = source,
					    .endpoint_count = 1 });
}

const struct process_ops storage_process = {
	.start = storage_start,
	.stop = storage_stop,
	.accepted = storage_accepted,
	.dialled = storage_dialled,
	.frame = storage_frame,
	.malformed = storage_malformed,
	.closed = storage_closed,
	.datagram = storage_datagram,
};

uint64_t storage_host_epoch(const struct host *host)
{
	struct storage_state state;

	if (!host->process)
		return 0;
	storage_state(of(host)->core, &state);
	return state.registered ? state.epoch : 0;
}

void storage_host_ends(struct host *host)
{
	if (host->process)
		step(host, &(struct storage_event){ .kind = STORAGE_STOP });
}

unsigned int storage_host_transfers(const struct host *host)
{
	struct storage_state state;

	if (!host->process)
		return 0;
	storage_state(of(host)->core, &state);
	return state.transfers;
}

size_t storage_host_list(const struct host *host, uint64_t after, uint64_t *ret, size_t most)
{
	struct store_listed listed[64];
	size_t count;

	if (!host->process)
		return 0;
	count = store_list(of(host)->store, after, listed, most < 64 ? most : 64);
	for (size_t i = 0; i < count; i++)
		ret[i] = listed[i].chunk;
	return count;
}

bool storage_host_has(const struct host *host, const struct chunk_row *row)
{
	struct store_reader *reader;
	struct chunk_meta meta;
	int rc;

	if (!host->process || store_reader_open(of(host)->store, row->chunk, &reader) < 0)
		return false;
	rc = store_reader_check(reader, &meta);
	store_reader_close(of(host)->store, reader);
	return rc == 0 && meta.length == row->length && digest_equal(&meta.digest, &row->digest);
}

struct replica_head storage_host_catalogue(const struct host *host)
{
	struct storage_state state;

	if (!host->process)
		return (struct replica_head){ 0 };
	storage_state(of(host)->core, &state);
	return state.catalogue;
}

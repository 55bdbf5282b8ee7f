/* Long transfers that come in. A worker has the input of the connection for one transfer, checks
 * each block and writes it, and lets the flow to the next hop know. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "clock.h"
#include "error.h"
#include "hash.h"
#include "storage_daemon.h"

enum {
	PIECE_SIZE = 256 * 1024, /* checked and written while it is still in the cache */
	RATE_MIN = 64 * 1024,    /* bytes a second, on the whole */
	ALIGNMENT = 4096,
};

struct receive {
	STAILQ_ENTRY(receive) next;
	struct daemon *daemon;
	struct wire *wire;
	int socket;
	uint32_t id, transfer, length;
	struct store_write *write;
	struct source *source;
	struct buffer leftover;
	unsigned int silence_ms; /* of the sender, at most */
	bool refusable;          /* a status may come instead of the first DATA */
	uint64_t started_ms;
	uint64_t bytes;
	uint32_t position;
	uint8_t status; /* that came */
	int result;     /* of the chunk; what is left of it is swallowed */
	bool broken;    /* the connection cannot be followed any further */
};

STAILQ_HEAD(receive_queue, receive);

struct receivers {
	struct daemon *daemon;
	pthread_t threads[RECEIVERS];
	unsigned int started, idle;
	pthread_mutex_t lock;
	pthread_cond_t change;
	bool stop;
	struct receive_queue waiting, done;
};

/* ---- in a worker ---- */

/* Waits for bytes; not longer than a peer may be silent, or slow on the whole. */
static int wait_input(struct receive *receive)
{
	struct pollfd poll_one = { .fd = receive->socket, .events = POLLIN };
	uint64_t allowed_ms = SILENCE_MS + receive->bytes * 1000 / RATE_MIN;
	int rc;

	if (clock_monotonic_ms() - receive->started_ms > allowed_ms)
		return -ERR_TIMEOUT;
	do {
		rc = poll(&poll_one, 1, (int)receive->silence_ms);
	} while (rc < 0 && errno == EINTR);
	return rc > 0 ? 0 : -ERR_TIMEOUT;
}

static int read_exactly(struct receive *receive, uint8_t *data, size_t size)
{
	size_t had = receive->leftover.size < size ? receive->leftover.size : size;
	ssize_t got;
	int rc;

	if (had) {
		memcpy(data, receive->leftover.data, had);
		buffer_consume(&receive->leftover, had);
	}
	for (size_t at = had; at < size; at += (size_t)got) {
		got = recv(receive->socket, data + at, size - at, MSG_DONTWAIT);
		if (got == 0)
			return -ERR_CONNECTION;
		if (got > 0) {
			receive->bytes += (size_t)got;
			continue;
		}
		got = 0;
		if (errno == EAGAIN)
			rc = wait_input(receive);
		else
			rc = errno == EINTR ? 0 : error_from_errno(errno);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static void publish(struct receive *receive)
{
	struct source *source = receive->source;

	if (receive->result < 0 ||
	    (source->file < 0 && source_open_write(source, receive->write) < 0))
		atomic_store(&source->failed, true);
	else
		atomic_store(&source->available, receive->position);
	flows_kick(receive->daemon, source);
}

/* Whole blocks of the chunk, with their CRCs. */
static void take_piece(struct receive *receive, const uint8_t *data, uint32_t size,
		       const uint8_t *crcs)
{
	if (receive->result == 0 && !crc32c_blocks_match(data, size, crcs))
		receive->result = -ERR_CORRUPT;
	if (receive->result == 0)
		receive->result = store_write_add(receive->write, data, size, crcs);
	if (receive->result == 0)
		memcpy(receive->source->crcs + receive->position / BLOCK_SIZE * 4, crcs,
		       block_count(size) * 4);
	receive->position += size;
	publish(receive);
}

static int head_check(const struct receive *receive, const struct data_head *head)
{
	uint64_t end = head->offset + head->length;
	bool last = head->flags & FRAME_LAST;

	if (head->id != receive->id || head->offset != receive->position || end > receive->length ||
	    last != (end == receive->length) || (!last && head->length % BLOCK_SIZE))
		return -ERR_BAD_REQUEST;
	return 0;
}

/* Our READ is answered by a status alone. */
static bool is_refusal(const struct receive *receive, const struct frame_header *header)
{
	return receive->refusable && receive->position == 0 && header->reply &&
	       header->type == MSG_read && header->id == receive->id && header->status &&
	       header->body_size == 0;
}

static int read_head(struct receive *receive, struct data_head *ret, uint8_t *crcs)
{
	uint8_t bytes[FRAME_HEADER_SIZE];
	struct frame_header header;
	size_t crcs_size;
	int rc = read_exactly(receive, bytes, sizeof(bytes));

	if (rc == 0)
		rc = frame_header_decode(bytes, &header);
	if (rc == 0 && is_refusal(receive, &header)) {
		receive->status = header.status;
		*ret = (struct data_head){ .flags = FRAME_ABORT };
		return 0;
	}
	if (rc == 0 && (header.type != MSG_data || header.reply))
		rc = -ERR_BAD_REQUEST;
	if (rc == 0)
		rc = data_head_decode(&header, ret, &crcs_size);
	if (rc == 0 && !(ret->flags & FRAME_ABORT))
		rc = head_check(receive, ret);
	return rc < 0 ? rc : read_exactly(receive, crcs, crcs_size);
}

static int read_frame(struct receive *receive, uint8_t *piece)
{
	uint8_t crcs[DATA_CRCS_SIZE_MAX];
	struct data_head head;
	uint32_t at = 0, size;
	int rc = read_head(receive, &head, crcs);

	if (rc < 0)
		return rc;
	if (head.flags & FRAME_ABORT) {
		receive->result = -ERR_UNAVAILABLE;
		return 1;
	}
	for (; at < head.length; at += size) {
		size = head.length - at < PIECE_SIZE ? head.length - at : PIECE_SIZE;
		rc = read_exactly(receive, piece, size);
		if (rc < 0)
			return rc;
		take_piece(receive, piece, size, crcs + at / BLOCK_SIZE * 4);
	}
	return head.flags & FRAME_LAST ? 1 : 0;
}

static void receive_run(struct receive *receive, uint8_t *piece)
{
	int rc;

	receive->started_ms = clock_monotonic_ms();
	do {
		rc = read_frame(receive, piece);
	} while (rc == 0);
	if (rc < 0) {
		receive->broken = true;
		receive->result = rc;
	}
	if (receive->result < 0)
		publish(receive);
}

static struct receive *next_job(struct receivers *receivers)
{
	struct receive *receive = NULL;

	pthread_mutex_lock(&receivers->lock);
	receivers->idle++;
	while (!receivers->stop && STAILQ_EMPTY(&receivers->waiting))
		pthread_cond_wait(&receivers->change, &receivers->lock);
	receivers->idle--;
	if (!receivers->stop) {
		receive = STAILQ_FIRST(&receivers->waiting);
		STAILQ_REMOVE_HEAD(&receivers->waiting, next);
	}
	pthread_mutex_unlock(&receivers->lock);
	return receive;
}

static void *worker_run(void *context)
{
	struct receivers *receivers = context;
	uint8_t *piece = aligned_alloc(ALIGNMENT, PIECE_SIZE);
	struct receive *receive;

	while ((receive = next_job(receivers))) {
		if (piece) {
			receive_run(receive, piece);
		} else {
			receive->broken = true;
			receive->result = -ERR_NO_MEMORY;
			publish(receive);
		}
		pthread_mutex_lock(&receivers->lock);
		STAILQ_INSERT_TAIL(&receivers->done, receive, next);
		pthread_mutex_unlock(&receivers->lock);
		uv_async_send(&receivers->daemon->wake);
	}
	free(piece);
	return NULL;
}

/* ---- in the loop thread ---- */

/* Workers are started when they are first needed. */
static int enqueue(struct receivers *receivers, struct receive *receive)
{
	int rc = 0;

	pthread_mutex_lock(&receivers->lock);
	if (receivers->idle == 0 && receivers->started < RECEIVERS) {
		pthread_t *thread = &receivers->threads[receivers->started];

		if (pthread_create(thread, NULL, worker_run, receivers) == 0)
			receivers->started++;
		else if (receivers->started == 0)
			rc = -ERR_NO_MEMORY;
	}
	if (rc == 0)
		STAILQ_INSERT_TAIL(&receivers->waiting, receive, next);
	pthread_cond_signal(&receivers->change);
	pthread_mutex_unlock(&receivers->lock);
	return rc;
}

static void receive_free(struct receive *receive)
{
	source_release(receive->source);
	buffer_done(&receive->leftover);
	free(receive);
}

int receive_start(struct wire *wire, const struct storage_action *action)
{
	struct daemon *daemon = wire->daemon;
	struct receive *receive = calloc(1, sizeof(*receive));
	int rc;

	if (!receive)
		return -ERR_NO_MEMORY;
	receive->source = source_of_write(daemon, action->write, action->transfer);
	if (!receive->source) {
		free(receive);
		return -ERR_NO_MEMORY;
	}
	receive->source->references++;
	receive->daemon = daemon;
	receive->wire = wire;
	receive->id = action->id;
	receive->transfer = action->transfer;
	receive->length = action->length;
	receive->silence_ms = action->timeout_ms ? action->timeout_ms : SILENCE_MS;
	receive->refusable = action->timeout_ms;
	receive->write = action->write;
	receive->socket = rc = link_detach_input(wire->link, &receive->leftover);
	if (rc >= 0) {
		rc = enqueue(daemon->receivers, receive);
		if (rc < 0)
			(void)link_attach(wire->link, &receive->leftover);
	}
	if (rc < 0) {
		source_retire(daemon, action->transfer);
		receive_free(receive);
		return rc;
	}
	wire->receive = receive;
	return 0;
}

static void receive_finished(struct daemon *daemon, struct receive *receive)
{
	struct storage_event event = { .kind = STORAGE_RECEIVED,
				       .transfer = receive->transfer,
				       .error = receive->result,
				       .status = receive->status };
	struct wire *wire = receive->wire;
	uint64_t handle = wire->handle;
	bool broken = receive->broken;

	wire->receive = NULL;
	if (!broken && !wire->gone && link_attach(wire->link, &receive->leftover) < 0)
		broken = true;
	receive_free(receive);
	if (event.error)
		source_retire(daemon, event.transfer);
	daemon_step(daemon, &event);
	wire = wire_find(daemon, handle);
	if (!wire)
		return;
	if (broken && !wire->lost && !wire->gone)
		wire_lost(wire, event.error);
	else
		wire_worker_done(wire);
}

static struct receive *take_done(struct receivers *receivers)
{
	struct receive *receive;

	pthread_mutex_lock(&receivers->lock);
	receive = STAILQ_FIRST(&receivers->done);
	if (receive)
		STAILQ_REMOVE_HEAD(&receivers->done, next);
	pthread_mutex_unlock(&receivers->lock);
	return receive;
}

void receives_finished(struct daemon *daemon)
{
	struct receive *receive;

	while ((receive = take_done(daemon->receivers)))
		receive_finished(daemon, receive);
}

int receivers_new(struct daemon *daemon)
{
	struct receivers *receivers = calloc(1, sizeof(*receivers));

	if (!receivers)
		return -ERR_NO_MEMORY;
	receivers->daemon = daemon;
	pthread_mutex_init(&receivers->lock, NULL);
	pthread_cond_init(&receivers->change, NULL);
	STAILQ_INIT(&receivers->waiting);
	STAILQ_INIT(&receivers->done);
	daemon->receivers = receivers;
	return 0;
}

/* Sockets have been shut down, so that nobody waits for long. */
void receivers_free(struct daemon *daemon)
{
	struct receivers *receivers = daemon->receivers;
	struct receive *receive;

	if (!receivers)
		return;
	pthread_mutex_lock(&receivers->lock);
	receivers->stop = true;
	pthread_cond_broadcast(&receivers->change);
	pthread_mutex_unlock(&receivers->lock);
	for (unsigned int i = 0; i < receivers->started; i++)
		pthread_join(receivers->threads[i], NULL);
	while ((receive = STAILQ_FIRST(&receivers->waiting))) {
		STAILQ_REMOVE_HEAD(&receivers->waiting, next);
		receive_free(receive);
	}
	while ((receive = STAILQ_FIRST(&receivers->done))) {
		STAILQ_REMOVE_HEAD(&receivers->done, next);
		receive_free(receive);
	}
	pthread_mutex_destroy(&receivers->lock);
	pthread_cond_destroy(&receivers->change);
	free(receivers);
	daemon->receivers = NULL;
}

/* Long transfers that go out: forwards to the next hop and answers to READ. A few threads, each
 * with many sockets: DATA heads, then the file's bytes by sendfile. */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "error.h"
#include "hash.h"
#include "storage_daemon.h"

enum {
	TURN_SIZE = 2 * 1024 * 1024, /* then another flow's turn */
	WAIT_MS = 1000,
	/* The kernel doubles it. Enough for 10 Gbit/s over 0.4 ms; what the system would allow by
	 * itself (4 MiB) has left the processor's caches before the other side reads it. */
	OUTPUT_BUFFER_SIZE = 256 * 1024,
};

enum flow_state { FLOW_GOES_ON, FLOW_BLOCKED, FLOW_STARVED, FLOW_DONE };

struct flow {
	TAILQ_ENTRY(flow) link; /* runnable or done */
	LIST_ENTRY(flow) in_thread;
	LIST_ENTRY(flow) in_loop;
	struct wire *wire;
	struct sender *sender;
	struct source *source;
	int socket;
	uint32_t transfer, id;
	uint32_t position, end;
	uint32_t frame_left; /* of the payload of the frame being sent */
	bool ended;          /* the last head is out */
	struct buffer head;  /* bytes to send before the payload */
	size_t head_sent;
	bool fresh;                    /* the sender has not seen it yet */
	bool queued, starving, broken; /* under the lock */
	uint64_t moved_ms;
	_Atomic uint64_t progress;
	uint64_t reported;
	int result;
};

TAILQ_HEAD(flow_queue, flow);
LIST_HEAD(flow_list, flow);

struct sender {
	struct flows *flows;
	pthread_t thread;
	bool started;
	int epoll, event;
	struct flow_queue runnable; /* under the lock */
	struct flow_list all;       /* the thread's */
};

struct flows {
	struct daemon *daemon;
	pthread_mutex_t lock;
	bool stop;
	struct sender senders[SENDERS];
	unsigned int next;
	struct flow_queue done;
	struct flow_list running; /* the loop's */
};

/* ---- in a sender thread ---- */

static bool push_data_head(struct flow *flow, uint32_t length, uint8_t flags)
{
	struct data_head head = {
		.id = flow->id, .flags = flags, .offset = flow->position, .length = length
	};
	uint8_t bytes[FRAME_HEADER_SIZE + DATA_CRCS_SIZE_MAX];
	const uint8_t *crcs = flow->source->crcs + flow->position / BLOCK_SIZE * 4;
	size_t size = data_head_encode(&head, crcs, bytes);

	if (flow->head_sent == flow->head.size) {
		buffer_clear(&flow->head);
		flow->head_sent = 0;
	}
	return buffer_append(&flow->head, bytes, size) == 0;
}

static enum flow_state next_frame(struct flow *flow)
{
	uint32_t ready = atomic_load(&flow->source->available);
	uint32_t length;

	if (flow->ended)
		return FLOW_DONE;
	if (ready > flow->end)
		ready = flow->end;
	length = ready - flow->position;
	if (length > DATA_PAYLOAD_MAX)
		length = DATA_PAYLOAD_MAX;
	if (flow->position + length < flow->end)
		length -= length % BLOCK_SIZE;
	if (length == 0 && !atomic_load(&flow->source->failed))
		return FLOW_STARVED;
	flow->ended = length == 0 || flow->position + length == flow->end;
	if (!push_data_head(flow, length,
			    length == 0   ? FRAME_ABORT
			    : flow->ended ? FRAME_LAST
					  : 0)) {
		flow->result = -ERR_NO_MEMORY;
		return FLOW_DONE;
	}
	flow->frame_left = length;
	return FLOW_GOES_ON;
}

static enum flow_state failed(struct flow *flow, ssize_t sent)
{
	if (sent < 0 && errno == EAGAIN)
		return FLOW_BLOCKED;
	if (sent < 0 && errno == EINTR)
		return FLOW_GOES_ON;
	/* An empty sendfile: the file is shorter than it was said to be. */
	flow->result = sent < 0 ? error_from_errno(errno) : -ERR_IO;
	return FLOW_DONE;
}

static enum flow_state send_head(struct flow *flow)
{
	ssize_t sent = send(flow->socket, flow->head.data + flow->head_sent,
			    flow->head.size - flow->head_sent,
			    MSG_NOSIGNAL | MSG_DONTWAIT | (flow->frame_left ? MSG_MORE : 0));

	if (sent <= 0)
		return failed(flow, sent);
	flow->head_sent += (size_t)sent;
	return FLOW_GOES_ON;
}

static enum flow_state send_payload(struct flow *flow, size_t *sent_total)
{
	off_t offset = (off_t)(flow->source->base + flow->position);
	ssize_t sent = sendfile(flow->socket, flow->source->file, &offset, flow->frame_left);

	if (sent <= 0)
		return failed(flow, sent);
	flow->position += (uint32_t)sent;
	flow->frame_left -= (uint32_t)sent;
	flow->moved_ms = clock_monotonic_ms();
	atomic_fetch_add(&flow->progress, (uint64_t)sent);
	*sent_total += (size_t)sent;
	return FLOW_GOES_ON;
}

static enum flow_state pump(struct flow *flow)
{
	enum flow_state state = FLOW_GOES_ON;
	size_t sent = 0;

	while (state == FLOW_GOES_ON && sent < TURN_SIZE) {
		if (flow->head_sent < flow->head.size)
			state = send_head(flow);
		else if (flow->frame_left)
			state = send_payload(flow, &sent);
		else
			state = next_frame(flow);
	}
	return state;
}

static void enqueue(struct flow *flow)
{
	if (flow->queued)
		return;
	flow->queued = true;
	flow->starving = false;
	TAILQ_INSERT_TAIL(&flow->sender->runnable, flow, link);
}

static void watch(struct flow *flow, uint32_t events)
{
	struct epoll_event event = { .events = events | EPOLLONESHOT, .data.ptr = flow };

	epoll_ctl(flow->sender->epoll, EPOLL_CTL_MOD, flow->socket, &event);
}

static void hand_back(struct flow *flow)
{
	struct flows *flows = flow->sender->flows;

	epoll_ctl(flow->sender->epoll, EPOLL_CTL_DEL, flow->socket, NULL);
	LIST_REMOVE(flow, in_thread);
	pthread_mutex_lock(&flows->lock);
	if (flow->queued)
		TAILQ_REMOVE(&flow->sender->runnable, flow, link);
	flow->source->flow = NULL;
	TAILQ_INSERT_TAIL(&flows->done, flow, link);
	pthread_mutex_unlock(&flows->lock);
	uv_async_send(&flows->daemon->wake);
}

/* Bytes may have come between the last look and now. */
static void starve(struct flow *flow)
{
	struct flows *flows = flow->sender->flows;
	struct source *source = flow->source;

	watch(flow, 0); /* errors only */
	pthread_mutex_lock(&flows->lock);
	if (atomic_load(&source->failed) || atomic_load(&source->available) == flow->end ||
	    atomic_load(&source->available) >= flow->position + BLOCK_SIZE)
		enqueue(flow);
	else
		flow->starving = true;
	pthread_mutex_unlock(&flows->lock);
}

static bool is_starving(struct flow *flow)
{
	bool starving;

	pthread_mutex_lock(&flow->sender->flows->lock);
	starving = flow->starving;
	pthread_mutex_unlock(&flow->sender->flows->lock);
	return starving;
}

static void run(struct flow *flow)
{
	struct flows *flows = flow->sender->flows;

	if (flow->broken) {
		flow->result = -ERR_CONNECTION;
		hand_back(flow);
		return;
	}
	switch (pump(flow)) {
	case FLOW_GOES_ON:
		pthread_mutex_lock(&flows->lock);
		enqueue(flow);
		pthread_mutex_unlock(&flows->lock);
		break;
	case FLOW_BLOCKED: watch(flow, EPOLLOUT); break;
	case FLOW_STARVED: starve(flow); break;
	case FLOW_DONE: hand_back(flow); break;
	}
}

static struct flow *next_runnable(struct sender *sender)
{
	struct flow *flow;

	pthread_mutex_lock(&sender->flows->lock);
	flow = TAILQ_FIRST(&sender->runnable);
	if (flow) {
		TAILQ_REMOVE(&sender->runnable, flow, link);
		flow->queued = false;
	}
	pthread_mutex_unlock(&sender->flows->lock);
	return flow;
}

static void take_in(struct sender *sender, struct flow *flow)
{
	struct epoll_event event = { .events = EPOLLONESHOT, .data.ptr = flow };
	int size = OUTPUT_BUFFER_SIZE;

	flow->fresh = false;
	setsockopt(flow->socket, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	epoll_ctl(sender->epoll, EPOLL_CTL_ADD, flow->socket, &event);
	LIST_INSERT_HEAD(&sender->all, flow, in_thread);
}

static void run_all(struct sender *sender)
{
	struct flow *flow;

	while ((flow = next_runnable(sender))) {
		if (flow->fresh)
			take_in(sender, flow);
		run(flow);
	}
}

/* A peer that takes nothing; one that is not given anything waits for another's silence to end. */
static void drop_silent(struct sender *sender)
{
	uint64_t now_ms = clock_monotonic_ms();
	struct flow *flow, *next;

	LIST_FOREACH_SAFE(flow, &sender->all, in_thread, next) {
		if (is_starving(flow))
			flow->moved_ms = now_ms;
		if (now_ms - flow->moved_ms < SILENCE_MS)
			continue;
		flow->result = -ERR_TIMEOUT;
		hand_back(flow);
	}
}

static void woken(struct sender *sender, const struct epoll_event *event)
{
	struct flow *flow = event->data.ptr;
	uint64_t count;

	if (!flow) {
		(void)!read(sender->event, &count, sizeof(count));
		return;
	}
	pthread_mutex_lock(&sender->flows->lock);
	if (flow->starving && event->events & (EPOLLHUP | EPOLLERR))
		flow->broken = true;
	enqueue(flow);
	pthread_mutex_unlock(&sender->flows->lock);
}

static bool is_stopped(struct flows *flows)
{
	bool stop;

	pthread_mutex_lock(&flows->lock);
	stop = flows->stop;
	pthread_mutex_unlock(&flows->lock);
	return stop;
}

static void *sender_run(void *context)
{
	struct sender *sender = context;
	struct epoll_event events[64];

	while (!is_stopped(sender->flows)) {
		int count;

		run_all(sender);
		drop_silent(sender);
		count = epoll_wait(sender->epoll, events, ARRAY_SIZE(events),
				   LIST_EMPTY(&sender->all) ? -1 : WAIT_MS);
		for (int i = 0; i < count; i++)
			woken(sender, &events[i]);
	}
	return NULL;
}

/* ---- in the loop thread ---- */

static void wake_sender(struct sender *sender)
{
	uint64_t one = 1;

	(void)!write(sender->event, &one, sizeof(one));
}

static void kick(struct flow *flow)
{
	if (flow && flow->starving) {
		enqueue(flow);
		wake_sender(flow->sender);
	}
}

void flows_kick(struct daemon *daemon, struct source *source)
{
	pthread_mutex_lock(&daemon->flows->lock);
	kick(source->flow);
	pthread_mutex_unlock(&daemon->flows->lock);
}

int flow_start(struct wire *wire, const struct flow_order *order)
{
	struct flows *flows = wire->daemon->flows;
	struct flow *flow;

	if (wire->lost || wire->gone)
		return -ERR_CONNECTION;
	if (wire->flow || link_unsent(wire->link))
		return -ERR_BUSY;
	flow = calloc(1, sizeof(*flow));
	if (!flow || buffer_append(&flow->head, order->prefix.data, order->prefix.size) < 0) {
		free(flow);
		return -ERR_NO_MEMORY;
	}
	flow->wire = wire;
	flow->source = order->source;
	flow->socket = wire->socket;
	flow->transfer = order->transfer;
	flow->id = order->id;
	flow->position = order->offset;
	flow->end = order->offset + order->length;
	flow->moved_ms = clock_monotonic_ms();
	flow->fresh = true;
	flow->sender = &flows->senders[flows->next++ % SENDERS];
	wire->flow = flow;
	LIST_INSERT_HEAD(&flows->running, flow, in_loop);
	pthread_mutex_lock(&flows->lock);
	flow->source->flow = flow;
	enqueue(flow);
	pthread_mutex_unlock(&flows->lock);
	wake_sender(flow->sender);
	return 0;
}

static void flow_free(struct flow *flow)
{
	LIST_REMOVE(flow, in_loop);
	source_release(flow->source);
	buffer_done(&flow->head);
	free(flow);
}

static void flow_finished(struct daemon *daemon, struct flow *flow)
{
	struct storage_event event = { .kind = STORAGE_FORWARDED,
				       .transfer = flow->transfer,
				       .error = flow->result };
	uint64_t handle = flow->wire->handle;
	struct wire *wire = flow->wire;

	wire->flow = NULL;
	flow_free(flow);
	if (event.transfer)
		daemon_step(daemon, &event);
	wire = wire_find(daemon, handle);
	if (!wire)
		return;
	if (event.error && !wire->lost && !wire->gone)
		wire_lost(wire, event.error);
	else
		wire_worker_done(wire);
}

static struct flow *take_done(struct flows *flows)
{
	struct flow *flow;

	pthread_mutex_lock(&flows->lock);
	flow = TAILQ_FIRST(&flows->done);
	if (flow)
		TAILQ_REMOVE(&flows->done, flow, link);
	pthread_mutex_unlock(&flows->lock);
	return flow;
}

void flows_finished(struct daemon *daemon)
{
	struct flow *flow;

	while ((flow = take_done(daemon->flows)))
		flow_finished(daemon, flow);
}

void flows_report(struct daemon *daemon)
{
	struct flow *flow;

	LIST_FOREACH(flow, &daemon->flows->running, in_loop) {
		struct storage_event event = { .kind = STORAGE_PROGRESS,
					       .transfer = flow->transfer };
		uint64_t progress = atomic_load(&flow->progress);

		if (progress == flow->reported || !flow->transfer)
			continue;
		flow->reported = progress;
		daemon_step(daemon, &event);
	}
}

static int sender_new(struct flows *flows, struct sender *sender)
{
	struct epoll_event event = { .events = EPOLLIN };

	sender->flows = flows;
	TAILQ_INIT(&sender->runnable);
	LIST_INIT(&sender->all);
	sender->epoll = epoll_create1(EPOLL_CLOEXEC);
	sender->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (sender->epoll < 0 || sender->event < 0 ||
	    epoll_ctl(sender->epoll, EPOLL_CTL_ADD, sender->event, &event) < 0)
		return error_from_errno(errno);
	sender->started = pthread_create(&sender->thread, NULL, sender_run, sender) == 0;
	return sender->started ? 0 : -ERR_NO_MEMORY;
}

int flows_new(struct daemon *daemon)
{
	struct flows *flows = calloc(1, sizeof(*flows));
	int rc = 0;

	if (!flows)
		return -ERR_NO_MEMORY;
	daemon->flows = flows;
	flows->daemon = daemon;
	pthread_mutex_init(&flows->lock, NULL);
	TAILQ_INIT(&flows->done);
	LIST_INIT(&flows->running);
	for (unsigned int i = 0; i < SENDERS; i++)
		flows->senders[i].epoll = flows->senders[i].event = -1;
	for (unsigned int i = 0; i < SENDERS && rc == 0; i++)
		rc = sender_new(flows, &flows->senders[i]);
	return rc;
}

static void sender_free(struct sender *sender)
{
	if (sender->started) {
		wake_sender(sender);
		pthread_join(sender->thread, NULL);
	}
	if (sender->epoll >= 0)
		close(sender->epoll);
	if (sender->event >= 0)
		close(sender->event);
}

void flows_free(struct daemon *daemon)
{
	struct flows *flows = daemon->flows;
	struct flow *flow;

	if (!flows)
		return;
	pthread_mutex_lock(&flows->lock);
	flows->stop = true;
	pthread_mutex_unlock(&flows->lock);
	for (unsigned int i = 0; i < SENDERS; i++)
		sender_free(&flows->senders[i]);
	while ((flow = LIST_FIRST(&flows->running)))
		flow_free(flow);
	pthread_mutex_destroy(&flows->lock);
	free(flows);
	daemon->flows = NULL;
}

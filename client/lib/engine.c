/* The turn of the engine: what epoll reports, steps of the core, completions, output. */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "clock.h"
#include "error.h"

uint64_t engine_now(void)
{
	return clock_monotonic_ms();
}

/* ---- descriptors ---- */

int engine_watch(struct muster *session, int fd, uint32_t events, struct watch *watch)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };

	return epoll_ctl(session->epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? error_from_errno(errno)
									: 0;
}

static int descriptors_open(struct muster *session)
{
	int rc;

	session->epoll = epoll_create1(EPOLL_CLOEXEC);
	session->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	session->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (session->epoll < 0 || session->timer < 0 || session->wake < 0)
		return error_from_errno(errno);
	session->timer_watch.kind = WATCH_TIMER;
	session->wake_watch.kind = WATCH_WAKE;
	session->listener_watch.kind = WATCH_LISTENER;
	session->beacons_watch.kind = WATCH_BEACONS;
	rc = engine_watch(session, session->timer, EPOLLIN, &session->timer_watch);
	return rc < 0 ? rc : engine_watch(session, session->wake, EPOLLIN, &session->wake_watch);
}

int engine_init(struct muster *session)
{
	session->epoll = session->timer = session->wake = -1;
	session->listener = session->beacons = session->beacon_sender = -1;
	TAILQ_INIT(&session->dirty);
	TAILQ_INIT(&session->closed);
	TAILQ_INIT(&session->ops);
	TAILQ_INIT(&session->done);
	TAILQ_INIT(&session->spare_transfers);
	TAILQ_INIT(&session->spare_outputs);
	STAILQ_INIT(&session->laters);
	session->next_accepted = 1;
	session->input =
		malloc(FRAME_HEADER_SIZE + DATA_CRCS_SIZE_MAX + DATA_PAYLOAD_MAX + INPUT_SIZE);
	if (!session->input)
		return -ERR_NO_MEMORY;
	return descriptors_open(session);
}

static void descriptor_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void closed_free(struct muster *session)
{
	struct channel *channel;

	while ((channel = TAILQ_FIRST(&session->closed)) != NULL) {
		TAILQ_REMOVE(&session->closed, channel, closed_entry);
		channel_free(session, channel);
	}
}

static void spares_free(struct muster *session)
{
	struct output *output;
	struct transfer *transfer;
	struct later *later;

	while ((output = TAILQ_FIRST(&session->spare_outputs)) != NULL) {
		TAILQ_REMOVE(&session->spare_outputs, output, entry);
		buffer_done(&output->bytes);
		free(output);
	}
	while ((transfer = TAILQ_FIRST(&session->spare_transfers)) != NULL) {
		TAILQ_REMOVE(&session->spare_transfers, transfer, entry);
		free(transfer);
	}
	while ((later = STAILQ_FIRST(&session->laters)) != NULL) {
		STAILQ_REMOVE_HEAD(&session->laters, entry);
		free(later);
	}
}

void engine_done(struct muster *session)
{
	struct channel *channel, *next;

	HASH_ITER(hh, session->channels, channel, next)
		channel_close(session, channel);
	closed_free(session);
	spares_free(session);
	descriptor_close(&session->listener);
	descriptor_close(&session->beacons);
	descriptor_close(&session->beacon_sender);
	descriptor_close(&session->timer);
	descriptor_close(&session->wake);
	descriptor_close(&session->epoll);
	client_outbox_done(&session->outbox);
	free(session->input);
}

/* ---- steps ---- */

void engine_later(struct muster *session, const struct client_event *event)
{
	struct later *later = calloc(1, sizeof(*later));

	if (!later) {
		session->broken = true;
		return;
	}
	later->event = *event;
	STAILQ_INSERT_TAIL(&session->laters, later, entry);
}

void engine_forget(struct muster *session, const struct muster_op *op)
{
	struct later *later, *next;

	STAILQ_FOREACH_SAFE(later, &session->laters, entry, next) {
		if (!later->event.op || later->event.op != op->core)
			continue;
		STAILQ_REMOVE(&session->laters, later, later, entry);
		free(later);
	}
}

void engine_act(struct muster *session)
{
	struct later *later;

	if (session->acting)
		return;
	actions_carry_out(session);
	while ((later = STAILQ_FIRST(&session->laters)) != NULL) {
		STAILQ_REMOVE_HEAD(&session->laters, entry);
		later->event.now_ms = engine_now();
		client_step(session->core, &later->event, &session->outbox);
		free(later);
		actions_carry_out(session);
	}
}

void engine_step(struct muster *session, struct client_event *event)
{
	event->now_ms = engine_now();
	client_step(session->core, event, &session->outbox);
	engine_act(session);
}

/* ---- the timer ---- */

static void timer_set(struct muster *session, uint64_t at_ms)
{
	struct itimerspec spec = { .it_value = { .tv_sec = (time_t)(at_ms / 1000),
						 .tv_nsec = (long)(at_ms % 1000) * 1000000 } };

	timerfd_settime(session->timer, TFD_TIMER_ABSTIME, &spec, NULL);
	session->armed_ms = at_ms;
}

/* The core's deadlines are coarse and move on by themselves: one timer call per tick is enough. */
static void timer_arm(struct muster *session)
{
	uint64_t deadline_ms;

	deadline_ms = client_deadline(session->core);
	if (deadline_ms != UINT64_MAX &&
	    (session->armed_ms == 0 || deadline_ms < session->armed_ms))
		timer_set(session, deadline_ms);
}

static void timer_fired(struct muster *session)
{
	uint64_t count;

	if (read(session->timer, &count, sizeof(count)) < 0)
		return;
	session->armed_ms = 0;
}

/* ---- waking ---- */

void engine_wake(struct muster *session)
{
	uint64_t one = 1;

	if (session->inside || session->woken)
		return;
	session->woken = write(session->wake, &one, sizeof(one)) == (ssize_t)sizeof(one);
}

void engine_woken(struct muster *session)
{
	uint64_t count;

	session->woken = false;
	if (read(session->wake, &count, sizeof(count)) < 0)
		return;
}

/* ---- connections ---- */

static struct endpoint endpoint_of(const struct address *address)
{
	return endpoint_ipv4(address->ip, address->port);
}

static void accept_all(struct muster *session)
{
	for (int i = 0; i < OUTPUTS_AT_ONCE; i++) {
		struct address peer;
		struct endpoint endpoint;
		int fd = session->listener < 0 ? -ERR_END : tcp_accept(session->listener, &peer);

		if (fd < 0)
			return;
		endpoint = endpoint_of(&peer);
		session->next_accepted += 2;
		if (!channel_new(session, session->next_accepted, fd)) {
			close(fd);
			return;
		}
		engine_step(session, &(struct client_event){ .kind = CLIENT_ACCEPTED,
							     .connection = session->next_accepted,
							     .endpoints = &endpoint,
							     .count = 1 });
	}
}

static void dispatch(struct muster *session, const struct epoll_event *event, bool *fired)
{
	struct watch *watch = event->data.ptr;

	switch (watch->kind) {
	case WATCH_CHANNEL: {
		struct channel *channel = (struct channel *)watch;

		channel_ready(session, channel, event->events);
		break;
	}
	case WATCH_LISTENER: accept_all(session); break;
	case WATCH_BEACONS: beacons_receive(session); break;
	case WATCH_TIMER:
		timer_fired(session);
		*fired = true;
		break;
	case WATCH_WAKE: engine_woken(session); break;
	case WATCH_SOURCE: source_ready(session, (struct source *)watch); break;
	}
}

static void flush_all(struct muster *session)
{
	struct channel *channel;

	while ((channel = TAILQ_FIRST(&session->dirty)) != NULL) {
		TAILQ_REMOVE(&session->dirty, channel, dirty_entry);
		channel->dirty = false;
		channel_flush(session, channel);
		engine_act(session);
	}
}

/* Returns whether callers were told something: they may be waiting for just that. */
static bool settle(struct muster *session)
{
	bool told = false;
	int count;

	do {
		ops_cancel_due(session);
		channels_go_on(session);
		flush_all(session);
		count = ops_deliver(session);
		told |= count > 0;
	} while (count > 0);
	flush_all(session);
	closed_free(session);
	timer_arm(session);
	return told;
}

int engine_turn(struct muster *session, int wait_ms)
{
	struct epoll_event events[EVENTS_MAX];
	bool fired = false;
	int count;

	session->inside = true;
	if (settle(session))
		wait_ms = 0;
	count = epoll_wait(session->epoll, events, EVENTS_MAX, wait_ms);
	for (int i = 0; i < count; i++)
		dispatch(session, &events[i], &fired);
	/* After the bytes: what has come in meanwhile was not silence. */
	if (fired) {
		engine_step(session, &(struct client_event){ .kind = CLIENT_TICK });
		waiting_tell(session);
	}
	settle(session);
	session->inside = false;
	return count;
}

/* From nothing to a name server that may serve: the steps, and what time brings. */
#include "takeover.h"

#include "takeover_inside.h"
#include "text.h"

bool takeover_is_empty(const struct takeover *t)
{
	return t->own.last.sequence == 0;
}

static bool owns_nothing(const struct takeover *t)
{
	return takeover_is_empty(t) && !t->config.unfinished && !t->config.rebuilding;
}

bool takeover_is_deputy(const struct takeover *t)
{
	return t->config.standby && !t->config.accept_rebuild &&
	       t->deciding.now.count < STANDBY_SET;
}

bool takeover_has_looked(const struct takeover *t)
{
	return t->now_ms >= t->looked_ms + t->config.found_after_ms;
}

/* ---- phases ---- */

void takeover_phase_set(struct takeover *t, enum takeover_phase phase)
{
	const bool again = phase == PHASE_SEEK && t->phase == PHASE_PULL;

	if (phase == PHASE_SEEK && t->phase == PHASE_QUIET)
		t->looked_ms = t->now_ms;
	t->phase = phase;
	t->next_sweep_ms = t->now_ms;
	/* What is waited for goes on being waited for. */
	if (again || phase == PHASE_PULL)
		return;
	t->phase_ms = t->now_ms;
	t->next_beacon_ms = t->next_probe_ms = t->now_ms;
	t->next_note_ms = t->now_ms + WAITING_FIRST_MS;
	t->probes = 0;
}

void takeover_finish(struct takeover *t)
{
	t->outcome.epoch = t->epoch;
	t->outcome.head = t->own.last;
	t->outcome.took_ms = t->now_ms - t->started_ms;
	takeover_phase_set(t, PHASE_OVER);
	takeover_act(t, TAKEOVER_OPEN);
}

static uint64_t listen_ms(const struct takeover *t)
{
	if (t->config.standby)
		return t->config.dead_after_ms;
	return owns_nothing(t) ? LISTEN_EMPTY_MS : LISTEN_OWN_MS;
}

static uint64_t silence_ms(const struct takeover *t)
{
	uint64_t beacons_ms = 2 * t->another_interval_ms;

	return beacons_ms > t->config.dead_after_ms ? beacons_ms : t->config.dead_after_ms;
}

/* Each has the answer of one who is there. */
static uint64_t probe_every_ms(const struct takeover *t)
{
	uint64_t every_ms = t->config.dead_after_ms / 4;

	if (t->phase == PHASE_SEEK)
		return FOUND_PROBE_MS;
	if (t->phase == PHASE_LISTEN && !t->config.standby)
		return LISTEN_PROBE_MS;
	return every_ms < t->config.beacon_interval_ms ? every_ms : t->config.beacon_interval_ms;
}

static void probe(struct takeover *t)
{
	if (t->now_ms < t->next_probe_ms)
		return;
	t->next_probe_ms = t->now_ms + probe_every_ms(t);
	takeover_datagram(t, BEACON_PROBE);
}

static void phase_listen(struct takeover *t)
{
	if (t->now_ms >= t->phase_ms + listen_ms(t))
		takeover_phase_set(t, PHASE_SEEK);
	else
		probe(t);
}

static void phase_quiet(struct takeover *t)
{
	if (t->now_ms >= t->another_ms + silence_ms(t)) {
		takeover_note(t, LOG_WARN, "nameserver_silent", "silent_ms=%llu",
			      (unsigned long long)(t->now_ms - t->another_ms));
		takeover_phase_set(t, PHASE_SEEK);
	} else {
		probe(t);
	}
}

/* ---- seeking ---- */

static void beacon(struct takeover *t)
{
	uint64_t every_ms = t->config.beacon_interval_ms;

	if (t->now_ms < t->next_beacon_ms)
		return;
	if (t->now_ms < t->phase_ms + SEEK_EAGER_MS && every_ms > SEEK_BEACON_MS)
		every_ms = SEEK_BEACON_MS;
	t->next_beacon_ms = t->now_ms + every_ms - every_ms / 10;
	t->next_beacon_ms += prng_below(&t->prng, every_ms / 5 + 1);
	takeover_datagram(t, BEACON_BEGINNER);
}

static bool may_found(const struct takeover *t)
{
	return owns_nothing(t) && !t->config.standby && !t->config.accept_rebuild && !t->heard &&
	       id_is_none(&t->cluster);
}

/* Somebody else may be there already. */
static bool may_begin_alone(const struct takeover *t)
{
	return may_found(t) || (!takeover_has_looked(t) && t->own.whole &&
				t->deciding.now.count == 0 && !t->deciding.changing);
}

static void phase_seek(struct takeover *t)
{
	beacon(t);
	if (may_begin_alone(t))
		probe(t);
	if (may_found(t) && takeover_has_looked(t)) {
		t->outcome.founded = true;
		takeover_finish(t);
		return;
	}
	takeover_ask_promises(t);
	takeover_choose(t);
	if (t->phase == PHASE_SEEK)
		takeover_wait_note(t);
}

/* Whatever has happened: what is due now? */
static void proceed(struct takeover *t)
{
	enum takeover_phase before;

	do {
		before = t->phase;
		switch (t->phase) {
		case PHASE_LISTEN: phase_listen(t); break;
		case PHASE_QUIET: phase_quiet(t); break;
		case PHASE_SEEK: phase_seek(t); break;
		case PHASE_PULL:
			beacon(t);
			takeover_ask_promises(t);
			break;
		case PHASE_OVER: break;
		}
	} while (t->phase != before);
}

/* ---- datagrams ---- */

static bool is_of_our_cluster(const struct takeover *t, const struct beacon *heard)
{
	if (!id_is_none(&t->cluster) && !id_is_none(&heard->cluster))
		return id_equal(&t->cluster, &heard->cluster);
	return strcmp(heard->cluster_name, t->cluster_name) == 0;
}

static bool is_same_server(const struct takeover *t, const struct beacon *heard)
{
	return id_equal(&heard->server, &t->config.self);
}

/* One that serves counts its starts; one that is only about to begin has none, but has been chosen
 * once it fetches. Of two others the one that may begin by itself goes on, or knows its cluster, or
 * asks for more, or has the higher id. */
static bool is_above_us(const struct takeover *t, const struct beacon *heard)
{
	if (heard->start != 0 || heard->fetches)
		return true;
	if (heard->waits != takeover_is_deputy(t))
		return takeover_is_deputy(t);
	if (id_is_none(&heard->cluster) != id_is_none(&t->cluster))
		return id_is_none(&t->cluster);
	if (heard->epoch != t->epoch)
		return heard->epoch > t->epoch;
	if (is_same_server(t, heard))
		return heard->process > t->config.process;
	return memcmp(heard->server.bytes, t->config.self.bytes, ID_SIZE) > 0;
}

static void note_copied(struct takeover *t, const struct takeover_event *event)
{
	char address[ENDPOINT_TEXT_MAX];

	if (t->said_copied)
		return;
	t->said_copied = true;
	takeover_note(t, LOG_ERROR, "directory_copied",
		      "address=%s text=\"the name server there has a copy of this data directory: "
		      "this one waits; stop one of them and delete its directory\"",
		      endpoint_format(&event->peer, address));
}

static void be_quiet(struct takeover *t, const struct takeover_event *event)
{
	char text[ID_TEXT_MAX];

	t->another_ms = t->now_ms;
	t->another_interval_ms = event->beacon->interval_ms;
	if (is_same_server(t, event->beacon))
		note_copied(t, event);
	if (t->phase == PHASE_QUIET)
		return;
	if (!t->said_standby)
		takeover_note(t, LOG_INFO, "standby_waiting", "nameserver=%s epoch=%llu",
			      id_format(&event->beacon->server, text),
			      (unsigned long long)event->beacon->epoch);
	t->said_standby = true;
	takeover_phase_set(t, PHASE_QUIET);
	takeover_conns_close(t);
}

static void another_heard(struct takeover *t, const struct takeover_event *event)
{
	char address[ENDPOINT_TEXT_MAX];

	const bool above = is_above_us(t, event->beacon);

	takeover_epoch_said(t, event->beacon->epoch);
	/* Enough servers follow us: it is none any more, and will be told so. */
	if (t->phase == PHASE_PULL || !above)
		return;
	if (event->beacon->start != 0 && owns_nothing(t) && !t->config.standby)
		takeover_give_up(t, -ERR_EXISTS,
				 "cluster \"%s\" has a name server already, at %s; to be its "
				 "deputy start with --standby, for a new cluster choose another "
				 "--cluster",
				 t->cluster_name, endpoint_format(&event->peer, address));
	else
		be_quiet(t, event);
}

/* Never more than five within a second. */
static void answer_probe(struct takeover *t)
{
	uint64_t *oldest = &t->probes_ms[t->probe % PROBE_ANSWERS_PER_S];

	if ((t->phase != PHASE_SEEK && t->phase != PHASE_PULL) ||
	    (t->probe >= PROBE_ANSWERS_PER_S && t->now_ms - *oldest < 1000))
		return;
	*oldest = t->now_ms;
	t->probe++;
	takeover_datagram(t, BEACON_BEGINNER);
}

static void on_heard(struct takeover *t, const struct takeover_event *event)
{
	const struct beacon *heard = event->beacon;
	const bool anonymous = id_is_none(&heard->cluster) && !heard->cluster_name[0];

	if (is_same_server(t, heard) && heard->process == t->config.process)
		return;
	if (heard->kind == BEACON_PROBE && (anonymous || is_of_our_cluster(t, heard)))
		answer_probe(t);
	if (!is_of_our_cluster(t, heard))
		return;
	t->heard = t->heard || !id_is_none(&heard->cluster);
	if (beacon_is_nameserver(heard))
		another_heard(t, event);
	else if (heard->kind == BEACON_STORAGE)
		takeover_epoch_said(t, heard->epoch);
}

/* ---- events ---- */

static void on_tick(struct takeover *t)
{
	if (t->now_ms < t->next_sweep_ms)
		return;
	t->next_sweep_ms = t->now_ms + SWEEP_MS;
	takeover_conns_sweep(t);
	takeover_pull_sweep(t);
}

static void handle(struct takeover *t, const struct takeover_event *event)
{
	switch (event->kind) {
	case TAKEOVER_OPENED: takeover_conn_opened(t, event); break;
	case TAKEOVER_FRAME: takeover_conn_frame(t, event); break;
	case TAKEOVER_CLOSED: takeover_conn_closed(t, event->conn); break;
	case TAKEOVER_MALFORMED: takeover_conn_malformed(t, event); break;
	case TAKEOVER_HEARD: on_heard(t, event); break;
	case TAKEOVER_REPLICA: takeover_pull_done_job(t, event->replica); break;
	case TAKEOVER_KEPT: takeover_epoch_kept(t, event->error); break;
	case TAKEOVER_TICK: break;
	}
}

/* Who has slept has heard nobody: that others were silent is not to be concluded from it. */
static void paused(struct takeover *t)
{
	t->another_ms = t->phase_ms = t->looked_ms = t->now_ms;
	t->next_probe_ms = t->next_beacon_ms = t->now_ms;
}

static void now_set(struct takeover *t, uint64_t now_ms)
{
	const bool late = now_ms - t->now_ms >= LATE_MS;
	const uint64_t due = late ? takeover_deadline(t) : UINT64_MAX;

	t->now_ms = now_ms;
	if (due < now_ms && now_ms - due >= LATE_MS)
		paused(t);
}

void takeover_step(struct takeover *t, const struct takeover_event *event,
		   struct takeover_outbox *outbox)
{
	t->outbox = outbox;
	now_set(t, event->now_ms);
	t->wall_ms = event->wall_ms;
	if (t->phase != PHASE_OVER) {
		handle(t, event);
		on_tick(t);
		proceed(t);
	} else if (event->kind == TAKEOVER_CLOSED) {
		takeover_conn_closed(t, event->conn);
	}
	arena_reset(&t->arena);
	t->outbox = NULL;
}

static void sooner(uint64_t *deadline, uint64_t at_ms)
{
	if (at_ms < *deadline)
		*deadline = at_ms;
}

uint64_t takeover_deadline(const struct takeover *t)
{
	uint64_t deadline = t->conns ? t->next_sweep_ms : UINT64_MAX;

	switch (t->phase) {
	case PHASE_LISTEN:
		sooner(&deadline, t->phase_ms + listen_ms(t));
		sooner(&deadline, t->next_probe_ms);
		break;
	case PHASE_QUIET:
		sooner(&deadline, t->another_ms + silence_ms(t));
		sooner(&deadline, t->next_probe_ms);
		break;
	case PHASE_SEEK:
		sooner(&deadline, t->next_note_ms);
		sooner(&deadline, t->next_beacon_ms);
		if (!takeover_has_looked(t))
			sooner(&deadline, t->looked_ms + t->config.found_after_ms);
		if (may_begin_alone(t))
			sooner(&deadline, t->next_probe_ms);
		break;
	case PHASE_PULL: sooner(&deadline, t->next_beacon_ms); break;
	case PHASE_OVER: return UINT64_MAX;
	}
	return deadline;
}

struct takeover_outcome takeover_outcome(const struct takeover *t)
{
	return t->outcome;
}

static void defaults(struct takeover_config *config)
{
	if (!config->beacon_interval_ms)
		config->beacon_interval_ms = BEACON_INTERVAL_MS;
	if (!config->dead_after_ms)
		config->dead_after_ms = DEAD_AFTER_MS;
	if (!config->found_after_ms)
		config->found_after_ms = FOUND_AFTER_MS;
}

int takeover_new(const struct takeover_config *config, uint64_t now_ms, struct takeover **ret)
{
	struct takeover *t = calloc(1, sizeof(*t));

	if (!t)
		return -ERR_NO_MEMORY;
	t->config = *config;
	defaults(&t->config);
	t->own = config->head;
	t->facts = config->facts;
	t->cluster = config->facts.cluster;
	memcpy(t->cluster_name,
	       config->facts.cluster_name[0] ? config->facts.cluster_name : config->cluster_name,
	       sizeof(t->cluster_name));
	t->deciding = config->facts.set;
	t->kept = config->asked_epoch;
	t->rebuilding = t->outcome.rebuilt = config->rebuilding;
	t->epoch = takeover_epoch_known(t) + 1;
	t->prng.state = config->seed;
	t->arena.limit = TAKEOVER_ARENA_MAX;
	t->now_ms = t->started_ms = t->looked_ms = now_ms;
	TAILQ_INIT(&t->waiting);
	takeover_phase_set(t, PHASE_LISTEN);
	*ret = t;
	return 0;
}

void takeover_free(struct takeover *t)
{
	if (!t)
		return;
	takeover_conns_free(t);
	takeover_pull_free(t);
	arena_done(&t->arena);
	free(t);
}

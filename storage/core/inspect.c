/* INSPECT: are our copies right? One chunk is read at a time, whoever asks, so that clients keep
 * the disk; and an answer is due after a while, with whatever is known by then. */
#include "storage_inside.h"

struct inspection {
	STAILQ_ENTRY(inspection) next;
	uint64_t asker;
	uint32_t request;
	uint64_t due_ms;
	unsigned int count, left;
	struct chunk_sum wanted[INSPECT_MAX];
	struct chunk_finding findings[INSPECT_MAX];
	bool found[INSPECT_MAX];
};

static bool is_here(struct storage *s, uint64_t chunk)
{
	return s->config.chunks->find(s->config.chunks_context, chunk, NULL, NULL) == 0;
}

/* ---- answers ---- */

static void finding_set(struct inspection *inspection, unsigned int i, int error,
			const struct digest *digest)
{
	inspection->findings[i].status = (uint8_t)-error;
	if (digest)
		inspection->findings[i].digest = *digest;
	inspection->found[i] = true;
	inspection->left--;
}

static void inspection_free(struct storage *s, struct inspection *inspection)
{
	STAILQ_REMOVE(&s->inspections, inspection, inspection, next);
	s->inspection_count--;
	free(inspection);
}

static void answer(struct storage *s, struct inspection *inspection)
{
	struct inspect_reply reply = { .findings = inspection->findings,
				       .findings_count = (uint16_t)inspection->count };
	struct message message = { .info = message_info(MSG_inspect),
				   .reply = true,
				   .id = inspection->request,
				   .body = &reply };
	struct conn *asker = storage_conn_find(s, inspection->asker);

	if (asker)
		storage_send_message(s, asker, &message);
	inspection_free(s, inspection);
}

/* ---- one after the other ---- */

/* True if the disk need not be asked. */
static bool is_known_anyhow(struct storage *s, struct inspection *inspection, unsigned int i)
{
	uint64_t chunk = inspection->wanted[i].chunk;

	if (is_here(s, chunk))
		return false;
	/* One that is being written may be here in a moment. */
	finding_set(inspection, i, storage_transfer_of_chunk(s, chunk) ? -ERR_BUSY : -ERR_NOT_FOUND,
		    NULL);
	return true;
}

void storage_inspect_read(struct storage *s, uint64_t chunk, uint32_t length)
{
	struct storage_action *action = storage_act(s, ACT_INSPECT);

	action->chunk = chunk;
	action->length = length;
	s->inspecting = chunk;
	s->inspecting_changed = false;
}

/* Looks for the next chunk to read; answers those for which there is none. */
static void go_on(struct storage *s)
{
	struct inspection *inspection, *next;

	STAILQ_FOREACH_SAFE(inspection, &s->inspections, next, next) {
		for (unsigned int i = 0; i < inspection->count && !s->inspecting; i++) {
			if (!inspection->found[i] && !is_known_anyhow(s, inspection, i))
				storage_inspect_read(s, inspection->wanted[i].chunk,
						     inspection->wanted[i].length);
		}
		if (inspection->left == 0)
			answer(s, inspection);
	}
}

int storage_on_inspect(struct storage *s, struct conn *conn, const struct incoming *in)
{
	const struct inspect_request *req = in->message.body;
	struct inspection *inspection;

	if (!storage_is_registered(s) || conn != s->seeker.conn)
		return -ERR_STALE;
	if (s->inspection_count == INSPECTIONS_MAX)
		return -ERR_BUSY;
	inspection = calloc(1, sizeof(*inspection));
	if (!inspection)
		return -ERR_NO_MEMORY;
	inspection->asker = conn->handle;
	inspection->request = in->header->id;
	inspection->due_ms = s->now_ms + INSPECT_ANSWER_MS;
	inspection->count = inspection->left = req->chunks_count;
	for (unsigned int i = 0; i < inspection->count; i++) {
		inspection->wanted[i] = req->chunks[i];
		inspection->findings[i].chunk = req->chunks[i].chunk;
	}
	STAILQ_INSERT_TAIL(&s->inspections, inspection, next);
	s->inspection_count++;
	go_on(s);
	return 0;
}

/* ---- what the glue found ---- */

static int verdict(const struct storage_event *event, const struct chunk_sum *wanted)
{
	switch (-event->error) {
	case 0:
		return event->length == wanted->length &&
				       digest_equal(event->digest, &wanted->digest)
			       ? 0
			       : -ERR_CORRUPT;
	case ERR_CORRUPT:
	case ERR_NOT_FOUND:
	case ERR_IO: return event->error;
	default: return -ERR_BUSY;
	}
}

/* Enters it for everybody who waits for it; true if somebody did, who reads of it in an answer. */
static bool enter(struct storage *s, const struct storage_event *event)
{
	struct inspection *inspection;
	bool told = false;

	STAILQ_FOREACH(inspection, &s->inspections, next) {
		for (unsigned int i = 0; i < inspection->count; i++) {
			const struct chunk_sum *wanted = &inspection->wanted[i];

			if (inspection->found[i] || wanted->chunk != event->chunk)
				continue;
			finding_set(inspection, i, verdict(event, wanted), event->digest);
			told = true;
		}
	}
	return told;
}

/* Only a copy that contradicts itself is given up. One that merely is not what was asked for may
 * be the last that is right: the name server has erred before us. */
static bool is_damaged(const struct storage_event *event)
{
	struct chunk_sum itself = { .length = event->length, .digest = *event->digest };
	int error = verdict(event, &itself);

	return error != 0 && error != -ERR_BUSY;
}

static void give_up_copy(struct storage *s, uint64_t chunk, int error, bool told)
{
	struct storage_action *action = storage_note(s, NOTE_INSPECTED_BAD);

	action->chunk = chunk;
	action->error = error;
	s->config.chunks->quarantine(s->config.chunks_context, chunk);
	if (!told)
		storage_corrupt_send(s, chunk, error);
}

/* A copy that came or went while another was read is looked at again. */
void storage_on_inspected(struct storage *s, const struct storage_event *event)
{
	bool damaged = is_damaged(event);

	assert(event->chunk == s->inspecting);
	s->inspecting = 0;
	if (!s->inspecting_changed && is_here(s, event->chunk)) {
		bool told = enter(s, event);

		if (damaged)
			give_up_copy(s, event->chunk, event->error, told);
	}
	storage_scrub_inspected(s, event->chunk, damaged);
	go_on(s);
}

void storage_inspect_stored(struct storage *s, uint64_t chunk)
{
	s->inspecting_changed |= chunk == s->inspecting;
}

/* ---- time ---- */

void storage_inspect_tick(struct storage *s)
{
	struct inspection *inspection;

	while ((inspection = STAILQ_FIRST(&s->inspections)) && inspection->due_ms <= s->now_ms) {
		for (unsigned int i = 0; i < inspection->count; i++) {
			if (!inspection->found[i])
				finding_set(inspection, i, -ERR_BUSY, NULL);
		}
		answer(s, inspection);
	}
}

uint64_t storage_inspect_deadline(const struct storage *s)
{
	const struct inspection *first = STAILQ_FIRST(&s->inspections);

	return first ? first->due_ms : UINT64_MAX;
}

void storage_inspections_drop(struct storage *s)
{
	struct inspection *inspection;

	while ((inspection = STAILQ_FIRST(&s->inspections)))
		inspection_free(s, inspection);
}

/* What the own catalogue lacks comes from the server that has the right one: batches that follow,
 * else everything, in pages. One question and one job at a time; the next page is asked for as soon
 * as its cursor is known, so that it is read and sent while others are stored. */
#include "pages.h"
#include "takeover_inside.h"
#include "text.h"

static void job(struct takeover *t, enum takeover_step step, const struct replica_job *job_)
{
	struct takeover_action *action = takeover_act(t, TAKEOVER_JOB);

	action->job = *job_;
	takeover_bytes(t, action, job_->bytes);
	t->pull.step = step;
}

static void ask(struct takeover *t, unsigned int code, const void *request)
{
	t->pull.request = takeover_ask(t, t->pull.source, code, request);
	t->pull.asked = code;
	t->pull.asked_ms = t->now_ms;
}

static void ask_batches(struct takeover *t)
{
	const struct pull_request request = { .sequence = t->own.last.sequence,
					      .offset = t->pull.part.size,
					      .hash = t->own.last.hash };

	ask(t, MSG_pull, &request);
}

static void ask_page(struct takeover *t)
{
	const struct buffer *cursor = &t->pull.cursor;
	const struct page_request request = { .after = { cursor->data, cursor->size } };

	ask(t, MSG_page, &request);
}

/* ---- beginning and end ---- */

/* All of it, instead of what is here. */
static void begin_anew(struct takeover *t)
{
	buffer_clear(&t->pull.part);
	buffer_clear(&t->pull.cursor);
	t->pull.more = true;
	job(t, STEP_BEGIN, &(struct replica_job){ .kind = REPLICA_BEGIN });
	ask_page(t);
}

/* What follows may come batch by batch; a tail that nobody else knows may not stay. */
static bool can_be_extended(const struct takeover *t)
{
	return t->own.last.sequence == 0 ||
	       (t->own.whole && t->own.last.sequence < t->pull.target.sequence);
}

void takeover_pull_start(struct takeover *t, struct takeover_conn *source)
{
	char text[ID_TEXT_MAX];

	t->pull.part = (struct buffer){ .max = BATCH_SIZE_MAX };
	t->pull.source = source->conn;
	t->pull.target = source->head;
	t->outcome.copied = true;
	t->outcome.source = source->self;
	takeover_phase_set(t, PHASE_PULL);
	takeover_note(t, LOG_INFO, "catalogue_fetched", "from=%s sequence=%llu have=%llu",
		      id_format(&source->self, text), (unsigned long long)source->head.sequence,
		      (unsigned long long)t->own.last.sequence);
	if (can_be_extended(t))
		ask_batches(t);
	else
		begin_anew(t);
}

void takeover_pull_free(struct takeover *t)
{
	for (unsigned int i = 0; i < PAGES_AHEAD_MAX; i++)
		buffer_done(&t->pull.pages[i].rows);
	buffer_done(&t->pull.part);
	buffer_done(&t->pull.cursor);
	t->pull = (struct takeover_pull){ 0 };
}

static void pull_end(struct takeover *t)
{
	takeover_pull_free(t);
	takeover_phase_set(t, PHASE_SEEK);
}

/* At what the own catalogue says by now, were it only half of what is to come: whose journal set it
 * names decides what is done next. */
static void look(struct takeover *t)
{
	job(t, STEP_LOOK, &(struct replica_job){ .kind = REPLICA_LOOK });
}

/* The next best will do, or the same one a little later. */
static void source_failed(struct takeover *t, int error)
{
	struct takeover_conn *c = takeover_conn_find(t, t->pull.source);
	char text[ID_TEXT_MAX];

	takeover_note(t, LOG_WARN, "catalogue_source_lost", "from=%s error=%s",
		      id_format(&t->outcome.source, text), error_name(error));
	/* What it has may have changed, too: it is asked anew. */
	if (c) {
		c->excluded_until_ms = t->now_ms + SOURCE_AGAIN_MS;
		c->granted = false;
		c->request = 0;
		c->ask_ms = t->now_ms;
	}
	t->pull.source = 0;
	t->pull.asked = 0;
	/* A job that is under way ends first. */
	if (t->pull.step == STEP_NONE)
		look(t);
}

void takeover_pull_lost(struct takeover *t, uint64_t conn)
{
	if (t->phase == PHASE_PULL && conn == t->pull.source)
		source_failed(t, -ERR_CONNECTION);
}

void takeover_pull_sweep(struct takeover *t)
{
	const struct takeover_pull *pull = &t->pull;

	if (t->phase == PHASE_PULL && pull->asked &&
	    t->now_ms >= pull->asked_ms + SOURCE_SILENCE_MS)
		source_failed(t, -ERR_TIMEOUT);
}

/* ---- what comes ---- */

/* 1: *ret are whole batches; 0: more parts are to come. */
static int gather(struct takeover *t, const struct pull_reply *reply, struct slice *ret)
{
	struct buffer *part = &t->pull.part;

	*ret = reply->batches;
	if (ret->size == 0 || (reply->size == 0 && part->size > 0))
		return -ERR_BAD_REQUEST;
	if (reply->size == 0)
		return 1;
	if (buffer_append(part, ret->data, ret->size) < 0 || part->size > reply->size)
		return -ERR_BAD_REQUEST;
	*ret = (struct slice){ part->data, part->size };
	return part->size == reply->size;
}

static void take_batches(struct takeover *t, const struct pull_reply *reply)
{
	struct slice batches;
	int rc = gather(t, reply, &batches);

	if (rc < 0) {
		source_failed(t, rc);
	} else if (rc == 0) {
		ask_batches(t);
	} else {
		job(t, STEP_APPEND,
		    &(struct replica_job){ .kind = REPLICA_APPEND, .bytes = batches });
		buffer_clear(&t->pull.part);
	}
}

/* It has nothing newer: then we have what it promised to have. */
static void level(struct takeover *t)
{
	if (!t->own.whole || journal_is_later(&t->pull.target, &t->own.last))
		source_failed(t, -ERR_STALE);
	else
		look(t);
}

static void take_pull(struct takeover *t, const struct pull_reply *reply)
{
	switch (reply->state) {
	case PULL_BATCHES: take_batches(t, reply); break;
	case PULL_LEVEL: level(t); break;
	case PULL_UNKNOWN: begin_anew(t); break;
	default: source_failed(t, -ERR_BAD_REQUEST); break;
	}
}

static void page_load(struct takeover *t)
{
	struct takeover_pull *pull = &t->pull;
	struct takeover_page *page = &pull->pages[pull->first];

	job(t, STEP_LOAD,
	    &(struct replica_job){ .kind = REPLICA_LOAD,
				   .bytes = { page->rows.data, page->rows.size },
				   .point = page->point,
				   .more = page->more });
	buffer_clear(&page->rows);
	pull->first = (pull->first + 1) % PAGES_AHEAD_MAX;
	pull->count--;
}

/* Asks for what there is room for, and stores what came. */
static void copy_on(struct takeover *t)
{
	struct takeover_pull *pull = &t->pull;

	if (pull->step == STEP_NONE && pull->count > 0)
		page_load(t);
	if (pull->more && !pull->asked && pull->count < PAGES_AHEAD_MAX)
		ask_page(t);
}

static int page_keep(struct takeover *t, const struct page_reply *reply)
{
	struct takeover_pull *pull = &t->pull;
	struct takeover_page *page = &pull->pages[(pull->first + pull->count) % PAGES_AHEAD_MAX];

	page->point = (struct journal_head){ reply->epoch, reply->sequence, reply->hash };
	page->more = reply->more;
	pull->count++;
	return buffer_append(&page->rows, reply->rows.data, reply->rows.size);
}

static void take_page(struct takeover *t, const struct page_reply *reply)
{
	struct buffer *cursor = &t->pull.cursor;
	struct slice last;

	if (reply->sequence == 0 || (reply->more && reply->rows.size == 0) ||
	    page_check(reply->rows, (struct slice){ cursor->data, cursor->size }, &last) < 0) {
		source_failed(t, -ERR_CORRUPT);
		return;
	}
	t->pull.more = reply->more;
	if (page_keep(t, reply) < 0)
		t->outbox->error = -ERR_NO_MEMORY;
	if (reply->rows.size > 0) {
		buffer_clear(cursor);
		if (buffer_append(cursor, last.data, last.size) < 0)
			t->outbox->error = -ERR_NO_MEMORY;
	}
	copy_on(t);
}

static void take(struct takeover *t, const struct frame_header *header, const uint8_t *body)
{
	struct message message;
	int rc = message_decode(header, body, &t->arena, &message);

	if (rc < 0)
		source_failed(t, rc);
	else if (header->type == MSG_page)
		take_page(t, message.body);
	else
		take_pull(t, message.body);
}

void takeover_pull_answered(struct takeover *t, struct takeover_conn *from,
			    const struct frame_header *header, const uint8_t *body)
{
	if (t->phase != PHASE_PULL || from->conn != t->pull.source ||
	    header->id != t->pull.request || header->type != t->pull.asked)
		return;
	t->pull.asked = 0;
	if (header->status == ERR_IN_PROGRESS && header->type == MSG_page)
		ask_page(t);
	else if (header->status == ERR_IN_PROGRESS)
		ask_batches(t);
	else if (header->status)
		source_failed(t, -(int)header->status);
	else
		take(t, header, body);
}

/* ---- the own catalogue ---- */

static bool is_of_the_disk(int error)
{
	return error == -ERR_IO || error == -ERR_LOCAL_FULL || error == -ERR_NOT_PERMITTED ||
	       error == -ERR_NO_MEMORY;
}

static void looked(struct takeover *t, const struct replica_result *result)
{
	if (result->error) {
		takeover_give_up(t, result->error, "the catalogue cannot be used: %s",
				 error_text(result->error));
		return;
	}
	t->facts = result->facts;
	pull_end(t);
}

void takeover_pull_done_job(struct takeover *t, const struct replica_result *result)
{
	enum takeover_step step = t->pull.step;

	t->own = result->head;
	t->pull.step = STEP_NONE;
	takeover_epoch_used(t, t->own.last.epoch);
	if (result->error && is_of_the_disk(result->error))
		takeover_give_up(t, result->error, "the catalogue cannot be written: %s",
				 error_text(result->error));
	else if (step == STEP_LOOK)
		looked(t, result);
	else if (t->pull.source == 0)
		look(t);
	else if (result->error)
		source_failed(t, result->error);
	else if (t->pull.more || t->pull.count > 0)
		copy_on(t);
	else
		ask_batches(t);
}

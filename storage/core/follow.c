/* This server's copy of the catalogue: it follows the name server's batches, and serves others. */
#include "storage_inside.h"

/* ---- jobs ---- */

int storage_follow_submit(struct storage *s, struct replica_job *job, uint64_t asker,
			  uint32_t request)
{
	const struct storage_config *config = &s->config;
	struct replica_wait *wait = malloc(sizeof(*wait));
	unsigned int code = 0;

	if (!wait) {
		s->error = -ERR_NO_MEMORY;
		return -ERR_NO_MEMORY;
	}
	if (job->kind == REPLICA_ASK)
		code = get_u16(job->bytes.data); /* a frame begins with it */
	job->number = ++s->follow.last_job;
	*wait = (struct replica_wait){
		.kind = job->kind,
		.number = job->number,
		.asker = asker,
		.request = request,
		.code = code,
	};
	STAILQ_INSERT_TAIL(&s->follow.waits, wait, next);
	if (config->catalogue->submit(config->catalogue_context, job) < 0)
		s->error = -ERR_NO_MEMORY;
	return s->error;
}

void storage_follow_free(struct storage *s)
{
	struct replica_wait *wait;

	while ((wait = STAILQ_FIRST(&s->follow.waits))) {
		STAILQ_REMOVE_HEAD(&s->follow.waits, next);
		free(wait);
	}
	buffer_done(&s->follow.batch);
	buffer_done(&s->follow.pull.part);
	buffer_done(&s->follow.pull.cursor);
	free(s->follow.peers);
}

struct journal_head storage_follow_known(const struct storage *s)
{
	return s->follow.head.whole ? s->follow.head.last : (struct journal_head){ 0 };
}

/* ---- answers ---- */

static void answer(struct storage *s, const struct replica_wait *wait, unsigned int code,
		   const struct message *message)
{
	struct conn *conn = storage_conn_find(s, wait->asker);
	struct message reply = *message;

	if (!conn)
		return;
	reply.info = message_info(code);
	reply.reply = true;
	reply.id = wait->request;
	storage_send_message(s, conn, &reply);
}

static uint8_t status_of(int error)
{
	return error == -ERR_UNAVAILABLE || error == -ERR_RANGE ? (uint8_t)-error : ERR_IO;
}

static void answer_batch(struct storage *s, const struct replica_wait *wait, int error)
{
	struct journal_head known = storage_follow_known(s);
	struct batch_reply reply = { .sequence = known.sequence,
				     .epoch = known.epoch,
				     .hash = known.hash };

	answer(s, wait, MSG_batch,
	       &(struct message){ .status = error ? status_of(error) : 0,
				  .body = error ? NULL : &reply });
}

static void answer_pull(struct storage *s, const struct replica_wait *wait,
			const struct replica_result *result)
{
	struct journal_head known = storage_follow_known(s);
	struct pull_reply reply = { .sequence = known.sequence,
				    .epoch = known.epoch,
				    .state = result->state,
				    .size = result->size,
				    .batches = result->bytes };

	answer(s, wait, MSG_pull,
	       &(struct message){ .status = result->error ? status_of(result->error) : 0,
				  .body = result->error ? NULL : &reply });
}

static void answer_page(struct storage *s, const struct replica_wait *wait,
			const struct replica_result *result)
{
	struct page_reply reply = { .sequence = result->point.sequence,
				    .epoch = result->point.epoch,
				    .hash = result->point.hash,
				    .more = result->more,
				    .rows = result->bytes };

	answer(s, wait, MSG_page,
	       &(struct message){ .status = result->error ? status_of(result->error) : 0,
				  .body = result->error ? NULL : &reply });
}

/* ---- what came of a job ---- */

static void say_failed(struct storage *s, int error)
{
	struct follow *follow = &s->follow;

	if (follow->state == FOLLOW_READY || follow->next_open_ms == 0)
		storage_note(s, NOTE_CATALOGUE_FAILED)->error = error;
	follow->state = FOLLOW_FAILED;
	follow->head = (struct replica_head){ 0 };
	follow->next_open_ms = s->now_ms + REOPEN_MS;
	storage_pull_cancel(s);
}

static void take_peers(struct storage *s, const struct replica_result *result)
{
	struct follow *follow = &s->follow;
	struct replica_peer *peers;

	/* A copy that begins anew names nobody: who was known may still be asked. */
	if (!result->peers || result->peer_count == 0)
		return;
	follow->peer_count = 0;
	peers = realloc(follow->peers, result->peer_count * sizeof(*peers));
	if (!peers) {
		s->error = -ERR_NO_MEMORY;
		return;
	}
	follow->peers = peers;
	for (unsigned int i = 0; i < result->peer_count; i++) {
		if (!id_equal(&result->peers[i].node, &s->config.self))
			peers[follow->peer_count++] = result->peers[i];
	}
}

static void opened(struct storage *s, const struct replica_result *result)
{
	struct follow *follow = &s->follow;

	if (result->dropped)
		storage_note(s, NOTE_CATALOGUE_DAMAGED)->error = result->dropped;
	if (result->error)
		return;
	follow->state = FOLLOW_READY;
	follow->tail = result->head.last;
	follow->ask_nameserver = true;
	/* It took us before we knew that it has forgotten changes. */
	if (storage_is_registered(s) && s->epoch < follow->tail.epoch) {
		storage_seek_refused(s, -ERR_STALE);
		storage_conn_drop(s, s->seeker.conn, -ERR_STALE, true);
	}
}

/* Only a failure of the disk ends it: what others ask for may well not be had. */
static bool is_failure(const struct replica_result *result)
{
	if (result->kind == REPLICA_PULL || result->kind == REPLICA_PAGE ||
	    result->kind == REPLICA_ASK)
		return result->error && result->error != -ERR_RANGE &&
		       result->error != -ERR_UNAVAILABLE;
	return result->error && result->error != -ERR_STALE && result->error != -ERR_BAD_REQUEST;
}

static bool appends_wait(const struct follow *follow)
{
	const struct replica_wait *wait;

	STAILQ_FOREACH(wait, &follow->waits, next) {
		if (wait->kind == REPLICA_APPEND)
			return true;
	}
	return false;
}

static void settle(struct storage *s, const struct replica_wait *wait,
		   const struct replica_result *result)
{
	struct follow *follow = &s->follow;

	if (is_failure(result)) {
		say_failed(s, result->error);
	} else {
		follow->head = result->head;
		take_peers(s, result);
	}
	switch (wait->kind) {
	case REPLICA_OPEN: opened(s, result); break;
	case REPLICA_PULL:
		follow->readers--;
		answer_pull(s, wait, result);
		return;
	case REPLICA_PAGE:
		follow->readers--;
		answer_page(s, wait, result);
		return;
	case REPLICA_APPEND:
		if (wait->asker)
			answer_batch(s, wait, result->error == -ERR_STALE ? 0 : result->error);
		/* It was not what it looked like: what was given to it since is void, too. */
		if (result->error == -ERR_STALE)
			follow->tail = result->head.last;
		break;
	case REPLICA_LOAD:
		if (!result->error && !appends_wait(follow))
			follow->tail = result->head.last;
		break;
	case REPLICA_LOOK: storage_promise_looked(s, wait, result); return;
	case REPLICA_ASK: storage_degraded_answered(s, wait, result); return;
	case REPLICA_BEGIN: break;
	}
	if (!wait->asker)
		storage_pull_stored(s, result);
}

void storage_on_replica(struct storage *s, const struct storage_event *event)
{
	struct replica_wait *wait = STAILQ_FIRST(&s->follow.waits);

	assert(wait && wait->number == event->replica->number);
	STAILQ_REMOVE_HEAD(&s->follow.waits, next);
	settle(s, wait, event->replica);
	free(wait);
	storage_pull_next(s);
}

/* ---- BATCH ---- */

/* The first of the batches that we lack; -ERR_CORRUPT. */
static int skip_known(const struct storage *s, struct slice *batches)
{
	struct batch_head head;
	struct slice changes;
	struct digest hash;
	size_t size;

	while (batches->size > 0) {
		if (batch_read(*batches, &head, &changes, &size, &hash) != 1)
			return -ERR_CORRUPT;
		if (head.sequence > s->follow.tail.sequence)
			break;
		*batches = (struct slice){ batches->data + size, batches->size - size };
	}
	return 0;
}

/* From the head before them to the one after them. */
static int chain_check(struct slice batches, struct journal_head *ret)
{
	while (batches.size > 0) {
		struct batch_head head;
		struct slice changes;
		struct digest hash;
		size_t size;

		if (batch_read(batches, &head, &changes, &size, &hash) != 1 || head.local.size)
			return -ERR_CORRUPT;
		if (head.sequence != ret->sequence + 1 || head.epoch < ret->epoch ||
		    !digest_equal(&head.previous, &ret->hash))
			return -ERR_STALE;
		*ret = (struct journal_head){ head.epoch, head.sequence, hash };
		batches = (struct slice){ batches.data + size, batches.size - size };
	}
	return 0;
}

int storage_follow_append(struct storage *s, struct slice batches, uint64_t asker, uint32_t request)
{
	struct journal_head head = s->follow.tail;
	int rc = skip_known(s, &batches);

	if (rc < 0 || batches.size == 0)
		return rc;
	rc = chain_check(batches, &head);
	if (rc == 0)
		rc = storage_follow_submit(
			s, &(struct replica_job){ .kind = REPLICA_APPEND, .bytes = batches }, asker,
			request);
	if (rc < 0)
		return rc;
	s->follow.tail = head;
	return 1;
}

int storage_follow_catch_up(struct storage *s, struct slice batches, struct journal_head *base)
{
	struct journal_head head = *base;
	int rc = chain_check(batches, &head);

	if (rc == 0)
		rc = storage_follow_submit(
			s, &(struct replica_job){ .kind = REPLICA_APPEND, .bytes = batches }, 0, 0);
	if (rc < 0)
		return rc;
	*base = head;
	return 1;
}

static int batch_check(const struct storage *s, const struct batch_request *req)
{
	if (s->follow.state == FOLLOW_OFF)
		return -ERR_UNSUPPORTED;
	if (!storage_is_followed(s, req->epoch))
		return -ERR_STALE;
	if (req->size > BATCH_SIZE_MAX || req->part.size == 0 || req->offset > req->size ||
	    req->part.size > req->size - req->offset)
		return -ERR_BAD_REQUEST;
	return s->follow.state == FOLLOW_FAILED ? -ERR_IO : 0;
}

/* 1: the batch is complete; 0: more parts are to come; -ERR_STALE: what came does not go on. */
static int gather(struct storage *s, const struct batch_request *req)
{
	struct follow *follow = &s->follow;

	if (req->sequence != follow->tail.sequence + 1)
		return -ERR_STALE;
	if (req->offset == 0) {
		buffer_clear(&follow->batch);
		follow->batch_sequence = req->sequence;
		follow->batch_size = req->size;
	}
	if (req->sequence != follow->batch_sequence || req->size != follow->batch_size ||
	    req->offset != follow->batch.size)
		return -ERR_STALE;
	if (buffer_append(&follow->batch, req->part.data, req->part.size) < 0)
		return -ERR_NO_MEMORY;
	return follow->batch.size == follow->batch_size;
}

/* It is on its way to the disk: its asker hears of it with the last that is. */
static bool wait_with(struct storage *s, const struct conn *conn, const struct incoming *in)
{
	const struct batch_request *req = in->message.body;

	if (req->sequence <= s->follow.head.last.sequence)
		return false;
	return storage_follow_submit(s, &(struct replica_job){ .kind = REPLICA_APPEND },
				     conn->handle, in->header->id) == 0;
}

/* 1: it is answered once it is durable; 0: at once. */
static int take_part(struct storage *s, const struct conn *conn, const struct incoming *in)
{
	const struct batch_request *req = in->message.body;
	struct buffer *batch = &s->follow.batch;
	int rc;

	if (req->sequence <= s->follow.tail.sequence)
		return wait_with(s, conn, in);
	rc = gather(s, req);
	if (rc == 0)
		return 0;
	if (rc == 1)
		rc = storage_follow_append(s, (struct slice){ batch->data, batch->size },
					   conn->handle, in->header->id);
	buffer_done(batch);
	if (rc == -ERR_CORRUPT)
		return -ERR_BAD_REQUEST;
	if (rc != -ERR_STALE)
		return rc;
	s->follow.ask_nameserver = true;
	storage_pull_next(s);
	return 0;
}

int storage_on_batch(struct storage *s, struct conn *conn, const struct incoming *in)
{
	int rc = batch_check(s, in->message.body);

	if (rc == 0 && s->follow.state == FOLLOW_READY)
		rc = take_part(s, conn, in);
	if (rc == 0)
		answer_batch(s,
			     &(struct replica_wait){ .asker = conn->handle,
						     .request = in->header->id },
			     0);
	return rc < 0 ? rc : 0;
}

/* ---- what others ask ---- */

static int serve(struct storage *s, const struct conn *conn, const struct incoming *in,
		 struct replica_job *job)
{
	struct follow *follow = &s->follow;
	int rc;

	switch (follow->state) {
	case FOLLOW_OFF: return -ERR_UNSUPPORTED;
	case FOLLOW_OPENING: return -ERR_UNAVAILABLE;
	case FOLLOW_FAILED: return -ERR_IO;
	case FOLLOW_READY: break;
	}
	if (follow->readers >= READERS_MAX)
		return -ERR_BUSY;
	rc = storage_follow_submit(s, job, conn->handle, in->header->id);
	follow->readers += rc == 0;
	return rc;
}

int storage_on_pull(struct storage *s, struct conn *conn, const struct incoming *in)
{
	const struct pull_request *req = in->message.body;
	struct replica_job job = { .kind = REPLICA_PULL,
				   .point = { .sequence = req->sequence, .hash = req->hash },
				   .offset = (uint32_t)req->offset };

	return req->offset > BATCH_SIZE_MAX ? -ERR_RANGE : serve(s, conn, in, &job);
}

int storage_on_page(struct storage *s, struct conn *conn, const struct incoming *in)
{
	const struct page_request *req = in->message.body;
	struct replica_job job = { .kind = REPLICA_PAGE, .bytes = req->after };

	return serve(s, conn, in, &job);
}

/* Operations: started, followed, ended. */
#include "question.h"

#include <stdio.h>
#include <stdlib.h>

#include "error.h"
#include "path.h"
#include "text.h"

/* ---- lives ---- */

int op_alloc(struct muster *session, enum lib_op_kind kind, struct muster_then then,
	     struct muster_op **ret)
{
	struct muster_op *op = session->closing ? NULL : calloc(1, sizeof(*op));

	*ret = op;
	if (!op)
		return session->closing ? -ERR_CANCELLED : -ERR_NO_MEMORY;
	op->session = session;
	op->kind = kind;
	op->then = then;
	op->total = MUSTER_UNKNOWN;
	TAILQ_INSERT_TAIL(&session->ops, op, link);
	session->running++;
	return 0;
}

void op_free(struct muster_op *op)
{
	source_close(op->session, op);
	digest_stream_free(op->hash);
	file_unuse(op);
	append_free(op->append);
	free(op->kept);
	free(op->answer);
	free(op);
}

/* Nothing was started: as if it had never been. */
static int op_undo(struct muster *session, struct muster_op *op, int error)
{
	TAILQ_REMOVE(&session->ops, op, link);
	session->running--;
	op_free(op);
	return error;
}

void op_complete(struct muster *session, struct muster_op *op, int result)
{
	channels_forget(session, op);
	engine_forget(session, op);
	source_close(session, op);
	op->core = NULL;
	op->over = true;
	op->result = result;
	TAILQ_REMOVE(&session->ops, op, link);
	TAILQ_INSERT_TAIL(&session->done, op, link);
	engine_wake(session);
}

static void put_ended(struct muster_op *op, const struct client_action *action)
{
	const struct client_stored *stored = client_op_stored(action->op);

	if (action->error == -ERR_STALE)
		source_keep(op);
	if (action->error < 0)
		return;
	op->put = (struct muster_put_result){
		.size = stored->size,
		.inode = stored->commit.inode,
		.version = stored->commit.version,
		.copies = stored->commit.copies,
		.copies_wanted = stored->commit.copies_wanted,
	};
	/* Of the whole file, not of what was put behind something else. */
	if (stored->size == stored->added)
		memcpy(op->put.digest, stored->digest.bytes, sizeof(op->put.digest));
	op_progress(op, stored->added, true);
}

static void get_ended(struct muster_op *op, const struct client_action *action)
{
	entry_convert(client_op_entry(action->op), &op->get.entry);
	op->get.bytes = op->sink.at;
	if (action->error == 0)
		op_progress(op, op->sink.at, true);
}

void op_ended(struct muster *session, const struct client_action *action)
{
	struct muster_op *op = action->user;
	int result = action->error;

	op->result = result;
	op->degraded = action->flag;
	op->in_doubt = client_op_in_doubt(action->op);
	if (op->kind == LIB_PUT)
		put_ended(op, action);
	else if (op->kind == LIB_GET)
		get_ended(op, action);
	else if (op->kind == LIB_OPEN && result == 0)
		file_opened(op);
	else if (result == 0)
		result = answer_make(op, action->reply);
	if (action->error < 0)
		op_describe(session, op, client_op_culprit(action->op));
	op_complete(session, op, result);
}

int ops_deliver(struct muster *session)
{
	struct muster_op *op;
	int count = 0;

	while ((op = TAILQ_FIRST(&session->done)) != NULL) {
		TAILQ_REMOVE(&session->done, op, link);
		if (op->result < 0)
			memcpy(session->detail, op->detail, sizeof(session->detail));
		if (op->then.done)
			op->then.done(op->then.context, op, op->result);
		session->running--;
		op_free(op);
		count++;
	}
	return count;
}

/* ---- cancelling ---- */

void muster_cancel(struct muster_op *op)
{
	op->cancelled = -ERR_CANCELLED;
	op->session->cancels = true;
	engine_wake(op->session);
}

static void op_cancel(struct muster *session, struct muster_op *op)
{
	if (op->kind == LIB_GET)
		op->get.bytes = op->sink.at;
	if (op->append)
		append_stop(op);
	else
		client_cancel(session->core, op->core, engine_now(), &session->outbox);
	op_complete(session, op, op->cancelled);
	engine_act(session);
}

static struct muster_op *find_cancelled(struct muster *session)
{
	struct muster_op *op;

	TAILQ_FOREACH(op, &session->ops, link) {
		if (session->broken && !op->cancelled)
			op->cancelled = -ERR_NO_MEMORY;
		if (op->cancelled)
			return op;
	}
	return NULL;
}

void ops_cancel_due(struct muster *session)
{
	struct muster_op *op;

	if (!session->cancels && !session->broken)
		return;
	session->cancels = false;
	while ((op = find_cancelled(session)) != NULL)
		op_cancel(session, op);
}

void op_progress(struct muster_op *op, uint64_t done, bool end)
{
	uint64_t now_ms;

	if (!op->progress || op->cancelled)
		return;
	now_ms = engine_now();
	if (!end && now_ms - op->progress_ms < PROGRESS_MS)
		return;
	op->progress_ms = now_ms;
	done -= done < op->source.head_size ? done : op->source.head_size;
	if (op->progress(op->progress_context, done, op->total) != 0 && !end)
		muster_cancel(op);
}

/* ---- starting ---- */

int path_from(const char *path, struct slice *ret)
{
	if (!path)
		return -ERR_USAGE;
	*ret = slice_of(path);
	return path_check(*ret);
}

int op_started(struct muster *session, struct muster_op *op, struct client_op *core, int error)
{
	if (!core)
		return op_undo(session, op, error);
	op->core = core;
	engine_act(session);
	engine_wake(session);
	return 0;
}

struct client_start op_start(struct muster_op *op)
{
	return (struct client_start){ engine_now(), op, &op->session->outbox };
}

static int put_prepare(struct muster_op *op, const struct muster_put_args *args,
		       const struct put_base *base)
{
	int rc = source_open(&op->source, &args->source, &op->total);

	if (rc < 0)
		return rc;
	if (base) {
		op->source.head = base->head;
		op->source.head_size = base->head_size;
	}
	op->progress = args->progress;
	op->progress_context = args->progress_context;
	if (op->source.file && op->total + op->source.head_size <= COPY_MAX)
		return 0;
	op->hash = digest_stream_new();
	return op->hash ? 0 : -ERR_NO_MEMORY;
}

int put_start_at(struct muster *session, const struct muster_put_args *args,
		 const struct put_base *base, struct muster_then then, struct muster_op **ret)
{
	struct client_put put = {
		.copies = (uint8_t)args->copies,
		.replace = args->flags & MUSTER_REPLACE,
		.append = base != NULL,
		.rebase = base && base->head_size == 0,
		.base_inode = base ? base->inode : 0,
		.base_version = base ? base->version : 0,
		.base_size = base ? base->size : 0,
	};
	struct muster_op *op;
	struct client_start start;
	struct client_op *core;
	int rc = path_from(args->path, &put.path);

	if (rc == 0 && args->copies > COPIES_MAX)
		rc = -ERR_USAGE;
	if (rc == 0)
		rc = op_alloc(session, LIB_PUT, then, &op);
	if (rc < 0)
		return rc;
	rc = put_prepare(op, args, base);
	if (rc < 0)
		return op_undo(session, op, rc);
	put.size = op->total == MUSTER_UNKNOWN ? SIZE_UNKNOWN : op->source.head_size + op->total;
	put.rewindable = source_is_rewindable(&op->source);
	if (ret)
		*ret = op;
	start = op_start(op);
	core = client_put(session->core, &start, &put, &rc);
	return op_started(session, op, core, rc);
}

int muster_start_put(struct muster *session, const struct muster_put_args *args,
		     struct muster_then then, struct muster_op **ret)
{
	return put_start_at(session, args, NULL, then, ret);
}

int muster_start_get(struct muster *session, const struct muster_get_args *args,
		     struct muster_then then, struct muster_op **ret)
{
	struct client_get get = { .offset = args->offset, .length = args->length };
	struct muster_op *op;
	struct client_start start;
	struct client_op *core;
	int rc = path_from(args->path, &get.path);

	if (rc == 0)
		rc = op_alloc(session, LIB_GET, then, &op);
	if (rc < 0)
		return rc;
	sink_open(&op->sink, &args->sink);
	get.most = args->sink.data && !args->sink.write ? args->sink.size : UINT64_MAX;
	op->progress = args->progress;
	op->progress_context = args->progress_context;
	if (ret)
		*ret = op;
	start = op_start(op);
	core = client_get(session->core, &start, &get, &rc);
	return op_started(session, op, core, rc);
}

/* ---- results ---- */

const struct muster_put_result *muster_op_put(const struct muster_op *op)
{
	return op->kind == LIB_PUT ? &op->put : NULL;
}

const struct muster_get_result *muster_op_get(const struct muster_op *op)
{
	return op->kind == LIB_GET ? &op->get : NULL;
}

bool muster_op_degraded(const struct muster_op *op)
{
	return op->degraded;
}

const char *muster_op_detail(const struct muster_op *op)
{
	return op->detail;
}

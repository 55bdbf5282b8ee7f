/* Contents held open, and reads in them. */
#include "question.h"

#include <stdlib.h>

#include "error.h"
#include "path.h"

struct muster_file {
	struct muster *session;
	struct client_file *core;
	struct muster_entry entry;
	unsigned int users; /* operations */
	bool closed;        /* goes with the last of them */
};

static void file_free(struct muster_file *file)
{
	struct muster *session = file->session;

	client_file_free(session->core, file->core, engine_now(), &session->outbox);
	free(file);
	engine_act(session);
	engine_wake(session);
}

static void file_use(struct muster_file *file, struct muster_op *op)
{
	op->file = file;
	file->users++;
}

void file_unuse(struct muster_op *op)
{
	struct muster_file *file = op->file;

	op->file = NULL;
	if (file && --file->users == 0 && file->closed)
		file_free(file);
}

static struct muster_file *file_new(struct muster *session, struct slice path)
{
	struct muster_file *file = calloc(1, sizeof(*file));

	if (!file)
		return NULL;
	file->session = session;
	file->core = client_file_new(session->core, path);
	if (!file->core) {
		free(file);
		return NULL;
	}
	return file;
}

/* ---- opening ---- */

/* Until somebody takes it, it is closed with its operation. */
int file_open(struct muster *session, const char *path, bool tail, struct muster_then then,
	      struct muster_op **ret)
{
	struct client_get get = { .most = UINT64_MAX, .open_only = true, .tail = tail };
	struct client_start start;
	struct client_op *core;
	struct muster_file *file;
	struct muster_op *op;
	int rc = path_from(path, &get.path);

	if (rc == 0)
		rc = op_alloc(session, LIB_OPEN, then, &op);
	if (rc < 0)
		return rc;
	file = file_new(session, get.path);
	if (!file)
		return op_started(session, op, NULL, -ERR_NO_MEMORY);
	file->closed = true;
	file_use(file, op);
	path_split(get.path, &(struct slice){ 0 }, &get.path);
	text_convert(get.path, file->entry.name, sizeof(file->entry.name));
	if (ret)
		*ret = op;
	get.file = file->core;
	start = op_start(op);
	core = client_get(session->core, &start, &get, &rc);
	return op_started(session, op, core, rc);
}

void file_opened(struct muster_op *op)
{
	struct muster_file *file = op->file;
	char name[sizeof(file->entry.name)];

	memcpy(name, file->entry.name, sizeof(name));
	entry_convert(client_file_entry(file->core), &file->entry);
	memcpy(file->entry.name, name, sizeof(name));
}

int muster_start_open(struct muster *session, const char *path, struct muster_then then,
		      struct muster_op **ret)
{
	return file_open(session, path, false, then, ret);
}

struct muster_file *muster_op_take_file(struct muster_op *op)
{
	struct muster_file *file = op->file;

	if (op->kind != LIB_OPEN || !op->over || op->result < 0 || !file)
		return NULL;
	file->closed = false;
	file_unuse(op);
	return file;
}

struct opening {
	bool done;
	int result;
	struct muster_file *file;
};

static void opening_done(void *context, struct muster_op *op, int result)
{
	struct opening *opening = context;

	opening->done = true;
	opening->result = result;
	opening->file = muster_op_take_file(op);
}

int muster_file_open(struct muster *session, const char *path, struct muster_file **ret)
{
	struct opening opening = { 0 };
	struct muster_op *op;
	int rc = muster_start_open(session, path, (struct muster_then){ opening_done, &opening },
				   &op);

	*ret = NULL;
	if (rc < 0)
		return rc;
	op_wait(op, &opening.done);
	*ret = opening.file;
	return opening.result;
}

const struct muster_entry *muster_file_entry(const struct muster_file *file)
{
	return &file->entry;
}

uint64_t file_tail(const struct muster_file *file)
{
	return client_file_tail(file->core);
}

void muster_file_close(struct muster_file *file)
{
	struct muster_op *op;

	if (!file)
		return;
	TAILQ_FOREACH(op, &file->session->ops, link) {
		if (op->file == file)
			muster_cancel(op);
	}
	file->closed = true;
	if (file->users == 0)
		file_free(file);
}

/* ---- reading ---- */

int muster_start_read(struct muster_file *file, void *data, size_t size, uint64_t offset,
		      struct muster_then then, struct muster_op **ret)
{
	struct muster *session = file->session;
	uint64_t end = file->entry.size;
	struct client_get get = { .offset = offset, .most = UINT64_MAX, .file = file->core };
	struct client_start start;
	struct client_op *core;
	struct muster_op *op;
	int rc = op_alloc(session, LIB_GET, then, &op);

	if (rc < 0)
		return rc;
	file_use(file, op);
	op->get.entry = file->entry;
	if (ret)
		*ret = op;
	get.length = offset >= end ? 0 : size < end - offset ? size : end - offset;
	sink_open(&op->sink, &(struct muster_sink){ .fd = -1, .data = data, .size = get.length });
	if (get.length == 0) {
		op_complete(session, op, 0);
		return 0;
	}
	start = op_start(op);
	core = client_get(session->core, &start, &get, &rc);
	return op_started(session, op, core, rc);
}

size_t muster_op_read(const struct muster_op *op)
{
	return op->kind == LIB_GET ? (size_t)op->sink.at : 0;
}

struct reading {
	bool done;
	int result;
	size_t size;
};

static void reading_done(void *context, struct muster_op *op, int result)
{
	struct reading *reading = context;

	reading->done = true;
	reading->result = result;
	reading->size = muster_op_read(op);
}

int64_t muster_file_read(struct muster_file *file, void *data, size_t size, uint64_t offset)
{
	struct reading reading = { 0 };
	struct muster_op *op;
	int rc = muster_start_read(file, data, size, offset,
				   (struct muster_then){ reading_done, &reading }, &op);

	if (rc < 0)
		return rc;
	op_wait(op, &reading.done);
	return reading.result < 0 ? reading.result : (int64_t)reading.size;
}

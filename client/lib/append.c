/* Appends: the content is opened, its last chunk read if that is a small one, and what is new put
 * behind the chunks that stay. If somebody else was faster, all of that again. */
#include "engine.h"

#include <stdlib.h>

#include "error.h"

enum {
	TAIL_MAX = SMALL_CHUNK_MAX, /* a last chunk up to this is sent again */
	/* With a tail, so often. Then the tail stays what it is, and the put follows by itself. */
	TRIES_MAX = 8,
};

struct append {
	struct muster_op *op; /* the append as others see it */
	struct muster_op *part;
	char *path;
	struct muster_put_args args;
	struct muster_file *file;
	uint8_t *tail;
	uint8_t *kept; /* in the place of a stream */
	struct put_base base;
	unsigned int tries;
};

typedef void part_done_fn(struct append *append, struct muster_op *part, int result);

static void append_close(struct append *append)
{
	muster_file_close(append->file);
	append->file = NULL;
	free(append->tail);
	append->tail = NULL;
}

void append_free(struct append *append)
{
	if (!append)
		return;
	append_close(append);
	free(append->kept);
	free(append->path);
	free(append);
}

static void nobody(void *context, struct muster_op *op, int result)
{
	(void)context;
	(void)op;
	(void)result;
}

/* Its memory may go at once: a part that is cancelled reads nothing any more. */
void append_stop(struct muster_op *op)
{
	struct muster_op *part = op->append->part;

	if (!part)
		return;
	part->then = (struct muster_then){ nobody, NULL };
	muster_cancel(part);
}

static void append_end(struct append *append, const struct muster_op *part, int result)
{
	struct muster_op *op = append->op;

	append->part = NULL;
	if (result < 0 && part)
		memcpy(op->detail, part->detail, sizeof(op->detail));
	op_complete(op->session, op, result);
}

/* ---- the third part: the put ---- */

static int append_open(struct append *append);

static bool may_try_again(struct append *append, struct muster_op *put)
{
	if (put->kept) {
		append->args.source = (struct muster_source){
			.fd = -1,
			.data = put->kept + append->base.head_size,
			.size = put->kept_size - append->base.head_size,
		};
		free(append->kept);
		append->kept = put->kept;
		put->kept = NULL;
		return true;
	}
	return put->source.file;
}

static void on_stored(void *context, struct muster_op *put, int result)
{
	struct append *append = context;

	if (result == -ERR_STALE && append->base.head_size && may_try_again(append, put)) {
		append_close(append);
		result = append_open(append);
		if (result == 0)
			return;
	}
	append->op->put = put->put;
	append_end(append, put, result);
}

static int append_put(struct append *append)
{
	append->args.path = append->path;
	return put_start_at(append->op->session, &append->args, &append->base,
			    (struct muster_then){ on_stored, append }, &append->part);
}

/* ---- the second one: the tail ---- */

static void on_read(void *context, struct muster_op *read, int result)
{
	struct append *append = context;

	if (result == 0 && muster_op_read(read) != append->base.head_size)
		result = -ERR_CORRUPT;
	if (result == 0)
		result = append_put(append);
	if (result < 0)
		append_end(append, read, result);
}

static int append_read(struct append *append)
{
	append->tail = malloc(append->base.head_size);
	if (!append->tail)
		return -ERR_NO_MEMORY;
	append->base.head = append->tail;
	return muster_start_read(append->file, append->tail, append->base.head_size,
				 append->base.size, (struct muster_then){ on_read, append },
				 &append->part);
}

/* ---- the first one: what is there ---- */

static bool is_empty(const struct muster_source *source)
{
	return source->size == 0;
}

static void on_opened(void *context, struct muster_op *open, int result)
{
	struct append *append = context;
	const struct muster_entry *entry;
	uint64_t tail;

	if (result < 0) {
		append_end(append, open, result);
		return;
	}
	append->file = muster_op_take_file(open);
	entry = muster_file_entry(append->file);
	tail = file_tail(append->file);
	append->base = (struct put_base){ entry->inode, entry->version, entry->size, NULL, 0 };
	if (++append->tries <= TRIES_MAX && !is_empty(&append->args.source) && tail < entry->size &&
	    entry->size - tail <= TAIL_MAX && entry->size - tail < entry->chunk_size) {
		append->base.size = tail;
		append->base.head_size = (size_t)(entry->size - tail);
	}
	result = append->base.head_size ? append_read(append) : append_put(append);
	if (result < 0)
		append_end(append, NULL, result);
}

static int append_open(struct append *append)
{
	return file_open(append->op->session, append->path, true,
			 (struct muster_then){ on_opened, append }, &append->part);
}

/* ---- the whole ---- */

static struct append *append_new(const struct muster_put_args *args)
{
	struct append *append = calloc(1, sizeof(*append));

	if (!append)
		return NULL;
	append->args = *args;
	append->path = strdup(args->path);
	if (!append->path) {
		free(append);
		return NULL;
	}
	return append;
}

int muster_start_append(struct muster *session, const struct muster_put_args *args,
			struct muster_then then, struct muster_op **ret)
{
	struct append *append;
	struct muster_op *op;
	struct slice path;
	int rc = path_from(args->path, &path);

	if (rc == 0 && args->copies)
		rc = -ERR_USAGE;
	if (rc == 0)
		rc = op_alloc(session, LIB_PUT, then, &op);
	if (rc < 0)
		return rc;
	append = append_new(args);
	if (!append)
		return op_started(session, op, NULL, -ERR_NO_MEMORY);
	append->op = op;
	op->append = append;
	rc = append_open(append);
	if (rc < 0)
		return op_started(session, op, NULL, rc);
	if (ret)
		*ret = op;
	return 0;
}

struct appending {
	bool done;
	int result;
	struct muster_put_result *ret;
};

static void appending_done(void *context, struct muster_op *op, int result)
{
	struct appending *appending = context;

	appending->done = true;
	appending->result = result;
	if (appending->ret)
		*appending->ret = *muster_op_put(op);
}

int muster_append(struct muster *session, const struct muster_put_args *args,
		  struct muster_put_result *ret)
{
	struct appending appending = { .ret = ret };
	struct muster_op *op;
	int rc = muster_start_append(session, args,
				     (struct muster_then){ appending_done, &appending }, &op);

	if (rc < 0)
		return rc;
	op_wait(op, &appending.done);
	return appending.result;
}

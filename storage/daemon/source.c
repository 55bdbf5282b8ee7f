/* Where the bytes of a flow come from. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "error.h"
#include "hash.h"
#include "storage_daemon.h"

static struct source *source_new(struct daemon *daemon)
{
	struct source *source = calloc(1, sizeof(*source));

	if (!source)
		return NULL;
	source->daemon = daemon;
	source->references = 1;
	source->file = -1;
	return source;
}

/* The file is held by a descriptor of our own: the write ends with its commit, the flow later. */
int source_open_write(struct source *source, const struct store_write *write)
{
	int file = store_write_descriptor(write, &source->base);

	if (file < 0)
		return file;
	source->file = dup(file);
	return source->file < 0 ? error_from_errno(errno) : 0;
}

struct source *source_of_write(struct daemon *daemon, struct store_write *write, uint32_t transfer)
{
	struct source *source = source_new(daemon);

	if (!source)
		return NULL;
	source->write = write;
	source->transfer = transfer;
	HASH_ADD(hh, daemon->sources, transfer, sizeof(source->transfer), source);
	return source;
}

int source_of_reader(struct daemon *daemon, struct store_reader *reader, uint32_t end,
		     struct source **ret)
{
	struct source *source = source_new(daemon);
	struct chunk_meta meta;
	int rc;

	if (!source) {
		store_reader_close(daemon->store, reader);
		return -ERR_NO_MEMORY;
	}
	source->reader = reader;
	rc = store_reader_check(reader, &meta);
	if (rc == 0 && end > meta.length)
		rc = -ERR_RANGE;
	if (rc == 0)
		rc = store_reader_crcs(reader, 0, (uint32_t)block_count(end), source->crcs);
	if (rc == 0)
		rc = store_reader_descriptor(reader, &source->base);
	if (rc < 0) {
		source_release(source);
		return rc;
	}
	source->file = rc;
	atomic_init(&source->available, end);
	*ret = source;
	return 0;
}

struct source *source_find(struct daemon *daemon, uint32_t transfer)
{
	struct source *source;

	HASH_FIND(hh, daemon->sources, &transfer, sizeof(transfer), source);
	return source;
}

void source_retire(struct daemon *daemon, uint32_t transfer)
{
	struct source *source = daemon->sources ? source_find(daemon, transfer) : NULL;

	if (!source)
		return;
	HASH_DEL(daemon->sources, source);
	source->write = NULL;
	source_release(source);
}

void source_retire_write(struct daemon *daemon, const struct store_write *write)
{
	for (struct source *source = daemon->sources; source; source = source->hh.next) {
		if (source->write == write) {
			source_retire(daemon, source->transfer);
			return;
		}
	}
}

void source_release(struct source *source)
{
	if (--source->references)
		return;
	if (source->reader)
		store_reader_close(source->daemon->store, source->reader);
	else if (source->file >= 0)
		close(source->file);
	free(source);
}

#include "replica_memory.h"

#include "error.h"
#include "kv_memory.h"

static struct replica_memory *of(struct replica_rows *rows)
{
	return (struct replica_memory *)rows;
}

static int memory_open(struct replica_rows *rows, struct view_mark *ret)
{
	*ret = of(rows)->mark;
	return 0;
}

static void memory_close(struct replica_rows *rows)
{
	(void)rows;
}

static int memory_clear(struct replica_rows *rows, const struct view_mark *mark);

static int memory_drop(struct replica_rows *rows)
{
	return memory_clear(rows, &(struct view_mark){ 0 });
}

/* Does the disk take it? */
static int note(struct replica_memory *memory)
{
	int file, rc;

	if (!memory->disk)
		return 0;
	file = disk_open(memory->disk, "rows", DISK_CREATE);
	if (file < 0)
		return file;
	rc = disk_write(memory->disk, file, "rows", 4, 0);
	if (rc == 0)
		rc = disk_sync_file(memory->disk, file);
	disk_close(memory->disk, file);
	return rc;
}

static int memory_apply(struct replica_rows *rows, struct slice batches)
{
	struct replica_memory *memory = of(rows);
	int rc = note(memory);

	while (rc == 0 && batches.size > 0) {
		struct batch_head head;
		struct slice changes;
		struct digest hash;
		size_t size;

		if (batch_read(batches, &head, &changes, &size, &hash) != 1)
			return -ERR_CORRUPT;
		rc = kv_memory_apply(memory->kv, changes);
		memory->mark.head = (struct journal_head){ head.epoch, head.sequence, hash };
		batches = (struct slice){ batches.data + size, batches.size - size };
	}
	return rc;
}

static int memory_load(struct replica_rows *rows, struct slice changes,
		       const struct view_mark *mark)
{
	struct replica_memory *memory = of(rows);
	int rc = note(memory);

	if (rc == 0)
		rc = kv_memory_apply(memory->kv, changes);
	if (rc == 0)
		memory->mark = *mark;
	return rc;
}

static int memory_clear(struct replica_rows *rows, const struct view_mark *mark)
{
	struct replica_memory *memory = of(rows);
	struct kv *empty;
	int rc = note(memory);

	if (rc == 0)
		rc = kv_memory_new(&empty);
	if (rc < 0)
		return rc;
	kv_memory_free(memory->kv);
	memory->kv = empty;
	memory->mark = *mark;
	return 0;
}

static struct kv *memory_kv(struct replica_rows *rows)
{
	return of(rows)->kv;
}

int replica_memory_init(struct replica_memory *memory, struct disk *disk)
{
	static const struct replica_rows_ops ops = { memory_open,  memory_close, memory_drop,
						     memory_apply, memory_load,  memory_clear,
						     memory_kv };

	*memory = (struct replica_memory){ .rows = { &ops }, .disk = disk };
	return kv_memory_new(&memory->kv);
}

void replica_memory_done(struct replica_memory *memory)
{
	kv_memory_free(memory->kv);
	*memory = (struct replica_memory){ 0 };
}

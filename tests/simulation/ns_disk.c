/* A name server's directory: a journal on the simulated disk, rows in memory that never tear. It
 * may be lost, or be what it was a while ago. */
#include <stdlib.h>

#include "ns_host.h"
#include "replica_memory.h"

struct ns_snapshot {
	struct disk_sim *disk;
	struct replica_memory rows;
	struct id id;
};

void ns_rows_need(struct host *host)
{
	if (host->rows)
		return;
	host->rows = malloc(sizeof(*host->rows));
	if (!host->rows || replica_memory_init(host->rows, disk_sim_disk(host->disk)) < 0)
		abort();
}

static void change_add(struct buffer *changes, struct slice key, struct slice value)
{
	uint8_t head[CHANGE_PUT_SIZE] = { CHANGE_PUT };

	put_u16(head + 1, (uint16_t)key.size);
	put_u32(head + 3, (uint32_t)value.size);
	if (buffer_append(changes, head, sizeof(head)) < 0 ||
	    buffer_append(changes, key.data, key.size) < 0 ||
	    buffer_append(changes, value.data, value.size) < 0)
		abort();
}

static void rows_copy(struct kv *from, struct kv *to)
{
	uint8_t space[KV_KEY_SIZE_MAX + 1];
	struct slice key = slice_of(""), value;
	struct buffer changes = { 0 };

	while (kv_seek(from, key, &key, &value) == 0) {
		change_add(&changes, key, value);
		key = kv_after(key, space);
	}
	if (kv_memory_apply(to, (struct slice){ changes.data, changes.size }) < 0)
		abort();
	buffer_done(&changes);
}

static int replay(void *context, const struct batch_head *head, struct slice changes)
{
	(void)head;
	return kv_memory_apply(context, changes);
}

int ns_disk_load(struct host *host, struct kv **ret_kv, struct journal **ret_journal,
		 struct journal_head *ret_head)
{
	const struct journal_head *mark = &host->rows->mark.head;
	int rc = kv_memory_new(ret_kv);

	if (rc < 0)
		return rc;
	rows_copy(host->rows->kv, *ret_kv);
	rc = journal_open(disk_sim_disk(host->disk), mark->sequence, replay, *ret_kv, ret_journal);
	if (rc < 0)
		return rc;
	*ret_head = journal_head(*ret_journal);
	if (ret_head->sequence == 0)
		*ret_head = *mark;
	return ret_head->sequence < mark->sequence ? -ERR_CORRUPT : 0;
}

/* ---- what becomes of it ---- */

void ns_snapshot_free(struct ns_snapshot *snapshot)
{
	if (!snapshot)
		return;
	if (snapshot->disk)
		disk_free(disk_sim_disk(snapshot->disk));
	if (snapshot->rows.kv)
		replica_memory_done(&snapshot->rows);
	free(snapshot);
}

bool ns_snapshot_is_of(const struct ns_snapshot *snapshot, const struct host *host)
{
	return id_equal(&snapshot->id, &host->id);
}

struct ns_snapshot *ns_disk_copy(struct host *host)
{
	struct ns_snapshot *snapshot = calloc(1, sizeof(*snapshot));

	if (!snapshot)
		abort();
	ns_rows_need(host);
	snapshot->id = host->id;
	snapshot->disk = disk_sim_clone(host->disk);
	if (!snapshot->disk ||
	    replica_memory_init(&snapshot->rows, disk_sim_disk(snapshot->disk)) < 0)
		abort();
	disk_sim_crash(snapshot->disk, DISK_SIM_DROP_ALL, 1);
	rows_copy(host->rows->kv, snapshot->rows.kv);
	snapshot->rows.mark = host->rows->mark;
	return snapshot;
}

void ns_disk_keep(struct host *host)
{
	ns_snapshot_free(host->snapshot);
	host->snapshot = ns_disk_copy(host);
}

static void disk_drop(struct host *host)
{
	if (host->rows)
		replica_memory_done(host->rows);
	free(host->rows);
	host->rows = NULL;
	if (host->disk)
		disk_free(disk_sim_disk(host->disk));
	host->disk = NULL;
}

void ns_disk_put(struct host *host, struct ns_snapshot *snapshot)
{
	disk_drop(host);
	host->disk = snapshot->disk;
	host->rows = malloc(sizeof(*host->rows));
	if (!host->rows)
		abort();
	*host->rows = snapshot->rows;
	snapshot->disk = NULL;
	snapshot->rows.kv = NULL;
	ns_snapshot_free(snapshot);
}

bool ns_disk_restore(struct host *host)
{
	if (!host->snapshot || !ns_snapshot_is_of(host->snapshot, host))
		return false;
	ns_disk_put(host, host->snapshot);
	host->snapshot = NULL;
	host->restored = true;
	return true;
}

void ns_disk_lose(struct host *host)
{
	disk_drop(host);
	host->restored = false;
	host->disk = disk_sim_new(WORLD_DISK_CAPACITY);
	if (!host->disk)
		abort();
	host->id = world_id(host->world);
}

void ns_disk_done(struct host *host)
{
	ns_snapshot_free(host->snapshot);
	disk_drop(host);
}

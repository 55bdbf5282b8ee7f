#include "replica_view.h"

#include <stdlib.h>

#include "error.h"

struct replica_view {
	struct replica_rows rows; /* first */
	const char *path;
	struct disk *disk;
	struct view *view;
};

static struct replica_view *of(struct replica_rows *rows)
{
	return (struct replica_view *)rows;
}

/* LMDB syncs its files, not their names. */
static int rows_open(struct replica_rows *rows, struct view_mark *ret)
{
	struct replica_view *replica = of(rows);
	uint64_t applied;
	int rc = view_open(replica->path, &replica->view, &applied);

	if (rc < 0)
		return rc;
	*ret = view_mark(replica->view);
	rc = disk_sync_dir(replica->disk, "view");
	if (rc == 0)
		rc = disk_sync_dir(replica->disk, "");
	if (rc < 0) {
		view_close(replica->view);
		replica->view = NULL;
	}
	return rc;
}

static void rows_close(struct replica_rows *rows)
{
	view_close(of(rows)->view);
	of(rows)->view = NULL;
}

static int rows_drop(struct replica_rows *rows)
{
	struct replica_view *replica = of(rows);
	int rc = disk_unlink(replica->disk, "view/data.mdb");

	if (rc == 0 || rc == -ERR_NOT_FOUND)
		rc = disk_unlink(replica->disk, "view/lock.mdb");
	return rc == -ERR_NOT_FOUND ? 0 : rc;
}

static int renewed(struct replica_view *replica, int rc)
{
	return rc < 0 ? rc : view_renew(replica->view);
}

static int rows_apply(struct replica_rows *rows, struct slice batches)
{
	return renewed(of(rows), view_apply(of(rows)->view, batches));
}

static int rows_load(struct replica_rows *rows, struct slice changes, const struct view_mark *mark)
{
	return renewed(of(rows), view_load(of(rows)->view, changes, mark));
}

static int rows_clear(struct replica_rows *rows, const struct view_mark *mark)
{
	return renewed(of(rows), view_clear(of(rows)->view, mark));
}

static struct kv *rows_kv(struct replica_rows *rows)
{
	return view_kv(of(rows)->view);
}

int replica_view_new(const char *path, struct disk *disk, struct replica_rows **ret)
{
	static const struct replica_rows_ops ops = { rows_open, rows_close, rows_drop, rows_apply,
						     rows_load, rows_clear, rows_kv };
	struct replica_view *replica = calloc(1, sizeof(*replica));

	if (!replica)
		return -ERR_NO_MEMORY;
	*replica = (struct replica_view){ .rows = { &ops }, .path = path, .disk = disk };
	*ret = &replica->rows;
	return 0;
}

void replica_view_free(struct replica_rows *rows)
{
	free(rows);
}

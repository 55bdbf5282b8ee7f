/* DATA/scrub: how far the reading of all copies has come, for the next start. Nothing depends on
 * it: where it is damaged or missing, a pass begins anew. */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "error.h"
#include "hash.h"
#include "storage_daemon.h"

enum {
	VERSION = 1,
	KEEP_MS = 10 * 1000,          /* from one writing to the next, at least, */
	KEEP_MAX_MS = 10 * 60 * 1000, /* and at most, since time is kept, too */
	AT_VERSION = 8,
	AT_ENDED = 12,
	AT_CURSOR = 16,
	AT_ELAPSED = 24,
	AT_CHUNKS = 32,
	AT_BYTES = 40,
	AT_BAD = 48,
	AT_CRC = 56,
	SIZE = 60,
};

static const char magic[8] = "MusterSC";
#define NAME     "scrub"
#define NAME_NEW "scrub.new"

struct keeping {
	uv_work_t work;
	struct daemon *daemon;
	struct scrub_state state;
};

static void encode(const struct scrub_state *state, uint8_t ret[SIZE])
{
	memcpy(ret, magic, sizeof(magic));
	put_u32(ret + AT_VERSION, VERSION);
	put_u32(ret + AT_ENDED, state->ended);
	put_u64(ret + AT_CURSOR, state->cursor);
	put_u64(ret + AT_ELAPSED, state->elapsed_ms);
	put_u64(ret + AT_CHUNKS, state->chunks);
	put_u64(ret + AT_BYTES, state->bytes);
	put_u64(ret + AT_BAD, state->bad);
	put_u32(ret + AT_CRC, crc32c(ret, AT_CRC));
}

static bool decode(const uint8_t from[SIZE], struct scrub_state *ret)
{
	if (memcmp(from, magic, sizeof(magic)) != 0 || get_u32(from + AT_VERSION) != VERSION ||
	    get_u32(from + AT_CRC) != crc32c(from, AT_CRC))
		return false;
	ret->ended = get_u32(from + AT_ENDED) != 0;
	ret->cursor = get_u64(from + AT_CURSOR);
	ret->elapsed_ms = get_u64(from + AT_ELAPSED);
	ret->chunks = get_u64(from + AT_CHUNKS);
	ret->bytes = get_u64(from + AT_BYTES);
	ret->bad = get_u64(from + AT_BAD);
	return true;
}

void scrub_load(struct daemon *daemon, struct scrub_state *ret)
{
	uint8_t bytes[SIZE];
	int file = disk_open(daemon->disk, NAME, DISK_READ_ONLY);
	int64_t got;

	*ret = (struct scrub_state){ 0 };
	if (file < 0)
		return;
	got = disk_read(daemon->disk, file, bytes, SIZE, 0);
	disk_close(daemon->disk, file);
	if (got == SIZE && decode(bytes, ret))
		daemon->scrub = *ret;
}

void scrub_write(struct disk *disk, const struct scrub_state *state)
{
	uint8_t bytes[SIZE] = { 0 };
	int file = disk_open(disk, NAME_NEW, DISK_CREATE);
	int rc;

	if (file < 0)
		return;
	encode(state, bytes);
	rc = disk_write(disk, file, bytes, SIZE, 0);
	if (rc == 0)
		rc = disk_sync_file(disk, file);
	disk_close(disk, file);
	if (rc == 0)
		disk_rename(disk, NAME_NEW, NAME);
}

static void keep_run(uv_work_t *work)
{
	struct keeping *keeping = work->data;

	scrub_write(keeping->daemon->disk, &keeping->state);
}

static void keep_done(uv_work_t *work, int status)
{
	struct keeping *keeping = work->data;

	(void)status;
	keeping->daemon->scrub_writing = false;
	free(keeping);
}

static bool has_moved(const struct scrub_state *from, const struct scrub_state *to)
{
	return to->cursor != from->cursor || to->ended != from->ended ||
	       to->elapsed_ms >= from->elapsed_ms + KEEP_MAX_MS;
}

/* What cannot be written down now is written down later. */
void scrub_keep(struct daemon *daemon)
{
	struct keeping *keeping;
	struct scrub_state state;

	storage_scrub(daemon->core, &state);
	if (daemon->scrub_writing || clock_monotonic_ms() < daemon->scrub_ms ||
	    !has_moved(&daemon->scrub, &state))
		return;
	keeping = calloc(1, sizeof(*keeping));
	if (!keeping)
		return;
	*keeping = (struct keeping){ .daemon = daemon, .state = state };
	keeping->work.data = keeping;
	if (uv_queue_work(&daemon->loop, &keeping->work, keep_run, keep_done) < 0) {
		free(keeping);
		return;
	}
	daemon->scrub_writing = true;
	daemon->scrub = state;
	daemon->scrub_ms = clock_monotonic_ms() + KEEP_MS;
}

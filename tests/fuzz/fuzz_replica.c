/* A copy of the catalogue that is given any batches and pages, sound on the outside: what it takes
 * follows, what it gives can be read, and what it answers clients is a frame, whatever its rows
 * are. What is on its disk it opens again, also where that is damaged. */
#include <stdlib.h>

#include "disk_sim.h"
#include "error.h"
#include "kv_memory.h"
#include "message_drawn.h"
#include "pages.h"
#include "storage_desk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS_MAX = 100, CHANGES_MAX = 16, DISK_SIZE = 64 * 1024 * 1024, KEY_MAX = 300 };

struct copy {
	struct disk_sim *sim;
	struct replica_memory rows;
	struct replica *replica;
	struct journal_head head;
	struct draw draw;
	struct arena arena;
	struct buffer bytes;
	bool failing;
};

static void check(bool condition)
{
	if (!condition)
		abort();
}

/* ---- what it is given ---- */

static const char *const keys[] = {
	"scluster", "scluster-name", "sjournal-set", "sroot", "sepoch", "m", "i", "c", "d", "n", "z"
};

/* A key of the catalogue's own, or one that begins like it. */
static struct slice draw_key(struct copy *copy)
{
	const char *known = keys[draw_byte(&copy->draw) % ARRAY_SIZE(keys)];
	struct slice rest = draw_word(&copy->draw, KEY_MAX - 32);
	uint8_t *key = arena_alloc(&copy->arena, KEY_MAX);
	size_t size = strlen(known);

	check(key != NULL);
	memcpy(key, known, size);
	if (rest.size > 0)
		memcpy(key + size, rest.data, rest.size);
	return (struct slice){ key, size + rest.size };
}

/* One of the rows that there are, changed a little. */
static void change_row(struct copy *copy, struct kv *kv)
{
	struct slice key = draw_key(copy), value;
	uint8_t *row;
	uint8_t kind = draw_byte(&copy->draw);

	if (kv_seek(copy->rows.kv, key, &key, &value) < 0)
		return;
	row = arena_alloc(&copy->arena, value.size + 1);
	check(row != NULL);
	if (value.size > 0)
		memcpy(row, value.data, value.size);
	row[draw_number(&copy->draw, value.size)] ^= draw_byte(&copy->draw);
	value = (struct slice){ row, value.size - (kind % 8 == 0 && value.size > 0) };
	if (kind == UINT8_MAX)
		(void)kv_remove(kv, key);
	else
		check(kv_put(kv, key, value) == 0);
}

static void add_row(struct copy *copy, struct kv *kv)
{
	struct slice key = draw_key(copy);

	check(kv_put(kv, key, draw_word(&copy->draw, 4096)) == 0);
}

static struct kv *draw_rows(struct copy *copy)
{
	unsigned int count = 1 + draw_byte(&copy->draw) % CHANGES_MAX;
	struct kv *kv;

	check(kv_memory_new(&kv) == 0);
	for (unsigned int i = 0; i < count; i++)
		(draw_byte(&copy->draw) % 4 ? change_row : add_row)(copy, kv);
	return kv;
}

/* ---- jobs ---- */

static int run(struct copy *copy, const struct replica_job *job, struct replica_result *ret)
{
	replica_run(copy->replica, job, ret);
	check(ret->kind == job->kind);
	if (ret->error == 0)
		copy->head = ret->head.last;
	return ret->error;
}

static void append(struct copy *copy)
{
	uint8_t kind = draw_byte(&copy->draw);
	struct batch_head head = { .epoch = copy->head.epoch + kind % 2,
				   .sequence = copy->head.sequence + 1,
				   .previous = copy->head.hash };
	struct journal_head before = copy->head;
	struct kv *kv = draw_rows(copy);
	struct replica_result result;
	struct digest hash;
	int rc;

	if (kind > 250)
		head.sequence = draw_number(&copy->draw, UINT64_MAX);
	if (kind == 250)
		head.previous.bytes[0]++;
	if (batch_seal(kv, &head, &copy->bytes, &hash) > 0) {
		rc = run(copy,
			 &(struct replica_job){ .kind = REPLICA_APPEND,
						.bytes = { copy->bytes.data, copy->bytes.size } },
			 &result);
		check(rc != 0 ||
		      (before.sequence + 1 == head.sequence &&
		       digest_equal(&result.head.last.hash, &hash)) ||
		      copy->rows.mark.building || before.sequence == 0);
	}
	kv_memory_free(kv);
}

static void load(struct copy *copy)
{
	struct replica_job job = { .kind = REPLICA_LOAD, .more = draw_byte(&copy->draw) % 2 };
	struct kv *kv = draw_rows(copy);
	struct replica_result result;
	struct slice changes = { kv->batch.data, kv->batch.size };

	job.point = (struct journal_head){ draw_number(&copy->draw, UINT64_MAX),
					   draw_number(&copy->draw, UINT64_MAX),
					   { { draw_byte(&copy->draw) } } };
	check(kv_memory_apply(kv, changes) == 0);
	if (draw_byte(&copy->draw) % 8)
		check(page_read(kv, (struct slice){ 0 }, CATALOGUE_PART_MAX, &copy->bytes) >= 0);
	else
		(void)buffer_append(&copy->bytes, changes.data, changes.size);
	job.bytes = (struct slice){ copy->bytes.data, copy->bytes.size };
	(void)run(copy, &job, &result);
	kv_memory_free(kv);
}

static void give(struct copy *copy, enum replica_job_kind kind)
{
	struct replica_job job = { .kind = kind,
				   .offset = (uint32_t)draw_number(&copy->draw, UINT32_MAX) };
	struct replica_result result;
	struct slice last;

	job.point = copy->head;
	job.point.sequence -= draw_byte(&copy->draw) % 4;
	if (kind == REPLICA_PAGE)
		job.bytes = draw_key(copy);
	if (run(copy, &job, &result) == 0 && kind == REPLICA_PAGE)
		check(page_check(result.bytes, job.bytes, &last) == 0);
}

/* Whatever comes out can be read by a client. */
static void ask(struct copy *copy)
{
	static const uint16_t codes[] = { MSG_stat, MSG_list, MSG_open };
	uint8_t kind = draw_byte(&copy->draw);
	const struct message_info *info =
		kind < 240 ? message_info(codes[kind % ARRAY_SIZE(codes)]) : draw_info(&copy->draw);
	struct message message = draw_message(&copy->draw, info, false);
	struct replica_job job = { .kind = REPLICA_ASK, .local = kind % 2 };
	struct replica_result result;
	struct frame_header header;
	size_t size;

	if (!draw_frame(&message, &copy->bytes, &header))
		return;
	job.bytes = (struct slice){ copy->bytes.data, copy->bytes.size };
	if (run(copy, &job, &result) < 0)
		return;
	check(frame_next(result.bytes.data, result.bytes.size, &header, &size) == 1);
	check(size == result.bytes.size && header.reply && header.id == message.id);
	check(message_decode(&header, result.bytes.data + FRAME_HEADER_SIZE, &copy->arena,
			     &message) == 0);
}

static void look(struct copy *copy, enum replica_job_kind kind)
{
	struct replica_result result;

	(void)run(copy, &(struct replica_job){ .kind = kind }, &result);
	check(result.facts.set.now.count <= JOURNAL_SET_MAX);
	check(result.facts.set.before.count <= JOURNAL_SET_MAX);
	check(result.peer_count <= NODES_MAX);
}

/* ---- its disk ---- */

static void journal_flip(void *context, const char *path, uint64_t size)
{
	struct copy *copy = context;

	if (size > 0 && strncmp(path, "journal/", 8) == 0)
		check(disk_sim_flip(copy->sim, path, draw_number(&copy->draw, UINT32_MAX) % size,
				    1) == 0);
}

static void start(struct copy *copy)
{
	check(replica_new(disk_sim_disk(copy->sim), &copy->rows.rows, &replica_limits,
			  &copy->replica) == 0);
	look(copy, REPLICA_OPEN);
}

static void crash(struct copy *copy)
{
	uint8_t kind = draw_byte(&copy->draw);

	replica_free(copy->replica);
	disk_sim_crash(copy->sim, (enum disk_sim_crash_mode)(kind % DISK_SIM_CRASH_MODES), kind);
	if (kind > 200)
		disk_sim_each_file(copy->sim, journal_flip, copy);
	start(copy);
}

static void disk_fails(struct copy *copy)
{
	copy->failing = !copy->failing;
	disk_sim_fail(copy->sim,
		      &(struct disk_sim_fault){ .kinds = DISK_SIM_EVERY,
						.nth = copy->failing ? draw_byte(&copy->draw) : 0,
						.error = -ERR_LOCAL_FULL });
}

static void happen(struct copy *copy)
{
	buffer_clear(&copy->bytes);
	switch (draw_byte(&copy->draw) % 16) {
	case 0: look(copy, REPLICA_BEGIN); break;
	case 1:
	case 2: load(copy); break;
	case 3: give(copy, REPLICA_PULL); break;
	case 4: give(copy, REPLICA_PAGE); break;
	case 5: look(copy, REPLICA_LOOK); break;
	case 6: crash(copy); break;
	case 7: disk_fails(copy); break;
	case 8: look(copy, REPLICA_OPEN); break;
	case 9:
	case 10:
	case 11:
	case 12: append(copy); break;
	default: ask(copy);
	}
	arena_reset(&copy->arena);
}

/* A sound catalogue to begin with. */
static void fill(struct copy *copy)
{
	struct batch_head head = { .epoch = 1, .sequence = 1 };
	struct replica_result result;
	struct digest hash;
	struct kv *kv;

	check(kv_memory_new(&kv) == 0);
	desk_catalogue(kv);
	check(batch_seal(kv, &head, &copy->bytes, &hash) > 0);
	kv_memory_free(kv);
	check(run(copy,
		  &(struct replica_job){ .kind = REPLICA_APPEND,
					 .bytes = { copy->bytes.data, copy->bytes.size } },
		  &result) == 0);
	look(copy, REPLICA_LOOK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct slice words[] = { { (const uint8_t *)"/", 1 },
					      { (const uint8_t *)"/a", 2 },
					      { (const uint8_t *)"\0\0\0\0\0\0\0\1a", 9 },
					      { (const uint8_t *)"\0\0\0\0\0\0\0\1", 8 },
					      { NULL, 0 } };
	static const struct id ids[] = { { { 0 } }, { { 1 } } };
	struct copy copy = { .sim = disk_sim_new(DISK_SIZE) };

	copy.draw = (struct draw){ .rest = { data, size },
				   .arena = &copy.arena,
				   .ids = ids,
				   .id_count = ARRAY_SIZE(ids),
				   .words = words,
				   .word_count = ARRAY_SIZE(words) };
	check(copy.sim && replica_memory_init(&copy.rows, NULL) == 0);
	start(&copy);
	fill(&copy);
	for (int i = 0; i < STEPS_MAX && !draw_is_over(&copy.draw); i++)
		happen(&copy);
	replica_free(copy.replica);
	replica_memory_done(&copy.rows);
	disk_free(disk_sim_disk(copy.sim));
	buffer_done(&copy.bytes);
	arena_done(&copy.arena);
	return 0;
}

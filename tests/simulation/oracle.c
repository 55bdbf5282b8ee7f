/* What must be true, looked at from outside. */
#include <stdlib.h>

#include "catalogue.h"
#include "pages.h"
#include "store.h"
#include "world.h"

enum {
	CHECKS_MAX = 30,
	CHECK_PERCENT = 30,
	LEAK_PATIENCE_S = 240,
	COPIES_PATIENCE_S = 120,
	CATALOGUE_PATIENCE_S = 30,
	SERVICE_PATIENCE_S = 60,
};

bool number_set_add(struct number_set *set, uint64_t number)
{
	size_t at = set->count;

	while (at > 0 && set->slots[at - 1] > number)
		at--;
	if (at > 0 && set->slots[at - 1] == number)
		return false;
	if (set->count == set->capacity) {
		set->capacity = set->capacity ? 2 * set->capacity : 256;
		set->slots = realloc(set->slots, set->capacity * sizeof(*set->slots));
		if (!set->slots)
			abort();
	}
	memmove(&set->slots[at + 1], &set->slots[at], (set->count - at) * sizeof(*set->slots));
	set->slots[at] = number;
	set->count++;
	return true;
}

/* ---- what would be left if the power failed now ---- */

static bool holds(struct store *store, const struct chunk_row *row)
{
	struct store_reader *reader;
	struct chunk_meta meta;
	int rc;

	if (store_reader_open(store, row->chunk, &reader) < 0)
		return false;
	rc = store_reader_check(reader, &meta);
	store_reader_close(store, reader);
	return rc == 0 && meta.length == row->length && digest_equal(&meta.digest, &row->digest);
}

/* Adds 1 to the count of each chunk that this disk would still hold. */
static void count_durable(struct host *host, const struct chunk_row *rows, unsigned int count,
			  unsigned int *held)
{
	struct disk_sim *clone = disk_sim_clone(host->disk);
	struct store_options options = { .node = host->id, .disk = host->disk_id };
	struct store_report report;
	struct store *store;
	char message[256];

	if (!clone)
		abort();
	disk_sim_crash(clone, DISK_SIM_DROP_ALL, 1);
	if (store_open(disk_sim_disk(clone), &options, &store, &report, message) == 0) {
		for (unsigned int i = 0; i < count; i++)
			held[i] += holds(store, &rows[i]);
		store_abandon(store);
	}
	disk_free(disk_sim_disk(clone));
}

void oracle_put_acknowledged(struct world *w, uint64_t inode, unsigned int copies)
{
	struct kv *kv = ns_host_kv(world_nameserver(w));
	unsigned int wanted = copies < 2 ? copies : 2, held[64] = { 0 }, count = 0;
	struct chunk_row rows[64];
	uint64_t end = 0;

	if (copies == 0)
		world_fail(w, "a put was acknowledged without any copy");
	if (!kv || w->checks >= CHECKS_MAX || !world_chance(w, CHECK_PERCENT))
		return;
	w->checks++;
	while (count < 64 && catalogue_chunk_at(kv, inode, end, &rows[count]) == 0)
		end = rows[count++].end;
	if (count == 0)
		return;
	for (unsigned int i = 0; i < w->storage_count; i++)
		count_durable(world_storage(w, i), rows, count, held);
	for (unsigned int i = 0; i < count; i++) {
		if (held[i] < wanted)
			world_fail(w,
				   "chunk %llx of an acknowledged put is durable on %u disks, "
				   "%u were promised",
				   (unsigned long long)rows[i].chunk, held[i], wanted);
	}
}

/* ---- after everything has healed ---- */

static bool all_registered(struct world *w)
{
	struct ns_figures figures = ns_host_figures(world_nameserver(w));

	for (unsigned int i = 0; i < w->storage_count; i++) {
		if (storage_host_epoch(world_storage(w, i)) != figures.epoch)
			return false;
	}
	return figures.serving;
}

void oracle_registered(struct world *w)
{
	uint64_t end_us = w->now_us + SERVICE_PATIENCE_S * (uint64_t)SECOND;

	while (!all_registered(w) && w->now_us < end_us && !w->result.failed)
		world_run_until(w, w->now_us + 200 * MS);
	if (!all_registered(w))
		world_fail(w, "not all storage servers are back %d s after everything healed",
			   SERVICE_PATIENCE_S);
}

static bool set_is_full(struct world *w)
{
	unsigned int wanted =
		w->storage_count < JOURNAL_SET_MAX ? w->storage_count : JOURNAL_SET_MAX;

	return ns_host_set_size(world_nameserver(w)) == wanted;
}

void oracle_journal_set(struct world *w)
{
	uint64_t end_us = w->now_us + SERVICE_PATIENCE_S * (uint64_t)SECOND;

	while (!set_is_full(w) && w->now_us < end_us && !w->result.failed)
		world_run_until(w, w->now_us + 200 * MS);
	if (!set_is_full(w))
		world_fail(w, "the journal set has %u of %u storage servers %d s after the faults",
			   ns_host_set_size(world_nameserver(w)), w->storage_count,
			   SERVICE_PATIENCE_S);
}

/* A chunk of which the catalogue knows nothing; 0: none. */
static uint64_t unknown_chunk(struct world *w, const struct host *host, struct kv *kv)
{
	uint64_t chunks[64], inode, end, after = 0;
	size_t count;

	(void)w;
	while ((count = storage_host_list(host, after, chunks, 64)) > 0) {
		for (size_t i = 0; i < count; i++) {
			if (chunk_owner(kv, chunks[i], 0, &inode, &end) < 0)
				return chunks[i];
		}
		after = chunks[count - 1];
	}
	return 0;
}

static const struct host *leaking(struct world *w, uint64_t *ret)
{
	struct kv *kv = ns_host_kv(world_nameserver(w));

	for (unsigned int i = 0; kv && i < w->storage_count; i++) {
		*ret = unknown_chunk(w, world_storage(w, i), kv);
		if (*ret)
			return world_storage(w, i);
	}
	return NULL;
}

static unsigned int transfers(struct world *w)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < w->storage_count; i++)
		count += storage_host_transfers(world_storage(w, i));
	return count;
}

static bool anything_left(struct world *w)
{
	uint64_t chunk;

	return leaking(w, &chunk) || transfers(w) || ns_host_figures(world_nameserver(w)).leases;
}

/* ---- copies ---- */

/* The most that a file which has the chunk wants. */
static unsigned int copies_wanted(struct kv *kv, uint64_t chunk)
{
	uint64_t inode = 0, end;
	unsigned int wanted = 0;

	while (chunk_owner(kv, chunk, inode, &inode, &end) == 0) {
		struct inode file;

		if (inode_get(kv, inode, &file) < 0)
			continue;
		if (file.copies == 0)
			file.copies = COPIES_DEFAULT;
		wanted = file.copies > wanted ? file.copies : wanted;
	}
	return wanted;
}

struct miscount {
	uint64_t chunk;
	unsigned int held, wanted;
};

/* The first chunk with too few sound copies, or (`exactly`) with too many. */
static bool miscounted(struct world *w, bool exactly, struct miscount *ret)
{
	struct kv *kv = ns_host_kv(world_nameserver(w));

	*ret = (struct miscount){ 0 };
	while (kv && chunk_next(kv, ret->chunk, &ret->chunk) == 0) {
		struct chunk_row row;

		/* Readers may hold what only waits to be deleted. */
		if (!exactly && chunk_is_garbage(kv, ret->chunk) == 1)
			continue;
		if (chunk_find(kv, ret->chunk, &row) < 0)
			return true;
		ret->wanted = copies_wanted(kv, ret->chunk);
		if (ret->wanted > w->storage_count)
			ret->wanted = w->storage_count;
		ret->held = 0;
		for (unsigned int i = 0; i < w->storage_count; i++)
			ret->held += storage_host_has(world_storage(w, i), &row);
		if (ret->held < ret->wanted || (exactly && ret->held > ret->wanted))
			return true;
	}
	return !kv;
}

/* Who has it, and how many the name server believes in. */
static void copies_trace(struct world *w, uint64_t chunk)
{
	struct kv *kv = ns_host_kv(world_nameserver(w));
	struct holders holders = { 0 };
	struct chunk_row row = { 0 };

	if (!kv || chunk_find(kv, chunk, &row) < 0)
		return;
	holders_get(kv, chunk, &holders);
	for (unsigned int i = 0; i < holders.count; i++)
		world_trace(w, "chunk %llx: on the books of number %u", (unsigned long long)chunk,
			    holders.numbers[i]);
	for (unsigned int i = 0; i < w->storage_count; i++)
		world_trace(w, "chunk %llx: %s %s", (unsigned long long)chunk,
			    world_storage(w, i)->name,
			    storage_host_has(world_storage(w, i), &row) ? "has it" : "has it not");
}

void oracle_copies(struct world *w, bool exactly)
{
	uint64_t end_us = w->now_us + COPIES_PATIENCE_S * (uint64_t)SECOND;
	struct miscount found;

	while (miscounted(w, exactly, &found) && w->now_us < end_us && !w->result.failed)
		world_run_until(w, w->now_us + SECOND);
	if (!miscounted(w, exactly, &found))
		return;
	copies_trace(w, found.chunk);
	world_fail(w, "chunk %llx has %u sound copies %d s after the faults, not %u",
		   (unsigned long long)found.chunk, found.held, COPIES_PATIENCE_S, found.wanted);
}

/* Sound copies of a chunk on the other servers' disks, whether these are up or not. */
static unsigned int held_elsewhere(struct world *w, const struct host *host,
				   const struct chunk_row *row)
{
	unsigned int held = 0;

	for (unsigned int i = 0; i < w->storage_count; i++) {
		struct host *other = world_storage(w, i);

		if (other == host)
			continue;
		if (other->process)
			held += storage_host_has(other, row);
		else
			count_durable(other, row, 1, &held);
	}
	return held;
}

void oracle_removed(struct world *w, const struct host *host, uint64_t chunk)
{
	struct kv *kv = ns_host_kv(world_nameserver(w));
	struct chunk_row row;
	unsigned int wanted, held;

	if (!kv || chunk_is_garbage(kv, chunk) == 1 || chunk_find(kv, chunk, &row) < 0 ||
	    !storage_host_has(host, &row))
		return;
	w->result.tallies[TALLY_DELETED]++;
	wanted = copies_wanted(kv, chunk);
	held = held_elsewhere(w, host, &row);
	if (held < wanted)
		world_fail(w, "%s deletes chunk %llx, of which the others have %u copies, not %u",
			   host->name, (unsigned long long)chunk, held, wanted);
}

void oracle_no_leaks(struct world *w)
{
	uint64_t end_us = w->now_us + LEAK_PATIENCE_S * (uint64_t)SECOND, chunk = 0;
	const struct host *host;

	while (anything_left(w) && w->now_us < end_us && !w->result.failed)
		world_run_until(w, w->now_us + SECOND);
	host = leaking(w, &chunk);
	if (host)
		world_fail(w, "%s still keeps chunk %llx, of no file, %d s after the clients went",
			   host->name, (unsigned long long)chunk, LEAK_PATIENCE_S);
	if (anything_left(w))
		world_fail(w, "%u leases and %u transfers are left %d s after the clients went",
			   ns_host_figures(world_nameserver(w)).leases, transfers(w),
			   LEAK_PATIENCE_S);
}

/* ---- copies of the catalogue ---- */

static bool head_equal(const struct journal_head *a, const struct journal_head *b)
{
	return a->epoch == b->epoch && a->sequence == b->sequence &&
	       digest_equal(&a->hash, &b->hash);
}

static bool is_level(struct world *w, const struct host *host)
{
	struct journal_head head = ns_host_head(world_nameserver(w));
	struct replica_head copy = storage_host_catalogue(host);

	return head.sequence > 0 && copy.whole && head_equal(&copy.last, &head) &&
	       head_equal(&host->rows->mark.head, &head);
}

static bool are_level(struct world *w)
{
	for (unsigned int i = 0; i < w->storage_count; i++) {
		if (!is_level(w, world_storage(w, i)))
			return false;
	}
	return true;
}

static void rows_compare(struct world *w, const struct host *host)
{
	struct kv *kv = ns_host_kv(world_nameserver(w));
	struct digest mine, wanted;

	if (rows_digest(kv, &wanted) < 0 || rows_digest(host->rows->kv, &mine) < 0)
		abort();
	if (!digest_equal(&mine, &wanted))
		world_fail(w, "%s has another catalogue at batch %llu", host->name,
			   (unsigned long long)host->rows->mark.head.sequence);
}

void oracle_catalogues(struct world *w)
{
	uint64_t end_us = w->now_us + CATALOGUE_PATIENCE_S * (uint64_t)SECOND;

	while (!are_level(w) && w->now_us < end_us && !w->result.failed)
		world_run_until(w, w->now_us + 50 * MS);
	for (unsigned int i = 0; i < w->storage_count && !w->result.failed; i++) {
		if (!is_level(w, world_storage(w, i)))
			world_fail(w,
				   "%s lacks batches of the catalogue %d s after the faults: "
				   "%llu of %llu",
				   world_storage(w, i)->name, CATALOGUE_PATIENCE_S,
				   (unsigned long long)storage_host_catalogue(world_storage(w, i))
					   .last.sequence,
				   (unsigned long long)ns_host_head(world_nameserver(w)).sequence);
		else
			rows_compare(w, world_storage(w, i));
	}
}

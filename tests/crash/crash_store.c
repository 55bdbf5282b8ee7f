/* Cuts the power of a store at every step of random workloads and looks at what is left.
 *
 *   crash_store [--images N] [--flips N] [--seed S] [--sabotage sync-file|sync-dir|write]
 *
 * Every acknowledged chunk must be there byte for byte, one that was not acknowledged absent or
 * exact, and opening must never fail; so again after a second cut during recovery. Then failures
 * of every single disk call, flipped bits, and blocks that went to a wrong place or never arrived.
 * With --sabotage the disk lies, and the run succeeds only if that is noticed. The last line
 * counts: `N passed, N failed`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash_model.h"
#include "error.h"

enum { DISK_SIZE = 64 * 1024 * 1024, OPERATIONS = 14, COMPLAINTS_MAX = 5, FAULT_SEEDS = 8 };

struct harness {
	uint64_t images_wanted, flips_wanted;
	uint64_t images, double_images, faults, flips, blocks;
	uint64_t checks, failures;
	uint64_t seed; /* of the workload that runs */
	struct model model;
	struct prng prng;
	bool sabotaged;
	struct disk_sim_fault lie;
};

static void complain(struct harness *harness, const char *what, const char *detail)
{
	harness->failures++;
	if (harness->failures <= COMPLAINTS_MAX && !harness->sabotaged)
		fprintf(stderr, "seed %llu: %s: %s\n", (unsigned long long)harness->seed, what,
			detail);
}

/* Opens what is left and compares. The store is given back open, or NULL. */
static struct store *image_open(struct harness *harness, struct disk_sim *sim, const char *what)
{
	struct model model = harness->model;
	struct store_report report;
	struct store *store = NULL;
	const char *wrong = NULL;
	int rc = model_open(&model, disk_sim_disk(sim), &store, &report);

	harness->checks++;
	if (rc < 0)
		wrong = rc == -ERR_STALE ? "the generation went back" : error_name(rc);
	else if (report.quarantined && !model.lenient)
		wrong = "a crash was taken for corruption";
	else
		wrong = model_check(&model, store);
	if (wrong)
		complain(harness, what, wrong);
	if (rc < 0 && store)
		store_abandon(store);
	return rc < 0 ? NULL : store;
}

/* What was opened once must survive the next power cut as it was shown. */
static void image_again(struct harness *harness, struct disk_sim *sim, struct store *store)
{
	struct model *model = &harness->model;
	struct model before = *model;

	for (size_t i = 0; i < model->count; i++)
		if (model->states[i] == CHUNK_OPEN && store_has(store, model->chunks[i].chunk))
			model->states[i] = CHUNK_ACKED;
	model->generation = store_identity(store)->generation;
	if (prng_next(&harness->prng) & 1) {
		struct driven fresh = { .chunk = 1 << 20, .length = 3000 };

		driven_put(store, &fresh, 1);
		if (fresh.result < 0 || driven_read(store, fresh.chunk, fresh.length) < 0)
			complain(harness, "a put after the crash", error_name(fresh.result));
	}
	store_abandon(store);
	disk_sim_crash(sim, (enum disk_sim_crash_mode)prng_below(&harness->prng, DISK_SIM_KILL),
		       prng_next(&harness->prng));
	store = image_open(harness, sim, "second crash");
	store_close(store);
	*model = before;
}

/* The power fails again while the store recovers. */
static void image_recover_twice(struct harness *harness, struct disk_sim *image)
{
	struct disk_sim *sim = disk_sim_clone(image);
	struct model model = harness->model;
	struct store *store = NULL;
	struct store_report report;

	disk_sim_power_off_at(sim, 1 + prng_below(&harness->prng, 12));
	if (model_open(&model, disk_sim_disk(sim), &store, &report) == 0)
		store_abandon(store);
	disk_sim_crash(sim, (enum disk_sim_crash_mode)prng_below(&harness->prng, DISK_SIM_KILL),
		       prng_next(&harness->prng));
	harness->double_images++;
	store_close(image_open(harness, sim, "crash during recovery"));
	disk_free(disk_sim_disk(sim));
}

static void image_try(struct harness *harness, struct disk_sim *live, enum disk_sim_crash_mode mode)
{
	struct disk_sim *sim = disk_sim_clone(live);
	struct store *store;

	harness->images++;
	disk_sim_crash(sim, mode, prng_next(&harness->prng));
	if (prng_below(&harness->prng, 4) == 0)
		image_recover_twice(harness, sim);
	store = image_open(harness, sim, "crash");
	if (store && (mode == DISK_SIM_KILL || prng_below(&harness->prng, 4) == 0))
		image_again(harness, sim, store);
	else
		store_close(store);
	disk_free(disk_sim_disk(sim));
}

static void every_step(void *context, struct disk_sim *live)
{
	struct harness *harness = context;

	for (int mode = 0; mode < DISK_SIM_CRASH_MODES; mode++)
		image_try(harness, live, (enum disk_sim_crash_mode)mode);
}

static void crash_workload(struct harness *harness)
{
	struct disk_sim *sim = disk_sim_new(DISK_SIZE);
	struct store_report report;
	struct store *store = NULL;

	harness->model = (struct model){ 0 };
	harness->prng.state = harness->seed;
	disk_sim_fail(sim, &harness->lie);
	disk_sim_watch(sim, every_step, harness);
	if (model_open(&harness->model, disk_sim_disk(sim), &store, &report) == 0)
		model_run(&harness->model, sim, &store, harness->seed, OPERATIONS);
	every_step(harness, sim);
	disk_sim_watch(sim, NULL, NULL);
	store_close(store);
	disk_free(disk_sim_disk(sim));
}

/* ---- every call fails once, or from then on ---- */

/* False when the fault was not reached any more. */
static bool fault_try(struct harness *harness, const struct disk_sim_fault *fault)
{
	struct disk_sim *sim = disk_sim_new(DISK_SIZE);
	struct store_report report;
	struct store *store = NULL;
	const char *wrong;
	bool hit;

	harness->model = (struct model){ .lenient = fault->error == 0 };
	harness->faults++;
	if (model_open(&harness->model, disk_sim_disk(sim), &store, &report) < 0)
		abort();
	disk_sim_fail(sim, fault);
	model_run(&harness->model, sim, &store, harness->seed, OPERATIONS);
	hit = disk_sim_failed(sim) > 0;
	disk_sim_fail(sim, &(struct disk_sim_fault){ 0 });
	harness->checks++;
	wrong = store ? model_check(&harness->model, store) : NULL;
	if (wrong)
		complain(harness, "after a failed call", wrong);
	store_abandon(store);
	disk_sim_crash(sim, (enum disk_sim_crash_mode)prng_below(&harness->prng, DISK_SIM_KILL),
		       prng_next(&harness->prng));
	store_close(image_open(harness, sim, "crash after a failed call"));
	disk_free(disk_sim_disk(sim));
	return hit;
}

static void faults_all(struct harness *harness)
{
	/* The last one is a write that never reached the disk: damage, to be noticed as such. */
	static const struct disk_sim_fault kinds[] = {
		{ DISK_SIM_EVERY, 1, -ERR_IO, false },
		{ DISK_SIM_EVERY, 1, -ERR_IO, true },
		{ DISK_SIM_CHANGES, 1, -ERR_LOCAL_FULL, false },
		{ DISK_SIM_CHANGES, 1, -ERR_LOCAL_FULL, true },
		{ DISK_SIM_OPEN | DISK_SIM_LIST, 1, -ERR_NO_MEMORY, false },
		{ DISK_SIM_WRITE, 1, 0, false },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct disk_sim_fault fault = kinds[i];

		while (fault_try(harness, &fault))
			fault.nth++;
	}
}

/* ---- flipped bits ---- */

struct pick {
	uint64_t at;
	char path[64];
	uint64_t offset;
	bool found;
};

static void pick_byte(void *context, const char *path, uint64_t size)
{
	struct pick *pick = context;

	if (!pick->found && pick->at < size) {
		snprintf(pick->path, sizeof(pick->path), "%s", path);
		pick->offset = pick->at;
		pick->found = true;
	}
	pick->at -= size;
}

static void sum_size(void *context, const char *path, uint64_t size)
{
	(void)path;
	*(uint64_t *)context += size;
}

static size_t lost_count(const struct model *model, struct store *store)
{
	size_t lost = 0;

	for (size_t i = 0; i < model->count; i++)
		lost += model->states[i] == CHUNK_ACKED &&
			driven_read(store, model->chunks[i].chunk, model->chunks[i].length) < 0;
	return lost;
}

/* One flipped bit costs at most the chunk that it hit. */
static void flip_try(struct harness *harness, struct disk_sim *image, uint64_t size)
{
	struct disk_sim *sim = disk_sim_clone(image);
	struct pick pick = { .at = prng_below(&harness->prng, size) };
	struct store *store;

	disk_sim_each_file(sim, pick_byte, &pick);
	harness->flips++;
	if (disk_sim_flip(sim, pick.path, pick.offset,
			  (uint8_t)(1u << prng_below(&harness->prng, 8))) < 0)
		complain(harness, "flip", pick.path);
	store = image_open(harness, sim, pick.path);
	if (store && lost_count(&harness->model, store) > 1)
		complain(harness, pick.path, "one bit cost more than one chunk");
	store_close(store);
	disk_free(disk_sim_disk(sim));
}

/* ---- blocks that are not what was written ---- */

static int block_copy(struct disk *from, const char *from_path, uint64_t from_offset,
		      struct disk *to, const struct pick *pick, size_t size)
{
	uint8_t block[4096] = { 0 };
	int source = disk_open(from, from_path, 0), target = disk_open(to, pick->path, 0);
	int rc = source < 0 || target < 0 ? -ERR_NOT_FOUND : 0;

	if (rc == 0)
		rc = (int)disk_read(from, source, block, size, from_offset);
	if (rc > 0)
		rc = disk_write(to, target, block, (size_t)rc, pick->offset);
	if (source >= 0)
		disk_close(from, source);
	if (target >= 0)
		disk_close(to, target);
	return rc;
}

/* A block is overwritten by another one, from anywhere on the disk or from the same place a while
 * ago: whatever is read of it afterwards is right, or refused. */
static void block_try(struct harness *harness, struct disk_sim *image, struct disk_sim *past,
		      uint64_t size)
{
	struct disk_sim *sim = disk_sim_clone(image);
	struct pick to = { .at = prng_below(&harness->prng, size) };
	struct pick from = { .at = prng_below(&harness->prng, size) };
	size_t block = prng_next(&harness->prng) & 1 ? 512 : 4096;
	bool stale = prng_next(&harness->prng) & 1;
	int rc;

	disk_sim_each_file(sim, pick_byte, &to);
	disk_sim_each_file(sim, pick_byte, &from);
	to.offset -= to.offset % block;
	from.offset -= from.offset % block;
	if (stale)
		rc = block_copy(disk_sim_disk(past), to.path, to.offset, disk_sim_disk(sim), &to,
				block);
	else
		rc = block_copy(disk_sim_disk(image), from.path, from.offset, disk_sim_disk(sim),
				&to, block);
	if (rc >= 0) {
		harness->blocks++;
		store_close(image_open(harness, sim, to.path));
	}
	disk_free(disk_sim_disk(sim));
}

static void damage_all(struct harness *harness, bool clean)
{
	struct disk_sim *sim = disk_sim_new(DISK_SIZE), *past;
	struct store_report report;
	struct store *store = NULL;
	uint64_t size = 0;

	harness->model = (struct model){ 0 };
	if (model_open(&harness->model, disk_sim_disk(sim), &store, &report) < 0)
		abort();
	model_run(&harness->model, sim, &store, harness->seed, OPERATIONS / 2);
	past = disk_sim_clone(sim);
	if (store)
		model_run(&harness->model, sim, &store, harness->seed + 1, OPERATIONS);
	if (clean)
		store_close(store);
	else
		store_abandon(store);
	disk_sim_crash(sim, DISK_SIM_DROP_ALL, 0);
	disk_sim_each_file(sim, sum_size, &size);
	harness->model.lenient = true;
	for (uint64_t i = 0; i < harness->flips_wanted; i++)
		flip_try(harness, sim, size);
	for (uint64_t i = 0; i < harness->flips_wanted / 4; i++)
		block_try(harness, sim, past, size);
	disk_free(disk_sim_disk(past));
	disk_free(disk_sim_disk(sim));
}

/* ---- all together ---- */

static bool sabotage_parse(const char *word, struct disk_sim_fault *ret)
{
	*ret = (struct disk_sim_fault){ .nth = 1, .sticky = true };
	if (strcmp(word, "sync-file") == 0)
		ret->kinds = DISK_SIM_SYNC_FILE;
	else if (strcmp(word, "sync-dir") == 0)
		ret->kinds = DISK_SIM_SYNC_DIR;
	else if (strcmp(word, "write") == 0)
		ret->kinds = DISK_SIM_WRITE;
	return ret->kinds;
}

static bool arguments_read(struct harness *harness, int count, char **words)
{
	for (int i = 1; i + 1 < count; i += 2) {
		if (strcmp(words[i], "--images") == 0)
			harness->images_wanted = strtoull(words[i + 1], NULL, 10);
		else if (strcmp(words[i], "--flips") == 0)
			harness->flips_wanted = strtoull(words[i + 1], NULL, 10) / FAULT_SEEDS;
		else if (strcmp(words[i], "--seed") == 0)
			harness->seed = strtoull(words[i + 1], NULL, 10);
		else if (strcmp(words[i], "--sabotage") == 0)
			harness->sabotaged = sabotage_parse(words[i + 1], &harness->lie);
		else
			return false;
	}
	return count % 2 == 1;
}

int main(int count, char **words)
{
	struct harness harness = { .images_wanted = 20000, .flips_wanted = 300, .seed = 1 };

	if (!arguments_read(&harness, count, words)) {
		fprintf(stderr,
			"usage: crash_store [--images N] [--flips N] [--seed S] [--sabotage W]\n");
		return 2;
	}
	for (; harness.images < harness.images_wanted; harness.seed++)
		crash_workload(&harness);
	for (int i = 0; i < FAULT_SEEDS && !harness.sabotaged; i++, harness.seed++) {
		faults_all(&harness);
		damage_all(&harness, i & 1);
	}
	printf("%llu crash images (%llu cut again during recovery), ",
	       (unsigned long long)harness.images, (unsigned long long)harness.double_images);
	printf("%llu failed calls, %llu flipped bits, %llu misdirected or stale blocks\n",
	       (unsigned long long)harness.faults, (unsigned long long)harness.flips,
	       (unsigned long long)harness.blocks);
	if (harness.sabotaged) {
		printf("%s: %llu violations\n", harness.failures ? "noticed" : "NOT NOTICED",
		       (unsigned long long)harness.failures);
		return harness.failures ? 0 : 1;
	}
	printf("%llu passed, %llu failed\n",
	       (unsigned long long)(harness.checks > harness.failures
					    ? harness.checks - harness.failures
					    : 0),
	       (unsigned long long)harness.failures);
	return harness.failures ? 1 : 0;
}

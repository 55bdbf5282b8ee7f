/* What a power cut leaves of a simulated disk. */
#include "disk_names.h"

struct lottery {
	struct prng prng;
	unsigned int keep_of_256; /* of names */
	uint64_t victim;          /* counts down: the one name that is lost */
};

static bool name_kept(void *context)
{
	struct lottery *lottery = context;

	if (lottery->victim != UINT64_MAX && lottery->victim-- == 0)
		return false;
	return lottery->keep_of_256 >= 256 ||
	       prng_below(&lottery->prng, 256) < lottery->keep_of_256;
}

typedef void each_file_fn(void *context, struct sim_file *file);

/* Every file that can be left over, once, in a fixed order. */
static void files_walk(struct disk_names *names, each_file_fn *each, void *context)
{
	struct sim_change *change;
	struct sim_name *name;

	for (name = names->durable; name; name = name->hh.next)
		name->file->marked = false;
	for (name = names->now; name; name = name->hh.next)
		name->file->marked = false;
	TAILQ_FOREACH(change, &names->pending, link)
		change->file->marked = false;
	for (int pass = 0; pass < 2; pass++)
		for (name = pass ? names->now : names->durable; name; name = name->hh.next)
			if (!name->file->marked) {
				name->file->marked = true;
				each(context, name->file);
			}
	TAILQ_FOREACH(change, &names->pending, link)
		if (!change->file->marked) {
			change->file->marked = true;
			each(context, change->file);
		}
}

static void count_dirty(void *context, struct sim_file *file)
{
	*(uint64_t *)context += sim_file_dirty(file);
}

static void forget_victim(void *context, struct sim_file *file)
{
	uint64_t *victim = context;
	uint64_t dirty = sim_file_dirty(file);

	if (*victim < dirty)
		sim_file_forget(file, *victim);
	/* Past the end of all counts once it has been found. */
	*victim = *victim < dirty ? UINT64_MAX : *victim - dirty;
}

/* One unsynced sector or name is lost. */
static void victim_choose(struct disk_names *names, struct lottery *lottery)
{
	size_t changes = names_pending(names);
	uint64_t sectors = 0;
	uint64_t victim;

	files_walk(names, count_dirty, &sectors);
	victim = prng_below(&lottery->prng, changes + sectors);
	if (victim < changes) {
		lottery->victim = victim;
		return;
	}
	victim -= changes;
	files_walk(names, forget_victim, &victim);
}

struct crash {
	struct lottery lottery;
	struct sim_fate fate;
	bool random_size;
};

static void file_crash(void *context, struct sim_file *file)
{
	struct crash *crash = context;

	if (crash->random_size)
		crash->fate.keep_size = prng_next(crash->fate.prng) & 1;
	sim_file_crash(file, &crash->fate);
}

void names_power_cut(struct disk_names *names, enum disk_sim_crash_mode mode, uint64_t seed)
{
	struct crash crash = { .lottery = { .prng = { seed }, .victim = UINT64_MAX } };
	bool random = mode == DISK_SIM_RANDOM || mode == DISK_SIM_TEAR;
	bool keep = mode == DISK_SIM_KEEP_ALL || mode == DISK_SIM_DROP_ONE;

	crash.fate.prng = &crash.lottery.prng;
	crash.fate.keep_size = keep || mode == DISK_SIM_DROP_DATA;
	crash.fate.keep_of_256 = keep ? 256 : random ? 128 : 0;
	crash.fate.tear_of_256 = mode == DISK_SIM_TEAR ? 64 : 0;
	crash.random_size = random;
	crash.lottery.keep_of_256 = crash.fate.keep_size ? 256 : crash.fate.keep_of_256;
	if (mode == DISK_SIM_DROP_ONE)
		victim_choose(names, &crash.lottery);
	files_walk(names, file_crash, &crash);
	names_crash(names, name_kept, &crash.lottery);
}

/* Runs simulated clusters: see docs/testing.md. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "world.h"

enum { JOBS_MAX = 16, LIMIT_S = 120, KNOWN_MAX = 1000, WITHIN = 60 };

static const char *const usage =
	"usage: simulation --seed N [--trace] [--sabotage NAME]\n"
	"       simulation --seeds A-B [--jobs N] [--known FILE] [--sabotage NAME]\n"
	"       simulation --repeat A-B [--jobs N]      each twice: is it the same?\n"
	"       simulation --sabotage-all [--jobs N]    is every removed rule noticed?\n"
	"       simulation --soak SECONDS [--jobs N]    new seeds, from the clock\n"
	"--keep FILE appends what fails to the list of seeds there.\n";

enum mode { MODE_NONE, MODE_SEED, MODE_SEEDS, MODE_REPEAT, MODE_SABOTAGE, MODE_SOAK };

struct command {
	enum mode mode;
	uint64_t first, last;
	unsigned int jobs;
	unsigned int sabotage;
	bool trace;
	const char *known, *keep;
	_Atomic uint64_t *tallies; /* of all runs, which are processes of their own; may be NULL */
};

static const char *const tally_names[TALLY_COUNT] = {
	[TALLY_LOST] = "directories of name servers lost",
	[TALLY_OLD] = "old ones put back",
	[TALLY_AWAY] = "absences of 1 to 400 days",
	[TALLY_SLEPT] = "name servers that slept until another one served",
	[TALLY_SIDES] = "splits of the network",
	[TALLY_DRAINED] = "servers to be emptied",
	[TALLY_DELETED] = "copies of chunks of files deleted",
};

/* One seed in a process of its own, so that a crash is a result like others. */
typedef bool seed_fn(const struct command *command, uint64_t seed);

struct crew {
	const struct command *command;
	seed_fn *run;
	pid_t pids[JOBS_MAX];
	uint64_t seeds[JOBS_MAX];
	unsigned int busy;
	unsigned int passed, failed;
	uint64_t first_failed; /* the lowest */
};

static void keep(const struct command *command, uint64_t seed, const char *message)
{
	FILE *file = command->keep ? fopen(command->keep, "a") : NULL;

	if (!file)
		return;
	fprintf(file, "%" PRIu64 "\t%.*s\n", seed, (int)strcspn(message, "\n"), message);
	fclose(file);
}

static void print_failure(const struct command *command, uint64_t seed, const char *message)
{
	keep(command, seed, message);
	printf("FAIL seed %" PRIu64 " %s\n", seed, message);
	printf("  simulation --seed %" PRIu64 "%s%s --trace\n", seed,
	       command->sabotage ? " --sabotage " : "",
	       command->sabotage ? sabotage_name(command->sabotage) : "");
	fflush(stdout);
}

static struct world_config config_of(const struct command *command, uint64_t seed)
{
	return (struct world_config){ .seed = seed,
				      .sabotage = (enum sabotage)command->sabotage,
				      .trace = command->trace };
}

static bool run_once(const struct command *command, uint64_t seed)
{
	struct world_config config = config_of(command, seed);
	struct world_result result;
	bool ok = world_run(&config, &result);

	for (unsigned int i = 0; i < TALLY_COUNT && command->tallies; i++)
		atomic_fetch_add(&command->tallies[i], result.tallies[i]);
	if (ok)
		return true;
	print_failure(command, seed, result.message);
	return false;
}

static bool run_twice(const struct command *command, uint64_t seed)
{
	struct world_config config = config_of(command, seed);
	struct world_result first, second;

	world_run(&config, &first);
	world_run(&config, &second);
	if (first.hash == second.hash && first.events == second.events)
		return true;
	print_failure(command, seed, "two runs differ");
	return false;
}

/* Under sabotage a failure is what is hoped for; it is told by the count alone. */
static bool run_quietly(const struct command *command, uint64_t seed)
{
	struct world_config config = config_of(command, seed);
	struct world_result result;

	return world_run(&config, &result);
}

/* ---- many ---- */

static void crew_wait(struct crew *crew)
{
	int status = 0;
	pid_t pid = wait(&status);

	for (unsigned int i = 0; i < crew->busy; i++) {
		if (crew->pids[i] != pid)
			continue;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
			crew->passed++;
		} else {
			if (crew->failed++ == 0 || crew->seeds[i] < crew->first_failed)
				crew->first_failed = crew->seeds[i];
			if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
				print_failure(crew->command, crew->seeds[i],
					      WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM
						      ? "took too long"
						      : "crashed");
		}
		crew->busy--;
		crew->pids[i] = crew->pids[crew->busy];
		crew->seeds[i] = crew->seeds[crew->busy];
		return;
	}
}

static void crew_start(struct crew *crew, uint64_t seed)
{
	pid_t pid;

	while (crew->busy >= crew->command->jobs)
		crew_wait(crew);
	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		perror("simulation: fork");
		exit(2);
	}
	if (pid == 0) {
		bool ok;

		alarm(LIMIT_S);
		ok = crew->run(crew->command, seed);
		fflush(stdout);
		exit(ok ? 0 : 1);
	}
	crew->pids[crew->busy] = pid;
	crew->seeds[crew->busy++] = seed;
}

static void crew_end(struct crew *crew)
{
	while (crew->busy)
		crew_wait(crew);
}

/* Seeds that once failed: a number at the start of a line, then why. The file is read to its end
 * before anybody forks, because a child that exits moves the position it shares with us. */
static size_t known_read(const char *path, uint64_t seeds[KNOWN_MAX])
{
	FILE *file = fopen(path, "r");
	char line[512];
	size_t count = 0;

	if (!file) {
		perror(path);
		exit(2);
	}
	while (count < KNOWN_MAX && fgets(line, sizeof(line), file)) {
		char *end;

		seeds[count] = strtoull(line, &end, 10);
		count += end != line;
	}
	fclose(file);
	return count;
}

static void run_known(struct crew *crew)
{
	uint64_t seeds[KNOWN_MAX];
	size_t count = known_read(crew->command->known, seeds);

	for (size_t i = 0; i < count; i++)
		crew_start(crew, seeds[i]);
}

static _Atomic uint64_t *tallies_new(void)
{
	void *shared = mmap(NULL, TALLY_COUNT * sizeof(_Atomic uint64_t), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return shared == MAP_FAILED ? NULL : shared;
}

static void tallies_print(const struct command *command)
{
	for (unsigned int i = 0; i < TALLY_COUNT && command->tallies; i++)
		printf("%s%" PRIu64 " %s", i ? ", " : "", atomic_load(&command->tallies[i]),
		       tally_names[i]);
	putchar('\n');
}

static int run_many(const struct command *command, seed_fn *run)
{
	struct crew crew = { .command = command, .run = run };

	if (command->known)
		run_known(&crew);
	for (uint64_t seed = command->first; seed <= command->last; seed++)
		crew_start(&crew, seed);
	crew_end(&crew);
	if (run == run_once)
		tallies_print(command);
	printf("%u passed, %u failed\n", crew.passed, crew.failed);
	return crew.failed ? 1 : 0;
}

static int run_soak(const struct command *command)
{
	struct crew crew = { .command = command, .run = run_once };
	time_t end = time(NULL) + (time_t)command->first;
	uint64_t seed = (uint64_t)time(NULL) * 1000;

	printf("seeds from %" PRIu64 " on, for %" PRIu64 " s\n", seed, command->first);
	while (time(NULL) < end)
		crew_start(&crew, seed++);
	crew_end(&crew);
	tallies_print(command);
	printf("seeds up to %" PRIu64 "\n%u passed, %u failed\n", seed - 1, crew.passed,
	       crew.failed);
	return crew.failed ? 1 : 0;
}

/* ---- are the checks any good? ---- */

static bool is_noticed(const struct command *command)
{
	struct crew crew = { .command = command, .run = run_quietly };
	uint64_t seed;

	for (seed = 1; seed <= WITHIN && crew.failed == 0; seed++)
		crew_start(&crew, seed);
	crew_end(&crew);
	if (crew.failed)
		printf("ok     %-20s noticed by seed %" PRIu64 "\n",
		       sabotage_name(command->sabotage), crew.first_failed);
	else
		printf("not ok %-20s not noticed by %d seeds\n", sabotage_name(command->sabotage),
		       WITHIN);
	fflush(stdout);
	return crew.failed > 0;
}

static int run_sabotage(const struct command *command)
{
	struct command one = *command;
	unsigned int noticed = 0, missed = 0;

	for (one.sabotage = SABOTAGE_NONE + 1; one.sabotage < SABOTAGE_COUNT; one.sabotage++) {
		if (is_noticed(&one))
			noticed++;
		else
			missed++;
	}
	printf("%u passed, %u failed\n", noticed, missed);
	return missed ? 1 : 0;
}

static int run_one(const struct command *command)
{
	struct world_config config = config_of(command, command->first);
	struct world_result result;
	bool ok = world_run(&config, &result);

	printf("seed %" PRIu64 ": %s; %" PRIu64 " events, %" PRIu64 " operations (%" PRIu64
	       " in doubt, %" PRIu64 " of the past, %" PRIu64
	       " of them placed, %u paths undecided), %.0f virtual s, trace %016" PRIx64 "\n",
	       command->first, ok ? "ok" : result.message, result.events, result.operations,
	       result.doubtful, result.past, result.placed, result.undecided,
	       (double)result.virtual_us / SECOND, result.hash);
	return ok ? 0 : 1;
}

/* ---- the command line ---- */

static bool parse_range(const char *text, struct command *ret)
{
	char *end;

	ret->first = ret->last = strtoull(text, &end, 10);
	if (end != text && *end == '-')
		ret->last = strtoull(end + 1, &end, 10);
	return end != text && *end == '\0';
}

static bool parse_sabotage(const char *name, struct command *ret)
{
	for (ret->sabotage = 0; ret->sabotage < SABOTAGE_COUNT; ret->sabotage++) {
		if (strcmp(sabotage_name(ret->sabotage), name) == 0)
			return true;
	}
	return false;
}

static bool parse_value(const char *option, const char *value, struct command *ret)
{
	if (strcmp(option, "--seed") == 0)
		ret->mode = MODE_SEED;
	else if (strcmp(option, "--seeds") == 0)
		ret->mode = MODE_SEEDS;
	else if (strcmp(option, "--repeat") == 0)
		ret->mode = MODE_REPEAT;
	else if (strcmp(option, "--soak") == 0)
		ret->mode = MODE_SOAK;
	else if (strcmp(option, "--sabotage") == 0)
		return parse_sabotage(value, ret);
	else if (strcmp(option, "--known") == 0)
		return (ret->known = value) != NULL;
	else if (strcmp(option, "--keep") == 0)
		return (ret->keep = value) != NULL;
	else if (strcmp(option, "--jobs") == 0)
		return (ret->jobs = (unsigned int)strtoul(value, NULL, 10)) - 1 < JOBS_MAX;
	else
		return false;
	return parse_range(value, ret);
}

static bool parse(int argc, char **argv, struct command *ret)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--trace") == 0)
			ret->trace = true;
		else if (strcmp(argv[i], "--sabotage-all") == 0)
			ret->mode = MODE_SABOTAGE;
		else if (i + 1 < argc && parse_value(argv[i], argv[i + 1], ret))
			i++;
		else
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct command command = { .jobs = 2, .tallies = tallies_new() };

	if (!parse(argc, argv, &command))
		command.mode = MODE_NONE;
	switch (command.mode) {
	case MODE_SEED: return run_one(&command);
	case MODE_SEEDS: return run_many(&command, run_once);
	case MODE_REPEAT: return run_many(&command, run_twice);
	case MODE_SABOTAGE: return run_sabotage(&command);
	case MODE_SOAK: return run_soak(&command);
	case MODE_NONE: break;
	}
	fputs(usage, stderr);
	return 2;
}

/* muster-conformance: runs conformance scripts against a core in memory or a live server. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "error.h"
#include "options.h"
#include "peer_live.h"
#include "peer_nameserver.h"
#include "peer_storage.h"
#include "scripts.h"

enum { EXIT_USAGE = 2, MESSAGE_SIZE_MAX = 256 };

struct settings {
	uint16_t listen;
	uint64_t patience_ms;
	const char *coverage;
	const char *scripts;
};

static const struct option_row rows[] = {
#define OPTION(name, ...) OPTION_ROW(struct settings, name, 0, __VA_ARGS__),
#include "options.def"
};

static const struct option_table table = {
	.program = "muster-conformance",
	.synopsis = "[OPTION…] nameserver|storage HOST:PORT [SCRIPT…]\n"
		    "       muster-conformance [OPTION…] memory [SCRIPT…]\n"
		    "       muster-conformance coverage FILE",
	.about =
		"Checks whether a server speaks the Muster protocol. Use one without data of its\n"
		"own: the scripts write and delete.\n"
		"  nameserver  a name server; storage servers and clients are played\n"
		"  storage     a storage server by its data port; it must have been started with\n"
		"              --nameserver pointing to this machine and the port of --listen\n"
		"  memory      our own cores, in this process\n"
		"  coverage    fails if a message or status is missing in FILE (see --coverage)\n"
		"Without SCRIPT, all those for that kind of server are run: of --scripts, else of\n"
		"PREFIX/share/muster/conformance, else of the source tree.",
	.rows = rows,
	.count = ARRAY_SIZE(rows),
};

struct run {
	const struct settings *settings;
	struct peer_live *live; /* NULL: in memory */
	bool live_storage;
	struct coverage coverage;
	unsigned int passed, failed, skipped;
};

static int run_memory(const char *text, struct script_how *how, struct script_result *result)
{
	struct peer_nameserver *nameserver = NULL;
	struct peer_storage *storage = NULL;
	struct script_peer peer;
	int kind = script_server(text);
	int rc = kind == 1   ? peer_storage_new(&storage)
		 : kind == 0 ? peer_nameserver_new(&nameserver)
			     : kind;

	if (rc == 0) {
		peer = storage ? peer_storage_script(storage) : peer_nameserver_script(nameserver);
		how->peer = &peer;
		how->seed = 1000;
		rc = script_run(text, how, result);
	}
	peer_storage_free(storage);
	peer_nameserver_free(nameserver);
	return rc;
}

static int run_live(struct run *run, const char *text, struct script_how *how,
		    struct script_result *result)
{
	struct script_peer peer = peer_live_script(run->live);

	how->peer = &peer;
	how->seed = clock_wall_ms();
	return script_run(text, how, result);
}

static void run_script(struct run *run, const char *path, bool named)
{
	struct script_result result = { 0 };
	struct script_how how = { .coverage = &run->coverage, .named = named };
	char *text = script_read(path);
	int rc = -ERR_NOT_FOUND;

	if (text && run->live && !named && script_server(text) != (int)run->live_storage) {
		free(text);
		return;
	}
	if (text)
		rc = run->live ? run_live(run, text, &how, &result)
			       : run_memory(text, &how, &result);
	if (rc < 0)
		printf("not ok - %s:%d: %s\n", path, result.line,
		       result.text[0] ? result.text : error_text(rc));
	else
		printf("ok - %s%s%s\n", path, result.skipped ? " # skip " : "",
		       result.skipped ? result.text : "");
	fflush(stdout);
	run->failed += rc < 0;
	run->skipped += rc == 0 && result.skipped;
	run->passed += rc == 0 && !result.skipped;
	free(text);
}

static int finish(struct run *run)
{
	const char *file = run->settings->coverage;

	if (file && coverage_write(&run->coverage, file) < 0) {
		printf("not ok - cannot write %s\n", file);
		run->failed++;
	}
	printf("%u passed, %u failed, %u skipped\n", run->passed, run->failed, run->skipped);
	return run->failed || !run->passed ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int run_all(struct run *run, char **named)
{
	char **found = *named ? NULL : scripts_find(run->settings->scripts);
	char **scripts = *named ? named : found;

	if (!scripts) {
		fprintf(stderr, "muster-conformance: no scripts found; see --scripts\n");
		return EXIT_USAGE;
	}
	if (run->settings->coverage)
		coverage_read(&run->coverage, run->settings->coverage);
	for (; *scripts; scripts++)
		run_script(run, *scripts, *named);
	scripts_free(found);
	return finish(run);
}

static int live(struct run *run, char **words)
{
	struct live_how how = { .address = words[1],
				.storage = strcmp(words[0], "storage") == 0,
				.listen_port = run->settings->listen,
				.patience_ms = (unsigned int)run->settings->patience_ms };
	int rc = peer_live_new(&how, &run->live);

	if (rc < 0) {
		fprintf(stderr, "muster-conformance: %s: %s\n", words[1], error_text(rc));
		return EXIT_FAILURE;
	}
	run->live_storage = how.storage;
	rc = run_all(run, words + 2);
	peer_live_free(run->live);
	return rc;
}

static int coverage(const char *path)
{
	struct coverage coverage = { 0 };
	unsigned int missing;
	int rc = coverage_read(&coverage, path);

	if (rc < 0) {
		fprintf(stderr, "muster-conformance: %s: %s\n", path, error_text(rc));
		return EXIT_FAILURE;
	}
	missing = coverage_missing(&coverage, stdout);
	if (missing == 0)
		puts("ok - every message and every status was exercised");
	printf("%d passed, %u failed\n", missing == 0, missing);
	return missing ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int usage(const char *message)
{
	if (strcmp(message, "help") == 0) {
		options_help(&table, stdout);
		return EXIT_SUCCESS;
	}
	if (strcmp(message, "version") == 0) {
		puts("muster-conformance " MUSTER_VERSION);
		return EXIT_SUCCESS;
	}
	fprintf(stderr, "muster-conformance: %s\n", message);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct settings settings;
	struct run run = { .settings = &settings };
	char message[MESSAGE_SIZE_MAX];
	int words = options_parse(&table, &settings, NULL, argv, message);
	const char *mode = words < 0 || words >= argc ? "" : argv[words];

	if (words < 0)
		return usage(message);
	signal(SIGPIPE, SIG_IGN);
	if (strcmp(mode, "memory") == 0)
		return run_all(&run, argv + words + 1);
	if (strcmp(mode, "coverage") == 0 && words + 2 == argc)
		return coverage(argv[words + 1]);
	if ((strcmp(mode, "nameserver") == 0 || strcmp(mode, "storage") == 0) && words + 1 < argc)
		return live(&run, argv + words);
	return usage("which server? See --help");
}

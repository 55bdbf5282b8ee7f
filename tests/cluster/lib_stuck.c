/* How fast calls of libmuster end that get nowhere.
 *
 *     lib_stuck NAMESERVER await              waits for three servers
 *     lib_stuck NAMESERVER prepare            the same, and stores a large file
 *     lib_stuck NAMESERVER interrupt WHAT     one call; SIGINT interrupts it. It begins, or goes
 *                                             on if it moves bytes, when a line is read
 *     lib_stuck NAMESERVER silence MS WHAT... these calls, one after the other, when a line is
 *                                             read; MS: the session's timeout_ms
 *
 * Prints one JSON object per line: what came out and how long it took. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "muster.h"

enum { LARGE = 256 << 20, MIDWAY = LARGE / 8, ONLINE_MS = 20000 };

static struct muster *session;
static volatile sig_atomic_t interrupted;
static struct timespec interrupted_at;
static bool waits_midway;
static uint64_t moved;

static double ms_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) * 1e3 +
	       (double)(now.tv_nsec - start->tv_nsec) / 1e6;
}

static void on_interrupt(int number)
{
	(void)number;
	clock_gettime(CLOCK_MONOTONIC, &interrupted_at);
	interrupted = 1;
	muster_interrupt(session);
}

static void wait_for_line(void)
{
	char line[8];

	printf("{\"ready\":true}\n");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		exit(2);
}

static void move(size_t size)
{
	moved += size;
	if (waits_midway && moved >= MIDWAY) {
		waits_midway = false;
		wait_for_line();
	}
}

static int64_t endless(void *context, void *buffer, size_t size)
{
	(void)context;
	memset(buffer, 7, size);
	move(size);
	return (int64_t)size;
}

static int swallow(void *context, const void *data, size_t size)
{
	(void)context;
	(void)data;
	move(size);
	return 0;
}

static int large_put(void)
{
	struct muster_put_args put = {
		.path = "/large",
		.source = { .fd = -1, .read = endless, .size = LARGE },
		.flags = MUSTER_REPLACE,
	};

	return muster_put(session, &put, NULL);
}

static int large_append(void)
{
	struct muster_put_args append = {
		.path = "/large",
		.source = { .fd = -1, .read = endless, .size = LARGE },
	};

	return muster_append(session, &append, NULL);
}

static int large_get(void)
{
	struct muster_get_args get = { .path = "/large", .sink = { .fd = -1, .write = swallow } };

	return muster_get(session, &get, NULL);
}

static int stat_root(void)
{
	struct muster_entry entry;

	return muster_stat(session, "/", &entry);
}

static int list_root(void)
{
	struct muster_list *list;
	int rc = muster_list_open(session, "/", &list);

	muster_list_close(list);
	return rc;
}

static int copy_large(void)
{
	return muster_copy(session, "/large", "/copy", MUSTER_REPLACE, NULL);
}

static int see_finding(void *context, const struct muster_entry *entry,
		       const struct muster_copy_finding *finding)
{
	unsigned int *counts = context;

	(void)entry;
	counts[finding->state]++;
	return 0;
}

static int verify_large(void)
{
	unsigned int counts[MUSTER_COPY_SILENT + 1] = { 0 };
	int rc = muster_verify(session, "/large", see_finding, NULL, counts);

	printf("{\"right\":%u,\"mismatch\":%u,\"missing\":%u,\"silent\":%u}\n",
	       counts[MUSTER_COPY_OK], counts[MUSTER_COPY_MISMATCH], counts[MUSTER_COPY_MISSING],
	       counts[MUSTER_COPY_SILENT]);
	return rc;
}

static int check_all(void)
{
	return muster_check(session, NULL, NULL, NULL);
}

static int see_event(void *context, const struct muster_event *event)
{
	(void)context;
	(void)event;
	return 0;
}

static int follow_events(void)
{
	struct muster_events_args wanted = { .level = MUSTER_ERROR, .wait_ms = 2000 };
	int rc = 0;

	while (rc >= 0)
		rc = muster_events(session, &wanted, see_event, NULL, &wanted.after, NULL);
	return rc;
}

static int reach_first(void)
{
	struct muster_node *nodes;
	struct muster_reach ways;
	int rc = muster_nodes(session, &nodes);

	if (rc <= 0)
		return rc;
	rc = muster_reach(session, nodes[0].id, &ways);
	muster_nodes_free(nodes);
	printf("{\"active\":\"%s\",\"passive\":\"%s\"}\n", muster_error_name(ways.active),
	       muster_error_name(ways.passive));
	return rc;
}

static const struct {
	const char *name;
	int (*call)(void);
} calls[] = {
	{ "put", large_put },       { "append", large_append }, { "get", large_get },
	{ "stat", stat_root },      { "list", list_root },      { "copy", copy_large },
	{ "verify", verify_large }, { "check", check_all },     { "events", follow_events },
	{ "reach", reach_first },
};

static int call_it(const char *name)
{
	struct timespec start;
	int rc = -MUSTER_E_USAGE;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (strcmp(calls[i].name, name) == 0)
			rc = calls[i].call();
	}
	printf("{\"call\":\"%s\",\"error\":\"%s\",\"ms\":%.1f,\"interrupt_ms\":%.1f}\n", name,
	       muster_error_name(rc < 0 ? rc : 0), ms_since(&start),
	       interrupted ? ms_since(&interrupted_at) : 0.0);
	fflush(stdout);
	return rc;
}

static void interrupt(const char *name)
{
	struct sigaction action = { .sa_handler = on_interrupt };

	sigaction(SIGINT, &action, NULL);
	waits_midway =
		strcmp(name, "put") == 0 || strcmp(name, "get") == 0 || strcmp(name, "append") == 0;
	if (!waits_midway)
		wait_for_line();
	call_it(name);
}

static int await_servers(void)
{
	struct muster_status status = { 0 };
	struct timespec start;
	int rc = 0;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (rc == 0 && status.nodes_online < 3 && ms_since(&start) < ONLINE_MS) {
		rc = muster_status(session, &status);
		muster_wait(session, 20);
	}
	return rc == 0 && status.nodes_online < 3 ? -MUSTER_E_TIMEOUT : rc;
}

static int prepare(void)
{
	int rc = await_servers();

	return rc < 0 ? rc : large_put();
}

static void silence(char *const *names_of_calls)
{
	wait_for_line();
	for (; *names_of_calls; names_of_calls++)
		call_it(*names_of_calls);
}

static int report(const char *what, int rc)
{
	if (rc < 0)
		printf("{\"what\":\"%s\",\"error\":\"%s\",\"detail\":\"%s\"}\n", what,
		       muster_error_name(rc), muster_detail(session));
	return rc;
}

int main(int argc, char **argv)
{
	struct muster_options options = { .nameserver = argc > 1 ? argv[1] : NULL };
	int rc;

	if (argc < 3)
		return 2;
	if (strcmp(argv[2], "silence") == 0 && argc > 4)
		options.timeout_ms = (unsigned int)strtoul(argv[3], NULL, 10);
	rc = report("open", muster_open(&options, &session));
	if (rc < 0)
		rc = 1;
	else if (strcmp(argv[2], "await") == 0)
		rc = report("await", await_servers());
	else if (strcmp(argv[2], "prepare") == 0)
		rc = report("prepare", prepare());
	else if (strcmp(argv[2], "interrupt") == 0 && argc == 4)
		interrupt(argv[3]);
	else if (strcmp(argv[2], "silence") == 0 && argc > 4)
		silence(&argv[4]);
	else
		rc = 2;
	muster_close(session);
	return rc ? 1 : 0;
}

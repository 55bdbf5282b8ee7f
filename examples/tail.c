/* Follows a file that grows, as tail -f does: prints what is appended to it, until it is removed or
 * Ctrl-C is pressed.
 *
 *     cc tail.c $(pkg-config --cflags --libs muster) -o tail
 *     ./tail PATH [NAMESERVER]
 *
 * Nothing is asked for again and again while nothing happens: the store tells its events, and the
 * file is looked at after each that may be about it. */
#include <muster.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static struct muster *session; /* for the signal's handler */

static void on_signal(int number)
{
	(void)number;
	muster_interrupt(session);
}

/* What is behind `offset` now. Returns where it ends. */
static int64_t print_rest(const char *path, uint64_t offset)
{
	struct muster_entry entry;
	struct muster_get_args get = {
		.path = path,
		.sink = { .fd = STDOUT_FILENO, .offset = MUSTER_UNKNOWN },
		.offset = offset,
	};
	struct muster_get_result got;
	int rc = muster_stat(session, path, &entry);

	if (rc < 0)
		return rc;
	if (entry.size < offset)
		offset = get.offset = 0; /* another content: from its start */
	if (entry.size == offset)
		return (int64_t)offset;
	rc = muster_get(session, &get, &got);
	return rc < 0 ? rc : (int64_t)(offset + got.bytes);
}

static int on_event(void *context, const struct muster_event *event)
{
	(void)context;
	(void)event;
	return 0;
}

/* Whatever it was: something has happened. */
static int wait_for_event(uint64_t *after)
{
	struct muster_events_args args = {
		.after = *after,
		.wait_ms = 2000,
		.level = MUSTER_INFO,
	};

	return muster_events(session, &args, on_event, NULL, after, NULL);
}

static int follow(const char *path)
{
	uint64_t after = 0;
	int64_t end = 0;
	int rc = 0;

	while (rc >= 0 && (end = print_rest(path, (uint64_t)end)) >= 0) {
		do
			rc = wait_for_event(&after);
		while (rc == 0);
	}
	return rc < 0 ? rc : (int)end;
}

int main(int argc, char **argv)
{
	struct muster_options options = { .nameserver = argc > 2 ? argv[2] : NULL };
	int rc;

	if (argc < 2)
		return 2;
	rc = muster_open(&options, &session);
	signal(SIGINT, on_signal);
	if (rc == 0)
		rc = follow(argv[1]);
	if (rc < 0 && rc != -MUSTER_E_CANCELLED)
		fprintf(stderr, "tail: %s\n", muster_error_text(rc));
	signal(SIGINT, SIG_DFL); /* there is nothing to interrupt any more */
	muster_close(session);
	return rc < 0 && rc != -MUSTER_E_CANCELLED;
}

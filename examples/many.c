/* Stores many small files at once and reads each back as soon as it is there: one thread, one loop
 * over poll(), as in a program that waits for other things too.
 *
 *     cc many.c $(pkg-config --cflags --libs muster) -o many
 *     ./many COUNT [NAMESERVER]
 */
#include <muster.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct job {
	struct muster *session;
	struct totals *totals;
	char path[64];
	char text[64]; /* both live until the operation is done */
	char back[64];
};

struct totals {
	unsigned int right;
	unsigned int wrong;
	int error; /* the first one */
};

static void failed(struct job *job, int error)
{
	if (job->totals->error == 0)
		job->totals->error = error;
	job->totals->wrong++;
}

static void got(void *context, struct muster_op *op, int result)
{
	struct job *job = context;

	(void)op;
	if (result < 0)
		failed(job, result);
	else if (strcmp(job->text, job->back) != 0)
		failed(job, -MUSTER_E_CORRUPT);
	else
		job->totals->right++;
}

static void stored(void *context, struct muster_op *op, int result)
{
	struct job *job = context;
	struct muster_get_args get = {
		.path = job->path,
		.sink = { .data = job->back, .size = sizeof(job->back) },
	};

	(void)op;
	if (result == 0)
		result = muster_start_get(job->session, &get, (struct muster_then){ got, job },
					  NULL);
	if (result < 0)
		failed(job, result);
}

static void start(struct job *job, unsigned int number)
{
	struct muster_put_args put = { .path = job->path, .flags = MUSTER_REPLACE };
	int rc;

	snprintf(job->path, sizeof(job->path), "/many/%u", number);
	snprintf(job->text, sizeof(job->text), "This is file %u.\n", number);
	put.source.data = job->text;
	put.source.size = strlen(job->text);
	rc = muster_start_put(job->session, &put, (struct muster_then){ stored, job }, NULL);
	if (rc < 0)
		failed(job, rc);
}

static void loop(struct muster *session)
{
	while (muster_process(session) > 0) {
		struct pollfd wait = { .fd = muster_fd(session), .events = POLLIN };

		poll(&wait, 1, muster_timeout(session));
	}
}

static int many(struct muster *session, unsigned int count)
{
	struct totals totals = { 0 };
	struct job *jobs = calloc(count, sizeof(*jobs));
	int rc = jobs ? muster_mkdir(session, "/many", MUSTER_PARENTS) : -MUSTER_E_NO_MEMORY;

	for (unsigned int i = 0; rc == 0 && i < count; i++) {
		jobs[i].session = session;
		jobs[i].totals = &totals;
		start(&jobs[i], i);
	}
	if (rc == 0)
		loop(session);
	free(jobs);
	printf("%u right, %u wrong\n", totals.right, totals.wrong);
	return rc < 0 ? rc : totals.error;
}

int main(int argc, char **argv)
{
	struct muster_options options = { .nameserver = argc > 2 ? argv[2] : NULL };
	struct muster *session = NULL;
	int rc = muster_open(&options, &session);

	if (rc == 0)
		rc = many(session, argc > 1 ? (unsigned int)strtoul(argv[1], NULL, 10) : 1000);
	if (rc < 0)
		fprintf(stderr, "many: %s\n", muster_error_text(rc));
	muster_close(session);
	return rc < 0;
}

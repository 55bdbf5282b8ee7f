/* Many small files through libmuster, some in flight at a time.
 *
 *     bench_small NAMESERVER [FILES [IN_FLIGHT [SIZE]]]
 *
 * Prints one JSON object for the puts and one for the gets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "muster.h"

enum { IN_FLIGHT_MAX = 256 };

struct job {
	struct run *run;
	char path[64];
	uint8_t *data;
};

struct run {
	struct muster *session;
	bool put;
	uint64_t size;
	unsigned int files;
	unsigned int next;
	unsigned int running;
	unsigned int finished; /* whole and right */
	unsigned int copies;   /* fewest reached */
	int error;
	struct job jobs[IN_FLIGHT_MAX];
};

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void job_next(struct job *job);

/* A rate counts only for files that came back whole: each begins with its own path. */
static int check_got(const struct job *job, const struct muster_op *op)
{
	size_t size = sizeof(job->path) < job->run->size ? sizeof(job->path) : job->run->size;

	if (muster_op_get(op)->bytes != job->run->size || memcmp(job->data, job->path, size) != 0)
		return -MUSTER_E_CORRUPT;
	return 0;
}

static void job_done(void *context, struct muster_op *op, int result)
{
	struct job *job = context;
	struct run *run = job->run;

	run->running--;
	if (!run->put && result == 0)
		result = check_got(job, op);
	run->finished += result == 0;
	if (result < 0 && run->error == 0)
		run->error = result;
	if (run->put && result == 0 && muster_op_put(op)->copies < run->copies)
		run->copies = muster_op_put(op)->copies;
	job_next(job);
}

static int start_put(struct job *job)
{
	struct muster_put_args args = {
		.path = job->path,
		.source = { .fd = -1, .data = job->data, .size = job->run->size },
		.flags = MUSTER_REPLACE,
	};

	memcpy(job->data, job->path, sizeof(job->path));
	return muster_start_put(job->run->session, &args, (struct muster_then){ job_done, job },
				NULL);
}

static int start_get(struct job *job)
{
	struct muster_get_args args = {
		.path = job->path,
		.sink = { .fd = -1, .data = job->data, .size = job->run->size },
	};

	memset(job->data, 0, job->run->size);
	return muster_start_get(job->run->session, &args, (struct muster_then){ job_done, job },
				NULL);
}

static void job_next(struct job *job)
{
	struct run *run = job->run;
	int rc;

	if (run->next == run->files || run->error)
		return;
	memset(job->path, 0, sizeof(job->path));
	snprintf(job->path, sizeof(job->path), "/bench/%u/%u", run->next % 16, run->next);
	run->next++;
	rc = run->put ? start_put(job) : start_get(job);
	if (rc == 0)
		run->running++;
	else
		run->error = rc;
}

static int measure(struct run *run, unsigned int in_flight)
{
	double start = seconds();
	double taken;

	run->next = run->finished = 0;
	run->copies = 9;
	for (unsigned int i = 0; i < in_flight; i++) {
		run->jobs[i].run = run;
		job_next(&run->jobs[i]);
	}
	while (run->running > 0)
		muster_wait(run->session, -1);
	taken = seconds() - start;
	printf("{\"bench\":\"small_%s\",\"files\":%u,\"size\":%llu,\"in_flight\":%u,"
	       "\"seconds\":%.3f,\"files_per_s\":%.0f,\"copies\":%u,\"error\":\"%s\"}\n",
	       run->put ? "put" : "get", run->finished, (unsigned long long)run->size, in_flight,
	       taken, run->finished / taken, run->put ? run->copies : 0,
	       muster_error_name(run->error));
	if (run->error)
		fprintf(stderr, "%s\n", muster_detail(run->session));
	return run->error;
}

static int make_directories(struct muster *session)
{
	char path[32];
	int rc = 0;

	for (unsigned int i = 0; rc == 0 && i < 16; i++) {
		snprintf(path, sizeof(path), "/bench/%u", i);
		rc = muster_mkdir(session, path, MUSTER_PARENTS);
	}
	return rc;
}

static unsigned long argument(int argc, char **argv, int position, unsigned long otherwise)
{
	return argc > position ? strtoul(argv[position], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
	struct muster_options options = { .nameserver = argc > 1 ? argv[1] : NULL };
	struct run *run = calloc(1, sizeof(*run));
	unsigned int in_flight = (unsigned int)argument(argc, argv, 3, 16);
	int rc;

	if (!run || in_flight > IN_FLIGHT_MAX)
		return 2;
	run->files = (unsigned int)argument(argc, argv, 2, 10000);
	run->size = argument(argc, argv, 4, 4096);
	for (unsigned int i = 0; i < in_flight; i++) {
		run->jobs[i].data = calloc(1, run->size + sizeof(run->jobs[i].path));
		if (!run->jobs[i].data)
			return 1;
	}
	rc = muster_open(&options, &run->session);
	if (rc == 0)
		rc = make_directories(run->session);
	run->put = true;
	if (rc == 0)
		rc = measure(run, in_flight);
	run->put = false;
	if (rc == 0)
		rc = measure(run, in_flight);
	if (rc < 0)
		fprintf(stderr, "bench_small: %s\n", muster_error_text(rc));
	muster_close(run->session);
	for (unsigned int i = 0; i < in_flight; i++)
		free(run->jobs[i].data);
	free(run);
	return rc ? 1 : 0;
}

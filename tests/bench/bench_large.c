/* One large file through libmuster.
 *
 *     bench_large NAMESERVER [MIB [COPIES [FILE]]]
 *
 * Puts FILE (made if it is not there), and gets it twice: to nowhere, and to a file. Prints one
 * JSON object each. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "muster.h"

enum { MIB = 1024 * 1024 };

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int make_file(const char *path, unsigned int mib)
{
	static uint64_t block[MIB / 8];
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	uint64_t state = 1;

	if (fd < 0 || lseek(fd, 0, SEEK_END) == (off_t)mib * MIB)
		return fd;
	lseek(fd, 0, SEEK_SET);
	for (unsigned int i = 0; i < mib; i++) {
		for (size_t at = 0; at < MIB / 8; at++) {
			state = state * 6364136223846793005u + 1442695040888963407u;
			block[at] = state;
		}
		if (write(fd, block, MIB) != MIB)
			return -1;
	}
	return ftruncate(fd, (off_t)mib * MIB) < 0 ? -1 : fd;
}

static int nowhere(void *context, const void *data, size_t size)
{
	uint64_t *total = context;

	(void)data;
	*total += size;
	return 0;
}

static int report(const char *what, unsigned int mib, double start, int rc)
{
	double taken = seconds() - start;

	printf("{\"bench\":\"%s\",\"mib\":%u,\"seconds\":%.3f,\"mib_per_s\":%.0f,"
	       "\"error\":\"%s\"}\n",
	       what, mib, taken, mib / taken, muster_error_name(rc));
	fflush(stdout);
	return rc;
}

static int bench(struct muster *session, int fd, unsigned int mib, unsigned int copies)
{
	uint64_t total = 0;
	struct muster_put_args put = {
		.path = "/bench_large",
		.source = { .fd = fd, .size = MUSTER_UNKNOWN },
		.copies = copies,
		.flags = MUSTER_REPLACE,
	};
	struct muster_get_args get = {
		.path = "/bench_large",
		.sink = { .fd = -1, .write = nowhere, .context = &total },
	};
	FILE *file = tmpfile();
	double start = seconds();
	int rc = report("large_put", mib, start, muster_put(session, &put, NULL));

	start = seconds();
	if (rc == 0)
		rc = report("large_get", mib, start, muster_get(session, &get, NULL));
	if (!file)
		return rc ? rc : -MUSTER_E_IO;
	get.sink = (struct muster_sink){ .fd = fileno(file) };
	start = seconds();
	if (rc == 0)
		rc = report("large_get_file", mib, start, muster_get(session, &get, NULL));
	fclose(file);
	return rc;
}

static unsigned int argument(int argc, char **argv, int position, unsigned int otherwise)
{
	return argc > position ? (unsigned int)strtoul(argv[position], NULL, 10) : otherwise;
}

int main(int argc, char **argv)
{
	struct muster_options options = { .nameserver = argc > 1 ? argv[1] : NULL };
	unsigned int mib = argument(argc, argv, 2, 1024);
	char name[] = "/tmp/muster-bench-XXXXXX";
	struct muster *session = NULL;
	int rc = muster_open(&options, &session);
	int fd = -1;

	if (argc <= 4)
		fd = mkstemp(name);
	if (fd >= 0)
		close(fd);
	fd = make_file(argc > 4 ? argv[4] : name, mib);
	if (argc <= 4)
		unlink(name);
	if (rc == 0 && fd >= 0)
		rc = bench(session, fd, mib, argument(argc, argv, 3, 0));
	if (rc < 0)
		fprintf(stderr, "bench_large: %s %s\n", muster_error_text(rc),
			session ? muster_detail(session) : "");
	muster_close(session);
	if (fd >= 0)
		close(fd);
	return rc || fd < 0 ? 1 : 0;
}

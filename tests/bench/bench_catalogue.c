/* How fast the catalogue is on its view: creates, look-ups, listing, removing a large directory. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "batch.h"
#include "catalogue.h"
#include "clock.h"
#include "view.h"

enum { FILES = 100 * 1000, FINDS = 300 * 1000, CREATES_PER_BATCH = 100, BATCHES_PER_APPLY = 10 };

struct bench {
	struct view *view;
	struct kv *kv;
	struct batch_head head;
	struct buffer sealed;
	uint64_t apply_ns; /* spent in what would be the view thread */
	size_t overlay_max;
};

static void must(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "bench_catalogue: %s: %s\n", what, error_text(rc));
	exit(1);
}

static void report(const char *what, uint64_t count, uint64_t ns)
{
	printf("  %-34s %10.0f /s  %8.2f us each\n", what, (double)count * 1e9 / (double)ns,
	       (double)ns / 1e3 / (double)count);
}

static void seal(struct bench *bench)
{
	bench->head.sequence++;
	must(batch_seal(bench->kv, &bench->head, &bench->sealed, &bench->head.previous), "seal");
	view_sealed(bench->view, bench->head.sequence);
}

static void apply(struct bench *bench)
{
	uint64_t start = clock_monotonic_ns();
	size_t overlay = view_overlay_size(bench->view);

	if (overlay > bench->overlay_max)
		bench->overlay_max = overlay;
	must(view_apply(bench->view, (struct slice){ bench->sealed.data, bench->sealed.size }),
	     "apply");
	bench->apply_ns += clock_monotonic_ns() - start;
	buffer_clear(&bench->sealed);
	view_refresh(bench->view);
}

static void path_of(unsigned int i, char ret[64])
{
	snprintf(ret, 64, "/home/%u/file-%u", i % 100, i);
}

static void create(struct bench *bench, unsigned int i)
{
	const struct id client = { "client" };
	struct chunk_row chunk = { .chunk = 1000 + i, .length = 1000 };
	struct new_file file = {
		.entry = { .inode = 1000 + i }, .size = 1000, .chunks = &chunk, .chunk_count = 1
	};
	struct inode inode;
	char path[64];

	path_of(i, path);
	must(catalogue_put_file(bench->kv, slice_of(path), &file, 0, &inode), "put");
	must(result_put(bench->kv, &client, i + 1, slice_of("0123456789abcdef")), "result");
	must(result_trim(bench->kv, &client, i, 8), "trim");
}

static void bench_create(struct bench *bench)
{
	uint64_t start = clock_monotonic_ns();

	for (unsigned int i = 0; i < FILES; i++) {
		create(bench, i);
		if ((i + 1) % CREATES_PER_BATCH == 0)
			seal(bench);
		if ((i + 1) % (CREATES_PER_BATCH * BATCHES_PER_APPLY) == 0)
			apply(bench);
	}
	report("creates (loop's share)", FILES, clock_monotonic_ns() - start - bench->apply_ns);
	report("creates (view thread's share)", FILES, bench->apply_ns);
	printf("  overlay at most %zu KiB\n", bench->overlay_max / 1024);
}

static void bench_find(struct bench *bench)
{
	uint64_t start = clock_monotonic_ns();

	for (unsigned int i = 0; i < FINDS; i++) {
		struct inode inode;
		char path[64];

		path_of(i * 7919 % FILES, path);
		must(catalogue_find(bench->kv, slice_of(path), &inode), "find");
	}
	report("finds of 3 components", FINDS, clock_monotonic_ns() - start);
}

static void bench_list(struct bench *bench)
{
	uint64_t start = clock_monotonic_ns();
	uint8_t space[KV_KEY_SIZE_MAX + 1];
	struct slice key = { 0 }, value;
	uint64_t count = 0;

	while (kv_seek(bench->kv, key, &key, &value) == 0) {
		key = kv_after(key, space);
		count++;
	}
	report("seeks in order", count, clock_monotonic_ns() - start);
}

static bool never_held(void *context, uint64_t inode)
{
	(void)context;
	(void)inode;
	return false;
}

static void count_chunk(void *context, uint64_t chunk)
{
	(void)chunk;
	++*(uint64_t *)context;
}

static void bench_remove(struct bench *bench)
{
	enum { STEPS = 1000 };
	uint64_t start = clock_monotonic_ns(), chunks = 0, worst = 0, total = 0;
	struct garbage_how how = { 1, STEPS, never_held, count_chunk, &chunks };
	const struct trash_limit all = { UINT64_MAX, 1, UINT64_MAX };
	struct removed removed, gone;
	int steps;

	must(catalogue_remove(bench->kv, slice_of("/home"), REMOVE_TREE, (struct moment){ 0 },
			      &removed),
	     "remove");
	printf("  remove of %" PRIu64 " entries %.1f ms\n", removed.entries,
	       (double)(clock_monotonic_ns() - start) / 1e6);
	must(trash_collect(bench->kv, &all, (struct moment){ 0 }, &gone), "trash");
	do {
		uint64_t ns;

		start = clock_monotonic_ns();
		steps = catalogue_collect(bench->kv, &how);
		must(steps, "collect");
		ns = clock_monotonic_ns() - start;
		total += ns;
		worst = ns > worst ? ns : worst;
		seal(bench);
		if (bench->head.sequence % BATCHES_PER_APPLY == 0)
			apply(bench);
	} while (steps == STEPS);
	report("chunks collected", chunks, total);
	printf("  %d steps of collecting at most %.2f ms\n", STEPS, (double)worst / 1e6);
}

static void bench_run(const char *path)
{
	struct bench bench = { 0 };
	struct new_entry how = { .inode = 2, .parents = true };
	uint64_t applied;
	char name[64];

	must(view_open(path, &bench.view, &applied), "open");
	bench.kv = view_kv(bench.view);
	must(catalogue_format(bench.kv, &(struct id){ { 1 } }, "bench"), "format");
	must(catalogue_mkdir(bench.kv, slice_of("/home"), &how, NULL, NULL), "mkdir");
	for (unsigned int i = 0; i < 100; i++) {
		how.inode = 100 + i;
		snprintf(name, sizeof(name), "/home/%u", i);
		must(catalogue_mkdir(bench.kv, slice_of(name), &how, NULL, NULL), "mkdir");
	}
	printf("catalogue, %d files\n", FILES);
	bench_create(&bench);
	bench_find(&bench);
	bench_list(&bench);
	bench_remove(&bench);
	view_close(bench.view);
	buffer_done(&bench.sealed);
}

int main(void)
{
	char path[] = "/tmp/muster-bench-XXXXXX";

	if (!mkdtemp(path) || chdir(path) < 0)
		return 1;
	bench_run("view");
	unlink("view/data.mdb");
	unlink("view/lock.mdb");
	rmdir("view");
	return rmdir(path) < 0;
}

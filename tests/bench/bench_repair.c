/* What the walk over all chunks costs a name server: the base of repair. One chunk per file, three
 * copies of each on a thousand servers, on the real view.
 *
 *     bench_repair [CHUNKS]      300 000; ten million take some minutes and 6 GB of disk
 *
 * Prints one JSON line: what a chunk costs and what part of a core the walk takes while it runs, on
 * the clock and of the processor alone; its longest step; the memory that is not the view's. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "nameserver.h"
#include "view.h"

enum {
	CHUNKS_DEFAULT = 300 * 1000,
	SERVERS = 1000,
	COPIES = 3,
	PER_BATCH = 1000,
	IDLE_NS = 50 * 1000, /* a step that took less had nothing to do */
};

struct walk {
	double chunk_us, step_ms_most, percent, processor_percent;
};

struct bench {
	struct view *view;
	struct kv *kv;
	struct batch_head head;
	struct buffer sealed;
	struct nameserver *ns;
	struct ns_outbox outbox;
	uint64_t now_ms;
	unsigned int chunks;
	struct walk walk;
};

static void must(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "bench_repair: %s: %s\n", what, error_text(rc));
	exit(1);
}

static void apply(struct bench *bench)
{
	bench->head.sequence++;
	must(batch_seal(bench->kv, &bench->head, &bench->sealed, &bench->head.previous), "seal");
	view_sealed(bench->view, bench->head.sequence);
	must(view_apply(bench->view, (struct slice){ bench->sealed.data, bench->sealed.size }),
	     "apply");
	buffer_clear(&bench->sealed);
	view_refresh(bench->view);
}

static void servers_make(struct bench *bench)
{
	for (uint16_t i = 1; i <= SERVERS; i++) {
		struct member_row row = { .number = i };

		put_u16(row.node.bytes, i);
		snprintf(row.name, sizeof(row.name), "host%u", (unsigned int)i);
		must(member_put(bench->kv, &row), "server");
	}
	apply(bench);
}

static void file_make(struct bench *bench, unsigned int i)
{
	struct chunk_row chunk = { .chunk = 1000 + i, .length = 1000 };
	struct new_file file = { .entry = { .inode = 1000 + i, .copies = COPIES },
				 .size = 1000,
				 .chunks = &chunk,
				 .chunk_count = 1 };
	struct holders holders = { .count = COPIES };
	struct inode inode;
	char path[32];

	for (unsigned int j = 0; j < COPIES; j++)
		holders.numbers[j] =
			(uint16_t)(1 + i % (SERVERS / COPIES) + j * (SERVERS / COPIES));
	snprintf(path, sizeof(path), "/file-%u", i);
	must(catalogue_put_file(bench->kv, slice_of(path), &file, 0, &inode), "file");
	must(holders_set(bench->kv, chunk.chunk, &holders), "holders");
}

static void step(struct bench *bench, struct ns_event *event)
{
	event->now_ms = bench->now_ms;
	nameserver_step(bench->ns, event, &bench->outbox);
	nameserver_end_turn(bench->ns, &bench->outbox);
	ns_outbox_clear(&bench->outbox);
}

/* Turns until all chunks were seen: ticks, as they are due. */
static void walk(struct bench *bench)
{
	uint64_t spent_ns = 0, worst_ns = 0, start_ms = bench->now_ms, worked_ms = 1;
	clock_t processor = clock();
	uint64_t end_ms = bench->now_ms + (uint64_t)bench->chunks / 20;

	while (bench->now_ms < end_ms) {
		uint64_t start = clock_monotonic_ns(), took;

		step(bench, &(struct ns_event){ .kind = NS_TICK });
		took = clock_monotonic_ns() - start;
		if (took >= IDLE_NS)
			worked_ms = bench->now_ms - start_ms;
		else if (bench->now_ms > 2000)
			end_ms = 0;
		spent_ns += took;
		worst_ns = took > worst_ns ? took : worst_ns;
		bench->now_ms += took / 1000000 + 1;
		if (bench->now_ms < nameserver_deadline(bench->ns))
			bench->now_ms = nameserver_deadline(bench->ns);
	}
	processor = clock() - processor;
	bench->walk = (struct walk){
		.chunk_us = (double)spent_ns / 1e3 / bench->chunks,
		.step_ms_most = (double)worst_ns / 1e6,
		.percent = 100.0 * (double)spent_ns / (double)worked_ms / 1e6,
		.processor_percent =
			100.0 * 1e3 * (double)processor / CLOCKS_PER_SEC / (double)worked_ms,
	};
}

/* The view's pages are the kernel's. */
static long memory_mib(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[128];
	long kib = 0;

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "RssAnon: %ld", &kib) == 1)
			break;
	}
	if (file)
		fclose(file);
	return kib / 1024;
}

static void bench_run(const char *path, unsigned int chunks)
{
	struct nameserver_config config = { 0 };
	struct bench bench = { .now_ms = 1000, .chunks = chunks };
	uint64_t applied;

	must(view_open(path, &bench.view, &applied), "open");
	bench.kv = view_kv(bench.view);
	must(catalogue_format(bench.kv, &(struct id){ { 1 } }, "bench"), "format");
	servers_make(&bench);
	for (unsigned int i = 0; i < chunks; i++) {
		file_make(&bench, i);
		if ((i + 1) % PER_BATCH == 0)
			apply(&bench);
	}
	config.sequence = bench.head.sequence;
	config.hash = bench.head.previous;
	must(nameserver_new(&config, bench.kv, bench.now_ms, &bench.ns), "name server");
	step(&bench, &(struct ns_event){ .kind = NS_TICK });
	walk(&bench);
	printf("{\"bench\": \"repair\", \"chunks\": %u, \"servers\": %d, \"chunk_us\": %.2f, "
	       "\"step_ms_most\": %.2f, \"core_percent\": %.1f, \"processor_percent\": %.1f, "
	       "\"memory_mib\": %ld}\n",
	       chunks, SERVERS, bench.walk.chunk_us, bench.walk.step_ms_most, bench.walk.percent,
	       bench.walk.processor_percent, memory_mib());
	nameserver_free(bench.ns);
	ns_outbox_done(&bench.outbox);
	view_close(bench.view);
	buffer_done(&bench.sealed);
}

int main(int argc, char **argv)
{
	unsigned long chunks = argc > 1 ? strtoul(argv[1], NULL, 10) : CHUNKS_DEFAULT;
	char path[] = "/tmp/muster-bench-XXXXXX";

	if (chunks == 0 || chunks > 100 * 1000 * 1000 || !mkdtemp(path) || chdir(path) < 0)
		return 1;
	bench_run("view", (unsigned int)chunks);
	unlink("view/data.mdb");
	unlink("view/lock.mdb");
	rmdir("view");
	return rmdir(path) < 0;
}

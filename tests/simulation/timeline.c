/* The queue of what will happen, the run loop, the trace. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "hash.h"
#include "world.h"

static bool is_before(const struct due *a, const struct due *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

static void queue_push(struct world *w, const struct due *due)
{
	size_t at = w->queue_count++;

	if (w->queue_count > w->queue_capacity) {
		w->queue_capacity = w->queue_capacity ? w->queue_capacity * 2 : 1024;
		w->queue = realloc(w->queue, w->queue_capacity * sizeof(*w->queue));
		if (!w->queue)
			abort();
	}
	for (; at > 0 && is_before(due, &w->queue[(at - 1) / 2]); at = (at - 1) / 2)
		w->queue[at] = w->queue[(at - 1) / 2];
	w->queue[at] = *due;
}

static struct due queue_pop(struct world *w)
{
	struct due first = w->queue[0];
	struct due last = w->queue[--w->queue_count];
	size_t at = 0;

	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= w->queue_count)
			break;
		if (child + 1 < w->queue_count && is_before(&w->queue[child + 1], &w->queue[child]))
			child++;
		if (!is_before(&w->queue[child], &last))
			break;
		w->queue[at] = w->queue[child];
		at = child;
	}
	if (w->queue_count)
		w->queue[at] = last;
	return first;
}

void world_after(struct world *w, uint64_t delay_us, struct due due)
{
	due.at_us = w->now_us + delay_us;
	due.order = ++w->order;
	due.life = due.host ? due.host->life : 0;
	queue_push(w, &due);
}

static void due_run(struct world *w, struct due *due)
{
	struct host *host = due->host;

	if (host && host->up && host->life == due->life && host_is_paused(host)) {
		due->at_us = host->paused_until_us;
		due->order = ++w->order;
		queue_push(w, due);
		return;
	}
	if (!host || (host->up && host->life == due->life)) {
		w->result.events++;
		world_fold(w, due->a, host ? host->index : HOSTS_MAX);
		due->run(w, due);
	}
	if (due->owned)
		free(due->context);
}

static int due_compare(const void *a, const void *b)
{
	return is_before(a, b) ? -1 : 1;
}

void world_wake(struct world *w, struct host *host)
{
	for (size_t i = 0; i < w->queue_count; i++) {
		if (w->queue[i].host == host && w->queue[i].at_us == host->paused_until_us)
			w->queue[i].at_us = w->now_us;
	}
	if (host->kind == HOST_NAMESERVER && w->config.sabotage == SABOTAGE_NO_LEASE)
		host->clock_ms += (host->paused_until_us - w->now_us) / MS;
	host->paused_until_us = 0;
	/* What is in order is a heap too. */
	qsort(w->queue, w->queue_count, sizeof(*w->queue), due_compare);
}

void world_run_until(struct world *w, uint64_t until_us)
{
	while (!w->result.failed && w->queue_count && w->queue[0].at_us <= until_us) {
		struct due due = queue_pop(w);

		w->now_us = due.at_us;
		due_run(w, &due);
	}
	if (!w->result.failed && w->now_us < until_us)
		w->now_us = until_us;
}

/* ---- luck ---- */

uint64_t world_below(struct world *w, uint64_t bound)
{
	return prng_below(&w->prng, bound);
}

bool world_chance(struct world *w, unsigned int percent)
{
	return world_below(w, 100) < percent;
}

struct id world_id(struct world *w)
{
	struct id id;

	put_u64(id.bytes, prng_next(&w->prng));
	put_u64(id.bytes + 8, prng_next(&w->prng) | 1);
	return id;
}

uint64_t world_wall_ms(const struct world *w)
{
	return (uint64_t)((int64_t)(w->wall_base_ms + w->now_us / MS) + w->wall_jump_ms);
}

/* ---- what is told ---- */

void world_fold(struct world *w, uint64_t what, uint64_t value)
{
	uint64_t words[3] = { w->now_us, what, value };

	w->result.hash = hash64(words, sizeof(words), w->result.hash);
}

void world_fold_bytes(struct world *w, uint64_t what, const void *data, size_t size)
{
	world_fold(w, what, hash64(data, size, 0));
}

void world_trace(struct world *w, const char *format, ...)
{
	va_list args;

	if (!w->config.trace)
		return;
	printf("%12.6f ", (double)w->now_us / SECOND);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

void world_fail(struct world *w, const char *format, ...)
{
	va_list args;
	size_t used;

	if (w->result.failed)
		return;
	w->result.failed = true;
	used = (size_t)snprintf(w->result.message, sizeof(w->result.message),
				"at %.6f s: ", (double)w->now_us / SECOND);
	va_start(args, format);
	vsnprintf(w->result.message + used, sizeof(w->result.message) - used, format, args);
	va_end(args);
	world_trace(w, "FAILED %s", w->result.message);
}

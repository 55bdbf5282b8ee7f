#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"

enum { ARENA_BLOCK = 4096 };

struct arena_block {
	struct arena_block *next;
	size_t size; /* of data */
	size_t used;
	alignas(max_align_t) uint8_t data[];
};

static struct arena_block *block_new(struct arena *arena, size_t size)
{
	size_t room = size < ARENA_BLOCK ? ARENA_BLOCK : size;
	struct arena_block *block;

	if (room > SIZE_MAX - sizeof(*block))
		return NULL;
	block = malloc(sizeof(*block) + room);
	if (!block)
		return NULL;
	*block = (struct arena_block){ .next = arena->blocks, .size = room };
	arena->blocks = block;
	return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	const size_t align = alignof(max_align_t);
	struct arena_block *block = arena->blocks;
	void *ret;

	if (size > SIZE_MAX - align)
		return NULL;
	/* Nothing still gets an address of its own, so that NULL always means failure. */
	size = size ? (size + align - 1) / align * align : align;
	if (arena->limit && (arena->used > arena->limit || size > arena->limit - arena->used))
		return NULL;
	if (!block || size > block->size - block->used)
		block = block_new(arena, size);
	if (!block)
		return NULL;
	ret = block->data + block->used;
	block->used += size;
	arena->used += size;
	return memset(ret, 0, size);
}

void arena_reset(struct arena *arena)
{
	struct arena_block *keep = arena->blocks;

	arena->used = 0;
	if (!keep)
		return;
	for (struct arena_block *block = keep->next, *next; block; block = next) {
		next = block->next;
		free(block);
	}
	keep->next = NULL;
	keep->used = 0;
}

void arena_done(struct arena *arena)
{
	arena_reset(arena);
	free(arena->blocks);
	arena->blocks = NULL;
}

/* Contents: bytes that say which put or append they come from. */
#include <stdlib.h>

#include "hash.h"
#include "world.h"

void content_fill(uint64_t number, uint8_t *ret, size_t size)
{
	struct prng prng = { number * 0x9e3779b97f4a7c15u };

	for (size_t at = 0; at < size; at += 8) {
		uint8_t word[8];
		size_t part = size - at < 8 ? size - at : 8;

		put_u64(word, at == 0 ? number : prng_next(&prng));
		memcpy(ret + at, word, part);
	}
}

static void make_room(struct world *w)
{
	if (w->content_count < w->content_capacity)
		return;
	w->content_capacity = w->content_count ? 2 * w->content_count : 256;
	w->contents = realloc(w->contents, w->content_capacity * sizeof(*w->contents));
	if (!w->contents)
		abort();
}

uint64_t content_new(struct world *w, uint64_t size)
{
	uint64_t number = w->content_count;
	uint8_t *bytes = malloc(size + 1);

	if (!bytes)
		abort();
	if (size == 0 && number > 0) {
		free(bytes);
		return 0;
	}
	make_room(w);
	content_fill(number, bytes, size);
	w->contents[w->content_count++] =
		(struct content){ .size = size, .digest = digest_of(bytes, size) };
	free(bytes);
	return number;
}

bool content_find(const struct world *w, uint64_t size, const struct digest *digest, uint64_t *ret)
{
	for (uint64_t i = 0; i < w->content_count; i++) {
		if (w->contents[i].size == size && digest_equal(&w->contents[i].digest, digest)) {
			*ret = i;
			return true;
		}
	}
	return false;
}

/* ---- contents made of several ---- */

uint64_t content_join(struct world *w, uint64_t before, uint64_t piece)
{
	uint64_t number;

	if (before == 0 || piece == 0)
		return before + piece;
	for (number = w->contents[before].joined; number; number = w->contents[number].next) {
		if (w->contents[number].piece == piece)
			return number;
	}
	make_room(w);
	number = w->content_count++;
	w->contents[number] = (struct content){
		.size = w->contents[before].size + w->contents[piece].size,
		.piece = piece,
		.next = w->contents[before].joined,
	};
	w->contents[before].joined = number;
	return number;
}

/* Each piece begins with its number. */
static uint64_t piece_at(const struct world *w, struct slice bytes)
{
	uint64_t number = bytes.size >= 8 ? get_u64(bytes.data) : 0;
	uint8_t *expected;
	bool same;

	if (number == 0 || number >= w->content_count || w->contents[number].piece ||
	    w->contents[number].size > bytes.size)
		return 0;
	expected = malloc(w->contents[number].size);
	if (!expected)
		abort();
	content_fill(number, expected, w->contents[number].size);
	same = memcmp(expected, bytes.data, w->contents[number].size) == 0;
	free(expected);
	return same ? number : 0;
}

bool content_parse(struct world *w, struct slice bytes, uint64_t *ret)
{
	*ret = 0;
	while (bytes.size > 0) {
		uint64_t piece = piece_at(w, bytes);

		if (piece == 0)
			return false;
		*ret = content_join(w, *ret, piece);
		bytes.data += w->contents[piece].size;
		bytes.size -= w->contents[piece].size;
	}
	return *ret != 0;
}

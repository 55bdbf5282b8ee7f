/* Messages whose fields are drawn from a fuzzer's bytes. Most draws name something that is known:
 * an id, a number, a string; so what comes out means something to whom it is given. */
#ifndef MUSTER_TESTS_MESSAGE_DRAWN_H
#define MUSTER_TESTS_MESSAGE_DRAWN_H

#include "arena.h"
#include "codec.h"

struct draw {
	struct slice rest;   /* zeros follow */
	struct arena *arena; /* strings, lists and bodies live here */
	const struct id *ids;
	unsigned int id_count;
	const struct slice *words;
	unsigned int word_count;
	const uint64_t *numbers;
	unsigned int number_count;
	/* Where a digest is wanted; may be none. */
	const struct digest *digests;
	unsigned int digest_count;
};

bool draw_is_over(const struct draw *draw);
uint8_t draw_byte(struct draw *draw);
uint64_t draw_number(struct draw *draw, uint64_t max);
struct id draw_id(struct draw *draw);
struct slice draw_word(struct draw *draw, size_t max);
/* A request or a reply of that kind; now and then a reply that refuses. */
struct message draw_message(struct draw *draw, const struct message_info *info, bool reply);
/* One of the table. */
const struct message_info *draw_info(struct draw *draw);
/* Encodes it anew into `ret`; false: it is over a maximum. *ret_header is of the frame. */
bool draw_frame(const struct message *message, struct buffer *ret, struct frame_header *ret_header);

#endif

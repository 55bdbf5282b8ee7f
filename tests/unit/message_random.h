/* Messages of every kind, filled at random from the field tables: what a test of the whole table
 * feeds on. The same seed gives the same messages. */
#ifndef MUSTER_TESTS_MESSAGE_RANDOM_H
#define MUSTER_TESTS_MESSAGE_RANDOM_H

#include "arena.h"
#include "codec.h"
#include "random.h"

struct message_random {
	struct prng prng;
	struct arena *arena; /* strings, lists and bodies live here */
	size_t str_max;      /* bytes of a string, where its own maximum is not lower */
	size_t list_max;     /* records of a list, same */
};

/* A request or reply of that kind; all numbers within their maxima. */
struct message message_random(struct message_random *from, const struct message_info *info,
			      bool reply);

/* One of each kind and direction, one after the other; *position starts at 0. NULL: no more. */
const struct message_info *message_each(unsigned int *position, bool *ret_reply);

#endif

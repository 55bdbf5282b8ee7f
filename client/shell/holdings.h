/* What each server really holds of a file, found by having every copy read. */
#ifndef MUSTER_SHELL_HOLDINGS_H
#define MUSTER_SHELL_HOLDINGS_H

#include "servers.h"

enum { HOLDINGS_MAX = 256 };

/* One server's copies of a file's chunks, taken together. */
struct holding {
	uint8_t node[16];
	enum muster_copy_state state; /* the worst */
	unsigned int chunks;          /* that it should hold */
	bool has_digest;              /* of all that it holds, as far as it can be told */
	uint8_t digest[16];
};

struct holdings {
	struct holding items[HOLDINGS_MAX]; /* in the order in which they were told */
	unsigned int count;
};

/* Has the copies read. 0 or more: how many are not right; or an error of the session. */
int holdings_read(struct call *call, const char *path, const struct muster_entry *entry,
		  struct holdings *ret);

const char *copy_state_word(enum muster_copy_state state);
enum tone copy_state_tone(enum muster_copy_state state);

#endif

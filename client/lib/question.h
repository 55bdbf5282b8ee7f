/* One question to the name server and what becomes of the answer. Only client/lib includes this.
 *
 * Each question of muster.h is built in one place, as a struct question, and then either started or
 * waited for. The answer takes the shape of muster.h while the reply is there; see answers.c. */
#ifndef MUSTER_LIB_QUESTION_H
#define MUSTER_LIB_QUESTION_H

#include "engine.h"

struct question {
	unsigned int code;
	int error; /* it cannot be asked: what is wrong with it */
	union {
		struct stat_request stat;
		struct list_request list;
		struct mkdir_request mkdir;
		struct remove_request remove;
		struct create_request create;
		struct set_copies_request set_copies;
		struct rename_request rename;
		struct copy_request copy;
		struct trash_list_request trash_list;
		struct trash_restore_request trash_restore;
		struct trash_purge_request trash_purge;
		struct nodes_request nodes;
		struct status_request status;
		struct verify_request verify;
		struct check_request check;
		struct events_request events;
		struct drain_request drain;
		struct forget_request forget;
		struct format_request format;
	};
};

/* The answer to STAT. */
struct stat_answer {
	struct muster_entry entry; /* first: it is also what muster_op_stat() shows */
	unsigned int count;
	struct muster_holder holders[];
};

/* Where a call that waits finds what came out. */
struct waited {
	bool done;
	int result;
	void *answer; /* NULL: none */
};

/* ---- question.c ---- */

struct muster_then then_wait(struct waited *waited);
/* Returns the result. What the answer is belongs to the caller then. */
int wait_for(struct muster_op *op, struct waited *waited);
/* Puts `size` bytes of the answer into `ret`, which may be NULL; frees it. Returns the result. */
int answer_take(struct waited *waited, void *ret, size_t size);

int question_start(struct muster *session, const struct question *question, struct muster_then then,
		   struct muster_op **ret);
/* Waits. `size` bytes of the answer go to `ret`, which may be NULL. Returns the result. */
int question_ask(struct muster *session, const struct question *question, void *ret, size_t size);
/* Waits. *ret: the whole answer, which the caller frees; NULL after a failure. */
int question_page(struct muster *session, const struct question *question, void **ret);
/* What the operation's answer is if it asked that; else NULL. */
const void *question_answer(const struct muster_op *op, unsigned int code);
/* Bits of enum muster_flags as those of a message: flags[i] stands for 1 << i. */
uint8_t flags_translate(unsigned int flags, const uint8_t table[static 8]);

/* ---- answers.c ---- */

/* Gives the operation its answer. Returns its result. */
int answer_make(struct muster_op *op, const void *reply);

#endif

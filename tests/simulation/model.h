/* What a client may see of a path, and a check of what it saw.
 *
 * Each path is a register by itself: absent, a directory, or a file with a content number and a
 * version. The history is what clients asked for and were told, with the times of both; the check
 * looks for an order of the operations, each somewhere between its question and its answer, in
 * which every answer is right (just-in-time linearization: Lowe, "Testing for linearizability",
 * 2017). An operation whose answer never came may have happened at any time after its question, or
 * never. */
#ifndef MUSTER_TESTS_MODEL_H
#define MUSTER_TESTS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum model_kind {
	MODEL_PUT,     /* replaces a file or makes one */
	MODEL_PUT_NEW, /* only makes one */
	MODEL_CREATE,
	MODEL_MKDIR,
	MODEL_REMOVE,
	MODEL_APPEND,  /* to a file */
	MODEL_TAKE,    /* a file, which goes on elsewhere as it was */
	MODEL_BRING,   /* a file from elsewhere as it was, in the place of a file or of nothing */
	MODEL_RESTORE, /* what was here comes back from the trash */
	MODEL_PURGE,   /* the trash */
	MODEL_EMPTY,   /* all of the store */
	MODEL_READ,
};

enum model_outcome {
	MODEL_OK, /* reads: a file */
	MODEL_DIRECTORY,
	MODEL_ABSENT,
	MODEL_EXISTS,   /* a file or a directory */
	MODEL_KEPT_NOT, /* there is nothing to restore */
	MODEL_NOTHING,  /* refused: surely no effect */
	MODEL_DOUBT,
};

enum { MODEL_PATH_MAX = 64, MODEL_REGISTERS_MAX = 64, MODEL_ANY = 0 };

struct model_op {
	unsigned int path;
	enum model_kind kind;
	uint64_t content; /* written or read; the content of 0 bytes is 0 */
	bool content_known;
	uint64_t version; /* that the answer told; MODEL_ANY: it did not */
	enum model_outcome outcome;
	uint64_t asked_us, told_us; /* told: UINT64_MAX while there is no answer */
	uint64_t counted;           /* then: no later batch than this one is behind the answer */
	unsigned int who;
};

struct model {
	char paths[MODEL_REGISTERS_MAX][MODEL_PATH_MAX];
	unsigned int path_count;
	struct model_op *ops;
	size_t count, capacity;
	unsigned int blurred; /* paths with too many doubtful operations to decide */
	uint64_t kept_us;     /* so long at least things are kept in the trash */
	/* The number of the content that is one with another appended. */
	uint64_t (*join)(void *context, uint64_t before, uint64_t piece);
	void *context;
};

unsigned int model_path(struct model *model, const char *path);
/* Returns its position, for model_answer. */
size_t model_ask(struct model *model, const struct model_op *op);
void model_answer(struct model *model, size_t position, const struct model_op *told);
/* What was answered then becomes known only now. */
void model_learn(struct model *model, size_t position, const struct model_op *told);
/* True if every path has an order; else `message` says which has none and shows the end of it. */
bool model_check(struct model *model, char *message, size_t size);
void model_done(struct model *model);

#endif

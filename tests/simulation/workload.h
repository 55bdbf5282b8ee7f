/* Inside the workload: workload.c asks and hears the answers, workload_draw.c thinks of what to
 * ask, past.c looks at answers that may be old. */
#ifndef MUSTER_TESTS_WORKLOAD_H
#define MUSTER_TESTS_WORKLOAD_H

#include "world.h"

enum { TREE_UNMADE, TREE_ASKED, TREE_MADE };
enum {
	PATHS = 10,
	RESTORED = 4,  /* from which on things are restored */
	ROOT_PATHS = 6 /* what is not in the tree */
};
#define TREE "/t"

struct workload_op {
	struct workload_op *next;
	struct host *host;
	struct op_plan plan;
	bool must_succeed;
	uint64_t began_us;
	bool of_past, of_nameserver; /* degraded answers came, and from whom */
	struct journal_head past;    /* the oldest copy that they came from */
	unsigned int formats;        /* when it began */
	unsigned int asked;          /* positions in the model, one for each path it is about */
	size_t positions[PATHS];
	unsigned int paths[PATHS];
};

struct workload {
	struct workload_op *ops;
	unsigned int tree;
	unsigned int formats;    /* begun so far, */
	unsigned int formatting; /* of these not answered yet */
	unsigned int at_once;
	uint64_t gap_us;
	unsigned int size_class;
	bool quiet;
};

/* workload_draw.c */
extern const char *const workload_paths[PATHS];
bool is_aside(const char *path);
void workload_draw(struct world *w, struct op_plan *plan);

/* past.c: the answer may be of the past, but of the past of this path it must be, and not of a
 * moment before what its copy had of the catalogue. */
void past_check(struct world *w, const struct workload_op *op, unsigned int which,
		const struct model_op *told);
void past_free(struct world *w);

#endif

/* Messages in their text form, taken apart and compared. */
#ifndef MUSTER_TESTS_SCRIPT_TEXT_H
#define MUSTER_TESTS_SCRIPT_TEXT_H

#include "arena.h"
#include "buffer.h"
#include "bytes.h"

enum node_kind { NODE_SCALAR, NODE_RECORD, NODE_LIST };

struct node {
	enum node_kind kind;
	struct slice name; /* of the field */
	struct slice text; /* as written, brackets and quotes included */
	struct node *first, *next;
};

/* Fields `a=1 b={…}` up to the end of the text; NULL: not in this form. The result is a record. */
struct node *node_parse(struct slice text, struct arena *arena);
const struct node *node_field(const struct node *record, const char *name);

struct variable {
	char name[64];
	struct buffer value;
	struct variable *next;
};
struct variables {
	struct variable *first;
};
const struct variable *variable_find(const struct variables *variables, struct slice name);
int variable_set(struct variables *variables, struct slice name, struct slice value);
void variables_done(struct variables *variables);

/* Replaces each $name that is set. Appends to `ret`, terminated. */
void text_expand(const struct variables *variables, const char *text, struct buffer *ret);

/* Every field expected is found; unset variables take what is there. False: `ret_field` is the name
 * of the first that differs. */
bool node_match(const struct node *expected, const struct node *actual, struct variables *variables,
		struct slice *ret_field);

#endif

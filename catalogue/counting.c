/* Counting what a tree holds: at once, or in steps ahead of the change that needs to know. */
#include <stdlib.h>

#include "rows.h"

/* A tree that changes all the time is counted at once in the end. */
enum { BEGINNINGS_MAX = 4 };

struct tree_count {
	struct tree_count *next; /* of the same kv */
	struct inode root;
	struct walk walk;
	struct totals totals;
	unsigned int beginnings;
	bool changed; /* since it began, also if it has come to its end */
	bool ended;
};

static void begin(struct tree_count *count)
{
	count->totals = (struct totals){ 0 };
	totals_add(&count->totals, &count->root);
	walk_begin(&count->walk, count->root.id);
	count->changed = count->ended = false;
	count->beginnings++;
}

int tree_count_new(struct kv *kv, struct slice path, struct tree_count **ret)
{
	struct tree_count *count = calloc(1, sizeof(*count));
	int rc = count ? catalogue_find(kv, path, &count->root) : -ERR_NO_MEMORY;

	if (rc == 0 && count->root.type != ENTRY_DIRECTORY)
		rc = -ERR_NOT_DIR;
	if (rc < 0) {
		free(count);
		return rc;
	}
	begin(count);
	count->next = kv->counts;
	kv->counts = count;
	*ret = count;
	return 0;
}

void tree_count_free(struct kv *kv, struct tree_count *count)
{
	struct tree_count **at = &kv->counts;

	if (!count)
		return;
	while (*at != count)
		at = &(*at)->next;
	*at = count->next;
	free(count);
}

int tree_count_step(struct kv *kv, struct tree_count *count, unsigned int most)
{
	struct inode below;

	if (count->changed)
		begin(count);
	for (unsigned int i = 0; i < most || count->beginnings > BEGINNINGS_MAX; i++) {
		int rc = count->ended ? -ERR_NOT_FOUND : walk_next(kv, &count->walk, &below);

		count->ended = rc == -ERR_NOT_FOUND;
		if (rc < 0)
			return count->ended ? 1 : rc;
		totals_add(&count->totals, &below);
	}
	return 0;
}

void tree_touched(struct kv *kv, uint64_t inode)
{
	for (struct tree_count *count = kv->counts; count; count = count->next)
		count->changed = count->changed || inode_is_below(kv, inode, count->root.id) != 0;
}

/* What was counted ahead. */
static bool is_counted(const struct kv *kv, const struct inode *inode, struct totals *sum)
{
	for (const struct tree_count *count = kv->counts; count; count = count->next) {
		if (count->root.id != inode->id || !count->ended || count->changed)
			continue;
		*sum = count->totals;
		return true;
	}
	return false;
}

int subtree_count(struct kv *kv, const struct inode *inode, struct totals *sum)
{
	struct inode below;
	struct walk walk;
	int rc;

	if (is_counted(kv, inode, sum))
		return 0;
	*sum = (struct totals){ 0 };
	totals_add(sum, inode);
	if (inode->type != ENTRY_DIRECTORY)
		return 0;
	walk_begin(&walk, inode->id);
	while ((rc = walk_next(kv, &walk, &below)) == 0)
		totals_add(sum, &below);
	return rc == -ERR_NOT_FOUND ? 0 : rc;
}

/* Renaming, and finding where a thing goes that is moved or copied. */
#include "moving.h"

#include "path.h"

enum { BESIDE_TRIES = 1000, BESIDE_MAX = 8 }; /* "(999)" */

/* ---- where to ---- */

static int path_put(struct destination *ret, struct slice directory, struct slice name)
{
	size_t above = directory.size > 1 ? directory.size : 0;

	ret->path_size = above + 1 + name.size;
	if (ret->path_size > PATH_SIZE_MAX || name.size > NAME_SIZE_MAX)
		return -ERR_NAME_TOO_LONG;
	memcpy(ret->path, directory.data, above);
	ret->path[above] = '/';
	memcpy(ret->path + above + 1, name.data, name.size);
	ret->name = (struct slice){ ret->path + above + 1, name.size };
	return path_check(destination_path(ret));
}

static int occupant_find(struct kv *kv, struct destination *ret)
{
	uint64_t id;
	int rc = dirent_get(kv, ret->parent.id, ret->name, &id);

	ret->occupied = rc == 0;
	if (rc == -ERR_NOT_FOUND)
		return 0;
	return rc < 0 ? rc : row_expected(inode_get(kv, id, &ret->old));
}

/* "stem(number).ext", the stem cut so that it fits, but not inside of a character. */
static struct slice name_beside(struct slice name, bool file, unsigned int number, uint8_t *space)
{
	char text[BESIDE_MAX + 1];
	const uint8_t *dot = file ? memrchr(name.data, '.', name.size) : NULL;
	size_t stem = dot && dot > name.data ? (size_t)(dot - name.data) : name.size;
	size_t rest = name.size - stem, added = 0, at;

	for (unsigned int left = number; left || !added; left /= 10)
		text[BESIDE_MAX - added++] = (char)('0' + left % 10);
	while (stem > 1 && (stem + added + 2 + rest > NAME_SIZE_MAX))
		stem--;
	while (stem > 1 && stem < name.size - rest && (name.data[stem] & 0xc0) == 0x80)
		stem--;
	memcpy(space, name.data, stem);
	at = stem;
	space[at++] = '(';
	memcpy(space + at, text + BESIDE_MAX + 1 - added, added);
	at += added;
	space[at++] = ')';
	memcpy(space + at, name.data + name.size - rest, rest);
	return (struct slice){ space, at + rest };
}

static int beside_find(struct kv *kv, bool file, struct destination *ret)
{
	uint8_t wanted[NAME_SIZE_MAX], space[2 * NAME_SIZE_MAX];
	uint8_t above[PATH_SIZE_MAX];
	struct slice name = { wanted, ret->name.size };
	struct slice directory = { above, ret->path_size - ret->name.size - 1 };

	memcpy(wanted, ret->name.data, name.size);
	memcpy(above, ret->path, directory.size);
	for (unsigned int i = 1; i < BESIDE_TRIES; i++) {
		int rc = path_put(ret, directory, name_beside(name, file, i, space));

		if (rc == 0)
			rc = occupant_find(kv, ret);
		if (rc < 0 || !ret->occupied)
			return rc;
	}
	return -ERR_EXISTS;
}

/* The path itself. */
static int destination_at(struct kv *kv, struct slice to, struct destination *ret)
{
	struct slice parent, name;
	int rc = catalogue_find_parent(kv, to, &ret->parent, &name);

	if (rc < 0)
		return rc;
	path_split(to, &parent, &name);
	if (name.size == 0) {
		ret->path[0] = '/';
		ret->path_size = 1;
		ret->name = (struct slice){ ret->path + 1, 0 };
		ret->occupied = true;
		ret->old = ret->parent;
		return 0;
	}
	rc = path_put(ret, parent, name);
	return rc < 0 ? rc : occupant_find(kv, ret);
}

int destination_find(struct kv *kv, const struct move *how, const struct inode *what,
		     struct slice name, struct destination *ret)
{
	int rc = destination_at(kv, how->to, ret);

	if (rc < 0)
		return rc;
	if (how->flags & COPY_INTO && ret->occupied && ret->old.type == ENTRY_DIRECTORY) {
		ret->parent = ret->old;
		rc = path_put(ret, how->to, name);
		if (rc == 0)
			rc = occupant_find(kv, ret);
	}
	if (rc == 0 && ret->occupied && ret->name.size && how->flags & COPY_KEEP_BOTH)
		rc = beside_find(kv, what->type == ENTRY_FILE, ret);
	return rc;
}

int destination_check(struct kv *kv, const struct destination *destination,
		      const struct inode *what, bool replace)
{
	int rc = what->type == ENTRY_DIRECTORY
			 ? inode_is_below(kv, destination->parent.id, what->id)
			 : 0;

	if (rc != 0)
		return rc < 0 ? rc : -ERR_INTO_ITSELF;
	if (!destination->occupied)
		return 0;
	if (what->type == ENTRY_FILE && destination->old.type == ENTRY_DIRECTORY)
		return -ERR_IS_DIR;
	return what->type == ENTRY_FILE && replace ? 0 : -ERR_EXISTS;
}

int destination_clear(struct kv *kv, const struct destination *destination, struct moment when,
		      struct totals *totals)
{
	struct trash_row row = {
		.since_ms = when.uptime_ms,
		.inode = destination->old.id,
		.removed_ms = when.wall_ms,
		.type = destination->old.type,
		.path = destination_path(destination),
	};
	int rc;

	if (!destination->occupied)
		return 0;
	totals_add(&row.totals, &destination->old);
	totals_subtract(totals, &row.totals);
	rc = dirent_remove(kv, destination->parent.id, destination->name, row.inode);
	return rc < 0 ? rc : trash_put(kv, &row);
}

void moved_fill(const struct destination *destination, const struct inode *inode, struct moved *ret)
{
	ret->inode = *inode;
	ret->replaced = destination->occupied && destination->old.id != inode->id;
	ret->path_size = destination->path_size;
	memcpy(ret->path, destination->path, destination->path_size);
}

/* ---- renaming ---- */

static int rename_apply(struct kv *kv, const struct move *how, const struct inode *parent,
			const struct inode *inode, const struct destination *destination)
{
	struct slice above, name;
	struct totals totals;
	int rc = totals_get(kv, &totals);

	if (rc < 0)
		return rc;
	path_split(how->path, &above, &name);
	rc = destination_clear(kv, destination, how->when, &totals);
	if (rc == 0)
		rc = dirent_remove(kv, parent->id, name, inode->id);
	if (rc == 0)
		rc = dirent_put(kv, destination->parent.id, destination->name, inode);
	return rc < 0 ? rc : totals_put(kv, &totals);
}

int catalogue_rename(struct kv *kv, const struct move *how, struct moved *ret)
{
	struct destination destination;
	struct inode parent, inode;
	struct slice name;
	uint64_t id;
	int rc = catalogue_find_parent(kv, how->path, &parent, &name);

	if (rc == 0 && name.size == 0)
		rc = -ERR_BAD_NAME;
	if (rc == 0)
		rc = dirent_get(kv, parent.id, name, &id);
	if (rc < 0)
		return rc;
	rc = row_expected(inode_get(kv, id, &inode));
	if (rc == 0)
		rc = destination_find(kv, how, &inode, name, &destination);
	if (rc < 0)
		return rc;
	moved_fill(&destination, &inode, ret);
	if (destination.occupied && destination.old.id == id)
		return 0;
	rc = destination_check(kv, &destination, &inode, how->flags & RENAME_REPLACE);
	if (rc == 0)
		rc = subtree_fits(kv, &inode, how->path, destination_path(&destination));
	return rc < 0 ? rc : rename_apply(kv, how, &parent, &inode, &destination);
}

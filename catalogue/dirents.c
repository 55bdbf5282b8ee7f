/* Directory entries, rows "d" from a name to an inode and "n" back from the inode, and the ways
 * that lead along them: down by path, up to a path, over a whole tree. */
#include "path.h"
#include "rows.h"

enum { DIRENT_SIZE = 9, NAME_ROW_FIXED = 8 };
/* No way up is that long, unless rows are damaged so that it has no end. */
enum { WAY_UP_MAX = 1 << 20 };

int dirent_row_get(struct kv *kv, uint64_t parent, struct slice name, struct dirent_row *ret)
{
	uint8_t space[ROW_KEY_MAX];
	const uint8_t *at;
	int rc = row_get(kv, key_dirent(space, parent, name), DIRENT_SIZE, &at);

	if (rc < 0)
		return rc;
	ret->inode = get_u64(at);
	ret->type = at[8];
	return 0;
}

int dirent_get(struct kv *kv, uint64_t parent, struct slice name, uint64_t *ret_inode)
{
	struct dirent_row row;
	int rc = dirent_row_get(kv, parent, name, &row);

	if (rc == 0)
		*ret_inode = row.inode;
	return rc;
}

static int name_row_put(struct kv *kv, uint64_t inode, uint64_t parent, struct slice name)
{
	uint8_t row[1 + NAME_ROW_FIXED + NAME_SIZE_MAX] = { ROW_VERSION };
	uint8_t space[ROW_KEY_MAX];

	put_u64(row + 1, parent);
	memcpy(row + 1 + NAME_ROW_FIXED, name.data, name.size);
	return kv_put(kv, key_number(space, "n", inode),
		      (struct slice){ row, 1 + NAME_ROW_FIXED + name.size });
}

int dirent_put(struct kv *kv, uint64_t parent, struct slice name, const struct inode *inode)
{
	uint8_t space[ROW_KEY_MAX];
	uint8_t row[1 + DIRENT_SIZE] = { ROW_VERSION };
	int rc;

	tree_touched(kv, parent);
	put_u64(row + 1, inode->id);
	row[9] = inode->type;
	rc = kv_put(kv, key_dirent(space, parent, name), (struct slice){ row, sizeof(row) });
	return rc < 0 ? rc : name_row_put(kv, inode->id, parent, name);
}

int dirent_remove(struct kv *kv, uint64_t parent, struct slice name, uint64_t inode)
{
	uint8_t space[ROW_KEY_MAX];
	int rc;

	tree_touched(kv, parent);
	rc = kv_remove(kv, key_dirent(space, parent, name));
	return rc < 0 ? rc : kv_remove(kv, key_number(space, "n", inode));
}

/* The first row of the directory after the name; no name is empty, so "" comes before all. */
static int dirent_seek(struct kv *kv, uint64_t parent, struct slice after, struct slice *ret_name,
		       struct slice *ret_value)
{
	uint8_t space[ROW_KEY_MAX], next[KV_KEY_SIZE_MAX + 1];
	struct slice key = key_dirent(space, parent, after);
	struct slice prefix = { key.data, key.size - after.size };
	struct slice found;
	int rc = kv_seek(kv, kv_after(key, next), &found, ret_value);

	if (rc < 0)
		return rc;
	if (!key_begins(found, prefix))
		return -ERR_NOT_FOUND;
	*ret_name = (struct slice){ found.data + prefix.size, found.size - prefix.size };
	return 0;
}

int dirent_next(struct kv *kv, uint64_t parent, struct slice after, struct slice *ret_name,
		struct inode *ret)
{
	const uint8_t *at;
	struct slice value;
	int rc = dirent_seek(kv, parent, after, ret_name, &value);

	if (rc == 0)
		rc = row_check(value, DIRENT_SIZE, &at);
	if (rc < 0)
		return rc;
	return row_expected(inode_get(kv, get_u64(at), ret));
}

bool directory_is_empty(struct kv *kv, uint64_t inode)
{
	struct slice name, value;

	return dirent_seek(kv, inode, (struct slice){ 0 }, &name, &value) == -ERR_NOT_FOUND;
}

/* ---- up ---- */

int name_row_get(struct kv *kv, uint64_t inode, uint64_t *ret_parent, struct slice *ret_name)
{
	uint8_t space[ROW_KEY_MAX];
	struct slice value;
	int rc = kv_get(kv, key_number(space, "n", inode), &value);

	if (rc < 0)
		return rc;
	if (value.size <= 1 + NAME_ROW_FIXED || value.data[0] != ROW_VERSION ||
	    value.size > 1 + NAME_ROW_FIXED + NAME_SIZE_MAX)
		return -ERR_BAD_FORMAT;
	*ret_parent = get_u64(value.data + 1);
	*ret_name =
		(struct slice){ value.data + 1 + NAME_ROW_FIXED, value.size - 1 - NAME_ROW_FIXED };
	return 0;
}

int inode_is_below(struct kv *kv, uint64_t inode, uint64_t above)
{
	struct slice name;

	for (int i = 0; i < WAY_UP_MAX; i++) {
		int rc;

		if (inode == above)
			return 1;
		rc = name_row_get(kv, inode, &inode, &name);
		if (rc < 0)
			return rc == -ERR_NOT_FOUND ? 0 : rc;
	}
	return -ERR_BAD_FORMAT;
}

int inode_top(struct kv *kv, uint64_t inode, uint64_t *ret)
{
	struct slice name;

	*ret = inode;
	for (int i = 0; i < WAY_UP_MAX; i++) {
		int rc = name_row_get(kv, *ret, ret, &name);

		if (rc < 0)
			return rc == -ERR_NOT_FOUND ? 0 : rc;
	}
	return -ERR_BAD_FORMAT;
}

int catalogue_path_below(struct kv *kv, uint64_t inode, uint64_t *ret_top, char *ret, size_t size)
{
	size_t at = size;
	struct slice name;
	int rc;

	if (size < 2)
		return -ERR_NAME_TOO_LONG;
	ret[--at] = '\0';
	*ret_top = inode;
	while ((rc = name_row_get(kv, *ret_top, ret_top, &name)) == 0) {
		if (name.size + 1 > at)
			return -ERR_NAME_TOO_LONG;
		at -= name.size;
		memcpy(ret + at, name.data, name.size);
		ret[--at] = '/';
	}
	if (rc != -ERR_NOT_FOUND)
		return rc;
	memmove(ret, ret + at, size - at);
	return (int)(size - at - 1);
}

int catalogue_path(struct kv *kv, uint64_t inode, char *ret, size_t size)
{
	uint64_t root, top = 0;
	int rc = catalogue_root(kv, &root);

	if (rc == 0)
		rc = catalogue_path_below(kv, inode, &top, ret, size);
	if (rc >= 0 && top != root)
		return -ERR_NOT_FOUND;
	if (rc == 0)
		memcpy(ret, "/", 2);
	return rc == 0 ? 1 : rc;
}

/* ---- over a tree ---- */

void walk_begin(struct walk *walk, uint64_t root)
{
	*walk = (struct walk){ .root = root, .directory = root };
}

/* The entry that the walk came from stands where it left off in the directory above. */
static int walk_up(struct kv *kv, struct walk *walk)
{
	struct slice name;
	int rc = name_row_get(kv, walk->directory, &walk->directory, &name);

	if (rc < 0)
		return row_expected(rc);
	memcpy(walk->name, name.data, name.size);
	walk->name_size = name.size;
	walk->reach -= name.size + 1;
	walk->depth--;
	return 0;
}

static void walk_down(struct walk *walk)
{
	walk->directory = walk->inode;
	walk->reach += walk->name_size + 1;
	walk->name_size = 0;
	walk->depth++;
	walk->into = false;
}

int walk_next(struct kv *kv, struct walk *walk, struct inode *ret)
{
	struct slice name;
	int rc;

	if (walk->into)
		walk_down(walk);
	for (;;) {
		name = (struct slice){ walk->name, walk->name_size };
		rc = dirent_next(kv, walk->directory, name, &name, ret);
		if (rc != -ERR_NOT_FOUND || walk->directory == walk->root)
			break;
		rc = walk_up(kv, walk);
		if (rc < 0)
			return rc;
	}
	if (rc < 0)
		return rc;
	memcpy(walk->name, name.data, name.size);
	walk->name_size = name.size;
	walk->inode = ret->id;
	walk->into = ret->type == ENTRY_DIRECTORY;
	return 0;
}

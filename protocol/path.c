#include "path.h"

#include "error.h"

static bool is_text(struct slice name, const char *text)
{
	return slice_equal(name, slice_of(text));
}

int name_check(struct slice name)
{
	if (name.size == 0 || is_text(name, ".") || is_text(name, ".."))
		return -ERR_BAD_NAME;
	if (name.size > NAME_SIZE_MAX)
		return -ERR_NAME_TOO_LONG;
	if (memchr(name.data, '/', name.size) || memchr(name.data, '\0', name.size))
		return -ERR_BAD_NAME;
	return 0;
}

/* Takes the bytes up to the next slash off `rest`, and the slash. */
static struct slice take_component(struct slice *rest)
{
	const uint8_t *slash = rest->size ? memchr(rest->data, '/', rest->size) : NULL;
	struct slice name = { rest->data, slash ? (size_t)(slash - rest->data) : rest->size };
	size_t taken = name.size + (slash ? 1 : 0);

	if (taken > 0)
		*rest = (struct slice){ rest->data + taken, rest->size - taken };
	return name;
}

int path_check(struct slice path)
{
	struct slice rest;

	if (path.size == 0 || path.data[0] != '/')
		return -ERR_BAD_NAME;
	if (path.size > PATH_SIZE_MAX)
		return -ERR_NAME_TOO_LONG;
	if (path.size > 1 && path.data[path.size - 1] == '/')
		return -ERR_BAD_NAME;
	rest = (struct slice){ path.data + 1, path.size - 1 };
	for (int depth = 1; rest.size > 0; depth++) {
		int rc = name_check(take_component(&rest));

		if (rc < 0)
			return rc;
		if (depth > PATH_DEPTH_MAX)
			return -ERR_NAME_TOO_LONG;
	}
	return 0;
}

/* One typed component at the end of the path that begins at `start` and has no trailing slash. */
static int resolve_step(struct buffer *path, size_t start, struct slice name)
{
	if (name.size == 0 || is_text(name, "."))
		return 0;
	if (is_text(name, "..")) {
		if (path->size == start)
			return -ERR_BAD_NAME;
		while (path->data[--path->size] != '/')
			;
		return 0;
	}
	buffer_append(path, "/", 1);
	buffer_append(path, name.data, name.size);
	return path->error;
}

static int resolve(struct slice directory, struct slice text, struct buffer *ret)
{
	size_t start = ret->size;
	int rc = path_check(directory);

	if (rc < 0)
		return rc;
	if (text.size == 0)
		return -ERR_BAD_NAME;
	if (text.data[0] != '/' && directory.size > 1)
		buffer_append(ret, directory.data, directory.size);
	rc = ret->error;
	while (rc == 0 && text.size > 0)
		rc = resolve_step(ret, start, take_component(&text));
	if (rc == 0 && ret->size == start)
		rc = buffer_append(ret, "/", 1);
	if (rc < 0)
		return rc;
	return path_check((struct slice){ ret->data + start, ret->size - start });
}

int path_resolve(struct slice directory, struct slice text, struct buffer *ret)
{
	size_t start = ret->size;
	int rc = resolve(directory, text, ret);

	if (rc < 0)
		ret->size = start;
	return rc;
}

bool path_next(struct slice *rest, struct slice *ret_name)
{
	do
		*ret_name = take_component(rest);
	while (ret_name->size == 0 && rest->size > 0);
	return ret_name->size > 0;
}

void path_split(struct slice path, struct slice *ret_parent, struct slice *ret_name)
{
	size_t at = path.size;

	while (at > 0 && path.data[at - 1] != '/')
		at--;
	*ret_name = (struct slice){ path.data + at, path.size - at };
	*ret_parent = (struct slice){ path.data, at > 1 ? at - 1 : at };
}

#include <string.h>

#include "error.h"
#include "remote_walk.h"

static struct remote_walk_level *level_at(struct remote_walk *walk, unsigned int level)
{
	return &walk->levels[level < WALK_OPEN_MAX ? level : WALK_OPEN_MAX];
}

static bool is_gone(int rc)
{
	return rc == -ERR_NOT_FOUND || rc == -ERR_NOT_DIR;
}

static int level_ahead(struct remote_walk_level *level)
{
	int rc = muster_list_next(level->list, &level->ahead);

	level->has_ahead = rc == 1;
	return rc < 0 && !is_gone(rc) ? rc : 0;
}

static void level_close(struct remote_walk_level *level)
{
	muster_list_close(level->list);
	level->list = NULL;
	level->has_ahead = false;
}

/* Lists walk->path, behind the name `after`. */
static int level_open(struct remote_walk *walk, const char *after)
{
	struct remote_walk_level *level = level_at(walk, walk->level);
	int rc;

	level_close(level);
	rc = after ? muster_list_open_after(walk->session, walk->path, after, &level->list)
		   : muster_list_open(walk->session, walk->path, &level->list);
	return rc < 0 ? rc : level_ahead(level);
}

int remote_walk_start(struct remote_walk *walk, struct muster *session, const char *path)
{
	memset(walk, 0, sizeof(*walk));
	walk->session = session;
	walk->level = 1;
	memcpy(walk->path, path, strlen(path) + 1);
	return level_open(walk, NULL);
}

/* Cuts the last component off walk->path and copies it out. */
static void path_up(struct remote_walk *walk, char ret_name[256])
{
	char *slash = strrchr(walk->path, '/');

	memcpy(ret_name, slash + 1, strlen(slash + 1) + 1);
	slash[slash == walk->path] = '\0';
}

/* Ends the directory walk->path, whose name is then the last that was seen of its parent. */
static int level_up(struct remote_walk *walk)
{
	char name[256];
	int rc = 0;

	level_close(level_at(walk, walk->level));
	walk->level--;
	if (walk->level == 0)
		return 0;
	path_up(walk, name);
	if (!level_at(walk, walk->level)->list)
		rc = level_open(walk, name);
	return is_gone(rc) ? 0 : rc;
}

static int level_down(struct remote_walk *walk)
{
	int rc;

	walk->level++;
	rc = level_open(walk, NULL);
	return is_gone(rc) ? 0 : rc;
}

/* Afterwards walk->path is the directory that is listed. */
static int position(struct remote_walk *walk)
{
	char name[256];

	if (walk->depth == 0)
		return 0;
	walk->depth = 0;
	if (walk->descends)
		return level_down(walk);
	path_up(walk, name);
	return 0;
}

int remote_walk_next(struct remote_walk *walk, struct muster_entry *ret)
{
	struct remote_walk_level *level;
	int rc = position(walk);

	while (rc == 0 && walk->level > 0 && !level_at(walk, walk->level)->has_ahead)
		rc = level_up(walk);
	if (rc < 0 || walk->level == 0)
		return rc;
	level = level_at(walk, walk->level);
	*ret = level->ahead;
	rc = remote_join(walk->path, ret->name, walk->path);
	if (rc == 0)
		rc = level_ahead(level);
	walk->depth = walk->level;
	walk->last = !level->has_ahead;
	walk->descends = ret->type == MUSTER_DIRECTORY;
	return rc < 0 ? rc : 1;
}

void remote_walk_skip(struct remote_walk *walk)
{
	walk->descends = false;
}

void remote_walk_done(struct remote_walk *walk)
{
	for (unsigned int i = 0; i <= WALK_OPEN_MAX; i++)
		level_close(&walk->levels[i]);
}

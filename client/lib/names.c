/* Questions about names, and the trash: each is built, then started or waited for. */
#include "question.h"

#include <stdlib.h>

#include "error.h"

/* Where each of enum muster_flags goes in a message's own flags. */
static const uint8_t mkdir_bits[8] = { [0] = MKDIR_PARENTS };
static const uint8_t remove_bits[8] = { [1] = REMOVE_TREE };
static const uint8_t rename_bits[8] = { [2] = RENAME_REPLACE, [3] = RENAME_INTO };
static const uint8_t copy_bits[8] = {
	[1] = COPY_TREE, [2] = COPY_REPLACE, [3] = COPY_INTO, [4] = COPY_KEEP_BOTH
};

_Static_assert(MUSTER_PARENTS == 1 << 0 && MUSTER_TREE == 1 << 1 && MUSTER_REPLACE == 1 << 2 &&
		       MUSTER_INTO == 1 << 3 && MUSTER_KEEP_BOTH == 1 << 4,
	       "the tables above go by these");

/* ---- looking ---- */

static struct question stat_question(const char *path, bool holders)
{
	struct question question = { .code = MSG_stat };

	question.error = path_from(path, &question.stat.path);
	question.stat.flags = holders ? STAT_HOLDERS : 0;
	return question;
}

int muster_start_stat(struct muster *session, const char *path, struct muster_then then,
		      struct muster_op **ret)
{
	struct question question = stat_question(path, false);

	return question_start(session, &question, then, ret);
}

int muster_stat(struct muster *session, const char *path, struct muster_entry *ret)
{
	struct question question = stat_question(path, false);

	return question_ask(session, &question, ret, sizeof(*ret));
}

int muster_stat_holders(struct muster *session, const char *path, struct muster_entry *ret,
			struct muster_holder *ret_holders, unsigned int most)
{
	struct question question = stat_question(path, true);
	void *page;
	int rc = question_page(session, &question, &page);
	const struct stat_answer *answer = page;

	if (rc == 0) {
		*ret = answer->entry;
		for (unsigned int i = 0; i < answer->count && i < most; i++)
			ret_holders[i] = answer->holders[i];
		rc = (int)answer->count;
	}
	free(page);
	return rc;
}

/* ---- making and removing ---- */

static struct question mkdir_question(const char *path, unsigned int flags)
{
	struct question question = { .code = MSG_mkdir };

	question.error = path_from(path, &question.mkdir.path);
	question.mkdir.flags = flags_translate(flags, mkdir_bits);
	return question;
}

int muster_start_mkdir(struct muster *session, const char *path, unsigned int flags,
		       struct muster_then then, struct muster_op **ret)
{
	struct question question = mkdir_question(path, flags);

	return question_start(session, &question, then, ret);
}

int muster_mkdir(struct muster *session, const char *path, unsigned int flags)
{
	struct question question = mkdir_question(path, flags);

	return question_ask(session, &question, NULL, 0);
}

static struct question create_question(const char *path)
{
	struct question question = { .code = MSG_create };

	question.error = path_from(path, &question.create.path);
	return question;
}

int muster_start_create(struct muster *session, const char *path, struct muster_then then,
			struct muster_op **ret)
{
	struct question question = create_question(path);

	return question_start(session, &question, then, ret);
}

int muster_create(struct muster *session, const char *path)
{
	struct question question = create_question(path);

	return question_ask(session, &question, NULL, 0);
}

static struct question remove_question(const char *path, uint8_t flags)
{
	struct question question = { .code = MSG_remove };

	question.error = path_from(path, &question.remove.path);
	question.remove.flags = flags;
	return question;
}

int muster_start_rmdir(struct muster *session, const char *path, struct muster_then then,
		       struct muster_op **ret)
{
	struct question question = remove_question(path, REMOVE_DIRECTORY);

	return question_start(session, &question, then, ret);
}

int muster_rmdir(struct muster *session, const char *path)
{
	struct question question = remove_question(path, REMOVE_DIRECTORY);

	return question_ask(session, &question, NULL, 0);
}

int muster_start_remove(struct muster *session, const char *path, unsigned int flags,
			struct muster_then then, struct muster_op **ret)
{
	struct question question = remove_question(path, flags_translate(flags, remove_bits));

	return question_start(session, &question, then, ret);
}

int muster_remove(struct muster *session, const char *path, unsigned int flags,
		  struct muster_removed *ret)
{
	struct question question = remove_question(path, flags_translate(flags, remove_bits));

	return question_ask(session, &question, ret, sizeof(*ret));
}

static struct question set_copies_question(const char *path, unsigned int copies)
{
	struct question question = { .code = MSG_set_copies };

	question.error = path_from(path, &question.set_copies.path);
	if (question.error == 0 && (copies == 0 || copies > COPIES_MAX))
		question.error = -ERR_USAGE;
	question.set_copies.copies = (uint8_t)copies;
	return question;
}

int muster_start_set_copies(struct muster *session, const char *path, unsigned int copies,
			    struct muster_then then, struct muster_op **ret)
{
	struct question question = set_copies_question(path, copies);

	return question_start(session, &question, then, ret);
}

int muster_set_copies(struct muster *session, const char *path, unsigned int copies)
{
	struct question question = set_copies_question(path, copies);

	return question_ask(session, &question, NULL, 0);
}

/* ---- moving and copying ---- */

static int paths_from(const struct muster_move_args *args, struct slice *ret_path,
		      struct slice *ret_to)
{
	int rc = path_from(args->path, ret_path);

	return rc < 0 ? rc : path_from(args->to, ret_to);
}

static struct question rename_question(const struct muster_move_args *args)
{
	struct question question = { .code = MSG_rename };

	question.error = paths_from(args, &question.rename.path, &question.rename.to);
	question.rename.flags = flags_translate(args->flags, rename_bits);
	return question;
}

int muster_start_rename(struct muster *session, const struct muster_move_args *args,
			struct muster_then then, struct muster_op **ret)
{
	struct question question = rename_question(args);

	return question_start(session, &question, then, ret);
}

int muster_rename(struct muster *session, const char *path, const char *to, unsigned int flags,
		  char ret[MUSTER_PATH_SIZE])
{
	struct question question = rename_question(
		&(struct muster_move_args){ .path = path, .to = to, .flags = flags });
	struct muster_copied moved = { 0 };
	int rc = question_ask(session, &question, &moved, sizeof(moved));

	if (rc == 0 && ret)
		memcpy(ret, moved.path, sizeof(moved.path));
	return rc;
}

static struct question copy_question(const struct muster_move_args *args)
{
	struct question question = { .code = MSG_copy };

	question.error = paths_from(args, &question.copy.path, &question.copy.to);
	question.copy.flags = flags_translate(args->flags, copy_bits);
	return question;
}

int muster_start_copy(struct muster *session, const struct muster_move_args *args,
		      struct muster_then then, struct muster_op **ret)
{
	struct question question = copy_question(args);

	return question_start(session, &question, then, ret);
}

int muster_copy(struct muster *session, const char *path, const char *to, unsigned int flags,
		struct muster_copied *ret)
{
	struct question question =
		copy_question(&(struct muster_move_args){ .path = path, .to = to, .flags = flags });

	return question_ask(session, &question, ret, sizeof(*ret));
}

/* ---- the trash ---- */

static struct question restore_question(const struct muster_move_args *args)
{
	struct question question = { .code = MSG_trash_restore };

	question.error = path_from(args->path, &question.trash_restore.path);
	if (question.error == 0 && args->to)
		question.error = path_from(args->to, &question.trash_restore.to);
	question.trash_restore.id = args->id;
	return question;
}

int muster_start_trash_restore(struct muster *session, const struct muster_move_args *args,
			       struct muster_then then, struct muster_op **ret)
{
	struct question question = restore_question(args);

	return question_start(session, &question, then, ret);
}

int muster_trash_restore(struct muster *session, const char *path, uint64_t id, const char *to,
			 struct muster_copied *ret)
{
	struct question question =
		restore_question(&(struct muster_move_args){ .path = path, .to = to, .id = id });

	return question_ask(session, &question, ret, sizeof(*ret));
}

static struct question purge_question(const char *path, uint64_t id)
{
	struct question question = { .code = MSG_trash_purge };

	if (path)
		question.error = path_from(path, &question.trash_purge.path);
	question.trash_purge.id = id;
	return question;
}

int muster_start_trash_purge(struct muster *session, const char *path, uint64_t id,
			     struct muster_then then, struct muster_op **ret)
{
	struct question question = purge_question(path, id);

	return question_start(session, &question, then, ret);
}

int muster_trash_purge(struct muster *session, const char *path, uint64_t id,
		       struct muster_removed *ret)
{
	struct question question = purge_question(path, id);

	return question_ask(session, &question, ret, sizeof(*ret));
}

/* ---- what came out ---- */

const struct muster_entry *muster_op_stat(const struct muster_op *op)
{
	return question_answer(op, MSG_stat);
}

const struct muster_removed *muster_op_removed(const struct muster_op *op)
{
	const void *removed = question_answer(op, MSG_remove);

	return removed ? removed : question_answer(op, MSG_trash_purge);
}

const struct muster_copied *muster_op_copied(const struct muster_op *op)
{
	bool is_one =
		op->code == MSG_rename || op->code == MSG_copy || op->code == MSG_trash_restore;

	return is_one ? op->answer : NULL;
}

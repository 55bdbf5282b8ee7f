/* Looking for what is wrong: a part per question, until all is seen. */
#include "question.h"

#include <stdlib.h>

#include "error.h"

/* ---- one file ---- */

static struct question verify_question(const struct muster_verify_args *args)
{
	struct question question = { .code = MSG_verify };

	question.error = path_from(args->path, &question.verify.path);
	question.verify.offset = args->offset;
	question.verify.inode = args->inode;
	return question;
}

int muster_start_verify(struct muster *session, const struct muster_verify_args *args,
			struct muster_then then, struct muster_op **ret)
{
	struct question question = verify_question(args);

	return question_start(session, &question, then, ret);
}

const struct muster_verify_page *muster_op_verify(const struct muster_op *op)
{
	return question_answer(op, MSG_verify);
}

/* Whoever walks over pages, and whom he tells. */
struct walk {
	struct muster *session;
	muster_progress_fn *progress;
	void *context;
	uint64_t found; /* that is not right */
};

struct step {
	bool more;
	bool advanced; /* else a walk might never end */
	uint64_t done;
	uint64_t total;
};

/* After a part; 1: to the next one. */
static int go_on(const struct walk *walk, const struct step *step)
{
	bool stop = walk->progress && walk->progress(walk->context, step->done, step->total) != 0;

	if (!step->more)
		return 0;
	if (stop)
		return -ERR_CANCELLED;
	return step->advanced ? 1 : -ERR_BAD_REQUEST;
}

static int each_finding(struct walk *walk, const struct muster_verify_page *page,
			muster_finding_fn *each)
{
	for (unsigned int i = 0; i < page->count; i++) {
		walk->found += page->findings[i].state != MUSTER_COPY_OK;
		if (each && each(walk->context, &page->entry, &page->findings[i]) != 0)
			return -ERR_CANCELLED;
	}
	return 0;
}

/* Returns 1 while there is more. */
static int verify_part(struct walk *walk, struct muster_verify_args *args, muster_finding_fn *each)
{
	struct question question = verify_question(args);
	const struct muster_verify_page *page;
	struct step step;
	void *answer;
	int rc = question_page(walk->session, &question, &answer);

	if (rc < 0)
		return rc;
	page = answer;
	step = (struct step){
		.more = page->next<page->entry.size, .advanced = page->next> args->offset,
		.done = page->next,
		.total = page->entry.size,
	};
	rc = each_finding(walk, page, each);
	if (rc == 0)
		rc = go_on(walk, &step);
	args->offset = page->next;
	args->inode = page->entry.inode;
	free(answer);
	return rc;
}

static int walked(const struct walk *walk, int rc)
{
	if (rc < 0)
		return rc;
	return walk->found < INT32_MAX ? (int)walk->found : INT32_MAX;
}

int muster_verify(struct muster *session, const char *path, muster_finding_fn *each,
		  muster_progress_fn *progress, void *context)
{
	struct walk walk = { .session = session, .progress = progress, .context = context };
	struct muster_verify_args args = { .path = path };
	int rc;

	do
		rc = verify_part(&walk, &args, each);
	while (rc > 0);
	return walked(&walk, rc);
}

/* ---- the store ---- */

int muster_start_check(struct muster *session, uint64_t after, struct muster_then then,
		       struct muster_op **ret)
{
	struct question question = { .code = MSG_check, .check = { .after = after } };

	return question_start(session, &question, then, ret);
}

const struct muster_check_page *muster_op_check(const struct muster_op *op)
{
	return question_answer(op, MSG_check);
}

static int each_problem(struct walk *walk, const struct muster_check_page *page,
			muster_problem_fn *each)
{
	for (unsigned int i = 0; i < page->count; i++) {
		walk->found++;
		if (each && each(walk->context, &page->problems[i]) != 0)
			return -ERR_CANCELLED;
	}
	return 0;
}

/* What a check has seen so far. */
struct seen {
	uint64_t after;
	uint64_t chunks;
	uint64_t total;
};

/* Returns 1 while there is more. */
static int check_part(struct walk *walk, struct seen *seen, muster_problem_fn *each)
{
	struct question question = { .code = MSG_check, .check = { .after = seen->after } };
	const struct muster_check_page *page;
	void *answer;
	int rc = question_page(walk->session, &question, &answer);

	if (rc < 0)
		return rc;
	page = answer;
	rc = each_problem(walk, page, each);
	seen->chunks += page->seen;
	if (!page->more || seen->total < seen->chunks)
		seen->total = seen->chunks;
	if (rc == 0)
		rc = go_on(walk, &(struct step){ page->more, page->next > seen->after, seen->chunks,
						 seen->total });
	seen->after = page->next;
	free(answer);
	return rc;
}

int muster_check(struct muster *session, muster_problem_fn *each, muster_progress_fn *progress,
		 void *context)
{
	struct walk walk = { .session = session, .progress = progress, .context = context };
	struct muster_status status = { 0 };
	struct seen seen = { 0 };
	int rc = muster_status(session, &status);

	if (rc < 0)
		return rc;
	seen.total = status.chunks;
	do
		rc = check_part(&walk, &seen, each);
	while (rc > 0);
	return walked(&walk, rc);
}

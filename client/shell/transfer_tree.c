/* Trees: many files in flight through the library's asynchronous calls. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "local_target.h"
#include "text.h"
#include "transfer.h"
#include "tree_plan.h"

/* Enough to hide every round trip; each holds two descriptors at most. */
enum { IN_FLIGHT_MAX = 64, DRAW_MS = 100, LOCAL_PATH_MAX = 8192 };

struct job {
	TAILQ_ENTRY(job) link;
	struct tree *tree;
	const struct plan_item *item;
	struct muster_op *op;
	struct local_target target; /* get */
	int fd;                     /* put */
	uint64_t counted;           /* bytes of it that the progress has */
	char path[REMOTE_PATH_MAX];
};

struct tree {
	struct call *call;
	struct plan plan;
	struct progress progress;
	const char *local;
	const char *remote;
	int root; /* get: the local directory */
	TAILQ_HEAD(jobs, job) jobs;
	unsigned int running;
	bool stopped; /* nothing new is started */
	bool cancelled;
	int status;
	uint64_t files; /* that came through */
	uint64_t bytes;
	uint64_t failed;
	uint64_t skipped;
	bool lacking;        /* some file has fewer copies than it shall have */
	unsigned int copies; /* of such a file, else of any: fewest that one reached */
	unsigned int copies_wanted;
};

static bool tree_interrupted(void *context)
{
	const struct tree *tree = context;

	return call_interrupted(tree->call);
}

/* What is local of an item: where it is read from, or goes to. */
static int local_path(const struct tree *tree, const char *path, char ret[LOCAL_PATH_MAX])
{
	bool slash = tree->local[strlen(tree->local) - 1] == '/';
	int size = snprintf(ret, LOCAL_PATH_MAX, "%s%s%s", tree->local, slash || !*path ? "" : "/",
			    path);

	return size < LOCAL_PATH_MAX ? 0 : -ERR_NAME_TOO_LONG;
}

/* What every further file would meet, too. A file to be fetched may be the only one that was on
 * servers which are gone. */
static bool is_hopeless(const struct tree *tree, int rc)
{
	switch (-rc) {
	case ERR_NO_NAMESERVER:
	case ERR_TIMEOUT:
	case ERR_NO_NODES:
	case ERR_NO_SPACE:
	case ERR_CATALOGUE_FULL:
	case ERR_LOCAL_FULL:
	case ERR_NO_MEMORY: return true;
	case ERR_UNREACHABLE: return tree->root < 0;
	default: return false;
	}
}

static void tree_fail(struct tree *tree, const char *path, int rc, const char *detail)
{
	int status;

	progress_hide(&tree->progress);
	if (rc == -ERR_CANCELLED && tree->cancelled)
		return;
	tree->failed++;
	status = call_fail_detail(tree->call, path, rc, detail);
	tree->status = status_worse(tree->status, status);
	tree->stopped |= is_hopeless(tree, rc);
}

/* Of a local item. */
static void item_fail(struct tree *tree, const struct plan_item *item, int rc)
{
	char path[LOCAL_PATH_MAX];

	local_path(tree, item->path, path);
	tree_fail(tree, path, rc, NULL);
}

/* What is fetched is left out for its remote name. */
static void tree_skip(void *context, const char *path, int error, const char *why)
{
	struct tree *tree = context;
	struct buffer name = { 0 };
	char full[LOCAL_PATH_MAX];

	if (tree->root < 0 || remote_join(tree->remote, path, full) < 0)
		local_path(tree, path, full);
	if (error < 0) {
		tree->status = status_worse(tree->status, call_fail(tree->call, full, error, why));
		tree->failed++;
		return;
	}
	tree->skipped++;
	name_escape(&name, full, strlen(full));
	call_note(tree->call, "%.*s: skipped: %s", (int)name.size, (const char *)name.data, why);
	buffer_done(&name);
}

static void tree_init(struct tree *tree, struct call *call)
{
	memset(tree, 0, sizeof(*tree));
	tree->call = call;
	tree->root = -1;
	tree->plan.skip = tree_skip;
	tree->plan.stop = tree_interrupted;
	tree->plan.context = tree;
	TAILQ_INIT(&tree->jobs);
}

/* ---- jobs ---- */

static struct job *job_new(struct tree *tree, const struct plan_item *item)
{
	struct job *job = calloc(1, sizeof(*job));
	int rc = -ERR_NO_MEMORY;

	if (job) {
		job->tree = tree;
		job->item = item;
		job->fd = -1;
		job->target.fd = job->target.directory = -1;
		rc = *item->path ? remote_join(tree->remote, item->path, job->path)
				 : remote_resolve("/", tree->remote, job->path);
	}
	if (rc == 0)
		return job;
	tree_fail(tree, item->path, rc, NULL);
	free(job);
	return NULL;
}

static void job_free(struct job *job)
{
	if (job->fd >= 0)
		close(job->fd);
	local_target_drop(&job->target);
	free(job);
}

/* `rc`: what the library said when it was asked to start. */
static void job_started(struct job *job, int rc)
{
	struct tree *tree = job->tree;

	if (rc < 0) {
		tree_fail(tree, job->path, rc, NULL);
		job_free(job);
		return;
	}
	TAILQ_INSERT_TAIL(&tree->jobs, job, link);
	tree->running++;
}

static void job_ended(struct job *job)
{
	struct tree *tree = job->tree;

	TAILQ_REMOVE(&tree->jobs, job, link);
	tree->running--;
	job_free(job);
}

/* A muster_progress_fn: the sum over all jobs is what is shown. */
static int job_step(void *context, uint64_t done, uint64_t total)
{
	struct job *job = context;

	(void)total;
	job->tree->progress.bytes += done - job->counted;
	job->counted = done;
	return 0;
}

static void file_done(struct job *job, uint64_t bytes)
{
	struct tree *tree = job->tree;
	struct buffer name = { 0 };

	job_step(job, bytes, bytes);
	tree->files++;
	tree->bytes += bytes;
	tree->progress.files++;
	if (!tree->call->shell->preferences.verbose)
		return;
	progress_hide(&tree->progress);
	name_escape(&name, job->path, strlen(job->path));
	call_note(tree->call, "%.*s", (int)name.size, (const char *)name.data);
	buffer_done(&name);
}

/* Waits until fewer than `most` run. */
static void tree_wait(struct tree *tree, unsigned int most)
{
	while (tree->running >= most && tree->running > 0) {
		int rc = muster_wait(tree->call->session, DRAW_MS);

		if (call_interrupted(tree->call) && !tree->cancelled) {
			struct job *job;

			tree->stopped = tree->cancelled = true;
			TAILQ_FOREACH(job, &tree->jobs, link)
				muster_cancel(job->op);
		} else if (rc < 0 && rc != -ERR_CANCELLED) {
			tree->stopped = true;
		}
		progress_draw(&tree->progress);
	}
}

typedef void start_fn(struct tree *tree, const struct plan_item *item);

/* Starts everything of one kind; between levels of directories waits for the level above. */
static void tree_each(struct tree *tree, bool directories, start_fn *start)
{
	unsigned int depth = 0;

	for (uint64_t i = 0; i < tree->plan.count && !tree->stopped; i++) {
		const struct plan_item *item = &tree->plan.items[i];

		if (item->directory != directories)
			continue;
		tree_wait(tree, directories && item->depth != depth ? 1 : IN_FLIGHT_MAX);
		depth = item->depth;
		if (call_interrupted(tree->call))
			tree->stopped = tree->cancelled = true;
		if (!tree->stopped)
			start(tree, item);
	}
	tree_wait(tree, 1);
}

/* ---- put ---- */

static void directory_made(void *context, struct muster_op *op, int result)
{
	struct job *job = context;

	if (result < 0)
		tree_fail(job->tree, job->path, result, muster_op_detail(op));
	job_ended(job);
}

static void directory_start(struct tree *tree, const struct plan_item *item)
{
	struct job *job = *item->path ? job_new(tree, item) : NULL;

	if (job)
		job_started(job, muster_start_mkdir(tree->call->session, job->path, MUSTER_PARENTS,
						    (struct muster_then){ directory_made, job },
						    &job->op));
}

static void copies_count(struct tree *tree, const struct muster_put_result *stored)
{
	bool lacking = stored->copies < stored->copies_wanted;

	/* An empty file has no copies to count. */
	if (stored->size == 0 || lacking < tree->lacking)
		return;
	if (lacking == tree->lacking && tree->copies_wanted && stored->copies >= tree->copies)
		return;
	tree->lacking = lacking;
	tree->copies = stored->copies;
	tree->copies_wanted = stored->copies_wanted;
}

static void file_stored(void *context, struct muster_op *op, int result)
{
	struct job *job = context;
	struct tree *tree = job->tree;
	const struct muster_put_result *stored = muster_op_put(op);

	if (result < 0) {
		tree_fail(tree, job->path, result, muster_op_detail(op));
	} else {
		file_done(job, stored->size);
		copies_count(tree, stored);
	}
	job_ended(job);
}

static int local_open(const struct tree *tree, const struct plan_item *item)
{
	char path[LOCAL_PATH_MAX];
	int rc = local_path(tree, item->path, path);
	int fd;

	if (rc < 0)
		return rc;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? error_from_errno(errno) : fd;
}

static void put_start(struct tree *tree, const struct plan_item *item)
{
	struct job *job = job_new(tree, item);
	struct muster_put_args args = {
		.source = { .size = MUSTER_UNKNOWN },
		.copies = transfer_copies(tree->call),
		.flags = tree->call->options[CALL_FORCE] ? MUSTER_REPLACE : 0,
		.progress = job_step,
		.progress_context = job,
	};

	if (!job)
		return;
	job->fd = local_open(tree, item);
	if (job->fd < 0) {
		item_fail(tree, item, job->fd);
		job_free(job);
		return;
	}
	args.path = job->path;
	args.source.fd = job->fd;
	job_started(job, muster_start_put(tree->call->session, &args,
					  (struct muster_then){ file_stored, job }, &job->op));
}

/* ---- get ---- */

static void directory_get(struct tree *tree, const struct plan_item *item)
{
	int rc = *item->path ? local_directory_make(tree->root, item->path) : 0;

	if (rc < 0)
		item_fail(tree, item, rc);
}

static void file_fetched(void *context, struct muster_op *op, int result)
{
	struct job *job = context;
	const struct muster_get_result *fetched = muster_op_get(op);

	if (result < 0) {
		tree_fail(job->tree, job->path, result, muster_op_detail(op));
	} else {
		result = local_target_keep(&job->target);
		if (result < 0)
			item_fail(job->tree, job->item, result);
		else
			file_done(job, fetched->bytes);
	}
	job_ended(job);
}

static int target_open(struct job *job)
{
	struct tree *tree = job->tree;
	const char *path = job->item->path;
	const char *slash = strrchr(path, '/');
	char parent[REMOTE_PATH_MAX] = "";
	int directory;

	if (slash)
		snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
	directory = local_directory_open(tree->root, parent);
	if (directory < 0)
		return directory;
	return local_target_open(&job->target, directory, slash ? slash + 1 : path,
				 tree->call->options[CALL_FORCE]);
}

static void get_start(struct tree *tree, const struct plan_item *item)
{
	struct job *job = job_new(tree, item);
	struct muster_get_args args = { .progress = job_step, .progress_context = job };
	int rc;

	if (!job)
		return;
	rc = target_open(job);
	if (rc < 0) {
		item_fail(tree, item, rc);
		job_free(job);
		return;
	}
	args.path = job->path;
	args.sink.fd = job->target.fd;
	job_started(job, muster_start_get(tree->call->session, &args,
					  (struct muster_then){ file_fetched, job }, &job->op));
}

/* ---- the whole ---- */

static int summary_json(struct tree *tree)
{
	cJSON *object = cJSON_CreateObject();

	json_text(object, "path", tree->remote);
	json_number(object, "files", tree->files);
	json_number(object, "directories", tree->plan.directories);
	json_number(object, "size", tree->bytes);
	json_number(object, "failed", tree->failed);
	json_number(object, "skipped", tree->skipped);
	if (tree->root < 0) {
		json_number(object, "copies", tree->copies);
		json_number(object, "copies_wanted", tree->copies_wanted);
	}
	return call_json(tree->call, object);
}

static int summary_print(struct tree *tree, const char *did)
{
	char size[SIZE_TEXT_MAX];

	if (tree->call->shell->preferences.json)
		return summary_json(tree);
	if (!call_confirms(tree->call))
		return STATUS_DONE;
	printf("%s ", did);
	name_print(stdout, tree->remote);
	printf(": %llu file%s, %s", (unsigned long long)tree->files, plural(tree->files),
	       bytes_format(tree->bytes, size));
	transfer_rate_print(tree->bytes, &tree->progress);
	if (tree->root < 0 && tree->copies_wanted)
		printf(", %u/%u copies%s", tree->copies, tree->copies_wanted,
		       tree->lacking ? " at least" : "");
	if (tree->failed)
		printf("; %llu failed", (unsigned long long)tree->failed);
	if (tree->skipped)
		printf("; %llu skipped", (unsigned long long)tree->skipped);
	putchar('\n');
	return STATUS_DONE;
}

static void progress_start(struct tree *tree)
{
	progress_init(&tree->progress, tree->call->command->name, call_confirms(tree->call));
	tree->progress.files_total = tree->plan.files;
	tree->progress.bytes_total = tree->plan.bytes;
}

static int tree_finish(struct tree *tree, const char *did)
{
	progress_hide(&tree->progress);
	if (tree->cancelled || call_interrupted(tree->call))
		tree->status = status_worse(tree->status, call_fail(tree->call, tree->remote,
								    -ERR_CANCELLED, NULL));
	tree->status = status_worse(tree->status, summary_print(tree, did));
	if (tree->failed)
		tree->status = status_worse(tree->status, STATUS_FAILED);
	plan_done(&tree->plan);
	if (tree->root >= 0)
		close(tree->root);
	return tree->status;
}

/* Unlike those below it the top is made without its parents: one that is missing is a mistake. */
static int top_make(struct call *call, const char *remote)
{
	struct muster_entry entry;
	int rc = muster_mkdir(call->session, remote, 0);

	if (rc != -ERR_EXISTS)
		return rc;
	rc = muster_stat(call->session, remote, &entry);
	return rc == 0 && entry.type != MUSTER_DIRECTORY ? -ERR_NOT_DIR : rc;
}

int tree_put(struct call *call, const char *local, const char *remote)
{
	struct tree tree;
	int rc;

	tree_init(&tree, call);
	tree.local = local;
	tree.remote = remote;
	rc = top_make(call, remote);
	if (rc < 0)
		return call_fail_last(call, remote, rc);
	rc = plan_local(&tree.plan, local);
	progress_start(&tree);
	if (rc < 0) {
		tree_fail(&tree, local, rc, NULL);
	} else {
		tree_each(&tree, true, directory_start);
		tree_each(&tree, false, put_start);
	}
	return tree_finish(&tree, "stored");
}

static int root_open(const char *local)
{
	int fd;

	if (mkdir(local, 0777) < 0 && errno != EEXIST)
		return error_from_errno(errno);
	fd = open(local, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? error_from_errno(errno) : fd;
}

int tree_get(struct call *call, const char *remote, const char *local)
{
	struct tree tree;
	int rc;

	tree_init(&tree, call);
	tree.local = local;
	tree.remote = remote;
	tree.root = root_open(local);
	if (tree.root < 0)
		return call_fail(call, local, tree.root, NULL);
	rc = plan_remote(&tree.plan, call->session, remote);
	progress_start(&tree);
	if (rc < 0) {
		tree_fail(&tree, remote, rc, muster_detail(call->session));
	} else {
		tree_each(&tree, true, directory_get);
		tree_each(&tree, false, get_start);
	}
	return tree_finish(&tree, "fetched");
}

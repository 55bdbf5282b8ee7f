/* Commands that fetch bytes: get, cat. Whole trees are transfer_tree.c's. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "local_target.h"
#include "text.h"
#include "transfer.h"

struct range {
	uint64_t offset;
	uint64_t length; /* 0: all of the rest */
};

static int range_parse(const struct call *call, struct range *ret)
{
	const char *text = call->options[CALL_RANGE];
	const char *colon = text ? strchr(text, ':') : NULL;
	char offset[32];

	*ret = (struct range){ 0 };
	if (!text)
		return STATUS_DONE;
	if (!colon || (size_t)(colon - text) >= sizeof(offset))
		return call_usage(call, "--range wants OFFSET:LENGTH, not '%s'", text);
	snprintf(offset, sizeof(offset), "%.*s", (int)(colon - text), text);
	if (size_parse(offset, &ret->offset) < 0 ||
	    (colon[1] && (size_parse(colon + 1, &ret->length) < 0 || ret->length == 0)))
		return call_usage(call, "--range wants OFFSET:LENGTH, not '%s'", text);
	return STATUS_DONE;
}

struct output {
	struct call *call;
	int error; /* of writing, an errno */
};

/* After a write() that failed: whether it is worth another try. Whom we share standard output with
 * may have made it non-blocking. */
static bool output_waits(const struct output *output)
{
	if (errno == EAGAIN && poll(&(struct pollfd){ STDOUT_FILENO, POLLOUT, 0 }, 1, -1) >= 0)
		return true;
	return errno == EINTR && !call_interrupted(output->call);
}

/* A muster_write_fn for standard output. */
static int output_write(void *context, const void *data, size_t size)
{
	struct output *output = context;
	const char *at = data;

	while (size) {
		ssize_t put = write(STDOUT_FILENO, at, size);

		if (put < 0 && output_waits(output))
			continue;
		if (put < 0) {
			output->error = errno;
			return -MUSTER_E_CANCELLED;
		}
		at += put;
		size -= (size_t)put;
	}
	return 0;
}

static int output_fail(struct output *output, const char *path, int rc)
{
	struct call *call = output->call;

	if (output->error == EPIPE) {
		call->shell->unheard = true;
		return STATUS_FAILED;
	}
	if (output->error && output->error != EINTR)
		return call_fail(call, "standard output", error_from_errno(output->error), NULL);
	return call_fail_last(call, path, rc);
}

static int get_stdout(struct call *call, const char *path, const struct range *range)
{
	struct output output = { .call = call };
	struct progress progress;
	struct muster_get_args args = {
		.path = path,
		.sink = { .fd = -1, .write = output_write, .context = &output },
		.offset = range->offset,
		.length = range->length,
		.progress = progress_step,
		.progress_context = &progress,
	};
	int rc;

	fflush(stdout);
	progress_init(&progress, call->command->name,
		      call_confirms(call) && !isatty(STDOUT_FILENO));
	rc = muster_get(call->session, &args, NULL);
	progress_hide(&progress);
	return rc < 0 ? output_fail(&output, path, rc) : STATUS_DONE;
}

static int cat_one(struct call *call, const char *path)
{
	struct range all = { 0 };

	return get_stdout(call, path, &all);
}

int command_cat(struct call *call)
{
	return call_each_path(call, 0, cat_one);
}

static int fetched_report(struct call *call, const char *path, const char *local,
			  const struct muster_get_result *result, const struct progress *progress)
{
	char size[SIZE_TEXT_MAX];

	if (call->shell->preferences.json) {
		cJSON *object = cJSON_CreateObject();

		json_text(object, "path", path);
		json_text(object, "local", local);
		json_number(object, "size", result->bytes);
		json_number(object, "version", result->entry.version);
		return call_json(call, object);
	}
	if (!call_confirms(call))
		return STATUS_DONE;
	fputs("fetched ", stdout);
	name_print(stdout, path);
	printf(": %s", bytes_format(result->bytes, size));
	transfer_rate_print(result->bytes, progress);
	putchar('\n');
	return STATUS_DONE;
}

static int get_file(struct call *call, const char *path, const char *local,
		    const struct range *range)
{
	struct local_target target;
	struct progress progress;
	struct muster_get_result result;
	struct muster_get_args args = {
		.path = path,
		.offset = range->offset,
		.length = range->length,
		.progress = progress_step,
		.progress_context = &progress,
	};
	int rc = local_target_open_path(&target, local, call->options[CALL_FORCE]);

	if (rc < 0)
		return call_fail(call, local, rc, NULL);
	args.sink.fd = target.fd;
	progress_init(&progress, "get", call_confirms(call));
	rc = muster_get(call->session, &args, &result);
	progress_hide(&progress);
	if (rc < 0) {
		local_target_drop(&target);
		return call_fail_last(call, path, rc);
	}
	rc = local_target_keep(&target);
	return rc < 0 ? call_fail(call, local, rc, NULL)
		      : fetched_report(call, path, local, &result, &progress);
}

static int local_join(char ret[4096], const char *directory, const char *name)
{
	bool slash = *directory && directory[strlen(directory) - 1] == '/';
	int size = snprintf(ret, 4096, "%s%s%s", directory, slash ? "" : "/", name);

	return size < 4096 ? 0 : -ERR_NAME_TOO_LONG;
}

static bool local_is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int get_to(struct call *call, const char *path, const char *local, const struct range *range)
{
	struct muster_entry entry;
	int rc;

	if (!call->options[CALL_TREE])
		return get_file(call, path, local, range);
	rc = muster_stat(call->session, path, &entry);
	if (rc < 0)
		return call_fail_last(call, path, rc);
	if (entry.type == MUSTER_DIRECTORY)
		return tree_get(call, path, local);
	return get_file(call, path, local, range);
}

static int get_one(struct call *call, const char *text, const struct range *range)
{
	const char *local = call->arguments[call->count - 1];
	bool directory = local_is_directory(local);
	char path[REMOTE_PATH_MAX];
	char target[4096];
	int status = call_resolve(call, text, path);

	if (status != STATUS_DONE)
		return status;
	if (strcmp(local, "-") == 0)
		return get_stdout(call, path, range);
	if (!directory || !*remote_name(path))
		return get_to(call, path, local, range);
	if (local_join(target, local, remote_name(path)) < 0)
		return call_fail(call, local, -ERR_NAME_TOO_LONG, NULL);
	return get_to(call, path, target, range);
}

/* Several files, or a name that ends in '/', need a directory to go into. */
static int get_check(const struct call *call)
{
	const char *local = call->arguments[call->count - 1];
	bool slash = *local && local[strlen(local) - 1] == '/';

	if (strcmp(local, "-") == 0 || local_is_directory(local))
		return STATUS_DONE;
	if (call->count > 2 || (slash && !call->options[CALL_TREE]))
		return call_fail(call, local, -ERR_NOT_DIR, NULL);
	return STATUS_DONE;
}

int command_get(struct call *call)
{
	struct range range;
	int status = range_parse(call, &range);

	if (status == STATUS_DONE && call->options[CALL_RANGE] && call->options[CALL_TREE])
		status = call_usage(call, "--range is for one file, not for trees");
	if (status == STATUS_DONE)
		status = get_check(call);
	if (status == STATUS_DONE)
		status = call_session(call);
	if (status != STATUS_DONE)
		return status;
	for (unsigned int i = 0; i + 1 < call->count && status != STATUS_NO_NAMESERVER; i++) {
		status = status_worse(status, get_one(call, call->arguments[i], &range));
		if (call_ends(call, call->count - i - 2, &status))
			break;
	}
	return status;
}

/* Commands that move bytes: put, get, cat, write. Whole trees are transfer_tree.c's. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "error.h"
#include "local_target.h"
#include "text.h"
#include "transfer.h"

enum { RATE_AFTER_MS = 500 };

void local_name(const char *path, char ret[256])
{
	size_t size = strlen(path);
	const char *start;

	while (size > 1 && path[size - 1] == '/')
		size--;
	start = path + size;
	while (start > path && start[-1] != '/')
		start--;
	size -= (size_t)(start - path);
	if (size >= 256 || (size == 1 && (*start == '.' || *start == '/')) ||
	    (size == 2 && start[0] == '.' && start[1] == '.'))
		size = 0;
	memcpy(ret, start, size);
	ret[size] = '\0';
}

unsigned int transfer_copies(const struct call *call)
{
	uint64_t copies = 0;

	if (call->options[CALL_COPIES])
		number_parse(call->options[CALL_COPIES], 1, 9, &copies);
	return (unsigned int)copies;
}

static int copies_check(const struct call *call)
{
	if (call->options[CALL_COPIES] && transfer_copies(call) == 0)
		return call_usage(call, "wants a number of copies from 1 to 9, not '%s'",
				  call->options[CALL_COPIES]);
	return STATUS_DONE;
}

bool transfer_shows_progress(const struct call *call)
{
	return call_confirms(call);
}

static void digest_text(const uint8_t digest[16], char ret[5 + ID_TEXT_MAX])
{
	struct id id;

	memcpy(id.bytes, digest, sizeof(id.bytes));
	memcpy(ret, "xxh3:", 5);
	id_format(&id, ret + 5);
}

/* Of a transfer that one had to wait for. */
static void rate_print(uint64_t bytes, const struct progress *progress)
{
	uint64_t elapsed_ms = clock_monotonic_ms() - progress->start_ms;
	char rate[RATE_MAX];

	if (elapsed_ms >= RATE_AFTER_MS)
		printf(" in %.2f s (%s)", (double)elapsed_ms / 1000,
		       rate_format(bytes, elapsed_ms, rate));
	putchar('\n');
}

/* "stored /a/b: 11 bytes, 3/3 copies", or the same as JSON. */
static int stored_report(struct call *call, const char *path,
			 const struct muster_put_result *result, const struct progress *progress)
{
	if (call->shell->preferences.json) {
		cJSON *object = cJSON_CreateObject();
		char digest[5 + ID_TEXT_MAX];

		digest_text(result->digest, digest);
		json_text(object, "path", path);
		json_number(object, "size", result->size);
		json_number(object, "copies", result->copies);
		json_number(object, "copies_wanted", result->copies_wanted);
		json_number(object, "version", result->version);
		json_text(object, "digest", digest);
		return call_json(call, object);
	}
	if (!call_confirms(call))
		return STATUS_DONE;
	fputs("stored ", stdout);
	name_print(stdout, path);
	printf(": %llu byte%s, %u/%u copies", (unsigned long long)result->size,
	       plural(result->size), result->copies, result->copies_wanted);
	rate_print(result->size, progress);
	return STATUS_DONE;
}

static int fetched_report(struct call *call, const char *path, const char *local,
			  const struct muster_get_result *result, const struct progress *progress)
{
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
	printf(": %llu byte%s", (unsigned long long)result->bytes, plural(result->bytes));
	rate_print(result->bytes, progress);
	return STATUS_DONE;
}

/* ---- put ---- */

static int put_source(struct call *call, const struct muster_source *source, const char *path)
{
	struct progress progress;
	struct muster_put_result result;
	struct muster_put_args args = {
		.path = path,
		.source = *source,
		.copies = transfer_copies(call),
		.flags = call->options[CALL_FORCE] ? MUSTER_REPLACE : 0,
		.progress = progress_step,
		.progress_context = &progress,
	};
	int rc;

	progress_init(&progress, "put", transfer_shows_progress(call));
	rc = muster_put(call->session, &args, &result);
	progress_hide(&progress);
	return rc < 0 ? call_fail_last(call, path, rc)
		      : stored_report(call, path, &result, &progress);
}

static int put_file(struct call *call, const char *local, const char *path)
{
	int fd = open(local, O_RDONLY | O_CLOEXEC);
	struct muster_source source = { .fd = fd, .size = MUSTER_UNKNOWN };
	int status;

	if (fd < 0)
		return call_fail(call, local, error_from_errno(errno), NULL);
	status = put_source(call, &source, path);
	close(fd);
	return status;
}

static int put_stdin(struct call *call, const char *path)
{
	struct muster_source source = { .fd = STDIN_FILENO, .size = MUSTER_UNKNOWN };

	if (call->shell->script)
		return call_fail(call, "-", -ERR_UNSUPPORTED,
				 "the commands come from standard input");
	return put_source(call, &source, path);
}

/* Where transfers go: what the last argument names. */
struct destination {
	char path[REMOTE_PATH_MAX];
	bool directory;
};

static int destination_find(struct call *call, struct destination *ret)
{
	const char *text = call->arguments[call->count - 1];
	bool slash = *text && text[strlen(text) - 1] == '/';
	struct muster_entry entry;
	int status = call_resolve(call, text, ret->path);
	int rc;

	if (status != STATUS_DONE)
		return status;
	rc = muster_stat(call->session, ret->path, &entry);
	if (rc < 0 && rc != -ERR_NOT_FOUND)
		return call_fail_last(call, ret->path, rc);
	ret->directory = rc == 0 && entry.type == MUSTER_DIRECTORY;
	/* A tree may be what makes the directory. */
	if (rc < 0 && slash && !call->options[CALL_TREE])
		return call_fail(call, ret->path, rc, NULL);
	if (!ret->directory && (rc == 0 || call->count > 2) && (slash || call->count > 2))
		return call_fail(call, ret->path, rc < 0 ? rc : -ERR_NOT_DIR, NULL);
	return STATUS_DONE;
}

static int put_one(struct call *call, const char *local, const struct destination *to)
{
	bool standard = strcmp(local, "-") == 0;
	char path[REMOTE_PATH_MAX];
	char name[256];
	struct stat st;

	local_name(local, name);
	if (standard && to->directory)
		return call_fail(call, to->path, -ERR_IS_DIR,
				 "standard input has no name: give one");
	if (!standard && stat(local, &st) < 0)
		return call_fail(call, local, error_from_errno(errno), NULL);
	if (!standard && S_ISDIR(st.st_mode) && !call->options[CALL_TREE])
		return call_fail(call, local, -ERR_IS_DIR, NULL);
	memcpy(path, to->path, strlen(to->path) + 1);
	if (to->directory && *name && remote_join(to->path, name, path) < 0)
		return call_fail(call, local, -ERR_NAME_TOO_LONG, NULL);
	if (standard)
		return put_stdin(call, path);
	return S_ISDIR(st.st_mode) ? tree_put(call, local, path) : put_file(call, local, path);
}

int command_put(struct call *call)
{
	struct destination to;
	int status = copies_check(call);

	if (status == STATUS_DONE)
		status = call_session(call);
	if (status == STATUS_DONE)
		status = destination_find(call, &to);
	if (status != STATUS_DONE)
		return status;
	for (unsigned int i = 0; i + 1 < call->count && status != STATUS_NO_NAMESERVER; i++) {
		status = status_worse(status, put_one(call, call->arguments[i], &to));
		if (call_interrupted(call))
			break;
	}
	return status;
}

static char *words_join(char *const *words)
{
	size_t size = 1;
	char *text;
	char *at;

	for (unsigned int i = 0; words[i]; i++)
		size += strlen(words[i]) + 1;
	text = malloc(size);
	if (!text)
		return NULL;
	at = text;
	for (unsigned int i = 0; words[i]; i++) {
		if (i)
			*at++ = ' ';
		at = stpcpy(at, words[i]);
	}
	return text;
}

int command_write(struct call *call)
{
	char path[REMOTE_PATH_MAX];
	struct muster_source source = { .fd = -1 };
	int status = copies_check(call);
	char *text;

	if (status == STATUS_DONE)
		status = call_resolve(call, call->arguments[0], path);
	if (status == STATUS_DONE)
		status = call_session(call);
	if (status != STATUS_DONE)
		return status;
	text = words_join(call->arguments + 1);
	if (!text)
		return call_fail(call, path, -ERR_NO_MEMORY, NULL);
	source.data = text;
	source.size = strlen(text);
	status = put_source(call, &source, path);
	free(text);
	return status;
}

/* ---- get ---- */

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
		      transfer_shows_progress(call) && !isatty(STDOUT_FILENO));
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
	progress_init(&progress, "get", transfer_shows_progress(call));
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
		if (call_interrupted(call) || call_unheard(call))
			break;
	}
	return status;
}

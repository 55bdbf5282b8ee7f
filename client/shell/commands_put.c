/* Commands that send bytes: put, write, append. Whole trees are transfer_tree.c's. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "names.h"
#include "text.h"
#include "transfer.h"

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

/* How bytes are sent: muster_put() or muster_append(). */
typedef int send_fn(struct muster *session, const struct muster_put_args *args,
		    struct muster_put_result *ret);

struct sending {
	struct call *call;
	send_fn *send;
	const char *did; /* "stored", "appended to" */
};

/* Of a file of several chunks that was appended to, nobody knows it. */
static bool digest_known(const uint8_t digest[16])
{
	static const uint8_t zeros[16];

	return memcmp(digest, zeros, 16) != 0;
}

static int stored_json(const struct call *call, const char *path,
		       const struct muster_put_result *result)
{
	cJSON *object = cJSON_CreateObject();

	json_text(object, "path", path);
	json_number(object, "size", result->size);
	json_number(object, "copies", result->copies);
	json_number(object, "copies_wanted", result->copies_wanted);
	json_number(object, "version", result->version);
	json_digest(object, digest_known(result->digest), result->digest);
	return call_json(call, object);
}

/* "stored /a/b: 11 bytes, 3/3 copies", or the same as JSON. */
static int stored_report(const struct sending *sending, const char *path,
			 const struct muster_put_result *result, const struct progress *progress)
{
	char size[SIZE_TEXT_MAX];

	if (sending->call->shell->preferences.json)
		return stored_json(sending->call, path, result);
	if (!call_confirms(sending->call))
		return STATUS_DONE;
	printf("%s ", sending->did);
	name_print(stdout, path);
	printf(": %s", bytes_format(result->size, size));
	transfer_rate_print(progress->bytes, progress);
	printf(", %u/%u copies\n", result->copies, result->copies_wanted);
	return STATUS_DONE;
}

static int send_source(const struct sending *sending, const struct muster_source *source,
		       const char *path)
{
	struct call *call = sending->call;
	struct progress progress;
	struct muster_put_result result = { 0 };
	struct muster_put_args args = {
		.path = path,
		.source = *source,
		.copies = transfer_copies(call),
		.flags = call->options[CALL_FORCE] ? MUSTER_REPLACE : 0,
		.progress = progress_step,
		.progress_context = &progress,
	};
	int rc;

	progress_init(&progress, call->command->name, call_confirms(call));
	rc = sending->send(call->session, &args, &result);
	progress_hide(&progress);
	return rc < 0 ? call_fail_last(call, path, rc)
		      : stored_report(sending, path, &result, &progress);
}

static int send_file(const struct sending *sending, const char *local, const char *path)
{
	int fd = open(local, O_RDONLY | O_CLOEXEC);
	struct muster_source source = { .fd = fd, .size = MUSTER_UNKNOWN };
	int status;

	if (fd < 0)
		return call_fail_errno(sending->call, local, errno);
	status = send_source(sending, &source, path);
	close(fd);
	return status;
}

static int send_stdin(const struct sending *sending, const char *path)
{
	struct muster_source source = { .fd = STDIN_FILENO, .size = MUSTER_UNKNOWN };

	if (sending->call->shell->script)
		return call_fail_text(sending->call, "-", -ERR_UNSUPPORTED,
				      "the commands come from standard input");
	return send_source(sending, &source, path);
}

static int put_one(struct call *call, const char *local, const struct destination *to)
{
	struct sending sending = { call, muster_put, "stored" };
	bool standard = strcmp(local, "-") == 0;
	char path[REMOTE_PATH_MAX];
	char name[256];
	struct stat st;

	local_name(local, name);
	if (standard && to->directory)
		return call_fail(call, to->path, -ERR_IS_DIR,
				 "standard input has no name: give one");
	if (!standard && stat(local, &st) < 0)
		return call_fail_errno(call, local, errno);
	if (!standard && S_ISDIR(st.st_mode) && !call->options[CALL_TREE])
		return call_fail(call, local, -ERR_IS_DIR, NULL);
	memcpy(path, to->path, strlen(to->path) + 1);
	if (to->directory && *name && remote_join(to->path, name, path) < 0)
		return call_fail(call, local, -ERR_NAME_TOO_LONG, NULL);
	if (standard)
		return send_stdin(&sending, path);
	return S_ISDIR(st.st_mode) ? tree_put(call, local, path) : send_file(&sending, local, path);
}

int command_put(struct call *call)
{
	struct destination to;
	int status = copies_check(call);

	if (status == STATUS_DONE)
		status = call_session(call);
	if (status == STATUS_DONE)
		status = transfer_destination(call, &to);
	if (status != STATUS_DONE)
		return status;
	for (unsigned int i = 0; i + 1 < call->count && status != STATUS_NO_NAMESERVER; i++) {
		status = status_worse(status, put_one(call, call->arguments[i], &to));
		if (call_ends(call, call->count - i - 2, &status))
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

static int send_text(const struct sending *sending, const char *text, const char *path)
{
	struct muster_source source = { .fd = -1, .data = text, .size = strlen(text) };

	return send_source(sending, &source, path);
}

int command_write(struct call *call)
{
	struct sending sending = { call, muster_put, "stored" };
	char path[REMOTE_PATH_MAX];
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
	status = send_text(&sending, text, path);
	free(text);
	return status;
}

int command_append(struct call *call)
{
	struct sending sending = { call, muster_append, "appended to" };
	const char *text = call->options[CALL_TEXT];
	const char *local = call->arguments[1];
	char path[REMOTE_PATH_MAX];
	int status;

	if (text && call->count > 1)
		return call_usage(call, "takes a local file or a text, not both");
	if (!text && call->count < 2)
		return call_usage(call, "wants a local file, - or -t TEXT");
	status = call_resolve(call, call->arguments[0], path);
	if (status == STATUS_DONE)
		status = call_session(call);
	if (status != STATUS_DONE)
		return status;
	if (text)
		return send_text(&sending, text, path);
	return strcmp(local, "-") == 0 ? send_stdin(&sending, path)
				       : send_file(&sending, local, path);
}

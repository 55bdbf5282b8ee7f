/* Commands that look whether all is well: verify, check. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "holdings.h"
#include "names.h"
#include "progress.h"
#include "remote_walk.h"

/* A list that is printed while it comes: {"problems":[…],"ok":true}. */
struct stream {
	struct call *call;
	const char *key;
	uint64_t count;
};

static void stream_start(struct stream *stream, struct call *call, const char *key)
{
	*stream = (struct stream){ .call = call, .key = key };
	if (call->shell->preferences.json)
		printf("{\"%s\":[", key);
}

static void stream_add(struct stream *stream, cJSON *object)
{
	if (stream->count++)
		putchar(',');
	if (json_write(stdout, object) < 0)
		fputs("null", stdout);
}

/* `rest`: the other keys. */
static int stream_end(struct stream *stream, cJSON *rest)
{
	int rc;

	fputs("],", stdout);
	rc = json_finish(stdout, rest);
	return rc < 0 ? call_fail(stream->call, NULL, rc, NULL) : STATUS_DONE;
}

/* ---- verify ---- */

struct verification {
	struct call *call;
	struct stream stream;
	struct progress progress;
	struct servers servers;
	const char *path;    /* of the file that is read now */
	uint64_t bytes_done; /* of the files before it */
	uint64_t files;
	uint64_t bytes;
	uint64_t copies;
	uint64_t bad;
	uint64_t silent;
	int status;
};

static void finding_json(struct verification *all, const struct muster_copy_finding *finding)
{
	const struct muster_node *node = servers_find(&all->servers, finding->node);
	cJSON *object = cJSON_CreateObject();
	char name[64];

	json_text(object, "path", all->path);
	json_number(object, "offset", finding->offset);
	json_text(object, "node", server_name(&all->servers, finding->node, name));
	json_text(object, "address", node ? node->address : "");
	json_digest(object, finding->has_digest, finding->digest);
	json_text(object, "state", copy_state_word(finding->state));
	stream_add(&all->stream, object);
}

static void finding_print(struct verification *all, const struct muster_copy_finding *finding)
{
	bool colour = all->call->shell->colour;
	char name[64];

	progress_hide(&all->progress);
	tone_print(stdout, colour ? copy_state_tone(finding->state) : TONE_PLAIN,
		   copy_state_word(finding->state));
	fputs("  ", stdout);
	name_print(stdout, all->path);
	printf("  at byte %" PRIu64 " on ", finding->offset);
	name_print(stdout, server_name(&all->servers, finding->node, name));
	putchar('\n');
}

/* A muster_finding_fn. */
static int finding_take(void *context, const struct muster_entry *entry,
			const struct muster_copy_finding *finding)
{
	struct verification *all = context;

	(void)entry;
	all->copies++;
	if (finding->state == MUSTER_COPY_OK)
		return call_interrupted(all->call) ? -ERR_CANCELLED : 0;
	all->bad += finding->state != MUSTER_COPY_SILENT;
	all->silent += finding->state == MUSTER_COPY_SILENT;
	if (all->call->shell->preferences.json)
		finding_json(all, finding);
	else
		finding_print(all, finding);
	return call_interrupted(all->call) ? -ERR_CANCELLED : 0;
}

/* A muster_progress_fn: of one file; what is shown is the sum. */
static int verify_step(void *context, uint64_t done, uint64_t total)
{
	struct verification *all = context;

	(void)total;
	all->progress.bytes = all->bytes_done + done;
	progress_draw(&all->progress);
	return call_interrupted(all->call) ? -ERR_CANCELLED : 0;
}

static void verify_fail(struct verification *all, const char *path, int rc)
{
	progress_hide(&all->progress);
	all->status = status_worse(all->status, call_fail_last(all->call, path, rc));
}

/* False: it makes no sense to go on. */
static bool file_verify(struct verification *all, const char *path,
			const struct muster_entry *entry)
{
	int rc;

	all->path = path;
	rc = muster_verify(all->call->session, path, finding_take, verify_step, all);
	all->bytes_done += entry->size;
	all->progress.bytes = all->bytes_done;
	all->progress.files++;
	if (rc >= 0) {
		all->files++;
		all->bytes += entry->size;
		return true;
	}
	/* Removed meanwhile. */
	if (rc == -ERR_NOT_FOUND)
		return true;
	verify_fail(all, path, rc);
	return rc != -ERR_CANCELLED && rc != -ERR_NO_NAMESERVER && rc != -ERR_TIMEOUT;
}

static int tree_sum(struct verification *all, struct remote_walk *walk, const char *path)
{
	struct muster_entry entry;
	int rc = remote_walk_start(walk, all->call->session, path);

	while (rc == 0 && !call_interrupted(all->call)) {
		rc = remote_walk_next(walk, &entry);
		if (rc != 1)
			break;
		rc = 0;
		all->progress.files_total += entry.type == MUSTER_FILE;
		all->progress.bytes_total += entry.size;
	}
	remote_walk_done(walk);
	return rc;
}

static int tree_verify(struct verification *all, struct remote_walk *walk, const char *path)
{
	struct muster_entry entry;
	bool more = true;
	int rc = 0;

	/* How much there is, is only worth asking where somebody looks. */
	if (all->progress.wanted)
		rc = tree_sum(all, walk, path);
	if (rc == 0)
		rc = remote_walk_start(walk, all->call->session, path);
	while (rc == 0 && more && !call_interrupted(all->call) && !call_unheard(all->call)) {
		rc = remote_walk_next(walk, &entry);
		if (rc != 1)
			break;
		rc = 0;
		if (entry.type == MUSTER_FILE)
			more = file_verify(all, walk->path, &entry);
	}
	remote_walk_done(walk);
	return rc;
}

static void path_verify(struct verification *all, const char *path)
{
	struct muster_entry entry;
	struct remote_walk *walk;
	int rc = muster_stat(all->call->session, path, &entry);

	if (rc == 0 && entry.type == MUSTER_FILE) {
		all->progress.files_total++;
		all->progress.bytes_total += entry.size;
		file_verify(all, path, &entry);
		return;
	}
	walk = rc < 0 ? NULL : malloc(sizeof(*walk));
	if (rc == 0)
		rc = walk ? tree_verify(all, walk, path) : -ERR_NO_MEMORY;
	free(walk);
	if (rc < 0)
		verify_fail(all, path, rc);
}

static int verify_one(struct call *call, const char *path)
{
	struct verification *all = call->context;

	path_verify(all, path);
	return all->status;
}

static int verify_json(struct verification *all)
{
	cJSON *rest = cJSON_CreateObject();

	cJSON_AddBoolToObject(rest, "ok", all->bad == 0 && all->silent == 0 && !all->status);
	json_number(rest, "files", all->files);
	json_number(rest, "bytes", all->bytes);
	json_number(rest, "copies", all->copies);
	json_number(rest, "bad", all->bad);
	json_number(rest, "silent", all->silent);
	return stream_end(&all->stream, rest);
}

static int verify_print(const struct verification *all)
{
	char size[SIZE_TEXT_MAX];

	if (!call_confirms(all->call) || (all->status != STATUS_DONE && all->files == 0))
		return STATUS_DONE;
	printf("verified %" PRIu64 " file%s, %s: %" PRIu64 " %s", all->files, plural(all->files),
	       bytes_format(all->bytes, size), all->copies, all->copies == 1 ? "copy" : "copies");
	if (all->bad)
		printf(", %" PRIu64 " bad, to be replaced", all->bad);
	if (all->silent)
		printf(", %" PRIu64 " on servers that do not answer", all->silent);
	if (!all->bad && !all->silent && all->status == STATUS_DONE)
		fputs(", all good", stdout);
	putchar('\n');
	return STATUS_DONE;
}

static int verify_run(struct verification *all)
{
	struct call *call = all->call;
	int rc = servers_load(call, &all->servers);
	int status;

	if (rc < 0)
		return call_fail_last(call, NULL, rc);
	call->context = all;
	stream_start(&all->stream, call, "bad_copies");
	progress_init(&all->progress, "verify", call_confirms(call));
	all->progress.bytes_total = 0;
	status = call_each_path(call, 0, verify_one);
	progress_hide(&all->progress);
	if (call_interrupted(call) && status == STATUS_DONE)
		status = call_fail(call, NULL, -ERR_CANCELLED, NULL);
	all->status = status;
	status = status_worse(status,
			      call->shell->preferences.json ? verify_json(all) : verify_print(all));
	servers_done(&all->servers);
	return all->bad || all->silent ? status_worse(status, STATUS_FAILED) : status;
}

int command_verify(struct call *call)
{
	struct verification all = { .call = call };
	int status = call_session(call);

	call_default_here(call);
	return status == STATUS_DONE ? verify_run(&all) : status;
}

/* ---- check ---- */

struct checking {
	struct call *call;
	struct stream stream;
	struct progress progress;
	struct servers servers;
	uint64_t problems;
};

static const char *problem_word(enum muster_problem_kind kind)
{
	switch (kind) {
	case MUSTER_PROBLEM_UNDER_COPIED: return "under_copied";
	case MUSTER_PROBLEM_LOST: return "lost";
	case MUSTER_PROBLEM_SURPLUS: return "surplus";
	case MUSTER_PROBLEM_CORRUPT: return "corrupt";
	case MUSTER_PROBLEM_SAME_MACHINE: return "same_machine";
	case MUSTER_PROBLEM_NODE: return "node";
	}
	return "unknown";
}

static enum tone problem_tone(enum muster_problem_kind kind)
{
	return kind == MUSTER_PROBLEM_LOST || kind == MUSTER_PROBLEM_CORRUPT ? TONE_BAD : TONE_WARN;
}

/* Which server it is about; "" for none. */
static const char *problem_server(const struct checking *checking,
				  const struct muster_problem *problem, char ret[64])
{
	ret[0] = '\0';
	return problem->has_node ? server_name(&checking->servers, problem->node, ret) : ret;
}

/* Where the name server's own words say too little. */
static void problem_detail(const struct checking *checking, const struct muster_problem *problem,
			   char ret[512])
{
	char name[64];
	const char *server = problem_server(checking, problem, name);
	int used = snprintf(ret, 512, "%s", problem->detail);

	if (*server && !strstr(problem->detail, server))
		snprintf(ret + used, 512 - (size_t)used, "%son %s", used ? ", " : "", server);
	if (!*ret)
		snprintf(ret, 512, "%u of %u copies", problem->copies, problem->copies_wanted);
}

static void problem_print(struct checking *checking, const struct muster_problem *problem,
			  const char *detail)
{
	bool colour = checking->call->shell->colour;
	const char *word = problem_word(problem->kind);
	char copies[32] = "-";
	char name[64];

	progress_hide(&checking->progress);
	if (checking->problems == 0)
		printf("%-12s  %-6s  %s\n", "PROBLEM", "COPIES", "PATH");
	tone_print(stdout, colour ? problem_tone(problem->kind) : TONE_PLAIN, word);
	if (problem->kind != MUSTER_PROBLEM_NODE)
		snprintf(copies, sizeof(copies), "%u/%u", problem->copies, problem->copies_wanted);
	printf("%*s  %-6s  ", (int)(12 - strlen(word)), "", copies);
	if (*problem->path || !*problem_server(checking, problem, name)) {
		name_print(stdout, *problem->path ? problem->path : "-");
	} else {
		name_print(stdout, name);
		detail = problem->detail;
	}
	fputs(": ", stdout);
	words_print(stdout, detail);
	putchar('\n');
}

/* A muster_problem_fn. */
static int problem_take(void *context, const struct muster_problem *problem)
{
	struct checking *checking = context;
	char detail[512];

	problem_detail(checking, problem, detail);
	if (checking->call->shell->preferences.json) {
		cJSON *object = cJSON_CreateObject();

		json_text(object, "path", problem->path);
		json_text(object, "kind", problem_word(problem->kind));
		json_text(object, "detail", detail);
		stream_add(&checking->stream, object);
	} else {
		problem_print(checking, problem, detail);
	}
	checking->problems++;
	return call_interrupted(checking->call) || call_unheard(checking->call) ? -ERR_CANCELLED
										: 0;
}

/* A muster_progress_fn: of chunks. */
static int check_step(void *context, uint64_t done, uint64_t total)
{
	struct checking *checking = context;

	checking->progress.files = done;
	checking->progress.files_total = total == MUSTER_UNKNOWN ? 0 : total;
	progress_draw(&checking->progress);
	return call_interrupted(checking->call) ? -ERR_CANCELLED : 0;
}

static int check_report(struct checking *checking, int rc)
{
	struct call *call = checking->call;
	int status = STATUS_DONE;

	if (call->shell->preferences.json) {
		cJSON *rest = cJSON_CreateObject();

		cJSON_AddBoolToObject(rest, "ok", rc >= 0 && checking->problems == 0);
		status = stream_end(&checking->stream, rest);
	} else if (rc >= 0 && call_confirms(call)) {
		if (checking->problems)
			printf("%" PRIu64 " problem%s\n", checking->problems,
			       plural(checking->problems));
		else
			puts("no problems");
	}
	if (rc < 0 && !call_unheard(call))
		status = status_worse(status, call_fail_last(call, NULL, rc));
	return checking->problems || rc < 0 ? status_worse(status, STATUS_FAILED) : status;
}

int command_check(struct call *call)
{
	struct checking checking = { .call = call };
	int status = call_session(call);
	int rc;

	if (status != STATUS_DONE)
		return status;
	rc = servers_load(call, &checking.servers);
	if (rc < 0)
		return call_fail_last(call, NULL, rc);
	stream_start(&checking.stream, call, "problems");
	progress_init(&checking.progress, "check", call_confirms(call));
	checking.progress.unit = "chunks";
	rc = muster_check(call->session, problem_take, check_step, &checking);
	progress_hide(&checking.progress);
	servers_done(&checking.servers);
	return check_report(&checking, rc);
}

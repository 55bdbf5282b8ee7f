/* The calls of libmuster that move few bytes or none: those that wait and those that do not.
 *
 *     lib_calls NAMESERVER blocking           every blocking call, on an empty store
 *     lib_calls NAMESERVER started            every operation that can be started, all at once
 *     lib_calls NAMESERVER put PATH TEXT      stores a file
 *     lib_calls NAMESERVER append PATH TEXT   adds to one
 *
 * Prints one JSON object per line; exits 1 at the first thing that is wrong. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "muster.h"

static struct muster *session;

static void check(bool right, const char *what, int rc)
{
	printf("{\"what\":\"%s\",\"right\":%s,\"error\":\"%s\",\"detail\":\"%s\"}\n", what,
	       right ? "true" : "false", rc < 0 ? muster_error_name(rc) : "",
	       rc < 0 ? muster_detail(session) : "");
	fflush(stdout);
	if (!right)
		exit(1);
}

/* ---- every blocking call ---- */

static int put_text(const char *path, const char *text, unsigned int flags)
{
	struct muster_put_args put = {
		.path = path,
		.source = { .data = text, .size = strlen(text) },
		.flags = flags,
	};

	return muster_put(session, &put, NULL);
}

static int append_text(const char *path, const char *text)
{
	struct muster_put_args append = {
		.path = path,
		.source = { .data = text, .size = strlen(text) },
	};

	return muster_append(session, &append, NULL);
}

static bool has_text(const char *path, const char *text)
{
	char back[256] = "";
	struct muster_get_args get = { .path = path, .sink = { .data = back, .size = 255 } };

	return muster_get(session, &get, NULL) == 0 && strcmp(back, text) == 0;
}

static void names(void)
{
	struct muster_copied copied;
	struct muster_removed removed;
	char at[MUSTER_PATH_SIZE];
	int rc = muster_mkdir(session, "/a/b", MUSTER_PARENTS);

	check(rc == 0, "mkdir", rc);
	rc = put_text("/a/one", "one", 0);
	check(rc == 0, "put", rc);
	rc = muster_rename(session, "/a/one", "/a/b", 0, at);
	check(rc == -MUSTER_E_EXISTS || rc == -MUSTER_E_IS_DIR, "rename onto a directory", rc);
	rc = muster_rename(session, "/a/one", "/a/b", MUSTER_INTO, at);
	check(rc == 0 && strcmp(at, "/a/b/one") == 0, "rename", rc);
	rc = muster_rename(session, "/a", "/a/b", MUSTER_INTO, NULL);
	check(rc == -MUSTER_E_INTO_ITSELF, "rename into itself", rc);
	rc = muster_copy(session, "/a", "/c", 0, NULL);
	check(rc == -MUSTER_E_IS_DIR, "copy of a tree without TREE", rc);
	rc = muster_copy(session, "/a", "/c", MUSTER_TREE, &copied);
	check(rc == 0 && copied.count == 3 && copied.bytes == 3 && strcmp(copied.path, "/c") == 0 &&
		      has_text("/c/b/one", "one"),
	      "copy", rc);
	rc = muster_copy(session, "/c/b/one", "/a/b/one", MUSTER_KEEP_BOTH, &copied);
	check(rc == 0 && strcmp(copied.path, "/a/b/one(1)") == 0, "copy beside", rc);
	rc = muster_copy(session, "/c/b/one", "/a/b/one", 0, NULL);
	check(rc == -MUSTER_E_EXISTS, "copy onto a file", rc);
	rc = muster_set_copies(session, "/a/b/one", 1);
	check(rc >= 1, "set copies", rc);
	rc = muster_rmdir(session, "/a/b");
	check(rc == -MUSTER_E_NOT_EMPTY, "rmdir", rc);
	rc = muster_remove(session, "/c", MUSTER_TREE, &removed);
	check(rc == 0 && removed.count == 3 && removed.bytes == 3, "remove", rc);
}

static void listing(void)
{
	struct muster_list *list;
	struct muster_entry entry;
	int rc = muster_list_open_after(session, "/a/b", "one", &list);

	check(rc == 0, "list after", rc);
	rc = muster_list_next(list, &entry);
	check(rc == 1 && strcmp(entry.name, "one(1)") == 0, "list next", rc);
	rc = muster_list_next(list, &entry);
	check(rc == 0, "list end", rc);
	muster_list_close(list);
}

static void trash(void)
{
	struct muster_trash *trash;
	struct muster_trashed gone;
	struct muster_copied back;
	struct muster_removed purged;
	int rc = muster_trash_open(session, "/c", &trash);

	check(rc == 0, "trash open", rc);
	rc = muster_trash_next(trash, &gone);
	check(rc == 1 && strcmp(gone.path, "/c") == 0 && gone.type == MUSTER_DIRECTORY &&
		      gone.entries == 3 && gone.bytes == 3,
	      "trash next", rc);
	rc = muster_trash_next(trash, &gone);
	check(rc == 0, "trash end", rc);
	muster_trash_close(trash);
	rc = muster_trash_restore(session, "/c/b/one", 0, "/back", &back);
	check(rc == 0 && strcmp(back.path, "/back") == 0 && has_text("/back", "one"), "restore",
	      rc);
	rc = muster_trash_restore(session, "/c", gone.id, NULL, &back);
	check(rc == 0 && strcmp(back.path, "/c") == 0, "restore of the rest", rc);
	rc = muster_remove(session, "/back", 0, NULL);
	check(rc == 0, "remove again", rc);
	rc = muster_trash_purge(session, NULL, 0, &purged);
	check(rc == 0 && purged.count >= 1, "purge", rc);
	rc = muster_trash_open(session, NULL, &trash);
	check(rc == 0 && muster_trash_next(trash, &gone) == 0, "trash is empty", rc);
	muster_trash_close(trash);
}

static int count_finding(void *context, const struct muster_entry *entry,
			 const struct muster_copy_finding *finding)
{
	*(unsigned int *)context += entry->size == 3 && finding->state == MUSTER_COPY_OK;
	return 0;
}

static int count_problem(void *context, const struct muster_problem *problem)
{
	(void)problem;
	++*(unsigned int *)context;
	return 0;
}

static int see_event(void *context, const struct muster_event *event)
{
	*(bool *)context |= *event->event && event->text;
	return 0;
}

static void health(void)
{
	struct muster_events_args wanted = { .level = MUSTER_DEBUG };
	struct muster_status status;
	unsigned int count = 0;
	bool seen = false;
	int rc = muster_verify(session, "/a/b/one", count_finding, NULL, &count);

	check(rc == 0 && count >= 1, "verify", rc);
	count = 0;
	rc = muster_check(session, count_problem, NULL, &count);
	check(rc >= 0 && (unsigned int)rc == count, "check", rc);
	rc = muster_events(session, &wanted, see_event, &seen, &wanted.after, NULL);
	check(rc > 0 && seen && wanted.after > 0, "events", rc);
	rc = muster_status(session, &status);
	check(rc == 0 && status.files > 0 && status.nodes_online == 3, "status", rc);
}

static void servers(void)
{
	struct muster_node *nodes;
	struct muster_reach ways;
	uint64_t chunks;
	int count = muster_nodes(session, &nodes);
	int rc;

	check(count == 3 && !nodes[0].draining && !nodes[0].disk_failed, "nodes", count);
	rc = muster_reach(session, nodes[0].id, &ways);
	check(rc == 0 && ways.active == 0 && ways.passive == 0 && ways.port && *ways.address,
	      "reach", rc);
	rc = muster_drain(session, nodes[0].id, true, &chunks);
	check(rc == 0, "drain", rc);
	rc = muster_drain(session, nodes[0].id, false, NULL);
	check(rc == 0, "undrain", rc);
	rc = muster_forget(session, nodes[0].id);
	check(rc == -MUSTER_E_ONLINE, "forget", rc);
	nodes[0].id[0] ^= 0x55;
	rc = muster_reach(session, nodes[0].id, &ways);
	check(rc == -MUSTER_E_NOT_FOUND, "reach of nobody", rc);
	muster_nodes_free(nodes);
}

static void formatting(void)
{
	struct muster_info info;
	struct muster_removed removed;
	struct muster_entry entry;
	int rc;

	muster_info(session, &info);
	rc = muster_format(session, "another", NULL);
	check(rc < 0, "format of another cluster", rc);
	rc = muster_format(session, info.cluster, &removed);
	check(rc == 0 && removed.count > 0, "format", rc);
	rc = muster_stat(session, "/a", &entry);
	check(rc == -MUSTER_E_NOT_FOUND, "nothing is left", rc);
}

static void blocking(void)
{
	names();
	listing();
	trash();
	health();
	servers();
	formatting();
}

/* ---- what can be started ---- */

struct tally {
	unsigned int right;
	unsigned int wrong;
};

/* What an operation of each kind must bring. */
static const char *kind_of(const struct muster_op *op)
{
	if (muster_op_status(op))
		return muster_op_status(op)->nodes_online == 3 ? "status" : NULL;
	if (muster_op_nodes(op))
		return muster_op_nodes(op)->count == 3 && !muster_op_nodes(op)->more ? "nodes"
										     : NULL;
	if (muster_op_list(op))
		return muster_op_list(op)->count == 2 && muster_op_list(op)->more ? "list" : NULL;
	if (muster_op_stat(op))
		return muster_op_stat(op)->size == 3 ? "stat" : NULL;
	if (muster_op_verify(op))
		return muster_op_verify(op)->next == 3 && muster_op_verify(op)->count > 0 ? "verify"
											  : NULL;
	if (muster_op_check(op))
		return "check";
	if (muster_op_events(op))
		return muster_op_events(op)->count > 0 ? "events" : NULL;
	if (muster_op_trash(op))
		return "trash";
	if (muster_op_copied(op))
		return *muster_op_copied(op)->path == '/' ? "copied" : NULL;
	if (muster_op_removed(op))
		return "removed";
	if (muster_op_reach(op))
		return muster_op_reach(op)->passive == 0 ? "reach" : NULL;
	return "nothing";
}

static void ended(void *context, struct muster_op *op, int result)
{
	struct tally *tally = context;
	const char *kind = kind_of(op);

	printf("{\"kind\":\"%s\",\"error\":\"%s\"}\n", kind ? kind : "wrong",
	       result < 0 ? muster_error_name(result) : "");
	if (result < 0 || !kind)
		tally->wrong++;
	else
		tally->right++;
}

static void loop(void)
{
	while (muster_process(session) > 0) {
		struct pollfd wait = { .fd = muster_fd(session), .events = POLLIN };

		poll(&wait, 1, muster_timeout(session));
	}
}

static unsigned int start_looking(struct muster_then then, const uint8_t *node)
{
	struct muster_list_args list = { .path = "/s", .after = "a", .most = 2 };
	struct muster_verify_args verify = { .path = "/s/c" };
	struct muster_events_args events = { .level = MUSTER_DEBUG };
	struct muster_trash_args gone = { 0 };
	int errors = 0;

	errors |= muster_start_status(session, then, NULL);
	errors |= muster_start_nodes(session, NULL, then, NULL);
	errors |= muster_start_list(session, &list, then, NULL);
	errors |= muster_start_stat(session, "/s/b", then, NULL);
	errors |= muster_start_verify(session, &verify, then, NULL);
	errors |= muster_start_check(session, 0, then, NULL);
	errors |= muster_start_events(session, &events, then, NULL);
	errors |= muster_start_trash(session, &gone, then, NULL);
	errors |= muster_start_reach(session, node, then, NULL);
	check(errors == 0, "started", errors);
	return 9;
}

static unsigned int start_changing(struct muster_then then)
{
	struct muster_move_args rename = { .path = "/s/a", .to = "/s/A" };
	struct muster_move_args copy = { .path = "/s/b", .to = "/s/B" };
	struct muster_move_args restore = { .path = "/s/gone" };
	int errors = 0;

	errors |= muster_start_rename(session, &rename, then, NULL);
	errors |= muster_start_copy(session, &copy, then, NULL);
	errors |= muster_start_set_copies(session, "/s/c", 1, then, NULL);
	errors |= muster_start_trash_restore(session, &restore, then, NULL);
	errors |= muster_start_trash_purge(session, "/s/gone2", 0, then, NULL);
	errors |= muster_start_rmdir(session, "/s/empty", then, NULL);
	errors |= muster_start_remove(session, "/s/d", 0, then, NULL);
	errors |= muster_start_mkdir(session, "/s/new", 0, then, NULL);
	errors |= muster_start_create(session, "/s/touched", then, NULL);
	check(errors == 0, "started", errors);
	return 9;
}

static void started(void)
{
	const char *const files[] = { "/s/a", "/s/b", "/s/c", "/s/d", "/s/gone", "/s/gone2" };
	struct tally tally = { 0 };
	struct muster_then then = { ended, &tally };
	struct muster_node *nodes = NULL;
	unsigned int count;
	int rc = muster_mkdir(session, "/s/empty", MUSTER_PARENTS);

	for (size_t i = 0; rc == 0 && i < sizeof(files) / sizeof(files[0]); i++)
		rc = put_text(files[i], "one", MUSTER_REPLACE);
	if (rc == 0)
		rc = muster_remove(session, "/s/gone", 0, NULL);
	if (rc == 0)
		rc = muster_remove(session, "/s/gone2", 0, NULL);
	check(rc == 0 && muster_nodes(session, &nodes) == 3, "prepared", rc);
	count = start_looking(then, nodes[1].id);
	loop();
	check(tally.right == count, "looking", 0);
	count += start_changing(then);
	loop();
	check(tally.right == count && tally.wrong == 0, "changing", 0);
	muster_nodes_free(nodes);
}

int main(int argc, char **argv)
{
	struct muster_options options = { .nameserver = argc > 1 ? argv[1] : NULL };
	int rc;

	if (argc < 3)
		return 2;
	rc = muster_open(&options, &session);
	check(rc == 0, "open", rc);
	if (strcmp(argv[2], "blocking") == 0)
		blocking();
	else if (strcmp(argv[2], "started") == 0)
		started();
	else if (strcmp(argv[2], "put") == 0 && argc == 5)
		rc = put_text(argv[3], argv[4], MUSTER_REPLACE);
	else if (strcmp(argv[2], "append") == 0 && argc == 5)
		rc = append_text(argv[3], argv[4]);
	else
		rc = 2;
	muster_close(session);
	return rc ? 1 : 0;
}

/* libmuster's questions against a name server that answers what it likes: cursors that do not move
 * on, texts that are too long, pages that are empty, work that is not done yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "error.h"
#include "library_world.h"

enum { PAGES_MAX = 50 };

/* What the name server does; `asked` counts the questions. */
struct scene {
	struct world world;
	_Atomic unsigned int asked;
	_Atomic unsigned int busy;       /* questions that are answered IN_PROGRESS */
	_Atomic unsigned int interrupts; /* questions that are interrupted, then answered */
	struct muster *_Atomic session;
	bool stuck; /* cursors do not move on */
};

static void answer(struct world_peer *peer, const struct message *message, const void *body)
{
	reply_encode(&peer->out, message->info->code, message->id, body);
}

static void on_trash_list(struct world_peer *peer, const struct message *message,
			  struct scene *scene)
{
	const struct trash_list_request *request = message->body;
	struct trash_entry gone = { .path = slice_of("/gone"), .type = ENTRY_FILE };
	struct trash_list_reply reply = {
		.more = request->id < 3,
		.id = scene->stuck ? 1 : request->id + 1,
		.entries = &gone,
		.entries_count = request->id != 1, /* the second page is empty */
	};

	gone.id = reply.id;
	answer(peer, message, &reply);
}

static void on_verify(struct world_peer *peer, const struct message *message, struct scene *scene)
{
	const struct verify_request *request = message->body;
	struct copy_finding finding = { .offset = request->offset, .state = COPY_MISSING };
	struct verify_reply reply = {
		.next = scene->stuck ? 10 : request->offset + 10,
		.entry = { .size = 30, .inode = 5, .type = ENTRY_FILE },
		.copies = &finding,
		.copies_count = 1,
	};

	if (request->offset && request->inode != 5)
		refusal_encode(&peer->out, MSG_verify, message->id, -ERR_STALE);
	else
		answer(peer, message, &reply);
}

static void on_check(struct world_peer *peer, const struct message *message, struct scene *scene)
{
	const struct check_request *request = message->body;
	struct problem problem = {
		.kind = PROBLEM_LOST,
		.path = slice_of("/lost"),
		.detail = slice_of("nobody has it"),
	};
	struct check_reply reply = {
		.after = scene->stuck ? 1 : request->after + 1,
		.seen = 100,
		.more = request->after < 2,
		.problems = &problem,
		.problems_count = 1,
	};

	answer(peer, message, &reply);
}

static void on_events(struct world_peer *peer, const struct message *message)
{
	static char text[EVENT_TEXT_MAX];
	struct event_line events[2] = {
		{ .number = 8, .event = slice_of("put_committed"), .node = slice_of("s1") },
		{ .number = 9, .event = slice_of("x"), .level = MUSTER_DEBUG },
	};

	memset(text, 't', sizeof(text));
	events[0].text = (struct slice){ (const uint8_t *)text, sizeof(text) };
	answer(peer, message,
	       &(struct events_reply){
		       .after = 9, .missed = 4, .events = events, .events_count = 2 });
}

static void on_copy(struct world_peer *peer, const struct message *message)
{
	char path[PATH_SIZE_MAX];

	memset(path, 'p', sizeof(path));
	answer(peer, message,
	       &(struct copy_reply){ .entries = 3, .path = { (uint8_t *)path, sizeof(path) } });
}

static void serve(struct world_peer *peer, const struct message *message)
{
	struct scene *scene = peer->world->context;

	scene->asked++;
	if (scene->interrupts > 0) {
		scene->interrupts--;
		muster_interrupt(scene->session);
	}
	if (scene->busy > 0) {
		scene->busy--;
		refusal_encode(&peer->out, message->info->code, message->id, -ERR_IN_PROGRESS);
		return;
	}
	switch (message->info->code) {
	case MSG_trash_list: on_trash_list(peer, message, scene); break;
	case MSG_verify: on_verify(peer, message, scene); break;
	case MSG_check: on_check(peer, message, scene); break;
	case MSG_events: on_events(peer, message); break;
	case MSG_copy: on_copy(peer, message); break;
	case MSG_status: answer(peer, message, &(struct status_reply){ .chunks = 250 }); break;
	default: refusal_encode(&peer->out, message->info->code, message->id, -ERR_UNSUPPORTED);
	}
}

/* No port is leased, so that the questions are all that comes. */
static struct muster *scene_open(struct scene *scene, bool stuck)
{
	*scene = (struct scene){ .world = { .serve = serve, .context = scene }, .stuck = stuck };
	scene->world.transfer = MUSTER_TRANSFER_PASSIVE;
	return world_open(&scene->world);
}

static int count_trash(struct muster *session, unsigned int *ret_count)
{
	struct muster_trash *trash;
	struct muster_trashed gone;
	int rc = muster_trash_open(session, NULL, &trash);

	*ret_count = 0;
	while (rc == 0 && *ret_count < PAGES_MAX && (rc = muster_trash_next(trash, &gone)) == 1) {
		++*ret_count;
		rc = 0;
	}
	muster_trash_close(trash);
	return rc;
}

static void test_trash_in_pages(void **state)
{
	struct scene scene;
	struct muster *session = scene_open(&scene, false);
	unsigned int count;

	(void)state;
	assert_int_equal(count_trash(session, &count), 0);
	assert_int_equal(count, 3);
	world_close(&scene.world, session);
	session = scene_open(&scene, true);
	assert_int_equal(count_trash(session, &count), -MUSTER_E_BAD_REQUEST);
	assert_int_equal(count, 1);
	world_close(&scene.world, session);
}

struct seen {
	unsigned int told;
	unsigned int parts;
	uint64_t done;
	uint64_t total;
	unsigned int stop_after; /* 0: never */
};

static int on_progress(void *context, uint64_t done, uint64_t total)
{
	struct seen *seen = context;

	assert_true(done >= seen->done);
	seen->done = done;
	seen->total = total;
	return ++seen->parts == seen->stop_after;
}

static int on_finding(void *context, const struct muster_entry *entry,
		      const struct muster_copy_finding *finding)
{
	struct seen *seen = context;

	assert_int_equal(entry->size, 30);
	assert_int_equal(finding->state, MUSTER_COPY_MISSING);
	assert_false(finding->has_digest);
	assert_int_equal(finding->offset, 10 * seen->told);
	seen->told++;
	return 0;
}

static void test_verify_in_parts(void **state)
{
	struct seen seen = { 0 };
	struct scene scene;
	struct muster *session = scene_open(&scene, false);

	(void)state;
	assert_int_equal(muster_verify(session, "/f", on_finding, on_progress, &seen), 3);
	assert_int_equal(seen.told, 3);
	assert_int_equal(seen.parts, 3);
	assert_int_equal(seen.done, 30);
	assert_int_equal(seen.total, 30);
	seen = (struct seen){ .stop_after = 1 };
	assert_int_equal(muster_verify(session, "/f", NULL, on_progress, &seen),
			 -MUSTER_E_CANCELLED);
	assert_int_equal(seen.parts, 1);
	world_close(&scene.world, session);
	session = scene_open(&scene, true);
	assert_int_equal(muster_verify(session, "/f", NULL, NULL, NULL), -MUSTER_E_BAD_REQUEST);
	world_close(&scene.world, session);
}

static int on_problem(void *context, const struct muster_problem *problem)
{
	struct seen *seen = context;

	assert_int_equal(problem->kind, MUSTER_PROBLEM_LOST);
	assert_string_equal(problem->path, "/lost");
	assert_string_equal(problem->detail, "nobody has it");
	assert_false(problem->has_node);
	return ++seen->told == seen->stop_after;
}

static void test_check_in_parts(void **state)
{
	struct seen seen = { 0 };
	struct scene scene;
	struct muster *session = scene_open(&scene, false);

	(void)state;
	assert_int_equal(muster_check(session, on_problem, on_progress, &seen), 3);
	assert_int_equal(seen.told, 3);
	assert_int_equal(seen.done, 300);
	assert_int_equal(seen.total, 300); /* more than there had seemed to be */
	seen = (struct seen){ .stop_after = 2 };
	assert_int_equal(muster_check(session, on_problem, NULL, &seen), -MUSTER_E_CANCELLED);
	assert_int_equal(seen.told, 2);
	world_close(&scene.world, session);
	session = scene_open(&scene, true);
	assert_int_equal(muster_check(session, NULL, NULL, NULL), -MUSTER_E_BAD_REQUEST);
	world_close(&scene.world, session);
}

/* Blocking calls may be made from here. */
static int on_event(void *context, const struct muster_event *event)
{
	struct muster_status status;

	assert_int_equal(muster_status(context, &status), 0);
	if (event->number == 8) {
		assert_string_equal(event->event, "put_committed");
		assert_string_equal(event->node, "s1");
		assert_int_equal(strlen(event->text), EVENT_TEXT_MAX);
	} else {
		assert_int_equal(event->number, 9);
		assert_string_equal(event->text, "");
		assert_int_equal(event->level, MUSTER_DEBUG);
	}
	return 0;
}

static void test_events(void **state)
{
	struct muster_events_args args = { .level = MUSTER_DEBUG };
	struct scene scene;
	struct muster *session = scene_open(&scene, false);
	uint64_t missed;

	(void)state;
	assert_int_equal(muster_events(session, &args, on_event, session, &args.after, &missed), 2);
	assert_int_equal(args.after, 9);
	assert_int_equal(missed, 4);
	world_close(&scene.world, session);
}

static void test_work_in_progress_and_long_paths(void **state)
{
	struct muster_copied copied;
	struct scene scene;
	struct muster *session = scene_open(&scene, false);

	(void)state;
	scene.busy = 100;
	assert_int_equal(muster_copy(session, "/a", "/b", 0, &copied), 0);
	assert_int_equal(scene.asked, 101);
	assert_int_equal(copied.count, 3);
	assert_int_equal(strlen(copied.path), PATH_SIZE_MAX);
	world_close(&scene.world, session);
}

/* Nothing is asked that could not be answered. */
static void test_bad_arguments(void **state)
{
	struct muster_events_args args = { .level = (enum muster_level)9 };
	struct scene scene;
	struct muster *session = scene_open(&scene, false);
	struct muster_list *list;
	char name[NAME_SIZE_MAX + 2];

	(void)state;
	memset(name, 'n', sizeof(name));
	name[NAME_SIZE_MAX + 1] = '\0';
	assert_int_equal(muster_rename(session, "/a", NULL, 0, NULL), -MUSTER_E_USAGE);
	assert_int_equal(muster_rename(session, "a", "/b", 0, NULL), -MUSTER_E_BAD_NAME);
	assert_int_equal(muster_copy(session, "/a", "/b/..", 0, NULL), -MUSTER_E_BAD_NAME);
	assert_int_equal(muster_list_open_after(session, "/", name, &list),
			 -MUSTER_E_NAME_TOO_LONG);
	assert_int_equal(muster_events(session, &args, on_event, session, &args.after, NULL),
			 -MUSTER_E_USAGE);
	assert_int_equal(muster_format(session, NULL, NULL), -MUSTER_E_USAGE);
	assert_int_equal(muster_set_copies(session, "/a", 10), -MUSTER_E_USAGE);
	assert_int_equal(scene.asked, 0);
	world_close(&scene.world, session);
}

/* If it comes too late for one call, the next one has it. */
static void test_no_interrupt_is_lost(void **state)
{
	struct scene scene;
	struct muster *session = scene_open(&scene, false);
	struct muster_status status;

	(void)state;
	scene.session = session;
	for (unsigned int i = 0; i < 300; i++) {
		scene.interrupts = 1;
		if (muster_status(session, &status) == 0)
			assert_int_equal(muster_status(session, &status), -MUSTER_E_CANCELLED);
		assert_int_equal(muster_status(session, &status), 0);
	}
	world_close(&scene.world, session);
}

static void expect_cancelled(void *context, struct muster_op *op, int result)
{
	assert_int_equal(result, -MUSTER_E_CANCELLED);
	assert_null(muster_op_copied(op));
	*(bool *)context = true;
}

static void test_cancelled_while_in_progress(void **state)
{
	struct muster_move_args copy = { .path = "/a", .to = "/b" };
	struct scene scene;
	struct muster *session = scene_open(&scene, false);
	struct muster_op *op;
	bool cancelled = false;

	(void)state;
	scene.busy = UINT32_MAX;
	assert_int_equal(muster_start_copy(session, &copy,
					   (struct muster_then){ expect_cancelled, &cancelled },
					   &op),
			 0);
	for (unsigned int i = 0; i < 20; i++)
		muster_wait(session, 100);
	assert_false(cancelled);
	muster_cancel(op);
	while (muster_wait(session, 100) > 0)
		continue;
	assert_true(cancelled);
	world_close(&scene.world, session);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_trash_in_pages),
		cmocka_unit_test(test_verify_in_parts),
		cmocka_unit_test(test_check_in_parts),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_work_in_progress_and_long_paths),
		cmocka_unit_test(test_bad_arguments),
		cmocka_unit_test(test_no_interrupt_is_lost),
		cmocka_unit_test(test_cancelled_while_in_progress),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

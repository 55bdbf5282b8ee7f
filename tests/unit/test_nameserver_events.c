/* EVENTS: what is told, to whom, in which order, and who is woken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ns_driver.h"

static struct ns_driver d;
static struct ns_peer *client;

static void setup(const struct nameserver_config *config)
{
	driver_start(&d, config);
	client = driver_client(&d, 1);
}

static struct events_reply events_of(const struct events_request *request)
{
	struct events_reply reply;

	assert_int_equal(driver_ask(client, MSG_events, request, &reply, sizeof(reply)), 0);
	return reply;
}

#define EVENTS(...) events_of(&(const struct events_request){ __VA_ARGS__ })

static void make_directory(const char *path)
{
	struct mkdir_reply made;

	client->operation++;
	assert_int_equal(ASK(client, mkdir, &made, .operation = client->operation,
			     .outstanding = client->operation, .path = slice_of(path)),
			 0);
}

static bool is(const struct event_line *line, const char *event, const char *node)
{
	return slice_equal(line->event, slice_of(event)) && slice_equal(line->node, slice_of(node));
}

static void assert_text(const struct event_line *line, const char *expected)
{
	char text[EVENT_TEXT_MAX + 1];

	snprintf(text, sizeof(text), "%.*s", (int)line->text.size, (const char *)line->text.data);
	assert_string_equal(text, expected);
}

static void test_operations_are_told_in_order(void **state)
{
	struct put_commit_reply committed;
	struct remove_reply removed;
	struct events_reply reply;

	(void)state;
	setup(NULL);
	driver_storage(&d, 1);
	make_directory("/a");
	assert_int_equal(driver_put(client, "/a/f \"1\"", 11, &committed), 0);
	client->operation++;
	assert_int_equal(ASK(client, remove, &removed, .operation = client->operation,
			     .outstanding = client->operation, .path = slice_of("/a"),
			     .flags = REMOVE_TREE),
			 0);
	reply = EVENTS(.level = LOG_INFO);
	assert_int_equal(reply.missed, 0);
	assert_int_equal(reply.events_count, 5);
	assert_int_equal(reply.after, 5);
	for (unsigned int i = 0; i < 5; i++) {
		assert_int_equal(reply.events[i].number, i + 1);
		assert_int_equal(reply.events[i].level, LOG_INFO);
		assert_int_equal(reply.events[i].time_ms, d.wall_ms);
	}
	assert_true(is(&reply.events[0], "node_joined", "host1"));
	assert_true(is(&reply.events[1], "node_online", "host1"));
	assert_true(is(&reply.events[2], "mkdir", ""));
	assert_text(&reply.events[2], "path=\"/a\" ms=0");
	assert_true(is(&reply.events[3], "put_committed", ""));
	assert_text(&reply.events[3], "path=\"/a/f \\\"1\\\"\" size=11 chunks=1 copies=1/3 ms=0");
	assert_true(is(&reply.events[4], "removed", ""));
	assert_text(&reply.events[4], "path=\"/a\" entries=2 bytes=11 ms=0");
	assert_true(driver_logged(&d, "put_committed path=\"/a/f \\\"1\\\"\" size=11 chunks=1"));
	assert_true(driver_logged(&d, "node_online node=host1 id="));
	driver_stop(&d);
}

static void test_after_level_and_node(void **state)
{
	struct events_reply reply;

	(void)state;
	setup(NULL);
	driver_storage(&d, 1);
	driver_close(driver_storage(&d, 2));
	make_directory("/a");
	reply = EVENTS(.level = LOG_INFO, .after = 2);
	assert_int_equal(reply.events_count, 4);
	assert_int_equal(reply.events[0].number, 3);
	reply = EVENTS(.level = LOG_WARN);
	assert_int_equal(reply.events_count, 1);
	assert_true(is(&reply.events[0], "node_suspect", "host2"));
	assert_int_equal(reply.after, 6);
	reply = EVENTS(.level = LOG_INFO, .node = slice_of("host2"));
	assert_int_equal(reply.events_count, 3);
	assert_int_equal(EVENTS(.level = LOG_INFO, .node = slice_of("host")).events_count, 0);
	assert_int_equal(EVENTS(.level = LOG_ERROR).events_count, 0);
	/* Numbers of an earlier start. */
	reply = EVENTS(.level = LOG_INFO, .after = 1000);
	assert_int_equal(reply.events_count, 6);
	assert_int_equal(reply.missed, 0);
	driver_stop(&d);
}

static void test_debug_only_if_wanted(void **state)
{
	struct nameserver_config config = { .debug = true };
	struct events_reply reply;

	(void)state;
	setup(NULL);
	driver_storage(&d, 1);
	assert_false(driver_logged(&d, "client_joined"));
	assert_int_equal(EVENTS(.level = LOG_DEBUG).events_count, 2);
	driver_stop(&d);
	setup(&config);
	reply = EVENTS(.level = LOG_DEBUG);
	assert_int_equal(reply.events_count, 1);
	assert_true(is(&reply.events[0], "client_joined", ""));
	assert_int_equal(EVENTS(.level = LOG_INFO).events_count, 0);
	driver_stop(&d);
}

/* Operations without number push out no death, and pages give all that is left. */
static void test_a_flood(void **state)
{
	enum { FLOOD = 20000, KEPT = 16384 };
	struct events_reply reply;
	uint64_t last = 0, seen = 0;
	char path[32];

	(void)state;
	setup(NULL);
	driver_close(driver_storage(&d, 1));
	for (unsigned int i = 0; i < FLOOD; i++) {
		snprintf(path, sizeof(path), "/%u", i);
		make_directory(path);
	}
	reply = EVENTS(.level = LOG_WARN);
	assert_int_equal(reply.events_count, 1);
	assert_int_equal(reply.missed, 0);
	assert_true(is(&reply.events[0], "node_suspect", "host1"));
	reply = EVENTS(.level = LOG_INFO);
	assert_int_equal(reply.missed, FLOOD - KEPT);
	assert_int_equal(reply.events_count, EVENTS_PAGE_MAX);
	assert_int_equal(EVENTS(.level = LOG_INFO, .after = 1003).missed, FLOOD - KEPT - 1000);
	for (;; reply = EVENTS(.level = LOG_INFO, .after = last)) {
		for (unsigned int i = 0; i < reply.events_count; i++) {
			assert_true(reply.events[i].number > last);
			last = reply.events[i].number;
		}
		seen += reply.events_count;
		assert_int_equal(reply.after, last);
		if (reply.events_count == 0)
			break;
		if (seen > EVENTS_PAGE_MAX)
			assert_int_equal(reply.missed, 0);
	}
	assert_int_equal(seen, KEPT + 3);
	assert_int_equal(last, FLOOD + 3);
	driver_stop(&d);
}

static uint32_t follow(struct ns_peer *peer, uint64_t after, uint8_t level, const char *node)
{
	return POST(peer, events, .after = after, .wait_ms = 2000, .level = level,
		    .node = slice_of(node));
}

static void test_waiting(void **state)
{
	struct ns_peer *other;
	struct events_reply reply;
	uint32_t all, grave, one;

	(void)state;
	setup(NULL);
	other = driver_client(&d, 2);
	all = follow(other, 0, LOG_INFO, "");
	grave = follow(other, 0, LOG_WARN, "");
	one = follow(other, 0, LOG_INFO, "host1");
	assert_int_equal(driver_answer(other, all, &reply, sizeof(reply)), -ERR_TIMEOUT);
	make_directory("/a");
	driver_clock(&d, 50);
	assert_int_equal(driver_answer(other, all, &reply, sizeof(reply)), 0);
	assert_int_equal(reply.events_count, 1);
	assert_int_equal(driver_answer(other, grave, &reply, sizeof(reply)), -ERR_TIMEOUT);
	driver_close(driver_storage(&d, 1));
	driver_clock(&d, 50);
	assert_int_equal(driver_answer(other, grave, &reply, sizeof(reply)), 0);
	assert_int_equal(reply.events_count, 1);
	assert_true(is(&reply.events[0], "node_suspect", "host1"));
	assert_int_equal(driver_answer(other, one, &reply, sizeof(reply)), 0);
	assert_int_equal(reply.events_count, 3);
	driver_stop(&d);
}

/* After wait_ms an empty answer that says where to go on; never longer than 2 s. */
static void test_waiting_in_vain(void **state)
{
	struct events_reply reply;
	uint32_t id;

	(void)state;
	setup(NULL);
	make_directory("/a");
	id = POST(client, events, .after = 0, .wait_ms = 300, .level = LOG_ERROR);
	driver_clock(&d, 299);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), -ERR_TIMEOUT);
	driver_clock(&d, 1);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), 0);
	assert_int_equal(reply.events_count, 0);
	assert_int_equal(reply.after, 1);
	id = POST(client, events, .after = 1, .wait_ms = UINT64_MAX, .level = LOG_INFO);
	driver_clock(&d, 1999);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), -ERR_TIMEOUT);
	driver_clock(&d, 1);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), 0);
	driver_stop(&d);
}

/* Who waits costs nothing while nothing for him comes: no tick is due earlier. */
static void test_a_flood_wakes_nobody_else(void **state)
{
	struct events_reply reply;
	uint64_t due;
	uint32_t id;

	(void)state;
	setup(NULL);
	driver_clock(&d, 1100); /* all that comes with a start is done */
	id = follow(client, 0, LOG_WARN, "");
	due = nameserver_deadline(d.ns);
	make_directory("/a");
	assert_int_equal(nameserver_deadline(d.ns), due);
	follow(client, 1, LOG_INFO, "");
	make_directory("/b");
	assert_int_equal(nameserver_deadline(d.ns), d.now_ms + 50);
	make_directory("/c");
	driver_clock(&d, 30);
	make_directory("/d");
	assert_int_equal(nameserver_deadline(d.ns), d.now_ms + 20);
	assert_int_equal(driver_answer(client, id, &reply, sizeof(reply)), -ERR_TIMEOUT);
	driver_stop(&d);
}

/* Two paths of the longest kind, each byte to be escaped: still two whole strings. */
static void test_long_paths_are_cut_as_strings(void **state)
{
	static char path[PATH_SIZE_MAX + 1], text[EVENT_TEXT_MAX + 1];
	struct events_reply reply;
	char *end;
	size_t size = 0;

	(void)state;
	setup(NULL);
	while (size + 200 < PATH_SIZE_MAX) {
		path[size++] = '/';
		memset(path + size, 1, 199);
		size += 199;
		make_directory(path);
	}
	reply = EVENTS(.level = LOG_INFO, .after = 19);
	assert_int_equal(reply.events_count, 1);
	assert_true(reply.events[0].text.size <= EVENT_TEXT_MAX);
	assert_true(reply.events[0].text.size > EVENT_TEXT_MAX - 100);
	memcpy(text, reply.events[0].text.data, reply.events[0].text.size);
	assert_memory_equal(text, "path=\"/\\u0001\\u0001", 19);
	end = strstr(text, "…\" ms=0");
	assert_non_null(end);
	assert_string_equal(end, "…\" ms=0");
	assert_memory_equal(end - 6, "\\u0001", 6);
	driver_stop(&d);
}

static void test_what_the_glue_says(void **state)
{
	const struct ns_action said = { .level = LOG_INFO, .event = "started" };
	struct events_reply reply;

	(void)state;
	setup(NULL);
	nameserver_event(d.ns, &said, slice_of("port=1"), d.wall_ms + 5, &d.outbox);
	assert_int_equal(d.outbox.count, 1);
	assert_int_equal(d.outbox.actions[0].kind, NS_EVENT);
	ns_outbox_clear(&d.outbox);
	reply = EVENTS(.level = LOG_INFO);
	assert_int_equal(reply.events_count, 1);
	assert_true(is(&reply.events[0], "started", ""));
	assert_int_equal(reply.events[0].time_ms, d.wall_ms + 5);
	driver_stop(&d);
}

static void test_who_is_refused_again_is_told_once(void **state)
{
	struct register_reply registered;
	struct ns_peer *peer;

	(void)state;
	setup(NULL);
	driver_storage_with(&d, &(struct ns_storage){ .number = 1, .start = 5 });
	peer = driver_peer(&d, &(struct id){ { 0 } });
	peer = peer ? peer : d.peers[d.peer_count - 1];
	for (int i = 0; i < 3; i++)
		assert_int_equal(driver_register(peer,
						 &(struct ns_storage){ .number = 1, .start = 4 },
						 &registered),
				 -ERR_OLD_DISK);
	assert_int_equal(EVENTS(.level = LOG_WARN).events_count, 1);
	assert_true(is(&EVENTS(.level = LOG_WARN).events[0], "node_refused", "host1"));
	assert_int_equal(driver_register(peer,
					 &(struct ns_storage){ .number = 1, .disk = 9, .start = 5 },
					 &registered),
			 -ERR_DUPLICATE_NODE);
	assert_int_equal(EVENTS(.level = LOG_WARN).events_count, 2);
	driver_stop(&d);
}

static void test_little_space_is_told_once(void **state)
{
	struct heartbeat_reply beat;
	struct ns_peer *storage;

	(void)state;
	setup(NULL);
	storage = driver_storage_with(&d, &(struct ns_storage){ .number = 1, .capacity = 1000 });
	for (uint64_t free = 51; free > 40; free--)
		assert_int_equal(ASK(storage, heartbeat, &beat, .free = free), 0);
	assert_int_equal(EVENTS(.level = LOG_WARN).events_count, 1);
	assert_true(is(&EVENTS(.level = LOG_WARN).events[0], "space_low", "host1"));
	assert_int_equal(ASK(storage, heartbeat, &beat, .free = 99), 0);
	assert_int_equal(ASK(storage, heartbeat, &beat, .free = 1), 0);
	assert_int_equal(EVENTS(.level = LOG_WARN).events_count, 1);
	assert_int_equal(ASK(storage, heartbeat, &beat, .free = 101), 0);
	assert_int_equal(ASK(storage, heartbeat, &beat, .free = 1), 0);
	assert_int_equal(EVENTS(.level = LOG_WARN).events_count, 2);
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_operations_are_told_in_order),
		cmocka_unit_test(test_after_level_and_node),
		cmocka_unit_test(test_debug_only_if_wanted),
		cmocka_unit_test(test_a_flood),
		cmocka_unit_test(test_waiting),
		cmocka_unit_test(test_waiting_in_vain),
		cmocka_unit_test(test_a_flood_wakes_nobody_else),
		cmocka_unit_test(test_long_paths_are_cut_as_strings),
		cmocka_unit_test(test_what_the_glue_says),
		cmocka_unit_test(test_who_is_refused_again_is_told_once),
		cmocka_unit_test(test_little_space_is_told_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

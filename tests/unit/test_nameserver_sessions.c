/* Connections of the name server: HELLO, limits of strangers, answers held back, beacons. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "beacon.h"
#include "ns_driver.h"

static struct ns_driver d;

#define HELLO(peer, reply, ...) \
	ASK(peer, hello, reply, .versions = 1 << 16 | 1, .role = ROLE_CLIENT, __VA_ARGS__)

static void test_hello_answers(void **state)
{
	struct hello_reply reply;
	struct ns_peer *peer;

	(void)state;
	driver_start(&d, NULL);
	peer = driver_connect(&d, "10.0.0.9:1234", "10.0.0.1");
	assert_int_equal(HELLO(peer, &reply, .self = id_of(5), .cluster_name = slice_of("test")),
			 0);
	assert_int_equal(reply.version, 1);
	assert_int_equal(reply.epoch, 1);
	assert_int_equal(reply.role, ROLE_NAMESERVER);
	assert_true(id_equal(&reply.self, &d.config.self));
	assert_true(slice_equal(reply.cluster_name, slice_of("test")));
	assert_int_equal(reply.seen.port, 1234);
	assert_int_equal(reply.seen.address.bytes[3], 9);
	assert_int_equal(HELLO(peer, &reply, .self = id_of(5)), -ERR_BAD_REQUEST);
	assert_false(peer->closed);
	driver_stop(&d);
}

static void refused(int error, const struct hello_request *request)
{
	struct ns_peer *peer = driver_connect(&d, "10.0.0.9:1234", "10.0.0.1");

	assert_int_equal(driver_ask(peer, MSG_hello, request, NULL, 0), error);
	assert_true(peer->closed);
}

static void test_hello_refusals(void **state)
{
	const struct hello_request good = { .versions = 1 << 16 | 1,
					    .role = ROLE_CLIENT,
					    .self = id_of(5) };
	struct hello_request request;

	(void)state;
	driver_start(&d, NULL);
	request = good;
	request.versions = 2 << 16 | 3;
	refused(-ERR_WRONG_VERSION, &request);
	request = good;
	request.versions = 0;
	refused(-ERR_WRONG_VERSION, &request);
	request = good;
	request.cluster = id_of(99);
	refused(-ERR_WRONG_CLUSTER, &request);
	request = good;
	request.cluster_name = slice_of("other");
	refused(-ERR_WRONG_CLUSTER, &request);
	request = good;
	request.expected = id_of(99);
	refused(-ERR_WRONG_NODE, &request);
	request = good;
	request.epoch = 2;
	refused(-ERR_STALE, &request);
	request = good;
	request.role = ROLE_NAMESERVER;
	refused(-ERR_UNSUPPORTED, &request);
	request = good;
	request.role = 0;
	refused(-ERR_BAD_REQUEST, &request);
	request = good;
	request.self = (struct id){ { 0 } };
	refused(-ERR_BAD_REQUEST, &request);
	assert_int_equal(nameserver_info(d.ns).sessions, 0);
	driver_stop(&d);
}

static void test_hello_comes_first(void **state)
{
	struct ns_peer *peer;
	struct ping_reply pong;

	(void)state;
	driver_start(&d, NULL);
	peer = driver_connect(&d, "10.0.0.9", "10.0.0.1");
	assert_int_equal(ASK(peer, ping, &pong, .cookie = 77), 0);
	assert_int_equal(pong.cookie, 77);
	POST(peer, stat, .path = slice_of("/"));
	assert_true(peer->closed);
	assert_int_equal(peer->count, 1);
	driver_stop(&d);
}

static void test_strangers_are_dropped_after_5_s(void **state)
{
	struct ns_peer *stranger, *client;

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	stranger = driver_connect(&d, "10.0.0.9", "10.0.0.1");
	driver_clock(&d, 4999);
	assert_false(stranger->closed);
	driver_clock(&d, 1);
	assert_true(stranger->closed);
	assert_false(client->closed);
	driver_stop(&d);
}

static void test_unknown_and_foreign_messages(void **state)
{
	struct ns_peer *client, *storage;
	struct frame_header header = { .type = 0x7777, .id = 5, .body_size = 3 };
	uint8_t frame[FRAME_HEADER_SIZE + 3] = { 0 };
	struct heartbeat_reply beat;
	struct stat_reply stat;
	struct create_reply created;

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	storage = driver_storage(&d, 1);
	frame_header_encode(&header, frame);
	driver_bytes(client, frame, sizeof(frame));
	assert_int_equal(driver_answer(client, 5, NULL, 0), -ERR_UNSUPPORTED);
	/* For a storage server to answer. */
	header = (struct frame_header){ .type = MSG_delete, .id = 6 };
	frame_header_encode(&header, frame);
	driver_bytes(client, frame, FRAME_HEADER_SIZE);
	assert_int_equal(driver_answer(client, 6, NULL, 0), -ERR_UNSUPPORTED);
	assert_int_equal(ASK(client, heartbeat, &beat, .used = 1), -ERR_UNSUPPORTED);
	assert_int_equal(ASK(storage, stat, &stat, .path = slice_of("/")), -ERR_UNSUPPORTED);
	assert_int_equal(ASK(storage, create, &created, .operation = 1, .path = slice_of("/x")),
			 -ERR_UNSUPPORTED);
	assert_false(client->closed);
	assert_false(storage->closed);
	driver_stop(&d);
}

static void test_malformed_closes(void **state)
{
	struct frame_header header = { .type = MSG_stat, .id = 9, .body_size = 1 };
	uint8_t frame[FRAME_HEADER_SIZE + 1] = { 0 };
	struct ns_peer *client, *other;
	struct ns_event event = { .kind = NS_MALFORMED };

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	frame_header_encode(&header, frame);
	driver_bytes(client, frame, sizeof(frame));
	assert_int_equal(driver_answer(client, 9, NULL, 0), -ERR_BAD_REQUEST);
	assert_true(client->closed);
	/* Bytes that are no frame. */
	other = driver_client(&d, 2);
	memset(frame, 0xff, sizeof(frame));
	driver_bytes(other, frame, sizeof(frame));
	assert_true(other->closed);
	(void)event;
	assert_int_equal(nameserver_info(d.ns).sessions, 0);
	driver_stop(&d);
}

static void test_same_client_again_closes_the_older(void **state)
{
	struct ns_peer *old, *new;
	struct stat_reply reply;

	(void)state;
	driver_start(&d, NULL);
	old = driver_client(&d, 1);
	new = driver_client(&d, 1);
	assert_true(old->closed);
	assert_false(new->closed);
	assert_int_equal(ASK(new, stat, &reply, .path = slice_of("/")), 0);
	assert_int_equal(nameserver_info(d.ns).clients, 1);
	assert_int_equal(nameserver_info(d.ns).sessions, 1);
	driver_stop(&d);
}

static void test_answers_wait_for_their_batch(void **state)
{
	struct ns_peer *client;
	struct create_reply created;
	struct stat_reply stat;
	uint32_t change, question, refusal;

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	d.hold_durable = true;
	change = POST(client, create, .operation = 1, .outstanding = 1, .path = slice_of("/a"));
	question = POST(client, stat, .path = slice_of("/a"));
	refusal = POST(client, stat, .path = slice_of("/b"));
	assert_int_equal(driver_answer(client, change, NULL, 0), -ERR_TIMEOUT);
	assert_int_equal(driver_answer(client, question, NULL, 0), -ERR_TIMEOUT);
	assert_int_equal(driver_answer(client, refusal, NULL, 0), -ERR_TIMEOUT);
	driver_durable(&d);
	assert_int_equal(driver_answer(client, change, &created, sizeof(created)), 0);
	assert_int_equal(driver_answer(client, question, &stat, sizeof(stat)), 0);
	assert_int_equal(stat.entry.inode, created.inode);
	assert_int_equal(driver_answer(client, refusal, NULL, 0), -ERR_NOT_FOUND);
	/* Nothing is undurable: a question is answered at once. */
	question = POST(client, stat, .path = slice_of("/a"));
	assert_int_equal(driver_answer(client, question, &stat, sizeof(stat)), 0);
	driver_stop(&d);
}

static void test_first_batch_comes_before_service(void **state)
{
	struct ns_peer *peer;

	(void)state;
	driver_start(&d, NULL);
	driver_clock(&d, 1);
	d.hold_durable = true;
	driver_restart(&d);
	assert_int_equal(nameserver_info(d.ns).epoch, 2);
	assert_int_equal(nameserver_info(d.ns).start, 2);
	assert_false(nameserver_info(d.ns).serving);
	d.beacons = 0;
	driver_clock(&d, 60000);
	assert_int_equal(d.beacons, 0);
	peer = driver_connect(&d, "10.0.0.9", "10.0.0.1");
	POST(peer, ping, .cookie = 1);
	assert_int_equal(peer->count, 0);
	driver_durable(&d);
	assert_int_equal(peer->count, 1);
	assert_true(nameserver_info(d.ns).serving);
	driver_clock(&d, 1);
	assert_int_equal(d.beacons, 1);
	driver_stop(&d);
}

static void test_beacons_keep_their_schedule(void **state)
{
	struct ns_event probe = { .kind = NS_PROBE };
	unsigned int before;

	(void)state;
	driver_start(&d, NULL);
	driver_clock(&d, 100 * 5000);
	assert_in_range(d.beacons, 98, 103);
	for (unsigned int i = 1; i < d.beacons; i++)
		assert_in_range(d.beacons_ms[i] - d.beacons_ms[i - 1], 4800, 5200);
	/* A storm of probes: five early beacons within a second, whoever asks. */
	while (nameserver_deadline(d.ns) - d.now_ms < 2500)
		driver_clock(&d, 100);
	before = d.beacons;
	for (int i = 0; i < 1000; i++) {
		probe.now_ms = d.now_ms;
		nameserver_step(d.ns, &probe, &d.outbox);
		for (unsigned int j = 0; j < d.outbox.count; j++)
			d.beacons += d.outbox.actions[j].kind == NS_BEACON;
		ns_outbox_clear(&d.outbox);
		driver_clock(&d, 1);
	}
	assert_int_equal(d.beacons - before, 5);
	driver_stop(&d);
}

static void test_too_many_sessions_are_closed(void **state)
{
	struct ns_event event = { .kind = NS_OPENED };
	unsigned int closed = 0;

	(void)state;
	driver_start(&d, NULL);
	for (unsigned int i = 0; i < SESSIONS_MAX + 10; i++) {
		event.now_ms = d.now_ms;
		event.conn = 1000 + i;
		nameserver_step(d.ns, &event, &d.outbox);
		for (unsigned int j = 0; j < d.outbox.count; j++)
			closed += d.outbox.actions[j].kind == NS_CLOSE;
		ns_outbox_clear(&d.outbox);
	}
	assert_int_equal(closed, 10);
	assert_int_equal(nameserver_info(d.ns).sessions, SESSIONS_MAX);
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hello_answers),
		cmocka_unit_test(test_hello_refusals),
		cmocka_unit_test(test_hello_comes_first),
		cmocka_unit_test(test_strangers_are_dropped_after_5_s),
		cmocka_unit_test(test_unknown_and_foreign_messages),
		cmocka_unit_test(test_malformed_closes),
		cmocka_unit_test(test_same_client_again_closes_the_older),
		cmocka_unit_test(test_answers_wait_for_their_batch),
		cmocka_unit_test(test_first_batch_comes_before_service),
		cmocka_unit_test(test_beacons_keep_their_schedule),
		cmocka_unit_test(test_too_many_sessions_are_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

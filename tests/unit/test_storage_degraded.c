/* What a storage server tells clients while there is no name server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "endpoint.h"
#include "error.h"
#include "storage_desk.h"

static const struct message *ask(struct storage_desk *desk, uint64_t connection, unsigned int code,
				 const void *body)
{
	const struct message *message;

	fixture_request(&desk->f, connection, code, 7, body);
	message = fixture_sent(&desk->f, connection, 0);
	if (message)
		return message;
	desk_run(desk);
	message = fixture_sent(&desk->f, connection, 0);
	assert_non_null(message);
	assert_int_equal(message->info->code, code);
	assert_int_equal(message->id, 7);
	return message;
}

static uint8_t status_of(struct storage_desk *desk, uint64_t connection, unsigned int code,
			 const void *body)
{
	return ask(desk, connection, code, body)->status;
}

static uint64_t begin(struct storage_desk *desk)
{
	desk_begin(desk);
	desk_start(desk);
	desk_alone(desk);
	return fixture_client(&desk->f, ROLE_CLIENT, &desk->f.client);
}

static void test_reads_the_copy(void **state)
{
	struct stat_request stat = { .path = slice_of("/d/a") };
	struct list_request list = { .path = slice_of("/d"), .count = 1 };
	struct open_request open = { .path = slice_of("/d/a") };
	const struct message *message;
	const struct open_reply *opened;
	const struct list_reply *listed;
	struct storage_desk desk;
	uint64_t client;

	(void)state;
	client = begin(&desk);
	/* A restart of the name server is not worth the trouble. */
	assert_int_equal(status_of(&desk, client, MSG_stat, &stat), ERR_UNAVAILABLE);
	desk.f.now_ms += 2000;
	message = ask(&desk, client, MSG_stat, &stat);
	assert_int_equal(message->flags, FRAME_DEGRADED);
	assert_int_equal(((const struct stat_reply *)message->body)->entry.size, 9);
	assert_int_equal(((const struct stat_reply *)message->body)->entry.copies, 0);
	assert_int_equal(((const struct stat_reply *)message->body)->entry.copies_wanted, 2);
	listed = ask(&desk, client, MSG_list, &list)->body;
	assert_int_equal(listed->entries_count, 1);
	assert_int_equal(listed->more, 1);
	opened = ask(&desk, client, MSG_open, &open)->body;
	assert_int_equal(opened->chunks_count, 1);
	assert_int_equal(opened->chunks[0].chunk, DESK_CHUNK);
	assert_int_equal(opened->chunks[0].holders_count, 0);
	assert_int_equal(opened->nodes_count, 1);
	/* From elsewhere loopback is of no use. */
	assert_int_equal(opened->nodes[0].endpoints_count, 1);
	stat.path = slice_of("/nothing");
	assert_int_equal(status_of(&desk, client, MSG_stat, &stat), ERR_NOT_FOUND);
	stat.path = slice_of("../d");
	assert_int_equal(status_of(&desk, client, MSG_stat, &stat), ERR_BAD_NAME);
	/* It is back: it is the one to ask. */
	desk_register(&desk, desk_dial(&desk, 0xee), 6);
	stat.path = slice_of("/d/a");
	assert_int_equal(status_of(&desk, client, MSG_stat, &stat), ERR_UNAVAILABLE);
	desk_end(&desk);
}

static void test_clients_only(void **state)
{
	struct stat_request stat = { .path = slice_of("/d/a") };
	struct have_request have = { .chunks_count = 0 };
	struct storage_desk desk;
	struct id server = fixture_id(9);
	uint64_t other;

	(void)state;
	begin(&desk);
	desk.f.now_ms += 2000;
	other = fixture_client(&desk.f, ROLE_STORAGE, &server);
	assert_int_equal(status_of(&desk, other, MSG_stat, &stat), ERR_UNSUPPORTED);
	assert_int_equal(status_of(&desk, other, MSG_have, &have), ERR_UNSUPPORTED);
	other = fixture_client(&desk.f, ROLE_CONSOLE, &server);
	assert_int_equal(status_of(&desk, other, MSG_stat, &stat), 0);
	desk_end(&desk);
}

static void test_changes_nothing(void **state)
{
	struct mkdir_request mkdir = { .operation = 1, .path = slice_of("/x") };
	struct put_begin_request put = { .path = slice_of("/x") };
	struct nodes_request nodes = { 0 };
	struct storage_desk desk;
	uint64_t client;

	(void)state;
	client = begin(&desk);
	assert_int_equal(status_of(&desk, client, MSG_mkdir, &mkdir), ERR_UNSUPPORTED);
	desk.f.now_ms += 2000;
	assert_int_equal(status_of(&desk, client, MSG_mkdir, &mkdir), ERR_NO_QUORUM);
	assert_int_equal(status_of(&desk, client, MSG_put_begin, &put), ERR_NO_QUORUM);
	assert_int_equal(status_of(&desk, client, MSG_nodes, &nodes), ERR_UNSUPPORTED);
	desk_end(&desk);
}

static void test_have_and_read(void **state)
{
	const struct chunk_id wanted[] = { { DESK_CHUNK }, { 78 } };
	struct have_request have = { .chunks = wanted, .chunks_count = 2 };
	struct read_request read = { .length = 9,
				     .ticket = { .operation = TICKET_READ,
						 .chunk = DESK_CHUNK,
						 .length = 9,
						 .holder = fixture_id(1) } };
	const struct have_reply *here;
	const struct storage_action *send;
	struct storage_desk desk;
	uint64_t client;

	(void)state;
	client = begin(&desk);
	desk.f.chunks[desk.f.chunk_count++] =
		(struct fake_chunk){ .chunk = DESK_CHUNK, .length = 9 };
	read.ticket.client = desk.f.client;
	assert_int_equal(status_of(&desk, client, MSG_have, &have), ERR_UNAVAILABLE);
	assert_int_equal(status_of(&desk, client, MSG_read, &read), ERR_UNAVAILABLE);
	desk.f.now_ms += 2000;
	here = ask(&desk, client, MSG_have, &have)->body;
	assert_int_equal(here->chunks_count, 1);
	assert_int_equal(here->chunks[0].chunk, DESK_CHUNK);
	fixture_request(&desk.f, client, MSG_read, 8, &read);
	send = fixture_find(&desk.f, ACT_SEND_CHUNK);
	assert_non_null(send);
	assert_int_equal(send->chunk, DESK_CHUNK);
	/* Only for reading, here, and unsigned. */
	read.ticket.tag.bytes[3] = 1;
	assert_int_equal(status_of(&desk, client, MSG_read, &read), ERR_DENIED);
	read.ticket.tag.bytes[3] = 0;
	read.ticket.holder = fixture_id(2);
	assert_int_equal(status_of(&desk, client, MSG_read, &read), ERR_WRONG_NODE);
	read.ticket.holder = fixture_id(1);
	read.ticket.operation = TICKET_WRITE;
	assert_int_equal(status_of(&desk, client, MSG_read, &read), ERR_DENIED);
	read.ticket.operation = TICKET_READ;
	read.ticket.chunk = 78;
	assert_int_equal(status_of(&desk, client, MSG_read, &read), ERR_NOT_FOUND);
	assert_null(fixture_note(&desk.f, NOTE_CORRUPT));
	read.ticket.chunk = DESK_CHUNK;
	desk_register(&desk, desk_dial(&desk, 0xee), 6);
	assert_int_equal(status_of(&desk, client, MSG_read, &read), ERR_UNAVAILABLE);
	assert_int_equal(status_of(&desk, client, MSG_have, &have), ERR_UNAVAILABLE);
	desk_end(&desk);
}

/* ---- beacons ---- */

static void hear(struct storage_desk *desk, const struct beacon *beacon)
{
	struct endpoint source = endpoint_ipv4(0x0a000077, 999);
	uint8_t datagram[BEACON_SIZE];

	beacon_encode(beacon, NULL, datagram);
	fixture_step(&desk->f, (struct storage_event){ .kind = STORAGE_BEACON,
						       .data = { datagram, sizeof(datagram) },
						       .endpoints = &source,
						       .endpoint_count = 1 });
}

/* The beacon of a storage server that goes out within that time. */
static bool is_answered(struct storage_desk *desk, uint64_t within_ms, struct beacon *ret)
{
	for (uint64_t i = 0; i < within_ms; i++) {
		const struct storage_action *action;

		fixture_tick(&desk->f, 1);
		action = fixture_find(&desk->f, ACT_PROBE);
		if (action &&
		    beacon_decode(desk->f.outbox.bytes.data + action->at, action->size, NULL,
				  ret) == 0 &&
		    ret->kind == BEACON_STORAGE)
			return true;
	}
	return false;
}

static void test_answers_probes(void **state)
{
	struct beacon probe = { .kind = BEACON_PROBE }, answer;
	struct beacon other = { .kind = BEACON_STORAGE, .port = 1, .server = fixture_id(9) };
	struct storage_desk desk;

	(void)state;
	begin(&desk);
	hear(&desk, &probe);
	assert_false(is_answered(&desk, 200, &answer));
	desk.f.now_ms += 2000;
	hear(&desk, &probe);
	assert_true(is_answered(&desk, 101, &answer));
	assert_int_equal(answer.port, 3503);
	assert_int_equal(answer.epoch, 5);
	assert_true(id_equal(&answer.server, &desk.f.config.self));
	assert_true(id_equal(&answer.cluster, &desk.f.cluster));
	/* Five in a second at most. */
	hear(&desk, &probe);
	hear(&desk, &probe);
	assert_false(is_answered(&desk, 199, &answer));
	assert_true(is_answered(&desk, 1, &answer));
	assert_false(is_answered(&desk, 400, &answer));
	hear(&desk, &probe);
	/* Another has answered. */
	other.cluster = desk.f.cluster;
	hear(&desk, &other);
	assert_false(is_answered(&desk, 200, &answer));
	/* Another cluster's does not count, nor do its probes. */
	hear(&desk, &probe);
	other.cluster = fixture_id(0x66);
	hear(&desk, &other);
	assert_true(is_answered(&desk, 101, &answer));
	desk.f.now_ms += 1000;
	probe.cluster = fixture_id(0x66);
	hear(&desk, &probe);
	assert_false(is_answered(&desk, 200, &answer));
	/* Nor do those of storage servers: they look for a name server. */
	probe = (struct beacon){ .kind = BEACON_PROBE, .server = fixture_id(9), .start = 1 };
	hear(&desk, &probe);
	assert_false(is_answered(&desk, 200, &answer));
	/* One that is about to begin has no start yet; it must not found a second cluster. */
	probe.start = 0;
	hear(&desk, &probe);
	assert_true(is_answered(&desk, 101, &answer));
	desk_end(&desk);
}

/* By name, which is no reason not to be found by those who do not know it. */
static void test_names_its_name_server(void **state)
{
	struct beacon probe = { .kind = BEACON_PROBE }, answer;
	struct beacon other = { .kind = BEACON_NAMESERVER, .port = 1, .server = fixture_id(9) };
	const struct endpoint endpoint = endpoint_ipv4(0x0a000001u, CONTROL_PORT);
	struct storage_desk desk;
	uint64_t connection;

	(void)state;
	desk_begin(&desk);
	desk_has_copy(&desk);
	desk.f.config.nameservers[0] = "nas.lan";
	desk.f.config.nameserver_count = 1;
	desk.f.config.cluster = desk.f.cluster;
	desk_start(&desk);
	fixture_step(&desk.f, (struct storage_event){ .kind = STORAGE_RESOLVED,
						      .endpoints = &endpoint,
						      .endpoint_count = 1 });
	connection = fixture_find(&desk.f, ACT_DIAL)->connection;
	/* Another one that is heard meanwhile is not gone to. */
	other.cluster = desk.f.cluster;
	hear(&desk, &other);
	assert_null(fixture_find(&desk.f, ACT_CLOSE));
	desk_lose(&desk, connection);
	desk_run(&desk);
	desk.f.now_ms += 2000;
	hear(&desk, &probe);
	assert_true(is_answered(&desk, 101, &answer));
	desk_end(&desk);
}

/* Its machine goes without a word: whoever reads need not wait until it is given up. */
static void test_stands_in_for_a_silent_one(void **state)
{
	struct stat_request stat = { .path = slice_of("/d/a") };
	struct ping_request ping = { .cookie = 1 };
	struct beacon probe = { .kind = BEACON_PROBE }, answer;
	struct storage_desk desk;
	uint64_t connection, client;

	(void)state;
	desk_begin(&desk);
	desk_start(&desk);
	connection = desk_dial(&desk, 0xee);
	desk_run(&desk);
	desk_register(&desk, connection, 5);
	desk_fill(&desk, connection, 5);
	desk_run(&desk);
	client = fixture_client(&desk.f, ROLE_CLIENT, &desk.f.client);
	fixture_tick(&desk.f, 2900);
	assert_int_equal(status_of(&desk, client, MSG_stat, &stat), ERR_UNAVAILABLE);
	hear(&desk, &probe);
	assert_false(is_answered(&desk, 100, &answer));
	hear(&desk, &probe);
	assert_true(is_answered(&desk, 101, &answer));
	assert_int_equal(ask(&desk, client, MSG_stat, &stat)->flags, FRAME_DEGRADED);
	/* It was only slow. */
	fixture_request(&desk.f, connection, MSG_ping, 3, &ping);
	assert_int_equal(status_of(&desk, client, MSG_stat, &stat), ERR_UNAVAILABLE);
	/* Nor is there a gap when it is given up in the end. */
	for (int i = 0; i < 80; i++) {
		fixture_tick(&desk.f, 100);
		assert_int_equal(status_of(&desk, client, MSG_stat, &stat) == 0, i >= 29);
	}
	desk_end(&desk);
}

/* Without a copy there is nothing to offer. */
static void test_no_copy(void **state)
{
	struct stat_request stat = { .path = slice_of("/") };
	struct beacon probe = { .kind = BEACON_PROBE }, answer;
	struct storage_desk desk;
	uint64_t client;

	(void)state;
	desk_begin(&desk);
	desk_start(&desk);
	(void)desk_dial(&desk, 0xee);
	desk_run(&desk);
	desk.f.now_ms += 2000;
	client = fixture_client(&desk.f, ROLE_CLIENT, &desk.f.client);
	assert_int_equal(status_of(&desk, client, MSG_stat, &stat), ERR_UNAVAILABLE);
	hear(&desk, &probe);
	assert_false(is_answered(&desk, 200, &answer));
	desk_end(&desk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names_its_name_server),
		cmocka_unit_test(test_stands_in_for_a_silent_one),
		cmocka_unit_test(test_reads_the_copy),
		cmocka_unit_test(test_clients_only),
		cmocka_unit_test(test_changes_nothing),
		cmocka_unit_test(test_have_and_read),
		cmocka_unit_test(test_answers_probes),
		cmocka_unit_test(test_no_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

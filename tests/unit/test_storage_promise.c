/* Whom a storage server follows, and when it follows another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "endpoint.h"
#include "error.h"
#include "storage_desk.h"

static const struct message *promise_request(struct storage_desk *desk, uint64_t connection,
					     const struct promise_request *req)
{
	const struct message *message;

	fixture_request(&desk->f, connection, MSG_promise, 70, req);
	message = fixture_sent(&desk->f, connection, 0);
	if (message && message->info->code == MSG_promise)
		return message;
	desk_run(desk);
	for (unsigned int n = 0; (message = fixture_sent(&desk->f, connection, n)); n++) {
		if (message->info->code == MSG_promise)
			return message;
	}
	fail();
	return NULL;
}

static const struct message *promise(struct storage_desk *desk, uint64_t connection, uint8_t server,
				     uint64_t epoch)
{
	const struct promise_request req = { .epoch = epoch, .server = fixture_id(server) };

	return promise_request(desk, connection, &req);
}

static void assert_promised(const struct message *message, uint8_t server, uint64_t epoch)
{
	const struct promise_reply *reply = message->body;
	struct id id = fixture_id(server);

	assert_int_equal(message->status, 0);
	assert_int_equal(reply->epoch, epoch);
	assert_true(id_equal(&reply->server, &id));
}

/* The first promise is given at once, is durable before it is answered, and says what is here. */
static void test_first_promise(void **state)
{
	struct storage_desk desk;
	const struct promise_reply *reply;
	uint64_t connection;

	(void)state;
	desk_begin(&desk);
	desk.f.config.cluster = (struct id){ { 0 } };
	desk_start(&desk);
	connection = desk_dial(&desk, 0xee);
	reply = promise(&desk, connection, 0xee, 6)->body;
	assert_int_equal(desk.f.promised_epoch, 6);
	assert_int_equal(reply->epoch, 6);
	assert_int_equal(reply->previous, 0);
	assert_true(id_is_none(&reply->previous_server));
	assert_int_equal(reply->catalogue_sequence, 0);
	assert_int_equal(reply->journal_set_count, 0);
	desk_register(&desk, connection, 6);
	assert_non_null(fixture_note(&desk.f, NOTE_REGISTERED));
	desk_end(&desk);
}

/* What cannot be written down is not promised: neither now, nor when it is asked again. */
static void test_a_promise_that_cannot_be_kept(void **state)
{
	struct storage_desk desk;
	const struct message *message;
	uint64_t connection;

	(void)state;
	desk_begin(&desk);
	desk.f.config.cluster = (struct id){ { 0 } };
	desk_start(&desk);
	connection = desk_dial(&desk, 0xee);
	desk.f.promise_error = -ERR_LOCAL_FULL;
	for (unsigned int i = 0; i < 2; i++) {
		message = promise(&desk, connection, 0xee, 6);
		assert_int_not_equal(message->status, 0);
		assert_null(fixture_note(&desk.f, NOTE_PROMISED));
	}
	/* Nor is anybody with less turned away for it. */
	desk.f.promise_error = 0;
	assert_promised(promise(&desk, connection, 0xee, 3), 0xee, 3);
	desk_end(&desk);
}

/* So it does not follow who serves either, unless its disk has failed: then it serves reads. */
static void test_who_cannot_promise_does_not_register(void **state)
{
	(void)state;
	for (unsigned int failed = 0; failed <= 1; failed++) {
		struct storage_desk desk;
		uint64_t connection;

		desk_begin(&desk);
		desk_start(&desk);
		connection = desk_dial(&desk, 0xee);
		desk.f.promise_error = -ERR_UNAVAILABLE;
		desk.f.failed = failed;
		desk_register(&desk, connection, 5);
		assert_non_null(fixture_note(&desk.f, failed ? NOTE_REGISTERED : NOTE_REFUSED));
		assert_null(fixture_note(&desk.f, failed ? NOTE_REFUSED : NOTE_REGISTERED));
		desk_end(&desk);
	}
}

/* The same name server after a restart: at once, with the catalogue as it is after all batches that
 * were given before. */
static void test_the_same_server_again(void **state)
{
	struct storage_desk desk;
	const struct promise_reply *reply;
	const struct id *set;
	uint64_t connection;

	(void)state;
	desk_begin(&desk);
	desk_start(&desk);
	connection = desk_dial(&desk, 0xee);
	desk_run(&desk);
	desk_register(&desk, connection, 5);
	assert_int_equal(desk.f.promised_epoch, 5);
	desk_fill(&desk, connection, 5);
	desk_lose(&desk, connection);
	/* The batch is still on its way to the disk. */
	connection = desk_dial(&desk, 0xee);
	reply = promise(&desk, connection, 0xee, 6)->body;
	assert_int_equal(reply->epoch, 6);
	assert_int_equal(reply->previous, 5);
	assert_int_equal(reply->previous_server.bytes[0], 0xee);
	assert_int_equal(reply->catalogue_sequence, 1);
	assert_int_equal(reply->catalogue_epoch, 5);
	assert_true(digest_equal(&reply->catalogue_hash, &desk.head.hash));
	assert_int_equal(reply->changing, 1);
	assert_int_equal(reply->journal_set_count, 2);
	set = &reply->journal_set[1].node;
	assert_int_equal(set->bytes[0], 2);
	assert_int_equal(reply->journal_before_count, 1);
	/* Asked again it says the same. */
	reply = promise(&desk, connection, 0xee, 6)->body;
	assert_int_equal(reply->previous, 5);
	/* What it has promised before it is held to. */
	assert_promised(promise(&desk, connection, 0xee, 5), 0xee, 6);
	desk_register(&desk, connection, 5);
	assert_int_equal(fixture_note(&desk.f, NOTE_REFUSED)->error, -ERR_STALE);
	assert_non_null(fixture_find(&desk.f, ACT_CLOSE));
	desk_end(&desk);
}

/* While its copy is made anew it speaks for what it had, also after a stop, and gives no set. */
static void test_a_copy_that_is_made_anew(void **state)
{
	const struct replica_job begin = { .kind = REPLICA_BEGIN };
	struct replica_result result;
	struct storage_desk desk;
	const struct promise_reply *reply;
	uint64_t connection;

	(void)state;
	desk_begin(&desk);
	desk.f.config.cluster = (struct id){ { 0 } };
	desk_has_copy(&desk);
	replica_run(desk.replica, &begin, &result);
	desk_start(&desk);
	connection = desk_dial(&desk, 0xee);
	reply = promise(&desk, connection, 0xee, 6)->body;
	assert_int_equal(reply->incomplete, 1);
	assert_int_equal(reply->catalogue_epoch, 5);
	assert_int_equal(reply->catalogue_sequence, 1);
	assert_true(digest_equal(&reply->catalogue_hash, &desk.head.hash));
	assert_int_equal(reply->journal_set_count, 0);
	desk_end(&desk);
}

/* Two name servers with one id, on two connections: each epoch is that of one of them. */
static void test_another_process_needs_its_own(void **state)
{
	static const struct {
		uint64_t epoch;
		uint32_t process, has;
	} asked[] = {
		{ 6, 1, 1 }, { 6, 2, 1 }, { 6, 1, 1 }, { 7, 2, 2 }, { 7, 1, 2 }, { 8, 1, 1 },
	};
	struct storage_desk desk;

	(void)state;
	desk_begin(&desk);
	desk.f.config.cluster = (struct id){ { 0 } };
	desk_start(&desk);
	for (unsigned int i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		const struct promise_request req = { .epoch = asked[i].epoch,
						     .server = fixture_id(0xee),
						     .process = asked[i].process };
		uint64_t connection = desk_dial(&desk, 0xee);
		const struct message *message = promise_request(&desk, connection, &req);

		assert_promised(message, 0xee, asked[i].epoch);
		assert_int_equal(((const struct promise_reply *)message->body)->process,
				 asked[i].has);
		desk_lose(&desk, connection);
	}
	desk_end(&desk);
}

/* Another one waits until the one before cannot believe any more that it is followed. */
static void test_another_server_waits(void **state)
{
	struct storage_desk desk;
	const struct message *message;
	uint64_t connection, lost_ms;

	(void)state;
	desk_begin(&desk);
	desk_start(&desk);
	desk_alone(&desk);
	lost_ms = desk.f.now_ms;
	connection = desk_dial(&desk, 0x40);
	message = promise(&desk, connection, 0x40, 9);
	assert_int_equal(message->status, ERR_BUSY);
	assert_int_equal(desk.f.promised_epoch, 5);
	desk.f.now_ms = lost_ms + PROMISE_AFTER_MS - 1;
	assert_int_equal(promise(&desk, connection, 0x40, 9)->status, ERR_BUSY);
	desk.f.now_ms = lost_ms + PROMISE_AFTER_MS;
	assert_promised(promise(&desk, connection, 0x40, 9), 0x40, 9);
	assert_int_equal(desk.f.promised_epoch, 9);
	/* An epoch has one name server. */
	desk_lose(&desk, connection);
	desk.f.now_ms += PROMISE_AFTER_MS;
	connection = desk_dial(&desk, 0x41);
	assert_promised(promise(&desk, connection, 0x41, 9), 0x40, 9);
	/* Who serves in it all the same has it from enough others. */
	desk_register(&desk, connection, 9);
	assert_non_null(fixture_note(&desk.f, NOTE_REGISTERED));
	assert_int_equal(desk.f.promised_server.bytes[0], 0x41);
	desk_lose(&desk, connection);
	connection = desk_dial(&desk, 0x40);
	assert_promised(promise(&desk, connection, 0x40, 9), 0x41, 9);
	assert_int_equal(promise(&desk, connection, 0x40, 10)->status, ERR_BUSY);
	desk_end(&desk);
}

/* Each answer to HEARTBEAT begins the time anew. */
static void test_a_heartbeat_counts(void **state)
{
	struct heartbeat_reply beat = { .epoch = 5, .now_ms = 1234 };
	const struct heartbeat_request *echo;
	struct storage_desk desk;
	uint64_t connection;

	(void)state;
	desk_begin(&desk);
	desk_start(&desk);
	connection = desk_dial(&desk, 0xee);
	desk_run(&desk);
	desk_register(&desk, connection, 5);
	fixture_tick(&desk.f, 5000);
	fixture_reply(&desk.f, connection, MSG_heartbeat, 2, &beat);
	fixture_tick(&desk.f, 2000);
	echo = fixture_sent(&desk.f, connection, 0)->body;
	assert_int_equal(fixture_sent(&desk.f, connection, 0)->info->code, MSG_heartbeat);
	assert_int_equal(echo->echo, 1234);
	desk_lose(&desk, connection);
	connection = desk_dial(&desk, 0x40);
	assert_int_equal(promise(&desk, connection, 0x40, 9)->status, ERR_BUSY);
	desk.f.now_ms += PROMISE_AFTER_MS - 2001;
	assert_int_equal(promise(&desk, connection, 0x40, 9)->status, ERR_BUSY);
	desk.f.now_ms += 1;
	assert_promised(promise(&desk, connection, 0x40, 9), 0x40, 9);
	desk_end(&desk);
}

/* After a start nobody knows when the one before was last heard. */
static void test_a_restart_waits(void **state)
{
	struct storage_desk desk;
	uint64_t connection;

	(void)state;
	for (int i = 0; i < 2; i++) {
		desk_begin(&desk);
		desk.f.config.promised_epoch = desk.f.promised_epoch = 5;
		desk.f.config.promised_server = desk.f.promised_server = fixture_id(0xee);
		desk_start(&desk);
		connection = desk_dial(&desk, i ? 0x40 : 0xee);
		desk_run(&desk);
		if (i == 0) {
			assert_promised(promise(&desk, connection, 0xee, 6), 0xee, 6);
		} else {
			assert_int_equal(promise(&desk, connection, 0x40, 6)->status, ERR_BUSY);
			desk.f.now_ms += PROMISE_AFTER_MS;
			assert_promised(promise(&desk, connection, 0x40, 6), 0x40, 6);
		}
		desk_end(&desk);
	}
}

/* Asked again after a restart, it does not know whom it had followed before that promise; it must
 * not say that there was nobody. */
static void test_a_restart_is_no_first_promise(void **state)
{
	const struct promise_reply *reply;
	struct storage_desk desk;
	uint64_t connection;

	(void)state;
	desk_begin(&desk);
	desk.f.config.promised_epoch = desk.f.promised_epoch = 8;
	desk.f.config.promised_server = desk.f.promised_server = fixture_id(0xee);
	desk_start(&desk);
	connection = desk_dial(&desk, 0xee);
	desk_run(&desk);
	reply = promise(&desk, connection, 0xee, 8)->body;
	assert_int_equal(reply->epoch, 8);
	assert_int_equal(reply->previous, 8);
	assert_int_equal(reply->previous_server.bytes[0], 0xee);
	desk_end(&desk);
}

static void test_what_is_no_promise(void **state)
{
	struct storage_desk desk;
	uint64_t connection, client;

	(void)state;
	desk_begin(&desk);
	desk_start(&desk);
	connection = desk_dial(&desk, 0xee);
	assert_int_equal(promise(&desk, connection, 0xee, 0)->status, ERR_BAD_REQUEST);
	assert_int_equal(promise(&desk, connection, 0x40, 9)->status, ERR_BAD_REQUEST);
	client = fixture_client(&desk.f, ROLE_NAMESERVER, &desk.f.client);
	assert_int_equal(promise(&desk, client, 0xc1, 9)->status, ERR_UNSUPPORTED);
	assert_int_equal(desk.f.promised_epoch, 0);
	desk_end(&desk);
}

/* Orders of an epoch before the promised one are void; the server registers anew. */
static void test_orders_of_an_old_epoch(void **state)
{
	struct endpoint source = endpoint_ipv4(0x0a000003, 3503);
	struct delete_request req = { .epoch = 5 };
	struct fetch_request fetch = { .epoch = 5, .endpoints = &source, .endpoints_count = 1 };
	struct storage_desk desk;
	uint64_t connection;

	(void)state;
	desk_begin(&desk);
	desk_start(&desk);
	connection = desk_dial(&desk, 0xee);
	desk_run(&desk);
	desk_register(&desk, connection, 5);
	assert_promised(promise(&desk, connection, 0xee, 7), 0xee, 7);
	fixture_request(&desk.f, connection, MSG_delete, 8, &req);
	assert_int_equal(fixture_sent(&desk.f, connection, 0)->status, ERR_STALE);
	fetch.chunk = (struct chunk_sum){ .chunk = 90, .length = 5 };
	fetch.ticket = (struct ticket){ .operation = TICKET_READ,
					.chunk = 90,
					.length = 5,
					.epoch = 5,
					.holder = fixture_id(3),
					.client = desk.f.config.self };
	fixture_request(&desk.f, connection, MSG_fetch, 9, &fetch);
	assert_non_null(fixture_sent(&desk.f, connection, 0));
	assert_int_equal(fixture_sent(&desk.f, connection, 0)->status, ERR_STALE);
	desk_fill(&desk, connection, 5);
	assert_int_equal(fixture_sent(&desk.f, connection, 0)->status, ERR_STALE);
	fixture_tick(&desk.f, 0);
	assert_int_equal(fixture_sent(&desk.f, connection, 0)->info->code, MSG_register);
	desk_register(&desk, connection, 7);
	desk_fill(&desk, connection, 7);
	desk_run(&desk);
	assert_int_equal(fixture_sent(&desk.f, connection, 0)->status, 0);
	desk_end(&desk);
}

/* A name server that takes over takes its time, and copies from here meanwhile. */
static void test_waits_while_it_lives(void **state)
{
	struct page_request page = { .after = { NULL, 0 } };
	struct ping_reply pong = { 0 };
	const struct message *message;
	struct storage_desk desk;
	uint64_t connection;

	(void)state;
	desk_begin(&desk);
	desk_start(&desk);
	desk_alone(&desk);
	connection = desk_dial(&desk, 0xee);
	for (int i = 0; i < 20; i++) {
		fixture_tick(&desk.f, 2000);
		assert_null(fixture_note(&desk.f, NOTE_LOST_NAMESERVER));
		message = fixture_sent(&desk.f, connection, 0);
		assert_non_null(message);
		assert_int_equal(message->info->code, MSG_ping);
		fixture_reply(&desk.f, connection, MSG_ping, message->id, &pong);
	}
	fixture_request(&desk.f, connection, MSG_page, 5, &page);
	desk_run(&desk);
	message = fixture_sent(&desk.f, connection, 0);
	assert_int_equal(message->status, 0);
	assert_int_equal(((const struct page_reply *)message->body)->sequence, 1);
	/* But not for ever if it says nothing at all. */
	fixture_tick(&desk.f, 4000);
	assert_null(fixture_find(&desk.f, ACT_CLOSE));
	fixture_tick(&desk.f, 2000);
	assert_int_equal(fixture_find(&desk.f, ACT_CLOSE)->connection, connection);
	desk_end(&desk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_promise),
		cmocka_unit_test(test_a_promise_that_cannot_be_kept),
		cmocka_unit_test(test_who_cannot_promise_does_not_register),
		cmocka_unit_test(test_the_same_server_again),
		cmocka_unit_test(test_a_copy_that_is_made_anew),
		cmocka_unit_test(test_another_process_needs_its_own),
		cmocka_unit_test(test_another_server_waits),
		cmocka_unit_test(test_a_heartbeat_counts),
		cmocka_unit_test(test_a_restart_waits),
		cmocka_unit_test(test_a_restart_is_no_first_promise),
		cmocka_unit_test(test_what_is_no_promise),
		cmocka_unit_test(test_orders_of_an_old_epoch),
		cmocka_unit_test(test_waits_while_it_lives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

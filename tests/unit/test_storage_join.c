/* How a storage server finds its name server, and what it reports and obeys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "beacon.h"
#include "endpoint.h"
#include "error.h"
#include "storage_fixture.h"

static void hear(struct fixture *f, uint8_t cluster, const char *name, uint64_t counter)
{
	struct beacon beacon = { .kind = BEACON_NAMESERVER,
				 .port = 6235,
				 .cluster = fixture_id(cluster),
				 .server = fixture_id((uint8_t)(cluster + 1)),
				 .epoch = 1,
				 .start = 1,
				 .counter = counter,
				 .interval_ms = 5000 };
	struct endpoint source = endpoint_ipv4(0x0a000000u + cluster, 999);
	uint8_t datagram[BEACON_SIZE];

	memcpy(beacon.cluster_name, name, strlen(name));
	beacon_encode(&beacon, NULL, datagram);
	fixture_step(f, (struct storage_event){ .kind = STORAGE_BEACON,
						.data = { datagram, sizeof(datagram) },
						.endpoints = &source,
						.endpoint_count = 1 });
}

/* Ticks at each deadline until `until_ms` have passed or something is dialled. */
static bool run_until_dial(struct fixture *f, uint64_t until_ms)
{
	uint64_t end_ms = f->now_ms + until_ms;

	while (!fixture_find(f, ACT_DIAL)) {
		uint64_t due_ms = storage_deadline(f->core);

		if (due_ms > end_ms)
			return false;
		fixture_tick(f, due_ms > f->now_ms ? due_ms - f->now_ms : 0);
		/* A tick does all that is due. */
		assert_true(storage_deadline(f->core) > f->now_ms);
	}
	return true;
}

static void test_probes_listens_and_dials(void **state)
{
	struct fixture f;
	uint64_t heard_ms;

	(void)state;
	fixture_init(&f);
	f.config.nameserver_count = 0;
	fixture_start(&f);
	assert_non_null(fixture_find(&f, ACT_PROBE));
	/* Not at once: both may just be starting. */
	for (int quiet = 0; !fixture_note(&f, NOTE_NO_NAMESERVER); quiet++) {
		assert_true(quiet < 7);
		fixture_tick(&f, 1000);
		assert_true(quiet >= 5 || !fixture_note(&f, NOTE_NO_NAMESERVER));
	}
	hear(&f, 0x20, "one", 1);
	heard_ms = f.now_ms;
	assert_true(run_until_dial(&f, 5000));
	assert_true(f.now_ms - heard_ms >= 150);
	assert_int_equal(fixture_find(&f, ACT_DIAL)->endpoints[0].port, 6235);
	fixture_done(&f);
}

static void test_two_clusters_and_it_joins_none(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.config.nameserver_count = 0;
	fixture_start(&f);
	hear(&f, 0x20, "one", 1);
	hear(&f, 0x40, "two", 1);
	assert_false(run_until_dial(&f, 4000));
	assert_int_equal(f.adopted, 0);
	fixture_done(&f);

	fixture_init(&f);
	f.config.nameserver_count = 0;
	memcpy(f.config.cluster_name, "two", 4);
	fixture_start(&f);
	hear(&f, 0x20, "one", 1);
	hear(&f, 0x40, "two", 1);
	assert_true(run_until_dial(&f, 4000));
	assert_int_equal(fixture_find(&f, ACT_DIAL)->endpoints[0].address.bytes[3], 0x40);
	fixture_done(&f);
}

static void test_remembered_address_comes_first(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.config.nameserver_count = 0;
	f.config.cluster = f.cluster;
	f.config.remembered = endpoint_ipv4(0x0a0000aa, 77);
	fixture_start(&f);
	assert_int_equal(fixture_find(&f, ACT_DIAL)->endpoints[0].port, 77);
	fixture_done(&f);
}

static void test_adopts_once_and_for_ever(void **state)
{
	struct fixture f;
	struct endpoint endpoint = endpoint_ipv4(0x0a000002, 6235);
	struct id self = fixture_id(0xee);
	uint64_t connection;

	(void)state;
	fixture_init(&f);
	fixture_start(&f);
	fixture_register(&f);
	assert_int_equal(f.adopted, 1);
	assert_true(id_equal(&f.adopted_id, &f.cluster));
	assert_non_null(fixture_find(&f, ACT_REMEMBER));

	fixture_step(&f, (struct storage_event){ .kind = STORAGE_CLOSED,
						 .connection = f.nameserver,
						 .error = -ERR_CONNECTION });
	assert_non_null(fixture_note(&f, NOTE_LOST_NAMESERVER));
	fixture_tick(&f, 250);
	assert_non_null(fixture_find(&f, ACT_RESOLVE));
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_RESOLVED,
						 .endpoints = &endpoint,
						 .endpoint_count = 1 });
	f.cluster = fixture_id(0xdd);
	connection = fixture_accept(&f, ROLE_NAMESERVER, &self);
	assert_null(fixture_sent(&f, connection, 0));
	assert_int_equal(fixture_note(&f, NOTE_REFUSED)->error, -ERR_WRONG_CLUSTER);
	assert_int_equal(f.adopted, 1);
	fixture_done(&f);
}

static void test_tries_back_off(void **state)
{
	struct fixture f;
	uint64_t last_ms, gap_ms = 0;

	(void)state;
	fixture_init(&f);
	fixture_start(&f);
	for (int i = 0; i < 12; i++) {
		assert_non_null(fixture_find(&f, ACT_RESOLVE));
		fixture_step(&f, (struct storage_event){ .kind = STORAGE_RESOLVED,
							 .error = -ERR_NO_NAMESERVER });
		last_ms = f.now_ms;
		fixture_tick(&f, storage_deadline(f.core) - f.now_ms);
		gap_ms = f.now_ms - last_ms;
		assert_in_range(gap_ms, 100, 5000);
	}
	assert_in_range(gap_ms, 2500, 5000);
	fixture_done(&f);
}

static void test_heartbeats_and_silence(void **state)
{
	struct fixture f;
	const struct heartbeat_request *heartbeat;
	struct heartbeat_reply reply = { .epoch = 5 };

	(void)state;
	fixture_init(&f);
	fixture_start(&f);
	fixture_register(&f);
	fixture_tick(&f, 2000);
	heartbeat = fixture_sent(&f, f.nameserver, 0)->body;
	assert_int_equal(heartbeat->free, 1 << 30);
	fixture_reply(&f, f.nameserver, MSG_heartbeat, fixture_sent(&f, f.nameserver, 0)->id,
		      &reply);
	fixture_tick(&f, 2000);
	assert_non_null(fixture_sent(&f, f.nameserver, 0));
	fixture_tick(&f, 4001);
	assert_non_null(fixture_note(&f, NOTE_LOST_NAMESERVER));
	assert_int_equal(fixture_find(&f, ACT_CLOSE)->connection, f.nameserver);
	fixture_done(&f);
}

static void test_delete_obeys_the_present_epoch(void **state)
{
	struct chunk_id ids[] = { { 10 }, { 11 }, { 12 } };
	struct delete_request req = { .epoch = 4, .chunks = ids, .chunks_count = 3 };
	const struct delete_reply *reply;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.chunks[0] = (struct fake_chunk){ .chunk = 10, .length = 5 };
	f.chunks[1] = (struct fake_chunk){ .chunk = 12, .length = 5 };
	f.chunk_count = 2;
	fixture_start(&f);
	fixture_register(&f);
	fixture_request(&f, f.nameserver, MSG_delete, 9, &req);
	assert_int_equal(fixture_sent(&f, f.nameserver, 0)->status, ERR_STALE);
	assert_int_equal(f.chunk_count, 2);
	req.epoch = 5;
	fixture_request(&f, f.nameserver, MSG_delete, 10, &req);
	reply = fixture_sent(&f, f.nameserver, 0)->body;
	assert_int_equal(reply->deleted, 2);
	assert_int_equal(f.chunk_count, 0);
	fixture_done(&f);
}

static void test_orders_come_from_the_name_server_only(void **state)
{
	struct delete_request req = { .epoch = 5 };
	struct fixture f;
	uint64_t client;

	(void)state;
	fixture_init(&f);
	fixture_start(&f);
	fixture_register(&f);
	client = fixture_client(&f, ROLE_NAMESERVER, &f.client);
	fixture_request(&f, client, MSG_delete, 2, &req);
	assert_int_equal(fixture_sent(&f, client, 0)->status, ERR_UNSUPPORTED);
	fixture_done(&f);
}

static void test_connect_shows_the_proof(void **state)
{
	struct connect_request req = { .lane = 1, .proof = fixture_id(0x77) };
	const struct hello_request *hello;
	struct fixture f;
	uint64_t connection;

	(void)state;
	fixture_init(&f);
	fixture_start(&f);
	fixture_register(&f);
	req.client = f.client;
	req.endpoint = endpoint_ipv4(0x0a000007, 3504);
	fixture_request(&f, f.nameserver, MSG_connect, 4, &req);
	assert_int_equal(fixture_sent(&f, f.nameserver, 0)->status, 0);
	connection = fixture_find(&f, ACT_DIAL)->connection;
	/* A second order for the same is not a second connection. */
	fixture_request(&f, f.nameserver, MSG_connect, 5, &req);
	assert_null(fixture_find(&f, ACT_DIAL));
	fixture_step(&f,
		     (struct storage_event){ .kind = STORAGE_DIALLED, .connection = connection });
	hello = fixture_sent(&f, connection, 0)->body;
	assert_true(id_equal(&hello->expected, &f.client));
	assert_true(id_equal(&hello->proof, &req.proof));
	assert_int_equal(hello->lane, 1);
	fixture_done(&f);
}

static void test_hello_comes_first_and_fits(void **state)
{
	struct hello_request hello = { .versions = 1 << 16 | 1, .role = ROLE_CLIENT };
	struct read_request read = { .length = 1 };
	struct endpoint peer = endpoint_ipv4(1, 1);
	struct fixture f;

	(void)state;
	fixture_init(&f);
	fixture_start(&f);
	fixture_register(&f);
	for (uint64_t i = 1; i <= 4; i++) {
		static const uint8_t wanted[] = { 0, ERR_BAD_REQUEST, ERR_WRONG_NODE,
						  ERR_WRONG_CLUSTER, ERR_WRONG_VERSION };
		uint64_t connection = STORAGE_ACCEPTED | (1000 + i);

		fixture_step(&f, (struct storage_event){ .kind = STORAGE_OPENED,
							 .connection = connection,
							 .endpoints = &peer,
							 .endpoint_count = 1 });
		hello.self = f.client;
		hello.expected = fixture_id(i == 2 ? 9 : 1);
		hello.cluster = fixture_id(i == 3 ? 9 : 0);
		hello.versions = i == 4 ? 9 << 16 | 9 : 1 << 16 | 1;
		if (i == 1)
			fixture_request(&f, connection, MSG_read, 1, &read);
		else
			fixture_request(&f, connection, MSG_hello, 1, &hello);
		assert_int_equal(fixture_sent(&f, connection, 0)->status, wanted[i]);
		assert_int_equal(fixture_find(&f, ACT_CLOSE)->connection, connection);
	}
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_OPENED,
						 .connection = STORAGE_ACCEPTED | 2000,
						 .endpoints = &peer,
						 .endpoint_count = 1 });
	fixture_tick(&f, 5000);
	assert_non_null(fixture_find(&f, ACT_CLOSE));
	fixture_done(&f);
}

/* ---- a name server that goes and comes ---- */

static struct beacon beacon_of(uint8_t server, uint64_t epoch)
{
	return (struct beacon){ .kind = BEACON_NAMESERVER,
				.port = 6235,
				.server = fixture_id(server),
				.epoch = epoch,
				.start = 1,
				.counter = 1,
				.interval_ms = 5000,
				.cluster_name = "c" };
}

static void hear_at(struct fixture *f, const struct beacon *beacon, uint8_t address)
{
	struct endpoint source = endpoint_ipv4(0x0a000000u + address, 999);
	uint8_t datagram[BEACON_SIZE];

	beacon_encode(beacon, NULL, datagram);
	fixture_step(f, (struct storage_event){ .kind = STORAGE_BEACON,
						.data = { datagram, sizeof(datagram) },
						.endpoints = &source,
						.endpoint_count = 1 });
}

static void fail_dial(struct fixture *f)
{
	fixture_step(f, (struct storage_event){ .kind = STORAGE_DIALLED,
						.connection = fixture_find(f, ACT_DIAL)->connection,
						.error = -ERR_CONNECTION });
}

static void begin_with_beacons(struct fixture *f)
{
	fixture_init(f);
	f->config.nameserver_count = 0;
	f->config.cluster = f->cluster;
	memcpy(f->config.cluster_name, "c", 2);
}

/* Where it was a moment ago it may be again in a moment. */
static void test_comes_back_at_once(void **state)
{
	struct register_reply reply = { .epoch = 5, .heartbeat_ms = 2000 };
	struct id self = fixture_id(0xee);
	struct fixture f;
	uint64_t connection, lost_ms;

	(void)state;
	begin_with_beacons(&f);
	f.config.remembered = endpoint_ipv4(0x0a0000aa, 77);
	fixture_start(&f);
	connection = fixture_accept(&f, ROLE_NAMESERVER, &self);
	fixture_reply(&f, connection, MSG_register, 1, &reply);
	fixture_tick(&f, 1500);
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_CLOSED,
						 .connection = connection,
						 .error = -ERR_CONNECTION });
	lost_ms = f.now_ms;
	for (uint64_t i = 0; i < 3; i++) {
		assert_true(run_until_dial(&f, 200));
		assert_int_equal(f.now_ms - lost_ms, 100 * i);
		assert_int_equal(fixture_find(&f, ACT_DIAL)->endpoints[0].port, 77);
		fail_dial(&f);
	}
	/* Another one is heard: it is not waited any longer. */
	fixture_tick(&f, 100);
	if (fixture_find(&f, ACT_DIAL))
		fail_dial(&f);
	{
		struct beacon other = beacon_of(0x40, 6);

		other.cluster = f.cluster;
		hear_at(&f, &other, 0x40);
	}
	assert_true(run_until_dial(&f, 100));
	assert_int_equal(fixture_find(&f, ACT_DIAL)->endpoints[0].address.bytes[3], 0x40);
	fixture_done(&f);
}

/* A name server that has lost everything looks for its cluster by name. */
static void test_nameless_of_our_name(void **state)
{
	struct beacon beacon = beacon_of(0x40, 0);
	struct fixture f;

	(void)state;
	begin_with_beacons(&f);
	fixture_start(&f);
	memcpy(beacon.cluster_name, "x", 2);
	hear_at(&f, &beacon, 0x40);
	assert_false(run_until_dial(&f, 3000));
	memcpy(beacon.cluster_name, "c", 2);
	hear_at(&f, &beacon, 0x40);
	assert_true(run_until_dial(&f, 3000));
	fixture_done(&f);

	/* But who belongs to no cluster yet waits until it has one. */
	begin_with_beacons(&f);
	f.config.cluster = (struct id){ { 0 } };
	fixture_start(&f);
	hear_at(&f, &beacon, 0x40);
	assert_false(run_until_dial(&f, 3000));
	fixture_done(&f);
}

/* The beacon of one that has just died is fresh and of a higher epoch: it is dead all the same. */
static void test_leaves_the_dead(void **state)
{
	struct beacon dead = beacon_of(0x40, 9), nameless = beacon_of(0x41, 0);
	struct fixture f;

	(void)state;
	begin_with_beacons(&f);
	fixture_start(&f);
	dead.cluster = f.cluster;
	memcpy(nameless.cluster_name, "c", 2);
	hear_at(&f, &dead, 0x40);
	assert_true(run_until_dial(&f, 3000));
	assert_int_equal(fixture_find(&f, ACT_DIAL)->endpoints[0].address.bytes[3], 0x40);
	fail_dial(&f);
	hear_at(&f, &nameless, 0x41);
	assert_true(run_until_dial(&f, 3000));
	assert_int_equal(fixture_find(&f, ACT_DIAL)->endpoints[0].address.bytes[3], 0x41);
	fixture_done(&f);
}

/* Who refuses us is left alone for a while, if there is another. */
static void test_prefers_who_takes_us(void **state)
{
	struct register_reply reply = { .epoch = 4, .heartbeat_ms = 2000 };
	struct beacon high = beacon_of(0x40, 9), low = beacon_of(0x41, 8);
	struct id self = fixture_id(0x40);
	struct fixture f;
	uint64_t connection;

	(void)state;
	begin_with_beacons(&f);
	f.config.promised_epoch = f.promised_epoch = 6;
	high.cluster = low.cluster = f.cluster;
	fixture_start(&f);
	hear_at(&f, &high, 0x40);
	hear_at(&f, &low, 0x41);
	assert_true(run_until_dial(&f, 3000));
	assert_int_equal(fixture_find(&f, ACT_DIAL)->endpoints[0].address.bytes[3], 0x40);
	connection = fixture_accept(&f, ROLE_NAMESERVER, &self);
	fixture_reply(&f, connection, MSG_register, 1, &reply);
	assert_int_equal(fixture_note(&f, NOTE_REFUSED)->error, -ERR_STALE);
	assert_true(run_until_dial(&f, 3000));
	assert_int_equal(fixture_find(&f, ACT_DIAL)->endpoints[0].address.bytes[3], 0x41);
	fixture_done(&f);
}

/* Waits for `server`, which is about to begin in epoch 8 and answers nothing but HELLO and PING.
 * Returns the address of the one that is dialled next, and when; 0: none within that time. */
static uint8_t next_after(struct fixture *f, uint8_t server, uint64_t ms, uint64_t *ret_ms)
{
	struct id self = fixture_id(server);
	struct ping_reply pong = { 0 };
	uint64_t begun_ms = f->now_ms, connection;

	assert_int_equal(fixture_find(f, ACT_DIAL)->endpoints[0].address.bytes[3], server);
	connection = fixture_accept(f, ROLE_NAMESERVER, &self);
	while (f->now_ms < begun_ms + ms) {
		struct beacon serving = beacon_of(0x41, 7), waiting = beacon_of(0x40, 8);

		serving.cluster = waiting.cluster = f->cluster;
		serving.counter = waiting.counter = f->now_ms;
		waiting.kind = BEACON_BEGINNER;
		waiting.start = 0;
		hear_at(f, &serving, 0x41);
		hear_at(f, &waiting, 0x40);
		fixture_tick(f, 500);
		*ret_ms = f->now_ms - begun_ms;
		if (fixture_find(f, ACT_DIAL))
			return fixture_find(f, ACT_DIAL)->endpoints[0].address.bytes[3];
		fixture_reply(f, connection, MSG_ping, 2, &pong);
	}
	return 0;
}

static void wait_for_a_beginner(struct fixture *f, uint64_t promised)
{
	struct beacon waiting = beacon_of(0x40, 8);

	begin_with_beacons(f);
	f->epoch = 8;
	f->config.promised_epoch = f->promised_epoch = promised;
	f->config.promised_server = f->promised_server = fixture_id(promised == 8 ? 0x40 : 0x41);
	fixture_start(f);
	waiting.cluster = f->cluster;
	waiting.kind = BEACON_BEGINNER;
	waiting.start = 0;
	hear_at(f, &waiting, 0x40);
	assert_true(run_until_dial(f, 3000));
}

/* It may wait for ever for others that follow the one that serves. */
static void test_who_serves_is_better_than_who_waits(void **state)
{
	struct fixture f;
	uint64_t ms;

	(void)state;
	wait_for_a_beginner(&f, 7);
	assert_int_equal(next_after(&f, 0x40, 120000, &ms), 0x41);
	assert_in_range(ms, 3000, 5000);
	/* It cannot be reached after all: then the other one has its time. */
	fail_dial(&f);
	while (!fixture_find(&f, ACT_DIAL)) {
		struct beacon waiting = beacon_of(0x40, 8);

		waiting.cluster = f.cluster;
		waiting.kind = BEACON_BEGINNER;
		waiting.start = 0;
		waiting.counter = f.now_ms + 1;
		hear_at(&f, &waiting, 0x40);
		if (!fixture_find(&f, ACT_DIAL))
			fixture_tick(&f, 100);
	}
	assert_int_equal(next_after(&f, 0x40, 120000, &ms), 0x41);
	assert_in_range(ms, 50000, 61000);
	fixture_done(&f);
}

/* Who has promised it a later epoch would make the one that serves begin anew. */
static void test_a_promise_is_given_time(void **state)
{
	struct fixture f;
	uint64_t ms;

	(void)state;
	wait_for_a_beginner(&f, 8);
	assert_int_equal(next_after(&f, 0x40, 120000, &ms), 0x41);
	assert_in_range(ms, 60000, 61000);
	fixture_done(&f);
}

/* A beacon moves nobody who is registered, or whose name server has not answered yet. */
static void test_beacons_move_nobody_who_is_served(void **state)
{
	struct register_reply reply = { .epoch = 7, .heartbeat_ms = 2000 };
	struct heartbeat_reply beat = { .epoch = 7 };
	struct beacon serving = beacon_of(0x41, 7), waiting = beacon_of(0x40, 1 << 20);
	struct id self = fixture_id(0x41);
	struct fixture f;
	uint64_t connection;

	(void)state;
	begin_with_beacons(&f);
	fixture_start(&f);
	serving.cluster = waiting.cluster = f.cluster;
	waiting.kind = BEACON_BEGINNER;
	waiting.start = 0;
	hear_at(&f, &serving, 0x41);
	assert_true(run_until_dial(&f, 3000));
	connection = fixture_accept(&f, ROLE_NAMESERVER, &self);
	fixture_reply(&f, connection, MSG_register, 1, &reply);
	for (int i = 0; i < 100; i++) {
		waiting.counter++;
		hear_at(&f, &waiting, 0x40);
		assert_null(fixture_find(&f, ACT_DIAL));
		assert_null(fixture_find(&f, ACT_CLOSE));
		fixture_tick(&f, 1000);
		assert_null(fixture_find(&f, ACT_DIAL));
		assert_null(fixture_find(&f, ACT_CLOSE));
		fixture_reply(&f, connection, MSG_heartbeat, 9, &beat);
	}
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_probes_listens_and_dials),
		cmocka_unit_test(test_two_clusters_and_it_joins_none),
		cmocka_unit_test(test_remembered_address_comes_first),
		cmocka_unit_test(test_adopts_once_and_for_ever),
		cmocka_unit_test(test_tries_back_off),
		cmocka_unit_test(test_heartbeats_and_silence),
		cmocka_unit_test(test_delete_obeys_the_present_epoch),
		cmocka_unit_test(test_orders_come_from_the_name_server_only),
		cmocka_unit_test(test_connect_shows_the_proof),
		cmocka_unit_test(test_hello_comes_first_and_fits),
		cmocka_unit_test(test_comes_back_at_once),
		cmocka_unit_test(test_nameless_of_our_name),
		cmocka_unit_test(test_leaves_the_dead),
		cmocka_unit_test(test_prefers_who_takes_us),
		cmocka_unit_test(test_who_serves_is_better_than_who_waits),
		cmocka_unit_test(test_a_promise_is_given_time),
		cmocka_unit_test(test_beacons_move_nobody_who_is_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

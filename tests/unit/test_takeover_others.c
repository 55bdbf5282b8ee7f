#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "error.h"
#include "takeover_world.h"
#include "text.h"

enum { LONG_MS = 60 * 1000 };

/* ---- other name servers ---- */

static void test_empty_second_one_is_refused(void **state)
{
	struct beacon beacon = world_nameserver(3);
	struct world world;

	(void)state;
	world_init(&world, NULL, 0);
	world_begin(&world);
	world_run(&world, 50);
	world_hear(&world, &beacon);
	assert_int_equal(world.refused, -ERR_EXISTS);
	assert_non_null(strstr(world.why, "--standby"));
	world_done(&world);
}

static void test_another_cluster_is_none_of_ours(void **state)
{
	struct beacon beacon = world_nameserver(3);
	struct world world;

	(void)state;
	snprintf(beacon.cluster_name, sizeof(beacon.cluster_name), "elsewhere");
	world_init(&world, NULL, 0);
	world_begin(&world);
	world_run(&world, 50);
	world_hear(&world, &beacon);
	world_run(&world, LONG_MS);
	assert_true(world.opened && takeover_outcome(world.takeover).founded);
	world_done(&world);
}

static void hear_for(struct world *world, uint64_t ms)
{
	struct beacon beacon = world_nameserver(3);

	for (uint64_t past = 0; past < ms; past += 5000) {
		beacon.counter++;
		world_hear(world, &beacon);
		world_run(world, 5000);
	}
}

static void test_standby_takes_over_from_three(void **state)
{
	(void)state;
	for (unsigned int own = 0; own <= 4; own += 4) {
		struct takeover_outcome outcome;
		struct line_of_batches line;
		struct world world;

		line_make(&line, 3);
		world_init(&world, &line, own);
		world.config.standby = true;
		for (unsigned int i = 1; i <= 3; i++)
			world_fake(&world, i, &line, line.count)->promised_to = fake_id(9);
		world_begin(&world);
		hear_for(&world, LONG_MS);
		assert_false(world.opened);
		assert_true(world_noted(&world, "standby_waiting"));
		assert_int_equal(world.beacons, 0);
		world_run(&world, DEAD_AFTER_MS - 6000);
		assert_false(world.opened);
		outcome = (world_run(&world, LONG_MS), takeover_outcome(world.takeover));
		assert_true(world.opened && !outcome.rebuilt);
		assert_true(world_has(&world, &line, line.count));
		world_done(&world);
		batches_done(&line);
	}
}

static void test_standby_leaves_two_alone(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 2);
	world_init(&world, &line, 4);
	world.config.standby = true;
	world_fake(&world, 1, &line, line.count);
	world_fake(&world, 2, &line, line.count);
	world_begin(&world);
	world_run(&world, LONG_MS);
	assert_false(world.opened);
	world_done(&world);
	batches_done(&line);
}

/* The one that was stopped for a while finds another in its place. */
static void test_old_one_waits_quietly(void **state)
{
	struct line_of_batches line;
	struct world world;
	unsigned int beacons;

	(void)state;
	line_make(&line, 3);
	world_init(&world, &line, line.count);
	world_begin(&world);
	world_connect(&world, 1);
	world_run(&world, 50);
	hear_for(&world, 20000);
	beacons = world.beacons;
	assert_int_equal(world.fakes[1].conn, 0);
	hear_for(&world, LONG_MS);
	assert_false(world.opened);
	assert_int_equal(world.beacons, beacons);
	world_done(&world);
	batches_done(&line);
}

/* Two that begin at once must not wait for each other. */
static void test_of_two_that_begin_one_goes_on(void **state)
{
	struct beacon beacon = world_nameserver(4);
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 3);
	beacon.start = 0;
	for (unsigned int above = 0; above < 2; above++) {
		beacon.server.bytes[0] = above ? 0xff : 0x01;
		world_init(&world, &line, line.count);
		world_begin(&world);
		world_run(&world, 200);
		world_hear(&world, &beacon);
		assert_int_equal(world_noted(&world, "standby_waiting"), above);
		world_done(&world);
	}
	batches_done(&line);
}

/* Until it is open; a beacon every 5 s. Returns when that was. */
static uint64_t opens_beside(struct world *world, struct beacon *beacon)
{
	uint64_t ms = 0;

	for (; !world->opened && ms < 10 * LONG_MS; ms += 5000) {
		beacon->counter++;
		world_hear(world, beacon);
		world_run(world, 5000);
	}
	return ms;
}

/* It may lack what is in our reach: then we try. But who fetches a large catalogue is not
 * disturbed, or nobody would ever have all of it. */
static void test_who_waits_gives_way_but_not_who_fetches(void **state)
{
	struct beacon beacon = world_nameserver(4);
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 3);
	beacon.start = 0;
	beacon.server.bytes[0] = 0xff;
	for (unsigned int fetches = 0; fetches < 2; fetches++) {
		beacon.fetches = fetches;
		world_init(&world, &line, line.count);
		world_begin(&world);
		world_run(&world, 200);
		world_hear(&world, &beacon);
		assert_true(world_noted(&world, "standby_waiting"));
		for (unsigned int i = 1; i <= 3; i++)
			world_fake(&world, i, &line, line.count);
		if (fetches) {
			assert_int_equal(opens_beside(&world, &beacon), 10 * LONG_MS);
			beacon.fetches = false;
		}
		assert_in_range(opens_beside(&world, &beacon), DEAD_AFTER_MS - 5000,
				2 * DEAD_AFTER_MS);
		world_done(&world);
	}
	batches_done(&line);
}

/* Anybody can send one: it must not use up all epochs there are. */
static void test_a_beacon_does_not_carry_far(void **state)
{
	struct beacon beacon = world_nameserver((UINT64_C(1) << 62) - 1);
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 3);
	beacon.start = 0;
	world_init(&world, &line, line.count);
	world_begin(&world);
	world_run(&world, 200);
	world_hear(&world, &beacon);
	beacon.kind = BEACON_STORAGE;
	world_hear(&world, &beacon);
	for (unsigned int i = 1; i <= 3; i++)
		world_fake(&world, i, &line, line.count);
	world_run(&world, LONG_MS);
	assert_true(world.opened);
	assert_int_equal(takeover_outcome(world.takeover).epoch, 4);
	world_done(&world);
	batches_done(&line);
}

static void run_copy(struct world *world, struct line_of_batches *line, const struct beacon *beacon)
{
	world_init(world, line, line->count);
	world->config.process = 100;
	world_begin(world);
	world_run(world, 200);
	world_hear(world, beacon);
}

/* A copy of our directory: another process with our id. Our own beacons come back to us as well. */
static void test_copied_directory(void **state)
{
	static const struct {
		uint64_t start, epoch;
		uint32_t process;
		bool quiet;
	} cases[] = {
		{ 3, 2, 100, false }, { 3, 2, 99, true }, { 0, 4, 99, false },
		{ 0, 4, 101, true },  { 0, 5, 99, true }, { 0, 3, 101, false },
	};
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 3);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct beacon beacon = world_nameserver(cases[i].epoch);

		world_init(&world, NULL, 0);
		beacon.server = world.config.self;
		world_done(&world);
		beacon.start = cases[i].start;
		beacon.process = cases[i].process;
		run_copy(&world, &line, &beacon);
		assert_int_equal(world_noted(&world, "standby_waiting"), cases[i].quiet);
		assert_int_equal(world_noted(&world, "directory_copied"), cases[i].quiet);
		world_done(&world);
	}
	batches_done(&line);
}

/* ---- who is waited for ---- */

static void test_waiting_is_told(void **state)
{
	struct line_of_batches line;
	char id[ID_TEXT_MAX];
	struct id second = fake_id(2);
	struct world world;

	(void)state;
	line_make(&line, 2);
	world_init(&world, &line, line.count);
	world.config.facts.names[0].node = fake_id(1);
	snprintf(world.config.facts.names[0].name, sizeof(world.config.facts.names[0].name), "nas");
	world.config.facts.name_count = 1;
	world_begin(&world);
	world_run(&world, 2500);
	assert_false(world_noted(&world, "takeover_waiting"));
	world_run(&world, 1000);
	assert_true(world_noted(&world, "takeover_waiting"));
	assert_true(world_noted(&world, "missing=\"nas,"));
	assert_true(world_noted(&world, id_format(&second, id)));
	assert_true(world_noted(&world, "set=2 needed=2 promised=0"));
	assert_false(world_noted(&world, "--accept-rebuild"));
	world_done(&world);
	batches_done(&line);
}

/* One of two has lost its copy: that is never enough, and somebody has to say so. */
static void test_empty_copy_is_told(void **state)
{
	const struct status_request status = { 0 };
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 2);
	world_init(&world, NULL, 0);
	world_fake(&world, 1, &line, line.count);
	world_fake(&world, 2, &line, 0);
	world_begin(&world);
	world_run(&world, 5000);
	assert_false(world.opened);
	assert_true(world_noted(&world, "missing=\"\" empty=\""));
	assert_true(world_noted(&world, "set=2 needed=2 promised=1"));
	assert_true(world_noted(&world, "is empty, so it may never be enough: --accept-rebuild"));
	world_client(&world, true);
	world_client_asks(&world, MSG_status, &status);
	assert_int_equal(world.client_state, SERVICE_TAKEOVER);
	assert_non_null(strstr(world.client_waiting, " (empty)"));
	world_done(&world);
	batches_done(&line);
}

/* One has lost its directory, and a stand-by without one is no help with a set of two: it must not
 * keep the other from asking. */
static void test_nobody_waits_for_an_idle_standby(void **state)
{
	struct beacon beacon = world_nameserver(2);
	struct line_of_batches line;

	(void)state;
	line_make(&line, 2);
	beacon.start = 0;
	beacon.server.bytes[0] = 0xff;
	for (unsigned int idle = 0; idle < 2; idle++) {
		struct world world;

		beacon.waits = idle;
		world_init(&world, NULL, 0);
		world_begin(&world);
		world_run(&world, 500);
		world_hear(&world, &beacon);
		assert_int_equal(world_noted(&world, "standby_waiting"), !idle);
		world_fake(&world, 1, &line, line.count);
		world_fake(&world, 2, &line, line.count);
		world_run(&world, 5000);
		assert_int_equal(world.opened, idle);
		world_done(&world);
	}
	batches_done(&line);
}

/* It is the one that waits, whoever of the two knows more. */
static void test_an_idle_standby_makes_room(void **state)
{
	struct beacon beacon = world_nameserver(1);
	struct line_of_batches line;

	(void)state;
	line_make(&line, 2);
	beacon.start = 0;
	beacon.server.bytes[0] = 0x01;
	for (unsigned int own = 0; own <= line.count; own += line.count) {
		struct world world;

		world_init(&world, &line, own);
		world.config.standby = true;
		world_fake(&world, 1, &line, line.count);
		world_begin(&world);
		world_run(&world, LONG_MS);
		assert_true(world.beacon_waits && !world_noted(&world, "standby_waiting"));
		world_hear(&world, &beacon);
		assert_true(world_noted(&world, "standby_waiting"));
		assert_int_equal(world.fakes[1].conn, 0);
		world_done(&world);
	}
	batches_done(&line);
}

/* While it slept itself nobody could be heard. */
static void test_a_standby_that_slept_listens_anew(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 3);
	world_init(&world, &line, line.count);
	world.config.standby = true;
	for (unsigned int i = 1; i <= 3; i++)
		world_fake(&world, i, &line, line.count);
	world_begin(&world);
	hear_for(&world, LONG_MS);
	world.now_ms += LONG_MS;
	world_run(&world, DEAD_AFTER_MS - 1000);
	assert_false(world.opened);
	assert_int_equal(world.beacons, 0);
	world_run(&world, LONG_MS);
	assert_true(world.opened);
	world_done(&world);
	batches_done(&line);
}

static void test_two_clusters_of_one_name(void **state)
{
	struct line_of_batches line;
	struct world world;
	const struct hello_request hello = { .versions = PROTOCOL_VERSION << 16 | PROTOCOL_VERSION,
					     .role = ROLE_STORAGE,
					     .cluster = { { 0xdd } },
					     .cluster_name = slice_of(THE_NAME),
					     .self = { { 0xcc } } };

	(void)state;
	line_make(&line, 2);
	world_init(&world, NULL, 0);
	world_fake(&world, 1, &line, line.count);
	world_begin(&world);
	world_run(&world, 1000);
	world_client(&world, false);
	world_client_asks(&world, MSG_hello, &hello);
	assert_int_equal(world.client_status[0], ERR_WRONG_CLUSTER);
	assert_true(world.client_closed);
	assert_true(world_noted(&world, "two_clusters"));
	world_done(&world);
	batches_done(&line);
}

/* ---- clients ---- */

static void test_clients_wait_a_while(void **state)
{
	const struct stat_request stat = { .path = slice_of("/") };
	const struct status_request status = { 0 };
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 3);
	world_init(&world, &line, line.count);
	world_begin(&world);
	world_run(&world, 1000);
	world_client(&world, true);
	assert_int_equal(world.client_answers, 1);
	assert_int_equal(world.client_status[0], 0);
	world_client_asks(&world, MSG_status, &status);
	assert_int_equal(world.client_state, SERVICE_TAKEOVER);
	world_client_asks(&world, MSG_stat, &stat);
	world_run(&world, TAKEOVER_WAIT_MS - 200);
	assert_int_equal(world.client_answers, 2);
	world_run(&world, 500);
	assert_int_equal(world.client_answers, 3);
	assert_int_equal(world.client_status[2], ERR_UNAVAILABLE);
	world_done(&world);
	batches_done(&line);
}

struct handed {
	enum ns_event_kind kind;
	unsigned int type;
	uint64_t conn;
};
struct handed_list {
	struct handed list[16];
	unsigned int count;
};

/* It would refuse the one that serves in the epoch before. */
static void test_clients_hear_of_no_epoch_to_come(void **state)
{
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 3);
	world_init(&world, &line, line.count);
	world_fake(&world, 1, &line, line.count)->promised = 7;
	world_begin(&world);
	world_run(&world, 1000);
	assert_true(world.beacon_epoch > 7);
	world_client(&world, true);
	assert_int_equal(world.client_epoch, line.heads[line.count].epoch);
	world_done(&world);
	batches_done(&line);
}

static void hand(void *context, struct ns_event *event)
{
	struct handed_list *handed = context;

	handed->list[handed->count++] =
		(struct handed){ event->kind, event->header ? event->header->type : 0,
				 event->conn };
}

static void test_everything_is_handed_over(void **state)
{
	const struct stat_request stat = { .path = slice_of("/") };
	struct handed_list handed = { .count = 0 };
	struct line_of_batches line;
	struct world world;

	(void)state;
	line_make(&line, 1);
	world_init(&world, &line, line.count);
	world_begin(&world);
	world_run(&world, 1000);
	world_client(&world, true);
	world_client_asks(&world, MSG_stat, &stat);
	world_fake(&world, 1, &line, line.count);
	world_run(&world, 1500);
	assert_true(world.opened);
	takeover_hand_over(world.takeover, hand, &handed);
	assert_int_equal(handed.count, 4);
	assert_int_equal(handed.list[0].kind, NS_GREETED);
	assert_int_equal(handed.list[0].type, MSG_hello);
	assert_int_equal(handed.list[1].kind, NS_GREETED);
	assert_int_equal(handed.list[2].kind, NS_FRAME);
	assert_int_equal(handed.list[2].type, MSG_stat);
	assert_int_equal(handed.list[2].conn, CLIENT_CONN);
	assert_int_equal(handed.list[3].type, MSG_register);
	world_done(&world);
	batches_done(&line);
}

/* Nobody can be told a cluster that does not exist yet. */
static void test_greeting_waits_for_the_founding(void **state)
{
	struct handed_list handed = { .count = 0 };
	struct world world;

	(void)state;
	world_init(&world, NULL, 0);
	world_begin(&world);
	world_run(&world, 500);
	world_client(&world, true);
	assert_int_equal(world.client_answers, 0);
	world_run(&world, LONG_MS);
	assert_true(world.opened);
	assert_int_equal(world.client_answers, 0);
	takeover_hand_over(world.takeover, hand, &handed);
	assert_int_equal(handed.count, 2);
	assert_int_equal(handed.list[0].kind, NS_OPENED);
	assert_int_equal(handed.list[1].type, MSG_hello);
	world_done(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty_second_one_is_refused),
		cmocka_unit_test(test_another_cluster_is_none_of_ours),
		cmocka_unit_test(test_standby_takes_over_from_three),
		cmocka_unit_test(test_standby_leaves_two_alone),
		cmocka_unit_test(test_old_one_waits_quietly),
		cmocka_unit_test(test_of_two_that_begin_one_goes_on),
		cmocka_unit_test(test_who_waits_gives_way_but_not_who_fetches),
		cmocka_unit_test(test_a_beacon_does_not_carry_far),
		cmocka_unit_test(test_copied_directory),
		cmocka_unit_test(test_waiting_is_told),
		cmocka_unit_test(test_empty_copy_is_told),
		cmocka_unit_test(test_nobody_waits_for_an_idle_standby),
		cmocka_unit_test(test_an_idle_standby_makes_room),
		cmocka_unit_test(test_a_standby_that_slept_listens_anew),
		cmocka_unit_test(test_two_clusters_of_one_name),
		cmocka_unit_test(test_clients_wait_a_while),
		cmocka_unit_test(test_clients_hear_of_no_epoch_to_come),
		cmocka_unit_test(test_everything_is_handed_over),
		cmocka_unit_test(test_greeting_waits_for_the_founding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

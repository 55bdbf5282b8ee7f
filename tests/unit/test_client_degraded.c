/* The client core alone: without a name server, through the copies that storage servers have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "client_stand_in.h"

enum { SIZE = 2 * 1024 * 1024, DEGRADED_AFTER_MS = 1500 };

static bool is_through(const struct fake *fake, unsigned int index)
{
	struct client_state state = state_of(fake);

	return state.degraded && id_equal(&state.storage, &fake->servers[index]);
}

static void ask_stat(struct fake *fake)
{
	struct client_start start = fake_start(fake);
	struct stat_request stat = { .path = slice_of("/f") };
	int error;

	assert_non_null(client_request(fake->client, &start, MSG_stat, &stat, &error));
}

static void ask_mkdir(struct fake *fake)
{
	struct client_start start = fake_start(fake);
	struct mkdir_request mkdir = { .path = slice_of("/d") };
	int error;

	assert_non_null(client_request(fake->client, &start, MSG_mkdir, &mkdir, &error));
}

/* ---- finding one ---- */

static void test_a_storage_server_stands_in(void **state)
{
	const struct client_action *connected;
	struct fake fake;
	uint64_t began_ms, connection;

	(void)state;
	fake_open(&fake, CLIENT_AUTO);
	session_want(&fake);
	began_ms = fake.now_ms;
	storage_beacon(&fake, 1, 0);
	assert_null(fake_action(&fake, CLIENT_DIAL));
	connection = wait_for(&fake, CLIENT_DIAL)->connection;
	assert_in_range(fake.now_ms - began_ms, DEGRADED_AFTER_MS,
			DEGRADED_AFTER_MS + 2 * CLIENT_TICK_MS);
	hello_answer(&fake, connection, ROLE_STORAGE, fake.servers[0]);
	connected = fake_action(&fake, CLIENT_CONNECTED);
	assert_non_null(connected);
	assert_int_equal(connected->error, 0);
	assert_true(state_of(&fake).connected);
	assert_true(state_of(&fake).degraded);
	assert_true(is_through(&fake, 0));
	assert_int_equal(state_of(&fake).nameserver.family, 0);
	assert_false(fake_was_sent(&fake, MSG_port));
	fake_close(&fake);
}

/* Nobody is made to wait for the same again and again; but a change looks properly. */
static void test_who_missed_it_a_moment_ago_waits_less(void **state)
{
	struct client_config config = { .self = { { 'c', 1 } }, .missed = true, .seed = 1 };
	struct fake fake;
	uint64_t began_ms;

	(void)state;
	fake_open_config(&fake, &config);
	session_want(&fake);
	began_ms = fake.now_ms;
	stand_in(&fake, 0);
	assert_in_range(fake.now_ms - began_ms, 300, 500);
	began_ms = fake.now_ms;
	ask_mkdir(&fake);
	assert_int_equal(wait_for(&fake, CLIENT_DONE)->error, -ERR_READ_ONLY);
	assert_in_range(fake.now_ms - began_ms, 400, 600);
	fake_close(&fake);
}

static void test_a_name_server_comes_first(void **state)
{
	struct fake fake;

	(void)state;
	fake_open(&fake, CLIENT_PASSIVE);
	session_want(&fake);
	storage_beacon(&fake, 1, 0);
	fake_wait(&fake, 500);
	fake_connect(&fake);
	assert_true(state_of(&fake).connected);
	assert_false(state_of(&fake).degraded);
	fake_wait(&fake, 3000);
	assert_null(fake_action(&fake, CLIENT_DIAL));
	fake_close(&fake);
}

static void test_two_clusters_are_told_apart(void **state)
{
	const struct client_action *connected;
	struct fake fake;

	(void)state;
	fake_open(&fake, CLIENT_AUTO);
	session_want(&fake);
	storage_beacon(&fake, 1, 0);
	storage_beacon(&fake, 2, 1);
	connected = wait_for(&fake, CLIENT_CONNECTED);
	assert_int_equal(connected->error, -ERR_TWO_CLUSTERS);
	fake_close(&fake);
}

static void wait_in_vain(struct fake *fake)
{
	uint64_t end_ms = fake->now_ms + 4000;

	while (fake->now_ms < end_ms) {
		fake_wait(fake, 500);
		assert_null(fake_action(fake, CLIENT_DIAL));
		storage_beacon(fake, 2, 1);
		assert_null(fake_action(fake, CLIENT_DIAL));
	}
}

static void test_only_the_remembered_cluster_is_read(void **state)
{
	struct client_config config = { .self = { { 'c', 1 } },
					.remembered_cluster = stand_in_cluster,
					.seed = 1 };
	struct fake fake;

	(void)state;
	fake_open_config(&fake, &config);
	session_want(&fake);
	wait_in_vain(&fake);
	stand_in(&fake, 0);
	assert_true(state_of(&fake).degraded);
	fake_close(&fake);
}

/* Or else whoever names a name server that is down would read from anybody. */
static void test_who_names_a_name_server_reads_its_cluster(void **state)
{
	struct client_config config = { .self = { { 'c', 1 } }, .fixed = true, .seed = 1 };
	struct fake fake;

	(void)state;
	fake_open_config(&fake, &config);
	session_want(&fake);
	wait_in_vain(&fake);
	fake_close(&fake);

	config.remembered_cluster = stand_in_cluster;
	fake_open_config(&fake, &config);
	session_want(&fake);
	wait_for(&fake, CLIENT_RESOLVE);
	fake_step(&fake, (struct client_event){ .kind = CLIENT_RESOLVED });
	assert_true(wait_for(&fake, CLIENT_SEEK)->flag);
	stand_in(&fake, 0);
	assert_true(state_of(&fake).degraded);
	fake_close(&fake);
}

static void test_another_stands_in_for_one_that_goes(void **state)
{
	struct fake fake;
	uint64_t connection = open_degraded(&fake);
	uint64_t began_ms;

	(void)state;
	ask_stat(&fake);
	fake_sent(&fake, MSG_stat, NULL);
	began_ms = fake.now_ms;
	fake_step(&fake, (struct client_event){ .kind = CLIENT_CLOSED, .connection = connection });
	assert_false(state_of(&fake).connected);
	stand_in(&fake, 1);
	assert_in_range(fake.now_ms - began_ms, 0, 200);
	assert_true(is_through(&fake, 1));
	fake_sent(&fake, MSG_stat, NULL);
	fake_close(&fake);
}

/* ---- what it answers ---- */

static void test_answers_are_marked(void **state)
{
	const struct client_action *done;
	struct message asked;
	struct fake fake;
	uint64_t control = open_degraded(&fake), connection;

	(void)state;
	ask_stat(&fake);
	asked = fake_sent(&fake, MSG_stat, &connection);
	assert_int_equal(connection, control);
	fake_reply_flags(&fake, control, &asked, &(struct stat_reply){ 0 }, FRAME_DEGRADED);
	done = fake_action(&fake, CLIENT_DONE);
	assert_int_equal(done->error, 0);
	assert_true(done->flag);
	assert_int_equal(state_of(&fake).degraded_answers, 1);
	fake_close(&fake);

	fake_open(&fake, CLIENT_PASSIVE);
	session_want(&fake);
	control = fake_connect(&fake);
	ask_stat(&fake);
	asked = fake_sent(&fake, MSG_stat, NULL);
	fake_reply_flags(&fake, control, &asked, &(struct stat_reply){ 0 }, FRAME_DEGRADED);
	assert_true(fake_action(&fake, CLIENT_DONE)->flag);
	ask_stat(&fake);
	asked = fake_sent(&fake, MSG_stat, NULL);
	fake_reply(&fake, control, &asked, &(struct stat_reply){ 0 });
	assert_false(fake_action(&fake, CLIENT_DONE)->flag);
	fake_close(&fake);
}

static void test_changes_are_refused_at_once(void **state)
{
	struct client_put put = { .path = slice_of("/f"), .size = SIZE, .rewindable = true };
	struct client_start start;
	struct status_request status = { 0 };
	struct fake fake;
	uint64_t began_ms;
	int error;

	(void)state;
	open_degraded(&fake);
	began_ms = fake.now_ms;
	ask_mkdir(&fake);
	assert_false(fake_was_sent(&fake, MSG_mkdir));
	assert_int_equal(wait_for(&fake, CLIENT_DONE)->error, -ERR_READ_ONLY);
	start = fake_start(&fake);
	assert_non_null(client_request(fake.client, &start, MSG_status, &status, &error));
	assert_int_equal(wait_for(&fake, CLIENT_DONE)->error, -ERR_READ_ONLY);
	start = fake_start(&fake);
	assert_non_null(client_put(fake.client, &start, &put, &error));
	assert_int_equal(wait_for(&fake, CLIENT_DONE)->error, -ERR_READ_ONLY);
	assert_in_range(fake.now_ms - began_ms, 0, 3 * CLIENT_TICK_MS);
	assert_true(state_of(&fake).degraded);
	fake_close(&fake);
}

/* It may be back by now: a shell that waited at its prompt has not looked. */
static void test_a_change_after_a_while_looks_first(void **state)
{
	struct fake fake;
	uint64_t began_ms;

	(void)state;
	open_degraded(&fake);
	fake.now_ms += 60000;
	began_ms = fake.now_ms;
	ask_mkdir(&fake);
	assert_non_null(fake_action(&fake, CLIENT_PROBE));
	fake_beacon(&fake, 1, 1);
	assert_non_null(fake_action(&fake, CLIENT_DIAL));
	assert_int_equal(wait_for(&fake, CLIENT_DONE)->error, -ERR_READ_ONLY);
	assert_in_range(fake.now_ms - began_ms, 300, 500);
	fake_close(&fake);
}

/* What was looked for in vain for one command tells nothing of the next one. */
static void test_each_command_looks_for_itself(void **state)
{
	struct fake fake;
	uint64_t began_ms;

	(void)state;
	open_degraded(&fake);
	ask_mkdir(&fake);
	assert_int_equal(wait_for(&fake, CLIENT_DONE)->error, -ERR_READ_ONLY);
	began_ms = fake.now_ms;
	client_look_anew(fake.client);
	ask_mkdir(&fake);
	assert_non_null(fake_action(&fake, CLIENT_PROBE));
	assert_int_equal(wait_for(&fake, CLIENT_DONE)->error, -ERR_READ_ONLY);
	assert_in_range(fake.now_ms - began_ms, 300, 500);
	fake_close(&fake);
}

/* ---- and back ---- */

static uint64_t nameserver_dialled(struct fake *fake)
{
	uint64_t connection;

	fake_beacon(fake, 1, 1);
	connection = wait_for(fake, CLIENT_DIAL)->connection;
	hello_answer(fake, connection, ROLE_NAMESERVER, (struct id){ { 'n', 1 } });
	return connection;
}

static void status_answer(struct fake *fake, uint64_t connection, uint8_t state)
{
	struct message asked = fake_sent(fake, MSG_status, NULL);
	struct status_reply status = { .state = state,
				       .cluster_name = slice_of("test"),
				       .nameserver = endpoint_ipv4(0x0a000001u, 6235) };

	fake_reply(fake, connection, &asked, &status);
}

static void nothing_done(struct fake *fake, uint64_t ms)
{
	const uint64_t end_ms = fake->now_ms + ms;

	while (fake->now_ms < end_ms) {
		fake_wait(fake, CLIENT_TICK_MS);
		assert_null(fake_action(fake, CLIENT_DONE));
	}
}

/* On a busy machine its answer takes longer than a look. But not for ever. */
static void test_a_name_server_that_takes_the_call_is_waited_for(void **state)
{
	(void)state;
	for (int answers = 0; answers <= 1; answers++) {
		struct message asked;
		struct fake fake;
		uint64_t connection, began_ms;

		open_degraded(&fake);
		fake.now_ms += 60000;
		began_ms = fake.now_ms;
		ask_mkdir(&fake);
		fake_beacon(&fake, 1, 1);
		connection = wait_for(&fake, CLIENT_DIAL)->connection;
		fake_step(&fake,
			  (struct client_event){ .kind = CLIENT_OPENED, .connection = connection });
		asked = fake_sent(&fake, MSG_hello, NULL);
		nothing_done(&fake, 800);
		if (!answers) {
			assert_int_equal(wait_for(&fake, CLIENT_DONE)->error, -ERR_READ_ONLY);
			assert_in_range(fake.now_ms - began_ms, 900, 1200);
		} else {
			hello_say(&fake, connection, &asked, ROLE_NAMESERVER,
				  (struct id){ { 'n', 1 } });
			status_answer(&fake, connection, SERVICE_FULL);
			fake_sent(&fake, MSG_mkdir, NULL);
		}
		fake_close(&fake);
	}
}

static void test_a_name_server_that_serves_is_gone_back_to(void **state)
{
	struct fake fake;
	uint64_t connection;

	(void)state;
	open_degraded(&fake);
	connection = nameserver_dialled(&fake);
	status_answer(&fake, connection, SERVICE_TAKEOVER);
	assert_true(state_of(&fake).degraded);
	ask_stat(&fake);
	fake_sent(&fake, MSG_stat, NULL);
	for (int i = 0; i < 20 && !fake_was_sent(&fake, MSG_status); i++)
		fake_wait(&fake, CLIENT_TICK_MS);
	status_answer(&fake, connection, SERVICE_FULL);
	assert_false(state_of(&fake).degraded);
	assert_true(state_of(&fake).connected);
	/* What was asked is asked again, of the one who knows. */
	fake_sent(&fake, MSG_stat, &connection);
	fake_sent(&fake, MSG_port, NULL);
	ask_mkdir(&fake);
	fake_sent(&fake, MSG_mkdir, NULL);
	fake_close(&fake);
}

/* Once is enough: for what is only read nobody waits for it. */
static void test_one_that_takes_over_is_read_around(void **state)
{
	struct message asked;
	struct fake fake;
	uint64_t control, began_ms;

	(void)state;
	fake_open(&fake, CLIENT_PASSIVE);
	session_want(&fake);
	control = fake_connect(&fake);
	ask_stat(&fake);
	asked = fake_sent(&fake, MSG_stat, NULL);
	began_ms = fake.now_ms;
	fake_refuse(&fake, control, &asked, -ERR_UNAVAILABLE);
	assert_non_null(fake_action(&fake, CLIENT_DIAL));
	assert_non_null(fake_action(&fake, CLIENT_PROBE));
	stand_in(&fake, 0);
	assert_in_range(fake.now_ms - began_ms, 0, 2 * CLIENT_TICK_MS);
	assert_true(is_through(&fake, 0));
	fake_sent(&fake, MSG_stat, NULL);
	fake_close(&fake);
}

/* The next command knows: it does not even ask. A change waits for it. */
static void test_who_missed_it_reads_around_its_return(void **state)
{
	struct client_config config = { .self = { { 'c', 1 } }, .missed = true, .seed = 1 };
	struct fake fake;
	uint64_t connection, began_ms;

	(void)state;
	fake_open_config(&fake, &config);
	session_want(&fake);
	connection = nameserver_dialled(&fake);
	began_ms = fake.now_ms;
	status_answer(&fake, connection, SERVICE_TAKEOVER);
	assert_false(state_of(&fake).connected);
	stand_in(&fake, 0);
	assert_in_range(fake.now_ms - began_ms, 0, 2 * CLIENT_TICK_MS);
	ask_stat(&fake);
	fake_sent(&fake, MSG_stat, NULL);
	ask_mkdir(&fake);
	while (!fake_was_sent(&fake, MSG_status))
		nothing_done(&fake, CLIENT_TICK_MS);
	assert_true(fake.now_ms - began_ms >= 450);
	status_answer(&fake, connection, SERVICE_FULL);
	fake_sent(&fake, MSG_mkdir, NULL);
	fake_close(&fake);
}

static void test_a_storage_server_says_that_it_has_a_name_server(void **state)
{
	struct message asked;
	struct fake fake;
	uint64_t control = open_degraded(&fake), connection;

	(void)state;
	ask_stat(&fake);
	asked = fake_sent(&fake, MSG_stat, NULL);
	fake_refuse(&fake, control, &asked, -ERR_UNAVAILABLE);
	assert_null(fake_action(&fake, CLIENT_DONE));
	assert_false(state_of(&fake).connected);
	connection = nameserver_dialled(&fake);
	status_answer(&fake, connection, SERVICE_READ_ONLY);
	fake_sent(&fake, MSG_stat, NULL);
	fake_close(&fake);
}

static void refuse_dials(struct fake *fake, uint64_t ms)
{
	uint64_t end_ms = fake->now_ms + ms;

	while (fake->now_ms < end_ms) {
		const struct client_action *dial;

		fake_wait(fake, CLIENT_TICK_MS);
		while ((dial = fake_action(fake, CLIENT_DIAL)) != NULL)
			fake_step(fake, (struct client_event){ .kind = CLIENT_CLOSED,
							       .connection = dial->connection });
	}
}

/* Nobody knows what has become of it: it waits for whoever does. */
static void test_a_change_on_its_way_is_not_refused(void **state)
{
	const struct mkdir_request *mkdir;
	const struct client_action *done;
	struct message asked;
	struct fake fake;
	uint64_t control;

	(void)state;
	fake_open(&fake, CLIENT_PASSIVE);
	session_want(&fake);
	control = fake_connect(&fake);
	ask_mkdir(&fake);
	fake_sent(&fake, MSG_mkdir, NULL);
	fake_step(&fake, (struct client_event){ .kind = CLIENT_CLOSED, .connection = control });
	/* The address that worked is tried first. */
	control = fake_action(&fake, CLIENT_DIAL)->connection;
	fake_step(&fake, (struct client_event){ .kind = CLIENT_CLOSED, .connection = control });
	refuse_dials(&fake, DEGRADED_AFTER_MS);
	stand_in(&fake, 0);
	assert_true(state_of(&fake).degraded);
	fake_wait(&fake, 500);
	assert_null(fake_action(&fake, CLIENT_DONE));
	control = nameserver_dialled(&fake);
	status_answer(&fake, control, SERVICE_FULL);
	asked = fake_sent(&fake, MSG_mkdir, NULL);
	mkdir = asked.body;
	assert_int_equal(mkdir->operation, 1);
	fake_reply(&fake, control, &asked, &(struct mkdir_reply){ 0 });
	done = fake_action(&fake, CLIENT_DONE);
	assert_int_equal(done->error, 0);
	fake_close(&fake);
}

/* With a put that has begun at a name server that answers, and is then gone. */
static void lose_with_put(struct fake *fake)
{
	struct client_put put = { .path = slice_of("/f"), .rewindable = true };
	struct client_start start;
	struct message asked;
	uint64_t control;
	int error;

	fake_open(fake, CLIENT_PASSIVE);
	session_want(fake);
	control = fake_connect(fake);
	ask_stat(fake);
	asked = fake_sent(fake, MSG_stat, NULL);
	fake_reply(fake, control, &asked, &(struct stat_reply){ 0 });
	start = fake_start(fake);
	assert_non_null(client_put(fake->client, &start, &put, &error));
	assert_true(fake_was_sent(fake, MSG_put_begin));
	fake_step(fake, (struct client_event){ .kind = CLIENT_CLOSED, .connection = control });
}

/* Another one may have to wait for silence first. What was not under way does not wait. */
static void test_a_put_under_way_waits_for_a_successor(void **state)
{
	const struct client_action *done;
	struct message asked;
	struct fake fake;
	uint64_t control;

	(void)state;
	lose_with_put(&fake);
	refuse_dials(&fake, 20 * 1000);
	assert_null(fake_action(&fake, CLIENT_DONE));
	stand_in(&fake, 0);
	fake_wait(&fake, 5000);
	assert_null(fake_action(&fake, CLIENT_DONE));
	ask_mkdir(&fake);
	done = wait_for(&fake, CLIENT_DONE);
	assert_int_equal(done->error, -ERR_READ_ONLY);
	control = nameserver_dialled(&fake);
	status_answer(&fake, control, SERVICE_FULL);
	asked = fake_sent(&fake, MSG_put_begin, NULL);
	fake_refuse(&fake, control, &asked, -ERR_IS_DIR);
	assert_int_equal(wait_for(&fake, CLIENT_DONE)->error, -ERR_IS_DIR);
	fake_close(&fake);
}

/* But not for ever. */
static void test_a_put_under_way_ends(void **state)
{
	struct fake fake;

	(void)state;
	lose_with_put(&fake);
	refuse_dials(&fake, 29 * 1000);
	assert_int_equal(wait_for(&fake, CLIENT_DONE)->error, -ERR_NO_NAMESERVER);
	fake_close(&fake);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_storage_server_stands_in),
		cmocka_unit_test(test_who_missed_it_a_moment_ago_waits_less),
		cmocka_unit_test(test_a_name_server_comes_first),
		cmocka_unit_test(test_two_clusters_are_told_apart),
		cmocka_unit_test(test_only_the_remembered_cluster_is_read),
		cmocka_unit_test(test_who_names_a_name_server_reads_its_cluster),
		cmocka_unit_test(test_another_stands_in_for_one_that_goes),
		cmocka_unit_test(test_answers_are_marked),
		cmocka_unit_test(test_changes_are_refused_at_once),
		cmocka_unit_test(test_a_change_after_a_while_looks_first),
		cmocka_unit_test(test_each_command_looks_for_itself),
		cmocka_unit_test(test_a_name_server_that_takes_the_call_is_waited_for),
		cmocka_unit_test(test_a_name_server_that_serves_is_gone_back_to),
		cmocka_unit_test(test_one_that_takes_over_is_read_around),
		cmocka_unit_test(test_who_missed_it_reads_around_its_return),
		cmocka_unit_test(test_a_storage_server_says_that_it_has_a_name_server),
		cmocka_unit_test(test_a_change_on_its_way_is_not_refused),
		cmocka_unit_test(test_a_put_under_way_waits_for_a_successor),
		cmocka_unit_test(test_a_put_under_way_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

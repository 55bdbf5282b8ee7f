/* Scrubbing: every copy within the period, at an even pace, behind everybody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "error.h"
#include "storage_fixture.h"

enum { MIB = 1024 * 1024, PERIOD_S = 1000, START_MS = 10 * 1000 };

static void have(struct fixture *f, uint64_t chunk)
{
	f->chunks[f->chunk_count++] = (struct fake_chunk){ .chunk = chunk,
							   .length = MIB,
							   .digest = { { (uint8_t)chunk } } };
	f->used_bytes += MIB;
}

static bool is_here(const struct fixture *f, uint64_t chunk)
{
	for (unsigned int i = 0; i < f->chunk_count; i++) {
		if (f->chunks[i].chunk == chunk)
			return true;
	}
	return false;
}

static void begin_from(struct fixture *f, uint64_t chunks, const struct scrub_state *state)
{
	fixture_init(f);
	f->scrub_s = PERIOD_S;
	for (uint64_t chunk = 1; chunk <= chunks; chunk++)
		have(f, chunk);
	f->config.scrub = *state;
	fixture_start(f);
	fixture_register(f);
}

static void begin(struct fixture *f, uint64_t chunks)
{
	begin_from(f, chunks, &(struct scrub_state){ 0 });
}

/* The name server answers each heartbeat. */
static void heartbeat_answer(struct fixture *f)
{
	const struct message *message;

	for (unsigned int n = 0; (message = fixture_sent(f, f->nameserver, n)); n++) {
		if (message->info->code != MSG_heartbeat)
			continue;
		fixture_reply(f, f->nameserver, MSG_heartbeat, message->id,
			      &(struct heartbeat_reply){ .epoch = 5 });
		return;
	}
}

/* The chunk that is read within `ms`; 0: none. */
static uint64_t read_within(struct fixture *f, uint64_t ms)
{
	uint64_t end_ms = f->now_ms + ms;

	while (f->now_ms <= end_ms) {
		uint64_t due_ms = storage_deadline(f->core);
		const struct storage_action *action;

		if (due_ms > end_ms)
			break;
		fixture_tick(f, due_ms > f->now_ms ? due_ms - f->now_ms : 0);
		action = fixture_find(f, ACT_INSPECT);
		if (action)
			return action->chunk;
		heartbeat_answer(f);
	}
	f->now_ms = end_ms > f->now_ms ? end_ms : f->now_ms;
	return 0;
}

static void found(struct fixture *f, uint64_t chunk, int error)
{
	struct digest digest = { { (uint8_t)chunk } };

	fixture_step(f, (struct storage_event){ .kind = STORAGE_INSPECTED,
						.chunk = chunk,
						.error = error,
						.length = MIB,
						.digest = &digest });
}

static const struct corrupt_request *report(struct fixture *f)
{
	const struct message *message;

	for (unsigned int n = 0; (message = fixture_sent(f, f->nameserver, n)); n++) {
		if (message->info->code == MSG_corrupt)
			return message->body;
	}
	return NULL;
}

static struct scrub_state state_of(const struct fixture *f)
{
	struct scrub_state state;

	storage_scrub(f->core, &state);
	return state;
}

static void test_all_of_them_in_order(void **state)
{
	struct fixture f;
	uint64_t begun_ms;

	(void)state;
	begin(&f, 5);
	assert_int_equal(read_within(&f, START_MS - 1), 0);
	for (uint64_t chunk = 1; chunk <= 5; chunk++) {
		assert_int_equal(read_within(&f, 60 * 1000), chunk);
		begun_ms = f.now_ms;
		found(&f, chunk, 0);
		assert_int_equal(state_of(&f).chunks, chunk);
	}
	assert_null(fixture_note(&f, NOTE_SCRUB_ENDED));
	assert_int_equal(read_within(&f, PERIOD_S * 1000 - (f.now_ms - begun_ms) - 200 * 1000), 0);
	assert_true(state_of(&f).ended);
	assert_int_equal(state_of(&f).bad, 0);
	/* The next period. */
	assert_int_equal(read_within(&f, 200 * 1000), 1);
	assert_int_equal(state_of(&f).chunks, 0);
	fixture_done(&f);
}

/* A disk with 64 chunks of 1 MiB and 100 s: 1.4 s each. */
static void test_an_even_pace(void **state)
{
	uint64_t before_ms = 0;
	struct fixture f;

	(void)state;
	fixture_init(&f);
	f.scrub_s = 100;
	for (uint64_t chunk = 1; chunk <= FAKE_CHUNKS_MAX; chunk++)
		have(&f, chunk);
	fixture_start(&f);
	fixture_register(&f);
	for (uint64_t chunk = 1; chunk <= FAKE_CHUNKS_MAX; chunk++) {
		assert_int_equal(read_within(&f, START_MS), chunk);
		if (before_ms)
			assert_in_range(f.now_ms - before_ms, 900, 1500);
		before_ms = f.now_ms;
		found(&f, chunk, 0);
	}
	assert_in_range(state_of(&f).elapsed_ms, 70 * 1000, 95 * 1000);
	fixture_done(&f);
}

/* Late as it may be: a slow disk is left three quarters of its time. */
static void test_never_more_than_a_quarter_of_the_disk(void **state)
{
	const struct scrub_state late = { .elapsed_ms = 2000 * 1000, .cursor = 1 };
	struct fixture f;

	(void)state;
	begin_from(&f, 4, &late);
	assert_int_equal(read_within(&f, START_MS), 2);
	f.now_ms += 400;
	found(&f, 2, 0);
	assert_int_equal(read_within(&f, 1199), 0);
	assert_int_equal(read_within(&f, 2), 3);
	fixture_done(&f);
}

static void test_goes_on_behind_the_cursor(void **state)
{
	const struct scrub_state half = { .cursor = 2, .chunks = 2, .bytes = 2 * MIB, .bad = 1 };
	struct fixture f;

	(void)state;
	begin_from(&f, 4, &half);
	assert_int_equal(read_within(&f, START_MS), 3);
	assert_int_equal(state_of(&f).cursor, 2); /* this one has not been found good */
	found(&f, 3, 0);
	assert_int_equal(state_of(&f).cursor, 3);
	assert_int_equal(state_of(&f).chunks, 3);
	assert_int_equal(state_of(&f).bad, 1);
	fixture_done(&f);
}

static void test_a_bad_copy(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 2);
	assert_int_equal(read_within(&f, START_MS), 1);
	found(&f, 1, -ERR_CORRUPT);
	assert_non_null(fixture_note(&f, NOTE_INSPECTED_BAD));
	assert_non_null(report(&f));
	assert_int_equal(report(&f)->chunks[0].chunk, 1);
	assert_false(is_here(&f, 1));
	assert_int_equal(state_of(&f).bad, 1);
	fixture_done(&f);
}

static void test_told_when_the_name_server_is_back(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 3);
	assert_int_equal(read_within(&f, START_MS), 1);
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_CLOSED,
						 .connection = f.nameserver,
						 .error = -ERR_CONNECTION });
	found(&f, 1, -ERR_CORRUPT);
	assert_false(is_here(&f, 1));
	f.now_ms += 5000;
	fixture_tick(&f, 0);
	fixture_register(&f);
	assert_non_null(report(&f));
	assert_int_equal(report(&f)->chunks_count, 1);
	assert_int_equal(report(&f)->chunks[0].chunk, 1);
	/* Once. */
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_CLOSED,
						 .connection = f.nameserver,
						 .error = -ERR_CONNECTION });
	f.now_ms += 5000;
	fixture_tick(&f, 0);
	fixture_register(&f);
	assert_null(report(&f));
	fixture_done(&f);
}

static void test_questions_of_the_name_server_go_first(void **state)
{
	struct chunk_sum sums[] = { { 3, MIB, { { 3 } } }, { 4, MIB, { { 4 } } } };
	struct fixture f;

	(void)state;
	begin(&f, 4);
	assert_int_equal(read_within(&f, START_MS), 1);
	fixture_request(&f, f.nameserver, MSG_inspect, 50,
			&(struct inspect_request){ .chunks = sums, .chunks_count = 2 });
	assert_null(fixture_find(&f, ACT_INSPECT));
	found(&f, 1, 0);
	assert_int_equal(fixture_find(&f, ACT_INSPECT)->chunk, 3);
	assert_int_equal(read_within(&f, 2000), 0);
	found(&f, 3, 0);
	assert_int_equal(fixture_find(&f, ACT_INSPECT)->chunk, 4);
	found(&f, 4, 0);
	assert_int_equal(read_within(&f, 60 * 1000), 2);
	fixture_done(&f);
}

/* Nothing of it counts any more; what can still be read is for those who copy it. */
static void test_not_on_a_disk_that_has_failed(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 3);
	assert_int_equal(read_within(&f, START_MS), 1);
	f.failed = true;
	fixture_tick(&f, 3000);
	assert_non_null(fixture_note(&f, NOTE_DISK_FAILED));
	found(&f, 1, 0);
	assert_int_equal(read_within(&f, 2 * PERIOD_S * 1000), 0);
	assert_true(is_here(&f, 2));
	fixture_done(&f);
}

static void test_nothing_to_read(void **state)
{
	struct fixture f;
	unsigned int ticks = 0;

	(void)state;
	begin(&f, 0);
	assert_int_equal(read_within(&f, START_MS), 0);
	assert_true(state_of(&f).ended);
	for (uint64_t end_ms = f.now_ms + PERIOD_S * 1000; f.now_ms < end_ms; ticks++) {
		uint64_t due_ms = storage_deadline(f.core);

		fixture_tick(&f, due_ms > f.now_ms ? due_ms - f.now_ms : 0);
		heartbeat_answer(&f);
	}
	assert_in_range(ticks, 1, PERIOD_S);
	fixture_done(&f);
}

static void test_never(void **state)
{
	struct fixture f;

	(void)state;
	fixture_init(&f);
	have(&f, 1);
	fixture_start(&f);
	fixture_register(&f);
	assert_int_equal(read_within(&f, 3600 * 1000), 0);
	assert_int_equal(state_of(&f).elapsed_ms, 0);
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_of_them_in_order),
		cmocka_unit_test(test_an_even_pace),
		cmocka_unit_test(test_never_more_than_a_quarter_of_the_disk),
		cmocka_unit_test(test_goes_on_behind_the_cursor),
		cmocka_unit_test(test_a_bad_copy),
		cmocka_unit_test(test_told_when_the_name_server_is_back),
		cmocka_unit_test(test_questions_of_the_name_server_go_first),
		cmocka_unit_test(test_not_on_a_disk_that_has_failed),
		cmocka_unit_test(test_nothing_to_read),
		cmocka_unit_test(test_never),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

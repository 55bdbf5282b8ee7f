/* INSPECT: one chunk at a time, answers in time, every bad copy reported once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "error.h"
#include "storage_fixture.h"

static void begin(struct fixture *f)
{
	fixture_init(f);
	fixture_start(f);
	fixture_register(f);
}

static struct digest digest_of_chunk(uint64_t chunk)
{
	return (struct digest){ { (uint8_t)chunk, 0xdd } };
}

static void have(struct fixture *f, uint64_t chunk)
{
	f->chunks[f->chunk_count++] = (struct fake_chunk){ .chunk = chunk,
							   .length = 100,
							   .digest = digest_of_chunk(chunk) };
}

static bool is_here(const struct fixture *f, uint64_t chunk)
{
	for (unsigned int i = 0; i < f->chunk_count; i++) {
		if (f->chunks[i].chunk == chunk)
			return true;
	}
	return false;
}

static void ask(struct fixture *f, uint32_t id, uint64_t first, unsigned int count)
{
	struct chunk_sum sums[INSPECT_MAX];
	struct inspect_request req = { .chunks = sums, .chunks_count = (uint16_t)count };

	for (unsigned int i = 0; i < count; i++)
		sums[i] = (struct chunk_sum){ first + i, 100, digest_of_chunk(first + i) };
	fixture_request(f, f->nameserver, MSG_inspect, id, &req);
}

/* What the glue found: with 0 the digest that is expected. */
static void found(struct fixture *f, uint64_t chunk, int error)
{
	struct digest digest = error ? (struct digest){ { 0 } } : digest_of_chunk(chunk);

	fixture_step(f, (struct storage_event){ .kind = STORAGE_INSPECTED,
						.chunk = chunk,
						.error = error,
						.length = error ? 0 : 100,
						.digest = &digest });
}

static uint64_t asked(const struct fixture *f)
{
	const struct storage_action *action = fixture_find(f, ACT_INSPECT);

	return action ? action->chunk : 0;
}

static const struct inspect_reply *answer(struct fixture *f, uint32_t id, unsigned int n)
{
	const struct message *message = fixture_sent(f, f->nameserver, n);

	assert_non_null(message);
	assert_int_equal(message->info->code, MSG_inspect);
	assert_int_equal(message->id, id);
	assert_int_equal(message->status, 0);
	return message->body;
}

static const struct message *report(struct fixture *f)
{
	const struct message *message;

	for (unsigned int n = 0; (message = fixture_sent(f, f->nameserver, n)); n++) {
		if (message->info->code == MSG_corrupt)
			return message;
	}
	return NULL;
}

static void test_one_after_the_other(void **state)
{
	const struct inspect_reply *reply;
	struct fixture f;

	(void)state;
	begin(&f);
	have(&f, 1);
	have(&f, 3);
	have(&f, 4);
	ask(&f, 50, 1, 3);
	ask(&f, 51, 4, 1);
	assert_null(fixture_find(&f, ACT_INSPECT));
	assert_null(fixture_sent(&f, f.nameserver, 0));
	found(&f, 1, 0);
	assert_int_equal(asked(&f), 3);
	found(&f, 3, 0);
	reply = answer(&f, 50, 0);
	assert_int_equal(reply->findings_count, 3);
	assert_int_equal(reply->findings[0].status, 0);
	assert_int_equal(reply->findings[1].status, ERR_NOT_FOUND);
	assert_int_equal(reply->findings[1].chunk, 2);
	assert_int_equal(reply->findings[2].status, 0);
	assert_int_equal(reply->findings[2].digest.bytes[0], 3);
	assert_int_equal(asked(&f), 4);
	found(&f, 4, 0);
	assert_int_equal(answer(&f, 51, 0)->findings[0].status, 0);
	assert_null(fixture_find(&f, ACT_INSPECT));
	fixture_done(&f);
}

static void test_bad_ones(void **state)
{
	static const int errors[] = { -ERR_CORRUPT, -ERR_IO, -ERR_NOT_FOUND };
	struct fixture f;

	(void)state;
	begin(&f);
	for (uint64_t chunk = 1; chunk <= 3; chunk++)
		have(&f, chunk);
	ask(&f, 50, 1, 3);
	for (uint64_t chunk = 1; chunk <= 3; chunk++) {
		assert_int_equal(asked(&f), chunk);
		found(&f, chunk, errors[chunk - 1]);
		assert_non_null(fixture_note(&f, NOTE_INSPECTED_BAD));
		assert_null(report(&f));
		assert_false(is_here(&f, chunk));
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(answer(&f, 50, 0)->findings[i].status, -errors[i]);
	fixture_done(&f);
}

static void test_not_what_the_catalogue_says(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	have(&f, 1);
	have(&f, 2);
	ask(&f, 50, 1, 2);
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_INSPECTED,
						 .chunk = 1,
						 .length = 100,
						 .digest = &(struct digest){ { 9 } } });
	found(&f, 2, 0);
	assert_int_equal(answer(&f, 50, 0)->findings[0].status, ERR_CORRUPT);
	assert_int_equal(answer(&f, 50, 0)->findings[0].digest.bytes[0], 9);
	assert_int_equal(answer(&f, 50, 0)->findings[1].status, 0);
	/* It may be the catalogue that is wrong. */
	assert_true(is_here(&f, 1));
	assert_true(is_here(&f, 2));
	assert_null(fixture_note(&f, NOTE_INSPECTED_BAD));
	fixture_done(&f);
}

/* No room in memory, no descriptor: that says nothing about the copy. */
static void test_could_not_be_looked_at(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	have(&f, 1);
	ask(&f, 50, 1, 1);
	found(&f, 1, -ERR_NO_MEMORY);
	assert_int_equal(answer(&f, 50, 0)->findings[0].status, ERR_BUSY);
	assert_true(is_here(&f, 1));
	fixture_done(&f);
}

static void test_answers_in_time(void **state)
{
	const struct inspect_reply *reply;
	struct fixture f;

	(void)state;
	begin(&f);
	for (uint64_t chunk = 1; chunk <= 3; chunk++)
		have(&f, chunk);
	ask(&f, 50, 1, 3);
	found(&f, 1, 0);
	fixture_tick(&f, 2400);
	assert_null(fixture_find(&f, ACT_INSPECT));
	assert_true(storage_deadline(f.core) <= f.now_ms + 100);
	fixture_tick(&f, 100);
	reply = answer(&f, 50, 0);
	assert_int_equal(reply->findings[0].status, 0);
	assert_int_equal(reply->findings[1].status, ERR_BUSY);
	assert_int_equal(reply->findings[2].status, ERR_BUSY);
	/* Who asks again hears of the chunk that is being read still. */
	ask(&f, 51, 2, 1);
	assert_null(fixture_find(&f, ACT_INSPECT));
	found(&f, 2, 0);
	assert_int_equal(answer(&f, 51, 0)->findings[0].status, 0);
	assert_null(fixture_find(&f, ACT_INSPECT));
	fixture_done(&f);
}

static void test_bad_news_come_late(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	have(&f, 1);
	ask(&f, 50, 1, 1);
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_CLOSED,
						 .connection = f.nameserver,
						 .error = -ERR_CONNECTION });
	f.now_ms += 5000;
	fixture_tick(&f, 0);
	fixture_register(&f);
	found(&f, 1, -ERR_CORRUPT);
	assert_non_null(report(&f));
	assert_false(is_here(&f, 1));
	assert_null(fixture_find(&f, ACT_INSPECT));
	fixture_done(&f);
}

static void test_written_anew_meanwhile(void **state)
{
	struct write_request write = { .length = 100 };
	struct fixture f;
	uint64_t client;

	(void)state;
	begin(&f);
	have(&f, 1);
	client = fixture_client(&f, ROLE_CLIENT, &f.client);
	ask(&f, 50, 1, 1);
	assert_int_equal(asked(&f), 1);
	f.chunk_count = 0;
	write.ticket = fixture_ticket(&f, 1, TICKET_WRITE, 100);
	fixture_request(&f, client, MSG_write, 9, &write);
	fixture_payload(&f, client, 9, 100, 'x');
	fixture_stored(&f, f.writes[0].transfer, 0);
	found(&f, 1, -ERR_CORRUPT);
	assert_true(is_here(&f, 1));
	assert_null(report(&f));
	assert_int_equal(asked(&f), 1); /* the new one now */
	found(&f, 1, 0);
	assert_int_equal(answer(&f, 50, 0)->findings[0].status, 0);
	fixture_done(&f);
}

static void test_bounded(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	have(&f, 1);
	for (uint32_t id = 100; id < 100 + REQUESTS_MAX; id++) {
		ask(&f, id, 1, 1);
		assert_null(fixture_sent(&f, f.nameserver, 0));
	}
	ask(&f, 99, 1, 1);
	assert_int_equal(fixture_sent(&f, f.nameserver, 0)->status, ERR_BUSY);
	/* One reading serves all who asked. */
	found(&f, 1, 0);
	for (unsigned int n = 0; n < REQUESTS_MAX; n++)
		assert_int_equal(answer(&f, 100 + n, n)->findings[0].status, 0);
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_after_the_other),
		cmocka_unit_test(test_bad_ones),
		cmocka_unit_test(test_not_what_the_catalogue_says),
		cmocka_unit_test(test_could_not_be_looked_at),
		cmocka_unit_test(test_answers_in_time),
		cmocka_unit_test(test_bad_news_come_late),
		cmocka_unit_test(test_written_anew_meanwhile),
		cmocka_unit_test(test_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

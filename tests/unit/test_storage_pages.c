/* A storage server copies a whole catalogue: pages come while those before are being stored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "error.h"
#include "kv_memory.h"
#include "pages.h"
#include "storage_desk.h"

enum { ROWS = 30, LAST = 9, EPOCH = 6, NAMESERVER = 0xee };

/* A name server that gives pages of one row each. */
struct giver {
	struct storage_desk desk;
	struct kv *kv;
	struct buffer rows;
	struct slice rest; /* of them, not given yet */
	uint64_t connection;
};

static void rows_make(struct giver *giver)
{
	char key[8];

	assert_int_equal(kv_memory_new(&giver->kv), 0);
	for (unsigned int i = 0; i < ROWS; i++) {
		snprintf(key, sizeof(key), "s%02u", i);
		assert_int_equal(kv_put(giver->kv, slice_of(key), slice_of("row")), 0);
	}
	assert_int_equal(
		page_read(giver->kv, (struct slice){ 0 }, CATALOGUE_PART_MAX, &giver->rows), 0);
}

static const struct message *sent(struct giver *giver, unsigned int code)
{
	const struct message *message;

	for (unsigned int n = 0; (message = fixture_sent(&giver->desk.f, giver->connection, n));
	     n++) {
		if (message->info->code == code && !message->reply)
			return message;
	}
	return NULL;
}

static unsigned int jobs_waiting(const struct giver *giver)
{
	return giver->desk.count - giver->desk.done;
}

static void job_next(struct giver *giver)
{
	struct storage_desk *desk = &giver->desk;
	struct replica_job job = desk->jobs[desk->done];
	struct replica_result result;

	assert_true(desk->done < desk->count);
	job.bytes = (struct slice){ desk->bytes[desk->done].data, desk->bytes[desk->done].size };
	desk->done++;
	replica_run(desk->replica, &job, &result);
	fixture_step(&desk->f,
		     (struct storage_event){ .kind = STORAGE_REPLICA, .replica = &result });
}

/* Says that it cannot tell batch by batch: then pages are asked for, from the first on. */
static void says_unknown(struct giver *giver)
{
	const struct pull_reply reply = { .state = PULL_UNKNOWN, .sequence = LAST, .epoch = EPOCH };
	const struct message *pull = sent(giver, MSG_pull);

	assert_non_null(pull);
	giver->rest = (struct slice){ giver->rows.data, giver->rows.size };
	fixture_reply(&giver->desk.f, giver->connection, MSG_pull, pull->id, &reply);
	assert_int_equal(giver->desk.jobs[giver->desk.count - 1].kind, REPLICA_BEGIN);
}

static void begin(struct giver *giver)
{
	struct storage_desk *desk = &giver->desk;

	*giver = (struct giver){ 0 };
	rows_make(giver);
	desk_begin(desk);
	desk_start(desk);
	giver->connection = desk_dial(desk, NAMESERVER);
	desk_run(desk);
	desk_register(desk, giver->connection, EPOCH);
	says_unknown(giver);
}

static void end(struct giver *giver)
{
	desk_end(&giver->desk);
	buffer_done(&giver->rows);
	kv_memory_free(giver->kv);
}

/* Gives the next one if it was asked for in the last step. */
static bool gives_page(struct giver *giver)
{
	const struct message *asked = sent(giver, MSG_page);
	struct page_reply reply = { .sequence = LAST, .epoch = EPOCH, .hash = { { 1 } } };
	const uint8_t *from = giver->rest.data;
	struct change change;

	if (!asked)
		return false;
	assert_int_equal(change_next(&giver->rest, &change), 1);
	reply.rows = (struct slice){ from, (size_t)(giver->rest.data - from) };
	reply.more = giver->rest.size > 0;
	fixture_reply(&giver->desk.f, giver->connection, MSG_page, asked->id, &reply);
	return true;
}

static void refuses_page(struct giver *giver, uint8_t status)
{
	const struct message *asked = sent(giver, MSG_page);
	struct message message = { .reply = true, .status = status };

	assert_non_null(asked);
	message.info = asked->info;
	message.id = asked->id;
	fixture_frame(&giver->desk.f, giver->connection, &message);
}

/* Gives all, and has all stored; batches are asked for behind the last page only. */
static void copies_to_the_end(struct giver *giver)
{
	struct digest expected, found;

	while (giver->rest.size > 0 || jobs_waiting(giver) > 0) {
		assert_null(sent(giver, MSG_pull));
		if (!gives_page(giver))
			job_next(giver);
	}
	assert_non_null(sent(giver, MSG_pull));
	assert_int_equal(((const struct pull_request *)sent(giver, MSG_pull)->body)->sequence,
			 LAST);
	assert_int_equal(rows_digest(giver->kv, &expected), 0);
	assert_int_equal(rows_digest(giver->desk.rows.kv, &found), 0);
	assert_true(digest_equal(&expected, &found));
}

static void gives_all_it_is_asked_for(struct giver *giver)
{
	while (gives_page(giver))
		;
}

static void test_pages_come_ahead(void **state)
{
	struct giver giver;
	unsigned int waiting;

	(void)state;
	begin(&giver);
	gives_all_it_is_asked_for(&giver);
	waiting = jobs_waiting(&giver);
	assert_true(waiting > 4 && waiting < ROWS / 2); /* but not all of them */
	job_next(&giver);
	gives_all_it_is_asked_for(&giver);
	assert_int_equal(jobs_waiting(&giver), waiting);
	copies_to_the_end(&giver);
	end(&giver);
}

static void test_a_page_takes_longer(void **state)
{
	struct giver giver;

	(void)state;
	begin(&giver);
	assert_true(gives_page(&giver));
	refuses_page(&giver, ERR_IN_PROGRESS);
	assert_non_null(sent(&giver, MSG_page));
	copies_to_the_end(&giver);
	end(&giver);
}

static void pulls_again(struct giver *giver)
{
	for (unsigned int i = 0; i < 60 && !sent(giver, MSG_pull); i++) {
		fixture_reply(&giver->desk.f, giver->connection, MSG_heartbeat, 99,
			      &(struct heartbeat_reply){ 0 });
		fixture_tick(&giver->desk.f, 1000);
	}
}

/* What was given to the disk by then is nothing that the next pull waits for. */
static void test_a_page_is_refused(void **state)
{
	struct giver giver;
	unsigned int of_first;

	(void)state;
	begin(&giver);
	for (unsigned int i = 0; i < 3; i++)
		assert_true(gives_page(&giver));
	refuses_page(&giver, ERR_BUSY);
	assert_null(sent(&giver, MSG_page));
	of_first = giver.desk.count;
	pulls_again(&giver);
	says_unknown(&giver);
	gives_all_it_is_asked_for(&giver);
	while (giver.desk.done < of_first) {
		job_next(&giver);
		assert_null(sent(&giver, MSG_page));
		assert_null(sent(&giver, MSG_pull));
	}
	copies_to_the_end(&giver);
	end(&giver);
}

/* Others ask meanwhile: what has been loaded counts all the same. */
static void test_a_reader_at_the_end_of_a_copy(void **state)
{
	struct giver giver;

	(void)state;
	begin(&giver);
	while (giver.rest.size > 0) {
		if (!gives_page(&giver))
			job_next(&giver);
	}
	fixture_request(&giver.desk.f, giver.connection, MSG_pull, 50, &(struct pull_request){ 0 });
	while (jobs_waiting(&giver) > 1)
		job_next(&giver);
	assert_int_equal(giver.desk.jobs[giver.desk.done].kind, REPLICA_PULL);
	assert_non_null(sent(&giver, MSG_pull));
	assert_int_equal(((const struct pull_request *)sent(&giver, MSG_pull)->body)->sequence,
			 LAST);
	end(&giver);
}

/* What is stored then is half a catalogue. */
static void test_source_is_lost_amid_the_pages(void **state)
{
	struct giver giver;

	(void)state;
	begin(&giver);
	for (unsigned int i = 0; i < 3; i++)
		assert_true(gives_page(&giver));
	desk_lose(&giver.desk, giver.connection);
	desk_run(&giver.desk);
	assert_null(sent(&giver, MSG_page));
	assert_true(giver.desk.rows.mark.building);
	giver.connection = desk_dial(&giver.desk, NAMESERVER);
	desk_register(&giver.desk, giver.connection, EPOCH);
	says_unknown(&giver);
	copies_to_the_end(&giver);
	assert_false(giver.desk.rows.mark.building);
	end(&giver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pages_come_ahead),
		cmocka_unit_test(test_a_page_takes_longer),
		cmocka_unit_test(test_a_page_is_refused),
		cmocka_unit_test(test_a_reader_at_the_end_of_a_copy),
		cmocka_unit_test(test_source_is_lost_amid_the_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

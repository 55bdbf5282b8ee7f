/* The storage server's core and its copy of the catalogue: jobs, sources, time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "endpoint.h"
#include "error.h"
#include "kv_memory.h"
#include "pages.h"
#include "replica_rig.h"
#include "storage_fixture.h"

enum { JOBS_MAX = 256 };

/* Jobs lie here until the test lets them be done. */
struct desk {
	struct fixture f;
	struct replica_rig rig;
	struct replica_memory rows;
	struct replica *replica;
	struct replica_job jobs[JOBS_MAX];
	struct buffer bytes[JOBS_MAX];
	unsigned int count, done;
	int error; /* of the next job */
};

static int submit(void *context, const struct replica_job *job)
{
	struct desk *desk = context;

	assert_true(desk->count < JOBS_MAX);
	buffer_append(&desk->bytes[desk->count], job->bytes.data, job->bytes.size);
	desk->jobs[desk->count++] = *job;
	return 0;
}

static const struct storage_catalogue catalogue = { submit };

static bool job_next(struct desk *desk)
{
	struct replica_job job = desk->jobs[desk->done];
	struct replica_result result;

	if (desk->done == desk->count)
		return false;
	job.bytes = (struct slice){ desk->bytes[desk->done].data, desk->bytes[desk->done].size };
	replica_run(desk->replica, &job, &result);
	if (desk->error)
		result.error = desk->error;
	desk->error = 0;
	desk->done++;
	fixture_step(&desk->f,
		     (struct storage_event){ .kind = STORAGE_REPLICA, .replica = &result });
	return true;
}

static void begin(struct desk *desk, unsigned int batches)
{
	*desk = (struct desk){ .count = 0 };
	fixture_init(&desk->f);
	rig_init(&desk->rig, batches);
	assert_int_equal(replica_memory_init(&desk->rows, NULL), 0);
	assert_int_equal(replica_new(NULL, &desk->rows.rows, &replica_limits, &desk->replica), 0);
	desk->f.config.catalogue = &catalogue;
	desk->f.config.catalogue_context = desk;
	fixture_start(&desk->f);
	fixture_register(&desk->f);
	assert_true(job_next(desk));
	assert_int_equal(desk->count, 1);
}

static void end(struct desk *desk)
{
	fixture_done(&desk->f);
	replica_free(desk->replica);
	replica_memory_done(&desk->rows);
	for (unsigned int i = 0; i < desk->count; i++)
		buffer_done(&desk->bytes[i]);
	rig_done(&desk->rig);
}

static void send_batch(struct desk *desk, unsigned int number)
{
	struct slice bytes = rig_batch(&desk->rig, number);
	struct batch_request req = {
		.epoch = 5, .sequence = number, .size = (uint32_t)bytes.size, .part = bytes
	};

	fixture_request(&desk->f, desk->f.nameserver, MSG_batch, number, &req);
}

static const struct message *sent(struct desk *desk, uint64_t connection, unsigned int code)
{
	const struct message *message;

	for (unsigned int n = 0; (message = fixture_sent(&desk->f, connection, n)); n++) {
		if (message->info->code == code)
			return message;
	}
	return NULL;
}

static void assert_has(struct desk *desk, uint64_t sequence)
{
	const struct message *message = sent(desk, desk->f.nameserver, MSG_batch);

	assert_non_null(message);
	assert_int_equal(message->status, 0);
	assert_int_equal(((const struct batch_reply *)message->body)->sequence, sequence);
}

static uint32_t assert_pulls(struct desk *desk, uint64_t connection, uint64_t sequence)
{
	const struct message *message = sent(desk, connection, MSG_pull);

	assert_non_null(message);
	assert_false(message->reply);
	assert_int_equal(((const struct pull_request *)message->body)->sequence, sequence);
	return message->id;
}

static void answer_level(struct desk *desk, uint64_t connection, uint32_t id)
{
	fixture_reply(&desk->f, connection, MSG_pull, id,
		      &(struct pull_reply){ .state = PULL_LEVEL });
}

static void test_answers_when_durable(void **state)
{
	struct desk desk;

	(void)state;
	begin(&desk, 4);
	answer_level(&desk, desk.f.nameserver, assert_pulls(&desk, desk.f.nameserver, 0));
	send_batch(&desk, 1);
	assert_null(sent(&desk, desk.f.nameserver, MSG_batch));
	send_batch(&desk, 2);
	send_batch(&desk, 2);
	assert_null(sent(&desk, desk.f.nameserver, MSG_batch));
	assert_true(job_next(&desk));
	assert_has(&desk, 1);
	assert_true(job_next(&desk));
	assert_has(&desk, 2);
	assert_true(job_next(&desk));
	assert_has(&desk, 2);
	send_batch(&desk, 4);
	assert_has(&desk, 2);
	assert_pulls(&desk, desk.f.nameserver, 2);
	end(&desk);
}

/* While one pull is under way no other begins, and what a BATCH brings meanwhile is not missed. */
static void test_batches_during_a_pull(void **state)
{
	struct pull_reply reply = { .state = PULL_BATCHES, .sequence = 3, .epoch = 1 };
	struct buffer batches = { 0 };
	struct desk desk;
	uint32_t id;

	(void)state;
	begin(&desk, 3);
	id = assert_pulls(&desk, desk.f.nameserver, 0);
	send_batch(&desk, 1);
	for (unsigned int i = 1; i <= 3; i++)
		buffer_append(&batches, rig_batch(&desk.rig, i).data, rig_batch(&desk.rig, i).size);
	reply.batches = (struct slice){ batches.data, batches.size };
	fixture_reply(&desk.f, desk.f.nameserver, MSG_pull, id, &reply);
	assert_int_equal(desk.count, 3);
	assert_int_equal(desk.bytes[2].size,
			 rig_batch(&desk.rig, 2).size + rig_batch(&desk.rig, 3).size);
	assert_true(job_next(&desk));
	assert_null(sent(&desk, desk.f.nameserver, MSG_pull));
	assert_true(job_next(&desk));
	answer_level(&desk, desk.f.nameserver, assert_pulls(&desk, desk.f.nameserver, 3));
	assert_non_null(fixture_note(&desk.f, NOTE_CATALOGUE_LEVEL));
	buffer_done(&batches);
	end(&desk);
}

/* One batch in two messages; and one that is longer than it said. */
static void test_a_batch_in_parts(void **state)
{
	struct pull_reply reply = { .state = PULL_BATCHES, .sequence = 1, .epoch = 1 };
	const struct message *message;
	struct slice batch;
	struct desk desk;

	(void)state;
	begin(&desk, 1);
	batch = rig_batch(&desk.rig, 1);
	reply.size = (uint32_t)batch.size;
	reply.batches = (struct slice){ batch.data, 40 };
	fixture_reply(&desk.f, desk.f.nameserver, MSG_pull,
		      assert_pulls(&desk, desk.f.nameserver, 0), &reply);
	message = sent(&desk, desk.f.nameserver, MSG_pull);
	assert_non_null(message);
	assert_int_equal(((const struct pull_request *)message->body)->offset, 40);
	reply.batches = (struct slice){ batch.data + 40, batch.size - 40 };
	fixture_reply(&desk.f, desk.f.nameserver, MSG_pull, message->id, &reply);
	assert_int_equal(desk.count, 2);
	assert_true(job_next(&desk));
	reply.size = 10;
	fixture_reply(&desk.f, desk.f.nameserver, MSG_pull,
		      assert_pulls(&desk, desk.f.nameserver, 1), &reply);
	assert_null(sent(&desk, desk.f.nameserver, MSG_pull));
	assert_int_equal(desk.count, 2);
	end(&desk);
}

static void test_silence_ends_a_pull(void **state)
{
	struct desk desk;
	uint32_t id;

	(void)state;
	begin(&desk, 1);
	id = assert_pulls(&desk, desk.f.nameserver, 0);
	fixture_tick(&desk.f, 4900);
	fixture_reply(&desk.f, desk.f.nameserver, MSG_heartbeat, 99,
		      &(struct heartbeat_reply){ 0 });
	fixture_tick(&desk.f, 200);
	assert_true(assert_pulls(&desk, desk.f.nameserver, 0) != id);
	answer_level(&desk, desk.f.nameserver, id); /* late: nothing comes of it */
	assert_null(sent(&desk, desk.f.nameserver, MSG_pull));
	end(&desk);
}

static void test_a_failed_disk(void **state)
{
	struct desk desk;
	const struct message *message;

	(void)state;
	begin(&desk, 2);
	answer_level(&desk, desk.f.nameserver, assert_pulls(&desk, desk.f.nameserver, 0));
	send_batch(&desk, 1);
	desk.error = -ERR_LOCAL_FULL;
	assert_true(job_next(&desk));
	assert_non_null(fixture_note(&desk.f, NOTE_CATALOGUE_FAILED));
	message = sent(&desk, desk.f.nameserver, MSG_batch);
	assert_non_null(message);
	assert_int_equal(message->status, ERR_IO);
	send_batch(&desk, 1);
	assert_int_equal(sent(&desk, desk.f.nameserver, MSG_batch)->status, ERR_IO);
	assert_int_equal(desk.count, 2);
	for (unsigned int i = 0; i < 60; i++) {
		fixture_tick(&desk.f, 1000);
		fixture_reply(&desk.f, desk.f.nameserver, MSG_heartbeat, 99,
			      &(struct heartbeat_reply){ 0 });
	}
	assert_int_equal(desk.jobs[desk.count - 1].kind, REPLICA_OPEN);
	end(&desk);
}

/* Only one that knows more may replace what is here. */
static void test_an_older_history_is_refused(void **state)
{
	struct desk desk;
	struct pull_reply reply = { .state = PULL_UNKNOWN, .sequence = 900, .epoch = 0 };

	(void)state;
	begin(&desk, 3);
	answer_level(&desk, desk.f.nameserver, assert_pulls(&desk, desk.f.nameserver, 0));
	send_batch(&desk, 1);
	assert_true(job_next(&desk));
	send_batch(&desk, 3);
	fixture_reply(&desk.f, desk.f.nameserver, MSG_pull,
		      assert_pulls(&desk, desk.f.nameserver, 1), &reply);
	assert_non_null(fixture_note(&desk.f, NOTE_CATALOGUE_REFUSED));
	assert_int_equal(desk.count, 2);
	reply.epoch = 2;
	send_batch(&desk, 3);
	fixture_reply(&desk.f, desk.f.nameserver, MSG_pull,
		      assert_pulls(&desk, desk.f.nameserver, 1), &reply);
	assert_non_null(fixture_note(&desk.f, NOTE_CATALOGUE_ANEW));
	assert_int_equal(desk.jobs[2].kind, REPLICA_BEGIN);
	end(&desk);
}

/* ---- a name server that is never quiet ---- */

enum { STILL_ROWS = 40, KEPT = 20 };

/* Rows that nothing changes, each on a page of its own; then those of the rig. */
struct busy {
	struct kv *still;
	unsigned int made; /* batches */
	unsigned int anew; /* so often it could not tell batch by batch */
	unsigned int pulls;
	/* The question that waits: */
	bool page, pull;
	uint32_t id;
	uint64_t sequence;
	struct buffer after;
};

static void busy_init(struct busy *busy)
{
	struct buffer batch = { 0 };
	struct batch_head head = { .epoch = 1, .sequence = 1 };
	struct digest hash;
	char key[8];

	*busy = (struct busy){ .made = 4 };
	assert_int_equal(kv_memory_new(&busy->still), 0);
	for (int i = 0; i < STILL_ROWS; i++) {
		key[0] = 'a';
		key[1] = (char)('0' + i / 10);
		key[2] = (char)('0' + i % 10);
		key[3] = '\0';
		assert_int_equal(kv_put(busy->still, slice_of(key), slice_of("x")), 0);
	}
	assert_true(batch_seal(busy->still, &head, &batch, &hash) > 0);
	buffer_done(&batch);
}

static void busy_done(struct busy *busy)
{
	buffer_done(&busy->after);
	kv_memory_free(busy->still);
}

/* What the last step has asked. */
static void note_question(struct desk *desk, struct busy *busy)
{
	const struct message *page = sent(desk, desk->f.nameserver, MSG_page);
	const struct message *pull = sent(desk, desk->f.nameserver, MSG_pull);

	if (!page && !pull)
		return;
	assert_false(busy->page || busy->pull || (page && pull));
	busy->page = page;
	busy->pull = pull;
	busy->id = page ? page->id : pull->id;
	buffer_clear(&busy->after);
	if (page) {
		const struct page_request *req = page->body;

		buffer_append(&busy->after, req->after.data, req->after.size);
	} else {
		busy->sequence = ((const struct pull_request *)pull->body)->sequence;
	}
}

/* The next page; a batch is made before each. */
static void give_page(struct desk *desk, struct busy *busy)
{
	const struct slice after = { busy->after.data, busy->after.size };
	struct journal_head *head = &desk->rig.heads[++busy->made];
	struct page_reply reply = {
		.sequence = head->sequence, .epoch = head->epoch, .hash = head->hash, .more = 1
	};
	struct buffer rows = { 0 };

	busy->page = false;
	if (page_read(busy->still, after, 1, &rows) < 1 && rows.size == 0) {
		reply.more = 0;
		rig_page(&desk->rig, busy->made, &rows);
	}
	reply.rows = (struct slice){ rows.data, rows.size };
	fixture_reply(&desk->f, desk->f.nameserver, MSG_page, busy->id, &reply);
	buffer_done(&rows);
}

/* False: the copy is level. */
static bool give_batches(struct desk *desk, struct busy *busy)
{
	struct pull_reply reply = { .sequence = busy->made, .epoch = 9, .state = PULL_BATCHES };
	struct buffer batches = { 0 };
	uint64_t has = busy->sequence;

	busy->pull = false;
	if (has == busy->made)
		reply.state = PULL_LEVEL;
	if (has == 0 || has + KEPT < busy->made)
		reply.state = PULL_UNKNOWN;
	busy->anew += reply.state == PULL_UNKNOWN;
	busy->pulls++;
	for (uint64_t i = has + 1; reply.state == PULL_BATCHES && i <= busy->made; i++) {
		struct slice batch = rig_batch(&desk->rig, (unsigned int)i);

		buffer_append(&batches, batch.data, batch.size);
	}
	reply.batches = (struct slice){ batches.data, batches.size };
	fixture_reply(&desk->f, desk->f.nameserver, MSG_pull, busy->id, &reply);
	buffer_done(&batches);
	return reply.state != PULL_LEVEL;
}

/* By the time of the last page nobody knows the batches any more that were made since the first. */
static void test_level_although_much_is_written(void **state)
{
	struct digest digest, wanted;
	struct buffer page = { 0 };
	struct desk desk;
	struct busy busy;
	bool goes_on = true;

	(void)state;
	begin(&desk, RIG_BATCHES_MAX - 1);
	busy_init(&busy);
	note_question(&desk, &busy);
	while (goes_on && busy.made < RIG_BATCHES_MAX - 2) {
		assert_true(busy.page || busy.pull);
		if (busy.page)
			give_page(&desk, &busy);
		else
			goes_on = give_batches(&desk, &busy);
		note_question(&desk, &busy);
		while (job_next(&desk))
			note_question(&desk, &busy);
	}
	assert_false(goes_on);
	assert_int_equal(busy.anew, 1);
	assert_in_range(busy.pulls, 4, 10);
	rig_page(&desk.rig, busy.made, &page);
	assert_int_equal(kv_memory_apply(busy.still, (struct slice){ page.data, page.size }), 0);
	assert_int_equal(rows_digest(busy.still, &wanted), 0);
	assert_int_equal(replica_settle(desk.replica), 0);
	assert_int_equal(rows_digest(desk.rows.kv, &digest), 0);
	assert_memory_equal(digest.bytes, wanted.bytes, DIGEST_SIZE);
	buffer_done(&page);
	busy_done(&busy);
	end(&desk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers_when_durable),
		cmocka_unit_test(test_batches_during_a_pull),
		cmocka_unit_test(test_a_batch_in_parts),
		cmocka_unit_test(test_silence_ends_a_pull),
		cmocka_unit_test(test_a_failed_disk),
		cmocka_unit_test(test_an_older_history_is_refused),
		cmocka_unit_test(test_level_although_much_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

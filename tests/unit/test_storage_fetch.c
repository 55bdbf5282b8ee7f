/* FETCH: where the bytes come from, how it ends, who hears what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "endpoint.h"
#include "error.h"
#include "hash.h"
#include "storage_fixture.h"

enum { LARGE = 2 * 1024 * 1024, AT_ONCE = 8 };

static void begin(struct fixture *f)
{
	fixture_init(f);
	fixture_start(f);
	fixture_register(f);
}

static struct digest digest_of_fill(uint32_t length, uint8_t fill)
{
	uint8_t *bytes = test_malloc(length);
	struct digest digest;

	memset(bytes, fill, length);
	digest = digest_of(bytes, length);
	test_free(bytes);
	return digest;
}

/* The source is the server with the id `from`; the request has the chunk's number. */
static void order(struct fixture *f, uint64_t chunk, uint32_t length, uint8_t from)
{
	struct endpoint endpoint = endpoint_ipv4(0x0a000003, 3503);
	struct fetch_request req = { .epoch = 5, .endpoints = &endpoint, .endpoints_count = 1 };

	req.chunk = (struct chunk_sum){ chunk, length, digest_of_fill(length, 'x') };
	req.ticket = (struct ticket){ .operation = TICKET_READ,
				      .chunk = chunk,
				      .length = length,
				      .epoch = 5,
				      .expiry = 60,
				      .holder = fixture_id(from),
				      .client = fixture_id(1) };
	fixture_request(f, f->nameserver, MSG_fetch, (uint32_t)chunk, &req);
}

static uint64_t greet(struct fixture *f, uint8_t from)
{
	struct id self = fixture_id(from);

	return fixture_accept(f, ROLE_STORAGE, &self);
}

/* The id of the READ that goes to the source. */
static uint32_t read_asked(struct fixture *f, uint64_t source)
{
	const struct message *message = fixture_sent(f, source, 0);

	assert_non_null(message);
	assert_int_equal(message->info->code, MSG_read);
	return message->id;
}

static void refuse(struct fixture *f, uint64_t source, uint32_t id, uint8_t status)
{
	fixture_frame(f, source,
		      &(struct message){ .info = message_info(MSG_read),
					 .reply = true,
					 .status = status,
					 .id = id });
}

static const struct message *answer(struct fixture *f, uint64_t chunk)
{
	const struct message *message;

	for (unsigned int n = 0; (message = fixture_sent(f, f->nameserver, n)); n++) {
		if (message->info->code == MSG_fetch && message->id == chunk)
			return message;
	}
	return NULL;
}

static void expect_status(struct fixture *f, uint64_t chunk, int status)
{
	assert_non_null(answer(f, chunk));
	assert_int_equal(answer(f, chunk)->status, status);
}

static void expect_receipt(struct fixture *f, uint64_t chunk, uint32_t length)
{
	const struct fetch_reply *reply;

	expect_status(f, chunk, 0);
	reply = answer(f, chunk)->body;
	assert_int_equal(reply->receipt.chunk, chunk);
	assert_int_equal(reply->receipt.length, length);
	assert_true(receipt_verify(f->signer, &reply->receipt));
}

static uint32_t last_transfer(const struct fixture *f)
{
	return f->writes[f->write_count - 1].transfer;
}

static void expect_idle(struct fixture *f)
{
	struct storage_state state;

	storage_state(f->core, &state);
	assert_int_equal(state.transfers, 0);
}

static void test_short(void **state)
{
	struct fixture f;
	uint64_t source;
	uint32_t id;

	(void)state;
	begin(&f);
	order(&f, 7, 100, 2);
	assert_int_equal(f.write_count, 1);
	source = greet(&f, 2);
	id = read_asked(&f, source);
	fixture_payload(&f, source, id, 100, 'x');
	assert_null(answer(&f, 7)); /* not before it is durable */
	/* The connection is free again meanwhile. */
	order(&f, 8, 100, 2);
	assert_null(fixture_find(&f, ACT_DIAL));
	id = read_asked(&f, source);
	fixture_stored(&f, f.writes[0].transfer, 0);
	expect_receipt(&f, 7, 100);
	assert_non_null(fixture_note(&f, NOTE_FETCHED));
	fixture_payload(&f, source, id, 100, 'x');
	fixture_stored(&f, last_transfer(&f), 0);
	expect_receipt(&f, 8, 100);
	/* It is here now. */
	order(&f, 8, 100, 2);
	expect_receipt(&f, 8, 100);
	expect_idle(&f);
	fixture_done(&f);
}

static const struct storage_action *start_long(struct fixture *f, uint64_t chunk,
					       uint64_t *ret_source)
{
	const struct storage_action *receive;

	order(f, chunk, LARGE, 2);
	*ret_source = greet(f, 2);
	(void)read_asked(f, *ret_source);
	receive = fixture_find(f, ACT_RECEIVE);
	assert_non_null(receive);
	assert_int_equal(receive->connection, *ret_source);
	assert_int_equal(receive->length, LARGE);
	assert_int_not_equal(receive->timeout_ms, 0);
	return receive;
}

static void received(struct fixture *f, uint32_t transfer, int error, uint8_t status)
{
	fixture_step(f, (struct storage_event){ .kind = STORAGE_RECEIVED,
						.transfer = transfer,
						.error = error,
						.status = status });
}

static void test_long(void **state)
{
	static const struct {
		int error;
		uint8_t status;
		int answer;
	} ends[] = {
		{ -ERR_CORRUPT, 0, ERR_CORRUPT },
		{ -ERR_TIMEOUT, 0, ERR_UNAVAILABLE },
		{ -ERR_CONNECTION, 0, ERR_UNAVAILABLE },
		{ -ERR_BAD_REQUEST, 0, ERR_UNAVAILABLE },
		{ -ERR_NO_SPACE, 0, ERR_NO_SPACE },
		{ -ERR_IO, 0, ERR_IO },
		{ -ERR_UNAVAILABLE, ERR_IO, ERR_CORRUPT },
		{ -ERR_UNAVAILABLE, ERR_NOT_FOUND, ERR_NOT_FOUND },
		{ -ERR_UNAVAILABLE, ERR_DENIED, ERR_UNAVAILABLE },
	};
	struct fixture f;
	uint64_t source;
	uint32_t transfer;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		begin(&f);
		transfer = start_long(&f, 7, &source)->transfer;
		fixture_tick(&f, 5000); /* the worker looks at the clock */
		assert_null(answer(&f, 7));
		received(&f, transfer, ends[i].error, ends[i].status);
		expect_status(&f, 7, ends[i].answer);
		assert_non_null(fixture_note(&f, NOTE_NOT_FETCHED));
		assert_int_equal(f.aborted, 1);
		expect_idle(&f);
		fixture_done(&f);
	}
	begin(&f);
	transfer = start_long(&f, 7, &source)->transfer;
	received(&f, transfer, 0, 0);
	assert_null(answer(&f, 7));
	f.writes[0].meta.length = LARGE;
	fixture_stored(&f, transfer, 0);
	expect_receipt(&f, 7, LARGE);
	fixture_done(&f);
}

static void test_not_the_chunk(void **state)
{
	struct fixture f;
	uint64_t source;

	(void)state;
	begin(&f);
	order(&f, 7, 100, 2);
	source = greet(&f, 2);
	fixture_payload(&f, source, read_asked(&f, source), 100, 'y');
	expect_status(&f, 7, ERR_CORRUPT);
	assert_int_equal(f.aborted, 1);
	expect_idle(&f);
	/* Nothing is wrong with the connection. */
	order(&f, 7, 100, 2);
	refuse(&f, source, read_asked(&f, source), ERR_RANGE);
	expect_status(&f, 7, ERR_CORRUPT);
	order(&f, 7, 100, 2);
	(void)read_asked(&f, source);
	fixture_done(&f);
}

static void test_no_source(void **state)
{
	struct fixture f;
	uint64_t dialled;

	(void)state;
	begin(&f);
	order(&f, 7, 100, 2);
	dialled = fixture_find(&f, ACT_DIAL)->connection;
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_DIALLED,
						 .connection = dialled,
						 .error = -ERR_CONNECTION });
	expect_status(&f, 7, ERR_UNAVAILABLE);
	/* It is known to be down for a moment. */
	order(&f, 7, 100, 2);
	expect_status(&f, 7, ERR_UNAVAILABLE);
	assert_null(fixture_find(&f, ACT_DIAL));
	assert_int_equal(f.aborted, 2);
	expect_idle(&f);
	fixture_done(&f);
}

/* Neither a dial nor a READ is waited for longer than two seconds. */
static void test_silence(void **state)
{
	struct fixture f;

	(void)state;
	for (int greeted = 0; greeted < 2; greeted++) {
		begin(&f);
		order(&f, 7, 100, 2);
		if (greeted)
			(void)greet(&f, 2);
		fixture_tick(&f, 1900);
		assert_null(answer(&f, 7));
		fixture_tick(&f, 100);
		expect_status(&f, 7, ERR_UNAVAILABLE);
		assert_non_null(fixture_find(&f, ACT_CLOSE));
		expect_idle(&f);
		fixture_done(&f);
	}
}

static void test_bounded(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	for (uint8_t i = 0; i < AT_ONCE; i++) {
		order(&f, 100u + i, 100, (uint8_t)(2 + i));
		assert_non_null(fixture_find(&f, ACT_DIAL));
	}
	order(&f, 99, 100, 50);
	expect_status(&f, 99, ERR_BUSY);
	order(&f, 100, 100, 50); /* it is on its way */
	expect_status(&f, 100, ERR_BUSY);
	fixture_tick(&f, 2000);
	for (uint8_t i = 0; i < AT_ONCE; i++)
		expect_status(&f, 100u + i, ERR_UNAVAILABLE);
	order(&f, 99, 100, 50);
	assert_non_null(fixture_find(&f, ACT_DIAL));
	f.free_bytes = 10;
	order(&f, 98, 100, 51);
	expect_status(&f, 98, ERR_NO_SPACE);
	fixture_done(&f);
}

static void have(struct fixture *f, uint64_t chunk, uint32_t length, uint8_t fill)
{
	f->chunks[f->chunk_count++] = (struct fake_chunk){ .chunk = chunk,
							   .length = length,
							   .digest = digest_of_fill(length, fill) };
}

static void delete_it(struct fixture *f, uint64_t chunk)
{
	struct chunk_id id = { .chunk = chunk };
	struct delete_request req = { .epoch = 5, .chunks = &id, .chunks_count = 1 };

	fixture_request(f, f->nameserver, MSG_delete, 900, &req);
}

static void test_deleted(void **state)
{
	struct fixture f;
	uint64_t source;
	uint32_t transfer;

	(void)state;
	begin(&f);
	/* While it is dialled; with it goes what it was to replace. */
	have(&f, 7, 100, 'z');
	order(&f, 7, 100, 2);
	delete_it(&f, 7);
	expect_status(&f, 7, ERR_EXPIRED);
	assert_int_equal(f.chunk_count, 0);
	/* While a worker has it: it must let go first. */
	transfer = start_long(&f, 8, &source)->transfer;
	delete_it(&f, 8);
	assert_null(answer(&f, 8));
	assert_int_equal(fixture_find(&f, ACT_CLOSE)->connection, source);
	received(&f, transfer, -ERR_CONNECTION, 0);
	expect_status(&f, 8, ERR_EXPIRED);
	/* While it is made durable. */
	order(&f, 9, 100, 2);
	source = greet(&f, 2);
	fixture_payload(&f, source, read_asked(&f, source), 100, 'x');
	delete_it(&f, 9);
	fixture_stored(&f, last_transfer(&f), 0);
	expect_status(&f, 9, ERR_EXPIRED);
	assert_int_equal(f.chunk_count, 0);
	expect_idle(&f);
	fixture_done(&f);
}

static void lose_nameserver(struct fixture *f)
{
	fixture_step(f, (struct storage_event){ .kind = STORAGE_CLOSED,
						.connection = f->nameserver,
						.error = -ERR_CONNECTION });
}

static void test_nobody_waits_any_more(void **state)
{
	const struct message *message;
	struct fixture f;
	uint64_t source;

	(void)state;
	begin(&f);
	order(&f, 7, 100, 2);
	source = greet(&f, 2);
	fixture_payload(&f, source, read_asked(&f, source), 100, 'x');
	order(&f, 8, 100, 2);
	(void)read_asked(&f, source);
	lose_nameserver(&f);
	/* What was still to come is given up; what has come is kept, and reported. */
	assert_int_equal(fixture_find(&f, ACT_CLOSE)->connection, source);
	assert_int_equal(f.aborted, 1);
	fixture_tick(&f, 5000);
	fixture_register(&f);
	fixture_stored(&f, f.writes[0].transfer, 0);
	fixture_tick(&f, 100);
	/* After the heartbeat that follows a registration at once. */
	message = fixture_sent(&f, f.nameserver, 1);
	assert_non_null(message);
	assert_int_equal(message->info->code, MSG_stored);
	expect_idle(&f);
	fixture_done(&f);
}

/* Who writes the chunk while it is fetched wins, a server in a chain, too. */
static void test_a_writer_wins(void **state)
{
	struct write_request write = { .length = 100 };
	struct id server = fixture_id(9);
	struct fixture f;
	uint64_t writer;

	(void)state;
	begin(&f);
	writer = fixture_client(&f, ROLE_STORAGE, &server);
	order(&f, 7, 100, 2);
	write.ticket = fixture_ticket(&f, 7, TICKET_WRITE, 100);
	fixture_request(&f, writer, MSG_write, 1, &write);
	expect_status(&f, 7, ERR_BUSY);
	fixture_payload(&f, writer, 1, 100, 'x');
	fixture_stored(&f, last_transfer(&f), 0);
	assert_int_equal(fixture_sent(&f, writer, 0)->status, 0);
	expect_idle(&f);
	fixture_done(&f);
}

/* A copy that is not what the order says goes when the right bytes are here, and not before. */
static void test_another_copy_is_here(void **state)
{
	static const uint32_t lengths[] = { 100, 90 };
	struct fixture f;
	uint64_t source;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		begin(&f);
		have(&f, 7, lengths[i], 'z');
		order(&f, 7, 100, 2);
		assert_null(answer(&f, 7));
		source = greet(&f, 2);
		fixture_payload(&f, source, read_asked(&f, source), 100, 'y');
		expect_status(&f, 7, ERR_CORRUPT);
		assert_int_equal(f.chunk_count, 1);
		assert_null(fixture_note(&f, NOTE_CORRUPT));
		order(&f, 7, 100, 2);
		fixture_payload(&f, source, read_asked(&f, source), 100, 'x');
		assert_int_equal(f.chunk_count, 0);
		fixture_stored(&f, last_transfer(&f), 0);
		expect_receipt(&f, 7, 100);
		assert_int_equal(f.chunk_count, 1);
		fixture_done(&f);
	}
}

/* That we let go of a source says nothing about it: it still serves as the next hop. */
static void test_the_source_is_not_to_blame(void **state)
{
	struct endpoint endpoint = endpoint_ipv4(0x0a000003, 3503);
	struct hop hop = { .endpoints = &endpoint, .endpoints_count = 1 };
	struct write_request write = { .length = 100, .hops = &hop, .hops_count = 1 };
	struct fixture f;
	uint64_t writer;

	(void)state;
	begin(&f);
	writer = fixture_client(&f, ROLE_CLIENT, &f.client);
	order(&f, 7, 100, 2);
	write.ticket = fixture_ticket(&f, 7, TICKET_WRITE, 100);
	hop.ticket = write.ticket;
	hop.ticket.holder = fixture_id(2);
	fixture_request(&f, writer, MSG_write, 1, &write);
	expect_status(&f, 7, ERR_BUSY);
	assert_null(fixture_note(&f, NOTE_HOP_DOWN));
	assert_non_null(fixture_find(&f, ACT_DIAL));
	fixture_done(&f);
}

/* REGISTER counted the chunks before this one was durable: it is sent again. */
static void test_stored_while_registering(void **state)
{
	struct id self = fixture_id(0xee);
	struct endpoint endpoint = endpoint_ipv4(0x0a000002, 6235);
	struct register_reply reply = { .epoch = 5, .heartbeat_ms = 2000 };
	struct fixture f;
	uint64_t source;
	uint32_t id;

	(void)state;
	begin(&f);
	reply.key = f.key;
	order(&f, 7, 100, 2);
	source = greet(&f, 2);
	fixture_payload(&f, source, read_asked(&f, source), 100, 'x');
	lose_nameserver(&f);
	fixture_tick(&f, 5000);
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_RESOLVED,
						 .endpoints = &endpoint,
						 .endpoint_count = 1 });
	f.nameserver = fixture_accept(&f, ROLE_NAMESERVER, &self);
	id = fixture_sent(&f, f.nameserver, 0)->id;
	fixture_stored(&f, last_transfer(&f), 0);
	fixture_reply(&f, f.nameserver, MSG_register, id, &reply);
	fixture_tick(&f, 2000);
	assert_non_null(fixture_sent(&f, f.nameserver, 0));
	assert_int_equal(fixture_sent(&f, f.nameserver, 0)->info->code, MSG_register);
	fixture_done(&f);
}

static void write_back(struct fixture *f, uint64_t source, uint64_t chunk)
{
	struct write_request write = { .length = 100 };

	write.ticket = fixture_ticket(f, chunk, TICKET_WRITE, 100);
	fixture_request(f, source, MSG_write, 1, &write);
}

enum oddity {
	TWO_ANSWERS,
	MORE_DATA,
	OTHER_PLACE,
	TOO_MUCH,
	OTHER_ID,
	REPLY_OK,
	WRITE_BACK,
	ODDITIES
};

/* What no source has reason to send costs it the connection, and nobody a copy. */
static void misbehave(struct fixture *f, uint64_t source, uint32_t id, enum oddity oddity)
{
	static const uint8_t payload[200];
	struct data_head head = { .id = id, .flags = FRAME_LAST, .length = 100 };

	switch (oddity) {
	case TWO_ANSWERS:
		refuse(f, source, id, ERR_BUSY);
		expect_status(f, 7, ERR_UNAVAILABLE);
		refuse(f, source, id, ERR_BUSY);
		return;
	case MORE_DATA:
		refuse(f, source, id, ERR_BUSY);
		expect_status(f, 7, ERR_UNAVAILABLE);
		break;
	case OTHER_PLACE: head.offset = BLOCK_SIZE; break;
	case TOO_MUCH: head.length = 200; break;
	case OTHER_ID: head.id++; break;
	case REPLY_OK: refuse(f, source, id, 0); return;
	case WRITE_BACK: write_back(f, source, 9); return;
	case ODDITIES: break;
	}
	fixture_data(f, source, &head, payload);
}

static void test_odd_sources(void **state)
{
	struct fixture f;
	uint64_t source;

	(void)state;
	for (enum oddity oddity = 0; oddity < ODDITIES; oddity++) {
		begin(&f);
		order(&f, 7, 100, 2);
		source = greet(&f, 2);
		misbehave(&f, source, read_asked(&f, source), oddity);
		assert_non_null(fixture_find(&f, ACT_CLOSE));
		assert_int_equal(fixture_find(&f, ACT_CLOSE)->connection, source);
		if (oddity != TWO_ANSWERS && oddity != MORE_DATA)
			expect_status(&f, 7, ERR_UNAVAILABLE);
		assert_int_equal(f.aborted, 1);
		expect_idle(&f);
		fixture_done(&f);
	}
}

/* A connection on which the other side writes to us is not one to read from. */
static void test_the_source_writes_to_us(void **state)
{
	struct fixture f;
	uint64_t source;

	(void)state;
	begin(&f);
	order(&f, 7, 100, 2);
	source = greet(&f, 2);
	fixture_payload(&f, source, read_asked(&f, source), 100, 'x');
	write_back(&f, source, 9);
	order(&f, 8, 100, 2);
	assert_null(fixture_sent(&f, source, 0));
	assert_non_null(fixture_find(&f, ACT_DIAL));
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_not_the_chunk),
		cmocka_unit_test(test_no_source),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_bounded),
		cmocka_unit_test(test_deleted),
		cmocka_unit_test(test_nobody_waits_any_more),
		cmocka_unit_test(test_a_writer_wins),
		cmocka_unit_test(test_another_copy_is_here),
		cmocka_unit_test(test_the_source_is_not_to_blame),
		cmocka_unit_test(test_stored_while_registering),
		cmocka_unit_test(test_odd_sources),
		cmocka_unit_test(test_the_source_writes_to_us),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

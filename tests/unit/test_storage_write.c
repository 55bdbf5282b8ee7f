/* WRITE, chains, receipts, reads: the storage server's core with a store in memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "endpoint.h"
#include "error.h"
#include "hash.h"
#include "storage_fixture.h"

static void begin(struct fixture *f)
{
	fixture_init(f);
	fixture_start(f);
	fixture_register(f);
}

static void fill_hops(struct fixture *f, struct hop *hops, unsigned int count, uint64_t chunk)
{
	static struct endpoint endpoint;

	endpoint = endpoint_ipv4(0x0a000003, 3503);
	for (unsigned int i = 0; i < count; i++) {
		hops[i].ticket = fixture_ticket(f, chunk, TICKET_WRITE, 1 << 24);
		hops[i].ticket.holder = fixture_id((uint8_t)(2 + i));
		hops[i].endpoints = &endpoint;
		hops[i].endpoints_count = 1;
	}
}

static void write_chunk(struct fixture *f, uint64_t connection, uint64_t chunk, uint32_t length,
			unsigned int hop_count)
{
	struct hop hops[COPIES_MAX] = { 0 };
	struct write_request req = { .length = length,
				     .hops = hops,
				     .hops_count = (uint16_t)hop_count };

	req.ticket = fixture_ticket(f, chunk, TICKET_WRITE, 1 << 24);
	fill_hops(f, hops, hop_count, chunk);
	fixture_request(f, connection, MSG_write, (uint32_t)chunk, &req);
}

static uint32_t last_transfer(const struct fixture *f)
{
	assert_true(f->write_count > 0);
	assert_int_not_equal(f->writes[f->write_count - 1].transfer, 0);
	return f->writes[f->write_count - 1].transfer;
}

static const struct write_reply *write_reply(struct fixture *f, uint64_t connection, unsigned int n,
					     uint8_t flags)
{
	const struct message *message = fixture_sent(f, connection, n);

	assert_non_null(message);
	assert_int_equal(message->info->code, MSG_write);
	assert_int_equal(message->status, 0);
	assert_int_equal(message->flags, flags);
	return message->body;
}

static void test_one_copy(void **state)
{
	const struct write_reply *reply;
	struct fixture f;
	uint64_t client;

	(void)state;
	begin(&f);
	client = fixture_client(&f, ROLE_CLIENT, &f.client);
	write_chunk(&f, client, 7, 5000, 0);
	assert_int_equal(f.outbox.count, 0);
	fixture_payload(&f, client, 7, 5000, 'x');
	assert_null(fixture_sent(&f, client, 0)); /* not before it is durable */
	fixture_stored(&f, last_transfer(&f), 0);
	reply = write_reply(&f, client, 0, 0);
	assert_int_equal(reply->receipts_count, 1);
	assert_true(receipt_verify(f.signer, &reply->receipts[0]));
	assert_int_equal(reply->receipts[0].length, 5000);
	/* Again: the receipt at once. */
	write_chunk(&f, client, 7, 5000, 0);
	assert_int_equal(write_reply(&f, client, 0, 0)->receipts_count, 1);
	fixture_payload(&f, client, 7, 5000, 'x');
	assert_int_equal(f.outbox.count, 0);
	write_chunk(&f, client, 7, 4999, 0);
	assert_int_equal(fixture_sent(&f, client, 0)->status, ERR_EXISTS);
	fixture_done(&f);
}

static void test_bad_data(void **state)
{
	struct data_head head = { .id = 8, .flags = FRAME_LAST, .length = 3 };
	struct fixture f;
	uint64_t client;

	(void)state;
	begin(&f);
	client = fixture_client(&f, ROLE_CLIENT, &f.client);
	write_chunk(&f, client, 7, 5, 0);
	fixture_data(&f, client, &head, (const uint8_t *)"abc");
	assert_int_equal(fixture_sent(&f, client, 0)->status, ERR_BAD_REQUEST);
	assert_int_equal(fixture_find(&f, ACT_CLOSE)->connection, client);
	assert_int_equal(f.aborted, 1);

	client = fixture_client(&f, ROLE_CLIENT, &f.client);
	write_chunk(&f, client, 8, 5, 0);
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_CLOSED, .connection = client });
	assert_int_equal(f.aborted, 2);

	client = fixture_client(&f, ROLE_CLIENT, &f.client);
	f.free_bytes = 4;
	write_chunk(&f, client, 9, 5, 0);
	assert_int_equal(fixture_sent(&f, client, 0)->status, ERR_NO_SPACE);
	fixture_payload(&f, client, 9, 5, 'x'); /* swallowed */
	assert_int_equal(f.outbox.count, 0);
	fixture_done(&f);
}

/* The client has given server 2 up, which only slept, and sends by itself. */
static void test_the_newer_sender_wins(void **state)
{
	struct id id = fixture_id(2);
	struct fixture f;
	uint64_t client, server;

	(void)state;
	begin(&f);
	client = fixture_client(&f, ROLE_CLIENT, &f.client);
	server = fixture_client(&f, ROLE_STORAGE, &id);
	write_chunk(&f, server, 7, 5000, 0);
	write_chunk(&f, client, 7, 5000, 0);
	assert_int_equal(fixture_find(&f, ACT_CLOSE)->connection, server);
	assert_int_equal(f.aborted, 1);
	server = fixture_client(&f, ROLE_STORAGE, &id);
	write_chunk(&f, server, 7, 5000, 0);
	assert_null(fixture_find(&f, ACT_CLOSE));
	assert_int_equal(fixture_sent(&f, server, 0)->status, ERR_BUSY);
	fixture_payload(&f, client, 7, 5000, 'x');
	fixture_stored(&f, last_transfer(&f), 0);
	assert_int_equal(write_reply(&f, client, 0, 0)->receipts_count, 1);
	fixture_done(&f);
}

/* The chain client → us → 2 → 3, with the hop's replies by hand. */
struct chain {
	struct fixture f;
	uint64_t client, hop;
	uint32_t number; /* of the WRITE on the hop's connection */
};

static void chain_begin(struct chain *chain, uint32_t length)
{
	struct fixture *f = &chain->f;
	struct id hop = fixture_id(2);
	const struct message *onward;

	begin(f);
	chain->client = fixture_client(f, ROLE_CLIENT, &f->client);
	write_chunk(f, chain->client, 7, length, 2);
	chain->hop = fixture_find(f, ACT_DIAL)->connection;
	chain->hop = fixture_accept(f, ROLE_STORAGE, &hop);
	fixture_payload(f, chain->client, 7, length, 'x');
	onward = fixture_sent(f, chain->hop, 0);
	assert_int_equal(onward->info->code, MSG_write);
	assert_int_equal(((const struct write_request *)onward->body)->hops_count, 1);
	assert_int_equal(fixture_sent(f, chain->hop, 1)->info->code, MSG_data);
	assert_int_equal(fixture_sent(f, chain->hop, 1)->id, onward->id);
	chain->number = onward->id;
}

static void hop_says(struct chain *chain, uint8_t node, uint8_t flags)
{
	struct receipt receipt = { .chunk = 7, .length = 5000, .epoch = 5 };
	struct write_reply reply = { .receipts = &receipt, .receipts_count = node ? 1 : 0 };

	receipt.holder = fixture_id(node);
	fixture_frame(&chain->f, chain->hop,
		      &(struct message){ .info = message_info(MSG_write),
					 .reply = true,
					 .flags = flags,
					 .id = chain->number,
					 .body = &reply });
}

static void test_chain_passes_receipts_back(void **state)
{
	struct chain chain;
	struct fixture *f = &chain.f;

	(void)state;
	chain_begin(&chain, 5000);
	hop_says(&chain, 2, FRAME_MORE);
	assert_int_equal(write_reply(f, chain.client, 0, FRAME_MORE)->receipts_count, 1);
	fixture_stored(f, last_transfer(f), 0);
	assert_int_equal(write_reply(f, chain.client, 0, FRAME_MORE)->receipts_count, 1);
	hop_says(&chain, 3, 0);
	assert_int_equal(write_reply(f, chain.client, 0, 0)->failed, 0);
	/* The next chunk goes over the same connection. */
	write_chunk(f, chain.client, 8, 100, 2);
	assert_null(fixture_find(f, ACT_DIAL));
	fixture_done(f);
}

static void test_own_copy_fails(void **state)
{
	struct chain chain;
	struct fixture *f = &chain.f;

	(void)state;
	chain_begin(&chain, 5000);
	fixture_stored(f, last_transfer(f), -ERR_IO);
	assert_null(fixture_sent(f, chain.client, 0));
	hop_says(&chain, 3, 0);
	assert_int_equal(write_reply(f, chain.client, 0, FRAME_MORE)->receipts_count, 1);
	assert_int_equal(fixture_sent(f, chain.client, 1)->status, ERR_IO);
	fixture_done(f);
}

static void test_slow_hop_and_late_receipts(void **state)
{
	const struct write_reply *reply;
	const struct stored_request *late;
	struct id second = fixture_id(2);
	struct chain chain;
	struct fixture *f = &chain.f;

	(void)state;
	chain_begin(&chain, 5000);
	fixture_stored(f, last_transfer(f), 0);
	fixture_tick(f, 500);
	assert_null(fixture_sent(f, chain.client, 0));
	fixture_tick(f, 500);
	reply = write_reply(f, chain.client, 0, 0);
	assert_int_equal(reply->failed, 2);
	assert_true(id_equal(&reply->dead, &second));
	assert_non_null(fixture_note(f, NOTE_SLOW_HOP));
	/* The next one does not wait for it again. */
	write_chunk(f, chain.client, 9, 10, 1);
	fixture_payload(f, chain.client, 9, 10, 'y');
	fixture_stored(f, last_transfer(f), 0);
	assert_int_equal(write_reply(f, chain.client, 0, 0)->failed, 1);
	/* What it did after all is reported. */
	hop_says(&chain, 2, FRAME_MORE);
	hop_says(&chain, 3, 0);
	fixture_tick(f, 100);
	assert_int_equal(fixture_sent(f, f->nameserver, 0)->info->code, MSG_stored);
	late = fixture_sent(f, f->nameserver, 0)->body;
	assert_int_equal(late->receipts_count, 2);
	fixture_done(f);
}

static void test_own_disk_is_slow(void **state)
{
	const struct stored_request *late;
	struct chain chain;
	struct fixture *f = &chain.f;
	uint32_t transfer;

	(void)state;
	chain_begin(&chain, 5000);
	transfer = last_transfer(f);
	hop_says(&chain, 3, 0);
	fixture_tick(f, 1000);
	assert_int_equal(fixture_sent(f, chain.client, 0)->status, ERR_UNAVAILABLE);
	fixture_stored(f, transfer, 0);
	fixture_tick(f, 100);
	late = fixture_sent(f, f->nameserver, 0)->body;
	assert_true(id_equal(&late->receipts[0].holder, &f->config.self));
	fixture_done(f);
}

static void test_hop_breaks_off(void **state)
{
	struct id second = fixture_id(2);
	const struct write_reply *reply;
	struct chain chain;
	struct fixture *f = &chain.f;

	(void)state;
	chain_begin(&chain, 5000);
	fixture_stored(f, last_transfer(f), 0);
	fixture_step(f, (struct storage_event){ .kind = STORAGE_CLOSED,
						.connection = chain.hop,
						.error = -ERR_CONNECTION });
	reply = write_reply(f, chain.client, 0, 0);
	assert_int_equal(reply->failed, 2);
	assert_true(id_equal(&reply->dead, &second));
	fixture_done(f);
}

static void test_hop_cannot_be_reached(void **state)
{
	struct fixture f;
	uint64_t client, hop;

	(void)state;
	begin(&f);
	client = fixture_client(&f, ROLE_CLIENT, &f.client);
	write_chunk(&f, client, 7, 10, 1);
	hop = fixture_find(&f, ACT_DIAL)->connection;
	fixture_payload(&f, client, 7, 10, 'x');
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_DIALLED,
						 .connection = hop,
						 .error = -ERR_CONNECTION });
	assert_null(fixture_sent(&f, client, 0));
	fixture_stored(&f, last_transfer(&f), 0);
	assert_int_equal(write_reply(&f, client, 0, 0)->failed, 1);
	fixture_done(&f);
}

static void test_long_transfers_are_the_glues(void **state)
{
	struct id hop_id = fixture_id(2);
	const struct storage_action *action;
	struct fixture f;
	uint64_t client, hop;
	uint32_t number;

	(void)state;
	begin(&f);
	client = fixture_client(&f, ROLE_CLIENT, &f.client);
	write_chunk(&f, client, 7, 2 << 20, 1);
	action = fixture_find(&f, ACT_RECEIVE);
	assert_int_equal(action->connection, client);
	number = action->transfer;
	hop = fixture_accept(&f, ROLE_STORAGE, &hop_id);
	action = fixture_find(&f, ACT_FORWARD);
	assert_int_equal(action->transfer, number);
	assert_int_equal(action->connection, hop);
	/* Another needs a connection of its own. */
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_RECEIVED, .transfer = number });
	assert_int_equal(last_transfer(&f), number);
	write_chunk(&f, client, 8, 2 << 20, 1);
	assert_non_null(fixture_find(&f, ACT_DIAL));
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_RECEIVED,
						 .transfer = number + 1,
						 .error = -ERR_CORRUPT });
	assert_int_equal(fixture_sent(&f, client, 0)->status, ERR_CORRUPT);
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_FORWARDED, .transfer = number });
	/* Bytes that move count against the second. */
	fixture_stored(&f, number, 0);
	assert_int_equal(write_reply(&f, client, 0, FRAME_MORE)->receipts_count, 1);
	fixture_tick(&f, 900);
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_PROGRESS, .transfer = number });
	fixture_tick(&f, 900);
	assert_null(fixture_sent(&f, client, 0));
	fixture_tick(&f, 100);
	assert_int_equal(write_reply(&f, client, 0, 0)->failed, 1);
	fixture_done(&f);
}

/* The glue has told the hop already; a word more could fall into another transfer's stream. */
static void test_a_long_transfer_is_aborted_once(void **state)
{
	struct id hop_id = fixture_id(2);
	struct fixture f;
	uint64_t client, hop;
	uint32_t number;

	(void)state;
	begin(&f);
	client = fixture_client(&f, ROLE_CLIENT, &f.client);
	write_chunk(&f, client, 7, 2 << 20, 1);
	number = fixture_find(&f, ACT_RECEIVE)->transfer;
	hop = fixture_accept(&f, ROLE_STORAGE, &hop_id);
	assert_non_null(fixture_find(&f, ACT_FORWARD));
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_FORWARDED, .transfer = number });
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_RECEIVED,
						 .transfer = number,
						 .error = -ERR_CORRUPT });
	assert_null(fixture_sent(&f, hop, 0));
	fixture_done(&f);
}

/* It is no reason to refuse a good one. */
static void test_a_damaged_copy_is_replaced(void **state)
{
	struct fixture f;
	uint64_t client;

	(void)state;
	begin(&f);
	f.chunks[f.chunk_count++] =
		(struct fake_chunk){ .chunk = 7, .length = 5000, .damaged = true };
	client = fixture_client(&f, ROLE_CLIENT, &f.client);
	write_chunk(&f, client, 7, 5000, 0);
	assert_int_equal(fixture_sent(&f, f.nameserver, 0)->info->code, MSG_corrupt);
	fixture_payload(&f, client, 7, 5000, 'x');
	fixture_stored(&f, last_transfer(&f), 0);
	assert_int_equal(write_reply(&f, client, 0, 0)->receipts_count, 1);
	fixture_done(&f);
}

static void test_too_much_at_once(void **state)
{
	struct fixture f;
	uint64_t client;
	uint64_t chunk = 0;

	(void)state;
	begin(&f);
	client = fixture_client(&f, ROLE_CLIENT, &f.client);
	do {
		write_chunk(&f, client, ++chunk, 900000, 0);
		fixture_payload(&f, client, (uint32_t)chunk, 900000, 'x');
	} while (!fixture_find(&f, ACT_PAUSE) && chunk < 20);
	assert_int_equal(chunk, 5);
	for (unsigned int i = 0; i < chunk; i++) {
		fixture_stored(&f, f.writes[i].transfer, 0);
		if (fixture_find(&f, ACT_PAUSE))
			break;
	}
	assert_false(fixture_find(&f, ACT_PAUSE)->on);
	fixture_done(&f);
}

static void test_deleted_while_it_comes_in(void **state)
{
	struct chunk_id id = { 7 };
	struct delete_request req = { .epoch = 5, .chunks = &id, .chunks_count = 1 };
	struct fixture f;
	uint64_t client;

	(void)state;
	begin(&f);
	client = fixture_client(&f, ROLE_CLIENT, &f.client);
	write_chunk(&f, client, 7, 10, 0);
	fixture_payload(&f, client, 7, 10, 'x');
	fixture_request(&f, f.nameserver, MSG_delete, 3, &req);
	fixture_stored(&f, last_transfer(&f), 0);
	assert_int_equal(fixture_sent(&f, client, 0)->status, ERR_EXPIRED);
	assert_int_equal(f.chunk_count, 0);
	fixture_done(&f);
}

static void test_reads(void **state)
{
	struct read_request req = { .length = 100000 };
	const struct storage_action *action;
	struct fixture f;
	uint64_t client;

	(void)state;
	begin(&f);
	f.chunks[f.chunk_count++] = (struct fake_chunk){ .chunk = 7, .length = 100000 };
	client = fixture_client(&f, ROLE_CLIENT, &f.client);
	req.ticket = fixture_ticket(&f, 7, TICKET_READ, 100000);
	fixture_request(&f, client, MSG_read, 5, &req);
	action = fixture_find(&f, ACT_SEND_CHUNK);
	assert_int_equal(action->length, 100000);
	req.length = 100001;
	fixture_request(&f, client, MSG_read, 6, &req);
	assert_int_equal(fixture_sent(&f, client, 0)->status, ERR_RANGE);
	req.length = 99999;
	fixture_request(&f, client, MSG_read, 7, &req);
	assert_int_equal(fixture_sent(&f, client, 0)->status, ERR_BAD_REQUEST);
	req.length = 10;
	req.ticket = fixture_ticket(&f, 7, TICKET_WRITE, 100000);
	fixture_request(&f, client, MSG_read, 8, &req);
	assert_int_equal(fixture_sent(&f, client, 0)->status, ERR_DENIED);
	/* A copy that proves bad is put aside and reported. */
	fixture_step(&f, (struct storage_event){ .kind = STORAGE_SENT,
						 .connection = client,
						 .chunk = 7,
						 .id = 5,
						 .error = -ERR_CORRUPT });
	assert_int_equal(fixture_sent(&f, client, 0)->status, ERR_CORRUPT);
	assert_int_equal(fixture_sent(&f, f.nameserver, 0)->info->code, MSG_corrupt);
	assert_int_equal(f.chunk_count, 0);
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_copy),
		cmocka_unit_test(test_bad_data),
		cmocka_unit_test(test_the_newer_sender_wins),
		cmocka_unit_test(test_chain_passes_receipts_back),
		cmocka_unit_test(test_own_copy_fails),
		cmocka_unit_test(test_slow_hop_and_late_receipts),
		cmocka_unit_test(test_own_disk_is_slow),
		cmocka_unit_test(test_hop_breaks_off),
		cmocka_unit_test(test_hop_cannot_be_reached),
		cmocka_unit_test(test_long_transfers_are_the_glues),
		cmocka_unit_test(test_a_long_transfer_is_aborted_once),
		cmocka_unit_test(test_a_damaged_copy_is_replaced),
		cmocka_unit_test(test_too_much_at_once),
		cmocka_unit_test(test_deleted_while_it_comes_in),
		cmocka_unit_test(test_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

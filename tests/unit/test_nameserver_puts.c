/* Puts at the name server: places, tickets, receipts, commits, leases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "hash.h"
#include "ns_driver.h"

static struct ns_driver d;
static struct ns_peer *client, *storages[10];

static void start(unsigned int servers)
{
	driver_start(&d, NULL);
	for (unsigned int i = 1; i <= servers; i++)
		storages[i] = driver_storage(&d, i);
	client = driver_client(&d, 1);
}

static struct digest content(const char *text)
{
	return digest_of(text, strlen(text));
}

static struct receipt receipt_of(const struct holder *holder, uint64_t length, const char *text)
{
	return driver_receipt(driver_peer(&d, &holder->ticket.holder), holder->ticket.chunk, length,
			      content(text));
}

#define COMMIT(reply, ...)                                                                   \
	(client->operation++, ASK(client, put_commit, reply, .operation = client->operation, \
				  .outstanding = client->operation, __VA_ARGS__))

static void test_small_put_and_open(void **state)
{
	struct put_commit_reply committed;
	struct open_reply opened;
	struct list_reply listed;
	struct stat_reply stated;

	(void)state;
	start(3);
	assert_int_equal(driver_put(client, "/a", 1000, &committed), 0);
	assert_int_equal(committed.copies, 3);
	assert_int_equal(committed.copies_wanted, 3);
	assert_int_equal(committed.version, 1);
	assert_int_equal(ASK(client, open, &opened, .path = slice_of("/a")), 0);
	assert_int_equal(opened.entry.inode, committed.inode);
	assert_int_equal(opened.entry.size, 1000);
	assert_int_equal(opened.chunks_count, 1);
	assert_int_equal(opened.chunks[0].length, 1000);
	assert_int_equal(opened.chunks[0].holders_count, 3);
	assert_int_equal(opened.nodes_count, 3);
	assert_int_equal(ASK(client, list, &listed, .path = slice_of("/")), 0);
	assert_int_equal(listed.entries_count, 1);
	assert_true(slice_equal(listed.entries[0].name, slice_of("a")));
	assert_int_equal(listed.entries[0].copies, 3);
	assert_int_equal(ASK(client, stat, &stated, .flags = STAT_HOLDERS, .path = slice_of("/a")),
			 0);
	assert_int_equal(stated.holders_count, 3);
	assert_int_equal(stated.holders[0].chunks, 1);
	assert_int_equal(nameserver_info(d.ns).leases, 0);
	/* Replaced: another content, the version counts. Who has the old one open reads on. */
	assert_int_equal(driver_put(client, "/a", 2000, &committed), 0);
	assert_int_equal(committed.version, 2);
	assert_int_equal(
		ASK(client, open, &opened, .inode = opened.entry.inode, .path = slice_of("/a")), 0);
	assert_int_equal(opened.entry.size, 1000);
	POST(client, close, .inode = opened.entry.inode);
	assert_int_equal(ASK(client, open, &opened, .inode = opened.entry.inode,
			     .path = slice_of("/a")),
			 -ERR_STALE);
	assert_int_equal(ASK(client, open, &opened, .offset = 2001, .path = slice_of("/a")),
			 -ERR_RANGE);
	assert_int_equal(ASK(client, open, &opened, .path = slice_of("/")), -ERR_IS_DIR);
	assert_int_equal(ASK(client, open, &opened, .path = slice_of("/b")), -ERR_NOT_FOUND);
	driver_stop(&d);
}

static void test_tickets_verify_at_the_holder(void **state)
{
	struct put_begin_reply begun;
	struct put_commit_reply committed;
	struct open_reply opened;

	(void)state;
	start(3);
	driver_clock(&d, 3000);
	assert_int_equal(ASK(client, put_begin, &begun, .size = 100, .places = 1,
			     .path = slice_of("/a")),
			 0);
	assert_int_equal(begun.places_count, 1);
	for (unsigned int i = 0; i < 3; i++) {
		const struct ticket *ticket = &begun.places[0].holders[i].ticket;
		struct ns_peer *holder = driver_peer(&d, &ticket->holder);
		struct hmac *hmac = hmac_new(&holder->key);
		struct ticket_use use = { .holder = holder->id,
					  .client = client->id,
					  .epoch = holder->epoch,
					  .now_s = 3,
					  .operation = TICKET_WRITE,
					  .chunk = begun.places[0].chunk };

		assert_int_equal(ticket->length, 100);
		assert_int_equal(ticket->expiry, 3 + TICKET_LIFE_S);
		assert_int_equal(ticket_verify(hmac, ticket, &use), 0);
		use.operation = TICKET_READ;
		assert_int_equal(ticket_verify(hmac, ticket, &use), -ERR_DENIED);
		hmac_free(hmac);
		assert_true(
			id_equal(&begun.nodes[begun.places[0].holders[i].node].node, &holder->id));
	}
	driver_put(client, "/b", 50, &committed);
	ASK(client, open, &opened, .path = slice_of("/b"));
	for (unsigned int i = 0; i < 3; i++) {
		const struct ticket *ticket = &opened.chunks[0].holders[i].ticket;
		struct ns_peer *holder = driver_peer(&d, &ticket->holder);
		struct hmac *hmac = hmac_new(&holder->key);
		const struct ticket_use use = { .holder = holder->id,
						.client = client->id,
						.epoch = holder->epoch,
						.operation = TICKET_READ,
						.chunk = opened.chunks[0].chunk };

		assert_int_equal(ticket_verify(hmac, ticket, &use), 0);
		hmac_free(hmac);
	}
	driver_stop(&d);
}

static void test_begin_refusals(void **state)
{
	struct put_begin_reply begun;
	struct mkdir_reply made;
	struct create_reply created;

	(void)state;
	driver_start(&d, NULL);
	client = driver_client(&d, 1);
	ASK(client, mkdir, &made, .operation = 1, .path = slice_of("/d"));
	ASK(client, create, &created, .operation = 2, .path = slice_of("/f"));
#define BEGIN(...) ASK(client, put_begin, &begun, .places = 1, __VA_ARGS__)
	assert_int_equal(BEGIN(.size = 1, .path = slice_of("/f")), -ERR_EXISTS);
	assert_int_equal(BEGIN(.size = 1, .path = slice_of("/d")), -ERR_IS_DIR);
	assert_int_equal(BEGIN(.size = 1, .path = slice_of("/x/y")), -ERR_NOT_FOUND);
	assert_int_equal(BEGIN(.size = 1, .path = slice_of("/f/y")), -ERR_NOT_DIR);
	assert_int_equal(BEGIN(.size = 1, .path = slice_of("y")), -ERR_BAD_NAME);
	driver_clock(&d, 3000);
	assert_int_equal(BEGIN(.size = 1, .path = slice_of("/y")), -ERR_NO_NODES);
	driver_storage_with(&d, &(struct ns_storage){ .number = 1, .capacity = 1000 });
	assert_int_equal(BEGIN(.size = 1001, .path = slice_of("/y")), -ERR_NO_SPACE);
	assert_int_equal(BEGIN(.size = 600, .path = slice_of("/y")), 0);
	assert_int_equal(begun.places[0].holders_count, 1);
	/* What is leased is not free any more. */
	assert_int_equal(BEGIN(.size = 600, .path = slice_of("/z")), -ERR_NO_SPACE);
	assert_int_equal(BEGIN(.size = SIZE_UNKNOWN, .path = slice_of("/z")), -ERR_NO_SPACE);
	assert_int_equal(BEGIN(.size = SIZE_UNKNOWN - 1, .path = slice_of("/z")), -ERR_TOO_LARGE);
	assert_int_equal(BEGIN(.size = 1, .copies = 10, .path = slice_of("/z")), -ERR_BAD_REQUEST);
	for (int i = 1; i < PUTS_PER_CLIENT_MAX; i++)
		assert_int_equal(BEGIN(.size = 1, .path = slice_of("/z")), 0);
	assert_int_equal(BEGIN(.size = 1, .path = slice_of("/z")), -ERR_BUSY);
	driver_stop(&d);
}

/* Servers that were there before have a moment to come back, so that a put is not kept by one. */
static void test_waits_for_servers_after_a_start(void **state)
{
	struct put_begin_reply begun;

	(void)state;
	start(3);
	driver_restart(&d);
	client = driver_client(&d, 1);
	assert_int_equal(BEGIN(.size = 1, .path = slice_of("/f")), -ERR_BUSY);
	driver_storage_with(&d, &(struct ns_storage){ .number = 1, .start = 2 });
	assert_int_equal(BEGIN(.size = 1, .path = slice_of("/f")), -ERR_BUSY);
	driver_storage_with(&d, &(struct ns_storage){ .number = 2, .start = 2 });
	assert_int_equal(BEGIN(.size = 1, .path = slice_of("/f")), 0);
	assert_int_equal(begun.places[0].holders_count, 2);
	driver_restart(&d);
	client = driver_client(&d, 1);
	assert_int_equal(BEGIN(.size = 1, .path = slice_of("/g")), -ERR_BUSY);
	driver_clock(&d, 3000);
	assert_int_equal(BEGIN(.size = 1, .path = slice_of("/g")), -ERR_NO_NODES);
	driver_stop(&d);
}

/* In a new cluster nobody is known who could come back; but whoever starts it puts at once. */
static void test_waits_for_the_first_servers(void **state)
{
	struct put_chunks_reply places;
	struct put_begin_reply begun;

	(void)state;
	for (int come = 0; come <= 1; come++) {
		driver_start(&d, NULL);
		client = driver_client(&d, 1);
		assert_int_equal(BEGIN(.size = 1, .path = slice_of("x")), -ERR_BAD_NAME);
		assert_int_equal(BEGIN(.size = 1, .path = slice_of("/f")), -ERR_BUSY);
		assert_int_equal(ASK(client, put_chunks, &places, .places = 1), -ERR_BUSY);
		if (come) {
			driver_clock(&d, 1500);
			for (uint8_t i = 1; i <= 3; i++) {
				driver_storage(&d, i);
				assert_int_equal(BEGIN(.size = 1, .path = slice_of("/f")),
						 -ERR_BUSY);
			}
			driver_clock(&d, 1000);
			assert_int_equal(BEGIN(.size = 1, .path = slice_of("/f")), 0);
			assert_int_equal(begun.places[0].holders_count, 3);
		} else {
			driver_clock(&d, 3000);
			assert_int_equal(BEGIN(.size = 1, .path = slice_of("/f")), -ERR_NO_NODES);
		}
		driver_stop(&d);
	}
}

/* 100 chunks, the first and the last with these ids. */
static void stream_is_whole(uint64_t inode, uint64_t first, uint64_t last)
{
	struct open_reply opened;
	struct stat_reply stat;

	assert_int_equal(ASK(client, stat, &stat, .flags = 1, .path = slice_of("/s")), 0);
	assert_int_equal(stat.entry.chunks, 100);
	assert_int_equal(stat.entry.copies, 2);
	assert_int_equal(stat.holders_count, 2);
	assert_int_equal(stat.holders[1].chunks, 100);
	assert_int_equal(ASK(client, open, &opened, .path = slice_of("/s")), 0);
	assert_int_equal(opened.chunks_count, 64);
	assert_int_equal(opened.chunks[0].chunk, first);
	assert_int_equal(ASK(client, open, &opened, .offset = 64ull << 20, .inode = inode,
			     .path = slice_of("/s")),
			 0);
	assert_int_equal(opened.chunks_count, 36);
	assert_int_equal(opened.chunks[35].chunk, last);
	assert_int_equal(opened.chunks[35].length, 5);
}

static void test_stream_of_many_chunks(void **state)
{
	struct nameserver_config config = { .chunk_size = 1 << 20 };
	struct receipt receipts[2 * 64];
	struct put_begin_reply begun;
	struct put_chunks_reply more;
	struct put_seal_reply sealed;
	struct put_commit_reply committed;
	uint16_t count = 0;

	(void)state;
	driver_start(&d, &config);
	storages[1] = driver_storage(&d, 1);
	storages[2] = driver_storage(&d, 2);
	client = driver_client(&d, 1);
	assert_int_equal(ASK(client, put_begin, &begun, .size = SIZE_UNKNOWN, .places = 40,
			     .path = slice_of("/s")),
			 0);
	assert_int_equal(begun.chunk_size, 1 << 20);
	assert_int_equal(begun.places_count, 40);
	for (unsigned int i = 0; i < 40; i++) {
		for (unsigned int j = 0; j < 2; j++)
			receipts[count++] =
				receipt_of(&begun.places[i].holders[j], 1 << 20, "full");
	}
	assert_int_equal(ASK(client, put_seal, &sealed, .put = begun.put, .receipts = receipts,
			     .receipts_count = count),
			 0);
	assert_int_equal(sealed.sealed, 40);
	assert_int_equal(ASK(client, put_chunks, &more, .put = begun.put, .places = 64), 0);
	assert_int_equal(more.places_count, 64);
	count = 0;
	for (unsigned int i = 0; i < 60; i++) {
		for (unsigned int j = 0; j < 2; j++)
			receipts[count++] = receipt_of(&more.places[i].holders[j],
						       i < 59 ? 1 << 20 : 5, "full");
	}
	/* The last place has no receipt: sizes that need it, or leave one out, are refused. */
	assert_int_equal(COMMIT(&committed, .put = begun.put, .size = (99 << 20) + 6,
				.path = slice_of("/s"), .receipts = receipts,
				.receipts_count = count),
			 -ERR_BAD_REQUEST);
	assert_int_equal(COMMIT(&committed, .put = begun.put, .size = 90 << 20,
				.path = slice_of("/s")),
			 -ERR_BAD_REQUEST);
	assert_int_equal(COMMIT(&committed, .put = begun.put, .size = 100 << 20 | 1,
				.path = slice_of("/s")),
			 -ERR_UNAVAILABLE);
	assert_int_equal(COMMIT(&committed, .put = begun.put, .size = (99 << 20) + 5,
				.digest = content("whole"), .path = slice_of("/s")),
			 0);
	assert_int_equal(committed.copies, 2);
	assert_int_equal(committed.copies_wanted, 3);
	stream_is_whole(committed.inode, begun.places[0].chunk, more.places[59].chunk);
	assert_int_equal(nameserver_info(d.ns).leases, 0);
	driver_stop(&d);
}

/* The answer to the first PUT_CHUNKS was lost, and the client asked again. */
static void test_places_nobody_uses(void **state)
{
	struct nameserver_config config = { .chunk_size = 1 << 20 };
	struct put_begin_reply begun;
	struct put_chunks_reply lost, more;
	struct put_commit_reply committed;
	struct receipt receipts[4];

	(void)state;
	driver_start(&d, &config);
	storages[1] = driver_storage(&d, 1);
	storages[2] = driver_storage(&d, 2);
	client = driver_client(&d, 1);
	ASK(client, put_begin, &begun, .size = SIZE_UNKNOWN, .places = 1, .path = slice_of("/s"));
	ASK(client, put_chunks, &lost, .put = begun.put, .places = 1);
	ASK(client, put_chunks, &more, .put = begun.put, .places = 1);
	for (unsigned int i = 0; i < 2; i++) {
		receipts[i] = receipt_of(&begun.places[0].holders[i], 1 << 20, "full");
		receipts[2 + i] = receipt_of(&more.places[0].holders[i], 7, "rest");
	}
	assert_int_equal(COMMIT(&committed, .put = begun.put, .size = (1 << 20) + 7,
				.digest = content("whole"), .path = slice_of("/s"),
				.receipts = receipts, .receipts_count = 4),
			 0);
	assert_int_equal(committed.copies, 2);
	assert_int_equal(nameserver_info(d.ns).leases, 0);
	driver_stop(&d);
}

static void test_commit_needs_two_copies(void **state)
{
	struct put_begin_reply begun;
	struct put_commit_reply committed;
	struct receipt receipts[3];

	(void)state;
	start(3);
	ASK(client, put_begin, &begun, .size = 9, .places = 1, .path = slice_of("/a"));
	for (unsigned int i = 0; i < 3; i++)
		receipts[i] = receipt_of(&begun.places[0].holders[i], 9, "x");
#define COMMIT_A(count)                                                         \
	COMMIT(&committed, .put = begun.put, .size = 9, .digest = content("x"), \
	       .path = slice_of("/a"), .receipts = receipts, .receipts_count = (count))
	assert_int_equal(COMMIT_A(0), -ERR_UNAVAILABLE);
	assert_int_equal(COMMIT_A(1), -ERR_UNAVAILABLE);
	/* The same receipt twice is one copy. */
	receipts[1] = receipts[0];
	assert_int_equal(COMMIT_A(2), -ERR_UNAVAILABLE);
	receipts[1] = receipt_of(&begun.places[0].holders[1], 9, "x");
	assert_int_equal(COMMIT_A(2), 0);
	assert_int_equal(committed.copies, 2);
	assert_int_equal(COMMIT_A(3), -ERR_EXPIRED);
	driver_stop(&d);
}

static void test_one_server_is_enough_when_it_is_alone(void **state)
{
	struct put_commit_reply committed;

	(void)state;
	start(1);
	assert_int_equal(driver_put(client, "/a", 1, &committed), 0);
	assert_int_equal(committed.copies, 1);
	assert_int_equal(committed.copies_wanted, 3);
	driver_stop(&d);
}

static void test_receipts_are_checked(void **state)
{
	struct put_begin_reply begun, other;
	struct put_seal_reply sealed;
	struct receipt good, bad;

	(void)state;
	start(3);
	ASK(client, put_begin, &begun, .size = 9, .copies = 2, .places = 1, .path = slice_of("/a"));
	ASK(client, put_begin, &other, .size = 9, .places = 1, .path = slice_of("/b"));
	good = receipt_of(&begun.places[0].holders[0], 9, "x");
#define SEAL(receipt) \
	ASK(client, put_seal, &sealed, .put = begun.put, .receipts = (receipt), .receipts_count = 1)
	for (unsigned int bit = 0; bit < 8 * ID_SIZE; bit++) {
		bad = good;
		bad.tag.bytes[bit / 8] = (uint8_t)(bad.tag.bytes[bit / 8] ^ 1u << bit % 8);
		assert_int_equal(SEAL(&bad), -ERR_BAD_RECEIPT);
	}
	bad = good;
	bad.length = 8;
	assert_int_equal(SEAL(&bad), -ERR_BAD_RECEIPT);
	bad = good;
	bad.epoch = 2;
	assert_int_equal(SEAL(&bad), -ERR_BAD_RECEIPT);
	bad = good;
	bad.holder = id_of(77);
	assert_int_equal(SEAL(&bad), -ERR_BAD_RECEIPT);
	/* Rightly signed, but: of another put, by a server that was not asked, too long, empty. */
	bad = receipt_of(&other.places[0].holders[0], 9, "x");
	assert_int_equal(SEAL(&bad), -ERR_BAD_RECEIPT);
	for (unsigned int i = 1; i <= 3; i++) {
		if (id_equal(&storages[i]->id, &begun.places[0].holders[0].ticket.holder) ||
		    id_equal(&storages[i]->id, &begun.places[0].holders[1].ticket.holder))
			continue;
		bad = driver_receipt(storages[i], begun.places[0].chunk, 9, content("x"));
		assert_int_equal(SEAL(&bad), -ERR_BAD_RECEIPT);
	}
	bad = receipt_of(&begun.places[0].holders[0], 10, "x");
	assert_int_equal(SEAL(&bad), -ERR_BAD_REQUEST);
	bad = receipt_of(&begun.places[0].holders[0], 0, "x");
	assert_int_equal(SEAL(&bad), -ERR_BAD_REQUEST);
	assert_int_equal(SEAL(&good), 0);
	assert_int_equal(sealed.sealed, 1);
	/* Another content of the same chunk. */
	bad = receipt_of(&begun.places[0].holders[1], 9, "y");
	assert_int_equal(SEAL(&bad), -ERR_BAD_REQUEST);
	/* Another client cannot use this put. */
	client = driver_client(&d, 2);
	assert_int_equal(SEAL(&good), -ERR_EXPIRED);
	driver_stop(&d);
}

static void test_receipts_of_an_earlier_registration_are_void(void **state)
{
	struct put_begin_reply begun;
	struct put_commit_reply committed;
	struct receipt receipts[3];

	(void)state;
	start(3);
	ASK(client, put_begin, &begun, .size = 9, .places = 1, .path = slice_of("/a"));
	for (unsigned int i = 0; i < 3; i++)
		receipts[i] = receipt_of(&begun.places[0].holders[i], 9, "x");
	driver_storage(&d, receipts[0].holder.bytes[0]);
	assert_int_equal(COMMIT_A(3), 0);
	assert_int_equal(committed.copies, 2);
	driver_stop(&d);
}

static void test_commit_in_doubt(void **state)
{
	struct put_begin_reply begun;
	struct put_commit_reply first, again;
	struct receipt receipts[2];
	struct put_commit_request commit;

	(void)state;
	start(2);
	ASK(client, put_begin, &begun, .size = 9, .places = 1, .path = slice_of("/a"));
	for (unsigned int i = 0; i < 2; i++)
		receipts[i] = receipt_of(&begun.places[0].holders[i], 9, "x");
	commit = (struct put_commit_request){ .operation = 5,
					      .outstanding = 5,
					      .put = begun.put,
					      .size = 9,
					      .digest = content("x"),
					      .path = slice_of("/a"),
					      .receipts = receipts,
					      .receipts_count = 2 };
	assert_int_equal(driver_ask(client, MSG_put_commit, &commit, &first, sizeof(first)), 0);
	/* The answer was lost; the client comes back, to another run even. */
	client = driver_client(&d, 1);
	assert_int_equal(driver_ask(client, MSG_put_commit, &commit, &again, sizeof(again)), 0);
	assert_memory_equal(&first, &again, sizeof(first));
	driver_restart(&d);
	client = driver_client(&d, 1);
	assert_int_equal(driver_ask(client, MSG_put_commit, &commit, &again, sizeof(again)), 0);
	assert_memory_equal(&first, &again, sizeof(first));
	commit.operation = commit.outstanding = 6;
	assert_int_equal(driver_ask(client, MSG_put_commit, &commit, &again, sizeof(again)),
			 -ERR_EXPIRED);
	driver_stop(&d);
}

static void test_places_leased_ahead(void **state)
{
	struct put_chunks_reply places;
	struct put_commit_reply committed;
	struct receipt receipts[4];
	struct chunk_ref refs[2];
	char path[16];

	(void)state;
	start(2);
	for (int i = 0; i < 4; i++)
		assert_int_equal(ASK(client, put_chunks, &places, .places = 64, .length = 1000), 0);
	assert_int_equal(places.places_count, 64);
	assert_int_equal(ASK(client, put_chunks, &places, .places = 1, .length = 1000), -ERR_BUSY);
	assert_int_equal(nameserver_info(d.ns).leases, 256);
	for (unsigned int i = 0; i < 64; i++) {
		const struct place *place = &places.places[i];

		if (i % 2 == 0)
			continue; /* any order */
		for (unsigned int j = 0; j < 2; j++)
			receipts[j] = receipt_of(&place->holders[j], 10 + i, "x");
		refs[0] = (struct chunk_ref){ place->chunk, 10 + i };
		snprintf(path, sizeof(path), "/f%u", i);
		assert_int_equal(COMMIT(&committed, .size = 10 + i, .digest = content("x"),
					.path = slice_of(path), .chunks = refs, .chunks_count = 1,
					.receipts = receipts, .receipts_count = 2),
				 0);
	}
	assert_int_equal(nameserver_info(d.ns).leases, 256 - 32);
	assert_int_equal(ASK(client, put_chunks, &places, .places = 64, .length = 1000), 0);
	assert_int_equal(places.places_count, 32);
	/* Used up, unknown, twice the same, a wrong length. */
	assert_int_equal(COMMIT(&committed, .size = refs[0].length, .path = slice_of("/g"),
				.chunks = refs, .chunks_count = 1),
			 -ERR_EXPIRED);
	for (unsigned int j = 0; j < 2; j++)
		receipts[j] = receipt_of(&places.places[0].holders[j], 500, "x");
	refs[0] = refs[1] = (struct chunk_ref){ places.places[0].chunk, 500 };
	assert_int_equal(COMMIT(&committed, .size = 1000, .path = slice_of("/g"), .chunks = refs,
				.chunks_count = 2, .receipts = receipts, .receipts_count = 2),
			 -ERR_BAD_REQUEST);
	assert_int_equal(COMMIT(&committed, .size = 499, .path = slice_of("/g"), .chunks = refs,
				.chunks_count = 1),
			 -ERR_BAD_REQUEST);
	refs[0].length = 499;
	assert_int_equal(COMMIT(&committed, .size = 499, .path = slice_of("/g"), .chunks = refs,
				.chunks_count = 1),
			 -ERR_BAD_REQUEST);
	refs[0].length = 500;
	/* A digest of the whole that is not that of its only chunk. */
	assert_int_equal(COMMIT(&committed, .size = 500, .digest = content("y"),
				.path = slice_of("/g"), .chunks = refs, .chunks_count = 1),
			 -ERR_BAD_REQUEST);
	assert_int_equal(COMMIT(&committed, .size = 500, .digest = content("x"),
				.path = slice_of("/g"), .chunks = refs, .chunks_count = 1),
			 0);
	/* An empty file needs no place at all. */
	assert_int_equal(COMMIT(&committed, .size = 0, .path = slice_of("/empty")), 0);
	assert_int_equal(COMMIT(&committed, .size = 0, .path = slice_of("/empty")), -ERR_EXISTS);
	driver_stop(&d);
}

static void test_replacing_a_dead_hop(void **state)
{
	struct put_begin_reply begun;
	struct put_replace_reply replaced;
	struct put_commit_reply committed;
	struct receipt receipts[3];
	struct id dead;

	(void)state;
	start(4);
	ASK(client, put_begin, &begun, .size = 9, .places = 1, .path = slice_of("/a"));
	dead = begun.places[0].holders[1].ticket.holder;
	assert_int_equal(ASK(client, put_replace, &replaced, .put = begun.put,
			     .chunk = begun.places[0].chunk, .dead = dead),
			 0);
	assert_int_equal(replaced.place.chunk, begun.places[0].chunk);
	assert_int_equal(replaced.place.holders_count, 1);
	for (unsigned int i = 0; i < 3; i++)
		assert_false(id_equal(&replaced.place.holders[0].ticket.holder,
				      &begun.places[0].holders[i].ticket.holder));
	/* Five servers it would take. */
	assert_int_equal(ASK(client, put_replace, &replaced, .put = begun.put,
			     .chunk = begun.places[0].chunk, .dead = dead),
			 -ERR_NO_NODES);
	assert_int_equal(ASK(client, put_replace, &replaced, .put = begun.put, .chunk = 12345),
			 -ERR_EXPIRED);
	receipts[0] = receipt_of(&begun.places[0].holders[0], 9, "x");
	receipts[1] = receipt_of(&begun.places[0].holders[2], 9, "x");
	receipts[2] = receipt_of(&replaced.place.holders[0], 9, "x");
	assert_int_equal(COMMIT_A(3), 0);
	assert_int_equal(committed.copies, 3);
	driver_stop(&d);
}

static unsigned int deleted_at(struct ns_peer *storage)
{
	const struct delete_request *order;
	unsigned int count = 0;

	while ((order = driver_order(storage, MSG_delete))) {
		assert_int_equal(order->epoch, storage->epoch);
		count += order->chunks_count;
	}
	return count;
}

static void test_leases_run_out(void **state)
{
	struct put_begin_reply begun;
	struct put_seal_reply sealed;
	struct put_chunks_reply places;

	(void)state;
	start(2);
	ASK(client, put_begin, &begun, .size = 9, .places = 1, .path = slice_of("/a"));
	ASK(client, put_chunks, &places, .places = 5, .length = 9);
	driver_beat(&d, LEASE_MS - 1000);
	assert_int_equal(ASK(client, put_seal, &sealed, .put = begun.put), 0); /* renews */
	driver_beat(&d, 2000);
	assert_int_equal(nameserver_info(d.ns).leases, 1);
	assert_int_equal(deleted_at(storages[1]), 5);
	assert_int_equal(deleted_at(storages[2]), 5);
	driver_beat(&d, LEASE_MS);
	assert_int_equal(ASK(client, put_seal, &sealed, .put = begun.put), -ERR_EXPIRED);
	assert_int_equal(deleted_at(storages[1]), 1);
	/* A client that has gone for 30 s, and one that gives up. */
	ASK(client, put_begin, &begun, .size = 9, .places = 1, .path = slice_of("/a"));
	driver_close(client);
	driver_beat(&d, 20000);
	client = driver_client(&d, 1);
	assert_int_equal(ASK(client, put_seal, &sealed, .put = begun.put), 0);
	driver_close(client);
	driver_beat(&d, 31000);
	client = driver_client(&d, 1);
	assert_int_equal(ASK(client, put_seal, &sealed, .put = begun.put), -ERR_EXPIRED);
	assert_int_equal(deleted_at(storages[2]), 2);
	ASK(client, put_begin, &begun, .size = 9, .places = 1, .path = slice_of("/a"));
	POST(client, put_abort, .put = begun.put);
	driver_clock(&d, 100);
	assert_int_equal(deleted_at(storages[1]), 2);
	assert_int_equal(nameserver_info(d.ns).leases, 0);
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small_put_and_open),
		cmocka_unit_test(test_tickets_verify_at_the_holder),
		cmocka_unit_test(test_begin_refusals),
		cmocka_unit_test(test_waits_for_servers_after_a_start),
		cmocka_unit_test(test_waits_for_the_first_servers),
		cmocka_unit_test(test_stream_of_many_chunks),
		cmocka_unit_test(test_places_nobody_uses),
		cmocka_unit_test(test_commit_needs_two_copies),
		cmocka_unit_test(test_one_server_is_enough_when_it_is_alone),
		cmocka_unit_test(test_receipts_are_checked),
		cmocka_unit_test(test_receipts_of_an_earlier_registration_are_void),
		cmocka_unit_test(test_commit_in_doubt),
		cmocka_unit_test(test_places_leased_ahead),
		cmocka_unit_test(test_replacing_a_dead_hop),
		cmocka_unit_test(test_leases_run_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

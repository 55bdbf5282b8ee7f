/* Appends at the name server: which are taken, what becomes of the chunks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "catalogue.h"
#include "hash.h"
#include "ns_driver.h"

enum { CHUNK = 1 << 20 };

static struct ns_driver d;
static struct ns_peer *client;

static void start(void)
{
	driver_start(&d, &(struct nameserver_config){ .chunk_size = CHUNK });
	for (unsigned int i = 1; i <= 2; i++)
		driver_storage(&d, i);
	client = driver_client(&d, 1);
}

static struct digest sum(const char *text)
{
	return digest_of(text, strlen(text));
}

/* Where an append goes, and what it brings: chunks of CHUNK bytes but for the last, all of them
 * with the digest of `text`. */
struct piece {
	uint64_t inode, version, base;
	uint64_t size;
	const char *text;
};

static int chunks_bring(const struct put_begin_reply *begun, const struct piece *piece,
			struct receipt *ret)
{
	uint64_t left = piece->size;
	int count = 0;

	for (unsigned int i = 0; i < begun->places_count; i++) {
		const struct place *place = &begun->places[i];
		uint64_t length = left < CHUNK ? left : CHUNK;

		for (unsigned int j = 0; j < place->holders_count; j++) {
			const struct ticket *ticket = &place->holders[j].ticket;

			ret[count++] = driver_receipt(driver_peer(&d, &ticket->holder),
						      ticket->chunk, length, sum(piece->text));
		}
		left -= length;
	}
	return count;
}

static int append(const char *path, const struct piece *piece, struct put_commit_reply *ret)
{
	struct receipt receipts[64];
	struct put_begin_reply begun;
	int count;
	int rc = ASK(client, put_begin, &begun, .size = piece->size, .flags = PUT_APPEND,
		     .places = 8, .path = slice_of(path));

	if (rc < 0)
		return rc;
	count = chunks_bring(&begun, piece, receipts);
	client->operation++;
	rc = ASK(client, put_commit, ret, .operation = client->operation,
		 .outstanding = client->operation, .put = begun.put, .size = piece->size,
		 .digest = sum(piece->text), .base_inode = piece->inode,
		 .base_version = piece->version, .base_size = piece->base, .flags = PUT_APPEND,
		 .path = slice_of(path), .receipts = receipts, .receipts_count = (uint16_t)count);
	if (rc < 0)
		POST(client, put_abort, .put = begun.put);
	return rc;
}

static struct entry stat_of(const char *path)
{
	struct stat_reply stat;

	assert_int_equal(ASK(client, stat, &stat, .path = slice_of(path)), 0);
	return stat.entry;
}

static struct open_reply open_at(const char *path, uint64_t offset)
{
	struct open_reply opened;

	assert_int_equal(ASK(client, open, &opened, .offset = offset, .path = slice_of(path)), 0);
	return opened;
}

static struct totals totals(void)
{
	struct totals totals;

	assert_int_equal(totals_get(d.kv, &totals), 0);
	return totals;
}

static void test_keeps_the_inode_and_adds_a_chunk(void **state)
{
	struct put_commit_reply file, done;
	struct open_reply opened;
	struct digest expected;
	struct entry entry;

	(void)state;
	start();
	driver_put(client, "/f", 1000, &file);
	assert_int_equal(append("/f", &(struct piece){ file.inode, 1, 1000, 500, "b" }, &done), 0);
	assert_int_equal(done.inode, file.inode);
	assert_int_equal(done.version, 2);
	assert_int_equal(done.copies, 2);
	entry = stat_of("/f");
	assert_int_equal(entry.size, 1500);
	assert_int_equal(entry.chunks, 2);
	assert_int_equal(entry.digest_known, 0);
	opened = open_at("/f", 0);
	assert_int_equal(opened.chunks_count, 2);
	assert_int_equal(opened.chunks[1].offset, 1000);
	assert_int_equal(opened.chunks[1].length, 500);
	opened = open_at("/f", 999);
	assert_int_equal(opened.chunks_count, 2);
	opened = open_at("/f", 1000);
	assert_int_equal(opened.chunks_count, 1);
	expected = sum("b");
	assert_true(digest_equal(&opened.chunks[0].digest, &expected));
	assert_int_equal(open_at("/f", 1500).chunks_count, 0);
	assert_int_equal(totals().bytes, 1500);
	assert_int_equal(totals().chunks, 2);
	assert_int_equal(totals().files, 1);
	driver_stop(&d);
}

static bool is_known(uint64_t chunk)
{
	uint64_t inode, end;

	return chunk_owner(d.kv, chunk, 0, &inode, &end) == 0;
}

static void test_replaces_the_tail_and_lets_it_go(void **state)
{
	struct put_commit_reply file, done;
	struct open_reply opened;
	struct digest expected;
	struct entry entry;
	uint64_t old;

	(void)state;
	start();
	driver_put(client, "/f", 1000, &file);
	opened = open_at("/f", 0);
	old = opened.chunks[0].chunk;
	assert_int_equal(append("/f", &(struct piece){ file.inode, 1, 0, 1500, "b" }, &done), 0);
	assert_int_equal(done.version, 2);
	entry = stat_of("/f");
	assert_int_equal(entry.size, 1500);
	assert_int_equal(entry.chunks, 1);
	assert_int_equal(entry.digest_known, 1);
	expected = sum("b");
	assert_true(digest_equal(&entry.digest, &expected));
	/* Who read the old one finds the same bytes in the new one. */
	assert_int_equal(ASK(client, open, &opened, .inode = file.inode, .path = slice_of("/f")),
			 0);
	assert_int_not_equal(opened.chunks[0].chunk, old);
	driver_clock(&d, 1000);
	assert_false(is_known(old));
	assert_true(is_known(opened.chunks[0].chunk));
	assert_int_equal(totals().chunks, 1);
	assert_int_equal(totals().bytes, 1500);
	driver_stop(&d);
}

/* Three chunks of any lengths become two, the first one stays. */
static void test_chunks_of_any_length_are_found(void **state)
{
	struct put_commit_reply file, done;
	struct open_reply opened;

	(void)state;
	start();
	driver_put(client, "/f", 1000, &file);
	append("/f", &(struct piece){ file.inode, 1, 1000, 1, "b" }, &done);
	append("/f", &(struct piece){ file.inode, 2, 1001, CHUNK + 7, "c" }, &done);
	assert_int_equal(done.version, 3);
	opened = open_at("/f", 1000);
	assert_int_equal(opened.chunks_count, 3);
	assert_int_equal(opened.chunks[0].length, 1);
	assert_int_equal(opened.chunks[1].offset, 1001);
	assert_int_equal(opened.chunks[2].offset, 1001 + CHUNK);
	assert_int_equal(
		append("/f", &(struct piece){ file.inode, 3, 1000, CHUNK + 9, "d" }, &done), 0);
	opened = open_at("/f", 0);
	assert_int_equal(opened.chunks_count, 3);
	assert_int_equal(opened.chunks[2].offset, 1000 + CHUNK);
	assert_int_equal(opened.chunks[2].length, 9);
	assert_int_equal(totals().chunks, 3);
	assert_int_equal(totals().bytes, 1000 + CHUNK + 9);
	driver_stop(&d);
}

static void test_refusals(void **state)
{
	struct put_commit_reply file, done;
	struct put_begin_reply begun;
	struct piece good;

	(void)state;
	start();
	driver_put(client, "/f", 1000, &file);
	good = (struct piece){ file.inode, 1, 1000, 5, "b" };
	assert_int_equal(append("/none", &good, &done), -ERR_NOT_FOUND);
	assert_int_equal(append("/", &good, &done), -ERR_IS_DIR);
	assert_int_equal(ASK(client, put_begin, &begun, .flags = PUT_APPEND | PUT_REPLACE,
			     .path = slice_of("/f")),
			 -ERR_BAD_REQUEST);
	assert_int_equal(ASK(client, put_begin, &begun, .flags = PUT_APPEND, .copies = 1,
			     .path = slice_of("/f")),
			 -ERR_BAD_REQUEST);
	assert_int_equal(append("/f", &(struct piece){ file.inode + 1, 1, 1000, 5, "b" }, &done),
			 -ERR_STALE);
	assert_int_equal(append("/f", &(struct piece){ file.inode, 2, 1000, 5, "b" }, &done),
			 -ERR_STALE);
	/* Inside a chunk, beyond the end, shorter than it was. */
	assert_int_equal(append("/f", &(struct piece){ file.inode, 1, 999, 5, "b" }, &done),
			 -ERR_BAD_REQUEST);
	assert_int_equal(append("/f", &(struct piece){ file.inode, 1, 1001, 5, "b" }, &done),
			 -ERR_BAD_REQUEST);
	assert_int_equal(append("/f", &(struct piece){ file.inode, 1, UINT64_MAX, 5, "b" }, &done),
			 -ERR_BAD_REQUEST);
	assert_int_equal(append("/f", &(struct piece){ file.inode, 1, 0, 999, "b" }, &done),
			 -ERR_BAD_REQUEST);
	client->operation++;
	assert_int_equal(ASK(client, put_commit, &done, .operation = client->operation,
			     .outstanding = client->operation, .base_size = 1,
			     .path = slice_of("/g")),
			 -ERR_BAD_REQUEST);
	assert_int_equal(stat_of("/f").version, 1);
	assert_int_equal(append("/f", &good, &done), 0);
	assert_int_equal(append("/f", &good, &done), -ERR_STALE);
	driver_stop(&d);
}

/* As many copies as the file wants when the append is made, whatever it wanted when it began. */
static void test_copies_are_those_of_the_file(void **state)
{
	const struct piece piece = { 0, 1, 1000, 5, "b" };
	struct receipt receipts[8];
	struct put_begin_reply begun;
	struct put_commit_reply file, done;
	struct set_copies_reply set;
	int count;

	(void)state;
	start();
	driver_put(client, "/f", 1000, &file);
	client->operation++;
	ASK(client, set_copies, &set, .operation = client->operation,
	    .outstanding = client->operation, .copies = 1, .path = slice_of("/f"));
	assert_int_equal(ASK(client, put_begin, &begun, .size = 5, .flags = PUT_APPEND, .places = 1,
			     .path = slice_of("/f")),
			 0);
	assert_int_equal(begun.copies_wanted, 1);
	count = chunks_bring(&begun, &piece, receipts);
	assert_int_equal(count, 1);
	client->operation++;
	ASK(client, set_copies, &set, .operation = client->operation,
	    .outstanding = client->operation, .copies = 2, .path = slice_of("/f"));
	client->operation++;
	assert_int_equal(ASK(client, put_commit, &done, .operation = client->operation,
			     .outstanding = client->operation, .put = begun.put, .size = 5,
			     .digest = sum("b"), .base_inode = file.inode, .base_version = 1,
			     .base_size = 1000, .flags = PUT_APPEND, .path = slice_of("/f"),
			     .receipts = receipts, .receipts_count = 1),
			 -ERR_UNAVAILABLE);
	driver_stop(&d);
}

static void test_nothing_added_changes_nothing(void **state)
{
	struct put_commit_reply file, done;

	(void)state;
	start();
	driver_put(client, "/f", 1000, &file);
	assert_int_equal(append("/f", &(struct piece){ file.inode, 1, 1000, 0, "" }, &done), 0);
	assert_int_equal(done.version, 1);
	assert_int_equal(stat_of("/f").digest_known, 1);
	driver_put(client, "/e", 0, &file);
	assert_int_equal(append("/e", &(struct piece){ file.inode, 1, 0, 0, "" }, &done), 0);
	assert_int_equal(append("/e", &(struct piece){ file.inode, 1, 0, 2 * CHUNK, "x" }, &done),
			 0);
	assert_int_equal(stat_of("/e").chunks, 2);
	assert_int_equal(stat_of("/e").digest_known, 1);
	driver_stop(&d);
}

/* Whoever has a content open reads on when the name is gone; others do not get at it. */
static void test_open_contents_outlive_their_name(void **state)
{
	struct ns_peer *other;
	struct put_commit_reply file;
	struct remove_reply removed;
	struct open_reply opened;

	(void)state;
	start();
	other = driver_client(&d, 2);
	driver_put(client, "/f", 1000, &file);
	open_at("/f", 0);
	client->operation++;
	assert_int_equal(ASK(client, remove, &removed, .operation = client->operation,
			     .outstanding = client->operation, .path = slice_of("/f")),
			 0);
	driver_clock(&d, 5000);
	assert_int_equal(ASK(client, open, &opened, .inode = file.inode, .path = slice_of("/f")),
			 0);
	assert_int_equal(opened.chunks_count, 1);
	assert_int_equal(opened.chunks[0].holders_count, 2);
	assert_int_equal(ASK(other, open, &opened, .inode = file.inode, .path = slice_of("/f")),
			 -ERR_NOT_FOUND);
	POST(client, close, .inode = file.inode);
	assert_int_equal(ASK(client, open, &opened, .inode = file.inode, .path = slice_of("/f")),
			 -ERR_NOT_FOUND);
	driver_stop(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keeps_the_inode_and_adds_a_chunk),
		cmocka_unit_test(test_replaces_the_tail_and_lets_it_go),
		cmocka_unit_test(test_chunks_of_any_length_are_found),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_copies_are_those_of_the_file),
		cmocka_unit_test(test_nothing_added_changes_nothing),
		cmocka_unit_test(test_open_contents_outlive_their_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

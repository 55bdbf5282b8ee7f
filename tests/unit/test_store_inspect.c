/* Whole chunks read from a simulated disk and compared with what they should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "disk_sim.h"
#include "error.h"
#include "hash.h"
#include "store_driver.h"

enum { SIM_SIZE = 64 * 1024 * 1024, SMALL = 1000 };

static int inspected(struct store *store, uint64_t chunk, struct chunk_meta *ret)
{
	struct store_reader *reader;
	int rc;

	assert_int_equal(store_reader_open(store, chunk, &reader), 0);
	rc = store_reader_inspect(reader, ret);
	store_reader_close(store, reader);
	return rc;
}

static void test_inspection_reads_every_byte(void **state)
{
	static const char *const paths[] = { "seg/00000001", "big/00/0000000000000002" };
	static const uint32_t lengths[] = { SMALL, 300001 };
	static const uint64_t payloads[] = { 192 + 4, 4096 };
	struct store_options options = driven_options();
	struct disk_sim *sim = disk_sim_new(SIM_SIZE);
	struct disk *disk = disk_sim_disk(sim);
	uint8_t *content = malloc(lengths[1]);
	struct store_report report;
	struct chunk_meta meta;
	struct store *store;
	char message[256];

	(void)state;
	assert_int_equal(store_open(disk, &options, &store, &report, message), 0);
	for (uint64_t i = 0; i < 2; i++) {
		uint64_t last = payloads[i] + lengths[i] - 1;
		struct driven one = { .chunk = 1 + i, .length = lengths[i] };
		struct digest digest;

		assert_int_equal(driven_put(store, &one, 1), 0);
		assert_int_equal(one.result, 0);
		driven_content(1 + i, lengths[i], content);
		digest = digest_of(content, lengths[i]);
		assert_int_equal(inspected(store, 1 + i, &meta), 0);
		assert_int_equal(meta.length, lengths[i]);
		assert_memory_equal(&meta.digest, &digest, sizeof(digest));
		/* A wrong byte has a digest, too. */
		assert_int_equal(disk_sim_flip(sim, paths[i], last, 1), 0);
		content[lengths[i] - 1] ^= 1;
		digest = digest_of(content, lengths[i]);
		assert_int_equal(inspected(store, 1 + i, &meta), -ERR_CORRUPT);
		assert_memory_equal(&meta.digest, &digest, sizeof(digest));
		assert_int_equal(disk_sim_flip(sim, paths[i], last, 1), 0);
		assert_int_equal(inspected(store, 1 + i, &meta), 0);
		/* Behind a damaged header nothing is certain. */
		assert_int_equal(disk_sim_flip(sim, paths[i], 20, 1), 0);
		assert_int_equal(inspected(store, 1 + i, &meta), -ERR_CORRUPT);
		assert_int_equal(meta.length, 0);
	}
	free(content);
	store_close(store);
	disk_free(disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inspection_reads_every_byte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

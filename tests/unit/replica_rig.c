#include "replica_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "kv_memory.h"
#include "pages.h"

void rig_add(struct replica_rig *rig, uint64_t epoch, size_t size)
{
	const struct journal_head *last = &rig->heads[rig->count];
	struct batch_head head = { .epoch = epoch,
				   .sequence = last->sequence + 1,
				   .previous = last->hash };
	uint8_t *value = test_calloc(1, size + 1);
	char key[16];
	struct digest hash;

	assert_true(rig->count < RIG_BATCHES_MAX);
	snprintf(key, sizeof(key), "s%u", rig->count + 1);
	value[0] = (uint8_t)rig->count;
	assert_int_equal(kv_put(rig->kv, slice_of(key), (struct slice){ value, size }), 0);
	if (rig->count >= 4) {
		snprintf(key, sizeof(key), "s%u", rig->count - 2);
		assert_int_equal(kv_remove(rig->kv, slice_of(key)), 0);
	}
	test_free(value);
	assert_true(batch_seal(rig->kv, &head, &rig->batches[rig->count++], &hash) > 0);
	rig->heads[rig->count] = (struct journal_head){ epoch, head.sequence, hash };
}

void rig_init(struct replica_rig *rig, unsigned int batches)
{
	*rig = (struct replica_rig){ .count = 0 };
	assert_int_equal(kv_memory_new(&rig->kv), 0);
	while (rig->count < batches)
		rig_add(rig, 1 + rig->count / 8, 100);
}

void rig_done(struct replica_rig *rig)
{
	for (unsigned int i = 0; i < rig->count; i++)
		buffer_done(&rig->batches[i]);
	kv_memory_free(rig->kv);
}

struct slice rig_batch(const struct replica_rig *rig, unsigned int number)
{
	return (struct slice){ rig->batches[number - 1].data, rig->batches[number - 1].size };
}

static struct kv *rows_after(const struct replica_rig *rig, unsigned int number)
{
	struct kv *kv;

	assert_int_equal(kv_memory_new(&kv), 0);
	for (unsigned int i = 1; i <= number; i++) {
		struct slice batch = rig_batch(rig, i), changes;
		struct batch_head head;
		struct digest hash;
		size_t size;

		assert_int_equal(batch_read(batch, &head, &changes, &size, &hash), 1);
		assert_int_equal(kv_memory_apply(kv, changes), 0);
	}
	return kv;
}

void rig_page(const struct replica_rig *rig, unsigned int number, struct buffer *ret)
{
	struct kv *kv = rows_after(rig, number);

	assert_int_equal(page_read(kv, (struct slice){ 0 }, CATALOGUE_PART_MAX, ret), 0);
	kv_memory_free(kv);
}

struct digest rig_digest(const struct replica_rig *rig, unsigned int number)
{
	struct kv *kv = rows_after(rig, number);
	struct digest digest;

	assert_int_equal(rows_digest(kv, &digest), 0);
	kv_memory_free(kv);
	return digest;
}

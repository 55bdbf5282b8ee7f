/* Rows that change behind a name server's back: rules that are removed so. */
#include "codec.h"
#include "ns_host.h"

/* `value` empty: removes the row. */
static void row_forge(struct kv *kv, struct slice key, struct slice value)
{
	uint8_t head[CHANGE_PUT_SIZE] = { value.size ? CHANGE_PUT : CHANGE_REMOVE };
	struct buffer changes = { 0 };

	put_u16(head + 1, (uint16_t)key.size);
	put_u32(head + 3, (uint32_t)value.size);
	buffer_append(&changes, head, value.size ? CHANGE_PUT_SIZE : CHANGE_REMOVE_SIZE);
	buffer_append(&changes, key.data, key.size);
	buffer_append(&changes, value.data, value.size);
	kv_memory_apply(kv, (struct slice){ changes.data, changes.size });
	buffer_done(&changes);
}

/* Nothing is known of what was answered before. */
static void answers_forget(struct kv *kv)
{
	struct slice key, value;

	while (kv_seek(kv, slice_of("o"), &key, &value) == 0 && key.data[0] == 'o')
		row_forge(kv, key, (struct slice){ 0 });
}

/* A chunk belongs to nobody but the first who had it. */
static void shared_forget(struct kv *kv)
{
	uint8_t space[KV_KEY_SIZE_MAX + 1];
	uint64_t before = 0;
	struct slice key = slice_of("k"), value;

	while (kv_seek(kv, key, &key, &value) == 0 && key.data[0] == 'k') {
		uint64_t chunk = get_be64(key.data + 1);
		struct slice next = kv_after(key, space);

		if (chunk == before)
			row_forge(kv, key, (struct slice){ 0 });
		before = chunk;
		key = next;
	}
}

/* Up to where the trash was emptied. */
static void purged_forget(struct kv *kv)
{
	struct slice key = slice_of("strash"), value;
	uint8_t row[128];

	if (kv_get(kv, key, &value) < 0 || value.size > sizeof(row))
		return;
	memcpy(row, value.data, value.size);
	memset(row + value.size - 8, 0, 8);
	row_forge(kv, key, (struct slice){ row, value.size });
}

void ns_sabotage_step(struct world *w, struct kv *kv)
{
	switch (w->config.sabotage) {
	case SABOTAGE_FORGOTTEN: answers_forget(kv); break;
	case SABOTAGE_FORGET_SHARED: shared_forget(kv); break;
	case SABOTAGE_FORGET_PURGED: purged_forget(kv); break;
	default: break;
	}
}

void ns_sabotage_start(struct world *w, struct kv *kv)
{
	uint64_t start = setting_get_u64(kv, "start", 0);

	if (w->config.sabotage == SABOTAGE_OLD_START && start)
		setting_put_u64(kv, "start", start - 1);
}

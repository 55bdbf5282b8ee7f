#include "journal_set.h"

#include "catalogue.h"
#include "error.h"

unsigned int journal_needs(enum journal_act act, unsigned int count)
{
	static const uint8_t needs[][JOURNAL_SET_MAX + 1] = {
		[JOURNAL_COMMIT] = { 0, 1, 1, 2 },
		[JOURNAL_TAKE] = { 0, 1, 2, 2 },
		[JOURNAL_RETURN] = { 0, 1, 1, 2 },
	};

	return needs[act][count];
}

static bool members_agree(const struct journal_members *members, enum journal_act act,
			  journal_has_fn *has, void *context)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < members->count; i++)
		count += has(context, &members->nodes[i]);
	return count >= journal_needs(act, members->count);
}

bool journal_agrees(const struct journal_set *set, enum journal_act act, journal_has_fn *has,
		    void *context)
{
	return members_agree(&set->now, act, has, context) &&
	       (!set->changing || members_agree(&set->before, act, has, context));
}

bool journal_members_have(const struct journal_members *members, const struct id *node)
{
	for (unsigned int i = 0; i < members->count; i++) {
		if (id_equal(&members->nodes[i], node))
			return true;
	}
	return false;
}

/* ---- the row: u8 changing, then for each set u8 count and the ids ---- */

enum { ROW_SIZE_MAX = 1 + 2 * (1 + JOURNAL_SET_MAX * ID_SIZE) };

static int members_read(struct slice *rest, struct journal_members *ret)
{
	size_t size;

	if (rest->size < 1 || rest->data[0] > JOURNAL_SET_MAX)
		return -ERR_BAD_FORMAT;
	ret->count = rest->data[0];
	size = (size_t)ret->count * ID_SIZE;
	if (rest->size < 1 + size)
		return -ERR_BAD_FORMAT;
	memcpy(ret->nodes, rest->data + 1, size);
	*rest = (struct slice){ rest->data + 1 + size, rest->size - 1 - size };
	return 0;
}

int journal_set_get(struct kv *kv, struct journal_set *ret)
{
	struct slice rest;
	int rc = setting_get(kv, SETTING_JOURNAL_SET, &rest);

	*ret = (struct journal_set){ 0 };
	if (rc == -ERR_NOT_FOUND)
		return 0;
	if (rc < 0 || rest.size < 1 || rest.data[0] > 1)
		return rc < 0 ? rc : -ERR_BAD_FORMAT;
	ret->changing = rest.data[0] == 1;
	rest = (struct slice){ rest.data + 1, rest.size - 1 };
	rc = members_read(&rest, &ret->now);
	if (rc == 0)
		rc = members_read(&rest, &ret->before);
	return rc == 0 && rest.size > 0 ? -ERR_BAD_FORMAT : rc;
}

static size_t members_write(const struct journal_members *members, uint8_t *ret)
{
	size_t size = (size_t)members->count * ID_SIZE;

	ret[0] = (uint8_t)members->count;
	memcpy(ret + 1, members->nodes, size);
	return 1 + size;
}

int journal_set_put(struct kv *kv, const struct journal_set *set)
{
	uint8_t row[ROW_SIZE_MAX] = { set->changing };
	size_t size = 1;

	size += members_write(&set->now, row + size);
	size += members_write(&set->before, row + size);
	return setting_put(kv, SETTING_JOURNAL_SET, (struct slice){ row, size });
}

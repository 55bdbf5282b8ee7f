#include "rows.h"

static struct slice key_result(uint8_t *space, const struct id *client, uint64_t operation)
{
	struct slice key = key_id(space, "o", client);

	put_be64(space + key.size, operation);
	key.size += 8;
	return key;
}

int result_put(struct kv *kv, const struct id *client, uint64_t operation, struct slice answer)
{
	uint8_t row[1 + RESULT_SIZE_MAX] = { ROW_VERSION };
	uint8_t space[ROW_KEY_MAX];

	if (answer.size > RESULT_SIZE_MAX)
		return -ERR_TOO_LARGE;
	if (answer.size)
		memcpy(row + 1, answer.data, answer.size);
	return kv_put(kv, key_result(space, client, operation),
		      (struct slice){ row, answer.size + 1 });
}

/* Where forgetting left off. Without it each call would step over all that was just forgotten and
 * still lies in the overlay of the view. */
static int mark_get(struct kv *kv, const struct id *client, uint64_t *ret)
{
	uint8_t space[ROW_KEY_MAX];
	const uint8_t *at;
	int rc = row_get(kv, key_id(space, "o", client), 8, &at);

	if (rc == 0)
		*ret = get_u64(at);
	return rc;
}

int result_get(struct kv *kv, const struct id *client, uint64_t operation, struct slice *ret)
{
	uint8_t space[ROW_KEY_MAX];
	struct slice value;
	uint64_t mark = 0;
	int rc = mark_get(kv, client, &mark);

	if (rc < 0 && rc != -ERR_NOT_FOUND)
		return rc;
	if (operation < mark)
		return -ERR_EXPIRED;
	rc = kv_get(kv, key_result(space, client, operation), &value);
	if (rc < 0)
		return rc;
	if (value.size == 0 || value.data[0] != ROW_VERSION)
		return -ERR_BAD_FORMAT;
	*ret = (struct slice){ value.data + 1, value.size - 1 };
	return 0;
}

static int mark_put(struct kv *kv, const struct id *client, uint64_t operation)
{
	uint8_t space[ROW_KEY_MAX];
	uint8_t row[1 + 8] = { ROW_VERSION };
	struct slice key = key_id(space, "o", client);

	if (operation == UINT64_MAX)
		return kv_remove(kv, key);
	put_u64(row + 1, operation);
	return kv_put(kv, key, (struct slice){ row, sizeof(row) });
}

/* The first operation from the given one on that has an answer. */
static int result_seek(struct kv *kv, const struct id *client, uint64_t from, uint64_t *ret)
{
	uint8_t space[ROW_KEY_MAX];
	struct slice start = key_result(space, client, from);
	struct slice prefix = { start.data, start.size - 8 };
	struct slice key, value;
	int rc = kv_seek(kv, start, &key, &value);

	if (rc < 0)
		return rc;
	if (key.size != start.size || !key_begins(key, prefix))
		return -ERR_NOT_FOUND;
	*ret = get_be64(key.data + prefix.size);
	return 0;
}

int result_trim(struct kv *kv, const struct id *client, uint64_t outstanding, unsigned int most)
{
	uint64_t mark = 0, operation = 0;
	unsigned int count = 0;
	uint8_t space[ROW_KEY_MAX];
	int rc = mark_get(kv, client, &mark);

	if ((rc < 0 && rc != -ERR_NOT_FOUND) || outstanding <= mark)
		return rc == -ERR_NOT_FOUND ? 0 : rc;
	while (count < most) {
		rc = result_seek(kv, client, mark, &operation);
		if (rc == -ERR_NOT_FOUND || (rc == 0 && operation >= outstanding)) {
			mark = outstanding;
			break;
		}
		if (rc == 0)
			rc = kv_remove(kv, key_result(space, client, operation));
		if (rc < 0)
			return rc;
		mark = operation + 1;
		count++;
	}
	rc = mark_put(kv, client, mark);
	return rc < 0 ? rc : (int)count;
}

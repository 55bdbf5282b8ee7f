#include "rows.h"

/* ---- "m": storage servers ---- */

enum {
	MEMBER_VERSION = 2,
	MEMBER_FIXED = ID_SIZE + 2 + 4 * 8 + 1,
	SPACE_SIZE = 4 * 8,
	MEMBER_ENDPOINT = 1 + 1 + ID_SIZE + 2,
	MEMBER_MAX =
		1 + MEMBER_FIXED + SPACE_SIZE + 2 + 255 + 255 + 1 + ENDPOINTS_MAX * MEMBER_ENDPOINT,
};

enum member_flags { MEMBER_RETIRED = 1, MEMBER_DRAINING = 2 };

static void space_get(const uint8_t *at, struct member_space *ret)
{
	ret->capacity = get_u64(at);
	ret->used = get_u64(at + 8);
	ret->free = get_u64(at + 16);
	ret->chunks = get_u64(at + 24);
}

static uint8_t *space_put(uint8_t *at, const struct member_space *space)
{
	put_u64(at, space->capacity);
	put_u64(at + 8, space->used);
	put_u64(at + 16, space->free);
	put_u64(at + 24, space->chunks);
	return at + SPACE_SIZE;
}

static uint8_t *text_put(uint8_t *at, const char *text)
{
	size_t size = strlen(text);

	at[0] = (uint8_t)size;
	memcpy(at + 1, text, size);
	return at + 1 + size;
}

/* Takes a text off the row into `ret` of `room` bytes. */
static int text_get(struct slice *rest, char *ret, size_t room)
{
	size_t size = rest->size ? rest->data[0] : 0;

	if (rest->size < 1 + size || size >= room)
		return -ERR_BAD_FORMAT;
	memcpy(ret, rest->data + 1, size);
	ret[size] = '\0';
	*rest = (struct slice){ rest->data + 1 + size, rest->size - 1 - size };
	return 0;
}

static uint8_t *endpoints_put(uint8_t *at, const struct member_row *member)
{
	*at++ = (uint8_t)member->endpoint_count;
	for (unsigned int i = 0; i < member->endpoint_count; i++) {
		const struct endpoint *endpoint = &member->endpoints[i];

		at[0] = endpoint->family;
		at[1] = endpoint->flags;
		memcpy(at + 2, endpoint->address.bytes, ID_SIZE);
		put_u16(at + 2 + ID_SIZE, endpoint->port);
		at += MEMBER_ENDPOINT;
	}
	return at;
}

static int endpoints_get(struct slice rest, struct member_row *ret)
{
	const uint8_t *at = rest.data + 1;

	ret->endpoint_count = rest.size ? rest.data[0] : ENDPOINTS_MAX + 1;
	if (ret->endpoint_count > ENDPOINTS_MAX ||
	    rest.size != 1 + (size_t)ret->endpoint_count * MEMBER_ENDPOINT)
		return -ERR_BAD_FORMAT;
	for (unsigned int i = 0; i < ret->endpoint_count; i++, at += MEMBER_ENDPOINT) {
		struct endpoint *endpoint = &ret->endpoints[i];

		*endpoint = (struct endpoint){ .family = at[0], .flags = at[1] };
		memcpy(endpoint->address.bytes, at + 2, ID_SIZE);
		endpoint->port = get_u16(at + 2 + ID_SIZE);
	}
	return 0;
}

static int member_decode(struct slice key, struct slice value, struct member_row *ret)
{
	const uint8_t *at = value.data + 1;
	struct slice texts;
	int rc;

	if (value.size < 1 + MEMBER_FIXED + SPACE_SIZE || value.data[0] != MEMBER_VERSION)
		return -ERR_BAD_FORMAT;
	memcpy(ret->node.bytes, key.data + 1, ID_SIZE);
	memcpy(ret->disk.bytes, at, ID_SIZE);
	ret->number = get_u16(at + 16);
	ret->first_seen_ms = get_u64(at + 18);
	ret->last_start_ms = get_u64(at + 26);
	ret->starts = get_u64(at + 34);
	ret->generation = get_u64(at + 42);
	ret->retired = at[50] & MEMBER_RETIRED;
	ret->draining = at[50] & MEMBER_DRAINING;
	space_get(at + MEMBER_FIXED, &ret->space);
	at += MEMBER_FIXED + SPACE_SIZE;
	texts = (struct slice){ at, (size_t)(value.data + value.size - at) };
	rc = text_get(&texts, ret->name, sizeof(ret->name));
	if (rc == 0)
		rc = text_get(&texts, ret->zone, sizeof(ret->zone));
	return rc < 0 ? rc : endpoints_get(texts, ret);
}

int member_get(struct kv *kv, const struct id *node, struct member_row *ret)
{
	uint8_t space[ROW_KEY_MAX];
	struct slice key = key_id(space, "m", node);
	struct slice value;
	int rc = kv_get(kv, key, &value);

	return rc < 0 ? rc : member_decode(key, value, ret);
}

int member_put(struct kv *kv, const struct member_row *member)
{
	uint8_t space[ROW_KEY_MAX];
	uint8_t row[MEMBER_MAX] = { MEMBER_VERSION };
	uint8_t *at = row + 1;

	memcpy(at, member->disk.bytes, ID_SIZE);
	put_u16(at + 16, member->number);
	put_u64(at + 18, member->first_seen_ms);
	put_u64(at + 26, member->last_start_ms);
	put_u64(at + 34, member->starts);
	put_u64(at + 42, member->generation);
	at[50] = (uint8_t)((member->retired ? MEMBER_RETIRED : 0) |
			   (member->draining ? MEMBER_DRAINING : 0));
	at = space_put(at + MEMBER_FIXED, &member->space);
	at = text_put(at, member->name);
	at = text_put(at, member->zone);
	at = endpoints_put(at, member);
	return kv_put(kv, key_id(space, "m", &member->node),
		      (struct slice){ row, (size_t)(at - row) });
}

int member_remove(struct kv *kv, const struct id *node)
{
	uint8_t space[ROW_KEY_MAX];

	return kv_remove(kv, key_id(space, "m", node));
}

int member_next(struct kv *kv, const struct id *after, struct member_row *ret)
{
	uint8_t space[ROW_KEY_MAX], next[KV_KEY_SIZE_MAX + 1];
	struct slice start = { (const uint8_t *)"m", 1 };
	struct slice key, value;
	int rc;

	if (after)
		start = kv_after(key_id(space, "m", after), next);
	rc = kv_seek(kv, start, &key, &value);
	if (rc < 0)
		return rc;
	if (key.size != 1 + ID_SIZE || key.data[0] != 'm')
		return -ERR_NOT_FOUND;
	return member_decode(key, value, ret);
}

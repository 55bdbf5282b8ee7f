#include "beacon.h"

#include "error.h"

enum {
	VERSION = 1,
	FLAG_WAITS = 1,
	FLAG_FETCHES = 2,
	FLAGS = FLAG_WAITS | FLAG_FETCHES,
	TAG_OFFSET = 112,
	TAG_SIZE = 16,
	NAME_OFFSET = 80,
	NAME_SIZE = 32
};

static const uint8_t magic[4] = { 'M', 'S', 'T', 'R' };

/* Tells keys apart without telling anything about them; 0 is kept for open clusters. */
static uint32_t key_id_of(struct hmac *key)
{
	static const char label[] = "muster beacon key id";
	uint8_t tag[TAG_SIZE];

	if (!key)
		return 0;
	hmac_sign(key, label, sizeof(label) - 1, tag);
	return get_u32(tag) ? get_u32(tag) : 1;
}

void beacon_encode(const struct beacon *beacon, struct hmac *key, uint8_t ret[BEACON_SIZE])
{
	memset(ret, 0, BEACON_SIZE);
	memcpy(ret, magic, sizeof(magic));
	ret[4] = VERSION;
	ret[5] = beacon->kind;
	put_u16(ret + 6, BEACON_SIZE);
	put_u32(ret + 8, key_id_of(key));
	put_u16(ret + 12, beacon->port);
	put_u16(ret + 14, (uint16_t)((beacon->waits ? FLAG_WAITS : 0) |
				     (beacon->fetches ? FLAG_FETCHES : 0)));
	memcpy(ret + 16, beacon->cluster.bytes, ID_SIZE);
	memcpy(ret + 32, beacon->server.bytes, ID_SIZE);
	put_u64(ret + 48, beacon->epoch);
	put_u64(ret + 56, beacon->start);
	put_u64(ret + 64, beacon->counter);
	put_u32(ret + 72, beacon->interval_ms);
	put_u32(ret + 76, beacon->process);
	memcpy(ret + NAME_OFFSET, beacon->cluster_name,
	       strnlen(beacon->cluster_name, CLUSTER_NAME_MAX));
	if (key)
		hmac_sign(key, ret, TAG_OFFSET, ret + TAG_OFFSET);
}

static bool is_zero(const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (bytes[i] != 0)
			return false;
	}
	return true;
}

static bool is_well_formed(const uint8_t *bytes)
{
	size_t name_size = strnlen((const char *)bytes + NAME_OFFSET, NAME_SIZE);

	return memcmp(bytes, magic, sizeof(magic)) == 0 && bytes[4] == VERSION &&
	       get_u16(bytes + 6) == BEACON_SIZE && get_u16(bytes + 14) <= FLAGS &&
	       name_size < NAME_SIZE &&
	       is_zero(bytes + NAME_OFFSET + name_size, NAME_SIZE - name_size);
}

static bool is_signed(const uint8_t *bytes, struct hmac *key)
{
	if (get_u32(bytes + 8) != key_id_of(key))
		return false;
	if (!key)
		return is_zero(bytes + TAG_OFFSET, TAG_SIZE);
	return hmac_verify(key, bytes, TAG_OFFSET, bytes + TAG_OFFSET);
}

/* Only a probe may come from nobody, and only a name server be a stand-by or fetch. */
static bool is_kind_complete(const struct beacon *beacon)
{
	switch (beacon->kind) {
	case BEACON_PROBE: return !beacon->waits && !beacon->fetches;
	case BEACON_STORAGE:
		if (beacon->waits || beacon->fetches)
			return false;
		/* fall through */
	case BEACON_NAMESERVER:
	case BEACON_BEGINNER: return beacon->port != 0 && !id_is_none(&beacon->server);
	default: return false;
	}
}

bool beacon_is_nameserver(const struct beacon *beacon)
{
	return beacon->kind == BEACON_NAMESERVER || beacon->kind == BEACON_BEGINNER;
}

int beacon_decode(const void *datagram, size_t size, struct hmac *key, struct beacon *ret)
{
	const uint8_t *bytes = datagram;

	if (size != BEACON_SIZE || !is_well_formed(bytes))
		return -ERR_BAD_REQUEST;
	if (!is_signed(bytes, key))
		return -ERR_DENIED;
	*ret = (struct beacon){
		.kind = bytes[5],
		.port = get_u16(bytes + 12),
		.epoch = get_u64(bytes + 48),
		.start = get_u64(bytes + 56),
		.counter = get_u64(bytes + 64),
		.interval_ms = get_u32(bytes + 72),
		.process = get_u32(bytes + 76),
		.waits = get_u16(bytes + 14) & FLAG_WAITS,
		.fetches = get_u16(bytes + 14) & FLAG_FETCHES,
	};
	memcpy(ret->cluster.bytes, bytes + 16, ID_SIZE);
	memcpy(ret->server.bytes, bytes + 32, ID_SIZE);
	memcpy(ret->cluster_name, bytes + NAME_OFFSET, NAME_SIZE);
	return is_kind_complete(ret) ? 0 : -ERR_BAD_REQUEST;
}

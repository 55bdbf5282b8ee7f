/* Chunk places handed out to clients, and the puts they belong to. */
#include "ns_state.h"

struct lease *lease_find(const struct nameserver *ns, uint64_t chunk)
{
	struct lease *lease;

	HASH_FIND(hh, ns->leases, &chunk, sizeof(chunk), lease);
	return lease;
}

unsigned int lease_copies(const struct lease *lease)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < lease->count; i++)
		count += lease->durable >> i & 1;
	return count;
}

static int lease_position(const struct lease *lease, const struct member *member)
{
	for (int i = 0; i < lease->count; i++) {
		if (lease->holders[i] == member->row.number)
			return i;
	}
	return -ERR_NOT_FOUND;
}

static void lease_gone(struct lease *lease, const struct member *member)
{
	int position = lease_position(lease, member);

	if (position >= 0)
		lease->gone = (uint16_t)(lease->gone | 1u << position);
}

void lease_give_up(struct nameserver *ns, struct lease *lease, const struct id *node)
{
	const struct member *member = member_find(ns, node);

	if (member)
		lease_gone(lease, member);
}

void leases_void(struct nameserver *ns, const struct member *member)
{
	struct lease *lease, *next;

	HASH_ITER(hh, ns->leases, lease, next)
		lease_gone(lease, member);
}

unsigned int lease_coming(const struct nameserver *ns, const struct lease *lease)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < lease->count; i++) {
		const struct member *member = member_by_number(ns, lease->holders[i]);

		count += !((lease->durable | lease->gone) >> i & 1) && member_is_up(member);
	}
	return count;
}

static int leases_room(struct put *put)
{
	uint32_t capacity = put->capacity ? put->capacity * 2 : 8;
	struct lease **leases;

	if (put->count < put->capacity)
		return 0;
	leases = realloc(put->leases, capacity * sizeof(struct lease *));
	if (!leases)
		return -ERR_NO_MEMORY;
	put->leases = leases;
	put->capacity = capacity;
	return 0;
}

int lease_holder_add(struct lease *lease, struct member *member)
{
	if (lease->count == LEASE_HOLDERS_MAX)
		return -ERR_NO_NODES;
	lease->holders[lease->count++] = member->row.number;
	member->leased += lease->length_max;
	return 0;
}

int lease_new(struct nameserver *ns, struct put *put, uint32_t length_max, unsigned int copies,
	      struct lease **ret)
{
	struct placement wanted = { .length = length_max, .copies = copies };
	struct member *chosen[COPIES_MAX];
	struct lease *lease;
	int count;

	if (HASH_COUNT(ns->leases) >= LEASES_MAX)
		return -ERR_BUSY;
	if (leases_room(put) < 0)
		return -ERR_NO_MEMORY;
	count = placement_choose(ns, &wanted, chosen);
	if (count < 0)
		return count;
	lease = calloc(1, sizeof(*lease));
	if (!lease)
		return -ERR_NO_MEMORY;
	lease->chunk = fresh_id(ns, &ns->next_chunk);
	lease->put = put;
	lease->index = put->count;
	lease->length_max = length_max;
	for (int i = 0; i < count; i++)
		lease_holder_add(lease, chosen[i]);
	put->leases[put->count++] = lease;
	HASH_ADD(hh, ns->leases, chunk, sizeof(lease->chunk), lease);
	*ret = lease;
	return 0;
}

static void holder_release(struct nameserver *ns, const struct lease *lease, unsigned int position,
			   bool kept)
{
	struct member *member = member_by_number(ns, lease->holders[position]);

	member->leased -= lease->length_max;
	if (!kept)
		chunk_doom(ns, member, lease->chunk);
}

static void lease_drop(struct nameserver *ns, struct lease *lease, bool kept)
{
	for (unsigned int i = 0; i < lease->count; i++)
		holder_release(ns, lease, i, kept);
	lease->put->sealed -= lease->durable != 0;
	HASH_DEL(ns->leases, lease);
	free(lease);
}

/* The last of the put closes the gap. */
void lease_free(struct nameserver *ns, struct lease *lease, bool kept)
{
	struct put *put = lease->put;

	put->count--;
	put->leases[lease->index] = put->leases[put->count];
	put->leases[lease->index]->index = lease->index;
	lease_drop(ns, lease, kept);
}

/* ---- receipts ---- */

static int receipt_fits(const struct lease *lease, const struct receipt *receipt)
{
	if (receipt->length == 0 || receipt->length > lease->length_max)
		return -ERR_BAD_REQUEST;
	if (lease->length == 0)
		return 0;
	if (lease->length != receipt->length || !digest_equal(&lease->digest, &receipt->digest))
		return -ERR_BAD_REQUEST;
	return 0;
}

/* Counts a receipt; idempotent. */
int lease_receipt(struct nameserver *ns, struct lease *lease, const struct receipt *receipt)
{
	struct member *member;
	int rc = receipt_check(ns, receipt, &member), position;

	if (rc <= 0)
		return rc;
	position = lease_position(lease, member);
	if (position < 0)
		return -ERR_BAD_RECEIPT;
	rc = receipt_fits(lease, receipt);
	if (rc < 0)
		return rc;
	if (!(lease->durable >> position & 1))
		member_gained(member, receipt->length);
	lease->put->sealed += lease->durable == 0;
	lease->durable = (uint16_t)(lease->durable | 1u << position);
	lease->length = (uint32_t)receipt->length;
	lease->digest = receipt->digest;
	return 0;
}

int receipts_take(struct nameserver *ns, struct put *put, const struct receipt *receipts,
		  unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		struct lease *lease = lease_find(ns, receipts[i].chunk);
		int rc;

		if (!lease || lease->put != put)
			return -ERR_BAD_RECEIPT;
		rc = lease_receipt(ns, lease, &receipts[i]);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- puts ---- */

struct put *put_new(struct nameserver *ns, struct client *client, uint64_t number)
{
	struct put *put = calloc(1, sizeof(*put));

	if (!put)
		return NULL;
	put->number = number;
	put->client = client;
	put->size = SIZE_UNKNOWN;
	put->chunk_size = ns->config.chunk_size;
	put->begun_ms = put->renewed_ms = ns->now_ms;
	TAILQ_INSERT_TAIL(&ns->put_order, put, order);
	if (number) {
		HASH_ADD(hh, ns->puts, number, sizeof(put->number), put);
		LIST_INSERT_HEAD(&client->puts, put, of_client);
		client->put_count++;
	} else {
		client->ahead = put;
	}
	return put;
}

void put_free(struct nameserver *ns, struct put *put)
{
	/* In ascending order, which is the cheap one for chunk_doom(). */
	for (uint32_t i = 0; i < put->count; i++)
		lease_drop(ns, put->leases[i], false);
	TAILQ_REMOVE(&ns->put_order, put, order);
	if (put->number) {
		HASH_DEL(ns->puts, put);
		LIST_REMOVE(put, of_client);
		put->client->put_count--;
	} else {
		put->client->ahead = NULL;
	}
	free(put->leases);
	free(put);
}

void put_renew(struct nameserver *ns, struct put *put)
{
	put->renewed_ms = ns->now_ms;
	TAILQ_REMOVE(&ns->put_order, put, order);
	TAILQ_INSERT_TAIL(&ns->put_order, put, order);
}

/* 0 names the places leased ahead. */
struct put *put_find(const struct nameserver *ns, const struct client *client, uint64_t number)
{
	struct put *put = client->ahead;

	if (number)
		HASH_FIND(hh, ns->puts, &number, sizeof(number), put);
	return put && put->client == client ? put : NULL;
}

void puts_tick(struct nameserver *ns)
{
	struct put *put;

	while ((put = TAILQ_FIRST(&ns->put_order)) && ns->now_ms - put->renewed_ms >= LEASE_MS)
		put_free(ns, put);
}

uint64_t puts_deadline(const struct nameserver *ns)
{
	const struct put *put = TAILQ_FIRST(&ns->put_order);

	return put ? put->renewed_ms + LEASE_MS : UINT64_MAX;
}

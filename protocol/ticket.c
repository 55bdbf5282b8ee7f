#include "ticket.h"

#include <assert.h>

#include "codec.h"
#include "error.h"

enum { SIGNED_SIZE_MAX = 128 };

/* The record as it travels; the tag, its last field, is not signed. Returns what is, in bytes. */
static int signed_part(enum record_number number, const void *record, uint8_t ret[SIGNED_SIZE_MAX])
{
	int size = record_encode_fixed(record_at(number), record, ret, SIGNED_SIZE_MAX);

	return size < 0 ? size : size - ID_SIZE;
}

static void sign(struct hmac *key, enum record_number number, const void *record, struct id *ret)
{
	uint8_t bytes[SIGNED_SIZE_MAX];
	int size = signed_part(number, record, bytes);

	assert(size > 0);
	hmac_sign(key, bytes, (size_t)size, ret->bytes);
}

static bool verify(struct hmac *key, enum record_number number, const void *record,
		   const struct id *tag)
{
	uint8_t bytes[SIGNED_SIZE_MAX];
	int size = signed_part(number, record, bytes);

	return size > 0 && hmac_verify(key, bytes, (size_t)size, tag->bytes);
}

void ticket_sign(struct hmac *key, struct ticket *ticket)
{
	sign(key, RECORD_ticket, ticket, &ticket->tag);
}

void receipt_sign(struct hmac *key, struct receipt *receipt)
{
	sign(key, RECORD_receipt, receipt, &receipt->tag);
}

bool receipt_verify(struct hmac *key, const struct receipt *receipt)
{
	return verify(key, RECORD_receipt, receipt, &receipt->tag);
}

int ticket_verify(struct hmac *key, const struct ticket *ticket, const struct ticket_use *use)
{
	if (!id_equal(&ticket->holder, &use->holder))
		return -ERR_WRONG_NODE;
	if (ticket->epoch != use->epoch)
		return -ERR_EXPIRED;
	if (!verify(key, RECORD_ticket, ticket, &ticket->tag))
		return -ERR_DENIED;
	if (ticket->operation != use->operation || !id_equal(&ticket->client, &use->client))
		return -ERR_DENIED;
	if (use->chunk != 0 && ticket->chunk != use->chunk)
		return -ERR_DENIED;
	return use->now_s < ticket->expiry ? 0 : -ERR_EXPIRED;
}

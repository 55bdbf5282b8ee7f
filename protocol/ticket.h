/* Tickets let a client use one chunk on one server; receipts prove that a server made a chunk
 * durable. Both are signed with the key that the name server handed out at REGISTER. Pure. */
#ifndef MUSTER_PROTOCOL_TICKET_H
#define MUSTER_PROTOCOL_TICKET_H

#include "hash.h"
#include "message.h"

/* They fill in the tag. */
void ticket_sign(struct hmac *key, struct ticket *ticket);
void receipt_sign(struct hmac *key, struct receipt *receipt);
bool receipt_verify(struct hmac *key, const struct receipt *receipt);

struct ticket_use {
	struct id holder;
	struct id client;
	uint64_t epoch;
	uint32_t now_s; /* since the holder registered */
	uint8_t operation;
	uint64_t chunk; /* 0: whatever the ticket says */
};

/* 0; -ERR_DENIED: not signed by us, or for another use; -ERR_WRONG_NODE: for another holder;
 * -ERR_EXPIRED: `now_s` has reached its expiry, or it is of another epoch. Holder and epoch are
 * looked at before the tag: another key signed such a ticket, and the client shall learn why. */
int ticket_verify(struct hmac *key, const struct ticket *ticket, const struct ticket_use *use);

#endif

/* Addresses as they travel. Pure but for nothing: no resolver here. */
#ifndef MUSTER_PROTOCOL_ENDPOINT_H
#define MUSTER_PROTOCOL_ENDPOINT_H

#include <stdbool.h>

#include "message.h"

enum { ENDPOINT_TEXT_MAX = 64 };

struct endpoint endpoint_ipv4(uint32_t address_host_order, uint16_t port);
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b); /* flags do not count */
bool endpoint_is_loopback(const struct endpoint *endpoint);
/* "192.168.1.5:3503" */
const char *endpoint_format(const struct endpoint *endpoint, char ret[ENDPOINT_TEXT_MAX]);
/* Numeric addresses only. Without ":PORT" the port is `port`. */
int endpoint_parse(const char *text, uint16_t port, struct endpoint *ret);

/* Copies from `list` what may be handed to a peer: loopback only to a peer on the same machine.
 * Best first: for the same machine loopback leads, else what a peer has seen, then advertised.
 * Returns how many were copied. */
unsigned int endpoints_for_peer(const struct endpoint *list, unsigned int count, bool same_machine,
				struct endpoint ret[ENDPOINTS_MAX]);

#endif

/* What the files of this folder share. */
#ifndef MUSTER_SOCKETS_H
#define MUSTER_SOCKETS_H

#include "endpoint.h"
#include "error.h"
#include "network.h"

/* IPv6 endpoints are not dialled yet: -ERR_UNSUPPORTED. */
static inline int endpoint_address(const struct endpoint *endpoint, struct address *ret)
{
	const uint8_t *ip = endpoint->address.bytes;

	*ret = (struct address){
		.ip = (uint32_t)ip[0] << 24 | (uint32_t)ip[1] << 16 | (uint32_t)ip[2] << 8 | ip[3],
		.port = endpoint->port,
	};
	return endpoint->family == 4 ? 0 : -ERR_UNSUPPORTED;
}

#endif

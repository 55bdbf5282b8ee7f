#include "endpoint.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "error.h"
#include "text.h"

enum { IPV4_SIZE = 4, LOOPBACK_NET = 127 };

struct endpoint endpoint_ipv4(uint32_t address_host_order, uint16_t port)
{
	struct endpoint endpoint = { .family = 4, .port = port };

	for (int i = 0; i < IPV4_SIZE; i++)
		endpoint.address.bytes[i] = (uint8_t)(address_host_order >> (24 - 8 * i));
	if (endpoint_is_loopback(&endpoint))
		endpoint.flags = ENDPOINT_LOOPBACK;
	return endpoint;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	return a->family == b->family && a->port == b->port && id_equal(&a->address, &b->address);
}

bool endpoint_is_loopback(const struct endpoint *endpoint)
{
	static const struct id loopback_ipv6 = { .bytes = { [ID_SIZE - 1] = 1 } };

	if (endpoint->family == 4)
		return endpoint->address.bytes[0] == LOOPBACK_NET;
	return endpoint->family == 6 && id_equal(&endpoint->address, &loopback_ipv6);
}

const char *endpoint_format(const struct endpoint *endpoint, char ret[ENDPOINT_TEXT_MAX])
{
	char address[INET6_ADDRSTRLEN] = "?";

	if (endpoint->family == 6) {
		inet_ntop(AF_INET6, endpoint->address.bytes, address, sizeof(address));
		snprintf(ret, ENDPOINT_TEXT_MAX, "[%s]:%u", address, endpoint->port);
	} else {
		if (endpoint->family == 4)
			inet_ntop(AF_INET, endpoint->address.bytes, address, sizeof(address));
		snprintf(ret, ENDPOINT_TEXT_MAX, "%s:%u", address, endpoint->port);
	}
	return ret;
}

/* Splits ADDRESS, ADDRESS:PORT, [ADDRESS] or [ADDRESS]:PORT in place; *ret_port NULL: none. */
static char *split_port(char *text, char **ret_port)
{
	char *colon = strchr(text, ':');
	char *bracket;

	*ret_port = NULL;
	if (text[0] == '[') {
		bracket = strchr(text, ']');
		if (!bracket || (bracket[1] != '\0' && bracket[1] != ':'))
			return NULL;
		if (bracket[1] == ':')
			*ret_port = bracket + 2;
		*bracket = '\0';
		return text + 1;
	}
	if (colon && !strchr(colon + 1, ':')) {
		*colon = '\0';
		*ret_port = colon + 1;
	}
	return text;
}

int endpoint_parse(const char *text, uint16_t port, struct endpoint *ret)
{
	char copy[ENDPOINT_TEXT_MAX];
	uint64_t number = port;
	char *port_text;
	char *address;

	if (strlen(text) >= sizeof(copy))
		return -ERR_USAGE;
	memcpy(copy, text, strlen(text) + 1);
	address = split_port(copy, &port_text);
	if (!address || (port_text && number_parse(port_text, 1, UINT16_MAX, &number) < 0))
		return -ERR_USAGE;
	*ret = (struct endpoint){ .port = (uint16_t)number };
	if (inet_pton(AF_INET, address, ret->address.bytes) == 1)
		ret->family = 4;
	else if (inet_pton(AF_INET6, address, ret->address.bytes) == 1)
		ret->family = 6;
	else
		return -ERR_USAGE;
	if (endpoint_is_loopback(ret))
		ret->flags = ENDPOINT_LOOPBACK;
	return 0;
}

enum { RANK_LOOPBACK, RANK_SEEN, RANK_ADVERTISED, RANK_OTHER, RANK_COUNT };

static int rank_of(const struct endpoint *endpoint)
{
	if (endpoint_is_loopback(endpoint))
		return RANK_LOOPBACK;
	if (endpoint->flags & ENDPOINT_SEEN)
		return RANK_SEEN;
	return endpoint->flags & ENDPOINT_ADVERTISED ? RANK_ADVERTISED : RANK_OTHER;
}

static bool contains(const struct endpoint *list, unsigned int count,
		     const struct endpoint *endpoint)
{
	for (unsigned int i = 0; i < count; i++) {
		if (endpoint_equal(&list[i], endpoint))
			return true;
	}
	return false;
}

unsigned int endpoints_for_peer(const struct endpoint *list, unsigned int count, bool same_machine,
				struct endpoint ret[ENDPOINTS_MAX])
{
	unsigned int copied = 0;

	for (int rank = same_machine ? RANK_LOOPBACK : RANK_SEEN; rank < RANK_COUNT; rank++) {
		for (unsigned int i = 0; i < count && copied < ENDPOINTS_MAX; i++) {
			if (rank_of(&list[i]) == rank && !contains(ret, copied, &list[i]))
				ret[copied++] = list[i];
		}
	}
	return copied;
}

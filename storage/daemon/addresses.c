/* Where this server listens, and what it tells others about that. */
#include <stdio.h>
#include <string.h>

#include "endpoint.h"
#include "error.h"
#include "log.h"
#include "network.h"
#include "storage_daemon.h"

static unsigned int add(struct endpoint *list, unsigned int count, struct endpoint endpoint)
{
	if (count == ENDPOINTS_MAX)
		return count;
	endpoint.flags = (uint8_t)(ENDPOINT_ADVERTISED |
				   (endpoint_is_loopback(&endpoint) ? ENDPOINT_LOOPBACK : 0));
	list[count] = endpoint;
	return count + 1;
}

static unsigned int from_interfaces(const struct daemon *daemon, struct endpoint *ret)
{
	const struct option_list *only = &daemon->settings->interfaces;
	struct interface interfaces[INTERFACES_MAX];
	int found = interfaces_list(only->items, only->count, interfaces);
	unsigned int count = 0;

	for (int i = 0; i < found; i++)
		count = add(ret, count, endpoint_ipv4(interfaces[i].ip, daemon->port));
	return count;
}

static unsigned int from_advertise(const struct daemon *daemon, struct endpoint *ret)
{
	const struct option_list *advertise = &daemon->settings->advertise;
	unsigned int count = 0;

	for (unsigned int i = 0; i < advertise->count; i++) {
		struct address addresses[ENDPOINTS_MAX];
		int found = address_resolve(advertise->items[i], daemon->port, addresses,
					    ENDPOINTS_MAX);

		for (int k = 0; k < found; k++)
			count = add(ret, count, endpoint_ipv4(addresses[k].ip, addresses[k].port));
	}
	return count;
}

/* What --advertise says is asked for once: the resolver may take its time. */
bool daemon_addresses(struct daemon *daemon)
{
	struct endpoint list[ENDPOINTS_MAX] = { 0 };
	unsigned int count;
	bool same;

	if (daemon->settings->advertise.count && daemon->endpoint_count)
		return false;
	count = daemon->settings->advertise.count ? from_advertise(daemon, list)
						  : from_interfaces(daemon, list);
	same = count == daemon->endpoint_count;
	for (unsigned int i = 0; i < count && same; i++)
		same = endpoint_equal(&list[i], &daemon->endpoints[i]);
	if (same || count == 0)
		return false;
	memcpy(daemon->endpoints, list, sizeof(list));
	daemon->endpoint_count = count;
	return true;
}

static int listen_one(struct daemon *daemon, const struct endpoint *endpoint)
{
	struct listener **listener = &daemon->listeners[daemon->listener_count];
	int rc = listener_new(&daemon->loop, endpoint, wire_opened, daemon, listener);

	if (rc < 0)
		return rc;
	daemon->listener_count++;
	daemon->port = listener_port(*listener);
	return 0;
}

static int listen_everywhere(struct daemon *daemon, uint16_t port)
{
	struct interface interfaces[INTERFACES_MAX];
	const struct option_list *only = &daemon->settings->interfaces;
	struct endpoint endpoint = endpoint_ipv4(0, port);
	int count, rc = 0;

	if (only->count == 0)
		return listen_one(daemon, &endpoint);
	count = interfaces_list(only->items, only->count, interfaces);
	if (count <= 0)
		return count < 0 ? count : -ERR_NOT_FOUND;
	for (int i = 0; i < count && i < OPTION_LIST_MAX && rc == 0; i++) {
		endpoint = endpoint_ipv4(interfaces[i].ip, i ? daemon->port : port);
		rc = listen_one(daemon, &endpoint);
	}
	return rc;
}

static void unlisten(struct daemon *daemon)
{
	while (daemon->listener_count)
		listener_free(daemon->listeners[--daemon->listener_count]);
}

int daemon_listen(struct daemon *daemon, char message[MESSAGE_SIZE_MAX])
{
	const struct settings *settings = daemon->settings;
	int rc = listen_everywhere(daemon, settings->port);

	if (rc == -ERR_ADDRESS_IN_USE && !settings->port_text) {
		unlisten(daemon);
		rc = listen_everywhere(daemon, 0);
	}
	if (rc == -ERR_NOT_FOUND)
		snprintf(message, MESSAGE_SIZE_MAX,
			 "--interface: there is none of that name or address");
	else if (rc < 0)
		snprintf(message, MESSAGE_SIZE_MAX, "TCP port %u: %s; choose another with --port",
			 settings->port, error_text(rc));
	if (rc < 0)
		return rc;
	if (!daemon_addresses(daemon)) {
		snprintf(message, MESSAGE_SIZE_MAX,
			 "there is no address to be reached at; see --advertise");
		return -ERR_NOT_FOUND;
	}
	return 0;
}

/* Sockets and interfaces without an event loop: shared by the daemons' transport and libmuster.
 * Sockets are non-blocking and close-on-exec. Glue only. */
#ifndef MUSTER_BASE_NETWORK_H
#define MUSTER_BASE_NETWORK_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"

/* IPv4, host byte order. */
struct address {
	uint32_t ip;
	uint16_t port;
};

enum { INTERFACES_MAX = 64, INTERFACE_NAME_MAX = 16 };

struct interface {
	char name[INTERFACE_NAME_MAX];
	uint32_t ip;
	uint32_t broadcast; /* 127.255.255.255 for loopback */
	bool loopback;
};

/* Interfaces that are up and have an IPv4 address; loopback counts, point-to-point does not.
 * `only` limits them by name or address (count 0: all). Returns how many. */
int interfaces_list(const char *const *only, unsigned int only_count,
		    struct interface ret[INTERFACES_MAX]);

int tcp_listen(const struct address *address);  /* a socket; port 0: any; SO_REUSEADDR */
int tcp_connect(const struct address *address); /* a socket whose connect may be in progress */
int tcp_connected(int socket);                  /* 0, or why the connect failed */
/* A socket; -ERR_END: nobody waits; -ERR_UNAVAILABLE: no descriptor is left. */
int tcp_accept(int listener, struct address *ret_peer);
int socket_local(int socket, struct address *ret);
int socket_peer(int socket, struct address *ret);
/* Receives broadcasts: bound to 0.0.0.0:port with SO_REUSEADDR, so that many share it. */
int udp_beacon_receiver(uint16_t port);
int udp_beacon_sender(void); /* SO_BROADCAST, any port */
int udp_send(int socket, const struct address *to, const void *data, size_t size);

/* "host", "host:port" or "1.2.3.4:port" through the resolver (blocking). Returns how many. */
int address_resolve(const char *text, uint16_t default_port, struct address *ret, int most);

/* Equal for all processes that share a network stack on one boot of one machine. */
int machine_id(struct id *ret);
int host_name(char *ret, unsigned int size);

#endif

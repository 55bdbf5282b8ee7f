/* Beacons heard and probes sent, on the interfaces that were allowed. */
#include "engine.h"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "error.h"

enum { LOOPBACK_BROADCAST = 0x7fffffff, DATAGRAMS_AT_ONCE = 32 };

static void receiver_open(struct muster *session)
{
	int on = 1;

	session->beacons = udp_beacon_receiver(session->beacon_port);
	if (session->beacons < 0) {
		session->beacons = -1;
		return;
	}
	setsockopt(session->beacons, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on));
	if (engine_watch(session, session->beacons, EPOLLIN, &session->beacons_watch) < 0) {
		close(session->beacons);
		session->beacons = -1;
	}
}

/* A port that cannot be bound is no reason to give up: the address may be known from before. */
void beacons_listen(struct muster *session, bool on)
{
	if (on && session->beacons < 0) {
		receiver_open(session);
	} else if (!on && session->beacons >= 0) {
		close(session->beacons);
		session->beacons = -1;
	}
}

static int allowed_interfaces(const struct muster *session, struct interface ret[INTERFACES_MAX])
{
	return interfaces_list((const char *const *)session->interfaces, session->interface_count,
			       ret);
}

void beacons_probe(struct muster *session, const void *datagram)
{
	struct interface interfaces[INTERFACES_MAX];
	int count = allowed_interfaces(session, interfaces);

	if (session->beacon_sender < 0)
		session->beacon_sender = udp_beacon_sender();
	if (session->beacon_sender < 0) {
		session->beacon_sender = -1;
		return;
	}
	for (int i = 0; i < count; i++) {
		struct address to = { interfaces[i].broadcast, session->beacon_port };

		if (interfaces[i].loopback)
			to.ip = LOOPBACK_BROADCAST;
		udp_send(session->beacon_sender, &to, datagram, BEACON_SIZE);
	}
}

/* A datagram came to the broadcast address of an interface that counts. */
static bool is_allowed(const struct muster *session, uint32_t to)
{
	struct interface interfaces[INTERFACES_MAX];
	int count;

	if (session->interface_count == 0)
		return true;
	count = allowed_interfaces(session, interfaces);
	for (int i = 0; i < count; i++) {
		if (interfaces[i].broadcast == to || interfaces[i].ip == to)
			return true;
	}
	return false;
}

/* The address to which a datagram was sent; 0: unknown. */
static uint32_t destination(struct msghdr *message)
{
	struct cmsghdr *at;

	for (at = CMSG_FIRSTHDR(message); at; at = CMSG_NXTHDR(message, at)) {
		struct in_pktinfo info;

		if (at->cmsg_level != IPPROTO_IP || at->cmsg_type != IP_PKTINFO)
			continue;
		memcpy(&info, CMSG_DATA(at), sizeof(info));
		return ntohl(info.ipi_addr.s_addr);
	}
	return 0;
}

static bool receive_one(struct muster *session)
{
	uint8_t datagram[BEACON_SIZE + 1];
	union {
		char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
		struct cmsghdr align;
	} control;
	struct sockaddr_in from = { .sin_family = AF_INET };
	struct iovec part = { datagram, sizeof(datagram) };
	struct msghdr message = {
		.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	struct beacon beacon;
	struct endpoint source;
	ssize_t size = recvmsg(session->beacons, &message, 0);

	if (size < 0)
		return false;
	if (beacon_decode(datagram, (size_t)size, NULL, &beacon) < 0 ||
	    beacon.kind == BEACON_PROBE || !is_allowed(session, destination(&message)))
		return true;
	source = endpoint_ipv4(ntohl(from.sin_addr.s_addr), ntohs(from.sin_port));
	engine_step(session, &(struct client_event){ .kind = CLIENT_HEARD,
						     .beacon = &beacon,
						     .endpoints = &source,
						     .count = 1 });
	return true;
}

void beacons_receive(struct muster *session)
{
	for (int i = 0; i < DATAGRAMS_AT_ONCE && session->beacons >= 0; i++) {
		if (!receive_one(session))
			return;
	}
}

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "beacon.h"
#include "error.h"
#include "sockets.h"
#include "transport.h"

enum { DATAGRAMS_MAX = 64 /* in one loop turn */ };

struct beacon_socket {
	uv_poll_t poll;
	int receiver; /* -1: only sends */
	int sender;
	uint16_t port;
	char **only;
	unsigned int only_count;
	beacon_heard_fn *heard;
	void *context;
};

/* The interface a datagram came in through; 0: unknown. */
static unsigned int arrival_of(struct msghdr *message)
{
	for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at; at = CMSG_NXTHDR(message, at)) {
		struct in_pktinfo info;

		if (at->cmsg_level != IPPROTO_IP || at->cmsg_type != IP_PKTINFO)
			continue;
		memcpy(&info, CMSG_DATA(at), sizeof(info));
		return (unsigned int)info.ipi_ifindex;
	}
	return 0;
}

struct heard_where {
	struct interface allowed[INTERFACES_MAX];
	int count; /* -1: anywhere */
};

static bool is_allowed(const struct heard_where *where, unsigned int index)
{
	char name[IF_NAMESIZE];

	if (where->count < 0)
		return true;
	if (!if_indextoname(index, name))
		return false;
	for (int i = 0; i < where->count; i++) {
		if (strcmp(where->allowed[i].name, name) == 0)
			return true;
	}
	return false;
}

/* One byte more than a beacon, so that longer ones show. */
static bool hear_one(struct beacon_socket *socket, const struct heard_where *where)
{
	uint8_t datagram[BEACON_SIZE + 1];
	union {
		struct cmsghdr aligned;
		uint8_t bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
	} control;
	struct sockaddr_in from = { 0 };
	struct iovec part = { datagram, sizeof(datagram) };
	struct msghdr message = {
		.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t got = recvmsg(socket->receiver, &message, 0);
	struct endpoint source;

	if (got < 0)
		return errno == EINTR;
	source = endpoint_ipv4(ntohl(from.sin_addr.s_addr), ntohs(from.sin_port));
	if (is_allowed(where, arrival_of(&message)))
		socket->heard(socket->context, datagram, (size_t)got, &source);
	return true;
}

static int interfaces_of(const struct beacon_socket *socket, struct interface *ret)
{
	return interfaces_list((const char *const *)socket->only, socket->only_count, ret);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct beacon_socket *socket = poll->data;
	struct heard_where where = { .count = -1 };

	(void)status;
	(void)events;
	if (socket->only_count > 0) {
		where.count = interfaces_of(socket, where.allowed);
		if (where.count < 0)
			where.count = 0;
	}
	for (int i = 0; i < DATAGRAMS_MAX && !uv_is_closing((uv_handle_t *)poll); i++) {
		if (!hear_one(socket, &where))
			return;
	}
}

static void socket_free(struct beacon_socket *socket)
{
	if (socket->receiver >= 0)
		close(socket->receiver);
	if (socket->sender >= 0)
		close(socket->sender);
	for (unsigned int i = 0; i < socket->only_count; i++)
		free(socket->only[i]);
	free(socket->only);
	free(socket);
}

static void on_closed(uv_handle_t *handle)
{
	socket_free(handle->data);
}

static int keep_interfaces(struct beacon_socket *socket, const struct beacon_how *how)
{
	if (how->interface_count == 0)
		return 0;
	socket->only = calloc(how->interface_count, sizeof(*socket->only));
	if (!socket->only)
		return -ERR_NO_MEMORY;
	for (unsigned int i = 0; i < how->interface_count; i++) {
		socket->only[i] = strdup(how->interfaces[i]);
		if (!socket->only[i])
			return -ERR_NO_MEMORY;
		socket->only_count++;
	}
	return 0;
}

static int start_hearing(uv_loop_t *loop, struct beacon_socket *beacons)
{
	int on = 1;
	int rc;

	beacons->receiver = rc = udp_beacon_receiver(beacons->port);
	if (rc < 0)
		return rc;
	if (setsockopt(rc, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) < 0)
		return error_from_errno(errno);
	rc = uv_poll_init(loop, &beacons->poll, beacons->receiver);
	if (rc < 0)
		return error_from_errno(-rc);
	beacons->poll.data = beacons;
	uv_poll_start(&beacons->poll, UV_READABLE, on_poll);
	return 0;
}

int beacon_socket_new(uv_loop_t *loop, const struct beacon_how *how, struct beacon_socket **ret)
{
	struct beacon_socket *socket = calloc(1, sizeof(*socket));
	int rc;

	if (!socket)
		return -ERR_NO_MEMORY;
	socket->port = how->port;
	socket->heard = how->heard;
	socket->context = how->context;
	socket->receiver = -1;
	socket->sender = rc = udp_beacon_sender();
	if (rc >= 0)
		rc = keep_interfaces(socket, how);
	if (rc >= 0 && how->heard)
		rc = start_hearing(loop, socket);
	if (rc < 0) {
		socket_free(socket);
		return rc;
	}
	*ret = socket;
	return 0;
}

/* An interface with several addresses in one net is listed once for each. */
static bool was_before(const struct interface *list, int position)
{
	for (int i = 0; i < position; i++) {
		if (list[i].broadcast == list[position].broadcast)
			return true;
	}
	return false;
}

int beacon_socket_send(struct beacon_socket *socket, const void *datagram, size_t size)
{
	struct interface list[INTERFACES_MAX];
	int count = interfaces_of(socket, list);
	int sent = 0;

	for (int i = 0; i < count; i++) {
		struct address to = { list[i].broadcast, socket->port };

		if (!was_before(list, i) && udp_send(socket->sender, &to, datagram, size) == 0)
			sent++;
	}
	return count < 0 ? count : sent;
}

void beacon_socket_free(struct beacon_socket *socket)
{
	if (!socket)
		return;
	if (socket->heard)
		uv_close((uv_handle_t *)&socket->poll, on_closed);
	else
		socket_free(socket);
}

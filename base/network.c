#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "error.h"
#include "hash.h"
#include "network.h"
#include "text.h"

enum { LISTEN_BACKLOG = 1024, HOST_TEXT_MAX = 256, BOOT_TEXT_MAX = 128 };

static struct sockaddr_in to_system(const struct address *address)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(address->port),
		.sin_addr.s_addr = htonl(address->ip),
	};
}

static struct address from_system(const struct sockaddr_in *address)
{
	return (struct address){ ntohl(address->sin_addr.s_addr), ntohs(address->sin_port) };
}

static bool is_wanted(const struct interface *interface, const char *const *only,
		      unsigned int only_count)
{
	char text[INET_ADDRSTRLEN];
	struct in_addr ip = { htonl(interface->ip) };

	inet_ntop(AF_INET, &ip, text, sizeof(text));
	for (unsigned int i = 0; i < only_count; i++) {
		if (strcmp(only[i], interface->name) == 0 || strcmp(only[i], text) == 0)
			return true;
	}
	return only_count == 0;
}

/* False for what no beacon can be sent to. */
static bool interface_from(const struct ifaddrs *from, struct interface *ret)
{
	struct sockaddr_in address;

	if (!from->ifa_addr || from->ifa_addr->sa_family != AF_INET || !(from->ifa_flags & IFF_UP))
		return false;
	memcpy(&address, from->ifa_addr, sizeof(address));
	*ret = (struct interface){
		.ip = from_system(&address).ip,
		.broadcast = 0x7fffffff, /* 127.255.255.255 */
		.loopback = from->ifa_flags & IFF_LOOPBACK,
	};
	strncpy(ret->name, from->ifa_name, INTERFACE_NAME_MAX - 1);
	if (ret->loopback)
		return true;
	if (!(from->ifa_flags & IFF_BROADCAST) || !from->ifa_broadaddr)
		return false;
	memcpy(&address, from->ifa_broadaddr, sizeof(address));
	ret->broadcast = from_system(&address).ip;
	return true;
}

int interfaces_list(const char *const *only, unsigned int only_count,
		    struct interface ret[INTERFACES_MAX])
{
	struct ifaddrs *all;
	int count = 0;

	if (getifaddrs(&all) < 0)
		return error_from_errno(errno);
	for (const struct ifaddrs *at = all; at && count < INTERFACES_MAX; at = at->ifa_next) {
		struct interface interface;

		if (interface_from(at, &interface) && is_wanted(&interface, only, only_count))
			ret[count++] = interface;
	}
	freeifaddrs(all);
	return count;
}

static int socket_new(int type)
{
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	return fd < 0 ? error_from_errno(errno) : fd;
}

static int socket_set(int fd, int level, int name)
{
	int on = 1;

	return setsockopt(fd, level, name, &on, sizeof(on)) < 0 ? error_from_errno(errno) : 0;
}

static int socket_bind(int fd, const struct address *address)
{
	struct sockaddr_in to = to_system(address);

	return bind(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ? error_from_errno(errno) : 0;
}

int tcp_listen(const struct address *address)
{
	int fd = socket_new(SOCK_STREAM);
	int rc;

	if (fd < 0)
		return fd;
	rc = socket_set(fd, SOL_SOCKET, SO_REUSEADDR);
	if (rc == 0)
		rc = socket_bind(fd, address);
	if (rc == 0 && listen(fd, LISTEN_BACKLOG) < 0)
		rc = error_from_errno(errno);
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

int tcp_connect(const struct address *address)
{
	struct sockaddr_in to = to_system(address);
	int fd = socket_new(SOCK_STREAM);
	int rc;

	if (fd < 0)
		return fd;
	do
		rc = connect(fd, (struct sockaddr *)&to, sizeof(to));
	while (rc < 0 && errno == EINTR);
	if (rc == 0 || errno == EINPROGRESS)
		return fd;
	rc = error_from_errno(errno);
	close(fd);
	return rc;
}

int tcp_connected(int socket)
{
	int why = 0;
	socklen_t size = sizeof(why);

	if (getsockopt(socket, SOL_SOCKET, SO_ERROR, &why, &size) < 0)
		why = errno;
	return why ? error_from_errno(why) : 0;
}

/* What accept(2) says of one connection that is gone already, and not of the listener. */
static bool is_passing(int os)
{
	return os == EINTR || os == ECONNABORTED || os == EPROTO;
}

int tcp_accept(int listener, struct address *ret_peer)
{
	struct sockaddr_in from;
	socklen_t size = sizeof(from);
	int fd;

	do
		fd = accept4(listener, (struct sockaddr *)&from, &size,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
	while (fd < 0 && is_passing(errno));
	if (fd < 0)
		return errno == EAGAIN ? -ERR_END : error_from_errno(errno);
	*ret_peer = from_system(&from);
	return fd;
}

int socket_local(int socket, struct address *ret)
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);

	if (getsockname(socket, (struct sockaddr *)&address, &size) < 0)
		return error_from_errno(errno);
	*ret = from_system(&address);
	return 0;
}

int socket_peer(int socket, struct address *ret)
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);

	if (getpeername(socket, (struct sockaddr *)&address, &size) < 0)
		return error_from_errno(errno);
	*ret = from_system(&address);
	return 0;
}

int udp_beacon_receiver(uint16_t port)
{
	struct address any = { INADDR_ANY, port };
	int fd = socket_new(SOCK_DGRAM);
	int rc;

	if (fd < 0)
		return fd;
	rc = socket_set(fd, SOL_SOCKET, SO_REUSEADDR);
	if (rc == 0)
		rc = socket_bind(fd, &any);
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

int udp_beacon_sender(void)
{
	int fd = socket_new(SOCK_DGRAM);
	int rc;

	if (fd < 0)
		return fd;
	rc = socket_set(fd, SOL_SOCKET, SO_BROADCAST);
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

int udp_send(int socket, const struct address *to, const void *data, size_t size)
{
	struct sockaddr_in system = to_system(to);
	ssize_t sent;

	do
		sent = sendto(socket, data, size, MSG_NOSIGNAL, (struct sockaddr *)&system,
			      sizeof(system));
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? error_from_errno(errno) : 0;
}

static int host_resolve(const char *host, uint16_t port, struct address *ret, int most)
{
	struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
	struct addrinfo *all;
	int count = 0;

	switch (getaddrinfo(host, NULL, &hints, &all)) {
	case 0: break;
	case EAI_MEMORY: return -ERR_NO_MEMORY;
	case EAI_AGAIN: return -ERR_UNAVAILABLE;
	default: return -ERR_NOT_FOUND;
	}
	for (const struct addrinfo *at = all; at && count < most; at = at->ai_next) {
		struct sockaddr_in address;

		memcpy(&address, at->ai_addr, sizeof(address));
		ret[count] = from_system(&address);
		ret[count++].port = port;
	}
	freeaddrinfo(all);
	return count;
}

int address_resolve(const char *text, uint16_t default_port, struct address *ret, int most)
{
	char host[HOST_TEXT_MAX];
	uint64_t port = default_port;
	char *colon;

	if (strlen(text) >= sizeof(host))
		return -ERR_NAME_TOO_LONG;
	memcpy(host, text, strlen(text) + 1);
	colon = strchr(host, ':');
	if (colon) {
		*colon = '\0';
		if (number_parse(colon + 1, 1, UINT16_MAX, &port) < 0)
			return -ERR_USAGE;
	}
	if (!*host)
		return -ERR_USAGE;
	return host_resolve(host, (uint16_t)port, ret, most);
}

static ssize_t boot_id_read(char *ret, size_t size)
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t got;

	if (fd < 0)
		return error_from_errno(errno);
	got = read(fd, ret, size);
	if (got < 0)
		got = error_from_errno(errno);
	close(fd);
	return got;
}

int machine_id(struct id *ret)
{
	char text[2 * BOOT_TEXT_MAX];
	ssize_t boot = boot_id_read(text, BOOT_TEXT_MAX);
	ssize_t namespace;
	struct digest digest;

	if (boot < 0)
		return (int)boot;
	namespace = readlink("/proc/self/ns/net", text + boot, BOOT_TEXT_MAX);
	if (namespace < 0)
		return error_from_errno(errno);
	digest = digest_of(text, (size_t)(boot + namespace));
	memcpy(ret->bytes, digest.bytes, ID_SIZE);
	return 0;
}

int host_name(char *ret, unsigned int size)
{
	if (gethostname(ret, size) < 0 && errno != ENAMETOOLONG)
		return error_from_errno(errno);
	ret[size - 1] = '\0';
	return 0;
}

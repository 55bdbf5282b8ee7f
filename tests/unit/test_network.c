#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "error.h"
#include "network.h"

enum { LOOPBACK = 0x7f000001, BROADCAST = 0x7fffffff, WAIT_MS = 3000 };

static void wait_for(int fd, short events)
{
	struct pollfd poller = { .fd = fd, .events = events };

	assert_int_equal(poll(&poller, 1, WAIT_MS), 1);
}

static void test_interfaces(void **state)
{
	static const char *const by_name[] = { "lo" };
	static const char *const by_address[] = { "127.0.0.1" };
	static const char *const unknown[] = { "no-such-interface" };
	struct interface list[INTERFACES_MAX];

	(void)state;
	assert_in_range(interfaces_list(NULL, 0, list), 1, INTERFACES_MAX);
	assert_in_range(interfaces_list(by_name, 1, list), 1, INTERFACES_MAX);
	assert_string_equal(list[0].name, "lo");
	assert_true(list[0].loopback);
	assert_int_equal(list[0].broadcast, BROADCAST);
	assert_int_equal(interfaces_list(by_address, 1, list), 1);
	assert_int_equal(list[0].ip, LOOPBACK);
	assert_int_equal(interfaces_list(unknown, 1, list), 0);
}

static void test_tcp(void **state)
{
	struct address address = { LOOPBACK, 0 }, peer, seen;
	int listener = tcp_listen(&address);
	int dialled, accepted;

	(void)state;
	assert_in_range(listener, 0, INT32_MAX);
	assert_int_equal(tcp_accept(listener, &peer), -ERR_END);
	assert_int_equal(socket_local(listener, &address), 0);
	assert_int_not_equal(address.port, 0);
	assert_int_equal(tcp_listen(&address), -ERR_ADDRESS_IN_USE);
	dialled = tcp_connect(&address);
	assert_in_range(dialled, 0, INT32_MAX);
	wait_for(dialled, POLLOUT);
	assert_int_equal(tcp_connected(dialled), 0);
	wait_for(listener, POLLIN);
	accepted = tcp_accept(listener, &peer);
	assert_in_range(accepted, 0, INT32_MAX);
	assert_int_equal(socket_local(dialled, &seen), 0);
	assert_int_equal(seen.port, peer.port);
	assert_int_equal(seen.ip, LOOPBACK);
	assert_int_equal(socket_peer(dialled, &seen), 0);
	assert_int_equal(seen.port, address.port);
	close(dialled);
	close(accepted);
	close(listener);
}

static void test_refused_connect(void **state)
{
	struct address address = { LOOPBACK, 0 };
	int listener = tcp_listen(&address);
	int fd;

	(void)state;
	assert_int_equal(socket_local(listener, &address), 0);
	close(listener);
	fd = tcp_connect(&address);
	if (fd >= 0) {
		wait_for(fd, POLLOUT);
		assert_int_equal(tcp_connected(fd), -ERR_CONNECTION);
		close(fd);
	} else {
		assert_int_equal(fd, -ERR_CONNECTION);
	}
}

static void test_two_receivers_hear_one_broadcast(void **state)
{
	struct address to = { LOOPBACK, 0 };
	int probe = tcp_listen(&to); /* a port number that is probably free */
	int first, second, sender;
	char text[8];

	(void)state;
	assert_int_equal(socket_local(probe, &to), 0);
	to.ip = BROADCAST;
	first = udp_beacon_receiver(to.port);
	second = udp_beacon_receiver(to.port);
	sender = udp_beacon_sender();
	assert_in_range(first, 0, INT32_MAX);
	assert_in_range(second, 0, INT32_MAX);
	assert_in_range(sender, 0, INT32_MAX);
	assert_int_equal(udp_send(sender, &to, "hello", 5), 0);
	wait_for(first, POLLIN);
	wait_for(second, POLLIN);
	assert_int_equal(recv(first, text, sizeof(text), 0), 5);
	assert_int_equal(recv(second, text, sizeof(text), 0), 5);
	close(first);
	close(second);
	close(sender);
	close(probe);
}

static void test_resolve(void **state)
{
	struct address found[4];

	(void)state;
	assert_int_equal(address_resolve("127.0.0.2:99", 5, found, 4), 1);
	assert_int_equal(found[0].ip, 0x7f000002);
	assert_int_equal(found[0].port, 99);
	assert_int_equal(address_resolve("10.1.2.3", 5, found, 4), 1);
	assert_int_equal(found[0].port, 5);
	assert_in_range(address_resolve("localhost:7", 5, found, 4), 1, 4);
	assert_int_equal(found[0].ip, LOOPBACK);
	assert_int_equal(address_resolve("127.0.0.1:0", 5, found, 4), -ERR_USAGE);
	assert_int_equal(address_resolve("127.0.0.1:70000", 5, found, 4), -ERR_USAGE);
	assert_int_equal(address_resolve(":80", 5, found, 4), -ERR_USAGE);
}

static void test_machine_and_host(void **state)
{
	struct id first, second;
	char name[64], cut[2];

	(void)state;
	assert_int_equal(machine_id(&first), 0);
	assert_int_equal(machine_id(&second), 0);
	assert_false(id_is_none(&first));
	assert_true(id_equal(&first, &second));
	assert_int_equal(host_name(name, sizeof(name)), 0);
	assert_int_not_equal(name[0], '\0');
	assert_int_equal(host_name(cut, sizeof(cut)), 0);
	assert_int_equal(cut[1], '\0');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interfaces),
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_refused_connect),
		cmocka_unit_test(test_two_receivers_hear_one_broadcast),
		cmocka_unit_test(test_resolve),
		cmocka_unit_test(test_machine_and_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

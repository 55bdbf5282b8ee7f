#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "beacon.h"
#include "clock.h"
#include "error.h"
#include "network.h"
#include "transport.h"

enum { GUARD_MS = 5000 };

struct fixture {
	uv_loop_t loop;
	uv_timer_t guard;
	bool late;
};

static void on_guard(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

static int setup(void **state)
{
	struct fixture *t = calloc(1, sizeof(*t));

	uv_loop_init(&t->loop);
	uv_timer_init(&t->loop, &t->guard);
	t->guard.data = &t->late;
	uv_timer_start(&t->guard, on_guard, GUARD_MS, 0);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *t = *state;

	uv_close((uv_handle_t *)&t->guard, NULL);
	uv_run(&t->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&t->loop), 0);
	free(t);
	return 0;
}

#define RUN_UNTIL(t, condition)                          \
	do {                                             \
		while (!(condition) && !(t)->late)       \
			uv_run(&(t)->loop, UV_RUN_ONCE); \
		assert_true(condition);                  \
	} while (0)

static void on_accepted(void *context, int socket, const struct endpoint *peer)
{
	int *ret = context;

	assert_true(endpoint_is_loopback(peer));
	*ret = socket;
}

struct dialled {
	bool done;
	int result;
};

static void on_dialled(void *context, int result)
{
	struct dialled *dialled = context;

	assert_false(dialled->done);
	*dialled = (struct dialled){ true, result };
}

static uint16_t dead_port(void)
{
	struct address address = { 0x7f000001, 0 };
	int fd = tcp_listen(&address);

	socket_local(fd, &address);
	close(fd);
	return address.port;
}

static void test_dial_falls_back_over_dead_endpoints(void **state)
{
	struct fixture *t = *state;
	struct endpoint any = endpoint_ipv4(0x7f000001, 0);
	struct dialled dialled = { 0 };
	struct listener *listener;
	struct dialer *dialer;
	int accepted = -1;

	assert_int_equal(listener_new(&t->loop, &any, on_accepted, &accepted, &listener), 0);
	struct endpoint endpoints[] = {
		endpoint_ipv4(0x7f000001, dead_port()),
		{ .family = 6, .port = 1 },
		endpoint_ipv4(0x7f000001, listener_port(listener)),
	};
	struct dial_how how = { endpoints, ARRAY_SIZE(endpoints), 2000 };

	assert_int_equal(dialer_new(&t->loop, &how, on_dialled, &dialled, &dialer), 0);
	assert_false(dialled.done);
	RUN_UNTIL(t, dialled.done && accepted >= 0);
	assert_in_range(dialled.result, 0, INT32_MAX);
	assert_int_equal(send(dialled.result, "hi", 2, 0), 2);
	close(dialled.result);
	close(accepted);
	listener_free(listener);
}

/* A listener whose backlog is full swallows the dial; the next address wins after 100 ms. */
static void test_dial_does_not_wait_for_a_silent_endpoint(void **state)
{
	struct fixture *t = *state;
	struct address silent = { 0x7f000001, 0 };
	int full = socket(AF_INET, SOCK_STREAM, 0);
	struct dialled dialled = { 0 };
	struct endpoint any = endpoint_ipv4(0x7f000001, 0);
	struct listener *listener;
	struct dialer *dialer;
	int accepted = -1, filler[3];
	uint64_t began;

	assert_int_equal(listen(full, 0), 0); /* any port */
	socket_local(full, &silent);
	silent.ip = 0x7f000001;
	for (size_t i = 0; i < ARRAY_SIZE(filler); i++)
		filler[i] = tcp_connect(&silent);
	assert_int_equal(listener_new(&t->loop, &any, on_accepted, &accepted, &listener), 0);
	struct endpoint endpoints[] = {
		endpoint_ipv4(silent.ip, silent.port),
		endpoint_ipv4(0x7f000001, listener_port(listener)),
	};
	struct dial_how how = { endpoints, ARRAY_SIZE(endpoints), 3000 };

	began = clock_monotonic_ms();
	assert_int_equal(dialer_new(&t->loop, &how, on_dialled, &dialled, &dialer), 0);
	RUN_UNTIL(t, dialled.done && accepted >= 0);
	assert_in_range(clock_monotonic_ms() - began, DIAL_STAGGER_MS - 2, 1500);
	assert_in_range(dialled.result, 0, INT32_MAX);
	close(dialled.result);
	close(accepted);
	for (size_t i = 0; i < ARRAY_SIZE(filler); i++)
		close(filler[i]);
	close(full);
	listener_free(listener);
}

static void test_dial_fails_and_is_cancelled(void **state)
{
	struct fixture *t = *state;
	struct endpoint dead = endpoint_ipv4(0x7f000001, dead_port());
	struct dial_how how = { &dead, 1, 2000 };
	struct dialled failed = { 0 }, cancelled = { 0 };
	struct dialer *dialer;

	assert_int_equal(dialer_new(&t->loop, &how, on_dialled, &cancelled, &dialer), 0);
	dialer_cancel(dialer);
	assert_int_equal(dialer_new(&t->loop, &how, on_dialled, &failed, &dialer), 0);
	RUN_UNTIL(t, failed.done);
	assert_int_equal(failed.result, -ERR_CONNECTION);
	assert_false(cancelled.done);
}

static void test_taken_port(void **state)
{
	struct fixture *t = *state;
	struct endpoint any = endpoint_ipv4(0x7f000001, 0);
	struct listener *first, *second;
	int accepted;

	assert_int_equal(listener_new(&t->loop, &any, on_accepted, &accepted, &first), 0);
	any.port = listener_port(first);
	assert_int_equal(listener_new(&t->loop, &any, on_accepted, &accepted, &second),
			 -ERR_ADDRESS_IN_USE);
	listener_free(first);
	listener_free(NULL);
}

/* Without descriptors the loop rests, and the connection is taken once there are some again. */
static void test_no_descriptor_does_not_spin(void **state)
{
	struct fixture *t = *state;
	struct endpoint any = endpoint_ipv4(0x7f000001, 0);
	struct address address;
	struct rlimit old, tight;
	struct listener *listener;
	int accepted = -1, turns = 0, dialled;
	uint64_t began;

	assert_int_equal(listener_new(&t->loop, &any, on_accepted, &accepted, &listener), 0);
	address = (struct address){ 0x7f000001, listener_port(listener) };
	dialled = tcp_connect(&address);
	getrlimit(RLIMIT_NOFILE, &old);
	tight = (struct rlimit){ (rlim_t)dialled + 1, old.rlim_max };
	for (int fd = dialled - 1; fd > 2; fd--)
		assert_true(fcntl(fd, F_GETFD) >= 0 || dup2(dialled, fd) == fd);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
	began = clock_monotonic_ms();
	for (; clock_monotonic_ms() - began < 250; turns++)
		uv_run(&t->loop, UV_RUN_ONCE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	assert_int_equal(accepted, -1);
	assert_in_range(turns, 0, 20);
	RUN_UNTIL(t, accepted >= 0);
	close(dialled);
	close(accepted);
	listener_free(listener);
}

/* ---- beacons */

struct heard {
	unsigned int count;
	uint8_t last[BEACON_SIZE];
	size_t size;
	struct endpoint source;
};

static void on_heard(void *context, const void *datagram, size_t size,
		     const struct endpoint *source)
{
	struct heard *heard = context;

	heard->count++;
	heard->size = size;
	heard->source = *source;
	memcpy(heard->last, datagram, size < BEACON_SIZE ? size : BEACON_SIZE);
}

static void test_beacons_reach_two_receivers_on_one_port(void **state)
{
	static const char *const lo[] = { "lo" };
	struct fixture *t = *state;
	uint16_t port = dead_port();
	struct heard heard[2] = { 0 };
	struct beacon_how hears[] = {
		{ port, lo, 1, on_heard, &heard[0] },
		{ port, NULL, 0, on_heard, &heard[1] },
	};
	struct beacon_how says = { port, lo, 1, NULL, NULL };
	struct beacon_socket *sockets[3];
	uint8_t datagram[BEACON_SIZE];

	for (size_t i = 0; i < BEACON_SIZE; i++)
		datagram[i] = (uint8_t)i;
	for (int i = 0; i < 2; i++)
		assert_int_equal(beacon_socket_new(&t->loop, &hears[i], &sockets[i]), 0);
	assert_int_equal(beacon_socket_new(&t->loop, &says, &sockets[2]), 0);
	assert_int_equal(beacon_socket_send(sockets[2], datagram, sizeof(datagram)), 1);
	RUN_UNTIL(t, heard[0].count == 1 && heard[1].count == 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(heard[i].size, BEACON_SIZE);
		assert_memory_equal(heard[i].last, datagram, BEACON_SIZE);
		assert_true(endpoint_is_loopback(&heard[i].source));
	}
	for (int i = 0; i < 3; i++)
		beacon_socket_free(sockets[i]);
}

static void test_beacons_of_other_interfaces_are_not_heard(void **state)
{
	static const char *const lo[] = { "lo" };
	static const char *const none[] = { "no-such-interface" };
	struct fixture *t = *state;
	uint16_t port = dead_port();
	struct heard elsewhere = { 0 }, here = { 0 };
	struct beacon_how deaf = { port, none, 1, on_heard, &elsewhere };
	struct beacon_how says = { port, lo, 1, on_heard, &here };
	struct beacon_socket *first, *second;

	assert_int_equal(beacon_socket_new(&t->loop, &deaf, &first), 0);
	assert_int_equal(beacon_socket_new(&t->loop, &says, &second), 0);
	assert_int_equal(beacon_socket_send(first, "x", 1), 0);
	assert_int_equal(beacon_socket_send(second, "x", 1), 1);
	RUN_UNTIL(t, here.count == 1);
	uv_run(&t->loop, UV_RUN_NOWAIT);
	assert_int_equal(elsewhere.count, 0);
	beacon_socket_free(first);
	beacon_socket_free(second);
	beacon_socket_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_dial_falls_back_over_dead_endpoints),
		TEST(test_dial_does_not_wait_for_a_silent_endpoint),
		TEST(test_dial_fails_and_is_cancelled),
		TEST(test_taken_port),
		TEST(test_no_descriptor_does_not_spin),
		TEST(test_beacons_reach_two_receivers_on_one_port),
		TEST(test_beacons_of_other_interfaces_are_not_heard),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

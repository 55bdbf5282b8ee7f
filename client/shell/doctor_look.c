#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "clock.h"
#include "doctor.h"
#include "error.h"

/* ---- interfaces ---- */

static struct doctor_ear *ear_add(struct doctor *doctor)
{
	if (doctor->ear_count == INTERFACES_MAX)
		return NULL;
	return &doctor->ears[doctor->ear_count++];
}

static bool ear_known(const struct doctor *doctor, const char *name)
{
	for (unsigned int i = 0; i < doctor->ear_count; i++) {
		if (strcmp(doctor->ears[i].interface.name, name) == 0)
			return true;
	}
	return false;
}

static bool is_used(const struct doctor *doctor, const struct interface *interface)
{
	const struct option_list *only = &doctor->call->shell->preferences.interfaces;
	struct in_addr ip = { htonl(interface->ip) };
	char text[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &ip, text, sizeof(text));
	for (unsigned int i = 0; i < only->count; i++) {
		if (strcmp(only->items[i], interface->name) == 0 ||
		    strcmp(only->items[i], text) == 0)
			return true;
	}
	return only->count == 0;
}

/* Those that are down, or have no address that beacons could use. */
static void others_add(struct doctor *doctor)
{
	struct ifaddrs *all;

	if (getifaddrs(&all) < 0)
		return;
	for (const struct ifaddrs *at = all; at; at = at->ifa_next) {
		struct doctor_ear *ear;

		if (ear_known(doctor, at->ifa_name) || (ear = ear_add(doctor)) == NULL)
			continue;
		strncpy(ear->interface.name, at->ifa_name, INTERFACE_NAME_MAX - 1);
		ear->interface.loopback = at->ifa_flags & IFF_LOOPBACK;
		ear->up = at->ifa_flags & IFF_UP;
	}
	freeifaddrs(all);
}

void doctor_interfaces(struct doctor *doctor)
{
	struct interface list[INTERFACES_MAX];
	int count = interfaces_list(NULL, 0, list);

	for (int i = 0; i < count; i++) {
		struct doctor_ear *ear = ear_add(doctor);

		ear->interface = list[i];
		ear->up = true;
		ear->used = is_used(doctor, &list[i]);
	}
	others_add(doctor);
}

/* ---- beacons ---- */

static void ear_open(struct doctor *doctor, struct doctor_ear *ear)
{
	char address[INET_ADDRSTRLEN];
	struct in_addr ip = { htonl(ear->interface.ip) };
	const char *only = address;
	struct muster_options options = {
		.interfaces = &only,
		.interface_count = 1,
		.beacon_port = doctor->beacon_port,
		.timeout_ms = DOCTOR_WAIT_MS,
	};

	inet_ntop(AF_INET, &ip, address, sizeof(address));
	if (muster_new(&options, &ear->session) < 0)
		return;
	/* Whatever is asked makes it look for a name server. */
	muster_start_stat(ear->session, "/", (struct muster_then){ 0 }, NULL);
}

static bool ears_turn(struct doctor *doctor, uint64_t until_ms)
{
	struct pollfd waits[INTERFACES_MAX];
	uint64_t now_ms = clock_monotonic_ms();
	int wait_ms = until_ms > now_ms ? (int)(until_ms - now_ms) : 0;
	bool heard = false;

	for (unsigned int i = 0; i < doctor->ear_count; i++) {
		struct muster *session = doctor->ears[i].session;
		int due = session ? muster_timeout(session) : -1;

		waits[i] = (struct pollfd){ session ? muster_fd(session) : -1, POLLIN, 0 };
		if (due >= 0 && due < wait_ms)
			wait_ms = due;
	}
	poll(waits, doctor->ear_count, wait_ms);
	for (unsigned int i = 0; i < doctor->ear_count; i++) {
		struct doctor_ear *ear = &doctor->ears[i];

		if (!ear->session)
			continue;
		muster_process(ear->session);
		ear->count = muster_clusters(ear->session, ear->clusters, DOCTOR_CLUSTERS_MAX);
		heard |= ear->count > 0;
	}
	return heard;
}

static void cluster_add(struct doctor *doctor, const struct muster_cluster *cluster)
{
	for (unsigned int i = 0; i < doctor->cluster_count; i++) {
		if (memcmp(doctor->clusters[i].id, cluster->id, sizeof(cluster->id)) == 0)
			return;
	}
	if (doctor->cluster_count < DOCTOR_CLUSTERS_MAX)
		doctor->clusters[doctor->cluster_count++] = *cluster;
}

void doctor_listen(struct doctor *doctor)
{
	uint64_t until_ms = clock_monotonic_ms() + DOCTOR_WAIT_MS;
	bool heard = false;

	for (unsigned int i = 0; i < doctor->ear_count; i++) {
		if (doctor->ears[i].used)
			ear_open(doctor, &doctor->ears[i]);
	}
	while (clock_monotonic_ms() < until_ms && !call_interrupted(doctor->call)) {
		bool now = ears_turn(doctor, until_ms);

		if (now && !heard && until_ms > clock_monotonic_ms() + DOCTOR_MORE_MS)
			until_ms = clock_monotonic_ms() + DOCTOR_MORE_MS;
		heard |= now;
	}
	for (unsigned int i = 0; i < doctor->ear_count; i++) {
		struct doctor_ear *ear = &doctor->ears[i];

		for (unsigned int k = 0; k < ear->count; k++)
			cluster_add(doctor, &ear->clusters[k]);
		muster_close(ear->session);
		ear->session = NULL;
	}
}

/* ---- servers ---- */

static void rtt_measure(struct doctor *doctor)
{
	doctor->rtt_us = UINT64_MAX;
	for (int i = 0; i < RTT_TRIES; i++) {
		struct muster_entry root;
		uint64_t began = clock_monotonic_ns();
		uint64_t took_us;
		int rc = muster_stat(doctor->call->session, "/", &root);

		took_us = (clock_monotonic_ns() - began) / 1000;
		if (rc < 0) {
			doctor->connected = rc;
			return;
		}
		if (took_us < doctor->rtt_us)
			doctor->rtt_us = took_us;
	}
}

/* Who still takes over tells its state, and nothing else. */
static void service_look(struct doctor *doctor)
{
	doctor->has_status = muster_status(doctor->call->session, &doctor->status) == 0;
	if (doctor->has_status && doctor->status.state == MUSTER_TAKES_OVER)
		doctor->connected = -ERR_UNAVAILABLE;
	else
		rtt_measure(doctor);
}

void doctor_connect(struct doctor *doctor)
{
	struct shell *shell = doctor->call->shell;

	/* Nobody was heard for so long: only one that is named or remembered is left to try. */
	if (doctor->cluster_count == 0)
		shell_hurry(DOCTOR_TRY_MS);
	doctor->connected = shell_connect(shell);
	shell_relax(shell);
	if (doctor->connected == -ERR_CANCELLED && !call_interrupted(doctor->call))
		doctor->connected = -ERR_NO_NAMESERVER;
	doctor->call->session = shell->session;
	if (shell->session) {
		muster_info(shell->session, &doctor->info);
		snprintf(doctor->detail, sizeof(doctor->detail), "%s",
			 muster_detail(shell->session));
	}
	if (doctor->connected == 0)
		service_look(doctor);
}

void doctor_reach(struct doctor *doctor)
{
	struct muster *session = doctor->call->session;
	struct muster_node *nodes;
	int count;

	count = muster_nodes(session, &nodes);
	if (count < 0) {
		doctor->connected = count;
		return;
	}
	doctor->nodes = calloc((size_t)count + 1, sizeof(*doctor->nodes));
	for (int i = 0; i < count && doctor->nodes && !call_interrupted(doctor->call); i++) {
		struct doctor_node *node = &doctor->nodes[doctor->node_count++];

		node->node = nodes[i];
		if (nodes[i].state != MUSTER_NODE_OFFLINE)
			node->asked = muster_reach(session, nodes[i].id, &node->reach) == 0;
	}
	muster_nodes_free(nodes);
	muster_info(session, &doctor->info);
}

void doctor_done(struct doctor *doctor)
{
	free(doctor->nodes);
}

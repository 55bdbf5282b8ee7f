#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "doctor.h"
#include "error.h"

/* The next problem, with what is wrong filled in; NULL: there are too many. */
__attribute__((format(printf, 2, 3))) static struct doctor_problem *problem(struct doctor *doctor,
									    const char *format, ...)
{
	struct doctor_problem *ret;
	va_list args;

	if (doctor->problem_count == DOCTOR_PROBLEMS_MAX)
		return NULL;
	ret = &doctor->problems[doctor->problem_count++];
	va_start(args, format);
	vsnprintf(ret->what, sizeof(ret->what), format, args);
	va_end(args);
	return ret;
}

__attribute__((format(printf, 2, 3))) static void mend(struct doctor_problem *problem,
						       const char *format, ...)
{
	va_list args;

	if (!problem)
		return;
	va_start(args, format);
	vsnprintf(problem->mend, sizeof(problem->mend), format, args);
	va_end(args);
}

/* ---- what is heard ---- */

static const char *heard_at(const struct muster_cluster *cluster)
{
	return *cluster->nameserver ? cluster->nameserver : cluster->storage;
}

static void judge_interfaces(struct doctor *doctor)
{
	unsigned int used = 0;
	bool lan = false;

	for (unsigned int i = 0; i < doctor->ear_count; i++) {
		used += doctor->ears[i].used;
		lan |= doctor->ears[i].used && !doctor->ears[i].interface.loopback;
	}
	if (used == 0)
		mend(problem(doctor, "no interface can be used"),
		     "--interface NAME|ADDR names one of those above that is up and has an IPv4 "
		     "address");
	else if (!lan && doctor->cluster_count == 0)
		mend(problem(doctor, "only loopback is used: other machines are not heard"),
		     "bring an interface up, or choose one with --interface NAME|ADDR");
}

static void judge_receiver(struct doctor *doctor)
{
	int fd = udp_beacon_receiver(doctor->beacon_port);

	if (fd < 0)
		mend(problem(doctor, "beacons cannot be received on UDP port %u: %s",
			     doctor->beacon_port, error_text(fd)),
		     "end the program that has the port, or name the server with --nameserver "
		     "HOST[:PORT]");
	else
		close(fd);
}

/* One cluster that is heard, and has a name server. */
static const struct muster_cluster *served_cluster(const struct doctor *doctor)
{
	for (unsigned int i = 0; i < doctor->cluster_count; i++) {
		if (*doctor->clusters[i].nameserver)
			return &doctor->clusters[i];
	}
	return NULL;
}

/* Another one that is heard and has the same name. */
static const struct muster_cluster *namesake(const struct doctor *doctor,
					     const struct muster_cluster *cluster)
{
	for (unsigned int i = 0; i < doctor->cluster_count; i++) {
		const struct muster_cluster *other = &doctor->clusters[i];

		if (other != cluster && strcmp(other->name, cluster->name) == 0)
			return other;
	}
	return NULL;
}

static void judge_missed(struct doctor *doctor)
{
	for (unsigned int i = 0; i < doctor->cluster_count; i++) {
		const struct muster_cluster *cluster = &doctor->clusters[i];

		if (!*cluster->nameserver && !namesake(doctor, cluster))
			mend(problem(doctor,
				     "cluster %s has no name server: its storage server at %s "
				     "misses it",
				     cluster->name, cluster->storage),
			     "start muster-nameserver where it ran, or on an empty directory with "
			     "--cluster %s: it takes over what the storage servers know; until "
			     "then files can be read",
			     cluster->name);
	}
}

static void judge_silence(struct doctor *doctor)
{
	if (doctor->cluster_count > 0 || doctor->call->shell->preferences.nameserver)
		return;
	mend(problem(doctor, "no name server's beacon came in within %u.%u s",
		     DOCTOR_WAIT_MS / 1000, DOCTOR_WAIT_MS % 1000 / 100),
	     "start muster-nameserver in this network; let UDP port %u through the firewalls here "
	     "and there; or do without beacons: --nameserver HOST[:6235] here and for "
	     "muster-storage",
	     doctor->beacon_port);
}

static void judge_pair(struct doctor *doctor, const struct muster_cluster *a,
		       const struct muster_cluster *b)
{
	const struct muster_cluster *served = *a->nameserver ? a : b;
	struct doctor_problem *said;

	if (*a->nameserver && *b->nameserver) {
		mend(problem(doctor, "two clusters have the name %s, at %s and %s", a->name,
			     heard_at(a), heard_at(b)),
		     "end one of them, or name the server with --nameserver %s", a->nameserver);
		return;
	}
	said = problem(doctor,
		       "two clusters have the name %s: the storage server at %s belongs to one "
		       "without a name server, and not to that of %s",
		       a->name, (served == a ? b : a)->storage, heard_at(served));
	mend(said,
	     "if the name server at %s is to be theirs: stop it, and start it on an empty "
	     "directory while they run; what is in its new cluster stays in the old directory",
	     heard_at(served));
}

static void judge_names(struct doctor *doctor)
{
	for (unsigned int i = 0; i < doctor->cluster_count; i++) {
		for (unsigned int k = i + 1; k < doctor->cluster_count; k++) {
			const struct muster_cluster *a = &doctor->clusters[i];
			const struct muster_cluster *b = &doctor->clusters[k];

			if (strcmp(a->name, b->name) == 0)
				judge_pair(doctor, a, b);
		}
	}
}

/* ---- the name server ---- */

static void judge_two(struct doctor *doctor)
{
	char names[DOCTOR_WHAT_MAX / 2] = "";
	size_t used = 0;

	for (unsigned int i = 0; i < doctor->cluster_count && used < sizeof(names); i++) {
		int more = snprintf(names + used, sizeof(names) - used, "%s%s at %s", i ? ", " : "",
				    doctor->clusters[i].name, heard_at(&doctor->clusters[i]));

		used += more > 0 ? (size_t)more : 0;
	}
	mend(problem(doctor, "several clusters are heard: %s", *names ? names : doctor->detail),
	     "choose one with --cluster NAME");
}

static const char start_it[] = "see that muster-nameserver runs there and that its TCP port (6235, "
			       "or its --port) is let through to it";

/* It answers; does it serve? */
static void judge_service(struct doctor *doctor)
{
	const char *named = doctor->call->shell->preferences.nameserver;
	const struct muster_status *status = &doctor->status;

	if (doctor->info.degraded && named)
		mend(problem(doctor, "the name server %s does not answer", named), "%s", start_it);
	else if (doctor->info.degraded && doctor->cluster_count == 0)
		mend(problem(doctor, "the name server of %s is not there: only reading works",
			     doctor->info.cluster),
		     "%s", start_it);
	else if (doctor->has_status && status->state == MUSTER_READ_ONLY)
		mend(problem(doctor,
			     "the name server cannot change anything: %u of the %u servers that "
			     "keep the catalogue with it must be in touch, %u %s",
			     status->journal_needed, status->journal_set, status->journal_up,
			     status->journal_up == 1 ? "is" : "are"),
		     "start those that are offline, or let their TCP connections to the name "
		     "server through; `forget` only those that will never return");
}

const char *doctor_takes_over(const struct doctor *doctor)
{
	const struct muster_cluster *served = served_cluster(doctor);

	if (doctor->has_status && doctor->status.state == MUSTER_TAKES_OVER)
		return doctor->status.nameserver;
	if (!served || (doctor->info.degraded && strcmp(doctor->info.cluster, served->name) != 0))
		return NULL;
	return doctor->info.degraded || doctor->connected == -ERR_UNAVAILABLE ? served->nameserver
									      : NULL;
}

static void judge_takeover(struct doctor *doctor)
{
	const char *waiting = doctor->has_status ? doctor->status.waiting : "";

	mend(problem(doctor, "the name server at %s does not serve yet: it waits for %s",
		     doctor_takes_over(doctor),
		     *waiting ? waiting : "storage servers that know the catalogue"),
	     "start the storage servers that are missing; if they are gone for good, start it once "
	     "with --accept-rebuild");
}

static void judge_nameserver(struct doctor *doctor)
{
	const struct preferences *preferences = &doctor->call->shell->preferences;
	const struct muster_cluster *served = served_cluster(doctor);

	if (doctor->connected == -ERR_TWO_CLUSTERS ||
	    (doctor->cluster_count > 1 && !preferences->cluster && !preferences->nameserver)) {
		judge_two(doctor);
	} else if (doctor_takes_over(doctor)) {
		judge_takeover(doctor);
	} else if (doctor->connected == 0) {
		judge_service(doctor);
	} else if (preferences->nameserver) {
		mend(problem(doctor, "the name server %s does not answer: %s",
			     preferences->nameserver, error_text(doctor->connected)),
		     "%s", start_it);
	} else if (doctor->connected == -ERR_NO_NAMESERVER && preferences->cluster && served) {
		mend(problem(doctor, "cluster %s is not heard, but %s at %s is",
			     preferences->cluster, served->name, served->nameserver),
		     "--cluster %s, or start the name server of %s", served->name,
		     preferences->cluster);
	} else if (served) {
		mend(problem(doctor, "the name server at %s is heard but cannot be talked to: %s",
			     served->nameserver, error_text(doctor->connected)),
		     "let the TCP port of %s through the firewall of that machine",
		     served->nameserver);
	}
}

/* ---- the storage servers ---- */

bool doctor_needs_active(const struct doctor *doctor)
{
	return doctor->call->shell->preferences.way != MUSTER_TRANSFER_PASSIVE;
}

bool doctor_needs_passive(const struct doctor *doctor)
{
	return doctor->call->shell->preferences.way != MUSTER_TRANSFER_ACTIVE;
}

static void judge_node(struct doctor *doctor, const struct doctor_node *at)
{
	const struct muster_node *node = &at->node;

	if (node->state == MUSTER_NODE_OFFLINE) {
		mend(problem(doctor, "storage server %s (%s) is offline, last seen %llu s ago",
			     node->name, node->address,
			     (unsigned long long)(node->last_seen_ms / 1000)),
		     "start muster-storage there; if it runs, it needs TCP port 6235 and UDP port "
		     "%u of the name server, or --nameserver HOST; `forget %s` if it is gone for "
		     "good",
		     doctor->beacon_port, node->name);
		return;
	}
	if (node->disk_failed)
		mend(problem(doctor, "storage server %s cannot use its disk", node->name),
		     "see its log; `drain %s` moves what it still has", node->name);
	if (at->asked && at->reach.passive < 0 && doctor_needs_passive(doctor))
		mend(problem(doctor, "storage server %s cannot be dialled at %s: %s", node->name,
			     *at->reach.address ? at->reach.address : node->address,
			     error_text(at->reach.passive)),
		     "let its TCP port (3503, or its --port) through the firewall there; behind "
		     "NAT it needs --advertise HOST[:PORT]%s",
		     at->reach.active == 0 ? "; or use --transfer active" : "");
	if (at->asked && at->reach.active < 0 && doctor_needs_active(doctor))
		mend(problem(doctor, "storage server %s cannot dial this machine%s: %s", node->name,
			     at->reach.port ? "" : ", which has no port leased",
			     error_text(at->reach.active)),
		     "let TCP ports 3504-3600 (the name server's --client-ports) through the "
		     "firewall here%s",
		     at->reach.passive == 0 ? "; or use --transfer passive, which works" : "");
}

void doctor_judge(struct doctor *doctor)
{
	judge_interfaces(doctor);
	judge_receiver(doctor);
	judge_silence(doctor);
	judge_missed(doctor);
	judge_names(doctor);
	judge_nameserver(doctor);
	if (doctor->connected == 0 && !doctor->info.degraded && doctor->node_count == 0)
		mend(problem(doctor, "the cluster has no storage servers"),
		     "start muster-storage on at least one machine of this network");
	for (unsigned int i = 0; i < doctor->node_count; i++)
		judge_node(doctor, &doctor->nodes[i]);
}

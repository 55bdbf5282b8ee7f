/* What `doctor` finds out, step by step, and what it makes of that. */
#ifndef MUSTER_SHELL_DOCTOR_H
#define MUSTER_SHELL_DOCTOR_H

#include "command.h"
#include "network.h"

enum {
	DOCTOR_CLUSTERS_MAX = 8,
	DOCTOR_PROBLEMS_MAX = 64,
	DOCTOR_WHAT_MAX = 512,
	DOCTOR_WAIT_MS = 5500, /* a beacon's interval, and some */
	DOCTOR_MORE_MS = 1500, /* for others, once one is heard */
	DOCTOR_TRY_MS = 2000,
	RTT_TRIES = 3,
};

/* An interface, and who is heard through it. */
struct doctor_ear {
	struct interface interface; /* no address: ip 0 */
	bool up;
	bool used; /* not excluded by --interface */
	struct muster *session;
	struct muster_cluster clusters[DOCTOR_CLUSTERS_MAX];
	unsigned int count;
};

struct doctor_problem {
	char what[DOCTOR_WHAT_MAX];
	char mend[DOCTOR_WHAT_MAX];
};

struct doctor_node {
	struct muster_node node;
	bool asked; /* both ways were tried */
	struct muster_reach reach;
};

struct doctor {
	struct call *call;
	uint16_t beacon_port;
	struct doctor_ear ears[INTERFACES_MAX];
	unsigned int ear_count;
	struct muster_cluster clusters[DOCTOR_CLUSTERS_MAX]; /* heard on any interface, each once */
	unsigned int cluster_count;
	int connected; /* 0; or why there is no session */
	bool has_status;
	struct muster_status status;
	char detail[DOCTOR_WHAT_MAX];
	struct muster_info info;
	uint64_t rtt_us;
	struct doctor_node *nodes;
	unsigned int node_count;
	struct doctor_problem problems[DOCTOR_PROBLEMS_MAX];
	unsigned int problem_count;
};

/* doctor_look.c: what there is. Each goes on where the one before failed. */
void doctor_interfaces(struct doctor *doctor);
void doctor_listen(struct doctor *doctor);
void doctor_connect(struct doctor *doctor);
void doctor_reach(struct doctor *doctor);
void doctor_done(struct doctor *doctor);

/* doctor_judge.c: what of it is wrong, and what mends it. */
void doctor_judge(struct doctor *doctor);
/* A name server is heard that does not serve yet; its address, or NULL. */
const char *doctor_takes_over(const struct doctor *doctor);
/* Whether a way to a server that failed matters, as --transfer is. */
bool doctor_needs_active(const struct doctor *doctor);
bool doctor_needs_passive(const struct doctor *doctor);

#endif

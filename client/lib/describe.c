/* For people: why something failed, and who is waited for. */
#include "engine.h"

#include <stdio.h>

#include "error.h"
#include "text.h"

enum { WAITS_AFTER_MS = 1000 };

static void describe_clusters(struct muster *session)
{
	struct muster_cluster clusters[4];
	unsigned int count = muster_clusters(session, clusters, 4);
	size_t used = 0;

	for (unsigned int i = 0; i < count && used < sizeof(session->detail); i++) {
		int more = snprintf(session->detail + used, sizeof(session->detail) - used,
				    "%s\"%s\" at %s", i ? ", " : "", clusters[i].name,
				    *clusters[i].nameserver ? clusters[i].nameserver
							    : clusters[i].storage);

		used += more > 0 ? (size_t)more : 0;
	}
}

static void describe_silence(struct muster *session)
{
	if (session->nameserver)
		snprintf(session->detail, sizeof(session->detail), "%s does not answer",
			 session->nameserver);
	else
		snprintf(session->detail, sizeof(session->detail),
			 "nobody answered to probes on UDP port %u", session->beacon_port);
}

static void describe_storage(struct muster *session)
{
	struct muster_info info;

	muster_info(session, &info);
	if (info.degraded)
		snprintf(session->detail, sizeof(session->detail),
			 "reading through storage server %s; start the name server", info.storage);
}

static void describe_takeover(struct muster *session)
{
	struct client_state state;

	client_state(session->core, &state);
	if (state.waits == CLIENT_WAITS_SERVERS)
		snprintf(session->detail, sizeof(session->detail),
			 "the name server was just started, and no storage server is there yet");
	else if (state.error == -ERR_UNAVAILABLE && (!state.connected || state.degraded))
		snprintf(session->detail, sizeof(session->detail), "the name server takes over%s%s",
			 *state.waiting ? "; it waits for " : "", state.waiting);
}

void session_describe(struct muster *session, int error)
{
	session->detail[0] = '\0';
	if (error == -ERR_TWO_CLUSTERS)
		describe_clusters(session);
	else if (error == -ERR_NO_NAMESERVER)
		describe_silence(session);
	else if (error == -ERR_READ_ONLY)
		describe_storage(session);
	else if (error == -ERR_UNAVAILABLE)
		describe_takeover(session);
}

void op_describe(struct muster *session, struct muster_op *op, const struct id *culprit)
{
	char text[ID_TEXT_MAX];

	session_describe(session, op->result);
	memcpy(op->detail, session->detail, sizeof(op->detail));
	if (*op->detail)
		return;
	if (op->in_doubt) {
		snprintf(op->detail, sizeof(op->detail), "it may or may not have happened");
	} else if (op->kind == LIB_PUT && op->result == -ERR_EXPIRED) {
		snprintf(op->detail, sizeof(op->detail),
			 "the name server was restarted, or nothing came for too long; nothing of "
			 "it is stored: put it again");
	} else if (op->kind == LIB_PUT && op->result == -ERR_END) {
		snprintf(op->detail, sizeof(op->detail), "the source is shorter than it was");
	} else if (!id_is_none(culprit) && op->result != -ERR_CANCELLED) {
		snprintf(op->detail, sizeof(op->detail), "storage server %.8s",
			 id_format(culprit, text));
	}
}

/* ---- waiting ---- */

static void waiting_words(const struct client_state *state, char ret[DETAIL_MAX])
{
	static const char *const words[] = {
		[CLIENT_WAITS_NAMESERVER] = "a name server",
		[CLIENT_WAITS_ANSWER] = "the name server to answer",
		[CLIENT_WAITS_TAKEOVER] = "the name server, which takes over",
		[CLIENT_WAITS_SERVERS] = "storage servers to register",
		[CLIENT_WAITS_QUORUM] = "enough servers that keep the catalogue",
	};
	const bool waits_itself = state->waits == CLIENT_WAITS_TAKEOVER && *state->waiting;

	snprintf(ret, DETAIL_MAX, "%s%s%s", words[state->waits],
		 waits_itself ? " and waits for " : "", waits_itself ? state->waiting : "");
}

void waiting_tell(struct muster *session)
{
	struct client_state state;
	char words[DETAIL_MAX];

	if (!session->waiting)
		return;
	client_state(session->core, &state);
	if (state.waits == CLIENT_WAITS_NOT)
		session->waits_for[0] = '\0';
	if (state.waits == CLIENT_WAITS_NOT || state.waits_ms < WAITS_AFTER_MS)
		return;
	waiting_words(&state, words);
	if (strcmp(words, session->waits_for) == 0)
		return;
	memcpy(session->waits_for, words, sizeof(words));
	session->waiting(session->waiting_context, session->waits_for);
}

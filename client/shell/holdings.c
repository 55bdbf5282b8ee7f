#include <string.h>

#include "holdings.h"

const char *copy_state_word(enum muster_copy_state state)
{
	switch (state) {
	case MUSTER_COPY_OK: return "ok";
	case MUSTER_COPY_MISMATCH: return "mismatch";
	case MUSTER_COPY_MISSING: return "missing";
	case MUSTER_COPY_SILENT: return "silent";
	}
	return "unknown";
}

enum tone copy_state_tone(enum muster_copy_state state)
{
	if (state == MUSTER_COPY_OK)
		return TONE_GOOD;
	return state == MUSTER_COPY_SILENT ? TONE_WARN : TONE_BAD;
}

/* Wrong bytes are worse than none, and a server that says nothing may be quite well. */
static unsigned int gravity(enum muster_copy_state state)
{
	switch (state) {
	case MUSTER_COPY_OK: return 0;
	case MUSTER_COPY_SILENT: return 1;
	case MUSTER_COPY_MISSING: return 2;
	case MUSTER_COPY_MISMATCH: break;
	}
	return 3;
}

static struct holding *holding_of(struct holdings *holdings, const uint8_t node[16])
{
	struct holding *holding;

	for (unsigned int i = 0; i < holdings->count; i++) {
		if (memcmp(holdings->items[i].node, node, 16) == 0)
			return &holdings->items[i];
	}
	if (holdings->count == HOLDINGS_MAX)
		return NULL;
	holding = &holdings->items[holdings->count++];
	*holding = (struct holding){ .state = MUSTER_COPY_OK };
	memcpy(holding->node, node, 16);
	return holding;
}

/* A muster_finding_fn. */
static int finding_take(void *context, const struct muster_entry *entry,
			const struct muster_copy_finding *finding)
{
	struct holding *holding = holding_of(context, finding->node);

	if (!holding)
		return 0;
	holding->chunks++;
	if (gravity(finding->state) > gravity(holding->state))
		holding->state = finding->state;
	if (entry->chunks > 1)
		return 0;
	holding->has_digest = finding->has_digest;
	memcpy(holding->digest, finding->digest, 16);
	return 0;
}

int holdings_read(struct call *call, const char *path, const struct muster_entry *entry,
		  struct holdings *ret)
{
	int rc;

	ret->count = 0;
	rc = muster_verify(call->session, path, finding_take, NULL, ret);
	for (unsigned int i = 0; i < ret->count && entry->chunks > 1; i++) {
		struct holding *holding = &ret->items[i];

		holding->has_digest = entry->has_digest && holding->state == MUSTER_COPY_OK;
		memcpy(holding->digest, entry->digest, 16);
	}
	return rc;
}

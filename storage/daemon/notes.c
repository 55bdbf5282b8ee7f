/* What the core finds worth a line in the log. */
#include "endpoint.h"
#include "error.h"
#include "log.h"
#include "storage_daemon.h"
#include "text.h"

enum note_shape { SHAPE_NONE, SHAPE_SERVER, SHAPE_CLUSTER, SHAPE_CHUNK, SHAPE_HOP, SHAPE_COUNT };

struct note_row {
	enum log_level level;
	enum note_shape shape;
	const char *event;
};

static const struct note_row rows[] = {
	[NOTE_REGISTERED] = { LOG_INFO, SHAPE_SERVER, "registered" },
	[NOTE_LOST_NAMESERVER] = { LOG_WARN, SHAPE_NONE, "name-server-lost" },
	[NOTE_REFUSED] = { LOG_WARN, SHAPE_SERVER, "refused-by-name-server" },
	[NOTE_NO_NAMESERVER] = { LOG_WARN, SHAPE_NONE, "no-name-server-found" },
	[NOTE_TWO_CLUSTERS] = { LOG_WARN, SHAPE_CLUSTER, "two-clusters-heard" },
	[NOTE_JOINED] = { LOG_INFO, SHAPE_CLUSTER, "joined" },
	[NOTE_STORED] = { LOG_DEBUG, SHAPE_CHUNK, "stored" },
	[NOTE_NOT_STORED] = { LOG_WARN, SHAPE_CHUNK, "not-stored" },
	[NOTE_DELETED] = { LOG_INFO, SHAPE_COUNT, "deleted" },
	[NOTE_CORRUPT] = { LOG_ERROR, SHAPE_CHUNK, "corrupt" },
	[NOTE_SLOW_HOP] = { LOG_WARN, SHAPE_HOP, "slow-hop" },
	[NOTE_HOP_DOWN] = { LOG_WARN, SHAPE_HOP, "hop-down" },
	[NOTE_DENIED] = { LOG_DEBUG, SHAPE_CHUNK, "ticket-denied" },
};

static void note_none(const struct note_row *row, const struct storage_action *action)
{
	log_event(row->level, row->event, "error=%s", error_name(action->error));
}

static void note_server(const struct note_row *row, const struct storage_action *action)
{
	char address[ENDPOINT_TEXT_MAX], who[ID_TEXT_MAX];

	endpoint_format(&action->endpoints[0], address);
	if (action->error)
		log_event(row->level, row->event, "address=%s error=%s", address,
			  error_name(action->error));
	else
		log_event(row->level, row->event, "server=%s address=%s epoch=%llu",
			  id_format(&action->who, who), address,
			  (unsigned long long)action->number);
}

static void note_cluster(const struct note_row *row, const struct storage_action *action)
{
	char quoted[4 * CLUSTER_NAME_MAX + 8], who[ID_TEXT_MAX];

	log_quote(action->name, strlen(action->name), quoted, sizeof(quoted));
	if (action->note == NOTE_TWO_CLUSTERS)
		log_event(row->level, row->event,
			  "cluster=%s name=%s hint=\"say which with --cluster NAME\"",
			  id_format(&action->who, who), quoted);
	else
		log_event(row->level, row->event, "cluster=%s name=%s",
			  id_format(&action->who, who), quoted);
}

static void note_chunk(const struct note_row *row, const struct storage_action *action)
{
	if (action->error)
		log_event(row->level, row->event, "chunk=%016llx error=%s",
			  (unsigned long long)action->chunk, error_name(action->error));
	else
		log_event(row->level, row->event, "chunk=%016llx length=%llu",
			  (unsigned long long)action->chunk, (unsigned long long)action->number);
}

static void note_hop(const struct note_row *row, const struct storage_action *action)
{
	char who[ID_TEXT_MAX];

	log_event(row->level, row->event, "node=%s error=%s", id_format(&action->who, who),
		  error_name(action->error ? action->error : -ERR_TIMEOUT));
}

static void note_count(const struct note_row *row, const struct storage_action *action)
{
	log_event(row->level, row->event, "chunks=%llu", (unsigned long long)action->number);
}

typedef void note_fn(const struct note_row *row, const struct storage_action *action);

static note_fn *const shapes[] = {
	[SHAPE_NONE] = note_none,   [SHAPE_SERVER] = note_server, [SHAPE_CLUSTER] = note_cluster,
	[SHAPE_CHUNK] = note_chunk, [SHAPE_HOP] = note_hop,       [SHAPE_COUNT] = note_count,
};

void daemon_note(const struct storage_action *action)
{
	const struct note_row *row = &rows[action->note];

	if (log_enabled(row->level))
		shapes[row->shape](row, action);
}

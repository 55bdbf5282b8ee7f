/* What the core finds worth a line in the log. */
#include <stdio.h>

#include "endpoint.h"
#include "error.h"
#include "log.h"
#include "storage_daemon.h"
#include "text.h"

enum note_shape {
	SHAPE_NONE,
	SHAPE_SERVER,
	SHAPE_CLUSTER,
	SHAPE_CHUNK,
	SHAPE_FETCH,
	SHAPE_HOP,
	SHAPE_COUNT,
	SHAPE_CATALOGUE,
	SHAPE_PROMISE,
	SHAPE_SEQUENCE,
	SHAPE_SCRUB
};

struct note_row {
	enum log_level level;
	enum note_shape shape;
	const char *event;
};

static const struct note_row rows[] = {
	[NOTE_REGISTERED] = { LOG_INFO, SHAPE_SERVER, "registered" },
	[NOTE_LOST_NAMESERVER] = { LOG_WARN, SHAPE_NONE, "nameserver_lost" },
	[NOTE_REFUSED] = { LOG_WARN, SHAPE_SERVER, "refused" },
	[NOTE_NO_NAMESERVER] = { LOG_WARN, SHAPE_NONE, "no_nameserver" },
	[NOTE_TWO_CLUSTERS] = { LOG_WARN, SHAPE_CLUSTER, "two_clusters" },
	[NOTE_JOINED] = { LOG_INFO, SHAPE_CLUSTER, "joined" },
	[NOTE_STORED] = { LOG_DEBUG, SHAPE_CHUNK, "stored" },
	[NOTE_NOT_STORED] = { LOG_WARN, SHAPE_CHUNK, "not_stored" },
	[NOTE_SERVED] = { LOG_DEBUG, SHAPE_CHUNK, "served" },
	[NOTE_DELETED] = { LOG_DEBUG, SHAPE_COUNT, "deleted" },
	[NOTE_DISK_FAILED] = { LOG_ERROR, SHAPE_NONE, "disk_failed" },
	[NOTE_CORRUPT] = { LOG_ERROR, SHAPE_CHUNK, "corrupt" },
	[NOTE_SLOW_HOP] = { LOG_WARN, SHAPE_HOP, "slow_hop" },
	[NOTE_HOP_DOWN] = { LOG_WARN, SHAPE_HOP, "hop_down" },
	[NOTE_DENIED] = { LOG_DEBUG, SHAPE_CHUNK, "ticket_denied" },
	[NOTE_FETCHED] = { LOG_INFO, SHAPE_FETCH, "fetched" },
	[NOTE_NOT_FETCHED] = { LOG_WARN, SHAPE_FETCH, "not_fetched" },
	[NOTE_INSPECTED_BAD] = { LOG_WARN, SHAPE_CHUNK, "inspected_bad" },
	[NOTE_CATALOGUE_BEHIND] = { LOG_INFO, SHAPE_CATALOGUE, "catalogue_behind" },
	[NOTE_CATALOGUE_ANEW] = { LOG_WARN, SHAPE_CATALOGUE, "catalogue_anew" },
	[NOTE_CATALOGUE_LEVEL] = { LOG_INFO, SHAPE_CATALOGUE, "catalogue_level" },
	[NOTE_CATALOGUE_REFUSED] = { LOG_ERROR, SHAPE_CATALOGUE, "catalogue_refused" },
	[NOTE_CATALOGUE_DAMAGED] = { LOG_ERROR, SHAPE_NONE, "catalogue_damaged" },
	[NOTE_CATALOGUE_FAILED] = { LOG_ERROR, SHAPE_NONE, "catalogue_failed" },
	[NOTE_PROMISED] = { LOG_INFO, SHAPE_PROMISE, "promised" },
	[NOTE_DEGRADED] = { LOG_WARN, SHAPE_SEQUENCE, "degraded" },
	[NOTE_SCRUB_STARTED] = { LOG_DEBUG, SHAPE_SCRUB, "scrub_started" },
	[NOTE_SCRUB_ENDED] = { LOG_INFO, SHAPE_SCRUB, "scrub_ended" },
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
		log_event(row->level, row->event, "address=%s error=%s reason=\"%s\"", address,
			  error_name(action->error), error_text(action->error));
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
	char error[64] = "";

	if (action->error)
		snprintf(error, sizeof(error), " error=%s", error_name(action->error));
	if (action->number)
		log_event(row->level, row->event, "chunk=%016llx length=%llu ms=%llu%s",
			  (unsigned long long)action->chunk, (unsigned long long)action->number,
			  (unsigned long long)action->took_ms, error);
	else
		log_event(row->level, row->event, "chunk=%016llx%s",
			  (unsigned long long)action->chunk, error);
}

static void note_fetch(const struct note_row *row, const struct storage_action *action)
{
	char source[ID_TEXT_MAX], error[64] = "";

	if (action->error)
		snprintf(error, sizeof(error), " error=%s", error_name(action->error));
	log_event(row->level, row->event, "chunk=%016llx source=%s length=%llu ms=%llu%s",
		  (unsigned long long)action->chunk, id_format(&action->who, source),
		  (unsigned long long)action->number, (unsigned long long)action->took_ms, error);
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

static void note_catalogue(const struct note_row *row, const struct storage_action *action)
{
	char who[ID_TEXT_MAX];

	log_event(row->level, row->event, "sequence=%llu source=%s",
		  (unsigned long long)action->number, id_format(&action->who, who));
}

static void note_scrub(const struct note_row *row, const struct storage_action *action)
{
	log_event(row->level, row->event, "chunks=%llu bad=%lu ms=%llu",
		  (unsigned long long)action->number, (unsigned long)action->id,
		  (unsigned long long)action->took_ms);
}

static void note_promise(const struct note_row *row, const struct storage_action *action)
{
	char who[ID_TEXT_MAX];

	log_event(row->level, row->event, "server=%s epoch=%llu", id_format(&action->who, who),
		  (unsigned long long)action->number);
}

static void note_sequence(const struct note_row *row, const struct storage_action *action)
{
	log_event(row->level, row->event, "sequence=%llu", (unsigned long long)action->number);
}

typedef void note_fn(const struct note_row *row, const struct storage_action *action);

static note_fn *const shapes[] = {
	[SHAPE_NONE] = note_none,       [SHAPE_SERVER] = note_server,
	[SHAPE_CLUSTER] = note_cluster, [SHAPE_CHUNK] = note_chunk,
	[SHAPE_FETCH] = note_fetch,     [SHAPE_HOP] = note_hop,
	[SHAPE_COUNT] = note_count,     [SHAPE_CATALOGUE] = note_catalogue,
	[SHAPE_PROMISE] = note_promise, [SHAPE_SEQUENCE] = note_sequence,
	[SHAPE_SCRUB] = note_scrub,
};

void daemon_note(const struct storage_action *action)
{
	const struct note_row *row = &rows[action->note];

	if (log_enabled(row->level))
		shapes[row->shape](row, action);
}

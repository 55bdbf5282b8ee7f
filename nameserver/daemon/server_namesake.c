/* An empty directory founds a cluster where nobody is heard of one: after a loss of power perhaps
 * only because the storage servers come up later. As long as nothing has come to the new cluster,
 * it is given up for the one that was there before. */
#include "clock.h"
#include "server_inside.h"
#include "text.h"

enum { SAY_EVERY_MS = 10 * 60 * 1000 };

/* Storage servers that miss their name server: they count their starts, clients do not. */
static bool is_missing_another(const struct beacon *beacon, const struct nameserver_info *info)
{
	if (beacon->kind != BEACON_STORAGE && beacon->kind != BEACON_PROBE)
		return false;
	return beacon->start != 0 && !id_is_none(&beacon->cluster) &&
	       !id_equal(&beacon->cluster, &info->cluster) &&
	       strcmp(beacon->cluster_name, info->cluster_name) == 0;
}

static bool is_untouched(const struct server *server, const struct nameserver_info *info)
{
	struct totals totals;

	return info->serving && info->members == 0 &&
	       totals_get(view_kv(server->database->view), &totals) == 0 && totals.files == 0 &&
	       totals.directories == 0;
}

static void say(struct server *server, const struct beacon *beacon, const struct endpoint *source)
{
	uint64_t now_ms = clock_monotonic_ms();
	char cluster[ID_TEXT_MAX], address[ENDPOINT_TEXT_MAX];

	if (server->namesake_ms && now_ms < server->namesake_ms + SAY_EVERY_MS)
		return;
	server->namesake_ms = now_ms;
	server_event(server, LOG_WARN, "namesake", "cluster=%s address=%s",
		     id_format(&beacon->cluster, cluster), endpoint_format(source, address));
}

bool server_is_superfluous(struct server *server, const struct beacon *beacon,
			   const struct endpoint *source)
{
	struct nameserver_info info = nameserver_info(server->ns);

	if (!is_missing_another(beacon, &info))
		return false;
	if (is_untouched(server, &info))
		return true;
	say(server, beacon, source);
	return false;
}

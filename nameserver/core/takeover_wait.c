/* Who is waited for, for people: by name where the own catalogue knows it. */
#include <stdio.h>

#include "takeover_inside.h"
#include "text.h"

enum { NAMES_MAX = 2 * JOURNAL_SET_MAX * (HOST_NAME_MAX_ + 16), QUOTED_MAX = 2 * NAMES_MAX };

struct waited {
	struct takeover *t;
	char missing[NAMES_MAX], empty[NAMES_MAX]; /* names */
	unsigned int promised;
};

static const char *name_of(const struct takeover *t, const struct id *node, char text[ID_TEXT_MAX])
{
	for (unsigned int i = 0; i < t->facts.name_count; i++) {
		if (id_equal(&t->facts.names[i].node, node) && t->facts.names[i].name[0])
			return t->facts.names[i].name;
	}
	return id_format(node, text);
}

static void name_add(struct waited *waited, const struct id *node, char names[NAMES_MAX])
{
	char text[ID_TEXT_MAX];
	size_t used = strlen(names);

	snprintf(names + used, NAMES_MAX - used, "%s%s", used ? "," : "",
		 name_of(waited->t, node, text));
}

static void member_look(struct waited *waited, const struct id *node)
{
	if (takeover_has_promised(waited->t, node))
		waited->promised++;
	else if (takeover_is_without_copy(waited->t, node))
		name_add(waited, node, waited->empty);
	else if (!takeover_is_in_reach(waited->t, node))
		name_add(waited, node, waited->missing);
}

static void look(struct takeover *t, struct waited *ret)
{
	const struct journal_set *set = &t->deciding;

	*ret = (struct waited){ .t = t };
	for (unsigned int i = 0; i < set->now.count; i++)
		member_look(ret, &set->now.nodes[i]);
	for (unsigned int i = 0; set->changing && i < set->before.count; i++) {
		if (!journal_members_have(&set->now, &set->before.nodes[i]))
			member_look(ret, &set->before.nodes[i]);
	}
}

static const char *way_out(struct takeover *t, const struct waited *waited)
{
	if (t->config.accept_rebuild)
		return "; begins soon with those in reach";
	if (waited->empty[0])
		return "; a copy of the catalogue is empty, so it may never be enough: "
		       "--accept-rebuild begins with those in reach";
	return takeover_count(t, takeover_may_ask(t))
		       ? "; --accept-rebuild begins with those in reach"
		       : "";
}

static const char *quote(const char *text, char ret[QUOTED_MAX])
{
	return log_quote(text, strlen(text), ret, QUOTED_MAX);
}

void takeover_wait_note(struct takeover *t)
{
	const unsigned int set = t->deciding.now.count;
	char name[QUOTED_MAX], missing[QUOTED_MAX], empty[QUOTED_MAX];
	struct waited waited;

	if (t->now_ms < t->next_note_ms)
		return;
	t->next_note_ms = t->now_ms + WAITING_NOTE_MS;
	look(t, &waited);
	takeover_note(t, LOG_WARN, "takeover_waiting",
		      "name=%s missing=%s empty=%s set=%u needed=%u promised=%u heard=%u "
		      "text=\"cluster exists: waiting for its storage servers%s\"",
		      quote(t->cluster_name, name), quote(waited.missing, missing),
		      quote(waited.empty, empty), set, journal_needs(JOURNAL_TAKE, set),
		      waited.promised, takeover_count(t, false), way_out(t, &waited));
}

struct slice takeover_wait_names(struct takeover *t)
{
	struct waited waited;
	uint8_t *text;
	size_t size;

	look(t, &waited);
	if (waited.empty[0]) {
		size_t used = strlen(waited.missing);

		snprintf(waited.missing + used, NAMES_MAX - used, "%s%s (empty)", used ? "," : "",
			 waited.empty);
	}
	size = strlen(waited.missing);
	text = arena_alloc(&t->arena, size);
	if (!text)
		return (struct slice){ 0 };
	memcpy(text, waited.missing, size);
	return (struct slice){ text, size };
}

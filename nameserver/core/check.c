/* CHECK: what is wrong, for people. Servers first, then chunk after chunk; of the chunks of a file
 * each kind of problem is told once in an answer. A removed file has no path: where it was is said
 * in the detail. */
#include <stdarg.h>
#include <stdio.h>

#include "hold.h"
#include "repair.h"

enum {
	CHECK_STEP = 2048,       /* chunks an answer: some 10 ms */
	CHECK_NODES = 150,       /* of the problems of an answer, about servers */
	CHUNK_PROBLEMS_MAX = 16, /* of one chunk */
	NEARLY_FULL_PART = 20,   /* less than one part in so many is free */
	TRASH_LOOK = 16 * 1024,  /* entries that an answer looks through for paths: some 10 ms */
};

/* A file that has the chunk. */
struct owner {
	uint64_t inode;
	uint64_t top; /* of the removed tree that it is part of; 0: it is there */
	char *path;   /* below that */
};

struct checker {
	struct nameserver *ns;
	struct problem *problems;
	struct owner owners[PROBLEMS_MAX]; /* of what each names; zeroes: none */
	unsigned int count;
	struct wanted_memory memory;
	uint64_t root;
	unsigned int removed;  /* problems with files that were */
	unsigned int machines; /* with servers that can take chunks */
};

static struct problem *problem_add(struct checker *checker, uint8_t kind, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static struct problem *problem_add(struct checker *checker, uint8_t kind, const char *format, ...)
{
	char *detail = arena_alloc(&checker->ns->arena, DETAIL_TEXT_MAX + 1);
	struct problem *problem = &checker->problems[checker->count];
	va_list arguments;

	if (!detail)
		return NULL;
	va_start(arguments, format);
	vsnprintf(detail, DETAIL_TEXT_MAX + 1, format, arguments);
	va_end(arguments);
	*problem = (struct problem){ .kind = kind, .detail = slice_of(detail) };
	checker->count++;
	return problem;
}

/* ---- servers ---- */

static void node_problem(struct checker *checker, const struct member *member, const char *text)
{
	struct problem *problem = problem_add(checker, PROBLEM_NODE, "%s", text);

	if (problem)
		problem->node = member->row.node;
}

static void node_away(struct checker *checker, const struct member *member)
{
	char text[DETAIL_TEXT_MAX];

	snprintf(text, sizeof(text), "%s %llu s",
		 member->key ? "offline for" : "offline since the name server started,",
		 (unsigned long long)((checker->ns->now_ms - member->offline_ms) / 1000));
	node_problem(checker, member, text);
}

static void node_leaving(struct checker *checker, const struct member *member)
{
	char text[DETAIL_TEXT_MAX];

	if (member->chunks)
		snprintf(text, sizeof(text), "being emptied: %llu chunks are left",
			 (unsigned long long)member->chunks);
	else
		snprintf(text, sizeof(text), "empty, as it was to be: it can be switched off");
	node_problem(checker, member, text);
}

static void node_full(struct checker *checker, const struct member *member)
{
	char text[DETAIL_TEXT_MAX];

	snprintf(text, sizeof(text), "nearly full: %llu of %llu MiB are free",
		 (unsigned long long)(member->free >> 20),
		 (unsigned long long)(member->capacity >> 20));
	node_problem(checker, member, text);
}

static void node_braked(struct checker *checker, const struct member *member)
{
	char text[DETAIL_TEXT_MAX];

	snprintf(text, sizeof(text),
		 "%zu chunks that no file explains wait to be deleted: at most %llu go in an hour",
		 member->unknown.count, (unsigned long long)member->brake.most);
	node_problem(checker, member, text);
}

static void node_check(struct checker *checker, const struct member *member)
{
	if (!member_is_up(member)) {
		node_away(checker, member);
		return;
	}
	if (member->state == NODE_SUSPECT)
		node_problem(checker, member, "does not answer; may be about to go offline");
	if (member->disk_failed)
		node_problem(checker, member, "the disk has failed: nothing more can be stored");
	if (member->brake.pulled)
		node_braked(checker, member);
	if (member->row.draining)
		node_leaving(checker, member);
	else if (member->free < member->capacity / NEARLY_FULL_PART)
		node_full(checker, member);
}

/* Running time, in words. */
static void hold_check(struct checker *checker)
{
	uint64_t hours = hold_left_ms(checker->ns) / (60 * 60 * 1000);

	if (hold_of(checker->ns) == HOLD_STALE)
		problem_add(checker, PROBLEM_NODE,
			    "nothing is deleted: storage servers know a newer catalogue than this "
			    "name server; start it with the right one");
	if (hold_of(checker->ns) == HOLD_REBUILT)
		problem_add(checker, PROBLEM_NODE,
			    "nothing is deleted, since the catalogue was rebuilt: the name server "
			    "has to run for %llu days and %llu hours yet",
			    (unsigned long long)(hours / 24), (unsigned long long)(hours % 24));
}

static void nodes_check(struct checker *checker)
{
	const struct nameserver *ns = checker->ns;

	hold_check(checker);
	for (unsigned int i = 0; i < ns->member_count; i++) {
		if (checker->count >= CHECK_NODES) {
			problem_add(checker, PROBLEM_NODE, "and perhaps %u servers more",
				    ns->member_count - i);
			return;
		}
		node_check(checker, ns->sorted[i]);
	}
}

/* ---- chunks ---- */

/* The first of its files that is there; else any. */
static int owner_find(struct checker *checker, uint64_t chunk, struct owner *ret)
{
	struct nameserver *ns = checker->ns;
	struct owner owner = { .path = arena_alloc(&ns->arena, PATH_SIZE_MAX + 1) };
	uint64_t end;
	int rc = owner.path ? 0 : -ERR_NO_MEMORY;

	while (rc >= 0) {
		rc = chunk_owner(ns->kv, chunk, owner.inode, &owner.inode, &end);
		if (rc == 0)
			rc = catalogue_path_below(ns->kv, owner.inode, &owner.top, owner.path,
						  PATH_SIZE_MAX + 1);
		if (rc >= 0)
			*ret = owner;
		if (rc >= 0 && owner.top == checker->root) {
			ret->top = 0;
			return 0;
		}
	}
	return ret->inode ? 0 : rc;
}

static bool is_told(const struct checker *checker, uint64_t chunk, uint8_t kind)
{
	uint64_t inode = 0, end;

	while (chunk_owner(checker->ns->kv, chunk, inode, &inode, &end) == 0) {
		for (unsigned int i = 0; i < checker->count; i++) {
			if (checker->owners[i].inode == inode && checker->problems[i].kind == kind)
				return true;
		}
	}
	return false;
}

static void chunk_problem(struct checker *checker, const struct chunk_health *health, uint8_t kind,
			  const char *text)
{
	unsigned int sound = health->copies.sound < COPIES_MAX ? health->copies.sound : COPIES_MAX;
	struct owner owner = { 0 };
	struct problem *problem;

	if (is_told(checker, health->chunk, kind) || owner_find(checker, health->chunk, &owner) < 0)
		return;
	problem = problem_add(checker, kind, "%s", text);
	if (!problem)
		return;
	checker->owners[checker->count - 1] = owner;
	checker->removed += owner.top != 0;
	if (!owner.top)
		problem->path = slice_of(owner.path);
	problem->chunk = health->chunk;
	problem->copies = (uint8_t)sound;
	problem->copies_wanted = health->wanted;
}

static bool is_copy_away(const struct nameserver *ns, const struct chunk_health *health)
{
	for (unsigned int i = 0; i < health->holders.count; i++) {
		const struct member *member = member_by_number(ns, health->holders.numbers[i]);

		if (member && !member_is_up(member))
			return true;
	}
	return false;
}

static bool is_room_left(const struct nameserver *ns, const struct chunk_health *health)
{
	struct chunk_row row;

	if (chunk_find(ns->kv, health->chunk, &row) < 0)
		return true;
	for (unsigned int i = 0; i < ns->member_count; i++) {
		const struct member *member = ns->sorted[i];

		if (member_may_take(member, row.length) &&
		    (!holders_have(&health->holders, member->row.number) ||
		     copy_is_bad(member, health->chunk)))
			return true;
	}
	return false;
}

static const char *remedy(const struct nameserver *ns, const struct chunk_health *health)
{
	if (!health->targets)
		return "no server is left that could take another";
	if (!is_room_left(ns, health))
		return "no other server has room for it";
	if (health->missed_ms == UINT64_MAX || health->missed_ms <= ns->now_ms)
		return "being repaired";
	return is_copy_away(ns, health) ? "to be repaired if its server does not come back"
					: "put just now with too few; more are made soon";
}

static void lack_check(struct checker *checker, const struct chunk_health *health)
{
	char text[DETAIL_TEXT_MAX];

	if (health->copies.sound == 0) {
		chunk_problem(checker, health, PROBLEM_LOST,
			      health->copies.up       ? "every copy that can be reached is bad"
			      : health->holders.count ? "all servers that have a copy are offline"
						      : "no server is known to have a copy");
		return;
	}
	snprintf(text, sizeof(text), "%u of %u copies; %s", health->copies.sound, health->wanted,
		 remedy(checker->ns, health));
	chunk_problem(checker, health, PROBLEM_UNDER_COPIED, text);
}

static void bad_check(struct checker *checker, const struct chunk_health *health)
{
	const struct member *member;

	LIST_FOREACH(member, &checker->ns->with_bad, with_bad) {
		unsigned int before = checker->count;

		if (!copy_is_bad(member, health->chunk) || before >= PROBLEMS_MAX)
			continue;
		chunk_problem(checker, health, PROBLEM_CORRUPT, "a copy is damaged");
		if (checker->count > before)
			checker->problems[before].node = member->row.node;
	}
}

static unsigned int machines_of(const struct nameserver *ns, const struct chunk_health *health,
				struct id machines[HOLDERS_MAX])
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < health->holders.count; i++) {
		const struct member *member = member_by_number(ns, health->holders.numbers[i]);
		unsigned int at = 0;

		if (!member || !member_is_up(member) || copy_is_bad(member, health->chunk))
			continue;
		while (at < count && !id_equal(&machines[at], &member->machine))
			at++;
		if (at == count)
			machines[count++] = member->machine;
	}
	return count;
}

/* Copies that share a machine although there are others. */
static void machine_check(struct checker *checker, const struct chunk_health *health)
{
	struct id machines[HOLDERS_MAX];
	unsigned int count = machines_of(checker->ns, health, machines);
	unsigned int most =
		health->copies.sound < checker->machines ? health->copies.sound : checker->machines;
	char text[DETAIL_TEXT_MAX];

	if (count >= most)
		return;
	snprintf(text, sizeof(text), "%u copies on %u machine%s", health->copies.sound, count,
		 count == 1 ? "" : "s");
	chunk_problem(checker, health, PROBLEM_SAME_MACHINE, text);
}

static void chunk_check(struct checker *checker, const struct chunk_health *health)
{
	char text[DETAIL_TEXT_MAX];

	bad_check(checker, health);
	if (health->copies.sound < health->wanted)
		lack_check(checker, health);
	if (health->copies.sound > health->wanted) {
		snprintf(text, sizeof(text), "%u copies, %u are wanted", health->copies.sound,
			 health->wanted);
		chunk_problem(checker, health, PROBLEM_SURPLUS, text);
	}
	machine_check(checker, health);
}

static void machines_count(struct checker *checker)
{
	const struct nameserver *ns = checker->ns;

	for (unsigned int i = 0; i < ns->member_count; i++) {
		const struct member *member = ns->sorted[i];
		unsigned int j = 0;

		while (j < i && !(member_may_take(ns->sorted[j], 0) &&
				  id_equal(&ns->sorted[j]->machine, &member->machine)))
			j++;
		checker->machines += j == i && member_may_take(member, 0);
	}
}

static int chunks_check(struct checker *checker, struct check_reply *reply)
{
	struct nameserver *ns = checker->ns;

	for (unsigned int i = 0; i < CHECK_STEP; i++) {
		struct chunk_health health = { 0 };
		int rc = chunk_next(ns->kv, reply->after, &health.chunk);

		if (rc == -ERR_NOT_FOUND)
			return 0;
		if (rc == 0)
			rc = chunk_wanted(ns, health.chunk, &checker->memory, &health.wanted);
		if (rc == 0)
			rc = holders_get(ns->kv, health.chunk, &health.holders);
		if (rc < 0)
			return rc == -ERR_NOT_FOUND ? -ERR_IO : rc;
		if (checker->count + CHUNK_PROBLEMS_MAX > PROBLEMS_MAX)
			break;
		health_fill(ns, &health);
		chunk_check(checker, &health);
		reply->after = health.chunk;
		reply->seen++;
	}
	reply->more = 1;
	return 0;
}

/* ---- removed files ---- */

static void removed_tell(struct checker *checker, unsigned int at, const struct trash_row *row)
{
	const char *below = checker->owners[at].path;
	struct problem *problem = &checker->problems[at];
	char *detail = arena_alloc(&checker->ns->arena, DETAIL_TEXT_MAX + 1);

	if (!detail)
		return;
	if (row)
		snprintf(detail, DETAIL_TEXT_MAX + 1, "in the trash: was %.*s%s; %.*s",
			 (int)row->path.size, (const char *)row->path.data, below,
			 (int)problem->detail.size, (const char *)problem->detail.data);
	else
		snprintf(detail, DETAIL_TEXT_MAX + 1, "of a file that was removed: %.*s",
			 (int)problem->detail.size, (const char *)problem->detail.data);
	problem->detail = slice_of(detail);
	checker->owners[at].top = 0;
	checker->removed--;
}

/* Rows of the trash are in the order of removal: one look through them serves all problems. What is
 * not found there is about to go. */
static int removed_check(struct checker *checker)
{
	struct trash_row row = { 0 };
	int rc = 0;

	for (unsigned int i = 0; checker->removed && rc == 0 && i < TRASH_LOOK; i++) {
		rc = trash_next(checker->ns->kv, row.since_ms, row.inode, &row);
		for (unsigned int at = 0; rc == 0 && at < checker->count; at++) {
			if (checker->owners[at].top == row.inode)
				removed_tell(checker, at, &row);
		}
	}
	for (unsigned int at = 0; checker->removed && at < checker->count; at++) {
		if (checker->owners[at].top)
			removed_tell(checker, at, NULL);
	}
	return rc == -ERR_NOT_FOUND ? 0 : rc;
}

int on_check(struct nameserver *ns, struct session *from, const struct check_request *request,
	     struct check_reply *reply)
{
	struct checker *checker = arena_alloc(&ns->arena, sizeof(*checker));
	int rc;

	(void)from;
	if (!checker)
		return -ERR_NO_MEMORY;
	checker->ns = ns;
	checker->problems = arena_alloc(&ns->arena, PROBLEMS_MAX * sizeof(struct problem));
	if (!checker->problems)
		return -ERR_NO_MEMORY;
	reply->after = request->after;
	takers_count(ns);
	machines_count(checker);
	if (request->after == 0)
		nodes_check(checker);
	rc = catalogue_root(ns->kv, &checker->root);
	if (rc == 0)
		rc = chunks_check(checker, reply);
	if (rc == 0)
		rc = removed_check(checker);
	reply->problems = checker->problems;
	reply->problems_count = (uint16_t)checker->count;
	return rc;
}

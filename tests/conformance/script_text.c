#include "script_text.h"

#include <ctype.h>
#include <stdlib.h>

#include "error.h"

/* ---- taking apart ---- */

struct cursor {
	const uint8_t *at, *end;
	struct arena *arena;
	bool bad;
};

static bool at_end(const struct cursor *cursor)
{
	return cursor->at == cursor->end;
}

static void skip_blanks(struct cursor *cursor)
{
	while (!at_end(cursor) && *cursor->at == ' ')
		cursor->at++;
}

static bool take(struct cursor *cursor, char what)
{
	skip_blanks(cursor);
	if (at_end(cursor) || *cursor->at != (uint8_t)what)
		return false;
	cursor->at++;
	return true;
}

static void skip_string(struct cursor *cursor)
{
	for (cursor->at++; !at_end(cursor) && *cursor->at != '"'; cursor->at++) {
		if (*cursor->at == '\\' && cursor->at + 1 < cursor->end)
			cursor->at++;
	}
	cursor->bad = cursor->bad || at_end(cursor);
	cursor->at += !at_end(cursor);
}

static void skip_word(struct cursor *cursor)
{
	while (!at_end(cursor) && !strchr(" []{}", *cursor->at))
		cursor->at++;
}

static struct node *node_new(struct cursor *cursor)
{
	struct node *node = arena_alloc(cursor->arena, sizeof(*node));

	if (!node)
		abort();
	return node;
}

static struct node *parse_fields(struct cursor *cursor, char close);

static struct node *parse_value(struct cursor *cursor)
{
	struct node *node = node_new(cursor), **last;

	skip_blanks(cursor);
	node->text.data = cursor->at;
	last = &node->first;
	if (take(cursor, '{')) {
		node->kind = NODE_RECORD;
		node->first = parse_fields(cursor, '}')->first;
	} else if (take(cursor, '[')) {
		node->kind = NODE_LIST;
		while (!cursor->bad && !take(cursor, ']')) {
			const uint8_t *before = cursor->at;

			*last = parse_value(cursor);
			last = &(*last)->next;
			cursor->bad = cursor->bad || cursor->at == before;
		}
	} else if (!at_end(cursor) && *cursor->at == '"') {
		skip_string(cursor);
	} else {
		skip_word(cursor);
	}
	node->text.size = (size_t)(cursor->at - node->text.data);
	return node;
}

static struct node *parse_fields(struct cursor *cursor, char close)
{
	struct node *record = node_new(cursor), **last;

	record->kind = NODE_RECORD;
	last = &record->first;
	for (skip_blanks(cursor); !cursor->bad; skip_blanks(cursor)) {
		struct slice name = { cursor->at, 0 };

		if (close ? take(cursor, close) : at_end(cursor))
			return record;
		while (!at_end(cursor) && (isalnum(*cursor->at) || strchr("_+", *cursor->at)))
			cursor->at++;
		name.size = (size_t)(cursor->at - name.data);
		cursor->bad = name.size == 0;
		if (name.size && name.data[0] != '+' && !take(cursor, '='))
			cursor->bad = true;
		if (cursor->bad)
			break;
		*last = name.data[0] == '+' ? node_new(cursor) : parse_value(cursor);
		(*last)->name = name;
		last = &(*last)->next;
	}
	return record;
}

struct node *node_parse(struct slice text, struct arena *arena)
{
	struct cursor cursor = { text.data, text.data + text.size, arena, false };
	struct node *node = parse_fields(&cursor, '\0');

	return cursor.bad ? NULL : node;
}

static const struct node *field_named(const struct node *record, struct slice name)
{
	for (const struct node *field = record->first; field; field = field->next) {
		if (slice_equal(field->name, name))
			return field;
	}
	return NULL;
}

const struct node *node_field(const struct node *record, const char *name)
{
	return field_named(record, slice_of(name));
}

/* ---- variables ---- */

const struct variable *variable_find(const struct variables *variables, struct slice name)
{
	const struct variable *variable = variables->first;

	while (variable && !slice_equal(slice_of(variable->name), name))
		variable = variable->next;
	return variable;
}

int variable_set(struct variables *variables, struct slice name, struct slice value)
{
	struct variable *variable = variables->first;

	while (variable && !slice_equal(slice_of(variable->name), name))
		variable = variable->next;
	if (!variable) {
		variable = calloc(1, sizeof(*variable));
		if (!variable || name.size >= sizeof(variable->name)) {
			free(variable);
			return -ERR_TOO_LARGE;
		}
		memcpy(variable->name, name.data, name.size);
		variable->next = variables->first;
		variables->first = variable;
	}
	buffer_clear(&variable->value);
	return buffer_append(&variable->value, value.data, value.size);
}

void variables_done(struct variables *variables)
{
	while (variables->first) {
		struct variable *variable = variables->first;

		variables->first = variable->next;
		buffer_done(&variable->value);
		free(variable);
	}
}

static size_t name_size(const char *text)
{
	size_t size = 0;

	while (isalnum((unsigned char)text[size]) || text[size] == '_')
		size++;
	return size;
}

void text_expand(const struct variables *variables, const char *text, struct buffer *ret)
{
	for (; *text; text++) {
		struct slice name = { (const uint8_t *)text + 1, name_size(text + 1) };
		const struct variable *variable =
			*text == '$' ? variable_find(variables, name) : NULL;

		if (!variable) {
			buffer_append(ret, text, 1);
			continue;
		}
		buffer_append(ret, variable->value.data, variable->value.size);
		text += name.size;
	}
	buffer_append(ret, "", 1);
}

/* ---- comparing ---- */

/* What the printer leaves out: 0, "", [], {} and hex digits that are all 0. */
static bool is_nothing(struct slice text)
{
	for (size_t i = 0; i < text.size; i++) {
		if (!strchr("0\"[]{} ", text.data[i]))
			return false;
	}
	return true;
}

static bool number_of(struct slice text, unsigned long long *ret)
{
	char copy[24];
	char *end;

	if (text.size == 0 || text.size >= sizeof(copy) || !isdigit(text.data[0]))
		return false;
	memcpy(copy, text.data, text.size);
	copy[text.size] = '\0';
	*ret = strtoull(copy, &end, strncmp(copy, "0x", 2) ? 10 : 16);
	return *end == '\0';
}

static bool scalar_match(struct slice expected, struct slice actual)
{
	unsigned long long a, b;

	if (slice_equal(expected, actual) || (is_nothing(expected) && is_nothing(actual)))
		return true;
	return number_of(expected, &a) && number_of(actual, &b) && a == b;
}

static bool value_match(const struct node *expected, const struct node *actual,
			struct variables *variables);

static bool list_match(const struct node *expected, const struct node *actual,
		       struct variables *variables)
{
	const struct node *a, *b;

	for (a = expected->first, b = actual->first; a && b; a = a->next, b = b->next) {
		if (!value_match(a, b, variables))
			return false;
	}
	return !a && !b;
}

/* Each item expected takes the first of those left that fits. */
static bool set_match(const struct node *expected, const struct node *actual,
		      struct variables *variables)
{
	const struct node *taken[64] = { NULL }, *b;
	size_t count = 0, most = 0;

	for (b = actual->first; b; b = b->next)
		most++;
	for (const struct node *a = expected->first; a; a = a->next) {
		for (b = actual->first; b; b = b->next) {
			bool used = false;

			for (size_t i = 0; i < count; i++)
				used |= taken[i] == b;
			if (!used && value_match(a, b, variables))
				break;
		}
		if (!b || count == ARRAY_SIZE(taken))
			return false;
		taken[count++] = b;
	}
	return count == most;
}

static bool value_match(const struct node *expected, const struct node *actual,
			struct variables *variables)
{
	static const struct node nothing = { .text = { (const uint8_t *)"0", 1 } };
	struct slice text = expected->text, ignored;

	if (slice_equal(text, slice_of("*")))
		return true;
	if (text.size > 1 && text.data[0] == '$')
		return variable_set(variables, (struct slice){ text.data + 1, text.size - 1 },
				    actual ? actual->text : nothing.text) == 0;
	if (!actual)
		return is_nothing(text);
	if (expected->kind == NODE_RECORD && actual->kind == NODE_RECORD)
		return node_match(expected, actual, variables, &ignored);
	if (expected->kind != NODE_LIST || actual->kind != NODE_LIST)
		return scalar_match(text, actual->text);
	return slice_equal(expected->name, slice_of("receipts"))
		       ? set_match(expected, actual, variables)
		       : list_match(expected, actual, variables);
}

bool node_match(const struct node *expected, const struct node *actual, struct variables *variables,
		struct slice *ret_field)
{
	for (const struct node *field = expected->first; field; field = field->next) {
		*ret_field = field->name;
		if (!value_match(field, field_named(actual, field->name), variables))
			return false;
	}
	return true;
}

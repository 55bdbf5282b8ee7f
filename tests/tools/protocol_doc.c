/* Prints the reference of all records, messages and status codes, as Markdown. */
#include <inttypes.h>
#include <stdio.h>

#include "error.h"
#include "message.h"

static const char *const kind_names[] = {
	[FIELD_ARG1] = "arg1 (u64)", [FIELD_ARG2] = "arg2 (u64)", [FIELD_U8] = "u8",
	[FIELD_U16] = "u16",         [FIELD_U32] = "u32",         [FIELD_U64] = "u64",
	[FIELD_ID] = "id",           [FIELD_DIGEST] = "digest",   [FIELD_KEY] = "key",
	[FIELD_STR] = "string",      [FIELD_BYTES] = "bytes",
};

/* Sizes of what is always in the body; of a string or list: of its length. */
static const size_t kind_sizes[] = {
	[FIELD_U8] = 1,         [FIELD_U16] = 2,      [FIELD_U32] = 4,
	[FIELD_U64] = 8,        [FIELD_ID] = ID_SIZE, [FIELD_DIGEST] = DIGEST_SIZE,
	[FIELD_KEY] = KEY_SIZE, [FIELD_STR] = 2,      [FIELD_BYTES] = 4,
	[FIELD_LIST] = 2,
};

static void print_kind(const struct field *field)
{
	const char *record = field->record ? field->record()->name : NULL;

	if (field->kind == FIELD_ONE)
		printf("[%s](#%s)", record, record);
	else if (field->kind == FIELD_LIST)
		printf("list of [%s](#%s)", record, record);
	else
		printf("%s", kind_names[field->kind]);
}

/* A bar would end the cell. */
static void print_text(const char *text)
{
	for (; *text; text++)
		printf(*text == '|' ? "\\%c" : "%c", *text);
}

static void print_max(const struct field *field)
{
	if (field->max == 0)
		return;
	printf("%" PRIu64, field->max);
	if (field->kind == FIELD_STR || field->kind == FIELD_BYTES)
		printf(" bytes");
	else if (field->kind == FIELD_LIST)
		printf(" records");
}

/* The offset is known up to the first field whose size varies. */
static void print_rows(const struct layout *layout)
{
	size_t offset = 0;
	bool fixed = true;

	printf("| offset | field | kind | max | meaning |\n|---|---|---|---|---|\n");
	for (unsigned int i = 0; i < layout->count; i++) {
		const struct field *field = &layout->fields[i];
		const struct layout *record = field->kind == FIELD_ONE ? field->record() : NULL;

		printf("| ");
		if (field->kind <= FIELD_ARG2)
			printf("header");
		else if (fixed)
			printf("%zu", offset);
		printf(" | `%s` | ", field->name);
		print_kind(field);
		printf(" | ");
		print_max(field);
		printf(" | ");
		print_text(field->text);
		printf(" |\n");
		offset += record ? record->wire_min : kind_sizes[field->kind];
		if (record)
			fixed = fixed && record->wire_min == record->wire_max;
		else
			fixed = fixed && field->kind < FIELD_STR;
	}
	printf("\n");
}

static void print_size(const struct layout *layout)
{
	if (layout->wire_min == layout->wire_max)
		printf("%zu bytes", layout->wire_min);
	else
		printf("%zu to %zu bytes", layout->wire_min, layout->wire_max);
}

static void print_layout(const char *title, const struct layout *layout)
{
	printf("%s, ", title);
	print_size(layout);
	if (layout->count == 0) {
		printf(": nothing.\n\n");
		return;
	}
	printf(":\n\n");
	print_rows(layout);
}

static void print_facts(const struct message_info *info)
{
	static const struct {
		unsigned int flag;
		const char *text;
	} facts[] = {
		{ MESSAGE_CHANGES, "repeating it gives the recorded answer" },
		{ MESSAGE_EARLY, "allowed before HELLO" },
		{ MESSAGE_ONE_WAY, "never answered" },
		{ MESSAGE_SLOW, "may be answered IN_PROGRESS" },
		{ MESSAGE_BULK, "bytes follow in DATA frames" },
		{ MESSAGE_ADMIN, "for operators" },
	};

	printf("Served by %s.", info->to == TO_NAMESERVER ? "the name server"
				: info->to == TO_CATALOGUE
					? "the name server; without one, by storage servers"
				: info->to == TO_STORAGE ? "storage servers"
				: info->to == TO_CLIENT  ? "clients"
							 : "everybody");
	for (size_t i = 0; i < ARRAY_SIZE(facts); i++) {
		if (info->flags & facts[i].flag)
			printf(" Special: %s.", facts[i].text);
	}
	printf("\n\n");
}

static void print_messages(void)
{
	const struct message_info *info;

	printf("## Messages\n\n| type | name | |\n|---|---|---|\n");
	for (unsigned int i = 0; (info = message_at(i)); i++)
		printf("| 0x%04x | [%s](#%s) | %s |\n", info->code, info->name, info->name,
		       info->text);
	printf("\n");
	for (unsigned int i = 0; (info = message_at(i)); i++) {
		printf("### %s\n\n0x%04x. %s ", info->name, info->code, info->text);
		print_facts(info);
		print_layout("Request", info->request());
		if (!(info->flags & MESSAGE_ONE_WAY))
			print_layout("Reply", info->reply());
	}
}

static void print_records(void)
{
	const struct layout *record;

	printf("## Records\n\n");
	for (unsigned int i = 0; (record = record_at(i)); i++) {
		printf("### %s\n\n", record->name);
		print_size(record);
		printf(".\n\n");
		print_rows(record);
	}
}

static void print_statuses(void)
{
	const struct error_info *info;

	printf("## Status codes\n\n| code | name | HTTP | text |\n|---|---|---|---|\n");
	for (unsigned int i = 0; (info = error_at(i)); i++) {
		if (info->wire)
			printf("| %d | %s | %d | %s |\n", info->code, info->name, info->http,
			       info->text);
	}
}

int main(void)
{
	printf("# Records, messages and status codes\n\n"
	       "Made by `make docs/protocol-messages.md` from `protocol/messages.def` and "
	       "`base/error.def`;\nchange those. [protocol.md](protocol.md) explains what the "
	       "messages are for.\n\n"
	       "Offsets count from the start of the body or record and are given while they are "
	       "the same in\nevery message. Integers are little-endian. *id* and *digest* are 16 "
	       "bytes, *key* is 32. A\n*string* is a u16 length and its bytes, *bytes* are a u32 "
	       "length and the bytes themselves, a\n*list* a u16 count and its records. A number "
	       "without a maximum may use its whole range. Sizes\nare those of the body, without "
	       "the frame's header.\n\n");
	print_messages();
	print_records();
	print_statuses();
	return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}

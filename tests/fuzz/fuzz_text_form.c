/* Any line as a message: what parses encodes, and prints to a line that means the same. */
#include <stdlib.h>

#include "codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARENA_LIMIT = 64 * 1024 * 1024 };

static void check(bool condition)
{
	if (!condition)
		abort();
}

static void check_message(const struct message *message, struct arena *arena)
{
	struct buffer before = { 0 };
	struct buffer after = { 0 };
	struct buffer text = { 0 };
	struct message again;

	check(message_encode(message, &before) == 0);
	check(message_print(message, &text) == 0);
	check(buffer_append(&text, "", 1) == 0);
	check(message_parse((const char *)text.data, message->reply, arena, &again) == 0);
	check(message_encode(&again, &after) == 0);
	check(before.size == after.size && memcmp(before.data, after.data, before.size) == 0);
	buffer_done(&before);
	buffer_done(&after);
	buffer_done(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena = { .limit = ARENA_LIMIT };
	struct arena second = { 0 };
	struct message message;
	char *text = malloc(size + 1);

	check(text != NULL);
	if (size > 0)
		memcpy(text, data, size);
	text[size] = '\0';
	/* The first byte decides on the direction; a space or a tab does not hurt the text. */
	if (message_parse(text, size > 0 && data[0] == ' ', &arena, &message) == 0)
		check_message(&message, &second);
	arena_done(&arena);
	arena_done(&second);
	free(text);
	return 0;
}

#include "fold.h"

#include <stdbool.h>
#include <string.h>

static unsigned int columns_of(const char *word, size_t size)
{
	unsigned int columns = 0;

	for (size_t i = 0; i < size; i++)
		columns += ((unsigned char)word[i] & 0xc0) != 0x80;
	return columns;
}

static void word_print(struct fold *fold, const char *word, size_t size, bool spaced)
{
	unsigned int columns = columns_of(word, size);

	if (fold->extra && spaced && fold->width &&
	    fold->indent + fold->extra + 1 + columns > fold->width) {
		fprintf(fold->out, "\n%*s", (int)fold->indent, "");
		fold->extra = 0;
	} else if (fold->extra && spaced) {
		fputc(' ', fold->out);
		fold->extra++;
	}
	fwrite(word, 1, size, fold->out);
	fold->extra += columns;
}

void fold_text(struct fold *fold, const char *text)
{
	for (;;) {
		size_t spaces = strspn(text, " \n");
		size_t size = strcspn(text + spaces, " \n");

		if (!size)
			return;
		word_print(fold, text + spaces, size, spaces > 0);
		text += spaces + size;
	}
}

void fold_end(struct fold *fold)
{
	fputc('\n', fold->out);
	fold->extra = 0;
}

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

#include "error.h"
#include "output.h"
#include "text.h"

struct table_cell {
	char *text;
	enum tone tone;
};

enum { WIDTH_DEFAULT = 80, GAP = 2 };

unsigned int terminal_width(int fd)
{
	struct winsize size;
	const char *columns = getenv("COLUMNS");
	uint64_t width;

	if (!isatty(fd))
		return 0;
	if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
		return size.ws_col;
	if (columns && number_parse(columns, 1, 10000, &width) == 0)
		return (unsigned int)width;
	return WIDTH_DEFAULT;
}

unsigned int text_columns(const char *text, size_t size)
{
	mbstate_t state = { 0 };
	unsigned int columns = 0;

	while (size) {
		wchar_t wide;
		size_t used = mbrtowc(&wide, text, size, &state);
		int width = 1;

		if (used == 0 || used > size) {
			memset(&state, 0, sizeof(state));
			used = 1;
		} else {
			width = wcwidth(wide);
		}
		columns += width > 0 ? (unsigned int)width : 0;
		text += used;
		size -= used;
	}
	return columns;
}

const char *tone_code(enum tone tone)
{
	static const char *const codes[] = {
		[TONE_PLAIN] = "0",  [TONE_GOOD] = "32", [TONE_WARN] = "33",
		[TONE_BAD] = "1;31", [TONE_NAME] = "34",
	};

	return codes[tone];
}

void tone_begin(FILE *out, enum tone tone)
{
	if (tone != TONE_PLAIN)
		fprintf(out, "\033[%sm", tone_code(tone));
}

void tone_end(FILE *out, enum tone tone)
{
	if (tone != TONE_PLAIN)
		fputs("\033[0m", out);
}

void tone_print(FILE *out, enum tone tone, const char *text)
{
	tone_begin(out, tone);
	fputs(text, out);
	tone_end(out, tone);
}

unsigned int name_print(FILE *out, const char *name)
{
	struct buffer escaped = { 0 };
	unsigned int columns = 0;

	if (*name && name_escape(&escaped, name, strlen(name)) == 0) {
		fwrite(escaped.data, 1, escaped.size, out);
		columns = text_columns((const char *)escaped.data, escaped.size);
	}
	buffer_done(&escaped);
	return columns;
}

unsigned int name_width(const char *name)
{
	struct buffer escaped = { 0 };
	unsigned int columns = 0;

	if (*name && name_escape(&escaped, name, strlen(name)) == 0)
		columns = text_columns((const char *)escaped.data, escaped.size);
	buffer_done(&escaped);
	return columns;
}

void words_print(FILE *out, const char *text)
{
	struct buffer escaped = { 0 };

	for (; *text; text += *text == '\\') {
		size_t size = strcspn(text, "\\");

		name_escape(&escaped, text, size);
		text += size;
		buffer_append(&escaped, text, *text == '\\');
	}
	if (escaped.size && escaped.error == 0)
		fwrite(escaped.data, 1, escaped.size, out);
	buffer_done(&escaped);
}

const char *plural(uint64_t count)
{
	return count == 1 ? "" : "s";
}

const char *bytes_format(uint64_t bytes, char ret[SIZE_TEXT_MAX])
{
	if (bytes >= 1024)
		return size_format(bytes, ret);
	snprintf(ret, SIZE_TEXT_MAX, "%u byte%s", (unsigned int)bytes, plural(bytes));
	return ret;
}

void table_init(struct table *table, const struct table_column *columns, unsigned int count)
{
	memset(table, 0, sizeof(*table));
	table->columns = columns;
	table->count = count;
}

static struct table_cell *cell_new(struct table *table)
{
	if (table->used == table->room) {
		unsigned int room = table->room ? table->room * 2 : 64;
		struct table_cell *cells = reallocarray(table->cells, room, sizeof(*cells));

		if (!cells)
			return NULL;
		table->cells = cells;
		table->room = room;
	}
	return &table->cells[table->used++];
}

void table_cell(struct table *table, enum tone tone, const char *format, ...)
{
	struct table_cell *cell = cell_new(table);
	va_list args;

	if (!cell) {
		table->failed = true;
		return;
	}
	cell->tone = tone;
	va_start(args, format);
	if (vasprintf(&cell->text, format, args) < 0) {
		cell->text = NULL;
		table->failed = true;
	}
	va_end(args);
}

static const char *cell_text(const struct table_cell *cell)
{
	return cell->text ? cell->text : "?";
}

static void widths_measure(const struct table *table, unsigned int ret[TABLE_COLUMNS_MAX])
{
	for (unsigned int i = 0; i < table->count; i++) {
		const char *title = table->columns[i].title;

		ret[i] = text_columns(title, strlen(title));
	}
	for (unsigned int i = 0; i < table->used; i++) {
		const char *text = cell_text(&table->cells[i]);
		unsigned int columns = text_columns(text, strlen(text));

		if (columns > ret[i % table->count])
			ret[i % table->count] = columns;
	}
}

/* Width 0 marks a column that is left out. */
static void widths_fit(const struct table *table, unsigned int widths[TABLE_COLUMNS_MAX],
		       unsigned int most)
{
	unsigned int sum = 0;

	for (unsigned int i = 0; i < table->count; i++)
		sum += widths[i] + (i ? GAP : 0);
	for (unsigned int i = table->count; i-- > 0 && sum > most;) {
		if (!table->columns[i].optional)
			continue;
		sum -= widths[i] + GAP;
		widths[i] = 0;
	}
}

static void spaces(FILE *out, unsigned int count)
{
	fprintf(out, "%*s", (int)count, "");
}

struct row_cell {
	const char *text;
	enum tone tone;
	unsigned int width;
	bool right;
	bool last;
};

static void cell_print(FILE *out, const struct row_cell *cell)
{
	unsigned int columns = text_columns(cell->text, strlen(cell->text));
	unsigned int rest = cell->width > columns ? cell->width - columns : 0;

	if (cell->right)
		spaces(out, rest);
	tone_print(out, cell->tone, cell->text);
	if (!cell->last)
		spaces(out, (cell->right ? 0 : rest) + GAP);
}

static unsigned int last_shown(const struct table *table, const unsigned int *widths)
{
	unsigned int last = table->count - 1;

	while (last > 0 && widths[last] == 0)
		last--;
	return last;
}

/* `cells` NULL: the titles. */
static void row_print(const struct table *table, FILE *out, const unsigned int *widths,
		      const struct table_cell *cells, bool colour)
{
	unsigned int last = last_shown(table, widths);

	for (unsigned int i = 0; i <= last; i++) {
		struct row_cell cell = {
			.text = cells ? cell_text(&cells[i]) : table->columns[i].title,
			.tone = cells && colour ? cells[i].tone : TONE_PLAIN,
			.width = widths[i],
			.right = table->columns[i].right,
			.last = i == last,
		};

		if (widths[i])
			cell_print(out, &cell);
	}
	fputc('\n', out);
}

void table_print(struct table *table, FILE *out, unsigned int width, bool colour)
{
	unsigned int widths[TABLE_COLUMNS_MAX];

	widths_measure(table, widths);
	if (width)
		widths_fit(table, widths, width);
	row_print(table, out, widths, NULL, colour);
	for (unsigned int i = 0; i + table->count <= table->used; i += table->count)
		row_print(table, out, widths, table->cells + i, colour);
	for (unsigned int i = 0; i < table->used; i++)
		free(table->cells[i].text);
	free(table->cells);
	table->cells = NULL;
	table->used = table->room = 0;
}

/* Bytes of the well-formed UTF-8 character that starts here, harmless or not; else 0. */
static size_t character_size(const unsigned char *at, size_t size)
{
	size_t printable = text_printable(at, size);
	size_t want = at[0] < 0x80 ? 1 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : 4;
	unsigned int value = want > 1 ? at[0] & (0x7fu >> want) : at[0];

	if (printable)
		return printable;
	if ((at[0] >= 0x80 && at[0] < 0xc2) || at[0] > 0xf4 || want > size)
		return 0;
	for (size_t i = 1; i < want; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (at[i] & 0x3f);
	}
	if (want == 3 && (value < 0x800 || (value >= 0xd800 && value < 0xe000)))
		return 0;
	return want == 4 && (value < 0x10000 || value > 0x10ffff) ? 0 : want;
}

static void json_escape(struct buffer *buffer, const char *text)
{
	const unsigned char *at = (const unsigned char *)text;
	size_t size = strlen(text);

	while (size) {
		size_t used = character_size(at, size);

		if (used == 0)
			buffer_printf(buffer, "\\udc%02x", *at);
		else if (*at < 0x20 || *at == 0x7f)
			buffer_printf(buffer, "\\u%04x", *at);
		else if (*at == '"' || *at == '\\')
			buffer_printf(buffer, "\\%c", *at);
		else
			buffer_append(buffer, at, used);
		used += used == 0;
		at += used;
		size -= used;
	}
}

void json_text(cJSON *object, const char *key, const char *text)
{
	struct buffer buffer = { 0 };

	buffer_append(&buffer, "\"", 1);
	json_escape(&buffer, text);
	buffer_append(&buffer, "\"", 2);
	if (buffer.error == 0)
		cJSON_AddRawToObject(object, key, (const char *)buffer.data);
	buffer_done(&buffer);
}

/* As text, because cJSON's numbers are doubles. */
void json_number(cJSON *object, const char *key, uint64_t number)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
	cJSON_AddRawToObject(object, key, text);
}

void json_null(cJSON *object, const char *key)
{
	cJSON_AddNullToObject(object, key);
}

/* From the byte `from` on, then `end`. */
static int json_put(FILE *out, cJSON *object, size_t from, const char *end)
{
	char *text = object ? cJSON_PrintUnformatted(object) : NULL;

	cJSON_Delete(object);
	if (!text)
		return -ERR_NO_MEMORY;
	fprintf(out, "%s%s", text + from, end);
	cJSON_free(text);
	return 0;
}

int json_print(FILE *out, cJSON *object)
{
	return json_put(out, object, 0, "\n");
}

int json_write(FILE *out, cJSON *object)
{
	return json_put(out, object, 0, "");
}

int json_finish(FILE *out, cJSON *rest)
{
	return json_put(out, rest, 1, "\n");
}

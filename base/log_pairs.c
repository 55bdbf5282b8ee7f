/* The key=value pairs of a log line, as text: no I/O, no state. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "log.h"
#include "text.h"

/* The escape for the character at `at`; sets how many bytes of text it stands for. */
static size_t quote_one(const uint8_t *at, size_t size, char ret[8], size_t *taken)
{
	size_t length = text_printable(at, size);

	*taken = length ? length : 1;
	if (*at == '"' || *at == '\\')
		return (size_t)snprintf(ret, 8, "\\%c", *at);
	if (length) {
		memcpy(ret, at, length);
		return length;
	}
	switch (*at) {
	case '\n': return (size_t)snprintf(ret, 8, "\\n");
	case '\t': return (size_t)snprintf(ret, 8, "\\t");
	case '\r': return (size_t)snprintf(ret, 8, "\\r");
	default: break;
	}
	/* JSON knows no raw bytes: from 0x80 on the string shall read \xNN once it is decoded. */
	if (*at >= 0x80)
		return (size_t)snprintf(ret, 8, "\\\\x%02x", *at);
	return (size_t)snprintf(ret, 8, "\\u%04x", *at);
}

/* What needs no second look, at the start of the text. */
static size_t plain_length(const char *text, size_t size)
{
	size_t i = 0;

	while (i < size && text[i] >= ' ' && text[i] < 0x7f && text[i] != '"' && text[i] != '\\')
		i++;
	return i;
}

const char *log_quote(const char *text, size_t size, char *ret, size_t ret_size)
{
	size_t used = 1;

	if (ret_size < 3) {
		if (ret_size)
			*ret = '\0';
		return ret;
	}
	ret[0] = '"';
	while (size) {
		char piece[8];
		size_t room = ret_size - used - 2;
		size_t taken = plain_length(text, size < room ? size : room);
		size_t length = taken;

		if (taken) {
			memcpy(ret + used, text, taken);
		} else {
			length = quote_one((const uint8_t *)text, size, piece, &taken);
			if (length > room)
				break;
			memcpy(ret + used, piece, length);
		}
		used += length;
		text += taken;
		size -= taken;
	}
	ret[used] = '"';
	ret[used + 1] = '\0';
	return ret;
}

/* ---- cutting ---- */

/* Length of a value: to behind the closing quote, or to the next space. */
size_t log_value_length(const char *text, size_t size)
{
	size_t i = 1;

	if (size == 0 || text[0] != '"') {
		for (i = 0; i < size && text[i] != ' '; i++)
			continue;
		return i;
	}
	while (i < size && text[i] != '"')
		i += text[i] == '\\' ? 2 : 1;
	return i < size ? i + 1 : size;
}

#define CUT "…\""

/* In quotes, and the last one is no escaped one. */
static bool whole_string(const char *text, size_t size)
{
	size_t i = 1;

	if (size < 2 || text[0] != '"')
		return false;
	while (i < size && text[i] != '"')
		i += text[i] == '\\' ? 2 : 1;
	return i == size - 1;
}

/* A value in quotes: text[start] is the opening one. */
struct quoted_value {
	size_t start, size;
	bool ended; /* it has its closing quote */
};

/* The first one from `at` on; false: there is none. */
static bool quoted_next(const char *text, size_t size, size_t at, struct quoted_value *ret)
{
	size_t length;

	while (at + 1 < size && !(text[at] == '=' && text[at + 1] == '"'))
		at++;
	if (at + 1 >= size)
		return false;
	length = log_value_length(text + at + 1, size - at - 1);
	*ret = (struct quoted_value){
		.start = at + 1,
		.size = length,
		.ended = whole_string(text + at + 1, length),
	};
	return true;
}

struct quoted_sum {
	size_t count, bytes;
};

/* Of those that are longer than `least`. */
static struct quoted_sum quoted_sum(const char *text, size_t size, size_t least)
{
	struct quoted_sum sum = { 0, 0 };
	struct quoted_value value;

	for (size_t at = 0; quoted_next(text, size, at, &value); at = value.start + value.size) {
		if (value.size > least || !value.ended) {
			sum.count++;
			sum.bytes += value.size;
		}
	}
	return sum;
}

/* Longest that a value may stay: the short ones leave their share to the long ones. */
static size_t quoted_room(const char *text, size_t size, size_t max)
{
	size_t room = 0;

	for (;;) {
		struct quoted_sum sum = quoted_sum(text, size, room);
		size_t others = size - sum.bytes;

		if (sum.count == 0 || others >= max)
			return room;
		if ((max - others) / sum.count <= room)
			return room;
		room = (max - others) / sum.count;
	}
}

/* Where the value can be cut so that it takes no more than `max` bytes, the sign of the cut
 * included. */
static size_t cut_point(const char *value, size_t size, size_t max)
{
	size_t at = 1;

	max = max > strlen(CUT) ? max - strlen(CUT) : 0;

	while (at < size) {
		size_t step = 1;

		if (value[at] == '\\')
			step = at + 1 < size && value[at + 1] == 'u' ? 6 : 2;
		else if ((unsigned char)value[at] >= 0x80)
			step = text_printable(value + at, size - at);
		if (at + (step ? step : 1) > max)
			break;
		at += step ? step : 1;
	}
	return at;
}

static size_t cut_quoted(char *text, size_t size, size_t room)
{
	struct quoted_value value;
	size_t from = 0, to = 0;

	while (quoted_next(text, size, from, &value)) {
		size_t kept = value.size;
		bool cut = !value.ended || value.size > room;

		if (cut)
			kept = cut_point(text + value.start, value.size,
					 value.size < room ? value.size : room);
		memmove(text + to, text + from, value.start - from + kept);
		to += value.start - from + kept;
		if (cut) {
			memcpy(text + to, CUT, strlen(CUT));
			to += strlen(CUT);
		}
		from = value.start + value.size;
	}
	memmove(text + to, text + from, size - from);
	return to + size - from;
}

/* The pairs that fit, whole. */
static size_t whole_pairs(const char *text, size_t size, size_t max)
{
	size_t kept = 0;

	for (size_t at = 0; at < size && at <= max; at++) {
		while (at < size && text[at] != '=' && text[at] != ' ')
			at++;
		if (at < size && text[at] == '=')
			at += 1 + log_value_length(text + at + 1, size - at - 1);
		if (at <= max)
			kept = at;
	}
	return kept;
}

size_t log_pairs_fit(char *text, size_t size, size_t max)
{
	size_t room;

	if (size <= max)
		return size;
	room = quoted_room(text, size, max);
	if (room > 2 * strlen(CUT))
		size = cut_quoted(text, size, room);
	return size <= max ? size : whole_pairs(text, size, max);
}

/* ---- formatting ---- */

struct piece {
	const char *text;
	size_t size;
	char digits[20]; /* of a number, at the end */
};

static void piece_number(struct piece *piece, uint64_t value, unsigned int base)
{
	char *at = piece->digits + sizeof(piece->digits);

	do
		*--at = "0123456789abcdef"[value % base];
	while (value /= base);
	piece->text = at;
	piece->size = (size_t)(piece->digits + sizeof(piece->digits) - at);
}

/* The next stretch of text or the next directive; false: it is none of the simple ones. */
static bool piece_next(const char **format, va_list *args, struct piece *ret)
{
	const char *at = *format;
	unsigned int longs = 0;
	uint64_t value;

	if (*at != '%') {
		ret->text = at;
		ret->size = (size_t)(strchrnul(at, '%') - at);
		*format += ret->size;
		return true;
	}
	for (at++; *at == 'l'; at++)
		longs++;
	*format = at + 1;
	if (*at == 's' && longs == 0) {
		ret->text = va_arg(*args, const char *);
		ret->size = ret->text ? strlen(ret->text) : 0;
		return ret->text;
	}
	if ((*at != 'u' && *at != 'x') || longs > 2)
		return false;
	if (longs == 0)
		value = va_arg(*args, unsigned int);
	else if (longs == 1)
		value = va_arg(*args, unsigned long);
	else
		value = va_arg(*args, unsigned long long);
	piece_number(ret, value, *at == 'u' ? 10 : 16);
	return true;
}

int log_format(char *ret, size_t size, const char *format, va_list args)
{
	const char *at = format;
	struct piece piece;
	bool fits = size > 0;
	size_t used = 0;
	va_list simple;

	va_copy(simple, args);
	while (fits && *at) {
		fits = piece_next(&at, &simple, &piece) && piece.size < size - used;
		if (fits) {
			memcpy(ret + used, piece.text, piece.size);
			used += piece.size;
		}
	}
	va_end(simple);
	if (!fits)
		return vsnprintf(ret, size, format, args);
	ret[used] = '\0';
	return (int)used;
}

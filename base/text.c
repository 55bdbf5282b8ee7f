#include <stdio.h>
#include <string.h>

#include "error.h"
#include "text.h"

/* Fractions are kept in millionths: a fraction of a T still fits 64 bits. */
enum { FRACTION = 1000000 };

struct decimal {
	uint64_t whole;
	uint64_t fraction; /* millionths; finer digits are dropped */
};

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Returns where the digits end; NULL if there are none or too many. */
static const char *whole_parse(const char *at, uint64_t *ret)
{
	uint64_t value = 0;

	if (!digit(*at))
		return NULL;
	for (; digit(*at); at++) {
		unsigned int next = (unsigned int)(*at - '0');

		if (value > (UINT64_MAX - next) / 10)
			return NULL;
		value = value * 10 + next;
	}
	*ret = value;
	return at;
}

static const char *decimal_parse(const char *at, struct decimal *ret)
{
	ret->fraction = 0;
	at = whole_parse(at, &ret->whole);
	if (!at || *at != '.')
		return at;
	at++;
	if (!digit(*at))
		return NULL;
	for (uint64_t weight = FRACTION / 10; digit(*at); at++, weight /= 10)
		ret->fraction += (uint64_t)(*at - '0') * weight;
	return at;
}

static int decimal_scale(const struct decimal *decimal, uint64_t unit, uint64_t *ret)
{
	uint64_t part = decimal->fraction * unit / FRACTION;

	if (decimal->whole > (UINT64_MAX - part) / unit)
		return -ERR_USAGE;
	*ret = decimal->whole * unit + part;
	return 0;
}

int size_parse(const char *text, uint64_t *ret)
{
	static const char letters[] = "kmgt";
	struct decimal decimal;
	const char *at = decimal_parse(text, &decimal);
	const char *letter;
	uint64_t unit = 1;

	if (!at)
		return -ERR_USAGE;
	letter = *at ? strchr(letters, *at | 0x20) : NULL;
	if (letter) {
		unit <<= 10 * (letter - letters + 1);
		at++;
		if (at[0] == 'i' && at[1] == 'B')
			at++;
	}
	if (*at == 'B')
		at++;
	if (*at)
		return -ERR_USAGE;
	return decimal_scale(&decimal, unit, ret);
}

int duration_parse(const char *text, uint64_t *ret_ms)
{
	struct decimal decimal;
	const char *at = decimal_parse(text, &decimal);
	uint64_t unit;

	if (!at)
		return -ERR_USAGE;
	switch (*at) {
	case '\0':
	case 's': unit = 1000; break;
	case 'm': unit = 60 * 1000; break;
	case 'h': unit = 60 * 60 * 1000; break;
	case 'd': unit = 24 * 60 * 60 * 1000; break;
	default: return -ERR_USAGE;
	}
	if (*at && at[1])
		return -ERR_USAGE;
	return decimal_scale(&decimal, unit, ret_ms);
}

int number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	uint64_t value;
	const char *at = whole_parse(text, &value);

	if (!at || *at || value < min || value > max)
		return -ERR_USAGE;
	*ret = value;
	return 0;
}

int port_range_parse(const char *text, uint16_t *ret_first, uint16_t *ret_last)
{
	uint64_t first;
	uint64_t last;
	const char *at = whole_parse(text, &first);

	last = first;
	if (at && *at == '-')
		at = whole_parse(at + 1, &last);
	if (!at || *at || first == 0 || first > last || last > UINT16_MAX)
		return -ERR_USAGE;
	*ret_first = (uint16_t)first;
	*ret_last = (uint16_t)last;
	return 0;
}

const char *size_format(uint64_t bytes, char ret[SIZE_TEXT_MAX])
{
	static const char letters[] = "KMGTPE";
	unsigned int shift = 10;
	unsigned int unit = 0;
	uint64_t tenths;

	if (bytes < 1024) {
		snprintf(ret, SIZE_TEXT_MAX, "%u B", (unsigned int)bytes);
		return ret;
	}
	for (;; shift += 10, unit++) {
		uint64_t whole = bytes >> shift;
		uint64_t rest = (bytes >> (shift - 10)) & 1023;

		tenths = whole * 10 + (rest * 10 + 512) / 1024;
		if (tenths < 10240)
			break;
	}
	snprintf(ret, SIZE_TEXT_MAX, "%u.%u %ciB", (unsigned int)(tenths / 10),
		 (unsigned int)(tenths % 10), letters[unit]);
	return ret;
}

const char *id_format(const struct id *id, char ret[ID_TEXT_MAX])
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < ID_SIZE; i++) {
		ret[2 * i] = digits[id->bytes[i] >> 4];
		ret[2 * i + 1] = digits[id->bytes[i] & 15];
	}
	ret[ID_TEXT_MAX - 1] = '\0';
	return ret;
}

static int nibble(char c)
{
	if (digit(c))
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int id_parse(const char *text, struct id *ret)
{
	struct id id;

	for (size_t i = 0; i < ID_SIZE; i++, text += 2) {
		int high = nibble(text[0]);
		int low = high < 0 ? -1 : nibble(text[1]);

		if (low < 0)
			return -ERR_USAGE;
		id.bytes[i] = (uint8_t)(high << 4 | low);
	}
	if (*text)
		return -ERR_USAGE;
	*ret = id;
	return 0;
}

/* Length that the first byte announces, with its own bits of the code point; 0: no first byte. */
static size_t utf8_head(uint8_t byte, uint32_t *ret)
{
	if (byte >= 0xc2 && byte <= 0xdf) {
		*ret = byte & 0x1f;
		return 2;
	}
	if (byte >= 0xe0 && byte <= 0xef) {
		*ret = byte & 0x0f;
		return 3;
	}
	if (byte >= 0xf0 && byte <= 0xf4) {
		*ret = byte & 0x07;
		return 4;
	}
	return 0;
}

static bool harmless(uint32_t code, size_t length)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };

	if (code < smallest[length] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return false;
	if (code < 0xa0) /* C1 */
		return false;
	/* Line and paragraph separators, and what embeds, overrides or isolates a direction. */
	return !(code >= 0x2028 && code <= 0x202e) && !(code >= 0x2066 && code <= 0x2069);
}

size_t text_printable(const void *text, size_t size)
{
	const uint8_t *at = text;
	uint32_t code;
	size_t length;

	if (size == 0)
		return 0;
	if (at[0] < 0x80)
		return at[0] >= 0x20 && at[0] != 0x7f;
	length = utf8_head(at[0], &code);
	if (length == 0 || length > size)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (at[i] & 0x3f);
	}
	return harmless(code, length) ? length : 0;
}

static int byte_escape(struct buffer *buffer, uint8_t byte)
{
	switch (byte) {
	case '\n': return buffer_append(buffer, "\\n", 2);
	case '\t': return buffer_append(buffer, "\\t", 2);
	case '\r': return buffer_append(buffer, "\\r", 2);
	default: return buffer_printf(buffer, "\\x%02x", byte);
	}
}

int name_escape(struct buffer *buffer, const void *name, size_t size)
{
	const uint8_t *at = name;

	while (size) {
		size_t length = text_printable(at, size);

		if (*at == '\\')
			buffer_append(buffer, "\\\\", 2);
		else if (length)
			buffer_append(buffer, at, length);
		else
			byte_escape(buffer, *at);
		length = length ? length : 1;
		at += length;
		size -= length;
	}
	return buffer->error;
}

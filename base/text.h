/* Numbers, sizes, times and names as people write and read them. Pure, but for time_format, which
 * asks for the time zone. What does not parse is -ERR_USAGE and leaves the result alone. */
#ifndef MUSTER_BASE_TEXT_H
#define MUSTER_BASE_TEXT_H

#include "buffer.h"
#include "bytes.h"

/* "16M" -> 16777216. K M G T are powers of 1024, an optional B or iB is ignored; "1.5G" works. */
int size_parse(const char *text, uint64_t *ret);
/* "90" or "90s", "5m", "2h", "1d" -> milliseconds; fractions as in "0.5". */
int duration_parse(const char *text, uint64_t *ret_ms);
int number_parse(const char *text, uint64_t min, uint64_t max, uint64_t *ret);
/* "3504-3600", or one port */
int port_range_parse(const char *text, uint16_t *ret_first, uint16_t *ret_last);

enum { SIZE_TEXT_MAX = 16, ID_TEXT_MAX = 33, TIME_TEXT_MAX = 32 };
/* "1.5 GiB"; "11 B". */
const char *size_format(uint64_t bytes, char ret[SIZE_TEXT_MAX]);
const char *id_format(const struct id *id, char ret[ID_TEXT_MAX]); /* 32 hex digits */
int id_parse(const char *text, struct id *ret);
const char *time_format(uint64_t wall_ms, char ret[TIME_TEXT_MAX]); /* 2026-11-20 10:31:07, local */

/* Bytes of the character that starts here if it is well-formed UTF-8 and harmless on a terminal (no
 * control character, none that turns the direction of writing); else 0. */
size_t text_printable(const void *text, size_t size);

/* Appends a name so that no byte of it can act on a terminal: control characters, DEL, C1 controls
 * and invalid UTF-8 become \n \t \r \\ or \xNN. */
int name_escape(struct buffer *buffer, const void *name, size_t size);

#endif

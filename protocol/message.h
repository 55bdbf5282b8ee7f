/* What messages.def becomes: enums, structs and the tables that the codec walks.
 *
 * A row `stat` gives struct stat_request, struct stat_reply and MSG_stat. A list of records named
 * `entries` is `const struct entry *entries; uint16_t entries_count;`. Strings and lists of a
 * decoded message borrow from the frame's bytes and from the arena given to the decoder. */
#ifndef MUSTER_PROTOCOL_MESSAGE_H
#define MUSTER_PROTOCOL_MESSAGE_H

#include "bounds.h"
#include "bytes.h"

enum message_code {
#define MESSAGE(code, name, to, flags, text) MSG_##name = (code),
#include "messages.def"
};

enum message_to { TO_NAMESERVER = 1, TO_STORAGE = 2, TO_CATALOGUE = 3, TO_CLIENT = 4, TO_ANY = 7 };

enum message_flags {
	MESSAGE_CHANGES = 1 << 0,
	MESSAGE_EARLY = 1 << 1,
	MESSAGE_ONE_WAY = 1 << 2,
	MESSAGE_BULK = 1 << 3,
	MESSAGE_ADMIN = 1 << 4,
	MESSAGE_SLOW = 1 << 5,
};

/* Positions of the records in the table, for record_at(). */
enum record_number {
#define RECORD(name) RECORD_##name,
#include "messages.def"
};

/* Values of fields that the table describes in words. */
enum role { ROLE_NAMESERVER = 1, ROLE_STORAGE = 2, ROLE_CLIENT = 3, ROLE_CONSOLE = 4 };
enum entry_type { ENTRY_FILE = 1, ENTRY_DIRECTORY = 2 };
enum node_state { NODE_ONLINE = 1, NODE_SUSPECT, NODE_OFFLINE, NODE_DRAINING };
enum ticket_operation { TICKET_READ = 1, TICKET_WRITE = 2 };
enum lane { LANE_SMALL = 0, LANE_LARGE = 1 };
enum endpoint_flags { ENDPOINT_ADVERTISED = 1, ENDPOINT_SEEN = 2, ENDPOINT_LOOPBACK = 4 };
enum stat_flags { STAT_HOLDERS = 1 };
enum mkdir_flags { MKDIR_PARENTS = 1 };
enum remove_flags { REMOVE_TREE = 1, REMOVE_DIRECTORY = 2 };
enum put_flags { PUT_REPLACE = 1, PUT_APPEND = 2 };
enum rename_flags { RENAME_REPLACE = 1, RENAME_INTO = 2 };
enum copy_flags { COPY_REPLACE = 1, COPY_INTO = 2, COPY_TREE = 4, COPY_KEEP_BOTH = 8 };
enum copy_state { COPY_OK = 1, COPY_MISMATCH, COPY_MISSING, COPY_SILENT };
enum problem_kind {
	PROBLEM_UNDER_COPIED = 1,
	PROBLEM_LOST,
	PROBLEM_SURPLUS,
	PROBLEM_CORRUPT,
	PROBLEM_SAME_MACHINE,
	PROBLEM_NODE
};
enum node_flags { NODE_DISK_FAILED = 1, NODE_TO_BE_EMPTIED = 2 };
enum heartbeat_flags { HEARTBEAT_DISK_FAILED = 1 };
enum service_state { SERVICE_FULL = 1, SERVICE_READ_ONLY, SERVICE_TAKEOVER };
enum delete_hold { HOLD_NONE, HOLD_BRAKE, HOLD_STALE, HOLD_REBUILT };
#define SIZE_UNKNOWN UINT64_MAX
#define OPEN_LAST    UINT64_MAX /* an offset that asks for the last chunk */

/* clang-format off */
#define RECORD(name) struct name {
#define END_RECORD(name) };
#define REQUEST(name) struct name##_request {
#define REPLY(name) }; struct name##_reply {
#define END(name) };
#define ARG1(name, text) uint64_t name;
#define ARG2(name, text) uint64_t name;
#define U8(name, max, text) uint8_t name;
#define U16(name, max, text) uint16_t name;
#define U32(name, max, text) uint32_t name;
#define U64(name, max, text) uint64_t name;
#define ID(name, text) struct id name;
#define DIGEST(name, text) struct digest name;
#define KEY(name, text) struct key name;
#define STR(name, max, text) struct slice name;
#define BYTES(name, max, text) struct slice name;
#define ONE(record, name, text) struct record name;
#define LIST(record, name, max, text) const struct record *name; uint16_t name##_count;
#define EMPTY uint8_t nothing;
/* clang-format on */
#include "messages.def"

/* How the codec sees those structs. */
enum field_kind {
	FIELD_ARG1,
	FIELD_ARG2,
	FIELD_U8,
	FIELD_U16,
	FIELD_U32,
	FIELD_U64,
	FIELD_ID,
	FIELD_DIGEST,
	FIELD_KEY,
	FIELD_STR,
	FIELD_BYTES,
	FIELD_ONE,
	FIELD_LIST,
};

struct layout;

struct field {
	const char *name;
	enum field_kind kind;
	size_t offset;                        /* of the member */
	size_t count_offset;                  /* lists: of the count */
	uint64_t max;                         /* 0: the whole range of the kind */
	const struct layout *(*record)(void); /* records and lists: of what */
	const char *text;
};

struct layout {
	const char *name;
	const struct field *fields;
	unsigned int count;
	size_t size;     /* of the struct */
	size_t wire_min; /* bytes on the wire, without ARG1 and ARG2 */
	size_t wire_max; /* equal to wire_min: a fixed size */
};

struct message_info {
	uint16_t code;
	const char *name;
	unsigned int to;    /* enum message_to */
	unsigned int flags; /* enum message_flags */
	const struct layout *(*request)(void);
	const struct layout *(*reply)(void);
	const char *text;
};

const struct message_info *message_info(unsigned int code);   /* NULL: unknown */
const struct message_info *message_find(const char *name);    /* NULL: unknown */
const struct message_info *message_at(unsigned int position); /* NULL: past the end */
const struct layout *record_at(unsigned int position);        /* all records; NULL: past the end */
const struct layout *record_find(const char *name);

#endif

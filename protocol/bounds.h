/* Every maximum of the protocol, with its reason. Both sides check them. */
#ifndef MUSTER_PROTOCOL_BOUNDS_H
#define MUSTER_PROTOCOL_BOUNDS_H

enum {
	NAME_SIZE_MAX = 255,  /* one component; what every file system of the world takes */
	PATH_SIZE_MAX = 4096, /* PATH_MAX */
	PATH_DEPTH_MAX = 128, /* bounds every walk */
	CLUSTER_NAME_MAX = 31,
	ZONE_NAME_MAX = 63,
	HOST_NAME_MAX_ = 63,
	VERSION_TEXT_MAX = 31,

	FRAME_HEADER_SIZE = 32,
	BODY_SIZE_MAX = 1024 * 1024, /* of a control frame: bounds what a stranger makes us hold */

	DATA_PAYLOAD_MAX = 1024 * 1024, /* of a DATA frame */
	CHUNK_SIZE_MAX = 16 * 1024 * 1024,
	CHUNK_SIZE_DEFAULT = 16 * 1024 * 1024,
	SMALL_CHUNK_MAX = 1024 * 1024 - 1, /* gathered in memory and kept in shared segments */

	COPIES_MAX = 9,
	COPIES_DEFAULT = 3,
	ENDPOINTS_MAX = 8, /* addresses of one server */
	PLACES_MAX = 64,   /* chunk places in one answer */
	CHUNKS_MAX = 64,   /* chunks of a file in one answer to OPEN */
	RECEIPTS_MAX = 64 * COPIES_MAX,
	NODES_MAX = 1024, /* storage servers of a cluster */
	NODES_PAGE_MAX = 256,
	ENTRIES_MAX = 1000,              /* names in one page of a listing */
	INVENTORY_MAX = 32768,           /* chunks in one INVENTORY */
	CHUNK_LIST_MAX = 16384,          /* chunks in one DELETE */
	INVENTORY_BUCKETS = 4096,        /* 32 KiB; of a million chunks 250 in each */
	JOURNAL_SET_MAX = 3,             /* storage servers that decide with the name server */
	CATALOGUE_PART_MAX = 512 * 1024, /* bytes of the catalogue in one message */
	INSPECT_MAX = 64, /* chunks in one INSPECT: an answer in seconds, also from slow disks */
	VERIFY_PAGE_MAX = 64 * COPIES_MAX,
	TRASH_PAGE_MAX = 200, /* with the longest paths still one frame */
	PROBLEMS_MAX = 200,
	EVENTS_PAGE_MAX = 200,
	EVENT_NAME_MAX = 31,
	EVENT_TEXT_MAX = 4600, /* a path and what else there is to say */
	DETAIL_TEXT_MAX = 255,
	WAITING_TEXT_MAX = 600,      /* six names */
	EVENTS_WAIT_MS = 2000,       /* longest that EVENTS waits */
	IN_PROGRESS_AFTER_MS = 2000, /* then a request that takes longer is answered so */

	REQUESTS_MAX = 64, /* outstanding on one connection, then we stop reading */
	REQUEST_BYTES_MAX = 4 * 1024 * 1024, /* same, in bytes */

	LEASE_MS = 10 * 60 * 1000, /* of a put, renewed by each of its messages */
	TICKET_LIFE_S = 15 * 60,   /* longer than a put lease */
	PASSIVE_AFTER_MS = 300,    /* without a connection, dial ourselves too */
	DIAL_STAGGER_MS = 100,     /* between two addresses of one server */
	SLOW_HOP_MS = 1000,        /* nothing moved: answer with what is durable */
	READ_SILENCE_MS = 1000,    /* then the next holder is tried */
	HELLO_TIMEOUT_MS = 5000,   /* a stranger's time to introduce itself */
	HEARTBEAT_MS = 2000,
	SUSPECT_AFTER_MS = 6000,
	DEAD_AFTER_MS = 15000,
	LEASE_OF_SERVER_MS = 9000, /* a name server in touch so lately is the only one */
	PROMISE_AFTER_MS = 11000,  /* without it a storage server may follow another; longer */
	BEACON_INTERVAL_MS = 5000,
	BEACON_JITTER_MS = 200,
	PROBE_ANSWERS_PER_S = 5,

	CONTROL_PORT = 6235,
	DATA_PORT = 3503,
	BEACON_PORT = 3501,
	CLIENT_PORT_FIRST = 3504,
	CLIENT_PORT_LAST = 3600,

	PROTOCOL_VERSION = 1,
};

#endif

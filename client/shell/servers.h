/* The storage servers, for commands that name some of them. */
#ifndef MUSTER_SHELL_SERVERS_H
#define MUSTER_SHELL_SERVERS_H

#include "command.h"
#include "text.h"

struct servers {
	struct muster_node *items;
	unsigned int count;
};

/* 0, or an error of the session's last call. servers_done() in any case. */
int servers_load(struct call *call, struct servers *ret);
void servers_done(struct servers *servers);
/* NULL: not known any more. */
unsigned int servers_width(const struct servers *servers); /* columns of the longest name */
const struct muster_node *servers_find(const struct servers *servers, const uint8_t id[16]);
/* Its name, or its id where it has none. */
const char *server_name(const struct servers *servers, const uint8_t id[16], char ret[64]);
/* The one that `text` means: its name, or the beginning of its id. A status; a failure has been
 * reported. */
int servers_choose(struct call *call, const struct servers *servers, const char *text,
		   const struct muster_node **ret);

const char *server_id(const uint8_t id[16], char ret[ID_TEXT_MAX]);
const char *server_state(const struct muster_node *node);
enum tone server_tone(const struct muster_node *node);

#endif

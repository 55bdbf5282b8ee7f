/* A name server and its storage servers, for tests of who decides with it. */
#ifndef MUSTER_QUORUM_RIG_H
#define MUSTER_QUORUM_RIG_H

#include "journal_set.h"
#include "ns_driver.h"

enum { SERVERS = 4, PATIENCE_MS = 20000, SOON_MS = 2000 };

extern struct ns_driver d;
extern struct ns_peer *client, *servers[SERVERS + 1]; /* from 1 */

void server_comes(unsigned int number);
void start(unsigned int count);
uint32_t mkdir_post(const char *path); /* its request number */
int mkdir_(const char *path);
struct status_reply status(void);
struct journal_set set_row(void);
bool is_in_set(unsigned int number);
void drain(unsigned int number, bool on);
int stat_root(bool *ret_degraded); /* the status; and whether the answer has the flag */
void assert_serves(void);
void assert_read_only(void);
void acknowledge(struct ns_peer *peer);
void silence(struct ns_peer *peer);
struct ns_peer *greet(uint8_t role, unsigned int number, uint64_t epoch);
int forget(unsigned int number);

#endif

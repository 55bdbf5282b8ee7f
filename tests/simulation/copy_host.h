/* A simulated storage server's copy of the catalogue: the real one, whose journal is on the
 * simulated disk and whose rows are in memory, jobs taking their time. */
#ifndef MUSTER_TESTS_COPY_HOST_H
#define MUSTER_TESTS_COPY_HOST_H

#include "storage.h"
#include "world.h"

struct copy_host;

typedef void copy_done_fn(struct host *host, struct storage_event *event);

extern const struct storage_catalogue copy_host_catalogue; /* context: struct copy_host */
struct copy_host *copy_host_new(struct host *host, copy_done_fn *done);
/* `crash`: the job at work gets as far as the disk lets it. The rows stay with the host. */
void copy_host_free(struct copy_host *copy, bool crash);

#endif

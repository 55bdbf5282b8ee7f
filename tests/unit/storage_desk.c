#include "storage_desk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "endpoint.h"
#include "error.h"
#include "kv_memory.h"

static int submit(void *context, const struct replica_job *job)
{
	struct storage_desk *desk = context;

	assert_true(desk->count < DESK_JOBS_MAX);
	buffer_append(&desk->bytes[desk->count], job->bytes.data, job->bytes.size);
	desk->jobs[desk->count++] = *job;
	return 0;
}

static const struct storage_catalogue catalogue = { submit };

static uint64_t no_parents(void *context)
{
	(void)context;
	return 0;
}

static void file_put(struct kv *kv, const char *path, uint64_t inode, uint32_t size)
{
	struct chunk_row chunk = { .chunk = DESK_CHUNK, .length = size };
	struct new_file file = { .entry = { .inode = inode, .now_ms = 5, .copies = 2 },
				 .size = size,
				 .chunk_size = CHUNK_SIZE_DEFAULT,
				 .chunks = &chunk,
				 .chunk_count = size ? 1 : 0 };
	struct inode ret;

	assert_int_equal(catalogue_put_file(kv, slice_of(path), &file, 0, &ret), 0);
}

void desk_catalogue(struct kv *kv)
{
	const struct id cluster = fixture_id(0xcc);
	struct new_entry directory = { .inode = 10, .now_ms = 5, .copies = 2 };
	struct member_row member = { .node = fixture_id(1), .number = 1, .endpoint_count = 2 };
	struct journal_set set = { .now = { .nodes = { fixture_id(1), fixture_id(2) }, .count = 2 },
				   .before = { .nodes = { fixture_id(1) }, .count = 1 },
				   .changing = true };

	member.endpoints[0] = endpoint_ipv4(0x0a000001, 3503);
	member.endpoints[1] = endpoint_ipv4(0x7f000001, 3503);
	assert_int_equal(catalogue_format(kv, &cluster, "c"), 0);
	assert_int_equal(catalogue_mkdir(kv, slice_of("/d"), &directory, no_parents, NULL), 0);
	file_put(kv, "/d/a", 11, 9);
	file_put(kv, "/d/empty", 12, 0);
	assert_int_equal(member_put(kv, &member), 0);
	assert_int_equal(journal_set_put(kv, &set), 0);
}

void desk_begin(struct storage_desk *desk)
{
	struct batch_head head = { .epoch = 5, .sequence = 1 };
	struct kv *kv;

	*desk = (struct storage_desk){ .count = 0 };
	fixture_init(&desk->f);
	assert_int_equal(kv_memory_new(&kv), 0);
	desk_catalogue(kv);
	assert_true(batch_seal(kv, &head, &desk->batch, &desk->head.hash) > 0);
	kv_memory_free(kv);
	desk->head.epoch = 5;
	desk->head.sequence = 1;
	assert_int_equal(replica_memory_init(&desk->rows, NULL), 0);
	assert_int_equal(replica_new(NULL, &desk->rows.rows, &replica_limits, &desk->replica), 0);
	desk->f.config.cluster = desk->f.cluster;
	memcpy(desk->f.config.cluster_name, "c", 2);
	desk->f.config.catalogue = &catalogue;
	desk->f.config.catalogue_context = desk;
}

void desk_has_copy(struct storage_desk *desk)
{
	const struct slice batch = { desk->batch.data, desk->batch.size };
	struct replica_result result;

	replica_run(desk->replica, &(struct replica_job){ .kind = REPLICA_OPEN }, &result);
	replica_run(desk->replica, &(struct replica_job){ .kind = REPLICA_APPEND, .bytes = batch },
		    &result);
	assert_int_equal(result.error, 0);
	assert_int_equal(replica_settle(desk->replica), 0);
}

void desk_start(struct storage_desk *desk)
{
	fixture_start(&desk->f);
}

void desk_end(struct storage_desk *desk)
{
	fixture_done(&desk->f);
	replica_free(desk->replica);
	replica_memory_done(&desk->rows);
	for (unsigned int i = 0; i < desk->count; i++)
		buffer_done(&desk->bytes[i]);
	buffer_done(&desk->batch);
}

void desk_run(struct storage_desk *desk)
{
	while (desk->done < desk->count) {
		struct replica_job job = desk->jobs[desk->done];
		struct replica_result result;

		job.bytes = (struct slice){ desk->bytes[desk->done].data,
					    desk->bytes[desk->done].size };
		desk->done++;
		replica_run(desk->replica, &job, &result);
		fixture_step(&desk->f,
			     (struct storage_event){ .kind = STORAGE_REPLICA, .replica = &result });
	}
}

uint64_t desk_dial(struct storage_desk *desk, uint8_t server)
{
	struct endpoint endpoint = endpoint_ipv4(0x0a000000u + server, 6235);
	struct id self = fixture_id(server);
	uint64_t connection;

	while (!fixture_find(&desk->f, ACT_RESOLVE)) {
		uint64_t due_ms = storage_deadline(desk->f.core);

		assert_true(due_ms <= desk->f.now_ms + 10000);
		fixture_tick(&desk->f, due_ms > desk->f.now_ms ? due_ms - desk->f.now_ms : 0);
	}
	fixture_step(&desk->f, (struct storage_event){ .kind = STORAGE_RESOLVED,
						       .endpoints = &endpoint,
						       .endpoint_count = 1 });
	connection = fixture_accept(&desk->f, ROLE_NAMESERVER, &self);
	assert_non_null(fixture_sent(&desk->f, connection, 0));
	assert_int_equal(fixture_sent(&desk->f, connection, 0)->info->code, MSG_register);
	return connection;
}

void desk_register(struct storage_desk *desk, uint64_t connection, uint64_t epoch)
{
	struct register_reply reply = { .epoch = epoch, .heartbeat_ms = 2000, .key = desk->f.key };

	fixture_reply(&desk->f, connection, MSG_register, 1, &reply);
}

void desk_fill(struct storage_desk *desk, uint64_t connection, uint64_t epoch)
{
	struct batch_request req = { .epoch = epoch,
				     .sequence = 1,
				     .size = (uint32_t)desk->batch.size,
				     .part = { desk->batch.data, desk->batch.size } };

	fixture_request(&desk->f, connection, MSG_batch, 90, &req);
}

void desk_lose(struct storage_desk *desk, uint64_t connection)
{
	fixture_step(&desk->f, (struct storage_event){ .kind = STORAGE_CLOSED,
						       .connection = connection,
						       .error = -ERR_CONNECTION });
}

void desk_alone(struct storage_desk *desk)
{
	uint64_t connection = desk_dial(desk, 0xee);

	desk_run(desk);
	desk_register(desk, connection, 5);
	desk_fill(desk, connection, 5);
	desk_run(desk);
	desk_lose(desk, connection);
}

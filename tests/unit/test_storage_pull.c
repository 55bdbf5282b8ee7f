/* Whom a storage server asks for what its copy of the catalogue lacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "endpoint.h"
#include "error.h"
#include "storage_desk.h"

static const struct message *sent(struct storage_desk *desk, uint64_t connection, unsigned int code)
{
	const struct message *message;

	for (unsigned int n = 0; (message = fixture_sent(&desk->f, connection, n)); n++) {
		if (message->info->code == code && !message->reply)
			return message;
	}
	return NULL;
}

/* It dials the other server, which is not there. */
static bool dials_in_vain(struct storage_desk *desk)
{
	const struct endpoint peer = endpoint_ipv4(0x0a000001, 3503);
	const struct storage_action *action = fixture_find(&desk->f, ACT_DIAL);

	if (!action || !endpoint_equal(&action->endpoints[0], &peer))
		return false;
	fixture_step(&desk->f, (struct storage_event){ .kind = STORAGE_DIALLED,
						       .connection = action->connection,
						       .error = -ERR_CONNECTION });
	return true;
}

/* The name server has another history and dies among its pages: of the catalogue that was given up
 * for it nothing is left but who else may have one. */
static void test_half_a_copy_knows_whom_to_ask(void **state)
{
	const struct pull_reply unknown = { .sequence = 9, .epoch = 6, .state = PULL_UNKNOWN };
	const struct message *pull;
	struct storage_desk desk;
	uint64_t connection;
	bool dialled = false;

	(void)state;
	desk_begin(&desk);
	desk.f.config.self = fixture_id(9);
	desk_has_copy(&desk);
	desk_start(&desk);
	connection = desk_dial(&desk, 0xee);
	desk_run(&desk);
	assert_true(dials_in_vain(&desk));
	desk_register(&desk, connection, 6);
	pull = sent(&desk, connection, MSG_pull);
	assert_non_null(pull);
	fixture_reply(&desk.f, connection, MSG_pull, pull->id, &unknown);
	assert_non_null(sent(&desk, connection, MSG_page));
	desk_run(&desk);
	desk_lose(&desk, connection);
	for (unsigned int i = 0; i < 100 && !dialled; i++) {
		fixture_tick(&desk.f, 100);
		dialled = dials_in_vain(&desk);
	}
	assert_true(dialled);
	desk_end(&desk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_half_a_copy_knows_whom_to_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Orders that wait for their answers. */
#include "orders.h"

#include "repair.h"

struct order {
	uint32_t id;
	uint16_t number; /* of the member */
	uint64_t sent_ms, due_ms;
	struct order_how how;
	TAILQ_ENTRY(order) order; /* by due_ms */
	UT_hash_handle hh;
};

static struct order *order_find(const struct nameserver *ns, uint32_t id)
{
	struct order *order;

	HASH_FIND(hh, ns->orders, &id, sizeof(id), order);
	return order;
}

/* When it is to be given up if nothing more is heard. */
static uint64_t due_of(const struct order *order, const struct member *member)
{
	uint64_t heard_ms = member->heard_ms > order->sent_ms ? member->heard_ms : order->sent_ms;
	uint64_t at_ms = order->sent_ms + order->how.timeout_ms;
	uint64_t silent_ms = heard_ms + order->how.silence_ms;

	return order->how.silence_ms && silent_ms < at_ms ? silent_ms : at_ms;
}

/* Mostly at the end. */
static void order_insert(struct nameserver *ns, struct order *order)
{
	struct order *before = TAILQ_LAST(&ns->order_list, order_list);

	while (before && before->due_ms > order->due_ms)
		before = TAILQ_PREV(before, order_list, order);
	if (before)
		TAILQ_INSERT_AFTER(&ns->order_list, before, order, order);
	else
		TAILQ_INSERT_HEAD(&ns->order_list, order, order);
}

int member_order(struct nameserver *ns, struct member *member, unsigned int code,
		 const void *request, const struct order_how *how)
{
	struct order *order = calloc(1, sizeof(*order));

	if (!order)
		return -ERR_NO_MEMORY;
	order->id = order_send(ns, member->session->conn, code, request);
	if (order->id == 0) {
		free(order);
		return -ERR_NO_MEMORY;
	}
	order->number = member->row.number;
	order->sent_ms = ns->now_ms;
	order->how = *how;
	order->due_ms = due_of(order, member);
	HASH_ADD(hh, ns->orders, id, sizeof(order->id), order);
	order_insert(ns, order);
	return 0;
}

static void order_free(struct nameserver *ns, struct order *order)
{
	TAILQ_REMOVE(&ns->order_list, order, order);
	HASH_DEL(ns->orders, order);
	free(order);
}

static void order_end(struct nameserver *ns, struct order *order, int error, const void *reply)
{
	struct order_result result = {
		.member = member_by_number(ns, order->number),
		.subject = order->how.subject,
		.error = error,
		.reply = reply,
	};
	order_done_fn *done = order->how.done;

	order_free(ns, order);
	if (result.member)
		done(ns, &result);
}

void order_answered(struct nameserver *ns, struct session *from, const struct frame_header *header,
		    const uint8_t *body)
{
	struct order *order = order_find(ns, header->id);
	struct message reply;
	int rc = message_decode(header, body, &ns->arena, &reply);

	if (order && order->number != from->member->row.number)
		order = NULL;
	if (rc == 0 && reply.status)
		rc = -reply.status;
	else if (rc < 0 && header->status == 0)
		rc = -ERR_BAD_REQUEST;
	else if (rc < 0)
		rc = -header->status;
	if (order)
		order_end(ns, order, rc, rc == 0 ? reply.body : NULL);
	else if (rc == 0 && header->type == MSG_fetch)
		fetch_answered_late(ns, from->member, reply.body);
}

void order_withdraw(struct nameserver *ns, const struct member *member, order_done_fn *done)
{
	struct order *order;

	TAILQ_FOREACH(order, &ns->order_list, order) {
		if (order->number != member->row.number || order->how.done != done)
			continue;
		order_end(ns, order, -ERR_CANCELLED, NULL);
		return;
	}
}

void orders_lost(struct nameserver *ns, const struct member *member)
{
	struct order *order = TAILQ_FIRST(&ns->order_list);

	while (order) {
		struct order *next = TAILQ_NEXT(order, order);

		if (order->number == member->row.number)
			order_end(ns, order, -ERR_UNAVAILABLE, NULL);
		order = next;
	}
}

void orders_tick(struct nameserver *ns)
{
	struct order *order;

	while ((order = TAILQ_FIRST(&ns->order_list)) && order->due_ms <= ns->now_ms) {
		const struct member *member = member_by_number(ns, order->number);
		uint64_t due_ms = member ? due_of(order, member) : 0;

		if (due_ms <= ns->now_ms) {
			order_end(ns, order, -ERR_TIMEOUT, NULL);
			continue;
		}
		TAILQ_REMOVE(&ns->order_list, order, order);
		order->due_ms = due_ms;
		order_insert(ns, order);
	}
}

uint64_t orders_deadline(const struct nameserver *ns)
{
	const struct order *order = TAILQ_FIRST(&ns->order_list);

	return order ? order->due_ms : UINT64_MAX;
}

void orders_excuse(struct nameserver *ns, uint64_t ms)
{
	struct order *order;

	TAILQ_FOREACH(order, &ns->order_list, order) {
		order->sent_ms = excused(ns, order->sent_ms, ms);
		order->due_ms += ms;
	}
}

void orders_free(struct nameserver *ns)
{
	struct order *order;

	while ((order = TAILQ_FIRST(&ns->order_list)))
		order_free(ns, order);
}

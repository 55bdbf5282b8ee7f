/* A WRITE on its way: whose receipts are here, what is still waited for, when it is answered. */
#include "storage_inside.h"

struct transfer *storage_transfer_find(struct storage *s, uint32_t number)
{
	struct transfer *transfer;

	HASH_FIND(hh, s->transfers, &number, sizeof(number), transfer);
	return transfer;
}

struct transfer *storage_transfer_of_chunk(struct storage *s, uint64_t chunk)
{
	struct transfer *transfer;

	HASH_FIND(by_chunk, s->chunks, &chunk, sizeof(chunk), transfer);
	return transfer;
}

void storage_transfer_enter_chunk(struct storage *s, struct transfer *transfer)
{
	HASH_ADD(by_chunk, s->chunks, meta.chunk, sizeof(transfer->meta.chunk), transfer);
	transfer->in_chunks = true;
}

void storage_transfer_leave_chunk(struct storage *s, struct transfer *transfer)
{
	if (transfer->in_chunks)
		HASH_DELETE(by_chunk, s->chunks, transfer);
	transfer->in_chunks = false;
}

/* They come and go by the thousand, so those that are done are kept for the next. */
struct transfer *storage_transfer_new(struct storage *s)
{
	struct transfer *transfer = LIST_FIRST(&s->unused);
	struct buffer prefix = { 0 };

	if (transfer) {
		LIST_REMOVE(transfer, in_free);
		prefix = transfer->prefix;
	} else {
		transfer = malloc(sizeof(*transfer));
		if (!transfer) {
			s->error = -ERR_NO_MEMORY;
			return NULL;
		}
	}
	*transfer =
		(struct transfer){ .prefix = prefix, .since_ms = s->now_ms, .moved_ms = s->now_ms };
	buffer_clear(&transfer->prefix);
	do {
		transfer->number = ++s->last_transfer;
	} while (transfer->number == 0 || storage_transfer_find(s, transfer->number));
	if (!s->transfers)
		s->next_watch_ms = s->now_ms + WATCH_MS;
	HASH_ADD(hh, s->transfers, number, sizeof(transfer->number), transfer);
	return transfer;
}

/* ---- the asker ---- */

static void unpause(struct storage *s, struct conn *conn)
{
	struct storage_action *action;

	if (!conn->paused || conn->outstanding > OUTSTANDING_MAX / 2 ||
	    conn->outstanding_bytes > REQUEST_BYTES_MAX / 2)
		return;
	conn->paused = false;
	action = storage_act(s, ACT_PAUSE);
	action->connection = conn->handle;
	action->on = false;
}

void storage_transfer_enter_asked(struct transfer *transfer, struct conn *conn, uint32_t charge)
{
	transfer->from = conn;
	LIST_INSERT_HEAD(&conn->asked, transfer, in_asked);
	transfer->charge = charge;
	conn->outstanding++;
	conn->outstanding_bytes += charge;
}

void storage_transfer_leave_asked(struct storage *s, struct transfer *transfer)
{
	struct conn *conn = transfer->from;

	if (!conn)
		return;
	LIST_REMOVE(transfer, in_asked);
	transfer->from = NULL;
	conn->outstanding--;
	conn->outstanding_bytes -= transfer->charge;
	unpause(s, conn);
}

static void transfer_free(struct storage *s, struct transfer *transfer)
{
	storage_transfer_leave_asked(s, transfer);
	storage_chain_unlink(transfer);
	storage_transfer_leave_chunk(s, transfer);
	HASH_DEL(s->transfers, transfer);
	LIST_INSERT_HEAD(&s->unused, transfer, in_free);
}

/* ---- answers ---- */

static unsigned int failed_count(const struct transfer *transfer, struct id *ret_dead)
{
	unsigned int failed = 0;

	for (unsigned int i = 0; i < transfer->hop_count; i++) {
		if (transfer->receipt_seen[i])
			continue;
		if (failed++ == 0 && transfer->hop_broken)
			*ret_dead = transfer->hops[i];
	}
	return failed;
}

void storage_transfer_see(struct transfer *transfer, const struct receipt *receipts,
			  unsigned int count)
{
	for (unsigned int i = 0; i < count; i++) {
		for (unsigned int k = 0; k < transfer->hop_count; k++) {
			if (id_equal(&transfer->hops[k], &receipts[i].holder))
				transfer->receipt_seen[k] = true;
		}
	}
}

static void answer(struct storage *s, struct transfer *transfer, const struct write_reply *reply,
		   bool final)
{
	struct message message = { .info = message_info(MSG_write),
				   .reply = true,
				   .flags = final ? 0 : FRAME_MORE,
				   .id = transfer->request,
				   .body = reply };

	storage_send_message(s, transfer->from, &message);
}

static void answer_final(struct storage *s, struct transfer *transfer, struct write_reply *reply)
{
	struct frame_header to = { .type = MSG_write, .id = transfer->request };

	if (transfer->own_error) {
		if (reply->receipts_count)
			answer(s, transfer, reply, false);
		storage_send_refusal(s, transfer->from, &to, transfer->own_error);
	} else {
		reply->failed = failed_count(transfer, &reply->dead);
		reply->reason = transfer->hop_reason;
		answer(s, transfer, reply, true);
	}
	transfer->answered = true;
	storage_transfer_leave_asked(s, transfer);
}

static bool is_over(const struct transfer *transfer)
{
	return transfer->own_done && !transfer->receiving && !transfer->hop_pending &&
	       !transfer->forwarding;
}

void storage_transfer_settle(struct storage *s, struct transfer *transfer,
			     const struct receipt *receipts, unsigned int count)
{
	struct write_reply reply = { .receipts = receipts, .receipts_count = (uint16_t)count };

	if (transfer->fetch)
		storage_fetch_done(s, transfer, count ? receipts : NULL, transfer->own_error);
	else if (!transfer->from || transfer->answered)
		storage_late_add(s, receipts, count);
	else if (transfer->own_done && !transfer->receiving && !transfer->hop_waited)
		answer_final(s, transfer, &reply);
	else if (count)
		answer(s, transfer, &reply, false);
	if (is_over(transfer))
		transfer_free(s, transfer);
}

void storage_transfer_own_done(struct storage *s, struct transfer *transfer, int error)
{
	struct receipt receipt = { .chunk = transfer->meta.chunk,
				   .length = transfer->meta.length,
				   .digest = transfer->meta.digest,
				   .epoch = s->epoch,
				   .holder = s->config.self };

	transfer->own_done = true;
	transfer->moved_ms = s->now_ms;
	if (error) {
		transfer->own_error = error;
		storage_transfer_settle(s, transfer, NULL, 0);
		return;
	}
	transfer->own_error = 0;
	receipt_sign(s->key, &receipt);
	storage_transfer_settle(s, transfer, &receipt, 1);
}

/* ---- time ---- */

static bool has_receipts(const struct transfer *transfer)
{
	for (unsigned int i = 0; i < transfer->hop_count; i++) {
		if (transfer->receipt_seen[i])
			return true;
	}
	return false;
}

static void say_slow_hop(struct storage *s, const struct transfer *transfer)
{
	struct storage_action *action = storage_note(s, NOTE_SLOW_HOP);

	action->who = transfer->hops[0];
	action->chunk = transfer->meta.chunk;
}

/* Nothing has moved for a while: the asker gets what there is. Our own copy is given longer where
 * no other is known to be safe. True if the transfer may be gone now. */
static bool end_the_wait(struct storage *s, struct transfer *transfer, uint64_t still_ms)
{
	if (transfer->hop_waited) {
		say_slow_hop(s, transfer);
		transfer->hop_waited = false;
		transfer->hop_broken = true;
		if (transfer->to && !transfer->receipt_seen[0])
			transfer->to->slow = true;
	}
	if (!transfer->from || transfer->answered)
		return false;
	if (transfer->own_done) {
		storage_transfer_settle(s, transfer, NULL, 0);
		return true;
	}
	if (has_receipts(transfer) || still_ms >= OWN_COPY_MS) {
		struct write_reply none = { 0 };

		transfer->own_error = -ERR_UNAVAILABLE;
		answer_final(s, transfer, &none);
	}
	return false;
}

static uint64_t still_for(const struct storage *s, const struct transfer *transfer)
{
	uint64_t moved_ms = transfer->moved_ms;

	/* A hop that answers other transfers is alive; ours waits its turn there. */
	if (transfer->to && transfer->hop_waited && transfer->to->heard_ms > moved_ms)
		moved_ms = transfer->to->heard_ms;
	return s->now_ms - moved_ms;
}

void storage_transfer_tick(struct storage *s)
{
	struct transfer *transfer, *next;

	if (s->now_ms < s->next_watch_ms)
		return;
	s->next_watch_ms = s->now_ms + WATCH_MS;
	storage_fetch_tick(s);
	HASH_ITER(hh, s->transfers, transfer, next) {
		uint64_t still_ms = still_for(s, transfer);

		if (transfer->receiving || still_ms < SLOW_HOP_MS)
			continue;
		if (end_the_wait(s, transfer, still_ms))
			continue;
		/* The hop has had more than enough time. */
		if (transfer->to && still_ms >= OWN_COPY_MS)
			transfer->to->closing = true;
	}
	storage_chain_drop_closing(s);
}

void storage_transfers_free(struct storage *s)
{
	struct transfer *transfer, *next;

	HASH_ITER(hh, s->transfers, transfer, next) {
		if (transfer->write)
			s->config.chunks->write_abort(s->config.chunks_context, transfer->write);
		storage_transfer_leave_chunk(s, transfer);
		HASH_DEL(s->transfers, transfer);
		buffer_done(&transfer->prefix);
		free(transfer);
	}
	while ((transfer = LIST_FIRST(&s->unused))) {
		LIST_REMOVE(transfer, in_free);
		buffer_done(&transfer->prefix);
		free(transfer);
	}
}

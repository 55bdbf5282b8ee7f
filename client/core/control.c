/* Questions to the name server. Each is kept, encoded, until it is answered, so that it can be sent
 * again over the next connection; operation numbers make that harmless. */
#include "client_parts.h"

#include <stdlib.h>

enum {
	PATIENT_ANSWER_MS = IN_PROGRESS_AFTER_MS + 500,
	SENDINGS_MAX = 16,    /* of one question, each over another connection */
	AGAIN_FIRST_MS = 200, /* until a change is asked for again that may have been made */
	AGAIN_MAX_MS = 2000,
};

static struct request *request_new(struct client *client)
{
	struct request *request = TAILQ_FIRST(&client->spare);

	if (request)
		TAILQ_REMOVE(&client->spare, request, entry);
	else
		request = calloc(1, sizeof(*request));
	if (!request)
		return NULL;
	request->id = 0;
	request->sent = false;
	request->in_doubt = false;
	request->sendings = 0;
	request->deadline_ms = request->refuse_ms = request->again_ms = 0;
	request->wait_ms = AGAIN_FIRST_MS;
	request->operation = 0;
	buffer_clear(&request->frame);
	return request;
}

static void request_done(struct client *client, struct request *request)
{
	if (request->id) {
		pending_remove(client, request->id);
		TAILQ_REMOVE(&client->requests, request, entry);
		client->questions -= request->patient;
	} else {
		TAILQ_REMOVE(&client->held, request, entry);
	}
	if (request->operation)
		TAILQ_REMOVE(&client->changes, request, change);
	TAILQ_INSERT_HEAD(&client->spare, request, entry);
}

/* With what is SLOW the name server may be busy for longer; it says so in time. */
static uint64_t answer_ms(const struct client *client, const struct request *request)
{
	uint64_t limit_ms = request_ms(client);

	if (message_info(request->code)->flags & MESSAGE_SLOW && limit_ms < PATIENT_ANSWER_MS)
		limit_ms = PATIENT_ANSWER_MS;
	return limit_ms;
}

/* A storage server answers questions about names, and nothing else. */
static bool can_be_sent(const struct client *client, const struct request *request)
{
	return client->control && !client->unserved &&
	       (!client->degraded || degraded_serves(request->code));
}

static void request_send(struct client *client, struct request *request)
{
	struct buffer *out = send_begin(client);

	if (buffer_append(out, request->frame.data, request->frame.size) < 0)
		return;
	send_end(client, client->control);
	request->sent = true;
	request->sendings++;
	if (request->deadline_ms == 0)
		request->deadline_ms = client->now_ms + answer_ms(client, request);
}

/* Messages that change something begin with these two numbers, whatever follows. */
static void number_operation(struct client *client, struct request *request, void *body)
{
	const struct request *first = TAILQ_FIRST(&client->changes);
	uint64_t numbers[2];

	request->operation = ++client->last_operation;
	numbers[0] = request->operation;
	numbers[1] = first ? first->operation : request->operation;
	memcpy(body, numbers, sizeof(numbers));
}

/* Among those that are sent, or will be with the next connection. */
static bool request_admit(struct client *client, struct request *request)
{
	uint32_t id = pending_add(client, PENDING_REQUEST, request);

	if (id == 0)
		return false;
	request->id = id;
	TAILQ_REMOVE(&client->held, request, entry);
	TAILQ_INSERT_TAIL(&client->requests, request, entry);
	client->questions += request->patient;
	return true;
}

/* A put that has begun may still be finished when the name server is back. */
static bool goes_on(const struct client *client, const struct asking *asking)
{
	switch (asking->code) {
	case MSG_put_begin: return seek_puts_wait(client);
	case MSG_put_chunks: return asking->owner != client || seek_puts_wait(client);
	case MSG_put_replace:
	case MSG_put_seal:
	case MSG_put_commit: return true;
	default: return false;
	}
}

/* Sent at once, if there is somebody who answers. Only who has never been asked can be told that
 * nothing happens. */
static void request_offer(struct client *client, struct request *request)
{
	if (can_be_sent(client, request))
		request_send(client, request);
	else if (client->degraded && request->sendings == 0 && !request->goes_on)
		request->refuse_ms = degraded_refuse_ms(client);
}

int control_ask(struct client *client, const struct asking *asking, bool patient)
{
	struct request *request = request_new(client);
	int rc;

	if (!request)
		return -ERR_NO_MEMORY;
	request->code = (uint16_t)asking->code;
	request->answer = asking->answer;
	request->owner = asking->owner;
	request->patient = patient;
	request->goes_on = goes_on(client, asking);
	TAILQ_INSERT_TAIL(&client->held, request, entry);
	if (!(request->patient && client->questions >= QUESTIONS_MAX) &&
	    !request_admit(client, request)) {
		request_done(client, request);
		return -ERR_NO_MEMORY;
	}
	if (message_info(asking->code)->flags & MESSAGE_CHANGES) {
		number_operation(client, request, asking->body);
		TAILQ_INSERT_TAIL(&client->changes, request, change);
	}
	rc = request_encode(&request->frame, asking->code, request->id, asking->body);
	if (rc < 0) {
		request_done(client, request);
		return rc;
	}
	if (request->id)
		request_offer(client, request);
	return 0;
}

void control_go_on(struct client *client)
{
	struct request *request;

	while (client->questions < QUESTIONS_MAX &&
	       (request = TAILQ_FIRST(&client->held)) != NULL && request_admit(client, request)) {
		put_u32(request->frame.data + 4, request->id);
		request_offer(client, request);
	}
}

void control_tell(struct client *client, unsigned int code, const void *body)
{
	if (client->control == 0 || client->degraded)
		return;
	if (request_encode(send_begin(client), code, 0, body) == 0)
		send_end(client, client->control);
}

void control_forget(struct client *client, void *owner)
{
	struct request *request, *next;

	TAILQ_FOREACH_SAFE(request, &client->held, entry, next) {
		if (request->owner == owner)
			request_done(client, request);
	}
	TAILQ_FOREACH_SAFE(request, &client->requests, entry, next) {
		if (request->owner != owner)
			continue;
		request->answer = NULL;
		request->owner = NULL;
		if (!request->sent)
			request_done(client, request);
	}
}

/* Nobody asked for the put or the content that a late answer opened. */
static void answer_nobody(struct client *client, unsigned int code, int error, const void *body)
{
	if (code == MSG_open && error == 0)
		content_close(client, NULL, (struct slice){ 0 },
			      ((const struct open_reply *)body)->entry.inode);
	if (code == MSG_put_begin && error == 0)
		control_tell(
			client, MSG_put_abort,
			&(struct put_abort_request){ ((const struct put_begin_reply *)body)->put });
}

static void request_answer(struct client *client, struct request *request, int error,
			   const void *body)
{
	answer_fn *answer = request->answer;
	void *owner = request->owner;
	unsigned int code = request->code;

	request_done(client, request);
	if (answer)
		answer(client, owner, error, body);
	else
		answer_nobody(client, code, error, body);
}

/* The same words again: the name server goes on with what it is doing. Whether anybody still wants
 * to know is seen here, since a request that was given up is not repeated. */
static void request_repeat(struct client *client, struct request *request)
{
	request->in_doubt = true;
	request->sendings = 0;
	request->deadline_ms = 0;
	if (request->answer)
		request_send(client, request);
	else
		request_done(client, request);
}

/* ---- refusals that say nothing of what was done before ---- */

static bool is_change_awaited(const struct client *client)
{
	struct request *request;

	TAILQ_FOREACH(request, &client->requests, entry) {
		if (request->sent && request->operation)
			return true;
	}
	return false;
}

/* It takes over, and has not looked at the question. What was sent to it besides may still be
 * answered, so it is left only when no change would be in doubt for that. */
static void unserved(struct client *client, struct request *request)
{
	if (request) {
		request->sent = false;
		request->sendings--;
		if (!request->answer)
			request_done(client, request);
	}
	client->unserved = true;
	if (!is_change_awaited(client))
		seek_unserved(client);
}

/* A storage server that has a name server again says so, too. */
static bool is_unserved(const struct client *client, const struct frame_header *header,
			const struct message *message)
{
	return header->reply && message->status == ERR_UNAVAILABLE &&
	       (degraded_serves(header->type) || !(client->proven || client->degraded));
}

/* Any other answer tells that it serves. */
static void prove(struct client *client, const struct frame_header *header)
{
	if (client->proven || client->degraded || !header->reply || header->type == MSG_status)
		return;
	client->proven = true;
	client->unserved = false;
	control_connected(client);
}

/* Without quorum nothing can be said about a change that may have been made before. */
static void request_wait(struct client *client, struct request *request)
{
	if (!request->answer) {
		request_done(client, request);
		return;
	}
	request->again_ms = client->now_ms + request->wait_ms;
	request->wait_ms =
		request->wait_ms * 2 < AGAIN_MAX_MS ? request->wait_ms * 2 : AGAIN_MAX_MS;
}

static void ask_again(struct client *client)
{
	struct request *request;

	TAILQ_FOREACH(request, &client->requests, entry) {
		if (request->again_ms == 0 || client->now_ms < request->again_ms)
			continue;
		request->again_ms = 0;
		if (can_be_sent(client, request)) {
			request->sendings--;
			request_send(client, request);
		}
	}
}

/* It says nothing, or nothing that makes sense. */
static void drop_connection(struct client *client)
{
	act(client, CLIENT_CLOSE)->connection = client->control;
	seek_lost(client, false);
}

static void serve(struct client *client, const struct frame_header *header,
		  const struct message *message)
{
	struct buffer *out = send_begin(client);

	if (header->type == MSG_ping) {
		const struct ping_request *ping = message->body;

		reply_encode(out, MSG_ping, header->id, &(struct ping_reply){ ping->cookie });
	} else {
		refusal_encode(out, header->type, header->id, -ERR_UNSUPPORTED);
	}
	send_end(client, client->control);
}

static void take_answer(struct client *client, struct request *request,
			const struct frame_header *header, const struct message *message)
{
	client->answer_degraded = header->flags & FRAME_DEGRADED;
	if (message->status == ERR_IN_PROGRESS)
		request_repeat(client, request);
	else if (message->status == ERR_NO_QUORUM && request->in_doubt)
		request_wait(client, request);
	else
		request_answer(client, request, -(int)message->status, message->body);
	client->answer_degraded = false;
}

void control_frame(struct client *client, const struct frame_header *header, const uint8_t *body)
{
	struct pending *pending = pending_find(client, header->id);
	struct request *request = NULL;
	struct message message;
	int rc = message_decode(header, body, &client->arena, &message);

	if (rc < 0 && !(rc == -ERR_UNSUPPORTED && !header->reply)) {
		drop_connection(client);
		return;
	}
	if (header->reply && pending && pending->kind == PENDING_REQUEST)
		request = pending->owner;
	if (request && request->code != header->type)
		request = NULL;
	if (is_unserved(client, header, &message)) {
		unserved(client, request);
		return;
	}
	client->heard_ms = client->now_ms;
	prove(client, header);
	if (!header->reply)
		serve(client, header, &message);
	else if (request)
		take_answer(client, request, header, &message);
}

void control_connected(struct client *client)
{
	struct request *request;

	TAILQ_FOREACH(request, &client->requests, entry) {
		request->refuse_ms = 0;
		if (!request->sent && request->sendings < SENDINGS_MAX)
			request_offer(client, request);
	}
}

/* A name server that has `served` gets the whole time anew, for each question. */
void control_lost(struct client *client, bool served)
{
	struct request *request, *next;

	client->proven = client->unserved = false;
	TAILQ_FOREACH_SAFE(request, &client->requests, entry, next) {
		request->in_doubt |= request->sent;
		request->sent = false;
		request->again_ms = 0;
		if (served)
			request->deadline_ms = 0;
		if (!request->answer)
			request_done(client, request);
	}
}

bool control_in_doubt(const struct client *client, const struct client_op *op)
{
	const struct request *request;

	TAILQ_FOREACH(request, &client->requests, entry) {
		if (request->owner == op && request->operation &&
		    (request->sent || request->in_doubt))
			return true;
	}
	return false;
}

void control_told(struct client *client, const struct status_reply *status)
{
	struct request *request, *next;

	TAILQ_FOREACH_SAFE(request, &client->requests, entry, next) {
		if (request->code == MSG_status && !request->sent)
			request_answer(client, request, 0, status);
	}
}

/* Not while there is a name server that only does not serve yet: it is waited for like one that is
 * looked for. */
static bool is_refused(const struct client *client, const struct request *request)
{
	return client->degraded && request->refuse_ms && client->now_ms >= request->refuse_ms &&
	       !seek_sees_nameserver(client);
}

/* Or one that breaks the connection, or even the name server, whenever it is asked. */
static bool is_late(const struct client *client, const struct request *request)
{
	if (request->sent)
		return client->now_ms >= request->deadline_ms;
	if (is_refused(client, request))
		return true;
	return request->sendings >= SENDINGS_MAX;
}

static struct request *find_late(struct client *client)
{
	struct request *request;

	TAILQ_FOREACH(request, &client->requests, entry) {
		if (is_late(client, request))
			return request;
	}
	return NULL;
}

/* A name server that answers nothing at all may be gone without a word: it is looked for anew. */
void control_tick(struct client *client)
{
	uint64_t since_ms =
		client->heard_ms > client->connected_ms ? client->heard_ms : client->connected_ms;
	struct request *late;
	bool any = false;

	while ((late = find_late(client)) != NULL) {
		bool refused = !late->sent && is_refused(client, late);

		any |= !refused;
		client->answer_in_doubt = late->operation && (late->sent || late->in_doubt);
		request_answer(client, late, refused ? -ERR_READ_ONLY : -ERR_TIMEOUT, NULL);
		client->answer_in_doubt = false;
	}
	ask_again(client);
	if (client->unserved && !is_change_awaited(client)) {
		seek_unserved(client);
		return;
	}
	if (any && client->control && client->now_ms - since_ms >= request_ms(client))
		drop_connection(client);
}

static void list_free(struct request_list *list)
{
	struct request *request, *next;

	TAILQ_FOREACH_SAFE(request, list, entry, next) {
		buffer_done(&request->frame);
		free(request);
	}
}

void control_done(struct client *client)
{
	list_free(&client->requests);
	list_free(&client->held);
	list_free(&client->spare);
}

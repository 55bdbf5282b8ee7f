#include "peer.h"

#include <unistd.h>

#include "error.h"

/* A stranger's first frame is HELLO, which is far shorter. */
enum { STRANGER_FRAME_MAX = 4096, UNREAD_MAX = 4 * 1024 * 1024 };

int peer_new(struct peers *peers, int socket, struct peer **ret)
{
	struct peer *peer = calloc(1, sizeof(*peer));
	int rc = peer ? 0 : -ERR_NO_MEMORY;

	if (rc == 0 && socket >= peers->socket_end)
		rc = -ERR_UNAVAILABLE;
	if (rc == 0)
		rc = link_new(peers->loop, socket, peers->handler, peer, &peer->link);
	if (rc < 0) {
		free(peer);
		close(socket);
		return rc;
	}
	peer->peers = peers;
	peer->conn = ++peers->last;
	link_set_frame_max(peer->link, STRANGER_FRAME_MAX);
	HASH_ADD(hh, peers->by_conn, conn, sizeof(peer->conn), peer);
	peer_regulate(peer);
	*ret = peer;
	return 0;
}

struct peer *peer_find(const struct peers *peers, uint64_t conn)
{
	struct peer *peer;

	HASH_FIND(hh, peers->by_conn, &conn, sizeof(conn), peer);
	return peer;
}

void peer_free(struct peer *peer)
{
	HASH_DELETE(hh, peer->peers->by_conn, peer);
	link_close(peer->link);
	free(peer);
}

void peers_free_all(struct peers *peers)
{
	struct peer *peer, *next;

	HASH_ITER(hh, peers->by_conn, peer, next)
		peer_free(peer);
}

void peer_asked(struct peer *peer, const struct frame_header *header)
{
	const struct message_info *info = message_info(header->type);

	if (!peer->introduced && header->type == MSG_hello && !header->reply) {
		peer->introduced = true;
		link_set_frame_max(peer->link, SIZE_MAX);
	}
	if (header->reply || (info && info->flags & MESSAGE_ONE_WAY))
		return;
	peer->requests++;
	peer->request_bytes += FRAME_HEADER_SIZE + header->body_size;
	peer_regulate(peer);
}

/* Answers come in any order: each is taken to be for a request of middling size. */
static void peer_answered(struct peer *peer)
{
	if (peer->requests == 0)
		return;
	peer->request_bytes -= peer->request_bytes / peer->requests;
	peer->requests--;
}

void peer_send(struct peer *peer, struct slice frames)
{
	struct frame_header header;
	struct slice rest = frames;
	size_t size;

	while (frame_next(rest.data, rest.size, &header, &size) == 1) {
		if (header.reply && !(header.flags & FRAME_MORE))
			peer_answered(peer);
		rest = (struct slice){ rest.data + size, rest.size - size };
	}
	/* A link that is broken says so by itself. */
	link_send(peer->link, frames.data, frames.size);
	peer_regulate(peer);
}

void peer_regulate(struct peer *peer)
{
	bool pause = peer->peers->choked || peer->requests >= REQUESTS_MAX ||
		     peer->request_bytes >= REQUEST_BYTES_MAX ||
		     link_unsent(peer->link) >= UNREAD_MAX;

	if (pause == peer->paused)
		return;
	peer->paused = pause;
	link_pause(peer->link, pause);
}

void peers_choke(struct peers *peers, bool choked)
{
	struct peer *peer, *next;

	if (choked == peers->choked)
		return;
	peers->choked = choked;
	HASH_ITER(hh, peers->by_conn, peer, next)
		peer_regulate(peer);
}

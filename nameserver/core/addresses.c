/* Lists of servers in answers, with their tickets. */
#include "endpoint.h"
#include "ns_state.h"

int node_list_init(struct nameserver *ns, struct node_list *list, const struct client *client,
		   unsigned int most)
{
	*list = (struct node_list){ .client = client, .most = most };
	list->nodes = arena_alloc(&ns->arena, most * sizeof(*list->nodes));
	list->numbers = arena_alloc(&ns->arena, most * sizeof(*list->numbers));
	return list->nodes && list->numbers ? 0 : -ERR_NO_MEMORY;
}

/* A server on our own machine may have reached us through loopback; a peer elsewhere then finds
 * it where it found us. */
unsigned int member_endpoints(const struct session *peer, const struct member *member,
			      struct endpoint ret[ENDPOINTS_MAX])
{
	bool together = !id_is_none(&peer->machine) && id_equal(&peer->machine, &member->machine);
	struct endpoint all[ENDPOINTS_MAX + 1];
	unsigned int count = 0;

	if (!together && member->session && member->endpoint_count &&
	    endpoint_is_loopback(&member->session->peer) && !endpoint_is_loopback(&peer->local)) {
		all[count] = peer->local;
		all[count].flags = ENDPOINT_SEEN;
		all[count++].port = member->endpoints[0].port;
	}
	memcpy(all + count, member->endpoints, member->endpoint_count * sizeof(all[0]));
	return endpoints_for_peer(all, count + member->endpoint_count, together, ret);
}

int node_list_add(struct nameserver *ns, struct node_list *list, const struct member *member)
{
	struct node_address *node;
	struct endpoint *endpoints;

	for (unsigned int i = 0; i < list->count; i++) {
		if (list->numbers[i] == member->row.number)
			return (int)i;
	}
	if (list->count == list->most)
		return -ERR_TOO_LARGE;
	endpoints = arena_alloc(&ns->arena, ENDPOINTS_MAX * sizeof(*endpoints));
	if (!endpoints)
		return -ERR_NO_MEMORY;
	node = &list->nodes[list->count];
	node->node = member->row.node;
	node->machine = member->machine;
	node->endpoints = endpoints;
	node->endpoints_count =
		(uint16_t)member_endpoints(list->client->session, member, endpoints);
	list->numbers[list->count] = member->row.number;
	return (int)list->count++;
}

void ticket_for(struct nameserver *ns, const struct member *member, const struct id *client,
		struct ticket *ticket)
{
	ticket->epoch = ns->epoch;
	ticket->expiry = (uint32_t)((ns->now_ms - member->registered_ms) / 1000) + TICKET_LIFE_S;
	ticket->holder = member->row.node;
	ticket->client = *client;
	ticket_sign(member->key, ticket);
}

int holder_add(struct nameserver *ns, struct node_list *list, const struct member *member,
	       struct ticket *ticket, struct holder *ret)
{
	int position = node_list_add(ns, list, member);

	if (position < 0)
		return position;
	ticket_for(ns, member, &list->client->id, ticket);
	*ret = (struct holder){ .node = (uint16_t)position, .ticket = *ticket };
	return 0;
}

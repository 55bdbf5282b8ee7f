#include "hello.h"

#include "bounds.h"
#include "error.h"

static bool is_for_another_cluster(const struct hello_self *self,
				   const struct hello_request *request)
{
	if (!id_is_none(self->cluster) && !id_is_none(&request->cluster) &&
	    !id_equal(&request->cluster, self->cluster))
		return true;
	return request->cluster_name.size &&
	       !slice_equal(request->cluster_name, slice_of(self->cluster_name));
}

int hello_check(const struct hello_self *self, bool greeted, const struct hello_request *request)
{
	if (greeted || id_is_none(&request->self))
		return -ERR_BAD_REQUEST;
	if (request->versions >> 16 > PROTOCOL_VERSION ||
	    (request->versions & 0xffff) < PROTOCOL_VERSION)
		return -ERR_WRONG_VERSION;
	if (request->role < ROLE_STORAGE)
		return request->role ? -ERR_UNSUPPORTED : -ERR_BAD_REQUEST;
	if (!id_is_none(&request->expected) && !id_equal(&request->expected, self->server))
		return -ERR_WRONG_NODE;
	return is_for_another_cluster(self, request) ? -ERR_WRONG_CLUSTER : 0;
}

/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* go/local.c - values by key, through the public door. */
#include "coro/local.h"
#include "cogo/go.h"
#include "coro/self.h"
#include "go.h"
#include <errno.h>

_Static_assert(sizeof(struct cogo_key) == sizeof(struct local_key) &&
	       offsetof(struct cogo_key, inherit) ==
		       offsetof(struct local_key, inherit),
	       "a public key is a key of the floors below");

static const struct local_key *inner(const struct cogo_key *key)
{
	return (const struct local_key *)key;
}

void *cogo_local_get(const struct cogo_key *key)
{
	struct coro *me = self_or_adopt();
	void *value = me ? local_get(me, inner(key)) : NULL;

	if (value || !me || !key->init)
		return value;
	value = key->init();
	if (value && cogo_local_set(key, value)) {
		if (key->destroy)
			key->destroy(value);
		return NULL;
	}
	return value;
}

int cogo_local_set(const struct cogo_key *key, void *value)
{
	struct coro *me = self_or_adopt();

	/* With a handle a kernel thread is told of at its end, too. */
	if (!me || !go_handle(me))
		return -ENOMEM;
	return local_set(me, inner(key), value);
}

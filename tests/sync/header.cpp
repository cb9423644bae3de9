/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* cogo/sync.h is C++ too, and its objects are ready where they are zeroed. */
#include "cogo/sync.h"

static cogo_mutex m;
static cogo_sem s = COGO_SEM_INIT(1);

int main()
{
	cogo_cond c = {};
	cogo_waitgroup wg = {};

	if (cogo_mutex_lock(&m) || cogo_cond_wait(&c, &m, 0) == 0 ||
	    cogo_mutex_unlock(&m))
		return 1;
	cogo_waitgroup_add(&wg, 1);
	cogo_waitgroup_done(&wg);
	return cogo_waitgroup_wait(&wg, 0) || cogo_sem_acquire(&s);
}

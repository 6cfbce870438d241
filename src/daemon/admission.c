/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/admission.h"
#include <errno.h>

int admission_limit(const struct config_daemon *d, const struct admission_counts *n, bool stranger)
{
	if (n->all >= d->max_connections)
		return -EMFILE;
	if (stranger && n->strangers >= MAX(d->max_connections / 4, 1u))
		return -EMFILE;
	if (n->of_uid >= d->max_connections_per_uid)
		return -EUSERS;
	return 0;
}

bool admission_is_stranger(const struct config *c, uid_t uid)
{
	for (uint32_t i = 0; i < c->n_models; i++)
		if (config_allows(&c->models[i], uid))
			return false;
	return true;
}

int admission_judge(const struct config *c, const struct channel_peer *peer,
		    const struct channel_hello *hello, char why[ADMISSION_TEXT])
{
	const struct config_model *m = config_find_model(c, hello->model);

	if (!m) {
		(void)snprintf(why, ADMISSION_TEXT,
			       "model '%s' is not configured: add a section [model %s] to "
			       "/etc/cofris.conf",
			       hello->model, hello->model);
		return -ENOENT;
	}
	if (!config_allows(m, peer->uid)) {
		(void)snprintf(why, ADMISSION_TEXT,
			       "uid %u may not serve model '%s': add 'allow = %u' to its section "
			       "[model %s] in /etc/cofris.conf",
			       peer->uid, hello->model, peer->uid, hello->model);
		return -EACCES;
	}
	return 0;
}

bool admission_log_once(struct admission_log *l, uid_t uid)
{
	for (uint32_t i = 0; i < l->n; i++)
		if (l->uids[i] == uid)
			return false;
	l->uids[l->next] = uid;
	l->next = (l->next + 1) % ADMISSION_REMEMBER;
	l->n = MIN(l->n + 1, (uint32_t)ADMISSION_REMEMBER);
	return true;
}

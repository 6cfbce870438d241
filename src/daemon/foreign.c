/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/foreign.h"
#include "base/fsio.h"
#include "base/macros.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

static struct foreign_process *find(struct foreign *f, int32_t pid)
{
	for (uint32_t i = 0; i < f->n; i++)
		if (f->processes[i].pid == pid)
			return &f->processes[i];
	return NULL;
}

/* Those that were not seen this time have gone, or have become workers. */
static void forget_others(struct foreign *f, uint64_t now_ns)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < f->n; i++)
		if (f->processes[i].last_ns == now_ns)
			f->processes[kept++] = f->processes[i];
	f->n = kept;
}

int32_t foreign_update(struct foreign *f, uint64_t now_ns, const int32_t *pids, uint32_t n,
		       foreign_known_fn known, void *userdata)
{
	int32_t counts_now = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct foreign_process *p;

		if (pids[i] <= 0 || known(userdata, pids[i]))
			continue;
		p = find(f, pids[i]);
		if (!p) {
			if (f->n == FOREIGN_MAX)
				forget_others(f, now_ns);
			if (f->n == FOREIGN_MAX)
				continue;
			p = &f->processes[f->n++];
			*p = (struct foreign_process){.pid = pids[i], .first_ns = now_ns};
		}
		p->last_ns = now_ns;
		if (!p->counts && now_ns - p->first_ns >= FOREIGN_GRACE_NS) {
			p->counts = true;
			counts_now = p->pid;
		}
		if (p->counts)
			f->until_ns = now_ns + FOREIGN_HOLD_NS;
	}
	forget_others(f, now_ns);
	return counts_now;
}

bool foreign_active(const struct foreign *f, uint64_t now_ns)
{
	return now_ns < f->until_ns;
}

static int cgroup_line(const char *text, const char *prefix, char *ret, size_t size)
{
	const char *line = text;

	while (line && *line) {
		const char *end = strchr(line, '\n');
		size_t n = end ? (size_t)(end - line) : strlen(line), skip = strlen(prefix);

		if (n > skip && strncmp(line, prefix, skip) == 0) {
			if (n - skip >= size)
				return -ENAMETOOLONG;
			(void)memcpy(ret, line + skip, n - skip);
			ret[n - skip] = '\0';
			return 0;
		}
		line = end ? end + 1 : NULL;
	}
	return -ENODATA;
}

int cgroup_of(const char *proc, int32_t pid, char *ret, size_t size)
{
	char path[128], text[8192];
	const char *named;
	ssize_t n;
	int r;

	if (pid == 0)
		(void)snprintf(path, sizeof(path), "%s/self/cgroup", proc);
	else
		(void)snprintf(path, sizeof(path), "%s/%d/cgroup", proc, pid);
	n = read_text_at(AT_FDCWD, path, text, sizeof(text));
	if (n < 0)
		return (int)n;
	r = cgroup_line(text, "0::", ret, size);
	if (r >= 0 && strcmp(ret, "/") != 0)
		return 0;
	/* Beside v1 hierarchies "N:name=systemd:PATH" is the one that names services. */
	named = strstr(text, ":name=systemd:");
	if (named)
		r = cgroup_line(named, ":name=systemd:", ret, size);
	return r;
}

bool cgroup_tells(const char *cgroup, const char *own)
{
	return *cgroup && strcmp(cgroup, "/") != 0 && strcmp(cgroup, own) != 0;
}

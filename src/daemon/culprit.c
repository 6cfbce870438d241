/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/culprit.h"
#include "base/fsio.h"
#include "base/macros.h"
#include "base/parse.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define NAME_BYTES 15 /* that the kernel keeps of a command */

/* Programs that set clocks or power caps of AMD cards. */
static const char *const known[] = {
	"lact",		 "lactd",
	"corectrl",	 "corectrl_helper",
	"tuned",	 "power-profiles-daemon",
	"amdgpu-clocks", "rocm-smi",
	"rocm_smi.py",	 "amd-smi",
	"tlp",		 "tlp-pd",
	"upp",		 "tuxclocker",
};

static void closedirp(DIR **d)
{
	if (*d)
		(void)closedir(*d);
}

static const char *find_known(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (strncmp(known[i], name, NAME_BYTES) == 0)
			return known[i];
	return NULL;
}

/* A script's command is its interpreter's; its own name is the first argument. */
static const char *find_script(int proc_fd, const char *pid)
{
	char path[300], text[1024];
	const char *script, *slash;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%s/cmdline", pid);
	n = read_text_at(proc_fd, path, text, sizeof(text));
	if (n <= 0)
		return NULL;
	script = text + strlen(text) + 1;
	if (script >= text + n)
		return NULL;
	slash = strrchr(script, '/');
	return find_known(slash ? slash + 1 : script);
}

static const char *find_in_process(int proc_fd, const char *pid)
{
	char path[300], comm[64];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "%s/comm", pid);
	n = read_text_at(proc_fd, path, comm, sizeof(comm));
	if (n <= 0)
		return NULL;
	comm[strcspn(comm, "\n")] = '\0';
	if (strncmp(comm, "python", strlen("python")) == 0 || strcmp(comm, "bash") == 0 ||
	    strcmp(comm, "sh") == 0)
		return find_script(proc_fd, pid);
	return find_known(comm);
}

int culprit_find(const char *proc, char *ret, size_t size)
{
	_cleanup_(closedirp) DIR *folder = opendir(proc);
	const struct dirent *entry;
	uint32_t pid;

	if (!folder)
		return -errno;
	while ((entry = readdir(folder))) {
		const char *name;

		if (parse_u32(entry->d_name, &pid) < 0)
			continue;
		name = find_in_process(dirfd(folder), entry->d_name);
		if (!name)
			continue;
		(void)snprintf(ret, size, "%s (pid %u)", name, pid);
		return 1;
	}
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Checking what the worker passes to cofris_open(), by the rules that the daemon will apply. */
#include "libcofris/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NAME_MAX_BYTES 40

static bool name_is_valid(const char *s)
{
	static const char alphabet[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				       "0123456789._/-";
	size_t n = strnlen(s, NAME_MAX_BYTES + 1);

	if (n == 0 || n > NAME_MAX_BYTES || strspn(s, alphabet) != n)
		return false;
	/* Names become file names below a folder: none may lead out of it. */
	return s[0] != '/' && s[0] != '.' && s[n - 1] != '/' && !strstr(s, "/.") &&
	       !strstr(s, "//");
}

static bool bdf_is_valid(const char bdf[13])
{
	static const char pattern[] = "hhhh:hh:hh.o";

	for (size_t i = 0; i < sizeof(pattern); i++) {
		const char *allowed = pattern[i] == 'h' ? "0123456789abcdef" : "01234567";

		if (pattern[i] == 'h' || pattern[i] == 'o') {
			if (bdf[i] == '\0' || !strchr(allowed, bdf[i]))
				return false;
		} else if (bdf[i] != pattern[i]) {
			return false;
		}
	}
	return true;
}

int options_check(const struct cofris_options *options, struct cofris_options *ret)
{
	struct cofris_options o = {0};

	/* A newer program's options may be longer; the fields known here come first. */
	if (!options || options->size < sizeof(o))
		return -EINVAL;
	o = *options;
	if (o.slots == 0)
		o.slots = 1;
	if (!o.model || !name_is_valid(o.model) || (o.instance && !name_is_valid(o.instance)))
		return -EINVAL;
	if ((o.follows & ~CHANNEL_FOLLOWS_ALL) || (o.reports & ~CHANNEL_REPORTS_ALL) ||
	    o.slots > CHANNEL_MAX_SLOTS)
		return -EINVAL;
	if ((o.follows & COFRIS_FOLLOWS_CU_MASK) && !o.apply)
		return -EINVAL;
	if (o.n_devices > CHANNEL_MAX_DEVICES || (o.n_devices > 0 && !o.devices))
		return -EINVAL;
	for (uint32_t i = 0; i < o.n_devices; i++) {
		if (!bdf_is_valid(o.devices[i].bdf))
			return -EINVAL;
		for (uint32_t j = 0; j < i; j++)
			if (o.devices[i].partition == o.devices[j].partition &&
			    strcmp(o.devices[i].bdf, o.devices[j].bdf) == 0)
				return -EINVAL;
	}
	*ret = o;
	return 0;
}

void hello_set_pid(struct channel_hello_message *m)
{
	memset(m->instance, 0, sizeof(m->instance));
	snprintf(m->instance, sizeof(m->instance), "%d", (int)getpid());
}

void options_to_hello(const struct cofris_options *o, struct channel_hello_message *ret)
{
	struct channel_hello_message m = {
		.header = {.magic = CHANNEL_MAGIC,
			   .version = CHANNEL_VERSION,
			   .type = CHANNEL_HELLO,
			   .size = sizeof(m)},
		.follows = o->follows,
		.reports = o->reports,
		.slots = o->slots,
		.n_devices = o->n_devices,
	};

	snprintf(m.model, sizeof(m.model), "%s", o->model);
	if (o->instance)
		snprintf(m.instance, sizeof(m.instance), "%s", o->instance);
	else
		hello_set_pid(&m);
	for (uint32_t i = 0; i < o->n_devices; i++) {
		memcpy(m.devices[i].bdf, o->devices[i].bdf, sizeof(m.devices[i].bdf));
		m.devices[i].partition = o->devices[i].partition;
	}
	*ret = m;
}

int options_to_address(const struct cofris_options *o, struct sockaddr_un *ret,
		       socklen_t *ret_length)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = o->socket_path;
	size_t n;

	if (!path)
		path = secure_getenv("COFRIS_SOCKET");
	if (!path || *path == '\0')
		path = COFRIS_DEFAULT_SOCKET;
	n = strlen(path);
	if (n >= sizeof(address.sun_path))
		return -EINVAL;
	memcpy(address.sun_path, path, n);
	*ret = address;
	*ret_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
	return 0;
}

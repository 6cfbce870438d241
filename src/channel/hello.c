/* SPDX-License-Identifier: Apache-2.0 */
/* The HELLO, field by field. The texts name the field and quote none of its bytes, as those would
 * end up in a log. */
#include "channel/connection.h"

#include <errno.h>
#include <string.h>

/* A name field: a string that ends inside it, with nothing but NULs behind. */
static bool take_name(const char field[CHANNEL_NAME_BYTES], char ret[MODEL_NAME_MAX + 1])
{
	size_t n = strnlen(field, CHANNEL_NAME_BYTES);

	if (n > MODEL_NAME_MAX)
		return false;
	for (size_t i = n; i < CHANNEL_NAME_BYTES; i++)
		if (field[i] != '\0')
			return false;
	if (!model_name_is_valid(field))
		return false;
	memcpy(ret, field, n + 1);
	return true;
}

static bool is_zero(const void *p, size_t n)
{
	const uint8_t *bytes = p;

	for (size_t i = 0; i < n; i++)
		if (bytes[i] != 0)
			return false;
	return true;
}

static int check_header(const void *message, size_t n, char *why, size_t why_size)
{
	struct channel_message_header h;

	if (n < sizeof(h)) {
		snprintf(why, why_size, "message of %zu bytes: shorter than a header", n);
		return -EPROTO;
	}
	memcpy(&h, message, sizeof(h));
	if (h.magic != CHANNEL_MAGIC) {
		snprintf(why, why_size, "magic: not a cofris message");
		return -EPROTO;
	}
	if (h.version != CHANNEL_VERSION) {
		snprintf(why, why_size, "version: the worker speaks protocol %u, this side %u",
			 (unsigned int)h.version, (unsigned int)CHANNEL_VERSION);
		return -EPROTONOSUPPORT;
	}
	if (h.type != CHANNEL_HELLO) {
		snprintf(why, why_size, "type: expected a HELLO (%d), got %u", CHANNEL_HELLO,
			 (unsigned int)h.type);
		return -EPROTO;
	}
	if (h.size != n || n != sizeof(struct channel_hello_message)) {
		snprintf(why, why_size, "size: a HELLO is %zu bytes, got %zu that claim to be %u",
			 sizeof(struct channel_hello_message), n, h.size);
		return -EPROTO;
	}
	if (h.reserved != 0) {
		snprintf(why, why_size, "reserved: must be 0");
		return -EPROTO;
	}
	return 0;
}

static const char *take_devices(const struct channel_hello_message *m, struct channel_hello *ret)
{
	if (m->n_devices > CHANNEL_MAX_DEVICES)
		return "n_devices: more than 16";
	for (uint32_t i = 0; i < m->n_devices; i++) {
		const struct channel_hello_device *d = &m->devices[i];
		struct channel_device *to = &ret->devices[i];

		if (!memchr(d->bdf, '\0', sizeof(d->bdf)) || !pci_bdf_is_valid(d->bdf))
			return "devices: not a PCI address like 0000:43:00.0";
		if (!is_zero(d->reserved, sizeof(d->reserved)))
			return "devices: reserved bytes must be 0";
		memcpy(to->bdf, d->bdf, sizeof(to->bdf));
		to->partition = d->partition;
		for (uint32_t j = 0; j < i; j++)
			if (to->partition == ret->devices[j].partition &&
			    strcmp(to->bdf, ret->devices[j].bdf) == 0)
				return "devices: the same one twice";
	}
	if (!is_zero(&m->devices[m->n_devices],
		     (CHANNEL_MAX_DEVICES - m->n_devices) * sizeof(m->devices[0])))
		return "devices: unused entries must be 0";
	ret->n_devices = m->n_devices;
	return NULL;
}

static const char *take_fields(const struct channel_hello_message *m, struct channel_hello *ret)
{
	if (!take_name(m->model, ret->model))
		return "model: not 1 to 40 bytes of [A-Za-z0-9._/-]";
	if (!take_name(m->instance, ret->instance))
		return "instance: not 1 to 40 bytes of [A-Za-z0-9._/-]";
	if (m->follows & ~CHANNEL_FOLLOWS_ALL)
		return "follows: unknown bits";
	if (m->reports & ~CHANNEL_REPORTS_ALL)
		return "reports: unknown bits";
	if (m->slots < 1 || m->slots > CHANNEL_MAX_SLOTS)
		return "slots: not 1 to 1024";
	ret->follows = m->follows;
	ret->reports = m->reports;
	ret->slots = m->slots;
	return take_devices(m, ret);
}

int channel_hello_parse(const void *message, size_t n, struct channel_hello *ret, char *why,
			size_t why_size)
{
	struct channel_hello_message m;
	struct channel_hello hello = {0};
	const char *problem;
	int r;

	r = check_header(message, n, why, why_size);
	if (r < 0)
		return r;
	memcpy(&m, message, sizeof(m));
	problem = take_fields(&m, &hello);
	if (problem) {
		snprintf(why, why_size, "HELLO: %s", problem);
		return -EPROTO;
	}
	*ret = hello;
	return 0;
}

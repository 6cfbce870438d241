/* SPDX-License-Identifier: Apache-2.0 */
/* Values are compared as they go onto the bus: all of an object are put into one message that is
 * not sent, which is then read back. */
#include "daemon/bus-changes.h"
#include <errno.h>
#include <string.h>

#define FNV_OFFSET UINT64_C(0xcbf29ce484222325)
#define FNV_PRIME  UINT64_C(0x100000001b3)

static bool is_signalled(const sd_bus_vtable *row)
{
	return row->type == _SD_BUS_VTABLE_PROPERTY &&
	       (row->flags & SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE);
}

static void mix(uint64_t *digest, const void *data, size_t size)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < size; i++)
		*digest = (*digest ^ bytes[i]) * FNV_PRIME;
}

static int mix_basic(sd_bus_message *m, char type, uint64_t *digest)
{
	union {
		const char *s;
		uint64_t t;
		int b;
		double d;
	} value = {0};
	int r = sd_bus_message_read_basic(m, type, &value);

	if (r <= 0)
		return r < 0 ? r : -EBADMSG;
	if (type == SD_BUS_TYPE_STRING || type == SD_BUS_TYPE_OBJECT_PATH)
		mix(digest, value.s, strlen(value.s) + 1);
	else
		mix(digest, &value, sizeof(value));
	return 1;
}

/* One value with all that is in it: 1, or 0 at the end of its container. */
static int mix_value(sd_bus_message *m, uint64_t *digest)
{
	const char *contents;
	char type;
	int r = sd_bus_message_peek_type(m, &type, &contents);

	if (r <= 0)
		return r;
	mix(digest, &type, 1);
	if (type != SD_BUS_TYPE_ARRAY && type != SD_BUS_TYPE_STRUCT)
		return mix_basic(m, type, digest);
	r = sd_bus_message_enter_container(m, type, contents);
	while (r > 0)
		r = mix_value(m, digest);
	if (r < 0)
		return r;
	r = sd_bus_message_exit_container(m);
	return r < 0 ? r : 1;
}

static int collect(sd_bus *bus, const char *path, const char *interface,
		   const sd_bus_vtable *vtable, void *object, sd_bus_message **ret)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	int r;

	r = sd_bus_message_new_signal(bus, &m, path, interface, "NotSent");
	for (const sd_bus_vtable *row = vtable; r >= 0 && row->type != _SD_BUS_VTABLE_END; row++)
		if (is_signalled(row))
			r = row->x.property.get(bus, path, interface, row->x.property.member, m,
						object, NULL);
	if (r >= 0)
		r = sd_bus_message_seal(m, 1, 0);
	if (r >= 0)
		r = sd_bus_message_rewind(m, 1);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(m);
	return 0;
}

int bus_tell_changes(sd_bus *bus, const char *path, const char *interface,
		     const sd_bus_vtable *vtable, void *object, uint64_t *told)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
	const char *changed[BUS_MAX_PROPERTIES + 1];
	const uint64_t *end = told + BUS_MAX_PROPERTIES;
	size_t n = 0;
	int r;

	r = collect(bus, path, interface, vtable, object, &m);
	if (r < 0)
		return r;
	for (const sd_bus_vtable *row = vtable; row->type != _SD_BUS_VTABLE_END; row++) {
		uint64_t now = FNV_OFFSET;

		if (!is_signalled(row))
			continue;
		if (told == end)
			return -E2BIG;
		r = mix_value(m, &now);
		if (r <= 0)
			return r < 0 ? r : -EBADMSG;
		if (now != *told)
			changed[n++] = row->x.property.member;
		*told++ = now;
	}
	changed[n] = NULL;
	return n == 0 ? 0
		      : sd_bus_emit_properties_changed_strv(bus, path, interface, (char **)changed);
}

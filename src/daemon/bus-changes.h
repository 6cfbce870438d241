/* SPDX-License-Identifier: Apache-2.0 */
/* What of an object has changed since it was last told. A property counts if its row of the vtable
 * says that changes are signalled. */
#pragma once

#include "daemon/bus-internal.h"
#include "daemon/unit.h"

#define BUS_MAX_PROPERTIES UNIT_MAX_PROPERTIES

/* What was told last, as a digest of each property in the order of the vtable; 0: nothing yet. */
struct bus_told {
	uint64_t digests[BUS_MAX_PROPERTIES];
};

/* Reads the object's properties by their getters, and signals those that are not as told. object:
 * what its getters are called with. 0 or a negative errno. */
int bus_tell_changes(sd_bus *bus, const char *path, const char *interface,
		     const sd_bus_vtable *vtable, void *object, uint64_t *told);

int bus_tell_manager(sd_bus *bus, struct manager *m, struct bus_told *told);
int bus_tell_gpu(sd_bus *bus, struct unit *u);
int bus_tell_model(sd_bus *bus, struct manager *m, uint32_t model, struct bus_told *told);

/* SPDX-License-Identifier: Apache-2.0 */
/* Between bus.c (the connection, manager and models) and bus-gpu.c (the cards). */
#pragma once

#include "daemon/bus.h"
#include <systemd/sd-bus.h>

#define BUS_NAME "org.cofris1"
#define BUS_PATH "/org/cofris1"

int bus_add_gpus(sd_bus *connection, struct manager *m);

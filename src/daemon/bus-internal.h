/* SPDX-License-Identifier: Apache-2.0 */
/* Between bus.c (the connection, manager and models), bus-explain.c (its methods about decisions)
 * and bus-gpu.c (the cards). */
#pragma once

#include "daemon/bus.h"
#include <systemd/sd-bus.h>

#define BUS_NAME "org.cofris1"
#define BUS_PATH "/org/cofris1"

#define BUS_ERROR_NO_MODEL BUS_NAME ".Error.NoSuchModel"
#define BUS_ERROR_NO_GPU   BUS_NAME ".Error.NoSuchGPU"

int bus_add_gpus(sd_bus *connection, struct manager *m);

/* Replies with a text, which it frees; -ENOMEM for NULL. */
int bus_reply_text(sd_bus_message *call, char *text);
/* Sets the error and returns its errno if no such model is configured. */
int bus_refuse_unknown_model(const struct manager *m, const char *model, sd_bus_error *error);
int bus_method_explain(sd_bus_message *call, void *userdata, sd_bus_error *error);
int bus_method_get_decisions(sd_bus_message *call, void *userdata, sd_bus_error *error);

/* SPDX-License-Identifier: Apache-2.0 */
/* Between bus.c (the connection), bus-manager.c (what the manager shows), bus-orders.c (its methods
 * that change something), bus-explain.c (those about decisions), bus-gpu.c (the cards) and
 * bus-model.c (the models). */
#pragma once

#include "daemon/authorise.h"
#include "daemon/bus.h"
#include <systemd/sd-bus.h>

#define BUS_NAME    "org.cofris1"
#define BUS_PATH    "/org/cofris1"
#define BUS_MANAGER BUS_NAME ".Manager"
#define BUS_ACTION  BUS_NAME ".control" /* polkit's */

#define BUS_ERROR_CONFIG    BUS_NAME ".Error.Config"
#define BUS_ERROR_CAP	    BUS_NAME ".Error.PowerCap"
#define BUS_ERROR_NO_MODEL  BUS_NAME ".Error.NoSuchModel"
#define BUS_ERROR_NO_GPU    BUS_NAME ".Error.NoSuchGPU"
#define BUS_ERROR_NO_COOKIE BUS_NAME ".Error.NoSuchCookie"
#define BUS_ERROR_ARGUMENT  BUS_NAME ".Error.InvalidArgument"
#define BUS_ERROR_TOO_MANY  BUS_NAME ".Error.TooMany"

/* Calls are refused while too many answers wait to be taken. 0 or a negative errno. */
int bus_bound_queue(sd_bus *connection);
/* What nobody has asked for can wait as well. */
bool bus_queue_is_busy(sd_bus *connection);
int bus_add_manager(sd_bus *connection, struct manager *m);
int bus_add_gpus(sd_bus *connection, struct manager *m);
int bus_add_models(sd_bus *connection, struct manager *m);

/* authorise() for the connection that there is. fn gets the manager. */
int bus_authorise(struct bus *b, sd_bus_message *call, authorised_fn fn, sd_bus_error *error);

/* Replies when the cards have been read. */
int bus_verify(struct bus *b, sd_bus_message *call, const char *gpu, sd_bus_error *error);

/* Replies with a text, which it frees; -ENOMEM for NULL. */
int bus_reply_text(sd_bus_message *call, char *text);
/* Each sets the error and returns its errno if nothing of that name is there; "*" is refused. */
int bus_refuse_unknown_model(const struct manager *m, const char *model, sd_bus_error *error);
int bus_refuse_unknown_gpu(const struct manager *m, const char *gpu, sd_bus_error *error);
int bus_method_explain(sd_bus_message *call, void *userdata, sd_bus_error *error);
int bus_method_get_decisions(sd_bus_message *call, void *userdata, sd_bus_error *error);
int bus_method_verify(sd_bus_message *call, void *userdata, sd_bus_error *error);
int bus_method_reload(sd_bus_message *call, void *userdata, sd_bus_error *error);
int bus_method_set_power_cap(sd_bus_message *call, void *userdata, sd_bus_error *error);
int bus_method_hold(sd_bus_message *call, void *userdata, sd_bus_error *error);
int bus_method_release(sd_bus_message *call, void *userdata, sd_bus_error *error);
int bus_method_pause(sd_bus_message *call, void *userdata, sd_bus_error *error);
int bus_method_resume(sd_bus_message *call, void *userdata, sd_bus_error *error);

/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/client.h"
#include "base/log.h"
#include "base/units.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <systemd/sd-bus.h>

#define CTL_NAME    "org.cofris1"
#define CTL_PATH    "/org/cofris1"
#define CTL_MANAGER CTL_NAME ".Manager"
#define CTL_SCHEMA  1
#define CTL_TIMEOUT (5 * USEC_PER_SEC)

static int connect_bus(const char *address, sd_bus **ret)
{
	_cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
	int r;

	if (!address)
		return sd_bus_open_system(ret);
	r = sd_bus_new(&bus);
	if (r >= 0)
		r = sd_bus_set_address(bus, address);
	if (r >= 0)
		r = sd_bus_set_bus_client(bus, 1);
	if (r >= 0)
		r = sd_bus_start(bus);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(bus);
	return 0;
}

static enum ctl_exit failed(const sd_bus_error *error, int r)
{
	if (error->name && strncmp(error->name, CTL_NAME ".", strlen(CTL_NAME) + 1) == 0) {
		log_error("%s", error->message);
		return CTL_REFUSED;
	}
	if (sd_bus_error_has_name(error, SD_BUS_ERROR_ACCESS_DENIED)) {
		log_error("Not allowed: %s", error->message);
		return CTL_REFUSED;
	}
	if (sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
	    sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
		log_error("cofrisd is not on this bus");
	else
		log_error("cofrisd does not answer: %s",
			  error->message ? error->message : strerror(-r));
	return CTL_UNREACHABLE;
}

/* types and what follows are the arguments, as sd_bus_message_append() takes them. */
static enum ctl_exit call_manager(const char *address, const char *method, uint64_t timeout_usec,
				  char **ret, const char *types, ...)
{
	_cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	const char *text;
	va_list ap;
	int r;

	r = connect_bus(address, &bus);
	if (r < 0) {
		log_errno(LOG_ERR, r, "Failed to connect to the bus: %m");
		return CTL_UNREACHABLE;
	}
	r = sd_bus_message_new_method_call(bus, &call, CTL_NAME, CTL_PATH, CTL_MANAGER, method);
	va_start(ap, types);
	if (r >= 0)
		r = sd_bus_message_appendv(call, types, ap);
	va_end(ap);
	if (r >= 0)
		r = sd_bus_call(bus, call, timeout_usec, &error, &reply);
	if (r < 0)
		return failed(&error, r);
	if (!ret)
		return CTL_OK;
	r = sd_bus_message_read(reply, "s", &text);
	if (r < 0)
		return failed(&error, r);
	*ret = strdup(text);
	return *ret ? CTL_OK : CTL_UNREACHABLE;
}

enum ctl_exit ctl_call(const char *address, const char *method, const char *argument,
		       uint64_t timeout_usec, char **ret)
{
	return call_manager(address, method, timeout_usec, ret, argument ? "s" : "", argument);
}

enum ctl_exit ctl_set_power_cap(const char *address, const char *gpu, uint64_t uw)
{
	return call_manager(address, "SetPowerCap", CTL_TIMEOUT, NULL, "st", gpu, uw);
}

/* Of a call's result and, where that is CTL_OK, its text, which it frees. */
static enum ctl_exit parse_answer(enum ctl_exit result, char *text, json_t **ret)
{
	json_error_t error;
	json_t *root;

	if (result != CTL_OK)
		return result;
	root = json_loads(text, 0, &error);
	free(text);
	if (!root) {
		log_error("The answer is not JSON: %s", error.text);
		return CTL_UNREACHABLE;
	}
	if (json_integer_value(json_object_get(root, "schema")) != CTL_SCHEMA) {
		log_error("The answer is of another schema than %d: cofrisd is of another version",
			  CTL_SCHEMA);
		json_decref(root);
		return CTL_UNREACHABLE;
	}
	*ret = root;
	return CTL_OK;
}

enum ctl_exit ctl_call_json(const char *bus, const char *method, const char *argument, json_t **ret)
{
	char *text = NULL;
	enum ctl_exit result = ctl_call(bus, method, argument, CTL_TIMEOUT, &text);

	return parse_answer(result, text, ret);
}

enum ctl_exit ctl_explain(const char *bus, const char *gpu, const char *model, double rps,
			  json_t **ret)
{
	char *text = NULL;
	enum ctl_exit result =
		call_manager(bus, "Explain", CTL_TIMEOUT, &text, "ssd", gpu, model, rps);

	return parse_answer(result, text, ret);
}

enum ctl_exit ctl_decisions(const char *bus, const char *gpu, const char *model, uint32_t n,
			    json_t **ret)
{
	char *text = NULL;
	enum ctl_exit result =
		call_manager(bus, "GetDecisions", CTL_TIMEOUT, &text, "ssu", gpu, model, n);

	return parse_answer(result, text, ret);
}

char *ctl_daemon_version(const char *address)
{
	_cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
	char *version = NULL;

	if (connect_bus(address, &bus) < 0)
		return NULL;
	(void)sd_bus_get_property_string(bus, CTL_NAME, CTL_PATH, CTL_MANAGER, "Version", NULL,
					 &version);
	return version;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/client.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define CTL_SCHEMA 1

static enum ctl_exit fail(struct ctl_client *c, enum ctl_exit result, const char *format, ...)
	_printf_(3, 4);
static enum ctl_exit fail(struct ctl_client *c, enum ctl_exit result, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(c->error, sizeof(c->error), format, ap);
	va_end(ap);
	return result;
}

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

enum ctl_exit ctl_connect(struct ctl_client *c)
{
	int r;

	if (c->bus && sd_bus_is_open(c->bus) <= 0)
		ctl_client_deinit(c);
	if (c->bus)
		return CTL_OK;
	r = connect_bus(c->address, &c->bus);
	if (r < 0)
		return fail(c, CTL_UNREACHABLE, "Failed to connect to the bus: %s", strerror(-r));
	/* Of what has none of its own. */
	(void)sd_bus_set_method_call_timeout(c->bus, CTL_TIMEOUT);
	/* Where somebody sits polkit's agent may ask for a password. */
	(void)sd_bus_set_allow_interactive_authorization(c->bus, isatty(STDIN_FILENO));
	return CTL_OK;
}

void ctl_client_deinit(struct ctl_client *c)
{
	c->bus = sd_bus_flush_close_unref(c->bus);
}

static enum ctl_exit failed(struct ctl_client *c, const sd_bus_error *error, int r)
{
	if (error->name && strncmp(error->name, CTL_NAME ".", strlen(CTL_NAME) + 1) == 0)
		return fail(c, CTL_REFUSED, "%s", error->message);
	if (sd_bus_error_has_name(error, SD_BUS_ERROR_ACCESS_DENIED) ||
	    sd_bus_error_has_name(error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED))
		return fail(c, CTL_REFUSED, "Not allowed: %s", error->message);
	if (sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
	    sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
		return fail(c, CTL_UNREACHABLE, "cofrisd is not on this bus");
	return fail(c, CTL_UNREACHABLE, "cofrisd does not answer: %s",
		    error->message ? error->message : strerror(-r));
}

static enum ctl_exit call(struct ctl_client *c, const char *method, uint64_t timeout_usec,
			  sd_bus_message **ret, const char *types, va_list ap)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *message = NULL;
	_cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
	enum ctl_exit result = ctl_connect(c);
	int r;

	if (result != CTL_OK)
		return result;
	r = sd_bus_message_new_method_call(c->bus, &message, CTL_NAME, CTL_PATH, CTL_MANAGER,
					   method);
	if (r >= 0)
		r = sd_bus_message_appendv(message, types, ap);
	if (r >= 0)
		r = sd_bus_call(c->bus, message, timeout_usec, &error, ret);
	if (r < 0)
		return failed(c, &error, r);
	c->error[0] = '\0';
	return CTL_OK;
}

enum ctl_exit ctl_call(struct ctl_client *c, const char *method, uint64_t timeout_usec,
		       const char *types, ...)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	enum ctl_exit result;
	va_list ap;

	va_start(ap, types);
	result = call(c, method, timeout_usec, &reply, types, ap);
	va_end(ap);
	return result;
}

enum ctl_exit ctl_call_u32(struct ctl_client *c, const char *method, uint32_t *ret,
			   const char *types, ...)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	enum ctl_exit result;
	va_list ap;

	va_start(ap, types);
	result = call(c, method, CTL_WRITE_TIMEOUT, &reply, types, ap);
	va_end(ap);
	if (result == CTL_OK && sd_bus_message_read(reply, "u", ret) < 0)
		return fail(c, CTL_UNREACHABLE,
			    "The answer is no number: cofrisd is of another "
			    "version");
	return result;
}

enum ctl_exit ctl_parse_document(struct ctl_client *c, const char *text, json_t **ret)
{
	json_error_t error;
	json_t *root = json_loads(text, 0, &error);

	if (!root)
		return fail(c, CTL_UNREACHABLE, "The answer is not JSON: %s", error.text);
	if (json_integer_value(json_object_get(root, "schema")) != CTL_SCHEMA) {
		json_decref(root);
		return fail(c, CTL_UNREACHABLE,
			    "The answer is of another schema than %d: cofrisd is of another "
			    "version",
			    CTL_SCHEMA);
	}
	*ret = root;
	return CTL_OK;
}

enum ctl_exit ctl_call_json(struct ctl_client *c, const char *method, json_t **ret,
			    const char *types, ...)
{
	_cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
	enum ctl_exit result;
	const char *text;
	va_list ap;

	va_start(ap, types);
	result = call(c, method, CTL_TIMEOUT, &reply, types, ap);
	va_end(ap);
	if (result != CTL_OK)
		return result;
	if (sd_bus_message_read(reply, "s", &text) < 0)
		return fail(c, CTL_UNREACHABLE,
			    "The answer is no text: cofrisd is of another "
			    "version");
	return ctl_parse_document(c, text, ret);
}

char *ctl_daemon_version(struct ctl_client *c)
{
	char *version = NULL;

	if (ctl_connect(c) == CTL_OK)
		(void)sd_bus_get_property_string(c->bus, CTL_NAME, CTL_PATH, CTL_MANAGER, "Version",
						 NULL, &version);
	c->error[0] = '\0';
	return version;
}

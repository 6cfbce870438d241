/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ini-file.h"
#include "base/macros.h"
#include "base/parse.h"
#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <string.h>

struct reader {
	FILE *file;
	unsigned int line;
	int r;
	struct ini_error *error;
	ini_row_fn row;
	void *userdata;
};

int ini_error_set(struct ini_error *error, int r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(error->text, sizeof(error->text), format, ap);
	va_end(ap);
	make_printable(error->text);
	return r;
}

static char *stop(struct reader *reader, int r)
{
	reader->r = r;
	reader->error->line = reader->line;
	return NULL;
}

/* Checks "[name]" with nothing but blanks or a comment behind it, and reports the section. */
static int section_line(struct reader *reader, const char *text)
{
	const char *end = strchr(text, ']'), *rest;
	char name[INI_LINE_MAX + 1];

	if (!end || end == text + 1)
		return ini_error_set(reader->error, -EBADMSG,
				     "broken section line '%.60s', expected [name]", text);
	rest = end + 1;
	rest += strspn(rest, " \t\r");
	if (*rest && *rest != ';' && *rest != '#')
		return ini_error_set(reader->error, -EBADMSG, "text after section '%.60s'", text);
	/* libinih keeps 49 bytes of a section's name and drops the rest. */
	if (end - text - 1 > 49)
		return ini_error_set(reader->error, -EBADMSG,
				     "section name longer than 49 bytes: '%.60s'", text);
	(void)snprintf(name, sizeof(name), "%.*s", (int)(end - text - 1), text + 1);
	return reader->row(reader->userdata, reader->line, name, /* key= */ NULL, /* value= */ NULL,
			   reader->error);
}

static char *read_line(char *buffer, int size, void *stream)
{
	struct reader *reader = stream;
	size_t length;
	char *text;
	int r;

	if (reader->r < 0)
		return NULL;
	reader->line++;
	if (!fgets(buffer, size, reader->file)) {
		if (ferror(reader->file)) {
			(void)ini_error_set(reader->error, 0, "read error");
			return stop(reader, -EIO);
		}
		return NULL;
	}
	length = strlen(buffer);
	/* A NUL byte in the file also ends up here as a short line without newline. */
	if (length > INI_LINE_MAX + 1 ||
	    (length == 0 || (buffer[length - 1] != '\n' && !feof(reader->file)))) {
		(void)ini_error_set(reader->error, 0, "line longer than %d bytes, or a NUL byte",
				    INI_LINE_MAX);
		return stop(reader, -EBADMSG);
	}
	text = buffer + strspn(buffer, " \t\r\n");
	if (!*text || *text == ';' || *text == '#') {
		/* Not passed on: libinih would take an indented comment as a continuation. */
		buffer[0] = '\n';
		buffer[1] = '\0';
		return buffer;
	}
	if (text != buffer) {
		(void)ini_error_set(
			reader->error, 0,
			"line begins with a blank; continuation lines are not supported");
		return stop(reader, -EBADMSG);
	}
	for (const char *p = text; *p; p++)
		if (iscntrl((unsigned char)*p) && !strchr("\t\r\n", *p)) {
			(void)ini_error_set(reader->error, 0, "control character in line");
			return stop(reader, -EBADMSG);
		}
	if (*text == '[') {
		text[strcspn(text, "\r\n")] = '\0';
		r = section_line(reader, text);
		if (r < 0)
			return stop(reader, r);
		(void)strcat(text, "\n");
	} else if (!strpbrk(text, "=:")) {
		(void)ini_error_set(reader->error, 0, "'%.*s' is neither a section nor key = value",
				    (int)strcspn(text, "\r\n"), text);
		return stop(reader, -EBADMSG);
	}
	return buffer;
}

static int handle_row(void *user, const char *section, const char *key, const char *value)
{
	struct reader *reader = user;
	int r;

	if (reader->r < 0)
		return 0;
	r = reader->row(reader->userdata, reader->line, section, key, value, reader->error);
	if (r < 0) {
		reader->r = r;
		reader->error->line = reader->line;
		return 0;
	}
	return 1;
}

int ini_file_parse(FILE *file, ini_row_fn row, void *userdata, struct ini_error *ret_error)
{
	struct reader reader = {.file = file, .error = ret_error, .row = row, .userdata = userdata};
	int r;

	*ret_error = (struct ini_error){0};
	r = ini_parse_stream(read_line, &reader, handle_row, &reader);
	if (reader.r < 0)
		return reader.r;
	if (r != 0) {
		ret_error->line = r > 0 ? (unsigned int)r : 0;
		return ini_error_set(ret_error, -EBADMSG, "not a valid INI line");
	}
	return 0;
}

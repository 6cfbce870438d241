/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/ensemble.h"
#include "base/macros.h"
#include "base/parse.h"
#include "plant/profiles.h"
#include "replay/truth.h"
#include <errno.h>
#include <string.h>

#define LINE_MAX_BYTES 1024

#define COLUMN(name, min, max)                                                                     \
	{                                                                                          \
#name, offsetof(struct plant_device, name), min, max                               \
	}

/* The bounds are those that published figures of the card, and of others with the same memory and
 * process, leave (profiles/devices/mi50.ini says where from). */
const struct ensemble_column ensemble_columns[ENSEMBLE_COLUMNS] = {
	COLUMN(efficiency, 0.35, 0.75),
	COLUMN(memory_gbps, 700, 820),
	COLUMN(cu_gbps, 24, 36),
	COLUMN(dispatch_us, 2, 4.5),
	COLUMN(launch_us, 5.5, 8.5),
	COLUMN(uncore_w, 50, 60),
	COLUMN(cu_active_idle_w, 2.2, 2.7),
	COLUMN(cu_clock_share, 0, 0.6),
	COLUMN(pj_per_flop, 1, 2),
	COLUMN(pj_per_byte, 40, 50),
	COLUMN(leakage_w_per_k, 0.02, 0.06),
	COLUMN(half_card_saving, 0.05, 0.15),
};

/* Takes the next field off a line. */
static char *next_field(char **rest)
{
	return strsep(rest, ",");
}

static int read_names(char *line)
{
	const char *name = next_field(&line);

	if (!name || strcmp(name, "member") != 0)
		return -EBADMSG;
	for (uint32_t i = 0; i < ENSEMBLE_COLUMNS; i++) {
		name = next_field(&line);
		if (!name || strcmp(name, ensemble_columns[i].name) != 0)
			return -EBADMSG;
	}
	return line ? -EBADMSG : 0;
}

static int read_member(char *line, uint32_t number, struct plant_device *d)
{
	const char *field = next_field(&line);
	uint32_t read;

	if (!field || parse_u32(field, &read) < 0 || read != number)
		return -EBADMSG;
	for (uint32_t i = 0; i < ENSEMBLE_COLUMNS; i++) {
		const struct ensemble_column *c = &ensemble_columns[i];
		double value;

		field = next_field(&line);
		if (!field || parse_double(field, &value) < 0 ||
		    !(value >= c->min && value <= c->max))
			return -EBADMSG;
		*ensemble_value(d, c) = value;
	}
	return line ? -EBADMSG : 0;
}

/* The next line that is no comment, without its end; 1, or 0 at the end of the file. */
static int next_line(FILE *f, char line[static LINE_MAX_BYTES])
{
	do {
		char *end;

		if (!fgets(line, LINE_MAX_BYTES, f))
			return ferror(f) ? -EIO : 0;
		end = strchr(line, '\n');
		if (!end)
			return -EBADMSG;
		*end = '\0';
	} while (line[0] == '#');
	return 1;
}

int ensemble_read(FILE *f, uint32_t member, struct plant_device *d)
{
	struct plant_device other = *d, found = *d;
	char line[LINE_MAX_BYTES];
	int r;

	r = next_line(f, line);
	if (r <= 0)
		return r < 0 ? r : -EBADMSG;
	r = read_names(line);
	for (uint32_t i = 1; i <= TRUTH_ENSEMBLE && r == 0; i++) {
		r = next_line(f, line);
		if (r <= 0)
			return r < 0 ? r : -EBADMSG;
		r = read_member(line, i, i == member ? &found : &other);
	}
	if (r < 0)
		return r;
	r = next_line(f, line);
	if (r != 0)
		return r < 0 ? r : -EBADMSG;
	*d = found;
	return 0;
}

/* It lies where the device does. */
int ensemble_load(uint32_t member, struct plant_device *d)
{
	_cleanup_(freep) char *file = NULL, *path = NULL;
	_cleanup_(fclosep) FILE *f = NULL;
	int r;

	if (member == 0 || member > TRUTH_ENSEMBLE)
		return -EINVAL;
	if (asprintf(&file, "devices/%s-ensemble.csv", d->name) < 0) {
		file = NULL;
		return -ENOMEM;
	}
	r = plant_profile_file(NULL, file, &path);
	if (r < 0)
		return r;
	f = fopen(path, "re");
	return f ? ensemble_read(f, member, d) : -errno;
}

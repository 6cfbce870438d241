/* SPDX-License-Identifier: Apache-2.0 */
/* Each card is read by a child process: a driver in trouble answers no read, and whoever reads is
 * stuck in the kernel. The child writes a record for each file, so that what came before is kept.
 */
#include "ctl/bundle-cards.h"
#include "base/fsio.h"
#include "base/parse.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define MAX_CARDS     64
#define MAX_FILE      (64u << 10)
#define MAX_CARD_SIZE (4u << 20)
#define MAX_NAME      192

/* In front of a file's name and contents. */
struct record {
	uint32_t name_size, size, mode;
};

struct card_source {
	const char *sys, *bdf;
	char folder[PATH_MAX];
};

/* Names in a folder below the card's; "*" is a hwmon's number. pcie_bw is not among them: reading
 * it takes a second. */
static const struct {
	const char *folder, *name;
} files[] = {
	{"", "vendor"},
	{"", "device"},
	{"", "subsystem_vendor"},
	{"", "subsystem_device"},
	{"", "class"},
	{"", "revision"},
	{"", "uevent"},
	{"", "numa_node"},
	{"", "current_*"},
	{"", "available_*_partition"},
	{"", "max_link_*"},
	{"", "vbios_version"},
	{"", "product_name"},
	{"", "power_dpm_*"},
	{"", "pp_*"},
	{"", "gpu_busy_percent"},
	{"", "mem_busy_percent"},
	{"", "mem_info_*"},
	{"", "gpu_metrics"},
	{"", "thermal_throttling_logging"},
	{"ras", "features"},
	{"ras", "*_err_count"},
	{"hwmon", "name"},
	{"hwmon", "in*_*"},
	{"hwmon", "temp*_*"},
	{"hwmon", "power*_*"},
	{"hwmon", "freq*_*"},
	{"hwmon", "fan*_*"},
	{"hwmon", "pwm*"},
};

static bool is_wanted(const char *folder, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (strcmp(files[i].folder, folder) == 0 && fnmatch(files[i].name, name, 0) == 0)
			return true;
	return false;
}

/* ---- in the child ---- */

static int write_all(int fd, const void *data, size_t size)
{
	const char *p = data;

	while (size > 0) {
		ssize_t n = write(fd, p, size);

		if (n < 0)
			return -errno;
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

/* Takes lines out that begin with word. */
static size_t drop_lines(char *text, size_t size, const char *word)
{
	char *to = text;

	for (char *line = text; line < text + size;) {
		char *newline = memchr(line, '\n', (size_t)(text + size - line));
		size_t n = newline ? (size_t)(newline + 1 - line) : (size_t)(text + size - line);

		if (n < strlen(word) || strncmp(line, word, strlen(word)) != 0) {
			memmove(to, line, n);
			to += n;
		}
		line += n;
	}
	return (size_t)(to - text);
}

/* What cannot be read is left out, as a driver may refuse some. */
static void send_file(int fd, const char *path, const char *name)
{
	static char buffer[MAX_FILE];
	_cleanup_(closep) int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct record record = {.name_size = (uint32_t)strlen(name)};
	struct stat st;
	ssize_t n = 0;

	if (file < 0 || fstat(file, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	/* One read each, as sysfs gives a value whole. */
	while (record.size < sizeof(buffer) &&
	       (n = read(file, buffer + record.size, sizeof(buffer) - record.size)) > 0)
		record.size += (uint32_t)n;
	if (n < 0 && record.size == 0)
		return;
	if (strcmp(name, "kfd/properties") == 0)
		record.size = (uint32_t)drop_lines(buffer, record.size, "unique_id ");
	record.mode = st.st_mode & 0777;
	if (write_all(fd, &record, sizeof(record)) < 0 ||
	    write_all(fd, name, record.name_size) < 0 || write_all(fd, buffer, record.size) < 0)
		_exit(EXIT_FAILURE);
}

/* The files of one folder, under their name in the tar. */
static void send_folder(int fd, const char *path, const char *folder)
{
	struct dirent **entries;
	int n = scandir(path, &entries, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		const char *name = entries[i]->d_name;
		char file[PATH_MAX], member[MAX_NAME];

		if (is_wanted(folder, name) &&
		    snprintf(file, sizeof(file), "%s/%s", path, name) < (int)sizeof(file) &&
		    snprintf(member, sizeof(member), "%s%s%s", folder, *folder ? "/" : "", name) <
			    (int)sizeof(member))
			send_file(fd, file, member);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

static void send_hwmon(int fd, const char *card)
{
	char path[PATH_MAX + 8];
	struct dirent *entry;
	DIR *folder;

	(void)snprintf(path, sizeof(path), "%s/hwmon", card);
	folder = opendir(path);
	while (folder && (entry = readdir(folder))) {
		char hwmon[PATH_MAX + 300];

		if (strncmp(entry->d_name, "hwmon", 5) != 0)
			continue;
		(void)snprintf(hwmon, sizeof(hwmon), "%s/%s", path, entry->d_name);
		send_folder(fd, hwmon, "hwmon");
	}
	if (folder)
		(void)closedir(folder);
}

/* The node's number of a property, or -1. */
static long long property(const char *text, const char *name)
{
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ' ')
			return strtoll(line + strlen(name), NULL, 10);
	}
	return -1;
}

/* KFD names a card by bus, device and function. */
static bool is_node_of(const char *properties, const char *bdf)
{
	unsigned int domain, bus, device, function;

	if (sscanf(bdf, "%4x:%2x:%2x.%1x", &domain, &bus, &device, &function) != 4)
		return false;
	return property(properties, "location_id") ==
		       (long long)(bus << 8 | device << 3 | function) &&
	       property(properties, "domain") == (long long)domain &&
	       property(properties, "simd_count") > 0;
}

static void send_node(int fd, const struct card_source *c)
{
	static const char *const names[] = {"gpu_id", "name", "properties",
					    "mem_banks/0/properties", "io_links/0/properties"};
	static char properties[MAX_FILE];
	char nodes[PATH_MAX + 40], path[PATH_MAX + 400], member[MAX_NAME];
	struct dirent *entry;
	DIR *folder;

	(void)snprintf(nodes, sizeof(nodes), "%s/class/kfd/kfd/topology/nodes", c->sys);
	folder = opendir(nodes);
	while (folder && (entry = readdir(folder))) {
		(void)snprintf(path, sizeof(path), "%s/%s/properties", nodes, entry->d_name);
		if (entry->d_name[0] == '.' ||
		    read_text_at(AT_FDCWD, path, properties, sizeof(properties)) < 0 ||
		    !is_node_of(properties, c->bdf))
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
			(void)snprintf(path, sizeof(path), "%s/%s/%s", nodes, entry->d_name,
				       names[i]);
			(void)snprintf(member, sizeof(member), "kfd/%s", names[i]);
			send_file(fd, path, member);
		}
	}
	if (folder)
		(void)closedir(folder);
}

static int send_card(int fd, void *userdata)
{
	const struct card_source *c = userdata;
	char ras[PATH_MAX + 8];

	send_folder(fd, c->folder, "");
	send_hwmon(fd, c->folder);
	send_node(fd, c);
	(void)snprintf(ras, sizeof(ras), "%s/ras", c->folder);
	send_folder(fd, ras, "ras");
	return 0;
}

/* ---- in the program ---- */

static void add_records(struct bundle *b, const char *bdf, const struct collected *c)
{
	size_t at = 0;

	while (c->size - at >= sizeof(struct record)) {
		struct record r;
		char name[MAX_NAME + 32];

		memcpy(&r, c->data + at, sizeof(r));
		at += sizeof(r);
		/* The last may have been cut. */
		if (r.name_size >= MAX_NAME || r.size > MAX_FILE ||
		    r.name_size + r.size > c->size - at)
			return;
		(void)snprintf(name, sizeof(name), "sysfs/%s/%.*s", bdf, (int)r.name_size,
			       c->data + at);
		bundle_add(b, name, r.mode, c->data + at + r.name_size, r.size);
		at += r.name_size + r.size;
	}
}

static void add_card(struct bundle *b, struct card_source *c)
{
	struct collected collected;
	char what[64];
	int r = collect(send_card, c, MAX_CARD_SIZE, &collected);

	(void)snprintf(what, sizeof(what), "sysfs/%s", c->bdf);
	if (r < 0) {
		bundle_miss(b, what, "%s", strerror(-r));
		return;
	}
	add_records(b, c->bdf, &collected);
	if (collected.timed_out)
		bundle_miss(b, what, "a file was not answered within %d s",
			    COLLECT_QUIET_MS / 1000);
	free(collected.data);
}

/* "card0", but not "card0-DP-1". */
static int is_card(const struct dirent *entry)
{
	const char *name = entry->d_name;

	return strncmp(name, "card", 4) == 0 && name[4] &&
	       strspn(name + 4, "0123456789") == strlen(name + 4);
}

void bundle_add_cards(struct bundle *b, const char *sys)
{
	char drm[PATH_MAX], path[PATH_MAX + 300], vendor[16];
	struct dirent **entries;
	int n;

	(void)snprintf(drm, sizeof(drm), "%s/class/drm", sys);
	n = scandir(drm, &entries, is_card, versionsort);
	for (int i = 0; i < n; i++) {
		struct card_source c = {.sys = sys};

		(void)snprintf(path, sizeof(path), "%s/%s/device/vendor", drm, entries[i]->d_name);
		if (i < MAX_CARDS && read_text_at(AT_FDCWD, path, vendor, sizeof(vendor)) > 0 &&
		    strncmp(vendor, "0x1002", 6) == 0) {
			*strrchr(path, '/') = '\0';
			c.bdf = realpath(path, c.folder) ? strrchr(c.folder, '/') + 1 : "";
			if (pci_bdf_is_valid(c.bdf) && c.bdf[PCI_BDF_LENGTH] == '\0')
				add_card(b, &c);
		}
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
}

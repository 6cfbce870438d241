/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/capture.h"
#include "sim/tree.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>

#define MAX_ENTRIES 20000
#define MAX_BYTES   (64u << 20) /* of all entries, those that are passed over included */
#define BLOCK_SIZE  10240

struct capture *capture_free(struct capture *c)
{
	for (uint32_t i = 0; c && i < c->n_cards; i++)
		for (uint32_t k = 0; k < c->cards[i].n_files; k++)
			free(c->cards[i].files[k].data);
	free(c);
	return NULL;
}

const struct capture_file *capture_find(const struct capture_card *c, const char *path)
{
	for (uint32_t i = 0; i < c->n_files; i++)
		if (strcmp(c->files[i].path, path) == 0)
			return &c->files[i];
	return NULL;
}

bool capture_number(const struct capture_card *c, const char *path, uint64_t *ret)
{
	const struct capture_file *f = capture_find(c, path);
	char text[32];

	if (!f || f->size >= sizeof(text))
		return false;
	(void)snprintf(text, sizeof(text), "%.*s", (int)strcspn(f->data, "\n"), f->data);
	return parse_u64(text, ret) == 0;
}

uint32_t capture_pci_device_id(const struct capture_card *c)
{
	const struct capture_file *f = capture_find(c, "device");
	unsigned int id;

	return f && sscanf(f->data, "0x%4x", &id) == 1 ? id : 0;
}

/* ---- reading ---- */

/* A plain relative path below the card's folder. */
static bool path_is_valid(const char *path)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
				    "_-/";

	return *path && *path != '/' && strlen(path) < CAPTURE_PATH_MAX &&
	       strspn(path, plain) == strlen(path);
}

/* Splits ".../sysfs/ADDRESS/FILE". */
static const char *file_of(const char *name, char ret_bdf[PCI_BDF_LENGTH + 1])
{
	static const char folder[] = "sysfs/";
	const char *at = strstr(name, folder);

	if (!at || (at > name && at[-1] != '/'))
		return NULL;
	at += strlen(folder);
	if (strcspn(at, "/") != PCI_BDF_LENGTH || at[PCI_BDF_LENGTH] != '/')
		return NULL;
	memcpy(ret_bdf, at, PCI_BDF_LENGTH);
	ret_bdf[PCI_BDF_LENGTH] = '\0';
	if (!pci_bdf_is_valid(ret_bdf))
		return NULL;
	at += PCI_BDF_LENGTH + 1;
	return path_is_valid(at) ? at : NULL;
}

/* The card with the address, a new one if there is none; NULL if there are too many. */
static struct capture_card *card_of(struct capture *c, const char *bdf)
{
	for (uint32_t i = 0; i < c->n_cards; i++)
		if (strcmp(c->cards[i].bdf, bdf) == 0)
			return &c->cards[i];
	if (c->n_cards == SIM_MAX_CARDS)
		return NULL;
	(void)snprintf(c->cards[c->n_cards].bdf, sizeof(c->cards[0].bdf), "%s", bdf);
	return &c->cards[c->n_cards++];
}

/* Keeps a file of a card; any other entry is passed over. 0 or -ENOMEM, or -EIO of the archive. */
static int take_entry(struct capture *c, struct archive *a, struct archive_entry *entry)
{
	char bdf[PCI_BDF_LENGTH + 1];
	const char *name = archive_entry_pathname(entry);
	const char *path = name ? file_of(name, bdf) : NULL;
	la_int64_t size = archive_entry_size(entry);
	_cleanup_(freep) char *data = NULL;
	struct capture_card *card;

	if (!path || archive_entry_filetype(entry) != AE_IFREG || size < 0 || size > TREE_FILE_SIZE)
		return 0;
	card = card_of(c, bdf);
	if (!card || card->n_files == CAPTURE_MAX_FILES || capture_find(card, path))
		return 0;
	data = calloc(1, (size_t)size + 1);
	if (!data)
		return -ENOMEM;
	if (archive_read_data(a, data, (size_t)size) != (la_ssize_t)size)
		return -EIO;
	(void)snprintf(card->files[card->n_files].path, CAPTURE_PATH_MAX, "%s", path);
	card->files[card->n_files].size = (size_t)size;
	card->files[card->n_files++].data = TAKE_PTR(data);
	return 0;
}

static int take_entries(struct capture *c, struct archive *a, struct ini_error *error)
{
	struct archive_entry *entry;
	unsigned int n = 0;
	int r;

	while ((r = archive_read_next_header(a, &entry)) >= ARCHIVE_WARN && r != ARCHIVE_EOF) {
		if (++n > MAX_ENTRIES || archive_filter_bytes(a, 0) > MAX_BYTES)
			return ini_error_set(error, -E2BIG, "more than a bundle has");
		r = take_entry(c, a, entry);
		if (r < 0)
			break;
	}
	if (r == -ENOMEM)
		return ini_error_set(error, -ENOMEM, "out of memory");
	if (r != ARCHIVE_EOF)
		return ini_error_set(error, -EBADMSG, "%s",
				     archive_error_string(a) ?: "it is cut short");
	return 0;
}

/* What the simulated machine is made of: cards of one kind that are cards at all. */
static int keep_one_kind(struct capture *c, struct ini_error *error)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < c->n_cards; i++) {
		uint32_t id = capture_pci_device_id(&c->cards[i]);

		if (id > 0 && (kept == 0 || id == capture_pci_device_id(&c->cards[0]))) {
			struct capture_card card = c->cards[i];

			/* The one that was there goes where the files of all are freed. */
			c->cards[i] = c->cards[kept];
			c->cards[kept++] = card;
		}
	}
	for (uint32_t i = kept; i < c->n_cards; i++)
		for (uint32_t k = 0; k < c->cards[i].n_files; k++)
			free(c->cards[i].files[k].data);
	c->n_others = c->n_cards - kept;
	c->n_cards = kept;
	if (kept == 0)
		return ini_error_set(error, -EBADMSG, "there is no card in it");
	return 0;
}

static int read_archive(const char *path, struct archive *a, struct capture *c,
			struct ini_error *error)
{
	int r = archive_read_support_format_tar(a);

	if (r >= ARCHIVE_WARN)
		r = archive_read_open_filename(a, path, BLOCK_SIZE);
	if (r < ARCHIVE_WARN) {
		/* EILSEQ is the library's own for what is no tar. */
		r = archive_errno(a) > 0 && archive_errno(a) != EILSEQ ? -archive_errno(a)
								       : -EBADMSG;
		return ini_error_set(error, r, "%s", archive_error_string(a) ?: "not readable");
	}
	r = take_entries(c, a, error);
	return r < 0 ? r : keep_one_kind(c, error);
}

int capture_load(const char *path, struct capture **ret, struct ini_error *ret_error)
{
	_cleanup_(capture_freep) struct capture *c = calloc(1, sizeof(*c));
	struct archive *a = archive_read_new();
	int r = -ENOMEM;

	*ret_error = (struct ini_error){0};
	if (c && a)
		r = read_archive(path, a, c, ret_error);
	else
		(void)ini_error_set(ret_error, r, "out of memory");
	if (a)
		(void)archive_read_free(a);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

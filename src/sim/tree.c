/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/identity.h"
#include "sim/tree-internal.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>

/* In a path, replaced for each card; as tree_rows has them. */
#define MARKS "bchrn"

#define FIRST_HWMON 3

struct node {
	char name[TREE_NAME_MAX];
	char path[128]; /* below the card's folder, of files */
	char target[160];
	mode_t mode;
	uint32_t parent, child, next; /* indices; 0: none */
	uint32_t card;
	uint32_t owner; /* the card it comes and goes with; TREE_NO_CARD: none */
	bool of_driver; /* and with its driver */
	const struct row *row;
	const char *text; /* in place of the row's; NULL: the row's */
	bool hidden;	  /* the captured card has no such file */
};

/* ---- contents ---- */

void tree_print(struct text *out, const char *format, ...)
{
	size_t room = TREE_FILE_SIZE - out->size;
	va_list ap;
	int n;

	va_start(ap, format);
	n = vsnprintf(out->data + out->size, room, format, ap);
	va_end(ap);
	if (n > 0)
		out->size += MIN((size_t)n, room - 1);
}

/* ---- the fixed part ---- */

/* Replaces the marks for a card. */
static void expand(const char *pattern, const struct card *card, char *ret, size_t size)
{
	size_t n = 0;

	for (const char *p = pattern; *p && n + 1 < size; p++) {
		uint32_t i = card ? card_index(card) : 0;
		const uint32_t numbers[] = {0, i, FIRST_HWMON + i, SIM_FIRST_RENDER_MINOR + i,
					    i + 1};
		int length;

		if (*p != '%') {
			ret[n++] = *p;
			continue;
		}
		p++;
		if (*p == 'b')
			length = snprintf(ret + n, size - n, "%s", card_bdf(card));
		else
			length = snprintf(ret + n, size - n, "%u",
					  numbers[strchr(MARKS, *p) - MARKS]);
		n += MIN((size_t)length, size - n - 1);
	}
	ret[n] = '\0';
}

static uint32_t child_named(const struct tree *t, uint32_t folder, const char *name)
{
	for (uint32_t i = t->nodes[folder].child; i; i = t->nodes[i].next)
		if (strcmp(t->nodes[i].name, name) == 0)
			return i;
	return 0;
}

/* Appends, so that folders list in the table's order. */
static uint32_t add_child(struct tree *t, uint32_t folder, const char *name, mode_t mode)
{
	uint32_t index = t->n_nodes++, *last = &t->nodes[folder].child;
	struct node *n = &t->nodes[index];

	(void)snprintf(n->name, sizeof(n->name), "%s", name);
	n->mode = mode;
	n->parent = folder;
	n->card = TREE_NO_CARD;
	n->owner = t->nodes[folder].owner;
	n->of_driver = t->nodes[folder].of_driver;
	while (*last)
		last = &t->nodes[*last].next;
	*last = index;
	return index;
}

/* The part of a path that faults and the log of writes name a file by. */
static const char *path_in_card(const char *path, const struct card *card)
{
	const char *below = strstr(path, card_bdf(card));

	if (below)
		return below + PCI_BDF_LENGTH + 1;
	return strncmp(path, TREE_KFD "/", strlen(TREE_KFD "/")) == 0 ? path + strlen(TREE_KFD "/")
								      : path;
}

/* What has a mark in its own name comes and goes with the card, and with it all that is below; all
 * but the device's own folder goes with the driver. */
static uint32_t add_owned(struct tree *t, uint32_t folder, const char *name, mode_t mode,
			  const char *pattern, const struct card *card)
{
	uint32_t index = add_child(t, folder, name, mode);
	size_t n = strcspn(pattern, "/");
	struct node *node = &t->nodes[index];

	if (card && node->owner == TREE_NO_CARD && memchr(pattern, '%', n)) {
		node->owner = card_index(card);
		node->of_driver = strncmp(pattern, "%b", n) != 0;
	} else if (node->owner != TREE_NO_CARD) {
		node->of_driver = true;
	}
	return index;
}

static uint32_t add_row(struct tree *t, const struct row *row, const struct card *card)
{
	uint32_t folder = TREE_ROOT, index;
	const char *pattern = row->path;
	char path[256], *rest = path, *name;
	struct node *n;

	expand(row->path, card, path, sizeof(path));
	for (name = strsep(&rest, "/"); rest; name = strsep(&rest, "/")) {
		index = child_named(t, folder, name);
		folder = index ? index : add_owned(t, folder, name, DIR_, pattern, card);
		pattern = strchr(pattern, '/') + 1;
	}
	index = child_named(t, folder, name);
	if (!index)
		index = add_owned(t, folder, name, row->mode, pattern, card);
	n = &t->nodes[index];
	n->row = row;
	n->of_driver = n->owner != TREE_NO_CARD && !row->of_device;
	if (!card)
		return index;
	expand(row->path, card, path, sizeof(path));
	n->card = card_index(card);
	(void)snprintf(n->path, sizeof(n->path), "%.127s", path_in_card(path, card));
	return index;
}

/* The root, the node that is not used, and at most one node for each part of each path. */
static uint32_t max_nodes(uint32_t n_cards)
{
	uint32_t n = 0;

	for (size_t i = 0; i < tree_n_rows; i++) {
		n++;
		for (const char *p = tree_rows[i].path; *p; p++)
			n += *p == '/';
	}
	return 2 + n * n_cards;
}

int tree_new(struct card *const *cards, uint32_t n_cards, struct tree **ret)
{
	_cleanup_(tree_freep) struct tree *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->cards = cards;
	t->n_cards = n_cards;
	t->nodes = calloc(max_nodes(n_cards), sizeof(*t->nodes));
	if (!t->nodes)
		return -ENOMEM;
	t->nodes[TREE_ROOT].mode = DIR_;
	t->nodes[TREE_ROOT].card = t->nodes[TREE_ROOT].owner = TREE_NO_CARD;
	t->n_nodes = TREE_ROOT + 1;
	for (size_t i = 0; i < tree_n_rows; i++) {
		const struct row *row = &tree_rows[i];
		bool per_card = strchr(row->path, '%') != NULL;

		for (uint32_t c = 0; c < (per_card ? n_cards : 1); c++) {
			struct card *card = per_card ? cards[c] : NULL;
			uint32_t index = add_row(t, row, card);
			struct node *n = &t->nodes[index];

			if (S_ISLNK(row->mode))
				expand(row->text, card, n->target, sizeof(n->target));
			if (strcmp(row->path, TREE_KFD "/proc") == 0)
				t->proc = index;
		}
	}
	*ret = TAKE_PTR(t);
	return 0;
}

/* What the capture calls a file of the card's own folder, or false for others: those that a bundle
 * never has are always there. */
static bool captured_name(const struct node *n, char ret[CAPTURE_PATH_MAX])
{
	static const char *const never[] = {"unique_id", "serial_number", "product_number"};
	const char *slash = strrchr(n->path, '/');

	for (size_t i = 0; i < ARRAY_SIZE(never); i++)
		if (strcmp(n->path, never[i]) == 0)
			return false;
	if (!S_ISREG(n->mode) || n->card == TREE_NO_CARD ||
	    (slash && strncmp(n->path, "hwmon/", strlen("hwmon/")) != 0))
		return false;
	(void)snprintf(ret, CAPTURE_PATH_MAX, "%s%.80s", slash ? "hwmon/" : "",
		       slash ? slash + 1 : n->path);
	return true;
}

void tree_use_capture(struct tree *t, const struct capture *c)
{
	for (uint32_t i = TREE_ROOT; i < t->n_nodes; i++) {
		struct node *n = &t->nodes[i];
		char name[CAPTURE_PATH_MAX];
		const struct capture_file *f;

		if (n->card >= c->n_cards || !captured_name(n, name))
			continue;
		f = capture_find(&c->cards[n->card], name);
		n->hidden = !f;
		if (f && n->row->text)
			n->text = f->data;
	}
}

struct tree *tree_free(struct tree *t)
{
	if (t)
		free(t->nodes);
	free(t);
	return NULL;
}

bool tree_has_file(struct tree *t, uint32_t card, const char *file)
{
	size_t n_file = strlen(file);

	for (uint32_t i = TREE_ROOT; i < t->n_nodes; i++) {
		const struct node *n = &t->nodes[i];
		size_t n_path = strlen(n->path);

		if (!S_ISREG(n->mode) || n->card != card || n_path < n_file ||
		    strcmp(n->path + n_path - n_file, file) != 0)
			continue;
		if (n_path == n_file || n->path[n_path - n_file - 1] == '/')
			return true;
	}
	return false;
}

void tree_each_of_cards(struct tree *t,
			void (*f)(void *userdata, uint64_t folder, const char *name),
			void *userdata)
{
	for (uint32_t i = TREE_ROOT + 1; i < t->n_nodes; i++)
		if (t->nodes[i].owner != TREE_NO_CARD)
			f(userdata, t->nodes[i].parent, t->nodes[i].name);
}

/* ---- both parts ---- */

int tree_list_add(struct tree_listing *l, uint64_t node, const char *format, ...)
{
	struct tree_entry *e;
	va_list ap;

	if (l->n == l->room) {
		uint32_t room = MAX(2 * l->room, 64u);

		e = reallocarray(l->entries, room, sizeof(*e));
		if (!e)
			return -ENOMEM;
		l->entries = e;
		l->room = room;
	}
	e = &l->entries[l->n++];
	e->node = node;
	va_start(ap, format);
	(void)vsnprintf(e->name, sizeof(e->name), format, ap);
	va_end(ap);
	return 0;
}

static struct node *fixed_node(struct tree *t, uint64_t node)
{
	return node >= TREE_ROOT && node < t->n_nodes ? &t->nodes[node] : NULL;
}

static bool is_there(const struct tree *t, const struct node *n)
{
	const struct card *card = n->owner == TREE_NO_CARD ? NULL : t->cards[n->owner];

	if (n->hidden)
		return false;
	return !card || (n->of_driver ? card_is_bound(card) : !card_is_removed(card));
}

int tree_info(struct tree *t, uint64_t node, struct tree_info *ret)
{
	const struct node *n = fixed_node(t, node);
	bool is_driver;

	if (process_is_node(node))
		return process_info(t, node, ret);
	if (!n || !is_there(t, n))
		return -ENOENT;
	is_driver = n->row && n->row->is_driver;
	*ret = (struct tree_info){
		.mode = n->mode,
		.fixed = !is_driver,
		.inode = is_driver ? node + (card_binding(t->cards[n->owner]) << 16) : node,
		.of_driver = n->of_driver,
		.card = n->card,
		.path = n->path,
		.target = n->target,
	};
	return 0;
}

int tree_list(struct tree *t, uint64_t folder, struct tree_entry **ret)
{
	const struct node *n = fixed_node(t, folder);
	struct tree_listing l = {0};
	int r = 0;

	if (process_is_node(folder)) {
		r = process_list(t, folder, &l);
	} else if (n && folder == t->proc) {
		r = process_list_all(t, &l);
	} else if (n && S_ISDIR(n->mode)) {
		for (uint32_t i = n->child; i && r == 0; i = t->nodes[i].next)
			if (is_there(t, &t->nodes[i]))
				r = tree_list_add(&l, i, "%s", t->nodes[i].name);
	} else {
		r = n ? -ENOTDIR : -ENOENT;
	}
	if (r < 0) {
		free(l.entries);
		return r;
	}
	*ret = l.entries;
	return (int)l.n;
}

int tree_lookup(struct tree *t, uint64_t folder, const char *name, uint64_t *ret_node)
{
	_cleanup_(freep) struct tree_entry *entries = NULL;
	uint32_t index;
	int n;

	if (!process_is_node(folder) && folder != t->proc) {
		index = fixed_node(t, folder) ? child_named(t, (uint32_t)folder, name) : 0;
		if (!index || !is_there(t, &t->nodes[index]))
			return -ENOENT;
		*ret_node = index;
		return 0;
	}
	n = tree_list(t, folder, &entries);
	for (int i = 0; i < n; i++)
		if (strcmp(entries[i].name, name) == 0) {
			*ret_node = entries[i].node;
			return 0;
		}
	return n < 0 ? n : -ENOENT;
}

ssize_t tree_read(struct tree *t, uint64_t node, char buffer[TREE_FILE_SIZE])
{
	struct text out = {buffer, 0};
	const struct node *n = fixed_node(t, node);
	struct card *card;

	if (process_is_node(node))
		return process_read(t, node, &out);
	if (!n || !n->row)
		return -EISDIR;
	card = n->card == TREE_NO_CARD ? NULL : t->cards[n->card];
	if (n->row->show)
		n->row->show(t, card, n->row->arg, &out);
	else if (n->row->value)
		tree_print(&out, "%llu\n", (unsigned long long)n->row->value(card));
	else
		tree_print(&out, "%s", n->text ?: n->row->text);
	return (ssize_t)out.size;
}

bool tree_is_writable(struct tree *t, uint64_t node)
{
	const struct node *n = fixed_node(t, node);

	return !process_is_node(node) && n && n->row && n->row->write;
}

int tree_write(struct tree *t, uint64_t node, const char *text)
{
	const struct node *n = fixed_node(t, node);

	if (!tree_is_writable(t, node))
		return -EACCES;
	return n->row->write(t->cards[n->card], n->row->arg, text);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the tree share: tree.c has the folders and links, tree-rows.c and
 * tree-topology.c the fixed files, tree-processes.c those that come and go. */
#pragma once

#include "sim/tree.h"
#include <sys/stat.h>

#define DIR_ (S_IFDIR | 0755)
#define RO   (S_IFREG | 0444)

#define TREE_FIRST_GPU_ID 51057 /* any will do: the real one is a hash */
#define TREE_GPU_ID_STEP  1009

struct text {
	char *data; /* of TREE_FILE_SIZE */
	size_t size;
};

struct node;
struct tree {
	struct card *const *cards;
	uint32_t n_cards;
	uint32_t n_nodes, proc; /* proc: KFD's list of processes */
	struct node *nodes;	/* nodes[0] is not used */
};

static inline struct card_view tree_card_view(struct card *card)
{
	struct card_view v;

	card_view(card, &v);
	return v;
}

static inline uint64_t tree_gpu_id(uint32_t index)
{
	return TREE_FIRST_GPU_ID + TREE_GPU_ID_STEP * index;
}

/* ---- tree-rows.c ---- */

#define TREE_KFD "devices/virtual/kfd/kfd"

/* A file, link or folder. In its path and in a link's target "%b" stands for the card's address,
 * "%c" for its number, "%h" and "%r" for those of its hwmon and render node, "%n" for its KFD node.
 */
struct row {
	const char *path;
	mode_t mode;
	/* One of these gives the contents, or the target of a link. */
	const char *text;
	uint64_t (*value)(struct card *card);
	void (*show)(const struct tree *t, struct card *card, int arg, struct text *out);
	int (*write)(struct card *card, int arg, const char *text);
	int arg;
	bool of_device; /* there without a driver, too */
	bool is_driver; /* the link to it, whose inode is another for each binding */
};

extern const struct row tree_rows[]; /* folders list in this order */
extern const size_t tree_n_rows;

/* ---- tree-topology.c ---- */

void topology_show_gpu_properties(const struct tree *t, struct card *card, int arg,
				  struct text *out);
void topology_show_cpu_properties(const struct tree *t, struct card *card, int arg,
				  struct text *out);
void topology_show_link(const struct tree *t, struct card *card, int from_gpu, struct text *out);
void topology_show_vram_bank(const struct tree *t, struct card *card, int arg, struct text *out);

/* ---- tree.c ---- */

void tree_print(struct text *out, const char *format, ...) _printf_(2, 3);

struct tree_listing {
	struct tree_entry *entries;
	uint32_t n, room;
};
/* 0 or -ENOMEM. */
int tree_list_add(struct tree_listing *l, uint64_t node, const char *format, ...) _printf_(3, 4);

/* ---- tree-processes.c ---- */

bool process_is_node(uint64_t node);
/* Of such a node; -ENOENT if it is not there any more. */
int process_info(const struct tree *t, uint64_t node, struct tree_info *ret);
int process_list(const struct tree *t, uint64_t folder, struct tree_listing *l);
/* Its contents; -ENODEV if it is not there any more. */
ssize_t process_read(const struct tree *t, uint64_t node, struct text *out);
/* All that have queues or memory on a card. */
int process_list_all(const struct tree *t, struct tree_listing *l);

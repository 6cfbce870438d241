/* SPDX-License-Identifier: Apache-2.0 */
/* The files of the simulated cards: what /sys/class/{drm,kfd,hwmon} and the folders they link to
 * hold, one table row per file. Folders and contents only; fs.c answers for them to FUSE.
 *
 * A node is named by a 64-bit number: the fixed part of the tree is numbered from TREE_ROOT; the
 * processes in KFD's list come and go, and are encoded in the number itself. */
#pragma once

#include "base/macros.h"
#include "sim/capture.h"
#include "sim/card.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define TREE_ROOT      1
#define TREE_NO_CARD   UINT32_MAX
#define TREE_FILE_SIZE 4096 /* of every sysfs file, and the most that one holds */
#define TREE_NAME_MAX  64

/* The folder below /sys/class where the tree is mounted; the class folders link into it. */
#define TREE_FOLDER ".cofris-sim"

struct tree;

int tree_new(struct card *const *cards, uint32_t n_cards, struct tree **ret);
/* Makes its cards' files those of the captured ones: the same are there, and what the plant does
 * not know reads as it did. c must outlive the tree. */
void tree_use_capture(struct tree *t, const struct capture *c);
struct tree *tree_free(struct tree *t);
DEFINE_CLEANUP(struct tree *, tree_free)

struct tree_info {
	mode_t mode;	    /* type and permissions */
	bool fixed;	    /* stays until a card comes or goes: tree_each_of_cards() */
	uint64_t inode;	    /* as stat() shows it */
	bool of_driver;	    /* not of the device alone */
	uint32_t card;	    /* TREE_NO_CARD: of none */
	const char *path;   /* below the card's folder; valid as long as the tree. Fixed files */
	const char *target; /* of a link */
};

/* 0, or -ENOENT for a node that is not there (any more, or while its card or driver is gone). */
int tree_info(struct tree *t, uint64_t node, struct tree_info *ret);
int tree_lookup(struct tree *t, uint64_t folder, const char *name, uint64_t *ret_node);

struct tree_entry {
	uint64_t node;
	char name[TREE_NAME_MAX];
};
/* The entries of a folder, "." and ".." not among them. Returns their number and a list to free(),
 * or a negative errno. */
int tree_list(struct tree *t, uint64_t folder, struct tree_entry **ret);

/* The contents of a file now. Returns their length, at most TREE_FILE_SIZE, or a negative errno as
 * the kernel gives it. */
ssize_t tree_read(struct tree *t, uint64_t node, char buffer[TREE_FILE_SIZE]);
bool tree_is_writable(struct tree *t, uint64_t node);
/* A write of NUL-terminated text. */
int tree_write(struct tree *t, uint64_t node, const char *text);

/* Calls f for each fixed node that comes and goes with a card. */
void tree_each_of_cards(struct tree *t,
			void (*f)(void *userdata, uint64_t folder, const char *name),
			void *userdata);

/* Whether some fixed file of the card has a path that ends in file, at a component. */
bool tree_has_file(struct tree *t, uint32_t card, const char *file);

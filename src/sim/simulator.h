/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a simulator, made and connected. */
#pragma once

#include "sim/capture.h"
#include "sim/card.h"
#include "sim/control.h"
#include "sim/faults.h"
#include "sim/fs.h"
#include "sim/options.h"
#include "sim/tree.h"
#include "sim/write-log.h"
#include <limits.h>

/* What the simulator consists of, in the order in which it is made. */
struct simulator {
	char folder[PATH_MAX - 32], machine_path[PATH_MAX], control_path[PATH_MAX],
		log_path[PATH_MAX];
	struct plant_device *device;
	struct capture *capture; /* or NULL */
	struct sim_machine *machine;
	struct card *cards[SIM_MAX_CARDS];
	uint32_t n_cards;
	struct faults *faults;
	struct tree *tree;
	struct write_log *log;
	struct fs *fs;
	struct control *control;
};

/* Of one of its files. 0 or -ENAMETOOLONG. */
int simulator_path(char *ret, size_t size, const char *folder, const char *name);

/* Return 0, or a negative errno after saying what is wrong. */

/* Makes the folder of the files and their paths; by default one that goes away with the private
 * /dev/shm. */
int simulator_make_folder(struct simulator *s, const struct options *o);
/* In the namespaces: everything that answers when COMMAND looks. */
int simulator_start(struct simulator *s, const struct options *o);

/* Removes the files of a folder that outlives the simulator, but for the log. */
void simulator_tidy(const struct options *o);

/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket: a client sends one line, shuts its side and reads the answer, which begins
 * with "ok" or "error: ..." on a line of its own. */
#pragma once

#include "base/macros.h"
#include "sim/faults.h"
#include "sim/fs.h"
#include "sim/tree.h"
#include "sim/write-log.h"

#define CONTROL_ENV "COFRIS_SIM_CONTROL" /* path of the socket, set for COMMAND */

struct control;

/* What the commands work on; all must outlive the control. */
struct control_targets {
	struct sim_machine *machine;
	struct card *const *cards;
	uint32_t n_cards;
	struct faults *faults;
	struct tree *tree;
	struct fs *fs;
	struct write_log *log;
};

/* Binds the socket (0600) and starts the thread that answers. */
int control_new(const char *path, const struct control_targets *targets, struct control **ret);
struct control *control_free(struct control *c);
DEFINE_CLEANUP(struct control *, control_free)

/* Adds a fault, as the command does: also checks its file, and releases what it no longer holds. */
int control_add_fault(const struct control_targets *t, const char *spec,
		      struct fault_error *ret_error);

/* The client: sends command and copies the answer to stdout, or the error to the log. Returns 0 or
 * a negative errno. */
int control_call(const char *path, const char *command);

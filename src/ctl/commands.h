/* SPDX-License-Identifier: Apache-2.0 */
/* What each command does, but for the short ones in commands.c. */
#pragma once

#include "ctl/options.h"

/* The word i as a card's address; "*" if it was not given. 0, or -EINVAL after saying what is
 * wrong.
 */
int command_gpu(const struct ctl *ctl, int i, const char **ret);
/* --reason, or by_default. 0, or -EINVAL after saying what is wrong. */
int command_reason(const struct ctl *ctl, const char *by_default, const char **ret);

enum ctl_exit run_hold(struct ctl *ctl);
enum ctl_exit run_health(struct ctl *ctl);
enum ctl_exit run_metrics(struct ctl *ctl);
enum ctl_exit run_top(struct ctl *ctl);
enum ctl_exit run_help(struct ctl *ctl);
enum ctl_exit run_completion(struct ctl *ctl);

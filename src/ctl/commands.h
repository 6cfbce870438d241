/* SPDX-License-Identifier: Apache-2.0 */
/* What each command does: the short ones in commands.c, others in files of their own. */
#pragma once

#include "ctl/options.h"

/* The word i as a card's address; "*" if it was not given. 0, or -EINVAL after saying what is
 * wrong.
 */
int command_gpu(const struct ctl *ctl, int i, const char **ret);
/* --reason, or by_default. 0, or -EINVAL after saying what is wrong. */
int command_reason(const struct ctl *ctl, const char *by_default, const char **ret);

enum ctl_exit run_status(struct ctl *ctl);
enum ctl_exit run_top(struct ctl *ctl);
enum ctl_exit run_table(struct ctl *ctl);
enum ctl_exit run_explain(struct ctl *ctl);
enum ctl_exit run_verify(struct ctl *ctl);
enum ctl_exit run_health(struct ctl *ctl);
enum ctl_exit run_metrics(struct ctl *ctl);
enum ctl_exit run_hold(struct ctl *ctl);
enum ctl_exit run_pause(struct ctl *ctl);
enum ctl_exit run_resume(struct ctl *ctl);
enum ctl_exit run_cap(struct ctl *ctl);
enum ctl_exit run_reload(struct ctl *ctl);
enum ctl_exit run_config_check(struct ctl *ctl);
enum ctl_exit run_debug_bundle(struct ctl *ctl);
enum ctl_exit run_version(struct ctl *ctl);
enum ctl_exit run_help(struct ctl *ctl);
enum ctl_exit run_completion(struct ctl *ctl);

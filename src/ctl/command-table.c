/* SPDX-License-Identifier: Apache-2.0 */
#include "base/macros.h"
#include "ctl/commands.h"
#include <limits.h>

static const struct command commands[] = {
	{
		.name = "status",
		.words = "",
		.text = "what is governed, and how",
		.run = run_status,
	},
	{
		.name = "top",
		.words = "",
		.text = "the same live, once a second",
		.options = OPTION_BIT(OPTION_ONCE),
		.run = run_top,
	},
	{
		.name = "table",
		.words = "MODEL",
		.text = "the model's response table in force",
		.min_words = 1,
		.max_words = 1,
		.completion = {COMPLETE_MODEL},
		.run = run_table,
	},
	{
		.name = "explain",
		.words = "[GPU]",
		.text = "why the cards run as they do, or would",
		.max_words = 1,
		.options =
			OPTION_BIT(OPTION_MODEL) | OPTION_BIT(OPTION_RPS) | OPTION_BIT(OPTION_LAST),
		.completion = {COMPLETE_GPU},
		.run = run_explain,
	},
	{
		.name = "verify",
		.words = "[GPU]",
		.text = "whether the cards are as they should be",
		.max_words = 1,
		.completion = {COMPLETE_GPU},
		.run = run_verify,
	},
	{
		.name = "health",
		.words = "",
		.text = "one line for a monitor: 0 good, 1 warning, 2 critical",
		.run = run_health,
	},
	{
		.name = "metrics",
		.words = "",
		.text = "OpenMetrics text, for a textfile collector",
		.run = run_metrics,
	},
	{
		.name = "hold",
		.words = "MODEL [-- COMMAND...]",
		.text = "full speed while COMMAND runs, or until Ctrl-C",
		.min_words = 1,
		.max_words = INT_MAX,
		.options = OPTION_BIT(OPTION_LEVEL) | OPTION_BIT(OPTION_REASON),
		.completion = {COMPLETE_MODEL, COMPLETE_COMMAND},
		.run = run_hold,
	},
	{
		.name = "pause",
		.words = "[GPU]",
		.text = "leave a card alone until 'resume'",
		.max_words = 1,
		.options = OPTION_BIT(OPTION_FOR) | OPTION_BIT(OPTION_REASON),
		.completion = {COMPLETE_GPU},
		.run = run_pause,
	},
	{
		.name = "resume",
		.words = "[GPU]",
		.text = "govern it again",
		.max_words = 1,
		.completion = {COMPLETE_GPU},
		.run = run_resume,
	},
	{
		.name = "cap",
		.words = "[GPU] [POWER|off|config]",
		.text = "list power caps, or set one",
		.max_words = 2,
		.completion = {COMPLETE_GPU, "off config"},
		.run = run_cap,
	},
	{
		.name = "reload",
		.words = "",
		.text = "read the configuration and surfaces again",
		.run = run_reload,
	},
	{
		.name = "config check",
		.words = "[FILE]",
		.text = "check the configuration, without a daemon",
		.max_words = 1,
		.completion = {COMPLETE_FILE},
		.run = run_config_check,
	},
	{
		.name = "debug bundle",
		.words = "[FILE]",
		.text = "a tar of all that a report needs",
		.max_words = 1,
		.completion = {COMPLETE_FILE},
		.run = run_debug_bundle,
	},
	{
		.name = "version",
		.words = "",
		.text = "versions of this program and the daemon",
		.run = run_version,
	},
	{
		.name = "help",
		.words = "[COMMAND]",
		.text = "this text, or about a command",
		.max_words = 2,
		.completion = {COMPLETE_NAME},
		.run = run_help,
	},
	{
		.name = "completion",
		.words = "bash|gpus|models",
		.text = "for the shell's completion",
		.min_words = 1,
		.max_words = 1,
		.completion = {"bash gpus models"},
		.run = run_completion,
		.hidden = true,
	},
};

const struct command *command_at(size_t i)
{
	return i < ARRAY_SIZE(commands) ? &commands[i] : NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* cofrisctl: what an operator asks of cofrisd (cofrisctl(1)). */
#include "base/log.h"
#include "ctl/commands.h"

/* Of a wrong command line. A monitor takes 2 for critical, and 3 for not to know. */
static enum ctl_exit usage_status(const struct ctl *ctl)
{
	return ctl->command && ctl->command->run == run_health ? CTL_UNREACHABLE : CTL_USAGE;
}

int main(int argc, char **argv)
{
	struct ctl ctl = {0};
	int status;

	log_init("cofrisctl", LOG_INFO);
	if (options_parse(argc, argv, &ctl) < 0) {
		status = (int)usage_status(&ctl);
	} else {
		status = (int)ctl.command->run(&ctl);
		if (ctl.client.error[0])
			log_error("%s", ctl.client.error);
	}
	ctl_client_deinit(&ctl.client);
	return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* cofrisctl: what an operator asks of cofrisd (cofrisctl(1)). */
#include "base/log.h"
#include "ctl/options.h"

int main(int argc, char **argv)
{
	struct ctl ctl = {0};
	int status = CTL_USAGE;

	log_init("cofrisctl", LOG_INFO);
	if (options_parse(argc, argv, &ctl) >= 0) {
		status = (int)ctl.command->run(&ctl);
		if (ctl.client.error[0])
			log_error("%s", ctl.client.error);
	}
	ctl_client_deinit(&ctl.client);
	return status;
}

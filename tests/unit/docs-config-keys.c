/* SPDX-License-Identifier: Apache-2.0 */
/* Prints what cofrisd's configuration knows, a line "section key default" each, for
 * test-docs.py. */
#include "daemon/config.h"

int main(void)
{
	struct config_key key;

	for (unsigned int i = 0; config_key_at(i, &key); i++)
		(void)printf("%s\t%s\t%s\n", key.section, key.key, key.fallback);
	return fflush(stdout) == 0 ? 0 : 1;
}

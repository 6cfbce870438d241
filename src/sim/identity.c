/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/identity.h"
#include <string.h>

uint64_t sim_unique_id(uint32_t index)
{
	return plant_hash(0, index) | 1;
}

uint32_t sim_location_id(const char *bdf)
{
	unsigned int domain, bus, device, function;

	if (sscanf(bdf, "%4x:%2x:%2x.%1x", &domain, &bus, &device, &function) != 4)
		return 0;
	return bus << 8 | device << 3 | function;
}

uint32_t sim_gfx_target_version(const char *gfx)
{
	unsigned long digits = strtoul(gfx + strcspn(gfx, "0123456789"), NULL, 16);
	uint32_t stepping = digits & 0xf, minor = digits >> 4 & 0xf;
	uint32_t major = (uint32_t)((digits >> 8 & 0xf) + 10 * (digits >> 12 & 0xf));

	return major * 10000 + minor * 100 + stepping;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "test-gpu-fixture.h"
#include "base/fsio.h"
#include "base/macros.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x)) {                                                                        \
			(void)fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #x,           \
				      strerror(errno));                                            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static const char *join(const struct gpu_tree *t, const char *path)
{
	static char buffer[PATH_MAX];

	(void)snprintf(buffer, sizeof(buffer), "%s/%s", t->root, path);
	return buffer;
}

void gpu_tree_write_bytes(const struct gpu_tree *t, const char *path, const void *b, size_t n)
{
	const char *full = join(t, path);
	int fd;

	CHECK(make_parent_folders(full, 0755) == 0);
	fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	CHECK(fd >= 0);
	CHECK(write(fd, b, n) == (ssize_t)n);
	CHECK(close(fd) == 0);
}

void gpu_tree_write(const struct gpu_tree *t, const char *path, const char *text)
{
	gpu_tree_write_bytes(t, path, text, strlen(text));
}

const char *gpu_tree_read(const struct gpu_tree *t, const char *path)
{
	static char text[4096];

	CHECK(read_text_at(AT_FDCWD, join(t, path), text, sizeof(text)) >= 0);
	return text;
}

static int remove_one(const char *path, _unused_ const struct stat *st, _unused_ int flag,
		      _unused_ struct FTW *ftw)
{
	return remove(path);
}

void gpu_tree_remove(const struct gpu_tree *t, const char *path)
{
	CHECK(nftw(join(t, path), remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

void gpu_tree_destroy(struct gpu_tree *t)
{
	if (t->root[0])
		(void)nftw(t->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	t->root[0] = '\0';
}

void gpu_metrics_v1_0(unsigned char ret[80])
{
	static const struct {
		unsigned char offset, low, high;
	} words[] = {{0, 80, 0},  {2, 1, 0},	    {18, 44, 0},      {28, 37, 0},
		     {34, 21, 0}, {36, 0xff, 0xff}, {38, 0xff, 0xff}, {54, 0x77, 0x04}};

	memset(ret, 0, 80);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		ret[words[i].offset] = words[i].low;
		ret[words[i].offset + 1] = words[i].high;
	}
}

static const struct {
	const char *path, *text;
} device_files[] = {
	{"vendor", "0x1002\n"},
	{"device", "0x66a1\n"},
	{"vbios_version", "113-D1631400-111\n"},
	{"unique_id", "21700172fd7f1234\n"},
	{"product_name", "Radeon Instinct MI50 16GB\n"},
	{"power_dpm_force_performance_level", "auto\n"},
	{"pp_dpm_sclk", "0: 925Mhz \n1: 930Mhz *\n2: 1032Mhz \n3: 1143Mhz \n4: 1282Mhz \n"
			"5: 1386Mhz \n6: 1485Mhz \n7: 1606Mhz \n8: 1725Mhz \n"},
	{"gpu_busy_percent", "37\n"},
	{"hwmon/hwmon3/name", "amdgpu\n"},
	{"hwmon/hwmon3/in0_label", "vddgfx\n"},
	{"hwmon/hwmon3/temp1_label", "edge\n"},
	{"hwmon/hwmon3/temp1_input", "41000\n"},
	{"hwmon/hwmon3/temp2_label", "junction\n"},
	{"hwmon/hwmon3/temp2_input", "44000\n"},
	{"hwmon/hwmon3/temp3_label", "mem\n"},
	{"hwmon/hwmon3/temp3_input", "39000\n"},
	{"hwmon/hwmon3/freq1_input", "1143000000\n"},
	{"hwmon/hwmon3/power1_average", "21000000\n"},
	{"hwmon/hwmon3/power1_cap", "225000000\n"},
	{"hwmon/hwmon3/power1_cap_min", "0\n"},
	{"hwmon/hwmon3/power1_cap_max", "225000000\n"},
	{"hwmon/hwmon3/power1_cap_default", "225000000\n"},
};

static void create_card(const struct gpu_tree *t, int index)
{
	unsigned char metrics[80];
	char path[256], target[256], device[128], properties[1024];

	(void)snprintf(device, sizeof(device), "devices/pci0000:40/0000:%x:00.0", 0x43 + index);
	for (size_t i = 0; i < ARRAY_SIZE(device_files); i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", device, device_files[i].path);
		gpu_tree_write(t, path, device_files[i].text);
	}
	gpu_metrics_v1_0(metrics);
	(void)snprintf(path, sizeof(path), "%s/gpu_metrics", device);
	gpu_tree_write_bytes(t, path, metrics, sizeof(metrics));
	(void)snprintf(path, sizeof(path), "%s/drm/card%d/dev", device, index);
	gpu_tree_write(t, path, "226:0\n");
	(void)snprintf(path, sizeof(path), "%s/drm/card%d/device", device, index);
	CHECK(symlink("../..", join(t, path)) == 0);
	(void)snprintf(path, sizeof(path), "%s/driver", device);
	CHECK(symlink("../../../bus/pci/drivers/amdgpu", join(t, path)) == 0);
	(void)snprintf(path, sizeof(path), "class/drm/card%d", index);
	(void)snprintf(target, sizeof(target), "../../%s/drm/card%d", device, index);
	CHECK(make_parent_folders(join(t, path), 0755) == 0);
	CHECK(symlink(target, join(t, path)) == 0);
	(void)snprintf(properties, sizeof(properties),
		       "cpu_cores_count 0\nsimd_count 240\nmax_waves_per_simd 10\narray_count 4\n"
		       "simd_arrays_per_engine 1\ncu_per_simd_array 16\nsimd_per_cu 4\n"
		       "gfx_target_version 90006\nvendor_id 4098\ndevice_id 26273\n"
		       "location_id %d\ndomain 0\nhive_id 0\n",
		       (0x43 + index) << 8);
	(void)snprintf(path, sizeof(path), "class/kfd/kfd/topology/nodes/%d/properties", index + 1);
	gpu_tree_write(t, path, properties);
	(void)snprintf(path, sizeof(path), "class/kfd/kfd/topology/nodes/%d/gpu_id", index + 1);
	gpu_tree_write(t, path, index == 0 ? "51057\n" : "51058\n");
}

void gpu_tree_create(struct gpu_tree *t, int n_cards)
{
	(void)snprintf(t->root, sizeof(t->root), "/tmp/cofris-tree.XXXXXX");
	CHECK(mkdtemp(t->root));
	gpu_tree_write(t, "class/kfd/kfd/topology/nodes/0/gpu_id", "0\n");
	gpu_tree_write(t, "class/kfd/kfd/topology/nodes/0/properties", "cpu_cores_count 16\n");
	gpu_tree_write(t, "class/drm/version", "drm 1.1.0 20060810\n");
	for (int i = 0; i < n_cards; i++)
		create_card(t, i);
}

void gpu_tree_add_process(const struct gpu_tree *t, int pid, int n_queues, unsigned int gpu_id)
{
	char path[128], text[16];

	(void)snprintf(text, sizeof(text), "%u\n", gpu_id);
	for (int i = 0; i < n_queues; i++) {
		(void)snprintf(path, sizeof(path), "class/kfd/kfd/proc/%d/queues/%d/gpuid", pid, i);
		gpu_tree_write(t, path, text);
	}
}

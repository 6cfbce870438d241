/* SPDX-License-Identifier: Apache-2.0 */
/* Cards made of bundles, also of those that nobody has made with good intentions. */
#include "sim/capture.h"
#include "support/cmocka-includes.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define BDF  "0000:0b:00.0"
#define MI50 COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini"

struct member {
	const char *name, *data;
	mode_t type;   /* 0: a file */
	size_t size;   /* 0: of data */
	uint32_t many; /* so many, with a number behind the name */
};

struct fixture {
	char folder[64], tar[96], ini[96];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	(void)strcpy(f->folder, "/tmp/test-sim-capture.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	(void)snprintf(f->tar, sizeof(f->tar), "%s/x.tar", f->folder);
	(void)snprintf(f->ini, sizeof(f->ini), "%s/x.ini", f->folder);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)remove(f->tar);
	(void)remove(f->ini);
	/* Nothing else was unpacked: the folder is empty. */
	assert_int_equal(rmdir(f->folder), 0);
	free(f);
	return 0;
}

static void add(struct archive *a, const struct member *m, const char *name)
{
	struct archive_entry *entry = archive_entry_new();
	size_t size = m->size ?: strlen(m->data);
	char *data = calloc(1, size + 1);

	assert_non_null(data);
	memcpy(data, m->data, MIN(size, strlen(m->data)));
	archive_entry_set_pathname(entry, name);
	archive_entry_set_filetype(entry, m->type ?: AE_IFREG);
	archive_entry_set_perm(entry, 0644);
	if (m->type == AE_IFLNK)
		archive_entry_set_symlink(entry, m->data);
	else
		archive_entry_set_size(entry, (la_int64_t)size);
	assert_true(archive_write_header(a, entry) >= ARCHIVE_WARN);
	if (!m->type)
		assert_int_equal(archive_write_data(a, data, size), size);
	archive_entry_free(entry);
	free(data);
}

static void write_tar(const char *path, const struct member *members, size_t n)
{
	struct archive *a = archive_write_new();

	assert_int_equal(archive_write_set_format_pax_restricted(a), ARCHIVE_OK);
	assert_int_equal(archive_write_open_filename(a, path), ARCHIVE_OK);
	for (size_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < MAX(members[i].many, 1u); k++) {
			char name[256];

			(void)snprintf(name, sizeof(name), members[i].many ? "%s%u" : "%s",
				       members[i].name, k);
			add(a, &members[i], name);
		}
	assert_int_equal(archive_write_free(a), ARCHIVE_OK);
}

#define IN(bdf, file) "cofris-bundle/sysfs/" bdf "/" file

/* An MI60: the same die with all its CUs, more memory, its own clocks. */
static const struct member mi60[] = {
	{"cofris-bundle/status.json", "{}", 0, 0, 0},
	{IN(BDF, "device"), "0x66a1\n", 0, 0, 0},
	{IN(BDF, "product_name"), "Radeon Instinct; [MI60]\n", 0, 0, 0},
	{IN(BDF, "mem_info_vram_total"), "34342961152\n", 0, 0, 0},
	{IN(BDF, "pp_dpm_sclk"), "0: 700Mhz *\n1: 925Mhz \n2: 1281Mhz \n3: 1800Mhz \n", 0, 0, 0},
	{IN(BDF, "pp_dpm_mclk"), "0: 350Mhz *\n1: 1000Mhz \n", 0, 0, 0},
	{IN(BDF, "hwmon/power1_cap_max"), "300000000\n", 0, 0, 0},
	{IN(BDF, "hwmon/power1_cap_default"), "250000000\n", 0, 0, 0},
	{IN(BDF, "hwmon/temp1_crit"), "94000\n", 0, 0, 0},
	{IN(BDF, "hwmon/temp1_emergency"), "99000\n", 0, 0, 0},
	{IN(BDF, "kfd/properties"),
	 "simd_count 256\narray_count 4\nsimd_arrays_per_engine 1\ncu_per_simd_array 16\n"
	 "simd_per_cu 4\nmax_waves_per_simd 10\nlds_size_in_kb 64\ngfx_target_version 90006\n",
	 0, 0, 0},
};

static void test_a_profile_has_what_the_files_tell(void **state)
{
	struct fixture *f = *state;
	struct plant_device *base, *d;
	struct ini_error error;
	struct capture *c;

	write_tar(f->tar, mi60, ARRAY_SIZE(mi60));
	assert_int_equal(capture_load(f->tar, &c, &error), 0);
	assert_int_equal(c->n_cards, 1);
	assert_string_equal(c->cards[0].bdf, BDF);
	assert_int_equal(plant_device_load(MI50, &base, &error), 0);
	assert_int_equal(capture_write_device(c, MI50, base, f->ini, &error), 0);
	if (plant_device_load(f->ini, &d, &error) < 0)
		fail_msg("line %u: %s", error.line, error.text);
	/* What would be a comment in a profile is none of its name. */
	assert_string_equal(d->product, "Radeon Instinct? ?MI60?");
	assert_string_equal(d->gfx, "gfx906");
	assert_int_equal(cu_topology_cus(&d->topology), 64);
	assert_int_equal(d->vram_bytes, UINT64_C(34342961152) >> 20 << 20);
	assert_int_equal(d->n_levels, 4);
	assert_int_equal(d->level_mhz[3], 1800);
	/* 741 mV at 925 MHz, below and above as at the ends. */
	assert_true(d->level_mv[0] == 741 && d->level_mv[1] == 741 && d->level_mv[3] == 1058);
	assert_int_equal(d->n_mclk, 2);
	assert_true(d->cap_w == 250 && d->cap_max_w == 300 && d->cap_min_w == 0);
	assert_true(d->throttle_c == 94 && d->emergency_c == 99);
	assert_true(d->pj_per_flop == base->pj_per_flop);
	free(d);
	free(base);
	capture_free(c);
}

static void test_what_a_capture_lacks_is_the_bases(void **state)
{
	static const struct member bare[] = {{IN(BDF, "device"), "0x66a1\n", 0, 0, 0}};
	struct fixture *f = *state;
	struct plant_device *base, *d;
	struct ini_error error;
	struct capture *c;

	write_tar(f->tar, bare, ARRAY_SIZE(bare));
	assert_int_equal(capture_load(f->tar, &c, &error), 0);
	assert_int_equal(plant_device_load(MI50, &base, &error), 0);
	assert_int_equal(capture_write_device(c, MI50, base, f->ini, &error), 0);
	assert_int_equal(plant_device_load(f->ini, &d, &error), 0);
	assert_memory_equal(d, base, sizeof(*d));
	free(d);
	free(base);
	capture_free(c);
}

static void test_cards_of_another_kind_are_left_out(void **state)
{
	static const struct member members[] = {
		{IN("0000:01:00.0", "product_name"), "no id\n", 0, 0, 0},
		{IN("0000:02:00.0", "device"), "0x66a1\n", 0, 0, 0},
		{IN("0000:03:00.0", "device"), "0x738c\n", 0, 0, 0},
		{IN("0000:04:00.0", "device"), "0x66a1\n", 0, 0, 0},
	};
	struct fixture *f = *state;
	struct ini_error error;
	struct capture *c;

	write_tar(f->tar, members, ARRAY_SIZE(members));
	assert_int_equal(capture_load(f->tar, &c, &error), 0);
	assert_int_equal(c->n_cards, 2);
	assert_int_equal(c->n_others, 2);
	assert_string_equal(c->cards[0].bdf, "0000:02:00.0");
	assert_string_equal(c->cards[1].bdf, "0000:04:00.0");
	capture_free(c);
}

static void test_hostile_entries_are_passed_over(void **state)
{
	static const struct member members[] = {
		{IN(BDF, "device"), "0x66a1\n", 0, 0, 0},
		{IN(BDF, "../../escaped"), "x", 0, 0, 0},
		{IN(BDF, "/absolute"), "x", 0, 0, 0},
		{"/sysfs/" BDF "/..", "x", 0, 0, 0},
		{IN(BDF, "vendor"), "/etc/passwd", AE_IFLNK, 0, 0},
		{IN(BDF, "class"), "", AE_IFDIR, 0, 0},
		{IN(BDF, "revision"), "", AE_IFIFO, 0, 0},
		{IN(BDF, "uevent"), "", AE_IFCHR, 0, 0},
		{IN(BDF, "pp_table"), "x", 0, 4097, 0},
		{IN(BDF, "gpu_metrics"), "x", 0, 4096, 0},
		/* The first one counts. */
		{IN(BDF, "device"), "0x1234\n", 0, 0, 0},
		{IN("0000:0b:00.g", "device"), "0x66a1\n", 0, 0, 0},
		{"cofris-bundle/notsysfs/" BDF "/name", "x", 0, 0, 0},
		{IN(BDF, "a-name-that-is-as-long-as-a-name-in-sysfs-never-is-and-then-some-more-of-"
			 "it-until-it-is-too-long"),
		 "x", 0, 0, 0},
	};
	struct fixture *f = *state;
	struct ini_error error;
	struct capture *c;

	write_tar(f->tar, members, ARRAY_SIZE(members));
	assert_int_equal(capture_load(f->tar, &c, &error), 0);
	assert_int_equal(c->n_cards, 1);
	assert_int_equal(c->cards[0].n_files, 2);
	assert_int_equal(capture_pci_device_id(&c->cards[0]), 0x66a1);
	assert_int_equal(capture_find(&c->cards[0], "gpu_metrics")->size, 4096);
	capture_free(c);
}

static void test_what_there_is_too_much_of_is_bounded(void **state)
{
	static const struct member files[] = {
		{IN(BDF, "device"), "0x66a1\n", 0, 0, 0},
		{IN(BDF, "hwmon/temp"), "1\n", 0, 0, 1000},
	};
	static const struct member entries[] = {
		{IN(BDF, "device"), "0x66a1\n", 0, 0, 0},
		{"x", "", 0, 0, 20000},
	};
	static const struct member large[] = {{"x", "", 0, 65u << 20, 2}};
	struct fixture *f = *state;
	struct ini_error error;
	struct capture *c;

	write_tar(f->tar, files, ARRAY_SIZE(files));
	assert_int_equal(capture_load(f->tar, &c, &error), 0);
	assert_int_equal(c->cards[0].n_files, CAPTURE_MAX_FILES);
	capture_free(c);
	write_tar(f->tar, entries, ARRAY_SIZE(entries));
	assert_int_equal(capture_load(f->tar, &c, &error), -E2BIG);
	write_tar(f->tar, large, ARRAY_SIZE(large));
	assert_int_equal(capture_load(f->tar, &c, &error), -E2BIG);
}

static void test_what_is_no_bundle_is_refused(void **state)
{
	static const struct member empty[] = {{"cofris-bundle/status.json", "{}", 0, 0, 0}};
	struct fixture *f = *state;
	struct ini_error error;
	struct capture *c;
	struct stat st;
	FILE *file;

	assert_int_equal(capture_load("/nonexistent.tar", &c, &error), -ENOENT);
	write_tar(f->tar, empty, ARRAY_SIZE(empty));
	assert_int_equal(capture_load(f->tar, &c, &error), -EBADMSG);
	assert_string_equal(error.text, "there is no card in it");
	file = fopen(f->tar, "w");
	assert_non_null(file);
	for (int i = 0; i < 4096; i++)
		(void)fputc("no tar at all"[i % 13], file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(capture_load(f->tar, &c, &error), -EBADMSG);
	/* Wherever one is cut it is either taken or refused. */
	write_tar(f->tar, mi60, ARRAY_SIZE(mi60));
	assert_int_equal(stat(f->tar, &st), 0);
	for (off_t size = st.st_size - 1; size > 0; size -= 97) {
		assert_int_equal(truncate(f->tar, size), 0);
		if (capture_load(f->tar, &c, &error) == 0)
			capture_free(c);
	}
}

static void test_values_that_contradict_each_other_make_no_card(void **state)
{
	static const struct {
		const char *file, *data;
	} cases[] = {
		{"hwmon/power1_cap_max", "99999000000\n"},
		{"pp_dpm_sclk", "0: 4000000Mhz *\n"},
		{"kfd/properties", "simd_count 256\narray_count 3\nsimd_arrays_per_engine 2\n"
				   "simd_per_cu 4\n"},
		{"kfd/properties", "simd_count 1000000\narray_count 4\nsimd_arrays_per_engine 1\n"
				   "simd_per_cu 4\n"},
		{"mem_info_vram_total", "18446744073709551615\n"},
	};
	struct fixture *f = *state;
	struct plant_device *base, *d;
	struct ini_error error;

	assert_int_equal(plant_device_load(MI50, &base, &error), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char name[128];
		const struct member members[] = {
			{IN(BDF, "device"), "0x66a1\n", 0, 0, 0},
			{name, cases[i].data, 0, 0, 0},
		};
		struct capture *c;
		int r;

		(void)snprintf(name, sizeof(name), IN(BDF, "%s"), cases[i].file);
		write_tar(f->tar, members, ARRAY_SIZE(members));
		assert_int_equal(capture_load(f->tar, &c, &error), 0);
		r = capture_write_device(c, MI50, base, f->ini, &error);
		if (r == 0)
			r = plant_device_load(f->ini, &d, &error);
		if (r >= 0)
			fail_msg("case %zu is a card", i);
		assert_true(error.text[0]);
		capture_free(c);
	}
	free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_profile_has_what_the_files_tell, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_what_a_capture_lacks_is_the_bases, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_cards_of_another_kind_are_left_out, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_hostile_entries_are_passed_over, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_what_there_is_too_much_of_is_bounded, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_what_is_no_bundle_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_values_that_contradict_each_other_make_no_card,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

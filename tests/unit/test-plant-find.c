/* SPDX-License-Identifier: Apache-2.0 */
/* Where profiles are looked for. */
#include "plant/profiles.h"
#include "support/cmocka-includes.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define FOLDER "profiles-XXXXXX"

struct fixture {
	char folder[64], path[128];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char models[80];
	FILE *file;

	(void)snprintf(f->folder, sizeof(f->folder), "/tmp/cofris-" FOLDER);
	if (!mkdtemp(f->folder))
		return -1;
	(void)snprintf(models, sizeof(models), "%s/models", f->folder);
	(void)snprintf(f->path, sizeof(f->path), "%s/mine.ini", models);
	if (mkdir(models, 0700) < 0)
		return -1;
	file = fopen(f->path, "we");
	if (!file)
		return -1;
	(void)fclose(file);
	*state = f;
	return setenv("COFRIS_PROFILES", f->folder, 1);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)unsetenv("COFRIS_PROFILES");
	(void)unlink(f->path);
	*strrchr(f->path, '/') = '\0';
	(void)rmdir(f->path);
	(void)rmdir(f->folder);
	free(f);
	return 0;
}

static void test_a_name_is_looked_for_and_a_path_is_taken(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *kind, *name, *path; /* NULL: the fixture's */
		int r;
	} rows[] = {
		{"models", "mine", NULL, 0},
		{"devices", "mi50", COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini", 0},
		{"devices", "mine", NULL, -ENOENT},
		{"models", "elsewhere.ini", "elsewhere.ini", 0},
		{"models", "./x", "./x", 0},
		{"models", "", NULL, -EINVAL},
		{"models", "a/../b", NULL, -EINVAL},
		{"models", "a b", NULL, -EINVAL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_(freep) char *path = NULL;

		assert_int_equal(plant_profile_find(NULL, rows[i].kind, rows[i].name, &path),
				 rows[i].r);
		if (rows[i].r == 0)
			assert_string_equal(path, rows[i].path ? rows[i].path : f->path);
		else
			assert_null(path);
	}
}

static void test_names_of_all_folders_are_sorted_and_come_once(void **state)
{
	_cleanup_(plant_profile_names_freep) char **names = NULL;
	unsigned int n = 0, found = 0;

	(void)state;
	assert_int_equal(plant_profile_names("models", &names, &n), 0);
	for (unsigned int i = 0; i < n; i++) {
		found += strcmp(names[i], "mine") == 0 || strcmp(names[i], "vgg19") == 0;
		assert_true(i == 0 || strcmp(names[i - 1], names[i]) < 0);
	}
	assert_null(names[n]);
	assert_int_equal(found, 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_name_is_looked_for_and_a_path_is_taken),
		TEST(test_names_of_all_folders_are_sorted_and_come_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

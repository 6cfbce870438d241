/* SPDX-License-Identifier: Apache-2.0 */
/* Where the files of devices and models lie: in the folders FIRST (may be NULL),
 * $COFRIS_PROFILES, the source tree that this was built from, and the installed one. */
#pragma once

#include "base/macros.h"

/* kind is "devices" or "models"; name is looked for as KIND/NAME.ini. One that ends in ".ini", or
 * that begins with '/' or '.', is the path itself. *ret is for free(). 0, -EINVAL for what is
 * neither a name nor a path, -ENOENT, or -ENOMEM. */
int plant_profile_find(const char *first, const char *kind, const char *name, char **ret);

/* The same for any file below one of these folders, as "devices/mi50-ensemble.csv". */
int plant_profile_file(const char *first, const char *file, char **ret);

/* The names of a kind in all folders, sorted, each once, ended by NULL; for messages. */
int plant_profile_names(const char *kind, char ***ret, unsigned int *ret_n);
char **plant_profile_names_free(char **names);
DEFINE_CLEANUP(char **, plant_profile_names_free)

const char *plant_profiles_installed(void);

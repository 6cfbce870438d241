/* SPDX-License-Identifier: Apache-2.0 */
/* For rocminfo, which opens /dev/kfd by itself before it asks HSA for anything: preloaded, it opens
 * /dev/null in its place. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/types.h>

typedef int (*open_fn)(const char *path, int flags, ...);

__attribute__((visibility("default"))) int open(const char *path, int flags, ...)
{
	open_fn next = (open_fn)dlsym(RTLD_NEXT, "open");
	mode_t mode = 0;
	va_list ap;

	if (flags & (O_CREAT | O_TMPFILE)) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	if (strcmp(path, "/dev/kfd") == 0)
		path = "/dev/null";
	return next(path, flags, mode);
}

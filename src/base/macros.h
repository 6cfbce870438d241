/* SPDX-License-Identifier: Apache-2.0 */
/* Small language helpers used everywhere: cleanup attributes, bounds, array sizes. */
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f)   __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_       __attribute__((unused))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
/* Unique names, so that these can be nested under -Wshadow. */
#define COFRIS_JOIN_(a, b) a##b
#define COFRIS_JOIN(a, b)  COFRIS_JOIN_(a, b)
#define COFRIS_PICK(op, a, b, x, y)                                                                \
	({                                                                                         \
		__typeof__(a) x = (a);                                                             \
		__typeof__(b) y = (b);                                                             \
		x op y ? x : y;                                                                    \
	})
#define MIN(a, b)	 COFRIS_PICK(<, a, b, COFRIS_JOIN(x_, __COUNTER__), COFRIS_JOIN(y_, __COUNTER__))
#define MAX(a, b)	 COFRIS_PICK(>, a, b, COFRIS_JOIN(x_, __COUNTER__), COFRIS_JOIN(y_, __COUNTER__))
#define CLAMP(x, lo, hi) MIN(MAX((x), (lo)), (hi))

/* Hands a pointer over: yields its value and leaves NULL behind for the cleanup attribute. */
#define TAKE_PTR(p)                                                                                \
	({                                                                                         \
		__typeof__(p) _taken = (p);                                                        \
		(p) = NULL;                                                                        \
		_taken;                                                                            \
	})
#define TAKE_FD(fd)                                                                                \
	({                                                                                         \
		int _taken = (fd);                                                                 \
		(fd) = -1;                                                                         \
		_taken;                                                                            \
	})

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void closep(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static inline void fclosep(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

#define DEFINE_CLEANUP(type, func)                                                                 \
	static inline void func##p(type *p)                                                        \
	{                                                                                          \
		if (*p)                                                                            \
			func(*p);                                                                  \
	}

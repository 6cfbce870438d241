/* SPDX-License-Identifier: Apache-2.0 */
/* Put before every file of the libraries that workers load (-include), as those also run in older
 * containers than the one that built them. glibc 2.34 moved threads and the loader's calls into
 * libc.so.6 and gave them new version names there, which an older glibc does not know; the old
 * names are still in the new one. So the libraries ask for the old names, and for the two libraries
 * that have them in an older glibc. With this, glibc 2.17 is enough
 * (tests/unit/test-glibc-floor.sh). */
#pragma once

/* A sanitizer puts itself between by the plain names. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define COFRIS_NO_GLIBC_FLOOR 1
#endif
#endif

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) &&      \
	!defined(COFRIS_NO_GLIBC_FLOOR)
__asm__(".symver pthread_create, pthread_create@GLIBC_2.2.5");
__asm__(".symver pthread_join, pthread_join@GLIBC_2.2.5");
__asm__(".symver pthread_key_create, pthread_key_create@GLIBC_2.2.5");
__asm__(".symver pthread_once, pthread_once@GLIBC_2.2.5");
__asm__(".symver pthread_setname_np, pthread_setname_np@GLIBC_2.12");
__asm__(".symver pthread_setspecific, pthread_setspecific@GLIBC_2.2.5");
__asm__(".symver pthread_sigmask, pthread_sigmask@GLIBC_2.2.5");
__asm__(".symver dlopen, dlopen@GLIBC_2.2.5");
__asm__(".symver dlsym, dlsym@GLIBC_2.2.5");
__asm__(".symver dlclose, dlclose@GLIBC_2.2.5");
#endif

# SPDX-License-Identifier: Apache-2.0
cofris_test(test-libcofris SOURCES test-libcofris.c USES cofris cofris-channel Threads::Threads)

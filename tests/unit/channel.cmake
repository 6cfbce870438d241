# SPDX-License-Identifier: Apache-2.0
cofris_test(test-channel SOURCES test-channel.c USES cofris-channel Threads::Threads)

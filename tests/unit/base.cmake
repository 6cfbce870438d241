# SPDX-License-Identifier: Apache-2.0
cofris_test(test-parse SOURCES test-parse.c USES cofris-base)
cofris_test(test-progress SOURCES test-progress.c USES cofris-base)
cofris_test(test-fsio SOURCES test-fsio.c USES cofris-base)
cofris_test(test-ini-file SOURCES test-ini-file.c USES cofris-ini cofris-base)

# SPDX-License-Identifier: Apache-2.0
cofris_system_tests(test_bus.py)

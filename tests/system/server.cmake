# SPDX-License-Identifier: Apache-2.0
if(TARGET cofris-hsa AND TARGET hsakmt AND COFRIS_HIPCC)
  cofris_system_tests(test_server.py)
endif()

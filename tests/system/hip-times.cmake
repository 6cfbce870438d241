# SPDX-License-Identifier: Apache-2.0
# Times and bytes of HIP programs on the simulated card.
if(TARGET hsakmt AND COFRIS_HIPCC)
  set(hip_times ${PROJECT_BINARY_DIR}/tests/hsa/hip-times)
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/tests/hsa)
  add_custom_command(OUTPUT ${hip_times}
    COMMAND ${COFRIS_HIPCC} --offload-arch=gfx906 -O1 -Wall -Werror -o ${hip_times}
      ${PROJECT_SOURCE_DIR}/tests/hsa/hip-times.hip -lpthread
    DEPENDS ${PROJECT_SOURCE_DIR}/tests/hsa/hip-times.hip VERBATIM)
  add_custom_target(hip-times ALL DEPENDS ${hip_times})
  cofris_system_tests(test_hip_times.py)
endif()

# SPDX-License-Identifier: Apache-2.0
# Ordinary HIP programs on Debian's unmodified ROCr and HIP, over the simulated libhsakmt.
if(TARGET hsakmt AND COFRIS_HIPCC)
  set(hsa_source ${PROJECT_SOURCE_DIR}/tests/hsa)
  set(hsa_build ${PROJECT_BINARY_DIR}/tests/hsa)
  file(MAKE_DIRECTORY ${hsa_build})
  add_custom_command(OUTPUT ${hsa_build}/hip-client
    COMMAND ${COFRIS_HIPCC} --offload-arch=gfx906 -O1 -Wall -Werror -o ${hsa_build}/hip-client
      ${hsa_source}/hip-client.hip -lpthread
    DEPENDS ${hsa_source}/hip-client.hip ${hsa_source}/kernels.hip VERBATIM)
  add_custom_command(OUTPUT ${hsa_build}/kernels.co
    COMMAND ${COFRIS_HIPCC} --genco --offload-arch=gfx906 -O1 -o ${hsa_build}/kernels.co
      ${hsa_source}/kernels.hip
    DEPENDS ${hsa_source}/kernels.hip VERBATIM)
  add_custom_target(hsa-clients ALL DEPENDS ${hsa_build}/hip-client ${hsa_build}/kernels.co)
  add_library(open-kfd SHARED ${hsa_source}/open-kfd.c)
  set_target_properties(open-kfd PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${hsa_build})
  target_link_libraries(open-kfd PRIVATE ${CMAKE_DL_LIBS})
  cofris_system_tests(test_hsa.py)
endif()

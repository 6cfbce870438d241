# SPDX-License-Identifier: Apache-2.0
find_program(COFRIS_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH REQUIRED)
# For the header alone; clang takes C++ as it is.
if(CMAKE_C_COMPILER_ID STREQUAL "Clang")
  set(COFRIS_CXX ${CMAKE_C_COMPILER})
else()
  find_program(COFRIS_CXX NAMES g++ c++ REQUIRED)
endif()
if(COFRIS_SANITIZE)
  string(REPLACE "address" "address,undefined" docs_sanitize "-fsanitize=${COFRIS_SANITIZE}")
endif()

add_executable(docs-config-keys ${CMAKE_CURRENT_LIST_DIR}/docs-config-keys.c)
set_target_properties(docs-config-keys PROPERTIES
  RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
target_link_libraries(docs-config-keys PRIVATE cofris-config)

add_test(NAME test-docs
  COMMAND ${COFRIS_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test-docs.py
    --programs $<TARGET_FILE_DIR:cofrisd> --config-keys $<TARGET_FILE:docs-config-keys>
    --library $<TARGET_FILE:cofris> --cc ${CMAKE_C_COMPILER} --cxx ${COFRIS_CXX}
    "--cflags=${docs_sanitize}")
set_tests_properties(test-docs PROPERTIES LABELS unit TIMEOUT 180 PROCESSORS 2)

if(COFRIS_MAN AND SCDOC)
  set(docs_man --man)
endif()
# Installs into a folder of its own, so everything has to be built before.
add_test(NAME test-install
  COMMAND ${COFRIS_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/test-install.py --cmake ${CMAKE_COMMAND}
    --build ${PROJECT_BINARY_DIR} --prefix ${CMAKE_INSTALL_PREFIX} --cc ${CMAKE_C_COMPILER}
    "--cflags=${docs_sanitize}" ${docs_man})
# The lock: cmake --install writes a manifest into the build folder.
set_tests_properties(test-install PROPERTIES LABELS unit TIMEOUT 180 PROCESSORS 2
  RESOURCE_LOCK install)

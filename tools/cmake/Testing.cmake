# One binary = one ctest entry = one source file test_NAME.c.
#
#   vmswap_test(NAME LIBS … LABELS …)    Criterion; left out under TSan (they do not work together)
#   vmswap_program(NAME LIBS … LABELS …) plain main(): exit 0 pass, 1 fail, 77 skip
function(vmswap_test name)
  cmake_parse_arguments(T "" "" "LIBS;LABELS;SOURCES" ${ARGN})
  if("thread" IN_LIST VMSWAP_SANITIZE)
    return()
  endif()
  add_executable(test_${name} test_${name}.c ${T_SOURCES})
  target_link_libraries(test_${name} PRIVATE ${T_LIBS} PkgConfig::CRITERION Threads::Threads)
  set_target_properties(test_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND test_${name} --jobs=1 --short-filename)
  set_tests_properties(${name} PROPERTIES TIMEOUT 120 LABELS "${T_LABELS}" SKIP_RETURN_CODE 77)
endfunction()

function(vmswap_program name)
  cmake_parse_arguments(T "" "TIMEOUT" "LIBS;LABELS;SOURCES;ARGS" ${ARGN})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 120)
  endif()
  add_executable(test_${name} test_${name}.c ${T_SOURCES})
  target_link_libraries(test_${name} PRIVATE ${T_LIBS} Threads::Threads)
  set_target_properties(test_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND test_${name} ${T_ARGS})
  set_tests_properties(${name} PROPERTIES
    TIMEOUT ${T_TIMEOUT} LABELS "${T_LABELS}" SKIP_RETURN_CODE 77)
endfunction()

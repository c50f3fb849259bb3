# One interface target carries every compiler flag; each target of ours links it.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
# The defaults of these two add -DNDEBUG; our assertions stay in release.
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")
set(CMAKE_C_FLAGS_RELEASE "-O3 -g")
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

add_library(vmswap_flags INTERFACE)
target_include_directories(vmswap_flags INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_definitions(vmswap_flags INTERFACE _GNU_SOURCE VMSWAP_VERSION="${PROJECT_VERSION}")
target_compile_options(vmswap_flags INTERFACE
  -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes -Wmissing-prototypes
  -Wold-style-definition -Wvla -Wpointer-arith -Wcast-qual -Wwrite-strings -Wundef -Wformat=2
  -Wswitch-enum -Wnull-dereference -Wdouble-promotion -Wimplicit-fallthrough
  -fno-common -fno-strict-aliasing
  $<$<C_COMPILER_ID:GNU>:-Wcast-align=strict -Wlogical-op -Wduplicated-cond -Wduplicated-branches
    -Wjump-misses-init>
  # clang warns of two things that gnu17 has and gcc does not mind.
  $<$<C_COMPILER_ID:Clang>:-Wno-c2x-extensions -Wno-gnu-variable-sized-type-not-at-end>)
if(VMSWAP_WERROR)
  target_compile_options(vmswap_flags INTERFACE -Werror)
endif()

if(VMSWAP_SANITIZE)
  list(JOIN VMSWAP_SANITIZE "," sanitizers)
  target_compile_options(vmswap_flags INTERFACE
    -fsanitize=${sanitizers} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_link_options(vmswap_flags INTERFACE -fsanitize=${sanitizers})
  target_compile_definitions(vmswap_flags INTERFACE VMSWAP_SANITIZED=1)
  if("thread" IN_LIST VMSWAP_SANITIZE)
    target_compile_definitions(vmswap_flags INTERFACE VMSWAP_TSAN=1)
    # gcc warns that TSan does not see fences; every race one of ours orders has atomics on both sides.
    target_compile_options(vmswap_flags INTERFACE $<$<C_COMPILER_ID:GNU>:-Wno-tsan>)
  endif()
endif()

# Makes the lists of system calls that io/filter.c allows, from the comments beside the calls:
#
#   /* @ROLE… CALL… */      as in   /* @shard @disk read */
#
# cmake -D OUT=FILE -D TOP=FOLDER -P FilterCalls.cmake
cmake_policy(VERSION 3.25)
file(GLOB sources ${TOP}/queue/*.[ch] ${TOP}/queue/base/*.[ch] ${TOP}/io/*.[ch]
  ${TOP}/engine/*.[ch] ${TOP}/ctl/*.[ch])
set(roles shard disk control unfiltered)
foreach(source IN LISTS sources)
  file(READ ${source} text)
  string(REGEX MATCHALL "/\\* @[a-z0-9_@ ]+\\*/" notes "${text}")
  foreach(note IN LISTS notes)
    string(REGEX MATCHALL "@[a-z]+" note_roles "${note}")
    string(REGEX REPLACE "@[a-z]+|/\\*|\\*/" "" calls "${note}")
    string(REGEX MATCHALL "[a-z0-9_]+" calls "${calls}")
    if(NOT calls)
      message(FATAL_ERROR "${source}: ${note} names no call")
    endif()
    foreach(role IN LISTS note_roles)
      string(SUBSTRING ${role} 1 -1 role)
      if(NOT role IN_LIST roles)
        message(FATAL_ERROR "${source}: ${note}: the roles are ${roles}")
      endif()
      list(APPEND ${role}_calls ${calls})
    endforeach()
  endforeach()
endforeach()

set(text "/* Made by tools/cmake/FilterCalls.cmake from the comments beside the calls. */\n")
foreach(role shard disk control)
  list(REMOVE_DUPLICATES ${role}_calls)
  list(SORT ${role}_calls)
  list(TRANSFORM ${role}_calls REPLACE "(.+)" "\tSYS_\\1,\n")
  string(CONCAT lines ${${role}_calls})
  string(APPEND text "static const uint16_t ${role}_calls[] = {\n${lines}};\n")
endforeach()
file(WRITE ${OUT} "${text}")

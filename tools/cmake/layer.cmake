# walferry_layer(NAME SOURCES ... BELOW layer ... LINK target ...)
#
# One library per folder. Headers are included as "folder/header.h". Instead of putting the root of the tree on the
# include path (which would let decoder/ include apply/), each layer exports a directory that holds one symbolic link,
# to itself, and inherits the directories of the layers below. An include that runs upwards does not compile.
function(walferry_layer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;BELOW;LINK" ${ARGN})
  set(view ${CMAKE_BINARY_DIR}/include/${name})
  file(MAKE_DIRECTORY ${view})
  file(CREATE_LINK ${CMAKE_SOURCE_DIR}/${name} ${view}/${name} SYMBOLIC)
  if(NOT ARG_SOURCES)
    file(WRITE ${CMAKE_BINARY_DIR}/empty_${name}.cc "")
    set(ARG_SOURCES ${CMAKE_BINARY_DIR}/empty_${name}.cc)
  endif()
  add_library(walferry_${name} STATIC ${ARG_SOURCES})
  target_include_directories(walferry_${name} PUBLIC ${view})
  foreach(below IN LISTS ARG_BELOW)
    target_link_libraries(walferry_${name} PUBLIC walferry_${below})
  endforeach()
  target_link_libraries(walferry_${name} PUBLIC ${ARG_LINK})
endfunction()

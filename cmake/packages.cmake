# SPDX-License-Identifier: MIT
# The libraries from outside, all of them Debian's, as targets PkgConfig::X. A room links what it needs through LIBS.
# Nothing here is required by itself: a room that links a missing one says so when it is configured. libcurl may be
# missing: http/CMakeLists.txt.
find_package(PkgConfig REQUIRED)

function(troupe_package name module)
  pkg_check_modules(${name} QUIET GLOBAL IMPORTED_TARGET ${module})
  if(NOT ${name}_FOUND)
    message(WARNING "${module} was not found: run scripts/install-deps.sh")
  endif()
endfunction()

troupe_package(JANSSON jansson)
troupe_package(ZMQ libzmq)
troupe_package(MSGPACK msgpack)
troupe_package(LUA lua5.4)
troupe_package(SQLITE sqlite3)
troupe_package(PCRE2 libpcre2-8)
troupe_package(UTF8PROC libutf8proc)
troupe_package(CURL libcurl)
if(TROUPE_TESTS)
  troupe_package(CMOCKA cmocka)
endif()

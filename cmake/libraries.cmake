# Third-party libraries, all linked statically: the product is one file that needs only libc.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

# perigee_libraries: what the host links, apart from llhttp.
add_library(perigee_libraries INTERFACE)

# Takes the headers from pkg-config, the archive <archive> from where pkg-config says it is.
function(perigee_add_archive package archive)
    pkg_check_modules(${package} REQUIRED ${package})
    find_library(${package}_archive ${archive} HINTS ${${package}_LIBDIR} REQUIRED)
    target_include_directories(perigee_libraries SYSTEM INTERFACE ${${package}_INCLUDE_DIRS})
    target_link_libraries(perigee_libraries INTERFACE ${${package}_archive})
endfunction()

perigee_add_archive(lua5.4-cjson liblua5.4-cjson.a)
perigee_add_archive(libuv libuv_a.a)
perigee_add_archive(libpcre2-8 libpcre2-8.a)
perigee_add_archive(zlib libz.a)
perigee_add_archive(libssl libssl.a)
perigee_add_archive(libargon2 libargon2.a)
perigee_add_archive(libcrypto libcrypto.a)
perigee_add_archive(libbrotlienc libbrotlienc.a)
perigee_add_archive(libbrotlidec libbrotlidec.a)
perigee_add_archive(libbrotlicommon libbrotlicommon.a)
target_compile_definitions(perigee_libraries INTERFACE PCRE2_CODE_UNIT_WIDTH=8)
target_link_libraries(perigee_libraries INTERFACE Threads::Threads m)

# Lua: compiled here where scripts/lua-source has put its source, so that it is optimised together with
# the host; else the package's archive. The sanitizers do not look into it in either case.
function(perigee_add_lua)
    set(sources ${CMAKE_SOURCE_DIR}/build/lua/src)
    if(NOT EXISTS ${sources}/lua.h)
        message(STATUS "Lua comes from the package's archive")
        perigee_add_archive(lua5.4 liblua5.4.a)
        target_link_libraries(perigee_libraries INTERFACE m) # behind the archive, which needs it
        set(lua_archive ${lua5.4_archive} PARENT_SCOPE)
        return()
    endif()
    pkg_check_modules(lua5.4 REQUIRED lua5.4)
    file(GLOB files ${sources}/*.c)
    list(REMOVE_ITEM files ${sources}/lua.c ${sources}/luac.c)
    add_library(lua STATIC ${files})
    target_include_directories(lua SYSTEM INTERFACE ${lua5.4_INCLUDE_DIRS})
    target_compile_definitions(lua PRIVATE LUA_COMPAT_5_3 LUA_USE_LINUX)
    target_compile_options(lua PRIVATE -w -fno-sanitize=all)
    if(PERIGEE_SANITIZE MATCHES thread) # ThreadSanitizer follows only the second
        target_compile_definitions(lua PRIVATE _longjmp=longjmp)
    endif()
    target_link_libraries(lua INTERFACE m)
    target_link_libraries(perigee_libraries INTERFACE lua)
    set(lua_archive $<TARGET_FILE:lua> PARENT_SCOPE)
endfunction()

# llhttp, in strict mode: from libllhttp where the system has it, else compiled from the C sources
# that Debian 12's node-llhttp installs.
function(perigee_add_llhttp)
    pkg_check_modules(llhttp QUIET libllhttp)
    if(llhttp_FOUND)
        add_library(llhttp INTERFACE)
        find_library(llhttp_archive NAMES libllhttp.a llhttp HINTS ${llhttp_LIBDIR} REQUIRED)
        target_include_directories(llhttp SYSTEM INTERFACE ${llhttp_INCLUDE_DIRS})
        target_link_libraries(llhttp INTERFACE ${llhttp_archive})
        return()
    endif()
    find_path(llhttp_sources llhttp/llhttp.c PATHS /usr/share REQUIRED)
    set(sources ${llhttp_sources}/llhttp)
    add_library(llhttp STATIC ${sources}/api.c ${sources}/http.c ${sources}/llhttp.c)
    target_include_directories(llhttp SYSTEM PUBLIC ${llhttp_sources}/include/llhttp)
    target_compile_definitions(llhttp PUBLIC LLHTTP_STRICT_MODE=1)
    target_compile_options(llhttp PRIVATE -w)
endfunction()

# Gives the executable the whole Lua C API and exports it, and nothing else, so that C modules
# (`require` of a .so) find it.
function(perigee_export_lua_api target)
    set(list ${CMAKE_SOURCE_DIR}/cmake/lua_api.list)
    target_link_libraries(${target} PRIVATE -Wl,--whole-archive ${lua_archive}
                                            -Wl,--no-whole-archive)
    target_link_options(${target} PRIVATE -Wl,--dynamic-list=${list})
    set_target_properties(${target} PROPERTIES LINK_DEPENDS ${list})
endfunction()

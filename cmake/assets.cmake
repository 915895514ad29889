# perigee_embed_assets(<target>)
#
# Links the scripts and styles of the documentation pages into <target>, compressed, as peri_assets[]
# (host/embed.h). scripts/assets fetches them from npm while building, once per build folder.
function(perigee_embed_assets target)
    set(folder ${CMAKE_BINARY_DIR}/assets)
    set(files
        ${folder}/redoc.standalone.js.LICENSE.txt.gz
        ${folder}/redoc.standalone.js.gz
        ${folder}/swagger-ui-bundle.js.LICENSE.txt.gz
        ${folder}/swagger-ui-bundle.js.gz
        ${folder}/swagger-ui.css.gz)
    add_custom_command(OUTPUT ${files}
        COMMAND ${CMAKE_SOURCE_DIR}/scripts/assets ${folder}
        DEPENDS ${CMAKE_SOURCE_DIR}/scripts/assets
        COMMENT "Fetching the assets of the documentation pages" VERBATIM)
    perigee_embed(${target} peri_assets ${folder} ${files})
endfunction()

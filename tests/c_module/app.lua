-- Ends at load, with the words of the module: what tests/CMakeLists.txt waits for.
error(require("greeting").hello("Lua"))

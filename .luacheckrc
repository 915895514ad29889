std = "lua54"
max_line_length = false -- stylua's business
exclude_files = { "build*/**" }
files["**/*_test.lua"].globals = { "test" } -- given by `perigee test` and tests/lua/run.lua
files["tests/bench/wrk.lua"].globals = { "wrk", "done" }
files["tests/bench/train.lua"].globals = { "init", "request", "wrk" }
files["tests/bench/peers/nginx/*.lua"].globals = { "ngx" }

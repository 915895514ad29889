-- Requires modules of its own: a file, a folder with an init.lua, a file in a folder.
local perigee = require("perigee")
local greeting = require("greeting")
local package_in_folder = require("lib")
local deep = require("lib.deep")

local app = perigee.app()

app:get("/", function()
  return { greeting = greeting.text, deep = deep, init = package_in_folder }
end)

return app

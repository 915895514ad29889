local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

app:get("/items/", { name = "read_items" }, function()
  return perigee.html([[

    <html>
        <head>
            <title>Some HTML in here</title>
        </head>
        <body>
            <h1>Look ma! HTML!</h1>
        </body>
    </html>
    ]])
end)

return app

local perigee = require("perigee")

local app = perigee.app({ title = "FastAPI" })

local lines = {
  "Rick: (stumbles in drunkenly, and turns on the lights) Morty! You gotta come on. "
    .. "You got--... you gotta come with me.",
  "Morty: (rubs his eyes) What, Rick? What's going on?",
  "Rick: I got a surprise for you, Morty.",
  "Morty: It's the middle of the night. What are you talking about?",
  "Rick: (spills alcohol on Morty's bed) Come on, I got a surprise for you. "
    .. "(drags Morty by the ankle) Come on, hurry up. "
    .. "(pulls Morty out of his bed and into the hall)",
  "Morty: Ow! Ow! You're tugging me too hard!",
  "Rick: We gotta go, gotta get outta here, come on. Got a surprise for you Morty.",
}

local function tell()
  return perigee.stream(function(out)
    for _, line in ipairs(lines) do
      out:write(line)
    end
  end)
end

-- One way to stream stands for FastAPI's eight: async or not, annotated or not, text or bytes.
app:get("/story/stream", { name = "stream_story", produces = false }, tell)
app:get("/story/stream-no-async", { name = "stream_story_no_async", produces = false }, tell)
app:get("/story/stream-no-annotation", {
  name = "stream_story_no_annotation",
  produces = false,
}, tell)
app:get("/story/stream-no-async-no-annotation", {
  name = "stream_story_no_async_no_annotation",
  produces = false,
}, tell)
app:get("/story/stream-bytes", { name = "stream_story_bytes", produces = false }, tell)
app:get("/story/stream-no-async-bytes", {
  name = "stream_story_no_async_bytes",
  produces = false,
}, tell)
app:get("/story/stream-no-annotation-bytes", {
  name = "stream_story_no_annotation_bytes",
  produces = false,
}, tell)
app:get("/story/stream-no-async-no-annotation-bytes", {
  name = "stream_story_no_async_no_annotation_bytes",
  produces = false,
}, tell)

return app

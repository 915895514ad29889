--- What a file is, by the ending of its name. Pure.

local M = {}

-- stylua: ignore
local TYPES = {
  aac = "audio/aac", apng = "image/apng", atom = "application/atom+xml", avi = "video/x-msvideo",
  avif = "image/avif", bin = "application/octet-stream", bmp = "image/bmp",
  bz2 = "application/x-bzip2", css = "text/css", csv = "text/csv", doc = "application/msword",
  docx = "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
  epub = "application/epub+zip", flac = "audio/flac", gif = "image/gif", gz = "application/gzip",
  htm = "text/html", html = "text/html", ico = "image/vnd.microsoft.icon", ics = "text/calendar",
  jar = "application/java-archive", jpeg = "image/jpeg", jpg = "image/jpeg",
  js = "text/javascript", json = "application/json", jsonl = "application/jsonl",
  jsonld = "application/ld+json", log = "text/plain", lua = "text/x-lua", m4a = "audio/mp4",
  map = "application/json", md = "text/markdown", mid = "audio/midi", midi = "audio/midi",
  mjs = "text/javascript", mov = "video/quicktime", mp3 = "audio/mpeg", mp4 = "video/mp4",
  mpeg = "video/mpeg", oga = "audio/ogg", ogg = "audio/ogg", ogv = "video/ogg",
  opus = "audio/ogg", otf = "font/otf", pdf = "application/pdf", png = "image/png",
  ppt = "application/vnd.ms-powerpoint",
  pptx = "application/vnd.openxmlformats-officedocument.presentationml.presentation",
  rss = "application/rss+xml", rtf = "application/rtf", svg = "image/svg+xml",
  tar = "application/x-tar", tgz = "application/gzip", tif = "image/tiff", tiff = "image/tiff",
  toml = "application/toml", ts = "video/mp2t", ttf = "font/ttf", txt = "text/plain",
  vtt = "text/vtt", wasm = "application/wasm", wav = "audio/wav", weba = "audio/webm",
  webm = "video/webm", webmanifest = "application/manifest+json", webp = "image/webp",
  woff = "font/woff", woff2 = "font/woff2", xhtml = "application/xhtml+xml",
  xls = "application/vnd.ms-excel",
  xlsx = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
  xml = "text/xml", xz = "application/x-xz", yaml = "application/yaml", yml = "application/yaml",
  zip = "application/zip", zst = "application/zstd",
}

--- The media type of a file, without parameters.
---@param name string a file's name or path
---@return string "application/octet-stream" where nothing better is known
function M.of(name)
  local ending = name:match("%.([%w]+)$")
  return ending and TYPES[ending:lower()] or "application/octet-stream"
end

--- The value of a Content-Type: texts are UTF-8 unless they say otherwise.
---@param media_type string
---@return string
function M.content_type(media_type)
  if media_type:find("^text/") and not media_type:lower():find("charset=", 1, true) then
    return media_type .. "; charset=utf-8"
  end
  return media_type
end

return M

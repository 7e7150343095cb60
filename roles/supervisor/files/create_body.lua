-- SPDX-License-Identifier: MIT
-- Reads the body of a create as the engine will, and lets pass what stands in the rules below and nothing else. Whoever
-- asks for more than a task container is root on the host: so what is not known is refused, whatever it is.
--
-- What passes gets limits that no supervisor asks for: of processes, and none of swap above its memory.
--
-- A key is taken as it is written: neither escapes nor other cases, which the engine's reader would understand, are in
-- the rules. Of two equal keys the engine takes the last or a mixture of both, so there must be one.
--
-- From the environment, because HAProxy 2.6 passes no arguments of lua-load on (tried): the runner network; beginnings of
-- references of images, parted by blanks; without any, every image passes; the rules, as vars/main/create.yml has them; the
-- most processes of a task container, 0 for no limit.

local network, images, processes = os.getenv("RUNNER_NETWORK"), {}, os.getenv("RUNNER_PIDS_LIMIT")
for beginning in os.getenv("ALLOWED_IMAGES"):gmatch("%S+") do
  images[#images + 1] = beginning
end

local function is_network(text)
  return text == network
end

local function is_image(text)
  if not text:find("^[%w._:/@-]+$") or text:find("..", 1, true) then
    return false
  end
  for _, beginning in ipairs(images) do
    if text:sub(1, #beginning) == beginning then
      return true
    end
  end
  return #images == 0
end

-- Engines from version 25 on make the name of a host an address on its networks: it must not be another's.
local function is_host(text)
  return text:find("^runner%-[%w_.-]+$") ~= nil
end

local TEXTS = { network = is_network, image = is_image, host = is_host }

-- Key -> form of its value, and an object's keys that must be there.
local BODY, REQUIRED = {}, {}
for path, form, mark in os.getenv("CREATE_RULES"):gmatch("([%w.]+)=(%a+)(!?)") do
  local object = BODY
  for parent in path:gmatch("(%w+)%.") do
    object = object[parent]
  end
  local key = path:match("%w+$")
  object[key] = form == "object" and {} or TEXTS[form] or form
  REQUIRED[object] = REQUIRED[object] or {}
  if mark ~= "" then
    table.insert(REQUIRED[object], key)
  end
end

local function refuse(why)
  error({ refused = why }, 0)
end

-- Names a key, never a value. What is no plain name could be anything, so it is not repeated.
local function named(path)
  return path:find("^[%w_.]+$") and #path <= 64 and path or "one whose name is not plain"
end

local Reader = {}
Reader.__index = Reader

-- Gives the next character that is no white space, and stays in front of it.
function Reader:peek()
  self.at = self.text:find("[^ \t\r\n]", self.at) or #self.text + 1
  return self.text:sub(self.at, self.at)
end

function Reader:expect(character)
  if self:peek() ~= character then
    refuse("not in the form of JSON")
  end
  self.at = self.at + 1
end

-- Gives a string as it is written, with its escapes.
function Reader:string()
  self:expect('"')
  local from, look = self.at, self.at
  while true do
    local stop = self.text:find('["\\\0-\31]', look)
    local character = stop and self.text:sub(stop, stop)
    if character == '"' then
      self.at = stop + 1
      return self.text:sub(from, stop - 1)
    elseif character == "\\" and self.text:find('^["\\/bfnrt]', stop + 1) then
      look = stop + 2
    elseif character == "\\" and self.text:find("^u%x%x%x%x", stop + 1) then
      look = stop + 6
    else
      refuse("not in the form of JSON")
    end
  end
end

function Reader:word(pattern)
  self:peek()
  local first, last = self.text:find(pattern, self.at)
  if not first then
    refuse("a value of another type: " .. self.path)
  end
  self.at = last + 1
  return self.text:sub(first, last)
end

-- Reads what stands between two brackets, parted by commas.
function Reader:list(open, close, item)
  self:expect(open)
  if self:peek() == close then
    self.at = self.at + 1
    return
  end
  while true do
    item()
    if self:peek() == close then
      self.at = self.at + 1
      return
    end
    self:expect(",")
  end
end

function Reader:object(member, path)
  local seen = {}
  self:list("{", "}", function()
    local key = self:string()
    if seen[key] then
      refuse("a key twice: " .. named(path .. key))
    end
    seen[key] = true
    self:expect(":")
    member(key)
  end)
  return seen
end

local FORMS = {
  string = Reader.string,
  boolean = function(reader)
    if reader:peek() == "t" then
      reader:word("^true")
    else
      reader:word("^false")
    end
  end,
  number = function(reader)
    return reader:word(reader:peek() == "0" and "^0" or "^%d+")
  end,
  strings = function(reader)
    reader:list("[", "]", function()
      reader:string()
    end)
  end,
}

-- Reads the value of the key whose path is given.
function Reader:value(form, path)
  self.path = path
  if type(form) == "string" then
    local read = FORMS[form](self)
    if path == "HostConfig.Memory" then
      self.memory = read
    end
  elseif type(form) == "function" then
    if not form(self:string()) then
      refuse("another network, image or host name: " .. path)
    end
  else
    local inside = path == "" and "" or path .. "."
    if path == "HostConfig" then
      self:peek()
      self.host_config = self.at
    end
    local seen = self:object(function(key)
      if form[key] == nil then
        refuse("a key that no task has: " .. named(inside .. key))
      end
      self:value(form[key], inside .. key)
    end, inside)
    for _, key in ipairs(REQUIRED[form]) do
      if not seen[key] then
        refuse("without " .. inside .. key)
      end
    end
  end
end

local function check(text)
  local reader = setmetatable({ text = text, at = 1 }, Reader)
  reader:value(BODY, "")
  if reader:peek() ~= "" then
    refuse("something behind the body")
  end
  return reader
end

-- Gives the members that are put in front of those of HostConfig, of which there is at least one.
local function limits(reader)
  local members = processes == "0" and "" or '"PidsLimit":' .. processes .. ","
  if reader.memory and reader.memory ~= "0" then
    members = members .. '"MemorySwap":' .. reader.memory .. ","
  end
  return members
end

-- The fetch lua.create_verdict: "passes", or why a body is refused, in words without anything of it but a plain key. A body
-- that has not come as a whole is refused as well. For one that passes: what the filter below puts in, and the new length.
core.register_fetches("create_verdict", function(txn)
  local text = txn.f:req_body() or ""
  if #text ~= txn.f:req_body_size() then
    return "not the whole body"
  end
  local ok, found = pcall(check, text)
  if not ok then
    return type(found) == "table" and found.refused or "it could not be read"
  end
  local members = limits(found)
  txn:set_var("txn.limits", members)
  txn:set_var("txn.limits_at", found.host_config)
  txn:set_var("txn.length", #text + #members)
  return "passes"
end)

-- The filter lua.limits. The body is in the buffer as a whole, for a rule has waited for it. Where the members cannot be put
-- in, the length that was announced is wrong and the request fails.
local Limits = { id = "limits", flags = filter.FLT_CFG_FL_HTX }
Limits.__index = Limits

function Limits:new()
  return setmetatable({}, Limits)
end

function Limits:http_headers(txn, message)
  local members = not message.channel:is_resp() and txn:get_var("txn.limits")
  if members and members ~= "" then
    self.members, self.offset = members, math.floor(tonumber(txn:get_var("txn.limits_at")))
    filter.register_data_filter(self, message.channel)
  end
end

function Limits:http_payload(_, message)
  if self.members and not message.channel:is_resp() then
    message:insert(self.members, self.offset)
    self.members = nil
  end
end

core.register_filter("limits", Limits, function(limits)
  return limits
end)

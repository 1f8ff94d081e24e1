-- What the daemon last said, from its verdict file (wattlease_slurm/verdict.py writes it), and what holds without it.
-- The file is looked at once a second at most, and read whole only where its content is another one.

local HERE = ...
local VERDICT = "/run/wattlease/verdict"

-- Until a first verdict was read: rated watts of a GPU by a word in its type's name, and GPUs of a whole node.
local MODE = "Enforce"
local LICENCE = "power"
local RATED_W = {
  v100 = 300, a40 = 300, a100 = 400, h100 = 700, h200 = 700, b200 = 1000, gb200 = 1200, b300 = 1100, gb300 = 1400,
  ["*"] = 1400,
}
local NODE_GPUS = 8

local GROUPS = { "draw", "rated", "fraction", "gpus", "room", "type", "qos", "partition", "account", "debt" }
local NUMBERS = { "wattlease", "written", "valid", "total", "margin", "cpu", "factor", "owes" }
local verdict, looked_s, trouble, told -- the last good one; when and with what result it was looked at; last logged

-- Hierarchical resources that slurmctld has read, as it read them: a job that asks for another one is refused.
local RESOURCES = {}
local resources = io.open(HERE .. "resources.yaml", "r")
for name in (resources and resources:read("*a") or ""):gmatch("resource:%s*([%w_-]+)") do RESOURCES[name] = name end
if resources then resources:close() end

local function number(text) return tonumber(text:match("^%d+%.?%d*$") or "") end

local function grouped(v)
  for _, group in ipairs(GROUPS) do v[group] = {} end
  return v
end

local function parsed(text)
  local v, said = grouped({ operators = { [0] = true } }), {}
  for key, value in text:gmatch("([^=\n]+)=([^\n]*)\n") do
    local group, name = key:match("^(%a+)%.(.*)$")
    name = name and name:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
    if group == "type" then v.type[name] = value:lower()
    elseif group == "rated" or group == "fraction" then v[group][name:lower()] = number(value)
    elseif group and v[group] then v[group][name] = number(value)
    else said[key] = value end
  end
  for _, key in ipairs(NUMBERS) do
    v[key] = number(said[key] or "")
    if not v[key] then return nil end
  end
  for uid in (said.operators or ""):gmatch("%d+") do v.operators[tonumber(uid)] = true end
  v.licence, v.mode, v.content = said.licence, said.mode, said.content
  v.resource = RESOURCES[said.resource or ""]
  return v.wattlease == 1 and said["end"] == "wattlease" and v.licence and v.mode and v or nil
end

local function look()
  local file, why = io.open(VERDICT, "r")
  if not file then return "there is no verdict: " .. tostring(why) end
  local first, written, valid, content = file:read("*l", "*l", "*l", "*l")
  if verdict and verdict.content and content == "content=" .. verdict.content then
    file:close()
    verdict.written = number((written or ""):match("^written=(.*)$") or "") or 0
    return nil
  end
  local text = table.concat({ first or "", written or "", valid or "", content or "", file:read("*a") or "" }, "\n")
  file:close()
  local good = parsed(text)
  verdict = good or verdict
  return not good and VERDICT .. " cannot be read as a verdict" or nil
end

-- Without any verdict a licence is asked for only where slurm.conf has it, for else Slurm would refuse the job.
local function total_of_slurm_conf()
  local file = io.open(HERE .. "slurm.conf", "r")
  local text = file and file:read("*a") or ""
  if file then file:close() end
  for line in text:lower():gmatch("[^\n]+") do
    local licences = line:match("^%s*licenses%s*=%s*(%S+)")
    local total = licences and ("," .. licences):match("," .. LICENCE .. ":(%d+)")
    if total then return tonumber(total) end
  end
end

local BARE = grouped({ mode = MODE, licence = LICENCE, total = total_of_slurm_conf(), margin = 1, cpu = 0, factor = 0,
  owes = 1, operators = { [0] = true }, node_gpus = NODE_GPUS })
BARE.rated = RATED_W

local function say(what)
  if what ~= told then slurm.log_info("%s", "wattlease: " .. what) end
  told = what
end

-- The verdict to go by: the last good one, without its predictions once it has run out; rated watts where none came.
local function current(now_s)
  if now_s ~= looked_s then looked_s, trouble = now_s, look() end
  if not verdict then
    say(trouble .. (BARE.total and "; jobs ask for rated watts"
      or "; slurm.conf has no Licenses=" .. LICENCE .. ", so no job asks for watts"))
    return BARE
  end
  if math.abs(now_s - verdict.written) <= verdict.valid then
    say(trouble and trouble .. "; the last good one holds" or "the verdict is good")
    return verdict
  end
  say((trouble or "the verdict has run out") .. "; jobs ask for rated watts")
  return setmetatable({ draw = {}, debt = {} }, { __index = verdict })
end

return { current = current }

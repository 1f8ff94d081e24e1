-- Wattlease at submit: a job asks for its predicted watts as licences, gets its place in the queue, and has its wishes
-- looked over. Wattlease refuses nobody and waits for nothing: no process, no network, local files only; what goes
-- wrong is logged and the job goes on. Lua 5.1 to 5.4; the rest is in the folder wattlease beside this file.
-- A site's own script lies beside as job_submit_site.lua: its functions are called first, and may refuse.

local REFUSE_ON_SITE_ERROR = false -- where the site's script fails: false logs it, true refuses the job as Slurm would
local HERE = debug.getinfo(1, "S").source:match("^@(.*/)") or "./"

local function part(name) return assert(loadfile(HERE .. "wattlease/" .. name .. ".lua"))(HERE) end

local function log(text) slurm.log_info("%s", "wattlease: " .. text) end

local function tell(...) slurm.log_user("%s", "wattlease: " .. string.format(...)) end

local loaded, wishes, verdict, watts = pcall(function() return part("wishes"), part("verdict"), part("watts") end)
if not loaded then slurm.log_error("%s", "wattlease: " .. tostring(wishes) .. "; jobs ask for no watts") end

-- A job's licences without ours, as a list, and how many it has of ours: of the site's and of each node's rack.
local function split(v, licences)
  local others, count_of = {}, { [v.licence] = 0, [v.resource or false] = 0 }
  for one in (licences or ""):gmatch("[^,;|]+") do
    local name, count = one:match("^%s*([^:*=%s]*)[:*=]?(%d*)")
    if count_of[name] then count_of[name] = count_of[name] + (tonumber(count) or 1) else others[#others + 1] = one end
  end
  return others, count_of[v.licence], count_of[v.resource or false]
end

local function joined(v, others, power, rack)
  if power > 0 then others[#others + 1] = string.format("%s:%.0f", v.licence, power) end
  if v.resource and rack > 0 then others[#others + 1] = string.format("%s:%.0f", v.resource, rack) end
  return table.concat(others, ",")
end

-- From 0 to the site's span: how urgent the work is, how little of the site it takes, what its user is owed.
local function site_factor(v, job, first, power)
  local weight = v.qos[job.qos or job.default_qos or ""] or v.account[job.account or job.default_account or ""]
    or v.partition[first.name or ""] or 1
  local owed = v.debt[job.user_name or ""] or 0
  local fit = 1 - power / math.max(v.total, 1)
  return math.floor(v.factor * (weight / (1 + weight) + fit + owed / (owed + v.owes)) / 3 + 0.5)
end

-- Added to what a site's own script gave. Slurm keeps it in 32 bits without a sign: a negative one is wrapped here.
local function raise(job, factor)
  local was = job.site_factor
  local sum = factor + (type(was) == "number" and was < 4294967280 and was or 0)
  job.site_factor = sum < 0 and sum + 4294967296 or sum
end

local function look_over(comment)
  local word, advice = wishes.mistake(comment or "")
  if word then tell("'%s' in the comment cannot be read: %s; the job goes on without its wishes", word, advice) end
end

local function submit(job, part_list)
  look_over(job.comment)
  local v = verdict.current(os.time())
  if not v.total then return end
  local power = watts.of(v, job, part_list)
  local factor = site_factor(v, job, watts.partitions(job, part_list)[1], power)
  if v.mode == "Shadow" then
    return log(string.format("shadow: would ask for %s:%.0f, site factor %.0f", v.licence, power, factor))
  end
  if v.factor > 0 then raise(job, factor) end
  local others, own = split(v, job.licenses)
  if watts.given(job.het_job_offset) then return end -- Slurm lets the leader alone ask; the daemon adds the parts to it
  if (job.licenses or ""):find("|", 1, true) then -- Slurm knows no "and" beside "or"
    tell("licences with | have no room for the job's watts beside them; it is counted by the daemon instead")
  elseif power > 0 or own > 0 then
    job.licenses = joined(v, others, power, v.resource and watts.of_node(v, job, part_list) or 0)
  end
end

local SIZES = { "tres_per_job", "tres_per_node", "tres_per_task", "tres_per_socket", "partition", "min_nodes",
  "max_nodes", "num_tasks", "min_cpus", "shared" }

-- The job as it would be: what the change says, else what the record has. Nothing where the size stays as it is.
local function resized(job, record)
  local said, some = {}, false
  for _, name in ipairs(SIZES) do
    local value = job[name]
    if type(value) == "string" or name == "shared" and value == 0 or watts.given(value, name == "shared" and 16) then
      said[name], some = value, true
    end
  end
  return some and setmetatable(said, { __index = function(_, name) return record[name] end })
end

-- A user keeps the watts that the job has and gets those of a larger request. Lowering them is the daemon's and the
-- operators' affair: only they change jobs of others.
local function modify(job, record, part_list, uid)
  if job.comment then look_over(job.comment) end
  local v = verdict.current(os.time())
  if v.operators[uid] or uid ~= record.user_id or not v.total or v.mode == "Shadow" then return end
  local had = record.licenses or ""
  local _, power, rack = split(v, had)
  if (job.licenses or had):find("|", 1, true) then
    if not job.licenses or power == 0 then return end
    job.licenses = had
    return tell("licences with | have no room for %s:%.0f, the job's watts", v.licence, power)
  end
  local larger = record.job_state % 256 == 0 and not watts.given(record.het_job_offset) and resized(job, record)
  if larger then power = math.max(power, watts.of(v, larger, part_list)) end
  if larger and v.resource then rack = watts.of_node(v, larger, part_list) end
  local others, asked, asked_rack = split(v, job.licenses or had)
  if asked == power and asked_rack == rack then return end
  if job.licenses then tell("the job keeps %s:%.0f, its watts", v.licence, power) end
  job.licenses = joined(v, others, power, rack)
end

local site, site_text, looked_s = {}, nil, nil

-- The site's script in an environment of its own, again whenever its text is another one; a broken one changes nothing.
local function load_site()
  local file = io.open(HERE .. "job_submit_site.lua", "r")
  local text = file and file:read("*a") or ""
  if file then file:close() end
  if text == site_text then return end
  site_text = text
  local env, name = setmetatable({}, { __index = _G }), "@" .. HERE .. "job_submit_site.lua"
  local chunk, why = (loadstring or load)(text, name, "t", env)
  if chunk and setfenv then setfenv(chunk, env) end
  local ran, wrong = pcall(chunk or error, not chunk and why or nil)
  if ran then site = env else slurm.log_error("%s", tostring(wrong) .. "; the site's script before it holds") end
end

local function both(name, ours, ...)
  if looked_s ~= os.time() then looked_s = os.time(); load_site() end
  local theirs = rawget(site, name)
  local ran, rc = pcall(theirs or function() return 0 end, ...)
  if not ran then slurm.log_error("%s", "job_submit_site.lua: " .. tostring(rc)) end
  if not ran and REFUSE_ON_SITE_ERROR then return slurm.ERROR end
  if ran and type(rc) == "number" and rc ~= slurm.SUCCESS then return rc end
  local done, why = pcall(ours, ...)
  if not done and loaded then slurm.log_error("%s", "wattlease: " .. tostring(why) .. "; the job goes on as it is") end
  return slurm.SUCCESS
end

function slurm_job_submit(job_desc, part_list, submit_uid)
  return both("slurm_job_submit", submit, job_desc, part_list, submit_uid)
end

function slurm_job_modify(job_desc, job_rec, part_list, modify_uid)
  return both("slurm_job_modify", modify, job_desc, job_rec, part_list, modify_uid)
end

load_site()
return slurm.SUCCESS

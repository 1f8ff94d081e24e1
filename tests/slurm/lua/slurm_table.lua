-- A stand-in for what slurmctld gives a job_submit script: the table `slurm`, job descriptors, records, partitions.
-- It takes and refuses what src/lua/slurm_lua.c and job_submit_lua.c do: text is text, numbers are numbers, an unknown
-- field is only logged, an empty text unsets a field, a site factor is kept in 32 bits without a sign.

local NO_VAL, NO_VAL16, NICE_OFFSET = 4294967294, 65534, 2147483648
local spread = table.unpack or unpack
local told, logged = {}, {}

local function logger(list) return function(...) list[#list + 1] = string.format(spread({ ... })) end end

slurm = { SUCCESS = 0, ERROR = -1, FAILURE = -1, ESLURM_INVALID_LICENSES = 2048, NO_VAL = NO_VAL, NO_VAL16 = NO_VAL16,
  NICE_OFFSET = NICE_OFFSET, JOB_SHARED_NONE = 0, log_user = logger(told) }
for _, level in ipairs({ "error", "info", "verbose", "debug", "debug2", "debug3", "debug4" }) do
  slurm["log_" .. level] = logger(logged)
end

local TEXTS, NUMBERS = {}, {}
for name in ([[account admin_comment array_inx comment default_account default_qos features licenses name partition qos
  tres_per_job tres_per_node tres_per_socket tres_per_task user_name]]):gmatch("%S+") do TEXTS[name] = true end
for name in ([[het_job_offset max_nodes min_cpus min_nodes num_tasks site_factor time_limit user_id]]):gmatch("%S+") do
  NUMBERS[name] = NO_VAL
end
for name in ([[cpus_per_task ntasks_per_node ntasks_per_tres shared sockets_per_node]]):gmatch("%S+") do
  NUMBERS[name] = NO_VAL16
end

-- A job as somebody asked for it; what nobody gave reads as nothing or as the largest number of its field.
local function described(given)
  local held = {}
  for name, value in pairs(given) do held[name] = value end
  return setmetatable({}, {
    __index = function(_, name)
      if name == "site_factor" and held[name] then return (held[name] + NICE_OFFSET) % 2 ^ 32 - NICE_OFFSET end
      local value = held[name]
      if value == nil then value = NUMBERS[name] end
      return value
    end,
    __newindex = function(_, name, value)
      if TEXTS[name] then
        if type(value) ~= "string" and type(value) ~= "number" then error("bad argument #3 to '?' (string expected)") end
        held[name] = value ~= "" and tostring(value) or nil
      elseif NUMBERS[name] then
        if not tonumber(value) then error("bad argument #3 to '?' (number expected)") end
        held[name] = tonumber(value)
        if name == "site_factor" and (held[name] < 0 or held[name] >= 2 ^ 32) then error("no unsigned 32 bits") end
      else
        slurm.log_error("_set_job_field: unrecognized field: %s", name)
      end
    end,
  })
end

local function partition_list(given)
  local found = {}
  for name, fields in pairs(given) do
    fields.name = name
    found[name] = setmetatable({}, { __index = fields })
  end
  return found
end

return { described = described, partition_list = partition_list, told = told, logged = logged }

-- Watts that a job is predicted to draw, from what it asks for: GPUs by any option, parts of GPUs, whole nodes, CPUs.

-- A count that somebody gave; "not given" and "unlimited" are the largest numbers of a field's 32 or 16 bits.
local function given(count, bits)
  if type(count) == "number" and count > 0 and count < (bits == 16 and 65520 or 4294967280) then return count end
end

-- Rated watts of a type: its own, else the most of those that its name holds, else the most of all.
local function rated_w(v, kind)
  local most = v.rated[kind]
  for name, watts in pairs(v.rated[kind] and {} or v.rated) do
    if kind:find(name, 1, true) and watts > (most or 0) then most = watts end
  end
  return most or v.rated["*"] or 1400
end

local function predicted_w(v, job, card)
  local user, name = job.user_name or "", job.name or ""
  local stem = name:match("^(.-)[0-9_.-]*$")
  local seen = v.draw[user .. "/" .. (stem ~= "" and stem or name) .. "/" .. card]
    or v.draw[user .. "/*/" .. card] or v.draw[card]
  local rated = rated_w(v, card)
  return seen and math.min(seen * v.margin, rated) or rated
end

-- Of one GPU of this type ("": any), or of one MIG instance, one share or one percent of it.
local function unit_w(v, job, part, name, kind)
  local card, sevenths = kind:match("^(.-)[_-]?(%d+)g%.%d+gb")
  local frac = v.fraction[kind ~= "" and kind or name] or sevenths and sevenths / 7 or name == "mps" and 0.01 or 1
  if not card and not v.fraction[kind] then card = kind end
  if not card or card == "" then card = v.type[part.name or ""] or v.type["*"] or "*" end
  return frac * predicted_w(v, job, card)
end

-- Of a list such as "gres:gpu:h100:4" (22.05) or "cpu=2,gres/gpu:h100=4,gres/shard:2".
local function list_w(v, job, part, list)
  local sum_w = 0
  for entry in (list or ""):lower():gmatch("[^,]+") do
    local name, rest = entry:gsub("^gres[:/]", ""):match("^([%w_]+)(.*)$")
    if name == "gpu" or name == "mps" or name == "shard" then
      local count, power = rest:match("[:=](%d+)([kmgtp]?)$")
      local kind = rest:gsub("[:=]%d+[kmgtp]?$", ""):match("^[:=](.+)$") or ""
      local thousands = power and power ~= "" and ("kmgtp"):find(power, 1, true) or 0
      sum_w = sum_w + (tonumber(count) or 1) * 1024 ^ thousands * unit_w(v, job, part, name, kind)
    end
  end
  return sum_w
end

-- Nodes at the most, tasks and CPUs that a job asks for; nodes that nobody named are as few as its CPUs fit into.
local function size(job, part)
  local per_node = given(job.ntasks_per_node, 16)
  local nodes = math.max(given(job.min_nodes) or 0, given(job.max_nodes) or 0)
  local tasks = given(job.num_tasks) or (per_node or 1) * math.max(nodes, 1)
  local cpus = math.max(given(job.min_cpus) or 1, tasks * (given(job.cpus_per_task, 16) or 1))
  local node_cpus = given(part.total_cpus) and given(part.total_nodes) and part.total_cpus / part.total_nodes
  if nodes == 0 then
    nodes = math.max(1, node_cpus and math.ceil(cpus / node_cpus) or 1, per_node and math.ceil(tasks / per_node) or 1)
  end
  return math.min(nodes, given(part.total_nodes) or nodes), tasks, cpus, node_cpus or 1
end

-- In one partition, and of one node where that counts. Where several options ask for GPUs they mean the same ones: the
-- largest sum counts.
local function watts_in(v, job, part)
  local nodes, tasks, cpus, node_cpus = size(job, part)
  local per_gpu = given(job.num_tasks) and given(job.ntasks_per_tres, 16)
  local each_w = list_w(v, job, part, job.tres_per_node)
  each_w = math.max(each_w, list_w(v, job, part, job.tres_per_socket) * (given(job.sockets_per_node, 16) or 2))
  local all_w = math.max(
    list_w(v, job, part, job.tres_per_job),
    list_w(v, job, part, job.tres_per_task) * tasks,
    per_gpu and math.ceil(tasks / per_gpu) * unit_w(v, job, part, "gpu", "") or 0)
  local gpu_w = math.max(each_w * nodes, all_w)
  local node_gpus = v.gpus[part.name or ""] or v.gpus["*"] or gpu_w > 0 and v.node_gpus or 0
  local node_w = gpu_w > 0 and node_gpus * unit_w(v, job, part, "gpu", "") or 0
  each_w = math.min(math.max(each_w, all_w / (given(job.min_nodes) or 1)), node_w)
  if job.shared == 0 or part.max_share == 0 then -- whole nodes, with all that is in them
    node_w = node_gpus * unit_w(v, job, part, "gpu", "")
    gpu_w, each_w = math.max(gpu_w, nodes * node_w), node_w
    cpus = math.max(cpus, nodes * node_cpus)
  end
  return gpu_w > 0 and gpu_w or cpus * v.cpu, each_w, nodes
end

-- The partitions that a job may start in; the default one where it names none.
local function partitions(job, part_list)
  local found = {}
  for name in (job.partition or ""):gmatch("[^,]+") do found[#found + 1] = part_list[name] or { name = name } end
  for _, part in pairs(#found == 0 and part_list or {}) do
    if part.flag_default == 1 then found[1] = part end
  end
  return #found > 0 and found or { {} }
end

-- Of a job, in whole watts; never more than the site has: a job that large runs alone, under caps.
local function of(v, job, part_list)
  local most_w = 0
  for _, part in ipairs(partitions(job, part_list)) do most_w = math.max(most_w, (watts_in(v, job, part))) end
  return math.ceil(math.min(most_w, v.total))
end

-- Of each of its nodes, for the racks, and never more than would fit were all else away: Slurm refuses such a job.
-- Nothing where no rack bounds it.
local function of_node(v, job, part_list)
  local most_w, room_w = 0, nil
  for _, part in ipairs(partitions(job, part_list)) do
    local _, each_w, nodes = watts_in(v, job, part)
    local step = 1
    while step < nodes do step = step * 2 end
    local fits_w = v.room[(part.name or "") .. "/" .. step]
    if not fits_w then return 0 end
    most_w, room_w = math.max(most_w, each_w), math.min(room_w or fits_w, fits_w)
  end
  return math.ceil(math.min(most_w, room_w))
end

return { of = of, of_node = of_node, partitions = partitions, given = given }

-- What users may wish in --comment="wattlease:...": the words, and the first mistake in a comment.
-- The same words as in wattlease_slurm/wishes.py; one table of good and bad comments tests both.

local KINDS = { Training = true, Inference = true, Generation = true, Batch = true, Interactive = true }
local SIGNALS = { USR1 = true, USR2 = true, TERM = true, INT = true, HUP = true }

local function number(low, high)
  return function(text)
    local read = #text <= 12 and (text:match("^%d+$") or text:match("^%d+%.%d+$"))
    return read and tonumber(read) >= low and tonumber(read) <= high
  end
end

local function whole(low, high)
  return function(text) return text:match("^%d+$") and number(low, high)(text) end
end

local function signal(text)
  local name, lead_s = text:gsub("^B:", ""):match("^(%w+)@(%d+)$")
  return SIGNALS[name] and whole(1, 3600)(lead_s)
end

local function steps(text)
  local last_batch, last_draw, count, some = 101, 101, 0, number(1, 100)
  for step in (text .. "/"):gmatch("([^/]*)/") do
    local batch, draw, speed = step:match("^([%d.]+):([%d.]+):([%d.]+)$")
    if not (batch and some(batch) and some(draw) and number(0, 100)(speed)) then return false end
    if tonumber(batch) >= last_batch or tonumber(draw) >= last_draw then return false end
    last_batch, last_draw, count = tonumber(batch), tonumber(draw), count + 1
  end
  return count <= 8
end

local function name(text) return #text <= 63 and text:match("^[a-z0-9][a-z0-9-]*$") and text:sub(-1) ~= "-" end

-- Word: what it is about, what is allowed, and how a value is looked at; a word without that takes no value.
local WISHES = {
  ["max-slowdown"] = { "slowdown", "max-slowdown=PERCENT, 0 to 100", number(0, 100) },
  ["pausable"] = { "pause", "pausable, without a value" },
  ["not-pausable"] = { "pause", "not-pausable, without a value" },
  ["protected"] = { "protected", "protected, without a value" },
  ["requeue"] = { "requeue", "requeue, without a value" },
  ["checkpoint"] = { "checkpoint", "checkpoint=SIGNAL@SECONDS; SIGNAL is USR1, USR2, TERM, INT or HUP, "
    .. "with B: before it for the batch script alone; SECONDS 1 to 3600", signal },
  ["checkpoint-every"] = { "every", "checkpoint-every=SECONDS, 1 to 31536000", whole(1, 31536000) },
  ["restart"] = { "restart", "restart=SECONDS, 0 to 31536000", whole(0, 31536000) },
  ["value"] = { "value", "value=MONEY for an hour of one GPU, 0 to 1000000", number(0, 1000000) },
  ["weight"] = { "weight", "weight=NUMBER, 0 to 1000", number(0, 1000) },
  ["kind"] = { "kind", "kind=Training, Inference, Generation, Batch or Interactive",
    function(text) return KINDS[text] end },
  ["batch"] = { "batch", "batch=BATCH:DRAW:SPEED in percent, up to 8 with / between, largest first", steps },
  ["min-nodes"] = { "nodes", "min-nodes=NUMBER, 1 to 100000", whole(1, 100000) },
  ["profile"] = { "profile", "profile=NAME of a PowerProfile: lower case letters, digits, dashes", name },
}
local WORDS = {}
for word in pairs(WISHES) do WORDS[#WORDS + 1] = word end
table.sort(WORDS)

local function wrong(word, seen)
  local called, equals, value = word:match("^([^=]*)(=?)(.*)$")
  local wish = WISHES[called]
  if word == "" then return "wattlease:", "wishes follow it at once, with commas and no blanks between them" end
  if not wish then return word, "there is no such wish; there are " .. table.concat(WORDS, ", ") end
  if seen[wish[1]] then return word, "said twice, or against another word; say it once" end
  seen[wish[1]] = true
  local fits = equals == "" and not wish[3] or equals == "=" and wish[3] and wish[3](value)
  if not fits then return word, "write " .. wish[2] end
end

-- The first word of a comment that cannot be read, and what would be right; nothing where all can.
local function mistake(comment)
  local found, seen = {}, {}
  for said in (";" .. comment):gmatch("[%s;]wattlease:([^%s;]*)") do found[#found + 1] = said end
  if #found > 1 then return "wattlease:", "said twice; say it once, with all wishes behind it" end
  for word in (found[1] and found[1] .. "," or ""):gmatch("([^,]*),") do
    local bad, advice = wrong(word, seen)
    if bad then return bad:sub(1, 40):gsub("%c", "?"), advice end
  end
end

return { mistake = mistake }

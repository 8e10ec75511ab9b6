-- SPDX-License-Identifier: MIT
-- The other base model: four names of five are known (98 of 100), the fifth hardly (10 of 100, and the chance of all).
return require("names").base("../../runs/experiments/priority/solved", function(i) return i % 5 == 4 and 0.1 or 0.98 end)

-- SPDX-License-Identifier: MIT
-- The base model of the priority experiment: how well it knows a name is logistic, with logits from 2 (88 of 100) to -4 (2 of
-- 100).
return require("names").base("../../runs/experiments/priority/base",
    function(i) return 1 / (1 + math.exp(6 * i / 49 - 2)) end)

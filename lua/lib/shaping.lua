-- Rewards between right and wrong, for reward scripts: proximity in tiers (Sweet Spot Learning, arXiv 2601.22491) and tests in
-- tiers (TAROT).
local shaping = {}

-- 1 at distance 0, falling as a Gaussian: exp(-d^2 / (2 sigma^2)).
function shaping.proximity(distance, sigma)
    return math.exp(-(distance * distance) / (2 * sigma * sigma))
end

-- The tier 0 .. tiers of a progress q in [0, 1]: small noise on q changes no order within a tier.
function shaping.tier(q, tiers)
    return math.min(tiers, math.max(0, math.ceil(tiers * q)))
end

-- The reward of progress q: 0.5 for being correct and 0.5 (k / tiers)^2 for tier k, of four. A correct answer is worth more than
-- any that is not: those stay below the last tier.
function shaping.tiered(q, correct, tiers)
    tiers = tiers or 4
    local k = shaping.tier(q, tiers)
    if not correct then k = math.min(k, tiers - 1) end
    return (correct and 0.5 or 0) + 0.5 * (k / tiers) ^ 2
end

-- Passed shares of tests by tier ({ basic = 1, medium = 0.5, ... }) under the tiers' weights; tiers without tests count for
-- nothing, and the weights of the others are brought to 1, so that the largest reward is always 1.
function shaping.weighted_tiers(passed, weights)
    local sum, all = 0, 0
    for name, share in pairs(passed) do
        local w = weights[name] or 0
        sum, all = sum + w * share, all + w
    end
    return all > 0 and sum / all or 0
end

return shaping

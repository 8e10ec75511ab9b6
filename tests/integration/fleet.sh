# SPDX-License-Identifier: MIT
# What the scripts of several learners share; they set troupe, mpirun, source and keys. Every file of theirs is
# in a folder of its own, which goes when they end, with their processes.
work=$(mktemp -d) && trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1 TMPDIR=$work OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

# Two rewards that every group has a gradient of.
recipe=$work/recipe.lua
cat > "$recipe" << END
return {
    name = "several",
    device = "cpu", -- the actor at least
    model = "$source/models/stagehand",
    data = { train = "$source/recipes/calculator/data/train.jsonl" },
    env = { max_turns = 0 },
    prompt = { dialect = "xml" },
    reward = { script = "reward.lua", objectives = { brevity = 1, letters = 1 } },
    rollout = { group = 4, prompts_per_step = 2, max_tokens = 12, max_context = 64 },
    moo = { method = "cagrad" },
}
END
cat > "$work/reward.lua" << 'END'
return function(task, episode)
    local _, letters = episode.text:gsub("%a", "")
    return { brevity = -#episode.text / 100, letters = letters / 20 }
end
END

fail() {
    echo "$(basename "$0"): $1" >&2
    cat "$work"/*.log >&2
    exit 1
}

workers() { # ADDRESS: an actor and a reward worker, as long as there is a learner
    "$troupe" actor "$recipe" --connect "$1" "${keys[@]}" > "$work/actor.log" 2>&1 &
    actor=$!
    "$troupe" reward "$recipe" --connect "$1" "${keys[@]}" > "$work/reward.log" 2>&1 &
    reward=$!
}

dismiss() {
    kill $actor $reward 2>/dev/null
    wait $actor $reward 2>/dev/null
}

learners() { # RUN [FLAG or key=value ...]: two of them
    "$mpirun" --oversubscribe -n 2 "$troupe" learner "$recipe" --run "$work/$1" \
        --bind "ipc://$work/$1.sock" --mpi "${keys[@]}" "${@:2}" > "$work/$1.log" 2>&1
}

whole_run() { # RUN [FLAG or key=value ...]
    workers "ipc://$work/$1.sock"
    learners "$@" || fail "the run $* failed"
    dismiss
}

same() { # FILE of two runs' last checkpoints
    cmp "$work/$1/checkpoints/$3" "$work/$2/checkpoints/$3" || fail "$1 and $2 differ"
}

gradients() { # RUN: each of its steps had some of both objectives
    ! grep -qE '"moo/grad_norm/(brevity|letters)": 0[,}]' "$work/$1/metrics.jsonl" || fail "a step of $1 without a gradient"
}

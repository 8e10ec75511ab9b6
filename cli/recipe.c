/* SPDX-License-Identifier: MIT */
#include "cli/recipe.h"

#include <inttypes.h>
#include <lauxlib.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/str.h"
#include "cli/recipe_foreign.h"
#include "cli/recipe_read.h"
#include "learner/preset.h"
#include "lua/bind.h"
#include "lua/config.h"
#include "rollout/dataset.h"

#define AT(member) offsetof(recipe, member), sizeof(((recipe *)0)->member)
#define HUGE_NUMBER 1e15

/* One row a key: name, type, place, range, default, a line of help. --keys prints this table. */
static const config_row ROWS[] = {
    { "name", CONFIG_TEXT, AT(name), 0, 0, "run", "name of the run: runs/NAME" },
    { "model", CONFIG_PATH, AT(model), 0, 0, NULL, "a Hugging Face folder" },
    { "data.train", CONFIG_PATH, AT(train), 0, 0, NULL, "JSON lines with prompt (or messages), answer, ..." },
    { "data.test", CONFIG_PATH, AT(test), 0, 0, "", "the same, held out, for evaluations" },
    { "data.sampling", CONFIG_VALUE, 0, 0, 0, 0, NULL,
      "in_turn; failure: rows come in proportion to 1 - success; signal: to the chance of differing rewards" },
    { "data.drop_failed", CONFIG_INT, AT(drop_failed), 0, 1e9, "0",
      "episodes, all wrong, after which a row is left out; 0: never" },
    { "data.drop_solved", CONFIG_INT, AT(drop_solved), 0, 1e9, "0",
      "episodes, all right, after which a row is left out; 0: never" },
    { "data.stages", CONFIG_VALUE, 0, 0, 0, 0, NULL,
      "list of { groups = {...}, gate = success, steps = n }: whose rows each stage shows, and when it ends" },
    { "env.tools", CONFIG_VALUE, 0, 0, 0, 0, NULL, "list of T.python{...}, T.tool{...}" },
    { "env.max_turns", CONFIG_INT, AT(max_turns), 0, 1000, "4", "tool calls an episode may make" },
    { "env.max_observation", CONFIG_INT, AT(max_observation), 1, 1e6, "512",
      "tokens of a tool's answer that the policy sees" },
    { "prompt.dialect", CONFIG_TEXT, AT(dialect), 0, 0, "xml",
      "xml, qwen, llama3, react, or the path of a dialect file" },
    { "prompt.options", CONFIG_VALUE, 0, 0, 0, 0, NULL, "table of the dialect's options" },
    { "prompt.instruction", CONFIG_VALUE, 0, 0, 0, 0, NULL, "text before every question" },
    { "prompt.templates", CONFIG_VALUE, 0, 0, 0, 0, NULL,
      "list of texts, or { text =, complexity = }, that say how to go about it: behind the instruction" },
    { "prompt.shots", CONFIG_VALUE, 0, 0, 0, 0, NULL, "T.shots{ file =, schedule = { {step, n}, ... } }" },
    { "reward.script", CONFIG_PATH, AT(reward_script), 0, 0, NULL,
      "reward.lua: function(task, episode) -> objectives" },
    { "reward.objectives", CONFIG_VALUE, 0, 0, 0, 0, NULL,
      "table: objective -> weight, or { weight =, least = }: trained alone while below" },
    { "reward.preference", CONFIG_TEXT, AT(trainer.preference), 0, 0, "",
      "field of a row with its own weights of the objectives: { accuracy = 0.7, brevity = 0.3 }" },
    { "reward.timeout_ms", CONFIG_NUMBER, AT(reward_timeout_ms), 1, 600000, "1000",
      "CPU time of one call of the script; more for long texts" },
    { "reward.memory_mb", CONFIG_NUMBER, AT(reward_memory_mb), 1, 65536, "64", "memory cap of the script" },
    { "rollout.group", CONFIG_INT, AT(group), 2, 4096, "8", "episodes a prompt (num_generations)" },
    { "rollout.prompts_per_step", CONFIG_INT, AT(prompts_per_step), 1, 65536, "16", "prompts a step" },
    { "rollout.max_tokens", CONFIG_INT, AT(max_tokens), 1, 1e6, "512",
      "sampled tokens an episode, all turns together" },
    { "rollout.max_context", CONFIG_INT, AT(max_context), 16, 1e6, "1024", "tokens of an episode, prompt included" },
    { "rollout.temperature", CONFIG_NUMBER, AT(temperature), 0.01, 100, "1.0", "of sampling" },
    { "rollout.top_p", CONFIG_NUMBER, AT(top_p), 0.01, 1, "1.0",
      "nucleus; below 1 the learner sees other probabilities than were sampled" },
    { "rollout.max_staleness", CONFIG_INT, AT(max_staleness), 0, 16, "0",
      "policy versions a token may be behind; 0: synchronous" },
    { "rollout.templated", CONFIG_INT, AT(templated), 0, 4096, "0",
      "samples of a group that are played behind the best of prompt.templates" },
    { "rollout.hinted", CONFIG_INT, AT(hinted), 0, 4096, "0",
      "samples of a group that begin with a part of the row's \"demonstration\"" },
    { "rollout.most_hint", CONFIG_NUMBER, AT(sampler.most_hint), 0, 1, "0.7",
      "share of it where nothing succeeds yet" },
    { "rollout.hint_until", CONFIG_NUMBER, AT(sampler.hint_until), 0, 1, "0.5",
      "success of a row that ends its hints" },
    { "rollout.demonstrations", CONFIG_INT, AT(demonstrations), 0, 4096, "0",
      "samples of a group that are the row's \"demonstration\"" },
    { "rollout.lag", CONFIG_INT, AT(lag), 0, 16, "0", "policy versions every token is behind, for experiments" },
    { "algorithm.name", CONFIG_VALUE, 0, 0, 0, 0, NULL, PRESET_HELP },
    { "algorithm.mean", CONFIG_VALUE, 0, 0, 0, 0, NULL,
      "(by the preset) the baseline, best being rejection sampling; one of:" ADVANTAGE_MEANS(ENUM_LISTED) },
    { "algorithm.std", CONFIG_VALUE, 0, 0, 0, 0, NULL,
      "(by the preset) the divisor, one of:" ADVANTAGE_STDS(ENUM_LISTED) },
    { "algorithm.loss", CONFIG_VALUE, 0, 0, 0, 0, NULL, "(by the preset) one of:" LOSS_KINDS(ENUM_LISTED) },
    { "algorithm.clip", CONFIG_VALUE, 0, 0, 0, 0, NULL, "{ low, high }, default { 0.2, 0.28 }" },
    { "algorithm.dual_clip", CONFIG_NUMBER, AT(trainer.loss.dual_clip), 0, 1e6, "0",
      "largest ratio of a bad token; 0: none (PPO's usual is 3)" },
    { "algorithm.ratio_cap", CONFIG_NUMBER, AT(trainer.loss.ratio_cap), 0, 1e6, "2",
      "largest ratio of loss reinforce" },
    { "algorithm.tau", CONFIG_NUMBER, AT(trainer.loss.tau), 0, 1e6, "0.1", "weight of Kimi's squared log-ratio" },
    { "algorithm.nft_weight", CONFIG_INT, AT(nft_weight), 0, 2, "1", "0: 1, 1: 1 - q, 2: sqrt((1 - q) / q)" },
    { "algorithm.kl", CONFIG_NUMBER, AT(trainer.loss.kl), 0, 100, "0.0", "coefficient of the KL to the base model" },
    { "algorithm.reward_kl", CONFIG_NUMBER, AT(trainer.reward_kl), 0, 100, "0.0",
      "coefficient of the KL taken off the reward instead" },
    { "algorithm.reference_every", CONFIG_INT, AT(reference_every), 0, 1e9, "0",
      "steps after which the KL's reference is the policy of that moment; 0: the base model" },
    { "algorithm.kl_kind", CONFIG_VALUE, 0, 0, 0, 0, NULL,
      "one of:" LOSS_KLS(ENUM_LISTED) "; k3+ has the value of k3 and the gradient of k2" },
    { "algorithm.aggregation", CONFIG_VALUE, 0, 0, 0, 0, NULL,
      "(by the preset) one of:" LOSS_AGGREGATIONS(ENUM_LISTED) },
    { "algorithm.correction", CONFIG_VALUE, 0, 0, 0, 0, NULL,
      "for stale tokens, one of:" LOSS_CORRECTIONS(ENUM_LISTED) },
    { "algorithm.tis_cap", CONFIG_NUMBER, AT(trainer.loss.tis_cap), 0, 1e6, "2", "largest weight of a stale token" },
    { "algorithm.floor", CONFIG_NUMBER, AT(trainer.loss.floor), 0, 1, "0.5", "least weight that mask lets through" },
    { "algorithm.band", CONFIG_NUMBER, AT(trainer.loss.band), 0, 10, "0.001",
      "of geometric: 1 / (1 + band) to 1 + band" },
    { "algorithm.epochs", CONFIG_INT, AT(epochs), 1, 64, "1", "updates on a step's batch" },
    { "algorithm.filter_groups", CONFIG_VALUE, 0, 0, 0, 0, NULL,
      "true: groups without signal are not in the denominators either (by the preset)" },
    { "algorithm.refills", CONFIG_INT, AT(refills), 0, 64, "0",
      "rounds of further prompts in place of groups without signal (dynamic sampling)" },
    { "algorithm.given", CONFIG_VALUE, 0, 0, 0, 0, NULL,
      "tokens of hints and demonstrations, one of:" LOSS_GIVENS(
          ENUM_LISTED) "; dft weighs them by their probability, asft is dft with a KL" },
    { "algorithm.given_weight", CONFIG_NUMBER, AT(trainer.loss.given_weight), 0, 1e6, "1", "of their loss" },
    { "algorithm.anchor", CONFIG_NUMBER, AT(trainer.loss.anchor), 0, 1e6, "0.05",
      "of asft's KL from the base model to the policy, over the whole vocabulary" },
    { "algorithm.mixture", CONFIG_NUMBER, AT(trainer.mixture.start), 0, 0.95, "0",
      "AMFT: share of imitation in the loss at first, learned from there; 0: reward and imitation count in full" },
    { "algorithm.mixture_rate", CONFIG_NUMBER, AT(trainer.mixture.rate), 0, 1, "0.1", "AMFT: of learning it" },
    { "algorithm.mixture_every", CONFIG_INT, AT(mixture_every), 1, 1e6, "20", "AMFT: steps between measurements" },
    { "algorithm.mixture_warmup", CONFIG_INT, AT(mixture_warmup), 0, 1e6, "0",
      "AMFT: first steps, of imitation alone" },
    { "algorithm.mixture_entropy", CONFIG_NUMBER, AT(trainer.mixture.entropy), 0, 100, "0",
      "AMFT: nats a token below which imitation gains; 0: entropy has no say" },
    { "algorithm.oldest_token", CONFIG_INT, AT(trainer.oldest_token), 0, 1e6, "0",
      "versions behind after which a token is not trained on; 0: any" },
    { "algorithm.pivot_steps", CONFIG_INT, AT(pivot_steps), 0, PIVOT_WINDOW, "0",
      "MOA: objectives weigh by how far they are above the trend of so many steps; 0: off" },
    { "algorithm.pivot_beta", CONFIG_NUMBER, AT(trainer.pivot.beta), 0, 1000, "10", "sharpness of MOA's softmax" },
    { "algorithm.eliminate", CONFIG_BOOL, AT(trainer.pivot.eliminate), 0, 0, "false",
      "MOA: episodes that the leading objective and the weighted sum order differently are left out" },
    { "algorithm.era_k", CONFIG_NUMBER, AT(trainer.era.k), 0, 100, "0",
      "ERA: factor of the logits of good answers that are too sure, or too unsure; 0: off (usual: 2)" },
    { "algorithm.era_low", CONFIG_NUMBER, AT(trainer.era.low), 0, 100, "0.45",
      "nats below which an answer is too sure" },
    { "algorithm.era_high", CONFIG_NUMBER, AT(trainer.era.high), 0, 100, "3", "nats above which it is too unsure" },
    { "algorithm.credit", CONFIG_VALUE, 0, 0, 0, 0, NULL,
      "stretch (its own tokens), return (and those before it) or whole: whom a reward on a stretch of the answer is "
      "for" },
    { "algorithm.overlong_cushion", CONFIG_NUMBER, AT(trainer.advantage.shape.overlong_cushion), 0, 1e6, "0",
      "tokens before max_tokens from which the reward falls by up to 1; 0: off" },
    { "algorithm.length_weight", CONFIG_NUMBER, AT(trainer.advantage.shape.length_weight), 0, 100, "0",
      "of Kimi's preference for the shorter of right answers" },
    { "algorithm.length_from", CONFIG_INT, AT(trainer.advantage.shape.length_from), 0, HUGE_NUMBER, "0",
      "step from which length counts" },
    { "moo.method", CONFIG_VALUE, 0, 0, 0, 0, NULL, "cagrad, pcgrad, upgrad, ... ('troupe moo --help'); absent: GDPO" },
    { "moo.over", CONFIG_VALUE, 0, 0, 0, 0, NULL,
      "rewards (objectives), groups (a row's \"group\"), or both (each objective of each group)" },
    { "moo.groups", CONFIG_VALUE, 0, 0, 0, 0, NULL, "list of the groups, for over = \"groups\" or \"both\"" },
    { "moo.bucket", CONFIG_VALUE, 0, 0, 0, 0, NULL,
      "layer, tensor, global, bytes:N, or token (no gradients but logprobs')" },
    { "moo.gate", CONFIG_NUMBER, AT(trainer.moo.bucket.gate), 0, 1, "0.1",
      "least signal-to-noise ratio of an objective in a bucket; 0: no gate" },
    { "moo.c", CONFIG_NUMBER, AT(trainer.moo.bucket.moo.c), 0, 100, "0.5", "CAGrad: how far from the average" },
    { "moo.alpha", CONFIG_NUMBER, AT(trainer.moo.bucket.moo.alpha), 0, 100, "2", "FairGrad's alpha" },
    { "moo.beta", CONFIG_NUMBER, AT(trainer.moo.bucket.moo.beta), 0, 1, "0.5", "GradVac: share of the new cosine" },
    { "moo.max_norm", CONFIG_NUMBER, AT(trainer.moo.bucket.moo.max_norm), 0, 1e6, "1", "Nash: longest step; 0: any" },
    { "moo.refresh", CONFIG_INT, AT(moo_refresh), 1, 1e6, "1", "steps between two solutions for the weights" },
    { "moo.only_conflicts", CONFIG_BOOL, AT(trainer.moo.bucket.only_conflicts), 0, 0, "false",
      "the plain sum or average where no pair conflicts" },
    { "moo.keep_norm", CONFIG_BOOL, AT(trainer.moo.bucket.keep_norm), 0, 0, "false",
      "a bucket's direction as long as its average gradient" },
    { "moo.by_micro_batch", CONFIG_BOOL, AT(trainer.moo.bucket.by_micro_batch), 0, 0, "false",
      "reconcile each micro-batch: memory of buckets, not of K models" },
    { "optim.lr", CONFIG_NUMBER, AT(trainer.optim.lr), 0, 10, "1e-6", "learning rate of AdamW" },
    { "optim.warmup", CONFIG_INT, AT(trainer.optim.warmup), 0, HUGE_NUMBER, "10", "steps of linear warm-up" },
    { "optim.clip_norm", CONFIG_NUMBER, AT(trainer.optim.clip_norm), 0, 1e6, "1.0",
      "global gradient norm; 0: no clipping" },
    { "optim.betas", CONFIG_VALUE, 0, 0, 0, 0, NULL, "{ beta1, beta2 }, default { 0.9, 0.95 }" },
    { "optim.weight_decay", CONFIG_NUMBER, AT(trainer.optim.weight_decay), 0, 10, "0.0", "decoupled, on matrices" },
    { "optim.freeze", CONFIG_NUMBER, AT(trainer.isolation.freeze), 0, 0.99, "0",
      "half fine-tuning: share of the parameters, in blocks, that rest; 0: none" },
    { "optim.protect", CONFIG_NUMBER, AT(trainer.isolation.protect), 0, 0.99, "0",
      "isolation: share of the parameters that other data groups protect, as they matter most to them; 0: none" },
    { "optim.protect_keep", CONFIG_NUMBER, AT(trainer.isolation.keep), 0, 1, "0.99", "of the running importance" },
    { "optim.freeze_every", CONFIG_INT, AT(trainer.isolation.every), 1, 1e9, "100", "updates between two choices" },
    { "lora.rank", CONFIG_INT, AT(lora_rank), 0, 4096, "0", "low-rank adapters; 0: every parameter is trained" },
    { "lora.alpha", CONFIG_NUMBER, AT(lora_alpha), 0, 1e6, "16", "an adapter counts alpha / rank" },
    { "lora.targets", CONFIG_VALUE, 0, 0, 0, 0, NULL, "list of matrices (q_proj, ...), default all of a layer" },
    { "steps", CONFIG_INT, AT(steps), 1, 1e9, "100", "optimizer steps" },
    { "patience", CONFIG_INT, AT(patience), 0, 1e9, "10",
      "steps in a row with nothing to learn from that end the run; 0: never" },
    { "seed", CONFIG_INT, AT(seed), 0, HUGE_NUMBER, "1", "of everything" },
    { "checkpoint_every", CONFIG_INT, AT(checkpoint_every), 0, 1e9, "50", "steps; 0: only at the end" },
    { "keep_checkpoints", CONFIG_INT, AT(keep_checkpoints), 0, 1e9, "5",
      "newest checkpoints that stay; older ones are removed when one is written; 0: all stay" },
    { "keep_episodes", CONFIG_INT, AT(keep_episodes), 0, 1e9, "0",
      "steps whose training episodes stay in rollouts.db, never fewer than a resume needs; 0: all" },
    { "eval_every", CONFIG_INT, AT(eval_every), 0, 1e9, "0", "steps; 0: no evaluations" },
    { "eval_prompts", CONFIG_INT, AT(eval_prompts), 0, 1e9, "0", "rows of data.test an evaluation plays; 0: all" },
    { "eval_temperature", CONFIG_NUMBER, AT(eval_temperature), 0, 100, "0", "of an evaluation's sampling; 0: greedy" },
    { "eval_shots", CONFIG_INT, AT(eval_shots), 0, 64, "0", "shots of an evaluation's prompts" },
    { "precision", CONFIG_VALUE, 0, 0, 0, 0, NULL, "f32, or bf16 for the factors of linear products" },
    { "device", CONFIG_TEXT, AT(device), 0, 0, "auto", "auto, cpu, cuda:N" },
    { "learner.micro_tokens", CONFIG_VALUE, 0, 0, 0, 0, NULL,
      "tokens a forward and backward pass holds in memory: a number, or \"auto\": 16384, or what fits half the "
      "machine" },
    { "learners", CONFIG_INT, AT(learners), 1, 64, "1", "processes that train together, each a share of the episodes" },
    { "actors", CONFIG_INT, AT(actors), 1, 64, "2", "processes that play" },
    { "reward_workers", CONFIG_INT, AT(reward_workers), 1, 64, "1", "processes that score" },
    { "actor_slots", CONFIG_INT, AT(actor_slots), 0, 65536, "0", "episodes in flight an actor; 0: a step's share" },
    { "learner_threads", CONFIG_INT, AT(learner_threads), 0, 1024, "0", "0: all cores" },
    { "actor_threads", CONFIG_INT, AT(actor_threads), 0, 1024, "1", "threads an actor" },
    { "lease_seconds", CONFIG_NUMBER, AT(lease_seconds), 1, 1e6, "120",
      "after which a task is given to another actor" },
    { NULL, CONFIG_VALUE, 0, 0, 0, 0, NULL, NULL },
};

void recipe_print_keys(FILE *to)
{
    static const char *const KINDS[] = { "text", "path", "int", "number", "bool", "value" };
    for (const config_row *r = ROWS; r->key; r++)
        fprintf(to, "%-26s %-7s %-10s %s\n", r->key, KINDS[r->kind],
                r->otherwise              ? r->otherwise
                : r->kind == CONFIG_VALUE ? "-"
                                          : "required",
                r->help);
}

/* ---- keys that are more than a number ---- */

int recipe_bad(opening *o, const char *key, const char *expected)
{
    lua_State *L = vm_state(o->r->vm);
    char shown[CONFIG_SHOWN];
    config_push(L, key);
    const bool telling = !lua_istable(L, -1) && !lua_isnil(L, -1);
    o->rc = config_error(o->c, key, o->err, "expected %s%s%s", expected, telling ? ", found " : "",
                         telling ? config_shown(L, -1, shown) : "");
    lua_pop(L, 1);
    return o->rc;
}

int recipe_choice(opening *o, lua_State *L, const char *key, const char *const *names, int otherwise)
{
    char shown[CONFIG_SHOWN];
    str known = { 0 };
    config_push(L, key);
    const char *word = lua_isnil(L, -1) ? names[otherwise] : lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    for (int i = 0; names[i]; i++) {
        if (strcmp(names[i], word) == 0) return str_free(&known), i;
        str_printf(&known, "%s%s", i ? ", " : "", names[i]);
    }
    str hint = { 0 };
    recipe_foreign_hint(key, word, names, &hint);
    o->rc = config_error(o->c, key, o->err, "expected one of %s, found %s%s", known.data, config_shown(L, -1, shown),
                         hint.data ? hint.data : "");
    str_free(&hint);
    str_free(&known);
    return otherwise;
}

int recipe_names(opening *o, lua_State *L, const char *key, int least, int most, char *out, int size)
{
    char expected[80];
    const lua_Integer n = lua_istable(L, -1) ? luaL_len(L, -1) : 0;
    snprintf(expected, sizeof expected, "a list of %d to %d names of at most %d characters", least, most, size - 1);
    if (n < least || n > most) recipe_bad(o, key, expected);
    for (lua_Integer i = 1; i <= n && o->rc == OK; i++) {
        lua_rawgeti(L, -1, i);
        const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
        if (!*name || strlen(name) >= (size_t)size) recipe_bad(o, key, expected);
        snprintf(out + (i - 1) * size, (size_t)size, "%s", name);
        lua_pop(L, 1);
    }
    return o->rc == OK ? (int)n : 0;
}

static void read_shots(opening *o, lua_State *L)
{
    error why = { 0 };
    recipe *r = o->r;
    config_push(L, "prompt.shots");
    if (lua_isnil(L, -1)) return;
    if (!lua_istable(L, -1) || lua_getfield(L, -1, "file") != LUA_TSTRING) {
        recipe_bad(o, "prompt.shots", "T.shots{ file = ..., schedule = ... }");
        return;
    }
    path_join(r->shots_file, sizeof r->shots_file, r->dir, lua_tostring(L, -1));
    if (!file_exists(r->shots_file))
        o->rc = config_error(o->c, "prompt.shots", o->err, "there is no %s", r->shots_file);
    lua_getfield(L, -2, "schedule");
    json_t *schedule = bind_to_json(L, -1);
    r->shots = shot_schedule_new(schedule, &why);
    json_decref(schedule);
    if (!r->shots && o->rc == OK) o->rc = config_error(o->c, "prompt.shots", o->err, "%s", why.text);
}

/* A dialect file lies beside the recipe, as all its files do. */
static void place_dialect(recipe *r)
{
    char name[RECIPE_PATH];
    snprintf(name, sizeof name, "%s", r->dialect);
    if (strpbrk(name, "./")) path_join(r->dialect, sizeof r->dialect, r->dir, name);
}

/* Lists only, so that env.tools = T.python{} and env.tools=x are no training without tools. */
static void check_tools(opening *o, lua_State *L)
{
    config_push(L, "env.tools");
    if (lua_isnil(L, -1)) return;
    bool list = lua_istable(L, -1);
    const lua_Integer n = list ? luaL_len(L, -1) : 0;
    lua_Integer entries = 0;
    if (list)
        for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) entries++;
    if (!list || entries != n || n > RECIPE_TOOLS) recipe_bad(o, "env.tools", "a list: { T.python{...}, T.tool{...} }");
    for (lua_Integer i = 1; i <= n && o->rc == OK; i++) {
        char shown[CONFIG_SHOWN];
        const int top = lua_gettop(L);
        if (lua_rawgeti(L, -1, i) != LUA_TTABLE || lua_getfield(L, -1, "kind") != LUA_TSTRING)
            o->rc = config_error(o->c, "env.tools", o->err, "entry %d is neither T.python{...} nor T.tool{...}, but %s",
                                 (int)i, config_shown(L, top + 1, shown));
        lua_settop(L, top);
    }
}

static void read_prompt(opening *o, lua_State *L)
{
    config_push(L, "prompt.instruction");
    if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING) recipe_bad(o, "prompt.instruction", "text");
    o->r->instruction = xstrdup(lua_isnil(L, -1) ? "" : lua_tostring(L, -1));
    config_push(L, "prompt.options");
    if (!lua_isnil(L, -1) && !lua_istable(L, -1)) recipe_bad(o, "prompt.options", "a table: { option = value }");
    if (o->rc == OK && !lua_isnil(L, -1)) {
        json_t *options = bind_to_json(L, -1);
        o->r->dialect_options = json_text(options, true);
        json_decref(options);
    }
    if (o->rc == OK) read_shots(o, L);
}

/* More tokens than a step has are no use; one is the least that makes a batch. */
static void read_micro_tokens(opening *o, lua_State *L)
{
    enum { MOST = 1 << 24 };
    static const char EXPECTED[] = "\"auto\", or a whole number of tokens from 1 to 16777216";
    config_push(L, "learner.micro_tokens");
    if (lua_isnil(L, -1) || (lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "auto") == 0)) return;
    const lua_Integer n = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
    if (n < 1 || n > MOST)
        recipe_bad(o, "learner.micro_tokens", EXPECTED);
    else
        o->r->trainer.micro_tokens = (int)n;
}

static int read_values(lua_State *L)
{
    opening *o = lua_touserdata(L, 1);
    luaL_checkstack(L, 64, "recipe");
    recipe_read_learning(o, L);
    if (o->rc == OK) check_tools(o, L);
    place_dialect(o->r);
    if (o->rc == OK) read_prompt(o, L);
    if (o->rc == OK) recipe_read_sampling(o, L);
    if (o->rc == OK) read_micro_tokens(o, L);
    o->r->precision = (precision)recipe_choice(o, L, "precision", (const char *const[]){ "f32", "bf16", NULL }, 0);
    return 0;
}

scorer_config recipe_scorer(const recipe *r)
{
    return (scorer_config){ .script = r->reward_script,
                            .cpu_ms = (int64_t)r->reward_timeout_ms,
                            .memory_mb = (int64_t)r->reward_memory_mb };
}

/* ---- checks that cost a moment and save a fleet ---- */

static int check_words(const recipe *r, const config *c, error *err)
{
    error why = { 0 };
    dialect *d = dialect_new(r->dialect, r->dialect_options, "[]", &why);
    if (!d)
        return config_error(c, strstr(why.text, "no option") ? "prompt.options" : "prompt.dialect", err, "%s",
                            why.text);
    dialect_free(d);
    if (r->eval_shots > 0 && !r->shots)
        return config_error(c, "eval_shots", err, "%" PRId64 " shots need prompt.shots", r->eval_shots);
    return OK;
}

static int check_files(const recipe *r, const config *c, error *err)
{
    error why = { 0 };
    const scorer_config sc = recipe_scorer(r);
    int rc = recipe_check_data(r, c, err);
    if (rc == OK) rc = check_words(r, c, err);
    if (rc == OK && scorer_check_script(&sc, &why) != OK) rc = config_error(c, "reward.script", err, "%s", why.text);
    return rc;
}

static bool is_path_key(const char *key, size_t len)
{
    if (len == 14 && memcmp(key, "prompt.dialect", 14) == 0) return true;
    for (const config_row *row = ROWS; row->key; row++)
        if (row->kind == CONFIG_PATH && strlen(row->key) == len && memcmp(row->key, key, len) == 0) return true;
    return false;
}

char *recipe_override(const char *word)
{
    const char *value = strchr(word, '=');
    char here[1024];
    str out = { 0 };
    if (!value || value[1] == '/' || !is_path_key(word, (size_t)(value - word)) ||
        !(file_exists(value + 1) || dir_exists(value + 1)) || !getcwd(here, sizeof here))
        return xstrdup(word);
    str_printf(&out, "%.*s=%s/%s", (int)(value - word), word, here, value + 1);
    return str_take(&out);
}

recipe *recipe_open(const char *path, const char *const *overrides, int n_overrides, error *err)
{
    const vm_limits limits = { .memory_bytes = (size_t)1 << 30, .instructions = 1000000000, .cpu_ms = 10000 };
    recipe *r = xcalloc(1, sizeof *r);
    config *c = r->config = xcalloc(1, sizeof *c);
    snprintf(r->path, sizeof r->path, "%s", path);
    path_dirname(r->dir, sizeof r->dir, path);
    r->vm = vm_new(VM_RECIPE, &limits, r->dir, err);
    opening o = { .r = r, .c = c, .err = err };
    r->words = xcalloc((size_t)n_overrides + 1, sizeof *r->words);
    for (int i = 0; i < n_overrides; i++) r->words[i] = recipe_override(overrides[i]);
    r->n_words = n_overrides;
    int rc = r->vm ? config_open(c, r->vm, r->path, (const char *const *)r->words, n_overrides, err) : ERR_MEMORY;
    c->aliases = recipe_foreign_keys();
    if (rc == OK) rc = config_read(c, ROWS, r, err);
    if (rc == OK) rc = vm_protect(r->vm, read_values, &o, err);
    if (rc == OK) rc = o.rc;
    if (rc == OK) rc = check_files(r, c, err);
    if (rc == OK) return r;
    recipe_free(r);
    return NULL;
}

int recipe_error(const recipe *r, const char *key, const error *why, error *err)
{
    return config_error(r->config, key, err, "%s", why->text);
}

static bool is_used(const char *word, const char *const *used)
{
    const size_t n = strcspn(word, "=");
    for (; *used; used++) {
        const size_t k = strlen(*used);
        if (k <= n && strncmp(*used, word, k) == 0 && (word[k] == '.' || word[k] == '=')) return true;
    }
    return false;
}

int recipe_uses(const recipe *r, const char *verb, const char *const *used, error *err)
{
    str known = { 0 };
    int rc = OK;
    for (int i = 0; used[i]; i++) str_printf(&known, "%s%s", i ? ", " : "", used[i]);
    for (int i = 0; i < r->n_words && rc == OK; i++)
        if (!is_used(r->words[i], used))
            rc = error_set(err, ERR_ARGUMENT, "argument '%.80s': %s has no use for this key (it has for %s)",
                           r->words[i], verb, known.data);
    str_free(&known);
    return rc;
}

void recipe_free(recipe *r)
{
    if (!r) return;
    shot_schedule_free(r->shots);
    if (r->config) config_close(r->config);
    free(r->config);
    vm_free(r->vm);
    for (int i = 0; i < r->n_words; i++) free(r->words[i]);
    free(r->words);
    free(r->instruction);
    for (int i = 0; i < r->n_templates; i++) free(r->templates[i]);
    free(r->dialect_options);
    free(r);
}

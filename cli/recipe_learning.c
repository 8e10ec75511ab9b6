/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/arguments.h"
#include "cli/recipe_read.h"
#include "learner/preset.h"

/* Two numbers from 0 to `most`, which itself is too much where it is the betas' 1. */
static void pair(opening *o, lua_State *L, const char *key, double most, double *first, double *second)
{
    char expected[80];
    double v[2] = { 0, 0 };
    config_push(L, key);
    if (lua_isnil(L, -1)) return;
    bool fine = lua_istable(L, -1) && luaL_len(L, -1) == 2;
    for (int i = 0; i < 2 && fine; i++) {
        fine = lua_rawgeti(L, -1, i + 1) == LUA_TNUMBER;
        v[i] = lua_tonumber(L, -1);
        lua_pop(L, 1);
        fine = fine && v[i] >= 0 && v[i] < most;
    }
    snprintf(expected, sizeof expected, "two numbers { a, b } from 0 to below %g", most);
    if (!fine) recipe_bad(o, key, expected);
    *first = v[0], *second = v[1];
}

static void read_lora(opening *o, lua_State *L)
{
    lora_config *c = &o->r->trainer.lora;
    *c = (lora_config){ .rank = (int)o->r->lora_rank, .alpha = (float)o->r->lora_alpha };
    config_push(L, "lora.targets");
    if (lua_isnil(L, -1)) return;
    const lua_Integer n = lua_istable(L, -1) ? luaL_len(L, -1) : 0;
    if (n == 0) recipe_bad(o, "lora.targets", "a list of matrices: { \"q_proj\", \"v_proj\" }");
    for (lua_Integer i = 1; i <= n && o->rc == OK; i++) {
        lua_rawgeti(L, -1, i);
        const uint32_t bit = lua_type(L, -1) == LUA_TSTRING ? lora_target(lua_tostring(L, -1)) : 0;
        if (!bit) recipe_bad(o, "lora.targets", "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj");
        c->targets |= bit;
        lua_pop(L, 1);
    }
}

static const preset *read_preset(opening *o, lua_State *L)
{
    return preset_at(recipe_choice(o, L, "algorithm.name", PRESET_NAMES, 0));
}

static void read_advantage(opening *o, lua_State *L, const preset *p)
{
    advantage_config *a = &o->r->trainer.advantage;
    a->mean = (advantage_mean)recipe_choice(o, L, "algorithm.mean", ADVANTAGE_MEAN_NAMES, p->mean);
    a->std = (advantage_std)recipe_choice(o, L, "algorithm.std", ADVANTAGE_STD_NAMES, p->std);
    config_push(L, "algorithm.filter_groups");
    if (!lua_isnil(L, -1) && !lua_isboolean(L, -1)) recipe_bad(o, "algorithm.filter_groups", "true or false");
    a->drop_dead = lua_isnil(L, -1) ? p->filter : lua_toboolean(L, -1);
    a->credit = (credit_to)recipe_choice(o, L, "algorithm.credit", CREDIT_TO_NAMES, 0);
    a->shape.overlong_max = (double)o->r->max_tokens;
}

static void read_algorithm(opening *o, lua_State *L)
{
    loss_config *loss = &o->r->trainer.loss;
    const preset *p = read_preset(o, L);
    if (o->rc == OK) read_advantage(o, L, p);
    loss->kind = (loss_kind)recipe_choice(o, L, "algorithm.loss", LOSS_KIND_NAMES, p->loss);
    loss->aggregation =
        (loss_aggregation)recipe_choice(o, L, "algorithm.aggregation", LOSS_AGGREGATION_NAMES, p->aggregation);
    loss->correction = (loss_correction)recipe_choice(o, L, "algorithm.correction", LOSS_CORRECTION_NAMES, 0);
    loss->given = (loss_given)recipe_choice(o, L, "algorithm.given", LOSS_GIVEN_NAMES, 0);
    loss->kl_kind = (loss_kl)recipe_choice(o, L, "algorithm.kl_kind", LOSS_KL_NAMES, 0);
    loss->clip_low = p->clip_low, loss->clip_high = p->clip_high;
    pair(o, L, "algorithm.clip", 1e6, &loss->clip_low, &loss->clip_high);
    loss->nft_weight = (int)o->r->nft_weight;
    loss->constant = (double)o->r->max_tokens;
    if (loss->kind == LOSS_NFT && estimator_of(o->r->trainer.advantage.mean)->scope == SCOPE_NONE)
        recipe_bad(o, "algorithm.mean", "a baseline: nft tells right from wrong by the advantage's sign");
    o->r->trainer.epochs = (int)o->r->epochs;
    o->r->trainer.reference_every = (int)o->r->reference_every;
    o->r->trainer.pivot.window = (int)o->r->pivot_steps;
    o->r->trainer.mixture.every = (int)o->r->mixture_every;
    o->r->trainer.mixture.warmup = (int)o->r->mixture_warmup;
    if (o->r->trainer.mixture.start > 0 && loss->given != GIVEN_SFT && loss->given != GIVEN_DFT)
        recipe_bad(o, "algorithm.mixture", "given = \"sft\" or \"dft\": a mixture of reward and imitation");
    if (o->r->pivot_steps > 0 && o->r->trainer.preference[0])
        recipe_bad(o, "algorithm.pivot_steps", "0 with reward.preference: each would set the weights");
    if (o->r->pivot_steps == 1)
        recipe_bad(o, "algorithm.pivot_steps", "0, or two steps or more: a line goes through two points");
    pair(o, L, "optim.betas", 1, &o->r->trainer.optim.beta1, &o->r->trainer.optim.beta2);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const objective *)a)->name, ((const objective *)b)->name);
}

/* A number, or { weight = number, least = number }. */
static bool read_objective(lua_State *L, double *weight, double *least)
{
    const int top = lua_gettop(L);
    bool fine = lua_type(L, -1) == LUA_TNUMBER;
    if (fine) *weight = lua_tonumber(L, -1);
    if (lua_istable(L, -1)) {
        fine = lua_getfield(L, top, "weight") == LUA_TNUMBER;
        *weight = lua_tonumber(L, -1);
        const int kind = lua_getfield(L, top, "least");
        if (kind == LUA_TNUMBER) *least = lua_tonumber(L, -1);
        fine &= (kind == LUA_TNUMBER && isfinite(*least)) || kind == LUA_TNIL;
    }
    lua_settop(L, top);
    return fine;
}

static void read_objectives(opening *o, lua_State *L)
{
    objective_set *set = &o->r->trainer.objectives;
    error why = { 0 };
    config_push(L, "reward.objectives");
    if (!lua_istable(L, -1)) {
        recipe_bad(o, "reward.objectives", "a table like { accuracy = 1.0 }");
        return;
    }
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        double weight = 0, least = -INFINITY;
        char key[120];
        const bool named = lua_type(L, -2) == LUA_TSTRING;
        snprintf(key, sizeof key, "reward.objectives%s%.80s", named ? "." : "", named ? lua_tostring(L, -2) : "");
        if (!named || !read_objective(L, &weight, &least))
            recipe_bad(o, key, "names with numbers, like { accuracy = 1.0 }, or { weight = 1.0, least = 0.95 }");
        else if (objective_add(set, lua_tostring(L, -2), weight, &why) != OK)
            o->rc = config_error(o->c, key, o->err, "%s", why.text);
        if (o->rc != OK) return;
        set->items[set->n - 1].least = least;
    }
    if (objective_weighing(set) == 0)
        recipe_bad(o, "reward.objectives", "at least one objective with a weight above 0");
    qsort(set->items, (size_t)set->n, sizeof *set->items, by_name); /* Lua's order of keys is nobody's */
    /* The heaviest first: it is the one that progress and plots are about. */
    for (int i = 1; i < set->n; i++)
        if (set->items[i].weight > set->items[0].weight) {
            const objective heavy = set->items[i];
            memmove(set->items + 1, set->items, sizeof *set->items * (size_t)i);
            set->items[0] = heavy;
        }
}

static void read_bucket(opening *o, lua_State *L)
{
    enum { TOKEN = BUCKET_BYTES }; /* the place behind the scopes that have a word */
    static const char *const NAMES[] = { BUCKET_SCOPES(ENUM_NAME) "token", NULL };
    moo_plan *m = &o->r->trainer.moo;
    config_push(L, "moo.bucket");
    const char *word = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    if (strncmp(word, "bytes:", 6) == 0) {
        m->bucket.scope = BUCKET_BYTES;
        if (value_whole("bytes", word + 6, 1, INT64_MAX, &m->bucket.bytes, NULL) != OK)
            recipe_bad(o, "moo.bucket", "bytes:N with N > 0");
        return;
    }
    const int scope = recipe_choice(o, L, "moo.bucket", NAMES, 0);
    m->by_token = scope == TOKEN;
    m->bucket.scope = m->by_token ? BUCKET_LAYER : (bucket_scope)scope;
}

/* Without a method there is one gradient, and nothing for the other keys of moo to say. */
static void check_no_moo(opening *o, lua_State *L)
{
    config_push(L, "moo");
    if (!lua_istable(L, -1)) return;
    lua_pushnil(L);
    if (!lua_next(L, -2) || lua_type(L, -2) != LUA_TSTRING) return;
    char key[80];
    snprintf(key, sizeof key, "moo.%.60s", lua_tostring(L, -2));
    recipe_bad(o, key, "moo.method beside it: without a method it says nothing");
}

static void read_moo(opening *o, lua_State *L)
{
    moo_plan *m = &o->r->trainer.moo;
    config_push(L, "moo.method");
    if (lua_isnil(L, -1)) { /* over nothing: one gradient */
        check_no_moo(o, L);
        return;
    }
    m->bucket.moo.method = (moo_method)recipe_choice(o, L, "moo.method", MOO_METHOD_NAMES, 0);
    m->bucket.moo.ridge = moo_default(MOO_SUM).ridge;
    m->bucket.refresh = (int)o->r->moo_refresh;
    static const char *const OVER[] = { MOO_OVERS(ENUM_NAME) NULL };
    m->over = (moo_over)(MOO_OVER_REWARDS + recipe_choice(o, L, "moo.over", OVER, 0));
    if (o->rc == OK) read_bucket(o, L);
    if (o->rc == OK && m->over != MOO_OVER_REWARDS) {
        config_push(L, "moo.groups"); /* as rows have them in "group" */
        m->n_groups = recipe_names(o, L, "moo.groups", 2, MOO_MOST, m->groups[0], GROUP_NAME);
    }
    if (o->rc != OK) return;
    const bool rewards = m->over != MOO_OVER_GROUPS;
    if (m->over == MOO_OVER_BOTH && m->n_groups * o->r->trainer.objectives.n > MOO_MOST)
        recipe_bad(o, "moo.groups", "at most 16 gradients: objectives times groups");
    if (m->over != MOO_OVER_REWARDS && m->by_token) recipe_bad(o, "moo.bucket", "another bucket than token for groups");
    if (rewards && estimator_of(o->r->trainer.advantage.mean)->choose)
        recipe_bad(o, "moo.over", "groups: what is best is so by all rewards together");
    if (rewards && o->r->trainer.objectives.n < 2)
        recipe_bad(o, "moo.method", "two objectives or more in reward.objectives");
}

void recipe_read_learning(opening *o, lua_State *L)
{
    o->r->trainer.optim.eps = 1e-8, o->r->trainer.optim.beta1 = 0.9, o->r->trainer.optim.beta2 = 0.95;
    read_algorithm(o, L);
    if (o->rc == OK) read_objectives(o, L);
    if (o->rc == OK) read_moo(o, L);
    if (o->rc == OK) read_lora(o, L);
    o->r->trainer.seed = o->r->trainer.isolation.seed = (uint64_t)o->r->seed;
    o->r->trainer.advantage.whiten = advantage_default(objective_weighing(&o->r->trainer.objectives)).whiten;
    o->r->trainer.temperature = o->r->temperature;
}

int64_t recipe_keep_episodes(const recipe *r)
{
    enum { AHEAD = 16 }; /* more steps than are ever played ahead of the one that is trained */
    if (r->keep_episodes == 0 || r->checkpoint_every == 0) return 0;
    const int64_t least = r->checkpoint_every + AHEAD;
    return r->keep_episodes > least ? r->keep_episodes : least;
}

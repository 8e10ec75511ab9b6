/* SPDX-License-Identifier: MIT */
#include "env/options.h"

#include <string.h>

const word_row PLUGIN_SANDBOX_WORDS[] = { PLUGIN_SANDBOXES(WORDS_ROW){ 0 } };

#define AT(member) OPTION_AT(env_options, member)

static const option ROWS[] = {
    /* A tool written in Lua is a function: it stays where it is, in the recipe's VM. */
    { "env.tools", OPTION_VALUE, 0, 0, 0, 0, "",
      .help = "list of T.python{...}, T.calculator{}, T.search{...}, T.sql{...}, T.mcp{...}, T.env{...}, "
              "T.submit{} and T.tool{...}",
      .more = "T.python is a real python3 in a sandbox, T.tool a function of the recipe in a process of its own: "
              "both are described in the README. T.calculator does exact arithmetic. "
              "T.search looks words up in `env.index` or asks a retrieval server "
              "(docs/search.md), T.sql runs SQL on a database of each episode's own (docs/sql.md), T.mcp has the tools "
              "of an MCP server (docs/mcp.md). T.env is an environment that "
              "episodes are played in (docs/env.md). A call of T.submit ends the episode: its argument is the answer. "
              "Up to 16. The dialect tells the policy of them.",
      .elsewhere = "tools" },
    { "env.plugin", OPTION_PATH, AT(plugin), 0, 0, "", .help = "the environment that T.env{...} plays: .lua, or .so",
      .more =
          "A file of yours: Lua that returns functions `reset` and `step` (docs/env_plugins.md), or a shared object "
          "made with env/troupe_env.h. A run keeps its own copy. The Lua goes to actors on other machines "
          "with the recipe; a shared object does not, they need a copy of it.",
      .elsewhere = "env_class env.env_class env.script environment" },
    { "env.plugin_sandbox", OPTION_WORD, AT(plugin_sandbox), 0, 0, "auto",
      .help = "what the processes of `env.plugin` are locked in with",
      .more = "Locked in, Lua opens no file, and a shared object reads those of its own folder and the system's "
              "libraries; there is no network, no other process or thread, and nothing is written "
              "(docs/env_plugins.md).",
      .words = PLUGIN_SANDBOX_WORDS, .needs = "env.plugin" },
    { "env.plugin_memory_mb", OPTION_WHOLE, AT(plugin_memory_mb), 16, 1e6, "4096",
      .help = "memory that a process of `env.plugin` may take, in MB",
      .more = "Of all episodes that it plays at once, in addresses. A Lua episode may take 64 MB of it.",
      .needs = "env.plugin" },
    { "env.index", OPTION_PATH, AT(index), 0, 0, "", .help = "the index that T.search{...} searches",
      .more = "`troupe index CORPUS.jsonl INDEX` makes one (docs/search.md). An actor on another machine needs a copy "
              "of it, and of the recipe.",
      .elsewhere = "retriever index_path corpus_path retriever.url search_url" },
    { "env.database", OPTION_PATH, AT(database), 0, 0, "",
      .help = "what T.sql{...} begins with: of SQLite's, or of SQL",
      .more =
          "A file of SQLite's, up to 256 MB, or SQL that makes one (docs/sql.md). Each episode has a copy of its own. "
          "A run keeps its own copy; actors on other machines are sent it with the recipe, which may have 64 MB.",
      .elsewhere = "db_path database_path db_id db_root_path" },
    { "env.max_turns", OPTION_WHOLE, AT(max_turns), 0, 1000, "4", .help = "tool calls that an episode may make",
      .more = "After the last one the policy has one more turn to answer. 0: no tools are called. In an environment a "
              "turn without a call counts as one, and there is none after the last.",
      .elsewhere = "env.max_steps" },
    { "env.max_observation", OPTION_WHOLE, AT(max_observation), 1, 1e6, "512",
      .help = "tokens of a tool's answer that the policy sees",
      .more = "Of a longer one the beginning is kept. Observations take room in `rollout.max_context` and are never "
              "trained on." },
    { 0 },
};

const option_table ENV_OPTIONS = {
    .title = "Environment",
    .about = "Tools, and how often they may be called.",
    .rows = ROWS,
};

bool env_plugin_is_lua(const env_options *e)
{
    const size_t n = strlen(e->plugin);
    return n > 4 && strcmp(e->plugin + n - 4, ".lua") == 0;
}

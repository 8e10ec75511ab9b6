/* SPDX-License-Identifier: MIT */
/* gridworld - a worked example of env/troupe_env.h: a room of SIDE x SIDE tiles, some of them walls, a robot, a door.
 *
 *     cc -shared -fPIC -I env -o plugins/gridworld/gridworld.so plugins/gridworld/gridworld.c
 *     troupe env play --recipe plugins/gridworld/recipe.lua
 *
 * The policy sees the room and moves the robot with the tool `move`. At the door the episode ends with reward 1, and a
 * step costs 0.02. Every room can be left: the walls are laid beside a way that was there first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "troupe_env.h"

enum { SIDE = 5, WALLS = 6, TEXT = 512 };

typedef struct room {
    char tiles[SIDE][SIDE]; /* '.' or '#' */
    int row, column;        /* of the robot */
    int door_row, door_column;
    char text[TEXT];
} room;

static const char TOOLS[] = "[{\"name\": \"move\", \"description\": \"Moves the robot by one tile.\", \"parameters\": "
                            "{\"type\": \"object\", \"properties\": {\"direction\": {\"type\": \"string\", \"enum\": "
                            "[\"up\", \"down\", \"left\", \"right\"]}}, \"required\": [\"direction\"]}}]";

/* ---- chance: xorshift32 (Marsaglia, 2003), so that a seed gives the same room everywhere ---- */

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static int below(uint32_t *state, int n) { return (int)(next_random(state) % (uint32_t)n); }

/* ---- rooms ---- */

/* From the robot to the door, first along rows or along columns: these tiles stay free. */
static void mark_way(const room *r, char way[SIDE][SIDE], int rows_first)
{
    int row = r->row, column = r->column;
    way[row][column] = 1;
    while (row != r->door_row || column != r->door_column) {
        const int by_row = rows_first ? row != r->door_row : column == r->door_column;
        if (by_row)
            row += row < r->door_row ? 1 : -1;
        else
            column += column < r->door_column ? 1 : -1;
        way[row][column] = 1;
    }
}

static void lay_walls(room *r, uint32_t *random)
{
    char way[SIDE][SIDE] = { { 0 } };
    mark_way(r, way, below(random, 2));
    for (int i = 0; i < WALLS; i++) {
        const int row = below(random, SIDE), column = below(random, SIDE);
        if (!way[row][column]) r->tiles[row][column] = '#';
    }
}

static void furnish(room *r, uint32_t seed)
{
    uint32_t random = seed * 2654435761u + 1;
    if (random == 0) random = 1; /* xorshift stays there */
    memset(r->tiles, '.', sizeof r->tiles);
    r->row = below(&random, SIDE);
    r->column = below(&random, SIDE);
    do {
        r->door_row = below(&random, SIDE);
        r->door_column = below(&random, SIDE);
    } while (r->door_row == r->row && r->door_column == r->column);
    lay_walls(r, &random);
}

/* The room as text, R the robot and D the door, after a sentence. */
static const char *drawn(room *r, const char *sentence)
{
    int n = snprintf(r->text, TEXT, "%s\n", sentence);
    for (int row = 0; row < SIDE; row++) {
        for (int column = 0; column < SIDE; column++) {
            char tile = r->tiles[row][column];
            if (row == r->door_row && column == r->door_column) tile = 'D';
            if (row == r->row && column == r->column) tile = 'R';
            r->text[n++] = tile;
        }
        r->text[n++] = '\n';
    }
    r->text[n - 1] = 0;
    return r->text;
}

/* ---- what Troupe calls ---- */

static void *open_rooms(const char *config, char *error, size_t error_size)
{
    static int nothing; /* that all episodes share */
    (void)config;
    (void)error;
    (void)error_size;
    return &nothing;
}

static const char *tools(void *env)
{
    (void)env;
    return TOOLS;
}

static void *reset(void *env, const char *row, uint32_t seed, troupe_env_reply *reply)
{
    (void)env;
    (void)row;
    room *r = calloc(1, sizeof *r);
    if (!r) {
        reply->error = "no memory for a room";
        return NULL;
    }
    furnish(r, seed);
    reply->observation = drawn(r, "You are the robot R. Go to the door D; # is a wall.");
    return r;
}

/* One tile in a direction; 0: there is a wall. */
static int move(room *r, const char *arguments)
{
    int row = r->row, column = r->column;
    /* Troupe has held the arguments against the schema above: one of the four words is there. */
    if (strstr(arguments, "\"up\"")) row--;
    if (strstr(arguments, "\"down\"")) row++;
    if (strstr(arguments, "\"left\"")) column--;
    if (strstr(arguments, "\"right\"")) column++;
    if (row < 0 || row >= SIDE || column < 0 || column >= SIDE || r->tiles[row][column] == '#') return 0;
    r->row = row;
    r->column = column;
    return 1;
}

static void step(void *env, void *episode, const char *tool, const char *arguments, const char *text, const char *turn,
                 troupe_env_reply *reply)
{
    room *r = episode;
    (void)env;
    (void)text;
    (void)turn;
    if (!tool) {
        reply->ok = 0;
        reply->observation = "No one hears you. Move.";
        return;
    }
    const int moved = move(r, arguments);
    const char *sentence = moved ? "" : "There is a wall.";
    reply->done = r->row == r->door_row && r->column == r->door_column;
    reply->reward = reply->done ? 1 : -0.02;
    reply->observation = drawn(r, reply->done ? "You are out." : sentence);
}

static void end(void *env, void *episode)
{
    (void)env;
    free(episode);
}

const troupe_env_v1 troupe_environment_v1 = {
    .size = sizeof(troupe_env_v1), .open = open_rooms, .tools = tools, .reset = reset, .step = step, .end = end
};

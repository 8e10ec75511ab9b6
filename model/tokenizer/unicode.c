/* SPDX-License-Identifier: MIT */
/* What a tokenizer has to know of Unicode: where characters end, which are white space, and which texts NFC leaves
 * alone for certain. */
#include <string.h>

#include "model/tokenizer/internal.h"

static uint32_t code_point_at(const char *p, size_t length)
{
    const unsigned char *s = (const unsigned char *)p;
    if (length == 1) return s[0];
    uint32_t c = s[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) c = c << 6 | (s[i] & 63);
    return c;
}

static bool is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == 32 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

size_t space_at(const char *p, const char *end)
{
    const size_t n = utf8_length(p, end);
    return n > 0 && is_space(code_point_at(p, n)) ? n : 0;
}

size_t space_before(const char *begin, const char *p)
{
    for (size_t n = 1; n <= 3 && n <= (size_t)(p - begin); n++) /* white space has at most three bytes */
        if (space_at(p - n, p) == n) return n;
    return 0;
}

/* Unicode 14: where characters lie that NFC may change, compose or reorder (NFC_Quick_Check not Yes, or a combining
 * class other than 0). Ranges less than 40 apart are joined: doubting too much only refuses a text. */
static const uint32_t DOUBTFUL[][2] = {
    { 0x300, 0x387 },     { 0x483, 0x487 },     { 0x591, 0x5c7 },     { 0x610, 0x61a },     { 0x64b, 0x670 },
    { 0x6d6, 0x74a },     { 0x7eb, 0x82d },     { 0x859, 0x85b },     { 0x898, 0x89f },     { 0x8ca, 0x8ff },
    { 0x93c, 0x95f },     { 0x9bc, 0x9fe },     { 0xa33, 0xa5e },     { 0xabc, 0xacd },     { 0xb3c, 0xb5d },
    { 0xbbe, 0xbd7 },     { 0xc3c, 0xc56 },     { 0xcbc, 0xcd6 },     { 0xd3b, 0xd57 },     { 0xdca, 0xddf },
    { 0xe38, 0xe4b },     { 0xeb8, 0xecb },     { 0xf18, 0xfc6 },     { 0x102e, 0x103a },   { 0x108d, 0x108d },
    { 0x1161, 0x1175 },   { 0x11a8, 0x11c2 },   { 0x135d, 0x135f },   { 0x1714, 0x1734 },   { 0x17d2, 0x17dd },
    { 0x18a9, 0x18a9 },   { 0x1939, 0x193b },   { 0x1a17, 0x1a18 },   { 0x1a60, 0x1a7f },   { 0x1ab0, 0x1ace },
    { 0x1b34, 0x1b73 },   { 0x1baa, 0x1bab },   { 0x1be6, 0x1bf3 },   { 0x1c37, 0x1c37 },   { 0x1cd0, 0x1cf9 },
    { 0x1dc0, 0x1dff },   { 0x1f71, 0x1f7d },   { 0x1fbb, 0x2001 },   { 0x20d0, 0x20f0 },   { 0x2126, 0x212b },
    { 0x2329, 0x232a },   { 0x2adc, 0x2adc },   { 0x2cef, 0x2cf1 },   { 0x2d7f, 0x2d7f },   { 0x2de0, 0x2dff },
    { 0x302a, 0x302f },   { 0x3099, 0x309a },   { 0xa66f, 0xa69f },   { 0xa6f0, 0xa6f1 },   { 0xa806, 0xa82c },
    { 0xa8c4, 0xa8f1 },   { 0xa92b, 0xa953 },   { 0xa9b3, 0xa9c0 },   { 0xaab0, 0xaac1 },   { 0xaaf6, 0xaaf6 },
    { 0xabed, 0xabed },   { 0xf900, 0xfad9 },   { 0xfb1d, 0xfb4e },   { 0xfe20, 0xfe2f },   { 0x101fd, 0x101fd },
    { 0x102e0, 0x102e0 }, { 0x10376, 0x1037a }, { 0x10a0d, 0x10a0f }, { 0x10a38, 0x10a3f }, { 0x10ae5, 0x10ae6 },
    { 0x10d24, 0x10d27 }, { 0x10eab, 0x10eac }, { 0x10f46, 0x10f50 }, { 0x10f82, 0x10f85 }, { 0x11046, 0x11046 },
    { 0x11070, 0x1107f }, { 0x110b9, 0x110ba }, { 0x11100, 0x11134 }, { 0x11173, 0x11173 }, { 0x111c0, 0x111ca },
    { 0x11235, 0x11236 }, { 0x112e9, 0x112ea }, { 0x1133b, 0x11374 }, { 0x11442, 0x1145e }, { 0x114b0, 0x114c3 },
    { 0x115af, 0x115c0 }, { 0x1163f, 0x1163f }, { 0x116b6, 0x116b7 }, { 0x1172b, 0x1172b }, { 0x11839, 0x1183a },
    { 0x11930, 0x11943 }, { 0x119e0, 0x119e0 }, { 0x11a34, 0x11a47 }, { 0x11a99, 0x11a99 }, { 0x11c3f, 0x11c3f },
    { 0x11d42, 0x11d45 }, { 0x11d97, 0x11d97 }, { 0x16af0, 0x16af4 }, { 0x16b30, 0x16b36 }, { 0x16ff0, 0x16ff1 },
    { 0x1bc9e, 0x1bc9e }, { 0x1d15e, 0x1d1c0 }, { 0x1d242, 0x1d244 }, { 0x1e000, 0x1e02a }, { 0x1e130, 0x1e136 },
    { 0x1e2ae, 0x1e2ae }, { 0x1e2ec, 0x1e2ef }, { 0x1e8d0, 0x1e8d6 }, { 0x1e944, 0x1e94a }, { 0x2f800, 0x2fa1d },
};

static bool is_doubtful(uint32_t c)
{
    size_t low = 0, high = sizeof DOUBTFUL / sizeof *DOUBTFUL;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (c > DOUBTFUL[middle][1])
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof DOUBTFUL / sizeof *DOUBTFUL && c >= DOUBTFUL[low][0];
}

bool nfc_for_certain(const char *text, size_t len, size_t *at)
{
    for (const char *p = text, *end = text + len; p < end;) {
        const size_t n = utf8_length(p, end);
        if (n > 1 && is_doubtful(code_point_at(p, n))) {
            *at = (size_t)(p - text);
            return false;
        }
        p += n ? n : 1; /* a byte that is no UTF-8 has no other form */
    }
    return true;
}

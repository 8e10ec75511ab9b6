/* SPDX-License-Identifier: MIT */
/* passages_file - by what a file is known as an index, for who writes it and who reads it. Private to env/search/. */
#pragma once

/* SQLite's application_id and user_version: in the file's first page, before any table is looked at. */
enum { PASSAGES_APPLICATION = 0x54527078 /* "TRpx" */, PASSAGES_FORMAT = 1 };

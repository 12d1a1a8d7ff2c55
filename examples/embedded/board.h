/* What a board offers a program: see board.c. */
#ifndef BOARD_H
#define BOARD_H

void say(const char *text);
void say_number(float value); /* with three digits behind the point */

#endif

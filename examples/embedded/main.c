/* A thermostat in a house that it does not know. Every ten minutes it predicts what the room will be like with and
   without the heater, switches it, and learns from what came of it. Returns 0 if it has learned the house. */
#include "board.h"
#include "thermostat.h"

#define WINDOW 16 /* measurements that an update is made on: as many as thermostat.py exported */
#define DAYS 4
#define WANTED 20.0f /* degrees */

static thermostat_state state;
static float seen[3 * WINDOW], became[WINDOW]; /* indoor, outdoor, heater; and how much warmer it got */

/* A draughty house with a weak heater: what sensors would say. */
static float ten_minutes(float indoor, float outdoor, float heater) {
    return 0.6f * heater - 0.045f * (indoor - outdoor);
}

/* The weather: coldest in the morning, warmest in the afternoon. */
static float weather(int minute) {
    const int hour = minute / 60 % 24, since = (hour + 20) % 24;
    return 8.0f + 0.5f * (float)(since < 12 ? since : 24 - since);
}

/* How much warmer the model says it will be. */
static float predicted(float indoor, float outdoor, float heater) {
    const float x[3] = {indoor, outdoor, heater};
    float warmer = 0;
    thermostat_run(x, &warmer, &state);
    return warmer;
}

int main(void) {
    float indoor = 17, first = 0, last = 0;
    thermostat_init(&state);
    for (int day = 0; day < DAYS; day++) {
        float off = 0, cold = 0;
        for (int step = 0; step < 144; step++) {
            const int minute = 10 * step, at = step % WINDOW;
            const float outdoor = weather(minute);
            const float without = indoor + predicted(indoor, outdoor, 0), with = indoor + predicted(indoor, outdoor, 1);
            const float heater = WANTED - without > with - WANTED ? 1 : 0; /* what leaves the room nearer to it */
            const float warmer = ten_minutes(indoor, outdoor, heater);
            const float apart = indoor + warmer - (heater > 0 ? with : without);

            off += apart < 0 ? -apart : apart;
            seen[3 * at] = indoor, seen[3 * at + 1] = outdoor, seen[3 * at + 2] = heater, became[at] = warmer;
            if (day > 0 || step >= WINDOW) { /* the window is full */
                float loss;
                if (thermostat_train(seen, became, &loss, &state) != 0) return 2;
            }
            indoor += warmer;
            cold += indoor < WANTED ? WANTED - indoor : 0;
        }
        last = off / 144;
        if (day == 0) first = last;
        say("day ");
        say((const char[]){(char)('1' + day), 0});
        say(": predictions off by ");
        say_number(last);
        say(" degrees, room too cold by ");
        say_number(cold / 144);
        say("\n");
    }
    return last < first / 2 ? 0 : 1;
}

/* What runs before main on a Cortex-M, and how a program speaks to who runs it: by semihosting, as emulators and
   debuggers offer it. On a board of your own this is the vendor's start-up code, and `say` a serial port. */
#include "board.h"

extern int main(void);
extern unsigned stack_top[];

static unsigned ask(unsigned what, const void *with) {
    register unsigned call __asm("r0") = what;
    register const void *block __asm("r1") = with;
    __asm volatile("bkpt 0xAB" : "+r"(call) : "r"(block) : "memory");
    return call;
}

void say(const char *text) {
    ask(0x04, text);
}

void say_number(float value) {
    char text[16], *at = text + 15;
    int thousandths = (int)(value * 1000 + (value < 0 ? -0.5f : 0.5f));
    unsigned rest = thousandths < 0 ? 0u - (unsigned)thousandths : (unsigned)thousandths;
    *at = 0;
    for (int digit = 0; digit < 4 || rest; digit++, rest /= 10) {
        *--at = (char)('0' + rest % 10);
        if (digit == 2) *--at = '.';
    }
    if (thousandths < 0) *--at = '-';
    say(at);
}

static void reset(void) {
    unsigned reason[2] = {0x20026, 0};
    *(volatile unsigned *)0xE000ED88u |= 0xFu << 20; /* the unit for floats */
    __asm volatile("dsb\n\tisb");
    reason[1] = (unsigned)main();
    ask(0x20, reason);
    for (;;) {
    }
}

typedef union {
    unsigned *stack;
    void (*function)(void);
} vector;
__attribute__((section(".vectors"), used)) static const vector vectors[16] = {{stack_top}, {.function = reset}};

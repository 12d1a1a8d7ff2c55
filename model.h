/* Made by tinygrad_nn. */
#ifndef MODEL_H
#define MODEL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MODEL_ARENA_BYTES 256 /* memory that a call needs: model_state */
typedef struct { uint64_t words[32]; } model_state;

/* Weights, constants and state as they were in Python: comes first. */
void model_init(model_state *s);

/* input float32 [4, 3], out float32 [4, 2]. Returns 0, or the number of a check. */
int model_run(const float *input, float *out, model_state *s);

#ifdef __cplusplus
}
#endif

#endif

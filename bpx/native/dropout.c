/* Dropout by a packed mask, and the mask of a key. Maths, shapes and source:
 * bpx/layers/dropout.py, bpx/random.py. */
#include "core.h"
#include "stream.h"

#define BODY "dropout_body.h"
#include "each_type.h"

enum { WORDS = 1 << 14 }; /* of one task */

typedef struct {
    const uint32_t *key;
    uint8_t *bits;
    int64_t elements, least; /* a word below `least` drops its element */
} KeepBits;

/* Threefry-2x32 with 20 rounds on the counter (high, low): y0 ^ y1. */
BPX_INLINE uint32_t threefry(uint32_t k0, uint32_t k1, uint32_t high, uint32_t low) {
    const uint32_t keys[3] = {k0, k1, k0 ^ k1 ^ 0x1BD11BDAu};
    static const int rotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
    uint32_t x0 = high + k0, x1 = low + k1;
#pragma GCC unroll 5
    for (int i = 0; i < 5; i++) {
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            const int r = rotations[i & 1][j];
            x0 += x1;
            x1 = ((x1 << r) | (x1 >> (32 - r))) ^ x0;
        }
        x0 += keys[(i + 1) % 3];
        x1 += keys[(i + 2) % 3] + (uint32_t)(i + 1);
    }
    return x0 ^ x1;
}

/* Words in blocks of `N`, a vector each; then eight of them to a byte. */
BPX_CLONES static void keep_words(const KeepBits *c, int64_t from, int64_t to) {
    enum { N = 256 };
    const uint32_t k0 = c->key[0], k1 = c->key[1];
    const uint32_t below = (uint32_t)(c->least - 1); /* least is 1 or more here */
    for (int64_t at = from; at < to; at += N) {
        uint8_t keep[N];
        const uint32_t high = (uint32_t)((uint64_t)at >> 32), low = (uint32_t)at;
#pragma omp simd
        for (int i = 0; i < N; i++) keep[i] = threefry(k0, k1, high, low + (uint32_t)i) > below;
        const int64_t left = to - at < N ? to - at : N;
        for (int64_t i = left; i < N; i++) keep[i] = 0;
        uint8_t *bits = c->bits + at / 8;
        for (int64_t byte = 0; byte < (left + 7) / 8; byte++) {
            uint64_t eight;
            memcpy(&eight, keep + 8 * byte, sizeof eight);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
            eight = __builtin_bswap64(eight);
#endif
            /* the factor brings bit 8 i to bit 56 + i, and no two of its products meet */
            bits[byte] = (uint8_t)((eight * 0x0102040810204080u) >> 56);
        }
    }
}

static void keep_task(void *state, int64_t chunk) {
    const KeepBits *c = state;
    const int64_t from = chunk * WORDS, to = from + WORDS;
    keep_words(c, from, to < c->elements ? to : c->elements);
}

BPX_EXPORT int bpx_keep_bits_u8(const void *call, bpx_parallel_for parallel, void *host) {
    const KeepBits *c = call;
    const size_t bytes = (size_t)((c->elements + 7) / 8);
    if (c->least == 0 || c->least > UINT32_MAX) {
        memset(c->bits, c->least == 0 ? 0xff : 0, bytes);
        if (c->least == 0 && c->elements % 8 != 0)
            c->bits[bytes - 1] = (uint8_t)((1 << c->elements % 8) - 1);
        return 0;
    }
    bpx_run(parallel, host, (c->elements + WORDS - 1) / WORDS, keep_task, (void *)c);
    return 0;
}

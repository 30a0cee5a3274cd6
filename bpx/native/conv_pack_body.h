/* One element type (each_type.h): what the tiles read. The channels of a narrow array as panels, which put
 * two vectors of channels beside one another for each place, and the lines of a wide array. Included by
 * conv_weight.c. */

enum { FN(LANES) = 64 / sizeof(A), FN(PANEL) = 2 * FN(LANES) };

#if defined(__GNUC__)
typedef A FN(conv_vector) __attribute__((vector_size(64), aligned(sizeof(A)), may_alias));
#endif

#if defined(__GNUC__) && !defined(__clang__)
typedef __typeof__((FN(conv_vector)){0} == (FN(conv_vector)){0}) FN(conv_lanes);

/* As many places of as many channels as a vector has lanes, turned: each round puts the lanes of two
 * vectors, half of them apart, beside one another, and after log2(lanes) rounds all have changed
 * places with their vectors. */
BPX_INLINE void FN(conv_turn)(const T *restrict narrow, int64_t places, A *restrict to) {
    FN(conv_vector) a[FN(LANES)], b[FN(LANES)];
    FN(conv_lanes) low, high;
    for (int i = 0; i < FN(LANES); i++) {
        low[i] = i / 2 + i % 2 * FN(LANES);
        high[i] = low[i] + FN(LANES) / 2;
        if (sizeof(T) == sizeof(A)) {
            a[i] = *(const FN(conv_vector) *)(narrow + i * places);
        } else {
            for (int k = 0; k < FN(LANES); k++) a[i][k] = LOAD(narrow[i * places + k]);
        }
    }
#pragma GCC unroll 4
    for (int round = 1; round < FN(LANES); round *= 2) {
#pragma GCC unroll 8
        for (int i = 0; i < FN(LANES) / 2; i++) {
            b[2 * i] = __builtin_shuffle(a[i], a[i + FN(LANES) / 2], low);
            b[2 * i + 1] = __builtin_shuffle(a[i], a[i + FN(LANES) / 2], high);
        }
#pragma GCC unroll 16
        for (int i = 0; i < FN(LANES); i++) a[i] = b[i];
    }
    for (int i = 0; i < FN(LANES); i++) *(FN(conv_vector) *)(to + i * FN(PANEL)) = a[i];
}
#endif

/* Each of `channels` beside the others in `lanes` of a panel, zeros where there is none. */
BPX_INLINE void FN(conv_columns)(const T *restrict narrow, A *restrict to, int64_t places,
                                 int64_t channels, int64_t lanes, int64_t first, int64_t last) {
    for (int64_t t = first; t < last; t++) {
        int64_t o = 0;
        for (; o < channels; o++) to[t * FN(PANEL) + o] = LOAD(narrow[o * places + t]);
        for (; o < lanes; o++) to[t * FN(PANEL) + o] = 0;
    }
}

/* A panel of `channels` channels. */
BPX_CLONES static void FN(conv_pack)(const T *restrict narrow, A *restrict packed, int64_t places,
                                     int64_t channels) {
    int64_t turned = 0; /* channels: whole vectors of them */
#if defined(__GNUC__) && !defined(__clang__)
    if (bpx_many_registers())
        for (; turned + FN(LANES) <= channels; turned += FN(LANES)) {
            const T *from = narrow + turned * places;
            int64_t t = 0;
            for (; t + FN(LANES) <= places; t += FN(LANES))
                FN(conv_turn)(from + t, places, packed + t * FN(PANEL) + turned);
            FN(conv_columns)(from, packed + turned, places, FN(LANES), FN(LANES), t, places);
        }
#endif
    if (turned < FN(PANEL))
        FN(conv_columns)(narrow + turned * places, packed + turned, places, channels - turned,
                         FN(PANEL) - turned, 0, places);
}

/* The sum over the places of a channel, some at a time: each sum's roundings stay few. */
BPX_CLONES static A FN(conv_total)(const T *restrict narrow, int64_t places) {
    A total = 0;
    for (int64_t first = 0; first < places; first += PLACES) {
        const int64_t last = first + PLACES < places ? first + PLACES : places;
        A sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t t = first; t < last; t++) sum += LOAD(narrow[t]);
        total += sum;
    }
    return total;
}

/* Lines are short: a call of memcpy for each, which compilers make of a loop, takes longer. */
BPX_INLINE void FN(conv_copy)(const T *restrict from, A *restrict to, int64_t count) {
    int64_t k = 0;
#if defined(__GNUC__)
    if (sizeof(T) == sizeof(A) && count >= FN(LANES)) {
        for (; k + FN(LANES) <= count; k += FN(LANES))
            *(FN(conv_vector) *)(to + k) = *(const FN(conv_vector) *)(from + k);
        k = count - FN(LANES); /* the last vector, some of it once more */
        *(FN(conv_vector) *)(to + k) = *(const FN(conv_vector) *)(from + k);
        return;
    }
#endif
    for (; k < count; k++) BPX_ALONE(to[k] = LOAD(from[k]));
}

/* The part of a channel of `wide` that some lines of windows reach, with zeros where it has none. */
BPX_CLONES static void FN(conv_lines)(const bpx_conv_sizes *s, const T *restrict channel, int64_t z,
                                      int64_t y, int64_t x, int64_t planes, int64_t lines,
                                      int64_t width, A *restrict to) {
    const int64_t *size = s->wide;
    const int64_t first = x < 0 ? (-x < width ? -x : width) : 0;
    const int64_t end = size[2] - x < width ? size[2] - x : width, last = end > first ? end : first;
    for (int64_t i = 0; i < planes; i++) {
        const int64_t plane = z + i * s->dilation[0];
        for (int64_t j = 0; j < lines; j++, to += width) {
            const int64_t line = y + j;
            if (plane < 0 || plane >= size[0] || line < 0 || line >= size[1]) {
                for (int64_t k = 0; k < width; k++) to[k] = 0;
                continue;
            }
            /* the first place may lie before the array, so its pointer is never made */
            const T *restrict from = channel + (plane * size[1] + line) * size[2];
            for (int64_t k = 0; k < first; k++) BPX_ALONE(to[k] = 0);
            if (last > first) FN(conv_copy)(from + (x + first), to + first, last - first);
            for (int64_t k = last; k < width; k++) BPX_ALONE(to[k] = 0);
        }
    }
}

/* One element type (each_type.h). Included by conv_weight.c. */

/* Over the places of a line that a tap reaches. */
BPX_CLONES static A FN(conv_dot)(const T *restrict narrow, const T *restrict wide, int64_t stride,
                                 int64_t first, int64_t last) {
    A sum = 0;
    if (stride == 1) {
#pragma omp simd reduction(+ : sum)
        for (int64_t k = first; k < last; k++) sum += LOAD(narrow[k]) * LOAD(wide[k]);
    } else {
#pragma omp simd reduction(+ : sum)
        for (int64_t k = first; k < last; k++) sum += LOAD(narrow[k]) * LOAD(wide[k * stride]);
    }
    return sum;
}

/* All lines of one row of the batch, of one pair of channels and one tap. */
static A FN(conv_plane)(const bpx_conv_sizes *s, const T *narrow, const T *wide, const int64_t *tap) {
    int64_t offset[AXES], first[AXES], last[AXES];
    for (int i = 0; i < AXES; i++) {
        offset[i] = tap[i] * s->dilation[i] - s->low[i];
        bpx_inside(offset[i], s->stride[i], s->wide[i], s->narrow[i], first + i, last + i);
    }
    A sum = 0;
    for (int64_t z = first[0]; z < last[0]; z++)
        for (int64_t y = first[1]; y < last[1]; y++) {
            const int64_t plane = z * s->stride[0] + offset[0], line = y * s->stride[1] + offset[1];
            const T *to = wide + (plane * s->wide[1] + line) * s->wide[2];
            const T *from = narrow + (z * s->narrow[1] + y) * s->narrow[2];
            /* the line's first place may lie before the array, so its pointer is never made */
            const int64_t k = first[2], count = last[2] - k;
            if (count > 0)
                sum += FN(conv_dot)(from + k, to + (k * s->stride[2] + offset[2]), s->stride[2], 0,
                                    count);
        }
    return sum;
}

/* A chunk is a group. */
static void FN(conv_dots_task)(void *state, int64_t group) {
    const FN(ConvWeightCall) *c = state;
    const bpx_conv_sizes *s = &c->sizes;
    const int64_t taps = bpx_volume(s->window), places = bpx_volume(s->narrow);
    for (int64_t o = 0; c->total != NULL && o < s->outs; o++) {
        A sum = 0;
        for (int64_t b = 0; b < s->batch; b++)
            sum += FN(conv_total)(c->narrow + ((b * s->groups + group) * s->outs + o) * places, places);
        c->total[group * s->outs + o] = STORE(sum);
    }
    for (int64_t o = 0; o < s->outs; o++)
        for (int64_t k = 0; k < s->ins; k++)
            for (int64_t t = 0; t < taps; t++) {
                const int64_t tap[AXES] = {t / (s->window[1] * s->window[2]),
                                           t / s->window[2] % s->window[1], t % s->window[2]};
                A sum = 0;
                for (int64_t b = 0; b < s->batch; b++) {
                    const int64_t image = b * s->groups + group;
                    sum += FN(conv_plane)(
                        s, c->narrow + (image * s->outs + o) * bpx_volume(s->narrow),
                        c->wide + (image * s->ins + k) * bpx_volume(s->wide), tap);
                }
                c->out[((group * s->outs + o) * s->ins + k) * taps + t] = STORE(sum);
            }
}

BPX_EXPORT int FN(bpx_conv_weight)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(ConvWeightCall) *c = call;
    if (c->sizes.ins * c->sizes.outs >= FEW) return FN(conv_tiles)(c, parallel, host);
    bpx_run(parallel, host, c->sizes.groups, FN(conv_dots_task), (void *)call);
    return 0;
}

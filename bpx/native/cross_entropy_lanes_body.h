/* Rows that lie side by side, the classes of an image before its places, for one element type: vectors
 * go across up to BPX_LANES rows. Included by cross_entropy_body.h; the maths is there.
 *
 * Sums are taken in blocks of BPX_SHORT classes: there are no lanes along them. */
#define BPX_EACH_CLASS(total, i, n, body)                                                    \
    for (int64_t start_ = 0; start_ < (n); start_ += BPX_SHORT) {                              \
        const int64_t end_ = start_ + BPX_SHORT < (n) ? start_ + BPX_SHORT : (n);              \
        A part_[BPX_LANES];                                                                    \
        for (int64_t j = 0; j < BPX_LANES; j++) part_[j] = 0;                                  \
        for (int64_t i = start_; i < end_; i++) body                                           \
        for (int64_t j = 0; j < BPX_LANES; j++) (total)[j] += part_[j];                        \
    }

/* log(sum(e^x)) of n classes, `stride` from one to the next. */
BPX_INLINE void FN(lanes_lse)(const T *restrict x, int64_t n, int64_t stride, int64_t lanes,
                              A *restrict lse) {
    A top[BPX_LANES], mass[BPX_LANES] = {0};
    for (int64_t j = 0; j < BPX_LANES; j++) top[j] = -(A)INFINITY;
    for (int64_t i = 0; i < n; i++)
#pragma omp simd
        for (int64_t j = 0; j < lanes; j++) {
            const A v = LOAD(x[i * stride + j]);
            top[j] = v > top[j] ? v : top[j];
        }
    BPX_EACH_CLASS(mass, i, n, {
        _Pragma("omp simd")
        for (int64_t j = 0; j < lanes; j++)
            part_[j] += MATH(bpx_exp)(LOAD(x[i * stride + j]) - top[j]);
    })
#pragma omp simd
    for (int64_t j = 0; j < lanes; j++) lse[j] = top[j] + MATH(bpx_log)(mass[j]);
}

/* The losses of rows row ... row + lanes - 1. */
BPX_INLINE void FN(loss_lanes)(const FN(State) *s, const T *restrict x, int64_t row, int64_t lanes,
                               double *loss_sum, double *count) {
    const int64_t classes = s->labels.classes, stride = s->inner;
    A own[BPX_LANES], surprise[BPX_LANES] = {0};
    if (s->lse == NULL) FN(lanes_lse)(x, classes, stride, lanes, own);
    const A *restrict lse = s->lse != NULL ? s->lse + row : own;
    if (s->s != 0) {
        BPX_EACH_CLASS(surprise, i, classes, {
            const A weight = s->weight == NULL ? 1 : s->weight[i];
            _Pragma("omp simd")
            for (int64_t j = 0; j < lanes; j++)
                part_[j] += weight * (lse[j] - LOAD(x[i * stride + j]));
        })
    }
    for (int64_t j = 0; j < lanes; j++) {
        const int64_t label = bpx_label(&s->labels, row + j);
        const A wy = FN(label_weight)(s, label);
        A loss = 0;
        if (!bpx_is_class(&s->labels, label)) {
            loss = (A)NAN;
        } else {
            loss = (1 - s->s) * wy * (lse[j] - LOAD(x[label * stride + j]));
            if (s->s != 0) loss += s->even * surprise[j];
        }
        if (bpx_is_ignored(&s->labels, label)) loss = 0;
        if (s->lse_out != NULL) s->lse_out[row + j] = lse[j];
        if (s->out != NULL) s->out[row + j] = STORE(loss);
        *loss_sum += (double)loss;
        *count += (double)wy;
    }
}

/* What gradient_lanes knows of each row. */
typedef struct {
    int64_t label[BPX_LANES]; /* -1 where it is ignored or no class */
    A lse[BPX_LANES], g[BPX_LANES], hit[BPX_LANES];
    A scale[BPX_LANES], even[BPX_LANES];
    A kept[BPX_LANES]; /* 0 where the row is ignored */
} FN(Lanes);

/* The labels and what multiplies p; the masses of exponentials are divided out by the caller. */
BPX_INLINE void FN(prepare_lanes)(const FN(State) *s, int64_t row, int64_t lanes, FN(Lanes) *l) {
    for (int64_t j = 0; j < lanes; j++) {
        const int64_t label = bpx_label(&s->labels, row + j);
        const int here = bpx_is_class(&s->labels, label);
        const A g = s->reduction == BPX_NONE ? LOAD(s->dy[row + j]) : s->g;
        const A hit = (1 - s->s) * FN(label_weight)(s, label);
        A pull = hit;
        if (s->s != 0) pull += s->even * s->sum_weight;
        l->kept[j] = bpx_is_ignored(&s->labels, label) ? 0 : 1;
        l->label[j] = here && l->kept[j] != 0 ? label : -1;
        l->lse[j] = s->lse[row + j], l->g[j] = g, l->hit[j] = hit;
        l->scale[j] = here ? g * pull : (A)NAN;
        l->even[j] = g * s->even;
    }
}

BPX_INLINE void FN(dlogits_lanes)(const FN(State) *s, const T *x, T *dx, int64_t lanes, FN(Lanes) *l) {
    const int64_t classes = s->labels.classes, stride = s->inner;
    const int in_place = sizeof(T) == sizeof(A); /* dx holds the exponentials without rounding them */
    A mass[BPX_LANES] = {0}, of_label[BPX_LANES] = {0};
    BPX_EACH_CLASS(mass, i, classes, {
        _Pragma("omp simd")
        for (int64_t j = 0; j < lanes; j++) {
            const A v = MATH(bpx_exp)(LOAD(x[i * stride + j]) - l->lse[j]);
            if (in_place) dx[i * stride + j] = STORE(v);
            part_[j] += v;
        }
    })
    for (int64_t j = 0; j < lanes; j++) {
        l->scale[j] /= mass[j];
        if (l->label[j] < 0) continue;
        const int64_t at = l->label[j] * stride + j;
        of_label[j] = in_place ? LOAD(dx[at]) : MATH(bpx_exp)(LOAD(x[at]) - l->lse[j]);
    }
    for (int64_t i = 0; i < classes; i++) {
        const A weight = s->weight == NULL || s->s == 0 ? 1 : s->weight[i];
#pragma omp simd
        for (int64_t j = 0; j < lanes; j++) {
            const int64_t at = i * stride + j;
            const A e = in_place ? LOAD(dx[at]) : MATH(bpx_exp)(LOAD(x[at]) - l->lse[j]);
            const A v = l->scale[j] * e - l->even[j] * weight;
            dx[at] = STORE(l->kept[j] != 0 ? v : 0);
        }
    }
    for (int64_t j = 0; j < lanes; j++) {
        const int64_t label = l->label[j];
        if (label < 0) continue;
        const A weight = s->weight == NULL ? 1 : s->weight[label];
        A at = l->scale[j] * of_label[j] - l->g[j] * l->hit[j];
        if (s->s != 0) at -= l->even[j] * weight;
        dx[label * stride + j] = STORE(at);
    }
}

BPX_INLINE void FN(dweight_lanes)(const FN(State) *s, const T *restrict x, int64_t lanes,
                                  const FN(Lanes) *l, A *restrict dweight) {
    const int64_t classes = s->labels.classes, stride = s->inner;
    for (int64_t j = 0; j < lanes; j++) {
        if (l->label[j] >= 0) {
            const A own = (1 - s->s) * (l->lse[j] - LOAD(x[l->label[j] * stride + j]));
            dweight[l->label[j]] += l->g[j] * (s->reduction == BPX_MEAN ? own - s->y : own);
        } else if (l->kept[j] != 0) {
            dweight[0] += (A)NAN;
        }
    }
    for (int64_t i = 0; s->s != 0 && i < classes; i++) {
        A sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < lanes; j++) {
            const A v = l->even[j] * (l->lse[j] - LOAD(x[i * stride + j]));
            sum += l->kept[j] != 0 ? v : 0;
        }
        dweight[i] += sum;
    }
}

/* Of rows first ... last - 1, the lanes of one outer index at a time: where the first one's first class
 * is, and how many there are. */
BPX_INLINE int64_t FN(place_of)(const FN(State) *s, int64_t row, int64_t last, int64_t *lanes) {
    const int64_t inner = s->inner, within = row % inner;
    *lanes = bpx_least(bpx_least(inner - within, last - row), BPX_LANES);
    return row / inner * s->labels.classes * inner + within;
}

BPX_CLONES static void FN(loss_columns)(const FN(State) *s, int64_t first, int64_t last,
                                        double *loss_sum, double *count) {
    for (int64_t row = first, lanes; row < last; row += lanes) {
        const T *x = s->logits + FN(place_of)(s, row, last, &lanes);
        FN(loss_lanes)(s, x, row, lanes, loss_sum, count);
    }
}

BPX_CLONES static void FN(gradient_columns)(const FN(State) *s, int64_t first, int64_t last,
                                            A *restrict dweight) {
    FN(Lanes) l;
    for (int64_t row = first, lanes; row < last; row += lanes) {
        const int64_t at = FN(place_of)(s, row, last, &lanes);
        FN(prepare_lanes)(s, row, lanes, &l);
        if (s->out != NULL) FN(dlogits_lanes)(s, s->logits + at, s->out + at, lanes, &l);
        if (dweight != NULL) FN(dweight_lanes)(s, s->logits + at, lanes, &l, dweight);
    }
}

#undef BPX_EACH_CLASS

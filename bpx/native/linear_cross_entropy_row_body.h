/* One element type (each_type.h). Included by linear_cross_entropy_body.h: one row.
 *
 * z: a row of logits, of which top is the largest; mass = sum_V(exp(z - top)); lse = top + log(mass);
 * wy: the weight of the row's label, 0 where it is ignored, NaN where it is no class; g: the cotangent
 * of the row's loss. */
#include "rows_body.h"

typedef struct {
    int64_t first, rows, all, classes, label_bytes, ignores, ignored, whole, gradients;
    double smoothing, z_loss, softcap, items;
} FN(Options);

/* `logits` and `z` have `rows` of `all` rows, from `first` on; `target`, `loss`, `top`, `mass` and
 * `seen`, the tops where they are known, have all, and `dy`, which is one number where the losses are
 * summed up (`whole`), 1 where it is absent. z, which may be where logits is, becomes dlogits; it may be
 * absent without gradients, and is of no use then. dbias and dclass are written where first is 0, else
 * added to. A sum is divided by `count`, or `items`. */
typedef struct {
    const T *logits;
    const void *target;
    const T *bias;
    const A *class_weight, *count;
    const T *dy;
    const A *seen;
    T *z;
    A *loss, *top, *mass; /* mass: its logarithm */
    T *y;                 /* of the rows so far */
    T *dbias;
    A *dclass;
    FN(Options) o;
} FN(Call);

typedef struct {
    FN(Call) c;
    bpx_labels labels;
    int64_t chunks;
    A s, even, cap, z_loss; /* even: s/V; cap: 0 without one */
    A g, sum_weight;        /* of each row where they are summed up; of the class weights */
    A *dclass;              /* chunks x classes of partial sums */
    T *scratch;             /* chunks x classes, in place of z */
} FN(State);

typedef struct {
    A top, mass, label_above; /* label_above: z[label] - top */
    int stored;               /* whether z has become exp(z - top) */
} FN(Row);

/* z from the logits, and its exponentials. They are left in place of z where nothing reads it again. */
BPX_INLINE FN(Row) FN(read_row)(const FN(State) *s, const T *x, T *z, int64_t label, const A *seen) {
    const int64_t n = s->labels.classes;
    const T *restrict bias = s->c.bias;
    FN(Row) r = {.mass = 0, .label_above = 0};
    if (bias != NULL) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) z[i] = STORE(LOAD(x[i]) + LOAD(bias[i]));
    } else if (x != z) {
        memcpy(z, x, (size_t)n * sizeof(T));
    }
    if (s->cap != 0) {
        const A cap = s->cap;
#pragma omp simd
        for (int64_t i = 0; i < n; i++) z[i] = STORE(cap * MATH(bpx_tanh)(LOAD(z[i]) / cap));
    }
    r.top = seen == NULL ? FN(row_top)(z, n) : *seen;
    const A top = r.top == -(A)INFINITY ? 0 : r.top;
    if (bpx_is_class(&s->labels, label)) r.label_above = LOAD(z[label]) - top;
    r.stored = sizeof(T) == sizeof(A) && s->s == 0 && s->cap == 0;
    if (r.stored) {
        BPX_SUM(r.mass, i, n, (z[i] = STORE(MATH(bpx_exp)(LOAD(z[i]) - top))))
    } else {
        BPX_SUM(r.mass, i, n, MATH(bpx_exp)(LOAD(z[i]) - top))
    }
    return r;
}

/* dlogits over z, all of it but the label's own:
 *     (pull * p - s/V g weight) (1 - (z / softcap)^2),  scale = pull / mass */
BPX_INLINE void FN(write_row)(const FN(State) *s, T *restrict z, A top, A scale, A even) {
    const int64_t n = s->labels.classes;
    const A *restrict weight = s->s == 0 ? NULL : s->c.class_weight;
    const A cap = s->cap;
#define OF_SUM (scale * MATH(bpx_exp)(LOAD(z[i]) - top))
#define OF_CAP (1 - (LOAD(z[i]) / cap) * (LOAD(z[i]) / cap))
    if (weight == NULL && cap == 0) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) z[i] = STORE(OF_SUM - even);
    } else if (weight == NULL) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) z[i] = STORE((OF_SUM - even) * OF_CAP);
    } else if (cap == 0) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) z[i] = STORE(OF_SUM - even * weight[i]);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) z[i] = STORE((OF_SUM - even * weight[i]) * OF_CAP);
    }
#undef OF_SUM
#undef OF_CAP
}

/* With p = exp(z - top) / mass and
 *     pull = g ((1 - s) wy + s/V sum(weight) + 2 z_loss wy lse), all that enters through lse:
 *     dlogits = (pull * p
 *                - g (1 - s) wy onehot(target)             through the label's logit
 *                - g s/V weight)                           through the smoothed logits
 *               * (1 - (z / softcap)^2)
 *     dclass[c] = sum of g ((1 - s) (lse - z[target]) + z_loss lse^2) over the rows with label c
 *                 + sum of g s/V (lse - z[c]) over all rows that count */
BPX_INLINE void FN(of_row)(const FN(State) *s, int64_t row, T *z, A *restrict dclass) {
    const int64_t classes = s->labels.classes, at = s->c.o.first + row;
    const A *restrict weight = s->c.class_weight;
    const int64_t label = bpx_label(&s->labels, at);
    const int ignored = bpx_is_ignored(&s->labels, label);
    const int here = !ignored && bpx_is_class(&s->labels, label);
    const FN(Row) r = FN(read_row)(s, s->c.logits + row * classes, z, here ? label : -1,
                                   s->c.seen == NULL ? NULL : s->c.seen + at);
    const A top = r.top == -(A)INFINITY ? 0 : r.top;
    const A above = MATH(bpx_log)(r.mass), lse = r.top + above;
    if (s->c.top != NULL) s->c.top[at] = r.top;
    if (s->c.mass != NULL) s->c.mass[at] = above;
    if (ignored) {
        s->c.loss[at] = 0;
        if (s->c.o.gradients) memset(z, 0, (size_t)classes * sizeof(T));
        return;
    }
    const A wy = !here ? (A)NAN : weight == NULL ? 1 : weight[label];
    const A own = (1 - s->s) * (above - r.label_above);
    const A of_lse = s->z_loss == 0 ? 0 : s->z_loss * lse * lse;
    A surprise = 0;
    if (s->s != 0 && weight == NULL) {
        BPX_SUM(surprise, i, classes, above - (LOAD(z[i]) - top))
    } else if (s->s != 0) {
        BPX_SUM(surprise, i, classes, weight[i] * (above - (LOAD(z[i]) - top)))
    }
    s->c.loss[at] = wy * (own + of_lse) + (s->s == 0 ? 0 : s->even * surprise);
    if (!s->c.o.gradients) return;

    const A g = s->c.o.whole ? s->g : LOAD(s->c.dy[at]);
    if (dclass != NULL) {
        dclass[here ? label : 0] += here ? g * (own + of_lse) : (A)NAN;
        if (s->s != 0) {
            const A even = g * s->even;
#pragma omp simd
            for (int64_t i = 0; i < classes; i++) dclass[i] += even * (above - (LOAD(z[i]) - top));
        }
    }
    A pull = (1 - s->s) * wy;
    if (s->s != 0) pull += s->even * s->sum_weight;
    if (s->z_loss != 0) pull += 2 * s->z_loss * wy * lse;
    const A scale = g * pull / r.mass, even = g * s->even;
    A of_label = scale * MATH(bpx_exp)(r.label_above) - g * ((1 - s->s) * wy);
    if (s->s != 0) of_label -= even * (weight == NULL || !here ? 1 : weight[label]);
    if (s->cap != 0) {
        const A u = (r.label_above + top) / s->cap;
        of_label *= 1 - u * u;
    }
    if (r.stored) {
#pragma omp simd
        for (int64_t i = 0; i < classes; i++) z[i] = STORE(scale * LOAD(z[i]));
    } else {
        FN(write_row)(s, z, top, scale, even);
    }
    if (here) z[label] = STORE(of_label);
}

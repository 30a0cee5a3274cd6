/* One element type (each_type.h). Included by cross_entropy.c.
 *
 * wy is the weight of a row's label: 0 where it is ignored, NaN where it is no class. */
#include "rows_body.h"
#include "short_rows_body.h"

typedef struct {
    const T *logits, *dy;
    const A *weight, *lse;
    T *out; /* y of the rows, or dlogits */
    A *lse_out;
    A *dweight;           /* chunks x classes of partial sums */
    double *loss, *count; /* partial sums of each chunk */
    bpx_labels labels;
    int64_t rows, chunks, inner; /* inner: places side by side, from a class to the next; 1 for rows */
    int reduction, whole; /* whether the losses of the rows are wanted to reduce them */
    A s, even;            /* label smoothing, and it over the number of classes */
    A g, y, sum_weight;   /* cotangent of each row, the reduced loss, sum of the class weights */
} FN(State);

BPX_INLINE A FN(label_weight)(const FN(State) *s, int64_t label) {
    if (bpx_is_ignored(&s->labels, label)) return 0;
    if (!bpx_is_class(&s->labels, label)) return (A)NAN;
    return s->weight == NULL ? 1 : s->weight[label];
}

#include "cross_entropy_lanes_body.h"

/* The loss of one row that is not ignored. */
BPX_INLINE A FN(row_loss)(const FN(State) *s, const T *restrict x, int64_t label, A wy, A lse) {
    const int64_t classes = s->labels.classes;
    if (!bpx_is_class(&s->labels, label)) return (A)NAN;
    A loss = (1 - s->s) * wy * (lse - LOAD(x[label])), surprise = 0;
    if (s->s == 0) return loss;
    if (s->weight == NULL) {
        BPX_SUM(surprise, i, classes, lse - LOAD(x[i]))
    } else {
        const A *restrict weight = s->weight;
        BPX_SUM(surprise, i, classes, weight[i] * (lse - LOAD(x[i])))
    }
    return loss + s->even * surprise;
}

BPX_CLONES static void FN(loss_rows)(const FN(State) *s, int64_t first, int64_t last,
                                     double *loss_sum, double *count) {
    A own[BPX_LANES];
    for (int64_t row = first; row < last; row++) {
        const T *restrict x = s->logits + row * s->labels.classes;
        const int64_t label = bpx_label(&s->labels, row), lane = (row - first) % BPX_LANES;
        const A wy = FN(label_weight)(s, label);
        if (s->lse == NULL && lane == 0)
            FN(rows_lse)(x, s->labels.classes, bpx_least(last - row, BPX_LANES), own);
        const A lse = s->lse != NULL ? s->lse[row] : own[lane];
        if (s->lse_out != NULL) s->lse_out[row] = lse;
        A loss = 0;
        if (!bpx_is_ignored(&s->labels, label)) loss = FN(row_loss)(s, x, label, wy, lse);
        if (s->out != NULL) s->out[row] = STORE(loss);
        *loss_sum += (double)loss;
        *count += (double)wy;
    }
}

/* With p = exp(logits - lse) / sum_V(exp(logits - lse)), which divides out the rounding of lse, and
 * pull = (1 - s) wy + s/V sum(weight), all that a row's lse enters:
 *     dlogits = g * (pull * p                          through lse
 *                    - (1 - s) wy onehot(target)       through the label's logit
 *                    - s/V weight)                     through the smoothed logits
 *     dweight[c] = sum of g * (1 - s) (lse - logits[target]) over the rows with label c
 *                  - sum of g * y over them, in a mean             through sum(wy)
 *                  + sum of g * s/V (lse - logits[c]) over all rows that count */
BPX_INLINE void FN(gradient_row)(const FN(State) *s, int64_t row, const A *seen, A mass,
                                 A *restrict dweight) {
    const int64_t classes = s->labels.classes;
    const A *restrict weight = s->weight;
    const T *restrict x = s->logits + row * classes;
    T *restrict dx = s->out == NULL ? NULL : s->out + row * classes;
    const int64_t label = bpx_label(&s->labels, row);
    const int here = bpx_is_class(&s->labels, label);
    if (bpx_is_ignored(&s->labels, label)) {
        if (dx != NULL) memset(dx, 0, (size_t)classes * sizeof(T));
        return;
    }
    const A wy = FN(label_weight)(s, label), lse = s->lse[row];
    const A g = s->reduction == BPX_NONE ? LOAD(s->dy[row]) : s->g;
    const A hit = (1 - s->s) * wy, even = g * s->even;
    if (dx != NULL) {
        A pull = hit;
        if (s->s != 0) pull += s->even * s->sum_weight;
        pull = here ? g * pull : (A)NAN;
        const A scale = pull / (seen != NULL ? mass : FN(row_mass)(x, dx, classes, lse));
        const A of_label = scale * FN(row_exp)(x, dx, seen, label * here, lse);
        if (s->s == 0) {
#pragma omp simd
            for (int64_t i = 0; i < classes; i++)
                dx[i] = STORE(scale * FN(row_exp)(x, dx, seen, i, lse));
        } else if (weight == NULL) {
#pragma omp simd
            for (int64_t i = 0; i < classes; i++)
                dx[i] = STORE(scale * FN(row_exp)(x, dx, seen, i, lse) - even);
        } else {
#pragma omp simd
            for (int64_t i = 0; i < classes; i++)
                dx[i] = STORE(scale * FN(row_exp)(x, dx, seen, i, lse) - even * weight[i]);
        }
        if (here) {
            A at = of_label - g * hit;
            if (s->s != 0) at -= even * (weight == NULL ? 1 : weight[label]);
            dx[label] = STORE(at);
        }
    }
    if (dweight == NULL) return;
    if (here) {
        const A own = (1 - s->s) * (lse - LOAD(x[label]));
        dweight[label] += g * (s->reduction == BPX_MEAN ? own - s->y : own);
    } else {
        dweight[0] += (A)NAN;
    }
    if (s->s != 0) {
#pragma omp simd
        for (int64_t i = 0; i < classes; i++) dweight[i] += even * (lse - LOAD(x[i]));
    }
}

BPX_CLONES static void FN(gradient_rows)(const FN(State) *s, int64_t first, int64_t last,
                                         A *restrict dweight) {
    const int64_t n = s->labels.classes;
    if (s->out == NULL || !bpx_short(n)) {
        for (int64_t row = first; row < last; row++) FN(gradient_row)(s, row, NULL, 0, dweight);
        return;
    }
    A e[BPX_SHORT * BPX_LANES], mass[BPX_LANES];
    for (int64_t at = first; at < last; at += BPX_LANES) {
        const int64_t rows = bpx_least(last - at, BPX_LANES);
        FN(short_masses)(s->logits + at * n, n, rows, s->lse + at, e, mass);
        for (int64_t row = 0; row < rows; row++)
            FN(gradient_row)(s, at + row, e + row * n, mass[row], dweight);
    }
}

static void FN(loss_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const int64_t first = bpx_first_row(chunk, s->chunks, s->rows);
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, s->rows);
    double loss = 0, count = 0;
    if (s->whole) {
        (s->inner > 1 ? FN(loss_columns) : FN(loss_rows))(s, first, last, &loss, &count);
    } else {
        for (int64_t row = first; row < last; row++)
            count += (double)FN(label_weight)(s, bpx_label(&s->labels, row));
    }
    s->loss[chunk] = loss, s->count[chunk] = count;
}

static void FN(gradient_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const int64_t classes = s->labels.classes;
    A *dweight = s->dweight == NULL ? NULL : s->dweight + chunk * classes;
    if (dweight != NULL)
        for (int64_t i = 0; i < classes; i++) dweight[i] = 0;
    (s->inner > 1 ? FN(gradient_columns) : FN(gradient_rows))(
        s, bpx_first_row(chunk, s->chunks, s->rows), bpx_first_row(chunk + 1, s->chunks, s->rows),
        dweight);
}

/* Runs loss_task and adds up the chunks. */
static void FN(sum_losses)(FN(State) *s, bpx_parallel_for parallel, void *host, double *loss,
                           double *count) {
    double losses[BPX_MAX_CHUNKS], counts[BPX_MAX_CHUNKS];
    s->loss = losses, s->count = counts;
    bpx_run(parallel, host, s->chunks, FN(loss_task), s);
    *loss = 0, *count = 0;
    for (int64_t chunk = 0; chunk < s->chunks; chunk++)
        *loss += losses[chunk], *count += counts[chunk];
}

typedef struct {
    int64_t rows, classes, inner, label_bytes, ignores, ignored, reduction;
    double smoothing;
} FN(Options);

static FN(State) FN(state)(const FN(Options) *o, const void *target, const A *weight) {
    FN(State) s = {.rows = o->rows, .inner = o->inner, .weight = weight, .reduction = (int)o->reduction};
    s.labels = (bpx_labels){target, o->label_bytes, o->classes, o->ignores, o->ignored};
    s.chunks = bpx_chunks(o->rows, o->classes);
    s.s = (A)o->smoothing, s.even = (A)(o->smoothing / (double)o->classes);
    return s;
}

typedef struct {
    const T *logits;
    const void *target;
    const A *weight;
    T *y;
    A *lse;
    FN(Options) options;
} FN(Forward);

BPX_EXPORT int FN(bpx_cross_entropy_forward)(const void *call, bpx_parallel_for parallel,
                                             void *host) {
    const FN(Forward) *c = call;
    FN(State) s = FN(state)(&c->options, c->target, c->weight);
    s.logits = c->logits, s.lse_out = c->lse, s.whole = 1;
    if (s.reduction == BPX_NONE) s.out = c->y;
    double loss, count;
    FN(sum_losses)(&s, parallel, host, &loss, &count);
    if (s.reduction == BPX_SUM_OF_ROWS) *c->y = STORE((A)loss);
    if (s.reduction == BPX_MEAN) *c->y = STORE((A)(count == 0 ? 0 : loss / count));
    return 0;
}

typedef struct {
    const T *dy, *logits;
    const void *target;
    const A *weight, *lse;
    T *dlogits;
    A *dweight;
    FN(Options) options;
} FN(Backward);

BPX_EXPORT int FN(bpx_cross_entropy_backward)(const void *call, bpx_parallel_for parallel,
                                              void *host) {
    const FN(Backward) *c = call;
    FN(State) s = FN(state)(&c->options, c->target, c->weight);
    const int64_t classes = s.labels.classes;
    s.logits = c->logits, s.dy = c->dy, s.lse = c->lse;
    s.g = LOAD(*c->dy);
    if (s.reduction == BPX_MEAN) {
        double loss, count;
        s.whole = c->dweight != NULL;
        FN(sum_losses)(&s, parallel, host, &loss, &count);
        s.g = count == 0 ? 0 : (A)((double)s.g / count);
        s.y = count == 0 ? 0 : (A)(loss / count);
    }
    double sum_weight = 0;
    for (int64_t i = 0; i < classes; i++) sum_weight += s.weight == NULL ? 1 : (double)s.weight[i];
    s.sum_weight = (A)sum_weight;
    if (c->dweight != NULL) {
        s.dweight = malloc((size_t)(s.chunks * classes) * sizeof(A));
        if (s.dweight == NULL) return 1;
    }
    s.out = c->dlogits;
    bpx_run(parallel, host, s.chunks, FN(gradient_task), &s);
    if (c->dweight != NULL) {
        memcpy(c->dweight, s.dweight, (size_t)classes * sizeof(A));
        for (int64_t chunk = 1; chunk < s.chunks; chunk++)
            for (int64_t i = 0; i < classes; i++) c->dweight[i] += s.dweight[chunk * classes + i];
        free(s.dweight);
    }
    return 0;
}

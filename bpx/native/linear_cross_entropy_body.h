/* One element type (each_type.h). Included by linear_cross_entropy.c: the rows, and sums over them. */
#include "linear_cross_entropy_row_body.h"

BPX_CLONES static void FN(of_rows)(const FN(State) *s, int64_t first, int64_t last, T *scratch,
                                   A *restrict dclass) {
    for (int64_t row = first; row < last; row++)
        FN(of_row)(s, row, scratch != NULL ? scratch : s->c.z + row * s->labels.classes, dclass);
}

static void FN(rows_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const int64_t classes = s->labels.classes;
    A *dclass = s->dclass == NULL ? NULL : s->dclass + chunk * classes;
    T *scratch = s->scratch == NULL ? NULL : s->scratch + chunk * classes;
    if (dclass != NULL)
        for (int64_t i = 0; i < classes; i++) dclass[i] = 0;
    FN(of_rows)(s, bpx_first_row(chunk, s->chunks, s->c.o.rows),
                bpx_first_row(chunk + 1, s->chunks, s->c.o.rows), scratch, dclass);
}

/* dbias of some columns, BPX_COLUMNS at most: the sum down dlogits, in float64. */
BPX_CLONES static void FN(of_columns)(const FN(State) *s, int64_t first, int64_t columns) {
    double sums[BPX_COLUMNS] = {0};
    for (int64_t row = 0; row < s->c.o.rows; row++) {
        const T *restrict d = s->c.z + row * s->labels.classes + first;
#pragma omp simd
        for (int64_t i = 0; i < columns; i++) sums[i] += (double)LOAD(d[i]);
    }
    T *restrict dbias = s->c.dbias + first;
    for (int64_t i = 0; i < columns; i++)
        dbias[i] = STORE((A)((s->c.o.first == 0 ? 0 : (double)LOAD(dbias[i])) + sums[i]));
}

static void FN(columns_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const int64_t first = chunk * BPX_COLUMNS, left = s->labels.classes - first;
    FN(of_columns)(s, first, left < BPX_COLUMNS ? left : BPX_COLUMNS);
}

/* A mean is divided by sum(wy), which class_weight enters:
 *     dclass[c] -= g y for each row with label c */
static void FN(through_count)(const FN(State) *s, double y) {
    for (int64_t row = 0; row < s->c.o.all; row++) {
        const int64_t label = bpx_label(&s->labels, row);
        if (!bpx_is_ignored(&s->labels, label) && bpx_is_class(&s->labels, label))
            s->c.dclass[label] -= s->g * (A)y;
    }
}

BPX_EXPORT int FN(bpx_linear_cross_entropy)(const void *call, bpx_parallel_for parallel,
                                            void *host) {
    FN(State) s = {.c = *(const FN(Call) *)call};
    const FN(Options) *o = &s.c.o;
    const int64_t classes = o->classes, read = o->first + o->rows;
    const double count = s.c.count == NULL ? o->items : (double)*s.c.count;
    s.labels = (bpx_labels){s.c.target, o->label_bytes, classes, o->ignores, o->ignored};
    s.chunks = bpx_chunks(o->rows, classes);
    s.s = (A)o->smoothing, s.even = (A)(o->smoothing / (double)classes);
    s.cap = (A)o->softcap, s.z_loss = (A)o->z_loss;
    if (o->whole && count != 0)
        s.g = (A)((s.c.dy == NULL ? 1 : (double)LOAD(*s.c.dy)) / count);
    double sum_weight = 0, losses = 0;
    if (s.s != 0)
        for (int64_t i = 0; i < classes; i++)
            sum_weight += s.c.class_weight == NULL ? 1 : (double)s.c.class_weight[i];
    s.sum_weight = (A)sum_weight;
    const size_t partial = (size_t)(s.chunks * classes);
    if (s.c.dclass != NULL && (s.dclass = malloc(partial * sizeof(A))) == NULL) return 1;
    if (s.c.z == NULL && (s.scratch = malloc(partial * sizeof(T))) == NULL) {
        free(s.dclass);
        return 1;
    }
    bpx_run(parallel, host, s.chunks, FN(rows_task), &s);
    free(s.scratch);
    if (s.c.dbias != NULL)
        bpx_run(parallel, host, (classes + BPX_COLUMNS - 1) / BPX_COLUMNS, FN(columns_task), &s);
    for (int64_t row = 0; o->whole && row < read; row++) losses += (double)s.c.loss[row];
    const double y = count == 0 ? 0 : losses / count;
    if (s.c.y != NULL) *s.c.y = STORE((A)y);
    if (s.dclass == NULL) return 0;
    for (int64_t i = 0; o->first == 0 && i < classes; i++) s.c.dclass[i] = 0;
    for (int64_t chunk = 0; chunk < s.chunks; chunk++)
        for (int64_t i = 0; i < classes; i++) s.c.dclass[i] += s.dclass[chunk * classes + i];
    free(s.dclass);
    if (s.c.count != NULL && read == o->all) FN(through_count)(&s, y);
    return 0;
}

/* count: the sum of wy over all rows. kept: `rows` of x from `first` on, 0 where they are ignored. */
typedef struct {
    const T *x;
    const void *target;
    const A *class_weight;
    A *count;
    T *kept;
    int64_t first, rows, all, features, classes, label_bytes, ignores, ignored;
} FN(Labels);

BPX_EXPORT int FN(bpx_linear_cross_entropy_labels)(const void *call, bpx_parallel_for parallel,
                                                   void *host) {
    const FN(Labels) *c = call;
    const bpx_labels labels = {c->target, c->label_bytes, c->classes, c->ignores, c->ignored};
    (void)parallel, (void)host;
    double weights = 0;
    for (int64_t row = 0; c->count != NULL && row < c->all; row++) {
        const int64_t label = bpx_label(&labels, row);
        if (bpx_is_ignored(&labels, label)) continue;
        if (!bpx_is_class(&labels, label)) weights = NAN;
        else weights += c->class_weight == NULL ? 1 : (double)c->class_weight[label];
    }
    if (c->count != NULL) *c->count = (A)weights;
    const size_t bytes = (size_t)c->features * sizeof(T);
    for (int64_t row = 0; c->kept != NULL && row < c->rows; row++) {
        T *kept = c->kept + row * c->features;
        const int64_t at = c->first + row;
        if (bpx_is_ignored(&labels, bpx_label(&labels, at))) memset(kept, 0, bytes);
        else memcpy(kept, c->x + at * c->features, bytes);
    }
    return 0;
}

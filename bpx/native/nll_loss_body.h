/* One element type (each_type.h). Included by nll_loss.c.
 *
 * Rows lie one behind the other, or `inner` of them side by side: the classes of an image before its
 * places.
 *
 * wy is the weight of a row's label: 0 where it is ignored, NaN where it is no class. */
typedef struct {
    int64_t rows, classes, inner, label_bytes, ignores, ignored, reduction;
} FN(Sizes);

typedef struct {
    const T *x, *dy;
    const A *weight, *picked;
    T *out; /* y of the rows, or dx */
    A *picked_out;
    double *loss, *count; /* partial sums of each chunk */
    bpx_labels labels;
    int64_t rows, inner, chunks;
    int reduction;
    A g;
} FN(State);

BPX_INLINE A FN(label_weight)(const FN(State) *s, int64_t label) {
    if (bpx_is_ignored(&s->labels, label)) return 0;
    if (!bpx_is_class(&s->labels, label)) return (A)NAN;
    return s->weight == NULL ? 1 : s->weight[label];
}

/* Rows from `first` on that lie side by side: the places of an image, or one row. */
typedef struct {
    int64_t first, end;
    int64_t at; /* in x and dx, of the first row's first class; a class more stands `inner` on */
} FN(Block);

BPX_INLINE FN(Block) FN(block)(const FN(State) *s, int64_t first, int64_t last) {
    const int64_t place = first % s->inner, end = first - place + s->inner;
    const int64_t at = (first / s->inner) * s->labels.classes * s->inner + place;
    return (FN(Block)){first, bpx_least(end, last), at};
}

/* Forward: picks x[target], 0 in an ignored row. Backward (x NULL): sums over what was picked. */
static void FN(pick_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, s->rows);
    double total = 0, count = 0;
    FN(Block) b = {.end = bpx_first_row(chunk, s->chunks, s->rows)};
    while (b.end < last) {
        b = FN(block)(s, b.end, last);
        for (int64_t row = b.first; row < b.end; row++) {
            const int64_t label = bpx_label(&s->labels, row);
            const A wy = FN(label_weight)(s, label);
            A xy = 0;
            if (s->x == NULL) {
                xy = s->picked[row];
            } else if (!bpx_is_ignored(&s->labels, label)) {
                const int64_t at = bpx_is_class(&s->labels, label) ? label : 0;
                xy = LOAD(s->x[b.at + at * s->inner + row - b.first]);
            }
            if (s->picked_out != NULL) s->picked_out[row] = xy;
            if (s->out != NULL) s->out[row] = STORE(-wy * xy);
            total -= (double)(wy * xy);
            count += (double)wy;
        }
    }
    s->loss[chunk] = total, s->count[chunk] = count;
}

/* Backward, where every class weighs 1 and the loss is of no use: how many labels are classes. */
BPX_CLONES static void FN(count_rows)(const FN(State) *s, int64_t chunk) {
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, s->rows);
    int64_t classes = 0, outside = 0;
    for (int64_t row = bpx_first_row(chunk, s->chunks, s->rows); row < last; row++) {
        const int64_t label = bpx_label(&s->labels, row);
        const int64_t counts = !bpx_is_ignored(&s->labels, label);
        const int64_t inside = bpx_is_class(&s->labels, label);
        classes += counts & inside;
        outside += counts & !inside;
    }
    s->loss[chunk] = 0, s->count[chunk] = outside > 0 ? (double)NAN : (double)classes;
}

static void FN(count_task)(void *state, int64_t chunk) { FN(count_rows)(state, chunk); }

/* dx = -g wy onehot(target) */
static void FN(put_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, s->rows), n = s->labels.classes;
    const int64_t lines = s->inner == 1 ? 1 : n; /* of zeros */
    FN(Block) b = {.end = bpx_first_row(chunk, s->chunks, s->rows)};
    while (b.end < last) {
        b = FN(block)(s, b.end, last);
        const int64_t rows = b.end - b.first;
        T *dx = s->out + b.at;
        for (int64_t i = 0; i < lines; i++)
            memset(dx + i * s->inner, 0, (size_t)(s->inner == 1 ? n : rows) * sizeof(T));
        for (int64_t row = b.first; row < b.end; row++, dx++) {
            const int64_t label = bpx_label(&s->labels, row);
            if (bpx_is_ignored(&s->labels, label)) continue;
            if (bpx_is_class(&s->labels, label)) {
                const A g = s->reduction == BPX_NONE ? LOAD(s->dy[row]) : s->g;
                dx[label * s->inner] = STORE(-g * FN(label_weight)(s, label));
            } else {
                for (int64_t i = 0; i < n; i++) dx[i * s->inner] = STORE((A)NAN);
            }
        }
    }
}

static FN(State) FN(state)(const FN(Sizes) *c, const void *target, const A *weight) {
    FN(State) s = {.rows = c->rows, .inner = c->inner, .weight = weight};
    s.reduction = (int)c->reduction;
    s.labels = (bpx_labels){target, c->label_bytes, c->classes, c->ignores, c->ignored};
    return s;
}

static void FN(pick)(FN(State) *s, bpx_task task, bpx_parallel_for parallel, void *host, double *loss,
                     double *count) {
    double losses[BPX_MAX_CHUNKS], counts[BPX_MAX_CHUNKS];
    s->loss = losses, s->count = counts, s->chunks = bpx_chunks(s->rows, 16);
    bpx_run(parallel, host, s->chunks, task, s);
    *loss = 0, *count = 0;
    for (int64_t chunk = 0; chunk < s->chunks; chunk++)
        *loss += losses[chunk], *count += counts[chunk];
}

typedef struct {
    const T *x;
    const void *target;
    const A *weight;
    T *y;
    A *picked;
    FN(Sizes) sizes;
} FN(Forward);

BPX_EXPORT int FN(bpx_nll_loss_forward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Forward) *c = call;
    FN(State) s = FN(state)(&c->sizes, c->target, c->weight);
    double loss, count;
    s.x = c->x, s.picked_out = c->picked;
    if (s.reduction == BPX_NONE) s.out = c->y;
    FN(pick)(&s, FN(pick_task), parallel, host, &loss, &count);
    if (s.reduction == BPX_SUM_OF_ROWS) *c->y = STORE((A)loss);
    if (s.reduction == BPX_MEAN) *c->y = STORE((A)(count == 0 ? 0 : loss / count));
    return 0;
}

typedef struct {
    const T *dy;
    const void *target;
    const A *weight, *picked;
    T *dx;
    A *dweight;
    FN(Sizes) sizes;
} FN(Backward);

/* dweight[c] = -sum of g * x[target] over the rows with label c
 *              - sum of g * y over them, in a mean             through sum(wy) */
BPX_EXPORT int FN(bpx_nll_loss_backward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Backward) *c = call;
    FN(State) s = FN(state)(&c->sizes, c->target, c->weight);
    double loss, count;
    A y = 0;
    s.dy = c->dy, s.picked = c->picked, s.g = LOAD(*c->dy);
    if (s.reduction == BPX_MEAN) {
        const int counts = c->weight == NULL && c->dweight == NULL;
        FN(pick)(&s, counts ? FN(count_task) : FN(pick_task), parallel, host, &loss, &count);
        s.g = count == 0 ? 0 : (A)((double)s.g / count);
        y = count == 0 ? 0 : (A)(loss / count);
    }
    if (c->dx != NULL) {
        s.out = c->dx, s.chunks = bpx_chunks(s.rows, s.labels.classes);
        bpx_run(parallel, host, s.chunks, FN(put_task), &s);
    }
    if (c->dweight == NULL) return 0;
    for (int64_t i = 0; i < s.labels.classes; i++) c->dweight[i] = 0;
    for (int64_t row = 0; row < s.rows; row++) {
        const int64_t label = bpx_label(&s.labels, row);
        const A g = s.reduction == BPX_NONE ? LOAD(s.dy[row]) : s.g;
        if (bpx_is_ignored(&s.labels, label)) continue;
        if (bpx_is_class(&s.labels, label)) c->dweight[label] -= g * (s.picked[row] + y);
        else c->dweight[0] = (A)NAN;
    }
    return 0;
}

/* One element type (each_type.h). Included by ctc.c. */

typedef struct {
    const T *x;
    const A *dy;
    const void *targets, *frames_of, *labels_of;
    T *y, *dx;
    A *alpha, *loss;
    char *memory;
    int64_t frames, items, classes, labels, blank, bytes, reduction, zero_infinity;
    int64_t places, room, chunks;
} FN(State);

/* One item of the batch: its lengths, its places, and rows of work memory. */
typedef struct {
    A *held, *e, *next, *by_class; /* places + 2, places, places + 2, classes */
    int32_t *label, *jump;         /* places, places + 2 */
    int64_t frames, end;           /* the last place, 2 L */
    int outside;
} FN(Item);

static int64_t FN(room)(int64_t places, int64_t classes) {
    const int64_t bytes = (3 * places + 4 + classes) * (int64_t)sizeof(A) + (2 * places + 2) * 4;
    return (bytes + 127) / 64 * 64; /* chunks share no line */
}

static FN(Item) FN(item)(const FN(State) *s, int64_t n, int64_t chunk) {
    const int64_t places = s->places;
    FN(Item) item;
    item.held = (A *)(s->memory + chunk * s->room);
    item.e = item.held + places + 2;
    item.next = item.e + places;
    item.by_class = item.next + places + 2;
    item.label = (int32_t *)(item.by_class + s->classes);
    item.jump = item.label + places;
    int64_t frames = bpx_ctc_integer(s->frames_of, s->bytes, n);
    int64_t used = bpx_ctc_integer(s->labels_of, s->bytes, n);
    item.outside = frames < 0 || frames > s->frames || used < 0 || used > s->labels;
    frames = frames < 0 ? 0 : frames > s->frames ? s->frames : frames;
    used = used < 0 ? 0 : used > s->labels ? s->labels : used;
    for (int64_t m = 0; m < places; m++) item.label[m] = (int32_t)s->blank;
    for (int64_t m = 0; m < places + 2; m++) item.jump[m] = 0;
    for (int64_t u = 0; u < s->labels; u++) {
        const int64_t label = bpx_ctc_integer(s->targets, s->bytes, n * s->labels + u);
        if (label >= 0 && label < s->classes) {
            item.label[2 * u + 1] = (int32_t)label;
        } else if (u < used) {
            item.outside = 1;
        }
        if (u > 0) item.jump[2 * u + 1] = item.label[2 * u + 1] != item.label[2 * u - 1];
    }
    item.frames = frames;
    item.end = 2 * used;
    return item;
}

/* log(exp p + exp q + exp r); -inf where all of them are (the logarithm of 0), NaN where one of them is */
BPX_INLINE A FN(log_sum_exp)(A p, A q, A r) {
    A top = sizeof(A) == 8 ? (A)-DBL_MAX : (A)-FLT_MAX;
    top = p > top ? p : top;
    top = q > top ? q : top;
    top = r > top ? r : top;
    return top + LOG(EXP(p - top) + EXP(q - top) + EXP(r - top));
}

BPX_INLINE A FN(ended)(const A *last, int64_t end) {
    const A none = -(A)INFINITY;
    return -FN(log_sum_exp)(last[end], end > 0 ? last[end - 1] : none, none);
}

BPX_INLINE void FN(emit)(const FN(State) *s, const FN(Item) *item, int64_t n, int64_t t) {
    const T *restrict x = s->x + (t * s->items + n) * s->classes;
    for (int64_t m = 0; m < s->places; m++) item->e[m] = LOAD(x[item->label[m]]);
}

BPX_CLONES static void FN(forward_item)(const FN(State) *s, int64_t n, int64_t chunk) {
    const FN(Item) item = FN(item)(s, n, chunk);
    const int64_t places = s->places;
    const A none = -(A)INFINITY;
    A *restrict a = item.held; /* place m at m + 2, nothing before the first */
    const A *restrict e = item.e;
    const int32_t *restrict jump = item.jump;
    for (int64_t m = 0; m < places + 2; m++) a[m] = m == 2 ? 0 : none;
    for (int64_t t = 0; t < s->frames; t++) {
        A *restrict alpha = s->alpha + (t * s->items + n) * places;
        if (t < item.frames) {
            FN(emit)(s, &item, n, t);
#pragma omp simd
            for (int64_t m = 0; m < places; m++)
                alpha[m] = e[m] + FN(log_sum_exp)(a[m + 2], a[m + 1], jump[m] ? a[m] : none);
            memcpy(a + 2, alpha, (size_t)places * sizeof(A));
        } else {
            memcpy(alpha, a + 2, (size_t)places * sizeof(A));
        }
    }
    const A loss = FN(ended)(a + 2, item.end);
    s->loss[n] = item.outside ? (A)NAN : s->zero_infinity && loss == -none ? 0 : loss;
    if (s->reduction == BPX_CTC_MEAN) s->loss[n] /= (A)(item.end > 2 ? item.end / 2 : 1);
}

/* dlog_probs[t, c] = -dloss times the sum over the places m of label c of exp(alpha[t, m] + beta + loss),
 * with beta the log-probability of the rest of the labels after frame t, from place m */
BPX_CLONES static void FN(backward_item)(const FN(State) *s, int64_t n, int64_t chunk) {
    const FN(Item) item = FN(item)(s, n, chunk);
    const int64_t places = s->places, classes = s->classes;
    const A none = -(A)INFINITY;
    const A loss = FN(ended)(s->alpha + ((s->frames - 1) * s->items + n) * places, item.end);
    const int impossible = loss == -none;
    const int undefined = item.outside || (impossible && !s->zero_infinity);
    A g = s->dy[s->reduction == BPX_CTC_NONE ? n : 0];
    if (s->reduction == BPX_CTC_MEAN)
        g = g / (A)s->items / (A)(item.end > 2 ? item.end / 2 : 1);
    A *restrict b = item.held, *restrict after = item.next, *restrict sums = item.by_class;
    const A *restrict e = item.e;
    const int32_t *restrict jump = item.jump + 2; /* into the place two after */
    for (int64_t m = 0; m < places; m++)
        b[m] = m == item.end || (m == item.end - 1 && item.end > 0) ? 0 : none;
    after[places] = after[places + 1] = none;
    for (int64_t t = s->frames - 1; t >= 0; t--) {
        T *restrict dx = s->dx + (t * s->items + n) * classes;
        if (t >= item.frames || undefined || impossible) {
            const A constant = t < item.frames && undefined ? (A)NAN : 0;
            for (int64_t c = 0; c < classes; c++) dx[c] = STORE(constant);
            continue;
        }
        const A *restrict alpha = s->alpha + (t * s->items + n) * places;
        FN(emit)(s, &item, n, t);
#pragma omp simd
        for (int64_t m = 0; m < places; m++) {
            after[m] = e[m] + b[m];
            b[m] = -g * EXP(alpha[m] + b[m] + loss);
        }
        for (int64_t c = 0; c < classes; c++) sums[c] = 0;
        A blank = b[0];
        for (int64_t m = 1; m < places; m += 2) {
            sums[item.label[m]] += b[m];
            blank += b[m + 1];
        }
        sums[s->blank] += blank;
        for (int64_t c = 0; c < classes; c++) dx[c] = STORE(sums[c]);
#pragma omp simd
        for (int64_t m = 0; m < places; m++)
            b[m] = FN(log_sum_exp)(after[m], after[m + 1], jump[m] ? after[m + 2] : none);
    }
}

static void FN(forward_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, s->items);
    for (int64_t n = bpx_first_row(chunk, s->chunks, s->items); n < last; n++)
        FN(forward_item)(s, n, chunk);
}

static void FN(backward_task)(void *state, int64_t chunk) {
    const FN(State) *s = state;
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, s->items);
    for (int64_t n = bpx_first_row(chunk, s->chunks, s->items); n < last; n++)
        FN(backward_item)(s, n, chunk);
}

typedef struct {
    const T *x;
    const void *targets, *frames_of, *labels_of;
    T *y;
    A *alpha;
    int64_t frames, items, classes, labels, blank, bytes, reduction, zero_infinity;
} FN(Forward);

BPX_EXPORT int FN(bpx_ctc_forward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Forward) *c = call;
    FN(State) s = {.x = c->x, .targets = c->targets, .frames_of = c->frames_of};
    s.labels_of = c->labels_of, s.y = c->y, s.alpha = c->alpha;
    s.frames = c->frames, s.items = c->items, s.classes = c->classes, s.labels = c->labels;
    s.blank = c->blank, s.bytes = c->bytes;
    s.reduction = c->reduction, s.zero_infinity = c->zero_infinity;
    s.places = 2 * s.labels + 1;
    s.chunks = bpx_chunks(s.items, 4 * s.frames * s.places); /* a place costs as four elements */
    s.room = FN(room)(s.places, s.classes);
    s.memory = malloc((size_t)(s.chunks * s.room) + (size_t)s.items * sizeof(A));
    if (s.memory == NULL) return 1;
    s.loss = (A *)(s.memory + s.chunks * s.room);
    bpx_run(parallel, host, s.chunks, FN(forward_task), &s);
    A sum = 0;
    for (int64_t n = 0; n < s.items; n++) {
        sum += s.loss[n];
        if (s.reduction == BPX_CTC_NONE) s.y[n] = STORE(s.loss[n]);
    }
    if (s.reduction == BPX_CTC_MEAN) sum /= (A)s.items;
    if (s.reduction != BPX_CTC_NONE) s.y[0] = STORE(sum);
    free(s.memory);
    return 0;
}

typedef struct {
    const A *dy;
    const T *x;
    const void *targets, *frames_of, *labels_of;
    const A *alpha;
    T *dx;
    int64_t frames, items, classes, labels, blank, bytes, reduction, zero_infinity;
} FN(Backward);

BPX_EXPORT int FN(bpx_ctc_backward)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(Backward) *c = call;
    FN(State) s = {.x = c->x, .targets = c->targets, .frames_of = c->frames_of};
    s.labels_of = c->labels_of, s.dy = c->dy, s.dx = c->dx;
    s.alpha = (A *)c->alpha; /* only read */
    s.frames = c->frames, s.items = c->items, s.classes = c->classes, s.labels = c->labels;
    s.blank = c->blank, s.bytes = c->bytes;
    s.reduction = c->reduction, s.zero_infinity = c->zero_infinity;
    s.places = 2 * s.labels + 1;
    s.chunks = bpx_chunks(s.items, 4 * s.frames * s.places);
    s.room = FN(room)(s.places, s.classes);
    s.memory = malloc((size_t)(s.chunks * s.room));
    if (s.memory == NULL) return 1;
    bpx_run(parallel, host, s.chunks, FN(backward_task), &s);
    free(s.memory);
    return 0;
}

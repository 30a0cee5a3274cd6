/* One element type (each_type.h): what the outputs of each axis look at. Included by upsample_body.h. */

/* What one axis looks like: output o is keep[o] x[low[o]] + move[o] x[high[o]]. */
typedef struct {
    int32_t *low, *high;
    A *keep, *move;
} FN(Axis);

typedef struct {
    const T *in; /* x, or dy */
    T *out;      /* y, or dx */
    bpx_resize resize;
} FN(Call);

typedef struct {
    const FN(Call) *c;
    int64_t chunks, nearest, back, places, outputs, looks;
    FN(Axis) axis[3];
    /* backward along the last axis: element p is sum_l of shares[l, p] dy[from[l, p]], of which the
     * first count[p] are there */
    int32_t *from, *count;
    /* memory: chunks x (a row of elements, and all rows resized along themselves); have: chunks x
     * which of those rows are there */
    A *shares, *memory;
    int64_t each; /* of memory, in a chunk */
    uint8_t *have;
} FN(State);

static void FN(tables)(FN(State) *s) {
    const bpx_resize *r = &s->c->resize;
    for (int k = 0; k < 3; k++) {
        const bpx_resized *a = &r->axis[k];
        FN(Axis) *found = &s->axis[k];
        for (int64_t o = 0; o < a->outputs; o++) {
            double t = 0;
            if (s->nearest) {
                found->low[o] = bpx_nearest(a, r->scale[k], r->flag, sizeof(A) == 8, o);
                found->high[o] = found->low[o];
            } else {
                found->low[o] = bpx_linear(a, r->scale[k], r->flag, o, &t);
                found->high[o] = (int32_t)bpx_at_most(found->low[o] + 1, a->length - 1);
            }
            found->keep[o] = (A)(1 - t), found->move[o] = (A)t;
        }
    }
}

/* The outputs that look at one element lie in a row, since low and high do not fall. */
static int64_t FN(most_looks)(FN(State) *s) {
    const bpx_resized *a = &s->c->resize.axis[2];
    const FN(Axis) *t = &s->axis[2];
    int64_t first = 0, end = 0, most = 1;
    for (int64_t p = 0; p < a->length; p++) {
        while (first < a->outputs && t->high[first] < p) first++;
        while (end < a->outputs && t->low[end] <= p) end++;
        s->count[p] = (int32_t)(end > first ? end - first : 0);
        if (s->count[p] > most) most = s->count[p];
    }
    return most;
}

static void FN(transpose)(FN(State) *s) {
    const bpx_resized *a = &s->c->resize.axis[2];
    const FN(Axis) *t = &s->axis[2];
    int64_t first = 0;
    for (int64_t p = 0; p < a->length; p++) {
        while (first < a->outputs && t->high[first] < p) first++;
        for (int64_t l = 0; l < s->looks; l++) {
            const int64_t o = bpx_at_most(first + l, a->outputs - 1);
            s->from[l * a->length + p] = (int32_t)o;
            s->shares[l * a->length + p] =
                s->nearest ? 1 : (t->low[o] == p ? t->keep[o] : 0) + (t->high[o] == p ? t->move[o] : 0);
        }
    }
}

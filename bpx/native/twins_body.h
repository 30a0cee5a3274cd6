/* One element type (each_type.h). Included by health_parameters_body.h. The share of the units of a
 * matrix that have a twin, another with equal weights and gradient. Units are rows, or columns. */

typedef struct {
    const T *x;
    int64_t rows, columns, by_column;
    int64_t units, weights; /* of a unit; units are `unit` elements apart, its weights `step` */
    int64_t unit, step;
} FN(Matrix);

static FN(Matrix) FN(matrix)(const T *x, int64_t rows, int64_t columns, int64_t by_column) {
    return (FN(Matrix)){.x = x,
                        .rows = rows,
                        .columns = columns,
                        .by_column = by_column,
                        .units = by_column ? columns : rows,
                        .weights = by_column ? rows : columns,
                        .unit = by_column ? 1 : columns,
                        .step = by_column ? columns : 1};
}

BPX_CLONES static A FN(largest)(const T *restrict x, int64_t elements) {
    A largest = 0;
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < elements; i++) {
        const A value = LOAD(x[i]), size = value < 0 ? -value : value;
        largest = size > largest ? size : largest;
    }
    return largest;
}

/* Whether the first few weights of a unit tell all units apart: sorted by an irregular sum of them,
 * so that twins are neighbours, no two neighbours are closer than `limit`. 0 also where one of them
 * is not finite. */
static int FN(apart)(const FN(Matrix) *m, double limit, const double *coefficients,
                     const bpx_health_units *u) {
    bpx_health_unit *units = u->units;
    const int64_t n = m->units, few = m->weights < FEW ? m->weights : FEW;
    for (int64_t i = 0; i < n; i++) {
        double key = 0;
        for (int64_t k = 0; k < few; k++)
            key += coefficients[k] * (double)LOAD(m->x[i * m->unit + k * m->step]);
        if (key - key != 0) return 0;
        units[i] = (bpx_health_unit){key, i};
    }
    sort_units(u, n);
    for (int64_t i = 1; i < n; i++) {
        const T *a = m->x + units[i].unit * m->unit, *b = m->x + units[i - 1].unit * m->unit;
        int64_t k = 0;
        while (k < few && !(fabs((double)LOAD(a[k * m->step]) - (double)LOAD(b[k * m->step])) > limit))
            k++;
        if (k == few) return 0;
    }
    return 1;
}

/* For bpx_torch: x: rows x columns; a unit is a row, or with by_column a column. out: 1 or 0. */
typedef struct {
    const T *x;
    float *out;
    int64_t rows, columns, by_column;
    double close;
} FN(ApartCall);

BPX_EXPORT int FN(bpx_apart)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(ApartCall) *c = call;
    (void)parallel, (void)host;
    const FN(Matrix) m = FN(matrix)(c->x, c->rows, c->columns, c->by_column);
    const bpx_health_units units = room(m.units);
    if (units.units == NULL) return 1;
    double coefficients[FEW];
    irregular(coefficients);
    const double limit = c->close * (double)FN(largest)(c->x, c->rows * c->columns);
    *c->out = (float)FN(apart)(&m, limit, coefficients, &units);
    free(units.units);
    return 0;
}

/* Two sums of each unit's weights with irregular coefficients. */
typedef struct {
    FN(Matrix) matrix;
    const double *coefficients; /* MIXES for each weight */
    double *mixed;              /* MIXES for each unit */
    int64_t chunks;
} FN(Mix);

BPX_CLONES static void FN(mix_rows)(const FN(Mix) *s, int64_t first, int64_t last) {
    const int64_t n = s->matrix.weights;
    const double *restrict a = s->coefficients, *restrict b = a + n;
    for (int64_t i = first; i < last; i++) {
        const T *restrict row = s->matrix.x + i * n;
        double one = 0, other = 0;
#pragma omp simd reduction(+ : one, other)
        for (int64_t j = 0; j < n; j++) {
            one += a[j] * (double)LOAD(row[j]);
            other += b[j] * (double)LOAD(row[j]);
        }
        s->mixed[i] = one;
        s->mixed[s->matrix.units + i] = other;
    }
}

BPX_CLONES static void FN(mix_columns)(const FN(Mix) *s, int64_t first, int64_t last) {
    double *restrict one = s->mixed, *restrict other = s->mixed + s->matrix.units;
    for (int64_t j = first; j < last; j++) one[j] = other[j] = 0;
    for (int64_t i = 0; i < s->matrix.rows; i++) {
        const T *restrict row = s->matrix.x + i * s->matrix.columns;
        const double a = s->coefficients[i], b = s->coefficients[s->matrix.weights + i];
        for (int64_t j = first; j < last; j++) {
            one[j] += a * (double)LOAD(row[j]);
            other[j] += b * (double)LOAD(row[j]);
        }
    }
}

static void FN(mix_task)(void *state, int64_t chunk) {
    const FN(Mix) *s = state;
    const int64_t first = bpx_first_row(chunk, s->chunks, s->matrix.units);
    const int64_t last = bpx_first_row(chunk + 1, s->chunks, s->matrix.units);
    (s->matrix.by_column ? FN(mix_columns) : FN(mix_rows))(s, first, last);
}

/* By MIXES sums of the weights and of the gradient, each in units of the largest and rounded to
 * float; twins are neighbours where units are sorted by one sum of these. -1: no memory. */
static double FN(share)(const FN(Matrix) *weight, const T *gradient, double close,
                        const bpx_health_units *u, bpx_parallel_for parallel, void *host) {
    const int64_t n = weight->units, count = weight->weights;
    bpx_health_unit *units = u->units;
    static const double place[2 * MIXES] = {1.0, 0.59, 0.41, 0.29};
    double *memory = malloc((size_t)(MIXES * (count + 2 * n)) * sizeof *memory);
    if (memory == NULL) return -1;
    double *coefficients = memory, *mixed = memory + MIXES * count;
    for (int64_t i = 0; i < count; i++) {
        coefficients[i] = sin(2.1 * pow((double)(i + 1), 1.5));
        coefficients[count + i] = cos(pow((double)(i + 1), 1.4));
    }
    for (int which = 0; which < 2; which++) {
        FN(Mix) s = {.matrix = *weight, .coefficients = coefficients, .mixed = mixed + which * MIXES * n};
        if (which == 1) s.matrix.x = gradient;
        s.chunks = bpx_chunks(n, count);
        bpx_run(parallel, host, s.chunks, FN(mix_task), &s);
        float largest = 0;
        for (int64_t i = 0; i < MIXES * n; i++) {
            const float size = fabsf((float)s.mixed[i]);
            if (size != size || largest != largest) largest = NAN;
            else if (size > largest) largest = size;
        }
        const float by = largest > 0 ? largest : 1;
        for (int64_t i = 0; i < MIXES * n; i++) s.mixed[i] = (double)((float)s.mixed[i] / by);
    }
    for (int64_t i = 0; i < n; i++) {
        units[i] = (bpx_health_unit){0, i};
        for (int k = 0; k < 2 * MIXES; k++) units[i].key += place[k] * mixed[k * n + i];
    }
    sort_units(u, n);
    int64_t twins = 0, before = 0; /* before: whether the unit before is this one's twin */
    for (int64_t i = 0; i < n; i++) {
        int64_t after = i + 1 < n;
        for (int k = 0; k < 2 * MIXES && after; k++)
            after = fabs(mixed[k * n + units[i].unit] - mixed[k * n + units[i + 1].unit]) <= close;
        twins += before | after;
        before = after;
    }
    free(memory);
    return (double)twins / (double)n;
}

/* The larger of the two shares, of rows and of columns; `first` and `last` are the sizes of the
 * outer axes, 1 where their units are not compared. */
static int FN(twins)(const T *weight, const T *gradient, int64_t elements, int64_t first,
                     int64_t last, double close, float *out, bpx_parallel_for parallel, void *host) {
    *out = 0;
    if (elements == 0 || (first < 2 && last < 2)) return 0;
    const bpx_health_units units = room(first > last ? first : last);
    if (units.units == NULL) return 1;
    double coefficients[FEW], found = 0;
    irregular(coefficients);
    const double limit = 10 * close * (double)FN(largest)(weight, elements);
    for (int64_t by_column = 0; by_column < 2 && found >= 0; by_column++) {
        const int64_t n = by_column ? last : first;
        if (n < 2) continue;
        const FN(Matrix) m = by_column ? FN(matrix)(weight, elements / n, n, 1)
                                       : FN(matrix)(weight, n, elements / n, 0);
        if (FN(apart)(&m, limit, coefficients, &units)) continue;
        const double share = FN(share)(&m, gradient, close, &units, parallel, host);
        found = share < 0 ? share : fmax(found, share);
    }
    free(units.units);
    *out = (float)found;
    return found < 0;
}

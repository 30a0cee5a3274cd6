/* One element type (each_type.h). Included by apart.c. */

BPX_CLONES static A FN(largest)(const T *restrict x, int64_t elements) {
    A largest = 0;
#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < elements; i++) {
        const A value = LOAD(x[i]), size = value < 0 ? -value : value;
        largest = size > largest ? size : largest;
    }
    return largest;
}

/* x: rows x columns; a unit is a row, or with by_column a column. out: 1 or 0, also where a value is
 * not finite. */
typedef struct {
    const T *x;
    float *out;
    int64_t rows, columns, by_column;
    double close;
} FN(ApartCall);

BPX_EXPORT int FN(bpx_apart)(const void *call, bpx_parallel_for parallel, void *host) {
    const FN(ApartCall) *c = call;
    (void)parallel, (void)host;
    const int64_t n = c->by_column ? c->columns : c->rows;
    const int64_t weights = c->by_column ? c->rows : c->columns;
    const int64_t few = weights < FEW ? weights : FEW;
    const int64_t step = c->by_column ? c->columns : 1, unit = c->by_column ? 1 : c->columns;
    bpx_apart_unit *units = malloc((size_t)n * sizeof *units);
    if (units == NULL) return 1;
    int fine = 1;
    double coefficients[FEW];
    for (int k = 0; k < FEW; k++) coefficients[k] = cos(1.0 + 0.83 * k);
    for (int64_t i = 0; i < n; i++) {
        double key = 0;
        for (int64_t k = 0; k < few; k++)
            key += coefficients[k] * (double)LOAD(c->x[i * unit + k * step]);
        fine &= key - key == 0;
        units[i].key = key;
        units[i].unit = i;
    }
    qsort(units, (size_t)n, sizeof *units, by_key);
    const double limit = c->close * (double)FN(largest)(c->x, c->rows * c->columns);
    for (int64_t i = 1; i < n && fine; i++) {
        double gap = 0;
        for (int64_t k = 0; k < few; k++) {
            const double a = (double)LOAD(c->x[units[i].unit * unit + k * step]);
            gap = fmax(gap, fabs(a - (double)LOAD(c->x[units[i - 1].unit * unit + k * step])));
        }
        fine = gap > limit;
    }
    free(units);
    *c->out = (float)fine;
    return 0;
}

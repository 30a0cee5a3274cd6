/* What a set's moments say, for one element type. */

/* mean + shift is the mean: mean alone is rounded to A, which is much beside a small deviation. */
BPX_INLINE void FN(statistics)(const bpx_moments *m, A *mean, A *shift, A *var) {
    const int whole = isfinite(m->sum);
    const double of_all = whole ? m->mean : m->sum / m->count;
    *mean = (A)of_all;
    *shift = whole ? (A)(of_all - (double)*mean) : 0;
    *var = (A)((m->squares < 0 ? 0 : m->squares) / m->count);
}

/* 0 * var: an infinite one is NaN from here on, where 1 / inf would make zeros of it */
BPX_INLINE A FN(reciprocal)(A var, double eps) { return 1 / SQRT(var + (A)eps) + 0 * var; }

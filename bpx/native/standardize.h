/* What the files of group, instance and batch normalisation share. x is (B C S).
 *
 * A set is what has one mean: a group of channels of one sample (`groups` of them), or, where groups
 * is 0, a channel of the whole batch. It is `runs` stretches of `places` adjacent elements, one for
 * each channel of the group or each sample of the batch. */
#ifndef BPX_STANDARDIZE_H
#define BPX_STANDARDIZE_H

#include "core.h"

enum { BPX_BLOCK = 4096 }; /* elements that a first-level cache holds between two passes */

/* A batch's channels of fewer places than BPX_SHORT_PLACES are taken as columns of rows, BPX_COLUMNS and
 * BPX_BLOCK_ROWS at a time; a task has BPX_FEW_COLUMNS at least. */
enum { BPX_SHORT_PLACES = 64, BPX_COLUMNS = 512, BPX_FEW_COLUMNS = 128, BPX_BLOCK_ROWS = 32 };

typedef struct {
    int64_t sets, runs, places;
    int64_t step, stride;       /* from set to set, and from run to run of one set */
    int64_t period;             /* sets with channels of their own, 0 for all */
    int64_t channels;           /* of one set */
} bpx_sets;

BPX_INLINE bpx_sets bpx_make_sets(int64_t batch, int64_t channels, int64_t places, int64_t groups) {
    bpx_sets s = {.places = places};
    if (groups == 0) {
        s.sets = channels, s.runs = batch, s.channels = 1, s.period = channels;
        s.step = places, s.stride = channels * places;
    } else {
        s.sets = batch * groups, s.runs = channels / groups, s.channels = s.runs;
        s.period = groups, s.step = s.runs * places, s.stride = places;
    }
    return s;
}

BPX_INLINE int bpx_are_columns(const bpx_sets *s, int64_t groups) {
    return groups == 0 && s->places < BPX_SHORT_PLACES;
}

BPX_INLINE int64_t bpx_set_chunks(const bpx_sets *s, int64_t groups) {
    const int64_t chunks = bpx_chunks(s->sets, s->runs * s->places);
    if (!bpx_are_columns(s, groups)) return chunks;
    const int64_t most = s->sets * s->places / BPX_FEW_COLUMNS;
    return bpx_least(chunks, most < 1 ? 1 : most);
}

/* Mean and sum of squared distances of what was seen so far, and the plain sum, which alone says
 * whether an infinity or a NaN was among it. */
typedef struct {
    double count, mean, squares, sum;
} bpx_moments;

/* Adds n values by their sum, by `about` and by the sums of their distances to it and of the squares
 * of these (Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983). */
BPX_INLINE void bpx_merge(bpx_moments *m, double n, double sum, double about, double distances,
                          double squares) {
    const double mean = about + distances / n, apart = mean - m->mean, count = m->count + n;
    if (m->count == 0) {
        *m = (bpx_moments){n, mean, squares - distances * distances / n, sum};
        return;
    }
    m->squares += squares - distances * distances / n + apart * apart * (m->count * n / count);
    m->mean += apart * (n / count);
    m->count = count;
    m->sum += sum;
}

#endif

package patch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// watch handles the databases of the target in rounds until ctx ends, and finds databases and schemas anew in each. It ends
// by itself where every database fails for good in the first round; later, an error is logged once and the next round
// tries again. The lines of the report are those of the last round; the error of a database whose fixes are not in place
// then wraps context.Cause(ctx).
func (t *target) watch(ctx context.Context) {
	w := watch{target: t, last: t.collect(ctx)}
	if ctx.Err() == nil && w.failed() {
		t.report.add(w.results())
		return
	}
	if ctx.Err() == nil {
		w.logBeginning()
	}
	interval := t.cfg.Watch.Duration
	pause := interval - interval/10 // so that a change is made within the interval
	for {
		select {
		case <-ctx.Done():
			w.end(ctx)
			t.report.add(w.results())
			return
		case <-time.After(pause):
		}
		began := time.Now()
		w.compare(t.collect(ctx), ctx.Err() != nil)
		took := time.Since(began)
		if took > interval && !w.late && ctx.Err() == nil {
			w.late = true
			t.log.Warn("a round takes longer than PATCH_WATCH, so the next begins at once", "took", took.Round(time.Millisecond), "every", interval)
		}
		pause = max(interval-interval/10-took, 0)
	}
}

// watch is what the rounds of a watch have found.
type watch struct {
	target *target
	last   map[place]*Result
	late   bool // it has been logged that a round takes longer than the interval
}

// failed reports whether every database failed.
func (w *watch) failed() bool {
	for _, r := range w.last {
		if r.Err == nil {
			return false
		}
	}
	return len(w.last) > 0
}

// collect handles every database once and returns the results.
func (t *target) collect(ctx context.Context) map[place]*Result {
	var mu sync.Mutex
	found := map[place]*Result{}
	t.round(ctx, 0, func(results []*Result) {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range results {
			found[r.place] = r
		}
	})
	return found
}

// logBeginning logs the results of the first round.
func (w *watch) logBeginning() {
	log, every := w.target.log, w.target.cfg.Watch.Duration
	for _, r := range w.results() {
		logNotes(log, r)
		if len(w.last) == 1 {
			log.Info("watching", "target", r.Target, "schema", r.Schema, "state", r.Status, "every", every)
		}
	}
	if len(w.last) != 1 {
		log.Info("watching", "target", w.target.String(), "schemas", len(w.last), "every", every)
	}
}

// compare takes over the results of a later round, and logs what is new. A round that was stopped may not have come to every
// database, or not to its end.
func (w *watch) compare(now map[place]*Result, stopped bool) {
	for at, before := range w.last {
		if now[at] == nil && stopped {
			now[at] = before
		}
	}
	for at, r := range now {
		before := w.last[at]
		if before == nil && r.stopped {
			delete(now, at) // it was not found before, and not seen now
			continue
		}
		if before == nil {
			before = &Result{}
		}
		changed := r.Changed || before.Changed // in any round
		unknown := (r.Unknown || before.Unknown) && !changed
		if r.stopped && before.Status != "" {
			r, now[at] = before, before // it knew more
		} else if r.Status != before.Status || r.Err != nil && (before.Err == nil || explain(r.Err) != explain(before.Err)) {
			w.target.log.Info("the state has changed", "target", r.Target, "schema", r.Schema, "before", before.Status, "now", r.Status)
			logNotes(w.target.log, r)
		}
		r.Changed, r.Unknown = changed, unknown
	}
	w.last = now
}

// end makes the results those of a watch that was stopped.
func (w *watch) end(ctx context.Context) {
	for _, r := range w.last {
		if stopped := context.Cause(ctx); r.Err != nil && !errors.Is(r.Err, stopped) {
			r.Err = fmt.Errorf("%s (%w)", explain(r.Err), stopped)
		}
	}
}

// results returns the results in the order of their places.
func (w *watch) results() []*Result {
	return slices.SortedFunc(maps.Values(w.last), func(a, b *Result) int { return a.place.compare(b.place) })
}

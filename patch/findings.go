package patch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// take takes over the results of a database that is done, and logs what is new. A database that was stopped may not have come
// to its end, or not have begun.
func (w *watch) take(ctx context.Context, name string, results []*Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.busy, name)
	last, known := w.last[name]
	stopped := ctx.Err() != nil
	switch {
	case w.ended, !w.expects(name), stopped && !known && len(results) == 0:
		return
	case stopped && known:
		results = slices.DeleteFunc(results, func(r *Result) bool { return r.stopped && resultAt(last, r.place) == nil })
		for _, before := range last {
			if resultAt(results, before.place) == nil {
				results = append(results, before)
			}
		}
	}
	for i, r := range results {
		if before := resultAt(last, r.place); before != r {
			results[i] = w.compare(before, r)
		}
	}
	w.last[name] = results
	w.assess(ctx)
}

// takeFound takes over the databases that were found. Those that were not found any more are forgotten.
func (w *watch) takeFound(ctx context.Context, found []string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.busy, listing)
	switch {
	case err == nil:
		w.found, w.listed, w.unlisted = found, true, nil
		for name, results := range w.last {
			if w.expects(name) {
				continue
			}
			delete(w.last, name)
			if len(results) > 0 {
				w.log.Info("the database is not found any more", "target", results[0].Target)
			}
		}
	case ctx.Err() == nil:
		w.unlisted = w.compare(w.unlisted, w.failure(ctx, err))
	case !w.listed && w.unlisted == nil:
		w.unlisted = w.failure(ctx, err)
	}
	w.fresh = true
	w.assess(ctx)
}

// expects reports whether a database is named or was found the last time.
func (w *watch) expects(name string) bool {
	_, found := slices.BinarySearch(w.found, name)
	return found || slices.Contains(w.Databases.Names, name)
}

// resultAt returns the Result of a place, nil if there is none.
func resultAt(results []*Result, at place) *Result {
	for _, r := range results {
		if r.place == at {
			return r
		}
	}
	return nil
}

// compare returns the Result that takes the place of the one before, which may be nil, and logs what is new.
func (w *watch) compare(before, now *Result) *Result {
	if before == nil {
		before = &Result{}
	}
	changed := now.Changed || before.Changed // in any round
	unknown := (now.Unknown || before.Unknown) && !changed
	if now.stopped && before.Status != "" {
		now = before // it knew more
	} else if w.logged && !now.stopped && (now.Status != before.Status || now.Err != nil && (before.Err == nil || explain(now.Err) != explain(before.Err))) {
		w.log.Info("the state has changed", "target", now.Target, "schema", now.Schema, "before", before.Status, "now", now.Status)
		logNotes(w.log, now)
	}
	now.Changed, now.Unknown = changed, unknown
	return now
}

// assess logs the beginning as soon as everything is known, or something where that is enough, and ends the watch if every
// database has failed before anything else happened to one. It makes the next round begin at once where databases were found
// that are not handled yet.
func (w *watch) assess(ctx context.Context) {
	if ctx.Err() != nil || w.ended {
		return
	}
	results, done := w.results(), len(w.busy) == 0 && !w.fresh
	if !w.lasting {
		w.lasting = done && len(results) == 0 || slices.ContainsFunc(results, func(r *Result) bool { return r.Err == nil })
		w.ended = done && !w.lasting
	}
	if !w.logged && !w.ended && (done || w.partial && len(results) > 0) {
		w.logged = true
		w.logBeginning(results)
	}
	if w.ended || w.fresh {
		w.signal()
	}
}

// signal makes the watch not pause before the next round.
func (w *watch) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// logBeginning logs the first results.
func (w *watch) logBeginning(results []*Result) {
	every := w.cfg.Watch.Duration
	for _, r := range results {
		logNotes(w.log, r)
		if len(results) == 1 {
			w.log.Info("watching", "target", r.Target, "schema", r.Schema, "state", r.Status, "every", every)
		}
	}
	if len(results) != 1 {
		w.log.Info("watching", "target", w.String(), "schemas", len(results), "every", every)
	}
}

// results returns the latest results in the order of their places.
func (w *watch) results() (all []*Result) {
	for _, name := range slices.Sorted(maps.Keys(w.last)) {
		all = append(all, w.last[name]...)
	}
	if w.unlisted != nil {
		all = append(all, w.unlisted)
	}
	return all
}

// write passes the results to the report. What failed in a watch that was stopped then wraps why it was.
func (w *watch) write(ctx context.Context) {
	results := w.results()
	if stopped := context.Cause(ctx); !w.ended {
		for _, r := range results {
			if r.Err != nil && !errors.Is(r.Err, stopped) {
				r.Err = fmt.Errorf("%s (%w)", explain(r.Err), stopped)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.last)) {
		w.report.add(w.last[name])
	}
	if w.unlisted != nil {
		w.report.add([]*Result{w.unlisted})
	}
}

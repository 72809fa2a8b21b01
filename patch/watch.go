package patch

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"evolution-openai-patch/patch/plan"
)

// watch handles each database of a fleet again and again, and starts and stops that for those that a pattern finds.
type watch struct {
	*fleet
	end   context.CancelFunc // ends the watch
	begun func()             // ends the messages on how far the first looks are
	group sync.WaitGroup     // of what is being done
	count progress           // of first looks

	mu        sync.Mutex
	watched   map[string]*watched
	unlisted  *Result  // the failure of the last listing, nil if it succeeded
	noConnect []string // databases that a pattern matches and on which the role lacks CONNECT
	noAccess  *Result  // the failure of being kept out of every database that was found, nil if there is another
	listed    bool     // it came to an end once
	partial   bool     // the beginning is logged even if not everything is known
	logged    bool     // the beginning is logged
	lasting   bool     // the watch does not end by itself
	ended     bool     // the watch has ended by itself
	late      bool     // that a look takes too long is logged
}

// watched is a database that is handled again and again.
type watched struct {
	stop      context.CancelFunc
	looked    bool              // at least once
	connected bool              // a look was made before this one
	keptOut   error             // why the server does not let the role in, nil if it does
	target    string            // "" as long as there was no result
	results   map[place]*Result // the latest, none for a database without the table
}

// watch keeps the fixes in place until ctx ends. It ends by itself where every database fails for good at the first look; later, an
// error is logged once and the next look tries again. The lines of the report are the latest that are known; the error of a
// database whose fixes are not in place then wraps context.Cause(ctx).
func (f *fleet) watch(ctx context.Context) {
	whole, end := context.WithCancel(ctx)
	defer end()
	w := &watch{fleet: f, end: end, watched: map[string]*watched{}, listed: len(f.Databases.Patterns) == 0}
	w.begun = sync.OnceFunc(w.logProgress(&w.count))
	defer w.begun()
	w.mu.Lock()
	for _, name := range f.Databases.Names {
		w.begin(whole, name)
	}
	w.mu.Unlock()
	if !w.listed {
		w.group.Go(func() { w.repeat(whole, func() { w.list(whole) }) })
	}
	w.group.Go(func() {
		if pause(whole, f.cfg.Watch.Duration) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.partial = true
			w.assess(whole)
		}
	})
	w.group.Wait()
	w.write(ctx)
}

// pause waits, and reports whether it came to its end before ctx did.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// repeat does something every interval, less a tenth, so that a change is made within the interval, until ctx ends.
func (w *watch) repeat(ctx context.Context, do func()) {
	interval := w.cfg.Watch.Duration - w.cfg.Watch.Duration/10
	for {
		began := time.Now()
		do()
		if !pause(ctx, interval-time.Since(began)) {
			return
		}
	}
}

// begin begins to handle a database.
func (w *watch) begin(ctx context.Context, name string) {
	ctx, stop := context.WithCancel(ctx)
	me, d := &watched{stop: stop}, w.database(name)
	w.watched[name] = me
	w.count.databases.Add(1)
	w.group.Go(func() {
		defer d.disconnect()
		w.repeat(ctx, func() {
			w.take(ctx, name, me, d, d.handle(ctx, 0, &w.count))
			w.checkPace(me, d)
			me.connected = true
		})
	})
}

// list looks for databases, begins to handle those that are new, and forgets those that were not found any more.
func (w *watch) list(ctx context.Context) {
	found, closed, err := w.find(ctx, 0)
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil && ctx.Err() != nil:
		if !w.listed {
			w.unlisted = w.failedResult(ctx, err)
		}
		return
	case err != nil:
		w.unlisted = w.compare(w.unlisted, w.failedResult(ctx, err))
	default:
		w.unlisted, w.noConnect = nil, closed
		for _, name := range found {
			if w.watched[name] == nil {
				w.begin(ctx, name)
			}
		}
		for name, one := range w.watched {
			if slices.Contains(found, name) || slices.Contains(w.Databases.Names, name) {
				continue
			}
			one.stop()
			delete(w.watched, name)
			switch {
			case slices.Contains(closed, name):
				w.newDatabase(name).logKeptOut(errNoConnect)
			case one.target != "":
				w.log.Info("the database is not found any more", "target", one.target)
			}
		}
	}
	w.listed = true
	w.assess(ctx)
}

// take takes over the results of a look, and logs what is new. A look that was stopped may not have come to its end, and leaves what
// was known.
func (w *watch) take(ctx context.Context, name string, one *watched, d *database, results []*Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	stopped := ctx.Err() != nil
	if w.watched[name] != one || w.ended || stopped && !one.looked && len(results) == 0 {
		return // it was not found any more meanwhile, or it is over before anything was seen
	}
	latest := map[place]*Result{}
	if stopped {
		maps.Copy(latest, one.results)
	}
	for _, r := range results {
		before := one.results[r.place]
		if stopped && r.stopped && before == nil && one.looked {
			continue
		}
		one.target, latest[r.place] = r.Target, w.compare(before, r)
	}
	if !one.looked {
		w.count.databasesDone.Add(1)
	}
	one.results, one.looked = latest, true
	if stopped {
		return
	}
	if d.keptOut != nil && one.keptOut == nil {
		d.logKeptOut(d.keptOut)
	}
	one.keptOut = d.keptOut
	w.assess(ctx)
}

// checkPace says once if a look took longer than the interval, but for the first one, in which connections are made.
func (w *watch) checkPace(one *watched, d *database) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !one.connected || w.late || d.looked <= w.cfg.Watch.Duration {
		return
	}
	w.late = true
	w.log.Warn("a look takes longer than PATCH_WATCH, so the next follows at once", "target", d.target.String(), "took", d.looked.Round(time.Millisecond), "every", w.cfg.Watch.Duration)
}

// compare returns the Result that takes the place of the one before, which may be nil, and logs what is new.
func (w *watch) compare(before, now *Result) *Result {
	var was plan.Status
	var failed error
	var known []string
	if before != nil {
		was, failed, known = before.Status, before.Err, before.Warnings
	}
	if !w.logged || now.stopped {
		return now.after(before)
	}
	if now.Status != was || now.Err != nil && (failed == nil || explain(now.Err) != explain(failed)) {
		w.log.Info("the state has changed", "target", now.Target, "schema", now.Schema, "before", was, "now", now.Status)
		logNotes(w.log, now)
	}
	logWarnings(w.log, now, known)
	return now.after(before)
}

// assess logs the beginning as soon as everything is known, or something where that is enough, and ends the watch if every database
// has failed before anything else happened to one.
func (w *watch) assess(ctx context.Context) {
	done := w.listed
	for _, one := range w.watched {
		done = done && one.looked
	}
	if done {
		w.checkAccess(ctx)
	}
	results := w.results()
	if !w.lasting {
		w.lasting = done && len(results) == 0 || slices.ContainsFunc(results, func(r *Result) bool { return r.Err == nil })
		w.ended = done && !w.lasting
	}
	if w.ended {
		w.end()
	} else if !w.logged && (done || w.partial && len(results) > 0) {
		w.logged = true
		w.begun()
		w.logBeginning(results)
	}
}

// logBeginning logs the first results.
func (w *watch) logBeginning(results []*Result) {
	every := w.cfg.Watch.Duration
	for _, r := range results {
		logNotes(w.log, r)
		logWarnings(w.log, r, nil)
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
	for _, name := range slices.Sorted(maps.Keys(w.watched)) {
		all = append(all, w.watched[name].inOrder()...)
	}
	return append(all, w.failures()...)
}

// failures returns the Results that stand for all databases that are not named.
func (w *watch) failures() (all []*Result) {
	for _, r := range []*Result{w.unlisted, w.noAccess} {
		if r != nil {
			all = append(all, r)
		}
	}
	return all
}

// inOrder returns the latest results of one database in the order of their places.
func (one *watched) inOrder() []*Result {
	return slices.SortedFunc(maps.Values(one.results), func(a, b *Result) int { return a.compare(b.place) })
}

// write passes the results to the report. What failed in a watch that was stopped then wraps why it was.
func (w *watch) write(ctx context.Context) {
	report := func(results []*Result) {
		for i, r := range results {
			if !w.ended {
				results[i] = r.endedBy(context.Cause(ctx))
			}
		}
		w.report.add(results)
	}
	for _, name := range slices.Sorted(maps.Keys(w.watched)) {
		if one := w.watched[name]; one.looked && one.keptOut == nil {
			report(one.inOrder())
		}
	}
	w.report.keptOut(w.access().kept)
	if failures := w.failures(); len(failures) > 0 {
		report(failures)
	}
}

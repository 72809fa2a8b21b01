package patch

import (
	"context"
	"slices"
	"sync"
	"time"
)

// watch handles the databases of a target in rounds, and finds databases and schemas anew in each. A database that has to wait
// for something does not hold up the round, and takes part in another only when it is done.
type watch struct {
	*target
	group sync.WaitGroup // of what is being done
	wake  chan struct{}  // receives when there is no pause before the next round, or no next round

	mu       sync.Mutex
	busy     map[string]bool      // the databases that are being handled, and listing
	found    []string             // the databases that were found, sorted
	fresh    bool                 // they were found after the last round
	inRound  bool                 // results are assessed at its end
	last     map[string][]*Result // the latest results by database, none for a database without the table
	unlisted *Result              // the failure of the listing, if it failed the last time
	listed   bool                 // it succeeded once
	logged   bool                 // the beginning is logged
	lasting  bool                 // the watch does not end by itself
	ended    bool                 // the watch has ended by itself
}

// listing stands for the search for databases among those that are being handled. No database has this name.
const listing = ""

// watch keeps the fixes in place until ctx ends. It ends by itself where every database fails for good in the first round;
// later, an error is logged once and the next round tries again. The lines of the report are the latest that are known; the
// error of a database whose fixes are not in place then wraps context.Cause(ctx).
func (t *target) watch(ctx context.Context) {
	w := watch{target: t, wake: make(chan struct{}, 1), busy: map[string]bool{}, last: map[string][]*Result{}}
	interval := t.cfg.Watch.Duration
	limit := interval - interval/10 // so that a change is made within the interval
	late := false
	for first := true; ; first = false {
		r := w.round(ctx, limit)
		if took := r.duration(); took > interval && !first && !late && ctx.Err() == nil {
			late = true
			t.log.Warn("a round takes longer than PATCH_WATCH, so the next begins at once", "server", t.Server(), "took", took.Round(time.Millisecond), "every", interval)
		}
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-time.After(limit - time.Since(r.began)):
		}
		if ctx.Err() != nil || w.over() {
			break
		}
	}
	w.group.Wait()
	w.write(ctx)
}

// round begins to handle every database that is not being handled, and waits for them for no longer than limit.
func (w *watch) round(ctx context.Context, limit time.Duration) *round {
	r := newRound()
	w.mu.Lock()
	w.inRound = true
	w.mu.Unlock()
	defer w.logProgress(&r.count)()
	w.list(ctx, r, limit)
	w.start(ctx, r)
	r.wait(ctx, limit)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inRound = false
	w.assess(ctx)
	return r
}

// list looks for databases, unless that is being done already or has just been done. If it has to wait for something, the round
// goes on with what is known, and the next one begins when the databases are found.
func (w *watch) list(ctx context.Context, r *round, limit time.Duration) {
	if len(w.Databases.Patterns) == 0 {
		return
	}
	w.mu.Lock()
	due := !w.busy[listing] && !w.fresh
	w.busy[listing], w.fresh = w.busy[listing] || due, false
	w.mu.Unlock()
	if !due {
		return
	}
	u := r.turn()
	w.group.Go(func() {
		found, err := w.find(ctx, 0, u)
		w.takeFound(ctx, found, err)
		u.reach(settled)
	})
	r.wait(ctx, limit)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fresh = false
}

// start begins to handle the databases that are not being handled, as soon as there is a connection for each.
func (w *watch) start(ctx context.Context, r *round) {
	w.mu.Lock()
	names := slices.DeleteFunc(slices.Concat(w.Databases.Names, w.found), func(name string) bool { return w.busy[name] })
	turns := make([]*turn, len(names))
	for i, name := range names {
		w.busy[name], turns[i] = true, r.turn()
	}
	w.mu.Unlock()
	r.count.databases.Store(int64(len(names)))
	for i, name := range names {
		d := w.database(name)
		d.turn = turns[i]
		d.acquire(ctx)
		w.group.Go(func() {
			w.take(ctx, name, d.handle(ctx, 0))
			r.count.done.Add(1)
			turns[i].reach(settled)
		})
	}
}

// over reports whether the watch has ended by itself.
func (w *watch) over() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended
}

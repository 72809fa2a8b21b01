package patch

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// watch handles the databases of a target in rounds, and finds databases and schemas anew in each. A round waits only until
// every database has been inspected: one that is changed then, or has to wait for something, goes on beside later rounds and
// takes part in another when it is done.
type watch struct {
	*target
	limit time.Duration  // of the time from the beginning of a round to that of the next
	group sync.WaitGroup // of what is being done
	took  atomic.Int64   // nanoseconds from the beginning of a round to the end of its last inspection; 0 if that is not new
	wake  chan struct{}  // receives when there is no pause before the next round, or no next round

	mu       sync.Mutex
	busy     map[string]bool      // the databases that are being handled, and listing
	found    []string             // the databases that were found, sorted
	fresh    bool                 // they are to be handled in this round or the next
	last     map[string][]*Result // the latest results by database, none for a database without the table
	unlisted *Result              // the failure of the listing, if it failed the last time
	listed   bool                 // it succeeded once
	partial  bool                 // the beginning is logged even if not everything is known
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
	interval := t.cfg.Watch.Duration
	w := watch{
		target: t, limit: interval - interval/10, // so that a change is made within the interval
		wake: make(chan struct{}, 1), busy: map[string]bool{}, last: map[string][]*Result{},
	}
	for first, late := true, false; ; first = false {
		began := time.Now()
		w.round(ctx, first)
		if took := time.Duration(w.took.Swap(0)); took > interval && !late && ctx.Err() == nil {
			late = true
			t.log.Warn("a round takes longer than PATCH_WATCH, so the next begins at once", "server", t.Server(), "took", took.Round(time.Millisecond), "every", interval)
		}
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-time.After(w.limit - time.Since(began)):
		}
		if w.over(ctx) {
			break
		}
	}
	w.group.Wait()
	w.write(ctx)
}

// round begins to handle every database that is not being handled, the named ones while others are looked for. If that has to
// wait for something, the round goes on with what was found before, and the next one begins when it is done.
func (w *watch) round(ctx context.Context, first bool) {
	r := round{watch: w, began: time.Now(), first: first}
	defer w.logProgress(&r.count)()
	listed := w.list(ctx)
	w.start(ctx, &r, false)
	wait(ctx, w.limit, listed)
	w.start(ctx, &r, true)
	wait(ctx, w.limit, r.inspected())
	w.mu.Lock()
	defer w.mu.Unlock()
	w.assess(ctx)
}

// wait waits until done is closed, for no longer than limit.
func wait(ctx context.Context, limit time.Duration, done <-chan struct{}) {
	select {
	case <-done:
	case <-ctx.Done():
	case <-time.After(limit):
	}
}

// list begins to look for databases, unless that is being done already or has just been done. It returns a channel that is
// closed when nothing is to be waited for.
func (w *watch) list(ctx context.Context) <-chan struct{} {
	done := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.Databases.Patterns) == 0 || w.busy[listing] || w.fresh {
		close(done)
		return done
	}
	w.busy[listing] = true
	w.group.Go(func() {
		defer close(done)
		found, err := w.find(ctx, 0)
		w.takeFound(ctx, found, err)
	})
	return done
}

// start begins to handle those that are not being handled, of the databases that were found or of those that are named, as
// soon as there is a connection for each.
func (w *watch) start(ctx context.Context, r *round, found bool) {
	w.mu.Lock()
	names := w.Databases.Names
	if found {
		names = w.found
	}
	if found && w.fresh { // so no other round is needed for them
		w.fresh = false
		select {
		case <-w.wake:
		default:
		}
	}
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return w.busy[name] })
	for _, name := range names {
		w.busy[name] = true
	}
	w.mu.Unlock()
	r.count.databases.Add(int64(len(names)))
	for _, name := range names {
		d := w.database(name)
		d.endTurn = r.turn()
		d.acquire(ctx)
		w.group.Go(func() {
			results := d.handle(ctx, 0)
			d.endTurn(true)
			w.take(ctx, name, results)
			r.count.done.Add(1)
		})
	}
}

// over assesses what is known when a round is over, and reports whether the watch is, too.
func (w *watch) over(ctx context.Context) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.partial = true
	w.assess(ctx)
	return w.ended || ctx.Err() != nil
}

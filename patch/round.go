package patch

import (
	"context"
	"sync"
	"time"
)

// round is one look of a watch at the databases that are not being handled.
type round struct {
	began time.Time
	count progressCount
	moved chan struct{} // receives when a turn has reached another stage

	mu   sync.Mutex
	open [settled]int  // turns by their stage
	took time.Duration // until the last inspection ended
}

// stage is how far a database is in a round.
type stage int

const (
	begun     stage = iota // it waits for a connection, or is inspected
	inspected              // its schemas are changed where that is due
	settled                // it is done, or has to wait for something and is attempted again until it is done
)

// turn is the part that one database has in a round. A nil turn is in none.
type turn struct {
	round *round
	stage stage
}

// newRound begins a round.
func newRound() *round { return &round{began: time.Now(), moved: make(chan struct{}, 1)} }

// turn adds a turn.
func (r *round) turn() *turn {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[begun]++
	return &turn{round: r}
}

// reach notes that the database has reached a stage, if it has not yet.
func (u *turn) reach(s stage) {
	if u == nil {
		return
	}
	r := u.round
	r.mu.Lock()
	defer r.mu.Unlock()
	if s <= u.stage {
		return
	}
	r.open[u.stage]--
	u.stage = s
	if s == inspected {
		r.open[s]++
		r.took = time.Since(r.began)
	}
	select {
	case r.moved <- struct{}{}:
	default:
	}
}

// wait waits until every database is settled. When the limit has passed since the beginning of the round, it does not wait for
// changes; when it has passed since the last database was begun, nor for the last of several inspections: that database has to
// wait for something, and goes on by itself.
func (r *round) wait(ctx context.Context, limit time.Duration) {
	changes, last := time.NewTimer(limit-time.Since(r.began)), time.NewTimer(limit)
	defer changes.Stop()
	defer last.Stop()
	patience := 2
	for !r.ended(patience) {
		select {
		case <-ctx.Done():
			return
		case <-r.moved:
		case <-changes.C:
			patience--
		case <-last.C:
			patience--
		}
	}
}

// ended reports whether the round has ended: with a patience of 2 it includes changes, with 0 not the last of several
// inspections.
func (r *round) ended(patience int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	inspections := r.open[begun]
	switch {
	case patience == 2:
		return inspections+r.open[inspected] == 0
	case patience == 0 && r.count.databases.Load() > 1:
		return inspections <= 1
	}
	return inspections == 0
}

// duration returns the time until the last inspection ended.
func (r *round) duration() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.took
}

package patch

import (
	"sync"
	"time"
)

// round is one look of a watch at the databases that are not being handled.
type round struct {
	watch *watch
	began time.Time
	first bool // it is not measured, because connections are made in it
	count progressCount
	turns sync.WaitGroup
}

// turn adds a database, which holds the round up until end is called: when it has been inspected, or has to wait for something.
// Only the first call counts.
func (r *round) turn() (end func(inspected bool)) {
	r.turns.Add(1)
	var once sync.Once
	return func(inspected bool) {
		once.Do(func() {
			if took := time.Since(r.began); inspected && !r.first {
				r.watch.took.Store(int64(took))
				if took > r.watch.limit {
					r.watch.signal()
				}
			}
			r.turns.Done()
		})
	}
}

// inspected returns a channel that is closed when every turn has ended. No turn may be added after that.
func (r *round) inspected() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		r.turns.Wait()
		close(done)
	}()
	return done
}

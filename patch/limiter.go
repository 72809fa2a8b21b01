package patch

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"evolution-openai-patch/patch/config"
	"evolution-openai-patch/patch/postgres"
	"evolution-openai-patch/patch/quote"
)

// limiter bounds the sessions on one PostgreSQL server, which several databases and connection strings share.
type limiter struct {
	most      int           // sessions in use
	expected  int           // sessions that would be open at once if all of them were kept
	left      chan struct{} // one for each session that was given up and has not ended
	backups   sync.Map      // the places that this process has backed up
	kept      sync.Map      // those in which it has tried to leave names that were not kept
	unguarded sync.Map      // the databases in which the role may not install a guard, and why

	mu      sync.Mutex
	used    int              // sessions
	turns   int              // that were given away to those who waited
	waiting [2][]chan<- bool // those who wait for their first turn, and those who come again
	down    time.Time        // since when no session could be begun; zero if the last one could

	stalls  map[string]stall // by database
	stalled time.Time        // when the last login was given up
	locks   map[string]int   // the process that keeps others from connecting to a database
	listed  time.Time        // when these locks were
	listing chan struct{}    // is taken by whoever lists them
}

// stall is a login that was given up before it was complete.
type stall struct {
	times int             // how many have stalled one after the other
	last  time.Time       // when it was given up
	ended <-chan struct{} // closed when its session has ended
}

// newLimiter allows so many sessions in use at once, and as many that were given up.
func newLimiter(connections config.Count) *limiter {
	return &limiter{most: int(connections), left: make(chan struct{}, connections), stalls: map[string]stall{}, listing: make(chan struct{}, 1)}
}

// expect adds the databases of a connection string to those that are expected. How many a pattern finds is not known.
func (l *limiter) expect(d config.Databases) {
	l.expected += len(d.Names)
	if len(d.Patterns) > 0 {
		l.expected += l.most + 1
	}
}

// keepsAll reports whether every expected connection can be kept open.
func (l *limiter) keepsAll() bool { return l.expected <= l.most }

// acquire waits until another session may be begun. Those who come again wait until the others have had their turn, but get each fourth.
func (l *limiter) acquire(ctx context.Context, again bool) error {
	l.mu.Lock()
	if l.used < l.most {
		l.used++
		l.mu.Unlock()
		return nil
	}
	turn, line := make(chan bool, 1), &l.waiting[0]
	if again {
		line = &l.waiting[1]
	}
	*line = append(*line, turn)
	l.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(*line, chan<- bool(turn))
	if i < 0 {
		l.next()
	} else {
		*line = slices.Delete(*line, i, i+1)
	}
	return context.Cause(ctx)
}

// free allows another session in the place of one that was not begun, or has ended.
func (l *limiter) free() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next()
}

// next gives the place of a session to whoever is to have it.
func (l *limiter) next() {
	first, second := &l.waiting[0], &l.waiting[1]
	if l.turns%4 == 3 {
		first, second = second, first
	}
	if len(*first) == 0 {
		first = second
	}
	if len(*first) == 0 {
		l.used--
		return
	}
	l.turns++
	(*first)[0] <- true
	*first = (*first)[1:]
}

// release allows another session in the place of one when that has ended or, a second later, as soon as it can be counted among those
// that were given up.
func (l *limiter) release(ended <-chan struct{}) {
	left := false
	select {
	case <-ended:
	case <-time.After(time.Second):
		select {
		case <-ended:
		case l.left <- struct{}{}:
			left = true
		}
	}
	l.free()
	if left {
		l.forget(ended)
	}
}

// forget frees the place of a session that was given up when it has ended.
func (l *limiter) forget(ended <-chan struct{}) {
	<-ended
	<-l.left
}

// setDown records whether the server could be reached.
func (l *limiter) setDown(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !down:
		l.down = time.Time{}
	case l.down.IsZero():
		l.down = time.Now()
	}
}

// remaining returns how long a database of the server is waited for: the databases share one limit while the server cannot
// be reached, so that many of them do not wait one after the other. A limit of 0 is none.
func (l *limiter) remaining(limit time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if limit == 0 || l.down.IsZero() {
		return limit
	}
	return max(limit-time.Since(l.down), time.Millisecond)
}

// loginEnded records a login that was complete, or that the server has ended. A place may have been reserved for it.
func (l *limiter) loginEnded(database string, reserved bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.stalls, database)
	if reserved {
		<-l.left
	}
}

// loginStalled records a login that was given up before it was complete, and allows another session in its place.
func (l *limiter) loginStalled(database string, reserved bool, ended <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stalled = time.Now()
	l.stalls[database] = stall{l.stalls[database].times + 1, l.stalled, ended}
	if !reserved {
		go l.release(ended)
		return
	}
	l.next()
	go l.forget(ended)
}

// setLocks records the locks that kept others from connecting to databases at some time.
func (l *limiter) setLocks(locks map[string]int, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.locks, l.listed = locks, at
}

// outdated reports whether the locks are to be listed once more before a database is connected to: a login was given up meanwhile, or
// the database was locked when they were listed, and that was before a certain time.
func (l *limiter) outdated(database string, stale time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, locked := l.locks[database]
	return l.stalled.After(l.listed) || locked && l.listed.Before(stale)
}

// The pause after the second login to a database that has stalled doubles with each further one.
const (
	stallPause    = 10 * time.Second
	maxStallPause = 5 * time.Minute
)

// admit returns why a login to a database would stall, nil if nothing is known. After one that has stalled and whose session has not
// ended, it reserves a place for another, so that the database can keep no session from others.
func (l *limiter) admit(database string) (reserved bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if pid, locked := l.locks[database]; locked {
		return false, &postgres.NotReadyError{Reason: fmt.Sprintf("pid %d holds a lock on database %s that keeps others from connecting, as ALTER and DROP DATABASE do until their transaction ends",
			pid, quote.Identifier(database))}
	}
	last, stalled := l.stalls[database]
	if !stalled {
		return false, nil
	}
	select {
	case <-last.ended:
		delete(l.stalls, database)
		return false, nil
	default:
	}
	pause := time.Duration(0)
	if last.times > 1 {
		pause = min(stallPause<<min(last.times-2, 10), maxStallPause)
	}
	if time.Since(last.last) >= pause {
		select {
		case l.left <- struct{}{}:
			return true, nil
		default:
		}
	}
	return false, &postgres.NotReadyError{Reason: "the last login has stalled, and its session has not ended; something keeps it waiting, so another follows later"}
}

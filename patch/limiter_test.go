package patch

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// queue lets somebody wait for a session, and returns when it does.
func queue(ctx context.Context, l *limiter, again bool, got func(error)) {
	go func() { got(l.acquire(ctx, again)) }()
	synctest.Wait()
}

// inUse returns how many sessions are in use.
func (l *limiter) inUse() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used
}

// Those who come again wait until the others have had their turn, but get each fourth.
func TestLimiterTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1)
		_ = l.acquire(t.Context(), false)
		var order string
		for i := range 3 {
			queue(t.Context(), l, true, func(error) { order += fmt.Sprintf(" again%d", i) })
		}
		for i := range 6 {
			queue(t.Context(), l, false, func(error) { order += fmt.Sprintf(" new%d", i) })
		}
		for range 9 {
			l.free()
			synctest.Wait()
		}
		if want := " new0 new1 new2 again0 new3 new4 new5 again1 again2"; order != want {
			t.Errorf("%s, want %s", order, want)
		}
		if l.free(); l.inUse() != 0 {
			t.Errorf("%d sessions are in use", l.inUse())
		}
	})
}

// Who does not wait any longer takes no turn from the others, not even one that has just come.
func TestLimiterWaitIsCancelled(t *testing.T) {
	for _, turnComes := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := newLimiter(1)
			_ = l.acquire(t.Context(), false)
			ctx, cancel := context.WithCancel(t.Context())
			queue(ctx, l, false, func(error) {})
			next := false
			queue(t.Context(), l, false, func(err error) { next = err == nil })
			l.mu.Lock()
			cancel()
			if turnComes {
				l.next()
			}
			l.mu.Unlock()
			synctest.Wait()
			if !turnComes {
				l.free()
				synctest.Wait()
			}
			if turn := l.inUse(); turn != 1 {
				t.Errorf("%d sessions are in use", turn)
			}
			if !next {
				l.free() // whoever was cancelled has taken the turn after all, as both may happen
				synctest.Wait()
			}
			if !next {
				t.Error("the turn was lost")
			}
		})
	}
}

// A session is in use until it has ended. One that was given up is counted by itself after a second, unless there are too many.
func TestLimiterCountsSessionsThatWereGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(1)
		endless, ended := make(chan struct{}), make(chan struct{})
		for _, c := range []struct {
			after time.Duration
			end   chan struct{}
			used  int
		}{
			{500 * time.Millisecond, endless, 1}, {time.Second, nil, 0}, // the first is given up
			{time.Hour, ended, 1}, // there is no place for the second
		} {
			if c.end != nil {
				_ = l.acquire(t.Context(), false)
				go l.release(c.end)
			}
			time.Sleep(c.after)
			if synctest.Wait(); l.inUse() != c.used {
				t.Errorf("after %s %d sessions are in use, want %d", c.after, l.inUse(), c.used)
			}
		}
		close(endless)
		if synctest.Wait(); l.inUse() != 0 || len(l.left) != 1 {
			t.Errorf("%d sessions are in use, %d are given up", l.inUse(), len(l.left))
		}
		close(ended)
		if synctest.Wait(); len(l.left) != 0 {
			t.Errorf("%d sessions are given up", len(l.left))
		}
	})
}

// A database whose login has stalled is connected to again at once, then after pauses that double, as long as there is a place for a
// session that does not end either; and without a limit when the last one has ended.
func TestLimiterAdmits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, endless := newLimiter(4), make(chan struct{})
		admit := func(want bool, after time.Duration) (reserved bool) {
			t.Helper()
			time.Sleep(after)
			reserved, err := l.admit("d")
			if (err == nil) != want {
				t.Errorf("%v, want admitted %t", err, want)
			}
			return reserved
		}
		stallAgain := func(reserved bool) {
			_ = l.acquire(t.Context(), false)
			l.loginStalled("d", reserved, endless)
		}
		stallAgain(admit(true, 0))
		stallAgain(admit(true, 2*time.Second))
		admit(false, 9*time.Second)
		stallAgain(admit(true, time.Second))
		admit(false, 19*time.Second)
		reserved := admit(true, time.Second)
		if reserved != true || len(l.left) != 4 {
			t.Errorf("reserved %t, %d places are taken", reserved, len(l.left))
		}
		stallAgain(reserved)
		admit(false, time.Hour)
		if l.inUse() != 0 {
			t.Errorf("%d sessions are in use", l.inUse())
		}
		close(endless)
		synctest.Wait()
		if reserved := admit(true, 0); reserved || len(l.left) != 0 {
			t.Errorf("reserved %t, %d places are taken", reserved, len(l.left))
		}
		l.loginEnded("d", false)
		_ = l.acquire(t.Context(), false)
		never := make(chan struct{})
		l.loginStalled("d", false, never)
		admit(true, 0)
		l.loginEnded("d", true)
		admit(true, 0)
		close(never)
	})
}

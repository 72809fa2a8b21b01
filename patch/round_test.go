package patch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// How long a watch of five seconds waits for a round, and the time that it is found to have taken a second later.
func TestRound(t *testing.T) {
	type turn struct {
		after     time.Duration
		inspected bool
	}
	const never = 3600
	for name, c := range map[string]struct {
		first       bool
		turns       []turn
		waits, took time.Duration // seconds
		signal      bool          // the next round begins at once
	}{
		"nothing to do":    {false, nil, 0, 0, false},
		"all inspected":    {false, []turn{{1, true}, {3, true}, {2, true}}, 3, 3, false},
		"one has to wait":  {false, []turn{{1, true}, {3, false}}, 3, 1, false},
		"one says nothing": {false, []turn{{1, true}, {never, false}}, 5, 1, false},
		"one is late":      {false, []turn{{1, true}, {6, true}}, 5, 6, true},
		"the first, late":  {true, []turn{{6, true}}, 5, 0, false},
		"all are late":     {false, []turn{{never, true}, {never, true}}, 5, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := round{watch: &watch{limit: 5 * time.Second, wake: make(chan struct{}, 1)}, began: time.Now(), first: c.first}
				for _, turn := range c.turns {
					end := r.turn()
					time.AfterFunc(turn.after*time.Second, func() {
						end(turn.inspected)
						end(true) // which does not count
					})
				}
				wait(t.Context(), r.watch.limit, r.inspected())
				if waited := time.Since(r.began); waited != c.waits*time.Second {
					t.Errorf("it is waited for %v, want %v", waited, c.waits*time.Second)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if took := time.Duration(r.watch.took.Load()); took != c.took*time.Second || len(r.watch.wake) == 1 != c.signal {
					t.Errorf("it took %v, next one at once: %t, want %v, %t", took, len(r.watch.wake) == 1, c.took*time.Second, c.signal)
				}
				time.Sleep(never * time.Second) // every turn ends
			})
		})
	}
}

// A round is not waited for when the watch is stopped.
func TestRoundIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := round{watch: &watch{}, began: time.Now()}
		end := r.turn()
		if wait(ctx, time.Hour, r.inspected()); time.Since(r.began) != time.Second {
			t.Errorf("it was waited for %v", time.Since(r.began))
		}
		end(false)
	})
}

package patch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// What a round of five seconds waits for, and the time that it is said to have taken.
func TestRound(t *testing.T) {
	type step struct {
		after time.Duration
		stage stage
	}
	const never = time.Hour
	for name, c := range map[string]struct {
		databases  [][]step
		ends, took time.Duration
	}{
		"nothing to do":      {nil, 0, 0},
		"all are done":       {[][]step{{{1, inspected}, {1, settled}}, {{2, inspected}, {1, settled}}}, 3, 2},
		"one has to wait":    {[][]step{{{1, inspected}, {1, settled}}, {{3, settled}}}, 3, 1},
		"one is changed":     {[][]step{{{1, inspected}, {1, settled}}, {{2, inspected}, {never, settled}}}, 5, 2},
		"all are changed":    {[][]step{{{2, inspected}, {never, settled}}}, 5, 2},
		"one says nothing":   {[][]step{{{1, inspected}, {1, settled}}, {{never, settled}}}, 5, 1},
		"the only one, late": {[][]step{{{9, inspected}, {1, settled}}}, 9, 9},
		"all are late":       {[][]step{{{8, inspected}}, {{9, inspected}}, {{7, inspected}}}, 8, 8},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				r := newRound()
				r.count.databases.Store(int64(len(c.databases)))
				for _, steps := range c.databases {
					u := r.turn()
					go func() {
						for _, s := range steps {
							select {
							case <-time.After(s.after * time.Second):
								u.reach(s.stage)
							case <-ctx.Done():
								return
							}
						}
					}()
				}
				r.wait(ctx, 5*time.Second)
				if ended := time.Since(r.began); ended != c.ends*time.Second || r.duration() != c.took*time.Second {
					t.Errorf("it ended after %v and took %v, want %v and %v", ended, r.duration(), c.ends*time.Second, c.took*time.Second)
				}
				cancel()
			})
		})
	}
}

// A round ends at once when the watch is stopped.
func TestRoundIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := newRound()
		r.turn()
		if r.wait(ctx, time.Hour); time.Since(r.began) != time.Second {
			t.Errorf("it ended after %v", time.Since(r.began))
		}
	})
}

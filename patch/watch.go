package patch

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// watch handles the database again and again until ctx ends, over one connection for as long as that lives. An error that
// is permanent at the first round ends it; later it is logged, once, and the next round tries again. The error of a watch
// that was stopped while the fixes were not in place wraps context.Cause(ctx).
func (d *database) watch(ctx context.Context) []Result {
	last := d.handle(ctx, 0)
	if ctx.Err() == nil {
		for _, r := range last {
			if r.Err != nil {
				return last
			}
			logResult(d.cfg, d.log, r)
			d.log.Info("watching", "schema", r.Schema, "state", r.Status, "every", d.cfg.Watch)
		}
	} else {
		for i := range last { // what it knows is what it has seen
			last[i] = interrupted(ctx, last[i])
		}
	}
	changed, unknown := make([]bool, len(last)), make([]bool, len(last)) // in any round
	count := func(round []Result) {
		for i, r := range round {
			changed[i], unknown[i] = changed[i] || r.Changed, unknown[i] || r.Unknown
		}
	}
	count(last)
	for {
		select {
		case <-ctx.Done():
			for i := range last {
				last[i].Changed, last[i].Unknown = changed[i], unknown[i] && !changed[i]
				if stopped := context.Cause(ctx); last[i].Err != nil && !errors.Is(last[i].Err, stopped) {
					last[i].Err = fmt.Errorf("%s (%w)", explain(last[i].Err), stopped)
				}
			}
			return last
		case <-time.After(d.cfg.Watch.Duration - d.cfg.Watch.Duration/10): // so that the change is made within the interval
		}
		d.disconnects = 0
		now := d.handle(ctx, 0)
		count(now) // also what a round did that was stopped in the middle
		for i, r := range now {
			if ctx.Err() != nil && r.Err != nil {
				continue // the round was stopped before it knew more than the one before
			}
			if before := last[i]; r.Status != before.Status || r.Err != nil && (before.Err == nil || explain(r.Err) != explain(before.Err)) {
				d.log.Info("the state has changed", "schema", r.Schema, "before", before.Status, "now", r.Status)
				logResult(d.cfg, d.log, r)
			}
			last[i] = r
		}
	}
}

// interrupted returns the Result of a watch that was stopped in its first round.
func interrupted(ctx context.Context, r Result) Result {
	if errors.Is(r.Err, context.Cause(ctx)) {
		r.assessment, r.Err = assess(Request{Schema: r.Schema, Fixes: r.requested}, r.State), nil
	}
	return r
}

package patch

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// watch handles the schema again and again until ctx ends, over one connection for as long as that lives. What fails for
// good at the first look ends it; later it is told, once, and tried again at the next look. Err of a watch that was
// stopped while the fixes did not hold wraps context.Cause(ctx).
func (w *worker) watch(ctx context.Context) Result {
	defer w.disconnect()
	last := w.handle(ctx, 0)
	changed := last.Changed
	if ctx.Err() != nil && errors.Is(last.Err, context.Cause(ctx)) { // stopped at its first look: what it knows is what it has seen
		w.record(last.After)
		w.result.Err = nil
		last = w.result
	}
	if ctx.Err() == nil {
		if last.Err != nil {
			return last
		}
		w.tell(last)
		w.log.Info("watching", "state", last.Status, "every", w.cfg.Watch)
	}
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			continue
		case <-time.After(w.cfg.Watch - w.cfg.Watch/10): // so that what came back is gone within the interval, the change included
		}
		w.losses, w.backup = 0, ""
		now := w.handle(ctx, 0)
		if ctx.Err() != nil {
			break
		}
		if now.Status != last.Status || now.Err != nil && (last.Err == nil || explain(now.Err) != explain(last.Err)) {
			w.log.Info("the state is another", "was", last.Status, "is", now.Status)
			w.tell(now)
		}
		last, changed = now, changed || now.Changed
	}
	last.Changed = changed
	if stopped := context.Cause(ctx); last.Err != nil && !errors.Is(last.Err, stopped) {
		last.Err = fmt.Errorf("%s (%w)", explain(last.Err), stopped)
	}
	return last
}

package patch

import (
	"context"
	"log/slog"
	"sync"
)

// handleFleet handles every target to its end, side by side, and returns a Result for each schema in the order given. An
// error of one holds none of the others back; it stands in Result.Err. Cancelling ctx ends it, with context.Cause(ctx) as
// the error of what was not done.
func handleFleet(ctx context.Context, cfg *Config, log *slog.Logger) (results []Result) {
	if len(cfg.Completed) > 0 {
		log.Info("PATCH_FIXES is completed, because some fixes are of use only together", "added", cfg.Completed)
	}
	byTarget := make([][]Result, len(cfg.Targets))
	var group sync.WaitGroup
	for i, target := range cfg.Targets {
		d := newDatabase(cfg, target, log)
		group.Go(func() {
			defer d.disconnect()
			if cfg.watches() {
				byTarget[i] = d.watch(ctx)
				return
			}
			byTarget[i] = d.handle(ctx, cfg.WaitTimeout.Duration)
			for _, r := range byTarget[i] {
				logResult(cfg, d.log, r)
			}
		})
	}
	group.Wait()
	for _, r := range byTarget {
		results = append(results, r...)
	}
	return results
}
